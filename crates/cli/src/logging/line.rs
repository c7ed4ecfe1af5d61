//! One log line: its level, its style, its text, and how they are rendered.
//!
//! Promise: pure, but for [`log_lines`], which emits events. What is rendered never holds a control
//! character that came from outside.

use std::borrow::Cow;

use jiff::Zoned;
use tracing::{debug, error, info, warn};

/// Level of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineLevel {
    /// Details, with `--verbose` only.
    Debug,
    /// The course of the run.
    Info,
    /// Something to look at.
    Warning,
    /// Something failed.
    Error,
}

impl LineLevel {
    /// The word in the line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// What an INFO line is, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// No colour.
    #[default]
    Plain,
    /// Beginning of a part of the run: magenta.
    Heading,
    /// Beginning of a smaller part: cyan.
    Sub,
    /// Something was completed: green.
    Success,
    /// Settings of the run: blue.
    Config,
}

impl Style {
    /// The value of the event field `style`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Heading => "heading",
            Self::Sub => "sub",
            Self::Success => "success",
            Self::Config => "config",
        }
    }

    /// The style an event field asks for; unknown words are plain.
    #[must_use]
    pub fn from_field(word: &str) -> Self {
        match word {
            "heading" => Self::Heading,
            "sub" => Self::Sub,
            "success" => Self::Success,
            "config" => Self::Config,
            _ => Self::Plain,
        }
    }
}

/// A line of text with its level and style, as the tools' text modules make them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Level.
    pub level: LineLevel,
    /// Style, shown at INFO only.
    pub style: Style,
    /// Text, without stamp and level.
    pub text: String,
}

impl Line {
    /// An INFO line of this style.
    #[must_use]
    pub fn styled(style: Style, text: impl Into<String>) -> Self {
        Self {
            level: LineLevel::Info,
            style,
            text: text.into(),
        }
    }

    /// An INFO line without colour.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self::styled(Style::Plain, text)
    }

    /// A WARNING line.
    #[must_use]
    pub fn warning(text: impl Into<String>) -> Self {
        Self {
            level: LineLevel::Warning,
            style: Style::Plain,
            text: text.into(),
        }
    }

    /// An ERROR line.
    #[must_use]
    pub fn error(text: impl Into<String>) -> Self {
        Self {
            level: LineLevel::Error,
            style: Style::Plain,
            text: text.into(),
        }
    }
}

/// Emits prepared lines as events, each as one line of the log: what a server put into one cannot begin another.
pub fn log_lines(lines: &[Line]) {
    for Line { level, style, text } in lines {
        let (style, text) = (style.as_str(), printable(text));
        match level {
            LineLevel::Debug => debug!(style, "{text}"),
            LineLevel::Info => info!(style, "{text}"),
            LineLevel::Warning => warn!("{text}"),
            LineLevel::Error => error!("{text}"),
        }
    }
}

/// Text in which every control character but the tabulator is an escape.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| c.is_control() && c != '\t') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            out.extend(c.escape_unicode())
        } else {
            out.push(c)
        }
    }
    Cow::Owned(out)
}

/// `[YYYY-MM-DD HH:MM:SS,mmm]`, the comma before the milliseconds as Python's logging has it.
pub(super) fn stamp(at: &Zoned) -> String {
    format!(
        "[{:04}-{:02}-{:02} {:02}:{:02}:{:02},{:03}]",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

/// Appends the rendered lines of one message, each ending in a line feed.
pub(super) fn render(
    out: &mut String,
    stamp: &str,
    level: LineLevel,
    style: Style,
    text: &str,
    color: bool,
) {
    let code = if color {
        color_code(level, style)
    } else {
        None
    };
    // A final line feed ends the last line and begins no new one.
    for part in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        let part = part.strip_suffix('\r').unwrap_or(part);
        let part = printable(part);
        let body = format!("{} - {part}", level.as_str());
        match code {
            Some(code) => {
                out.extend([stamp, " \u{1b}[", code, "m", body.trim_end(), "\u{1b}[0m\n"])
            }
            None => out.extend([stamp, " ", body.trim_end(), "\n"]),
        }
    }
}

/// SGR code of a line.
fn color_code(level: LineLevel, style: Style) -> Option<&'static str> {
    match (level, style) {
        (LineLevel::Warning, _) => Some("33"),
        (LineLevel::Error, _) => Some("31"),
        (LineLevel::Debug, _) => Some("90"),
        (LineLevel::Info, Style::Heading) => Some("35"),
        (LineLevel::Info, Style::Sub) => Some("36"),
        (LineLevel::Info, Style::Success) => Some("32"),
        (LineLevel::Info, Style::Config) => Some("34"),
        (LineLevel::Info, Style::Plain) => None,
    }
}

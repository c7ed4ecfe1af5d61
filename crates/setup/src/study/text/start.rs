//! Lines before the first measurement that read the same in every tool.

use cli::logging::Line;
use cli::number::{seconds, thousands};
use cli::options::Mode;
use cli::table::rule;

use super::{heading, titled};
use crate::study::{ContextSize, StudyOptions};

/// Width of the rules around the banner, characters.
const BANNER_WIDTH: usize = 80;

/// The heading of the banner, and of every context size.
#[must_use]
pub fn banner_title(title: impl Into<String>) -> [Line; 3] {
    titled(BANNER_WIDTH, title)
}

/// The rule under the banner.
#[must_use]
pub fn banner_end() -> Line {
    heading(rule('=', BANNER_WIDTH))
}

/// The length of a test and of its parts; `fixed_part` is what a tool calls the length of a given level's window.
#[must_use]
pub fn durations(options: &StudyOptions, fixed_part: &str) -> String {
    let (part, length, of) = match options.mode {
        Mode::Ramp => ("ramp", options.ramp_duration, "level"),
        Mode::Fixed => (fixed_part, options.ramp_duration, "level"),
        Mode::Sustained => ("assessment", options.assessment_period, "period"),
    };
    let test = seconds(options.test_duration);
    format!("{test}s ({part}: {}s per {of})", seconds(length))
}

/// A context size begins.
#[must_use]
pub fn context_start(context: ContextSize) -> Vec<Line> {
    let ContextSize {
        context_size,
        rounded,
        ..
    } = context;
    let mut lines: Vec<Line> = banner_title(format!(
        "Testing context size: {} tokens",
        thousands(context_size)
    ))
    .into();
    if rounded != context_size {
        lines.push(Line::plain(format!(
            "Working-set prompts are rounded up from {} to {} tokens, whole chunks",
            thousands(context_size),
            thousands(rounded)
        )));
    }
    lines
}

//! The tracing layer: turns events into messages and hands them to the writer without ever waiting.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::Verbosity;
use super::line::{LineLevel, Style};
use super::writer::{Message, Sender};

/// Crates of the workspace, whose events are logged at every level.
const OUR_CRATES: [&str; 11] = [
    "cli",
    "core_client",
    "engine",
    "hub",
    "kvcalc",
    "metrics",
    "ramp",
    "report",
    "setup",
    "sim",
    "workload",
];

pub(super) struct ChannelLayer {
    sender: Sender,
    tool: &'static str,
    most_verbose: LevelFilter,
}

impl ChannelLayer {
    pub(super) fn new(sender: Sender, tool: &'static str, verbosity: Verbosity) -> Self {
        let most_verbose = match verbosity {
            Verbosity::Brief => LevelFilter::WARN,
            Verbosity::Normal => LevelFilter::INFO,
            Verbosity::Verbose => LevelFilter::DEBUG,
        };
        Self {
            sender,
            tool,
            most_verbose,
        }
    }

    fn is_wanted(&self, metadata: &Metadata<'_>) -> bool {
        let level = *metadata.level();
        if level > self.most_verbose {
            return false;
        }
        let origin = metadata.target().split("::").next().unwrap_or_default();
        // Debug lines of an HTTP library would bury ours.
        level <= Level::WARN || origin == self.tool || OUR_CRATES.contains(&origin)
    }
}

impl<S: Subscriber> Layer<S> for ChannelLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.is_wanted(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most_verbose)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => LineLevel::Error,
            Level::WARN => LineLevel::Warning,
            Level::INFO => LineLevel::Info,
            _ => LineLevel::Debug,
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.sender.send_line(Message::Line {
            // The wall clock for people; no measurement is made with it.
            at: SystemTime::now(),
            level,
            style: fields.style,
            text: fields.text(),
        });
    }
}

/// Message, style, and whatever other fields an event carries.
#[derive(Default)]
struct Fields {
    message: String,
    style: Style,
    others: String,
}

impl Fields {
    fn text(self) -> String {
        self.message + &self.others
    }

    fn record(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => self.message.write_fmt(value),
            name => write!(self.others, " {name}={value}"),
        };
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "style" {
            self.style = Style::from_field(value);
        } else {
            self.record(field, format_args!("{value}"));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, format_args!("{value:?}"));
    }
}

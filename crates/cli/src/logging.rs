//! Log lines: `[YYYY-MM-DD HH:MM:SS,mmm] LEVEL - text` on stderr and in `<tool>.log`.
//!
//! Promises:
//! * the calling thread only formats its own message and hands it to the queue of the writer; stamps are
//!   rendered and bytes written by a thread of their own, so a terminal that is stopped with Ctrl-S
//!   cannot hold up a thread that reads streams;
//! * a full queue drops the line and counts it; the count is the last line of the log;
//! * a message of several lines becomes several log lines, each with its own stamp and level;
//! * control characters, which may come from a server, are written as escapes;
//! * known secrets are replaced by `***`;
//! * the file never holds colour codes, and a file that cannot be written is a warning, not an error.
//!
//! Colours come from the level, or at INFO from an event field: `info!(style = "heading", "…")`.

mod layer;
mod line;
mod writer;

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tracing::subscriber::SetGlobalDefaultError;
use tracing::{Subscriber, warn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

pub use line::{Line, LineLevel, Style, log_lines};
pub use writer::LogGuard;

pub(crate) use line::printable;

use crate::console::Console;
use crate::secret::Redactor;

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors only: `--brief`.
    Brief,
    /// The course of the run as well.
    Normal,
    /// Debug lines as well: `--verbose`.
    Verbose,
}

impl Verbosity {
    /// The verbosity two flags ask for; `--verbose` wins over `--brief`.
    #[must_use]
    pub fn from_flags(brief: bool, verbose: bool) -> Self {
        match (brief, verbose) {
            (_, true) => Self::Verbose,
            (true, false) => Self::Brief,
            (false, false) => Self::Normal,
        }
    }
}

/// What the log of a run looks like.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Name of the tool; its own events and those of the workspace's crates are logged at every level,
    /// those of other crates only from WARNING on.
    pub tool: &'static str,
    /// How much is logged.
    pub verbosity: Verbosity,
    /// Whether stderr gets colours.
    pub color: bool,
    /// The log file, appended to; usually [`LogOptions::default_file`].
    pub file: Option<PathBuf>,
    /// Secrets that must not appear in any line.
    pub redactor: Redactor,
    /// Lines that may wait for the writer; [`LogOptions::DEFAULT_CAPACITY`] unless a test says otherwise.
    pub capacity: usize,
}

impl LogOptions {
    /// Lines that may wait for the writer: several seconds of a very talkative run.
    pub const DEFAULT_CAPACITY: usize = 8192;

    /// `<tool>.log` in the current directory.
    #[must_use]
    pub fn default_file(tool: &str) -> PathBuf {
        PathBuf::from(format!("{tool}.log"))
    }
}

/// A log could not be installed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// Some other subscriber was installed before.
    #[error("logging was installed twice in one process")]
    Twice(#[from] SetGlobalDefaultError),
}

/// Starts the log of the process. Keep the guard until the very end: dropping it writes what waits.
///
/// # Errors
/// When logging was installed before in this process.
pub fn init(options: LogOptions, console: Arc<Console>) -> Result<LogGuard, LogError> {
    let (subscriber, guard) = build(options, console);
    tracing::subscriber::set_global_default(subscriber)?;
    guard.report_file_error(|text| warn!("{text}"));
    Ok(guard)
}

/// The parts of [`init`] without the process-wide installation, so that two logs can live in one process.
#[must_use]
pub fn build(
    options: LogOptions,
    console: Arc<Console>,
) -> (impl Subscriber + Send + Sync, LogGuard) {
    let (file, file_error) = match &options.file {
        None => (None, None),
        Some(path) => match OpenOptions::new().create(true).append(true).open(path) {
            Ok(file) => (Some(file), None),
            Err(error) => (
                None,
                Some(format!(
                    "cannot write the log file {}: {error}; log lines go to stderr only",
                    path.display()
                )),
            ),
        },
    };
    let (sender, guard) = writer::spawn(&options, console, file, file_error);
    let layer = layer::ChannelLayer::new(sender, options.tool, options.verbosity);
    (Registry::default().with(layer), guard)
}

#[cfg(test)]
mod tests;

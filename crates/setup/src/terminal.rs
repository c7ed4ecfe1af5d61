//! The log and the live display of a run.

use std::sync::Arc;

use anyhow::Context as _;
use cli::Failure;
use cli::console::{Console, stderr_is_capable, use_color};
use cli::logging::{self, LogGuard, LogOptions, Verbosity};
use cli::progress::{Progress, ProgressHandle};
use cli::secret::Redactor;

/// What is shown of a run.
#[derive(Debug, Clone)]
pub struct TerminalOptions {
    /// Name of the tool in log lines and of its log file.
    pub tool: &'static str,
    /// Whether a report for scripts goes to stdout.
    pub brief: bool,
    /// Whether debug lines are logged.
    pub verbose: bool,
    /// Whether colours are refused.
    pub no_color: bool,
    /// Keeps secrets out of the log.
    pub redactor: Redactor,
}

/// The log and the live display. Keep it until the very end: dropping it writes what waits.
#[derive(Debug)]
pub struct Terminal {
    // Fields are dropped in this order: the display leaves the screen before the last lines of the log appear.
    display: Progress,
    _log: LogGuard,
}

impl Terminal {
    /// Starts both.
    ///
    /// # Errors
    /// When the process has a log already.
    pub fn start(options: TerminalOptions) -> Result<Self, Failure> {
        let TerminalOptions {
            tool,
            brief,
            verbose,
            no_color,
            redactor,
        } = options;
        let color = use_color(no_color);
        let console = Console::stderr();
        let log = LogOptions {
            tool,
            verbosity: Verbosity::from_flags(brief, verbose),
            color,
            file: Some(LogOptions::default_file(tool)),
            redactor,
            capacity: LogOptions::DEFAULT_CAPACITY,
        };
        let log = logging::init(log, Arc::clone(&console))
            .context("setting up the log")
            .map_err(Failure::run)?;
        let display = Progress::start(&console, !brief && stderr_is_capable(), color);
        Ok(Self { display, _log: log })
    }

    /// Tells the live display what happens.
    #[must_use]
    pub fn live(&self) -> ProgressHandle {
        self.display.handle()
    }
}

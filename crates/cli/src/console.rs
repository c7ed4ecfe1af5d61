//! Stderr, shared by the log lines and the progress display.
//!
//! Promise: a log line and the display never write into each other; the display is lifted, the line is
//! written, the display is put back below it. A stderr that is closed or full is ignored: there is
//! nobody left to tell.

use std::env;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::MultiProgress;

/// Where log lines and the progress display go.
pub struct Console {
    writer: Mutex<Box<dyn Write + Send>>,
    display: Mutex<Option<MultiProgress>>,
}

impl Console {
    /// The process's stderr.
    #[must_use]
    pub fn stderr() -> Arc<Self> {
        Self::with_writer(Box::new(io::stderr()))
    }

    /// A console that writes elsewhere, for tests.
    #[must_use]
    pub fn with_writer(writer: Box<dyn Write + Send>) -> Arc<Self> {
        Arc::new(Self {
            writer: Mutex::new(writer),
            display: Mutex::new(None),
        })
    }

    /// Writes whole lines, above the progress display if there is one.
    pub fn write(&self, text: &str) {
        let write = || {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writer
                .write_all(text.as_bytes())
                .and_then(|()| writer.flush());
        };
        // Cloned out, so that the display's own lock is never taken while ours is held.
        let display = self
            .display
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match display {
            Some(display) => display.suspend(write),
            None => write(),
        }
    }

    /// From now on, lines go above this display; `None` ends that.
    pub(crate) fn set_display(&self, display: Option<MultiProgress>) {
        *self.display.lock().unwrap_or_else(PoisonError::into_inner) = display;
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

/// Whether the environment refuses colours: `NO_COLOR` set to anything but nothing.
#[must_use]
pub fn no_color_in_environment() -> bool {
    env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Whether stderr may carry colours: it is a terminal that can show them, and neither the option
/// `--no-color` nor `NO_COLOR` forbids them.
#[must_use]
pub fn use_color(no_color_option: bool) -> bool {
    !no_color_option && !no_color_in_environment() && stderr_is_capable()
}

/// Whether a live display makes sense on stderr.
#[must_use]
pub fn stderr_is_capable() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

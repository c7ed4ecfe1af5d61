//! Exit codes, and errors that know theirs.
//!
//! Promise: an error is printed once, on stderr, as one line with its whole cause chain, and followed
//! by at most one `hint:` line. The codes are the suite's and are stated in every `--help`.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// How a tool ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppExit {
    /// 0: everything asked for was done, or nothing remained to do.
    Done,
    /// 1: the run failed, or some result that was asked for is missing.
    Failed,
    /// 2: something is wrong with the arguments; nothing was sent and nothing written.
    Usage,
    /// 130: stopped by Ctrl-C, with everything measured so far written.
    Interrupted,
    /// 143: stopped by SIGTERM, with everything measured so far written.
    Terminated,
}

impl AppExit {
    /// The number the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<AppExit> for ExitCode {
    fn from(exit: AppExit) -> Self {
        Self::from(exit.code())
    }
}

/// An error together with the exit code it leads to and, perhaps, advice.
#[derive(Debug)]
pub struct Failure {
    /// Code the process ends with.
    pub exit: AppExit,
    /// What went wrong, outermost first.
    pub error: anyhow::Error,
    /// What to try, as one line.
    pub hint: Option<String>,
}

impl Failure {
    /// The user's arguments are wrong: exit 2.
    #[must_use]
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: AppExit::Usage,
            error: error.into(),
            hint: None,
        }
    }

    /// The run failed: exit 1.
    #[must_use]
    pub fn run(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: AppExit::Failed,
            error: error.into(),
            hint: None,
        }
    }

    /// The same failure with a line of advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure with `what` before its cause.
    #[must_use]
    pub fn within(mut self, what: &'static str) -> Self {
        self.error = self.error.context(what);
        self
    }

    /// The lines [`print_error`] prints: `error: …`, then `hint: …` if there is one.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("error: {self}")];
        if let Some(hint) = &self.hint {
            lines.push(format!("hint: {}", one_line(hint)));
        }
        lines
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&format!("{:#}", self.error)))
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    /// Errors that nobody gave a code are failures of the run.
    fn from(error: E) -> Self {
        Self::run(error)
    }
}

/// Prints a failure on stderr. A stderr that is closed is nobody's problem.
pub fn print_error(failure: &Failure) {
    let mut stderr = io::stderr().lock();
    for line in failure.lines() {
        let _ = writeln!(stderr, "{line}");
    }
}

/// The last step of every `main`: prints the error, if there is one, and gives the exit code.
#[must_use]
pub fn finish(result: Result<AppExit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            print_error(&failure);
            failure.exit.into()
        }
    }
}

/// Writes result text to stdout.
///
/// A pipe that was closed by its reader (`… | head`) is not an error: the reader has what it wanted.
///
/// # Errors
/// Any other failure to write, such as a full disk behind a redirection.
pub fn write_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Text with its line breaks and other control characters made harmless.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for part in text
        .split(['\n', '\r'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&crate::logging::printable(part));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn codes_are_those_of_the_suite() {
        let codes = [
            AppExit::Done,
            AppExit::Failed,
            AppExit::Usage,
            AppExit::Interrupted,
            AppExit::Terminated,
        ]
        .map(AppExit::code);
        assert_eq!(codes, [0, 1, 2, 130, 143]);
    }

    #[test]
    fn the_cause_chain_is_one_line_and_the_hint_another() {
        let error = anyhow!("connection refused\n(os error 111)").context("asking for the model");
        let failure = Failure::run(error).with_hint("is the server running?");
        assert_eq!(
            failure.lines(),
            [
                "error: asking for the model: connection refused (os error 111)",
                "hint: is the server running?"
            ]
        );
    }

    #[test]
    fn an_error_without_a_code_is_a_failure_of_the_run() {
        fn fails() -> Result<(), Failure> {
            Err(io::Error::other("disk on fire"))?;
            Ok(())
        }
        let failure = fails().unwrap_err();
        assert_eq!(
            (failure.exit, failure.to_string()),
            (AppExit::Failed, "disk on fire".to_owned())
        );
    }

    #[test]
    fn control_characters_of_a_server_cannot_reach_the_terminal() {
        let failure = Failure::run(anyhow!("bad \u{1b}[31mred"));
        assert_eq!(failure.lines(), [r"error: bad \u{1b}[31mred"]);
    }
}

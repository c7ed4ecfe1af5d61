//! The simulated server as a child process, for the tasks that need something to talk to.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// A running simulator on a free loopback port; it ends with its owner, also when the task fails.
#[derive(Debug)]
pub(crate) struct Simulator {
    child: Child,
    url: String,
}

impl Simulator {
    /// Starts the program with `args` and waits until it says where it listens.
    ///
    /// # Errors
    /// When it cannot be started, or ends without saying so.
    pub(crate) fn start(binary: &Path, args: &[&str]) -> Result<Self> {
        Self::launch(Command::new(binary), args)
    }

    /// As [`Simulator::start`], from a command whose environment is prepared.
    ///
    /// # Errors
    /// When it cannot be started, or ends without saying so.
    pub(crate) fn launch(mut command: Command, args: &[&str]) -> Result<Self> {
        let mut child = command
            .args(["--port", "0"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        let mut line = String::new();
        let out = child
            .stdout
            .take()
            .context("the simulator's output is not piped")?;
        BufReader::new(out).read_line(&mut line)?;
        let Some(url) = line
            .trim()
            .rsplit(' ')
            .next()
            .filter(|word| word.starts_with("http://"))
        else {
            bail!("the simulator did not say where it listens, but: {line:?}");
        };
        Ok(Self {
            url: url.to_owned(),
            child,
        })
    }

    /// Where it listens, such as `http://127.0.0.1:40001`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) {
        // Already gone is as good as stopped.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop();
    }
}

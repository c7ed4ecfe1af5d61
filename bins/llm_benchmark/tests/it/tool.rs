//! The binary as a process, in a directory of its own. No process outlives its test.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// No run of these tests takes nearly as long; one that does hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);

/// The built binary.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_llm_benchmark"))
}

/// A working directory.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut command = Command::new(binary());
        command.args(args);
        self.spawn(command)
    }

    pub(crate) fn spawn(&self, mut command: Command) -> Running {
        let mut child = command
            .current_dir(self.path())
            .env_remove("NO_COLOR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running {
            stdout: Some(capture(child.stdout.take().unwrap())),
            stderr: Some(capture(child.stderr.take().unwrap())),
            shown: format!("{command:?}"),
            child,
            started: Instant::now(),
        }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Finished {
        self.start(args).finish()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }
}

fn capture(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    })
}

pub(crate) struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    shown: String,
    started: Instant,
}

impl Running {
    /// Sends a signal by name, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(status.success());
    }

    pub(crate) fn finish(mut self) -> Finished {
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(self.started.elapsed() < LIMIT, "{} hangs", self.shown),
            }
            thread::sleep(POLL);
        };
        Finished {
            status,
            took: self.started.elapsed(),
            stdout: self.stdout.take().unwrap().join().unwrap(),
            stderr: self.stderr.take().unwrap().join().unwrap(),
            shown: std::mem::take(&mut self.shown),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

pub(crate) struct Finished {
    status: ExitStatus,
    pub(crate) took: Duration,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    shown: String,
}

impl Finished {
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "{}\nstdout:\n{}\nstderr:\n{}",
            self.shown,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Requires words on stderr.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(
            self.stderr.contains(words),
            "no {words:?} in:\n{}",
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn never_says(self, words: &str) -> Self {
        assert!(
            !self.stderr.contains(words),
            "{words:?} in:\n{}",
            self.stderr
        );
        self
    }

    /// Requires a row of the result block.
    #[track_caller]
    pub(crate) fn shows(self, label: &str, value: &str) -> Self {
        assert_eq!(self.value(label), value, "{label}\n{}", self.stdout);
        self
    }

    /// The value behind a label, from the column where values stand.
    #[track_caller]
    pub(crate) fn value(&self, label: &str) -> &str {
        let start = format!("   {label}");
        let line = self
            .stdout
            .lines()
            .find(|line| line.starts_with(&start))
            .unwrap_or_else(|| panic!("no {label} in:\n{}\n{}", self.stdout, self.stderr));
        line[start.len()..].trim_start()
    }

    /// The first number of a row of the result block.
    #[track_caller]
    pub(crate) fn number(&self, label: &str) -> f64 {
        let value = self.value(label);
        let number = value.split([' ', '%']).next().unwrap();
        number.parse().unwrap_or_else(|_| panic!("{value}"))
    }
}

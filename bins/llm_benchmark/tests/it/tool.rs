//! The binary as a process, in a directory of its own. No process outlives its test.

use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use testkit::process::Running;
pub(crate) use testkit::process::{Finished, LIMIT};

/// The built binary.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_llm_benchmark"))
}

/// A working directory.
pub(crate) struct Place(testkit::process::Place);

impl Deref for Place {
    type Target = testkit::process::Place;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(testkit::process::Place::new())
    }

    /// Without the calibration at the end, unless the arguments ask for it.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut command = Command::new(binary());
        command.args(["--calibrate", "off"]).args(args);
        self.spawn(command)
    }

    pub(crate) fn spawn(&self, command: Command) -> Running {
        self.prepared(command).start()
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

/// What the result block shows.
pub(crate) trait Shown: Sized {
    /// Requires a row of the block.
    fn shows(self, label: &str, value: &str) -> Self;

    /// The value behind a label, from the column where values stand.
    fn value(&self, label: &str) -> &str;

    /// The first number of a row.
    fn number(&self, label: &str) -> f64;
}

impl Shown for Finished {
    #[track_caller]
    fn shows(self, label: &str, value: &str) -> Self {
        assert_eq!(self.value(label), value, "{label}\n{}", self.stdout);
        self
    }

    #[track_caller]
    fn value(&self, label: &str) -> &str {
        let start = format!("   {label}");
        let line = self
            .stdout
            .lines()
            .find(|line| line.starts_with(&start))
            .unwrap_or_else(|| panic!("no {label} in:\n{}\n{}", self.stdout, self.stderr));
        line[start.len()..].trim_start()
    }

    #[track_caller]
    fn number(&self, label: &str) -> f64 {
        let value = self.value(label);
        let number = value.split([' ', '%']).next().unwrap();
        number.parse().unwrap_or_else(|_| panic!("{value}"))
    }
}

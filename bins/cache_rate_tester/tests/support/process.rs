//! The binary as a process.

use std::ops::Deref;

use sim::Background;
use testkit::process::{Finished, Program, Running};

use super::output::Output;

/// A working directory and a way to run the tool in it. The directory goes when this goes.
#[derive(Debug)]
pub(crate) struct Place(testkit::process::Place);

impl Deref for Place {
    type Target = testkit::process::Place;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Place {
    /// An empty directory.
    pub(crate) fn new() -> Self {
        Self(testkit::process::Place::new())
    }

    /// Results of the runs in this place (`--output-dir` left at its default).
    pub(crate) fn output(&self) -> Output {
        Output::new(self.path().join("output"))
    }

    /// The tool, to be started here with these arguments, separated by blanks.
    pub(crate) fn tool(&self, args: &str) -> Program {
        self.program(crate::tool::BINARY)
            // It would take seconds behind every run, and has tests of its own.
            .args(["--calibrate", "off"])
            .args(args.split_whitespace())
    }

    /// The tool with [`crate::tool::QUICK`] and more arguments, against `server`.
    pub(crate) fn quick(&self, server: &Background, more: &str) -> Program {
        self.tool(crate::tool::QUICK)
            .args(["--api-endpoint", &server.url()])
            .args(more.split_whitespace())
    }

    /// Runs this script of the results, which measures everything again.
    #[track_caller]
    pub(crate) fn repeat(&self, script: &str) -> Finished {
        self.program("bash")
            .args([&format!("output/{script}"), "--force-restart"])
            .run()
            .exits(0)
            .says("✓ All tests complete!")
    }

    /// Runs the tool to its end.
    pub(crate) fn run(&self, args: &str) -> Finished {
        self.tool(args).run()
    }

    /// The log file of all runs here.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path().join(format!("{}.log", crate::tool::TOOL)))
            .unwrap_or_default()
    }
}

/// A report for scripts without its line on results that the client limits: a busy machine of tests is a bad client, and
/// what comes of that has tests of its own.
pub(crate) fn without_client(report: &str) -> String {
    let lines = report.lines();
    lines
        .filter(|line| !line.starts_with("client_limited: "))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Waits for the second period of the second of two sustained tests, and until the first one's file is there, whose name
/// begins so: a period is written by a thread of its own, right after its lines.
#[track_caller]
pub(crate) fn wait_for_second_period(run: &Running, output: &Output, first_periods: &str) {
    run.wait_until("the second test's second period", || {
        run.stderr().matches("Period 2: Running").count() == 2
    });
    run.wait_until("the second test's first period on disk", || {
        !output.names_like(first_periods, ".csv").is_empty()
    });
}

//! The binary as a process in a directory of its own, and what it left there, read without the tool's own readers.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
pub(crate) use testkit::process::Finished;
use testkit::process::Running;

/// The built binary.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_single_prompt_tester"))
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

    /// The binary with these arguments, separated by blanks.
    pub(crate) fn command(&self, args: &str) -> Command {
        let mut command = Command::new(binary());
        command.args(args.split_whitespace());
        command
    }

    /// Starts a program here.
    pub(crate) fn spawn(&self, command: Command) -> Running {
        self.prepared(command).start()
    }

    pub(crate) fn start(&self, args: &str) -> Running {
        self.spawn(self.command(args))
    }

    pub(crate) fn run(&self, args: &str) -> Finished {
        self.start(args).finish()
    }

    /// A small run with the built-in tokenizer. Options given behind these replace them.
    pub(crate) fn quick(&self, url: &str, more: &str) -> Finished {
        self.start(&quick(url, more)).finish()
    }

    /// Names below a directory of the place, sorted.
    pub(crate) fn names(&self, dir: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path().join(dir)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// A file of the results.
    pub(crate) fn read(&self, name: &str) -> String {
        let path = self.path().join("out").join(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    /// Requires that the validator finds nothing wrong.
    #[track_caller]
    pub(crate) fn assert_valid(&self) {
        let validation = report::validate::validate(&self.path().join("out"));
        assert!(validation.is_valid(), "{validation}");
    }

    /// The one file of rows.
    pub(crate) fn rows(&self) -> Rows {
        let mut names = self.names("out");
        names.retain(|name| name.starts_with("single_prompt_results_"));
        assert_eq!(names.len(), 1, "{names:?}");
        Rows::parse(&self.read(&names[0]))
    }

    /// The file of failed requests of a size.
    pub(crate) fn failed(&self, context_size: u64) -> Rows {
        let mut names = self.names("out");
        names.retain(|name| name.starts_with(&format!("failed_requests_{context_size}_")));
        assert_eq!(names.len(), 1, "{names:?}");
        Rows::parse(&self.read(&names[0]))
    }
}

/// Arguments of a small run, at whose end the client is not measured.
pub(crate) fn quick(url: &str, more: &str) -> String {
    format!(
        "--api-endpoint {url} --tokenizer builtin --context-sizes 200 --num-iterations 1 --output-tokens 4 \
         --output-dir out --calibrate off {more}"
    )
}

/// A CSV file, its cells as texts by column name.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<BTreeMap<String, String>>,
}

impl Rows {
    fn parse(text: &str) -> Self {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns: Vec<String> = reader
            .headers()
            .unwrap()
            .iter()
            .map(str::to_owned)
            .collect();
        let rows = reader
            .records()
            .map(|row| {
                let row = row.unwrap();
                assert_eq!(row.len(), columns.len());
                columns
                    .iter()
                    .cloned()
                    .zip(row.iter().map(str::to_owned))
                    .collect()
            })
            .collect();
        Self { columns, rows }
    }

    pub(crate) fn texts(&self, column: &str) -> Vec<&str> {
        self.rows.iter().map(|row| row[column].as_str()).collect()
    }

    #[track_caller]
    pub(crate) fn numbers(&self, column: &str) -> Vec<f64> {
        let number = |text: &str| {
            text.parse()
                .unwrap_or_else(|_| panic!("{column}: {text:?}"))
        };
        self.texts(column).into_iter().map(number).collect()
    }
}

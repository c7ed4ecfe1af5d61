//! What a run left behind, read without the tool's own readers: a reader that errs with the writer would
//! find nothing wrong. The validator is the exception, being the subject as well.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Length of `YYYYMMDD_HHMMSS` in names.
const STAMP_LEN: usize = 15;

/// A result directory.
#[derive(Debug)]
pub(crate) struct Output {
    dir: PathBuf,
}

impl Output {
    /// The one at `dir`, which need not exist yet.
    pub(crate) fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Names of all files, sorted; none where there is no directory.
    pub(crate) fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .map(|entry| {
                let name = entry.expect("an entry can be read").file_name();
                name.to_string_lossy().into_owned()
            })
            .collect();
        names.sort();
        names
    }

    /// Names that begin and end so.
    pub(crate) fn names_like(&self, start: &str, end: &str) -> Vec<String> {
        let mut names = self.names();
        names.retain(|name| name.starts_with(start) && name.ends_with(end));
        names
    }

    /// Names of the pages.
    pub(crate) fn pages(&self) -> BTreeSet<String> {
        self.names_like("", ".html").into_iter().collect()
    }

    /// The text of a file.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A JSON file.
    #[track_caller]
    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// `completed_tests` of the progress file.
    #[track_caller]
    pub(crate) fn completed(&self) -> Vec<String> {
        let progress = self.json("progress.json");
        let tests = progress["completed_tests"].as_array().expect("a list");
        let text = |test: &Value| test.as_str().expect("a text").to_owned();
        tests.iter().map(text).collect()
    }

    /// `parameters` of the progress file.
    #[track_caller]
    pub(crate) fn parameters(&self) -> Value {
        self.json("progress.json")["parameters"].clone()
    }

    /// Kinds of doubt about a test, as stored with the run; but for those about the client's own part, for a busy machine
    /// of tests is a bad client.
    #[track_caller]
    pub(crate) fn doubts(&self, context_size: u64, cache_hit_rate: u64) -> Vec<String> {
        let mut kinds = self.all_doubts(context_size, cache_hit_rate);
        kinds.retain(|kind| kind != "client_limited" && kind != "search_limited");
        kinds
    }

    /// Kinds of doubt about a test, those about the client among them.
    #[track_caller]
    pub(crate) fn all_doubts(&self, context_size: u64, cache_hit_rate: u64) -> Vec<String> {
        let facts = self.json("run_facts.json");
        let doubts = facts["sections"]["doubts"].as_array().cloned();
        doubts
            .unwrap_or_default()
            .iter()
            .filter(|d| d["context_size"] == context_size && d["cache_hit_rate"] == cache_hit_rate)
            .map(|d| d["kind"].as_str().expect("a text").to_owned())
            .collect()
    }

    /// The newest file that begins with `start`; time stamps in names sort like times.
    #[track_caller]
    pub(crate) fn newest(&self, start: &str) -> Table {
        let names = self.names_like(start, ".csv");
        let name = names
            .iter()
            .max_by_key(|name| {
                // A second run in one second has a number behind its stamp: longer is newer.
                let stamp = name.get(start.len()..start.len() + STAMP_LEN);
                (stamp.map(str::to_owned), name.len(), (*name).clone())
            })
            .unwrap_or_else(|| panic!("no {start}*.csv in {:?}", self.names()));
        self.table(name)
    }

    /// A CSV file.
    #[track_caller]
    pub(crate) fn table(&self, name: &str) -> Table {
        Table::parse(name, &self.read(name))
    }

    /// The newest summary.
    #[track_caller]
    pub(crate) fn summary(&self) -> Table {
        self.newest("summary_")
    }

    /// The newest table of phases.
    #[track_caller]
    pub(crate) fn phases(&self) -> Table {
        self.newest("phase_metadata_")
    }

    /// The newest rows of requests of a context size.
    #[track_caller]
    pub(crate) fn detail(&self, context_size: u64) -> Table {
        self.newest(&format!("detailed_results_{context_size}_"))
    }

    /// Ids of the phases of a test, in the order of the file.
    #[track_caller]
    pub(crate) fn phase_ids(&self, context_size: u64, cache_hit_rate: u64) -> Vec<String> {
        let phases = self.phases();
        phases
            .matching(&[
                ("context_size", &context_size.to_string()),
                ("cache_hit_rate", &cache_hit_rate.to_string()),
            ])
            .texts("phase_id")
    }

    /// Requires that the validator finds nothing wrong.
    #[track_caller]
    pub(crate) fn assert_valid(&self) -> &Self {
        let validation = report::validate::validate(&self.dir);
        assert!(validation.is_valid(), "{validation}");
        self
    }
}

/// A CSV file, its cells as texts.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    name: String,
    /// The header.
    pub(crate) columns: Vec<String>,
    /// The rows below it.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    #[track_caller]
    fn parse(name: &str, text: &str) -> Self {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns = reader.headers().expect("a header");
        let columns = columns.iter().map(str::to_owned).collect();
        let rows = reader
            .records()
            .map(|row| {
                let row = row.unwrap_or_else(|error| panic!("{name}: {error}"));
                row.iter().map(str::to_owned).collect()
            })
            .collect();
        Self {
            name: name.to_owned(),
            columns,
            rows,
        }
    }

    #[track_caller]
    fn index(&self, column: &str) -> usize {
        self.columns
            .iter()
            .position(|c| c == column)
            .unwrap_or_else(|| panic!("{} has no column {column}: {:?}", self.name, self.columns))
    }

    /// The cells of a column.
    #[track_caller]
    pub(crate) fn texts(&self, column: &str) -> Vec<String> {
        let index = self.index(column);
        self.rows.iter().map(|row| row[index].clone()).collect()
    }

    /// The cells of a column as numbers.
    #[track_caller]
    pub(crate) fn numbers(&self, column: &str) -> Vec<f64> {
        let number = |text: String| {
            text.parse()
                .unwrap_or_else(|_| panic!("{}: {column} holds '{text}'", self.name))
        };
        self.texts(column).into_iter().map(number).collect()
    }

    /// The sum of a column.
    #[track_caller]
    pub(crate) fn sum(&self, column: &str) -> f64 {
        self.numbers(column).iter().sum()
    }

    /// The rows whose cells are these.
    #[track_caller]
    pub(crate) fn matching(&self, cells: &[(&str, &str)]) -> Self {
        let wanted: Vec<(usize, &str)> = cells.iter().map(|(c, v)| (self.index(c), *v)).collect();
        let mut table = self.clone();
        table
            .rows
            .retain(|row| wanted.iter().all(|(index, value)| row[*index] == *value));
        table
    }

    /// The one cell of a column of a table of one row.
    #[track_caller]
    pub(crate) fn number(&self, column: &str) -> f64 {
        let numbers = self.numbers(column);
        assert_eq!(numbers.len(), 1, "{} has more rows than one", self.name);
        numbers[0]
    }

    /// The distinct cells of a column.
    #[track_caller]
    pub(crate) fn distinct(&self, column: &str) -> BTreeSet<String> {
        self.texts(column).into_iter().collect()
    }

    /// Requires that no row stands twice.
    #[track_caller]
    pub(crate) fn assert_unique(&self, columns: &[&str]) -> &Self {
        let indices: Vec<usize> = columns.iter().map(|c| self.index(c)).collect();
        let mut seen = BTreeSet::new();
        for row in &self.rows {
            let key: Vec<&str> = indices.iter().map(|i| row[*i].as_str()).collect();
            assert!(
                seen.insert(key.clone()),
                "{}: {key:?} stands twice",
                self.name
            );
        }
        self
    }
}

//! `progress.json`: which tests of which run are done, so that an interrupted run can go on.
//!
//! Promise: saved in one step after every test; entries are never dropped, also not those of contexts
//! that the present command does not name; parameters written by any version of the original are
//! compared by what they mean. Refuses to guess about a file it cannot read: that is an error, and the
//! caller starts fresh.

mod parameters;
mod python_json;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::atomic::{self, Durability, FileError};
use crate::test_name::TestName;

pub use parameters::{DefaultRates, ParameterMatch, ResumeRules};

/// Name of the file.
pub const PROGRESS_FILE: &str = "progress.json";

/// Content of `progress.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// 16 hex digits derived from the parameters.
    #[serde(default)]
    pub test_id: String,
    /// Effective options of the run, by the originals' names.
    pub parameters: Map<String, Value>,
    /// `<context>_<rate>` or `<context>_<size>_<rate>` of every finished test, in order of completion.
    pub completed_tests: Vec<String>,
    /// ISO 8601 in UTC with microseconds, `+00:00` at the end.
    #[serde(default)]
    pub last_update: String,
    /// How often each test was begun, by the same keys; the originals neither write nor mind it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attempts: BTreeMap<String, u32>,
}

/// Why a `progress.json` that exists cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProgressError {
    /// The file could not be read at all.
    #[error(transparent)]
    File(#[from] FileError),
    /// The content is not what the file should hold.
    #[error("{} is not a progress file", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What the parser stumbled on.
        #[source]
        source: serde_json::Error,
    },
}

impl Progress {
    /// Nothing done yet under these parameters.
    #[must_use]
    pub fn new(parameters: Map<String, Value>) -> Self {
        Self {
            test_id: test_id(&parameters),
            parameters,
            completed_tests: Vec::new(),
            last_update: utc_now(),
            attempts: BTreeMap::new(),
        }
    }

    /// Reads the file of a result directory; `None` when there is none.
    ///
    /// # Errors
    /// When the file exists and cannot be read or understood.
    pub fn load(dir: &Path) -> Result<Option<Self>, ProgressError> {
        let path = dir.join(PROGRESS_FILE);
        let bytes = match atomic::read_regular(&path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(e) => return Err(FileError::new("read", path, e).into()),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| ProgressError::Content { path, source })
    }

    /// Replaces the file in one step, durably, with the present time as `last_update`.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn save(&mut self, dir: &Path) -> Result<(), FileError> {
        self.last_update = utc_now();
        write_json(&dir.join(PROGRESS_FILE), self)
    }

    /// As [`Self::save`] for a run that has measured nothing yet: not flushed to the device, for a crash of the machine loses
    /// nothing with it.
    ///
    /// # Errors
    /// As [`Self::save`].
    pub fn begin(&mut self, dir: &Path) -> Result<(), FileError> {
        self.last_update = utc_now();
        write_json_with(&dir.join(PROGRESS_FILE), Durability::Renamed, self)
    }

    /// Whether the parameters of this file describe the same measurement as `now`, by the rules of the tool;
    /// `context_sizes` and what does not influence a measurement are left out of the comparison.
    #[must_use]
    pub fn matches(&self, now: &Map<String, Value>, rules: &ResumeRules) -> ParameterMatch {
        parameters::compare(&self.parameters, now, rules)
    }

    /// Takes over the parameters of the present command and keeps everything that is done.
    pub fn adopt(&mut self, parameters: Map<String, Value>) {
        self.test_id = test_id(&parameters);
        self.parameters = parameters;
    }

    /// Whether a test is finished.
    #[must_use]
    pub fn is_complete(&self, key: &TestName) -> bool {
        let text = key.to_string();
        self.completed_tests.contains(&text)
    }

    /// Marks a test as finished; call it after the test's data are on disk.
    pub fn mark_complete(&mut self, key: &TestName) {
        let text = key.to_string();
        if !self.completed_tests.contains(&text) {
            self.completed_tests.push(text);
        }
    }

    /// The finished tests whose entries can be understood.
    pub fn completed(&self) -> impl Iterator<Item = TestName> + '_ {
        self.completed_tests
            .iter()
            .filter_map(|text| text.parse().ok())
    }

    /// Counts one more beginning of a test and returns how often it was begun before: the attempt
    /// number to mix into its fresh text. Save before the first request, or a crash is not counted.
    pub fn begin_attempt(&mut self, key: &TestName) -> u32 {
        let count = self.attempts.entry(key.to_string()).or_insert(0);
        let before = *count;
        *count = before.saturating_add(1);
        before
    }
}

/// 16 hex digits from the MD5 of the parameters, as the originals compute them.
#[must_use]
pub fn test_id(parameters: &Map<String, Value>) -> String {
    let text = python_json::dumps(&Value::Object(parameters.clone()));
    Md5::digest(text.as_bytes())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The present moment as the originals write it: ISO 8601, UTC, microseconds, `+00:00`.
#[must_use]
pub fn utc_now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00")
        .to_string()
}

/// Replaces a JSON file in one step, durably, indented by two spaces.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), FileError> {
    write_json_with(path, Durability::Synced, value)
}

pub(crate) fn write_json_with(
    path: &Path,
    durability: Durability,
    value: &impl Serialize,
) -> Result<(), FileError> {
    atomic::write_with(path, durability, |w| {
        serde_json::to_writer_pretty(&mut *w, value)?;
        w.write_all(b"\n")
    })
}

#[cfg(test)]
mod tests;

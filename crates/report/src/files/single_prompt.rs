//! What a run of `single_prompt_tester` leaves for programs: its rows and its `metadata.json`.
//!
//! Promise: the file of rows has its header from the start, grows by whole batches and is valid CSV at any moment;
//! `metadata.json` is replaced in one step, its first keys are the originals' in their order. Refuses secrets: nothing
//! here takes a key or a header.

use std::path::{Path, PathBuf};

use metrics::SinglePromptRow;
use metrics::schema::{RowWriter, SchemaError};
use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::append::AppendFile;
use super::{ResultDir, WriteError};
use crate::atomic::{self, AtomicFile, Durability, FileError};
use crate::metadata::SINGLE_PROMPT_FILE;
use crate::stamp::RunStamp;

/// `single_prompt_results_<ts>.csv`.
#[must_use]
pub fn single_prompt_name(stamp: &RunStamp) -> String {
    format!("single_prompt_results_{stamp}.csv")
}

/// Writes the rows of one run.
#[derive(Debug)]
pub struct SinglePromptWriter {
    rows: RowWriter<AppendFile, SinglePromptRow>,
    path: PathBuf,
}

impl SinglePromptWriter {
    /// Makes the file with its header.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn create(dir: &ResultDir, stamp: &RunStamp) -> Result<Self, WriteError> {
        let path = dir.path().join(single_prompt_name(stamp));
        let rows_error = |source| WriteError::Rows {
            path: path.clone(),
            source,
        };
        let file = AtomicFile::create(&path)?;
        let mut begun = RowWriter::<_, SinglePromptRow>::new(file, false).map_err(rows_error)?;
        begun.flush().map_err(rows_error)?;
        let handle = begun.into_inner().commit(Durability::Renamed)?;
        let len = handle
            .metadata()
            .map_err(|e| FileError::new("write", &path, e))?
            .len();
        Ok(Self {
            rows: RowWriter::append(AppendFile::new(handle, len), false),
            path,
        })
    }

    /// Where the rows are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends rows and flushes them.
    ///
    /// # Errors
    /// When the file does not take them. Rows written before stay as they are; these are written by the next call
    /// that succeeds.
    pub fn append(&mut self, rows: &[SinglePromptRow]) -> Result<(), WriteError> {
        let fail = |source: SchemaError| WriteError::Rows {
            path: self.path.clone(),
            source,
        };
        let written = self.rows.write_all(rows);
        written.and(self.rows.flush()).map_err(fail)
    }
}

/// Content of `metadata.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SinglePromptMetadata {
    /// Always `single_prompt`.
    test_type: &'static str,
    /// As typed.
    pub api_endpoint: String,
    /// Model that the requests name.
    pub detected_model: String,
    /// Tokens, ascending.
    pub context_sizes: Vec<u64>,
    /// Per size.
    pub num_iterations: u32,
    /// Prompts sent at once.
    pub concurrent_prompts: u32,
    /// Tokens asked for.
    pub output_tokens: u64,
    /// The seed really used.
    pub seed: Number,
    /// Repetitions of every batch.
    pub cached_repeats: u32,
    /// Tokenizer, by the name under which it was found.
    pub tokenizer_id: String,
    /// Requests that failed.
    pub failed_requests: u64,
    /// Requests that were planned and never sent, because the ones before them failed.
    pub unsent_requests: u64,
    /// Whether requests are missing because the run was stopped; true also while it goes on, so that a crash leaves it so. A
    /// signal that came when all of them were answered, during the calibration, leaves it false: the figures are whole.
    pub interrupted: bool,
    /// What the run says about the server, by topic, for people and programs.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub verdicts: Map<String, Value>,
}

impl SinglePromptMetadata {
    /// Describes a run that begins now.
    #[must_use]
    pub fn new(api_endpoint: &str, model: &str, context_sizes: &[u64], seed: Number) -> Self {
        Self {
            test_type: "single_prompt",
            api_endpoint: api_endpoint.to_owned(),
            detected_model: model.to_owned(),
            context_sizes: context_sizes.to_vec(),
            num_iterations: 1,
            concurrent_prompts: 1,
            output_tokens: 1,
            seed,
            cached_repeats: 1,
            tokenizer_id: String::new(),
            failed_requests: 0,
            unsent_requests: 0,
            interrupted: true,
            verdicts: Map::new(),
        }
    }

    /// Replaces the file. As the originals' it ends without a line end.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), FileError> {
        atomic::write_with(&dir.join(SINGLE_PROMPT_FILE), Durability::Synced, |w| {
            serde_json::to_writer_pretty(&mut *w, self)?;
            w.flush()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_begins_as_the_originals_byte_by_byte() {
        let dir = tempfile::tempdir().unwrap();
        let mut metadata = SinglePromptMetadata::new(
            "http://localhost:8000",
            "mock-llama-3.1-8b",
            &[500, 1000, 2000],
            7.into(),
        );
        metadata.num_iterations = 3;
        metadata.output_tokens = 8;
        metadata.save(dir.path()).unwrap();
        let ours = std::fs::read_to_string(dir.path().join("metadata.json")).unwrap();
        let golden =
            include_str!("../../../metrics/tests/data/single_prompt/metadata.json").trim_end();
        let common = golden.strip_suffix("\n}").unwrap();
        assert!(ours.starts_with(&format!("{common},\n")), "{ours}");
        assert!(ours.ends_with('}'));
        let read = crate::metadata::load_single_prompt(dir.path())
            .unwrap()
            .unwrap();
        assert_eq!(read["interrupted"], Value::Bool(true));
    }

    #[test]
    fn rows_are_on_disk_when_append_returns() {
        let dir = tempfile::tempdir().unwrap();
        let stamp = RunStamp::parse("20261122_010203").unwrap();
        let dir = ResultDir::create(dir.path()).unwrap();
        let mut writer = SinglePromptWriter::create(&dir, &stamp).unwrap();
        let read = |writer: &SinglePromptWriter| {
            let file = std::fs::File::open(writer.path()).unwrap();
            let rows = metrics::schema::RowReader::new(file).unwrap();
            rows.collect::<Result<Vec<SinglePromptRow>, _>>().unwrap()
        };
        assert!(
            writer
                .path()
                .ends_with("single_prompt_results_20261122_010203.csv")
        );
        assert_eq!(read(&writer), []);
        let row = SinglePromptRow {
            context_size: 500,
            prompt_type: "unique".to_owned(),
            ttft: Some(0.25),
            total_time: Some(0.5),
            ..SinglePromptRow::default()
        };
        for n in 1..3 {
            writer.append(std::slice::from_ref(&row)).unwrap();
            assert_eq!(read(&writer), vec![row.clone(); n]);
        }
    }
}

//! `test_metadata.json`, which the originals know, and `run_facts.json`, which is ours.
//!
//! Promise: both are replaced in one step. `run_facts.json` holds what a reader needs to judge or
//! repeat a run and no other file has: tool and version, tokenizer and where it came from, the seed,
//! how many prompts were verified. Refuses secrets: nothing here takes a key or a header.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::atomic::{Durability, FileError, read_regular};
use crate::progress::{utc_now, write_json, write_json_with};

/// Name of the originals' file.
pub const METADATA_FILE: &str = "test_metadata.json";
/// Name of our file.
pub const FACTS_FILE: &str = "run_facts.json";
/// Name of the file of `single_prompt_tester`.
pub const SINGLE_PROMPT_FILE: &str = "metadata.json";
/// Version of the form of `run_facts.json`; grows when a field changes its meaning.
pub const FACTS_SCHEMA_VERSION: u32 = 1;

/// Why a metadata file that exists cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The file could not be read at all.
    #[error(transparent)]
    File(#[from] FileError),
    /// The content is not what the file should hold.
    #[error("{} does not hold what it should", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What the parser stumbled on.
        #[source]
        source: serde_json::Error,
    },
}

/// Content of `test_metadata.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestMetadata {
    /// Model as the server names it.
    pub model: String,
    /// Endpoints as given.
    #[serde(default)]
    pub api_endpoints: Vec<String>,
    /// `ramp`, `sustained` or `fixed`.
    #[serde(default)]
    pub mode: String,
    /// ISO 8601 in UTC.
    #[serde(default)]
    pub timestamp: String,
}

impl TestMetadata {
    /// Describes a run that is being measured now.
    #[must_use]
    pub fn new(model: &str, api_endpoints: Vec<String>, mode: &str) -> Self {
        Self {
            model: model.to_owned(),
            api_endpoints,
            mode: mode.to_owned(),
            timestamp: utc_now(),
        }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), FileError> {
        // Written before anything is measured, so there is nothing that could be lost with it.
        write_json_with(&dir.join(METADATA_FILE), Durability::Renamed, self)
    }

    /// Reads the file of a result directory; `None` when there is none.
    ///
    /// # Errors
    /// When the file exists and cannot be read or understood.
    pub fn load(dir: &Path) -> Result<Option<Self>, MetadataError> {
        load_json(dir.join(METADATA_FILE))
    }
}

/// Reads `metadata.json`, whose keys are the options of `single_prompt_tester`; `None` when there is none.
///
/// # Errors
/// When the file exists and cannot be read or understood.
pub fn load_single_prompt(dir: &Path) -> Result<Option<Map<String, Value>>, MetadataError> {
    load_json(dir.join(SINGLE_PROMPT_FILE))
}

/// Content of `run_facts.json`. Fields that a run has no answer to are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFacts {
    /// See [`FACTS_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the program.
    pub tool: String,
    /// Its version.
    pub version: String,
    /// The tokenizer that counted the prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<TokenizerFacts>,
    /// Where the random choices came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<SeedFacts>,
    /// What was done to be sure of the prompts' token counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompts: Option<PromptFacts>,
    /// Whatever else a tool wants to keep, by topic (calibration, host, warnings of the run).
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub sections: Map<String, Value>,
}

/// The tokenizer of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerFacts {
    /// What was asked for, or found: a path, a Hub id, `builtin`.
    pub name: String,
    /// Where the bytes came from, in words for a person.
    pub origin: String,
    /// Fingerprint of the vocabulary, hexadecimal; two runs with the same one counted alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// The seed of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedFacts {
    /// The number that every random stream of the run was derived from.
    pub value: Number,
    /// Whether it was given (`--seed`) and not drawn.
    pub given: bool,
}

/// Verification of prompts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptFacts {
    /// Whole prompts whose token count was checked by encoding them.
    pub verified: u64,
    /// Of these, prompts that had to be corrected.
    pub corrected: u64,
    /// Prompts in the working set, by context size in tokens.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub working_set_prompts: BTreeMap<u64, u64>,
}

impl RunFacts {
    /// Facts of a run of `tool` in `version`, nothing else known yet.
    #[must_use]
    pub fn new(tool: &str, version: &str) -> Self {
        Self {
            schema_version: FACTS_SCHEMA_VERSION,
            tool: tool.to_owned(),
            version: version.to_owned(),
            tokenizer: None,
            seed: None,
            prompts: None,
            sections: Map::new(),
        }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), FileError> {
        write_json(&dir.join(FACTS_FILE), self)
    }

    /// Reads the file of a result directory; `None` when there is none, as in directories of the
    /// originals.
    ///
    /// # Errors
    /// When the file exists and cannot be read or understood.
    pub fn load(dir: &Path) -> Result<Option<Self>, MetadataError> {
        load_json(dir.join(FACTS_FILE))
    }
}

fn load_json<T: DeserializeOwned>(path: PathBuf) -> Result<Option<T>, MetadataError> {
    let bytes = match read_regular(&path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(e) => return Err(FileError::new("read", path, e).into()),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|source| MetadataError::Content { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_files_read_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(TestMetadata::load(dir.path()).unwrap(), None);
        assert_eq!(RunFacts::load(dir.path()).unwrap(), None);
        let metadata = TestMetadata::new("demo-8b", vec!["http://gpu1:8000".into()], "ramp");
        metadata.save(dir.path()).unwrap();
        assert_eq!(TestMetadata::load(dir.path()).unwrap(), Some(metadata));
        let mut facts = RunFacts::new("cache_rate_tester", "0.1.0");
        facts.save(dir.path()).unwrap();
        assert_eq!(RunFacts::load(dir.path()).unwrap().as_ref(), Some(&facts));
        facts.seed = Some(SeedFacts {
            value: u64::MAX.into(),
            given: false,
        });
        facts.tokenizer = Some(TokenizerFacts {
            name: "builtin".into(),
            origin: "shipped with the program".into(),
            fingerprint: Some("00ff".into()),
        });
        facts.prompts = Some(PromptFacts {
            verified: 8,
            corrected: 0,
            working_set_prompts: BTreeMap::from([(1000, 8)]),
        });
        facts
            .sections
            .insert("calibration".into(), json!({"loop_lag_p99_ms": 0.2}));
        facts.save(dir.path()).unwrap();
        assert_eq!(RunFacts::load(dir.path()).unwrap(), Some(facts));
    }

    #[test]
    fn a_newer_file_with_unknown_fields_is_readable() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"schema_version": 7, "tool": "t", "version": "9", "novelty": [1]}"#;
        std::fs::write(dir.path().join(FACTS_FILE), text).unwrap();
        assert_eq!(
            RunFacts::load(dir.path()).unwrap().unwrap().schema_version,
            7
        );
    }

    #[test]
    fn a_broken_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(METADATA_FILE), "{").unwrap();
        let error = TestMetadata::load(dir.path()).unwrap_err();
        assert!(error.to_string().contains(METADATA_FILE));
    }
}

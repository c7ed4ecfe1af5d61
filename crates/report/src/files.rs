//! A result directory: which files lie in it, what they are, and the writers of a run's rows.
//!
//! Promise: files are told apart by their names alone, ours and the originals' alike, and "newest" is
//! decided by the stamp in the name ([`crate::stamp`]). Temporary files (names that begin with a dot)
//! are never seen. Refuses to open anything while listing.

mod append;
pub(crate) mod failed;
mod rows;
mod single_prompt;
mod tables;

use std::io;
use std::path::{Path, PathBuf};

use metrics::schema::{SchemaError, SetColumns};

use crate::atomic::{self, Durability, FileError, without_path};
use crate::stamp::{RunStamp, StampedFile};
use crate::test_name::TestName;
use crate::trace_replay::TRACE_SUMMARY;

pub use rows::RequestWriter;
pub use single_prompt::{SinglePromptMetadata, SinglePromptWriter, single_prompt_name};
pub use tables::{RunWriter, TableWriter};

/// What a data file holds, as its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// `summary_<ts>.csv`.
    Summary,
    /// `detailed_results_<context>_<ts>.csv`, context in tokens.
    Detail(u64),
    /// `failed_requests_<context>_<ts>.csv`, context in tokens.
    Failed(u64),
    /// `phase_metadata_<ts>.csv`.
    Phases,
    /// `sustained_periods_ctx<context>_…_<ts>.csv`.
    Periods,
    /// `client_health_<ts>.csv`.
    Health,
    /// `single_prompt_results_<ts>.csv`.
    SinglePrompt,
    /// `run_command_<ts>.sh`.
    RunCommand,
}

impl FileKind {
    /// The kind a name stands for; `None` for anything else in the directory.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        if let Some(stem) = name.strip_suffix(".sh") {
            return stem.starts_with("run_command").then_some(Self::RunCommand);
        }
        let stem = name.strip_suffix(".csv")?;
        let context = |prefix: &str| -> Option<u64> {
            let rest = stem.strip_prefix(prefix)?;
            let digits = rest.split('_').next()?;
            if digits.bytes().all(|b| b.is_ascii_digit()) {
                digits.parse().ok()
            } else {
                None
            }
        };
        if let Some(context) = context("detailed_results_") {
            Some(Self::Detail(context))
        } else if let Some(context) = context("failed_requests_") {
            Some(Self::Failed(context))
        } else if stem.starts_with("phase_metadata") {
            Some(Self::Phases)
        } else if stem.starts_with("sustained_periods") {
            Some(Self::Periods)
        } else if stem.starts_with("client_health_") {
            Some(Self::Health)
        } else if stem.starts_with("single_prompt_results") {
            Some(Self::SinglePrompt)
        } else if stem.starts_with("summary_")
            && stem != "summary_comparison"
            && name != TRACE_SUMMARY
        {
            Some(Self::Summary)
        } else {
            None
        }
    }
}

/// A directory that holds, or will hold, the files of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultDir {
    path: PathBuf,
}

impl ResultDir {
    /// Makes the directory with its parents where it does not exist, and checks that files can be
    /// made in it, so that a read-only place is found before the first request.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        std::fs::create_dir_all(path).map_err(|e| FileError::new("create", path, e))?;
        tempfile::Builder::new()
            .prefix(".probe.")
            .suffix(".tmp")
            .tempfile_in(path)
            .map_err(|e| FileError::new("write to", path, without_path(e)))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// An existing directory.
    ///
    /// # Errors
    /// When it does not exist or is no directory.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let metadata = std::fs::metadata(path).map_err(|e| FileError::new("open", path, e))?;
        if !metadata.is_dir() {
            let error = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(FileError::new("open", path, error));
        }
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All files of the directory, oldest first; no directories and no temporary files. A link to a summary that is
    /// gone is listed, so that whoever opens it says so: an older summary must not pass for the newest.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn list(&self) -> Result<Vec<StampedFile>, FileError> {
        let fail = |e| FileError::new("list", &self.path, e);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            let file = StampedFile::of(path);
            if file.path.is_file() || is_lost_summary(&file) {
                files.push(file);
            }
        }
        files.retain(|file| !file.name.starts_with('.'));
        files.sort();
        Ok(files)
    }

    /// The data files by kind, oldest first; an unreadable directory counts as empty.
    #[must_use]
    pub fn scan(&self) -> DataFiles {
        DataFiles::of(self.list().unwrap_or_default())
    }
}

/// Whether this is a summary's name on a link that leads nowhere.
fn is_lost_summary(file: &StampedFile) -> bool {
    FileKind::of_name(&file.name) == Some(FileKind::Summary)
        && file.path.is_symlink()
        && !file.path.exists()
}

/// The data files of a directory, each list oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataFiles {
    files: Vec<(FileKind, StampedFile)>,
}

impl DataFiles {
    /// Sorts out a listing that is ordered oldest first.
    #[must_use]
    pub fn of(listing: Vec<StampedFile>) -> Self {
        let kind = |file: StampedFile| Some((FileKind::of_name(&file.name)?, file));
        Self {
            files: listing.into_iter().filter_map(kind).collect(),
        }
    }

    /// All data files with their kinds, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (FileKind, &StampedFile)> {
        self.files.iter().map(|(kind, file)| (*kind, file))
    }

    /// Those of a run and of the runs behind it.
    #[must_use]
    pub(crate) fn since(mut self, stamp: &RunStamp) -> Self {
        self.files
            .retain(|(_, file)| file.stamp.as_ref().is_some_and(|own| own >= stamp));
        self
    }

    /// Whether any run has left rows here.
    #[must_use]
    pub fn has_rows(&self) -> bool {
        let is_other = |kind| {
            matches!(
                kind,
                FileKind::RunCommand | FileKind::SinglePrompt | FileKind::Health
            )
        };
        self.files.iter().any(|(kind, _)| !is_other(*kind))
    }

    /// The files of one kind, oldest first.
    pub fn of_kind(&self, kind: FileKind) -> impl DoubleEndedIterator<Item = &StampedFile> {
        self.files
            .iter()
            .filter(move |(k, _)| *k == kind)
            .map(|(_, file)| file)
    }

    /// The newest summary: by stamp, or, where no summary has one, any other but those that hold something
    /// else, `summary_comparison.csv` and `summary_trace_replay.csv`.
    #[must_use]
    pub fn newest_summary(&self) -> Option<&StampedFile> {
        // Files without a stamp sort before all others, so the last one is right in both cases.
        self.of_kind(FileKind::Summary).next_back()
    }

    /// Contexts that have files of detail rows, ascending, tokens.
    #[must_use]
    pub fn detail_contexts(&self) -> Vec<u64> {
        self.contexts(|kind| match kind {
            FileKind::Detail(context) => Some(context),
            _ => None,
        })
    }

    /// Contexts that have files of failed requests, ascending, tokens.
    #[must_use]
    pub fn failed_contexts(&self) -> Vec<u64> {
        self.contexts(|kind| match kind {
            FileKind::Failed(context) => Some(context),
            _ => None,
        })
    }

    fn contexts(&self, context: fn(FileKind) -> Option<u64>) -> Vec<u64> {
        let mut contexts: Vec<u64> = self.files.iter().filter_map(|(k, _)| context(*k)).collect();
        contexts.sort_unstable();
        contexts.dedup();
        contexts
    }
}

/// Why rows could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The rows could not be put into the form of the file, or the file did not take them; the rows
    /// written before stand unchanged.
    #[error("could not write rows to {}", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: SchemaError,
    },
}

/// Replaces a whole file of rows in one step; on an error the old one stands unchanged.
fn replace(
    path: &Path,
    render: impl FnOnce(&mut Vec<u8>) -> Result<(), SchemaError>,
) -> Result<(), WriteError> {
    let mut bytes = Vec::new();
    render(&mut bytes).map_err(|source| WriteError::Rows {
        path: path.to_owned(),
        source,
    })?;
    atomic::write_with(path, Durability::Synced, |w| w.write_all(&bytes))?;
    Ok(())
}

/// How a run's files are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterOptions {
    /// Columns on the working set.
    pub set: SetColumns,
}

/// `detailed_results_<context>_<ts>.csv`.
#[must_use]
pub fn detail_name(context_size: u64, stamp: &RunStamp) -> String {
    format!("detailed_results_{context_size}_{stamp}.csv")
}

/// `failed_requests_<context>_<ts>.csv`.
#[must_use]
pub fn failed_name(context_size: u64, stamp: &RunStamp) -> String {
    format!("failed_requests_{context_size}_{stamp}.csv")
}

/// `client_health_<ts>.csv`.
#[must_use]
pub fn health_name(stamp: &RunStamp) -> String {
    format!("client_health_{stamp}.csv")
}

/// `phase_metadata_<ts>.csv`.
#[must_use]
pub fn phases_name(stamp: &RunStamp) -> String {
    format!("phase_metadata_{stamp}.csv")
}

/// `sustained_periods_ctx<context>_cache<rate>_<ts>.csv`, with `_ws<size>` where a run varies the working set.
#[must_use]
pub fn periods_name(test: TestName, stamp: &RunStamp) -> String {
    let set = test
        .working_set_size
        .map(|size| format!("_ws{size}"))
        .unwrap_or_default();
    format!(
        "sustained_periods_ctx{}{set}_cache{}_{stamp}.csv",
        test.context_size, test.cache_hit_rate
    )
}

/// `summary_<ts>.csv`.
#[must_use]
pub fn summary_name(stamp: &RunStamp) -> String {
    format!("summary_{stamp}.csv")
}

#[cfg(test)]
mod tests;

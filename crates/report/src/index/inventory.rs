//! What lies in a result directory, by name.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::atomic::FileError;
use crate::data::RunData;
use crate::kv_estimate::human_size;

/// One file with its size, ready to be linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DataFile {
    pub(super) name: String,
    pub(super) href: String,
    pub(super) size: String,
    bytes: u64,
}

/// One page, ready to be linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageFile {
    pub(super) name: String,
    pub(super) href: String,
    pub(super) path: PathBuf,
}

/// Files of a directory, sub-directories and hidden files left out. A name that is no text is shown as far as it
/// is one and linked byte by byte.
#[derive(Debug, Clone)]
pub(super) struct Inventory {
    /// `*.html` but the index itself.
    pub(super) pages: Vec<PageFile>,
    /// `*.csv`, then `*.json`.
    pub(super) data_files: Vec<DataFile>,
    /// `*.sh`.
    pub(super) scripts: Vec<DataFile>,
    names: Vec<String>,
}

impl Inventory {
    /// Lists a directory.
    ///
    /// # Errors
    /// When it does not exist or cannot be listed.
    pub(super) fn of(dir: &Path) -> Result<Self, FileError> {
        let failed = |e| FileError::new("list", dir, e);
        let mut files: Vec<(String, OsString, u64)> = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // One that vanished since is no file any more; a link counts as what it leads to.
            let Ok(metadata) = std::fs::metadata(entry.path()) else {
                continue;
            };
            let raw = entry.file_name();
            let name = raw.to_string_lossy().into_owned();
            if metadata.is_file() && !name.starts_with('.') {
                files.push((name, raw, metadata.len()));
            }
        }
        files.sort();
        let with = |extension: &str| -> Vec<&(String, OsString, u64)> {
            files
                .iter()
                .filter(|(name, ..)| {
                    name.strip_suffix(extension)
                        .is_some_and(|stem| !stem.is_empty())
                })
                .collect()
        };
        let file = |(name, raw, bytes): &(String, OsString, u64)| DataFile {
            name: name.clone(),
            href: href(raw),
            size: human_size(*bytes),
            bytes: *bytes,
        };
        let page = |(name, raw, _): &(String, OsString, u64)| PageFile {
            name: name.clone(),
            href: href(raw),
            path: dir.join(raw),
        };
        let json = with(".json")
            .into_iter()
            .filter(|(name, ..)| name != "progress.json" && name != "metadata.json");
        Ok(Self {
            pages: with(".html")
                .into_iter()
                .filter(|(name, ..)| name != super::INDEX_FILE)
                .map(page)
                .collect(),
            data_files: with(".csv").into_iter().chain(json).map(file).collect(),
            scripts: with(".sh").into_iter().map(file).collect(),
            names: files.into_iter().map(|f| f.0).collect(),
        })
    }

    /// Size of all detail files.
    pub(super) fn detail_bytes(&self) -> u64 {
        self.data_files
            .iter()
            .filter(|f| f.name.starts_with("detailed_results_"))
            .map(|f| f.bytes)
            .sum()
    }

    /// Which tool's results these are: by the names of the files, and where there are no charts yet, by the
    /// data. A file that cannot be read never decides.
    pub(super) fn kind(&self, data: &RunData) -> RunKind {
        let any = |part: &str| self.names.iter().any(|name| name.contains(part));
        let readable = |part: &str| {
            let mut named = self.names.iter().filter(|name| name.contains(part));
            named.any(|name| !data.warnings.iter().any(|w| w.file == *name))
        };
        let combined = self
            .names
            .iter()
            .any(|n| n.contains("input_throughput_ctx") && !n.contains("comparison"));
        let single_prompt = data
            .single_prompt_metadata
            .as_ref()
            .and_then(|map| map.get("test_type"))
            .is_some_and(|kind| kind == "single_prompt");
        if combined && any("summary_comparison") {
            RunKind::Combined
        } else if any("single_prompt_performance")
            || readable("single_prompt_results")
            || single_prompt
        {
            RunKind::SinglePrompt
        } else if any("performance_vs_working_set") {
            RunKind::WorkingSet
        } else if any("performance_vs_cache") {
            RunKind::CacheRate
        } else if data.trace.is_some() {
            RunKind::TraceReplay
        } else if readable("sustained_periods") {
            RunKind::Sustained
        } else if data.varies_working_set || data.parameter("working_set_sizes").is_some() {
            RunKind::WorkingSet
        } else {
            RunKind::CacheRate
        }
    }
}

/// Kinds of result directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// Of `cache_rate_tester`, and everything else.
    CacheRate,
    /// Of `working_set_tester`.
    WorkingSet,
    /// A sustained run without charts over rates or working sets.
    Sustained,
    /// Of `single_prompt_tester`.
    SinglePrompt,
    /// Of `combine_graphs`.
    Combined,
    /// Of the trace replay tool.
    TraceReplay,
}

impl fmt::Display for RunKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CacheRate => "cache_rate",
            Self::WorkingSet => "working_set",
            Self::Sustained => "sustained",
            Self::SinglePrompt => "single_prompt",
            Self::Combined => "combined",
            Self::TraceReplay => "trace_replay",
        })
    }
}

impl RunKind {
    /// `only_sustained` says whether every test of the directory is a sustained one.
    pub(super) fn heading(self, only_sustained: bool) -> &'static str {
        match self {
            Self::WorkingSet if only_sustained => Self::Sustained.heading(true),
            Self::CacheRate => "Cache Rate Performance Test",
            Self::WorkingSet => "Working Set Performance Test",
            Self::Sustained => "Sustained Mode Performance Test",
            Self::SinglePrompt => "Single Prompt Performance Test",
            Self::Combined => "Combined Test Comparison",
            Self::TraceReplay => "Trace Replay Performance Test",
        }
    }
}

/// A file name as a relative link: percent-encoded, and never mistaken for a scheme or a path.
pub(super) fn href(name: &OsStr) -> String {
    let bytes = name.as_encoded_bytes();
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match *byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

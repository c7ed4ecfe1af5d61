//! Several runs side by side: one comparison of all of them.
//!
//! Promise: everything is loaded before anything is written; a row that has no readable window data shows
//! its summary values, and says so; a run's colour, marker and place are the same on every page. Refuses to
//! mix: contexts stay apart, and a run with several working sets per context and rate is not combined.

mod ab;
mod label;
mod pages;
mod table;

use std::path::{Path, PathBuf};

use metrics::SummaryRow;

use crate::atomic::FileError;
use crate::catalogue::{ContextPoints, RatePoint, RunLine, points_by_context};
use crate::data::{DataWarning, RunData};
use crate::files::{FileKind, ResultDir};

pub use label::{default_label, unique_labels};
pub use pages::write_comparison;
pub use table::{COLUMNS, comparison_rows};

/// One run as a comparison needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct CombinedRun {
    /// Its label, unlike all others.
    pub label: String,
    /// Where it comes from.
    pub dir: PathBuf,
    /// Model it measured.
    pub model: Option<String>,
    /// Figures by context and rate, both ascending.
    pub contexts: Vec<ContextPoints>,
    /// Level of each test, from its summary row: (context, rate, level).
    peaks: Vec<(u64, u32, u32)>,
}

/// Why a directory cannot be combined.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The directory cannot be listed.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no summary.
    #[error("No summary_*.csv files found in {}", .0.display())]
    NoSummary(PathBuf),
    /// There is one and it yields no row.
    #[error("{} of {} holds no usable row{}", .warning.file, .dir.display(), reason(.warning))]
    NoRows {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with the file; an empty message where it only has a header.
        warning: DataWarning,
    },
    /// Two working sets would end in one point.
    #[error(
        "{} has several working set sizes per context and cache hit rate (context {context}, {rate}%): \
         only results of cache_rate_tester can be combined",
        dir.display()
    )]
    SeveralWorkingSets {
        /// The directory.
        dir: PathBuf,
        /// First context concerned, tokens.
        context: u64,
        /// Rate concerned, percent.
        rate: u32,
    },
}

fn reason(warning: &DataWarning) -> String {
    if warning.message.is_empty() {
        ", only a header".to_owned()
    } else {
        format!(": {}", warning.message)
    }
}

/// Reads the summary rows of a directory that cannot do without them.
///
/// # Errors
/// When there is no summary, or none of its rows can be used.
pub fn demand_summary(data: &RunData) -> Result<(), LoadError> {
    if !data.summary.is_empty() {
        return Ok(());
    }
    ResultDir::open(&data.dir)?;
    let Some(file) = &data.summary_file else {
        return Err(LoadError::NoSummary(data.dir.clone()));
    };
    let warning = data.warnings.iter().find(|w| w.file == *file);
    Err(LoadError::NoRows {
        dir: data.dir.clone(),
        warning: warning
            .cloned()
            .unwrap_or_else(|| DataWarning::new(file, "")),
    })
}

impl CombinedRun {
    /// Loads a result directory. The second value says what could not be used, one line each.
    ///
    /// # Errors
    /// When the directory holds no usable summary or several working sets.
    pub fn load(dir: &Path, label: &str) -> Result<(Self, Vec<String>), LoadError> {
        let data = RunData::read(dir);
        demand_summary(&data)?;
        check_working_sets(&data)?;
        let mut warnings: Vec<String> = data
            .warnings
            .iter()
            .map(|w| format!("{}: {w}", dir.display()))
            .collect();
        let files = ResultDir::open(dir)?.scan();
        let has_details = files.iter().any(|(k, _)| matches!(k, FileKind::Detail(_)));
        let has_phases = files.of_kind(FileKind::Phases).next().is_some();
        let has_periods = !data.periods.is_empty();
        let contexts = points_by_context(&data);
        if !(has_details && has_phases || has_periods) {
            warnings.push(format!(
                "{}: Missing phase metadata or detailed results, using summary values",
                dir.display()
            ));
        } else {
            warnings.extend(fallbacks(dir, &contexts));
        }
        warnings.extend(limited(dir, &contexts));
        let peak = |row: &SummaryRow| (row.context_size, row.cache_hit_rate, row.peak_concurrency);
        let run = Self {
            label: label.to_owned(),
            dir: dir.to_owned(),
            model: data.model().map(str::to_owned),
            peaks: data.summary.iter().map(peak).collect(),
            contexts,
        };
        Ok((run, warnings))
    }

    /// The figures of one test.
    #[must_use]
    pub fn point(&self, context: u64, rate: u32) -> Option<&RatePoint> {
        let points = self.contexts.iter().find(|c| c.context_size == context)?;
        points.points.iter().find(|p| p.rate == rate)
    }

    /// Level of one test.
    fn peak(&self, context: u64, rate: u32) -> Option<u32> {
        let of = |p: &&(u64, u32, u32)| (p.0, p.1) == (context, rate);
        self.peaks.iter().find(of).map(|p| p.2)
    }
}

/// Tests that fell back to their summary row though the files of windows are there.
fn fallbacks(dir: &Path, contexts: &[ContextPoints]) -> Option<String> {
    let tests = tests_that(contexts, |p| p.source.is_summary())?;
    let dir = dir.display();
    Some(format!(
        "{dir}: no window data for {tests}, using summary values there"
    ))
}

/// Tests whose figures say more of the machine that measured than of the server.
fn limited(dir: &Path, contexts: &[ContextPoints]) -> Option<String> {
    let tests = tests_that(contexts, |p| p.client_limited)?;
    let dir = dir.display();
    Some(format!(
        "{dir}: limited by the client that measured, so the server may do better: {tests}"
    ))
}

/// `800/50%, 1600/0%`; `None` where no test is meant.
fn tests_that(contexts: &[ContextPoints], is_meant: fn(&RatePoint) -> bool) -> Option<String> {
    let tests: Vec<String> = contexts
        .iter()
        .flat_map(|c| c.points.iter().map(move |p| (c.context_size, p)))
        .filter(|(_, p)| is_meant(p))
        .map(|(context, p)| format!("{context}/{}%", p.rate))
        .collect();
    (!tests.is_empty()).then(|| tests.join(", "))
}

fn check_working_sets(data: &RunData) -> Result<(), LoadError> {
    // Rows are sorted by context, working set and rate.
    for row in &data.summary {
        let (context, rate) = (row.context_size, row.cache_hit_rate);
        let n = data
            .summary
            .iter()
            .filter(|r| (r.context_size, r.cache_hit_rate) == (context, rate))
            .count();
        if n > 1 {
            return Err(LoadError::SeveralWorkingSets {
                dir: data.dir.clone(),
                context,
                rate,
            });
        }
    }
    Ok(())
}

/// All runs of a comparison, in the order of the command line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// The runs.
    pub runs: Vec<CombinedRun>,
}

impl Comparison {
    /// Contexts of any run, ascending, tokens.
    #[must_use]
    pub fn contexts(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self
            .runs
            .iter()
            .flat_map(|run| run.contexts.iter().map(|c| c.context_size))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Hit rates of any run at one context, ascending, percent.
    #[must_use]
    pub fn rates(&self, context: u64) -> Vec<u32> {
        let mut all: Vec<u32> = self
            .lines(context)
            .iter()
            .flat_map(|line| line.points.iter().map(|p| p.rate))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The runs that have a context, ready to be drawn.
    #[must_use]
    pub fn lines(&self, context: u64) -> Vec<RunLine> {
        self.runs
            .iter()
            .enumerate()
            .filter_map(|(place, run)| {
                let of = run.contexts.iter().find(|c| c.context_size == context)?;
                Some(RunLine {
                    label: run.label.clone(),
                    place,
                    points: of.points.clone(),
                })
            })
            .collect()
    }

    /// One line for every run that lacks a context that another one has.
    #[must_use]
    pub fn gaps(&self) -> Vec<String> {
        let mut out = Vec::new();
        for context in self.contexts() {
            for run in &self.runs {
                if !run.contexts.iter().any(|c| c.context_size == context) {
                    out.push(format!(
                        "No data for '{}' at context size {context}",
                        run.label
                    ));
                }
            }
        }
        out
    }
}

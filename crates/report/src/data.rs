//! Everything a report needs from a result directory, read tolerantly.
//!
//! Promise: directories of ours and of every version of the originals are read; a file or row that is
//! broken becomes a warning that names the file, and the rest is used. What several runs left in one
//! directory is sorted out: the newest summary counts, and of every test the newest phases or periods and the
//! newest detail rows that belong to them. A newest summary without a row says that a run began afresh: nothing
//! older counts then. Refuses to write and to interpret.

pub(crate) mod open;
mod samples;
pub(crate) mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metrics::health::HealthRow;
use metrics::phase::newest_phases;
use metrics::schema::{self, FailedRow, SampleRow};
use metrics::summary::newest_summaries;
use metrics::{
    Completed as _, FailureKind, PeriodRow, PhaseRow, RequestRecord, Sample, SinglePromptRow,
    SummaryRow,
};
use serde_json::{Map, Value};

use crate::files::{DataFiles, FileKind, ResultDir};
use crate::metadata::{RunFacts, TestMetadata, load_single_prompt};
use crate::progress::{PROGRESS_FILE, Progress};
use crate::single_prompt::LimitedSizes;
use crate::stamp::StampedFile;
use crate::test_name::TestName;
use crate::trace_replay::{TRACE_SUMMARY, TraceReplay};

use open::{for_each_row, read_table};
pub use samples::TestSamples;
use source::{PhaseSpans, Selected, newest_per_test};

/// Something in the directory that could not be used, or not wholly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataWarning {
    /// Name of the file, without the directory.
    pub file: String,
    /// What is wrong with it, lower case, one line.
    pub message: String,
}

impl DataWarning {
    /// A warning about a file of the directory.
    pub fn new(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            message: message.into(),
        }
    }

    /// A warning that tells an error with all its causes.
    pub fn of_error(file: impl Into<String>, error: &dyn std::error::Error) -> Self {
        Self::new(file, causes(error))
    }
}

impl fmt::Display for DataWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.message)
    }
}

/// An error with its chain of causes on one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Failed and cancelled requests of a test, by kind.
pub type FailureCounts = BTreeMap<FailureKind, u64>;

/// Content of a result directory.
#[derive(Debug, Clone, Default)]
pub struct RunData {
    /// The directory.
    pub dir: PathBuf,
    /// Rows of the newest summary by context, working set and rate; the last of equal keys counts.
    pub summary: Vec<SummaryRow>,
    /// Name of the file they come from.
    pub summary_file: Option<String>,
    /// Measured windows, of every test those of the newest phase file that has the test.
    pub phases: Vec<PhaseRow>,
    /// Periods that a tool lists among its phases too, chosen likewise; what they say stands in `periods`.
    pub period_phases: Vec<PhaseRow>,
    /// Assessment periods, of every test those of its newest file.
    pub periods: BTreeMap<TestName, Vec<PeriodRow>>,
    /// What the client says of itself, of every test the rows of the newest file that has it, in the order of measuring.
    pub health: Vec<HealthRow>,
    /// `progress.json`.
    pub progress: Option<Progress>,
    /// `test_metadata.json`.
    pub metadata: Option<TestMetadata>,
    /// `run_facts.json`.
    pub facts: Option<RunFacts>,
    /// Requests that yielded no sample, of tests whose phases or periods are known.
    pub failed: BTreeMap<TestName, FailureCounts>,
    /// `metadata.json` of `single_prompt_tester`.
    pub single_prompt_metadata: Option<Map<String, Value>>,
    /// Rows of the newest `single_prompt_results_*.csv`.
    pub single_prompt: Vec<SinglePromptRow>,
    /// What a run of the trace replay tool left, where the directory holds that and nothing of another tool.
    pub trace: Option<TraceReplay>,
    /// Whether any summary has a column for the working set, rows or not.
    pub varies_working_set: bool,
    /// What could not be used.
    pub warnings: Vec<DataWarning>,
    samples: BTreeMap<TestName, TestSamples>,
    details: BTreeMap<TestName, Vec<RequestRecord>>,
}

/// How much is kept of the detail rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    Samples,
    Whole,
}

impl RunData {
    /// Reads everything that charts and pages need. Of the detail rows of the tests of the summary (of
    /// all tests where there is none) only the samples are kept, so that a million of them fit.
    #[must_use]
    pub fn read(dir: &Path) -> Self {
        Self::read_with(dir, Rows::Samples)
    }

    /// As [`RunData::read`], with the detail rows themselves, without their two list columns.
    #[must_use]
    pub fn read_whole(dir: &Path) -> Self {
        Self::read_with(dir, Rows::Whole)
    }

    fn read_with(dir: &Path, rows: Rows) -> Self {
        let mut data = Self {
            dir: dir.to_owned(),
            ..Self::default()
        };
        if let Some(files) = data.read_small_files() {
            data.read_failed(&files);
            match rows {
                Rows::Samples => data.read_samples(&files),
                Rows::Whole => data.read_details(&files),
            }
        }
        data
    }

    /// Reads everything but the files of detail rows and failed requests, which may be large.
    #[must_use]
    pub fn read_tables(dir: &Path) -> Self {
        let mut data = Self {
            dir: dir.to_owned(),
            ..Self::default()
        };
        data.read_small_files();
        data
    }

    /// Effective options of the run; `None` where no progress file tells them.
    #[must_use]
    pub fn parameters(&self) -> Option<&Map<String, Value>> {
        self.progress.as_ref().map(|progress| &progress.parameters)
    }

    /// One option of the run; `None` where it is unknown or null. What `metadata.json` says counts more
    /// than `progress.json`.
    #[must_use]
    pub fn parameter(&self, key: &str) -> Option<&Value> {
        let of_trace = self.trace.as_ref().map(|trace| &trace.parameters);
        [
            self.single_prompt_metadata.as_ref(),
            self.parameters(),
            of_trace,
        ]
        .into_iter()
        .flatten()
        .find_map(|map| map.get(key).filter(|value| !value.is_null()))
    }

    /// The model: from the metadata, else the parameters, else the first summary row that names one.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        let stored = |key| self.parameter(key)?.as_str().filter(|m| !m.is_empty());
        let in_rows = || self.summary.iter().find_map(|row| row.model.as_deref());
        self.metadata
            .as_ref()
            .map(|metadata| metadata.model.as_str())
            .filter(|model| !model.is_empty())
            .or_else(|| stored("detected_model"))
            .or_else(|| stored("model"))
            .or_else(in_rows)
    }

    /// The sizes of a single-prompt run that its client limits.
    #[must_use]
    pub fn limited_sizes(&self) -> LimitedSizes {
        self.facts
            .as_ref()
            .map(LimitedSizes::of_facts)
            .unwrap_or_default()
    }

    /// The phases of a test, in the order in which they were measured.
    pub fn phases_of(&self, test: TestName) -> impl Iterator<Item = &PhaseRow> {
        self.phases
            .iter()
            .filter(move |row| TestName::from(*row) == test)
    }

    /// The periods of a test in which the working set grew.
    pub(crate) fn growing(&self, test: TestName) -> Option<&[PeriodRow]> {
        let periods = self.periods.get(&test)?;
        let grows = periods.iter().any(|p| p.working_set_size.is_some());
        grows.then_some(periods)
    }

    /// The sustained tests that have a result, with their periods; all where there is no summary, as the originals of
    /// the working-set tool left none.
    pub(crate) fn finished_sustained(&self) -> impl Iterator<Item = (&TestName, &[PeriodRow])> {
        let is_finished = |test: &TestName| {
            self.summary.is_empty() || self.summary.iter().any(|row| TestName::from(row) == *test)
        };
        self.periods
            .iter()
            .filter(move |(test, periods)| is_finished(test) && !periods.is_empty())
            .map(|(test, periods)| (test, periods.as_slice()))
    }

    /// Whether every test is a sustained one.
    pub(crate) fn is_only_sustained(&self) -> bool {
        let is_sustained = |row: &SummaryRow| self.periods.contains_key(&row.into());
        !self.periods.is_empty() && self.summary.iter().all(is_sustained)
    }

    /// The samples of a test, from the newest file of its context that holds it.
    #[must_use]
    pub fn samples(&self, test: TestName) -> &TestSamples {
        const NONE: &TestSamples = &TestSamples::NONE;
        self.samples.get(&test).unwrap_or(NONE)
    }

    /// The detail rows of a test, from the newest file of its context that holds it, list columns
    /// left out; empty when there are none, or when they were not asked for ([`RunData::read_whole`]).
    #[must_use]
    pub fn details(&self, test: TestName) -> &[RequestRecord] {
        self.details.get(&test).map_or(&[], Vec::as_slice)
    }

    /// Reads all but details and failures; `None` when there is no directory to list.
    fn read_small_files(&mut self) -> Option<DataFiles> {
        let listing = ResultDir::open(&self.dir).and_then(|dir| dir.list());
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) => {
                self.warnings.push(DataWarning::of_error(".", &error));
                return None;
            }
        };
        let has_trace = listing.iter().any(|file| file.name == TRACE_SUMMARY);
        let files = DataFiles::of(listing);
        let of_others = [FileKind::Summary, FileKind::Periods, FileKind::SinglePrompt];
        if has_trace
            && of_others
                .into_iter()
                .all(|kind| files.of_kind(kind).next().is_none())
        {
            self.trace = Some(TraceReplay::read(&self.dir, &mut self.warnings));
        }
        self.read_json_files();
        let mut files = files;
        if let Some(file) = files.newest_summary().cloned() {
            let n_warnings = self.warnings.len();
            let rows = read_table::<SummaryRow>(&file, &mut self.warnings);
            let is_bare = rows.is_empty()
                && self.warnings.len() == n_warnings
                && open::has_column(&file, "context_size");
            if let (true, Some(stamp)) = (is_bare, &file.stamp) {
                // A run that began afresh and has no result yet: what lies there from before is none of its own.
                files = files.since(stamp);
            }
            self.summary = newest_summaries(rows);
            self.summary_file = Some(file.name);
        }
        self.varies_working_set = files
            .of_kind(FileKind::Summary)
            .any(|file| open::has_column(file, "working_set_size"));
        // Windows and periods in one sequence: of a test measured in two modes, the later one counts.
        for (kind, file) in files.iter() {
            match kind {
                FileKind::Phases => self.add_phases(file),
                FileKind::Periods => self.add_periods(file),
                FileKind::Health => self.add_health(file),
                _ => {}
            }
        }
        if let Some(file) = files.of_kind(FileKind::SinglePrompt).next_back() {
            self.single_prompt = read_table::<SinglePromptRow>(file, &mut self.warnings);
        }
        Some(files)
    }

    /// The phases of a file newer than those so far, in place of what is known of its tests.
    fn add_phases(&mut self, file: &StampedFile) {
        let rows = read_table::<PhaseRow>(file, &mut self.warnings);
        let tests: BTreeSet<TestName> = rows.iter().map(TestName::from).collect();
        for phases in [&mut self.phases, &mut self.period_phases] {
            phases.retain(|row| !tests.contains(&TestName::from(row)));
        }
        let (periods, windows): (Vec<PhaseRow>, Vec<PhaseRow>) = newest_phases(rows)
            .into_iter()
            .partition(|row| row.phase_type() == "SUSTAINED");
        for row in &windows {
            self.periods.remove(&TestName::from(row));
        }
        self.phases.extend(windows);
        self.period_phases.extend(periods);
    }

    /// The same with the periods of a file.
    fn add_periods(&mut self, file: &StampedFile) {
        // The working set grows from period to period: which test it was, only the name tells.
        let named = TestName::of_periods_file(&file.name);
        let mut by_test: BTreeMap<TestName, Vec<PeriodRow>> = BTreeMap::new();
        for row in read_table::<PeriodRow>(file, &mut self.warnings) {
            let test = named
                .filter(|test| {
                    test.context_size == row.context_size
                        && test.cache_hit_rate == row.cache_hit_rate
                })
                .unwrap_or_else(|| TestName::from(&row));
            by_test.entry(test).or_default().push(row);
        }
        self.phases
            .retain(|row| !by_test.contains_key(&TestName::from(row)));
        self.periods.extend(by_test);
    }

    /// The same with what the client says of itself.
    fn add_health(&mut self, file: &StampedFile) {
        let rows = read_table::<HealthRow>(file, &mut self.warnings);
        let tests: BTreeSet<TestName> = rows.iter().map(TestName::from).collect();
        self.health
            .retain(|row| !tests.contains(&TestName::from(row)));
        self.health.extend(rows);
    }

    fn read_json_files(&mut self) {
        // The trace replay tool keeps other things in a file of this name.
        if self.trace.is_none() {
            match Progress::load(&self.dir) {
                Ok(progress) => self.progress = progress,
                Err(error) => self
                    .warnings
                    .push(DataWarning::of_error(PROGRESS_FILE, &error)),
            }
        }
        match TestMetadata::load(&self.dir) {
            Ok(metadata) => self.metadata = metadata,
            Err(error) => self.warnings.push(DataWarning::of_error(
                crate::metadata::METADATA_FILE,
                &error,
            )),
        }
        match load_single_prompt(&self.dir) {
            Ok(metadata) => self.single_prompt_metadata = metadata,
            Err(error) => self.warnings.push(DataWarning::of_error(
                crate::metadata::SINGLE_PROMPT_FILE,
                &error,
            )),
        }
        match RunFacts::load(&self.dir) {
            Ok(facts) => self.facts = facts,
            Err(error) => self
                .warnings
                .push(DataWarning::of_error(crate::metadata::FACTS_FILE, &error)),
        }
    }

    /// The tests whose large rows are worth keeping; all where there is no summary.
    fn wanted(&self) -> Option<BTreeSet<TestName>> {
        (!self.summary.is_empty()).then(|| self.summary.iter().map(TestName::from).collect())
    }

    fn spans(&self) -> PhaseSpans {
        PhaseSpans::of(&self.phases, &self.periods)
    }

    fn read_failed(&mut self, files: &DataFiles) {
        let spans = self.spans();
        for context in files.failed_contexts() {
            let newest_first = files.of_kind(FileKind::Failed(context)).rev();
            let warnings = &mut self.warnings;
            let selected: BTreeMap<TestName, Selected<Vec<FailureKind>>> =
                newest_per_test(newest_first, None, false, |file, take| {
                    for_each_row(file, warnings, schema::RowReader::new, |row: FailedRow| {
                        let test = spans.test_at(context, &row.phase_id, row.launch_time);
                        if let Some(test) = test {
                            take(test, true, row.kind);
                        }
                    });
                });
            for (test, selected) in selected {
                let counts = self.failed.entry(test).or_default();
                for kind in selected.rows {
                    *counts.entry(kind).or_insert(0) += 1;
                }
            }
        }
    }

    fn read_details(&mut self, files: &DataFiles) {
        let spans = self.spans();
        let wanted = self.wanted();
        for context in files.detail_contexts() {
            let wanted = of_context(wanted.as_ref(), context);
            let newest_first = files.of_kind(FileKind::Detail(context)).rev();
            let warnings = &mut self.warnings;
            let selected: BTreeMap<TestName, Selected<Vec<RequestRecord>>> =
                newest_per_test(newest_first, wanted.as_ref(), true, |file, take| {
                    let reader = schema::read_detail_without_lists;
                    for_each_row(file, warnings, reader, |row: RequestRecord| {
                        let test = TestName::from(&row.intent);
                        // The originals wrote rows of earlier contexts into later contexts' files.
                        if test.context_size == context {
                            let fits = spans.fits(test, &row.intent.phase_id, row.launch_time);
                            take(test, fits, row);
                        }
                    });
                });
            for (test, selected) in selected {
                self.warn_of_unfit(test, &selected);
                let mut samples = TestSamples::default();
                let pairs = selected
                    .rows
                    .iter()
                    .map(|row| (Arc::clone(&row.intent.phase_id), Sample::from(row)));
                samples.extend(pairs);
                self.samples.insert(test, samples);
                self.details.insert(test, selected.rows);
            }
        }
    }

    fn read_samples(&mut self, files: &DataFiles) {
        let spans = self.spans();
        let wanted = self.wanted();
        for context in files.detail_contexts() {
            let wanted = of_context(wanted.as_ref(), context);
            let newest_first = files.of_kind(FileKind::Detail(context)).rev();
            let warnings = &mut self.warnings;
            let selected: BTreeMap<TestName, Selected<TestSamples>> =
                newest_per_test(newest_first, wanted.as_ref(), true, |file, take| {
                    let reader = schema::read_samples;
                    for_each_row(file, warnings, reader, |row: SampleRow| {
                        let test = TestName::new(row.context_size, row.cache_hit_rate)
                            .with_working_set(row.working_set_size);
                        if test.context_size == context {
                            let launched = row.sample.launch_time();
                            let fits = spans.fits(test, &row.phase_id, launched);
                            take(test, fits, (row.phase_id, row.sample));
                        }
                    });
                });
            for (test, selected) in selected {
                self.warn_of_unfit(test, &selected);
                self.samples.insert(test, selected.rows);
            }
        }
    }

    fn warn_of_unfit<C>(&mut self, test: TestName, selected: &Selected<C>) {
        if !selected.fits {
            self.warnings.push(DataWarning::new(
                &selected.file.name,
                format!("the rows of test {test} belong to none of its phases"),
            ));
        }
    }
}

/// The tests of one context among those wanted.
fn of_context(wanted: Option<&BTreeSet<TestName>>, context: u64) -> Option<BTreeSet<TestName>> {
    let of_context = wanted?.iter().filter(|test| test.context_size == context);
    Some(of_context.copied().collect())
}

#[cfg(test)]
mod tests;

//! What an interrupted run hands on to the one that continues it.
//!
//! Promise: only what belongs to tests listed as complete is kept, of every context, also of those
//! that the present command does not name; what is dropped is counted. Files are only read, never
//! moved or deleted. Refuses to go on inside a test: rows of an interrupted one stay behind.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;

use metrics::schema::{FailedRow, RowReader, read_detail_without_lists};
use metrics::{PeriodRow, PhaseRow, RequestRecord, SummaryRow};

use crate::data::open::for_each_row;
use crate::data::source::{PhaseSpans, Selected, newest_per_test};
use crate::data::{DataWarning, RunData};
use crate::files::{DataFiles, FileKind, ResultDir};
use crate::progress::Progress;
use crate::stamp::StampedFile;
use crate::test_name::TestName;

/// Kept rows, and where to find those that are too many to keep in memory.
#[derive(Debug, Clone, Default)]
pub struct ResumeState {
    /// Summary rows of complete tests, from the newest summary.
    pub summary: Vec<SummaryRow>,
    /// Rows of that summary whose tests are not listed as complete.
    pub n_dropped_summary_rows: usize,
    /// Phases of complete tests.
    pub phases: Vec<PhaseRow>,
    /// Periods of complete tests.
    pub periods: BTreeMap<TestName, Vec<PeriodRow>>,
    /// What could not be read.
    pub warnings: Vec<DataWarning>,
    complete: BTreeSet<TestName>,
    files: DataFiles,
}

/// A file and the tests whose rows are taken from it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: StampedFile,
    pub(crate) tests: BTreeSet<TestName>,
}

impl ResumeState {
    /// Gathers what `progress` lists as complete; nothing with `force_restart`.
    #[must_use]
    pub fn gather(dir: &ResultDir, progress: &Progress, force_restart: bool) -> Self {
        if force_restart {
            return Self::default();
        }
        let complete: BTreeSet<TestName> = progress.completed().collect();
        let data = RunData::read_tables(dir.path());
        let n_rows = data.summary.len();
        let is_kept = |test: TestName| complete.contains(&test);
        let mut summary = data.summary;
        summary.retain(|row| is_kept(row.into()));
        let mut phases = data.phases;
        phases.extend(data.period_phases);
        phases.retain(|row| is_kept(row.into()));
        let mut periods = data.periods;
        periods.retain(|test, _| is_kept(*test));
        Self {
            n_dropped_summary_rows: n_rows - summary.len(),
            summary,
            phases,
            periods,
            warnings: data.warnings,
            files: dir.scan(),
            complete,
        }
    }

    /// Whether any complete test has this context size.
    pub(crate) fn has_tests_of(&self, context_size: u64) -> bool {
        self.complete
            .iter()
            .any(|test| test.context_size == context_size)
    }

    /// Whether an earlier run of this context had failed requests.
    pub(crate) fn has_failed_files_of(&self, context_size: u64) -> bool {
        self.files
            .of_kind(FileKind::Failed(context_size))
            .next()
            .is_some()
    }

    /// When the kept phases were.
    pub(crate) fn spans(&self) -> PhaseSpans {
        PhaseSpans::of(&self.phases, &self.periods)
    }

    /// For the complete tests of a context, the files their detail rows come from.
    pub(crate) fn detail_sources(
        &self,
        context_size: u64,
        warnings: &mut Vec<DataWarning>,
    ) -> Vec<Source> {
        let wanted = self.complete_of(context_size);
        let spans = self.spans();
        let newest_first = self.files.of_kind(FileKind::Detail(context_size)).rev();
        // What is wrong with the files is told when their rows are copied.
        let mut scratch = Vec::new();
        let selected: BTreeMap<TestName, Selected<()>> =
            newest_per_test(newest_first, Some(&wanted), true, |file, take| {
                let reader = read_detail_without_lists;
                for_each_row(file, &mut scratch, reader, |row: RequestRecord| {
                    let test = TestName::from(&row.intent);
                    let fits = spans.fits(test, &row.intent.phase_id, row.launch_time);
                    take(test, fits, ());
                });
            });
        for test in wanted.iter().filter(|test| !selected.contains_key(test)) {
            warnings.push(DataWarning::new(
                ".",
                format!("no file holds detail rows of test {test}, which is listed as complete"),
            ));
        }
        by_file(selected)
    }

    /// For the complete tests of a context, the files their failed requests come from.
    pub(crate) fn failed_sources(&self, context_size: u64) -> Vec<Source> {
        let wanted = self.complete_of(context_size);
        let spans = self.spans();
        let newest_first = self.files.of_kind(FileKind::Failed(context_size)).rev();
        let mut scratch = Vec::new();
        let selected: BTreeMap<TestName, Selected<()>> =
            newest_per_test(newest_first, Some(&wanted), false, |file, take| {
                let reader = RowReader::<BufReader<_>, FailedRow>::new;
                for_each_row(file, &mut scratch, reader, |row| {
                    let test = spans.test_at(context_size, &row.phase_id, row.launch_time);
                    if let Some(test) = test {
                        take(test, true, ());
                    }
                });
            });
        by_file(selected)
    }

    fn complete_of(&self, context_size: u64) -> BTreeSet<TestName> {
        let of_context = |test: &&TestName| test.context_size == context_size;
        self.complete.iter().filter(of_context).copied().collect()
    }
}

/// The other way round: for every file its tests, oldest file first.
fn by_file(selected: BTreeMap<TestName, Selected<()>>) -> Vec<Source> {
    let mut files: BTreeMap<StampedFile, BTreeSet<TestName>> = BTreeMap::new();
    for (test, of_test) in selected {
        files.entry(of_test.file).or_default().insert(test);
    }
    files
        .into_iter()
        .map(|(file, tests)| Source { file, tests })
        .collect()
}

#[cfg(test)]
mod tests;

//! The small tables of a run, phases and summary, and the writer that joins all of a run's files.
//!
//! Promise: `phase_metadata_<ts>.csv` and `summary_<ts>.csv` are replaced in one step and always hold
//! everything known so far, rows kept from an earlier run included. Rows put again replace their
//! earlier selves, so that giving only new rows and giving all rows come to the same.

use std::path::{Path, PathBuf};

use metrics::health::HealthRow;
use metrics::phase::newest_phases;
use metrics::schema::{SchemaError, write_health, write_periods, write_phases, write_summary};
use metrics::summary::newest_summaries;
use metrics::{FailedRequest, PeriodRow, PhaseRow, RequestRecord, SummaryRow};

use super::{
    RequestWriter, ResultDir, WriteError, WriterOptions, health_name, periods_name, phases_name,
    summary_name,
};
use crate::data::DataWarning;
use crate::resume::ResumeState;
use crate::stamp::RunStamp;
use crate::test_name::TestName;

/// Writes the phase and summary files of one run.
#[derive(Debug)]
pub struct TableWriter {
    dir: PathBuf,
    stamp: RunStamp,
    options: WriterOptions,
    phases: Vec<PhaseRow>,
    summary: Vec<SummaryRow>,
}

impl TableWriter {
    fn new(dir: &Path, stamp: &RunStamp, options: WriterOptions) -> Self {
        Self {
            dir: dir.to_owned(),
            stamp: stamp.clone(),
            options,
            phases: Vec::new(),
            summary: Vec::new(),
        }
    }

    /// Takes over the rows of an earlier run; they are written with the first rows that are put.
    pub fn carry_over(&mut self, kept: &ResumeState) {
        self.phases.extend(kept.phases.iter().cloned());
        self.summary.extend(kept.summary.iter().cloned());
    }

    /// Adds or replaces phases and replaces the file.
    ///
    /// # Errors
    /// When the file cannot be written; the old one then stands unchanged.
    pub fn put_phases(&mut self, rows: &[PhaseRow]) -> Result<(), WriteError> {
        let known = std::mem::take(&mut self.phases);
        self.phases = newest_phases(known.into_iter().chain(rows.iter().cloned()));
        self.replace(&phases_name(&self.stamp), |bytes| {
            write_phases(bytes, &self.phases, self.options.set)
        })
    }

    /// Adds or replaces results of tests and replaces the file.
    ///
    /// # Errors
    /// When the file cannot be written; the old one then stands unchanged.
    pub fn put_summary(&mut self, rows: &[SummaryRow]) -> Result<(), WriteError> {
        let known = std::mem::take(&mut self.summary);
        self.summary = newest_summaries(known.into_iter().chain(rows.iter().cloned()));
        self.replace(&summary_name(&self.stamp), |bytes| {
            write_summary(bytes, &self.summary, self.options.set)
        })
    }

    /// Replaces the file of what the client says of itself.
    ///
    /// # Errors
    /// When the file cannot be written; the old one then stands unchanged.
    pub fn put_health(&mut self, rows: &[HealthRow]) -> Result<(), WriteError> {
        self.replace(&health_name(&self.stamp), |bytes| {
            write_health(bytes, rows, self.options.set)
        })
    }

    /// Replaces the periods of a test once [`RequestWriter::put_periods`] is done with them.
    ///
    /// # Errors
    /// When the file cannot be written; the old one then stands unchanged.
    pub fn put_periods(&mut self, test: TestName, rows: &[PeriodRow]) -> Result<(), WriteError> {
        self.replace(&periods_name(test, &self.stamp), |bytes| {
            write_periods(bytes, rows, self.options.set)
        })
    }

    /// All phases known so far.
    #[must_use]
    pub fn phases(&self) -> &[PhaseRow] {
        &self.phases
    }

    /// All results known so far, by context, working set and rate.
    #[must_use]
    pub fn summary(&self) -> &[SummaryRow] {
        &self.summary
    }

    fn replace(
        &self,
        name: &str,
        render: impl FnOnce(&mut Vec<u8>) -> Result<(), SchemaError>,
    ) -> Result<(), WriteError> {
        super::replace(&self.dir.join(name), render)
    }
}

/// All files of one run: single requests and tables, under one stamp.
///
/// [`RunWriter::split`] gives the halves to two threads.
#[derive(Debug)]
pub struct RunWriter {
    requests: RequestWriter,
    tables: TableWriter,
}

impl RunWriter {
    /// A writer for a new run. Files appear with their first row.
    #[must_use]
    pub fn create(dir: &ResultDir, stamp: &RunStamp, options: WriterOptions) -> Self {
        Self {
            requests: RequestWriter::new(dir.path(), stamp, options),
            tables: TableWriter::new(dir.path(), stamp, options),
        }
    }

    /// Begins with what an earlier run left; call it before anything is written.
    pub fn carry_over(&mut self, kept: &ResumeState) {
        self.requests.carry_over(kept);
        self.tables.carry_over(kept);
    }

    /// The half for single requests, which may go to a writer thread, and the half for the tables.
    #[must_use]
    pub fn split(self) -> (RequestWriter, TableWriter) {
        (self.requests, self.tables)
    }

    /// See [`RequestWriter::begin_context`].
    ///
    /// # Errors
    /// As there.
    pub fn begin_context(&mut self, context_size: u64) -> Result<(), WriteError> {
        self.requests.begin_context(context_size)
    }

    /// See [`RequestWriter::append_detail`].
    ///
    /// # Errors
    /// As there.
    pub fn append_detail(
        &mut self,
        context_size: u64,
        records: &[RequestRecord],
    ) -> Result<(), WriteError> {
        self.requests.append_detail(context_size, records)
    }

    /// See [`RequestWriter::append_failed`].
    ///
    /// # Errors
    /// As there.
    pub fn append_failed(
        &mut self,
        context_size: u64,
        requests: &[FailedRequest],
    ) -> Result<(), WriteError> {
        self.requests.append_failed(context_size, requests)
    }

    /// See [`RequestWriter::take_warnings`].
    pub fn take_warnings(&mut self) -> Vec<DataWarning> {
        self.requests.take_warnings()
    }

    /// See [`TableWriter::put_phases`].
    ///
    /// # Errors
    /// As there.
    pub fn put_phases(&mut self, rows: &[PhaseRow]) -> Result<(), WriteError> {
        self.tables.put_phases(rows)
    }

    /// See [`TableWriter::put_summary`].
    ///
    /// # Errors
    /// As there.
    pub fn put_summary(&mut self, rows: &[SummaryRow]) -> Result<(), WriteError> {
        self.tables.put_summary(rows)
    }
}

//! The files of single requests, detail rows and failed requests, one of each per context and run; and the
//! periods of sustained tests, one file per test, with what the client says of itself in them, which are written
//! beside them while requests run.
//!
//! Promise: a file appears whole, with its header and the rows kept from an earlier run, and then
//! grows by whole batches; it is valid CSV at any moment. Handles stay open. Rows of an interrupted
//! test stay where they were written and are not carried over. Refuses to touch files of other runs.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};

use metrics::health::HealthRow;
use metrics::schema::{
    DetailWriter, FailedRow, RowReader, SchemaError, read_detail, write_health, write_periods,
};
use metrics::{FailedRequest, PeriodRow, RequestRecord};

use super::append::AppendFile;
use super::failed::FailedLines;
use super::{
    WriteError, WriterOptions, detail_name, failed_name, health_name, periods_name, replace,
};
use crate::atomic::{AtomicFile, Durability, FileError};
use crate::data::DataWarning;
use crate::data::open::for_each_row;
use crate::resume::ResumeState;
use crate::stamp::RunStamp;
use crate::test_name::TestName;

/// Writes the rows of single requests of one run. See the module's promise.
#[derive(Debug)]
pub struct RequestWriter {
    dir: PathBuf,
    stamp: RunStamp,
    options: WriterOptions,
    kept: ResumeState,
    details: BTreeMap<u64, DetailWriter<AppendFile>>,
    failed: BTreeMap<u64, FailedLines<AppendFile>>,
    /// The sustained test that goes on, and its periods so far.
    periods: Option<(TestName, Vec<PeriodRow>)>,
    /// Of the periods of all tests so far.
    health: Vec<HealthRow>,
    warnings: Vec<DataWarning>,
}

impl RequestWriter {
    pub(super) fn new(dir: &Path, stamp: &RunStamp, options: WriterOptions) -> Self {
        Self {
            dir: dir.to_owned(),
            stamp: stamp.clone(),
            options,
            kept: ResumeState::default(),
            details: BTreeMap::new(),
            failed: BTreeMap::new(),
            periods: None,
            health: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// From now on files begin with the kept rows of their context. Call it before anything is written.
    pub fn carry_over(&mut self, kept: &ResumeState) {
        self.kept = kept.clone();
    }

    /// Makes the files of a context that have kept rows to begin with. Appending does it too; calling
    /// this before the context's warm-up keeps the copying out of measured time.
    ///
    /// # Errors
    /// When a file cannot be made; earlier files stand unchanged.
    pub fn begin_context(&mut self, context_size: u64) -> Result<(), WriteError> {
        if self.kept.has_tests_of(context_size) {
            self.detail(context_size)?;
            if self.kept.has_failed_files_of(context_size) {
                self.failed(context_size)?;
            }
        }
        Ok(())
    }

    /// Appends completed requests of a context and flushes them.
    ///
    /// # Errors
    /// When the file cannot be made or does not take the rows. Rows written before stay as they are;
    /// rows that the file did not take are written by the next call that succeeds.
    pub fn append_detail(
        &mut self,
        context_size: u64,
        records: &[RequestRecord],
    ) -> Result<(), WriteError> {
        if records.is_empty() {
            return Ok(());
        }
        let path = self.dir.join(detail_name(context_size, &self.stamp));
        let writer = self.detail(context_size)?;
        let written = each(records, |record| writer.write(record));
        written
            .and(writer.flush())
            .map_err(|source| WriteError::Rows { path, source })
    }

    /// Appends failed and cancelled requests of a context and flushes them.
    ///
    /// # Errors
    /// As [`RequestWriter::append_detail`].
    pub fn append_failed(
        &mut self,
        context_size: u64,
        requests: &[FailedRequest],
    ) -> Result<(), WriteError> {
        if requests.is_empty() {
            return Ok(());
        }
        let path = self.dir.join(failed_name(context_size, &self.stamp));
        let writer = self.failed(context_size)?;
        let written = each(requests, |request| {
            writer.write(&FailedRow::from(request), TestName::from(&request.intent))
        });
        written
            .and(writer.flush())
            .map_err(|source| WriteError::Rows { path, source })
    }

    /// Adds a period to those of the test that goes on, or begins those of another one, and what the client says of
    /// itself in it to that of all periods of the run.
    ///
    /// # Errors
    /// When a file cannot be written; the one before stands unchanged, and the next call writes this period, too.
    pub fn add_period(
        &mut self,
        test: TestName,
        period: PeriodRow,
        health: HealthRow,
    ) -> Result<(), WriteError> {
        self.health.push(health);
        let set = self.options.set;
        let written = replace(&self.dir.join(health_name(&self.stamp)), |bytes| {
            write_health(bytes, &self.health, set)
        });
        let (_, periods) = match &mut self.periods {
            Some(known) if known.0 == test => known,
            other => other.insert((test, Vec::new())),
        };
        periods.push(period);
        let name = periods_name(test, &self.stamp);
        written.and(replace(&self.dir.join(name), |bytes| {
            write_periods(bytes, periods, set)
        }))
    }

    /// Replaces the periods of a test by these, all of it.
    ///
    /// # Errors
    /// When the file cannot be written; the one before stands unchanged.
    pub fn put_periods(&mut self, test: TestName, periods: &[PeriodRow]) -> Result<(), WriteError> {
        self.periods = None;
        replace(&self.dir.join(periods_name(test, &self.stamp)), |bytes| {
            write_periods(bytes, periods, self.options.set)
        })
    }

    /// What went wrong with files of earlier runs while their rows were carried over; each is told
    /// once.
    pub fn take_warnings(&mut self) -> Vec<DataWarning> {
        std::mem::take(&mut self.warnings)
    }

    fn detail(&mut self, context_size: u64) -> Result<&mut DetailWriter<AppendFile>, WriteError> {
        let entry = match self.details.entry(context_size) {
            Entry::Occupied(open) => return Ok(open.into_mut()),
            Entry::Vacant(vacant) => vacant,
        };
        let path = self.dir.join(detail_name(context_size, &self.stamp));
        let set = self.options.set;
        let rows_error = |source| WriteError::Rows {
            path: path.clone(),
            source,
        };
        let file = AtomicFile::create(&path)?;
        let mut writer = DetailWriter::with_columns(file, set).map_err(rows_error)?;
        for source in self.kept.detail_sources(context_size, &mut self.warnings) {
            let mut result = Ok(());
            for_each_row(&source.file, &mut self.warnings, read_detail, |row| {
                if result.is_ok() && source.tests.contains(&TestName::from(&row.intent)) {
                    result = writer.write(&row);
                }
            });
            result.map_err(rows_error)?;
        }
        let file = finish(writer.into_inner(), &path)?;
        Ok(entry.insert(DetailWriter::append(file, set)))
    }

    fn failed(&mut self, context_size: u64) -> Result<&mut FailedLines<AppendFile>, WriteError> {
        let entry = match self.failed.entry(context_size) {
            Entry::Occupied(open) => return Ok(open.into_mut()),
            Entry::Vacant(vacant) => vacant,
        };
        let path = self.dir.join(failed_name(context_size, &self.stamp));
        let rows_error = |source| WriteError::Rows {
            path: path.clone(),
            source,
        };
        let file = AtomicFile::create(&path)?;
        let mut writer = FailedLines::new(file).map_err(rows_error)?;
        let spans = self.kept.spans();
        for source in self.kept.failed_sources(context_size) {
            let mut result = Ok(());
            let reader = RowReader::<BufReader<_>, FailedRow>::new;
            for_each_row(&source.file, &mut self.warnings, reader, |row| {
                let test = spans.test_at(context_size, &row.phase_id, row.launch_time);
                let Some(test) = test.filter(|test| source.tests.contains(test)) else {
                    return;
                };
                if result.is_ok() {
                    result = writer.write(&row, test);
                }
            });
            result.map_err(rows_error)?;
        }
        let file = finish(writer.into_inner(), &path)?;
        Ok(entry.insert(FailedLines::append(file)))
    }
}

/// Writes every row, also behind one that could not be written, and returns the first error.
fn each<T>(
    rows: &[T],
    mut write: impl FnMut(&T) -> Result<(), SchemaError>,
) -> Result<(), SchemaError> {
    let mut first = Ok(());
    for row in rows {
        first = first.and(write(row));
    }
    first
}

/// Gives a begun file its name and goes on with it behind its last row.
fn finish(mut file: AtomicFile, path: &Path) -> Result<AppendFile, WriteError> {
    let fail = |e| FileError::new("write", path, e);
    file.flush().map_err(fail)?;
    let handle = file.commit(Durability::Renamed)?;
    let len = handle.metadata().map_err(fail)?.len();
    Ok(AppendFile::new(handle, len))
}

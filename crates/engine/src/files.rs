//! The row files of a run, as the writer thread sees them: `report`'s writer behind the recorder's trait.

use metrics::health::HealthRow;
use metrics::{FailedRequest, PeriodRow, RequestRecord};
use report::files::RequestWriter;
use report::test_name::TestName;

use crate::recorder::RowFiles;

/// Row files of a run, shared with the writer thread.
impl RowFiles for RequestWriter {
    fn append(
        &mut self,
        records: &[RequestRecord],
        failed: &[FailedRequest],
    ) -> Result<(), String> {
        // Files are by context. A window has only one, so these are whole slices as a rule.
        let mut written = Ok(());
        for rows in records.chunk_by(|a, b| a.intent.context_size == b.intent.context_size) {
            written = written.and(self.append_detail(rows[0].intent.context_size, rows));
        }
        for rows in failed.chunk_by(|a, b| a.intent.context_size == b.intent.context_size) {
            written = written.and(self.append_failed(rows[0].intent.context_size, rows));
        }
        for warning in self.take_warnings() {
            tracing::warn!("{warning}");
        }
        written.map_err(|error| one_line(&error))
    }

    fn add_period(
        &mut self,
        test: TestName,
        period: PeriodRow,
        health: HealthRow,
    ) -> Result<(), String> {
        RequestWriter::add_period(self, test, period, health).map_err(|error| one_line(&error))
    }

    fn put_periods(&mut self, test: TestName, periods: &[PeriodRow]) -> Result<(), String> {
        RequestWriter::put_periods(self, test, periods).map_err(|error| one_line(&error))
    }
}

/// An error with its causes, on one line.
pub(crate) fn one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

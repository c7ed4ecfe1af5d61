//! A sink for tests that look at single requests of a sustained test, which keeps none.

use engine::recorder::{Ended, InlineSink, RecordSink, WindowRows};
use futures_util::future::LocalBoxFuture;
use metrics::health::HealthRow;
use metrics::{PeriodRow, RequestRecord};
use report::test_name::TestName;

/// A sink that keeps a copy of the rows that a test takes out while it goes on.
pub(crate) struct KeepingSink {
    pub(super) inner: InlineSink,
    pub(super) kept: Vec<RequestRecord>,
    /// Rows taken out at once: most of all times.
    pub(super) most_at_once: usize,
    /// What was given of periods while the test went on.
    pub(super) health: Vec<HealthRow>,
}

impl KeepingSink {
    fn keep(&mut self, rows: WindowRows) -> WindowRows {
        self.most_at_once = self.most_at_once.max(rows.records.len());
        self.kept.extend(rows.records.iter().cloned());
        rows
    }
}

impl RecordSink for KeepingSink {
    fn push(&mut self, ended: Ended) {
        self.inner.push(ended);
    }

    fn add_period(&mut self, test: TestName, period: PeriodRow, health: HealthRow) {
        self.health.push(health.clone());
        self.inner.add_period(test, period, health);
    }

    fn put_periods(&mut self, test: TestName, periods: Vec<PeriodRow>) {
        self.inner.put_periods(test, periods);
    }

    fn write_error(&self) -> Option<String> {
        self.inner.write_error()
    }

    fn spill(&mut self) -> Option<WindowRows> {
        let rows = self.inner.spill()?;
        Some(self.keep(rows))
    }

    fn collect(&mut self) -> LocalBoxFuture<'_, WindowRows> {
        Box::pin(async move {
            let rows = self.inner.collect().await;
            self.keep(rows)
        })
    }
}

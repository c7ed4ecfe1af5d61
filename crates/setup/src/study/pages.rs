//! Chart pages and the dashboard, drawn between tests. A page that cannot be drawn is a warning: the data are safe.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use engine::test_run::TestOutcome;
use metrics::{PeriodRow, SummaryRow};
use ramp::Thresholds;
use report::atomic::FileError;
use report::catalogue::{write_comparison_charts, write_sustained_chart, write_test_chart};
use report::data::RunData;
use report::index::{write_index, write_index_of, write_index_within};
use report::page::PageContext;

use super::StudyOptions;

/// Bytes of request rows that are read again behind every test; a fraction of a second's work.
const ROWS_BETWEEN_TESTS: u64 = 16 * 1024 * 1024;

/// Draws the pages of a run.
#[derive(Debug)]
pub(super) struct Pages {
    dir: PathBuf,
    context: PageContext,
    thresholds: Thresholds,
    strict: bool,
    skip_charts: bool,
    /// Pages over all tests that were told: they are drawn again and again while the run goes on.
    told: RefCell<BTreeSet<PathBuf>>,
}

impl Pages {
    pub(super) fn new(options: &StudyOptions, dir: &Path, model: &str, version: &str) -> Self {
        Self {
            dir: dir.to_owned(),
            context: PageContext {
                model: Some(model.to_owned()),
                version: version.to_owned(),
            },
            thresholds: options.thresholds,
            strict: options.strict_time_window,
            skip_charts: options.skip_graphs,
            told: RefCell::default(),
        }
    }

    /// The chart of one test.
    pub(super) fn test(&self, outcome: &TestOutcome) {
        if self.skip_charts {
            return;
        }
        if !outcome.periods.is_empty() {
            if let Some(page) = self.periods(&outcome.summary, &outcome.periods) {
                tracing::info!("Generated graph: {}", page.display());
            }
            return;
        }
        let drawn = write_test_chart(
            &self.dir,
            &outcome.summary,
            &outcome.phases,
            &outcome.records,
            (self.thresholds.max_ttft, self.strict),
            &self.context,
        );
        match drawn {
            Ok(Some(page)) => tracing::info!("Generated graph: {}", page.display()),
            Ok(None) => {}
            Err(error) => warn_of_test(error),
        }
    }

    /// The dashboard as far as the run has come. Rows of requests are read only where they are few: tests wait for this.
    pub(super) fn index(&self) {
        let drawn = write_index_within(&self.dir, &self.context.version, ROWS_BETWEEN_TESTS);
        self.warn(drawn.map(drop));
    }

    /// The chart of one sustained test.
    pub(super) fn periods(&self, result: &SummaryRow, periods: &[PeriodRow]) -> Option<PathBuf> {
        if self.skip_charts {
            return None;
        }
        let drawn = write_sustained_chart(
            &self.dir,
            result,
            periods,
            (self.thresholds.max_ttft, self.thresholds.min_speed),
            &self.context,
        );
        drawn.map_err(warn_of_test).ok()
    }

    /// The charts over all tests so far, and the dashboard.
    pub(super) fn all(&self) {
        if self.skip_charts {
            self.warn(write_index(&self.dir, &self.context.version).map(drop));
            return;
        }
        let data = RunData::read(&self.dir);
        for warning in &data.warnings {
            tracing::warn!("{warning}");
        }
        let drawn = write_comparison_charts(&self.dir, &data, &self.context);
        self.warn(drawn.map(|pages| self.tell_drawn(pages)));
        self.warn(write_index_of(&data, &self.context.version));
    }

    fn tell_drawn(&self, pages: Vec<PathBuf>) {
        for page in pages {
            if self.told.borrow_mut().insert(page.clone()) {
                tracing::info!("Generated graph: {}", page.display());
            } else {
                tracing::debug!("Generated graph: {}", page.display());
            }
        }
    }

    fn warn(&self, result: Result<(), FileError>) {
        if let Err(error) = result {
            tracing::warn!(
                "A page could not be written: {:#}",
                anyhow::Error::new(error)
            );
        }
    }
}

fn warn_of_test(error: FileError) {
    tracing::warn!(
        "The chart of this test could not be written: {:#}",
        anyhow::Error::new(error)
    );
}

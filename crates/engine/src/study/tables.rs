//! What a test leaves in the tables of the run, whether it has a result or none.

use metrics::health::WindowHealth;
use metrics::{PeriodRow, PhaseRow};
use report::test_name::TestName;

use super::Study;
use crate::files::one_line;
use crate::proof::uncalibrated;

impl Study<'_, '_> {
    pub(super) fn put_phases(&mut self, phases: &[PhaseRow]) -> Result<(), String> {
        // A sustained test may have no windows, and its directory then no file of them.
        if phases.is_empty() {
            return Ok(());
        }
        let put = self.store.tables.put_phases(phases);
        put.map_err(|error| one_line(&error))
    }

    /// Keeps what is known of the client's part in a test, and writes that of all tests so far; what a calibration finds
    /// comes on top when the study is over.
    pub(super) fn put_health(
        &mut self,
        test: TestName,
        health: &[WindowHealth],
        periods: &[PeriodRow],
    ) -> Result<(), String> {
        if !periods.is_empty() {
            self.end.periods.push((test, periods.to_vec()));
        }
        if health.is_empty() {
            return Ok(());
        }
        self.end.health.extend_from_slice(health);
        let rows = uncalibrated(&self.end.health);
        let put = self.store.tables.put_health(&rows);
        put.map_err(|error| one_line(&error))
    }
}

//! How a run is told: every line of the log, the final table, and the `--brief` report.
//!
//! Promise: pure functions from results to lines; nothing is printed here and nothing is computed that
//! ends in a file. Labels that scripts parse keep the originals' wording. An undefined value is `n/a`,
//! in the brief report an empty cell.

mod finish;
mod level;
mod period;
mod start;
mod warm_up;

pub use finish::{
    BriefInput, FailedTest, RunEnd, TestShape, brief_report, end_of_run, interrupted, test_done,
    test_failed,
};
pub use level::{
    LevelStatistics, Run, cooldown, first_level_faulty, is_faulty, level_result, level_start,
    level_summary, note, retries_start, runs_table, strict_comparison, verdict,
};
pub use period::{period_result, period_start, periods_end};
pub use start::{
    ContextEstimate, ContextSize, KvEstimates, StartFacts, banner, context_skipped, context_start,
    start_facts, test_skipped, test_start,
};
pub use warm_up::{warm_up_end, warm_up_progress, warm_up_start};

#[cfg(test)]
mod tests;

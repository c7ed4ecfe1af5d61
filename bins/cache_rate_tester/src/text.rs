//! How a run is told: the lines of the log that are this tool's own, the final table, and the `--brief` report.
//!
//! Promise: pure functions from results to lines; nothing is printed here and nothing is computed that
//! ends in a file. Labels that scripts parse keep the originals' wording. An undefined value is `n/a`,
//! in the brief report an empty cell.

mod finish;
mod period;
mod start;

pub use finish::{TestShape, brief_report, final_table, test_done, test_failed};
pub use period::{period_result, period_start, periods_end};
pub use start::{banner, context_start, script_written, start_facts, test_skipped, test_start};

#[cfg(test)]
mod tests;

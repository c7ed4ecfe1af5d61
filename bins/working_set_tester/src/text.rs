//! How a run is told: the lines of the log that are this tool's own, the final table, and the `--brief` report.
//!
//! Promise: pure functions from results to lines; nothing is printed here and nothing is computed that ends in a file.
//! Labels that scripts parse keep the originals' wording. An undefined value is `n/a`, in the brief report an empty
//! cell.

mod finish;
mod memory;
mod period;
mod start;

pub use finish::{
    Sizes, beside_report, brief_report, context_done, final_table, rate_done, test_done,
    test_failed,
};
pub use memory::memory;
pub use period::{grown, growth_planned, period_result, period_start, periods_end};
pub use setup::study::text::context_start;
pub use start::{banner, rate_start, script_written, start_facts, test_skipped, test_start};

#[cfg(test)]
mod tests;

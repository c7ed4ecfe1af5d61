//! Tests of the public interface, in one binary: properties, tables, and the files of the Python originals.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]
#![expect(
    clippy::float_cmp,
    reason = "numbers that are exact in binary are compared exactly"
)]

mod attribution;
mod checks;
mod golden;
mod intervals;
mod percentiles;
mod records;
mod retries;
mod rows;
mod samples;
mod single_prompts;
mod summaries;
mod support;
mod windows;

//! What the tests of several modes share.

use crate::support::output::{Output, Table};

/// A sustained test of four sizes with periods of 1 s at level 2.
pub(crate) const SUSTAINED: &str = "--tokenizer builtin --context-sizes 512 --min-working-set-size 1024 \
    --max-working-set-size 4096 --working-set-increments 3 --output-tokens 4 --mode sustained --max-ttft 5 \
    --assessment-period 1 --test-duration 4 --max-concurrency 2";

/// The periods of a sustained test.
#[track_caller]
pub(crate) fn periods(output: &Output, context: u64, size: u64, rate: u64) -> Table {
    output.newest(&format!(
        "sustained_periods_ctx{context}_ws{size}_cache{rate}_"
    ))
}

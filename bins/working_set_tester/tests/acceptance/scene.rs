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

/// The sum of a column.
#[track_caller]
pub(crate) fn sum(table: &Table, column: &str) -> f64 {
    table.numbers(column).iter().sum()
}

/// Requires that two whole numbers are the same.
#[track_caller]
pub(crate) fn assert_same(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() < 0.5,
        "{found}, expected {expected}"
    );
}

/// Requires that two figures are the same but for rounding.
#[track_caller]
pub(crate) fn assert_close(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() <= 1e-6 * expected.abs().max(1e-3),
        "{what}: {found}, expected {expected}"
    );
}

//! Figures computed again from rows, apart from the tool's own code.

use std::collections::BTreeMap;

use super::output::Table;

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

/// Arithmetic mean.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Linear interpolation between closest ranks.
pub(crate) fn percentile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = (sorted.len() - 1) as f64 * q;
    let below = position.floor() as usize;
    let above = position.ceil() as usize;
    sorted[below] + (sorted[above] - sorted[below]) * (position - position.floor())
}

/// Rows by phase.
pub(crate) fn by_phase(rows: &Table) -> BTreeMap<String, Table> {
    let ids = rows.distinct("phase_id");
    ids.into_iter()
        .map(|id| (id.clone(), rows.matching(&[("phase_id", &id)])))
        .collect()
}

/// (input, output) tokens per second by the published formula.
pub(crate) fn published(rows: &Table) -> (f64, f64) {
    let launches = rows.numbers("launch_time");
    let first = launches.into_iter().fold(f64::INFINITY, f64::min);
    let last = rows.numbers("finish_time").into_iter().fold(0.0, f64::max);
    let span = last - first;
    (
        (rows.sum("cached_tokens") + rows.sum("unique_tokens")) / span,
        rows.sum("output_tokens") / span,
    )
}

/// Requires that a test's periods follow each other without a gap, and that its summary row and its requests agree with
/// them.
#[track_caller]
pub(crate) fn assert_periods_agree(periods: &Table, summary: &Table, detail: &Table) {
    let (starts, ends) = (periods.numbers("start_time"), periods.numbers("end_time"));
    for (start, end) in starts[1..].iter().zip(&ends) {
        assert!((start - end).abs() < 1e-5, "a gap of {} s", start - end);
    }
    let duration = periods.sum("duration");
    for (column, tokens) in [
        ("input_tokens_per_sec", "total_input_tokens"),
        ("output_tokens_per_sec", "total_output_tokens"),
    ] {
        let rate = periods.sum(tokens) / duration;
        assert!(
            (summary.number(column) / rate - 1.0).abs() < 1e-9,
            "{column}"
        );
    }
    assert!((summary.number("test_duration") - duration).abs() < 1e-9);
    assert_same(
        summary.number("total_requests"),
        periods.sum("num_requests_completed"),
    );
    let levels = periods.numbers("concurrency_level");
    assert_same(
        summary.number("peak_concurrency"),
        levels.iter().copied().fold(0.0, f64::max),
    );
    // Every token of every request once: in a period, or behind the last one.
    let last = ends.last().expect("a period");
    let mut until_last = 0.0;
    for (stamps, tokens) in detail
        .texts("token_timestamps")
        .iter()
        .zip(detail.texts("tokens_per_chunk"))
    {
        let stamps: Vec<f64> = serde_json::from_str(stamps).expect("a list");
        let tokens: Vec<f64> = serde_json::from_str(&tokens).expect("a list");
        let counted = stamps.iter().zip(&tokens).filter(|(at, _)| *at <= last);
        until_last += counted.map(|(_, n)| n).sum::<f64>();
    }
    assert_same(periods.sum("total_output_tokens"), until_last);
}

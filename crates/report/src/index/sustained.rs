//! Sustained tests: what their periods amount to.

use metrics::PeriodRow;

use super::figure::{BoxView, exactly, from_to, place, plural, speed, tokens};
use crate::chart::{count, fixed};
use crate::data::RunData;
use crate::test_name::TestName;

/// One sustained test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SustainedView {
    pub(super) title: String,
    pub(super) boxes: Vec<BoxView>,
}

/// One group of boxes for every sustained test, and before them one for all where there are several.
pub(super) fn views(data: &RunData) -> Vec<SustainedView> {
    let tests: Vec<(&TestName, &[PeriodRow])> = data.finished_sustained().collect();
    let mut out = Vec::new();
    if tests.len() > 1 {
        let all: Vec<&PeriodRow> = tests.iter().flat_map(|(_, rows)| rows.iter()).collect();
        out.push(SustainedView {
            title: format!("All {} sustained tests", tests.len()),
            boxes: boxes(&all, false),
        });
    }
    for (test, rows) in tests {
        let rows: Vec<&PeriodRow> = rows.iter().collect();
        let of_test = place(
            test.context_size,
            test.working_set_size,
            test.cache_hit_rate,
        );
        out.push(SustainedView {
            title: format!("Sustained test: {of_test}"),
            boxes: boxes(&rows, true),
        });
    }
    out
}

fn boxes(rows: &[&PeriodRow], one_test: bool) -> Vec<BoxView> {
    let sum = |value: fn(&PeriodRow) -> u64| rows.iter().map(|r| value(r)).sum::<u64>();
    let length: f64 = rows.iter().map(|r| r.duration).sum();
    let mut out = vec![
        BoxView::new(
            "Periods",
            count(rows.len() as u64),
            format!("{} min in all", fixed(length / 60.0, 1)),
        ),
        BoxView::new(
            "Total Requests",
            count(sum(|r| r.num_requests_completed)),
            format!("{} launched", count(sum(|r| r.num_requests_launched))),
        ),
        BoxView::new(
            "Total Tokens",
            tokens(exactly(
                sum(|r| r.total_input_tokens).saturating_add(sum(|r| r.total_output_tokens)),
            )),
            format!(
                "{} input, {} output",
                tokens(exactly(sum(|r| r.total_input_tokens))),
                tokens(exactly(sum(|r| r.total_output_tokens)))
            ),
        ),
    ];
    let mut peak = |name, tokens: fn(&PeriodRow) -> u64, rate: fn(&PeriodRow) -> f64| {
        let best = rows
            .iter()
            .filter(|r| rate(r).is_finite())
            .max_by(|a, b| rate(a).total_cmp(&rate(b)));
        if let Some(best) = best {
            // Over all periods together, so that a short one counts less.
            let mean = if length > 0.0 {
                format!("mean {}; ", speed(exactly(sum(tokens)) / length))
            } else {
                String::new()
            };
            let detail = format!("{mean}period {}", best.period_number);
            out.push(BoxView::new(name, speed(rate(best)), detail).strong());
        }
    };
    peak(
        "Peak Input Throughput",
        |r| r.total_input_tokens,
        |r| r.input_tokens_per_sec,
    );
    peak(
        "Peak Output Throughput",
        |r| r.total_output_tokens,
        |r| r.output_tokens_per_sec,
    );
    let levels = || rows.iter().map(|r| r.concurrency_level);
    if let (Some(low), Some(high)) = (levels().min(), levels().max()) {
        let decided = |word: &str| rows.iter().filter(|r| r.decision == word).count() as u64;
        out.push(BoxView::new(
            "Concurrency",
            format!("{low} – {high}"),
            format!(
                "{}, {}",
                plural(decided("RAMP_UP"), "ramp up", "ramp ups"),
                plural(decided("RAMP_DOWN"), "ramp down", "ramp downs")
            ),
        ));
    }
    let set = |row: Option<&&PeriodRow>| row.and_then(|r| r.working_set_size);
    if let (true, Some(first), Some(last)) = (one_test, set(rows.first()), set(rows.last())) {
        out.push(BoxView::new(
            "Working Set",
            from_to(count(first), count(last)),
            "tokens, first and last period",
        ));
    }
    out
}

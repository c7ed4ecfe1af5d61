//! The figures a reader came for: the best result that kept the thresholds, what the cache is worth, and
//! what a larger working set costs.

mod gain;
mod growth;
mod judged;
mod prompt;

use metrics::{PeriodRow, SummaryRow};

use super::figure::{BoxView, TableView, place, speed};
use super::inventory::RunKind;
use super::trace_replay;
use crate::chart::{count, fixed};
use crate::data::RunData;
use crate::test_name::TestName;
use judged::{Judged, judge};
pub(super) use judged::{Kept, has_threshold, kept};
pub(super) use prompt::best_speedup;

/// The head of the page; empty in a directory without results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Headline {
    pub(super) boxes: Vec<BoxView>,
    pub(super) tables: Vec<TableView>,
}

impl Headline {
    pub(super) fn of(data: &RunData, kind: RunKind) -> Self {
        if kind == RunKind::SinglePrompt {
            return prompt::headline(&data.single_prompt);
        }
        if let (RunKind::TraceReplay, Some(trace)) = (kind, &data.trace) {
            return Self {
                boxes: trace_replay::headline(trace),
                tables: Vec::new(),
            };
        }
        let all = results(data);
        let good: Vec<&Result> = all.iter().filter(|r| r.kept != Kept::No).collect();
        let judged = has_threshold(data);
        let pool: Vec<&Result> = if good.is_empty() {
            all.iter().collect()
        } else {
            good
        };
        let best = |name: &str, figure: fn(&Result) -> f64| {
            let best = best_by(&pool, figure)?;
            let under = match best.kept {
                _ if !judged => "",
                Kept::Yes => " under the threshold",
                Kept::No => " (no test kept the threshold)",
                Kept::Unknown => " (threshold not in these files)",
            };
            let value = speed(figure(best));
            Some(BoxView::new(&format!("{name}{under}"), value, best.text()))
        };
        let mut out = Self::default();
        out.boxes
            .extend(best("Best input throughput", |r| r.input).map(BoxView::strong));
        let gains = gain::of(data);
        out.boxes
            .extend(gains.as_ref().map(|g| g.lead.clone().strong()));
        let growth = growth::of(data);
        out.boxes.extend(
            growth
                .as_ref()
                .and_then(|g| g.lead.clone())
                .map(BoxView::strong),
        );
        out.boxes
            .extend(best("Best output throughput", |r| r.output));
        out.tables.extend(gains.map(|g| g.table));
        out.tables.extend(growth.map(|g| g.table));
        out
    }
}

/// One result that can be the best: a row of the summary, or an assessment period where there is no summary, or where the
/// row stands for all sizes of a working set that grew.
struct Result {
    test: TestName,
    input: f64,
    output: f64,
    p95_ttft: Option<f64>,
    concurrency: u32,
    kept: Kept,
}

impl Result {
    /// `100% cache, 1,600 tokens, concurrency 5, P95 TTFT 0.134s`.
    fn text(&self) -> String {
        let ttft = self
            .p95_ttft
            .filter(|v| *v > 0.0)
            .map(|v| format!(", P95 TTFT {}s", fixed(v, 3)))
            .unwrap_or_default();
        let TestName {
            context_size,
            working_set_size,
            cache_hit_rate,
        } = self.test;
        format!(
            "{}, concurrency {}{ttft}",
            place(context_size, working_set_size, cache_hit_rate),
            count(u64::from(self.concurrency))
        )
    }
}

fn results(data: &RunData) -> Vec<Result> {
    let of_row = |row: &SummaryRow| Result {
        test: row.into(),
        input: row.best_input_tps(),
        output: row.best_output_tps(),
        p95_ttft: row.p95_ttft,
        concurrency: row.peak_concurrency,
        kept: kept(data, row),
    };
    let of_period = |test: TestName, row: &PeriodRow| Result {
        test: TestName {
            // The set that was active, not the largest of the test.
            working_set_size: row.working_set_size,
            ..test
        },
        input: row.input_tokens_per_sec,
        output: row.output_tokens_per_sec,
        p95_ttft: row.p95_ttft,
        concurrency: row.concurrency_level,
        kept: judge(
            data,
            Judged {
                avg_ttft: row.avg_ttft,
                p95_ttft: row.p95_ttft,
                p99_ttft: row.p99_ttft,
                speed: row.avg_output_tokens_per_request,
            },
        ),
    };
    let of_test = |test: TestName, rows: &[PeriodRow]| -> Vec<Result> {
        rows.iter().map(|row| of_period(test, row)).collect()
    };
    if data.summary.is_empty() {
        let tests = data.periods.iter();
        return tests
            .flat_map(|(test, rows)| of_test(*test, rows))
            .collect();
    }
    data.summary
        .iter()
        .flat_map(|row| match data.growing(row.into()) {
            Some(periods) => of_test(row.into(), periods),
            None => vec![of_row(row)],
        })
        .collect()
}

/// The entry with the highest finite figure above zero; the first of equals.
pub(super) fn best_by<'a, T>(rows: &[&'a T], figure: impl Fn(&T) -> f64) -> Option<&'a T> {
    let mut best: Option<(f64, &T)> = None;
    for row in rows {
        let v = figure(row);
        if v.is_finite() && v > 0.0 && best.is_none_or(|(most, _)| v > most) {
            best = Some((v, row));
        }
    }
    best.map(|(_, row)| row)
}

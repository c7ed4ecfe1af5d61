//! The performance summary: totals and best figures of all tests, and every test as a table.

use metrics::SummaryRow;
use metrics::single_prompt::SizeFigures;

use super::figure::{
    BoxView, NOTHING, TableView, exactly, place, seconds, speed, tokens, total, whole,
};
use super::headline::{best_by, best_speedup};
use super::inventory::RunKind;
use super::trace_replay;
use crate::chart::{count, fixed};
use crate::data::RunData;
use crate::page::Cell;

/// The boxes of the performance summary.
pub(super) fn boxes(data: &RunData, kind: RunKind) -> Vec<BoxView> {
    if kind == RunKind::SinglePrompt {
        return of_prompts(data);
    }
    if let (RunKind::TraceReplay, Some(trace)) = (kind, &data.trace) {
        return trace_replay::boxes(trace, data);
    }
    let rows: Vec<&SummaryRow> = data.summary.iter().collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let mut out = Vec::new();
    let requests = total(rows.iter().map(|r| r.total_requests));
    out.push(BoxView::new(
        "Total Requests",
        count(requests),
        if data.is_only_sustained() {
            "in all periods"
        } else {
            "at the peak levels"
        },
    ));
    let place_of =
        |row: &SummaryRow| place(row.context_size, row.working_set_size, row.cache_hit_rate);
    let mut peak = |name, figure: fn(&SummaryRow) -> f64| {
        if let Some(best) = best_by(&rows, figure) {
            out.push(BoxView::new(name, speed(figure(best)), place_of(best)).strong());
        }
    };
    peak("Peak Input Throughput", SummaryRow::best_input_tps);
    peak("Peak Output Throughput", SummaryRow::best_output_tps);
    // A TTFT of zero is the originals' way to say that there was none.
    let fastest = rows
        .iter()
        .filter_map(|row| Some((row.avg_ttft.filter(|v| *v > 0.0 && v.is_finite())?, row)))
        .min_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((ttft, row)) = fastest {
        out.push(BoxView::new("Best Avg TTFT", seconds(Some(ttft)), place_of(row)).strong());
    }
    let mut distinct = |name, key: fn(&SummaryRow) -> Option<u64>| {
        let mut values: Vec<u64> = rows.iter().filter_map(|r| key(r)).collect();
        values.sort_unstable();
        values.dedup();
        if !values.is_empty() {
            out.push(BoxView::new(name, count(values.len() as u64), "tested"));
        }
    };
    distinct("Context Sizes", |r| Some(r.context_size));
    distinct("Working Set Sizes", |r| r.working_set_size);
    distinct("Cache Hit Rates", |r| Some(u64::from(r.cache_hit_rate)));
    let sum = |exact: fn(&SummaryRow) -> Option<u64>, rate: fn(&SummaryRow) -> f64| -> f64 {
        rows.iter()
            .map(|r| exact(r).map_or_else(|| rate(r) * r.test_duration, exactly))
            .sum()
    };
    let input = sum(|r| r.total_input_tokens, |r| r.input_tokens_per_sec);
    let output = sum(|r| r.total_output_tokens, |r| r.output_tokens_per_sec);
    let detail = format!("{} input, {} output", tokens(input), tokens(output));
    out.push(BoxView::new("Total Tokens", tokens(input + output), detail));
    out
}

fn of_prompts(data: &RunData) -> Vec<BoxView> {
    let sizes = SizeFigures::of_all(&data.single_prompt);
    if sizes.is_empty() {
        return Vec::new();
    }
    let (cold, cached) = sizes
        .iter()
        .fold((0, 0), |(a, b), s| (a + s.n_unique, b + s.n_cached));
    let detail = format!(
        "{} cold, {} cached",
        count(cold as u64),
        count(cached as u64)
    );
    let mut out = vec![
        BoxView::new("Total Requests", count((cold + cached) as u64), detail),
        BoxView::new("Context Sizes", count(sizes.len() as u64), "tested"),
    ];
    out.extend(best_speedup(&sizes).map(BoxView::strong));
    out
}

/// Every row of the summary; `None` without any.
pub(super) fn table(data: &RunData) -> Option<TableView> {
    let rows = &data.summary;
    if rows.is_empty() {
        return None;
    }
    let sets = rows.iter().any(|r| r.working_set_size.is_some());
    let reported = rows.iter().any(|r| r.reported_cache_hit_rate.is_some());
    let mut head = vec!["Context"];
    head.extend(sets.then_some("Working set"));
    head.extend([
        "Cache",
        "Input tok/s",
        "Output tok/s",
        "Avg TTFT",
        "P95 TTFT",
        "Avg ITL",
        "Tok/s per request",
        "Concurrency",
        "Requests",
    ]);
    head.extend(reported.then_some("Reported hit rate"));
    let shown = |value: Option<f64>, show: &dyn Fn(f64) -> String| {
        value.map_or_else(|| NOTHING.to_owned(), show)
    };
    let cells = |r: &SummaryRow| {
        let mut cells = vec![count(r.context_size)];
        if sets {
            let set = r.working_set_size;
            cells.push(set.map_or_else(|| NOTHING.to_owned(), count));
        }
        cells.extend([
            format!("{}%", r.cache_hit_rate),
            whole(r.best_input_tps()),
            whole(r.best_output_tps()),
            seconds(r.avg_ttft),
            seconds(r.p95_ttft),
            shown(r.avg_itl, &|v| format!("{} ms", fixed(v * 1000.0, 2))),
            shown(r.avg_output_tokens, &|v| fixed(v, 1)),
            count(u64::from(r.peak_concurrency)),
            count(r.total_requests),
        ]);
        if reported {
            cells.push(shown(r.reported_cache_hit_rate, &|v| {
                format!("{}%", fixed(v * 100.0, 1))
            }));
        }
        cells.into_iter().map(Cell::plain).collect()
    };
    let windowed = |r: &SummaryRow| r.window_input_tokens_per_sec.is_some();
    let note = if data.is_only_sustained() {
        "Throughput is that of the whole test: all tokens that arrived, divided by the length of all assessment periods."
    } else if rows.iter().all(windowed) {
        "Throughput is window-accounted: each request counts with the share of its tokens that falls into the measured window."
    } else if rows.iter().any(windowed) {
        "Throughput is window-accounted where the files hold that figure, and the originals' formula elsewhere (tokens of completed requests \
         divided by last finish minus first launch)."
    } else {
        "Throughput follows the originals' formula: tokens of completed requests divided by last finish minus first launch."
    };
    Some(TableView {
        label: "All tests",
        head,
        rows: rows.iter().map(cells).collect(),
        notes: vec![note.to_owned()],
    })
}

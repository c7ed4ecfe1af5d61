//! The figures a reader came for: the best result that kept the thresholds, and what the cache is worth.

use metrics::SummaryRow;

use super::config::{min_speed, speed_metric, ttft_metric};
use crate::catalogue::max_ttft;
use crate::chart::{count, fixed};
use crate::data::RunData;

/// A figure with its name and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BoxView {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) detail: String,
    /// Set off from the others.
    pub(super) strong: bool,
}

/// The head of the page; empty in a directory without results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Headline {
    pub(super) boxes: Vec<BoxView>,
    /// What the cache is worth, one row per context.
    pub(super) gains: Vec<Gain>,
}

/// One context at its lowest and its highest rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gain {
    pub(super) context: String,
    pub(super) rates: String,
    pub(super) input: String,
    pub(super) speedup: String,
    pub(super) output: String,
    pub(super) output_speedup: String,
    pub(super) ttft: String,
    pub(super) concurrency: String,
}

/// Whether a test's figures keep the thresholds of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// They do, or there are none.
    Yes,
    /// They do not.
    No,
    /// The summary does not hold the figure that was judged.
    Unknown,
}

/// Judges a summary row by the thresholds stored with the run.
pub(super) fn kept(data: &RunData, row: &SummaryRow) -> Kept {
    let mut verdict = Kept::Yes;
    if let Some(limit) = max_ttft(data) {
        let metric = ttft_metric(data);
        let value = match metric.as_str() {
            "avg" => row.avg_ttft,
            "p95" => row.p95_ttft,
            // The largest TTFT is in no summary; it is at least the 99th percentile.
            _ => row.p99_ttft,
        };
        match value.filter(|v| *v > 0.0) {
            Some(v) if v > limit => return Kept::No,
            Some(_) if metric == "avg" || metric == "p95" => {}
            _ => verdict = Kept::Unknown,
        }
    }
    if let Some(limit) = min_speed(data) {
        match row.avg_output_tokens {
            Some(v) if speed_metric(data) == "avg" && v < limit => return Kept::No,
            Some(_) if speed_metric(data) == "avg" => {}
            _ => verdict = Kept::Unknown,
        }
    }
    verdict
}

impl Headline {
    pub(super) fn of(data: &RunData) -> Self {
        let rows = &data.summary;
        if rows.is_empty() {
            return Self::default();
        }
        let has_threshold = max_ttft(data).is_some() || min_speed(data).is_some();
        let good: Vec<&SummaryRow> = rows
            .iter()
            .filter(|row| kept(data, row) != Kept::No)
            .collect();
        let pool: Vec<&SummaryRow> = if good.is_empty() {
            rows.iter().collect()
        } else {
            good.clone()
        };
        let mut boxes = Vec::new();
        if let Some(best) = best_by(&pool, |row| Some(row.best_input_tps())) {
            let name = match (has_threshold, good.is_empty()) {
                (true, false) => "Best input throughput under the threshold",
                (true, true) => "Best input throughput (no test kept the threshold)",
                (false, _) => "Best input throughput",
            };
            boxes.push(BoxView {
                name: name.to_owned(),
                value: format!("{} tok/s", whole(best.best_input_tps())),
                detail: describe(best),
                strong: true,
            });
        }
        if let Some((gain, low, high)) = best_gain(rows) {
            boxes.push(BoxView {
                name: "What the cache is worth".to_owned(),
                value: format!("{}x", fixed(gain, 1)),
                detail: format!(
                    "input throughput at {}% over {}% cache, {} tokens{}",
                    high.cache_hit_rate,
                    low.cache_hit_rate,
                    count(high.context_size),
                    match (low.avg_ttft, high.avg_ttft) {
                        (Some(a), Some(b)) if a > 0.0 =>
                            format!("; TTFT {}s → {}s", fixed(a, 3), fixed(b, 3)),
                        _ => String::new(),
                    }
                ),
                strong: true,
            });
        }
        if let Some(best) = best_by(&pool, |row| Some(row.best_output_tps())) {
            boxes.push(BoxView {
                name: "Best output throughput".to_owned(),
                value: format!("{} tok/s", whole(best.best_output_tps())),
                detail: describe(best),
                strong: false,
            });
        }
        Self {
            boxes,
            gains: gains(rows),
        }
    }
}

/// `100% cache, 1,600 tokens, concurrency 5, P95 TTFT 0.134s`.
fn describe(row: &SummaryRow) -> String {
    let ttft = row
        .p95_ttft
        .map(|v| format!(", P95 TTFT {}s", fixed(v, 3)))
        .unwrap_or_default();
    format!(
        "{}, concurrency {}{ttft}",
        where_of(row),
        count(u64::from(row.peak_concurrency))
    )
}

fn where_of(row: &SummaryRow) -> String {
    let set = row
        .working_set_size
        .map(|w| format!(", working set {}", count(w)))
        .unwrap_or_default();
    format!(
        "{}% cache, {} tokens{set}",
        row.cache_hit_rate,
        count(row.context_size)
    )
}

/// The row with the highest finite figure; the first of equals.
fn best_by<'a>(
    rows: &[&'a SummaryRow],
    figure: impl Fn(&SummaryRow) -> Option<f64>,
) -> Option<&'a SummaryRow> {
    let mut best: Option<(f64, &SummaryRow)> = None;
    for row in rows {
        if let Some(v) = figure(row).filter(|v| v.is_finite() && *v > 0.0)
            && best.is_none_or(|(most, _)| v > most)
        {
            best = Some((v, row));
        }
    }
    best.map(|(_, row)| row)
}

/// Lowest and highest rate of every context (and working set).
fn extremes(rows: &[SummaryRow]) -> Vec<(&SummaryRow, &SummaryRow)> {
    let mut keys: Vec<(u64, Option<u64>)> = rows
        .iter()
        .map(|r| (r.context_size, r.working_set_size))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .filter_map(|key| {
            let of = || {
                rows.iter()
                    .filter(move |r| (r.context_size, r.working_set_size) == key)
            };
            let low = of().min_by_key(|r| r.cache_hit_rate)?;
            let high = of().max_by_key(|r| r.cache_hit_rate)?;
            (low.cache_hit_rate < high.cache_hit_rate).then_some((low, high))
        })
        .collect()
}

fn ratio(high: f64, low: f64) -> Option<f64> {
    (low > 0.0 && high.is_finite()).then(|| high / low)
}

fn best_gain(rows: &[SummaryRow]) -> Option<(f64, &SummaryRow, &SummaryRow)> {
    extremes(rows)
        .into_iter()
        .filter_map(|(low, high)| {
            Some((
                ratio(high.best_input_tps(), low.best_input_tps())?,
                low,
                high,
            ))
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))
}

fn gains(rows: &[SummaryRow]) -> Vec<Gain> {
    let times = |high: f64, low: f64| {
        ratio(high, low).map_or_else(|| "–".to_owned(), |x| format!("{}x", fixed(x, 2)))
    };
    extremes(rows)
        .into_iter()
        .map(|(low, high)| {
            let from_to = |a: String, b: String| format!("{a} → {b}");
            let (li, hi) = (low.best_input_tps(), high.best_input_tps());
            let (lo, ho) = (low.best_output_tps(), high.best_output_tps());
            let seconds =
                |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| format!("{}s", fixed(v, 3)));
            Gain {
                context: match low.working_set_size {
                    Some(set) => format!("{} (WS {})", count(low.context_size), count(set)),
                    None => count(low.context_size),
                },
                rates: format!("{}% → {}%", low.cache_hit_rate, high.cache_hit_rate),
                input: from_to(fixed(li, 0), fixed(hi, 0)),
                speedup: times(hi, li),
                output: from_to(fixed(lo, 0), fixed(ho, 0)),
                output_speedup: times(ho, lo),
                ttft: from_to(seconds(low.avg_ttft), seconds(high.avg_ttft)),
                concurrency: format!("{} → {}", low.peak_concurrency, high.peak_concurrency),
            }
        })
        .collect()
}

/// The boxes of the performance summary.
pub(super) fn boxes(data: &RunData) -> Vec<BoxView> {
    let rows: Vec<&SummaryRow> = data.summary.iter().collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut add = |name: &str, value: String, detail: String, strong| {
        out.push(BoxView {
            name: name.to_owned(),
            value,
            detail,
            strong,
        });
    };
    let requests: u64 = rows.iter().map(|r| r.total_requests).sum();
    add(
        "Total Requests",
        count(requests),
        "at the peak levels".to_owned(),
        false,
    );
    if let Some(best) = best_by(&rows, |r| Some(r.best_input_tps())) {
        add(
            "Peak Input Throughput",
            format!("{} tok/s", whole(best.best_input_tps())),
            where_of(best),
            true,
        );
    }
    if let Some(best) = best_by(&rows, |r| Some(r.best_output_tps())) {
        add(
            "Peak Output Throughput",
            format!("{} tok/s", whole(best.best_output_tps())),
            where_of(best),
            true,
        );
    }
    // Lowest TTFT: highest of the negated values that are more than zero.
    let fastest = rows
        .iter()
        .filter(|r| r.avg_ttft.is_some_and(|v| v > 0.0 && v.is_finite()))
        .min_by(|a, b| {
            a.avg_ttft
                .unwrap_or(f64::INFINITY)
                .total_cmp(&b.avg_ttft.unwrap_or(f64::INFINITY))
        });
    if let Some((row, ttft)) = fastest.and_then(|row| row.avg_ttft.map(|t| (row, t))) {
        add(
            "Best Avg TTFT",
            format!("{}s", fixed(ttft, 3)),
            where_of(row),
            true,
        );
    }
    let distinct = |key: fn(&SummaryRow) -> u64| {
        let mut values: Vec<u64> = rows.iter().map(|r| key(r)).collect();
        values.sort_unstable();
        values.dedup();
        values.len() as u64
    };
    add(
        "Context Sizes",
        count(distinct(|r| r.context_size)),
        "tested".to_owned(),
        false,
    );
    add(
        "Cache Hit Rates",
        count(distinct(|r| u64::from(r.cache_hit_rate))),
        "tested".to_owned(),
        false,
    );
    let tokens = |exact: fn(&SummaryRow) -> Option<u64>, rate: fn(&SummaryRow) -> f64| -> f64 {
        rows.iter()
            .map(|r| exact(r).map_or_else(|| rate(r) * r.test_duration, exactly))
            .sum()
    };
    let input = tokens(|r| r.total_input_tokens, |r| r.input_tokens_per_sec);
    let output = tokens(|r| r.total_output_tokens, |r| r.output_tokens_per_sec);
    let tokens = |n: f64| {
        if n < 1e6 {
            fixed(n, 0)
        } else {
            format!("{}M", fixed(n / 1e6, 2))
        }
    };
    let detail = format!("{} input, {} output", tokens(input), tokens(output));
    add("Total Tokens", tokens(input + output), detail, false);
    out
}

/// All tests as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResultsTable {
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
    /// By which formula the throughput was computed.
    pub(super) note: &'static str,
}

/// Every row of the summary; `None` without any.
pub(super) fn results(data: &RunData) -> Option<ResultsTable> {
    if data.summary.is_empty() {
        return None;
    }
    let reported = data
        .summary
        .iter()
        .any(|r| r.reported_cache_hit_rate.is_some());
    let mut head = vec![
        "Context",
        "Cache",
        "Input tok/s",
        "Output tok/s",
        "Avg TTFT",
        "P95 TTFT",
        "Avg ITL",
        "Tok/s per request",
        "Concurrency",
        "Requests",
    ];
    if reported {
        head.push("Reported hit rate");
    }
    let seconds = |v: Option<f64>| {
        v.filter(|v| *v > 0.0)
            .map_or_else(|| "–".to_owned(), |v| format!("{}s", fixed(v, 3)))
    };
    let rows = data
        .summary
        .iter()
        .map(|r| {
            let mut cells = vec![
                count(r.context_size),
                format!("{}%", r.cache_hit_rate),
                fixed(r.best_input_tps(), 0),
                fixed(r.best_output_tps(), 0),
                seconds(r.avg_ttft),
                seconds(r.p95_ttft),
                r.avg_itl.map_or_else(
                    || "–".to_owned(),
                    |v| format!("{} ms", fixed(v * 1000.0, 2)),
                ),
                r.avg_output_tokens
                    .map_or_else(|| "–".to_owned(), |v| fixed(v, 1)),
                count(u64::from(r.peak_concurrency)),
                count(r.total_requests),
            ];
            if reported {
                cells.push(
                    r.reported_cache_hit_rate
                        .map_or_else(|| "–".to_owned(), |v| format!("{}%", fixed(v * 100.0, 1))),
                );
            }
            cells
        })
        .collect();
    let note = if data
        .summary
        .iter()
        .all(|r| r.window_input_tokens_per_sec.is_some())
    {
        "Throughput is window-accounted: each request counts with the share of its tokens that falls into the measured window."
    } else if data
        .summary
        .iter()
        .any(|r| r.window_input_tokens_per_sec.is_some())
    {
        "Throughput is window-accounted where the files hold that figure, and the originals' formula elsewhere (tokens of completed requests divided by last finish minus first launch)."
    } else {
        "Throughput follows the originals' formula: tokens of completed requests divided by last finish minus first launch."
    };
    Some(ResultsTable { head, rows, note })
}

/// Truncated to an integer, as the originals' boxes were.
fn whole(value: f64) -> String {
    fixed(value.trunc(), 0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "token counts are far below 2^53"
)]
fn exactly(n: u64) -> f64 {
    n as f64
}

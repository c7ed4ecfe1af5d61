//! Lines at the end: of a test, of the run, and the report for scripts.

use std::path::Path;

use cli::brief::{BriefReport, millis, whole};
use cli::logging::{Line, Style};
use cli::number::{bracketed, fixed, millions, rounded, thousands};
use cli::table::{Column, header, row, rule};
use metrics::summary::SummaryRow;

/// Width of the rules around the final table.
const TABLE_WIDTH: usize = 120;
/// Columns of the final table.
const COLUMNS: [Column; 9] = [
    Column::right("Context", 10),
    Column::right("Cache%", 8),
    Column::right("Requests", 10),
    Column::right("Input Tok", 12),
    Column::right("Output Tok", 12),
    Column::right("Input/s", 12),
    Column::right("Output/s", 12),
    Column::right("Avg TTFT", 10),
    Column::right("Conc", 6),
];
/// Columns of the brief report.
const BRIEF_COLUMNS: [&str; 10] = [
    "context_size",
    "cache_rate",
    "requests",
    "input_tokens",
    "output_tokens",
    "input_tps",
    "output_tps",
    "avg_ttft",
    "p95_ttft",
    "concurrency",
];

/// How a test was made, for its last lines.
#[derive(Debug, Clone, PartialEq)]
pub enum TestShape {
    /// A search for the peak.
    Ramp,
    /// Given levels.
    Fixed {
        /// Levels that were measured, ascending.
        levels: Vec<u32>,
    },
    /// Periods without a gap.
    Sustained {
        /// Periods that were measured.
        n_periods: usize,
        /// Lowest and highest level.
        levels: (u32, u32),
    },
}

impl TestShape {
    fn suffix(&self) -> &'static str {
        match self {
            Self::Ramp => "",
            Self::Fixed { .. } => " (fixed mode)",
            Self::Sustained { .. } => " (continuous mode)",
        }
    }

    fn lines(&self) -> Vec<Line> {
        match self {
            Self::Ramp => Vec::new(),
            Self::Fixed { levels } => vec![Line::plain(format!(
                "  Concurrency levels: {}",
                bracketed(levels)
            ))],
            Self::Sustained {
                n_periods,
                levels: (lowest, highest),
            } => vec![
                Line::plain(format!("  Periods: {n_periods}")),
                Line::plain(format!("  Concurrency range: {lowest} to {highest}")),
            ],
        }
    }
}

/// A test has its result. Rates are window-accounted where they are known, as in the charts.
#[must_use]
pub fn test_done(shape: &TestShape, result: &SummaryRow) -> Vec<Line> {
    let suffix = shape.suffix();
    let tokens = |n: u64| format!("{} ({})", thousands(n), millions(n));
    let s = |value| fixed(value, 3, "s");
    let mut lines = vec![Line::styled(
        Style::Success,
        format!(
            "✓ Cache hit rate {}% complete{suffix}",
            result.cache_hit_rate
        ),
    )];
    lines.extend(shape.lines());
    lines.extend([
        Line::plain(format!("  Peak concurrency: {}", result.peak_concurrency)),
        Line::plain(format!(
            "  Total requests: {}",
            thousands(result.total_requests)
        )),
        Line::plain(format!(
            "  Total input tokens: {}",
            tokens(input_tokens(result))
        )),
        Line::plain(format!(
            "  Total output tokens: {}",
            tokens(output_tokens(result))
        )),
        Line::plain(format!("  Avg TTFT: {}", s(result.avg_ttft))),
        Line::plain(format!("  Avg TTLT: {}", s(result.avg_ttlt))),
        Line::plain(format!(
            "  Avg ITL: {}",
            fixed(result.avg_itl.map(|itl| itl * 1000.0), 2, "ms")
        )),
        Line::plain(format!(
            "  Avg Output Tokens/Req: {}",
            fixed(result.avg_output_tokens, 1, " tok/s")
        )),
        Line::plain(format!(
            "  Input throughput: {} tok/s",
            rounded(Some(result.best_input_tps()))
        )),
        Line::plain(format!(
            "  Output throughput: {} tok/s",
            rounded(Some(result.best_output_tps()))
        )),
    ]);
    lines
}

/// A test yielded nothing.
#[must_use]
pub fn test_failed(cache_hit_rate: u32, reason: &str) -> Line {
    Line::error(format!(
        "✗ Cache hit rate {cache_hit_rate}% failed: {reason}"
    ))
}

/// The run was stopped from outside.
#[must_use]
pub fn interrupted() -> Line {
    Line::warning("Test interrupted by user. Progress has been saved.")
}

/// A test that yielded nothing, for the list at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedTest {
    /// As given, tokens.
    pub context_size: u64,
    /// Percent.
    pub cache_hit_rate: u32,
    /// Why.
    pub reason: String,
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub struct RunEnd<'a> {
    /// Results of all tests, those of earlier runs included, in any order.
    pub results: &'a [SummaryRow],
    /// Tests that yielded nothing.
    pub failed: &'a [FailedTest],
    /// Whether every test that was asked for was attempted; false after a signal.
    pub is_complete: bool,
    /// Where the files are.
    pub output_dir: &'a Path,
}

/// The last lines of the log.
#[must_use]
pub fn end_of_run(end: RunEnd<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    if end.failed.is_empty() && end.is_complete {
        lines.push(Line::styled(Style::Success, "✓ All tests complete!"));
    }
    if !end.failed.is_empty() {
        lines.push(Line::error(format!(
            "✗ {} of the tests failed:",
            end.failed.len()
        )));
        lines.extend(end.failed.iter().map(|test| {
            let FailedTest {
                context_size,
                cache_hit_rate,
                reason,
            } = test;
            Line::error(format!(
                "  {} tokens at {cache_hit_rate}%: {reason}",
                thousands(*context_size)
            ))
        }));
    }
    lines.push(Line::styled(
        Style::Success,
        format!("Results saved to: {}", end.output_dir.display()),
    ));
    lines.push(Line::plain(format!(
        "Total tests completed: {}",
        end.results.len()
    )));
    lines.extend(final_table(end.results));
    lines
}

fn final_table(results: &[SummaryRow]) -> Vec<Line> {
    let heading = |text: String| Line::styled(Style::Heading, text);
    let mut lines = vec![
        heading(rule('=', TABLE_WIDTH)),
        heading("Final Summary - All Test Results".to_owned()),
        heading(rule('=', TABLE_WIDTH)),
        Line::plain(header(&COLUMNS)),
        Line::plain(rule('-', TABLE_WIDTH)),
    ];
    let results = sorted(results);
    lines.extend(results.iter().map(|result| {
        Line::plain(row(
            &COLUMNS,
            [
                result.context_size.to_string(),
                format!("{}%", result.cache_hit_rate),
                result.total_requests.to_string(),
                millions(input_tokens(result)),
                millions(output_tokens(result)),
                rounded(Some(result.best_input_tps())),
                rounded(Some(result.best_output_tps())),
                fixed(result.avg_ttft, 3, "s"),
                result.peak_concurrency.to_string(),
            ],
        ))
    }));
    let totals = Totals::of(&results);
    lines.push(Line::plain(rule('-', TABLE_WIDTH)));
    lines.push(Line::plain(row(
        &COLUMNS,
        [
            "TOTAL".to_owned(),
            String::new(),
            totals.requests.to_string(),
            millions(totals.input_tokens),
            millions(totals.output_tokens),
        ],
    )));
    lines.push(heading(rule('=', TABLE_WIDTH)));
    lines
}

/// What the report for scripts is made of.
#[derive(Debug, Clone, Copy)]
pub struct BriefInput<'a> {
    /// Model the requests named.
    pub model: &'a str,
    /// First endpoint, as given.
    pub endpoint: &'a str,
    /// `--working-set-size`, tokens.
    pub working_set_size: u64,
    /// Results of all tests, in any order.
    pub results: &'a [SummaryRow],
    /// Where the files are.
    pub output_dir: &'a Path,
}

/// The report for scripts. `input_tps` and `output_tps` follow the published formula, like the summary
/// columns scripts compare them with; the totals are true sums.
#[must_use]
pub fn brief_report(input: BriefInput<'_>) -> String {
    let results = sorted(input.results);
    let totals = Totals::of(&results);
    let rows = results.iter().map(|result| {
        vec![
            result.context_size.to_string(),
            result.cache_hit_rate.to_string(),
            result.total_requests.to_string(),
            input_tokens(result).to_string(),
            output_tokens(result).to_string(),
            whole(Some(result.input_tokens_per_sec)),
            whole(Some(result.output_tokens_per_sec)),
            millis(result.avg_ttft),
            millis(result.p95_ttft),
            result.peak_concurrency.to_string(),
        ]
    });
    BriefReport {
        head: vec![
            ("model", input.model.to_owned()),
            ("endpoint", input.endpoint.to_owned()),
            ("working_set", input.working_set_size.to_string()),
        ],
        columns: &BRIEF_COLUMNS,
        rows: rows.collect(),
        tail: vec![
            ("total_requests", totals.requests.to_string()),
            ("total_input_tokens", totals.input_tokens.to_string()),
            ("total_output_tokens", totals.output_tokens.to_string()),
            ("output", input.output_dir.display().to_string()),
        ],
    }
    .text()
}

fn sorted(results: &[SummaryRow]) -> Vec<&SummaryRow> {
    let mut sorted: Vec<&SummaryRow> = results.iter().collect();
    sorted.sort_by_key(|result| (result.context_size, result.cache_hit_rate));
    sorted
}

/// Input tokens of a test: the true sum, or for rows of the originals, which have none, their estimate.
fn input_tokens(result: &SummaryRow) -> u64 {
    result
        .total_input_tokens
        .unwrap_or_else(|| estimate(result.input_tokens_per_sec, result.test_duration))
}

/// Output tokens of a test; see [`input_tokens`].
fn output_tokens(result: &SummaryRow) -> u64 {
    result
        .total_output_tokens
        .unwrap_or_else(|| estimate(result.output_tokens_per_sec, result.test_duration))
}

fn estimate(tps: f64, secs: f64) -> u64 {
    // Saturates at both ends, and a rate that is no number becomes 0.
    (tps * secs).round() as u64
}

#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    requests: u64,
    input_tokens: u64,
    output_tokens: u64,
}

impl Totals {
    fn of(results: &[&SummaryRow]) -> Self {
        results.iter().fold(Self::default(), |sum, result| Self {
            requests: sum.requests.saturating_add(result.total_requests),
            input_tokens: sum.input_tokens.saturating_add(input_tokens(result)),
            output_tokens: sum.output_tokens.saturating_add(output_tokens(result)),
        })
    }
}

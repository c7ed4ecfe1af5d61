//! Lines at the end of a test and of a run, and the sums in them.

use std::path::Path;

use cli::logging::{Line, Style};
use cli::number::{fixed, millions, rounded, thousands};
use engine::event::Doubt;
use metrics::summary::SummaryRow;
use report::test_name::TestName;

/// What a test came to, for its last lines. Rates are window-accounted where they are known, as in the charts.
#[must_use]
pub fn sums(result: &SummaryRow) -> Vec<Line> {
    let tokens = |n: u64| format!("{} ({})", thousands(n), millions(n));
    let s = |value| fixed(value, 3, "s");
    [
        format!("Peak concurrency: {}", result.peak_concurrency),
        format!("Total requests: {}", thousands(result.total_requests)),
        format!("Total input tokens: {}", tokens(input_tokens(result))),
        format!("Total output tokens: {}", tokens(output_tokens(result))),
        format!("Avg TTFT: {}", s(result.avg_ttft)),
        format!("Avg TTLT: {}", s(result.avg_ttlt)),
        format!(
            "Avg ITL: {}",
            fixed(result.avg_itl.map(|itl| itl * 1000.0), 2, "ms")
        ),
        format!(
            "Avg Output Tokens/Req: {}",
            fixed(result.avg_output_tokens, 1, " tok/s")
        ),
        format!(
            "Input throughput: {} tok/s",
            rounded(Some(result.best_input_tps()))
        ),
        format!(
            "Output throughput: {} tok/s",
            rounded(Some(result.best_output_tps()))
        ),
    ]
    .into_iter()
    .map(|text| Line::plain(format!("  {text}")))
    .collect()
}

/// A test that yielded nothing, for the list at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedTest {
    /// Which.
    pub test: TestName,
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
    /// Tests that were not tried after others had failed, in order.
    pub untried: &'a [TestName],
    /// Results that the client limits.
    pub limited: &'a [Doubt],
    /// Whether every test that was asked for was attempted; false after a signal.
    pub is_complete: bool,
    /// Where the files are.
    pub output_dir: &'a Path,
    /// The page to begin with, where it was written.
    pub index: Option<&'a Path>,
}

/// The last lines of the log, the tool's table of results behind them.
#[must_use]
pub fn end_of_run(end: RunEnd<'_>, table: Vec<Line>) -> Vec<Line> {
    let mut lines = Vec::new();
    if end.failed.is_empty() && end.is_complete {
        lines.push(Line::styled(Style::Success, "✓ All tests complete!"));
    }
    if !end.failed.is_empty() {
        lines.push(Line::error(format!(
            "✗ {} of the tests failed:",
            end.failed.len()
        )));
        lines.extend(end.failed.iter().map(|FailedTest { test, reason }| {
            Line::error(format!(
                "  {} tokens at {}%{}: {reason}",
                thousands(test.context_size),
                test.cache_hit_rate,
                set(test),
            ))
        }));
    }
    lines.extend(not_tried(end.untried));
    lines.extend(end.limited.iter().map(|Doubt { test, text, .. }| {
        Line::warning(format!(
            "! {} tokens at {}%{}: {text}",
            thousands(test.context_size),
            test.cache_hit_rate,
            set(test),
        ))
    }));
    lines.push(Line::styled(
        Style::Success,
        format!("Results saved to: {}", end.output_dir.display()),
    ));
    if let Some(index) = end.index {
        lines.push(Line::plain(format!(
            "Open in a browser: {}",
            index.display()
        )));
    }
    lines.push(Line::plain(format!(
        "Total tests completed: {}",
        end.results.len()
    )));
    lines.extend(table);
    lines
}

/// The working set of a test, where it is one of several.
fn set(test: &TestName) -> String {
    test.working_set_size.map_or_else(String::new, |size| {
        format!(", working set of {}", thousands(size))
    })
}

/// The tests that were given up unseen, a line per context size and working set.
fn not_tried(tests: &[TestName]) -> Vec<Line> {
    if tests.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![Line::error(format!(
        "✗ {} of the tests were not tried:",
        tests.len()
    ))];
    let key = |test: &TestName| (test.context_size, test.working_set_size);
    for alike in tests.chunk_by(|a, b| key(a) == key(b)) {
        let rates: Vec<String> = alike
            .iter()
            .map(|test| format!("{}%", test.cache_hit_rate))
            .collect();
        lines.push(Line::error(format!(
            "  {} tokens at {}{}",
            thousands(alike[0].context_size),
            rates.join(", "),
            set(&alike[0])
        )));
    }
    lines
}

/// For the end of a report for scripts: the results that the client limits, where there are any.
#[must_use]
pub fn limited_report<'a>(
    results: impl IntoIterator<Item = &'a SummaryRow>,
) -> Option<(&'static str, String)> {
    let names: Vec<String> = results
        .into_iter()
        .filter(|result| result.client_limited == Some(true))
        .map(|result| {
            let set = result.working_set_size;
            let set = set.map_or_else(String::new, |size| format!("/{size}"));
            format!("{}@{}%{set}", result.context_size, result.cache_hit_rate)
        })
        .collect();
    (!names.is_empty()).then(|| ("client_limited", names.join(" ")))
}

/// Input tokens of a test: the true sum, or for rows of the originals, which have none, their estimate.
#[must_use]
pub fn input_tokens(result: &SummaryRow) -> u64 {
    result
        .total_input_tokens
        .unwrap_or_else(|| estimate(result.input_tokens_per_sec, result.test_duration))
}

/// Output tokens of a test; see [`input_tokens`].
#[must_use]
pub fn output_tokens(result: &SummaryRow) -> u64 {
    result
        .total_output_tokens
        .unwrap_or_else(|| estimate(result.output_tokens_per_sec, result.test_duration))
}

fn estimate(tps: f64, secs: f64) -> u64 {
    // Saturates at both ends, and a rate that is no number becomes 0.
    (tps * secs).round() as u64
}

/// Sums over tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests.
    pub requests: u64,
    /// Tokens.
    pub input_tokens: u64,
    /// Tokens.
    pub output_tokens: u64,
}

impl Totals {
    /// Over these tests.
    #[must_use]
    pub fn of<'a>(results: impl IntoIterator<Item = &'a SummaryRow>) -> Self {
        results
            .into_iter()
            .fold(Self::default(), |sum, result| Self {
                requests: sum.requests.saturating_add(result.total_requests),
                input_tokens: sum.input_tokens.saturating_add(input_tokens(result)),
                output_tokens: sum.output_tokens.saturating_add(output_tokens(result)),
            })
    }

    /// The sums at the end of a report for scripts.
    #[must_use]
    pub fn report(&self) -> [(&'static str, String); 3] {
        [
            ("total_requests", self.requests.to_string()),
            ("total_input_tokens", self.input_tokens.to_string()),
            ("total_output_tokens", self.output_tokens.to_string()),
        ]
    }
}

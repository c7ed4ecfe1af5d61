//! Lines at the end: of a test, of the run, and the report for scripts.

use cli::brief::{BriefReport, millis, whole};
use cli::logging::{Line, Style};
use cli::number::{bracketed, fixed, millions, rounded};
use cli::table::{Column, header, row, rule};
use metrics::summary::SummaryRow;
use setup::study::text::{Totals, heading, input_tokens, limited_report, output_tokens, sums};

use crate::plan::Plan;

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

/// A test has its result.
#[must_use]
pub fn test_done(shape: &TestShape, result: &SummaryRow) -> Vec<Line> {
    let suffix = shape.suffix();
    let mut lines = vec![Line::styled(
        Style::Success,
        format!(
            "✓ Cache hit rate {}% complete{suffix}",
            result.cache_hit_rate
        ),
    )];
    lines.extend(shape.lines());
    lines.extend(sums(result));
    lines
}

/// A test yielded nothing.
#[must_use]
pub fn test_failed(cache_hit_rate: u32, reason: &str) -> Line {
    Line::error(format!(
        "✗ Cache hit rate {cache_hit_rate}% failed: {reason}"
    ))
}

/// The table of all results.
#[must_use]
pub fn final_table(results: &[SummaryRow]) -> Vec<Line> {
    let mut lines = vec![
        heading(rule('=', TABLE_WIDTH)),
        heading("Final Summary - All Test Results"),
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
    let totals = Totals::of(results.iter().copied());
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

/// The report for scripts. `input_tps` and `output_tps` follow the published formula, like the summary
/// columns scripts compare them with; the totals are true sums.
#[must_use]
pub fn brief_report<'a>(plan: &Plan, model: &str, results: &[SummaryRow]) -> BriefReport<'a> {
    let results = sorted(results);
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
    let common = &plan.common;
    let mut tail: Vec<(&str, String)> = Totals::of(results.iter().copied()).report().into();
    tail.push(("output", common.output_dir.display().to_string()));
    tail.extend(limited_report(results.iter().copied()));
    BriefReport {
        head: vec![
            ("model", model.to_owned()),
            ("endpoint", common.requests.first_url().to_owned()),
            ("working_set", plan.working_set_size.to_string()),
        ],
        columns: &BRIEF_COLUMNS,
        rows: rows.collect(),
        tail,
        footer: Vec::new(),
    }
}

fn sorted(results: &[SummaryRow]) -> Vec<&SummaryRow> {
    let mut sorted: Vec<&SummaryRow> = results.iter().collect();
    sorted.sort_by_key(|result| (result.context_size, result.cache_hit_rate));
    sorted
}

//! Lines at the end: of a test, of the run, and the report for scripts.

use cli::brief::BriefReport;
use cli::logging::{Line, Style};
use cli::number::bracketed;
use cli::table::Column;
use metrics::summary::SummaryRow;
use setup::study::text::{ResultTable, Totals, limited_report, report_figures, sorted, sums};

use crate::plan::Plan;

/// The final table.
const TABLE: ResultTable<2> = ResultTable {
    width: 120,
    tests: [Column::right("Context", 10), Column::right("Cache%", 8)],
};
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
    TABLE.lines(results, |result| {
        [
            result.context_size.to_string(),
            format!("{}%", result.cache_hit_rate),
        ]
    })
}

/// The report for scripts.
#[must_use]
pub fn brief_report<'a>(plan: &Plan, model: &str, results: &[SummaryRow]) -> BriefReport<'a> {
    let results = sorted(results);
    let rows = results.iter().map(|result| {
        let mut cells = vec![
            result.context_size.to_string(),
            result.cache_hit_rate.to_string(),
        ];
        cells.extend(report_figures(result));
        cells
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

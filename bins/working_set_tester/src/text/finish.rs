//! Lines at the end: of a test, of the run, and the report for scripts.

use cli::brief::BriefReport;
use cli::logging::{Line, Style};
use cli::number::{bracketed, thousands};
use cli::options::Mode;
use cli::table::Column;
use engine::test_run::TestOutcome;
use metrics::summary::SummaryRow;
use report::test_name::TestName;
use setup::study::StudyOptions;
use setup::study::text::{ResultTable, Totals, limited_report, report_figures, sorted, sums};

use crate::plan::Plan;

/// The final table.
const TABLE: ResultTable<3> = ResultTable {
    width: 130,
    tests: [
        Column::right("Context", 10),
        Column::right("WorkingSet", 12),
        Column::right("Cache%", 8),
    ],
};
/// Columns of the brief report; the last one only where there are several rates.
const BRIEF_COLUMNS: [&str; 11] = [
    "context_size",
    "working_set",
    "requests",
    "input_tokens",
    "output_tokens",
    "input_tps",
    "output_tps",
    "avg_ttft",
    "p95_ttft",
    "concurrency",
    "cache_hit_rate",
];

/// Active sizes of a test's working set at its start and at its end, tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// At its start.
    pub first: u64,
    /// At its end.
    pub last: u64,
}

/// A test has its result.
#[must_use]
pub fn test_done(mode: Mode, outcome: &TestOutcome) -> Vec<Line> {
    let result = &outcome.summary;
    let mut lines = vec![Line::styled(
        Style::Success,
        format!(
            "    ✓ Working set size {} complete",
            thousands(result.working_set_size.unwrap_or_default())
        ),
    )];
    if mode == Mode::Fixed {
        let mut levels: Vec<u32> = Vec::new();
        for phase in &outcome.phases {
            if !levels.contains(&phase.concurrency_level) {
                levels.push(phase.concurrency_level);
            }
        }
        lines.push(Line::plain(format!(
            "      Tested levels: {}",
            bracketed(&levels)
        )));
    }
    lines.extend(sums(result));
    lines
}

/// All sizes at a rate have their results.
#[must_use]
pub fn rate_done(cache_hit_rate: u32) -> Line {
    Line::styled(
        Style::Success,
        format!("  ✓ Cache hit rate {cache_hit_rate}% complete"),
    )
}

/// All tests of a context size have their results.
#[must_use]
pub fn context_done(context_size: u64) -> Line {
    Line::styled(
        Style::Success,
        format!("✓ Context size {} complete", thousands(context_size)),
    )
}

/// A test yielded nothing.
#[must_use]
pub fn test_failed(options: &StudyOptions, test: TestName, reason: &str) -> Line {
    use cli::number::seconds;
    let durations = match options.mode {
        Mode::Sustained => format!(
            "--test-duration {}, --assessment-period {}",
            seconds(options.test_duration),
            seconds(options.assessment_period)
        ),
        Mode::Ramp | Mode::Fixed => format!(
            "--test-duration {}, --ramp-duration {}",
            seconds(options.test_duration),
            seconds(options.ramp_duration)
        ),
    };
    Line::error(format!(
        "    ✗ Working set size {} failed: {reason} ({durations})",
        thousands(test.working_set_size.unwrap_or_default())
    ))
}

/// The table of all results; `sizes` gives the range of a working set that grew.
#[must_use]
pub fn final_table(
    results: &[SummaryRow],
    sizes: impl Fn(&SummaryRow) -> Option<Sizes>,
) -> Vec<Line> {
    TABLE.lines(results, |result| {
        let set = match sizes(result) {
            Some(Sizes { first, last }) => format!("{}-{}", short(first), short(last)),
            None => result.working_set_size.unwrap_or_default().to_string(),
        };
        [
            result.context_size.to_string(),
            set,
            format!("{}%", result.cache_hit_rate),
        ]
    })
}

/// `102K`, `2.0M`, or the number itself below a thousand.
fn short(tokens: u64) -> String {
    #[expect(
        clippy::cast_precision_loss,
        reason = "one decimal of a million is shown"
    )]
    match tokens {
        1_000_000.. => format!("{:.1}M", tokens as f64 / 1e6),
        1_000.. => format!("{}K", tokens / 1000),
        _ => tokens.to_string(),
    }
}

/// What stands beside the report for scripts, whose published grammar has no room for it: the results that the client
/// limits, where there are any.
#[must_use]
pub fn beside_report(results: &[SummaryRow]) -> Option<Line> {
    limited_report(results).map(|(key, tests)| Line::warning(format!("{key}: {tests}")))
}

/// The report for scripts.
#[must_use]
pub fn brief_report<'a>(plan: &Plan, model: &str, results: &[SummaryRow]) -> BriefReport<'a> {
    let common = &plan.common;
    let several = common.cache_hit_rates.len() > 1;
    let results = sorted(results);
    let rows = results.iter().map(|result| {
        let mut cells = vec![
            result.context_size.to_string(),
            result.working_set_size.unwrap_or_default().to_string(),
        ];
        cells.extend(report_figures(result));
        if several {
            cells.push(result.cache_hit_rate.to_string());
        }
        cells
    });
    let rates: Vec<String> = common.cache_hit_rates.iter().map(u32::to_string).collect();
    BriefReport {
        head: vec![
            ("model", model.to_owned()),
            ("endpoint", common.requests.first_url().to_owned()),
            ("cache_rate", rates.join(",")),
        ],
        columns: if several {
            &BRIEF_COLUMNS
        } else {
            BRIEF_COLUMNS.split_at(10).0
        },
        rows: rows.collect(),
        tail: Totals::of(results.iter().copied()).report().into(),
        footer: vec![("output", common.output_dir.display().to_string())],
    }
}

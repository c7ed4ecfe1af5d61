//! Lines that read the same in every tool: context sizes, windows, verdicts, decisions, tables of repeats and of results,
//! the end of a run.
//!
//! Promise: pure functions from results to lines; nothing is printed here and nothing is computed that ends in a file.
//! An undefined value is `n/a`.

mod capacity;
mod finish;
mod level;
mod period;
mod results;
mod start;

pub use capacity::{level_held, short_windows};
pub use finish::{
    FailedTest, RunEnd, Totals, end_of_run, input_tokens, limited_report, output_tokens, sums,
};
pub use level::{
    LevelStatistics, Run, broken, first_level_faulty, is_faulty, level_result, level_start,
    level_summary, note, retry_summary, runs_table, strict_comparison, verdict,
};
pub use period::{
    PeriodsEnd, decline, measured_reasons, period_rates, period_start, period_ttft, period_warnings,
};
pub use results::{ResultTable, report_figures, sorted};
pub use start::{banner_end, banner_title, context_start, durations};

use std::path::Path;

use cli::Failure;
use cli::logging::{Line, Style};
use cli::number::thousands;
use cli::options::EndpointSelection;
use cli::table::rule;
use engine::test_run::TestOutcome;
use metrics::RequestRecord;

use super::StudyOptions;

/// A line of the banner.
#[must_use]
pub fn config(text: impl Into<String>) -> Line {
    Line::styled(Style::Config, text.into())
}

/// A line that begins a part of the log.
#[must_use]
pub fn heading(text: impl Into<String>) -> Line {
    Line::styled(Style::Heading, text.into())
}

/// A heading between two rules of this width, characters.
#[must_use]
pub fn titled(width: usize, title: impl Into<String>) -> [Line; 3] {
    [
        heading(rule('=', width)),
        heading(title),
        heading(rule('=', width)),
    ]
}

/// `, prompts pinned`, or nothing.
#[must_use]
pub fn pinned_note(options: &StudyOptions) -> &'static str {
    match options.endpoint_selection {
        EndpointSelection::RoundRobin => "",
        EndpointSelection::Pinned => ", prompts pinned",
    }
}

/// A context size has nothing left to do.
#[must_use]
pub fn context_skipped(context_size: u64) -> Line {
    Line::plain(format!(
        "Skipping context size {} (all tests already completed)",
        thousands(context_size)
    ))
}

/// Something takes longer than planned, so that all of the working set is sent.
#[must_use]
pub fn extending(sent: u64, needed: u64) -> Line {
    Line::plain(format!(
        "Extending for working set coverage: {}/{} input tokens",
        thousands(sent),
        thousands(needed)
    ))
}

/// It ended all the same.
#[must_use]
pub fn not_covered(sent: u64, needed: u64) -> Line {
    Line::warning(format!(
        "Working set coverage was not reached: {} of {} input tokens were sent",
        thousands(sent),
        thousands(needed)
    ))
}

/// How many requests of a test's result lie outside their windows.
#[must_use]
pub fn strict_excluded(outcome: &TestOutcome) -> Line {
    let at_peak =
        |r: &&RequestRecord| r.intent.concurrency_level == outcome.summary.peak_concurrency;
    let all = outcome.records.iter().filter(at_peak).count() as u64;
    Line::plain(format!(
        "  Strict time window: {} of {} requests at the peak level excluded",
        thousands(all.saturating_sub(outcome.summary.total_requests)),
        thousands(all)
    ))
}

/// The run cannot go on.
#[must_use]
pub fn fatal(failure: &Failure) -> Vec<Line> {
    let error = Line::error(format!("Fatal error: {failure}"));
    let hint = failure
        .hint
        .as_ref()
        .map(|hint| Line::error(format!("hint: {hint}")));
    std::iter::once(error).chain(hint).collect()
}

/// The run was stopped from outside; `script` repeats it, and so does the same command, which `restarts` as long as it
/// says --force-restart.
#[must_use]
pub fn interrupted(n_complete: usize, script: &Path, restarts: bool) -> [Line; 2] {
    let command = if restarts {
        "the same command without --force-restart"
    } else {
        "the same command"
    };
    let tests = if n_complete == 1 { "test" } else { "tests" };
    [
        Line::warning("Test interrupted by user. Progress has been saved."),
        Line::warning(format!(
            "To go on after {n_complete} completed {tests}: give {command} again, or bash {}",
            script.display()
        )),
    ]
}

/// The same before there was anything to go on from.
#[must_use]
pub fn interrupted_early() -> Line {
    Line::warning("Test interrupted by user. Nothing was measured yet.")
}

#[cfg(test)]
mod tests;

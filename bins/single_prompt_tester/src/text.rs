//! What people and scripts read: lines of the log and the report for scripts.
//!
//! Promise: pure; the published lines keep their words and their order, what is new stands behind them. An undefined
//! figure is written as `n/a`.

mod batch;
mod end;
mod start;

pub use batch::{batch_done, batch_started, iteration_done};
pub use end::{End, brief_line, brief_report, completion, final_table, interrupted, verdicts};
pub use start::{KnownFacts, banner, client_ready, known_facts, size_started, sizes_announced};

use cli::logging::{Line, Style};
use cli::number::{fixed, thousands};
use metrics::single_prompt::SizeFigures;

use crate::session::SkipReason;

/// Width of the rules.
const WIDTH: usize = 80;

/// Seconds with three decimals.
fn seconds(value: Option<f64>) -> String {
    fixed(value, 3, "s")
}

/// A ratio with two decimals.
fn times(value: Option<f64>) -> String {
    fixed(value, 2, "x")
}

/// A size has ended.
#[must_use]
pub fn size_done(figures: &SizeFigures) -> Vec<Line> {
    let mean = |figure: Option<metrics::single_prompt::MeanStd>| seconds(figure.map(|f| f.mean));
    let mut text = format!(
        "    Avg Unique TTFT: {} | Avg Cached TTFT: {} | Speedup: {}",
        mean(figures.unique_ttft),
        mean(figures.cached_ttft),
        times(figures.speedup)
    );
    if let Some((low, high)) = figures.speedup_interval {
        text.push_str(&format!(" (95% interval {low:.2} to {high:.2})"));
    }
    let mut lines = vec![
        Line::plain(""),
        Line::plain(format!(
            "  Summary for {} tokens:",
            thousands(figures.context_size)
        )),
        Line::styled(Style::Success, text),
    ];
    if let Some(share) = figures.reported_share {
        lines.push(Line::plain(format!(
            "    From cache: {:.1}% of the repeated prompts' tokens, as the server reports",
            100.0 * share
        )));
    }
    lines.push(Line::plain(""));
    lines
}

/// The rest of a size is left out.
#[must_use]
pub fn size_skipped(context_size: u64, reason: &SkipReason) -> Line {
    let size = thousands(context_size);
    Line::warning(match reason {
        SkipReason::Refused { status, .. } => format!(
            "The server refuses prompts of {size} tokens (status {status}); the rest of this size is left out"
        ),
        SkipReason::NoAnswer => format!(
            "No prompt of {size} tokens was answered in several iterations; the rest of this size is left out"
        ),
    })
}

#[cfg(test)]
mod tests;

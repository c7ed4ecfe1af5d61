//! Lines at the end of a run, and the report for scripts.

use std::path::Path;

use cli::logging::{Line, Style};
use cli::number::thousands;
use cli::table::rule;
use metrics::single_prompt::SizeFigures;
use report::single_prompt::LimitedSizes;

use super::{WIDTH, seconds, times};
use crate::verdict::Verdict;

/// Width of the rules of the report for scripts.
const BRIEF_WIDTH: usize = 60;
/// Characters of the first column of the log's table, and of the report's.
const CONTEXT_WIDTHS: (usize, usize) = (14, 10);

/// A table of sizes: heading, rule, rows, rule. Behind the rows of some sizes stands a mark.
fn table(
    figures: &[SizeFigures],
    title: &str,
    width: usize,
    mark: impl Fn(u64) -> &'static str,
) -> Vec<String> {
    let row = |context: &str, unique: &str, cached: &str, speedup: &str| {
        format!("{context:>width$} | {unique:>12} | {cached:>12} | {speedup:>8}")
    };
    let line = format!(
        "{}-+-{}-+-{}-+-{}",
        rule('-', width),
        rule('-', 12),
        rule('-', 12),
        rule('-', 8)
    );
    let mut lines = vec![
        row(title, "Unique TTFT", "Cached TTFT", "Speedup"),
        line.clone(),
    ];
    lines.extend(figures.iter().map(|f| {
        let figures = row(
            &thousands(f.context_size),
            &seconds(f.unique_ttft.map(|t| t.mean)),
            &seconds(f.cached_ttft.map(|t| t.mean)),
            &times(f.speedup),
        );
        figures + mark(f.context_size)
    }));
    lines.push(line);
    lines
}

/// The table of all sizes; those that the client limits have a mark, and below the table stands what it means.
#[must_use]
pub fn final_table(figures: &[SizeFigures], limited: &LimitedSizes) -> Vec<Line> {
    let heading = |text: String| Line::styled(Style::Heading, text);
    let mut lines = vec![
        Line::plain(""),
        heading(rule('=', WIDTH)),
        heading("Final Summary - All Context Sizes".to_owned()),
        heading(rule('=', WIDTH)),
    ];
    let mark = |size| if limited.of(size).any() { " *" } else { "" };
    let rows = table(figures, "Context Size", CONTEXT_WIDTHS.0, mark);
    lines.extend(rows.into_iter().map(Line::plain));
    let named = limited.named();
    lines.extend(named.map(|named| Line::plain(format!("* limited by this client: {named}"))));
    lines.push(Line::plain(""));
    lines
}

/// What the run says about the server, each verdict with lines of its own below.
#[must_use]
pub fn verdicts(verdicts: &[(&Verdict, &[String])]) -> Vec<Line> {
    let line = |verdict: &Verdict| {
        if verdict.is_good {
            Line::styled(Style::Success, &verdict.text)
        } else {
            Line::warning(&verdict.text)
        }
    };
    let mut lines = Vec::new();
    for (verdict, details) in verdicts {
        lines.push(line(verdict));
        lines.extend(details.iter().map(Line::plain));
    }
    lines.push(Line::plain(""));
    lines
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// Requests that failed.
    pub n_failed: u64,
    /// Requests that were planned and not sent.
    pub n_not_sent: u64,
    /// Whether it went to its end.
    pub is_complete: bool,
    /// Where the files are.
    pub output_dir: &'a Path,
    /// The page to begin with, where it was written.
    pub index: Option<&'a Path>,
}

/// The last lines of the log.
#[must_use]
pub fn completion(end: End<'_>) -> Vec<Line> {
    let heading = |text: String| Line::styled(Style::Heading, text);
    let plural = |n: u64| if n == 1 { "request" } else { "requests" };
    let End {
        n_failed,
        n_not_sent,
        ..
    } = end;
    let mut lines = Vec::new();
    if n_failed > 0 || n_not_sent > 0 {
        let not_sent = match n_not_sent {
            0 => String::new(),
            n => format!(", {} not sent for that reason", thousands(n)),
        };
        lines.push(Line::error(format!(
            "✗ {} {} failed{not_sent}; results are missing",
            thousands(n_failed),
            plural(n_failed)
        )));
    } else if end.is_complete {
        lines.push(heading(rule('=', WIDTH)));
        lines.push(Line::styled(Style::Success, "✓ Testing complete!"));
        lines.push(heading(rule('=', WIDTH)));
    }
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
    lines.push(Line::plain(""));
    lines
}

/// The run was stopped from outside.
#[must_use]
pub fn interrupted() -> Line {
    Line::warning("Interrupted by user.")
}

/// The line for scripts when a size has ended, with its line end.
#[must_use]
pub fn brief_line(figures: &SizeFigures) -> String {
    format!(
        "[{}] unique={} cached={} speedup={}\n",
        thousands(figures.context_size),
        seconds(figures.unique_ttft.map(|t| t.mean)),
        seconds(figures.cached_ttft.map(|t| t.mean)),
        times(figures.speedup)
    )
}

/// The report for scripts at the end. Its grammar is the published one and has no place for a mark: what the client limits
/// is a warning on stderr.
#[must_use]
pub fn brief_report(
    model: &str,
    endpoint: &str,
    seed: &serde_json::Number,
    output_dir: &Path,
    figures: &[SizeFigures],
) -> String {
    let banner = rule('=', BRIEF_WIDTH);
    // A server may call its model anything; a line stays one line.
    let flat = |text: &str| -> String {
        let blank = |c: char| if c.is_control() { ' ' } else { c };
        text.chars().map(blank).collect()
    };
    let mut lines = vec![
        String::new(),
        banner.clone(),
        "RESULTS SUMMARY".to_owned(),
        banner,
        format!("model: {}", flat(model)),
        format!("endpoint: {}", flat(endpoint)),
        format!("seed: {seed}"),
        format!("output: {}", flat(&output_dir.display().to_string())),
        String::new(),
    ];
    lines.extend(table(figures, "Context", CONTEXT_WIDTHS.1, |_| ""));
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

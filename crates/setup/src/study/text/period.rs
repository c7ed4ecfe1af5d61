//! Lines of a sustained test that read the same in every tool, but for how far they stand from the left.

use cli::logging::{Line, Style};
use cli::number::{fixed, rounded, thousands};
use metrics::{PeriodFigures, PeriodRow};
use ramp::{Broken, Decided, PeriodSpec, SustainedStop, Verdict};

use super::broken;

/// A period begins.
#[must_use]
pub fn period_start(indent: &str, spec: &PeriodSpec) -> Line {
    Line::styled(
        Style::Sub,
        format!(
            "{indent}Period {}: Running at concurrency {} for {:.1}s",
            spec.number,
            spec.concurrency,
            spec.length.as_secs_f64()
        ),
    )
}

/// What was streamed in a period, tokens/s.
#[must_use]
pub fn period_rates(indent: &str, row: &PeriodRow) -> String {
    format!(
        "{indent}Input: {} tok/s | Output: {} tok/s",
        rounded(Some(row.input_tokens_per_sec)),
        rounded(Some(row.output_tokens_per_sec))
    )
}

/// TTFT of a period.
#[must_use]
pub fn period_ttft(indent: &str, row: &PeriodRow) -> Line {
    let s = |value| fixed(value, 3, "s");
    Line::plain(format!(
        "{indent}Avg TTFT: {} | P95 TTFT: {} | P99 TTFT: {}",
        s(row.avg_ttft),
        s(row.p95_ttft),
        s(row.p99_ttft)
    ))
}

/// Requests of a period that wait for too long, and those that failed.
#[must_use]
pub fn period_warnings(indent: &str, figures: &PeriodFigures) -> Vec<Line> {
    let mut lines = Vec::new();
    if figures.waiting > 0 {
        lines.push(Line::warning(format!(
            "{indent}{} requests have waited longer than the TTFT threshold for their first token",
            figures.waiting
        )));
    }
    if figures.failed > 0 {
        lines.push(Line::warning(format!(
            "{indent}{} requests failed",
            figures.failed
        )));
    }
    lines
}

/// How far input throughput has fallen: `31.2%`.
#[must_use]
pub fn decline(decided: &Decided) -> String {
    fixed(decided.decline, 1, "%")
}

/// The thresholds that a measured value broke, in words.
#[must_use]
pub fn measured_reasons(verdict: &Verdict) -> Vec<String> {
    let measured = verdict.broken.iter().filter(|b| match b {
        Broken::Invalid => true,
        Broken::Ttft { measured, .. } | Broken::Speed { measured, .. } => measured.is_some(),
    });
    measured.map(broken).collect()
}

/// Where the tools' lines at the end of periods differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodsEnd<'a> {
    /// Before the line of a single period.
    pub period_indent: &'a str,
    /// Before the lines on the test.
    pub indent: &'a str,
    /// What the lowest level was tried with: ` with a working set of 8,192 tokens`, or nothing.
    pub tried_with: &'a str,
    /// What the highest rate of a period is called.
    pub peak: &'a str,
}

impl PeriodsEnd<'_> {
    /// The periods of a test are over. Only measured ones are counted.
    #[must_use]
    pub fn lines(&self, stop: &SustainedStop, periods: &[PeriodRow]) -> Vec<Line> {
        let Self {
            period_indent,
            indent,
            tried_with,
            peak,
        } = self;
        let mut lines = Vec::new();
        match stop {
            SustainedStop::TimeUp => {}
            SustainedStop::TooShort { number, left } => lines.push(Line::plain(format!(
                "{period_indent}Period {number}: Skipping (only {:.1}s remaining)",
                left.as_secs_f64()
            ))),
            SustainedStop::Hopeless { n } => lines.push(Line::warning(format!(
                "The lowest level broke a threshold in {n} periods in a row{tried_with}; the test ends early"
            ))),
        }
        let measured: f64 = periods.iter().map(|p| p.duration).sum();
        let requests: u64 = periods.iter().map(|p| p.num_requests_completed).sum();
        lines.push(Line::styled(
            Style::Success,
            format!(
                "{indent}Continuous mode complete: {} periods in {measured:.1}s",
                periods.len()
            ),
        ));
        lines.push(Line::plain(format!(
            "{indent}  Total requests: {}",
            thousands(requests)
        )));
        let best = periods
            .iter()
            .max_by(|a, b| a.input_tokens_per_sec.total_cmp(&b.input_tokens_per_sec));
        if let Some(best) = best {
            lines.push(Line::plain(format!(
                "{indent}  {peak}: {} tok/s (period {}, concurrency {})",
                rounded(Some(best.input_tokens_per_sec)),
                best.period_number,
                best.concurrency_level
            )));
        }
        lines
    }
}

//! Whether a result kept the thresholds of its run.

use metrics::{PeriodRow, SummaryRow};

use super::super::config::{speed_metric, ttft_metric};
use crate::catalogue::{max_ttft, min_speed};
use crate::data::RunData;

/// Decisions behind a period that broke a threshold, or had nothing to show.
const BROKEN: [&str; 2] = ["RAMP_DOWN", "MIN_REACHED"];

/// Whether a test's figures keep the thresholds of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::index) enum Kept {
    /// They do, or there are none.
    Yes,
    /// They do not.
    No,
    /// The files do not hold the figure that was judged.
    Unknown,
}

/// The figures that thresholds are about; seconds and tokens/s.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Judged {
    pub(super) avg_ttft: Option<f64>,
    pub(super) p95_ttft: Option<f64>,
    pub(super) p99_ttft: Option<f64>,
    pub(super) speed: Option<f64>,
}

/// Whether the run had any threshold.
pub(in crate::index) fn has_threshold(data: &RunData) -> bool {
    max_ttft(data).is_some() || min_speed(data).is_some()
}

/// Judges a summary row by the thresholds stored with the run. That of a test whose working set grew stands for its climb
/// and for every size, so its periods are judged instead: one that kept them is enough.
pub(in crate::index) fn kept(data: &RunData, row: &SummaryRow) -> Kept {
    if let Some(periods) = data.growing(row.into()) {
        let held = |period: &PeriodRow| !BROKEN.contains(&period.decision.as_str());
        return match periods.iter().any(held) {
            true => Kept::Yes,
            false => Kept::No,
        };
    }
    judge(
        data,
        Judged {
            avg_ttft: row.avg_ttft,
            p95_ttft: row.p95_ttft,
            p99_ttft: row.p99_ttft,
            speed: row.avg_output_tokens,
        },
    )
}

/// Judges figures by the thresholds stored with the run.
pub(super) fn judge(data: &RunData, figures: Judged) -> Kept {
    let mut verdict = Kept::Yes;
    if let Some(limit) = max_ttft(data) {
        let metric = ttft_metric(data);
        let value = match metric.as_str() {
            "avg" => figures.avg_ttft,
            "p95" => figures.p95_ttft,
            // The largest TTFT is in no summary; it is at least the 99th percentile.
            _ => figures.p99_ttft,
        };
        match value.filter(|v| *v > 0.0) {
            Some(v) if v > limit => return Kept::No,
            Some(_) if metric == "avg" || metric == "p95" => {}
            _ => verdict = Kept::Unknown,
        }
    }
    if let Some(limit) = min_speed(data) {
        match figures.speed {
            Some(v) if speed_metric(data) == "avg" && v < limit => return Kept::No,
            Some(_) if speed_metric(data) == "avg" => {}
            _ => verdict = Kept::Unknown,
        }
    }
    verdict
}

//! Retry-based metrics: the points and bands of charts, from the stored files.
//!
//! For one summary row: the windows at its peak level, each with its own rates and TTFT figures; the point
//! is their unweighted mean, the band their extremes. Files of this suite hold the window-accounted rates
//! of every phase and those are taken; the originals' files are accounted by the recorded phase duration.
//! Nothing is mixed: one accounting serves all phases of a test, and [`RateSource`] says which.

use std::collections::HashMap;

use crate::percentile::{Stats, mean, population_std};
use crate::phase::PhaseRow;
use crate::record::RequestRecord;
use crate::sample::Completed;
use crate::summary::SummaryRow;
use crate::window::{Throughput, published_throughput, strict_filter};

/// A phase that ends this long after its last request holds a pause of the originals, seconds.
const PAUSE_IS_LONGER_THAN: f64 = 20.0;

/// A mean over phases with its spread, tokens/s.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// Unweighted mean over phases; the point.
    pub mean: f64,
    /// Lowest phase; equal to the mean where there are no phases.
    pub min: f64,
    /// Highest phase; equal to the mean where there are no phases.
    pub max: f64,
    /// Population standard deviation over phases; `None` where there are no phases.
    pub std: Option<f64>,
}

impl Band {
    fn of(values: &[f64]) -> Option<Self> {
        Some(Self {
            mean: mean(values)?,
            min: values.iter().copied().reduce(f64::min)?,
            max: values.iter().copied().reduce(f64::max)?,
            std: population_std(values),
        })
    }

    fn point(value: f64) -> Self {
        Self {
            mean: value,
            min: value,
            max: value,
            std: None,
        }
    }
}

/// How the rates of a point were accounted; captions say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateSource {
    /// Window-accounted rates stored per phase.
    Window,
    /// `--strict-time-window`: tokens of the strict set ÷ its own span, per phase.
    Strict,
    /// The originals' files: tokens ÷ recorded phase duration.
    PhaseDuration,
    /// A sustained test: all tokens ÷ the length of all periods. Never found here, since phases are not
    /// what such a test is made of; whoever knows its periods says so.
    Periods,
    /// A sustained test at one size of its working set: mean over the periods at that size, with their
    /// spread. Never found here either.
    PeriodSpread,
    /// No phase left: the summary row's window-accounted rates.
    SummaryWindow,
    /// No phase left: the summary row's published rates.
    SummaryPublished,
}

impl RateSource {
    /// Whether the point fell back to the summary row, so that it has no band and is drawn hollow.
    #[must_use]
    pub fn is_summary(self) -> bool {
        matches!(self, Self::SummaryWindow | Self::SummaryPublished)
    }
}

/// Point and band of one test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryMetrics {
    /// Input tokens/s.
    pub input: Band,
    /// Output tokens/s.
    pub output: Band,
    /// Mean TTFT, seconds, mean over phases.
    pub avg_ttft: Option<f64>,
    /// Lowest and highest mean TTFT of a phase, seconds; `None` where the summary row stands in.
    pub avg_ttft_range: Option<(f64, f64)>,
    /// Median TTFT, seconds, mean over phases.
    pub median_ttft: Option<f64>,
    /// 95th percentile TTFT, seconds, mean over phases.
    pub p95_ttft: Option<f64>,
    /// 99th percentile TTFT, seconds, mean over phases.
    pub p99_ttft: Option<f64>,
    /// Phases behind the point; 0 where the summary row stands in.
    pub n_phases: usize,
    /// Accounting of the rates.
    pub source: RateSource,
    /// A pause inside the recorded duration was taken out; charts say so in a note.
    pub pause_removed: bool,
}

impl RetryMetrics {
    fn from_summary(summary: &SummaryRow) -> Self {
        let windowed = summary
            .window_input_tokens_per_sec
            .zip(summary.window_output_tokens_per_sec);
        Self {
            input: Band::point(summary.best_input_tps()),
            output: Band::point(summary.best_output_tps()),
            avg_ttft: summary.avg_ttft,
            avg_ttft_range: None,
            median_ttft: summary.median_ttft,
            p95_ttft: summary.p95_ttft,
            p99_ttft: summary.p99_ttft,
            n_phases: 0,
            source: if windowed.is_some() {
                RateSource::SummaryWindow
            } else {
                RateSource::SummaryPublished
            },
            pause_removed: false,
        }
    }
}

/// Metrics of one test from its summary row, phase rows and detail rows.
///
/// `phases` and `detail` may hold other tests; rows are matched by context, working set, rate and peak
/// level. Phase rows must be unique per id ([`crate::phase::newest_phases`]). `strict` is the stored
/// `strict_time_window`. TTFT figures come from the detail rows; if there are none for the test, stored
/// window rates still serve and the TTFT figures are the summary's.
#[must_use]
pub fn retry_metrics<'a>(
    summary: &SummaryRow,
    phases: &[PhaseRow],
    detail: impl IntoIterator<Item = &'a RequestRecord>,
    strict: bool,
) -> RetryMetrics {
    let at_peak = windows_at_peak(summary, phases);
    let by_phase = group(summary, &at_peak, detail);
    let rows_of = |id: &str| by_phase.get(id).cloned().unwrap_or_default();
    metrics_of(summary, &at_peak, rows_of, strict)
}

/// As [`retry_metrics`], where the rows of the test lie sorted by phase already: `rows_of` gives those of
/// one phase at the peak level of the test.
#[must_use]
pub fn retry_metrics_by_phase<'a, R: Completed + 'a>(
    summary: &SummaryRow,
    phases: &[PhaseRow],
    rows_of: impl Fn(&str) -> Vec<&'a R>,
    strict: bool,
) -> RetryMetrics {
    metrics_of(summary, &windows_at_peak(summary, phases), rows_of, strict)
}

/// Windows of the test at its peak level that were not broken off.
fn windows_at_peak<'p>(summary: &SummaryRow, phases: &'p [PhaseRow]) -> Vec<&'p PhaseRow> {
    phases
        .iter()
        .filter(|p| {
            p.is_of_test(
                summary.context_size,
                summary.working_set_size,
                summary.cache_hit_rate,
            ) && p.concurrency_level == summary.peak_concurrency
                && !p.was_broken_off()
        })
        .collect()
}

fn metrics_of<'a, R: Completed + 'a>(
    summary: &SummaryRow,
    at_peak: &[&PhaseRow],
    rows_of: impl Fn(&str) -> Vec<&'a R>,
    strict: bool,
) -> RetryMetrics {
    let mut measured: Vec<PhaseFigures> = Vec::new();
    for phase in at_peak {
        measured.extend(PhaseFigures::of(phase, &rows_of(&phase.phase_id), strict));
    }
    // Without a single detail row the stored rates of windows that completed something are still good.
    let stored_only = measured.is_empty() && !strict;
    if stored_only {
        measured = at_peak
            .iter()
            .filter_map(|phase| PhaseFigures::stored(phase))
            .collect();
    }
    if measured.is_empty() {
        return RetryMetrics::from_summary(summary);
    }
    let (source, rates) = match measured
        .iter()
        .map(|m| m.window)
        .collect::<Option<Vec<_>>>()
    {
        Some(stored) if !strict => (RateSource::Window, stored),
        _ => {
            let source = if measured.iter().all(|m| m.strict_used) {
                RateSource::Strict
            } else {
                RateSource::PhaseDuration
            };
            (source, measured.iter().filter_map(|m| m.computed).collect())
        }
    };
    let input: Vec<f64> = rates.iter().map(|r| r.input_tps).collect();
    let output: Vec<f64> = rates.iter().map(|r| r.output_tps).collect();
    let (Some(input), Some(output)) = (Band::of(&input), Band::of(&output)) else {
        return RetryMetrics::from_summary(summary);
    };
    let over_phases = |figure: fn(&Stats) -> Option<f64>| {
        let defined: Vec<f64> = measured.iter().filter_map(|m| figure(&m.ttft)).collect();
        mean(&defined)
    };
    let ttft = |figure, fallback: Option<f64>| {
        if stored_only {
            fallback
        } else {
            over_phases(figure)
        }
    };
    RetryMetrics {
        input,
        output,
        avg_ttft: ttft(|s| s.avg, summary.avg_ttft),
        avg_ttft_range: range(measured.iter().filter_map(|m| m.ttft.avg)),
        median_ttft: ttft(|s| s.median, summary.median_ttft),
        p95_ttft: ttft(|s| s.p95, summary.p95_ttft),
        p99_ttft: ttft(|s| s.p99, summary.p99_ttft),
        n_phases: rates.len(),
        source,
        pause_removed: source == RateSource::PhaseDuration
            && measured.iter().any(|m| m.pause_removed),
    }
}

/// Lowest and highest; `None` of nothing.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .map(|v| (v, v))
        .reduce(|(low, high), (v, _)| (low.min(v), high.max(v)))
}

/// Detail rows of the test at its peak, by phase id.
fn group<'a, 'p>(
    summary: &SummaryRow,
    at_peak: &[&'p PhaseRow],
    detail: impl IntoIterator<Item = &'a RequestRecord>,
) -> HashMap<&'p str, Vec<&'a RequestRecord>> {
    let wanted: HashMap<&str, &'p str> = at_peak
        .iter()
        .map(|p| (p.phase_id.as_str(), p.phase_id.as_str()))
        .collect();
    let mut by_phase: HashMap<&str, Vec<&RequestRecord>> = HashMap::new();
    for record in detail {
        let intent = &record.intent;
        // Numbers first: with many tests in one file almost every row ends here.
        let fits = intent.cache_hit_rate == summary.cache_hit_rate
            && intent.concurrency_level == summary.peak_concurrency
            && intent.context_size == summary.context_size
            && intent.working_set_size == summary.working_set_size;
        if fits && let Some(&phase_id) = wanted.get(&*intent.phase_id) {
            by_phase.entry(phase_id).or_default().push(record);
        }
    }
    by_phase
}

/// Figures of one phase.
struct PhaseFigures {
    window: Option<Throughput>,
    computed: Option<Throughput>,
    strict_used: bool,
    ttft: Stats,
    pause_removed: bool,
}

impl PhaseFigures {
    /// `None` for a phase without rows.
    fn of<R: Completed>(phase: &PhaseRow, rows: &[&R], strict: bool) -> Option<Self> {
        let last_finish = rows.iter().map(|r| r.finish_time()).reduce(f64::max)?;
        let pause_removed = phase.phase_id.starts_with("FIXED_")
            && phase.end_time - last_finish > PAUSE_IS_LONGER_THAN;
        let duration = if pause_removed {
            last_finish - phase.start_time
        } else {
            phase.duration
        };
        let narrowed = if strict {
            strict_filter(
                rows.iter().copied(),
                phase.window_duration.unwrap_or(phase.duration),
            )
        } else {
            Vec::new()
        };
        // An empty strict set means all rows, as in the testers.
        let kept = if narrowed.is_empty() {
            rows
        } else {
            &narrowed[..]
        };
        // The originals divided strict sets by the phase duration too; only our files name the planned
        // length that makes the strict formula meaningful.
        let strict_used = strict && phase.window_duration.is_some();
        let computed = if strict_used {
            published_throughput(kept.iter().copied())
        } else {
            (duration > 0.0).then(|| Throughput {
                input_tps: kept.iter().map(|r| r.input_tokens()).sum::<u64>() as f64 / duration,
                output_tps: kept.iter().map(|r| r.output_tokens()).sum::<u64>() as f64 / duration,
            })
        };
        Some(Self {
            window: stored_window(phase),
            computed,
            strict_used,
            ttft: Stats::of(kept.iter().filter_map(|r| r.ttft_sample())),
            pause_removed,
        })
    }

    fn stored(phase: &PhaseRow) -> Option<Self> {
        let window = stored_window(phase).filter(|_| phase.num_requests_completed > 0)?;
        Some(Self {
            window: Some(window),
            computed: None,
            strict_used: false,
            ttft: Stats::default(),
            pause_removed: false,
        })
    }
}

fn stored_window(phase: &PhaseRow) -> Option<Throughput> {
    let (input_tps, output_tps) = phase
        .window_input_tokens_per_sec
        .zip(phase.window_output_tokens_per_sec)?;
    Some(Throughput {
        input_tps,
        output_tps,
    })
}

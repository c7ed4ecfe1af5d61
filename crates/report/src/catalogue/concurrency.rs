//! `ramp_ctx<C>_cache<r>.html` and `fixed_ctx<C>_cache<r>.html`: one test over the concurrency level.

use std::collections::{BTreeMap, HashMap};

use metrics::percentile::Stats;
use metrics::record::RequestRecord;
use metrics::window::{published_throughput, strict_filter};
use metrics::{Completed, PhaseRow, SummaryRow};

use super::performance::threshold;
use super::{
    CLIENT_LIMITED, CLIENT_NOTE, Mean, SummaryLine, achieved_rate, figure_axis, joined, log_note,
    rate_text, tokens,
};
use crate::chart::{
    Axis, AxisRange, Body, Chart, ChartKind, Dash, Ink, Marker, NumberFormat, Orientation, Panel,
    Point, RefLine, Series, Ticks,
};
use crate::data::TestSamples;

/// Which kind of test the levels belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    /// Levels found by the ramp.
    Ramp,
    /// Levels given in advance.
    Fixed,
}

/// How the throughput of a level was accounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelSource {
    /// Window-accounted rates stored with the windows.
    Window,
    /// Tokens of completed requests ÷ (last finish − first launch), per window.
    Published,
    /// The same of the requests that were launched and completed within their window.
    Strict,
}

/// Figures of one concurrency level: means over its windows, and for a test of the working-set tool TTFT over all of their
/// requests.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelPoint {
    /// Requests held in flight.
    pub concurrency: u32,
    /// Input tokens/s.
    pub input: Option<f64>,
    /// Output tokens/s.
    pub output: Option<f64>,
    /// Mean TTFT, seconds.
    pub avg_ttft: Option<f64>,
    /// Largest TTFT of any window, seconds.
    pub max_ttft: Option<f64>,
    /// 95th percentile TTFT, seconds.
    pub p95_ttft: Option<f64>,
    /// Windows behind the point.
    pub n_windows: usize,
    /// Requests that failed in them; `None` in files that do not say.
    pub failed: Option<u64>,
    /// Whether the client limited one of them.
    pub client_limited: bool,
}

/// Figures of one test over the concurrency level.
#[derive(Debug, Clone, PartialEq)]
pub struct ConcurrencyInput {
    /// Kind of test.
    pub kind: WindowKind,
    /// Context size, tokens.
    pub context_size: u64,
    /// Working-set size where the run varies it, tokens.
    pub working_set_size: Option<u64>,
    /// Target hit rate, percent.
    pub cache_hit_rate: u32,
    /// Share of prompt tokens that was sent before, percent; unknown without requests.
    pub achieved_rate: Option<f64>,
    /// One entry per level, ascending.
    pub levels: Vec<LevelPoint>,
    /// How the throughput was accounted.
    pub source: LevelSource,
    /// TTFT threshold of the run, seconds.
    pub max_ttft: Option<f64>,
    /// Level that was chosen.
    pub peak: Option<u32>,
    /// Third line of the title; left out in directories of the first originals.
    pub summary: Option<SummaryLine>,
}

impl ConcurrencyInput {
    /// The levels of one test from its windows and requests; `None` when it has no window that explores
    /// levels (retries alone do not). Rows of other tests must have been left out. `strict` is the run's
    /// `--strict-time-window`: only requests within their window count.
    #[must_use]
    pub fn from_rows<'a>(
        summary: &SummaryRow,
        phases: &[PhaseRow],
        records: impl IntoIterator<Item = &'a RequestRecord>,
        max_ttft: Option<f64>,
        strict: bool,
    ) -> Option<Self> {
        let mut by_phase: HashMap<&str, Vec<&RequestRecord>> = HashMap::new();
        for record in records {
            by_phase
                .entry(&*record.intent.phase_id)
                .or_default()
                .push(record);
        }
        Self::from_groups(summary, phases, &by_phase, max_ttft, strict)
    }

    /// As [`ConcurrencyInput::from_rows`], the requests as samples.
    #[must_use]
    pub fn from_samples(
        summary: &SummaryRow,
        phases: &[PhaseRow],
        samples: &TestSamples,
        max_ttft: Option<f64>,
        strict: bool,
    ) -> Option<Self> {
        Self::from_groups(summary, phases, &samples.by_phase(), max_ttft, strict)
    }

    fn from_groups<R: Completed>(
        summary: &SummaryRow,
        phases: &[PhaseRow],
        by_phase: &HashMap<&str, Vec<&R>>,
        max_ttft: Option<f64>,
        strict: bool,
    ) -> Option<Self> {
        // The working-set tool names every fixed window of a level a run, retries included; they count.
        let explored = if phases.is_empty() {
            windows_of_requests(by_phase)
        } else {
            let explored = phases.iter().filter(|p| explores(&p.phase_id));
            explored.map(Window::of_phase).collect()
        };
        let ids = || {
            let of_phases = phases.iter().map(|p| p.phase_id.as_str());
            of_phases.chain(explored.iter().map(|w| w.phase_id))
        };
        let kind = if ids().any(|id| id.starts_with("RAMP")) {
            WindowKind::Ramp
        } else {
            WindowKind::Fixed
        };
        // One figure for the whole chart: a line that mixes two formulas would bend for no reason.
        let known = |w: &Window<'_>| w.stored.is_some() || w.was_broken_off;
        let source = if strict
            && explored
                .iter()
                .all(|w| w.planned.is_some() || w.was_broken_off)
        {
            LevelSource::Strict
        } else if explored.iter().all(known) {
            LevelSource::Window
        } else {
            LevelSource::Published
        };
        let mut levels: BTreeMap<u32, LevelSums> = BTreeMap::new();
        for window in &explored {
            let rows = by_phase.get(window.phase_id).map_or(&[][..], Vec::as_slice);
            let narrowed = match window.planned {
                Some(planned) if source == LevelSource::Strict => {
                    strict_filter(rows.iter().copied(), planned)
                }
                _ => Vec::new(),
            };
            // Where nothing lies within the window all requests count, as in the testers.
            let rows = if narrowed.is_empty() {
                rows
            } else {
                &narrowed[..]
            };
            let rates = match source {
                LevelSource::Window => window.stored,
                LevelSource::Published | LevelSource::Strict => {
                    published_throughput(rows.iter().copied()).map(|t| (t.input_tps, t.output_tps))
                }
            };
            levels
                .entry(window.concurrency_level)
                .or_default()
                .add(window, rates, rows);
        }
        if explored.is_empty() {
            return None;
        }
        Some(Self {
            kind,
            context_size: summary.context_size,
            working_set_size: summary.working_set_size,
            cache_hit_rate: summary.cache_hit_rate,
            achieved_rate: achieved_rate(by_phase.values().flatten().copied()),
            levels: levels
                .into_iter()
                .map(|(level, sums)| sums.finish(level, summary.working_set_size.is_some()))
                .collect(),
            source,
            max_ttft,
            peak: Some(summary.peak_concurrency),
            summary: (summary.model.is_some()
                && summary.working_set_size.is_none()
                && !by_phase.is_empty())
            .then(|| SummaryLine::of_records(by_phase.values().flatten().copied())),
        })
    }
}

/// What the chart needs to know of a window.
struct Window<'a> {
    phase_id: &'a str,
    concurrency_level: u32,
    /// Window-accounted input and output tokens/s, where the files hold them.
    stored: Option<(f64, f64)>,
    /// Planned length in seconds, where the files hold it.
    planned: Option<f64>,
    was_broken_off: bool,
    failed: Option<u64>,
    client_limited: bool,
}

impl<'a> Window<'a> {
    fn of_phase(phase: &'a PhaseRow) -> Self {
        Self {
            phase_id: &phase.phase_id,
            concurrency_level: phase.concurrency_level,
            stored: phase
                .window_input_tokens_per_sec
                .zip(phase.window_output_tokens_per_sec),
            planned: phase.window_duration,
            was_broken_off: phase.was_broken_off(),
            failed: phase.num_requests_failed,
            client_limited: phase.client_limited == Some(true),
        }
    }
}

/// The windows of a test whose phases nobody wrote down, or whose file was lost: its requests name them.
fn windows_of_requests<'a, R: Completed>(by_phase: &HashMap<&'a str, Vec<&R>>) -> Vec<Window<'a>> {
    let mut windows: Vec<Window<'a>> = by_phase
        .iter()
        .filter(|(id, _)| explores(id))
        .filter_map(|(id, rows)| {
            Some(Window {
                phase_id: id,
                concurrency_level: rows.first()?.concurrency_level(),
                stored: None,
                planned: None,
                was_broken_off: false,
                failed: None,
                client_limited: false,
            })
        })
        .collect();
    windows.sort_unstable_by_key(|w| w.phase_id);
    windows
}

/// Whether a window explores levels: every ramp and refinement window, and the first run of a fixed one.
#[must_use]
fn explores(phase_id: &str) -> bool {
    phase_id.starts_with("RAMP") || (phase_id.contains("_run") && !phase_id.contains("RETRY"))
}

#[derive(Debug, Default)]
struct LevelSums {
    input: Mean,
    output: Mean,
    avg_ttft: Mean,
    max_ttft: Option<f64>,
    p95_ttft: Mean,
    /// Of all windows.
    ttft: Vec<f64>,
    n_windows: usize,
    failed: Option<u64>,
    client_limited: bool,
}

impl LevelSums {
    fn add<R: Completed>(&mut self, window: &Window<'_>, rates: Option<(f64, f64)>, rows: &[&R]) {
        let samples: Vec<f64> = rows.iter().filter_map(|r| r.ttft_sample()).collect();
        let ttft = Stats::of(samples.iter().copied());
        self.ttft.extend(samples);
        self.input.add(rates.map(|r| r.0));
        self.output.add(rates.map(|r| r.1));
        self.avg_ttft.add(ttft.avg);
        self.p95_ttft.add(ttft.p95);
        self.max_ttft = [self.max_ttft, ttft.max]
            .into_iter()
            .flatten()
            .reduce(f64::max);
        self.n_windows += 1;
        self.client_limited |= window.client_limited;
        if let Some(failed) = window.failed {
            *self.failed.get_or_insert(0) += failed;
        }
    }

    /// `pooled` takes TTFT over all requests together, else the mean over the windows counts.
    fn finish(self, concurrency: u32, pooled: bool) -> LevelPoint {
        let (avg_ttft, p95_ttft) = if pooled {
            let ttft = Stats::of(self.ttft);
            (ttft.avg, ttft.p95)
        } else {
            (self.avg_ttft.get(), self.p95_ttft.get())
        };
        LevelPoint {
            concurrency,
            input: self.input.get(),
            output: self.output.get(),
            avg_ttft,
            max_ttft: self.max_ttft,
            p95_ttft,
            n_windows: self.n_windows,
            failed: self.failed,
            client_limited: self.client_limited,
        }
    }
}

/// Three panels over the concurrency level.
#[must_use]
pub fn concurrency_chart(input: &ConcurrencyInput) -> Chart {
    let levels = &input.levels;
    let x = level_axis(levels);
    let line = |key: &str,
                name: &str,
                ink,
                dash,
                marker,
                format,
                value: fn(&LevelPoint) -> Option<f64>| {
        let points = levels.iter().map(|l| Point {
            note: remark(l),
            ..Point::line(f64::from(l.concurrency), value(l))
        });
        Series::line((key, name), (ink, dash, marker), format, points.collect())
    };
    let peak = |label: Option<String>| {
        input.peak.map(|level| RefLine {
            orientation: Orientation::Vertical,
            value: f64::from(level),
            label,
            ink: Ink::Purple,
        })
    };
    let rate = NumberFormat::THROUGHPUT;
    let seconds = NumberFormat::SECONDS;
    let panel =
        |title: &str, y_title: &str, format, series: Vec<Series>, lines: Vec<RefLine>| Panel {
            title: title.to_owned(),
            x: x.clone(),
            y: figure_axis(y_title, format, &series),
            y2: None,
            body: Body::Series(series),
            lines,
        };
    let first_label = input
        .peak
        .map(|level| format!("Peak Concurrency ({level})"));
    let panels = vec![
        panel(
            "Input Throughput vs Concurrency",
            "Input Tokens/s",
            rate,
            vec![line(
                "input",
                "Input tokens/s",
                Ink::Blue,
                Dash::Solid,
                Marker::Circle,
                rate,
                |l| l.input,
            )],
            peak(first_label).into_iter().collect(),
        ),
        panel(
            "Output Throughput vs Concurrency",
            "Output Tokens/s",
            rate,
            vec![line(
                "output",
                "Output tokens/s",
                Ink::Green,
                Dash::Solid,
                Marker::Square,
                rate,
                |l| l.output,
            )],
            peak(None).into_iter().collect(),
        ),
        panel(
            "TTFT Metrics vs Concurrency",
            "TTFT (seconds)",
            seconds,
            vec![
                line(
                    "avg-ttft",
                    "Avg TTFT",
                    Ink::Orange,
                    Dash::Solid,
                    Marker::Circle,
                    seconds,
                    |l| l.avg_ttft,
                ),
                line(
                    "max-ttft",
                    "Max TTFT",
                    Ink::Red,
                    Dash::Solid,
                    Marker::Triangle,
                    seconds,
                    |l| l.max_ttft,
                ),
                line(
                    "p95-ttft",
                    "P95 TTFT",
                    Ink::DarkRed,
                    Dash::Dotted,
                    Marker::TriangleDown,
                    seconds,
                    |l| l.p95_ttft,
                ),
            ],
            peak(None)
                .into_iter()
                .chain(input.max_ttft.map(threshold))
                .collect(),
        ),
    ];
    let limited = levels.iter().any(|l| l.client_limited);
    let (prefix, title) = match input.kind {
        WindowKind::Ramp => ("ramp", "Concurrency Ramp Analysis"),
        WindowKind::Fixed => ("fixed", "Fixed Concurrency Analysis"),
    };
    let stem_set = input
        .working_set_size
        .map(|w| format!("_ws{w}"))
        .unwrap_or_default();
    let title_set = input
        .working_set_size
        .map(|w| format!("Working Set: {} | ", tokens(w)))
        .unwrap_or_default();
    let about = format!(
        "Context: {} | {title_set}Cache Hit Rate: {}",
        tokens(input.context_size),
        rate_text(input.cache_hit_rate, input.achieved_rate)
    );
    Chart {
        kind: match input.kind {
            WindowKind::Ramp => ChartKind::Ramp,
            WindowKind::Fixed => ChartKind::Fixed,
        },
        stem: format!("{prefix}_ctx{}{stem_set}_cache{}", input.context_size, input.cache_hit_rate),
        title: title.to_owned(),
        subtitles: std::iter::once(about).chain(input.summary.map(|s| s.text())).collect(),
        captions: std::iter::once(caption(input))
            .chain(limited.then(|| CLIENT_NOTE.to_owned()))
            .chain(log_note(&panels))
            .collect(),
        description: match input.kind {
            WindowKind::Ramp => "Throughput and TTFT at every level the ramp tried, the peak it chose and the threshold.",
            WindowKind::Fixed => "Throughput and TTFT at every given concurrency level.",
        }
        .to_owned(),
        panels,
        height: 900,
        shared_legend: false,
    }
}

fn caption(input: &ConcurrencyInput) -> String {
    let figure = match input.source {
        LevelSource::Window => {
            "Throughput is window-accounted: each request counts with the share of its tokens that falls into the measured window."
        }
        LevelSource::Published => {
            "Throughput follows the originals' formula, tokens of completed requests divided by last finish minus first launch: \
             this directory holds no window-accounted figures."
        }
        LevelSource::Strict => {
            "Throughput and TTFT count only requests that began and ended inside the measured window (strict time window), throughput over the time they span."
        }
    };
    let windows = if input.working_set_size.is_some() {
        ""
    } else if input.levels.iter().any(|l| l.n_windows > 1) {
        " Levels that were measured in several windows show the mean of these (the largest for Max TTFT)."
    } else {
        ""
    };
    let retries = match input.kind {
        WindowKind::Ramp => {
            " One point per level from ramp and refinement windows; retries at the peak are not in this chart."
        }
        WindowKind::Fixed if input.working_set_size.is_some() => {
            " One point per level: throughput is the mean over all its runs, TTFT is that of all their requests."
        }
        WindowKind::Fixed => {
            " One point per level from its first run; retries are not in this chart."
        }
    };
    let blocks = if rate_text(input.cache_hit_rate, input.achieved_rate).contains('(') {
        " Cached parts of prompts end on whole cache blocks: achieved is the share of prompt tokens that had been sent before."
    } else {
        ""
    };
    format!("{figure}{retries}{windows}{blocks}")
}

/// What a reader should know of a point beyond its value.
fn remark(level: &LevelPoint) -> Option<String> {
    let failed = level.failed.filter(|n| *n > 0);
    let failed = failed.map(|n| format!("{n} failed"));
    let limited = level.client_limited.then(|| CLIENT_LIMITED.to_owned());
    joined(failed.into_iter().chain(limited))
}

/// Levels from zero; logarithmic where they span two decades or more.
fn level_axis(levels: &[LevelPoint]) -> Axis {
    let low = levels.iter().map(|l| l.concurrency).min().unwrap_or(0);
    let high = levels.iter().map(|l| l.concurrency).max().unwrap_or(0);
    let log = low >= 1 && high >= low.saturating_mul(100);
    Axis {
        title: "Concurrency Level".to_owned(),
        range: if log {
            AxisRange::Log
        } else {
            AxisRange::FromZero
        },
        ticks: Ticks::Whole,
        format: NumberFormat::COUNT,
    }
}

//! The chart catalogue: which charts exist, and what each shows of which figures.
//!
//! Functions take plain prepared figures and return a [`Chart`]; they read no file and draw nothing.
//! Titles, axis titles and series names are the published ones, letter by letter. Every chart of a
//! throughput says in its caption by which formula the figure was computed.

mod client_health;
mod combined;
mod comparison;
mod concurrency;
mod heatmap;
mod performance;
mod run;
mod single_prompt;
mod sustained;
mod sustained_set;
mod working_set;

pub use client_health::client_health_chart;
pub use combined::{RunLine, combined_charts};

pub use comparison::{
    ContextPoints, input_throughput_comparison, output_metrics_comparison,
    output_throughput_comparison,
};
pub use concurrency::{ConcurrencyInput, LevelPoint, LevelSource, WindowKind, concurrency_chart};
pub use heatmap::ttft_heatmap;
pub use performance::{PerformanceInput, RatePoint, performance_chart};
pub use run::{
    comparison_charts, contexts_of_run, each_test_chart, max_ttft, min_speed, points_by_context,
    set_lines_of_run, sustained_tests, test_charts, write_comparison_charts, write_sustained_chart,
    write_test_chart, write_test_charts,
};
pub use single_prompt::single_prompt_chart;
pub use sustained::{SustainedInput, sustained_chart, sustained_comparison};
pub use sustained_set::sustained_set_chart;
pub use working_set::{SetLine, working_set_charts};

use metrics::Completed;
use metrics::retry::{Band, RateSource};

use crate::chart::{Axis, AxisRange, NumberFormat, Panel, Series, Side, Ticks, count, fixed};

/// What the third line of a title block says about a test or a context.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SummaryLine {
    /// Input tokens of all requests.
    pub input_tokens: f64,
    /// Output tokens of all requests.
    pub output_tokens: f64,
    /// Mean TTFT, seconds.
    pub avg_ttft: Option<f64>,
    /// Mean speed of one request, tokens/s.
    pub avg_speed: Option<f64>,
    /// Requests.
    pub requests: u64,
}

impl SummaryLine {
    /// Sums and means over the requests of one test.
    #[must_use]
    pub fn of_records<'a, R: Completed + 'a>(records: impl IntoIterator<Item = &'a R>) -> Self {
        let mut line = Self::default();
        let (mut ttft, mut speed) = (Mean::default(), Mean::default());
        for record in records {
            line.input_tokens += whole(record.input_tokens());
            line.output_tokens += whole(record.output_tokens());
            line.requests += 1;
            ttft.add(record.ttft_sample());
            speed.add(record.request_speed());
        }
        line.avg_ttft = ttft.get();
        line.avg_speed = speed.get();
        line
    }

    /// The published wording; a mean that is not known is `N/A`.
    #[must_use]
    pub fn text(&self) -> String {
        let known = |value: Option<f64>, decimals, unit: &str| {
            value.map_or_else(
                || "N/A".to_owned(),
                |v| format!("{}{unit}", fixed(v, decimals)),
            )
        };
        format!(
            "Summary: {}M input tokens, {}M output tokens | Avg TTFT: {} | Avg Tokens/Req: {} | Total Requests: {}",
            fixed(self.input_tokens / 1e6, 1),
            fixed(self.output_tokens / 1e6, 1),
            known(self.avg_ttft, 3, "s"),
            known(self.avg_speed, 1, " tok/s"),
            count(self.requests)
        )
    }
}

/// Share of their prompt tokens that these requests took from what was sent before, percent; `None` without
/// a token. It differs from the target where a cached part ends on a whole block.
fn achieved_rate<'a, R: Completed + 'a>(records: impl IntoIterator<Item = &'a R>) -> Option<f64> {
    let (mut cached, mut input) = (0u64, 0u64);
    for record in records {
        cached = cached.saturating_add(record.cached_tokens());
        input = input.saturating_add(record.input_tokens());
    }
    (input > 0).then(|| 100.0 * whole(cached) / whole(input))
}

/// `50%`, or `50% (achieved 48.0%)` where that reads differently.
fn rate_text(target: u32, achieved: Option<f64>) -> String {
    match achieved {
        Some(share) if (share - f64::from(target)).abs() >= 0.05 => {
            format!("{target}% (achieved {}%)", fixed(share, 1))
        }
        _ => format!("{target}%"),
    }
}

/// A running mean over what is defined.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    n: u64,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value.filter(|v| v.is_finite()) {
            self.sum += value;
            self.n += 1;
        }
    }

    fn get(self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / whole(self.n))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "token and request counts are far below 2^53"
)]
fn whole(n: u64) -> f64 {
    n as f64
}

/// A size as a position on an axis.
fn exact(n: u64) -> f64 {
    whole(n)
}

/// `8,000 tokens`.
fn tokens(n: u64) -> String {
    format!("{} tokens", count(n))
}

/// `Cache Hit Rate (%)` from 0 to 100, with room for markers at both ends.
fn rate_axis() -> Axis {
    Axis {
        title: "Cache Hit Rate (%)".to_owned(),
        range: AxisRange::Fixed(-2.0, 102.0),
        ticks: Ticks::Every(10.0),
        format: NumberFormat::PERCENT,
    }
}

/// A left or right axis from zero.
fn value_axis(title: &str, format: NumberFormat) -> Axis {
    Axis {
        title: title.to_owned(),
        range: AxisRange::FromZero,
        ticks: Ticks::Auto,
        format,
    }
}

/// Values that span this factor do not fit on an axis from zero: the small ones would lie on its line.
const TWO_DECADES: f64 = 100.0;

/// The lowest and the highest value of these series, ends of bands included; crossed where there is none.
fn extent<'a>(series: impl Iterator<Item = &'a Series>) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, 0.0f64);
    for point in series.flat_map(|s| &s.points) {
        let band = point.range.into_iter().flat_map(|(from, to)| [from, to]);
        for value in point.y.into_iter().chain(band) {
            low = low.min(value);
            high = high.max(value);
        }
    }
    (low, high)
}

/// Whether values between these go on a logarithmic axis.
fn spans_decades((low, high): (f64, f64)) -> bool {
    low > 0.0 && high >= low * TWO_DECADES
}

/// A left axis for figures of these series: from zero, or logarithmic where they span two decades or more.
fn figure_axis(title: &str, format: NumberFormat, series: &[Series]) -> Axis {
    let left = series.iter().filter(|s| s.side == Side::Left);
    Axis {
        range: if spans_decades(extent(left)) {
            AxisRange::Log
        } else {
            AxisRange::FromZero
        },
        ..value_axis(title, format)
    }
}

/// Gives panels that show the same figure the same axes, kind and range, so that they can be compared by eye.
fn share_scales(panels: &mut [Panel]) {
    let all = |side: Side, title: &str, panels: &[Panel]| {
        let titled = panels.iter().filter(|p| match side {
            Side::Left => p.y.title == title,
            Side::Right => p.y2.as_ref().is_some_and(|axis| axis.title == title),
        });
        extent(titled.flat_map(|p| p.series().iter().filter(|s| s.side == side)))
    };
    let ranges: Vec<[AxisRange; 2]> = panels
        .iter()
        .map(|panel| {
            let left = all(Side::Left, &panel.y.title, panels);
            let title = panel.y2.as_ref().map_or("", |axis| &axis.title);
            let right = all(Side::Right, title, panels);
            // A multiple runs beside its throughput only where both axes are of one kind.
            let log = spans_decades(left);
            [left, right].map(|(low, high)| match log && low > 0.0 && low <= high {
                true => AxisRange::LogOver(low, high),
                false => AxisRange::FromZeroTo(high),
            })
        })
        .collect();
    for (panel, [left, right]) in panels.iter_mut().zip(ranges) {
        panel.y.range = left;
        if let Some(axis) = &mut panel.y2 {
            axis.range = right;
        }
    }
}

/// Says which axes of values are logarithmic, each once.
fn log_note(panels: &[Panel]) -> Option<String> {
    let mut titles: Vec<&str> = Vec::new();
    for axis in panels
        .iter()
        .flat_map(|p| std::iter::once(&p.y).chain(&p.y2))
    {
        if axis.range.is_log() && !titles.contains(&axis.title.as_str()) {
            titles.push(&axis.title);
        }
    }
    (!titles.is_empty()).then(|| {
        format!(
            "Logarithmic, because the values span more than two powers of ten: {}.",
            titles.join(", ")
        )
    })
}

/// Band of a point; none where the point stands for the summary row.
fn band_of(band: Band, source: RateSource) -> Option<(f64, f64)> {
    (!source.is_summary() && source != RateSource::Periods).then_some((band.min, band.max))
}

/// Remark on a point whose figures come from the summary file.
const SUMMARY_VALUE: &str = "summary value";

/// Remark on a point that says more of the client than it should.
const CLIENT_LIMITED: &str = "limited by the client";

/// Said below a chart with such points.
const CLIENT_NOTE: &str = "Points that their read-out calls limited by the client say more of the measuring machine than of the server: \
     the server may do better (client_health_*.csv tells why).";

/// One remark of several.
fn joined(remarks: impl IntoIterator<Item = String>) -> Option<String> {
    let remarks: Vec<String> = remarks.into_iter().collect();
    (!remarks.is_empty()).then(|| remarks.join(", "))
}

/// Whether a chart shows the spread of its points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spread {
    /// As a band.
    Band,
    /// Not at all.
    Hidden,
}

/// Captions for the accounting of these points, one sentence per way that occurs, and for those that the
/// client limits.
fn captions<'a>(points: impl IntoIterator<Item = &'a RatePoint>, spread: Spread) -> Vec<String> {
    let of_bands = |text: &'static str| if spread == Spread::Band { text } else { "" };
    let mut seen: Vec<RateSource> = Vec::new();
    let mut limited = false;
    for point in points {
        limited |= point.client_limited;
        if !seen.contains(&point.source) {
            seen.push(point.source);
        }
    }
    let measured = |source| seen.contains(&source) && seen.iter().any(|s| !s.is_summary());
    let mut out = Vec::new();
    let several = seen.iter().filter(|s| !s.is_summary()).count() > 1;
    let lead = if several {
        "Some points: throughput"
    } else {
        "Throughput"
    };
    if measured(RateSource::Window) {
        out.push(format!(
            "{lead} is window-accounted: each request counts with the share of its tokens that falls into the measured window. \
             Points are means over the windows at the peak level{}.",
            of_bands(", bands run from the lowest window to the highest")
        ));
    }
    if measured(RateSource::Periods) {
        out.push(format!(
            "{lead} is that of the whole test: all tokens that arrived, divided by the length of all assessment periods. \
             Latencies are means over the periods{}.",
            of_bands(", and there is no band")
        ));
    }
    if measured(RateSource::PeriodSpread) {
        out.push(format!(
            "{lead} and latencies are means over the assessment periods at each size of the working set{}.",
            of_bands("; bands run from the lowest period to the highest")
        ));
    }
    if measured(RateSource::Strict) {
        out.push(format!(
            "{lead} counts only requests that began and ended inside the measured window (strict time window), over the time they span."
        ));
    }
    if measured(RateSource::PhaseDuration) {
        out.push(format!(
            "{lead} follows the originals' formula, tokens of completed requests divided by the recorded length of their window: \
             this directory holds no window-accounted figures. It reads some percent low because the tail of each window is idle."
        ));
    }
    if seen.iter().any(|s| s.is_summary()) {
        let which = if seen.contains(&RateSource::SummaryPublished) {
            "tokens of completed requests divided by last finish minus first launch"
        } else {
            "window-accounted means"
        };
        out.push(format!(
            "Hollow markers are values of the summary file ({which}), used where a test has no readable window data{}.",
            of_bands("; they have no band")
        ));
    }
    out.extend(limited.then(|| CLIENT_NOTE.to_owned()));
    out
}

/// Said where a pause of the originals was taken out of a window's recorded length.
const PAUSE_NOTE: &str = "Windows of this directory end with a pause of the original program; the pause was taken out of their length.";

//! `performance_vs_cache_rate_<C>.html`: throughput, TTFT and request speed of one context over the hit rate.

use metrics::record::RequestRecord;
use metrics::retry::{Band, RateSource, RetryMetrics, retry_metrics, retry_metrics_by_phase};
use metrics::{Completed as _, PhaseRow, Sample, SummaryRow};

use super::{
    CLIENT_LIMITED, Mean, PAUSE_NOTE, SUMMARY_VALUE, Spread, SummaryLine, achieved_rate, band_of,
    captions, figure_axis, joined, log_note, rate_axis, rate_text, tokens, value_axis, whole,
};
use crate::chart::{
    Axis, Body, Chart, ChartKind, Dash, Ink, Marker, NumberFormat, Orientation, Panel, Point,
    RefLine, Series, SeriesStyle, Side,
};
use crate::data::TestSamples;

/// Everything that comparison and performance charts show of one test.
#[derive(Debug, Clone, PartialEq)]
pub struct RatePoint {
    /// Target hit rate, percent.
    pub rate: u32,
    /// Share of prompt tokens that was sent before, percent; unknown without requests.
    pub achieved_rate: Option<f64>,
    /// Input tokens/s, mean over windows and spread.
    pub input: Band,
    /// Output tokens/s, mean over windows and spread.
    pub output: Band,
    /// How the two were accounted.
    pub source: RateSource,
    /// Windows behind the point; 0 where the summary row stands in.
    pub n_windows: usize,
    /// A pause was taken out of the windows' recorded lengths.
    pub pause_removed: bool,
    /// Mean TTFT, seconds, mean over windows.
    pub avg_ttft: Option<f64>,
    /// Lowest and highest mean TTFT of a window, seconds.
    pub avg_ttft_range: Option<(f64, f64)>,
    /// Median TTFT, likewise.
    pub median_ttft: Option<f64>,
    /// 95th percentile TTFT, likewise.
    pub p95_ttft: Option<f64>,
    /// 99th percentile TTFT, likewise.
    pub p99_ttft: Option<f64>,
    /// Input tokens/s of the summary row.
    pub summary_input: f64,
    /// Output tokens/s of the summary row.
    pub summary_output: f64,
    /// Mean TTFT of the summary row, for the heat map.
    pub summary_ttft: Option<f64>,
    /// Mean speed of one request, tokens/s, of the summary row.
    pub speed: Option<f64>,
    /// Mean ITL, seconds, of the summary row.
    pub avg_itl: Option<f64>,
    /// Whether the result says more of the client than of the server.
    pub client_limited: bool,
}

impl RatePoint {
    /// The figures of one test from its rows. `phases` and `records` may hold other tests.
    #[must_use]
    pub fn from_rows<'a>(
        summary: &SummaryRow,
        phases: &[PhaseRow],
        records: impl IntoIterator<Item = &'a RequestRecord>,
        strict: bool,
    ) -> Self {
        let records: Vec<&RequestRecord> = records.into_iter().collect();
        let metrics = retry_metrics(summary, phases, records.iter().copied(), strict);
        Self {
            achieved_rate: achieved_rate(records),
            ..Self::from_metrics(summary, &metrics)
        }
    }

    /// The figures of one test from its rows, the requests as samples.
    #[must_use]
    pub fn from_samples(
        summary: &SummaryRow,
        phases: &[PhaseRow],
        samples: &TestSamples,
        strict: bool,
    ) -> Self {
        let at_peak = |phase_id: &str| -> Vec<&Sample> {
            samples
                .of_phase(phase_id)
                .iter()
                .filter(|s| s.concurrency_level() == summary.peak_concurrency)
                .collect()
        };
        let metrics = retry_metrics_by_phase(summary, phases, at_peak, strict);
        Self {
            achieved_rate: achieved_rate(samples.iter()),
            ..Self::from_metrics(summary, &metrics)
        }
    }

    /// The figures of one test whose window figures are known already.
    #[must_use]
    pub fn from_metrics(summary: &SummaryRow, metrics: &RetryMetrics) -> Self {
        Self {
            rate: summary.cache_hit_rate,
            achieved_rate: None,
            input: metrics.input,
            output: metrics.output,
            source: metrics.source,
            n_windows: metrics.n_phases,
            pause_removed: metrics.pause_removed,
            avg_ttft: metrics.avg_ttft,
            avg_ttft_range: metrics.avg_ttft_range,
            median_ttft: metrics.median_ttft,
            p95_ttft: metrics.p95_ttft,
            p99_ttft: metrics.p99_ttft,
            summary_input: summary.best_input_tps(),
            summary_output: summary.best_output_tps(),
            summary_ttft: summary.avg_ttft.filter(|v| *v > 0.0),
            speed: summary.avg_output_tokens,
            avg_itl: summary.avg_itl,
            client_limited: summary.client_limited == Some(true),
        }
    }

    /// One point of a line over the hit rate, hollow where it stands for the summary row.
    pub(super) fn point(&self, value: Option<f64>) -> Point {
        self.point_at(f64::from(self.rate), value)
    }

    /// As [`RatePoint::point`], somewhere else on the axis.
    pub(super) fn point_at(&self, x: f64, value: Option<f64>) -> Point {
        let hollow = self.source.is_summary();
        let remarks = [
            (hollow, SUMMARY_VALUE),
            (self.client_limited, CLIENT_LIMITED),
        ];
        let remarks = remarks.into_iter().filter(|(holds, _)| *holds);
        Point {
            hollow,
            note: joined(remarks.map(|(_, text)| text.to_owned())),
            ..Point::line(x, value)
        }
    }
}

/// Figures of one context over the hit rate.
#[derive(Debug, Clone, PartialEq)]
pub struct PerformanceInput {
    /// Context size, tokens.
    pub context_size: u64,
    /// One entry per rate, ascending.
    pub points: Vec<RatePoint>,
    /// Third line of the title; left out in directories of the first originals.
    pub summary: Option<SummaryLine>,
    /// TTFT threshold of the run, seconds.
    pub max_ttft: Option<f64>,
}

impl PerformanceInput {
    /// Sums and means over the summary rows of one context. Tokens are the true sums where the rows
    /// hold them and Σ throughput × duration else.
    #[must_use]
    pub fn summary_of(rows: &[SummaryRow]) -> SummaryLine {
        let mut line = SummaryLine::default();
        let (mut ttft, mut speed) = (Mean::default(), Mean::default());
        for row in rows {
            let estimate = |rate: f64| rate * row.test_duration;
            line.input_tokens += row
                .total_input_tokens
                .map_or_else(|| estimate(row.input_tokens_per_sec), whole);
            line.output_tokens += row
                .total_output_tokens
                .map_or_else(|| estimate(row.output_tokens_per_sec), whole);
            line.requests = line.requests.saturating_add(row.total_requests);
            ttft.add(row.avg_ttft.filter(|v| *v > 0.0));
            speed.add(row.avg_output_tokens);
        }
        line.avg_ttft = ttft.get();
        line.avg_speed = speed.get();
        line
    }
}

/// Four panels over the hit rate.
#[must_use]
pub fn performance_chart(input: &PerformanceInput) -> Chart {
    let points: Vec<(f64, &RatePoint)> = input
        .points
        .iter()
        .map(|p| (f64::from(p.rate), p))
        .collect();
    let mut panels = figures_over(&points, &rate_axis(), "Cache Hit Rate", input.max_ttft);
    panels.push(Panel {
        title: "Output Tokens/s Per Request vs Cache Hit Rate".to_owned(),
        x: rate_axis(),
        y: value_axis("Output Tokens/s Per Req", NumberFormat::SPEED),
        y2: None,
        body: Body::Series(vec![Series {
            key: "speed".to_owned(),
            name: "Avg Output Tokens/Req".to_owned(),
            ink: Ink::Purple,
            style: SeriesStyle::Line {
                dash: Dash::Solid,
                marker: Marker::Square,
            },
            side: Side::Left,
            format: NumberFormat::SPEED,
            points: input.points.iter().map(|p| p.point(p.speed)).collect(),
        }]),
        lines: Vec::new(),
    });
    let mut captions = captions(&input.points, Spread::Band);
    if input.points.iter().any(|p| p.pause_removed) {
        captions.push(PAUSE_NOTE.to_owned());
    }
    captions.extend(achieved_caption(&input.points));
    captions.extend(log_note(&panels));
    let about = format!("Context: {}", tokens(input.context_size));
    Chart {
        kind: ChartKind::PerformanceVsCacheRate,
        stem: format!("performance_vs_cache_rate_{}", input.context_size),
        title: "Performance vs Cache Hit Rate".to_owned(),
        subtitles: std::iter::once(about)
            .chain(input.summary.map(|s| s.text()))
            .collect(),
        captions,
        description: "Throughput, TTFT and request speed at the peak level of every cache hit rate, with the spread over repeated windows."
            .to_owned(),
        panels,
        height: 1200,
        shared_legend: false,
    }
}

/// Says at which rates other shares were cached than meant.
fn achieved_caption(points: &[RatePoint]) -> Option<String> {
    let texts: Vec<String> = points
        .iter()
        .map(|p| rate_text(p.rate, p.achieved_rate))
        .filter(|text| text.contains('('))
        .collect();
    (!texts.is_empty()).then(|| {
        format!(
            "Points stand at the rate that was meant. Cached parts of prompts end on whole cache blocks: {}.",
            texts.join(", ")
        )
    })
}

/// Input throughput, output throughput and TTFT over something, with bands where there are several
/// measurements.
pub(super) fn figures_over(
    points: &[(f64, &RatePoint)],
    x: &Axis,
    over: &str,
    max_ttft: Option<f64>,
) -> Vec<Panel> {
    let throughput = |side: &str, key: &str, ink: Ink, value: fn(&RatePoint) -> Band| {
        let series = |key: String, name: String, style, points: Vec<Point>| Series {
            key,
            name,
            ink,
            style,
            side: Side::Left,
            format: NumberFormat::THROUGHPUT,
            points,
        };
        let band = points
            .iter()
            .map(|(x, p)| Point::band(*x, band_of(value(p), p.source)));
        let mean = points
            .iter()
            .map(|(x, p)| p.point_at(*x, Some(value(p).mean)));
        let line = SeriesStyle::Line {
            dash: Dash::Solid,
            marker: Marker::Circle,
        };
        let both = vec![
            series(
                format!("{key}-range"),
                format!("{side} range"),
                SeriesStyle::Band,
                band.collect(),
            ),
            series(
                format!("{key}-avg"),
                format!("{side} tokens/s (avg)"),
                line,
                mean.collect(),
            ),
        ];
        Panel {
            title: format!("{side} Throughput vs {over}"),
            x: x.clone(),
            y: figure_axis(&format!("{side} Tokens/s"), NumberFormat::THROUGHPUT, &both),
            y2: None,
            body: Body::Series(both),
            lines: Vec::new(),
        }
    };
    let line = |key: &str, name: &str, ink, dash, marker, value: fn(&RatePoint) -> Option<f64>| {
        let points = points.iter().map(|(x, p)| p.point_at(*x, value(p)));
        let looks = (ink, dash, marker);
        Series::line((key, name), looks, NumberFormat::SECONDS, points.collect())
    };
    let ttft = vec![
        line(
            "avg-ttft",
            "Avg TTFT",
            Ink::Orange,
            Dash::Solid,
            Marker::Circle,
            |p| p.avg_ttft,
        ),
        line(
            "median-ttft",
            "Median TTFT",
            Ink::DarkOrange,
            Dash::Dotted,
            Marker::Square,
            |p| p.median_ttft,
        ),
        line(
            "p95-ttft",
            "P95 TTFT",
            Ink::Red,
            Dash::Dotted,
            Marker::Triangle,
            |p| p.p95_ttft,
        ),
        line(
            "p99-ttft",
            "P99 TTFT",
            Ink::DarkRed,
            Dash::Dashed,
            Marker::TriangleDown,
            |p| p.p99_ttft,
        ),
    ];
    let ttft = Panel {
        title: format!("TTFT Metrics vs {over}"),
        x: x.clone(),
        y: figure_axis("TTFT (seconds)", NumberFormat::SECONDS, &ttft),
        y2: None,
        body: Body::Series(ttft),
        lines: max_ttft.map(threshold).into_iter().collect(),
    };
    vec![
        throughput("Input", "input", Ink::Blue, |p| p.input),
        throughput("Output", "output", Ink::Green, |p| p.output),
        ttft,
    ]
}

/// The line at the TTFT threshold.
pub(super) fn threshold(seconds: f64) -> RefLine {
    RefLine {
        orientation: Orientation::Horizontal,
        value: seconds,
        label: Some(format!("TTFT Threshold ({seconds:?}s)")),
        ink: Ink::Red,
    }
}

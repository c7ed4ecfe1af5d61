//! `sustained_ctx<C>_cache<r>.html`, one test over time, and `sustained_comparison_cache<r>.html`, all
//! contexts at one rate.

use metrics::PeriodRow;

use super::{
    CLIENT_LIMITED, CLIENT_NOTE, Mean, SummaryLine, figure_axis, joined, log_note, tokens,
    value_axis, whole,
};
use crate::chart::{
    Axis, AxisRange, Body, Chart, ChartKind, Dash, Ink, Marker, NumberFormat, Orientation, Panel,
    Point, RefLine, Series, SeriesStyle, Side, Ticks,
};
use crate::test_name::TestName;

/// The periods of one test.
#[derive(Debug, Clone, PartialEq)]
pub struct SustainedInput {
    /// Which test. The working set is that of the test as a whole.
    pub test: TestName,
    /// Its periods, in order.
    pub periods: Vec<PeriodRow>,
    /// TTFT threshold of the run, seconds.
    pub max_ttft: Option<f64>,
    /// Speed threshold of the run, tokens/s.
    pub min_speed: Option<f64>,
}

impl SustainedInput {
    fn summary(&self) -> SummaryLine {
        let (mut ttft, mut speed) = (Mean::default(), Mean::default());
        let mut line = SummaryLine::default();
        for period in &self.periods {
            line.input_tokens += whole(period.total_input_tokens);
            line.output_tokens += whole(period.total_output_tokens);
            line.requests = line.requests.saturating_add(period.num_requests_completed);
            ttft.add(period.avg_ttft);
            speed.add(period.avg_output_tokens_per_request);
        }
        line.avg_ttft = ttft.get();
        line.avg_speed = speed.get();
        line
    }

    /// Seconds from the start of the first period to the end of this one.
    fn elapsed(&self, period: &PeriodRow) -> f64 {
        let start = self.periods.first().map_or(0.0, |p| p.start_time);
        period.end_time - start
    }

    fn points(&self, value: impl Fn(&PeriodRow) -> Option<f64>) -> Vec<Point> {
        let point = |p: &PeriodRow| Point::line(self.elapsed(p), value(p));
        self.periods.iter().map(point).collect()
    }

    fn levels(&self) -> Vec<Point> {
        let point = |p: &PeriodRow| Point {
            note: remark(p),
            ..Point::line(self.elapsed(p), Some(f64::from(p.concurrency_level)))
        };
        self.periods.iter().map(point).collect()
    }
}

fn milliseconds(seconds: Option<f64>) -> Option<f64> {
    seconds.map(|s| s * 1000.0)
}

fn time_axis() -> Axis {
    Axis {
        title: "Elapsed Time (seconds)".to_owned(),
        range: AxisRange::FromZero,
        ticks: Ticks::Auto,
        format: NumberFormat {
            decimals: 0,
            suffix: "s",
        },
    }
}

/// Said under every chart over time.
const ARRIVAL: &str = "Each point is one assessment period, drawn at its end. Tokens count in the period in which they arrive, \
     also those of requests that span its border.";

/// Five panels over time, each with the level on the right axis.
#[must_use]
pub fn sustained_chart(input: &SustainedInput) -> Chart {
    let series = |key: &str, name: &str, ink, dash, marker, format, points| {
        Series::line((key, name), (ink, dash, marker), format, points)
    };
    let panel = |title: &str, y: &str, format, lines: Vec<Series>, thresholds| {
        let mut all = lines;
        all.push(Series {
            side: Side::Right,
            ..series(
                "concurrency",
                "Concurrency",
                Ink::Purple,
                Dash::Dotted,
                Marker::Diamond,
                NumberFormat::COUNT,
                input.levels(),
            )
        });
        Panel {
            title: title.to_owned(),
            x: time_axis(),
            y: figure_axis(y, format, &all),
            y2: Some(Axis {
                ticks: Ticks::Whole,
                ..value_axis("Concurrency Level", NumberFormat::COUNT)
            }),
            body: Body::Series(all),
            lines: thresholds,
        }
    };
    let line = |value: Option<f64>, label: &dyn Fn(f64) -> String| -> Vec<RefLine> {
        let threshold = |value: f64| RefLine {
            orientation: Orientation::Horizontal,
            value,
            label: Some(label(value)),
            ink: Ink::Red,
        };
        value.map(threshold).into_iter().collect()
    };
    let rate = NumberFormat::THROUGHPUT;
    let seconds = NumberFormat::SECONDS;
    let ms = NumberFormat::MILLISECONDS;
    let panels = vec![
        panel(
            "Input Throughput Over Time",
            "Input Tokens/s",
            rate,
            vec![series(
                "input",
                "Input Tokens/s",
                Ink::Blue,
                Dash::Solid,
                Marker::Circle,
                rate,
                input.points(|p| Some(p.input_tokens_per_sec)),
            )],
            Vec::new(),
        ),
        panel(
            "Output Throughput Over Time",
            "Output Tokens/s",
            rate,
            vec![series(
                "output",
                "Output Tokens/s",
                Ink::Green,
                Dash::Solid,
                Marker::Square,
                rate,
                input.points(|p| Some(p.output_tokens_per_sec)),
            )],
            Vec::new(),
        ),
        panel(
            "TTFT Metrics Over Time",
            "TTFT (seconds)",
            seconds,
            vec![
                series(
                    "avg-ttft",
                    "Avg TTFT",
                    Ink::Orange,
                    Dash::Solid,
                    Marker::Circle,
                    seconds,
                    input.points(|p| p.avg_ttft),
                ),
                series(
                    "p95-ttft",
                    "P95 TTFT",
                    Ink::Red,
                    Dash::Dotted,
                    Marker::Triangle,
                    seconds,
                    input.points(|p| p.p95_ttft),
                ),
                series(
                    "p99-ttft",
                    "P99 TTFT",
                    Ink::DarkRed,
                    Dash::Dashed,
                    Marker::TriangleDown,
                    seconds,
                    input.points(|p| p.p99_ttft),
                ),
            ],
            line(input.max_ttft, &|v| format!("Threshold ({v:?}s)")),
        ),
        panel(
            "Output Tokens per Request Over Time",
            "Output Tokens/s per Request",
            NumberFormat::SPEED,
            vec![series(
                "speed",
                "Avg Output/Request",
                Ink::MediumPurple,
                Dash::Solid,
                Marker::Circle,
                NumberFormat::SPEED,
                input.points(|p| p.avg_output_tokens_per_request),
            )],
            line(input.min_speed, &|v| format!("Min Threshold ({v:?} tok/s)")),
        ),
        panel(
            "Inter-Token Latency Over Time",
            "ITL (milliseconds)",
            ms,
            vec![
                series(
                    "avg-itl",
                    "Avg ITL",
                    Ink::Teal,
                    Dash::Solid,
                    Marker::Circle,
                    ms,
                    input.points(|p| milliseconds(p.avg_itl)),
                ),
                series(
                    "p95-itl",
                    "P95 ITL",
                    Ink::DarkCyan,
                    Dash::Dotted,
                    Marker::Triangle,
                    ms,
                    input.points(|p| milliseconds(p.p95_itl)),
                ),
            ],
            Vec::new(),
        ),
    ];
    let TestName {
        context_size,
        working_set_size,
        cache_hit_rate,
    } = input.test;
    let set = working_set_size
        .map(|w| format!("_ws{w}"))
        .unwrap_or_default();
    Chart {
        kind: ChartKind::Sustained,
        stem: format!("sustained_ctx{context_size}{set}_cache{cache_hit_rate}"),
        title: "Sustained Mode: Performance Over Time".to_owned(),
        subtitles: vec![
            format!(
                "Context: {} | Cache Hit Rate: {cache_hit_rate}%",
                tokens(context_size)
            ),
            input.summary().text(),
        ],
        captions: std::iter::once(format!(
            "{ARRIVAL} Speed and ITL of requests that still run at the end of a period are those so far."
        ))
        .chain(client_note(&input.periods))
        .chain(log_note(&panels))
        .collect(),
        description: "Throughput, latency and concurrency over the time of one test.".to_owned(),
        panels,
        height: 1400,
        shared_legend: false,
    }
}

/// What a reader should know of a period beyond its values.
pub(super) fn remark(period: &PeriodRow) -> Option<String> {
    let decision = Some(period.decision.clone()).filter(|d| !d.is_empty());
    let limited = period.client_limited == Some(true);
    joined(
        decision
            .into_iter()
            .chain(limited.then(|| CLIENT_LIMITED.to_owned())),
    )
}

/// The caption of a chart with such periods.
pub(super) fn client_note(periods: &[PeriodRow]) -> Option<String> {
    let mut limited = periods.iter().map(|p| p.client_limited == Some(true));
    limited.any(|l| l).then(|| CLIENT_NOTE.to_owned())
}

/// Five panels over time, one line per context; `None` with fewer than two contexts. All tests are of one
/// rate, contexts ascending.
#[must_use]
pub fn sustained_comparison(tests: &[SustainedInput]) -> Option<Chart> {
    let rate = tests.first()?.test.cache_hit_rate;
    if tests.len() < 2 {
        return None;
    }
    let panel = |title: &str, y: &str, format, value: fn(&PeriodRow) -> Option<f64>| {
        let series = tests.iter().enumerate().map(|(i, test)| Series {
            key: format!("ctx-{}", test.test.context_size),
            name: tokens(test.test.context_size),
            ink: Ink::Palette(i),
            style: SeriesStyle::Line {
                // Beyond the palette, colours repeat and the pattern tells lines apart.
                dash: match i / Ink::PALETTE_LEN {
                    0 => Dash::Solid,
                    round => Dash::BROKEN[(round - 1) % Dash::BROKEN.len()],
                },
                marker: Marker::LINES[i % Marker::LINES.len()],
            },
            side: Side::Left,
            format,
            points: test.points(value),
        });
        let series: Vec<Series> = series.collect();
        Panel {
            title: format!("{title} Over Time - Cache {rate}%"),
            x: time_axis(),
            y: figure_axis(y, format, &series),
            y2: None,
            body: Body::Series(series),
            lines: Vec::new(),
        }
    };
    let panels = vec![
        panel(
            "Input Throughput",
            "Input Tokens/s",
            NumberFormat::THROUGHPUT,
            |p| Some(p.input_tokens_per_sec),
        ),
        panel(
            "Output Throughput",
            "Output Tokens/s",
            NumberFormat::THROUGHPUT,
            |p| Some(p.output_tokens_per_sec),
        ),
        panel("P95 TTFT", "TTFT (seconds)", NumberFormat::SECONDS, |p| {
            p.p95_ttft
        }),
        panel(
            "Output Tokens per Request",
            "Output Tokens/s per Request",
            NumberFormat::SPEED,
            |p| p.avg_output_tokens_per_request,
        ),
        panel(
            "Average ITL",
            "ITL (milliseconds)",
            NumberFormat::MILLISECONDS,
            |p| milliseconds(p.avg_itl),
        ),
    ];
    let mut captions = vec![format!(
        "{ARRIVAL} Every context is drawn from its own start."
    )];
    captions.extend(tests.iter().find_map(|t| client_note(&t.periods)));
    captions.extend(log_note(&panels));
    Some(Chart {
        kind: ChartKind::SustainedComparison,
        stem: format!("sustained_comparison_cache{rate}"),
        title: "Sustained Mode: Context Length Comparison".to_owned(),
        subtitles: vec![format!("Cache Hit Rate: {rate}%")],
        captions,
        description: "All contexts over time at one hit rate.".to_owned(),
        panels,
        height: 1400,
        shared_legend: true,
    })
}

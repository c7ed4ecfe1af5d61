//! `sustained_ctx<C>_ws<w>_cache<r>.html`: one sustained test of a growing working set, over time.

use metrics::PeriodRow;

use super::sustained::{SustainedInput, client_note, remark};
use super::{Mean, exact, figure_axis, log_note, value_axis};
use crate::chart::{
    Axis, AxisRange, Body, Chart, ChartKind, Dash, Ink, Marker, NumberFormat, Orientation, Panel,
    Point, RefLine, Series, SeriesStyle, Ticks, count, fixed,
};

/// Six panels over minutes.
#[must_use]
pub fn sustained_set_chart(input: &SustainedInput) -> Chart {
    let test = input.test;
    let rate = NumberFormat::THROUGHPUT;
    let ttft = vec![
        line(
            input,
            ("avg-ttft", "Avg TTFT"),
            Ink::Orange,
            Marker::Circle,
            NumberFormat::SECONDS,
            |p| p.avg_ttft,
        ),
        Series {
            style: SeriesStyle::Line {
                dash: Dash::Dotted,
                marker: Marker::Triangle,
            },
            ..line(
                input,
                ("p95-ttft", "P95 TTFT"),
                Ink::Red,
                Marker::Triangle,
                NumberFormat::SECONDS,
                |p| p.p95_ttft,
            )
        },
    ];
    let panels = vec![
        panel(
            &format!(
                "Input Throughput (Context: {}, Cache Rate: {}%)",
                count(test.context_size),
                test.cache_hit_rate
            ),
            value_axis("Tokens/sec", rate),
            vec![line(
                input,
                ("input", "Input tok/s"),
                Ink::Blue,
                Marker::Circle,
                rate,
                |p| Some(p.input_tokens_per_sec),
            )],
            Vec::new(),
        ),
        panel(
            "Output Throughput",
            value_axis("Tokens/sec", rate),
            vec![line(
                input,
                ("output", "Output tok/s"),
                Ink::Green,
                Marker::Square,
                rate,
                |p| Some(p.output_tokens_per_sec),
            )],
            Vec::new(),
        ),
        panel(
            "Concurrency Level Adjustments",
            Axis {
                ticks: Ticks::Whole,
                ..value_axis("Concurrency", NumberFormat::COUNT)
            },
            vec![Series {
                points: input
                    .periods
                    .iter()
                    .map(|p| Point {
                        note: remark(p),
                        ..Point::line(minutes(input, p), Some(f64::from(p.concurrency_level)))
                    })
                    .collect(),
                ..line(
                    input,
                    ("concurrency", "Concurrency"),
                    Ink::Purple,
                    Marker::Diamond,
                    NumberFormat::COUNT,
                    |_| None,
                )
            }],
            Vec::new(),
        ),
        panel(
            "TTFT Metrics",
            figure_axis("Seconds", NumberFormat::SECONDS, &ttft),
            ttft,
            limit(input.max_ttft, |v| format!("Max TTFT Threshold ({v:?}s)")),
        ),
        panel(
            "Output Tokens per Request",
            value_axis("Tokens/sec", NumberFormat::SPEED),
            vec![line(
                input,
                ("speed", "Avg Tokens/Req"),
                Ink::Teal,
                Marker::Circle,
                NumberFormat::SPEED,
                |p| p.avg_output_tokens_per_request,
            )],
            limit(input.min_speed, |v| format!("Min Threshold ({v:?} tok/s)")),
        ),
        panel(
            "Working Set Size Growth",
            Axis {
                ticks: Ticks::Whole,
                ..value_axis("Tokens", NumberFormat::COUNT)
            },
            vec![Series {
                style: SeriesStyle::Area {
                    marker: Marker::Square,
                },
                ..line(
                    input,
                    ("working-set", "Working Set Size"),
                    Ink::Brown,
                    Marker::Square,
                    NumberFormat::COUNT,
                    |p| p.working_set_size.map(exact),
                )
            }],
            Vec::new(),
        ),
    ];
    let set = test
        .working_set_size
        .map(|w| format!("_ws{w}"))
        .unwrap_or_default();
    let mut captions = vec![
            "Each point is one assessment period, drawn at its end. Where throughput drops or TTFT rises while the working set grows, \
             the working set has outgrown a memory tier, or the load changed: compare with the concurrency."
                .to_owned(),
        ];
    captions.extend(client_note(&input.periods));
    captions.extend(log_note(&panels));
    Chart {
        kind: ChartKind::SustainedSet,
        stem: format!(
            "sustained_ctx{}{set}_cache{}",
            test.context_size, test.cache_hit_rate
        ),
        title: format!(
            "Sustained Mode Performance - Context {}, Cache {}%",
            count(test.context_size),
            test.cache_hit_rate
        ),
        subtitles: summary(&input.periods),
        captions,
        description: "Throughput, latency and concurrency while the working set grows.".to_owned(),
        panels,
        height: 1500,
        shared_legend: false,
    }
}

/// Minutes from the start of the first period to the end of this one.
fn minutes(input: &SustainedInput, period: &PeriodRow) -> f64 {
    let start = input.periods.first().map_or(0.0, |p| p.start_time);
    (period.end_time - start) / 60.0
}

fn line(
    input: &SustainedInput,
    (key, name): (&str, &str),
    ink: Ink,
    marker: Marker,
    format: NumberFormat,
    value: fn(&PeriodRow) -> Option<f64>,
) -> Series {
    let points = input.periods.iter();
    let points = points.map(|p| Point::line(minutes(input, p), value(p)));
    let looks = (ink, Dash::Solid, marker);
    Series::line((key, name), looks, format, points.collect())
}

fn panel(title: &str, y: Axis, series: Vec<Series>, lines: Vec<RefLine>) -> Panel {
    Panel {
        title: title.to_owned(),
        x: Axis {
            title: "Time (minutes)".to_owned(),
            range: AxisRange::FromZero,
            ticks: Ticks::Auto,
            format: NumberFormat {
                decimals: 2,
                suffix: " min",
            },
        },
        y,
        y2: None,
        body: Body::Series(series),
        lines,
    }
}

fn limit(value: Option<f64>, label: impl Fn(f64) -> String) -> Vec<RefLine> {
    let line = |value| RefLine {
        orientation: Orientation::Horizontal,
        value,
        label: Some(label(value)),
        ink: Ink::Red,
    };
    value.map(line).into_iter().collect()
}

/// Totals and means over all periods, in two lines.
fn summary(periods: &[PeriodRow]) -> Vec<String> {
    let sum = |value: fn(&PeriodRow) -> u64| count(periods.iter().map(value).sum());
    let mean = |value: fn(&PeriodRow) -> Option<f64>, decimals, unit: &str| {
        let mut mean = Mean::default();
        for period in periods {
            mean.add(value(period));
        }
        mean.get().map_or_else(
            || "N/A".to_owned(),
            |v| format!("{}{unit}", fixed(v, decimals)),
        )
    };
    vec![
        format!(
            "Summary Statistics: Input Tokens: {} | Output Tokens: {} | Requests: {}",
            sum(|p| p.total_input_tokens),
            sum(|p| p.total_output_tokens),
            sum(|p| p.num_requests_completed)
        ),
        format!(
            "Avg Input: {} | Avg Output: {} | Avg TTFT: {} | Avg Tokens/Req: {}",
            mean(|p| Some(p.input_tokens_per_sec), 0, " tok/s"),
            mean(|p| Some(p.output_tokens_per_sec), 0, " tok/s"),
            mean(|p| p.avg_ttft, 3, "s"),
            mean(|p| p.avg_output_tokens_per_request, 1, " tok/s")
        ),
    ]
}

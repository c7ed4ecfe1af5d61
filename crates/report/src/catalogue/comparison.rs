//! `input_throughput_comparison.html`, `output_throughput_comparison.html` and
//! `output_metrics_comparison.html`: all contexts side by side over the hit rate.

use super::{RatePoint, captions, rate_axis, tokens, value_axis};
use crate::chart::{
    Body, Chart, Dash, Ink, Marker, NumberFormat, Panel, Point, Series, SeriesStyle, Side,
};

/// The tests of one context.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextPoints {
    /// Context size, tokens.
    pub context_size: u64,
    /// One entry per rate, ascending.
    pub points: Vec<RatePoint>,
}

/// Input throughput of every context, and its speed-up over the lowest rate.
#[must_use]
pub fn input_throughput_comparison(contexts: &[ContextPoints]) -> Chart {
    throughput_comparison("Input", contexts, |p| p.input.mean)
}

/// Output throughput of every context, and its speed-up over the lowest rate.
#[must_use]
pub fn output_throughput_comparison(contexts: &[ContextPoints]) -> Chart {
    throughput_comparison("Output", contexts, |p| p.output.mean)
}

fn throughput_comparison(
    side: &str,
    contexts: &[ContextPoints],
    value: fn(&RatePoint) -> f64,
) -> Chart {
    let mut series = Vec::new();
    let mut baselines = Vec::new();
    for (i, context) in contexts.iter().enumerate() {
        series.push(Series {
            key: format!("ctx-{}", context.context_size),
            name: tokens(context.context_size),
            ink: Ink::Palette(i),
            style: SeriesStyle::Line {
                dash: Dash::Solid,
                marker: Marker::LINES[i % Marker::LINES.len()],
            },
            side: Side::Left,
            format: NumberFormat::THROUGHPUT,
            points: context
                .points
                .iter()
                .map(|p| p.point(Some(value(p))))
                .collect(),
        });
        let Some(lowest) = context.points.first() else {
            continue;
        };
        let base = value(lowest);
        // A baseline of zero has no multiples.
        if base <= 0.0 {
            continue;
        }
        if !baselines.contains(&lowest.rate) {
            baselines.push(lowest.rate);
        }
        series.push(Series {
            key: format!("ctx-{}-speedup", context.context_size),
            name: format!("{} (speedup)", tokens(context.context_size)),
            ink: Ink::Palette(i),
            style: SeriesStyle::Line {
                dash: Dash::BROKEN[i % Dash::BROKEN.len()],
                marker: Marker::Diamond,
            },
            side: Side::Right,
            format: NumberFormat::TIMES,
            points: context
                .points
                .iter()
                .map(|p| p.point(Some(value(p) / base)))
                .collect(),
        });
    }
    let relative_to = match baselines[..] {
        [] => "0% cache".to_owned(),
        [rate] => format!("{rate}% cache"),
        [..] => "lowest rate".to_owned(),
    };
    let right = !baselines.is_empty();
    let mut captions = captions(
        contexts
            .iter()
            .flat_map(|c| c.points.iter().map(|p| p.source)),
    );
    if right {
        captions.push(format!(
            "Dashed lines with diamonds show the speedup on the right axis: throughput divided by that of the same context at {}.",
            match baselines[..] {
                [rate] => format!("{rate}% cache hit rate"),
                _ => "its lowest tested rate".to_owned(),
            }
        ));
    }
    Chart {
        stem: format!("{}_throughput_comparison", side.to_lowercase()),
        title: format!("{side} Throughput Comparison Across Context Lengths"),
        subtitles: Vec::new(),
        captions,
        description: format!(
            "{side} tokens per second of every context, and how many times faster than without cache."
        ),
        panels: vec![Panel {
            title: String::new(),
            x: rate_axis(),
            y: value_axis(&format!("{side} Tokens/s"), NumberFormat::THROUGHPUT),
            y2: right.then(|| {
                value_axis(
                    &format!("Speedup (relative to {relative_to})"),
                    NumberFormat::TIMES,
                )
            }),
            body: Body::Series(series),
            lines: Vec::new(),
        }],
        height: 600,
        shared_legend: false,
    }
}

/// Inter-token latency and request speed of every context.
#[must_use]
pub fn output_metrics_comparison(contexts: &[ContextPoints]) -> Chart {
    let lines = |format, value: fn(&RatePoint) -> Option<f64>| {
        let series = contexts.iter().enumerate().map(|(i, context)| Series {
            key: format!("ctx-{}", context.context_size),
            name: tokens(context.context_size),
            ink: Ink::Palette(i),
            style: SeriesStyle::Line {
                // Beyond the palette, colours repeat and the pattern tells lines apart.
                dash: if i < Ink::PALETTE_LEN {
                    Dash::Solid
                } else {
                    Dash::BROKEN[(i / Ink::PALETTE_LEN - 1) % Dash::BROKEN.len()]
                },
                marker: Marker::LINES[i % Marker::LINES.len()],
            },
            side: Side::Left,
            format,
            points: context
                .points
                .iter()
                .map(|p| Point::line(f64::from(p.rate), value(p)))
                .collect(),
        });
        Body::Series(series.collect())
    };
    let panel = |title: &str, y: &str, format, body| Panel {
        title: title.to_owned(),
        x: rate_axis(),
        y: value_axis(y, format),
        y2: None,
        body,
        lines: Vec::new(),
    };
    Chart {
        stem: "output_metrics_comparison".to_owned(),
        title: "Output Token Metrics Comparison Across Context Lengths".to_owned(),
        subtitles: Vec::new(),
        captions: vec![
            "Both figures are those of the summary file: means over the requests at the peak level of each test. \
             Inter-token latency is (time to last token − TTFT) ÷ (output tokens − 1)."
                .to_owned(),
        ],
        description: "Inter-token latency and generation speed of one request, for every context.".to_owned(),
        panels: vec![
            panel(
                "Average Inter-Token Latency (ITL) Across Context Lengths",
                "Inter-Token Latency (ms)",
                NumberFormat::MILLISECONDS,
                lines(NumberFormat::MILLISECONDS, |p| p.avg_itl.map(|s| s * 1000.0)),
            ),
            panel(
                "Average Output Tokens/s per Request Across Context Lengths",
                "Output Tokens/s per Request",
                NumberFormat::SPEED,
                lines(NumberFormat::SPEED, |p| p.speed),
            ),
        ],
        height: 800,
        shared_legend: true,
    }
}

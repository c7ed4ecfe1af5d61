//! `input_throughput_comparison.html`, `output_throughput_comparison.html` and
//! `output_metrics_comparison.html`: all contexts side by side over the hit rate.

use super::{
    CLIENT_LIMITED, CLIENT_NOTE, RatePoint, Spread, captions, figure_axis, log_note, rate_axis,
    tokens, value_axis,
};
use crate::chart::{
    Axis, Body, Chart, ChartKind, Dash, Ink, Marker, NumberFormat, Panel, Series, SeriesStyle, Side,
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
    let lines: Vec<Line<'_>> = contexts
        .iter()
        .enumerate()
        .map(|(i, context)| Line::of_context(i, context.context_size, over_rates(context)))
        .collect();
    let (panel, baseline) = throughput_panel(side, &lines, &rate_axis(), value, |baselines| {
        let relative_to = match baselines {
            [] => "0% cache".to_owned(),
            [rate] => format!("{rate}% cache"),
            [..] => "lowest rate".to_owned(),
        };
        format!("Speedup (relative to {relative_to})")
    });
    let mut captions = captions(contexts.iter().flat_map(|c| &c.points), Spread::Hidden);
    if panel.y2.is_some() {
        captions.push(format!(
            "{SPEEDUP_LINES} throughput divided by that of the same context at {}.",
            match baseline[..] {
                [rate] => format!("{rate}% cache hit rate"),
                _ => "its lowest tested rate".to_owned(),
            }
        ));
    }
    captions.extend(log_note(std::slice::from_ref(&panel)));
    Chart {
        kind: ChartKind::ThroughputComparison,
        stem: format!("{}_throughput_comparison", side.to_lowercase()),
        title: format!("{side} Throughput Comparison Across Context Lengths"),
        subtitles: Vec::new(),
        captions,
        description: format!(
            "{side} tokens per second of every context, and how many times faster than without cache."
        ),
        panels: vec![panel],
        height: 600,
        shared_legend: false,
    }
}

/// How captions of charts with a right axis begin.
pub(super) const SPEEDUP_LINES: &str =
    "Dashed lines with diamonds show the speedup on the right axis:";

/// One line of a comparison.
pub(super) struct Line<'a> {
    pub(super) key: String,
    pub(super) name: String,
    pub(super) ink: Ink,
    /// Place among the lines, which decides marker and dash.
    pub(super) place: usize,
    /// Points in ascending order.
    pub(super) points: Vec<(f64, &'a RatePoint)>,
}

impl<'a> Line<'a> {
    pub(super) fn of_context(
        place: usize,
        context_size: u64,
        points: Vec<(f64, &'a RatePoint)>,
    ) -> Self {
        Self {
            key: format!("ctx-{context_size}"),
            name: tokens(context_size),
            ink: Ink::Palette(place),
            place,
            points,
        }
    }

    /// The line of one figure. Colours repeat behind `n_colors` lines; there the pattern tells them apart.
    pub(super) fn series(
        &self,
        n_colors: usize,
        format: NumberFormat,
        value: impl Fn(&RatePoint) -> Option<f64>,
    ) -> Series {
        Series {
            key: self.key.clone(),
            name: self.name.clone(),
            ink: self.ink,
            style: SeriesStyle::Line {
                dash: match self.place / n_colors {
                    0 => Dash::Solid,
                    round => Dash::BROKEN[(round - 1) % Dash::BROKEN.len()],
                },
                marker: Marker::LINES[self.place % Marker::LINES.len()],
            },
            side: Side::Left,
            format,
            points: self
                .points
                .iter()
                .map(|(x, p)| p.point_at(*x, value(p)))
                .collect(),
        }
    }
}

fn over_rates(context: &ContextPoints) -> Vec<(f64, &RatePoint)> {
    context
        .points
        .iter()
        .map(|p| (f64::from(p.rate), p))
        .collect()
}

/// Throughput on the left axis and, where a line has a first value above zero, its multiples on the right.
/// `title` names the right axis, given the rates of the first points; these are returned too.
pub(super) fn throughput_panel(
    side: &str,
    lines: &[Line<'_>],
    x: &Axis,
    value: fn(&RatePoint) -> f64,
    title: impl FnOnce(&[u32]) -> String,
) -> (Panel, Vec<u32>) {
    let mut series = Vec::new();
    let mut baselines = Vec::new();
    for line in lines {
        series.push(Series {
            // The speed-up has the broken patterns.
            style: SeriesStyle::Line {
                dash: Dash::Solid,
                marker: Marker::LINES[line.place % Marker::LINES.len()],
            },
            ..line.series(usize::MAX, NumberFormat::THROUGHPUT, |p| Some(value(p)))
        });
        let Some((_, lowest)) = line.points.first() else {
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
            key: format!("{}-speedup", line.key),
            name: format!("{} (speedup)", line.name),
            ink: line.ink,
            style: SeriesStyle::Line {
                dash: Dash::BROKEN[line.place % Dash::BROKEN.len()],
                marker: Marker::Diamond,
            },
            side: Side::Right,
            format: NumberFormat::TIMES,
            points: line
                .points
                .iter()
                .map(|(x, p)| p.point_at(*x, Some(value(p) / base)))
                .collect(),
        });
    }
    let right = !baselines.is_empty();
    let y = figure_axis(
        &format!("{side} Tokens/s"),
        NumberFormat::THROUGHPUT,
        &series,
    );
    let panel = Panel {
        title: String::new(),
        x: x.clone(),
        // A multiple runs beside its throughput only where both axes are of one kind.
        y2: right.then(|| Axis {
            range: y.range,
            ..value_axis(&title(&baselines), NumberFormat::TIMES)
        }),
        y,
        body: Body::Series(series),
        lines: Vec::new(),
    };
    (panel, baselines)
}

/// Inter-token latency and request speed of every context.
#[must_use]
pub fn output_metrics_comparison(contexts: &[ContextPoints]) -> Chart {
    let limited = contexts
        .iter()
        .flat_map(|c| &c.points)
        .any(|p| p.client_limited);
    let lines: Vec<Line<'_>> = contexts
        .iter()
        .enumerate()
        .map(|(i, context)| Line::of_context(i, context.context_size, over_rates(context)))
        .collect();
    let panels = output_panels(&lines, &rate_axis(), "Across Context Lengths");
    Chart {
        kind: ChartKind::OutputMetrics,
        stem: "output_metrics_comparison".to_owned(),
        title: "Output Token Metrics Comparison Across Context Lengths".to_owned(),
        subtitles: Vec::new(),
        captions: std::iter::once(OUTPUT_METRICS.to_owned())
            .chain(limited.then(|| CLIENT_NOTE.to_owned()))
            .chain(log_note(&panels))
            .collect(),
        description: "Inter-token latency and generation speed of one request, for every context."
            .to_owned(),
        panels: panels.into(),
        height: 800,
        shared_legend: true,
    }
}

/// What output metrics are.
pub(super) const OUTPUT_METRICS: &str = "Both figures are those of the summary file: means over the requests at the peak level of each test. \
     Inter-token latency is (time to last token − TTFT) ÷ (output tokens − 1).";

/// Inter-token latency and request speed, both from the summary.
pub(super) fn output_panels(lines: &[Line<'_>], x: &Axis, across: &str) -> [Panel; 2] {
    let panel = |title: &str, y: &str, format, value: fn(&RatePoint) -> Option<f64>| {
        let series: Vec<Series> = lines
            .iter()
            .map(|line| {
                let mut series = line.series(Ink::PALETTE_LEN, format, value);
                // These figures are always the summary's: no marker stands out.
                for (point, (_, of)) in series.points.iter_mut().zip(&line.points) {
                    point.hollow = false;
                    point.note = of.client_limited.then(|| CLIENT_LIMITED.to_owned());
                }
                series
            })
            .collect();
        Panel {
            title: format!("{title} {across}"),
            x: x.clone(),
            y: figure_axis(y, format, &series),
            y2: None,
            body: Body::Series(series),
            lines: Vec::new(),
        }
    };
    [
        panel(
            "Average Inter-Token Latency (ITL)",
            "Inter-Token Latency (ms)",
            NumberFormat::MILLISECONDS,
            |p| p.avg_itl.map(|s| s * 1000.0),
        ),
        panel(
            "Average Output Tokens/s per Request",
            "Output Tokens/s per Request",
            NumberFormat::SPEED,
            |p| p.speed,
        ),
    ]
}

//! `single_prompt_performance.html`: a cold prompt beside its cached repeats.

use metrics::single_prompt::{MeanStd, SizeFigures};

use super::{CLIENT_LIMITED, exact, joined, value_axis};
use crate::chart::{
    Axis, AxisRange, Body, Chart, ChartKind, Dash, Ink, Marker, NumberFormat, Panel, Point, Series,
    SeriesStyle, Side, Ticks,
};
use crate::single_prompt::{Limited, LimitedSizes, limited_note};

/// Colour of what was cold, and of what was cached.
const COLD: Ink = Ink::Palette(1);
const CACHED: Ink = Ink::Palette(2);

/// Two panels of bars over the context, the upper one with the speed-up; `None` where nothing was answered. Bars that the
/// client limits say so in their read-out, a speed-up made of them is hollow.
#[must_use]
pub fn single_prompt_chart(sizes: &[SizeFigures], limited: &LimitedSizes) -> Option<Chart> {
    let is_known = |c: &&SizeFigures| c.unique_ttft.is_some() || c.cached_ttft.is_some();
    let contexts: Vec<&SizeFigures> = sizes.iter().filter(is_known).collect();
    if contexts.is_empty() {
        return None;
    }
    let x = Axis {
        title: "Context Size (tokens)".to_owned(),
        range: AxisRange::Categories,
        ticks: Ticks::Auto,
        format: NumberFormat::COUNT,
    };
    let bars = |key: &str,
                name: &str,
                (ink, striped): (Ink, bool),
                is_limited: fn(Limited) -> bool,
                value: fn(&SizeFigures) -> Option<MeanStd>| {
        let points = contexts.iter().filter_map(|c| {
            let figure = value(c)?;
            let bar = Point::bar(
                exact(c.context_size),
                figure.mean,
                figure.std,
                NumberFormat::SECONDS,
            );
            let mark = is_limited(limited.of(c.context_size)).then(|| CLIENT_LIMITED.to_owned());
            Some(Point {
                note: joined(bar.note.clone().into_iter().chain(mark)),
                ..bar
            })
        });
        Series {
            key: key.to_owned(),
            name: name.to_owned(),
            ink,
            style: SeriesStyle::Bars { striped },
            side: Side::Left,
            format: NumberFormat::SECONDS,
            points: points.collect(),
        }
    };
    let both = |cold: fn(&SizeFigures) -> Option<MeanStd>,
                cached: fn(&SizeFigures) -> Option<MeanStd>| {
        vec![
            bars(
                "cold",
                "Baseline (Cold Start)",
                (COLD, false),
                |of| of.cold,
                cold,
            ),
            bars(
                "cached",
                "Cached (100% Hit)",
                (CACHED, true),
                |of| of.cached,
                cached,
            ),
        ]
    };
    let mut first = both(|c| c.unique_ttft, |c| c.cached_ttft);
    first.push(Series {
        key: "speedup".to_owned(),
        name: "Cache Speedup".to_owned(),
        ink: Ink::Palette(0),
        style: SeriesStyle::Line {
            dash: Dash::Solid,
            marker: Marker::Diamond,
        },
        side: Side::Right,
        format: NumberFormat::TIMES,
        points: contexts
            .iter()
            .map(|c| {
                let point = Point::line(exact(c.context_size), c.speedup);
                if limited.of(c.context_size).any() {
                    point.hollow(CLIENT_LIMITED)
                } else {
                    point
                }
            })
            .collect(),
    });
    Some(Chart {
        kind: ChartKind::SinglePrompt,
        stem: "single_prompt_performance".to_owned(),
        title: "TTFT Performance: Baseline vs Cached with Speedup".to_owned(),
        subtitles: Vec::new(),
        captions: std::iter::once(
            "Bars are means over all requests of a context, error bars one sample standard deviation up and down; a single request has none. \
             Speedup is the mean TTFT of cold prompts divided by that of their cached repeats."
                .to_owned(),
        )
        .chain(limited_note(limited))
        .collect(),
        description: "Time to first and to last token of a cold prompt and of the same prompt cached, and the speedup."
            .to_owned(),
        panels: vec![
            Panel {
                title: "Time to First Token".to_owned(),
                x: x.clone(),
                y: value_axis("Time to First Token (seconds)", NumberFormat::SECONDS),
                y2: Some(value_axis("Cache Speedup (x)", NumberFormat::TIMES)),
                body: Body::Series(first),
                lines: Vec::new(),
            },
            Panel {
                title: "TTLT Performance: Baseline vs Cached".to_owned(),
                x,
                y: value_axis("Time to Last Token (seconds)", NumberFormat::SECONDS),
                y2: None,
                body: Body::Series(both(|c| c.unique_total, |c| c.cached_total)),
                lines: Vec::new(),
            },
        ],
        height: 900,
        shared_legend: false,
    })
}

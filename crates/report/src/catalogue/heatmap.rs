//! `ttft_heatmap.html`: mean TTFT over hit rate and context.

use super::{ContextPoints, value_axis};
use crate::chart::{
    Axis, AxisRange, Body, Chart, ChartKind, HeatGrid, HeatRow, NumberFormat, Panel, Ticks, count,
};

/// From this ratio of the largest to the smallest value on, colours follow the logarithm: else all small
/// contexts would have one colour.
const LOG_FROM: f64 = 20.0;

/// The heat map; `None` with fewer than two contexts, where it would be one row of a table.
#[must_use]
pub fn ttft_heatmap(contexts: &[ContextPoints]) -> Option<Chart> {
    if contexts.len() < 2 {
        return None;
    }
    let mut rates: Vec<u32> = contexts
        .iter()
        .flat_map(|c| c.points.iter().map(|p| p.rate))
        .collect();
    rates.sort_unstable();
    rates.dedup();
    let rows: Vec<HeatRow> = contexts
        .iter()
        .map(|context| HeatRow {
            name: count(context.context_size),
            // The last row of a doubled test wins.
            cells: rates
                .iter()
                .map(|rate| {
                    context
                        .points
                        .iter()
                        .rev()
                        .find(|p| p.rate == *rate)
                        .and_then(|p| p.summary_ttft)
                })
                .collect(),
        })
        .collect();
    let values = || rows.iter().flat_map(|row| row.cells.iter().flatten());
    let low = values().copied().fold(f64::INFINITY, f64::min);
    let high = values().copied().fold(0.0, f64::max);
    let log = low > 0.0 && high >= low * LOG_FROM;
    Some(Chart {
        kind: ChartKind::TtftHeatmap,
        stem: "ttft_heatmap".to_owned(),
        title: "Average TTFT Heatmap".to_owned(),
        subtitles: Vec::new(),
        captions: vec![
            "Mean time to first token at the peak level of each test, from the summary file. Blank cells were not tested."
                .to_owned(),
        ],
        description: "Mean time to first token of every context and cache hit rate at a glance.".to_owned(),
        panels: vec![Panel {
            title: String::new(),
            x: Axis {
                title: "Cache Hit Rate (%)".to_owned(),
                range: AxisRange::Fixed(-2.5, 102.5),
                ticks: Ticks::Every(10.0),
                format: NumberFormat::PERCENT,
            },
            y: value_axis("Context Size (tokens)", NumberFormat::COUNT),
            y2: None,
            body: Body::Heat(HeatGrid {
                columns: rates.iter().map(|r| f64::from(*r)).collect(),
                rows,
                bar_title: "TTFT (s)".to_owned(),
                format: NumberFormat::SECONDS,
                log,
            }),
            lines: Vec::new(),
        }],
        height: 190 + 70 * u32::try_from(contexts.len()).unwrap_or(10).clamp(3, 12),
        shared_legend: false,
    })
}

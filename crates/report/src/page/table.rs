//! All values of a chart as tables: what a reader without script or without sight gets.

use std::collections::HashMap;

use crate::chart::{Body, Chart, Panel, SeriesStyle};

/// One table per panel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Heading, the panel's.
    pub(super) title: String,
    /// Name for assistive software; never empty.
    pub(super) label: String,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

pub(super) fn tables(chart: &Chart) -> Vec<Table> {
    chart
        .panels
        .iter()
        .map(|panel| table(chart, panel))
        .collect()
}

fn table(chart: &Chart, panel: &Panel) -> Table {
    let label = if panel.title.is_empty() {
        chart.title.clone()
    } else {
        panel.title.clone()
    };
    let (head, rows) = match &panel.body {
        Body::Heat(grid) => {
            let head = std::iter::once(panel.y.title.clone())
                .chain(grid.columns.iter().map(|x| panel.x.format.show(*x)))
                .collect();
            let rows = grid
                .rows
                .iter()
                .map(|row| {
                    let cells = row.cells.iter().map(|cell| grid.format.show_option(*cell));
                    std::iter::once(row.name.clone()).chain(cells).collect()
                })
                .collect();
            (head, rows)
        }
        Body::Series(series) => {
            let mut xs: Vec<f64> = series
                .iter()
                .flat_map(|s| s.points.iter().map(|p| p.x))
                .collect();
            xs.sort_by(f64::total_cmp);
            xs.dedup_by(|a, b| a.total_cmp(b).is_eq());
            let columns: Vec<HashMap<u64, String>> = series
                .iter()
                .map(|s| {
                    s.points
                        .iter()
                        .map(|p| {
                            let mut text = match s.style {
                                SeriesStyle::Band => p.range.map_or_else(
                                    || "–".to_owned(),
                                    |(low, high)| {
                                        format!("{} – {}", s.format.show(low), s.format.show(high))
                                    },
                                ),
                                SeriesStyle::Line { .. }
                                | SeriesStyle::Area { .. }
                                | SeriesStyle::Bars { .. } => s.format.show_option(p.y),
                            };
                            if let Some(note) = &p.note {
                                text.push_str(&format!(" ({note})"));
                            }
                            (p.x.to_bits(), text)
                        })
                        .collect()
                })
                .collect();
            let head = std::iter::once(panel.x.title.clone())
                .chain(series.iter().map(|s| s.name.clone()))
                .collect();
            let rows = xs
                .iter()
                .map(|x| {
                    let cells = columns.iter().map(|c| {
                        c.get(&x.to_bits())
                            .cloned()
                            .unwrap_or_else(|| "–".to_owned())
                    });
                    std::iter::once(panel.x.format.show(*x))
                        .chain(cells)
                        .collect()
                })
                .collect();
            (head, rows)
        }
    };
    Table {
        title: panel.title.clone(),
        label,
        head,
        rows,
    }
}

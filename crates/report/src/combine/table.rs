//! `summary_comparison`: every run without and with cache, as text.

use super::Comparison;
use crate::catalogue::RatePoint;
use crate::chart::{count, fixed};
use crate::page::Cell;

/// Columns of `summary_comparison.csv`, in order.
pub const COLUMNS: [&str; 10] = [
    "Configuration",
    "Context Size",
    "Input @0% (tok/s)",
    "Input @100% (tok/s)",
    "Input Speedup",
    "Output @0% (tok/s)",
    "Output @100% (tok/s)",
    "Output Speedup",
    "TTFT Improvement",
    "Peak Concurrency @100%",
];

/// Columns in which the highest value of a context is the best.
const RANKED: std::ops::Range<usize> = 2..9;

/// Stands where a figure is not defined.
const NOTHING: &str = "N/A";

/// A figure as text and as a number to rank by.
struct Figure {
    text: String,
    value: Option<f64>,
}

impl Figure {
    fn new(value: Option<f64>, show: impl Fn(f64) -> String) -> Self {
        let value = value.filter(|v| v.is_finite());
        Self {
            text: value.map_or_else(|| NOTHING.to_owned(), show),
            value,
        }
    }
}

/// Rows in the order of the runs and of their contexts, for every context that was measured at 0 % and at
/// 100 %. Where several runs share a context the best cell of each column is marked, ties all.
#[must_use]
pub fn comparison_rows(comparison: &Comparison) -> Vec<[Cell; COLUMNS.len()]> {
    let mut rows: Vec<(u64, [Figure; COLUMNS.len()])> = Vec::new();
    for run in &comparison.runs {
        for context in run.contexts.iter().map(|c| c.context_size) {
            let (Some(cold), Some(cached)) = (run.point(context, 0), run.point(context, 100))
            else {
                continue;
            };
            let peak = run.peak(context, 100).map(f64::from);
            rows.push((context, figures(&run.label, context, cold, cached, peak)));
        }
    }
    let best: Vec<Vec<bool>> = rows
        .iter()
        .map(|(context, figures)| {
            let rivals: Vec<&[Figure; COLUMNS.len()]> = rows
                .iter()
                .filter(|(c, _)| c == context)
                .map(|(_, f)| f)
                .collect();
            (0..COLUMNS.len())
                .map(|i| {
                    rivals.len() > 1 && RANKED.contains(&i) && is_best(&figures[i], &rivals, i)
                })
                .collect()
        })
        .collect();
    rows.into_iter()
        .zip(best)
        .map(|((_, figures), best)| {
            let mut i = 0;
            figures.map(|figure| {
                let cell = Cell {
                    text: figure.text,
                    best: best[i],
                };
                i += 1;
                cell
            })
        })
        .collect()
}

/// Whether no rival is better; figures that read the same are equal.
fn is_best(figure: &Figure, rivals: &[&[Figure; COLUMNS.len()]], column: usize) -> bool {
    let Some(value) = figure.value else {
        return false;
    };
    rivals.iter().all(|rival| {
        let rival = &rival[column];
        rival.value.is_none_or(|v| v <= value) || rival.text == figure.text
    })
}

fn figures(
    label: &str,
    context: u64,
    cold: &RatePoint,
    cached: &RatePoint,
    peak: Option<f64>,
) -> [Figure; COLUMNS.len()] {
    let text = |text: String| Figure { text, value: None };
    let whole = |v: f64| Figure::new(Some(v), |v| fixed(v, 0));
    let times = |high: f64, low: f64| {
        let ratio = (low > 0.0).then(|| high / low);
        Figure::new(ratio, |x| format!("{}x", fixed(x, 2)))
    };
    let improvement = cold.avg_ttft.zip(cached.avg_ttft).and_then(|(from, to)| {
        let share = (from - to) / from * 100.0;
        (from > 0.0).then_some(share)
    });
    [
        text(label.to_owned()),
        text(count(context)),
        whole(cold.input.mean),
        whole(cached.input.mean),
        times(cached.input.mean, cold.input.mean),
        whole(cold.output.mean),
        whole(cached.output.mean),
        times(cached.output.mean, cold.output.mean),
        Figure::new(improvement, |v| format!("{}%", fixed(v, 1))),
        Figure::new(peak, |v| fixed(v, 0)),
    ]
}

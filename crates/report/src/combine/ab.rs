//! Differences between runs, and whether they are more than the spread of repeated windows.

use super::{CombinedRun, Comparison};
use crate::catalogue::RatePoint;
use crate::chart::{count, fixed};
use crate::page::{Cell, Section};

/// What a difference is worth, given the windows behind both figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every window of one run is above every window of the other.
    Beyond,
    /// The windows of both runs overlap.
    Within,
    /// One of the figures comes from a single window, or from the summary.
    Unknown,
}

/// Figures of one run at one test: value and spread.
#[derive(Debug, Clone, Copy)]
struct Measured {
    value: f64,
    range: Option<(f64, f64)>,
}

impl Verdict {
    fn of(a: Measured, b: Measured) -> Self {
        match (a.range, b.range) {
            (Some(a), Some(b)) if a.1 < b.0 || b.1 < a.0 => Self::Beyond,
            (Some(_), Some(_)) => Self::Within,
            _ => Self::Unknown,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Beyond => " ●",
            Self::Within => " ○",
            Self::Unknown => " ?",
        }
    }
}

/// A spread takes two windows.
fn spread(point: &RatePoint, range: (f64, f64)) -> Option<(f64, f64)> {
    (point.n_windows > 1 && !point.source.is_summary()).then_some(range)
}

type Reader = fn(&RatePoint) -> Option<Measured>;

/// Figures that are compared: name, how to read them, decimals.
const FIGURES: [(&str, Reader, u8, &str); 3] = [
    (
        "Input",
        |p| {
            Some(Measured {
                value: p.input.mean,
                range: spread(p, (p.input.min, p.input.max)),
            })
        },
        0,
        "",
    ),
    (
        "Output",
        |p| {
            Some(Measured {
                value: p.output.mean,
                range: spread(p, (p.output.min, p.output.max)),
            })
        },
        0,
        "",
    ),
    (
        "Avg TTFT",
        |p| {
            Some(Measured {
                value: p.avg_ttft?,
                range: p.avg_ttft_range.and_then(|range| spread(p, range)),
            })
        },
        3,
        "s",
    ),
];

/// Every later run against the first, one row per context and rate that both have. Rows are empty with
/// fewer than two runs, or without anything in common.
pub(super) fn section(comparison: &Comparison) -> Section {
    let Some((base, others)) = comparison.runs.split_first() else {
        return Section::default();
    };
    let mut rows = Vec::new();
    for other in others {
        for context in comparison.contexts() {
            for rate in comparison.rates(context) {
                rows.extend(row(base, other, context, rate));
            }
        }
    }
    let mut head: Vec<String> = ["Configuration", "Context", "Cache"]
        .map(str::to_owned)
        .into();
    for (name, _, _, suffix) in FIGURES {
        let unit = if suffix.is_empty() { "tok/s" } else { "" };
        head.push(format!("{name} {unit}").trim_end().to_owned());
        head.push(format!("{name} difference"));
    }
    let empty = rows.is_empty();
    let intro = if others.is_empty() {
        Vec::new()
    } else if empty {
        vec!["No test was measured in the first configuration and in another one.".to_owned()]
    } else {
        vec![format!(
            "Each test of the other configurations against the same test of {}.",
            base.label
        )]
    };
    Section {
        heading: "Differences".to_owned(),
        label: "Differences between configurations".to_owned(),
        intro,
        head,
        rows,
        notes: if empty {
            Vec::new()
        } else {
            vec![
                "● beyond the spread: every repeated window of one configuration is above every window of the other. ○ within the spread: their \
                 windows overlap, so the difference may be chance. ? unknown: one of them was measured in a single window, or only its \
                 summary is known."
                    .to_owned(),
            ]
        },
    }
}

fn row(base: &CombinedRun, other: &CombinedRun, context: u64, rate: u32) -> Option<Vec<Cell>> {
    let (a, b) = (base.point(context, rate)?, other.point(context, rate)?);
    let mut cells = vec![
        Cell::plain(&other.label),
        Cell::plain(count(context)),
        Cell::plain(format!("{rate}%")),
    ];
    for (_, read, decimals, suffix) in FIGURES {
        let show = |m: Option<Measured>| {
            m.map_or_else(
                || "–".to_owned(),
                |m| format!("{}{suffix}", fixed(m.value, decimals)),
            )
        };
        let (a, b) = (read(a), read(b));
        cells.push(Cell::plain(format!("{} → {}", show(a), show(b))));
        cells.push(Cell::plain(match a.zip(b) {
            Some((a, b)) if a.value > 0.0 => {
                let share = (b.value - a.value) / a.value * 100.0;
                let plus = if share > 0.0 { "+" } else { "" };
                format!("{plus}{}%{}", fixed(share, 1), Verdict::of(a, b).sign())
            }
            _ => "N/A".to_owned(),
        }));
    }
    Some(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(value: f64, range: Option<(f64, f64)>) -> Measured {
        Measured { value, range }
    }

    #[test]
    fn a_difference_counts_only_where_no_window_of_one_run_reaches_the_other() {
        for (a, b, expected) in [
            (Some((90.0, 110.0)), Some((111.0, 130.0)), Verdict::Beyond),
            (Some((111.0, 130.0)), Some((90.0, 110.0)), Verdict::Beyond),
            (Some((90.0, 110.0)), Some((110.0, 130.0)), Verdict::Within),
            (Some((90.0, 110.0)), Some((95.0, 100.0)), Verdict::Within),
            (None, Some((90.0, 110.0)), Verdict::Unknown),
            (None, None, Verdict::Unknown),
        ] {
            let verdict = Verdict::of(measured(100.0, a), measured(120.0, b));
            assert_eq!(verdict, expected, "{a:?} {b:?}");
        }
    }
}

//! What a larger working set costs: every context and rate at its smallest and its largest working set.

use metrics::retry::RateSource;

use super::super::figure::{BoxView, TableView, bold, from_to, ratio, seconds, whole};
use crate::catalogue::{RatePoint, SetLine, set_lines_of_run};
use crate::chart::{count, fixed};
use crate::data::RunData;
use crate::page::Cell;

/// The lead figure and what it was chosen from.
pub(super) struct Growth {
    /// None for sustained tests alone: they begin small and with few requests in flight, so that growth of
    /// the working set and of the load cannot be told apart in one figure.
    pub(super) lead: Option<BoxView>,
    pub(super) table: TableView,
}

struct Ends {
    context_size: u64,
    rate: u32,
    small: (u64, RatePoint),
    large: (u64, RatePoint),
}

/// `None` where no context was measured at two sizes.
pub(super) fn of(data: &RunData) -> Option<Growth> {
    let ends: Vec<Ends> = set_lines_of_run(data).iter().filter_map(ends).collect();
    let alone = |e: &&Ends| e.small.1.source != RateSource::PeriodSpread;
    let least = ends
        .iter()
        .filter(alone)
        .filter_map(|e| Some((left(e)?, e)))
        .min_by(|a, b| a.0.total_cmp(&b.0));
    let lead = least.map(|(share, worst)| {
        BoxView::new(
            "Left at the largest working set",
            format!("{}%", fixed(share * 100.0, 0)),
            format!(
                "of the input throughput at a working set of {} tokens is left at {}; {}% cache, {} tokens",
                count(worst.small.0),
                count(worst.large.0),
                worst.rate,
                count(worst.context_size)
            ),
        )
    });
    (!ends.is_empty()).then(|| Growth {
        lead,
        table: table(&ends),
    })
}

fn ends(line: &SetLine) -> Option<Ends> {
    let (small, large) = (line.points.first()?, line.points.last()?);
    (small.0 < large.0).then(|| Ends {
        context_size: line.context_size,
        rate: line.cache_hit_rate,
        small: small.clone(),
        large: large.clone(),
    })
}

fn left(ends: &Ends) -> Option<f64> {
    ratio(ends.large.1.input.mean, ends.small.1.input.mean)
}

fn table(ends: &[Ends]) -> TableView {
    let share = |large: f64, small: f64| {
        bold(
            ratio(large, small)
                .map_or_else(|| "–".to_owned(), |x| format!("{}%", fixed(x * 100.0, 0))),
        )
    };
    let rows = ends
        .iter()
        .map(|e| {
            let (a, b) = (&e.small.1, &e.large.1);
            vec![
                Cell::plain(count(e.context_size)),
                Cell::plain(format!("{}%", e.rate)),
                Cell::plain(from_to(count(e.small.0), count(e.large.0))),
                Cell::plain(from_to(whole(a.input.mean), whole(b.input.mean))),
                share(b.input.mean, a.input.mean),
                Cell::plain(from_to(whole(a.output.mean), whole(b.output.mean))),
                share(b.output.mean, a.output.mean),
                Cell::plain(from_to(seconds(a.avg_ttft), seconds(b.avg_ttft))),
            ]
        })
        .collect();
    TableView {
        label: "What a larger working set costs",
        head: vec![
            "Context",
            "Cache",
            "Working set",
            "Input tok/s",
            "Left",
            "Output tok/s",
            "Left",
            "Avg TTFT",
        ],
        rows,
        notes: vec![
            "Means at the smallest and at the largest working set, as the charts show them. Whether the concurrency was the same, \
             the charts of the tests tell."
                .to_owned(),
        ],
    }
}

//! The head of a single-prompt page: does the cache work, and how much faster is a cached prompt.

use metrics::SinglePromptRow;
use metrics::caching::{Basis, Caching, CachingVerdict, judge_caching};
use metrics::single_prompt::{MeanStd, SizeFigures};

use super::super::figure::{BoxView, NOTHING, TableView, bold, seconds};
use super::Headline;
use crate::chart::{count, fixed};
use crate::page::Cell;

pub(super) fn headline(rows: &[SinglePromptRow]) -> Headline {
    let sizes = SizeFigures::of_all(rows);
    if sizes.is_empty() {
        return Headline::default();
    }
    let mut boxes = Vec::new();
    boxes.extend(best_speedup(&sizes).map(BoxView::strong));
    boxes.push(verdict(&judge_caching(rows)).strong());
    let fastest = sizes
        .iter()
        .filter_map(|s| Some((s.cached_ttft?.mean, s)))
        .filter(|(mean, _)| *mean > 0.0)
        .min_by(|a, b| a.0.total_cmp(&b.0));
    boxes.extend(fastest.map(|(mean, size)| {
        BoxView::new(
            "Lowest cached TTFT",
            seconds(Some(mean)),
            format!("mean at {} tokens", count(size.context_size)),
        )
    }));
    Headline {
        boxes,
        tables: vec![table(&sizes)],
    }
}

/// The context with the largest speed-up.
pub(in crate::index) fn best_speedup(sizes: &[SizeFigures]) -> Option<BoxView> {
    let (speedup, size) = sizes
        .iter()
        .filter_map(|s| Some((s.speedup?, s)))
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(BoxView::new(
        "Best Cache Speedup",
        format!("{}x", fixed(speedup, 2)),
        format!(
            "TTFT {} → {} at {} tokens",
            seconds(size.unique_ttft.map(|f| f.mean)),
            seconds(size.cached_ttft.map(|f| f.mean)),
            count(size.context_size)
        ),
    ))
}

fn verdict(verdict: &CachingVerdict) -> BoxView {
    let (value, basis) = match &verdict.caching {
        Caching::Works(basis) => ("Yes", Some(*basis)),
        Caching::DoesNotWork(basis) => ("No", Some(*basis)),
        Caching::CannotTell(_) => ("Cannot tell", None),
    };
    let share = verdict
        .reported_share
        .map(|share| {
            format!(
                "; {}% of repeated prompts came from cache",
                fixed(share * 100.0, 1)
            )
        })
        .unwrap_or_default();
    let detail = match basis {
        Some(Basis::Report) => format!("by the server's own report{share}"),
        Some(Basis::Times) => "by the times alone, the server reports nothing useful".to_owned(),
        None => "these measurements do not decide it".to_owned(),
    };
    BoxView::new("Are repeated prompts cached?", value.to_owned(), detail)
}

fn table(sizes: &[SizeFigures]) -> TableView {
    let spread = |figure: Option<MeanStd>| match figure {
        Some(MeanStd {
            mean,
            std: Some(std),
        }) => format!("{}s ± {}", fixed(mean, 3), fixed(std, 3)),
        Some(MeanStd { mean, .. }) => seconds(Some(mean)),
        None => NOTHING.to_owned(),
    };
    let mean = |figure: Option<MeanStd>| seconds(figure.map(|f| f.mean));
    let interval = |size: &SizeFigures| {
        size.speedup_interval.map_or_else(
            || NOTHING.to_owned(),
            |(low, high)| format!("{}x – {}x", fixed(low, 2), fixed(high, 2)),
        )
    };
    let reported = sizes.iter().any(|s| s.reported_share.is_some());
    let mut head = vec![
        "Context",
        "Cold TTFT",
        "Cached TTFT",
        "Speedup",
        "95% interval",
        "Cold TTLT",
        "Cached TTLT",
        "Requests",
    ];
    if reported {
        head.push("Reported cached");
    }
    let rows = sizes
        .iter()
        .map(|s| {
            let mut cells = vec![
                Cell::plain(count(s.context_size)),
                Cell::plain(spread(s.unique_ttft)),
                Cell::plain(spread(s.cached_ttft)),
                bold(
                    s.speedup
                        .map_or_else(|| NOTHING.to_owned(), |x| format!("{}x", fixed(x, 2))),
                ),
                Cell::plain(interval(s)),
                Cell::plain(mean(s.unique_total)),
                Cell::plain(mean(s.cached_total)),
                Cell::plain(format!("{} + {}", s.n_unique, s.n_cached)),
            ];
            if reported {
                cells.push(Cell::plain(s.reported_share.map_or_else(
                    || NOTHING.to_owned(),
                    |share| format!("{}%", fixed(share * 100.0, 1)),
                )));
            }
            cells
        })
        .collect();
    TableView {
        label: "Cold and cached prompts by context size",
        head,
        rows,
        notes: vec![
            "Means and sample standard deviations. Requests are cold + cached. The interval of the speedup is over prompts; with few of them \
             it is wide or unknown."
                .to_owned(),
        ],
    }
}

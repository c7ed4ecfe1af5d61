//! What the cache is worth: every context at its lowest and its highest hit rate.

use metrics::SummaryRow;

use super::super::figure::{BoxView, TableView, bold, from_to, ratio, seconds, times, whole};
use super::{Kept, kept};
use crate::chart::{count, fixed};
use crate::data::RunData;
use crate::page::Cell;

/// The lead figure and what it was chosen from.
pub(super) struct Gains {
    pub(super) lead: BoxView,
    pub(super) table: TableView,
}

/// Two tests of one context (and working set).
struct Pair<'a> {
    low: &'a SummaryRow,
    high: &'a SummaryRow,
    /// Rates whose test broke the threshold.
    broken: Vec<u32>,
}

/// `None` where no context was measured at two rates.
pub(super) fn of(data: &RunData) -> Option<Gains> {
    let pairs = pairs(data);
    Some(Gains {
        lead: lead(&pairs)?,
        table: table(&pairs),
    })
}

fn pairs(data: &RunData) -> Vec<Pair<'_>> {
    let rows = &data.summary;
    let mut keys: Vec<(u64, Option<u64>)> = rows
        .iter()
        .map(|r| (r.context_size, r.working_set_size))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .filter_map(|key| {
            let of = || {
                rows.iter()
                    .filter(move |r| (r.context_size, r.working_set_size) == key)
            };
            let low = of().min_by_key(|r| r.cache_hit_rate)?;
            let high = of().max_by_key(|r| r.cache_hit_rate)?;
            let broken = [low, high]
                .into_iter()
                .filter(|row| kept(data, row) == Kept::No)
                .map(|row| row.cache_hit_rate)
                .collect();
            (low.cache_hit_rate < high.cache_hit_rate).then_some(Pair { low, high, broken })
        })
        .collect()
}

impl Pair<'_> {
    fn gain(&self) -> Option<f64> {
        ratio(self.high.best_input_tps(), self.low.best_input_tps())
    }
}

/// The largest gain between two tests that kept the threshold; where there is none, the largest of all, which
/// then says so: throughput above the threshold is no measure of what the server can serve.
fn lead(pairs: &[Pair<'_>]) -> Option<BoxView> {
    let largest = |clean: bool| {
        pairs
            .iter()
            .filter(|p| !clean || p.broken.is_empty())
            .filter_map(|p| Some((p.gain()?, p)))
            .max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let (gain, pair) = largest(true).or_else(|| largest(false))?;
    let Pair { low, high, broken } = pair;
    let set = high
        .working_set_size
        .map(|w| format!(", working set {}", count(w)))
        .unwrap_or_default();
    let ttft = match (low.avg_ttft, high.avg_ttft) {
        (Some(a), Some(b)) if a > 0.0 => format!("; TTFT {}s → {}s", fixed(a, 3), fixed(b, 3)),
        _ => String::new(),
    };
    let doubt = match &broken[..] {
        [] => String::new(),
        [rate] => format!("; but the test at {rate}% broke the threshold"),
        _ => "; but both tests broke the threshold".to_owned(),
    };
    Some(BoxView::new(
        "What the cache is worth",
        format!("{}x", fixed(gain, 2)),
        format!(
            "input throughput at {}% over {}% cache, {} tokens{set}{ttft}{doubt}",
            high.cache_hit_rate,
            low.cache_hit_rate,
            count(high.context_size),
        ),
    ))
}

fn table(pairs: &[Pair<'_>]) -> TableView {
    let mut marked = false;
    let rows = pairs
        .iter()
        .map(|Pair { low, high, broken }| {
            let mut rate = |row: &SummaryRow| {
                let mark = broken.contains(&row.cache_hit_rate);
                marked |= mark;
                format!("{}%{}", row.cache_hit_rate, if mark { "*" } else { "" })
            };
            let (li, hi) = (low.best_input_tps(), high.best_input_tps());
            let (lo, ho) = (low.best_output_tps(), high.best_output_tps());
            let context = match low.working_set_size {
                Some(set) => format!("{} (WS {})", count(low.context_size), count(set)),
                None => count(low.context_size),
            };
            vec![
                Cell::plain(context),
                Cell::plain(from_to(rate(low), rate(high))),
                Cell::plain(from_to(whole(li), whole(hi))),
                bold(times(hi, li)),
                Cell::plain(from_to(whole(lo), whole(ho))),
                bold(times(ho, lo)),
                Cell::plain(from_to(seconds(low.avg_ttft), seconds(high.avg_ttft))),
                Cell::plain(format!(
                    "{} → {}",
                    low.peak_concurrency, high.peak_concurrency
                )),
            ]
        })
        .collect();
    TableView {
        label: "What the cache is worth",
        head: vec![
            "Context",
            "Cache hit rate",
            "Input tok/s",
            "Speedup",
            "Output tok/s",
            "Speedup",
            "Avg TTFT",
            "Concurrency",
        ],
        rows,
        notes: if marked {
            vec![
                "* This test broke the threshold: its throughput is more than the server can serve within it."
                    .to_owned(),
            ]
        } else {
            Vec::new()
        },
    }
}

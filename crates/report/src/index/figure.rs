//! What the page shows figures in: boxes and tables.

use crate::chart::{count, fixed};
use crate::page::Cell;

/// A figure with its name and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BoxView {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) detail: String,
    /// Set off from the others.
    pub(super) strong: bool,
}

impl BoxView {
    pub(super) fn new(name: &str, value: String, detail: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            value,
            detail: detail.into(),
            strong: false,
        }
    }

    pub(super) fn strong(self) -> Self {
        Self {
            strong: true,
            ..self
        }
    }
}

/// Rows under names, with remarks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TableView {
    /// Name for assistive software.
    pub(super) label: &'static str,
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Cell>>,
    pub(super) notes: Vec<String>,
}

/// A cell that stands out.
pub(super) fn bold(text: String) -> Cell {
    Cell { text, best: true }
}

/// Stands where nothing is known.
pub(super) const NOTHING: &str = "–";

/// `0.052s`; a dash where there is no sample, which the originals wrote as 0.
pub(super) fn seconds(value: Option<f64>) -> String {
    value
        .filter(|v| *v > 0.0)
        .map_or_else(|| NOTHING.to_owned(), |v| format!("{}s", fixed(v, 3)))
}

/// `2.50x`.
pub(super) fn times(high: f64, low: f64) -> String {
    ratio(high, low).map_or_else(|| NOTHING.to_owned(), |x| format!("{}x", fixed(x, 2)))
}

/// How many times as much; nothing is a multiple of nothing.
pub(super) fn ratio(high: f64, low: f64) -> Option<f64> {
    (low > 0.0 && high.is_finite()).then(|| high / low)
}

/// Truncated to an integer, as the originals' boxes were; all throughput of this page is written so, so that
/// a figure reads the same in a box and in a table.
pub(super) fn whole(value: f64) -> String {
    fixed(value.trunc(), 0)
}

/// `25,519 tok/s`.
pub(super) fn speed(value: f64) -> String {
    format!("{} tok/s", whole(value))
}

pub(super) fn from_to(a: String, b: String) -> String {
    format!("{a} → {b}")
}

/// `336,087`, or `12.35M` beyond a million.
pub(super) fn tokens(n: f64) -> String {
    if n < 1e6 {
        fixed(n, 0)
    } else {
        format!("{}M", fixed(n / 1e6, 2))
    }
}

/// A sum of counts from files, which may hold any numbers: at most the largest there is.
pub(super) fn total(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

/// `1 test`, `2 tests`.
pub(super) fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// Where a figure was measured: `100% cache, 1,600 tokens, working set 8,192`.
pub(super) fn place(context: u64, set: Option<u64>, rate: u32) -> String {
    let set = set
        .map(|w| format!(", working set {}", count(w)))
        .unwrap_or_default();
    format!("{rate}% cache, {} tokens{set}", count(context))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "request and token counts are far below 2^53"
)]
pub(super) fn exactly(n: u64) -> f64 {
    n as f64
}

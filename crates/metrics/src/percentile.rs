//! Percentiles and the handful of statistics every table shows.
//!
//! One definition for the whole suite: linear interpolation between closest ranks at position
//! (n − 1)·q, which is numpy's default and the originals' choice. A statistic
//! of nothing is `None`, never 0. Values that are not finite are refused: they take no part.

/// Value at quantile `q` (0 to 1, clamped) of a sample that is sorted ascending.
///
/// Linear interpolation at position (n − 1)·q. `None` for an empty sample.
#[must_use]
pub fn percentile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = last as f64 * q.clamp(0.0, 1.0);
    let below = (position.floor() as usize).min(last);
    let above = (below + 1).min(last);
    let share = position - below as f64;
    let (low, high) = (sorted[below], sorted[above]);
    // The clamp keeps rounding from leaving the two ranks, so percentiles stay monotone in q.
    Some((low + (high - low) * share).clamp(low, high))
}

/// Arithmetic mean; `None` for an empty sample.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Population standard deviation (divides by n, as the originals do); `None` for an empty sample.
#[must_use]
pub fn population_std(values: &[f64]) -> Option<f64> {
    let centre = mean(values)?;
    let squares: f64 = values.iter().map(|v| (v - centre).powi(2)).sum();
    Some((squares / values.len() as f64).sqrt())
}

/// Sorts a sample ascending, leaving out what is not finite.
#[must_use]
pub fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut kept: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    kept.sort_unstable_by(f64::total_cmp);
    kept
}

/// Statistics of one sample, in the unit of the sample.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    /// Arithmetic mean.
    pub avg: Option<f64>,
    /// 50th percentile.
    pub median: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// Smallest value.
    pub min: Option<f64>,
    /// Largest value.
    pub max: Option<f64>,
    /// Number of values behind all of these.
    pub n: usize,
}

impl Stats {
    /// Statistics of `values`; the order does not matter, values that are not finite take no part.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        Self::of_sorted(&sorted(values))
    }

    /// Statistics of a sample that is sorted already.
    #[must_use]
    pub fn of_sorted(sorted: &[f64]) -> Self {
        Self {
            avg: mean(sorted),
            median: percentile(sorted, 0.5),
            p95: percentile(sorted, 0.95),
            p99: percentile(sorted, 0.99),
            min: sorted.first().copied(),
            max: sorted.last().copied(),
            n: sorted.len(),
        }
    }
}

/// Statistics of request speeds, tokens/s: here the slow end is the bad one, so the low percentiles count.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SpeedStats {
    /// Arithmetic mean.
    pub avg: Option<f64>,
    /// 5th percentile.
    pub p5: Option<f64>,
    /// 10th percentile.
    pub p10: Option<f64>,
    /// Number of values behind all of these.
    pub n: usize,
}

impl SpeedStats {
    /// Statistics of `values` in tokens/s.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let sorted = sorted(values);
        Self {
            avg: mean(&sorted),
            p5: percentile(&sorted, 0.05),
            p10: percentile(&sorted, 0.10),
            n: sorted.len(),
        }
    }
}

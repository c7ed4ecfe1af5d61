//! Counts of durations in buckets that grow with the duration: fixed memory for runs of any length.
//!
//! The crate `hdrhistogram` does the same. It counts whole numbers in a range that must be chosen and whose values can
//! fail to be recorded; around it the same type would still be needed, for durations, for an exact longest one and for an
//! empty one that is no error, and recording one would be no fewer steps.

use std::time::Duration;

/// Buckets per doubling; a percentile is at most 1/16 too high.
const STEPS: usize = 16;
/// Doublings above the first `STEPS` microseconds that are told apart: up to an hour.
const DOUBLINGS: usize = 28;

/// A histogram of durations. The first 16 buckets are a microsecond wide each, the next 16 cover a doubling, and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    n: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; STEPS * (DOUBLINGS + 1)],
            n: 0,
            max: Duration::ZERO,
        }
    }
}

impl Histogram {
    /// Adds one duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let at = bucket(micros).min(self.counts.len() - 1);
        self.counts[at] += 1;
        self.n += 1;
        self.max = self.max.max(duration);
    }

    /// Adds all of another one.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.n += other.n;
        self.max = self.max.max(other.max);
    }

    /// How many were added.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.n
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The longest; zero when there is none.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The duration that a share `q` of all do not exceed, rounded up to its bucket's end but never above the
    /// longest; `None` when there is none.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = ((q * self.n as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_micros(end(at)).min(self.max))
    }
}

/// Number of the bucket that holds so many microseconds.
fn bucket(micros: u64) -> usize {
    if micros < STEPS as u64 {
        return micros as usize;
    }
    // The highest set bit gives the doubling, the four bits behind it the step.
    let doubling = micros.ilog2() as usize - 4;
    let step = (micros >> doubling) as usize - STEPS;
    STEPS * (doubling + 1) + step
}

/// First microsecond behind a bucket.
fn end(at: usize) -> u64 {
    let (doubling, step) = (at / STEPS, at % STEPS);
    match doubling {
        0 => step as u64 + 1,
        _ => ((STEPS + step + 1) as u64) << (doubling - 1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // A quantile is not below the exact one and at most a sixteenth and a microsecond above it.
        #[test]
        fn quantiles_are_right_to_a_sixteenth(mut micros in prop::collection::vec(0_u64..10_000_000, 1..200), q in 0.0_f64..1.0) {
            let mut histogram = Histogram::default();
            let (mut left, mut right) = (Histogram::default(), Histogram::default());
            for (i, m) in micros.iter().enumerate() {
                histogram.record(Duration::from_micros(*m));
                if i % 2 == 0 { &mut left } else { &mut right }.record(Duration::from_micros(*m));
            }
            left.merge(&right);
            prop_assert_eq!(&left, &histogram);
            micros.sort_unstable();
            let rank = ((q * micros.len() as f64).ceil() as usize).max(1);
            let exact = micros[rank - 1];
            let found = histogram.quantile(q).unwrap().as_micros() as u64;
            prop_assert!(found >= exact, "{found} {exact}");
            prop_assert!(found <= exact + exact / 16 + 1, "{found} {exact}");
        }
    }

    #[test]
    fn an_empty_histogram_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert!(Histogram::default().is_empty());
    }

    #[test]
    fn what_is_longer_than_an_hour_is_kept_as_the_longest() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::from_secs(1_000_000));
        assert_eq!(histogram.max(), Duration::from_secs(1_000_000));
        assert_eq!(histogram.len(), 1);
        assert!(histogram.quantile(1.0).is_some());
    }
}

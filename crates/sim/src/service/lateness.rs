//! How long after they were due tokens were handed to their sockets: whether the answers are known as exactly as
//! the model says.
//!
//! Counts into a fixed set of logarithmic buckets, so that it costs next to nothing and its size does not depend
//! on the number of tokens. Percentiles are upper bounds that are at most an eighth too high.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets per doubling.
const STEPS: u64 = 8;
/// Doublings from a microsecond: more than an hour.
const DOUBLINGS: u64 = 32;
const BUCKETS: usize = (STEPS * DOUBLINGS) as usize + 1;

/// A histogram of delays that all threads may add to.
pub(super) struct Lateness {
    buckets: [AtomicU64; BUCKETS],
    max_nanos: AtomicU64,
}

impl std::fmt::Debug for Lateness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lateness").field(&self.report()).finish()
    }
}

/// A summary of delays; `None` where there was none to summarise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatenessReport {
    /// Tokens counted.
    pub tokens: u64,
    /// Half of them were at most this late.
    pub p50: Option<Duration>,
    /// 99 % of them were at most this late.
    pub p99: Option<Duration>,
    /// The latest of all, exactly.
    pub max: Option<Duration>,
}

impl Lateness {
    pub(super) fn new() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            max_nanos: AtomicU64::new(0),
        }
    }

    pub(super) fn add(&self, late: Duration) {
        let nanos = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(nanos)].fetch_add(1, Ordering::Relaxed);
        self.max_nanos.fetch_max(nanos, Ordering::Relaxed);
    }

    pub(super) fn report(&self) -> LatenessReport {
        let counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .collect();
        let tokens: u64 = counts.iter().sum();
        if tokens == 0 {
            return LatenessReport::default();
        }
        let max = Duration::from_nanos(self.max_nanos.load(Ordering::Relaxed));
        let share = |percent: u64| {
            let wanted = (tokens * percent).div_ceil(100);
            let mut seen = 0;
            let bucket = counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            bucket.map(|bucket| upper_bound(bucket).min(max))
        };
        LatenessReport {
            tokens,
            p50: share(50),
            p99: share(99),
            max: Some(max),
        }
    }
}

/// The first bucket ends at one microsecond, each doubling behind it has [`STEPS`] of equal width.
fn bucket_of(nanos: u64) -> usize {
    let units = nanos / 1000;
    if units == 0 {
        return 0;
    }
    let doubling = u64::from(units.ilog2());
    if doubling >= DOUBLINGS {
        return BUCKETS - 1;
    }
    // Within the doubling, counted in eighths of its width; in nanoseconds, so that the first ones have eighths.
    let start = 1000 << doubling;
    let step = (nanos - start) * STEPS / start;
    usize::try_from(doubling * STEPS + step + 1).map_or(BUCKETS - 1, |at| at.min(BUCKETS - 1))
}

fn upper_bound(bucket: usize) -> Duration {
    let Some(behind) = (bucket as u64).checked_sub(1) else {
        return Duration::from_micros(1);
    };
    let start = 1000_u64 << (behind / STEPS);
    Duration::from_nanos(start + start / STEPS * (behind % STEPS + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every delay up to an hour lies at or below its bucket's bound, and less than an eighth (or a
        /// microsecond) below it.
        #[test]
        fn a_bucket_bounds_its_delays(nanos in 0_u64..3_600_000_000_000) {
            let bound = upper_bound(bucket_of(nanos)).as_nanos();
            prop_assert!(bound >= u128::from(nanos), "{} for {}", bound, nanos);
            prop_assert!(bound - u128::from(nanos) <= u128::from(nanos / 8).max(1000));
        }
    }

    #[test]
    fn percentiles_are_those_of_the_delays() {
        let lateness = Lateness::new();
        assert_eq!(lateness.report(), LatenessReport::default());
        for millis in 1..=100 {
            lateness.add(Duration::from_millis(millis));
        }
        let report = lateness.report();
        assert_eq!(
            (report.tokens, report.max),
            (100, Some(Duration::from_millis(100)))
        );
        let near = |value: Option<Duration>, expected: f64| {
            let value = value.unwrap().as_secs_f64() * 1e3;
            assert!((expected..=expected * 1.125).contains(&value), "{value} ms");
        };
        near(report.p50, 50.0);
        near(report.p99, 99.0);
    }
}

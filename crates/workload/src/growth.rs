//! Sizes of a working set that varies: from test to test, or while a test runs.
//!
//! Promise: pure arithmetic as the published pages do it. Sizes grow linearly, both ends included; a growing set
//! reaches its last size in equal steps in time that leave room before the first and behind the last.

use std::time::Duration;

/// `n` sizes from `min` to `max` tokens, evenly spaced and cut down to whole tokens, duplicates left out; `n` of 1 is
/// `min` alone.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the published sizes are those of double arithmetic, cut down; sizes are far below 2^53"
)]
pub fn working_set_sizes(min: u64, max: u64, n: u64) -> Vec<u64> {
    if n <= 1 {
        return vec![min];
    }
    let span = max.saturating_sub(min) as f64;
    let mut sizes: Vec<u64> = (0..n)
        .map(|i| (min as f64 + span * i as f64 / (n - 1) as f64) as u64)
        .collect();
    sizes.dedup();
    sizes
}

/// Prompts of `tokens_per_prompt` tokens that hold at least `tokens`; at least one.
#[must_use]
pub fn prompts_for(tokens: u64, tokens_per_prompt: u64) -> usize {
    let n = tokens.div_ceil(tokens_per_prompt.max(1)).max(1);
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// One step of growth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrowthEvent {
    /// When, from the start of the test.
    pub at: Duration,
    /// Prompts that join; may be 0.
    pub prompts: usize,
}

/// When a working set grows within a test, and by how many prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrowthSchedule {
    /// Prompts at the start.
    pub initial: usize,
    /// Prompts at the end.
    pub target: usize,
    /// In order of time; none where nothing grows.
    pub events: Vec<GrowthEvent>,
}

impl GrowthSchedule {
    /// From `initial` to `target` prompts within `length`, in `n` steps: the test is cut into `n` + 1 equal sections,
    /// and each border adds an equal share, the first ones one more where they do not divide.
    #[must_use]
    pub fn new(initial: usize, target: usize, n: u32, length: Duration) -> Self {
        let added = target.saturating_sub(initial);
        let (share, more) = match n as usize {
            0 => (0, 0),
            n => (added / n, added % n),
        };
        let events = (1..=n).filter(|_| added > 0).map(|k| GrowthEvent {
            at: length * k / (n + 1),
            prompts: share + usize::from((k as usize) <= more),
        });
        Self {
            initial,
            target: initial + if n == 0 { 0 } else { added },
            events: events.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_the_published_ones() {
        for (min, max, n, sizes) in [
            (
                100_000,
                5_000_000,
                10,
                vec![
                    100_000, 644_444, 1_188_888, 1_733_333, 2_277_777, 2_822_222, 3_366_666,
                    3_911_111, 4_455_555, 5_000_000,
                ],
            ),
            (
                100_000,
                2_000_000,
                4,
                vec![100_000, 733_333, 1_366_666, 2_000_000],
            ),
            (
                500_000,
                10_000_000,
                5,
                vec![500_000, 2_875_000, 5_250_000, 7_625_000, 10_000_000],
            ),
            (
                1_000_000,
                20_000_000,
                8,
                vec![
                    1_000_000, 3_714_285, 6_428_571, 9_142_857, 11_857_142, 14_571_428, 17_285_714,
                    20_000_000,
                ],
            ),
            (7, 9, 1, vec![7]),
            (7, 7, 5, vec![7]),
            (1, 3, 9, vec![1, 2, 3]),
        ] {
            assert_eq!(working_set_sizes(min, max, n), sizes, "{min} {max} {n}");
        }
    }

    #[test]
    fn prompts_and_growth_are_those_of_the_published_examples() {
        let sizes = working_set_sizes(100_000, 5_000_000, 10);
        let prompts: Vec<usize> = sizes.iter().map(|s| prompts_for(*s, 30_208)).collect();
        assert_eq!(prompts, [4, 22, 40, 58, 76, 94, 112, 130, 148, 166]);
        let s = Duration::from_secs;
        let schedule = GrowthSchedule::new(
            prompts_for(100_000, 10_240),
            prompts_for(2_000_000, 10_240),
            4,
            s(600),
        );
        assert_eq!((schedule.initial, schedule.target), (10, 196));
        let event = |at, prompts| GrowthEvent { at: s(at), prompts };
        assert_eq!(
            schedule.events,
            [
                event(120, 47),
                event(240, 47),
                event(360, 46),
                event(480, 46)
            ]
        );
        assert_eq!(GrowthSchedule::new(4, 4, 3, s(60)).events, []);
        assert_eq!(GrowthSchedule::new(4, 2, 3, s(60)).events, []);
        let few = GrowthSchedule::new(1, 2, 3, s(60));
        assert_eq!(few.events, [event(15, 1), event(30, 0), event(45, 0)]);
    }

    proptest! {
        /// Whatever the numbers, the steps add up to the target, lie strictly within the test, and keep their order;
        /// sizes begin and end where they were told and only grow.
        #[test]
        fn growth_reaches_its_target(initial in 1_usize..500, more in 0_usize..500, n in 1_u32..40, secs in 1_u64..5000) {
            let length = Duration::from_secs(secs);
            let schedule = GrowthSchedule::new(initial, initial + more, n, length);
            prop_assert_eq!(schedule.initial + schedule.events.iter().map(|e| e.prompts).sum::<usize>(), schedule.target);
            prop_assert_eq!(schedule.target, initial + more);
            prop_assert!(schedule.events.iter().all(|e| !e.at.is_zero() && e.at < length));
            prop_assert!(schedule.events.windows(2).all(|w| w[0].at < w[1].at && w[0].prompts >= w[1].prompts));
            let sizes = working_set_sizes(initial as u64, (initial + more) as u64, u64::from(n));
            prop_assert_eq!(sizes[0], initial as u64);
            prop_assert!(n == 1 || sizes.last() == Some(&((initial + more) as u64)));
            prop_assert!(sizes.windows(2).all(|w| w[0] < w[1]));
        }
    }
}

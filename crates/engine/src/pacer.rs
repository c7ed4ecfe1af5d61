//! When the next request is due. Pure: time comes in as an argument.
//!
//! Pacing is a value, so that a schedule or a set of sessions can stand beside a level held without
//! another run loop.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Pause before the slot of a failed request launches again.
pub const FAILURE_PAUSE: Duration = Duration::from_millis(100);
/// Widest spacing of the first fill's launches.
const FILL_SPACING: Duration = Duration::from_millis(10);

/// What the load should look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pacing {
    /// A closed loop: so many requests in flight, a finished one replaced at once.
    Hold {
        /// Requests in flight.
        level: u32,
    },
}

/// Keeps the instants at which requests are due.
///
/// Invariant: slots waiting for their instant plus requests in flight never exceed the level.
#[derive(Debug)]
pub struct Pacer {
    pacing: Pacing,
    due: BinaryHeap<Reverse<Duration>>,
    in_flight: u32,
}

impl Pacer {
    /// Starts at `now`. The first fill is spaced by at most 10 ms and spread over at most a tenth of `length`.
    #[must_use]
    pub fn start(pacing: Pacing, now: Duration, length: Duration) -> Self {
        let Pacing::Hold { level } = pacing;
        let spacing = FILL_SPACING.min(length / 10 / level.max(1));
        let due = (0..level)
            .map(|slot| Reverse(now + spacing * slot))
            .collect();
        Self {
            pacing,
            due,
            in_flight: 0,
        }
    }

    /// The level that is held.
    #[must_use]
    pub fn level(&self) -> u32 {
        let Pacing::Hold { level } = self.pacing;
        level
    }

    /// Holds another level from `now` on. Slots that are added are due at once; when the level falls, slots
    /// that wait are given up, and requests in flight beyond it are not replaced when they end.
    pub fn set_level(&mut self, level: u32, now: Duration) {
        self.pacing = Pacing::Hold { level };
        let free = level.saturating_sub(self.in_flight) as usize;
        if self.due.len() > free {
            // The slots due soonest stay.
            let mut due = std::mem::take(&mut self.due).into_vec();
            due.sort_unstable_by(|a, b| b.cmp(a));
            due.truncate(free);
            self.due = due.into();
        }
        while self.due.len() < free {
            self.due.push(Reverse(now));
        }
    }

    /// Requests in flight now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// The earliest instant at which a request is due, past or future.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.due.peek().map(|Reverse(at)| *at)
    }

    /// Takes the slot that is due at `now` or was due before it, and returns the intended instant.
    pub fn take_due(&mut self, now: Duration) -> Option<Duration> {
        let at = self.next_due().filter(|at| *at <= now)?;
        self.due.pop();
        self.in_flight += 1;
        Some(at)
    }

    /// How long, in all, slots have been due between `since` and `now` without having been launched.
    #[must_use]
    pub fn overdue(&self, since: Duration, now: Duration) -> Duration {
        let waiting = self.due.iter();
        waiting
            .map(|Reverse(at)| now.saturating_sub((*at).max(since)))
            .sum()
    }

    /// A request ended at `at`, whenever that is noticed: its slot is due again from then on, or after a pause when it
    /// failed. Returns that instant; `None` where the level has fallen meanwhile and nothing takes its place.
    pub fn ended(&mut self, at: Duration, failed: bool) -> Option<Duration> {
        self.in_flight = self.in_flight.saturating_sub(1);
        let waiting = u32::try_from(self.due.len()).unwrap_or(u32::MAX);
        let is_replaced = self.in_flight.saturating_add(waiting) < self.level();
        is_replaced.then(|| {
            let due = if failed { at + FAILURE_PAUSE } else { at };
            self.due.push(Reverse(due));
            due
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_fill_is_spread_over_at_most_a_tenth_of_the_window() {
        for (level, length_ms, last_ms) in
            [(5_u32, 60_000_u64, 40_u64), (100, 1_000, 99), (1, 10, 0)]
        {
            let mut pacer = Pacer::start(
                Pacing::Hold { level },
                Duration::ZERO,
                Duration::from_millis(length_ms),
            );
            let mut last = Duration::ZERO;
            while let Some(at) = pacer.take_due(Duration::from_secs(3600)) {
                last = at;
            }
            assert_eq!(pacer.in_flight(), level);
            assert_eq!(last, Duration::from_millis(last_ms), "level {level}");
        }
    }

    #[test]
    fn a_finished_request_is_replaced_at_once_and_a_failed_one_after_the_pause() {
        let mut pacer = Pacer::start(
            Pacing::Hold { level: 1 },
            Duration::ZERO,
            Duration::from_secs(1),
        );
        pacer.take_due(Duration::ZERO);
        let t = Duration::from_millis(500);
        pacer.ended(t, false);
        assert_eq!(pacer.next_due(), Some(t));
        pacer.take_due(t);
        pacer.ended(t, true);
        assert_eq!(pacer.next_due(), Some(t + FAILURE_PAUSE));
    }

    #[test]
    fn lowering_the_level_cancels_nothing_and_raising_it_is_due_at_once() {
        let mut pacer = Pacer::start(Pacing::Hold { level: 4 }, Duration::ZERO, Duration::ZERO);
        while pacer.take_due(Duration::ZERO).is_some() {}
        let t = Duration::from_secs(1);
        pacer.set_level(2, t);
        assert_eq!((pacer.in_flight(), pacer.next_due()), (4, None));
        pacer.ended(t, false);
        pacer.ended(t, false);
        assert_eq!((pacer.in_flight(), pacer.next_due()), (2, None));
        pacer.ended(t, false);
        assert_eq!(
            pacer.next_due(),
            Some(t),
            "below the level launching resumes"
        );
        pacer.set_level(5, t);
        let mut n_launched = 0;
        while pacer.take_due(t).is_some() {
            n_launched += 1;
        }
        assert_eq!((n_launched, pacer.in_flight()), (4, 5));
    }

    proptest! {
        // Whatever the order of launches, ends and new levels, slots waiting plus requests in flight equal the
        // level, or there is no slot waiting and more in flight than the level.
        #[test]
        fn a_level_that_changes_is_held(steps in proptest::collection::vec((0_u8..3, any::<bool>(), 1_u32..40, 0_u64..50), 0..200)) {
            let mut now = Duration::ZERO;
            let mut pacer = Pacer::start(Pacing::Hold { level: 3 }, now, Duration::from_secs(10));
            for (what, failed, level, wait) in steps {
                now += Duration::from_millis(wait);
                match what {
                    0 => { pacer.take_due(now); }
                    1 if pacer.in_flight() > 0 => { pacer.ended(now, failed); }
                    1 => {}
                    _ => pacer.set_level(level, now),
                }
                let waiting = pacer.due.len() as u32;
                let level = pacer.level();
                prop_assert!(waiting + pacer.in_flight() == level || (waiting == 0 && pacer.in_flight() > level));
            }
        }

        // Whatever the order of launches and ends, slots waiting plus requests in flight equal the level.
        #[test]
        fn level_is_held(level in 1_u32..50, steps in proptest::collection::vec((any::<bool>(), any::<bool>(), 0_u64..50), 0..200)) {
            let mut now = Duration::ZERO;
            let mut pacer = Pacer::start(Pacing::Hold { level }, now, Duration::from_secs(10));
            for (launch, failed, wait) in steps {
                now += Duration::from_millis(wait);
                if launch {
                    if let Some(at) = pacer.take_due(now) { prop_assert!(at <= now); }
                } else if pacer.in_flight() > 0 {
                    pacer.ended(now, failed);
                }
                prop_assert_eq!(pacer.due.len() as u32 + pacer.in_flight(), level);
            }
        }
    }
}

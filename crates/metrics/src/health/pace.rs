//! The pace at which a client's error is measured: requests and tokens per second as in the windows judged by it.
//!
//! A slot of a level goes round in a cycle: it rests, sends, waits for the first token, gets the others. What counts for a
//! client is how many requests and how many tokens there are per second, not for what a slot waits; so most of the wait
//! for a first token is spent resting, and a measurement shorter than a cycle begins with every slot somewhere in its own.

use std::time::Duration;

use super::WindowHealth;

/// Fewer requests than this tell nothing of a 99th percentile.
pub const LEAST_FOR_TAIL: u64 = 20;
/// So many are planned where the pace allows it: some come late.
const PLANNED: f64 = 25.0;
/// Longest wait for a first token; a client's error does not grow with it.
const FIRST_TOKEN: Duration = Duration::from_millis(20);
/// Longest gap between tokens, likewise.
const GAP: Duration = Duration::from_millis(500);
/// Share of a measurement in which the level is entered; what is sent in it is disturbed by that.
const ENTRY: u32 = 4;

/// How a slot of a level sends requests and gets answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// From a request to its first token.
    pub first_after: Duration,
    /// Between two tokens.
    pub gap: Duration,
    /// Tokens of an answer.
    pub n_tokens: u32,
    /// From one request of a slot to its next.
    pub cycle: Duration,
    /// Tokens of an answer of the study: an error of its first or last token is shared by the gaps between these.
    pub study_tokens: f64,
}

/// What a slot does when it begins somewhere in its cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It sends a request after this time.
    After(Duration),
    /// It gets the last tokens of an answer.
    Answering {
        /// So many.
        n_tokens: u32,
        /// When the answer is over and the slot rests.
        left: Duration,
    },
}

impl Pace {
    /// That of the window with the most tokens per second and slot; `most_tokens` were asked for. `None` without a window
    /// that had a first token.
    #[must_use]
    pub fn fastest<'w>(
        windows: impl IntoIterator<Item = &'w WindowHealth>,
        most_tokens: u32,
    ) -> Option<Self> {
        let paces = windows.into_iter().filter_map(|w| Self::of(w, most_tokens));
        paces.max_by(|a, b| a.token_rate().total_cmp(&b.token_rate()))
    }

    fn of(window: &WindowHealth, most_tokens: u32) -> Option<Self> {
        let seconds = |value: f64| Duration::try_from_secs_f64(value).ok();
        let ttft = window.ttft.median.and_then(seconds)?;
        let gap = window.itl.median.and_then(seconds).unwrap_or_default();
        let asked = f64::from(most_tokens.max(1));
        let study_tokens = match gap.is_zero() {
            true => 1.0,
            false => window.answer_tokens.unwrap_or(asked).clamp(1.0, asked),
        };
        let n_tokens = study_tokens.round() as u32;
        let pace = Self {
            first_after: ttft.min(FIRST_TOKEN),
            gap: gap.min(GAP),
            n_tokens,
            cycle: ttft + gap * (n_tokens - 1),
            study_tokens,
        };
        (!pace.cycle.is_zero()).then_some(pace)
    }

    /// Tokens per second of a slot.
    fn token_rate(&self) -> f64 {
        f64::from(self.n_tokens) / self.cycle.as_secs_f64()
    }

    /// The least with which there is a time between tokens, if there is any.
    fn least_tokens(&self) -> u32 {
        self.n_tokens.min(2)
    }

    /// The shortest cycle in which a request has an error of both kinds.
    fn shortest(&self) -> Duration {
        self.first_after + self.gap * (self.least_tokens() - 1)
    }

    /// From when on a measurement of this length counts.
    #[must_use]
    pub fn entered(length: Duration) -> Duration {
        length / ENTRY
    }

    /// How long a level must be measured for a 99th percentile, whatever the study's rate.
    #[must_use]
    pub fn needs(&self, level: u32) -> Duration {
        let counted = self.shortest().mul_f64(PLANNED / f64::from(level.max(1)));
        counted + counted / (ENTRY - 1)
    }

    /// The same for a measurement of `length`: with more and shorter answers where the study sent too few requests for a
    /// 99th percentile. So few requests that a machine does not feel them, and no more tokens than the study's, but
    /// for the two that an answer must have.
    #[must_use]
    pub fn quickened(self, level: u32, length: Duration) -> Self {
        let counted = length.saturating_sub(Self::entered(length));
        let wanted = counted.mul_f64(f64::from(level) / PLANNED);
        let cycle = wanted.max(self.shortest()).min(self.cycle);
        if cycle == self.cycle || cycle.is_zero() {
            return self;
        }
        let share = cycle.as_secs_f64() / self.cycle.as_secs_f64();
        let n_tokens = (f64::from(self.n_tokens) * share) as u32;
        Self {
            n_tokens: n_tokens.clamp(self.least_tokens(), self.fitting(cycle)),
            cycle,
            ..self
        }
    }

    /// Tokens of an answer that ends within `left` from its request on.
    #[must_use]
    pub fn fitting(&self, left: Duration) -> u32 {
        if self.gap.is_zero() {
            return self.n_tokens;
        }
        let gaps = left.saturating_sub(self.first_after).as_nanos() / self.gap.as_nanos();
        let fitting = u32::try_from(gaps + 1).unwrap_or(u32::MAX);
        fitting.clamp(self.least_tokens(), self.n_tokens)
    }

    /// From the end of an answer to the slot's next request.
    #[must_use]
    pub fn rest(&self) -> Duration {
        let busy = self.first_after + self.gap * (self.n_tokens - 1);
        self.cycle.saturating_sub(busy)
    }

    /// What slot `slot` of `level` does at `now`, when the slots have been going round in equal distances for ever.
    #[must_use]
    pub fn entry(&self, slot: u32, level: u32, now: Duration) -> Entry {
        let offset = self
            .cycle
            .mul_f64(f64::from(slot) / f64::from(level.max(1)));
        let at = (offset + now).as_secs_f64() % self.cycle.as_secs_f64();
        let at = Duration::try_from_secs_f64(at).unwrap_or_default();
        let left = self.cycle.saturating_sub(at);
        if at <= self.rest() + self.first_after || self.n_tokens < 2 {
            return Entry::After(self.rest().saturating_sub(at));
        }
        Entry::Answering {
            n_tokens: self.fitting(self.first_after + left),
            left,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Typical;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn window(ttft: f64, itl: f64, tokens: f64) -> WindowHealth {
        let typical = |median: f64| Typical {
            median: (median > 0.0).then_some(median),
            p95: None,
        };
        WindowHealth {
            ttft: typical(ttft),
            itl: typical(itl),
            answer_tokens: (tokens > 1.0).then_some(tokens),
            ..WindowHealth::default()
        }
    }

    fn pace(ttft: f64, itl: f64, tokens: f64) -> Pace {
        Pace::fastest(&[window(ttft, itl, tokens)], 1000).unwrap()
    }

    /// Of windows at one level with ITL of 40, 30 and 10 ms the calibration took 30, and judged the fastest by a third of
    /// its tokens.
    #[test]
    fn the_pace_is_that_of_the_fastest_window_and_of_no_mean() {
        let windows = [(2.0, 0.04), (1.0, 0.03), (0.1, 0.01)].map(|(t, i)| window(t, i, 101.0));
        let fastest = Pace::fastest(&windows, 1000).unwrap();
        assert_eq!(fastest, pace(0.1, 0.01, 101.0));
        assert_eq!((fastest.gap, fastest.cycle), (MS(10), MS(1100)));
        assert_eq!(Pace::fastest(&[window(0.0, 0.0, 0.0)], 9), None);
    }

    /// Requests and tokens in `length`, of all slots, by the rules that a measurement goes by.
    fn played(pace: Pace, level: u32, length: Duration) -> (u32, u32) {
        let (mut requests, mut tokens) = (0, 0);
        for slot in 0..level {
            let mut now = match pace.entry(slot, level, Duration::ZERO) {
                Entry::After(wait) => wait,
                Entry::Answering { n_tokens, left } => {
                    tokens += pace.fitting(length).min(n_tokens);
                    left + pace.rest()
                }
            };
            while now < length {
                let n = pace.fitting(length - now);
                (requests, tokens) = (requests + 1, tokens + n);
                now += pace.first_after + pace.gap * (n - 1) + pace.rest();
            }
        }
        (requests, tokens)
    }

    /// A thousand streams that wait five seconds for a first token send 190 requests a second; the calibration sent
    /// two thousand.
    #[test]
    fn requests_and_tokens_per_second_are_those_of_the_study_even_within_a_part_of_a_cycle() {
        for (ttft, itl, n, level) in [
            (5.0, 0.02, 16.0, 1000),
            (0.2, 0.02, 128.0, 256),
            (0.2, 0.02, 1000.0, 256),
            (0.3, 0.0, 1.0, 64),
            (1.0, 0.5, 64.0, 10_000),
        ] {
            let pace = pace(ttft, itl, n).quickened(level, MS(1500));
            let cycle = ttft + (n - 1.0) * itl;
            let per_second = |n: u32| f64::from(n) / 1.5;
            let (requests, tokens) = played(pace, level, MS(1500));
            let expected = f64::from(level) / cycle;
            let (least, most) = (0.9 * expected, (1.05 * expected).max(30.0));
            let rate = per_second(requests);
            assert!(
                (least..most).contains(&rate),
                "{rate} of {expected} requests"
            );
            let (expected, rate) = (expected * n, per_second(tokens));
            assert!(
                (0.85 * expected..1.15 * expected).contains(&rate),
                "{rate} of {expected} tokens"
            );
        }
    }

    #[test]
    fn a_slow_level_gets_the_requests_that_a_percentile_needs_and_no_more_tokens() {
        let study = pace(0.2, 0.02, 1000.0);
        // At level 4 the study sent a request in five seconds.
        let quick = study.quickened(4, MS(2000));
        let (requests, tokens) = played(quick, 4, MS(2000));
        assert!((25..=40).contains(&requests), "{requests}");
        assert!(tokens <= 4 * 100 + 4, "{tokens}");
        // A request cannot be shorter than two tokens: then it takes longer.
        let slow = pace(1.0, 0.1, 50.0);
        assert_eq!(slow.needs(1), MS(4000));
        let quick = slow.quickened(1, MS(4000));
        assert_eq!((quick.cycle, quick.n_tokens), (MS(120), 2));
        assert_eq!(quick.rest(), Duration::ZERO);
        assert_eq!(played(quick, 1, MS(3000)).0, 25);
    }

    #[test]
    fn slots_begin_all_over_their_cycle() {
        // Rests 0.98 s, waits 20 ms, answers for 1 s.
        let pace = pace(1.0, 0.1, 11.0);
        let entry = |slot| pace.entry(slot, 4, Duration::ZERO);
        assert_eq!(entry(0), Entry::After(MS(980)));
        assert_eq!(entry(1), Entry::After(MS(480)));
        assert_eq!(entry(2), Entry::After(Duration::ZERO));
        let (n_tokens, left) = (6, MS(500));
        assert_eq!(entry(3), Entry::Answering { n_tokens, left });
        assert_eq!(pace.entry(3, 4, MS(700)), Entry::After(MS(780)));
    }
}

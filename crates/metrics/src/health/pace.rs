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
/// From so many streams on all are written to in step. What few of them get at one instant is read in no time, and a wait for
/// the next step with every answer would leave too few answers for a percentile.
const IN_STEP: u32 = 8;
/// Share of a measurement in which the level is entered; what is sent in it is disturbed by that.
const ENTRY: u32 = 4;

/// How a slot of a level sends requests and gets answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// From a request to its first token; in step at most so long.
    pub first_after: Duration,
    /// Between two tokens.
    pub gap: Duration,
    /// Whether all streams get their tokens at common instants, as from an engine that decodes in steps.
    pub in_step: bool,
    /// Tokens of an answer.
    pub n_tokens: u32,
    /// From one request of a slot to its next.
    pub cycle: Duration,
    /// Tokens of an answer of the study: an error of its first or last token is shared by the gaps between these.
    pub study_tokens: f64,
}

/// One slot of a level that is held: when it sends a request, and which.
///
/// Pure: whoever holds the level asks for [`Self::due`], waits for that, and sends what [`Self::turn`] says.
#[derive(Debug, Clone)]
pub struct Slot {
    pace: Pace,
    length: Duration,
    due: Duration,
    /// The answer in whose middle it enters, until that was asked for.
    middle: Option<Middle>,
}

/// A request of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Tokens to ask for.
    pub n_tokens: u32,
    /// Whether the prompt is sent; that of an answer which begins in its middle was sent long before.
    pub is_whole: bool,
    /// Whether its time to the first token counts: not of an answer that begins in its middle, and not while the level is
    /// being entered.
    pub has_ttft: bool,
}

/// The last tokens of an answer, and when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Middle {
    n_tokens: u32,
    left: Duration,
}

/// What a slot does when it begins somewhere in its cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// It sends a request after this time.
    After(Duration),
    /// It gets the last tokens of an answer; when that is over, it rests.
    Answering(Middle),
}

impl Pace {
    /// That of the window with the most tokens per second and slot, for `level` slots; `most_tokens` were asked for. `None`
    /// without a window that had a first token.
    #[must_use]
    pub fn fastest<'w>(
        windows: impl IntoIterator<Item = &'w WindowHealth>,
        most_tokens: u32,
        level: u32,
    ) -> Option<Self> {
        let paces = windows
            .into_iter()
            .filter_map(|w| Self::of(w, most_tokens, level));
        paces.max_by(|a, b| a.token_rate().total_cmp(&b.token_rate()))
    }

    fn of(window: &WindowHealth, most_tokens: u32, level: u32) -> Option<Self> {
        let seconds = |value: f64| Duration::try_from_secs_f64(value).ok();
        let ttft = window.ttft.median.and_then(seconds)?;
        let gap = window.itl.median.and_then(seconds).unwrap_or_default();
        let asked = f64::from(most_tokens.max(1));
        let study_tokens = match gap.is_zero() {
            true => 1.0,
            false => window.answer_tokens.unwrap_or(asked).clamp(1.0, asked),
        };
        let n_tokens = study_tokens.round() as u32;
        let in_step = level >= IN_STEP && !gap.is_zero();
        let first_after = ttft.min(FIRST_TOKEN);
        let pace = Self {
            // With every answer there is up to a gap to wait for the step.
            first_after: match in_step {
                true => first_after.max(gap.min(GAP)),
                false => first_after,
            },
            gap: gap.min(GAP),
            in_step,
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

    /// A slot of those of `level`, for a measurement of `length`.
    #[must_use]
    pub fn slot(&self, slot: u32, level: u32, length: Duration) -> Slot {
        let share = f64::from(slot) / f64::from(level.max(1));
        self.slot_entering(slot, level, Self::entered(length).mul_f64(share), length)
    }

    fn slot_entering(&self, slot: u32, level: u32, enters: Duration, length: Duration) -> Slot {
        let (wait, middle) = match self.entry(slot, level, enters) {
            Entry::After(wait) => (wait, None),
            Entry::Answering(middle) => (Duration::ZERO, Some(middle)),
        };
        Slot {
            pace: *self,
            length,
            due: enters + wait,
            middle,
        }
    }

    /// From when on a measurement of this length counts.
    fn entered(length: Duration) -> Duration {
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
    fn fitting(&self, left: Duration) -> u32 {
        if self.gap.is_zero() {
            return self.n_tokens;
        }
        let gaps = left.saturating_sub(self.first_after).as_nanos() / self.gap.as_nanos();
        let fitting = u32::try_from(gaps + 1).unwrap_or(u32::MAX);
        fitting.clamp(self.least_tokens(), self.n_tokens)
    }

    /// From the end of an answer to the slot's next request.
    fn rest(&self) -> Duration {
        let busy = self.first_after + self.gap * (self.n_tokens - 1);
        self.cycle.saturating_sub(busy)
    }

    /// What slot `slot` of `level` does at `now`, when the slots have been going round in equal distances for ever.
    fn entry(&self, slot: u32, level: u32, now: Duration) -> Entry {
        let offset = self
            .cycle
            .mul_f64(f64::from(slot) / f64::from(level.max(1)));
        let at = (offset + now).as_secs_f64() % self.cycle.as_secs_f64();
        let at = Duration::try_from_secs_f64(at).unwrap_or_default();
        let left = self.cycle.saturating_sub(at);
        if at <= self.rest() + self.first_after || self.n_tokens < 2 {
            return Entry::After(self.rest().saturating_sub(at));
        }
        Entry::Answering(Middle {
            n_tokens: self.fitting(self.first_after + left),
            left,
        })
    }
}

impl Slot {
    /// When it sends next, from the beginning of the measurement on; the end of that where nothing is left to send.
    #[must_use]
    pub fn due(&self) -> Duration {
        self.due.min(self.length)
    }

    /// What it sends at `now`; `None` when the measurement is over. What is sent late does not make the others fewer.
    pub fn turn(&mut self, now: Duration) -> Option<Turn> {
        let left = self
            .length
            .checked_sub(now)
            .filter(|left| !left.is_zero())?;
        let fitting = self.pace.fitting(left);
        Some(match self.middle.take() {
            Some(middle) => {
                self.due += middle.left + self.pace.rest();
                Turn {
                    n_tokens: middle.n_tokens.min(fitting),
                    is_whole: false,
                    has_ttft: false,
                }
            }
            None => {
                self.due += self.pace.cycle;
                Turn {
                    n_tokens: fitting,
                    is_whole: true,
                    has_ttft: now >= Pace::entered(self.length),
                }
            }
        })
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
        Pace::fastest(&[window(ttft, itl, tokens)], 1000, 1).unwrap()
    }

    /// Of windows at one level with ITL of 40, 30 and 10 ms the calibration took 30, and judged the fastest by a third of
    /// its tokens.
    #[test]
    fn the_pace_is_that_of_the_fastest_window_and_of_no_mean() {
        let windows = [(2.0, 0.04), (1.0, 0.03), (0.1, 0.01)].map(|(t, i)| window(t, i, 101.0));
        let fastest = Pace::fastest(&windows, 1000, 1).unwrap();
        assert_eq!(fastest, pace(0.1, 0.01, 101.0));
        assert_eq!((fastest.gap, fastest.cycle), (MS(10), MS(1100)));
        assert_eq!(Pace::fastest(&[window(0.0, 0.0, 0.0)], 9, 1), None);
    }

    /// Requests and tokens in `length`, of all slots, that are all there from the beginning on.
    fn played(pace: Pace, level: u32, length: Duration) -> (u32, u32) {
        let (mut requests, mut tokens) = (0, 0);
        for slot in 0..level {
            let mut slot = pace.slot_entering(slot, level, Duration::ZERO, length);
            while let Some(turn) = slot.turn(slot.due()) {
                requests += u32::from(turn.is_whole);
                tokens += turn.n_tokens;
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
        assert_eq!(entry(3), Entry::Answering(Middle { n_tokens, left }));
        assert_eq!(pace.entry(3, 4, MS(700)), Entry::After(MS(780)));
    }

    /// At one stream a token each 40 ms, every answer waited for a step, and 18 of the 25 requests that were planned fitted in.
    #[test]
    fn few_streams_have_steps_of_their_own_and_many_have_time_for_the_next_one() {
        let at = |itl, level| Pace::fastest(&[window(0.2, itl, 10.0)], 10, level).unwrap();
        for level in [1, 7] {
            let alone = at(0.04, level);
            assert_eq!((alone.in_step, alone.first_after), (false, MS(20)));
        }
        let slow = at(0.04, 8);
        assert_eq!((slow.in_step, slow.first_after), (true, MS(40)));
        assert_eq!(slow.cycle, MS(560));
        let swift = at(0.01, 256);
        assert_eq!((swift.in_step, swift.first_after), (true, MS(20)));
        // One token has no steps.
        assert!(!at(0.0, 256).in_step);
    }

    /// 2 s, of which the first 0.5 s do not count.
    #[test]
    fn a_slot_goes_on_in_its_cycle_from_where_it_entered() {
        let pace = pace(1.0, 0.1, 11.0);
        let turn = |n_tokens, is_whole, has_ttft| Turn {
            n_tokens,
            is_whole,
            has_ttft,
        };
        // Of four slots the last enters after 375 ms, 125 ms before its answer is over, rests, and sends again at 1.48 s.
        let mut slot = pace.slot(3, 4, MS(2000));
        assert_eq!(slot.due(), MS(375));
        assert_eq!(slot.turn(slot.due()), Some(turn(2, false, false)));
        assert_eq!(slot.due(), MS(1480));
        // However late it is noticed; and no longer than there is time for.
        assert_eq!(slot.turn(MS(1500)), Some(turn(5, true, true)));
        assert_eq!((slot.due(), slot.turn(slot.due())), (MS(2000), None));
        // The first one rests and sends when the level is entered.
        let mut slot = pace.slot(0, 4, MS(4000));
        assert_eq!(slot.turn(MS(980)), Some(turn(11, true, false)));
        assert_eq!(slot.due(), MS(2980));
    }
}

//! The figures of the display and their wording.
//!
//! Promise: pure; time is passed in.

use std::collections::VecDeque;
use std::time::Duration;

use crate::number::{clock, fixed, rounded, thousands};

/// Live figures look this far back: short enough to follow a change of level, long enough not to flicker.
const LOOK_BACK: Duration = Duration::from_secs(5);

/// Sums since the run began; they only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) n_first_tokens: u64,
    pub(super) ttft_micros: u64,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
}

/// The counters of the last few seconds.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<(Duration, Counters)>);

/// What happened within the look-back time; `None` where nothing did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rates {
    /// Mean, seconds.
    pub(super) ttft: Option<f64>,
    /// Prompt tokens whose first output arrived, per second.
    pub(super) input_tps: Option<f64>,
    /// Output tokens per second.
    pub(super) output_tps: Option<f64>,
}

impl Recent {
    /// Adds a reading; forgets those that are no longer needed.
    pub(super) fn push(&mut self, at: Duration, counters: Counters) {
        self.0.push_back((at, counters));
        // One reading older than the look-back time is kept as the base of the difference.
        while self
            .0
            .get(1)
            .is_some_and(|(second, _)| at.saturating_sub(*second) >= LOOK_BACK)
        {
            self.0.pop_front();
        }
    }

    pub(super) fn rates(&self) -> Rates {
        let (Some((from, old)), Some((to, new))) = (self.0.front(), self.0.back()) else {
            return Rates::default();
        };
        let secs = to.saturating_sub(*from).as_secs_f64();
        if secs <= 0.0 {
            return Rates::default();
        }
        let n = new.n_first_tokens.saturating_sub(old.n_first_tokens);
        let rate = |new: u64, old: u64| Some(new.saturating_sub(old) as f64 / secs);
        Rates {
            ttft: (n > 0)
                .then(|| new.ttft_micros.saturating_sub(old.ttft_micros) as f64 / 1e6 / n as f64),
            input_tps: rate(new.input_tokens, old.input_tokens),
            output_tps: rate(new.output_tokens, old.output_tokens),
        }
    }
}

/// Everything one drawing shows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    pub(super) elapsed: Duration,
    pub(super) expected: Option<Duration>,
    pub(super) test: String,
    pub(super) phase: String,
    pub(super) concurrency: u32,
    pub(super) n_in_flight: u32,
    pub(super) rates: Rates,
    pub(super) n_finished: u64,
    pub(super) n_failed: u64,
}

impl View {
    /// Share of the expected time that is over, never above 1.
    pub(super) fn fraction(&self) -> Option<f64> {
        self.expected
            .map(|total| (self.elapsed.as_secs_f64() / total.as_secs_f64().max(1e-3)).min(1.0))
    }

    pub(super) fn upper_line(&self) -> String {
        let mut line = clock(self.elapsed);
        if let Some(total) = self.expected {
            // A run that takes longer than foreseen moves its own end; it does not run backwards.
            line += &format!(" of about {}", clock(total.max(self.elapsed)));
        }
        if !self.test.is_empty() {
            line.push_str(" | ");
            line.push_str(&self.test);
        }
        line
    }

    pub(super) fn lower_line(&self) -> String {
        // What is cut off on a narrow terminal is the end, so the phase comes first.
        let mut line = match self.phase.as_str() {
            "" => String::new(),
            phase => format!("{phase}: "),
        };
        line += &format!(
            "{} of {} in flight | TTFT {} | in {} tok/s | out {} tok/s | {} requests",
            self.n_in_flight,
            self.concurrency,
            fixed(self.rates.ttft, 3, " s"),
            rounded(self.rates.input_tps),
            rounded(self.rates.output_tps),
            thousands(self.n_finished),
        );
        if self.n_failed > 0 {
            line += &format!(", {} failed", thousands(self.n_failed));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secs(s: f64) -> Duration {
        Duration::from_secs_f64(s)
    }

    #[test]
    fn nothing_seen_is_undefined_and_not_zero() {
        let mut recent = Recent::default();
        assert_eq!(recent.rates(), Rates::default());
        recent.push(secs(1.0), Counters::default());
        assert_eq!(recent.rates(), Rates::default());
        recent.push(secs(2.0), Counters::default());
        assert_eq!(
            recent.rates(),
            Rates {
                ttft: None,
                input_tps: Some(0.0),
                output_tps: Some(0.0)
            }
        );
    }

    #[test]
    fn a_run_longer_than_expected_does_not_show_an_end_in_the_past() {
        let view = View {
            elapsed: secs(100.0),
            expected: Some(secs(60.0)),
            test: "t".into(),
            phase: String::new(),
            concurrency: 1,
            n_in_flight: 1,
            rates: Rates::default(),
            n_finished: 0,
            n_failed: 0,
        };
        assert_eq!(view.upper_line(), "1:40 of about 1:40 | t");
        assert_eq!(view.fraction(), Some(1.0));
        assert_eq!(
            view.lower_line(),
            "1 of 1 in flight | TTFT n/a | in n/a tok/s | out n/a tok/s | 0 requests"
        );
    }

    proptest! {
        /// Under a steady stream the live rate is that stream's rate, however long it has been running,
        /// and no more readings are kept than the look-back time needs.
        #[test]
        fn a_steady_stream_shows_its_own_rate(rate in 1u64..100_000, frames in 2usize..200) {
            let mut recent = Recent::default();
            for frame in 0..frames {
                let counters = Counters { output_tokens: rate * frame as u64, ..Counters::default() };
                recent.push(secs(frame as f64 * 0.25), counters);
            }
            let shown = recent.rates().output_tps.unwrap();
            prop_assert!((shown - rate as f64 * 4.0).abs() < 1e-6 * rate as f64 + 1e-9);
            prop_assert!(recent.0.len() <= 22);
        }
    }
}

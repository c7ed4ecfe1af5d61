//! What a calibration needs beside the server: a pace that stands in for another server's, and the error of what a
//! client says of answers whose times are known.

use std::time::Duration;

use metrics::health::{Calibration, ErrorBar};
use metrics::percentile::{percentile, sorted};

use super::{Answered, Script};

/// Longest wait for a first token; a client's error does not grow with it.
pub const FIRST_TOKEN: Duration = Duration::from_millis(100);
/// An answer's length that fits into the time there is.
const ANSWER: Duration = Duration::from_millis(400);

/// How answers come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From the end of the request to the first token.
    pub first_after: Duration,
    /// Between tokens.
    pub gap: Duration,
    /// Tokens of an answer.
    pub n_tokens: u32,
}

impl Pace {
    /// The pace of a server with this TTFT and ITL, seconds, in answers short enough that many fit into a second, and of
    /// at most `most_tokens`. Without an ITL answers are of one token.
    #[must_use]
    pub fn like(ttft: Option<f64>, itl: Option<f64>, most_tokens: u32) -> Self {
        let duration = |seconds: Option<f64>| {
            Duration::try_from_secs_f64(seconds.unwrap_or_default()).unwrap_or_default()
        };
        let gap = duration(itl);
        let n_tokens = if gap.is_zero() {
            1
        } else {
            let fitting = (ANSWER.as_secs_f64() / gap.as_secs_f64()).ceil();
            (fitting as u32).max(2).min(most_tokens)
        };
        Self {
            first_after: duration(ttft).min(FIRST_TOKEN),
            // A pace that nothing can keep would only measure how fast this machine is.
            gap: gap.min(ANSWER),
            n_tokens,
        }
    }

    /// The script of a server that keeps this pace, every token in a write of its own.
    #[must_use]
    pub fn script(self) -> Script {
        Script {
            first_after: self.first_after,
            gap: self.gap,
            tokens_per_write: 1,
            stamp_all: false,
        }
    }
}

/// What a client says of an answer: instants of its own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The request was handed over.
    pub launched: Duration,
    /// First and last token, as far as they came.
    pub tokens: Option<(Duration, Duration)>,
    /// Tokens of the answer that have stamps of their own.
    pub n_tokens: usize,
}

/// By how much a client was off, request by request, seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Errors {
    ttft: Vec<f64>,
    itl: Vec<f64>,
}

impl Errors {
    /// Adds what the client says of an answer less what the server knows of it.
    pub fn add(&mut self, answered: &Answered, seen: Seen) {
        let Some((first, last)) = seen.tokens else {
            return;
        };
        if let Some(real) = answered.ttft() {
            let ttft = first.saturating_sub(seen.launched);
            self.ttft.push(ttft.abs_diff(real).as_secs_f64());
        }
        if let [wrote_first, .., wrote_last] = answered.writes[..]
            && seen.n_tokens > 1
        {
            let off = last
                .saturating_sub(first)
                .abs_diff(wrote_last - wrote_first);
            self.itl
                .push(off.as_secs_f64() / (seen.n_tokens - 1) as f64);
        }
    }

    /// Its percentiles, with prompts like those of this context and at this level; `None` without any answer.
    #[must_use]
    pub fn calibration(self, context_size: u64, level: u32) -> Option<Calibration> {
        let bar = |values: Vec<f64>| {
            let values = sorted(values);
            Some(ErrorBar {
                p50: percentile(&values, 0.5)?,
                p99: percentile(&values, 0.99)?,
            })
        };
        let n_requests = self.ttft.len() as u64;
        Some(Calibration {
            context_size,
            level,
            ttft: bar(self.ttft)?,
            itl: bar(self.itl),
            n_requests,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_slow_server_is_stood_in_for_by_short_answers_at_its_pace() {
        let slow = Pace::like(Some(3.0), Some(0.02), 256);
        let as_is = Pace {
            first_after: FIRST_TOKEN,
            gap: ms(20),
            n_tokens: 20,
        };
        assert_eq!(slow, as_is);
        assert_eq!(Pace::like(Some(0.05), None, 256).n_tokens, 1);
        assert_eq!(Pace::like(Some(0.05), Some(0.001), 16).n_tokens, 16);
        assert_eq!(Pace::like(None, Some(9.0), 16).gap, ANSWER);
        assert_eq!(Pace::like(Some(f64::NAN), Some(-1.0), 16).n_tokens, 1);
    }

    #[test]
    fn an_error_is_what_the_client_says_less_what_the_server_knows() {
        let received = Instant::now();
        let answered = Answered {
            request_id: String::new(),
            received,
            writes: vec![received + ms(50), received + ms(90)],
            n_tokens: 5,
        };
        let mut errors = Errors::default();
        errors.add(
            &answered,
            Seen {
                launched: ms(10),
                tokens: Some((ms(63), ms(107))),
                n_tokens: 5,
            },
        );
        let silent = Seen {
            launched: ms(10),
            tokens: None,
            n_tokens: 0,
        };
        errors.add(&answered, silent);
        let calibration = errors.calibration(1000, 4).unwrap();
        assert_eq!((calibration.n_requests, calibration.level), (1, 4));
        assert!((calibration.ttft.p50 - 0.003).abs() < 1e-9);
        assert!((calibration.itl.unwrap().p99 - 0.001).abs() < 1e-9);
        assert_eq!(Errors::default().calibration(1000, 4), None);
    }
}

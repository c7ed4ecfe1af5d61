//! What a calibration needs beside the server: the error of what a client says of answers whose times are known.

use std::time::Duration;

use metrics::health::pace::{LEAST_FOR_TAIL, Pace};
use metrics::health::{Calibration, ErrorBar};
use metrics::percentile::{percentile, sorted};

use super::{Answered, Script};

impl Script {
    /// Every token in a write of its own, at this pace.
    #[must_use]
    pub fn of(pace: &Pace) -> Self {
        Self {
            first_after: pace.first_after,
            gap: pace.gap,
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
    /// Whether its time to the first token counts: not of an answer that begins in the middle, and not while the level is
    /// being entered.
    pub has_ttft: bool,
}

/// By how much a client was off, request by request, seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Errors {
    /// What the ends of an answer are off is shared by so many gaps between tokens.
    gaps: f64,
    ttft: Vec<f64>,
    itl: Vec<f64>,
}

impl Errors {
    /// None so far, of a client whose measured answers had so many tokens.
    #[must_use]
    pub fn new(study_tokens: f64) -> Self {
        Self {
            gaps: (study_tokens - 1.0).max(1.0),
            ttft: Vec::new(),
            itl: Vec::new(),
        }
    }

    /// Adds what the client says of an answer less what the server knows of it.
    pub fn add(&mut self, answered: &Answered, seen: Seen) {
        let Some((first, last)) = seen.tokens else {
            return;
        };
        if let Some(real) = answered.ttft().filter(|_| seen.has_ttft) {
            let ttft = first.saturating_sub(seen.launched);
            self.ttft.push(ttft.abs_diff(real).as_secs_f64());
        }
        if let [wrote_first, .., wrote_last] = answered.writes[..]
            && seen.n_tokens > 1
        {
            let off = last
                .saturating_sub(first)
                .abs_diff(wrote_last - wrote_first);
            self.itl.push(off.as_secs_f64() / self.gaps);
        }
    }

    /// Its percentiles, with prompts like those of this context and at this level; `None` without any answer.
    #[must_use]
    pub fn calibration(self, context_size: u64, level: u32) -> Option<Calibration> {
        let bar = |values: Vec<f64>| {
            let is_enough = values.len() as u64 >= LEAST_FOR_TAIL;
            let values = sorted(values);
            Some(ErrorBar {
                p50: percentile(&values, 0.5)?,
                p99: percentile(&values, 0.99).filter(|_| is_enough),
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
    fn an_error_is_what_the_client_says_less_what_the_server_knows() {
        let received = Instant::now();
        let answered = Answered {
            request_id: String::new(),
            received,
            writes: vec![received + ms(50), received + ms(90)],
            n_tokens: 5,
        };
        let mut errors = Errors::new(5.0);
        errors.add(
            &answered,
            Seen {
                launched: ms(10),
                tokens: Some((ms(63), ms(107))),
                n_tokens: 5,
                has_ttft: true,
            },
        );
        let silent = Seen {
            launched: ms(10),
            tokens: None,
            n_tokens: 0,
            has_ttft: true,
        };
        errors.add(&answered, silent);
        let calibration = errors.calibration(1000, 4).unwrap();
        assert_eq!((calibration.n_requests, calibration.level), (1, 4));
        assert!((calibration.ttft.p50 - 0.003).abs() < 1e-9);
        assert!((calibration.itl.unwrap().p50 - 0.001).abs() < 1e-9);
        // One request tells nothing of a 99th percentile.
        assert_eq!(calibration.ttft.p99, None);
        assert_eq!(Errors::new(5.0).calibration(1000, 4), None);
    }
}

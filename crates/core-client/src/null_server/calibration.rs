//! What a calibration needs beside the server: slots that hold a level, and the error of what a client says of answers whose
//! times are known.
//!
//! Promise: a level of which too many slots ended early has no error, whoever the client is: it was not held.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use metrics::health::pace::{LEAST_FOR_TAIL, Pace, Turn};
use metrics::health::{Calibration, ErrorBar, Missing};
use metrics::percentile::{percentile, sorted};

use super::{Answered, Script, id_with_tokens};
use crate::HttpVersion;

/// More slots that end in a failure than this share leave a level that was not held.
const MOST_FAILED: f64 = 0.05;
/// Descriptors of a process beside those of its connections: files, standard streams, runtimes.
pub const SPARE_DESCRIPTORS: u64 = 64;

impl Script {
    /// Every token in a write of its own, at this pace, and many streams in step: what an engine writes at one instant a client
    /// reads one after the other, which streams with gaps of their own would not show.
    #[must_use]
    pub fn of(pace: &Pace) -> Self {
        Self {
            first_after: pace.first_after,
            gap: pace.gap,
            tokens_per_write: 1,
            stamp_all: false,
            in_step: pace.in_step,
        }
    }
}

/// How many files this process may open at once.
#[must_use]
pub fn most_files() -> u64 {
    // Where there is no limit, the first file that cannot be opened says so.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.unwrap_or(u64::MAX)
}

/// Whether a process that may open `limit` files has room for both ends of all connections of a level.
///
/// # Errors
/// [`Missing::Descriptors`] when it has not.
pub fn has_room(level: u32, limit: u64) -> Result<(), Missing> {
    let needed = descriptors(level);
    match needed <= limit {
        true => Ok(()),
        false => Err(Missing::Descriptors { needed, limit }),
    }
}

/// Descriptors of a process in which client and server hold a level.
#[must_use]
pub fn descriptors(level: u32) -> u64 {
    2 * u64::from(level) + SPARE_DESCRIPTORS
}

/// What of a way to talk costs a client something and is not in its calibrated error, which is that over plain HTTP/1.1.
#[must_use]
pub fn left_out(has_tls: bool, http: HttpVersion) -> Vec<&'static str> {
    let http_2 = match http {
        HttpVersion::Http1 => None,
        HttpVersion::Http2 => Some("HTTP/2"),
        HttpVersion::Auto => has_tls.then_some("perhaps HTTP/2"),
    };
    has_tls.then_some("TLS").into_iter().chain(http_2).collect()
}

/// The same for people; `None` where nothing is left out.
#[must_use]
pub fn left_out_line(left_out: &[&str]) -> Option<String> {
    (!left_out.is_empty()).then(|| {
        format!(
            "the client's error is that over plain http/1.1: what {} cost it is not in it",
            left_out.join(" and ")
        )
    })
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

/// A request that ended well.
#[derive(Debug)]
struct Ended {
    request_id: String,
    seen: Seen,
    /// Whether its time to the first token counts.
    has_ttft: bool,
}

/// What came of a level that was held.
#[derive(Debug, Default)]
pub struct Held {
    /// What ended well and could be read.
    ended: Vec<Ended>,
    /// Why slots ended early, one line of each.
    failed: Vec<String>,
}

/// Holds `level` at this pace for `length`: every slot sends with `send`, which is given the request's id and the turn. A slot
/// whose request fails (`Err`, in one line) is not used again; an answer that says nothing of times is `None`.
pub async fn hold<F>(
    level: u32,
    pace: Pace,
    length: Duration,
    send: impl Fn(String, Turn) -> F,
) -> Held
where
    F: Future<Output = Result<Option<Seen>, String>>,
{
    let start = tokio::time::Instant::now();
    let send = &send;
    let slots = (0..level).map(|slot| go_round(slot, pace.slot(slot, level, length), start, send));
    let mut slots: FuturesUnordered<_> = slots.collect();
    let mut held = Held::default();
    while let Some((ended, failed)) = slots.next().await {
        held.ended.extend(ended);
        held.failed.extend(failed);
    }
    held
}

/// One slot, from somewhere in its cycle on.
async fn go_round<F>(
    slot: u32,
    mut turns: metrics::health::pace::Slot,
    start: tokio::time::Instant,
    send: &impl Fn(String, Turn) -> F,
) -> (Vec<Ended>, Option<String>)
where
    F: Future<Output = Result<Option<Seen>, String>>,
{
    let mut ended = Vec::new();
    let mut n_sent = 0_u64;
    loop {
        tokio::time::sleep_until(start + turns.due()).await;
        let Some(turn) = turns.turn(start.elapsed()) else {
            return (ended, None);
        };
        let request_id = format!("CALIBRATION_{slot}_{n_sent}");
        let request_id = id_with_tokens(&request_id, turn.n_tokens);
        n_sent += 1;
        match send(request_id.clone(), turn).await {
            Ok(seen) => ended.extend(seen.map(|seen| Ended {
                request_id,
                seen,
                has_ttft: turn.has_ttft,
            })),
            // The next one would fare no better.
            Err(failure) => return (ended, Some(failure)),
        }
    }
}

impl Held {
    /// The error at this level, with prompts like those of this context, by what the server knows.
    ///
    /// # Errors
    /// When the level was not held, or nothing came of it.
    pub fn outcome(
        self,
        truth: Vec<Answered>,
        pace: &Pace,
        context_size: u64,
        level: u32,
    ) -> Result<Calibration, Missing> {
        if self.failed.len() as f64 > MOST_FAILED * f64::from(level) {
            let n = self.failed.len();
            let first = self.failed.into_iter().next().unwrap_or_default();
            return Err(Missing::Failed { n, level, first });
        }
        let truth: HashMap<&str, &Answered> = truth
            .iter()
            .map(|answered| (answered.request_id.as_str(), answered))
            .collect();
        let mut errors = Errors::new(pace.study_tokens);
        for ended in &self.ended {
            if let Some(answered) = truth.get(ended.request_id.as_str()) {
                errors.add(answered, ended.seen, ended.has_ttft);
            }
        }
        errors
            .calibration(context_size, level)
            .ok_or(Missing::Unanswered)
    }
}

/// By how much a client was off, request by request, seconds.
#[derive(Debug, Clone, PartialEq)]
struct Errors {
    /// What the ends of an answer are off is shared by so many gaps between tokens.
    gaps: f64,
    ttft: Vec<f64>,
    itl: Vec<f64>,
}

impl Errors {
    /// None so far, of a client whose measured answers had so many tokens.
    fn new(study_tokens: f64) -> Self {
        Self {
            gaps: (study_tokens - 1.0).max(1.0),
            ttft: Vec::new(),
            itl: Vec::new(),
        }
    }

    /// Adds what the client says of an answer less what the server knows of it; of its time to the first token only where
    /// that counts.
    fn add(&mut self, answered: &Answered, seen: Seen, has_ttft: bool) {
        let Some((first, last)) = seen.tokens else {
            return;
        };
        if let Some(real) = answered.ttft().filter(|_| has_ttft) {
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
    fn calibration(self, context_size: u64, level: u32) -> Option<Calibration> {
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
    use std::cell::{Cell, RefCell};
    use std::time::Instant;

    use metrics::health::{Typical, WindowHealth};

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
            },
            true,
        );
        let silent = Seen {
            launched: ms(10),
            tokens: None,
            n_tokens: 0,
        };
        errors.add(&answered, silent, true);
        let calibration = errors.calibration(1000, 4).unwrap();
        assert_eq!((calibration.n_requests, calibration.level), (1, 4));
        assert!((calibration.ttft.p50 - 0.003).abs() < 1e-9);
        assert!((calibration.itl.unwrap().p50 - 0.001).abs() < 1e-9);
        // One request tells nothing of a 99th percentile.
        assert_eq!(calibration.ttft.p99, None);
        assert_eq!(Errors::new(5.0).calibration(1000, 4), None);
    }

    /// At 10,000 in flight with 16,000 descriptors about half of the slots were left, and their error was that of 10,000.
    #[tokio::test(start_paused = true)]
    async fn a_level_of_which_many_slots_fail_is_not_calibrated() {
        let window = WindowHealth {
            ttft: Typical {
                median: Some(0.1),
                p95: None,
            },
            ..WindowHealth::default()
        };
        let pace = Pace::fastest([&window], 1, 40).unwrap();
        let received = Instant::now();
        for (n_failing, is_held) in [(2, true), (3, false)] {
            let (n_sent, truth) = (Cell::new(0), RefCell::new(Vec::new()));
            let send = |request_id: String, _: Turn| {
                n_sent.set(n_sent.get() + 1);
                let fails = n_sent.get() <= n_failing;
                truth.borrow_mut().push(Answered {
                    request_id,
                    received,
                    writes: vec![received + ms(50)],
                    n_tokens: 1,
                });
                async move {
                    tokio::time::sleep(ms(50)).await;
                    match fails {
                        true => Err("connect: too many open files".to_owned()),
                        false => Ok(Some(Seen {
                            launched: Duration::ZERO,
                            tokens: Some((ms(51), ms(51))),
                            n_tokens: 1,
                        })),
                    }
                }
            };
            let held = hold(40, pace, Duration::from_secs(1), send).await;
            let outcome = held.outcome(truth.into_inner(), &pace, 1000, 40);
            match is_held {
                true => assert!((outcome.unwrap().ttft.p50 - 0.001).abs() < 1e-9),
                false => assert_eq!(
                    outcome,
                    Err(Missing::Failed {
                        n: 3,
                        level: 40,
                        first: "connect: too many open files".to_owned()
                    })
                ),
            }
        }
        let nothing = Held::default().outcome(Vec::new(), &pace, 1000, 40);
        assert_eq!(nothing, Err(Missing::Unanswered));
    }

    #[test]
    fn client_and_server_are_one_process_with_two_ends_of_every_connection() {
        assert_eq!(has_room(1000, 2064), Ok(()));
        let (needed, limit) = (2064, 2063);
        assert_eq!(
            has_room(1000, 2063),
            Err(Missing::Descriptors { needed, limit })
        );
    }

    #[test]
    fn what_the_calibration_leaves_out_is_known() {
        assert!(left_out(false, HttpVersion::Auto).is_empty());
        assert!(left_out(false, HttpVersion::Http1).is_empty());
        assert_eq!(left_out(false, HttpVersion::Http2), ["HTTP/2"]);
        assert_eq!(left_out(true, HttpVersion::Http1), ["TLS"]);
        assert_eq!(left_out(true, HttpVersion::Auto), ["TLS", "perhaps HTTP/2"]);
        let all = left_out(true, HttpVersion::Http2);
        assert_eq!(
            left_out_line(&all).as_deref(),
            Some(
                "the client's error is that over plain http/1.1: what TLS and HTTP/2 cost it is not in it"
            )
        );
        assert_eq!(left_out_line(&[]), None);
    }
}

//! The client's own error, measured after a study on a server whose times are known.
//!
//! A null server in this process answers at the pace at which the study's server did, at the concurrencies that were
//! measured; requests go through runtimes set up exactly as those of the study. What the client says of a request
//! less what the server says of it is the client's error. The server has a core of its own only where there is one to
//! spare; where not, the error comes out larger than it was, never smaller.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use core_client::null_server::{Answered, Errors, NullServer, Script, Seen, id_with_tokens};
use core_client::{
    Endpoint, EndpointError, HttpVersion, RequestSettings, RequestTemplate, TemplateError,
};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use metrics::health::pace::Pace;
use metrics::health::{Calibration, WindowHealth, ratio_distance};
use metrics::timeline::Exchange;
use tokio_util::sync::CancellationToken;
use workload::{Prompt, TokenSplit};

use crate::runtimes::{self, Carriage, CarriageError};
use crate::stop::Stop;
use crate::transport::{Kind, Outgoing, Transport};

/// Levels at which the error is measured, at most.
const MOST_LEVELS: usize = 4;
/// … of each length of prompts, where there are two.
const MOST_LEVELS_OF_TWO: usize = 3;
/// Time for all of them.
const MOST_TIME: Duration = Duration::from_secs(6);
/// Time for each at least, as long as there is enough for all.
const LEAST_TIME: Duration = Duration::from_secs(1);
/// Time for all of them as a share of what was measured, within these.
const SHARE_OF_STUDY: f64 = 0.05;
/// More slots that end in a failure than this share leave a level that was not held.
const MOST_FAILED: f64 = 0.05;
/// Limit of a request; the null server is late by milliseconds.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Why there is no calibration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// No server.
    #[error("the server of the calibration does not start")]
    Server(#[source] io::Error),
    /// No client.
    #[error("the client of the calibration does not start")]
    Client(#[source] CarriageError),
    /// The server's address is none.
    #[error("the server of the calibration cannot be addressed")]
    Address(#[source] EndpointError),
    /// No request.
    #[error("the requests of the calibration cannot be written")]
    Template(#[source] TemplateError),
}

/// A level and the pace at which it is held.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cell {
    /// Of the context with prompts of this length, tokens.
    context_size: u64,
    level: u32,
    pace: Pace,
}

/// Measures the client's error for the levels of `windows`, with prompts of as many bytes as `prompt_bytes` says for a
/// context size: those of the shortest and of the longest context.
///
/// # Errors
/// When server or client cannot be had. A stop ends it early, with the levels that were done.
pub async fn calibrate(
    carriage: &Carriage,
    n_runtimes: usize,
    windows: &[WindowHealth],
    prompt_bytes: impl Fn(u64) -> usize,
    stop: &Stop,
) -> Result<Vec<Calibration>, CalibrationError> {
    let most_tokens = u32::try_from(carriage.measured.settings().output_tokens).unwrap_or(u32::MAX);
    let cells = cells(windows, most_tokens.max(1));
    let measured: f64 = windows.iter().map(|w| w.length).sum();
    let time = Duration::try_from_secs_f64(measured * SHARE_OF_STUDY).unwrap_or(MOST_TIME);
    let mut calibrations = Vec::with_capacity(cells.len());
    for (cell, length) in cells.iter().zip(lengths(&cells, time)) {
        let prompt = Bytes::from(vec![b'a'; prompt_bytes(cell.context_size)]);
        let cell = Cell {
            pace: cell.pace.quickened(cell.level, length),
            ..*cell
        };
        let measured = tokio::select! {
            biased;
            () = stop.wait() => break,
            measured = run(cell, carriage, n_runtimes, &prompt, length) => measured?,
        };
        calibrations.extend(measured);
    }
    Ok(calibrations)
}

/// How long each is measured when there is `time` for all: as long as a 99th percentile needs, where that is longer, and all
/// of them together no longer than there may be.
fn lengths(cells: &[Cell], time: Duration) -> Vec<Duration> {
    let n = cells.len().max(1) as u32;
    let wanted = |cell: &Cell| {
        let needed = cell.pace.needs(cell.level);
        (time / n).max(LEAST_TIME).max(needed)
    };
    let mut lengths: Vec<Duration> = cells.iter().map(wanted).collect();
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|i| lengths[*i]);
    let (mut left, mut n_left) = (MOST_TIME, n);
    for i in order {
        // Who wants little leaves more for the others.
        lengths[i] = lengths[i].min(left / n_left.max(1));
        left = left.saturating_sub(lengths[i]);
        n_left = n_left.saturating_sub(1);
    }
    lengths
}

/// The shortest and the longest context, tokens; one where they are the same.
fn end_contexts(windows: &[WindowHealth]) -> Vec<u64> {
    let sizes = || windows.iter().map(|w| w.context_size);
    let mut ends: Vec<u64> = sizes().min().into_iter().chain(sizes().max()).collect();
    ends.dedup();
    ends
}

/// What to measure: for each of the contexts measured with, the levels of the windows that will be judged by it.
fn cells(windows: &[WindowHealth], most_tokens: u32) -> Vec<Cell> {
    let ends = end_contexts(windows);
    let most_levels = match ends.len() {
        0 | 1 => MOST_LEVELS,
        _ => MOST_LEVELS_OF_TWO,
    };
    let nearest = |window: &WindowHealth| {
        let distance = |end: &&u64| ratio_distance(**end, window.context_size);
        let nearest = ends
            .iter()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)));
        nearest.copied()
    };
    let of_context = |context_size: &u64| {
        let judged = windows.iter().filter(|w| nearest(w) == Some(*context_size));
        let judged: Vec<&WindowHealth> = judged.collect();
        let levels = levels(judged.iter().map(|w| w.level), most_levels);
        let cells = levels.iter().filter_map(|level| {
            let by_it = judged
                .iter()
                .filter(|w| nearest_of(&levels, w.level) == Some(*level));
            Some(Cell {
                context_size: *context_size,
                level: *level,
                pace: Pace::fastest(by_it.copied(), most_tokens)?,
            })
        });
        cells.collect::<Vec<_>>()
    };
    ends.iter().flat_map(of_context).collect()
}

/// Of many levels the lowest, the highest, and some between, evenly by ratio.
fn levels(all: impl Iterator<Item = u32>, most: usize) -> Vec<u32> {
    let mut levels: Vec<u32> = all.filter(|l| *l > 0).collect();
    levels.sort_unstable();
    levels.dedup();
    if levels.len() > most {
        let (first, last) = (levels[0], levels[levels.len() - 1]);
        let ratio = f64::from(last) / f64::from(first);
        let wanted = (0..most).map(|i| {
            let at = f64::from(first) * ratio.powf(i as f64 / (most - 1) as f64);
            let distance = |l: &&u32| (f64::from(**l) / at).ln().abs();
            levels
                .iter()
                .min_by(|a, b| distance(a).total_cmp(&distance(b)))
                .copied()
                .unwrap_or(first)
        });
        levels = wanted.collect();
        levels.dedup();
    }
    levels
}

/// The level that one is judged by.
fn nearest_of(levels: &[u32], level: u32) -> Option<u32> {
    let distance = |l: &u32| ratio_distance(u64::from(*l), u64::from(level));
    let nearest = levels
        .iter()
        .min_by(|a, b| distance(a).total_cmp(&distance(b)));
    nearest.copied()
}

/// `None` when no request got through.
async fn run(
    cell: Cell,
    study: &Carriage,
    n_runtimes: usize,
    prompt: &Bytes,
    length: Duration,
) -> Result<Option<Calibration>, CalibrationError> {
    let server =
        NullServer::start(Script::of(&cell.pace), || {}).map_err(CalibrationError::Server)?;
    let carriage = carriage(&server, study, cell.pace.n_tokens)?;
    let transport = runtimes::start(&carriage, n_runtimes).map_err(CalibrationError::Client)?;
    let held = hold(&*transport, cell, prompt, length).await;
    drop(transport);
    // Joins the server's thread, which ends within one round of its loop.
    let truth: HashMap<String, Answered> = server
        .stop()
        .into_iter()
        .map(|answered| (answered.request_id.clone(), answered))
        .collect();
    if !held.is_as_planned(cell.level) {
        tracing::warn!(
            "at concurrency {} {} requests of the calibration failed ({}), so the client's error there is not known",
            cell.level,
            held.failed.len(),
            held.failed[0]
        );
        return Ok(None);
    }
    Ok(calibration(cell, &held.ended, &truth))
}

/// The study's way to talk, to the null server, without what belongs to the study's server alone.
fn carriage(
    server: &NullServer,
    study: &Carriage,
    n_tokens: u32,
) -> Result<Carriage, CalibrationError> {
    let url = format!("http://{}", server.address());
    let mut config = study.config.clone();
    config.api_key = None;
    config.headers = Vec::new();
    config.http = HttpVersion::Http1;
    config.request_timeout = REQUEST_LIMIT;
    let template = RequestTemplate::new(RequestSettings {
        model: "null".to_owned(),
        output_tokens: u64::from(n_tokens),
        ignore_eos: false,
        extra_body: None,
        endpoint_type: study.config.endpoint_type,
    })
    .map_err(CalibrationError::Template)?;
    Ok(Carriage {
        endpoints: vec![Endpoint::parse(&url).map_err(CalibrationError::Address)?],
        config,
        clock: study.clock,
        warm_up: template.warmup(),
        measured: template,
    })
}

/// A request that ended well.
#[derive(Debug)]
struct Ended {
    request_id: String,
    exchange: Exchange,
    /// Whether its time to the first token counts.
    has_ttft: bool,
}

/// What came of a level that was held.
#[derive(Debug, Default)]
struct Held {
    /// What ended well.
    ended: Vec<Ended>,
    /// Why slots ended early, one line of each.
    failed: Vec<String>,
}

impl Held {
    /// Enough slots lasted to the end.
    fn is_as_planned(&self, level: u32) -> bool {
        self.failed.len() as f64 <= MOST_FAILED * f64::from(level)
    }
}

/// Holds the level for `length`.
async fn hold(transport: &dyn Transport, cell: Cell, prompt: &Bytes, length: Duration) -> Held {
    transport.prepare(&[cell.level as usize]).await;
    let start = tokio::time::Instant::now();
    let slots = (0..cell.level).map(|slot| go_round(transport, cell, slot, prompt, start, length));
    let mut slots: FuturesUnordered<_> = slots.collect();
    let mut held = Held::default();
    while let Some((ended, failed)) = slots.next().await {
        held.ended.extend(ended);
        held.failed.extend(failed);
    }
    held
}

/// One slot, from somewhere in its cycle on.
async fn go_round(
    transport: &dyn Transport,
    Cell { level, pace, .. }: Cell,
    slot: u32,
    prompt: &Bytes,
    start: tokio::time::Instant,
    length: Duration,
) -> (Vec<Ended>, Option<String>) {
    let mut turns = pace.slot(slot, level, length);
    let mut ended = Vec::new();
    loop {
        tokio::time::sleep_until(start + turns.due()).await;
        let Some(turn) = turns.turn(start.elapsed()) else {
            return (ended, None);
        };
        let prompt = match turn.is_whole {
            true => prompt.clone(),
            false => Bytes::new(),
        };
        let request_id = format!("CALIBRATION_{slot}_{}", ended.len());
        let request_id = id_with_tokens(&request_id, turn.n_tokens);
        let exchange = transport.send(outgoing(&prompt, request_id.clone())).await;
        if let Some(failure) = &exchange.failure {
            // The next one would fare no better.
            let line = format!("{}: {}", failure.kind, failure.message);
            return (ended, Some(line));
        }
        ended.push(Ended {
            request_id,
            exchange,
            has_ttft: turn.has_ttft,
        });
    }
}

fn outgoing(prompt: &Bytes, request_id: String) -> Outgoing {
    Outgoing {
        endpoint: 0,
        kind: Kind::Measured,
        prompt: Prompt {
            parts: vec![prompt.clone()],
            split: TokenSplit {
                cached: 0,
                unique: 0,
            },
            question_tokens: 0,
            index: None,
        },
        request_id,
        intended: Duration::ZERO,
        cancel: CancellationToken::new(),
        watch: None,
    }
}

fn calibration(
    cell: Cell,
    ended: &[Ended],
    truth: &HashMap<String, Answered>,
) -> Option<Calibration> {
    let mut errors = Errors::new(cell.pace.study_tokens);
    for request in ended {
        let Some(answered) = truth.get(&request.request_id) else {
            continue;
        };
        let timeline = &request.exchange.timeline;
        errors.add(
            answered,
            Seen {
                launched: timeline.launched,
                tokens: timeline.first_token_at().zip(timeline.last_token_at()),
                n_tokens: timeline.chunks.len(),
                has_ttft: request.has_ttft,
            },
        );
    }
    errors.calibration(cell.context_size, cell.level)
}

#[cfg(test)]
mod tests {
    use metrics::health::Typical;
    use metrics::timeline::{Failure, FailureKind, Timeline, Usage};

    use super::*;

    fn window(level: u32, ttft: f64, itl: f64) -> WindowHealth {
        let typical = |median| Typical {
            median: Some(median),
            p95: Some(median),
        };
        WindowHealth {
            context_size: 1000,
            level,
            ttft: typical(ttft),
            itl: typical(itl),
            ..WindowHealth::default()
        }
    }

    #[test]
    fn few_levels_are_all_measured_at_their_own_pace() {
        let cells = cells(
            &[
                window(8, 0.05, 0.02),
                window(2, 3.0, 0.0),
                window(8, 0.05, 0.01),
            ],
            256,
        );
        let paces: Vec<(u32, Pace)> = cells.iter().map(|c| (c.level, c.pace)).collect();
        let of = |window| Pace::fastest(&[window], 256).unwrap();
        assert_eq!(
            paces,
            [(2, of(window(2, 3.0, 0.0))), (8, of(window(8, 0.05, 0.01)))]
        );
    }

    #[test]
    fn a_level_is_measured_at_the_fastest_pace_of_all_that_it_judges() {
        let windows: Vec<WindowHealth> = (1..=1000)
            .map(|l| window(l, 0.1, if l == 300 { 0.001 } else { 0.01 }))
            .collect();
        let gaps: Vec<_> = super::cells(&windows, 256)
            .iter()
            .map(|c| (c.level, c.pace.gap.as_millis()))
            .collect();
        assert_eq!(gaps, [(1, 10), (10, 10), (100, 1), (1000, 10)]);
    }

    /// A short study gave each of its levels a quarter of a second, and to a percentile one request.
    #[test]
    fn every_level_has_the_time_that_a_percentile_needs_as_long_as_there_is_any() {
        let of = |windows: &[WindowHealth], time| {
            let lengths = super::lengths(&super::cells(windows, 256), time);
            let ms: Vec<u128> = lengths.iter().map(Duration::as_millis).collect();
            ms
        };
        let s = Duration::from_secs;
        let swift = [1, 2, 4, 8].map(|l| window(l, 0.1, 0.005));
        assert_eq!(of(&swift, s(1)), [1000; 4]);
        assert_eq!(of(&swift, s(6)), [1500; 4]);
        assert_eq!(of(&swift, s(600)), [1500; 4]);
        assert_eq!(of(&swift[..1], s(0)), [1000]);
        // 25 requests of 120 ms, one after the other.
        let slow = [window(1, 1.0, 0.1), window(64, 1.0, 0.1)];
        assert_eq!(of(&slow, s(1)), [4000, 1000]);
        let slow = [1, 2, 3, 4].map(|l| window(l, 1.0, 0.3));
        assert_eq!(of(&slow, s(1)).iter().sum::<u128>(), 6000);
        assert!(of(&[], s(1)).is_empty());
    }

    #[test]
    fn of_many_levels_the_ends_and_some_between_are_measured() {
        let windows: Vec<WindowHealth> = (1..=1000).map(|l| window(l, 0.1, 0.01)).collect();
        let levels: Vec<u32> = cells(&windows, 256).iter().map(|c| c.level).collect();
        assert_eq!(levels, [1, 10, 100, 1000]);
        assert!(super::cells(&[], 256).is_empty());
    }

    #[test]
    fn the_shortest_and_the_longest_prompts_are_measured_at_the_levels_of_what_they_judge() {
        let of = |context_size, level| WindowHealth {
            context_size,
            ..window(level, 0.1, 0.01)
        };
        let windows = [
            of(1_000, 64),
            of(1_000, 256),
            of(8_000, 32),
            of(30_000, 16),
            of(100_000, 2),
        ];
        let cells: Vec<(u64, u32)> = cells(&windows, 256)
            .iter()
            .map(|c| (c.context_size, c.level))
            .collect();
        assert_eq!(
            cells,
            [
                (1_000, 32),
                (1_000, 64),
                (1_000, 256),
                (100_000, 2),
                (100_000, 16)
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_level_of_which_many_slots_fail_is_not_calibrated() {
        /// Fails the first `n` requests.
        struct Failing(std::cell::Cell<usize>);
        impl Transport for Failing {
            fn endpoints(&self) -> &[String] {
                &[]
            }
            fn prepare<'a>(
                &'a self,
                _: &'a [usize],
            ) -> futures_util::future::LocalBoxFuture<'a, ()> {
                Box::pin(std::future::ready(()))
            }
            fn send(&self, _: Outgoing) -> futures_util::future::LocalBoxFuture<'static, Exchange> {
                let left = self.0.get();
                self.0.set(left.saturating_sub(1));
                Box::pin(async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    let failure = (left > 0).then(|| Failure {
                        kind: FailureKind::Connect,
                        status: None,
                        message: "too many open files".to_owned(),
                    });
                    Exchange {
                        timeline: Timeline::default(),
                        usage: Usage::default(),
                        text: String::new(),
                        failure,
                    }
                })
            }
        }
        let cell = cells(&[window(40, 0.1, 0.01)], 256)[0];
        for (n_failing, as_planned) in [(2, true), (3, false)] {
            let transport = Failing(std::cell::Cell::new(n_failing));
            let held = hold(&transport, cell, &Bytes::new(), Duration::from_secs(1)).await;
            assert_eq!(held.failed.len(), n_failing);
            assert_eq!(held.is_as_planned(cell.level), as_planned);
        }
    }
}

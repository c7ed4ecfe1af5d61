//! The client's own error, measured after a study on a server whose times are known.
//!
//! A null server in this process answers at the pace at which the study's server did, at the concurrencies that were
//! measured; requests go through runtimes set up exactly as those of the study. What the client says of a request
//! less what the server says of it is the client's error. The server writes to many streams in step, as an engine does that
//! decodes a batch, and has a core of its own only where there is one to spare: for a server whose streams keep gaps of their
//! own, and where cores are few, the error comes out larger than it was. What is not in it: TLS and HTTP/2, requests that are
//! sent at one instant, and what ran beside the study, the building of prompts and the writing of rows.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use core_client::null_server::calibration::{Seen, has_room, hold};
use core_client::null_server::{NullServer, Script};
use core_client::{
    Endpoint, EndpointError, HttpVersion, RequestSettings, RequestTemplate, TemplateError,
};
use metrics::health::pace::Pace;
use metrics::health::{Calibration, Missing, Planned, WindowHealth, ratio_distance};
use metrics::timeline::Exchange;
use tokio_util::sync::CancellationToken;
use workload::{Prompt, TokenSplit};

use crate::files::one_line;
use crate::runtimes::{self, Carriage, CarriageError};
use crate::stop::Stop;
use crate::transport::{Kind, Outgoing};

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
/// Limit of a request; the null server is late by milliseconds.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Why a level cannot be measured.
#[derive(Debug, thiserror::Error)]
enum CalibrationError {
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
/// context size: those of the shortest and of the longest context. `most_files` is the limit on open files. Every level
/// that was planned is in what is returned, with its error or why it has none.
pub async fn calibrate(
    carriage: &Carriage,
    n_runtimes: usize,
    windows: &[WindowHealth],
    prompt_bytes: impl Fn(u64) -> usize,
    most_files: u64,
    stop: &Stop,
) -> Vec<Planned> {
    let most_tokens = u32::try_from(carriage.measured.settings().output_tokens).unwrap_or(u32::MAX);
    let cells = cells(windows, most_tokens.max(1));
    let measured: f64 = windows.iter().map(|w| w.length).sum();
    let time = Duration::try_from_secs_f64(measured * SHARE_OF_STUDY).unwrap_or(MOST_TIME);
    let lengths = lengths(&cells, time);
    let prompt_bytes = &prompt_bytes;
    let measure = |cell: Cell, length: Duration| async move {
        has_room(cell.level, most_files)?;
        let prompt = Bytes::from(vec![b'a'; prompt_bytes(cell.context_size)]);
        run(cell, carriage, n_runtimes, &prompt, length).await
    };
    in_turn(cells, lengths, stop, measure).await
}

/// Measures one level after the other. What stops the run ends the level under way, and leaves out the others.
async fn in_turn<F>(
    cells: Vec<Cell>,
    lengths: Vec<Duration>,
    stop: &Stop,
    measure: impl Fn(Cell, Duration) -> F,
) -> Vec<Planned>
where
    F: Future<Output = Result<Calibration, Missing>>,
{
    let mut planned = Vec::with_capacity(cells.len());
    for (cell, length) in cells.into_iter().zip(lengths) {
        let cell = Cell {
            pace: cell.pace.quickened(cell.level, length),
            ..cell
        };
        let outcome = tokio::select! {
            biased;
            () = stop.wait() => Err(Missing::Stopped),
            outcome = measure(cell, length) => outcome,
        };
        planned.push(Planned {
            context_size: cell.context_size,
            level: cell.level,
            outcome,
        });
    }
    planned
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
fn end_contexts(windows: &[&WindowHealth]) -> Vec<u64> {
    let sizes = || windows.iter().map(|w| w.context_size);
    let mut ends: Vec<u64> = sizes().min().into_iter().chain(sizes().max()).collect();
    ends.dedup();
    ends
}

/// What to measure: for each of the contexts measured with, the levels of the windows that will be judged by it.
fn cells(windows: &[WindowHealth], most_tokens: u32) -> Vec<Cell> {
    // A window without an answer has no pace, and no times that a client could be off.
    let has_pace = |w: &&WindowHealth| Pace::fastest([*w], most_tokens, w.level).is_some();
    let windows: Vec<&WindowHealth> = windows.iter().filter(has_pace).collect();
    let ends = end_contexts(&windows);
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
        let judged: Vec<&WindowHealth> = judged.copied().collect();
        let levels = levels(judged.iter().map(|w| w.level), most_levels);
        let cells = levels.iter().filter_map(|level| {
            let by_it = judged
                .iter()
                .filter(|w| nearest_of(&levels, w.level) == Some(*level));
            Some(Cell {
                context_size: *context_size,
                level: *level,
                pace: Pace::fastest(by_it.copied(), most_tokens, *level)?,
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

/// Measures a level.
async fn run(
    cell: Cell,
    study: &Carriage,
    n_runtimes: usize,
    prompt: &Bytes,
    length: Duration,
) -> Result<Calibration, Missing> {
    let not_started = |error: CalibrationError| Missing::NotStarted(one_line(&error));
    let Cell { level, pace, .. } = cell;
    let server = NullServer::start(Script::of(&pace), || {})
        .map_err(|error| not_started(CalibrationError::Server(error)))?;
    let carriage = carriage(&server, study, pace.n_tokens).map_err(not_started)?;
    let transport = runtimes::start(&carriage, n_runtimes)
        .map_err(|error| not_started(CalibrationError::Client(error)))?;
    transport.prepare(&[level as usize]).await;
    let held = hold(level, pace, length, |request_id, turn| {
        let prompt = match turn.is_whole {
            true => prompt.clone(),
            false => Bytes::new(),
        };
        let sent = transport.send(outgoing(prompt, request_id));
        async move { seen(&sent.await) }
    })
    .await;
    drop(transport);
    // Joins the server's thread, which ends within one round of its loop.
    held.outcome(server.stop(), &pace, cell.context_size, level)
}

/// What the client says of a request.
fn seen(exchange: &Exchange) -> Result<Option<Seen>, String> {
    if let Some(failure) = &exchange.failure {
        return Err(format!("{}: {}", failure.kind, failure.message));
    }
    let timeline = &exchange.timeline;
    Ok(Some(Seen {
        launched: timeline.launched,
        tokens: timeline.first_token_at().zip(timeline.last_token_at()),
        n_tokens: timeline.chunks.len(),
    }))
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

fn outgoing(prompt: Bytes, request_id: String) -> Outgoing {
    Outgoing {
        endpoint: 0,
        kind: Kind::Measured,
        prompt: Prompt {
            parts: vec![prompt],
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

#[cfg(test)]
mod tests {
    use metrics::health::{ErrorBar, Typical, judging};

    use super::*;
    use crate::stop::StopReason;

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
        let of = |window: WindowHealth| {
            let level = window.level;
            (level, Pace::fastest(&[window], 256, level).unwrap())
        };
        assert_eq!(paces, [window(2, 3.0, 0.0), window(8, 0.05, 0.01)].map(of));
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

    fn planned_of(planned: &[Planned]) -> Vec<(u32, Option<&Missing>)> {
        planned
            .iter()
            .map(|cell| (cell.level, cell.outcome.as_ref().err()))
            .collect()
    }

    /// What was measured of a level.
    fn measured(cell: Cell) -> Calibration {
        Calibration {
            context_size: cell.context_size,
            level: cell.level,
            ttft: ErrorBar {
                p50: 0.001,
                p99: None,
            },
            itl: None,
            n_requests: 1,
        }
    }

    /// Windows at the level that failed were judged by the error at another one.
    #[tokio::test]
    async fn a_level_that_fails_stays_in_the_plan_without_a_result_and_the_others_are_measured() {
        let failed = Missing::Failed {
            n: 9,
            level: 100,
            first: "connect: too many open files".to_owned(),
        };
        let windows = [1, 100, 1000].map(|level| window(level, 0.1, 0.01));
        let measure = async |cell: Cell, _: Duration| match cell.level {
            100 => Err(failed.clone()),
            _ => Ok(measured(cell)),
        };
        let cells = cells(&windows, 256);
        let lengths = vec![Duration::ZERO; cells.len()];
        let planned = in_turn(cells, lengths, &Stop::new(), measure).await;
        assert_eq!(
            planned_of(&planned),
            [(1, None), (100, Some(&failed)), (1000, None)]
        );
        assert!(judging(&planned, &windows[0]).is_some());
        assert_eq!(judging(&planned, &windows[1]), None);
    }

    #[tokio::test]
    async fn a_stop_in_the_second_level_leaves_the_first_ones_error_and_none_to_the_others() {
        let stop = Stop::new();
        let windows = [1, 100, 1000].map(|level| window(level, 0.1, 0.01));
        let measure = async |cell: Cell, _: Duration| {
            if cell.level == 1 {
                return Ok(measured(cell));
            }
            stop.request(StopReason::Interrupt);
            std::future::pending().await
        };
        let cells = cells(&windows, 256);
        let lengths = vec![Duration::ZERO; cells.len()];
        let planned = in_turn(cells, lengths, &stop, measure).await;
        let stopped = Some(&Missing::Stopped);
        assert_eq!(
            planned_of(&planned),
            [(1, None), (100, stopped), (1000, stopped)]
        );
        let judged = windows.iter().map(|w| judging(&planned, w));
        let levels: Vec<_> = judged.map(|c| c.map(|c| c.level)).collect();
        assert_eq!(levels, [Some(1), None, None]);
    }
}

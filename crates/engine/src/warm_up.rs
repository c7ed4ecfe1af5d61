//! Working-set initialisation: sends every prompt once, so that the server holds it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::mpsc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use metrics::timeline::Failure;
use tokio_util::sync::CancellationToken;
use workload::{WorkingSet, warmup_prompt};

use crate::load::{EndpointSelection, LoadContext, prepare};
use crate::transport::{Kind, Outgoing};

/// A share of failed prompts above which the warm-up is worth a warning.
const FAILED_SHARE_WARNED: f64 = 0.05;
/// Failures that are logged one by one; the rest is counted.
const FAILURES_LOGGED: usize = 5;
/// A progress line at least this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// What a warm-up did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmedUp {
    /// Requests that were answered.
    pub succeeded: u64,
    /// Requests that failed, also when sent a second time.
    pub failed: u64,
    /// How long it took.
    pub took: Duration,
}

/// Why the working set could not be initialised.
#[derive(Debug, thiserror::Error)]
pub enum WarmUpError {
    /// Every request failed.
    #[error(
        "every one of the {requests} requests that initialise the working set failed; the first with {kind}: {message}"
    )]
    AllFailed {
        /// Requests sent.
        requests: u64,
        /// Kind of the first failure.
        kind: metrics::timeline::FailureKind,
        /// Its message.
        message: String,
    },
    /// The run was asked to stop.
    #[error("stopped while the working set was initialised")]
    Stopped,
}

/// Which prompts are sent, and how many at a time.
#[derive(Debug, Clone)]
pub struct WarmUp<'a> {
    /// Their set.
    pub working_set: &'a WorkingSet,
    /// Their places in it.
    pub prompts: Range<usize>,
    /// In flight at a time.
    pub concurrency: u32,
    /// Told when the first requests are on their way.
    pub underway: Option<mpsc::Sender<()>>,
}

impl<'a> WarmUp<'a> {
    /// All prompts of a set.
    #[must_use]
    pub fn whole(working_set: &'a WorkingSet, concurrency: u32) -> Self {
        Self {
            working_set,
            prompts: 0..working_set.len(),
            concurrency,
            underway: None,
        }
    }
}

/// Sends every prompt once, at most so many at a time: with pinned endpoints each to its
/// own, otherwise to every endpoint, since any of them may get a request built on it.
///
/// # Errors
/// When all requests failed or the run was stopped.
pub async fn warm_up(
    context: &mut LoadContext<'_>,
    what: &WarmUp<'_>,
) -> Result<WarmedUp, WarmUpError> {
    let WarmUp {
        working_set,
        concurrency,
        ..
    } = *what;
    let prompts = what.prompts.clone();
    let n_prompts = prompts.len();
    let n_endpoints = context.rotation.n_endpoints();
    let everywhere =
        context.rotation.selection() == EndpointSelection::RoundRobin && n_endpoints > 1;
    let mut todo: VecDeque<(usize, usize)> = if everywhere {
        prompts
            .flat_map(|i| (0..n_endpoints).map(move |e| (i, e)))
            .collect()
    } else {
        prompts.map(|i| (i, i % n_endpoints)).collect()
    };
    let requests = todo.len() as u64;
    tracing::info!(
        style = "sub",
        "Initializing working set: sending {n_prompts} prompts to API (max concurrency: {concurrency})..."
    );
    let start = context.clock.now();
    let level = (concurrency as usize).min(todo.len()).max(1);
    context.live.phase("warm-up", level as u32);
    prepare(context, &vec![level.div_ceil(n_endpoints); n_endpoints]).await;
    let underway = what.underway.clone();
    let mut round = Round::run(context, working_set, &mut todo, level, requests, underway).await?;
    if !round.failed.is_empty() && round.succeeded > 0 {
        tracing::info!(
            "Sending {} working-set prompts again that failed the first time",
            round.failed.len()
        );
        let mut again: VecDeque<(usize, usize)> = round.failed.iter().map(|f| f.0).collect();
        let n = again.len() as u64;
        let second = Round::run(context, working_set, &mut again, level, n, None).await?;
        round.succeeded += second.succeeded;
        round.failed = second.failed;
    }
    let took = context.clock.now().saturating_sub(start);
    let failed = round.failed.len() as u64;
    if round.succeeded == 0 {
        let (_, failure) = round.failed.swap_remove(0);
        return Err(WarmUpError::AllFailed {
            requests,
            kind: failure.kind,
            message: failure.message,
        });
    }
    let rate = round.succeeded as f64 / took.as_secs_f64().max(1e-9);
    let missing = match failed {
        0 => String::new(),
        n => format!(", {n} failed"),
    };
    tracing::info!(
        style = "success",
        "Working set initialization complete: {} prompts in {:.1}s ({rate:.1} prompts/s){missing}",
        round.succeeded,
        took.as_secs_f64()
    );
    if failed as f64 > FAILED_SHARE_WARNED * requests as f64 {
        tracing::warn!(
            "{failed} of {requests} working-set prompts could not be initialised; requests built on them will miss the cache"
        );
    }
    Ok(WarmedUp {
        succeeded: round.succeeded,
        failed,
        took,
    })
}

struct Round {
    succeeded: u64,
    failed: Vec<((usize, usize), Failure)>,
}

impl Round {
    /// Says of the first few failures what went wrong.
    fn tell(&self, index: usize, failure: &Failure) {
        if self.failed.len() < FAILURES_LOGGED {
            tracing::error!(
                "  Failed to initialize prompt {}: {}: {}",
                index + 1,
                failure.kind,
                failure.message
            );
        }
    }

    /// Counts the failures that were not told one by one.
    fn tell_rest(&self) {
        let more = self.failed.len().saturating_sub(FAILURES_LOGGED);
        if more > 0 {
            tracing::error!("  {more} more prompts failed to initialize");
        }
    }

    async fn run(
        context: &mut LoadContext<'_>,
        working_set: &WorkingSet,
        todo: &mut VecDeque<(usize, usize)>,
        level: usize,
        requests: u64,
        mut underway: Option<mpsc::Sender<()>>,
    ) -> Result<Self, WarmUpError> {
        let cancel = CancellationToken::new();
        let start = context.clock.now();
        let mut reported_at = start;
        let mut round = Self {
            succeeded: 0,
            failed: Vec::new(),
        };
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < level {
                let Some((index, endpoint)) = todo.pop_front() else {
                    break;
                };
                let sent = context.transport.send(Outgoing {
                    endpoint,
                    kind: Kind::WarmUp,
                    prompt: warmup_prompt(working_set, index),
                    request_id: format!("WARMUP_p{index}_e{endpoint}"),
                    intended: context.clock.now(),
                    cancel: cancel.clone(),
                    watch: None,
                });
                in_flight.push(async move { ((index, endpoint), sent.await) });
            }
            let stop = context.stop;
            let (target, exchange) = tokio::select! {
                biased;
                () = stop.wait() => {
                    // Closing what is in flight is all there is to do: warm-up requests are in no file.
                    cancel.cancel();
                    while in_flight.next().await.is_some() {}
                    return Err(WarmUpError::Stopped);
                }
                ended = in_flight.next() => match ended {
                    Some(ended) => ended,
                    None => {
                        round.tell_rest();
                        return Ok(round);
                    }
                },
                // The branch above has been polled once: what could be sent is sent.
                () = std::future::ready(()), if underway.is_some() => {
                    let _ = underway.take().map(|underway| underway.send(()));
                    continue;
                }
            };
            match exchange.failure {
                // A one-token answer may be an empty string; the prompt was processed all the same.
                None => round.succeeded += 1,
                Some(failure) if failure.kind == metrics::timeline::FailureKind::Empty => {
                    round.succeeded += 1
                }
                Some(failure) => {
                    round.tell(target.0, &failure);
                    round.failed.push((target, failure));
                }
            }
            let now = context.clock.now();
            let done = round.succeeded + round.failed.len() as u64;
            if done == requests || done.is_multiple_of(10) || now >= reported_at + PROGRESS_EVERY {
                reported_at = now;
                let rate = done as f64 / now.saturating_sub(start).as_secs_f64().max(1e-9);
                let eta = (requests - done) as f64 / rate;
                tracing::info!(
                    "  Initialized {done}/{requests} prompts ({rate:.1} prompts/s, ETA: {eta:.0}s)"
                );
            }
        }
    }
}

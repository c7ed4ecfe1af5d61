//! The closed loop: so many requests in flight, admitted in the order of the list.
//!
//! Promise: connections stand before the first request is admitted; a request that ends is replaced at
//! once, whatever its end; nothing is sent twice. Answers are read on a thread of their own, so that no
//! stamp waits for JSON. A run that is stopped admits nothing more and drops what is in flight: those
//! requests are in no figure.

use std::cell::Cell;
use std::ops::Range;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use core_client::RequestBody;
use core_client::plain::{PlainClient, PlainExchange};
use core_client::probe::Probe;
use futures_util::future::join_all;
use metrics::health::OwnPart;
use metrics::timeline::{Failure, FailureKind};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::answer::{self, Reply};
use crate::args::StreamMode;
use crate::plan::Plan;

/// Answers that may wait to be read; further ones hold their slot until there is room.
const WAITING_ANSWERS: usize = 1024;

/// One finished request.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its place in the order of sending, warm-up included.
    pub index: usize,
    /// When it ended, since the start of the clock.
    pub finished: Duration,
    /// Time that opening a connection for it took; zero when one stood ready. In no latency.
    pub dial: Duration,
    /// How late the client sent it: from the end of the request before it in its slot, or the start of the run.
    pub send_delay: Duration,
    /// Redirects that were followed, inside its latency.
    pub n_redirects: u32,
    /// What came of it.
    pub outcome: Result<Reply, Failure>,
}

impl Sample {
    /// Whether it failed, and in this way.
    #[must_use]
    pub fn failed_as(&self, kind: FailureKind) -> bool {
        matches!(&self.outcome, Err(failure) if failure.kind == kind)
    }
}

/// All finished requests of a stretch, in the order of sending.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// The requests.
    pub samples: Vec<Sample>,
    /// From just before the first was admitted to the end of the last.
    pub total: Duration,
    /// What the client itself had to do with their times.
    pub own_part: OwnPart,
}

/// Sends the requests of `range` with at most `concurrency` of them in flight. With a probe of this runtime, what it
/// feels meanwhile is kept.
///
/// # Errors
/// When the thread that reads answers cannot be started or died.
pub async fn send_all(
    client: &PlainClient,
    plan: &Plan,
    range: Range<usize>,
    concurrency: usize,
    stop: &CancellationToken,
    probe: Option<&Probe>,
) -> Result<Samples> {
    let n_slots = concurrency.min(range.len());
    client.open_connections(n_slots).await;
    let (ended, waiting) = mpsc::channel(WAITING_ANSWERS);
    let reader = {
        let (client, mode) = (client.clone(), plan.stream);
        thread::Builder::new()
            .name("answers".to_owned())
            .spawn(move || read_answers(&client, mode, waiting))
            .context("starting the thread that reads answers")?
    };
    // What was felt while connections were opened delayed no request.
    drop(probe.map(Probe::take));
    let clock = client.clock();
    let started = clock.now();
    let next = Cell::new(range.start);
    let slot = || async {
        // A slot is free from the end of its request on, whenever that is noticed.
        let mut free_since = started;
        loop {
            let index = next.get();
            if index >= range.end || stop.is_cancelled() {
                return;
            }
            next.set(index + 1);
            let body = RequestBody::new(vec![plan.body(index).into()], 0);
            let exchange = client.post(body, free_since, stop).await;
            free_since = exchange.timeline.slot_free_at();
            // The reader ends only after the last sender.
            let _ = ended.send((index, exchange)).await;
        }
    };
    join_all((0..n_slots).map(|_| slot())).await;
    drop(ended);
    let felt = probe.map(Probe::take);
    let (mut samples, mut own_part) = reader
        .join()
        .map_err(|_| anyhow!("the thread that reads answers died"))?;
    if let Some(felt) = felt {
        own_part.felt(&felt.lag, felt.cpu, felt.wall);
    }
    samples.sort_by_key(|sample| sample.index);
    let last = samples.iter().map(|sample| sample.finished).max();
    Ok(Samples {
        total: last.unwrap_or(started).saturating_sub(started),
        samples,
        own_part,
    })
}

fn read_answers(
    client: &PlainClient,
    mode: StreamMode,
    mut waiting: mpsc::Receiver<(usize, PlainExchange)>,
) -> (Vec<Sample>, OwnPart) {
    let (mut samples, mut own_part) = (Vec::new(), OwnPart::default());
    while let Some((index, exchange)) = waiting.blocking_recv() {
        let outcome = answer::read(&exchange, mode, |said| client.excerpt(said));
        // Dropped because the run was stopped: nobody's failure.
        if matches!(&outcome, Err(failure) if failure.kind == FailureKind::Cancelled) {
            continue;
        }
        own_part.sent(&exchange.timeline);
        if let Ok(reply) = &outcome {
            let (ttft, itl) = (reply.ttft.as_secs_f64(), reply.between_tokens());
            own_part.answered(Some(ttft), itl, reply.output_tokens);
        }
        samples.push(Sample {
            index,
            finished: exchange.timeline.finished,
            dial: exchange.timeline.dial,
            send_delay: exchange.timeline.send_delay(),
            n_redirects: exchange.n_redirects,
            outcome,
        });
    }
    (samples, own_part)
}

//! The one task that owns the engine: takes commands, lets time pass, hands events to their streams.
//!
//! Promises: everything that arrived before it wakes up is taken before the engine advances, so that requests
//! of one instant share a step. Never waits for a reader.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::queue::{EventReceiver, EventSender, queue};
use super::timer::Timer;
use crate::model::{Engine, EngineStats, EventKind, Refusal, Request, RequestId};

/// What a submitter gets: the request's number and the queue of its events.
pub(super) type Accepted = (RequestId, EventReceiver);

/// What the driver is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Submit {
        request: Request,
        reply: oneshot::Sender<Result<Accepted, Refusal>>,
    },
    Stats {
        reply: oneshot::Sender<EngineStats>,
    },
    ClearCache {
        reply: oneshot::Sender<()>,
    },
}

struct Driver {
    engine: Engine,
    streams: HashMap<RequestId, EventSender>,
    shared: Arc<Shared>,
}

/// Runs until every handle is gone.
pub(super) async fn drive(
    engine: Engine,
    mut commands: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    mut timer: Timer,
) {
    let mut driver = Driver {
        engine,
        streams: HashMap::new(),
        shared,
    };
    loop {
        let next = driver.engine.next_event_at();
        let next = next.map(|at| driver.shared.clock.instant_of(at));
        timer.set(next, driver.streams.len());
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(command) => driver.obey(command),
                None => return,
            },
            () = driver.shared.wake.notified() => {}
            () = timer.expired() => {}
        }
        while let Ok(command) = commands.try_recv() {
            driver.obey(command);
        }
        driver.cancel_dropped();
        driver.advance();
    }
}

impl Driver {
    fn obey(&mut self, command: Command) {
        let now = self.shared.clock.now();
        match command {
            Command::Submit { request, reply } => {
                let taken = self.engine.submit(now, request).map(|id| {
                    let (sender, receiver) = queue();
                    self.streams.insert(id, sender);
                    (id, receiver)
                });
                let id = taken.as_ref().ok().map(|(id, _)| *id);
                if reply.send(taken).is_err()
                    && let Some(id) = id
                {
                    self.cancel(now, id);
                }
            }
            // Whoever asked may be gone; then nobody misses the answer.
            Command::Stats { reply } => {
                let _ = reply.send(self.engine.stats());
            }
            Command::ClearCache { reply } => {
                self.engine.clear_cache(now);
                let _ = reply.send(());
            }
        }
    }

    fn cancel_dropped(&mut self) {
        let dropped = std::mem::take(&mut *self.shared.cancelled());
        if !dropped.is_empty() {
            let now = self.shared.clock.now();
            dropped.into_iter().for_each(|id| self.cancel(now, id));
        }
    }

    fn cancel(&mut self, now: Duration, id: RequestId) {
        self.streams.remove(&id);
        self.engine.cancel(now, id);
    }

    fn advance(&mut self) {
        let now = self.shared.clock.now();
        for event in self.engine.advance(now) {
            let id = event.id;
            let done = matches!(event.kind, EventKind::Done(_));
            let Some(stream) = self.streams.get(&id) else {
                continue;
            };
            let gone = stream.send(event).is_err();
            if done {
                self.streams.remove(&id);
            } else if gone {
                self.cancel(now, id);
            }
        }
    }
}

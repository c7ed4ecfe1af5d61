//! Building a working set and re-encoding it, on threads of their own.
//!
//! Promise: before the first requests are out nothing is re-encoded, since it would only take their core; whoever gives
//! a working set up frees its threads.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use workload::{ContextPlan, PieceTable, Seed, TextTokenizer, Verification, WorkingSet};

use crate::files::one_line;
use crate::stop::Stop;

/// What a working set is made of.
pub(super) struct Building {
    pub(super) context: ContextPlan,
    /// Hit rates of the context, percent.
    pub(super) rates: Vec<u32>,
    pub(super) pieces: PieceTable,
    pub(super) seed: Seed,
    pub(super) tokenizer: TextTokenizer,
    pub(super) n_threads: usize,
}

/// The re-encoding of a working set, beside the first requests built from it.
pub(super) struct Verifying {
    begin: mpsc::Sender<()>,
    outcome: oneshot::Receiver<Verified>,
}

/// What re-encoding came to, and how long it and building took.
pub(super) struct Verified {
    pub(super) verification: Verification,
    pub(super) built_in: Duration,
    pub(super) verified_in: Duration,
}

impl Building {
    /// The working set, as soon as it is built; a stop is heard meanwhile.
    ///
    /// # Errors
    /// Why there is none, in one line.
    pub(super) async fn run(self, stop: Stop) -> Result<(Arc<WorkingSet>, Verifying), String> {
        let (built, set) = oneshot::channel();
        let (verified, outcome) = oneshot::channel();
        let (begin, told) = mpsc::channel();
        thread::Builder::new()
            .name("working-set".to_owned())
            .spawn(move || {
                // Nobody waits for it where its context has failed; it would take cores from the next one's windows.
                let is_given_up = || stop.requested().is_some() || verified.is_closed();
                let start = Instant::now();
                let result = WorkingSet::build(
                    &self.context,
                    &self.rates,
                    &self.pieces,
                    &self.seed,
                    self.n_threads,
                    &is_given_up,
                )
                .map(Arc::new);
                let built_in = start.elapsed();
                let set = result.as_ref().ok().map(Arc::clone);
                // Nobody waits any more when the run was stopped.
                drop(built.send(result));
                if let Some(set) = set {
                    // An error: whoever would have said it waits for the outcome, or for nothing any more.
                    told.recv().ok();
                    let start = Instant::now();
                    let verification =
                        set.verify_all(&self.tokenizer, self.n_threads, &is_given_up);
                    let _ = verified.send(Verified {
                        verification,
                        built_in,
                        verified_in: start.elapsed(),
                    });
                }
            })
            .map_err(|error| {
                format!("no thread could be started to build the working set: {error}")
            })?;
        let result = set
            .await
            .map_err(|_| "the thread that builds the working set has stopped".to_owned())?;
        let set = result.map_err(|error| one_line(&error))?;
        Ok((set, Verifying { begin, outcome }))
    }
}

impl Verifying {
    /// Begins it; so does asking for the outcome, and dropping this.
    pub(super) fn begins(&self) -> mpsc::Sender<()> {
        self.begin.clone()
    }

    /// Waits until every prompt was re-encoded.
    ///
    /// # Errors
    /// When the thread that does it has stopped.
    pub(super) async fn outcome(self) -> Result<Verified, String> {
        drop(self.begin);
        self.outcome
            .await
            .map_err(|_| "the thread that verifies the working set has stopped".to_owned())
    }
}

//! The engine's surface: submit, cancel, advance.
//!
//! Promises: [`Engine::advance`] returns everything that happened up to and including `now`, in order of
//! time, and the engine's state afterwards is that of `now`. Requests submitted at one instant before the
//! engine is advanced start in the same step. Calls must come in order of time; an earlier time counts as
//! the latest one seen.

use std::time::Duration;

use kvcalc::TokenCount;

use super::batch::Batcher;
use super::cache::{CacheCounters, PrefixCache};
use super::config::{ConfigError, EngineConfig, ServiceModel};
use super::hash::PromptBlocks;
use super::output::OutputIds;
use super::timetable::Timetable;

/// A request's number within its engine, in order of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What is asked of the engine.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt, cut with the engine's block size.
    pub prompt: PromptBlocks,
    /// Tokens to generate; at least 1. The model never ends earlier by itself.
    pub output_tokens: u32,
    /// The ids that will be generated, if blocks that contain them shall become hits.
    pub output_ids: Option<OutputIds>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub at: Duration,
    /// To which request.
    pub id: RequestId,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// Its first token comes next: what was cached and where the time went is known, of the timing all but its end.
    Begun(Box<Begun>),
    /// A token was generated; positions count from 0.
    Token {
        /// Its position in the output.
        position: u32,
    },
    /// The request is complete; comes right after its last token.
    Done(Box<(Usage, Timing)>),
}

/// What is known of a request with its first token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Prompt tokens that were not computed, by tier, fastest first.
    pub cached_by_tier: Vec<u64>,
    /// Where its time went so far.
    pub timing: Timing,
}

/// What a request used, as an API would report it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
    /// Prompt tokens that were not computed, over all tiers.
    pub cached_tokens: u64,
    /// The same by tier, fastest first.
    pub cached_by_tier: Vec<u64>,
}

/// Where a request's time went: the truth behind its TTFT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// When it arrived.
    pub arrival: Duration,
    /// From arrival to admission.
    pub queue: Duration,
    /// Time to load cached blocks, by tier, fastest first (always zero for the first).
    pub load_by_tier: Vec<Duration>,
    /// The rest until the first token: prefill, with the steps shared with others, and whatever a preemption lost.
    pub prefill: Duration,
    /// When the first token came.
    pub first_token_at: Duration,
    /// When the last token came.
    pub done_at: Duration,
    /// How often it was thrown out of HBM and had to start over.
    pub preemptions: u32,
}

impl Timing {
    /// Time to first token: queue + loads + prefill.
    #[must_use]
    pub fn ttft(&self) -> Duration {
        self.first_token_at - self.arrival
    }
}

/// Why a request cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing to compute.
    #[error("the prompt has no token")]
    EmptyPrompt,
    /// Nothing to generate.
    #[error("at least one output token must be asked for")]
    NoOutput,
    /// It could never fit.
    #[error("prompt and output need {needed}, but the cache holds {capacity}")]
    TooLong {
        /// Prompt and output tokens.
        needed: TokenCount,
        /// Tokens that the first tier holds.
        capacity: TokenCount,
    },
    /// The prompt was cut with another block size.
    #[error("the prompt was cut into blocks of {got} tokens, the engine uses {expected}")]
    BlockSize {
        /// The prompt's.
        got: u32,
        /// The engine's.
        expected: u32,
    },
}

/// A snapshot of the engine's counters and gauges.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineStats {
    /// Requests admitted: loading, in prefill or decoding.
    pub running: usize,
    /// Requests that wait for admission.
    pub waiting: usize,
    /// Share of HBM blocks in use by running requests, 0 to 1.
    pub kv_usage: f64,
    /// Blocks held and blocks in use, per tier.
    pub occupancy: Vec<(usize, usize)>,
    /// The cache's counters.
    pub cache: CacheCounters,
    /// Prompt tokens of admitted requests.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub generation_tokens: u64,
    /// Requests completed.
    pub completed: u64,
    /// Requests cancelled.
    pub cancelled: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Steps run.
    pub steps: u64,
}

/// What both schedulers keep: the cache, the counters, the events not yet handed out.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) cache: PrefixCache,
    pub(crate) stats: EngineStats,
    pub(crate) outbox: Vec<Event>,
}

impl Common {
    pub(crate) fn emit(&mut self, at: Duration, id: RequestId, kind: EventKind) {
        match &kind {
            EventKind::Token { .. } => self.stats.generation_tokens += 1,
            EventKind::Done(_) => self.stats.completed += 1,
            EventKind::Begun(_) => {}
        }
        self.outbox.push(Event { at, id, kind });
    }
}

#[derive(Debug)]
enum Scheduler {
    Batching(Box<Batcher>),
    Timetable(Timetable),
}

/// One simulated inference engine.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    common: Common,
    scheduler: Scheduler,
    now: Duration,
    next_id: u64,
}

impl Engine {
    /// An idle engine with an empty cache, at time zero.
    ///
    /// # Errors
    /// What [`EngineConfig::validate`] says.
    pub fn new(config: EngineConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let scheduler = match &config.service {
            ServiceModel::Batching(costs) => {
                Scheduler::Batching(Box::new(Batcher::new(&config, *costs)))
            }
            ServiceModel::Linear {
                per_active,
                per_token,
            } => Scheduler::Timetable(Timetable::linear(*per_active, *per_token)),
            ServiceModel::Fixed { total } => Scheduler::Timetable(Timetable::fixed(*total)),
        };
        Ok(Self {
            common: Common {
                cache: PrefixCache::new(&config),
                stats: EngineStats::default(),
                outbox: Vec::new(),
            },
            scheduler,
            config,
            now: Duration::ZERO,
            next_id: 0,
        })
    }

    /// The configuration it was made with.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Takes a request at `now`.
    ///
    /// # Errors
    /// A [`Refusal`] if it could never be served; then nothing changed.
    pub fn submit(&mut self, now: Duration, request: Request) -> Result<RequestId, Refusal> {
        self.check(&request)?;
        self.run(now, false);
        let id = RequestId(self.next_id);
        self.next_id += 1;
        match &mut self.scheduler {
            Scheduler::Batching(batcher) => batcher.submit(&self.common, self.now, id, request),
            Scheduler::Timetable(table) => table.submit(&mut self.common, self.now, id, request),
        }
        Ok(id)
    }

    fn check(&self, request: &Request) -> Result<(), Refusal> {
        let expected = self.config.block_size.get();
        let got = request.prompt.block_size().get();
        if got != expected {
            return Err(Refusal::BlockSize { got, expected });
        }
        if request.prompt.tokens() == TokenCount::ZERO {
            return Err(Refusal::EmptyPrompt);
        }
        if request.output_tokens == 0 {
            return Err(Refusal::NoOutput);
        }
        let needed = request.prompt.tokens() + TokenCount(u64::from(request.output_tokens));
        let capacity = self
            .config
            .block_size
            .tokens(self.common.cache.hbm_capacity() as u64);
        if needed > capacity {
            return Err(Refusal::TooLong { needed, capacity });
        }
        Ok(())
    }

    /// Drops a request, whatever it is doing; its computed blocks stay hits. Unknown and finished ids are ignored.
    pub fn cancel(&mut self, now: Duration, id: RequestId) {
        self.run(now, false);
        let found = match &mut self.scheduler {
            Scheduler::Batching(batcher) => batcher.cancel(&mut self.common, self.now, id),
            Scheduler::Timetable(table) => table.cancel(&mut self.common, self.now, id),
        };
        self.common.stats.cancelled += u64::from(found);
    }

    /// When something happens next by itself; `None` while the engine is idle.
    #[must_use]
    pub fn next_event_at(&self) -> Option<Duration> {
        if let Some(event) = self.common.outbox.first() {
            return Some(event.at);
        }
        match &self.scheduler {
            Scheduler::Batching(batcher) => batcher.next_event_at(),
            Scheduler::Timetable(table) => table.next_event_at(),
        }
    }

    /// Lets time pass until `now` and returns what happened.
    pub fn advance(&mut self, now: Duration) -> Vec<Event> {
        self.run(now, true);
        std::mem::take(&mut self.common.outbox)
    }

    /// Forgets every cached block that no running request uses.
    pub fn clear_cache(&mut self, now: Duration) {
        self.run(now, false);
        self.common.cache.clear();
    }

    /// The counters and gauges as of the last call.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        let mut stats = self.common.stats.clone();
        (stats.running, stats.waiting) = match &self.scheduler {
            Scheduler::Batching(batcher) => batcher.load(),
            Scheduler::Timetable(table) => (table.active(), 0),
        };
        stats.occupancy = self.common.cache.occupancy();
        let in_use = stats.occupancy.first().map_or(0, |(_, in_use)| *in_use);
        stats.kv_usage = in_use as f64 / self.common.cache.hbm_capacity() as f64;
        stats.cache = self.common.cache.counters().clone();
        stats
    }

    /// Processes events up to `now`. A step that could start exactly at `now` starts only if `start` is set,
    /// so that everything submitted at one instant goes into the same step.
    fn run(&mut self, now: Duration, start: bool) {
        self.now = self.now.max(now);
        match &mut self.scheduler {
            Scheduler::Batching(batcher) => {
                while let Some(at) = batcher.due(self.now, start) {
                    batcher.process(&mut self.common, at);
                }
            }
            Scheduler::Timetable(table) => table.run(&mut self.common, self.now),
        }
    }
}

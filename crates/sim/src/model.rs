//! The simulated inference engine: a pure library.
//!
//! Promises: no I/O, no clock, no thread. Time is a [`Duration`](std::time::Duration) since an origin of
//! the caller's choice and is passed in; randomness comes from one seed. The same configuration, seed and
//! sequence of calls give the same events and the same counters, on every machine.
//!
//! Refuses: anything about HTTP, text or tokenizers. A request is a list of block hashes and a length.
//!
//! * [`hash`]: a prompt as a chain of block hashes.
//! * [`cache`]: the prefix cache over its tiers (built on `store`, one tier's bookkeeping).
//! * [`engine`]: submit, cancel, advance; what all service models share.
//! * `batch`: continuous batching in steps; `timetable`: service times that are simply given.
//! * `link`: a tier's bandwidth, shared by the loads that use it.

mod batch;
pub mod cache;
pub mod config;
pub mod engine;
pub mod hash;
mod jitter;
mod link;
pub mod output;
mod store;
mod timetable;

pub use cache::{CacheCounters, TierCounters};
pub use config::{
    ConfigError, EngineConfig, Eviction, Inclusion, ServiceModel, StepCosts, TierConfig,
    WritePolicy,
};
pub use engine::{
    Begun, Engine, EngineStats, Event, EventKind, Refusal, Request, RequestId, Timing, Usage,
};
pub use hash::{BlockHash, PromptBlocks};
pub use output::OutputIds;

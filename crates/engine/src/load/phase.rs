//! What a load works with, and what it says of a phase.

use std::sync::Arc;
use std::time::Duration;

use core_client::RunClock;
use workload::Selector;

use crate::feed::{PhasePrompts, PromptFeed};
use crate::progress::Live;
use crate::recorder::RecordSink;
use crate::rotation::Rotation;
use crate::stop::Stop;
use crate::transport::Transport;

/// What outlives a phase: the server, the prompts' source, the rows' sink, the rotation over prompts and
/// endpoints.
pub struct LoadContext<'a> {
    /// Carries the requests.
    pub transport: &'a dyn Transport,
    /// Stamps; all instants of a run come from here.
    pub clock: RunClock,
    /// Fresh text, prepared ahead.
    pub feed: &'a mut dyn PromptFeed,
    /// Where ended requests go.
    pub sink: &'a mut dyn RecordSink,
    /// Rotation over the working set's prompts; outlives phases, levels and rates of a context.
    pub selector: &'a mut Selector,
    /// Rotation over the endpoints; counts all requests of the run, warm-up included.
    pub rotation: &'a mut Rotation,
    /// Ends everything early.
    pub stop: &'a Stop,
    /// What a person sees meanwhile.
    pub live: &'a dyn Live,
}

impl std::fmt::Debug for LoadContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadContext").finish_non_exhaustive()
    }
}

/// What is the same for all requests of a phase.
#[derive(Debug, Clone)]
pub struct Phase {
    /// Where its prompts come from, its id included.
    pub prompts: PhasePrompts,
    /// Target hit rate in whole percent.
    pub cache_hit_rate: u32,
    /// Context size as given, tokens.
    pub context_size: u64,
    /// For testers that vary it.
    pub working_set_size: Option<u64>,
    /// What the ids of its requests begin with, where that is not the phase id.
    pub request_prefix: Option<String>,
}

/// Why [`Load::run_until`] came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pause {
    /// The instant asked for has come.
    TimeUp,
    /// The tokens asked for have been sent.
    Covered,
    /// Somebody asked the run to stop.
    Stopped,
    /// Too many requests failed in a row; the line says how and why.
    Failing(String),
}

/// What a drain did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Requests cancelled at the limit.
    pub cancelled: u64,
    /// How long it took.
    pub took: Duration,
}

/// Counts of a phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PhaseCounts {
    /// Requests sent.
    pub launched: u64,
    /// Requests that ended in a failure other than being cancelled by us.
    pub failed: u64,
}

/// Shared handle to a phase id.
#[must_use]
pub fn phase_id(id: &str) -> Arc<str> {
    Arc::from(id)
}

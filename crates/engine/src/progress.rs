//! What a person at the terminal sees while a run goes on. Nothing here decides anything.

use std::time::Duration;

/// Shows the state of a run. Called from the thread that reads streams: every method must return at once.
pub trait Live {
    /// A test begins; `expected` is how long the whole run is expected to take from its start.
    fn test(&self, name: &str, expected: Option<Duration>);
    /// A phase begins at this level.
    fn phase(&self, phase: &str, concurrency: u32);
    /// Requests outstanding now.
    fn in_flight(&self, n_requests: u32);
    /// A request ended well.
    fn ended(&self, ttft: Duration, input_tokens: u64, output_tokens: u64);
    /// A request failed.
    fn failed(&self);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoLive;

impl Live for NoLive {
    fn test(&self, _name: &str, _expected: Option<Duration>) {}
    fn phase(&self, _phase: &str, _concurrency: u32) {}
    fn in_flight(&self, _n_requests: u32) {}
    fn ended(&self, _ttft: Duration, _input_tokens: u64, _output_tokens: u64) {}
    fn failed(&self) {}
}

//! What every controller offers, whichever mode it serves.

use std::time::Duration;

use crate::judge::{Observation, Verdict};
use crate::note::Note;
use crate::outcome::RampOutcome;

/// What a window is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A step of the climb.
    Ramp,
    /// A step of the search between the last good and the first bad level.
    Refine,
    /// A repeat at the chosen level.
    Retry,
    /// A level given in advance.
    Fixed,
}

/// One window to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSpec {
    /// Id of the phase; never handed out twice by one controller.
    pub phase_id: String,
    /// Requests to keep in flight.
    pub concurrency: u32,
    /// Planned length. A controller that ends windows by a statistic gives the longest it would wait.
    pub length: Duration,
    /// What it is for.
    pub purpose: Purpose,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Run this window, then [`Controller::record`] what it showed.
    Run(WindowSpec),
    /// There is nothing left to run.
    Done(RampOutcome),
}

/// Decides which window comes next.
///
/// `next` and `record` alternate. `next` gives the same step again until a result is recorded, so a caller
/// may look twice, and after `Done` it gives `Done` for ever.
pub trait Controller {
    /// The next step. `elapsed` is the time spent in the part of the test that the time limit covers, so
    /// far, warm-ups left out.
    fn next(&mut self, elapsed: Duration) -> Step;

    /// Takes the result of the window handed out last and judges it.
    fn record(&mut self, observation: Observation) -> Verdict;

    /// What happened since the last call, oldest first.
    fn take_notes(&mut self) -> Vec<Note>;
}

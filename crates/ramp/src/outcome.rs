//! What a controller found.

use crate::controller::Purpose;
use crate::judge::{Observation, Verdict};

/// One window of the search and its judgement. Repeats at the peak are not among these.
#[derive(Debug, Clone, PartialEq)]
pub struct TestedLevel {
    /// Phase id of the window.
    pub phase_id: String,
    /// Level held.
    pub concurrency: u32,
    /// Climb, search or given level.
    pub purpose: Purpose,
    /// What it showed.
    pub observation: Observation,
    /// How it was judged.
    pub verdict: Verdict,
}

/// The chosen level.
#[derive(Debug, Clone, PartialEq)]
pub struct Peak {
    /// Level.
    pub concurrency: u32,
    /// False when no level passed and this one misses by least.
    pub passed: bool,
    /// Phase id of the window that was chosen.
    pub phase_id: String,
    /// What that window showed.
    pub observation: Observation,
}

/// Why the search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// A level failed and its neighbourhood is known to within one increment, or cannot be narrowed on the
    /// grid of increments.
    ThresholdFound,
    /// The search between good and bad took all its steps.
    RefineLimit,
    /// The maximum passed.
    MaximumReached,
    /// No time is left for another window.
    TimeLimit,
    /// The very first level failed; there is nothing below it to try.
    FirstLevelFailed,
    /// All given levels were tried.
    AllLevels,
    /// A given level failed; those above it were not tried.
    LevelFailed,
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ThresholdFound => "the threshold was found",
            Self::RefineLimit => "the refinement took all its steps",
            Self::MaximumReached => "the maximum concurrency was reached",
            Self::TimeLimit => "the time limit was reached",
            Self::FirstLevelFailed => "the first level already broke the threshold",
            Self::AllLevels => "all levels were tried",
            Self::LevelFailed => "a level broke a threshold",
        })
    }
}

/// The end of a search and its repeats.
#[derive(Debug, Clone, PartialEq)]
pub struct RampOutcome {
    /// The chosen level; `None` when nothing could be tested or no level yielded a result.
    pub peak: Option<Peak>,
    /// Every window of the search, in order.
    pub tested: Vec<TestedLevel>,
    /// Why the search ended.
    pub stop: StopReason,
}

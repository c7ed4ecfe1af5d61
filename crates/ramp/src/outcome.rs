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

impl RampOutcome {
    /// The windows that keep the peak from being higher, the lowest level first: of a climb those above the peak, up to the
    /// lowest that failed; of given levels the one behind which no more were tried. None where no level passed, for
    /// then the peak itself is what failed.
    ///
    /// What such a window shows may be due to something else than the server, and then the peak may be too low.
    #[must_use]
    pub fn bounds(&self) -> Vec<&TestedLevel> {
        let Some(peak) = self.peak.as_ref().filter(|peak| peak.passed) else {
            return Vec::new();
        };
        if self.stop == StopReason::LevelFailed {
            return self.tested.last().into_iter().collect();
        }
        let above =
            |t: &&TestedLevel| t.concurrency > peak.concurrency && t.purpose != Purpose::Fixed;
        let failed = self.tested.iter().filter(above);
        let failed = failed.filter(|t| !t.verdict.passed);
        let lowest = failed.map(|t| t.concurrency).min().unwrap_or(u32::MAX);
        let bounds = self.tested.iter().filter(above);
        let mut bounds: Vec<&TestedLevel> = bounds.filter(|t| t.concurrency <= lowest).collect();
        bounds.sort_by_key(|t| t.concurrency);
        bounds
    }
}

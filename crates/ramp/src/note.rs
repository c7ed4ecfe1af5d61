//! Typed events of a controller, for the log.

use crate::outcome::{Peak, StopReason, TestedLevel};

/// Something a controller did that people may want to read about.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// The climb starts above the configured start, at the previous test's peak.
    OptimisticStart {
        /// First level.
        level: u32,
        /// Configured start.
        configured: u32,
    },
    /// The optimistic start was too high; the climb starts again lower.
    BackedOff {
        /// Level that failed.
        from: u32,
        /// New first level.
        to: u32,
    },
    /// A level passed and the climb goes on.
    Climbing {
        /// Level that passed.
        from: u32,
        /// Next level.
        to: u32,
        /// Its headroom.
        headroom: f64,
        /// Increments that the headroom allows; `to` may be nearer where the maximum is.
        multiple: u32,
    },
    /// A search between a good and a bad level begins.
    RefineStarted {
        /// Highest level known good.
        good: u32,
        /// Lowest level known bad.
        bad: u32,
    },
    /// A search step narrowed the range.
    Refined {
        /// Level tried.
        level: u32,
        /// It passed.
        passed: bool,
        /// Highest level known good, now.
        good: u32,
        /// Lowest level known bad, now.
        bad: u32,
    },
    /// The search for the peak is over.
    SearchEnded(StopReason),
    /// The peak was chosen.
    PeakChosen {
        /// It.
        peak: Peak,
        /// The levels it was chosen among, the best ones, best first.
        candidates: Vec<TestedLevel>,
    },
    /// No tested level can be chosen.
    NoPeak,
    /// Repeats at the peak begin.
    RetriesStarted {
        /// Level.
        concurrency: u32,
        /// Number of repeats.
        n: u32,
    },
    /// A given level and its repeats are done.
    LevelDone {
        /// Level.
        concurrency: u32,
    },
    /// A given level broke a threshold, so the levels behind it are not tried.
    LevelsLeftOut {
        /// Level that failed.
        failed: u32,
        /// Levels that were tried, the failed one included.
        n_tested: usize,
        /// Levels that are not tried, in their order.
        untested: Vec<u32>,
    },
}

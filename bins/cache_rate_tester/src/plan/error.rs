//! Why arguments make no plan.
//!
//! Promise: each message is one line that names the option, the value (secrets excepted) and the remedy.

use setup::ArgumentError;
use thiserror::Error;

/// Why arguments make no plan.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PlanError {
    /// A single value that cannot be used.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// The test ends before its first part does.
    #[error(
        "--test-duration {test} is shorter than {flag} {part}: raise the first or lower the second"
    )]
    TestTooShort {
        /// Seconds of the test.
        test: u64,
        /// The option of the part.
        flag: &'static str,
        /// Seconds of the part.
        part: u64,
    },
    /// The first level is above the highest.
    #[error(
        "--start-concurrency {start} is above --max-concurrency {max}: lower the first or raise the second"
    )]
    StartAboveMax {
        /// First level.
        start: u32,
        /// Highest level.
        max: u32,
    },
    /// Fixed mode without levels.
    #[error(
        "--mode fixed needs --fixed-concurrency-levels: list the levels to measure, such as 2 4 8"
    )]
    NoFixedLevels,
}

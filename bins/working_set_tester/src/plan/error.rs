//! Why arguments make no plan.
//!
//! Promise: each message is one line that names the option, the value (secrets excepted) and the remedy.

use setup::ArgumentError;
use setup::study::StudyError;
use thiserror::Error;

/// Why arguments make no plan.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PlanError {
    /// Something that the testers share.
    #[error(transparent)]
    Study(#[from] StudyError),
    /// The smallest size is above the largest.
    #[error(
        "--min-working-set-size {min} is above --max-working-set-size {max}: lower the first or raise the second"
    )]
    MinAboveMax {
        /// Tokens.
        min: u64,
        /// Tokens.
        max: u64,
    },
    /// Levels were given in two ways.
    #[error(
        "--fixed-concurrency and --fixed-concurrency-levels say the same thing: give one of them"
    )]
    LevelsTwice,
    /// Sustained mode, asked for, without anything to follow.
    #[error(
        "--mode sustained needs a threshold: give at least one of --max-ttft, such as 2.0, and --min-tokens-per-req, \
         such as 10"
    )]
    NoThreshold,
}

impl From<ArgumentError> for PlanError {
    fn from(error: ArgumentError) -> Self {
        Self::Study(error.into())
    }
}

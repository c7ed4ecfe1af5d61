//! Why arguments make no plan.
//!
//! Promise: each message is one line that names the option, the value (secrets excepted) and the remedy.

use core_client::EndpointError;
use thiserror::Error;

/// Why arguments make no plan.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PlanError {
    /// An endpoint that is no URL of a server.
    #[error("--api-endpoint")]
    Endpoint(#[from] EndpointError),
    /// A whole number outside its range.
    #[error("{flag} {value} is out of range: give {low} to {high} {unit}")]
    OutOfRange {
        /// The option.
        flag: &'static str,
        /// What was given.
        value: i128,
        /// Lowest allowed.
        low: i128,
        /// Highest allowed.
        high: i128,
        /// What is counted.
        unit: &'static str,
    },
    /// A decimal number outside its range.
    #[error("{flag} {value} is out of range: give {range}")]
    FloatOutOfRange {
        /// The option.
        flag: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed, with its unit.
        range: String,
    },
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
    /// An option that was given nothing.
    #[error("{flag} '' is empty: give {what}, or leave the option out")]
    Empty {
        /// The option.
        flag: &'static str,
        /// What is wanted.
        what: &'static str,
    },
    /// A key that cannot be sent. The key is not repeated.
    #[error(
        "--api-key holds a character that no header can carry: use printable ASCII without blanks"
    )]
    ApiKey,
    /// Not JSON.
    #[error(
        "--extra-body '{text}' is not JSON ({reason}): give an object such as '{{\"top_p\": 0.9}}'"
    )]
    ExtraBodySyntax {
        /// What was given, shortened.
        text: String,
        /// What the parser stumbled on.
        reason: String,
    },
    /// JSON, but no object.
    #[error("--extra-body '{text}' is not a JSON object: give one such as '{{\"top_p\": 0.9}}'")]
    ExtraBodyKind {
        /// What was given, shortened.
        text: String,
    },
    /// A field that belongs to the tool.
    #[error("--extra-body sets \"{key}\", which the tool sets itself: {remedy}")]
    ExtraBodyKey {
        /// The field.
        key: &'static str,
        /// What to do instead.
        remedy: &'static str,
    },
}

//! Why an argument cannot be used.
//!
//! Promise: each message is one line that names the option, the value (secrets excepted) and the remedy.

use core_client::EndpointError;
use thiserror::Error;

/// Why an argument cannot be used.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ArgumentError {
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
    /// A header that cannot be sent. Its value may be a secret and is not repeated.
    #[error("--header {name}: it makes no valid HTTP header")]
    Header {
        /// Its name.
        name: String,
    },
    /// A body that cannot be written.
    #[error("--extra-body")]
    Template(#[from] core_client::TemplateError),
}

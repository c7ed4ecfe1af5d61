//! Checks of single values.
//!
//! Promise: bounds are far beyond any sensible run and only keep arithmetic from overflowing, except
//! where the option itself has a range.

use std::time::Duration;

use cli::secret::Secret;
use serde_json::{Map, Value};

use crate::ArgumentError;

/// Tokens of a prompt or a working set: 10^12, so that products with a percentage fit 64 bits easily.
pub const MAX_TOKENS: i128 = 1_000_000_000_000;
/// Requests in flight: more than there are ports.
pub const MAX_LEVEL: i128 = 1_000_000;
/// Repeated windows.
pub const MAX_RETRIES: i128 = 1_000_000;
/// Threads: more than there are cores anywhere.
const MAX_THREADS: i128 = 4096;
/// Thirty years in seconds.
const MAX_SECONDS: i128 = 1_000_000_000;

/// A whole-number option, for the words of its errors.
#[derive(Debug, Clone, Copy)]
pub struct Int {
    /// The option, with its dashes.
    pub flag: &'static str,
    /// What is counted.
    pub unit: &'static str,
}

impl Int {
    /// The value, if it lies within both bounds.
    ///
    /// # Errors
    /// When it does not.
    pub fn within<T: TryFrom<i128>>(
        self,
        value: i128,
        low: i128,
        high: i128,
    ) -> Result<T, ArgumentError> {
        let Self { flag, unit } = self;
        let refused = || ArgumentError::OutOfRange {
            flag,
            value,
            low,
            high,
            unit,
        };
        if value < low || high < value {
            return Err(refused());
        }
        T::try_from(value).map_err(|_| refused())
    }
}

/// Checks every value, sorts them, drops duplicates.
///
/// # Errors
/// When the value is not that.
pub fn sorted_set<T: Ord>(
    values: &[i128],
    check: impl Fn(i128) -> Result<T, ArgumentError>,
) -> Result<Vec<T>, ArgumentError> {
    let mut set = values
        .iter()
        .map(|&value| check(value))
        .collect::<Result<Vec<T>, _>>()?;
    set.sort_unstable();
    set.dedup();
    Ok(set)
}

/// Whole seconds, at least one.
///
/// # Errors
/// When the value is not that.
pub fn seconds(flag: &'static str, value: i128) -> Result<Duration, ArgumentError> {
    Int {
        flag,
        unit: "seconds",
    }
    .within(value, 1, MAX_SECONDS)
    .map(Duration::from_secs)
}

/// Threads that carry requests: at least one, and no more than any machine has cores.
///
/// # Errors
/// When the value is not that.
pub fn client_threads(value: i128) -> Result<u32, ArgumentError> {
    Int {
        flag: "--client-threads",
        unit: "threads",
    }
    .within(value, 1, MAX_THREADS)
}

/// A threshold: above zero, if given.
///
/// # Errors
/// When the value is not that.
pub fn float_above_zero(
    flag: &'static str,
    unit: &'static str,
    value: Option<f64>,
) -> Result<Option<f64>, ArgumentError> {
    match value {
        Some(value) if value <= 0.0 => Err(ArgumentError::FloatOutOfRange {
            flag,
            value,
            range: format!("{unit} above 0"),
        }),
        other => Ok(other),
    }
}

/// A span that may be zero.
///
/// # Errors
/// When the value is not that.
pub fn float_from_zero(
    flag: &'static str,
    unit: &'static str,
    value: f64,
) -> Result<Duration, ArgumentError> {
    if (0.0..=MAX_SECONDS as f64).contains(&value) {
        Ok(Duration::from_secs_f64(value))
    } else {
        Err(ArgumentError::FloatOutOfRange {
            flag,
            value,
            range: format!("0 to {MAX_SECONDS} {unit}"),
        })
    }
}

/// A limit: above zero.
///
/// # Errors
/// When the value is not that.
pub fn timeout(flag: &'static str, value: f64) -> Result<Duration, ArgumentError> {
    float_above_zero(flag, "seconds", Some(value))?;
    let limit = float_from_zero(flag, "seconds", value)?;
    // A positive number can still be less than the clock can tell.
    Ok(limit.max(Duration::from_millis(1)))
}

/// Any 64-bit value, signed or not.
///
/// # Errors
/// When the value is not that.
pub fn seed(value: i128) -> Result<i128, ArgumentError> {
    let (low, high) = (i128::from(i64::MIN), i128::from(u64::MAX));
    Int {
        flag: "--seed",
        unit: "(any 64-bit number)",
    }
    .within(value, low, high)
}

/// Text that says something, if given.
///
/// # Errors
/// When the value is not that.
pub fn not_empty(
    flag: &'static str,
    what: &'static str,
    text: Option<String>,
) -> Result<Option<String>, ArgumentError> {
    match text {
        Some(text) if text.trim().is_empty() => Err(ArgumentError::Empty { flag, what }),
        other => Ok(other),
    }
}

/// A key that fits into a header; an empty one, such as an empty environment variable, is none.
///
/// # Errors
/// When the value is not that.
pub fn api_key(key: Option<Secret>) -> Result<Option<Secret>, ArgumentError> {
    let Some(key) = key.filter(|key| !key.expose().is_empty()) else {
        return Ok(None);
    };
    if key.expose().bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Some(key))
    } else {
        Err(ArgumentError::ApiKey)
    }
}

/// A JSON object that leaves the tool's own fields alone.
///
/// # Errors
/// When the value is not that.
pub fn extra_body(text: &str) -> Result<Map<String, Value>, ArgumentError> {
    const OWN: [(&str, &str); 5] = [
        ("model", "use --model"),
        ("messages", "the prompt is what is measured, leave it out"),
        ("prompt", "the prompt is what is measured, leave it out"),
        ("max_tokens", "use --output-tokens"),
        (
            "stream",
            "latency can only be taken from a stream, leave it out",
        ),
    ];
    let shown = || shortened(text);
    let value: Value =
        serde_json::from_str(text).map_err(|error| ArgumentError::ExtraBodySyntax {
            text: shown(),
            reason: error.to_string(),
        })?;
    let Value::Object(body) = value else {
        return Err(ArgumentError::ExtraBodyKind { text: shown() });
    };
    match OWN.iter().find(|(key, _)| body.contains_key(*key)) {
        Some(&(key, remedy)) => Err(ArgumentError::ExtraBodyKey { key, remedy }),
        None => Ok(body),
    }
}

/// The beginning of a text that may be long.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    let mut start: String = text.chars().take(SHOWN).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

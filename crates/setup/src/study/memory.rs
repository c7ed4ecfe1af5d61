//! Rough KV memory that is shown before anything is measured.

use cli::logging::{Line, Style};
use cli::options::KvPrecision;

use crate::tokenizer::SIMULATOR_MODEL;

/// Values per token of the reference geometry: keys and values × 4 KV heads × 64 dimensions × 48 layers.
const REFERENCE_VALUES_PER_TOKEN: u64 = 2 * 4 * 64 * 48;

/// Working sets beyond this many bytes of cache at FP8 deserve a warning: 100 GiB.
pub const LARGE_CACHE_BYTES: u64 = 100 * 1024 * 1024 * 1024;

/// KV memory in bytes of so many tokens for the reference geometry.
#[must_use]
pub fn reference_bytes(tokens: u64, precision: KvPrecision) -> u64 {
    let per_token = REFERENCE_VALUES_PER_TOKEN * u64::from(precision.bytes());
    tokens.saturating_mul(per_token)
}

/// The estimate by name is that of another model. The simulator has no cache that it could be wrong about.
#[must_use]
pub fn unknown_model(model: &str) -> Line {
    let text =
        format!("The KV cache of model {model} is not known; estimates assume that of a 70b model");
    if model == SIMULATOR_MODEL {
        Line::styled(Style::Config, text)
    } else {
        Line::warning(text)
    }
}

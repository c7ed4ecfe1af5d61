//! How much fits into a memory: the longest sequence, and how many requests of one length.
//!
//! Promise: exact to the token; what fits is what [`ModelGeometry::bytes`] says, with nothing set aside.

use crate::format::CacheFormat;
use crate::geometry::ModelGeometry;
use crate::unit::{KvBytes, TokenCount};

/// An answer that need not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// So many and no more.
    UpTo(u64),
    /// As many as anyone likes: the cache does not grow.
    Unlimited,
}

/// No sequence is longer; a cache that still fits at this length does not grow.
const FOREVER: u64 = 1 << 60;

/// Length of the longest sequences of which `batch` fit together.
#[must_use]
pub fn longest(geometry: &ModelGeometry, format: &CacheFormat, batch: u64, memory: KvBytes) -> Fit {
    let fits = |tokens: u64| {
        let one = geometry.bytes(TokenCount(tokens), format);
        one.saturating_mul(batch.into()) <= memory.0.into()
    };
    if fits(FOREVER) {
        return Fit::Unlimited;
    }
    // Invariant: `low` fits, `high` does not.
    let (mut low, mut high) = (0, FOREVER);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Fit::UpTo(low)
}

/// Number of requests of `context` tokens that fit together; unlimited for requests that keep nothing.
#[must_use]
pub fn requests(
    geometry: &ModelGeometry,
    format: &CacheFormat,
    context: TokenCount,
    memory: KvBytes,
) -> Fit {
    match geometry.bytes(context, format) {
        0 => Fit::Unlimited,
        one => Fit::UpTo(u64::try_from(u128::from(memory.0) / one).unwrap_or(u64::MAX)),
    }
}

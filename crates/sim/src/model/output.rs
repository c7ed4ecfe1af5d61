//! Which tokens the simulated model "writes": a pure function of a request's seed and the position.

use std::sync::Arc;

/// Mixes two numbers into one that looks random (the finaliser of SplitMix64, Steele et al. 2014).
#[must_use]
pub fn mix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number in [0, 1) from two numbers.
#[must_use]
pub fn unit(seed: u64, index: u64) -> f64 {
    // 53 bits are what an f64 holds exactly.
    (mix(seed, index) >> 11) as f64 / (1u64 << 53) as f64
}

/// The token ids that a request generates: words drawn from a list, without state.
#[derive(Clone, Debug)]
pub struct OutputIds {
    ids: Arc<[u32]>,
    seed: u64,
}

impl OutputIds {
    /// Draws from `ids`; `None` when there is nothing to draw from.
    #[must_use]
    pub fn new(ids: Arc<[u32]>, seed: u64) -> Option<Self> {
        (!ids.is_empty()).then_some(Self { ids, seed })
    }

    /// Which entry of the list stands at output position `position`.
    #[must_use]
    pub fn entry(&self, position: u32) -> usize {
        // The remainder is below the list's length, so the cast cannot cut.
        (mix(self.seed, u64::from(position)) % self.ids.len() as u64) as usize
    }

    /// The token id at output position `position`.
    #[must_use]
    pub fn id(&self, position: u32) -> u32 {
        self.ids[self.entry(position)]
    }
}

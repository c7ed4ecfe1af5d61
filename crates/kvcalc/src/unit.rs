//! The units of a KV cache: tokens, blocks of tokens, and bytes.
//!
//! Conversions are explicit methods that take the factor; there is no `From` between units, so a
//! [`TokenCount`] can never be added to [`KvBytes`].

use std::fmt;
use std::iter::Sum;
use std::num::NonZeroU32;
use std::ops::{Add, AddAssign, Sub};

/// A number of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenCount(pub u64);

impl TokenCount {
    /// No tokens.
    pub const ZERO: Self = Self(0);

    /// The bare number, for the edges where a unit cannot be carried.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// How many blocks of `size` these tokens fill completely.
    #[must_use]
    pub const fn full_blocks(self, size: BlockSize) -> u64 {
        self.0 / size.0.get() as u64
    }

    /// How many blocks of `size` are needed to hold these tokens, the last one perhaps in part.
    #[must_use]
    pub const fn blocks_to_hold(self, size: BlockSize) -> u64 {
        self.0.div_ceil(size.0.get() as u64)
    }

    /// `self - other`, or zero where that would be negative.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for TokenCount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for TokenCount {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for TokenCount {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Sum for TokenCount {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for TokenCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.0)
    }
}

/// Bytes of keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KvBytes(pub u64);

impl KvBytes {
    /// The bare number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// How many whole tokens fit into these bytes.
    #[must_use]
    pub const fn whole_tokens(self, per_token: KvBytesPerToken) -> TokenCount {
        TokenCount(self.0 / per_token.0.get() as u64)
    }
}

impl Add for KvBytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl fmt::Display for KvBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

/// Bytes of keys and values that one token takes over all layers; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KvBytesPerToken(NonZeroU32);

impl KvBytesPerToken {
    /// `None` for zero: a cache whose tokens weigh nothing has no size.
    #[must_use]
    pub const fn new(bytes: u32) -> Option<Self> {
        match NonZeroU32::new(bytes) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }

    /// The bare number of bytes.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// What `tokens` weigh.
    #[must_use]
    pub const fn of(self, tokens: TokenCount) -> KvBytes {
        KvBytes(tokens.0 * self.0.get() as u64)
    }
}

/// Tokens in one KV block, the unit in which a prefix cache stores and reuses; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockSize(NonZeroU32);

/// A block of no tokens was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a KV block must hold at least one token")]
pub struct ZeroBlockSize;

impl BlockSize {
    /// A block of `tokens` tokens.
    ///
    /// # Errors
    /// [`ZeroBlockSize`] for zero.
    pub const fn try_new(tokens: u32) -> Result<Self, ZeroBlockSize> {
        match NonZeroU32::new(tokens) {
            Some(tokens) => Ok(Self(tokens)),
            None => Err(ZeroBlockSize),
        }
    }

    /// Tokens in one block.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// Tokens in `blocks` full blocks.
    #[must_use]
    pub const fn tokens(self, blocks: u64) -> TokenCount {
        TokenCount(blocks * self.0.get() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_blocks_and_bytes_convert_by_the_named_factor() {
        let size = BlockSize::try_new(16).unwrap();
        assert_eq!(TokenCount(33).full_blocks(size), 2);
        assert_eq!(TokenCount(33).blocks_to_hold(size), 3);
        assert_eq!(TokenCount(32).blocks_to_hold(size), 2);
        assert_eq!(size.tokens(3), TokenCount(48));
        let per_token = KvBytesPerToken::new(131_072).unwrap();
        assert_eq!(per_token.of(TokenCount(1024)), KvBytes(134_217_728));
        assert_eq!(
            KvBytes(134_217_728 + 1).whole_tokens(per_token),
            TokenCount(1024)
        );
    }

    #[test]
    fn zero_sizes_are_refused() {
        assert_eq!(BlockSize::try_new(0), Err(ZeroBlockSize));
        assert_eq!(KvBytesPerToken::new(0), None);
    }
}

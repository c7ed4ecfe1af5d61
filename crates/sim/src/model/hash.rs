//! Prompts as chains of block hashes.
//!
//! Promises: a block's hash depends on every token from the start of the prompt to the block's last token
//! and on nothing else, so equal hashes mean equal prefixes (SHA-256 cut to 128 bits: a collision is not a
//! practical event). Only full blocks are hashed: a partial block has no identity and can never be a hit.

use kvcalc::{BlockSize, TokenCount};
use sha2::{Digest, Sha256};

/// The identity of a full block: the hash of the whole token prefix that ends with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash([u8; 16]);

impl BlockHash {
    /// The parent of a prompt's first block.
    pub const ROOT: Self = Self([0; 16]);

    /// The hash of the block `ids` behind the prefix that `self` stands for.
    #[must_use]
    pub fn extend(self, ids: &[u32]) -> Self {
        let mut digest = Sha256::new();
        digest.update(self.0);
        // One update per block and not per token: the hasher's own buffering costs more than the hashing.
        let mut bytes = Vec::with_capacity(ids.len() * 4);
        for id in ids {
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        digest.update(&bytes);
        let full = digest.finalize();
        let mut cut = [0; 16];
        cut.copy_from_slice(&full[..16]);
        Self(cut)
    }
}

impl BlockHash {
    /// Its first eight bytes, as a seed.
    #[must_use]
    pub fn seed(self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        u64::from_le_bytes(first)
    }
}

impl std::fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl std::fmt::Display for BlockHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A token sequence cut into blocks: the hashes of its full blocks and the ids left over.
///
/// It can grow at the end, as a request does while it generates.
#[derive(Clone, Debug)]
pub struct PromptBlocks {
    block_size: BlockSize,
    hashes: Vec<BlockHash>,
    tail: Vec<u32>,
}

impl PromptBlocks {
    /// Cuts `ids` into blocks of `block_size`.
    #[must_use]
    pub fn new(ids: &[u32], block_size: BlockSize) -> Self {
        let chunks = ids.chunks_exact(block_size.get() as usize);
        let tail = chunks.remainder().to_vec();
        let hashes = chunks
            .scan(BlockHash::ROOT, |parent, block| {
                *parent = parent.extend(block);
                Some(*parent)
            })
            .collect();
        Self {
            block_size,
            hashes,
            tail,
        }
    }

    /// Number of tokens.
    #[must_use]
    pub fn tokens(&self) -> TokenCount {
        self.block_size.tokens(self.hashes.len() as u64) + TokenCount(self.tail.len() as u64)
    }

    /// The hashes of the full blocks, in order.
    #[must_use]
    pub fn hashes(&self) -> &[BlockHash] {
        &self.hashes
    }

    /// One hash of the whole sequence, the partial block included.
    #[must_use]
    pub fn fingerprint(&self) -> BlockHash {
        let parent = self.hashes.last().copied().unwrap_or(BlockHash::ROOT);
        parent.extend(&self.tail)
    }

    /// The block size that the sequence was cut with.
    #[must_use]
    pub fn block_size(&self) -> BlockSize {
        self.block_size
    }

    /// Appends one token.
    pub fn push(&mut self, id: u32) {
        self.tail.push(id);
        if self.tail.len() == self.block_size.get() as usize {
            let parent = self.hashes.last().copied().unwrap_or(BlockHash::ROOT);
            self.hashes.push(parent.extend(&self.tail));
            self.tail.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Two prompts share exactly the block hashes of the full blocks of their common token prefix.
        #[test]
        fn equal_hashes_mean_equal_prefixes(
            shared in prop::collection::vec(0u32..50, 0..100),
            mut left in prop::collection::vec(0u32..50, 0..60),
            right in prop::collection::vec(0u32..50, 0..60),
            size in 1u32..20,
        ) {
            if let (Some(l), Some(r)) = (left.first_mut(), right.first()) && *l == *r {
                *l = 1000;
            }
            let size = BlockSize::try_new(size).unwrap();
            let a = PromptBlocks::new(&[shared.clone(), left].concat(), size);
            let b = PromptBlocks::new(&[shared.clone(), right].concat(), size);
            let common = a.hashes().iter().zip(b.hashes()).take_while(|(x, y)| x == y).count();
            let least = shared.len() / size.get() as usize;
            prop_assert_eq!(common, least.min(a.hashes().len()).min(b.hashes().len()));
            // Behind the first difference nothing is equal again: the chain carries the difference on.
            prop_assert!(a.hashes().iter().skip(common).zip(b.hashes().iter().skip(common)).all(|(x, y)| x != y));
        }

        /// A sequence grown token by token is the sequence cut at once.
        #[test]
        fn growing_equals_cutting(ids in prop::collection::vec(any::<u32>(), 0..80), size in 1u32..20) {
            let size = BlockSize::try_new(size).unwrap();
            let mut grown = PromptBlocks::new(&[], size);
            ids.iter().for_each(|id| grown.push(*id));
            let cut = PromptBlocks::new(&ids, size);
            prop_assert_eq!(grown.hashes(), cut.hashes());
            prop_assert_eq!(grown.tokens(), TokenCount(ids.len() as u64));
        }
    }
}

//! The prefix cache over its tiers.
//!
//! Promises:
//! * a hit is a run of blocks from the start of the prompt, each found in some tier; the first block that is
//!   nowhere ends it;
//! * a block becomes a hit when it is promoted (computed or loaded), never before;
//! * blocks in use are never evicted, and a tier never holds more than its capacity;
//! * with exclusive tiers and no request in flight, a block is in at most one tier.
//!
//! Eviction from one tier demotes to the next; the last tier forgets. A store into a full tier whose blocks
//! are all in use is dropped and counted.

use std::time::Duration;

use kvcalc::BlockSize;

use super::config::{EngineConfig, Inclusion, WritePolicy};
use super::hash::BlockHash;
use super::store::{BlockStore, Found};

/// What happened in one tier so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierCounters {
    /// Prompt tokens served from this tier.
    pub hit_tokens: u64,
    /// Blocks stored into this tier (for the first tier: computed or loaded into it).
    pub stored_blocks: u64,
    /// Blocks that left to make room.
    pub evicted_blocks: u64,
    /// Of those, blocks handed to the next tier.
    pub demoted_blocks: u64,
    /// Blocks dropped because their time to live had passed.
    pub expired_blocks: u64,
    /// Blocks that could not be stored because every block was in use.
    pub refused_blocks: u64,
}

/// What happened in the whole cache so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheCounters {
    /// Prompt tokens looked up.
    pub queried_tokens: u64,
    /// Per tier, fastest first.
    pub tiers: Vec<TierCounters>,
}

/// A block that has to be loaded from a lower tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoadBlock {
    /// Its position in the sequence.
    pub(crate) index: usize,
    /// Where it is now.
    pub(crate) tier: usize,
    hash: BlockHash,
}

/// The HBM blocks that one request holds.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// One per block of the sequence; `None` is a block without identity (yet).
    slots: Vec<Option<BlockHash>>,
    /// Blocks still to be loaded, in order.
    loads: Vec<LoadBlock>,
    /// Blocks hit in each tier, fastest first.
    hits: Vec<u64>,
}

impl Lease {
    /// Blocks held.
    pub(crate) fn blocks(&self) -> usize {
        self.slots.len()
    }

    /// Blocks hit, over all tiers.
    pub(crate) fn hit_blocks(&self) -> u64 {
        self.hits.iter().sum()
    }

    /// Blocks hit in `tier`.
    pub(crate) fn hit_blocks_in(&self, tier: usize) -> u64 {
        self.hits.get(tier).copied().unwrap_or(0)
    }
}

/// The cache.
#[derive(Debug)]
pub(crate) struct PrefixCache {
    tiers: Vec<BlockStore>,
    block_size: BlockSize,
    write: WritePolicy,
    inclusion: Inclusion,
    store_lag: Duration,
    counters: CacheCounters,
}

impl PrefixCache {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        let tiers: Vec<_> = config
            .tiers
            .iter()
            .map(|tier| {
                let blocks = tier.capacity.full_blocks(config.block_size);
                BlockStore::new(
                    usize::try_from(blocks).unwrap_or(usize::MAX),
                    tier.eviction,
                    tier.ttl,
                )
            })
            .collect();
        Self {
            counters: CacheCounters {
                queried_tokens: 0,
                tiers: vec![TierCounters::default(); tiers.len()],
            },
            tiers,
            block_size: config.block_size,
            write: config.write,
            inclusion: config.inclusion,
            store_lag: config.store_lag,
        }
    }

    pub(crate) fn counters(&self) -> &CacheCounters {
        &self.counters
    }

    /// Blocks that HBM has in all.
    pub(crate) fn hbm_capacity(&self) -> usize {
        self.tiers[0].capacity()
    }

    /// Blocks held and blocks in use, per tier.
    pub(crate) fn occupancy(&self) -> Vec<(usize, usize)> {
        self.tiers
            .iter()
            .map(|tier| (tier.used(), tier.in_use()))
            .collect()
    }

    /// Takes `blocks` HBM blocks for a sequence whose first blocks are `hashes`, of which at most `max_hits`
    /// may be reused. `None`, and nothing changed, if they are not to be had now.
    pub(crate) fn acquire(
        &mut self,
        hashes: &[BlockHash],
        max_hits: usize,
        blocks: usize,
        now: Duration,
    ) -> Option<Lease> {
        let mut sources = Vec::new();
        for hash in hashes.iter().take(max_hits) {
            match self.find(*hash, now) {
                Some(tier) => sources.push(tier),
                None => break,
            }
        }
        let hbm = &self.tiers[0];
        let in_hbm = sources.iter().filter(|tier| **tier == 0).count();
        let idle_hits = sources
            .iter()
            .zip(hashes)
            .filter(|(tier, hash)| **tier == 0 && !hbm.is_pinned(**hash))
            .count();
        if hbm.empty() + hbm.evictable() < idle_hits + (blocks - in_hbm) {
            return None;
        }
        let mut lease = Lease {
            slots: vec![None; blocks],
            loads: Vec::new(),
            hits: vec![0; self.tiers.len()],
        };
        for (index, (tier, hash)) in sources.iter().zip(hashes).enumerate() {
            self.tiers[*tier].pin(*hash);
            lease.hits[*tier] += 1;
            if *tier == 0 {
                lease.slots[index] = Some(*hash);
            } else {
                lease.loads.push(LoadBlock {
                    index,
                    tier: *tier,
                    hash: *hash,
                });
            }
        }
        for _ in 0..blocks - in_hbm {
            self.take_hbm_block(now);
        }
        Some(lease)
    }

    /// Counts a prompt's lookup: done once per request, when it is first admitted.
    pub(crate) fn count_lookup(&mut self, prompt_tokens: u64, lease: &Lease) {
        self.counters.queried_tokens += prompt_tokens;
        for (counters, hits) in self.counters.tiers.iter_mut().zip(&lease.hits) {
            counters.hit_tokens += self.block_size.tokens(*hits).get();
        }
    }

    /// Adds one block without identity to the lease; `false`, and nothing changed, if HBM is full of blocks in use.
    pub(crate) fn grow(&mut self, lease: &mut Lease, now: Duration) -> bool {
        let hbm = &self.tiers[0];
        if hbm.empty() + hbm.evictable() == 0 {
            return false;
        }
        self.take_hbm_block(now);
        lease.slots.push(None);
        true
    }

    /// Makes the sequence's block `index` a hit for others: its content is complete.
    pub(crate) fn promote(
        &mut self,
        lease: &mut Lease,
        index: usize,
        hash: BlockHash,
        now: Duration,
    ) {
        if lease.slots[index].is_some() {
            return;
        }
        lease.slots[index] = Some(hash);
        let hbm = &mut self.tiers[0];
        // Two requests may have computed the same block side by side: the later one gives its copy back.
        hbm.give_anonymous(1);
        if hbm.contains(hash) {
            hbm.pin(hash);
            return;
        }
        hbm.insert(hash, now, now);
        hbm.pin(hash);
        self.counters.tiers[0].stored_blocks += 1;
        if self.inclusion == Inclusion::Exclusive {
            self.tiers[1..]
                .iter_mut()
                .for_each(|tier| tier.remove(hash));
        }
        if self.write == WritePolicy::Through {
            self.store(1, hash, now);
        }
    }

    /// The number of blocks that the lease has still to load from `tier`.
    pub(crate) fn blocks_to_load(lease: &Lease, tier: usize) -> u64 {
        lease.loads.iter().filter(|load| load.tier == tier).count() as u64
    }

    /// The fastest tier from which the lease has still to load.
    pub(crate) fn next_load_tier(lease: &Lease) -> Option<usize> {
        lease.loads.iter().map(|load| load.tier).min()
    }

    /// All blocks that the lease loads from `tier` have arrived in HBM.
    pub(crate) fn finish_load(&mut self, lease: &mut Lease, tier: usize, now: Duration) {
        let (done, rest) = std::mem::take(&mut lease.loads)
            .into_iter()
            .partition::<Vec<_>, _>(|load| load.tier == tier);
        lease.loads = rest;
        self.release_loads(&done, now);
        for load in done {
            self.promote(lease, load.index, load.hash, now);
        }
    }

    /// Gives everything back. The blocks stay hits until they are evicted; the sequence's last block goes first.
    pub(crate) fn release(&mut self, lease: Lease, now: Duration) {
        self.release_loads(&lease.loads, now);
        for slot in lease.slots.into_iter().rev() {
            match slot {
                Some(hash) => self.tiers[0].unpin(hash, now),
                None => self.tiers[0].give_anonymous(1),
            }
        }
    }

    /// Forgets every block that nobody uses.
    pub(crate) fn clear(&mut self) {
        self.tiers.iter_mut().for_each(BlockStore::clear);
    }

    /// Lets go of the sources of loads, whether they arrived or not.
    fn release_loads(&mut self, loads: &[LoadBlock], now: Duration) {
        for load in loads.iter().rev() {
            self.tiers[load.tier].unpin(load.hash, now);
            // Another request may have moved the block on while this one held it here.
            if self.inclusion == Inclusion::Exclusive && self.is_elsewhere(load.hash, load.tier) {
                self.tiers[load.tier].remove(load.hash);
            }
        }
    }

    fn is_elsewhere(&self, hash: BlockHash, tier: usize) -> bool {
        let mut others = self
            .tiers
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != tier);
        others.any(|(_, other)| other.contains(hash))
    }

    /// The fastest tier in which the block can be hit now.
    fn find(&mut self, hash: BlockHash, now: Duration) -> Option<usize> {
        for (index, tier) in self.tiers.iter_mut().enumerate() {
            match tier.find(hash, now) {
                Found::Hit => return Some(index),
                Found::Expired => self.counters.tiers[index].expired_blocks += 1,
                Found::Miss => {}
            }
        }
        None
    }

    /// Takes one HBM block; the caller has checked that one is empty or evictable.
    fn take_hbm_block(&mut self, now: Duration) {
        if self.tiers[0].empty() == 0 {
            self.make_room(0, now);
        }
        self.tiers[0].take_anonymous();
    }

    /// Evicts one block from `tier` and demotes it; `false` if every block is in use.
    fn make_room(&mut self, tier: usize, now: Duration) -> bool {
        let Some((victim, stale)) = self.tiers[tier].evict(now) else {
            return false;
        };
        if stale {
            self.counters.tiers[tier].expired_blocks += 1;
            return true;
        }
        self.counters.tiers[tier].evicted_blocks += 1;
        // Written through, HBM's blocks are below already (or were dropped there on purpose).
        let below_already = tier == 0 && self.write == WritePolicy::Through;
        if !below_already && tier + 1 < self.tiers.len() {
            self.counters.tiers[tier].demoted_blocks += 1;
            self.store(tier + 1, victim, now);
        }
        true
    }

    /// Stores a block into a lower tier, where it can be hit after the lag.
    fn store(&mut self, tier: usize, hash: BlockHash, now: Duration) {
        if tier >= self.tiers.len() {
            return;
        }
        if self.tiers[tier].contains(hash) {
            self.tiers[tier].touch(hash, now);
            return;
        }
        if self.tiers[tier].empty() == 0 && !self.make_room(tier, now) {
            self.counters.tiers[tier].refused_blocks += 1;
            return;
        }
        self.tiers[tier].insert(hash, now + self.store_lag, now);
        self.counters.tiers[tier].stored_blocks += 1;
    }
}

#[cfg(test)]
mod tests;

//! One tier's blocks: which are there, which are in use, and which goes next.
//!
//! Promises: blocks in use (pinned) are never evicted; the order of eviction is LRU or FIFO exactly; the
//! number of blocks held never exceeds the capacity. Knows nothing of other tiers.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::config::Eviction;
use super::hash::BlockHash;

#[derive(Debug)]
struct Entry {
    /// Position in the order of eviction: the stamp of the last use (LRU) or of the insertion (FIFO).
    stamp: u64,
    /// How many requests use the block now; only unused blocks stand in `order`.
    pins: u32,
    /// From when on the block can be hit: a store takes time.
    visible_at: Duration,
    last_use: Duration,
}

/// One tier.
#[derive(Debug)]
pub(crate) struct BlockStore {
    capacity: usize,
    eviction: Eviction,
    ttl: Option<Duration>,
    entries: HashMap<BlockHash, Entry>,
    /// Unused blocks by stamp: the first goes first.
    order: BTreeMap<u64, BlockHash>,
    /// Blocks in use that have no identity (yet): being computed, loading, or partial.
    anonymous: usize,
    next_stamp: u64,
}

/// What a lookup found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// There, and usable now.
    Hit,
    /// Not there, or still being stored.
    Miss,
    /// It was there, but its time to live had passed; it is gone now.
    Expired,
}

impl BlockStore {
    pub(crate) fn new(capacity: usize, eviction: Eviction, ttl: Option<Duration>) -> Self {
        Self {
            capacity,
            eviction,
            ttl,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            anonymous: 0,
            next_stamp: 0,
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Blocks held, with and without identity.
    pub(crate) fn used(&self) -> usize {
        self.entries.len() + self.anonymous
    }

    /// Blocks that hold nothing.
    pub(crate) fn empty(&self) -> usize {
        self.capacity - self.used()
    }

    /// Blocks that could be evicted now.
    pub(crate) fn evictable(&self) -> usize {
        self.order.len()
    }

    /// Blocks that running requests use.
    pub(crate) fn in_use(&self) -> usize {
        self.used() - self.evictable()
    }

    /// Looks a block up and drops it if it is out of date.
    pub(crate) fn find(&mut self, hash: BlockHash, now: Duration) -> Found {
        let Some(entry) = self.entries.get(&hash) else {
            return Found::Miss;
        };
        if self.is_stale(entry, now) {
            self.remove(hash);
            return Found::Expired;
        }
        if entry.visible_at <= now {
            Found::Hit
        } else {
            Found::Miss
        }
    }

    fn is_stale(&self, entry: &Entry, now: Duration) -> bool {
        self.ttl
            .is_some_and(|ttl| entry.pins == 0 && entry.last_use + ttl <= now)
    }

    pub(crate) fn contains(&self, hash: BlockHash) -> bool {
        self.entries.contains_key(&hash)
    }

    /// Whether the block is there and in use.
    pub(crate) fn is_pinned(&self, hash: BlockHash) -> bool {
        self.entries.get(&hash).is_some_and(|entry| entry.pins > 0)
    }

    /// Marks a block that is there as used by one more request.
    pub(crate) fn pin(&mut self, hash: BlockHash) {
        let entry = self.entry_mut(hash);
        entry.pins += 1;
        let (first, stamp) = (entry.pins == 1, entry.stamp);
        if first {
            self.order.remove(&stamp);
        }
    }

    /// Takes one use back; the last one makes the block evictable, as the most recently used.
    pub(crate) fn unpin(&mut self, hash: BlockHash, now: Duration) {
        let fresh = self.next_stamp;
        let lru = self.eviction == Eviction::Lru;
        let entry = self.entry_mut(hash);
        entry.pins -= 1;
        entry.last_use = now;
        if entry.pins == 0 {
            if lru {
                entry.stamp = fresh;
            }
            let stamp = entry.stamp;
            self.order.insert(stamp, hash);
            self.next_stamp += u64::from(lru);
        }
    }

    /// Notes a use of a block that is there, without holding it.
    pub(crate) fn touch(&mut self, hash: BlockHash, now: Duration) {
        self.pin(hash);
        self.unpin(hash, now);
    }

    /// Adds a block that is not there; the caller has made room.
    pub(crate) fn insert(&mut self, hash: BlockHash, visible_at: Duration, now: Duration) {
        debug_assert!(self.empty() > 0 && !self.contains(hash));
        let stamp = self.next_stamp;
        self.next_stamp += 1;
        self.entries.insert(
            hash,
            Entry {
                stamp,
                pins: 0,
                visible_at,
                last_use: now,
            },
        );
        self.order.insert(stamp, hash);
    }

    /// Takes a block without identity; the caller has made room.
    pub(crate) fn take_anonymous(&mut self) {
        debug_assert!(self.empty() > 0);
        self.anonymous += 1;
    }

    /// Gives `blocks` blocks without identity back.
    pub(crate) fn give_anonymous(&mut self, blocks: usize) {
        self.anonymous -= blocks;
    }

    /// Evicts the next block in order. The flag says that it was out of date and not worth keeping
    /// elsewhere. `None` if every block is in use.
    pub(crate) fn evict(&mut self, now: Duration) -> Option<(BlockHash, bool)> {
        let (_, hash) = self.order.pop_first()?;
        let entry = self.entries.remove(&hash)?;
        Some((hash, self.is_stale(&entry, now)))
    }

    /// Removes a block that nobody uses, if it is there.
    pub(crate) fn remove(&mut self, hash: BlockHash) {
        if let Some(entry) = self.entries.get(&hash)
            && entry.pins == 0
        {
            self.order.remove(&entry.stamp);
            self.entries.remove(&hash);
        }
    }

    /// Removes every block that nobody uses.
    pub(crate) fn clear(&mut self) {
        while let Some((_, hash)) = self.order.pop_first() {
            self.entries.remove(&hash);
        }
    }

    fn entry_mut(&mut self, hash: BlockHash) -> &mut Entry {
        self.entries
            .get_mut(&hash)
            .expect("a block is pinned and unpinned only while it is in the store")
    }
}

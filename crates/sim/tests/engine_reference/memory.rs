//! The reference of the tiers: lists of blocks, each known by its whole prefix.

pub(crate) struct Block {
    pub(crate) prefix: Vec<u32>,
    pub(crate) pins: u32,
    pub(crate) visible_at: u64,
    pub(crate) last_use: u64,
}

/// Blocks in the order in which they are evicted, those in use in between.
pub(crate) struct Tier {
    pub(crate) capacity: usize,
    pub(crate) fifo: bool,
    pub(crate) ttl: Option<u64>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) stored: u64,
    pub(crate) evicted: u64,
    pub(crate) demoted: u64,
    pub(crate) expired: u64,
    pub(crate) refused: u64,
    pub(crate) hit_tokens: u64,
}

impl Tier {
    pub(crate) fn at(&self, prefix: &[u32]) -> Option<usize> {
        self.blocks.iter().position(|block| block.prefix == prefix)
    }

    pub(crate) fn is_stale(&self, block: &Block, now: u64) -> bool {
        block.pins == 0 && self.ttl.is_some_and(|ttl| block.last_use + ttl <= now)
    }

    pub(crate) fn pin(&mut self, prefix: &[u32]) {
        let at = self.at(prefix).unwrap();
        self.blocks[at].pins += 1;
    }

    pub(crate) fn unpin(&mut self, prefix: &[u32], now: u64) {
        let at = self.at(prefix).unwrap();
        self.blocks[at].pins -= 1;
        self.blocks[at].last_use = now;
        if self.blocks[at].pins == 0 && !self.fifo {
            let block = self.blocks.remove(at);
            self.blocks.push(block);
        }
    }

    pub(crate) fn remove_if_unused(&mut self, prefix: &[u32]) {
        self.blocks
            .retain(|block| block.prefix != prefix || block.pins > 0);
    }

    pub(crate) fn unused(&self) -> usize {
        self.blocks.iter().filter(|block| block.pins == 0).count()
    }
}

pub(crate) struct Memory {
    pub(crate) tiers: Vec<Tier>,
    pub(crate) anonymous: usize,
    pub(crate) through: bool,
    pub(crate) exclusive: bool,
    pub(crate) lag: u64,
}

impl Memory {
    pub(crate) fn find(&mut self, prefix: &[u32], now: u64) -> Option<usize> {
        for (index, tier) in self.tiers.iter_mut().enumerate() {
            let Some(at) = tier.at(prefix) else { continue };
            if tier.is_stale(&tier.blocks[at], now) {
                tier.expired += 1;
                tier.blocks.remove(at);
            } else if tier.blocks[at].visible_at <= now {
                return Some(index);
            }
        }
        None
    }

    pub(crate) fn empty(&self) -> usize {
        self.tiers[0].capacity - self.tiers[0].blocks.len() - self.anonymous
    }

    pub(crate) fn take(&mut self, now: u64) {
        if self.empty() == 0 {
            assert!(self.make_room(0, now));
        }
        self.anonymous += 1;
    }

    pub(crate) fn make_room(&mut self, index: usize, now: u64) -> bool {
        let tier = &mut self.tiers[index];
        let Some(at) = tier.blocks.iter().position(|block| block.pins == 0) else {
            return false;
        };
        let victim = tier.blocks.remove(at);
        if tier.is_stale(&victim, now) {
            tier.expired += 1;
            return true;
        }
        tier.evicted += 1;
        if index + 1 < self.tiers.len() && !(index == 0 && self.through) {
            self.tiers[index].demoted += 1;
            self.store(index + 1, &victim.prefix, now);
        }
        true
    }

    pub(crate) fn store(&mut self, index: usize, prefix: &[u32], now: u64) {
        if index >= self.tiers.len() {
            return;
        }
        if self.tiers[index].at(prefix).is_some() {
            self.tiers[index].pin(prefix);
            self.tiers[index].unpin(prefix, now);
            return;
        }
        let is_full = self.tiers[index].blocks.len() == self.tiers[index].capacity;
        if is_full && !self.make_room(index, now) {
            self.tiers[index].refused += 1;
            return;
        }
        self.tiers[index].stored += 1;
        self.tiers[index].blocks.push(Block {
            prefix: prefix.to_vec(),
            pins: 0,
            visible_at: now + self.lag,
            last_use: now,
        });
    }

    /// A block of a sequence is complete in HBM.
    pub(crate) fn complete(&mut self, prefix: &[u32], now: u64) {
        self.anonymous -= 1;
        if self.tiers[0].at(prefix).is_some() {
            return self.tiers[0].pin(prefix);
        }
        self.tiers[0].stored += 1;
        self.tiers[0].blocks.push(Block {
            prefix: prefix.to_vec(),
            pins: 1,
            visible_at: now,
            last_use: now,
        });
        if self.exclusive {
            self.tiers[1..]
                .iter_mut()
                .for_each(|tier| tier.remove_if_unused(prefix));
        }
        if self.through {
            self.store(1, prefix, now);
        }
    }

    /// A block that was being loaded is let go of where it came from.
    pub(crate) fn let_go(&mut self, index: usize, prefix: &[u32], now: u64) {
        self.tiers[index].unpin(prefix, now);
        let elsewhere = |(other, tier): (usize, &Tier)| other != index && tier.at(prefix).is_some();
        if self.exclusive && self.tiers.iter().enumerate().any(elsewhere) {
            self.tiers[index].remove_if_unused(prefix);
        }
    }
}

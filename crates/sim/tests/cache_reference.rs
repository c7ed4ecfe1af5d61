//! The prefix cache against a slow reference made of plain lists, and against laws that need no reference.
#![allow(
    clippy::unwrap_used,
    reason = "helpers outside of test functions may panic as tests do"
)]

mod common;

use std::time::Duration;

use common::{
    drain, engine_config, eviction, outcomes, policies, prompt, request, run_alone, tier,
};
use proptest::prelude::*;
use sim::model::{Engine, EngineConfig, Eviction, Inclusion, WritePolicy};

const SIZE: u32 = 4;

/// A tier as a list of whole prefixes, the next to be evicted first.
struct SlowTier {
    capacity: usize,
    fifo: bool,
    list: Vec<Vec<u32>>,
    pinned: Vec<Vec<u32>>,
    stored: u64,
    evicted: u64,
    refused: u64,
}

impl SlowTier {
    fn has(&self, block: &[u32]) -> bool {
        self.list.iter().any(|held| held == block)
    }

    fn use_again(&mut self, block: &[u32]) {
        if !self.fifo && !self.pinned.iter().any(|pinned| pinned == block) {
            self.list.retain(|held| held != block);
            self.list.push(block.to_vec());
        }
    }

    fn evict(&mut self) -> Option<Vec<u32>> {
        let index = self
            .list
            .iter()
            .position(|held| !self.pinned.contains(held))?;
        self.evicted += 1;
        Some(self.list.remove(index))
    }
}

/// A cache that serves one request at a time.
struct SlowCache {
    tiers: Vec<SlowTier>,
    through: bool,
    exclusive: bool,
    anonymous: usize,
}

impl SlowCache {
    fn new(config: &EngineConfig) -> Self {
        let tiers = config.tiers.iter().map(|tier| SlowTier {
            capacity: (tier.capacity.get() / u64::from(SIZE)) as usize,
            fifo: tier.eviction == Eviction::Fifo,
            list: vec![],
            pinned: vec![],
            stored: 0,
            evicted: 0,
            refused: 0,
        });
        Self {
            tiers: tiers.collect(),
            through: config.write == WritePolicy::Through,
            exclusive: config.inclusion == Inclusion::Exclusive,
            anonymous: 0,
        }
    }

    fn store(&mut self, at: usize, block: Vec<u32>) {
        if at >= self.tiers.len() {
            return;
        }
        if self.tiers[at].has(&block) {
            self.tiers[at].use_again(&block);
            return;
        }
        if self.tiers[at].list.len() == self.tiers[at].capacity {
            match self.tiers[at].evict() {
                Some(victim) => self.store(at + 1, victim),
                None => {
                    self.tiers[at].refused += 1;
                    return;
                }
            }
        }
        self.tiers[at].stored += 1;
        self.tiers[at].list.push(block);
    }

    fn make_room(&mut self) {
        while self.tiers[0].list.len() + self.anonymous > self.tiers[0].capacity {
            let victim = self.tiers[0]
                .evict()
                .expect("one request alone always fits");
            if !self.through {
                self.store(1, victim);
            }
        }
    }

    fn enter(&mut self, block: &[u32]) {
        self.anonymous -= 1;
        if !self.tiers[0].has(block) {
            self.tiers[0].stored += 1;
            self.tiers[0].list.push(block.to_vec());
            if self.exclusive {
                for lower in &mut self.tiers[1..] {
                    if !lower.pinned.iter().any(|pinned| pinned == block) {
                        lower.list.retain(|held| held != block);
                    }
                }
            }
            if self.through {
                self.store(1, block.to_vec());
            }
        }
        self.tiers[0].pinned.push(block.to_vec());
    }

    /// Serves a request and gives the tokens hit in each tier.
    fn serve(&mut self, prompt: &[u32], output: usize) -> Vec<u64> {
        let size = SIZE as usize;
        let blocks: Vec<&[u32]> = (1..=prompt.len() / size)
            .map(|n| &prompt[..n * size])
            .collect();
        let sources: Vec<usize> = blocks
            .iter()
            .take((prompt.len() - 1) / size)
            .map_while(|block| self.tiers.iter().position(|tier| tier.has(block)))
            .collect();
        for (block, source) in blocks.iter().zip(&sources) {
            self.tiers[*source].pinned.push(block.to_vec());
        }
        let hits_in = |tier| sources.iter().filter(|source| **source == tier).count();
        self.anonymous = prompt.len().div_ceil(size) - hits_in(0);
        self.make_room();
        for tier in 1..self.tiers.len() {
            let loaded =
                |(block, source): (&&[u32], &usize)| (*source == tier).then(|| block.to_vec());
            let loads: Vec<Vec<u32>> = blocks.iter().zip(&sources).filter_map(loaded).collect();
            for block in loads.iter().rev() {
                self.tiers[tier].pinned.retain(|pinned| pinned != block);
                self.tiers[tier].use_again(block);
                if self.exclusive {
                    self.tiers[tier].list.retain(|held| held != block);
                }
            }
            loads.iter().for_each(|block| self.enter(block));
        }
        for block in &blocks[sources.len()..] {
            self.enter(block);
        }
        // The last generated token is never computed.
        self.anonymous += (prompt.len() + output - 1).div_ceil(size) - prompt.len().div_ceil(size);
        self.make_room();
        self.anonymous = 0;
        self.tiers[0].pinned.clear();
        for block in blocks.iter().rev() {
            self.tiers[0].use_again(block);
        }
        (0..self.tiers.len())
            .map(|tier| (hits_in(tier) * size) as u64)
            .collect()
    }
}

fn requests() -> impl Strategy<Value = Vec<(Vec<u32>, u32)>> {
    prop::collection::vec((prompt(SIZE), 1u32..8), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// One request at a time, every hit in every tier, every store and every eviction is what plain lists give.
    #[test]
    fn hits_stores_and_evictions_equal_the_slow_reference(
        requests in requests(),
        hbm in (11u64..30, eviction()),
        lower in prop::collection::vec((1u64..30, eviction()), 0..3),
        (write, inclusion) in policies(),
    ) {
        let mut config = engine_config(hbm.0, SIZE);
        config.tiers[0].eviction = hbm.1;
        for (index, (blocks, eviction)) in lower.into_iter().enumerate() {
            let mut below = tier(&format!("tier{index}"), blocks, SIZE);
            below.eviction = eviction;
            config.tiers.push(below);
        }
        config.write = write;
        config.inclusion = inclusion;
        let mut slow = SlowCache::new(&config);
        let mut engine = Engine::new(config).unwrap();
        for (prompt, output) in &requests {
            let now = engine.next_event_at().unwrap_or_default();
            let outcome = run_alone(&mut engine, now, prompt, *output);
            prop_assert_eq!(outcome.usage.cached_by_tier, slow.serve(prompt, *output as usize));
        }
        let stats = engine.stats();
        for (index, (fast, slow)) in stats.cache.tiers.iter().zip(&slow.tiers).enumerate() {
            prop_assert_eq!(
                (fast.stored_blocks, fast.evicted_blocks, fast.refused_blocks),
                (slow.stored, slow.evicted, slow.refused),
                "tier {}", index
            );
            prop_assert_eq!(stats.occupancy[index], (slow.list.len(), 0), "tier {}", index);
        }
    }

    /// More LRU capacity never means fewer hits, for any single request (the stack property).
    #[test]
    fn more_lru_capacity_never_hits_less(requests in requests(), small in 11u64..20, more in 1u64..20) {
        let hits = |blocks| {
            let mut engine = Engine::new(engine_config(blocks, SIZE)).unwrap();
            requests
                .iter()
                .map(|(prompt, output)| run_alone(&mut engine, Duration::ZERO, prompt, *output).usage.cached_tokens)
                .collect::<Vec<_>>()
        };
        for (few, many) in hits(small).iter().zip(hits(small + more)) {
            prop_assert!(*few <= many);
        }
    }

    /// Whatever overlaps, is cancelled or preempted: hits never exceed the prefix shared with an earlier
    /// prompt, memory is never overdrawn, everything is given back, and blocks are conserved.
    #[test]
    fn laws_hold_when_requests_overlap(
        requests in prop::collection::vec((prompt(SIZE), 1u32..8, 0u64..30, prop::option::weighted(0.2, 0u64..60)), 1..40),
        hbm in 11u64..24,
        lower in prop::collection::vec(1u64..24, 0..3),
        (write, inclusion) in policies(),
    ) {
        let mut config = engine_config(hbm, SIZE);
        for (index, blocks) in lower.iter().enumerate() {
            config.tiers.push(tier(&format!("tier{index}"), *blocks, SIZE));
        }
        config.write = write;
        config.inclusion = inclusion;
        config.max_num_seqs = 5;
        let capacities: Vec<_> = config.tiers.iter().map(|tier| (tier.capacity.get() / u64::from(SIZE)) as usize).collect();
        let mut engine = Engine::new(config).unwrap();
        let mut now = Duration::ZERO;
        let mut events = Vec::new();
        let mut cancels = Vec::new();
        let mut given_up = Vec::new();
        for (prompt, output, gap_ms, cancel_ms) in &requests {
            now += Duration::from_millis(*gap_ms);
            for (_, id) in cancels.extract_if(.., |(at, _)| *at <= now) {
                engine.cancel(now, id);
                given_up.push(id);
            }
            let id = engine.submit(now, request(prompt, *output, SIZE)).unwrap();
            cancels.extend(cancel_ms.map(|ms| (now + Duration::from_millis(ms), id)));
            events.extend(engine.advance(now));
            for ((used, in_use), capacity) in engine.stats().occupancy.iter().zip(&capacities) {
                prop_assert!(in_use <= used && used <= capacity);
            }
        }
        events.extend(drain(&mut engine));
        let done = outcomes(&events);
        let finished_or_given_up = |id: &u64| {
            done.iter().any(|outcome| outcome.id.0 == *id) || given_up.iter().any(|given| given.0 == *id)
        };
        prop_assert!((0..requests.len() as u64).all(|id| finished_or_given_up(&id)), "a request was lost");
        for outcome in &done {
            let index = outcome.id.0 as usize;
            let (prompt, output, _, _) = &requests[index];
            let shared = requests[..index]
                .iter()
                .map(|(earlier, ..)| earlier.iter().zip(prompt).take_while(|(a, b)| a == b).count())
                .max()
                .unwrap_or(0);
            prop_assert!(outcome.usage.cached_tokens <= shared.min(prompt.len() - 1) as u64);
            // All but its beginning and its end.
            let tokens = events.iter().filter(|event| event.id == outcome.id).count() - 2;
            prop_assert_eq!(tokens, *output as usize, "a token was lost or doubled");
        }
        let stats = engine.stats();
        prop_assert_eq!((stats.running, stats.waiting), (0, 0));
        for (index, (used, in_use)) in stats.occupancy.iter().enumerate() {
            prop_assert_eq!(*in_use, 0, "tier {} did not get everything back", index);
            let counters = stats.cache.tiers[index];
            let left = counters.stored_blocks - counters.evicted_blocks;
            if inclusion == Inclusion::Inclusive || index == 0 {
                prop_assert_eq!(*used as u64, left, "tier {}", index);
            } else {
                prop_assert!(*used as u64 <= left, "tier {}", index);
            }
        }
    }
}

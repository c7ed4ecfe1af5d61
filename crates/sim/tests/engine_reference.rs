//! The whole engine, requests overlapping, against a slow reference written from `docs/simulator.md`: plain lists
//! of token prefixes for the tiers, whole nanoseconds for time, no cleverness anywhere.
#![allow(
    clippy::unwrap_used,
    reason = "helpers outside of test functions may panic as tests do"
)]

mod common;
#[path = "engine_reference/memory.rs"]
mod memory;

use std::time::Duration;

use common::{drain, engine_config, eviction, outcomes, policies, prompt, request, tier};
use memory::{Memory, Tier};
use proptest::prelude::*;
use sim::model::{
    Engine, EngineConfig, EventKind, Eviction, Inclusion, RequestId, ServiceModel, StepCosts,
    WritePolicy,
};

const SIZE: usize = 4;
/// Nanoseconds; integers, so that the reference's sums are exact.
const BASE: u64 = 10_000_000;
const PER_DECODE: u64 = 1_000_000;
const PER_CONTEXT: u64 = 1_000;
const PER_PREFILL: u64 = 100_000;
/// Twice the cost of an attended pair.
const PER_HALF_PAIR: u64 = 500;

struct Sequence {
    id: usize,
    prompt: Vec<u32>,
    output: usize,
    arrival: u64,
    admitted_first: Option<u64>,
    emitted: usize,
    computed: usize,
    scheduled: usize,
    /// Blocks held; whether each has an identity.
    named: Vec<bool>,
    /// Block and tier, as far as they are not there yet.
    loads: Vec<(usize, usize)>,
    loading: Option<(usize, u64)>,
    hits: Vec<u64>,
    load_ns: Vec<u64>,
    first_token: u64,
    preemptions: u32,
}

impl Sequence {
    fn prefix(&self, block: usize) -> &[u32] {
        &self.prompt[..(block + 1) * SIZE]
    }

    fn missing(&self) -> usize {
        self.prompt.len() + self.emitted - self.computed
    }

    fn decodes(&self) -> bool {
        self.loading.is_none() && self.emitted > 0 && self.missing() == 1
    }
}

struct Load {
    id: usize,
    flows_at: u64,
    bytes: f64,
}

#[derive(Debug, PartialEq)]
struct Result {
    id: usize,
    hits: Vec<u64>,
    queue: u64,
    load: Vec<u64>,
    first_token: u64,
    done: u64,
    preemptions: u32,
}

struct Reference {
    memory: Memory,
    waiting: Vec<Sequence>,
    running: Vec<Sequence>,
    /// Loads and bytes per nanosecond, latency; one per lower tier.
    links: Vec<(Vec<Load>, f64, u64)>,
    links_at: u64,
    bytes_per_block: f64,
    step_ends: Option<u64>,
    max_seqs: usize,
    max_tokens: usize,
    tokens: Vec<(usize, u64)>,
    results: Vec<Result>,
    preemptions: u64,
    steps: u64,
}

impl Reference {
    fn new(config: &EngineConfig) -> Self {
        let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap();
        let tiers = config.tiers.iter().map(|tier| Tier {
            capacity: tier.capacity.get() as usize / SIZE,
            fifo: tier.eviction == Eviction::Fifo,
            ttl: tier.ttl.map(nanos),
            blocks: vec![],
            stored: 0,
            evicted: 0,
            demoted: 0,
            expired: 0,
            refused: 0,
            hit_tokens: 0,
        });
        let links = config.tiers[1..]
            .iter()
            .map(|tier| (vec![], tier.bytes_per_s / 1e9, nanos(tier.latency)));
        Self {
            memory: Memory {
                tiers: tiers.collect(),
                anonymous: 0,
                through: config.write == WritePolicy::Through,
                exclusive: config.inclusion == Inclusion::Exclusive,
                lag: nanos(config.store_lag),
            },
            waiting: vec![],
            running: vec![],
            links: links.collect(),
            links_at: 0,
            bytes_per_block: 100.0 * SIZE as f64,
            step_ends: None,
            max_seqs: config.max_num_seqs,
            max_tokens: config.max_batched_tokens as usize,
            tokens: vec![],
            results: vec![],
            preemptions: 0,
            steps: 0,
        }
    }

    fn submit(&mut self, now: u64, id: usize, prompt: &[u32], output: usize) {
        let tiers = self.memory.tiers.len();
        self.waiting.push(Sequence {
            id,
            prompt: prompt.to_vec(),
            output,
            arrival: now,
            admitted_first: None,
            emitted: 0,
            computed: 0,
            scheduled: 0,
            named: vec![],
            loads: vec![],
            loading: None,
            hits: vec![0; tiers],
            load_ns: vec![0; tiers],
            first_token: 0,
            preemptions: 0,
        });
    }

    fn cancel(&mut self, now: u64, id: usize) {
        self.waiting.retain(|seq| seq.id != id);
        if let Some(at) = self.running.iter().position(|seq| seq.id == id) {
            let seq = self.running.remove(at);
            for (loads, ..) in &mut self.links {
                loads.retain(|load| load.id != id);
            }
            self.release(&seq, now);
        }
    }

    fn release(&mut self, seq: &Sequence, now: u64) {
        for (block, tier) in seq.loads.iter().rev() {
            self.memory.let_go(*tier, seq.prefix(*block), now);
        }
        for (block, named) in seq.named.iter().enumerate().rev() {
            if *named {
                self.memory.tiers[0].unpin(seq.prefix(block), now);
            } else {
                self.memory.anonymous -= 1;
            }
        }
    }

    fn next_end(&self) -> Option<u64> {
        let links = self.links.iter().flat_map(|(loads, speed, _)| {
            let flowing = loads.iter().filter(|load| load.flows_at <= self.links_at);
            let each = speed / flowing.count().max(1) as f64;
            loads.iter().map(move |load| {
                if load.flows_at > self.links_at {
                    load.flows_at
                } else {
                    self.links_at + (load.bytes.max(0.0) / each).ceil() as u64
                }
            })
        });
        links.chain(self.step_ends).min()
    }

    /// Everything that ends at or before `now` ends; steps may start in between, but not at `now`.
    fn run_before(&mut self, now: u64) {
        while let Some(at) = self.next_end().filter(|at| *at <= now) {
            self.end(at);
            if at < now {
                self.start(at);
            }
        }
        self.flow(now);
    }

    fn flow(&mut self, now: u64) {
        for (loads, speed, _) in &mut self.links {
            let at = self.links_at;
            let flowing = |load: &&mut Load| load.flows_at <= at;
            let each = *speed / loads.iter_mut().filter(flowing).count().max(1) as f64;
            for load in loads.iter_mut().filter(flowing) {
                load.bytes -= each * (now - at) as f64;
            }
        }
        self.links_at = now;
    }

    fn end(&mut self, now: u64) {
        self.flow(now);
        if self.step_ends == Some(now) {
            self.step_ends = None;
            self.end_step(now);
        }
        for tier in 1..=self.links.len() {
            let (loads, speed, _) = &mut self.links[tier - 1];
            let ended = loads.extract_if(.., |load| load.flows_at <= now && load.bytes < *speed);
            for id in ended.map(|load| load.id).collect::<Vec<_>>() {
                let at = self.running.iter().position(|seq| seq.id == id).unwrap();
                let mut seq = self.running.remove(at);
                if let Some((_, since)) = seq.loading.filter(|_| seq.emitted == 0) {
                    seq.load_ns[tier] += now - since;
                }
                let here = |load: &mut (usize, usize)| load.1 == tier;
                let arrived: Vec<_> = seq.loads.extract_if(.., here).collect();
                for (block, _) in arrived.iter().rev() {
                    self.memory.let_go(tier, seq.prefix(*block), now);
                }
                for (block, _) in arrived {
                    self.memory.complete(seq.prefix(block), now);
                    seq.named[block] = true;
                }
                self.load(&mut seq, now);
                self.running.insert(at, seq);
            }
        }
    }

    fn end_step(&mut self, now: u64) {
        let mut running = std::mem::take(&mut self.running);
        for seq in running.iter_mut().filter(|seq| seq.scheduled > 0) {
            let before = seq.computed / SIZE;
            seq.computed += std::mem::take(&mut seq.scheduled);
            for block in before..seq.computed.min(seq.prompt.len()) / SIZE {
                if !seq.named[block] {
                    self.memory.complete(seq.prefix(block), now);
                    seq.named[block] = true;
                }
            }
            if seq.missing() > 0 {
                continue;
            }
            if seq.emitted == 0 {
                seq.first_token = now;
            }
            seq.emitted += 1;
            self.tokens.push((seq.id, now));
            if seq.emitted == seq.output {
                self.release(seq, now);
                self.results.push(Result {
                    id: seq.id,
                    hits: seq.hits.clone(),
                    queue: seq.admitted_first.unwrap() - seq.arrival,
                    load: seq.load_ns.clone(),
                    first_token: seq.first_token,
                    done: now,
                    preemptions: seq.preemptions,
                });
            }
        }
        running.retain(|seq| seq.emitted < seq.output);
        self.running = running;
    }

    fn load(&mut self, seq: &mut Sequence, now: u64) {
        let next = seq.loads.iter().map(|(_, tier)| *tier).min();
        seq.loading = next.map(|tier| (tier, now));
        if let Some(tier) = next {
            let blocks = seq.loads.iter().filter(|load| load.1 == tier).count();
            let (loads, _, latency) = &mut self.links[tier - 1];
            loads.push(Load {
                id: seq.id,
                flows_at: now + *latency,
                bytes: blocks as f64 * self.bytes_per_block,
            });
        }
    }

    /// Tries to start a step; nothing happens if one runs or there is nothing to compute.
    fn start(&mut self, now: u64) {
        if self.step_ends.is_some() {
            return;
        }
        let (mut left, mut cost, mut preempted) = (self.max_tokens, 0, false);
        let mut at = 0;
        while at < self.running.len() && left > 0 {
            if !self.running[at].decodes() {
                at += 1;
                continue;
            }
            let fits =
                (self.running[at].computed + 1).div_ceil(SIZE) <= self.running[at].named.len();
            if !fits && self.memory.empty() + self.memory.tiers[0].unused() == 0 {
                preempted = true;
                let victim = (at..self.running.len())
                    .rev()
                    .find(|other| self.running[*other].loading.is_none())
                    .unwrap();
                let mut seq = self.running.remove(victim);
                self.release(&seq, now);
                seq.named.clear();
                seq.computed = 0;
                seq.preemptions += 1;
                self.preemptions += 1;
                self.waiting.insert(0, seq);
                continue;
            }
            if !fits {
                self.memory.take(now);
                self.running[at].named.push(false);
            }
            let seq = &mut self.running[at];
            seq.scheduled = 1;
            left -= 1;
            cost += PER_DECODE + PER_CONTEXT * seq.computed as u64;
            at += 1;
        }
        let mut any = left < self.max_tokens;
        let mut prefill = |seq: &mut Sequence, left: &mut usize| {
            let n = seq.missing().min(*left);
            seq.scheduled = n;
            *left -= n;
            any |= n > 0;
            let (from, to) = (seq.computed as u64, (seq.computed + n) as u64);
            PER_PREFILL * n as u64 + PER_HALF_PAIR * (to * to - from * from)
        };
        for seq in &mut self.running {
            if seq.loading.is_none() && !seq.decodes() {
                cost += prefill(seq, &mut left);
            }
        }
        while !preempted
            && left > 0
            && self.running.len() < self.max_seqs
            && !self.waiting.is_empty()
        {
            let mut seq = self.waiting.remove(0);
            if !self.admit(&mut seq, now) {
                self.waiting.insert(0, seq);
                break;
            }
            if seq.loading.is_none() {
                cost += prefill(&mut seq, &mut left);
            }
            self.running.push(seq);
        }
        if any {
            self.steps += 1;
            self.step_ends = Some(now + BASE + cost);
        } else if preempted {
            self.start(now);
        }
    }

    fn admit(&mut self, seq: &mut Sequence, now: u64) -> bool {
        let tokens = seq.prompt.len() + seq.emitted;
        let most = ((tokens - 1) / SIZE).min(seq.prompt.len() / SIZE);
        let mut sources = vec![];
        for block in 0..most {
            match self.memory.find(seq.prefix(block), now) {
                Some(tier) => sources.push(tier),
                None => break,
            }
        }
        let in_hbm = sources.iter().filter(|tier| **tier == 0).count();
        let needed = tokens.div_ceil(SIZE) - in_hbm;
        let hbm = &self.memory.tiers[0];
        let unused_hits = (0..sources.len())
            .filter(|block| sources[*block] == 0)
            .filter(|block| hbm.blocks[hbm.at(seq.prefix(*block)).unwrap()].pins == 0)
            .count();
        if self.memory.empty() + hbm.unused() - unused_hits < needed {
            return false;
        }
        for (block, tier) in sources.iter().enumerate() {
            self.memory.tiers[*tier].pin(seq.prefix(block));
        }
        (0..needed).for_each(|_| self.memory.take(now));
        seq.named = (0..tokens.div_ceil(SIZE))
            .map(|block| sources.get(block) == Some(&0))
            .collect();
        let lower = |(_, tier): &(usize, usize)| *tier > 0;
        seq.loads = sources.iter().copied().enumerate().filter(lower).collect();
        seq.computed = sources.len() * SIZE;
        if seq.admitted_first.is_none() {
            seq.admitted_first = Some(now);
            for tier in sources {
                seq.hits[tier] += SIZE as u64;
                self.memory.tiers[tier].hit_tokens += SIZE as u64;
            }
        }
        self.load(seq, now);
        true
    }
}

/// An instant that no sum of the reference's round costs meets by chance.
fn odd(ms: u64) -> u64 {
    ms * 1_000_000 + ms * 137 % 9_973
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever overlaps, is cancelled, preempted, loaded, demoted, stored late or out of date: every token comes
    /// when the reference says, and every hit, load and queue is the reference's.
    #[test]
    fn overlapping_requests_take_the_time_of_the_slow_reference(
        requests in prop::collection::vec(
            (prompt(SIZE as u32), 1usize..8, 0u64..40, prop::option::weighted(0.15, 1u64..80)), 1..40),
        hbm in (11u64..30, eviction()),
        lower in prop::collection::vec((1u64..30, eviction(), 1u32..40, prop::option::weighted(0.7, 5u64..900)), 0..3),
        (write, inclusion) in policies(),
        lag in prop::option::of(1u64..60),
        max_seqs in 1usize..7,
        max_tokens in 3u64..40,
    ) {
        let nanos = Duration::from_nanos;
        let mut config = engine_config(hbm.0, SIZE as u32);
        config.tiers[0].eviction = hbm.1;
        for (index, (blocks, eviction, speed, ttl)) in lower.into_iter().enumerate() {
            let mut below = tier(&format!("tier{index}"), blocks, SIZE as u32);
            below.eviction = eviction;
            // 400 bytes a block: a fraction of a millisecond to tens of them.
            below.bytes_per_s = f64::from(speed) * 9_871.3;
            below.latency = nanos(1_234_577);
            below.ttl = ttl.map(|ms| nanos(odd(ms)));
            config.tiers.push(below);
        }
        config.write = write;
        config.inclusion = inclusion;
        config.store_lag = nanos(lag.map_or(0, odd));
        config.max_num_seqs = max_seqs;
        config.max_batched_tokens = max_tokens;
        config.service = ServiceModel::Batching(StepCosts {
            base: BASE as f64 / 1e9,
            per_decode_seq: PER_DECODE as f64 / 1e9,
            per_decode_context: PER_CONTEXT as f64 / 1e9,
            per_prefill_token: PER_PREFILL as f64 / 1e9,
            per_attended_pair: 2.0 * PER_HALF_PAIR as f64 / 1e9,
        });
        let mut slow = Reference::new(&config);
        let mut engine = Engine::new(config).unwrap();
        let mut calls = Vec::new();
        let mut now = 0;
        for (id, (_, _, gap, cancel)) in requests.iter().enumerate() {
            now += gap * 1_000_000 + 17 * (gap % 3);
            calls.push((now, id, false));
            calls.extend(cancel.map(|ms| (now + odd(ms), id, true)));
        }
        calls.sort();
        let mut events = Vec::new();
        for (index, (at, id, is_cancel)) in calls.iter().enumerate() {
            let (prompt, output, ..) = &requests[*id];
            slow.run_before(*at);
            if *is_cancel {
                slow.cancel(*at, *id);
                engine.cancel(nanos(*at), RequestId(*id as u64));
            } else {
                slow.submit(*at, *id, prompt, *output);
                engine.submit(nanos(*at), request(prompt, *output as u32, SIZE as u32)).unwrap();
            }
            // Calls of one instant share a step.
            if calls.get(index + 1).is_none_or(|next| next.0 > *at) {
                slow.start(*at);
                events.extend(engine.advance(nanos(*at)));
            }
        }
        events.extend(drain(&mut engine));
        while let Some(at) = slow.next_end() {
            slow.end(at);
            slow.start(at);
        }
        let tokens: Vec<_> = events
            .iter()
            .filter(|event| matches!(event.kind, EventKind::Token { .. }))
            .map(|event| (event.id.0 as usize, event.at.as_nanos() as u64))
            .collect();
        prop_assert_eq!(tokens, slow.tokens);
        let of = |d: Duration| d.as_nanos() as u64;
        let results: Vec<_> = outcomes(&events)
            .into_iter()
            .map(|outcome| Result {
                id: outcome.id.0 as usize,
                hits: outcome.usage.cached_by_tier,
                queue: of(outcome.timing.queue),
                load: outcome.timing.load_by_tier.iter().map(|d| of(*d)).collect(),
                first_token: of(outcome.timing.first_token_at),
                done: of(outcome.timing.done_at),
                preemptions: outcome.timing.preemptions,
            })
            .collect();
        prop_assert_eq!(results, slow.results);
        let stats = engine.stats();
        prop_assert_eq!((stats.steps, stats.preemptions), (slow.steps, slow.preemptions));
        for (index, (fast, slow)) in stats.cache.tiers.iter().zip(&slow.memory.tiers).enumerate() {
            prop_assert_eq!(
                (fast.hit_tokens, fast.stored_blocks, fast.evicted_blocks, fast.demoted_blocks, fast.expired_blocks, fast.refused_blocks),
                (slow.hit_tokens, slow.stored, slow.evicted, slow.demoted, slow.expired, slow.refused),
                "tier {}", index
            );
            prop_assert_eq!(stats.occupancy[index], (slow.blocks.len(), 0), "tier {}", index);
        }
    }
}

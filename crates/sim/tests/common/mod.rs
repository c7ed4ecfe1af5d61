//! Shared by the model's tests: small engines, and running one until it is idle.
#![allow(
    dead_code,
    reason = "each test binary uses its own part of this module; expect would fail in the others"
)]

use std::time::Duration;

use kvcalc::{BlockSize, KvBytesPerToken, TokenCount};
use proptest::prelude::*;
use sim::model::{
    Engine, EngineConfig, Event, EventKind, Eviction, Inclusion, PromptBlocks, Request, RequestId,
    ServiceModel, StepCosts, TierConfig, Timing, Usage, WritePolicy,
};

/// Costs that are easy to add up: 10 ms a step, 1 ms a decoding sequence, 0.1 ms a prefilled token.
pub(crate) const COSTS: StepCosts = StepCosts {
    base: 10e-3,
    per_decode_seq: 1e-3,
    per_decode_context: 0.0,
    per_prefill_token: 0.1e-3,
    per_attended_pair: 0.0,
};

/// A tier of `blocks` blocks of `size` tokens.
pub(crate) fn tier(name: &str, blocks: u64, size: u32) -> TierConfig {
    TierConfig {
        name: name.to_owned(),
        capacity: TokenCount(blocks * u64::from(size)),
        bytes_per_s: 1e6,
        latency: Duration::from_millis(1),
        eviction: Eviction::Lru,
        ttl: None,
    }
}

/// An engine with one tier of `blocks` blocks of `size` tokens.
pub(crate) fn engine_config(blocks: u64, size: u32) -> EngineConfig {
    EngineConfig {
        block_size: BlockSize::try_new(size).unwrap(),
        kv_bytes_per_token: KvBytesPerToken::new(100).unwrap(),
        tiers: vec![tier("hbm", blocks, size)],
        write: WritePolicy::Back,
        inclusion: Inclusion::Inclusive,
        store_lag: Duration::ZERO,
        service: ServiceModel::Batching(COSTS),
        max_num_seqs: 64,
        max_batched_tokens: 64,
        jitter_sigma: 0.0,
        seed: 7,
        cache_output: false,
    }
}

/// A request for `output` tokens behind `ids`.
pub(crate) fn request(ids: &[u32], output: u32, size: u32) -> Request {
    Request {
        prompt: PromptBlocks::new(ids, BlockSize::try_new(size).unwrap()),
        output_tokens: output,
        output_ids: None,
    }
}

/// `n` ids that no other `salt` shares.
pub(crate) fn ids(salt: u32, n: u32) -> Vec<u32> {
    (0..n).map(|i| salt * 1_000_000 + i).collect()
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) id: RequestId,
    pub(crate) usage: Usage,
    pub(crate) timing: Timing,
}

/// Lets time pass until nothing is left to happen; gives all events.
pub(crate) fn drain(engine: &mut Engine) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(at) = engine.next_event_at() {
        events.extend(engine.advance(at));
    }
    events
}

/// The ends among events, in order.
pub(crate) fn outcomes(events: &[Event]) -> Vec<Outcome> {
    events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Done(done) => Some(Outcome {
                id: event.id,
                usage: done.0.clone(),
                timing: done.1.clone(),
            }),
            EventKind::Token { .. } | EventKind::Begun(_) => None,
        })
        .collect()
}

/// Runs one request alone, at `now` or later, and gives what became of it.
pub(crate) fn run_alone(engine: &mut Engine, now: Duration, ids: &[u32], output: u32) -> Outcome {
    let size = engine.config().block_size.get();
    engine.submit(now, request(ids, output, size)).unwrap();
    let events = drain(engine);
    outcomes(&events).pop().unwrap()
}

/// Panics unless `actual` is within `tolerance` (relative) of `expected` seconds.
pub(crate) fn assert_close(actual: Duration, expected: f64, tolerance: f64) {
    let actual = actual.as_secs_f64();
    assert!(
        (actual - expected).abs() <= tolerance * expected.abs(),
        "{actual} s is not within {tolerance} of {expected} s"
    );
}

/// Prompts that share prefixes: a path through a tree with two branches at every block, of any length.
pub(crate) fn prompt(block: u32) -> impl Strategy<Value = Vec<u32>> {
    (prop::collection::vec(0u32..2, 1..9), 0usize..4).prop_map(move |(path, cut)| {
        let mut ids = Vec::new();
        for branch in path {
            ids.extend((0..block).map(|i| branch * 100 + i));
        }
        ids.truncate((ids.len() - cut).max(1));
        ids
    })
}

/// Orders of eviction.
pub(crate) fn eviction() -> impl Strategy<Value = Eviction> {
    prop::sample::select(vec![Eviction::Lru, Eviction::Fifo])
}

/// Policies that a tier may have.
pub(crate) fn policies() -> impl Strategy<Value = (WritePolicy, Inclusion)> {
    prop::sample::select(vec![
        (WritePolicy::Back, Inclusion::Inclusive),
        (WritePolicy::Back, Inclusion::Exclusive),
        (WritePolicy::Through, Inclusion::Inclusive),
    ])
}

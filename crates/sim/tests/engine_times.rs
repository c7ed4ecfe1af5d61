//! Times that can be computed by hand, and laws of queueing.
#![allow(
    clippy::unwrap_used,
    reason = "helpers outside of test functions may panic as tests do"
)]

mod common;

use std::time::Duration;

use common::{COSTS, assert_close, drain, engine_config, ids, outcomes, request, run_alone, tier};
use kvcalc::{BlockSize, TokenCount};
use sim::Profile;
use sim::model::{
    Engine, EngineConfig, EventKind, Inclusion, PromptBlocks, Request, ServiceModel, StepCosts,
    WritePolicy,
};

const MS: Duration = Duration::from_millis(1);

/// TTFT without load: steps × base + tokens × cost + pairs × cost, plus latency + bytes ÷ bandwidth per tier.
fn closed_form(config: &EngineConfig, prompt: u64, cached_by_tier: &[u64]) -> f64 {
    let ServiceModel::Batching(costs) = config.service else {
        panic!("no steps")
    };
    let cached: u64 = cached_by_tier.iter().sum();
    let new = prompt - cached;
    let steps = new.div_ceil(config.max_batched_tokens) as f64;
    let pairs = (prompt.pow(2) - cached.pow(2)) as f64 / 2.0;
    let loads: f64 = config
        .tiers
        .iter()
        .zip(cached_by_tier)
        .skip(1)
        .filter(|(_, tokens)| **tokens > 0)
        .map(|(tier, tokens)| {
            let bytes = config.kv_bytes_per_token.of(TokenCount(*tokens)).get();
            tier.latency.as_secs_f64() + bytes as f64 / tier.bytes_per_s
        })
        .sum();
    loads
        + steps * costs.base
        + new as f64 * costs.per_prefill_token
        + pairs * costs.per_attended_pair
}

#[test]
fn ttft_without_load_is_the_closed_form_for_every_profile_cold_and_warm() {
    for profile in Profile::ALL {
        for prompt in [1_u32, 17, 1_000, 4_096, 20_000] {
            let config = profile.engine();
            let mut engine = Engine::new(config.clone()).unwrap();
            let cold = run_alone(&mut engine, Duration::ZERO, &ids(1, prompt), 1);
            let warm = run_alone(&mut engine, cold.timing.done_at, &ids(1, prompt), 1);
            assert_eq!(cold.usage.cached_tokens, 0);
            assert_eq!(warm.usage.cached_tokens, u64::from((prompt - 1) / 16 * 16));
            for outcome in [cold, warm] {
                let expected =
                    closed_form(&config, u64::from(prompt), &outcome.usage.cached_by_tier);
                assert_close(outcome.timing.ttft(), expected, 0.01);
            }
        }
    }
}

#[test]
fn ttft_from_lower_tiers_adds_latency_and_bytes_over_bandwidth() {
    let mut config = engine_config(100, 16);
    config.service = ServiceModel::Batching(StepCosts {
        per_attended_pair: 1e-6,
        ..COSTS
    });
    let mut dram = tier("dram", 100, 16);
    dram.bytes_per_s = 2e6;
    let mut ssd = tier("ssd", 1_000, 16);
    ssd.bytes_per_s = 0.5e6;
    ssd.latency = 20 * MS;
    config.tiers.extend([dram, ssd]);
    let mut engine = Engine::new(config.clone()).unwrap();
    let mut now = Duration::ZERO;
    let mut run = |salt| {
        let outcome = run_alone(&mut engine, now, &ids(salt, 960), 1);
        now = outcome.timing.done_at + MS;
        outcome
    };
    // 60 blocks each: the second prompt pushes 20 of the first's blocks to DRAM, the next two push on to SSD.
    for salt in 1..=4 {
        assert_eq!(run(salt).usage.cached_tokens, 0);
    }
    let mut seen = [false; 3];
    for salt in [4, 3, 2, 1, 4, 2] {
        let outcome = run(salt);
        let by_tier = &outcome.usage.cached_by_tier;
        by_tier
            .iter()
            .zip(&mut seen)
            .for_each(|(tokens, seen)| *seen |= *tokens > 0);
        assert_close(
            outcome.timing.ttft(),
            closed_form(&config, 960, by_tier),
            0.01,
        );
        let parts: Duration = outcome.timing.load_by_tier.iter().sum();
        assert_eq!(
            outcome.timing.ttft(),
            outcome.timing.queue + parts + outcome.timing.prefill
        );
    }
    assert_eq!(seen, [true; 3], "not every tier served a hit");
}

#[test]
fn a_tiers_bandwidth_is_shared_and_not_multiplied() {
    let mut config = engine_config(128, 16);
    config.max_batched_tokens = 100_000;
    let mut dram = tier("dram", 1_000, 16);
    dram.latency = Duration::ZERO;
    config.tiers.push(dram);
    config.write = WritePolicy::Through;
    let mut engine = Engine::new(config).unwrap();
    let mut now = Duration::ZERO;
    // 32 blocks each; two flushing prompts of 64 blocks leave none of them in HBM.
    for salt in 1..=4 {
        now = run_alone(&mut engine, now, &ids(salt, 512), 1)
            .timing
            .done_at;
    }
    for salt in [8, 9] {
        now = run_alone(&mut engine, now, &ids(salt, 1_024), 1)
            .timing
            .done_at;
    }
    let one = run_alone(&mut engine, now, &ids(1, 512), 1);
    now = one.timing.done_at;
    let alone = one.timing.load_by_tier[1];
    // 496 tokens of 100 bytes at 1 MB/s.
    assert_close(alone, 0.0496, 0.001);
    for salt in 2..=4 {
        engine.submit(now, request(&ids(salt, 512), 1, 16)).unwrap();
    }
    for outcome in outcomes(&drain(&mut engine)) {
        assert_eq!(outcome.usage.cached_by_tier, [0, 496]);
        assert_close(outcome.timing.load_by_tier[1], 3.0 * 0.0496, 0.001);
    }
}

#[test]
fn a_request_that_waits_for_room_is_admitted_when_a_shared_prefix_has_arrived_from_the_first_of_two_tiers()
 {
    let mut config = engine_config(14, 16);
    config
        .tiers
        .extend([tier("dram", 4, 16), tier("ssd", 100, 16)]);
    let mut engine = Engine::new(config).unwrap();
    let now = Duration::ZERO;
    let shared = ids(1, 129);
    run_alone(&mut engine, now, &shared, 1);
    // Leaves four of its blocks in DRAM, and the four behind them on SSD.
    let now = run_alone(&mut engine, now, &ids(2, 223), 1).timing.done_at;
    // Nine blocks of 14; the other one needs nine as well until it can share the four from DRAM.
    engine.submit(now, request(&shared, 1, 16)).unwrap();
    let other = [&shared[..64], &ids(3, 80)].concat();
    engine.submit(now, request(&other, 1, 16)).unwrap();
    let done = outcomes(&drain(&mut engine));
    let other = done.iter().find(|outcome| outcome.id.0 == 3).unwrap();
    // 64 tokens of 100 bytes at 1 MB/s behind 1 ms.
    assert_close(other.timing.queue, 0.0074, 1e-6);
    assert_eq!(other.usage.cached_by_tier, [64, 0, 0]);
}

#[test]
fn a_stored_block_is_a_hit_only_behind_the_lag_and_within_its_time_to_live() {
    let check = |wait_ms: u32, expected: u64| {
        let mut config = engine_config(8, 16);
        let mut dram = tier("dram", 100, 16);
        dram.ttl = Some(10_000 * MS);
        config.tiers.push(dram);
        config.store_lag = 1_000 * MS;
        let mut engine = Engine::new(config).unwrap();
        run_alone(&mut engine, Duration::ZERO, &ids(1, 64), 1);
        // Fills HBM, which demotes all four blocks of the first prompt as soon as it is admitted.
        let flush_at = 500 * MS;
        run_alone(&mut engine, flush_at, &ids(2, 120), 1);
        let again = run_alone(&mut engine, flush_at + wait_ms * MS, &ids(1, 64), 1);
        assert_eq!(
            again.usage.cached_by_tier,
            [0, expected],
            "after {wait_ms} ms"
        );
    };
    check(999, 0);
    check(1_000, 48);
    check(9_999, 48);
    check(10_000, 0);
}

#[test]
fn a_block_becomes_a_hit_when_its_prefill_is_done_and_not_before() {
    let mut engine = Engine::new(engine_config(100, 16)).unwrap();
    let prompt = ids(1, 160);
    // 160 tokens take three steps of at most 64 tokens: the first ends at 16.4 ms.
    engine
        .submit(Duration::ZERO, request(&prompt, 1, 16))
        .unwrap();
    engine
        .submit(Duration::ZERO, request(&prompt, 1, 16))
        .unwrap();
    engine.submit(16 * MS, request(&prompt, 1, 16)).unwrap();
    let done = outcomes(&drain(&mut engine));
    let cached: Vec<_> = done
        .iter()
        .map(|outcome| outcome.usage.cached_tokens)
        .collect();
    // The second waits for tokens in the step and is admitted in the third step, when two steps' blocks are there.
    assert_eq!(cached, [0, 128, 144]);
    assert_eq!(
        engine.stats().occupancy[0],
        (10, 0),
        "equal blocks are kept once"
    );
}

#[test]
fn requests_submitted_at_one_instant_share_a_step() {
    let mut engine = Engine::new(engine_config(100, 16)).unwrap();
    for salt in 1..=4 {
        engine
            .submit(Duration::ZERO, request(&ids(salt, 16), 1, 16))
            .unwrap();
    }
    let done = outcomes(&drain(&mut engine));
    assert!(
        done.iter()
            .all(|outcome| outcome.timing.ttft() == Duration::from_micros(16_400))
    );
    assert_eq!(engine.stats().steps, 1);
}

#[test]
fn decode_goes_first_and_prefill_takes_what_is_left_of_the_step() {
    let mut config = engine_config(1_000, 16);
    config.max_batched_tokens = 20;
    let mut engine = Engine::new(config).unwrap();
    for salt in 1..=4 {
        engine
            .submit(Duration::ZERO, request(&ids(salt, 5), 50, 16))
            .unwrap();
    }
    // From the second step on, four sequences decode: 16 of 20 tokens are left for prefill.
    engine.submit(MS, request(&ids(9, 160), 1, 16)).unwrap();
    let done = outcomes(&drain(&mut engine));
    let late = &done[0];
    // Ten steps of 10 ms + 4 × 1 ms + 16 × 0.1 ms behind the first of 12 ms.
    assert_close(late.timing.first_token_at, 0.012 + 10.0 * 0.0156, 1e-6);
}

#[test]
fn requests_beyond_the_limit_queue_and_the_queue_time_is_reported() {
    let mut config = engine_config(1_000, 16);
    config.max_num_seqs = 1;
    let mut engine = Engine::new(config).unwrap();
    for salt in 1..=3 {
        engine
            .submit(Duration::ZERO, request(&ids(salt, 50), 10, 16))
            .unwrap();
    }
    engine.advance(Duration::ZERO);
    assert_eq!((engine.stats().running, engine.stats().waiting), (1, 2));
    let done = outcomes(&drain(&mut engine));
    let alone = 0.015 + 9.0 * 0.011;
    for (position, outcome) in done.iter().enumerate() {
        assert_close(outcome.timing.queue, position as f64 * alone, 1e-6);
        assert_close(outcome.timing.done_at, (position + 1) as f64 * alone, 1e-6);
    }
}

#[test]
fn more_requests_at_once_mean_a_longer_ttft() {
    let mean_ttft = |concurrency: u32| {
        let mut engine = Engine::new(Profile::Demo.engine()).unwrap();
        for salt in 0..concurrency {
            engine
                .submit(Duration::ZERO, request(&ids(salt, 2_000), 16, 16))
                .unwrap();
        }
        let done = outcomes(&drain(&mut engine));
        done.iter()
            .map(|outcome| outcome.timing.ttft().as_secs_f64())
            .sum::<f64>()
            / f64::from(concurrency)
    };
    let means: Vec<f64> = [1, 2, 4, 8, 16].map(mean_ttft).to_vec();
    assert!(
        means.windows(2).all(|pair| pair[1] > 1.3 * pair[0]),
        "{means:?}"
    );
}

#[test]
fn a_full_hbm_preempts_the_last_and_every_token_still_comes_once() {
    let mut engine = Engine::new(engine_config(20, 4)).unwrap();
    for salt in 1..=4 {
        engine
            .submit(Duration::ZERO, request(&ids(salt, 16), 24, 4))
            .unwrap();
    }
    let events = drain(&mut engine);
    let done = outcomes(&events);
    assert_eq!(done.len(), 4);
    assert!(engine.stats().preemptions > 0);
    for outcome in &done {
        let positions: Vec<_> = events
            .iter()
            .filter(|event| event.id == outcome.id)
            .filter_map(|event| match event.kind {
                EventKind::Token { position } => Some(position),
                EventKind::Done(_) | EventKind::Begun(_) => None,
            })
            .collect();
        assert_eq!(positions, (0..24).collect::<Vec<_>>());
    }
    let first = done.iter().find(|outcome| outcome.id.0 == 0).unwrap();
    assert_eq!(
        first.timing.preemptions, 0,
        "the first admitted is never thrown out by the others"
    );
    assert_eq!(engine.stats().occupancy[0].1, 0);
}

#[test]
fn blocks_of_generated_tokens_are_hits_where_outputs_are_cached() {
    let run = |cache_output| {
        let mut config = engine_config(100, 16);
        config.cache_output = cache_output;
        let mut engine = Engine::new(config).unwrap();
        let outputs = sim::model::OutputIds::new(vec![7, 8, 9].into(), 3).unwrap();
        let prompt = ids(1, 20);
        let size = BlockSize::try_new(16).unwrap();
        let first = Request {
            prompt: PromptBlocks::new(&prompt, size),
            output_tokens: 40,
            output_ids: Some(outputs.clone()),
        };
        engine.submit(Duration::ZERO, first).unwrap();
        drain(&mut engine);
        let history: Vec<u32> = prompt
            .into_iter()
            .chain((0..40).map(|i| outputs.id(i)))
            .collect();
        run_alone(&mut engine, Duration::from_secs(9), &history, 1)
            .usage
            .cached_tokens
    };
    // 20 + 40 tokens; of these the last was never computed: three full blocks.
    assert_eq!((run(true), run(false)), (48, 16));
}

#[test]
fn littles_law_holds_in_a_closed_loop() {
    for (clients, seed) in [(1_u32, 1_u64), (5, 2), (24, 3)] {
        let mut config = Profile::Demo.engine();
        config.jitter_sigma = 0.3;
        config.seed = seed;
        config.max_num_seqs = 16;
        let mut engine = Engine::new(config).unwrap();
        let mut salt = 0;
        let mut next = |engine: &mut Engine, at| {
            salt += 1;
            let length = 500 + salt * 37 % 3_000;
            // A third of the prompts come back, so that hits vary too.
            let content = if salt % 3 == 0 {
                ids(1, length)
            } else {
                ids(salt, length)
            };
            engine
                .submit(at, request(&content, 4 + salt % 60, 16))
                .unwrap();
        };
        (0..clients).for_each(|_| next(&mut engine, Duration::ZERO));
        let (mut area, mut last) = (0.0, Duration::ZERO);
        let (mut n_done, mut total_time) = (0_u32, 0.0);
        while n_done < 2_000 {
            let at = engine.next_event_at().unwrap();
            let stats = engine.stats();
            area += (stats.running + stats.waiting) as f64 * (at - last).as_secs_f64();
            last = at;
            for outcome in outcomes(&engine.advance(at)) {
                n_done += 1;
                total_time += (outcome.timing.done_at - outcome.timing.arrival).as_secs_f64();
                next(&mut engine, outcome.timing.done_at);
            }
        }
        let rate = f64::from(n_done) / last.as_secs_f64();
        let mean_time = total_time / f64::from(n_done);
        let mean_number = area / last.as_secs_f64();
        assert_close(Duration::from_secs_f64(mean_number), rate * mean_time, 0.02);
        assert_close(
            Duration::from_secs_f64(rate * mean_time),
            f64::from(clients),
            0.02,
        );
    }
}

#[test]
fn same_seed_and_same_requests_give_the_same_truth() {
    let run = |seed| {
        let mut config = Profile::H100Llama8b.engine();
        config.jitter_sigma = 0.4;
        config.seed = seed;
        config.tiers[0].capacity = TokenCount(8_000);
        config.tiers.push(tier("dram", 2_000, 16));
        config.inclusion = Inclusion::Exclusive;
        let mut engine = Engine::new(config).unwrap();
        let mut events = Vec::new();
        for n in 0..80_u32 {
            let at = n * 7 * MS;
            engine
                .submit(at, request(&ids(n % 9, 900), 1 + n % 40, 16))
                .unwrap();
            events.extend(engine.advance(at));
        }
        events.extend(drain(&mut engine));
        (events, engine.stats())
    };
    let first = run(5);
    assert_eq!(first, run(5));
    assert_ne!(first.0, run(6).0);
}

#[test]
fn linear_latency_counts_the_requests_in_the_server() {
    let mut config = engine_config(1_000, 16);
    config.service = ServiceModel::Linear {
        per_active: 100 * MS,
        per_token: 30 * MS,
    };
    let mut engine = Engine::new(config).unwrap();
    for n in 0..4 {
        engine
            .submit(n * 10 * MS, request(&ids(n, 100), 3, 16))
            .unwrap();
    }
    let done = outcomes(&drain(&mut engine));
    let ttfts: Vec<_> = done
        .iter()
        .map(|outcome| outcome.timing.ttft().as_millis())
        .collect();
    assert_eq!(ttfts, [100, 200, 300, 400]);
    assert!(
        done.iter()
            .all(|o| o.timing.done_at - o.timing.first_token_at == 60 * MS)
    );
    let again = run_alone(&mut engine, Duration::from_secs(9), &ids(2, 100), 3);
    assert_eq!(
        (again.timing.ttft(), again.usage.cached_tokens),
        (100 * MS, 96)
    );
}

#[test]
fn fixed_latency_is_the_same_whatever_the_load() {
    let mut config = engine_config(10, 16);
    config.service = ServiceModel::Fixed { total: 500 * MS };
    let mut engine = Engine::new(config).unwrap();
    for n in 0..30 {
        // Far more than HBM holds: the others run uncached.
        engine.submit(n * MS, request(&ids(n, 100), 7, 16)).unwrap();
    }
    let events = drain(&mut engine);
    for outcome in outcomes(&events) {
        assert_eq!(outcome.timing.done_at - outcome.timing.arrival, 500 * MS);
    }
    // Seven tokens, the beginning and the end.
    assert_eq!(events.len(), 30 * 9);
    assert_eq!(engine.stats().occupancy[0].1, 0);
}

#[test]
fn a_cancelled_request_frees_its_place_and_its_blocks_stay_hits() {
    let mut config = engine_config(100, 16);
    config.max_num_seqs = 1;
    let mut engine = Engine::new(config).unwrap();
    let first = engine
        .submit(Duration::ZERO, request(&ids(1, 64), 1_000, 16))
        .unwrap();
    let second = engine
        .submit(Duration::ZERO, request(&ids(2, 64), 1, 16))
        .unwrap();
    let third = engine
        .submit(Duration::ZERO, request(&ids(1, 64), 1, 16))
        .unwrap();
    engine.advance(100 * MS);
    engine.cancel(100 * MS, second);
    engine.cancel(100 * MS, first);
    engine.cancel(100 * MS, first);
    let done = outcomes(&drain(&mut engine));
    assert_eq!(done.len(), 1);
    assert_eq!((done[0].id, done[0].usage.cached_tokens), (third, 48));
    assert_eq!(engine.stats().cancelled, 2);
}

//! Does a sweep over working sets show where the server's memory ends?
//!
//! At a hit rate of 100 % and with prompts taken in turn, the first working set that a memory cannot hold loses all of it:
//! what is asked for next is what had to go last. So the truth is arithmetic: the first size beyond what the tiers hold,
//! sizes drawn such that the questions behind the prompts, which take room too, make no difference.

use std::time::Duration;

use engine::study::{GivesUp, Mode, Reinit, StudyPlan, WorkingSets};
use engine::test_run::SustainedResults;
use kvcalc::TokenCount;
use metrics::window::{SpeedMetric, TtftMetric};
use ramp::{FixedRules, FixedSettings, Thresholds};
use sim::model::{EngineConfig, Eviction, Inclusion, ServiceModel, TierConfig};
use sim::profile::Profile;
use workload::{Seed, SelectionOrder};

use crate::draw::Draw;
use crate::grade::{Answer, Criterion};
use crate::in_process::{Measuring, Spoil, Words, study};

/// Requests in flight.
const LEVEL: u32 = 2;
/// A size whose TTFT is so many times that of the plateau before it, or whose rate is so many times lower, has left it.
const LEAVES: f64 = 1.25;
/// Tokens of a request besides body and question: the template, the words that make it unlike any other, the output, and
/// what is lost to whole blocks.
const BESIDES: u64 = 64;

/// One sweep.
struct Drawn {
    kind: &'static str,
    engine: EngineConfig,
    context: u64,
    sizes: Vec<u64>,
    /// The first size beyond each memory.
    borders: Vec<u64>,
}

impl Drawn {
    fn new(seed: u64, longest_question: u64) -> Self {
        let mut draw = Draw::new(seed, "tiers");
        let context = draw.one_of(&[1024, 1536, 2048]);
        let n_prompts = draw.whole(12, 15);
        let step = n_prompts * context;
        let mut sizes: Vec<u64> = (1..=6).map(|k| k * step).collect();
        let mut engine = Profile::Demo.engine();
        engine.seed = seed;
        let per_token = match &engine.service {
            ServiceModel::Batching(costs) => costs.per_prefill_token,
            _ => unreachable!("the profile models batching"),
        };
        // Room that a working set needs at most, and a size that certainly finds too little in this.
        let needs = |size: u64| {
            let n = size / context + u64::from(LEVEL) + 1;
            n * (context + longest_question + BESIDES)
        };
        let (low, high) = (needs(sizes[1]), sizes[2] - context);
        assert!(low < high, "sizes lie too close for a known answer");
        let hbm = draw.whole(low, high);
        engine.tiers[0].capacity = TokenCount(hbm);
        let mut borders = vec![sizes[2]];
        let kind =
            ["one tier", "two tiers, exclusive", "two tiers, inclusive"][(seed % 3) as usize];
        if !seed.is_multiple_of(3) {
            engine.inclusion = if seed % 3 == 1 {
                Inclusion::Exclusive
            } else {
                Inclusion::Inclusive
            };
            // Together they hold the fifth size. Copies may take room, so that inclusive tiers hold something between the
            // lower one alone and both; the sixth size is more than either.
            let wanted = needs(sizes[4]) + context;
            let below = match engine.inclusion {
                Inclusion::Exclusive => wanted - hbm,
                Inclusion::Inclusive => wanted,
            };
            sizes[5] = (hbm + below).div_ceil(context) * context + context;
            borders.push(sizes[5]);
            let compute = context as f64 * per_token;
            let load = compute * draw.between(0.3, 0.5);
            let bytes = context as f64 * f64::from(engine.kv_bytes_per_token.get());
            engine.tiers.push(TierConfig {
                name: "dram".to_owned(),
                capacity: TokenCount(below),
                bytes_per_s: bytes / load,
                latency: Duration::from_millis(1),
                eviction: Eviction::Lru,
                ttl: None,
            });
        }
        Self {
            kind,
            engine,
            context,
            sizes,
            borders,
        }
    }
}

/// The sizes that leave the plateau before them, by mean TTFT or by rate.
fn drops(sizes: &[u64], figures: &[(f64, f64)]) -> Vec<u64> {
    let mut found = Vec::new();
    let mut plateau: Option<(f64, f64)> = None;
    for (size, (ttft, rate)) in sizes.iter().zip(figures) {
        match plateau {
            Some((low, high)) if *ttft <= LEAVES * low && *rate >= high / LEAVES => {}
            before => {
                if before.is_some() {
                    found.push(*size);
                }
                plateau = Some((*ttft, *rate));
            }
        }
    }
    found
}

/// The answer of one seed.
pub(crate) fn ask(words: &Words, seed: u64, spoil: Spoil) -> Vec<Answer> {
    let longest = words.questions.iter().copied().max().unwrap_or_default();
    let drawn = Drawn::new(seed, longest);
    let asked: Vec<u64> = match spoil {
        Spoil::OtherSets => drawn.sizes.iter().map(|size| size * 2 / 3).collect(),
        _ => drawn.sizes.clone(),
    };
    let measuring = Measuring {
        prompts: words.told(),
        ttft_metric: TtftMetric::P95,
        speed_metric: SpeedMetric::Avg,
        output: 4,
    };
    let settings = FixedSettings {
        levels: vec![LEVEL],
        ramp_duration: Duration::from_secs(5),
        num_retries: 0,
        thresholds: Thresholds::default(),
        rules: FixedRules::WORKING_SET,
    };
    let plan = |window| StudyPlan {
        context_sizes: vec![drawn.context],
        cache_hit_rates: vec![100],
        working_sets: WorkingSets::Each(asked),
        ensure_coverage: true,
        chunk_size: 256,
        reinit: Reinit::EachTest,
        init_concurrency: 4,
        order: SelectionOrder::RoundRobin,
        mode: Mode::Fixed(settings),
        window,
        sustained: SustainedResults::WORKING_SET,
        model: sim::DEFAULT_MODEL.to_owned(),
        n_build_threads: 1,
        gives_up: GivesUp::AfterFailures,
    };
    let said = study(
        words,
        &drawn.engine,
        Seed::new(seed),
        measuring,
        spoil,
        plan,
    );
    let figures: Vec<(f64, f64)> = said
        .tests
        .iter()
        .filter_map(|test| {
            let row = &test.summary;
            Some((row.avg_ttft?, row.window_input_tokens_per_sec?))
        })
        .collect();
    let found = drops(&drawn.sizes, &figures);
    let right = figures.len() == drawn.sizes.len() && found == drawn.borders;
    let list = |sizes: &[u64]| {
        let words: Vec<String> = sizes.iter().map(u64::to_string).collect();
        words.join(" and ")
    };
    let capacities: Vec<u64> = drawn
        .engine
        .tiers
        .iter()
        .map(|tier| tier.capacity.0)
        .collect();
    vec![Answer {
        seed,
        group: drawn.kind.to_owned(),
        truth: format!(
            "tiers of {} tokens: {}",
            list(&capacities),
            list(&drawn.borders)
        ),
        said: if figures.len() == drawn.sizes.len() {
            list(&found)
        } else {
            format!(
                "{} of {} sizes; {}",
                figures.len(),
                drawn.sizes.len(),
                said.failed.join("; ")
            )
        },
        error: None,
        right,
    }]
}

/// The criterion, without answers.
pub(crate) fn criterion() -> Criterion {
    Criterion {
        rule: "A sweep over six working sets at 100 %, prompts in turn: the first size beyond what a tier holds is the first \
               whose mean TTFT or rate is 25 % off the plateau before it, and no other size is."
            .to_owned(),
        name: "tier borders",
        unit: "",
        wanted: 0.95,
        answers: Vec::new(),
    }
}

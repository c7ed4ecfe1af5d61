//! Does every request reuse as much as it was meant to?
//!
//! Every rate from 0 to 100 (of each seed every tenth, and both ends), over climbs, searches, repeats and given levels,
//! with a seed and without one. What was meant is the formula of the tool's page, computed here; what was achieved is the simulator's own count,
//! request by request.

use std::time::Duration;

use engine::study::{GivesUp, Mode, Reinit, StudyPlan, WorkingSets};
use engine::test_run::SustainedResults;
use kvcalc::{BlockSize, TokenCount};
use metrics::window::{SpeedMetric, TtftMetric};
use ramp::{FixedRules, FixedSettings, RampRules, RampSettings, Thresholds};
use sim::model::ServiceModel;
use sim::profile::Profile;
use workload::{Seed, SelectionOrder};

use crate::draw::Draw;
use crate::grade::{Answer, Criterion};
use crate::in_process::{Measuring, Spoil, TestSaid, Words, study};

/// Requests that a test must have had for its answer to count.
const LEAST_REQUESTS: usize = 30;

/// One study over all rates.
struct Drawn {
    seed: u64,
    context: u64,
    chunk: u64,
    block: u32,
    working_set: u64,
    order: SelectionOrder,
    reinit: Reinit,
    is_ramp: bool,
}

impl Drawn {
    fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed, "hit rate");
        let chunk = draw.one_of(&[32, 64, 128, 256]);
        let context = draw.whole(300, 900);
        Self {
            seed,
            context,
            chunk,
            // An engine's block is no larger than the tool's chunk, as its page asks.
            block: draw.one_of(&[8, 16, 32]),
            working_set: context * draw.whole(1, 12),
            order: draw.one_of(&[SelectionOrder::RoundRobin, SelectionOrder::Random]),
            reinit: draw.one_of(&[Reinit::Once, Reinit::EachTest, Reinit::EachWindow]),
            is_ramp: draw.bits().is_multiple_of(2),
        }
    }

    /// Tokens of a body that are meant to be in the cache, and tokens of the body.
    fn meant(&self, rate: u32) -> (u64, u64) {
        if rate == 100 {
            let rounded = self.context.div_ceil(self.chunk) * self.chunk;
            return (rounded, rounded);
        }
        let share = self.context * u64::from(rate) / 100;
        (share / self.chunk * self.chunk, self.context)
    }

    /// Every tenth rate, and both ends; ten seeds that follow each other have all of them.
    fn rates(&self) -> Vec<u32> {
        let is_asked =
            |rate: &u32| matches!(rate, 0 | 100) || u64::from(*rate) % 10 == self.seed % 10;
        (0..=100).filter(is_asked).collect()
    }

    fn mode(&self) -> Mode {
        let thresholds = Thresholds {
            max_ttft: Some(0.22),
            min_speed: None,
        };
        if self.is_ramp {
            Mode::Ramp(RampSettings {
                start: 2,
                increment: 2,
                max: 14,
                test_duration: Duration::from_secs(60),
                ramp_duration: Duration::from_secs(1),
                num_retries: 2,
                thresholds,
                rules: RampRules::CACHE_RATE,
            })
        } else {
            Mode::Fixed(FixedSettings {
                levels: vec![3, 9, 12],
                ramp_duration: Duration::from_secs(1),
                num_retries: 1,
                thresholds,
                rules: FixedRules::CACHE_RATE,
            })
        }
    }
}

/// The answers of a seed: one per rate, with and without `--seed`.
pub(crate) fn ask(words: &Words, seed: u64, spoil: Spoil) -> Vec<Answer> {
    let drawn = Drawn::new(seed);
    let mut entropy = Draw::new(seed, "entropy");
    let mut bytes = [0_u8; 32];
    bytes
        .iter_mut()
        .for_each(|byte| *byte = entropy.bits() as u8);
    let seeds = [
        ("with --seed", Seed::new(seed)),
        ("without --seed", Seed::from_entropy(bytes)),
    ];
    let mut answers = Vec::new();
    for (how, run_seed) in seeds {
        let mut engine = Profile::Demo.engine();
        engine.service = ServiceModel::Linear {
            per_active: Duration::from_millis(20),
            per_token: Duration::from_millis(4),
        };
        engine.block_size = BlockSize::try_new(drawn.block).expect("no drawn block is empty");
        // Room for the fresh text of all rates together: what the first rates leave unused of a prompt would have to go.
        engine.tiers[0].capacity = TokenCount(100_000_000);
        let rates = drawn.rates();
        let measuring = Measuring {
            prompts: words.read(),
            ttft_metric: TtftMetric::P95,
            speed_metric: SpeedMetric::Avg,
            output: 8,
        };
        let said = study(words, &engine, run_seed, measuring, spoil, |window| {
            StudyPlan {
                context_sizes: vec![drawn.context],
                cache_hit_rates: rates.clone(),
                working_sets: WorkingSets::One(drawn.working_set),
                ensure_coverage: false,
                chunk_size: drawn.chunk,
                reinit: drawn.reinit,
                init_concurrency: 4,
                order: drawn.order,
                mode: drawn.mode(),
                window,
                sustained: SustainedResults::CACHE_RATE,
                model: sim::DEFAULT_MODEL.to_owned(),
                n_build_threads: 1,
                gives_up: GivesUp::AfterFailures,
            }
        });
        for rate in rates {
            let test = said
                .tests
                .iter()
                .find(|test| test.summary.cache_hit_rate == rate);
            answers.push(answer(words, &drawn, how, rate, test, spoil));
        }
    }
    answers
}

fn answer(
    words: &Words,
    drawn: &Drawn,
    how: &str,
    rate: u32,
    test: Option<&TestSaid>,
    spoil: Spoil,
) -> Answer {
    let (cached, body) = drawn.meant(rate);
    let group = match rate {
        0 => format!("0 %, {how}"),
        100 => format!("100 %, {how}"),
        _ => format!("1 to 99 %, {how}"),
    };
    let truth = format!("{rate} % of {}: {cached} of {body} tokens", drawn.context);
    let wrong = |said: String| Answer {
        seed: drawn.seed,
        group: group.clone(),
        truth: truth.clone(),
        said,
        error: None,
        right: false,
    };
    let Some(test) = test else {
        return wrong("nothing".to_owned());
    };
    let n_phases = test.phases.len();
    if test.records.len() < LEAST_REQUESTS || n_phases < 4 {
        return wrong(format!(
            "only {} requests in {n_phases} windows",
            test.records.len()
        ));
    }
    let mut worst: i64 = 0;
    for record in &test.records {
        let mut told = record.intent.cached_tokens;
        if spoil == Spoil::ChunkShort {
            told = told.saturating_sub(drawn.chunk);
        }
        let id = &record.intent.request_id;
        let Some(server) = test.server.get(id) else {
            return wrong(format!("a request {id} that the server never saw"));
        };
        if (told, record.intent.unique_tokens) != (cached, body - cached) {
            return wrong(format!(
                "{told} cached and {} unique tokens",
                record.intent.unique_tokens
            ));
        }
        let around = words.template + record.intent.question_tokens;
        if server.prompt_tokens != body + around {
            return wrong(format!(
                "prompts of {} tokens, of which {around} are not the body's",
                server.prompt_tokens
            ));
        }
        if record.reported_cached_tokens != Some(server.cached_tokens) {
            return wrong(format!(
                "{:?} cached tokens as the server's own",
                record.reported_cached_tokens
            ));
        }
        let off = server.cached_tokens as i64 - cached as i64;
        if off.abs() > worst.abs() {
            worst = off;
        }
    }
    let blocks = worst as f64 / f64::from(drawn.block);
    Answer {
        seed: drawn.seed,
        group,
        truth,
        said: format!("{worst:+} tokens in a request"),
        error: Some(blocks),
        right: blocks.abs() <= 1.0,
    }
}

/// The criterion, without answers.
pub(crate) fn criterion() -> Criterion {
    Criterion {
        rule: "Every request of a test reused, by the simulator's own count, the tokens that the page's formula says, to \
               within one block of the server; the tool's rows say that number, and the prompts have the tokens that \
               they should have. Each answer is one test of at least 30 requests over at least four windows."
            .to_owned(),
        name: "hit rate",
        unit: "blocks",
        wanted: 1.0,
        answers: Vec::new(),
    }
}

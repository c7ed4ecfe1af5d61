//! A whole study over the simulator in process, with its files in a directory of its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use core_client::RunClock;
use engine::event::StudyEvent;
use engine::feed::{InlineFeed, VerificationCounters};
use engine::load::{EndpointSelection, Rotation};
use engine::progress::NoLive;
use engine::recorder::{InlineSink, Interpreter};
use engine::stop::{Stop, StopReason};
use engine::study::{
    GivesUp, Mode, Reinit, StudyEnd, StudyParts, StudyPlan, StudyStore, WorkingSets, run_study,
};
use engine::test_run::SustainedResults;
use engine::window::WindowSettings;
use metrics::schema::SetColumns;
use metrics::window::{SpeedMetric, TtftMetric};
use metrics::{PhaseRow, SummaryRow};
use ramp::{FixedRules, FixedSettings, Thresholds};
use report::files::{ResultDir, RunWriter, WriterOptions};
use report::progress::Progress;
use report::stamp::RunStamp;
use sim::model::ServiceModel;
use workload::{PieceTable, Seed, SelectionOrder, TextTokenizer};

use super::{CHUNK, Faults, OUTPUT_TOKENS, Sent, transport};

/// What a study did.
pub(crate) struct Studied {
    pub(crate) end: StudyEnd,
    pub(crate) log: Vec<Sent>,
    pub(crate) phases: Vec<PhaseRow>,
    pub(crate) summary: Vec<SummaryRow>,
    /// Per context: how many prompts were re-encoded, and how many requests had gone out when that was over.
    pub(crate) verified: Vec<(u64, usize)>,
}

/// Runs a study against a server that takes a quarter of a second for everything; `change` makes of a plan without
/// anything to say the one to run.
pub(crate) async fn study(
    context_size: u64,
    rates: &[u32],
    change: impl FnOnce(&mut StudyPlan),
) -> Studied {
    study_until(context_size, rates, change, "").await
}

/// The same, stopped by the user when a window of this name begins.
pub(crate) async fn study_until(
    context_size: u64,
    rates: &[u32],
    change: impl FnOnce(&mut StudyPlan),
    last: &str,
) -> Studied {
    let clock = RunClock::start();
    let sent: Rc<RefCell<Vec<Sent>>> = Rc::default();
    let model = ServiceModel::Fixed {
        total: Duration::from_millis(250),
    };
    let transport = transport(model, clock, &sent, Faults::default());
    let tokenizer = TextTokenizer::from_bytes(hub::builtin_tokenizer()).unwrap();
    let mut plan = StudyPlan {
        context_sizes: vec![context_size],
        cache_hit_rates: rates.to_vec(),
        working_sets: WorkingSets::One(context_size),
        ensure_coverage: false,
        chunk_size: CHUNK,
        reinit: Reinit::EachTest,
        init_concurrency: 1,
        order: SelectionOrder::RoundRobin,
        mode: Mode::Fixed(FixedSettings {
            levels: Vec::new(),
            ramp_duration: Duration::from_secs(1),
            num_retries: 0,
            thresholds: Thresholds::default(),
            rules: FixedRules::WORKING_SET,
        }),
        window: WindowSettings {
            ttft_metric: TtftMetric::P95,
            speed_metric: SpeedMetric::Avg,
            strict: false,
            output_tokens: u64::from(OUTPUT_TOKENS),
            cooldown: Duration::ZERO,
            anchor: clock.anchor(),
        },
        sustained: SustainedResults::WORKING_SET,
        gives_up: GivesUp::Unreachable,
        model: "demo".to_owned(),
        n_build_threads: 1,
    };
    change(&mut plan);
    let counters = Arc::new(VerificationCounters::default());
    let mut feed = InlineFeed::new(Arc::clone(&counters));
    let mut sink = InlineSink::new(Interpreter {
        anchor: clock.anchor(),
        tokenizer: tokenizer.clone(),
    });
    let mut rotation = Rotation::new(EndpointSelection::RoundRobin, 1);
    let stop = Stop::new();
    // By an event and not by the clock, which runs ahead while a thread builds prompts.
    let mut verified = Vec::new();
    let mut observer = |event: &StudyEvent<'_>| {
        if let StudyEvent::WorkingSetReady { verification, .. } = event {
            verified.push((verification.verified, sent.borrow().len()));
        }
        if matches!(event, StudyEvent::WindowStarted { spec } if spec.phase_id == last) {
            stop.request(StopReason::Interrupt);
        }
    };
    let place = tempfile::tempdir().unwrap();
    let dir = ResultDir::open(place.path()).unwrap();
    let stamp = RunStamp::parse("20261122_010848").unwrap();
    let set = SetColumns::Growing;
    let (_, mut tables) = RunWriter::create(&dir, &stamp, WriterOptions { set }).split();
    let mut progress = Progress::new(serde_json::Map::new());
    let end = run_study(
        &plan,
        StudyParts {
            transport: &transport,
            clock,
            feed: &mut feed,
            sink: &mut sink,
            rotation: &mut rotation,
            stop: &stop,
            live: &NoLive,
            observer: &mut observer,
            pieces: PieceTable::build(&tokenizer).unwrap(),
            tokenizer,
            seed: Seed::new(7),
            counters,
        },
        StudyStore {
            dir: &dir,
            tables: &mut tables,
            progress: &mut progress,
        },
    )
    .await;
    Studied {
        end,
        log: sent.borrow().clone(),
        phases: tables.phases().to_vec(),
        summary: tables.summary().to_vec(),
        verified,
    }
}

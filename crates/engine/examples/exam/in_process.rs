//! The suite against the simulator in one thread and one process, under tokio's paused clock.
//!
//! Everything from the study down is the product's own: warm-up, prompts, load loop, windows, controllers, statistics,
//! tables. Only the way of a request is ours: it is handed to the simulator's service instead of a socket. What the
//! server itself counted is kept apart, request by request, for whoever wants to compare.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use core_client::{RunClock, Witness as _};
use engine::event::StudyEvent;
use engine::feed::{InlineFeed, VerificationCounters};
use engine::load::{EndpointSelection, Rotation};
use engine::progress::NoLive;
use engine::recorder::{InlineSink, Interpreter};
use engine::stop::Stop;
use engine::study::{StudyEnd, StudyParts, StudyPlan, StudyStore, run_study};
use engine::transport::{Kind, Outgoing, Transport};
use engine::window::WindowSettings;
use futures_util::future::LocalBoxFuture;
use metrics::schema::SetColumns;
use metrics::timeline::{ChunkStamp, Exchange, Failure, FailureKind, Timeline, Usage};
use metrics::window::{SpeedMetric, TtftMetric};
use metrics::{PhaseRow, RequestRecord, SummaryRow};
use report::files::{ResultDir, RunWriter, WriterOptions};
use report::progress::Progress;
use report::stamp::RunStamp;
use sim::config::SimConfig;
use sim::model::EngineConfig;
use sim::prompt::{Message, SimPrompt, prompt_ids};
use sim::service::{SimEvent, SimRequest, SimService};
use sim::text::SimTokenizer;
use workload::{PieceTable, Prompt, Seed, TextTokenizer};

use crate::truth::ids;

/// The tokenizer and what was measured with it: the same for all studies.
#[derive(Clone)]
pub(crate) struct Words {
    pub(crate) tokenizer: TextTokenizer,
    pub(crate) pieces: PieceTable,
    /// The simulator's.
    of_server: SimTokenizer,
    /// Tokens that the simulator's chat template adds.
    pub(crate) template: u64,
    /// Tokens behind the bodies of requests 0, 1, …
    pub(crate) questions: Vec<u64>,
}

impl Words {
    /// Loads the built-in tokenizer. How many tokens stand around a body is counted by the simulator.
    pub(crate) fn load() -> Self {
        let tokenizer = TextTokenizer::from_bytes(hub::builtin_tokenizer())
            .expect("the built-in tokenizer is whole");
        let pieces = PieceTable::build(&tokenizer).expect("the built-in tokenizer has pieces");
        let of_server = SimTokenizer::from_bytes(hub::builtin_tokenizer())
            .expect("the built-in tokenizer is whole");
        let template = sim::prompt::template_tokens(&of_server)
            .expect("an empty message has tokens around it");
        Self {
            questions: (0..pieces.n_questions())
                .map(|k| pieces.question_tokens(k))
                .collect(),
            template: template.get(),
            tokenizer,
            pieces,
            of_server,
        }
    }

    /// For a server that believes the counts.
    pub(crate) fn told(&self) -> Prompts {
        Prompts::Told(self.template)
    }

    /// For one that reads.
    pub(crate) fn read(&self) -> Prompts {
        Prompts::Read(self.of_server.clone())
    }
}

/// What the server counted of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) prompt_tokens: u64,
    pub(crate) cached_tokens: u64,
}

/// By request id; warm-up requests are not in it.
pub(crate) type ServersLog = BTreeMap<String, Counted>;

struct InProcess {
    service: SimService,
    prompts: Prompts,
    n_sent: Cell<u64>,
    clock: RunClock,
    endpoints: Vec<String>,
    output: u32,
    counted: Rc<RefCell<Vec<(String, Counted)>>>,
    spoil: Spoil,
}

/// How the server comes to the tokens of a prompt.
#[derive(Clone)]
pub(crate) enum Prompts {
    /// It tokenises the text.
    Read(SimTokenizer),
    /// It believes the tool's counts, and adds so many tokens for its template. Whether the counts are right is asked
    /// where texts are read; this is much faster.
    Told(u64),
}

impl Prompts {
    fn ids(&self, prompt: &Prompt, number: u64) -> Vec<u32> {
        match self {
            Self::Read(tokenizer) => {
                let message = Message {
                    role: "user".to_owned(),
                    content: prompt.plain_text(),
                };
                prompt_ids(tokenizer, &SimPrompt::Chat(vec![message])).expect("text has tokens")
            }
            Self::Told(template) => {
                let index = prompt.index.unwrap_or_default() as u64;
                let fresh = prompt.split.unique + prompt.question_tokens;
                ids(*template, index, prompt.split.cached, Some((number, fresh)))
            }
        }
    }
}

/// What is done wrong on purpose, to see whether the exam notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoil {
    /// Nothing.
    Nothing,
    /// The tool takes the drain for a part of the window when it divides.
    DrainInWindow,
    /// The controller holds levels against a threshold that is half as strict as the one given.
    LaxController,
    /// The tool reports the level two increments above the one it found.
    PeakTooHigh,
    /// Working sets are two thirds of what was asked for.
    OtherSets,
    /// The server gets no warm-up request.
    NoWarmUp,
    /// Every request of a phase has the same fresh text.
    SameFreshText,
    /// The tool counts each cached prefix a chunk shorter than it was sent.
    ChunkShort,
}

impl Spoil {
    /// All but nothing.
    pub(crate) const ALL: [Self; 7] = [
        Self::DrainInWindow,
        Self::LaxController,
        Self::PeakTooHigh,
        Self::OtherSets,
        Self::NoWarmUp,
        Self::SameFreshText,
        Self::ChunkShort,
    ];

    /// The word of `--spoil`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::DrainInWindow => "drain-in-window",
            Self::LaxController => "lax-controller",
            Self::PeakTooHigh => "peak-too-high",
            Self::OtherSets => "other-sets",
            Self::NoWarmUp => "no-warm-up",
            Self::SameFreshText => "same-fresh-text",
            Self::ChunkShort => "chunk-short",
        }
    }
}

impl Transport for InProcess {
    fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    fn prepare<'a>(&'a self, _per_endpoint: &'a [usize]) -> LocalBoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn send(&self, request: Outgoing) -> LocalBoxFuture<'static, Exchange> {
        let (service, clock) = (self.service.clone(), self.clock);
        // Here and not on another thread, whose time would be real.
        let ids = self.prompts.ids(&request.prompt, self.n_sent.get());
        self.n_sent.set(self.n_sent.get() + 1);
        let is_measured = request.kind == Kind::Measured;
        let output = if is_measured { self.output } else { 1 };
        let is_dropped = !is_measured && self.spoil == Spoil::NoWarmUp;
        let counted = Rc::clone(&self.counted);
        Box::pin(async move {
            let mut timeline = Timeline {
                intended: request.intended,
                launched: clock.now(),
                ..Timeline::default()
            };
            let (mut usage, mut told) = (Usage::default(), String::new());
            let mut watch = request.watch.clone();
            if is_dropped {
                timeline.finished = clock.now();
                return Exchange {
                    timeline,
                    usage,
                    text: told,
                    failure: None,
                };
            }
            let stream = async {
                let asked = SimRequest::new(SimPrompt::Ids(ids), output);
                let mut stream = service
                    .submit(asked)
                    .await
                    .expect("the exam draws prompts that fit the server");
                while let Some(event) = stream.next().await {
                    match event {
                        SimEvent::Token { text, .. } => {
                            let stamp = ChunkStamp {
                                at: clock.now(),
                                text_bytes: text.len() as u32,
                            };
                            timeline.chunks.push(stamp);
                            if let Some(watch) = &mut watch {
                                watch.arrived(timeline.launch(), &[stamp]);
                            }
                            told.push_str(&text);
                        }
                        SimEvent::Done { usage: server, .. } => {
                            if is_measured {
                                let of_server = Counted {
                                    prompt_tokens: server.prompt_tokens,
                                    cached_tokens: server.cached_tokens,
                                };
                                counted
                                    .borrow_mut()
                                    .push((request.request_id.clone(), of_server));
                            }
                            usage = Usage {
                                prompt_tokens: Some(server.prompt_tokens),
                                completion_tokens: Some(server.completion_tokens),
                                cached_tokens: Some(server.cached_tokens),
                            };
                        }
                    }
                }
            };
            let failure = tokio::select! {
                () = stream => None,
                () = request.cancel.cancelled() => Some(Failure {
                    kind: FailureKind::Cancelled,
                    status: None,
                    message: "cancelled".to_owned(),
                }),
            };
            timeline.finished = clock.now();
            Exchange {
                timeline,
                usage,
                text: told,
                failure,
            }
        })
    }
}

/// What a study said, test by test.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) tests: Vec<TestSaid>,
    /// Tests without a result, with the reason.
    pub(crate) failed: Vec<String>,
}

/// What was said of one test.
#[derive(Debug)]
pub(crate) struct TestSaid {
    pub(crate) summary: SummaryRow,
    pub(crate) phases: Vec<PhaseRow>,
    pub(crate) records: Vec<RequestRecord>,
    /// The tool said that no level held the thresholds.
    pub(crate) none_passed: bool,
    /// In sustained mode, level and decision of every period.
    pub(crate) periods: Vec<(u32, ramp::Decision)>,
    /// What the server counted meanwhile.
    pub(crate) server: ServersLog,
}

/// How windows are to be measured, the clock aside, and how the server takes prompts.
#[derive(Clone)]
pub(crate) struct Measuring {
    pub(crate) prompts: Prompts,
    pub(crate) ttft_metric: TtftMetric,
    pub(crate) speed_metric: SpeedMetric,
    pub(crate) output: u32,
}

/// Runs a study against a fresh server on a paused clock. `plan` makes it, once the clock is there.
pub(crate) fn study(
    words: &Words,
    engine: &EngineConfig,
    seed: Seed,
    measuring: Measuring,
    spoil: Spoil,
    plan: impl FnOnce(WindowSettings) -> StudyPlan,
) -> Said {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without sockets can be built");
    runtime.block_on(async {
        tokio::spawn(keep_time());
        let clock = RunClock::start();
        let mut config = SimConfig::demo();
        config.engine = engine.clone();
        config.record.requests = 0;
        let counted = Rc::default();
        let transport = InProcess {
            service: SimService::new(config).expect("the exam draws servers that are valid"),
            prompts: measuring.prompts,
            n_sent: Cell::new(0),
            clock,
            endpoints: vec!["the simulator".to_owned()],
            output: measuring.output,
            counted: Rc::clone(&counted),
            spoil,
        };
        let window = WindowSettings {
            ttft_metric: measuring.ttft_metric,
            speed_metric: measuring.speed_metric,
            strict: false,
            output_tokens: u64::from(measuring.output),
            cooldown: Duration::ZERO,
            anchor: clock.anchor(),
        };
        carry_out(words, &transport, &counted, seed, &plan(window)).await
    })
}

/// Working sets are built on threads, whose time is real. A paused clock jumps whenever nothing else is to be done, and
/// alone with the simulator's idle timer it would jump by a day, thousands of times a second, to where no timer counts.
async fn keep_time() {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        std::thread::sleep(Duration::from_millis(1));
    }
}

async fn carry_out(
    words: &Words,
    transport: &InProcess,
    counted: &Rc<RefCell<Vec<(String, Counted)>>>,
    seed: Seed,
    plan: &StudyPlan,
) -> Said {
    let place = tempfile::tempdir().expect("a temporary directory can be made");
    let dir = ResultDir::create(place.path()).expect("an empty directory can be written");
    let stamp = RunStamp::take(dir.path(), &jiff::Zoned::now());
    let (_, mut tables) = RunWriter::create(
        &dir,
        &stamp,
        WriterOptions {
            set: SetColumns::Growing,
        },
    )
    .split();
    let mut progress = Progress::new(serde_json::Map::new());
    let counters = Arc::new(VerificationCounters::default());
    let clock = transport.clock;
    let mut said = Said::default();
    let mut periods = Vec::new();
    let mut observer = |event: &StudyEvent<'_>| match event {
        StudyEvent::PeriodDone { decided, .. } => periods.push((decided.level, decided.decision)),
        StudyEvent::TestDone { outcome } => said.tests.push(TestSaid {
            summary: outcome.summary.clone(),
            phases: outcome.phases.clone(),
            records: outcome.records.clone(),
            none_passed: outcome
                .doubts
                .iter()
                .any(|doubt| doubt.kind == engine::event::DoubtKind::NoLevelPassed),
            periods: std::mem::take(&mut periods),
            server: std::mem::take(&mut *counted.borrow_mut())
                .into_iter()
                .collect(),
        }),
        StudyEvent::TestFailed { reason, .. } => said.failed.push((*reason).to_owned()),
        _ => {}
    };
    let spoiled = transport.spoil == Spoil::SameFreshText;
    let mut feed = Feed {
        inner: InlineFeed::new(Arc::clone(&counters)),
        first: None,
        spoiled,
    };
    let StudyEnd { aborted, .. } = run_study(
        plan,
        StudyParts {
            transport,
            clock,
            feed: &mut feed,
            sink: &mut InlineSink::new(Interpreter {
                anchor: clock.anchor(),
                tokenizer: words.tokenizer.clone(),
            }),
            rotation: &mut Rotation::new(EndpointSelection::RoundRobin, 1),
            stop: &Stop::new(),
            live: &NoLive,
            observer: &mut observer,
            tokenizer: words.tokenizer.clone(),
            pieces: words.pieces.clone(),
            seed,
            counters,
        },
        StudyStore {
            dir: &dir,
            tables: &mut tables,
            progress: &mut progress,
        },
    )
    .await;
    said.failed.extend(aborted);
    said
}

/// The product's feed; spoiled, it gives the first text of a phase over and over.
struct Feed {
    inner: InlineFeed,
    first: Option<workload::FreshText>,
    spoiled: bool,
}

impl engine::feed::PromptFeed for Feed {
    fn begin_phase(&mut self, prompts: engine::feed::PhasePrompts, depth: usize) {
        self.inner.begin_phase(prompts, depth);
    }

    fn stage(&mut self, next: engine::feed::PhasePrompts, depth: usize) {
        self.inner.stage(next, depth);
    }

    fn poll_next(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<workload::FreshText> {
        let next = self.inner.poll_next(cx);
        match (self.spoiled, next) {
            (true, std::task::Poll::Ready(fresh)) => {
                std::task::Poll::Ready(self.first.get_or_insert(fresh).clone())
            }
            (_, next) => next,
        }
    }

    fn rest(&mut self) {
        self.first = None;
        self.inner.rest();
    }
}

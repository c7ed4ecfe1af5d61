//! A test bench: an engine context over the simulator in process, or over a server that follows a script.

#[path = "bench/felt.rs"]
mod felt;
#[path = "bench/keeping.rs"]
mod keeping;
#[path = "bench/look.rs"]
mod look;
#[path = "bench/studied.rs"]
mod studied;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use core_client::{RunClock, Witness as _};
use engine::event::StudyEvent;
use engine::feed::{InlineFeed, PhasePrompts, VerificationCounters};
use engine::growth::GrowthPlan;
use engine::load::{EndpointSelection, LoadContext, Phase, Rotation, phase_id};
use engine::progress::NoLive;
use engine::recorder::{InlineSink, Interpreter};
use engine::stop::Stop;
use engine::sustained::run_sustained;
use engine::test_run::{SustainedResults, TestError, TestFailure, TestOutcome, TestPlan, run_test};
use engine::transport::{Kind, Outgoing, Transport};
use engine::warm_up::{WarmUp, WarmUpError, WarmedUp, warm_up};
use engine::window::{WindowOutcome, WindowSettings, run_window};
use futures_util::future::LocalBoxFuture;
use metrics::PeriodRow;
use metrics::health::HealthRow;
use metrics::summary::TestKey;
use metrics::timeline::{ChunkStamp, Exchange, Failure, FailureKind, Timeline, Usage};
use metrics::window::{SpeedMetric, TtftMetric};
use ramp::{Controller, Purpose, SustainedController, SustainedSettings, WindowSpec};
use sim::config::SimConfig;
use sim::model::ServiceModel;
use sim::service::{SimEvent, SimRequest, SimService};
use workload::{
    ContextPlan, PieceTable, PromptPlan, Seed, SelectionOrder, Selector, TextTokenizer, WorkingSet,
};

pub(crate) use felt::felt;
use keeping::KeepingSink;
pub(crate) use look::{most_in_flight, records_by_request, tell_growth};
pub(crate) use studied::{Studied, study, study_until};

/// Output tokens of every measured request.
const OUTPUT_TOKENS: u32 = 16;
const CHUNK: u64 = 256;
const WORKING_SET: u64 = 8000;

/// The simulator behind the engine's transport, without a socket.
struct SimTransport {
    service: SimService,
    clock: RunClock,
    endpoints: Vec<String>,
    sent: Rc<RefCell<Vec<Sent>>>,
    faults: Faults,
    /// Requests in the server.
    active: Rc<Cell<u32>>,
}

/// A request as it went out.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// Warm-up or sample.
    pub(crate) kind: Kind,
    /// When.
    pub(crate) at: Duration,
    /// The working-set prompt that it begins with.
    pub(crate) prompt: Option<usize>,
    /// All of it.
    pub(crate) text: String,
}

impl Sent {
    fn new(request: &Outgoing, text: &str, clock: RunClock) -> Self {
        let first_line = text.lines().next().unwrap_or_default();
        Self {
            kind: request.kind,
            at: clock.now(),
            prompt: first_line
                .strip_prefix("# PROMPT_")
                .and_then(|number| number.parse().ok()),
            text: text.to_owned(),
        }
    }
}

fn transport(
    model: ServiceModel,
    clock: RunClock,
    sent: &Rc<RefCell<Vec<Sent>>>,
    faults: Faults,
) -> SimTransport {
    let mut config = SimConfig::demo();
    config.engine.service = model;
    SimTransport {
        service: SimService::new(config).unwrap(),
        clock,
        endpoints: vec!["sim".to_owned()],
        sent: Rc::clone(sent),
        faults,
        active: Rc::default(),
    }
}

/// What is wrong with the server.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// From then on every request fails; those in flight are cut off.
    pub(crate) dies_at: Option<Duration>,
    /// Requests beyond so many are refused at once.
    pub(crate) at_most: Option<u32>,
    /// No usage is sent.
    pub(crate) no_usage: bool,
}

impl Transport for SimTransport {
    fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    fn prepare<'a>(&'a self, _per_endpoint: &'a [usize]) -> LocalBoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn send(&self, request: Outgoing) -> LocalBoxFuture<'static, Exchange> {
        let (service, clock) = (self.service.clone(), self.clock);
        let text = request.prompt.plain_text();
        self.sent
            .borrow_mut()
            .push(Sent::new(&request, &text, self.clock));
        let (faults, active) = (self.faults, Rc::clone(&self.active));
        let mut watch = request.watch.clone();
        Box::pin(async move {
            let refused = match faults {
                Faults {
                    dies_at: Some(at), ..
                } if clock.now() >= at => Some(failure(FailureKind::Connect, "refused")),
                Faults {
                    at_most: Some(n), ..
                } if active.get() >= n => Some(failure(FailureKind::Status, "HTTP 429")),
                _ => None,
            };
            if let Some(failure) = refused {
                let launched = clock.now();
                tokio::time::sleep(Duration::from_millis(1)).await;
                return Exchange {
                    timeline: Timeline {
                        intended: request.intended,
                        launched,
                        finished: clock.now(),
                        ..Timeline::default()
                    },
                    usage: Usage::default(),
                    text: String::new(),
                    failure: Some(failure),
                };
            }
            active.set(active.get() + 1);
            let mut timeline = Timeline {
                intended: request.intended,
                launched: clock.now(),
                ..Timeline::default()
            };
            let mut usage = Usage::default();
            let mut output = String::new();
            let tokens = if request.kind == Kind::WarmUp {
                1
            } else {
                OUTPUT_TOKENS
            };
            let stream = async {
                let mut stream = service
                    .submit(SimRequest::chat(&text, tokens))
                    .await
                    .unwrap();
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
                            output.push_str(&text);
                        }
                        SimEvent::Done { usage: told, .. } => {
                            usage = Usage {
                                prompt_tokens: Some(told.prompt_tokens),
                                completion_tokens: Some(told.completion_tokens),
                                cached_tokens: Some(told.cached_tokens),
                            };
                        }
                    }
                }
            };
            let death = async {
                match faults.dies_at {
                    Some(at) => tokio::time::sleep(at.saturating_sub(clock.now())).await,
                    None => std::future::pending().await,
                }
            };
            let failure = tokio::select! {
                () = stream => None,
                () = request.cancel.cancelled() => Some(failure(FailureKind::Cancelled, "cancelled")),
                () = death => Some(failure(FailureKind::Truncated, "cut off")),
            };
            active.set(active.get() - 1);
            timeline.finished = clock.now();
            if faults.no_usage {
                usage = Usage::default();
            }
            Exchange {
                timeline,
                usage,
                text: output,
                failure,
            }
        })
    }
}

fn failure(kind: FailureKind, message: &str) -> Failure {
    Failure {
        kind,
        status: None,
        message: message.to_owned(),
    }
}

/// A server that answers every request alike, except for those it fails.
#[derive(Clone)]
pub(crate) struct Scripted {
    takes: Duration,
    /// Every so many requests fail, counted from 1; 1 is all.
    fails_every: Option<u64>,
    kind: FailureKind,
    message: &'static str,
    /// The end of the body comes so long behind the end of the answer.
    held_back: Duration,
}

impl Scripted {
    /// The same, with the body's end so long behind the answer's.
    pub(crate) fn holding_back(self, held_back: Duration) -> Self {
        Self { held_back, ..self }
    }

    /// Answers after `takes`.
    pub(crate) fn answering(takes: Duration) -> Self {
        Self {
            takes,
            fails_every: None,
            kind: FailureKind::Status,
            message: "",
            held_back: Duration::ZERO,
        }
    }

    /// Fails always, at once.
    pub(crate) fn failing(kind: FailureKind, message: &'static str) -> Self {
        Self {
            takes: Duration::from_millis(1),
            fails_every: Some(1),
            kind,
            message,
            held_back: Duration::ZERO,
        }
    }

    /// Fails every `n`-th request.
    pub(crate) fn failing_every(n: u64, takes: Duration) -> Self {
        Self {
            takes,
            fails_every: Some(n),
            kind: FailureKind::Status,
            message: "HTTP 503",
            held_back: Duration::ZERO,
        }
    }
}

struct ScriptedTransport {
    script: Scripted,
    clock: RunClock,
    endpoints: Vec<String>,
    sent: Rc<RefCell<Vec<Sent>>>,
}

impl Transport for ScriptedTransport {
    fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    fn prepare<'a>(&'a self, _per_endpoint: &'a [usize]) -> LocalBoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn send(&self, request: Outgoing) -> LocalBoxFuture<'static, Exchange> {
        let text = request.prompt.plain_text();
        self.sent
            .borrow_mut()
            .push(Sent::new(&request, &text, self.clock));
        let n = self.sent.borrow().len() as u64;
        let (script, clock) = (self.script.clone(), self.clock);
        Box::pin(async move {
            let launched = clock.now();
            tokio::time::sleep(script.takes).await;
            let now = clock.now();
            tokio::time::sleep(script.held_back).await;
            let failed = script
                .fails_every
                .is_some_and(|every| n.is_multiple_of(every));
            Exchange {
                timeline: Timeline {
                    intended: request.intended,
                    launched,
                    chunks: if failed {
                        Vec::new()
                    } else {
                        vec![ChunkStamp {
                            at: now,
                            text_bytes: 4,
                        }]
                    },
                    finished: now,
                    held_back: script.held_back,
                    ..Timeline::default()
                },
                usage: Usage {
                    completion_tokens: Some(1),
                    ..Usage::default()
                },
                text: " one".to_owned(),
                failure: failed.then(|| failure(script.kind, script.message)),
            }
        })
    }
}

/// Everything that a context borrows.
pub(crate) struct Bench {
    transport: Box<dyn Transport>,
    sent: Rc<RefCell<Vec<Sent>>>,
    clock: RunClock,
    feed: InlineFeed,
    sink: KeepingSink,
    selector: Selector,
    rotation: Rotation,
    pub(crate) stop: Stop,
    /// Pause behind every window.
    pub(crate) cooldown: Duration,
    tokenizer: TextTokenizer,
    pieces: PieceTable,
    plan: ContextPlan,
    rate: u32,
    set: Arc<WorkingSet>,
}

impl Bench {
    /// Over the simulator with this service model.
    pub(crate) fn simulator(model: ServiceModel, context_size: u64, rate: u32) -> Self {
        Self::faulty(model, context_size, rate, Faults::default())
    }

    /// Over the simulator, with faults.
    pub(crate) fn faulty(
        model: ServiceModel,
        context_size: u64,
        rate: u32,
        faults: Faults,
    ) -> Self {
        let clock = RunClock::start();
        let sent = Rc::default();
        let transport = transport(model, clock, &sent, faults);
        Self::over(
            Box::new(transport),
            sent,
            clock,
            EndpointSelection::RoundRobin,
            context_size,
            rate,
        )
    }

    /// Over a scripted server with several endpoints.
    pub(crate) fn scripted(
        script: Scripted,
        n: usize,
        selection: EndpointSelection,
        context_size: u64,
        rate: u32,
    ) -> Self {
        let clock = RunClock::start();
        let sent = Rc::default();
        let endpoints = (0..n).map(|i| format!("server {i}")).collect();
        let transport = ScriptedTransport {
            script,
            clock,
            endpoints,
            sent: Rc::clone(&sent),
        };
        Self::over(
            Box::new(transport),
            sent,
            clock,
            selection,
            context_size,
            rate,
        )
    }

    fn over(
        transport: Box<dyn Transport>,
        sent: Rc<RefCell<Vec<Sent>>>,
        clock: RunClock,
        selection: EndpointSelection,
        context_size: u64,
        rate: u32,
    ) -> Self {
        let tokenizer = TextTokenizer::from_bytes(hub::builtin_tokenizer()).unwrap();
        let pieces = PieceTable::build(&tokenizer).unwrap();
        let plan = ContextPlan {
            context_size,
            chunk_size: CHUNK,
            working_set_size: WORKING_SET,
        };
        let seed = Seed::new(7);
        let set =
            Arc::new(WorkingSet::build(&plan, &[rate], &pieces, &seed, 1, &|| false).unwrap());
        let n = transport.endpoints().len();
        let pinned = (selection == EndpointSelection::Pinned).then_some(n);
        Self {
            rotation: Rotation::new(selection, n),
            transport,
            sent,
            clock,
            feed: InlineFeed::new(Arc::new(VerificationCounters::default())),
            sink: KeepingSink {
                inner: InlineSink::new(Interpreter {
                    anchor: clock.anchor(),
                    tokenizer: tokenizer.clone(),
                }),
                kept: Vec::new(),
                most_at_once: 0,
                health: Vec::new(),
            },
            selector: Selector::new(SelectionOrder::RoundRobin, set.len(), pinned, &seed),
            stop: Stop::new(),
            cooldown: Duration::ZERO,
            tokenizer,
            pieces,
            plan,
            rate,
            set,
        }
    }

    /// The context of the engine's functions.
    pub(crate) fn context(&mut self) -> LoadContext<'_> {
        LoadContext {
            transport: &*self.transport,
            clock: self.clock,
            feed: &mut self.feed,
            sink: &mut self.sink,
            selector: &mut self.selector,
            rotation: &mut self.rotation,
            stop: &self.stop,
            live: &NoLive,
        }
    }

    /// Where the prompts of a phase come from.
    pub(crate) fn prompts(&self, id: &str) -> PhasePrompts {
        PhasePrompts {
            plan: Arc::new(PromptPlan::new(
                &self.pieces,
                &Seed::new(7),
                self.plan,
                self.rate,
            )),
            working_set: (self.rate > 0).then(|| Arc::clone(&self.set)),
            tokenizer: self.tokenizer.clone(),
            attempt: 0,
            working_set_size: None,
            phase_id: phase_id(id),
        }
    }

    fn settings(&self) -> WindowSettings {
        WindowSettings {
            ttft_metric: TtftMetric::P95,
            speed_metric: SpeedMetric::Avg,
            strict: false,
            output_tokens: u64::from(OUTPUT_TOKENS),
            cooldown: self.cooldown,
            anchor: self.clock.anchor(),
        }
    }

    /// Runs one window.
    pub(crate) async fn window(
        &mut self,
        id: &str,
        concurrency: u32,
        length: Duration,
    ) -> WindowOutcome {
        self.covering_window(id, concurrency, length, None).await.0
    }

    /// Runs one window that sends so many tokens; gives what it said of that, too.
    pub(crate) async fn covering_window(
        &mut self,
        id: &str,
        concurrency: u32,
        length: Duration,
        coverage: Option<u64>,
    ) -> (WindowOutcome, Vec<String>) {
        let phase = Phase {
            prompts: self.prompts(id),
            cache_hit_rate: self.rate,
            context_size: self.plan.context_size,
            working_set_size: None,
            request_prefix: None,
        };
        let spec = WindowSpec {
            phase_id: id.to_owned(),
            concurrency,
            length,
            purpose: Purpose::Ramp,
        };
        let settings = self.settings();
        let mut told = Vec::new();
        let mut observer = |event: &StudyEvent<'_>| told.extend(tell_growth(event));
        let outcome = run_window(
            &mut self.context(),
            phase,
            &spec,
            &settings,
            coverage,
            &mut observer,
        )
        .await;
        (outcome, told)
    }

    fn test_plan<'a>(&self, each: Option<WarmUp<'a>>) -> TestPlan<'a> {
        TestPlan {
            key: TestKey {
                context_size: self.plan.context_size,
                cache_hit_rate: self.rate,
                ..TestKey::default()
            },
            prompts: self.prompts(""),
            warm_each_window: each,
            window: self.settings(),
            chunk_size: CHUNK,
            coverage: None,
            growth: None,
            sustained: SustainedResults::CACHE_RATE,
        }
    }

    /// Runs one sustained test; gives the periods as they were at their ends, too.
    pub(crate) async fn sustained(
        &mut self,
        settings: SustainedSettings,
    ) -> (Result<TestOutcome, TestError>, Vec<PeriodRow>) {
        let plan = self.test_plan(None);
        let (ended, live, _) = self.run_sustained(plan, settings).await;
        (ended.map_err(|failure| failure.error), live)
    }

    /// Runs one sustained test of a working set that grows; gives what was said of growth, too.
    pub(crate) async fn growing(
        &mut self,
        settings: SustainedSettings,
        growth: GrowthPlan,
        order: SelectionOrder,
    ) -> (Result<TestOutcome, TestFailure>, Vec<String>) {
        self.select(order, growth.schedule.initial);
        let mut plan = TestPlan {
            growth: Some(growth),
            sustained: SustainedResults::WORKING_SET,
            ..self.test_plan(None)
        };
        plan.key.working_set_size = Some(WORKING_SET);
        let (ended, _, told) = self.run_sustained(plan, settings).await;
        (ended, told)
    }

    async fn run_sustained(
        &mut self,
        plan: TestPlan<'_>,
        settings: SustainedSettings,
    ) -> (
        Result<TestOutcome, TestFailure>,
        Vec<PeriodRow>,
        Vec<String>,
    ) {
        let (mut live, mut told) = (Vec::new(), Vec::new());
        let mut observer = |event: &StudyEvent<'_>| {
            if let StudyEvent::PeriodDone { row, .. } = event {
                live.push((*row).clone());
            }
            told.extend(tell_growth(event));
        };
        let controller = SustainedController::new(settings);
        self.sink.kept.clear();
        let mut ended = run_sustained(&mut self.context(), &plan, controller, &mut observer).await;
        if let Ok(outcome) = &mut ended {
            assert!(outcome.records.is_empty());
            outcome.records = std::mem::take(&mut self.sink.kept);
        }
        (ended, live, told)
    }

    /// Runs one test.
    pub(crate) async fn test(
        &mut self,
        controller: &mut dyn Controller,
        each: Option<WarmUp<'_>>,
    ) -> Result<TestOutcome, TestFailure> {
        let plan = self.test_plan(each);
        run_test(
            &mut self.context(),
            &plan,
            controller,
            &mut |_: &StudyEvent<'_>| {},
        )
        .await
    }

    /// Warms the working set up.
    pub(crate) async fn warm(
        &mut self,
        set: &WorkingSet,
        concurrency: u32,
    ) -> Result<WarmedUp, WarmUpError> {
        warm_up(&mut self.context(), &WarmUp::whole(set, concurrency)).await
    }

    /// The working set that requests are built on.
    pub(crate) fn working_set(&self) -> Arc<WorkingSet> {
        Arc::clone(&self.set)
    }

    /// What the client has said of itself by now, period by period.
    pub(crate) fn health_told(&self) -> &[HealthRow] {
        &self.sink.health
    }

    /// Most rows that a sustained test has taken out at once.
    pub(crate) fn most_rows_at_once(&self) -> usize {
        self.sink.most_at_once
    }

    /// All prompts sent so far, in order.
    pub(crate) fn prompts_sent(&self) -> Vec<String> {
        let sent = self.sent.borrow();
        sent.iter().map(|sent| sent.text.clone()).collect()
    }

    /// The present on the run's clock.
    pub(crate) fn clock_now(&self) -> Duration {
        self.clock.now()
    }

    /// All requests sent so far, in order.
    pub(crate) fn log(&self) -> Vec<Sent> {
        self.sent.borrow().clone()
    }

    /// From now on prompts are taken in this order, and so many of them.
    pub(crate) fn select(&mut self, order: SelectionOrder, n_prompts: usize) {
        self.selector = Selector::new(order, n_prompts, None, &Seed::new(7));
    }
}

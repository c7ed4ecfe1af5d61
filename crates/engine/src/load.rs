//! Requests in flight: launches them when they are due, gathers them when they end.
//!
//! One [`Load`] lives as long as requests must flow without a gap: a window in `ramp`, a whole test where
//! periods follow each other. Its caller decides by the clock, or by anything else, how far it runs.

mod phase;

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use metrics::attribution::{Ending, PeriodFigures, Settled, TokenAttribution};
use metrics::record::{RequestIntent, RequestRecord};
use metrics::timeline::{Exchange, FailureKind};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use workload::FreshText;

use crate::feed::{PhasePrompts, next_fresh};
use crate::health::{Meter, Metered};
use crate::pacer::{Pacer, Pacing};
use crate::recorder::Ended;
pub use crate::rotation::{EndpointSelection, Rotation};
use crate::transport::{Arrivals, Kind, Outgoing, Watch};
pub use phase::{Drained, LoadContext, Pause, Phase, PhaseCounts, phase_id};

/// The loop looks up at least this often: a timer cannot be set to the end of time.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);
/// Failures of a phase that are logged one by one; the rest is counted.
const FAILURES_LOGGED: u64 = 5;

struct InFlight {
    ended: Ended,
    endpoint: usize,
    /// Number of the request within the load.
    number: u64,
    /// When it was given to the transport. It is on its way from then on, but not yet at a connection.
    given: Duration,
}

/// Requests that are looked at while they run.
#[derive(Default)]
struct Watched {
    attribution: TokenAttribution,
    open: BTreeMap<u64, Watch>,
    /// Completed requests whose output the server did not count, by id, until their rows are there.
    uncounted: HashMap<String, u64>,
}

/// Requests in flight.
pub struct Load<'c, 'a> {
    context: &'c mut LoadContext<'a>,
    phase: Phase,
    pacer: Pacer,
    in_flight: FuturesUnordered<LocalBoxFuture<'static, InFlight>>,
    cancel: CancellationToken,
    prepared: Option<FreshText>,
    /// Base URLs, as rows share them.
    endpoints: Vec<Arc<str>>,
    next_request: u64,
    /// Requests launched by the load, over all its phases.
    n_launched: u64,
    watched: Option<Watched>,
    counts: PhaseCounts,
    failures_in_a_row: u64,
    /// When the first of them was noticed.
    failing_since: Duration,
    first_failure: Option<String>,
    started: Duration,
    first_launch: Option<Duration>,
    meter: Meter,
    coverage: Coverage,
}

/// Body tokens sent since somebody asked, those of requests left out that the server did not read.
#[derive(Debug, Clone, Copy, Default)]
struct Coverage {
    /// Number of the first request that counts.
    since: u64,
    /// Requests from there on that were launched, have not failed, and were not cancelled before their first token.
    requests: u64,
}

impl Coverage {
    /// A request turns out to cover nothing.
    fn take_back(&mut self, number: u64) {
        if number >= self.since {
            self.requests = self.requests.saturating_sub(1);
        }
    }
}

impl std::fmt::Debug for Load<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Load")
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}

impl<'c, 'a> Load<'c, 'a> {
    /// Gets ready to run `phase`: connections are opened and the first prompt is built before the clock of
    /// the window starts. `length` is the planned length, over a tenth of which the first fill is spread.
    pub async fn start(
        context: &'c mut LoadContext<'a>,
        phase: Phase,
        pacing: Pacing,
        length: Duration,
    ) -> Self {
        let Pacing::Hold { level } = pacing;
        let n_endpoints = context.rotation.n_endpoints();
        let per_endpoint = vec![(level as usize).div_ceil(n_endpoints); n_endpoints];
        prepare(context, &per_endpoint).await;
        context
            .feed
            .begin_phase(phase.prompts.clone(), level as usize);
        let prepared = Some(next_fresh(context.feed).await);
        // What the runtimes felt while nothing was measured is nobody's business.
        drop(context.transport.felt());
        let names = context.transport.endpoints().iter();
        let endpoints = names.map(|name| Arc::from(name.as_str())).collect();
        let started = context.clock.now();
        let mut meter = Meter::default();
        meter.begin(started, length, 0);
        Self {
            meter,
            pacer: Pacer::start(pacing, started, length),
            started,
            context,
            phase,
            in_flight: FuturesUnordered::new(),
            cancel: CancellationToken::new(),
            prepared,
            endpoints,
            next_request: 0,
            n_launched: 0,
            watched: None,
            counts: PhaseCounts::default(),
            failures_in_a_row: 0,
            failing_since: started,
            first_failure: None,
            first_launch: None,
            coverage: Coverage::default(),
        }
    }

    /// When the clock of this load was started: connections open, first prompt built.
    #[must_use]
    pub fn started(&self) -> Duration {
        self.started
    }

    /// When the first request was launched.
    #[must_use]
    pub fn first_launch(&self) -> Option<Duration> {
        self.first_launch
    }

    /// Counts of the phase so far.
    #[must_use]
    pub fn counts(&self) -> PhaseCounts {
        self.counts
    }

    /// Ends what is metered at `end`, and begins anew there for `next`.
    pub(crate) fn take_meter(&mut self, end: Duration, next: Duration) -> Metered {
        let waiting = self.pacer.overdue(self.meter.start(), end);
        let metered = self.meter.finish(end, waiting);
        self.meter.begin(end, next, self.pacer.in_flight());
        metered
    }

    /// Nothing counts from `end` on; what a drain tells of the time before does.
    pub(crate) fn close_meter(&mut self, end: Duration) {
        self.meter.close(end);
    }

    /// What is metered goes on behind its planned end.
    pub(crate) fn extend_meter(&mut self) {
        self.meter.extend();
    }

    /// What the load runs on.
    pub fn context(&mut self) -> &mut LoadContext<'a> {
        self.context
    }

    /// From the next launch on, output is attributed to the period in which it arrives.
    pub fn watch(&mut self) {
        self.watched = Some(Watched::default());
    }

    /// Lets prompts of the phase to come be built ahead.
    pub fn stage(&mut self, next: &PhasePrompts) {
        let depth = self.pacer.level() as usize;
        self.context.feed.stage(next.clone(), depth);
    }

    /// Goes over to another phase at `now`, without a gap: requests in flight stay with the phase that
    /// launched them, also where the new level is lower.
    pub fn next_phase(&mut self, phase: Phase, level: u32, now: Duration) {
        self.warn_of_failures();
        self.context
            .feed
            .begin_phase(phase.prompts.clone(), level as usize);
        self.phase = phase;
        self.pacer.set_level(level, now);
        self.next_request = 0;
        self.counts = PhaseCounts::default();
        // A prompt of the phase before belongs to none of this one's requests.
        self.prepared = None;
        self.take_prepared();
    }

    /// Forgets the failures in a row: the level that caused them is left.
    pub fn forgive(&mut self) {
        self.failures_in_a_row = 0;
    }

    /// Whether the failures in a row are all there is: nothing has arrived since the first of them, and
    /// nothing that went out before still runs.
    #[must_use]
    pub fn is_dead(&mut self) -> bool {
        let since = self.failing_since;
        self.look_in();
        self.failures_in_a_row > 0
            && self.watched.as_ref().is_none_or(|watched| {
                watched.attribution.last_arrival() < Some(since)
                    && !watched.attribution.has_open_since_before(since)
            })
    }

    /// The open period will end at `border`; see [`TokenAttribution::expect_border`].
    pub(crate) fn expect_border(&mut self, border: Duration) {
        if let Some(watched) = &mut self.watched {
            watched.attribution.expect_border(border);
        }
    }

    /// Ends the period at `end` and says what arrived in it; see [`TokenAttribution::close`].
    pub fn close_period(&mut self, end: Duration, patience: Option<Duration>) -> PeriodFigures {
        self.look_in();
        self.watched
            .as_mut()
            .map(|watched| watched.attribution.close(end, patience))
            .unwrap_or_default()
    }

    /// Rows of ended requests are there: what the server did not count was counted in them.
    pub fn count(&mut self, records: &[RequestRecord]) {
        let Some(watched) = &mut self.watched else {
            return;
        };
        for record in records.iter().filter(|r| r.counted_locally) {
            if let Some(number) = watched.uncounted.remove(&record.intent.request_id) {
                watched.attribution.count(number, record.output_tokens);
            }
        }
    }

    /// The output tokens of all periods when everything has ended and was [counted](Self::count).
    #[must_use]
    pub fn settle(&mut self) -> Settled {
        let watched = self.watched.take();
        watched.map_or_else(Settled::default, |watched| watched.attribution.finish())
    }

    /// From here on [`Load::covered`] counts anew.
    pub fn begin_coverage(&mut self) {
        self.coverage = Coverage {
            since: self.n_launched,
            requests: 0,
        };
    }

    /// Nominal input tokens (the context size for each request) sent since coverage was last begun. Failed requests are
    /// left out, and those that were cancelled before their first token; of requests in flight it is not known yet.
    #[must_use]
    pub fn covered(&self) -> u64 {
        self.coverage
            .requests
            .saturating_mul(self.phase.context_size)
    }

    /// Tells the attribution what arrived for requests that still run.
    fn look_in(&mut self) {
        let Some(watched) = &mut self.watched else {
            return;
        };
        for (number, watch) in &watched.open {
            let Arrivals { launch, chunks } = watch.take();
            watched.attribution.observe(*number, launch, chunks);
        }
    }

    /// Keeps the load up until `end`. At `end` sharp nothing more is launched, whatever is in flight.
    pub async fn run_until(&mut self, end: Duration) -> Pause {
        self.run(end, None).await
    }

    /// Keeps the load up until `tokens` are [covered](Load::covered), or until `end` if there is one and it comes
    /// first.
    pub async fn run_until_covered(&mut self, tokens: u64, end: Option<Duration>) -> Pause {
        self.run(end.unwrap_or(Duration::MAX), Some(tokens)).await
    }

    async fn run(&mut self, end: Duration, goal: Option<u64>) -> Pause {
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        loop {
            let now = self.context.clock.now();
            if now >= end {
                return Pause::TimeUp;
            }
            self.launch_due(now, goal);
            if goal.is_some_and(|tokens| self.covered() >= tokens) {
                return Pause::Covered;
            }
            let due = self.pacer.next_due();
            let waits_for_prompt = self.prepared.is_none();
            // A due slot without a prompt waits for the prompt, not for the clock.
            let wake_at = due
                .filter(|at| !waits_for_prompt && *at < end)
                .unwrap_or(end);
            reset(
                timer.as_mut(),
                wake_at.saturating_sub(now).min(LONGEST_SLEEP),
            );
            let stop = self.context.stop;
            tokio::select! {
                biased;
                () = stop.wait() => return Pause::Stopped,
                Some(done) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.gather(done);
                    if let Some(line) = self.failing() {
                        return Pause::Failing(line);
                    }
                }
                fresh = next_fresh(&mut *self.context.feed), if waits_for_prompt => self.prepared = Some(fresh),
                () = timer.as_mut() => {}
            }
        }
    }

    /// Waits up to `limit` for requests in flight, then cancels what is left. A stop cancels at once.
    pub async fn drain(&mut self, limit: Duration) -> Drained {
        let start = self.context.clock.now();
        let timer = tokio::time::sleep(limit);
        tokio::pin!(timer);
        let mut cancelled = 0;
        while !self.in_flight.is_empty() {
            let stop = self.context.stop;
            let waiting = !self.cancel.is_cancelled();
            tokio::select! {
                biased;
                Some(done) = self.in_flight.next() => {
                    cancelled += u64::from(is_cancelled(&done.ended.exchange));
                    self.gather(done);
                }
                () = stop.wait(), if waiting => self.cancel.cancel(),
                () = timer.as_mut(), if waiting => self.cancel.cancel(),
            }
        }
        self.warn_of_failures();
        Drained {
            cancelled,
            took: self.context.clock.now().saturating_sub(start),
        }
    }

    /// Launches what is due, and no more than `goal` still asks for.
    fn launch_due(&mut self, now: Duration, goal: Option<u64>) {
        let covered = |load: &Self| goal.is_some_and(|tokens| load.covered() >= tokens);
        while self.prepared.is_some() && !covered(self) {
            let Some(intended) = self.pacer.take_due(now) else {
                return;
            };
            let Some(fresh) = self.prepared.take() else {
                return;
            };
            self.launch(fresh, intended);
            // Several due slots go out together.
            self.take_prepared();
        }
    }

    /// Takes the next prompt if it is ready, without waiting.
    fn take_prepared(&mut self) {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        if let std::task::Poll::Ready(fresh) = self.context.feed.poll_next(&mut cx) {
            self.prepared = Some(fresh);
        }
    }

    fn warn_of_failures(&self) {
        if self.counts.failed > FAILURES_LOGGED {
            tracing::warn!(
                "{} requests of phase {} failed in all",
                self.counts.failed,
                self.phase.prompts.phase_id
            );
        }
    }

    fn launch(&mut self, fresh: FreshText, intended: Duration) {
        let k = self.next_request;
        self.next_request += 1;
        let PhasePrompts {
            plan,
            working_set,
            phase_id,
            ..
        } = &self.phase.prompts;
        let index = working_set
            .as_ref()
            .map(|_| self.context.selector.choose(&self.context.rotation.active));
        let prompt = plan.assemble(working_set.as_deref(), index, fresh, k);
        let endpoint = self.context.rotation.choose(index);
        let prefix = self.phase.request_prefix.as_deref().unwrap_or(phase_id);
        let request_id = format!("{prefix}_r{k}");
        let number = self.n_launched;
        self.n_launched += 1;
        self.coverage.requests += 1;
        let intent = RequestIntent {
            request_id: request_id.clone(),
            phase_id: Arc::clone(phase_id),
            cache_hit_rate: self.phase.cache_hit_rate,
            context_size: self.phase.context_size,
            cached_tokens: prompt.split.cached,
            unique_tokens: prompt.split.unique,
            question_tokens: prompt.question_tokens,
            concurrency_level: self.pacer.level(),
            endpoint: Arc::clone(&self.endpoints[endpoint]),
            working_set_size: self.phase.working_set_size,
        };
        let watch = self.watched.as_mut().map(|watched| {
            let input_tokens = intent.cached_tokens + intent.unique_tokens;
            let now = self.context.clock.now();
            watched.attribution.launch(number, input_tokens, now);
            let watch = Watch::default();
            watched.open.insert(number, watch.clone());
            watch
        });
        let sent = self.context.transport.send(Outgoing {
            endpoint,
            kind: Kind::Measured,
            prompt,
            request_id,
            intended,
            cancel: self.cancel.clone(),
            watch,
        });
        let now = self.context.clock.now();
        self.first_launch.get_or_insert(now);
        self.meter.launched(now, intended);
        self.context.rotation.active[endpoint] += 1;
        self.counts.launched += 1;
        self.context.live.in_flight(self.pacer.in_flight());
        self.in_flight.push(Box::pin(async move {
            InFlight {
                ended: Ended {
                    intent,
                    exchange: sent.await,
                },
                endpoint,
                number,
                given: now,
            }
        }));
    }

    fn gather(&mut self, done: InFlight) {
        let InFlight {
            ended,
            endpoint,
            number,
            given,
        } = done;
        if let Some(watched) = &mut self.watched {
            watched.end(number, &ended);
        }
        let active = &mut self.context.rotation.active[endpoint];
        *active = active.saturating_sub(1);
        let failed = ended.exchange.failure.is_some();
        let now = self.context.clock.now();
        let timeline = &ended.exchange.timeline;
        // The slot is free since then, whenever we come to notice: what passes in between is ours.
        let finished = timeline.slot_free_at().min(now);
        let due = self.pacer.ended(finished, failed);
        self.meter.ended(finished, now, due);
        self.meter.handed_over_late(given, timeline.ready_at());
        self.meter.sent(timeline.send_delay());
        self.context.live.in_flight(self.pacer.in_flight());
        match &ended.exchange.failure {
            None => {
                self.failures_in_a_row = 0;
                let timeline = &ended.exchange.timeline;
                let ttft = timeline
                    .first_token_at()
                    .unwrap_or_default()
                    .saturating_sub(timeline.launched);
                let output = ended
                    .exchange
                    .usage
                    .completion_tokens
                    .unwrap_or(timeline.chunks.len() as u64);
                self.context.live.ended(
                    ttft,
                    ended.intent.cached_tokens + ended.intent.unique_tokens,
                    output,
                );
            }
            Some(failure) if failure.kind == FailureKind::Cancelled => {
                if timeline.first_token_at().is_none() {
                    self.coverage.take_back(number);
                }
            }
            Some(failure) => {
                if self.failures_in_a_row == 0 {
                    self.failing_since = self.context.clock.now();
                }
                self.failures_in_a_row += 1;
                self.coverage.take_back(number);
                self.context.live.failed();
                self.counts.failed += 1;
                if self.counts.failed <= FAILURES_LOGGED {
                    tracing::error!(
                        "Request {} failed: {}: {}",
                        ended.intent.request_id,
                        failure.kind,
                        failure.message
                    );
                }
                self.first_failure
                    .get_or_insert_with(|| format!("{}: {}", failure.kind, failure.message));
            }
        }
        self.context.sink.push(ended);
    }

    /// A server that answers nothing but errors is not worth the rest of the window.
    fn failing(&self) -> Option<String> {
        let limit = 10.max(2 * u64::from(self.pacer.level()));
        (self.failures_in_a_row >= limit).then(|| {
            let first = self.first_failure.as_deref().unwrap_or("unknown cause");
            format!(
                "{} requests in a row failed; the first with {first}",
                self.failures_in_a_row
            )
        })
    }
}

/// Opens connections ahead. A stop is heard meanwhile: a server that does not answer takes its time.
pub(crate) async fn prepare(context: &LoadContext<'_>, per_endpoint: &[usize]) {
    tokio::select! {
        biased;
        () = context.stop.wait() => {}
        () = context.transport.prepare(per_endpoint) => {}
    }
}

impl Watched {
    fn end(&mut self, number: u64, ended: &Ended) {
        self.open.remove(&number);
        let Exchange {
            timeline,
            usage,
            failure,
            ..
        } = &ended.exchange;
        let how = match failure {
            None => Ending::Completed,
            Some(failure) if failure.kind == FailureKind::Cancelled => Ending::Cancelled,
            Some(_) => Ending::Failed,
        };
        if how == Ending::Completed && usage.completion_tokens.is_none() {
            self.uncounted
                .insert(ended.intent.request_id.clone(), number);
        }
        self.attribution
            .end(number, timeline, usage.completion_tokens, how);
    }
}

fn is_cancelled(exchange: &Exchange) -> bool {
    exchange
        .failure
        .as_ref()
        .is_some_and(|f| f.kind == FailureKind::Cancelled)
}

fn reset(timer: Pin<&mut Sleep>, wait: Duration) {
    timer.reset(tokio::time::Instant::now() + wait);
}

//! One sustained test: periods without a gap on one load, a decision at every border.
//!
//! Promise: a border stops nothing. Requests in flight go on, whatever the new level; their tokens belong
//! to the period in which they arrive. Only the end of the test drains. A period's row is handed to the
//! writer when the period is over, and once more, with its output tokens settled, when all requests are. Of requests whose
//! rows are on disk only sums are kept: a test of many hours needs no more memory than one of minutes.
//! A working set that grows does so inside whatever period is running.

use std::collections::BTreeMap;
use std::time::Duration;

use core_client::probe::Felt;
use metrics::attribution::PeriodFigures;
use metrics::health::{HealthRow, PartOf, Typical, WindowHealth};
use metrics::period::{
    PeriodKey, PeriodRow, PeriodSample, phase_of_period, settle_rows, summarise_periods,
};
use metrics::timeline::FailureKind;
use metrics::{PhaseRow, RequestTally, SummaryRow};
use ramp::{
    Decided, Decision, Observation, PeriodObservation, PeriodSpec, PeriodStep, SustainedController,
    SustainedStop,
};
use report::test_name::TestName;

use crate::doubt::{self, FailedCounts};
use crate::event::{Doubt, Observer, StudyEvent};
use crate::growth::Growth;
use crate::health::Metered;
use crate::load::{Load, LoadContext, Pause, Phase};
use crate::pacer::Pacing;
use crate::proof;
use crate::recorder::WindowRows;
use crate::test_run::{TestError, TestFailure, TestOutcome, TestPlan, phase_of};
use crate::window::{ShortOutputs, WindowSettings};

/// Longest wait for requests in flight when the test is over.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// Rows that are on disk are taken so often.
const SPILL_EVERY: Duration = Duration::from_millis(200);

/// Runs `controller` to its end.
///
/// # Errors
/// When the test yields no result; rows and periods measured before are on disk all the same, and their phases in the
/// error.
pub async fn run_sustained(
    context: &mut LoadContext<'_>,
    plan: &TestPlan<'_>,
    mut controller: SustainedController,
    observer: &mut dyn Observer,
) -> Result<TestOutcome, TestFailure> {
    let mut periods = Periods {
        plan,
        test: TestName::new(plan.key.context_size, plan.key.cache_hit_rate)
            .with_working_set(plan.key.working_set_size),
        rows: Vec::new(),
        health: Vec::new(),
        held: false,
    };
    let mut requests = Requests::new(plan);
    let ended = measure(
        context,
        &mut controller,
        &mut periods,
        &mut requests,
        observer,
    )
    .await;
    let phases = periods.phases(&requests.failed);
    requests.short.tell_rest("the test");
    match ended.and_then(|()| periods.conclude(&requests, observer)) {
        Ok((summary, doubts)) => Ok(TestOutcome {
            summary,
            runs: Vec::new(),
            phases,
            periods: periods.rows,
            records: Vec::new(),
            health: periods.health,
            doubts,
        }),
        Err(error) => Err(TestFailure {
            error,
            phases,
            periods: periods.rows,
            health: periods.health,
        }),
    }
}

/// Runs all periods, waits for what is in flight, and settles the periods' rows. `requests` takes the rows of all
/// requests, also when something goes wrong.
async fn measure(
    context: &mut LoadContext<'_>,
    controller: &mut SustainedController,
    periods: &mut Periods<'_>,
    requests: &mut Requests,
    observer: &mut dyn Observer,
) -> Result<(), TestError> {
    let plan = periods.plan;
    let first = match controller.next(Duration::ZERO) {
        PeriodStep::Run(spec) => spec,
        PeriodStep::Done(_) => {
            return Err(TestError::Failed(
                "the test is too short for a period".to_owned(),
            ));
        }
    };
    if plan.growth.as_ref().is_some_and(|g| g.ensure_coverage) {
        context.selector.cover();
    }
    let pacing = Pacing::Hold {
        level: first.concurrency,
    };
    let mut load = Load::start(
        &mut *context,
        period_phase(plan, &first),
        pacing,
        first.length,
    )
    .await;
    load.watch();
    let mut growth = plan.growth.as_ref().map(Growth::new);
    let ended = run_periods(
        &mut load,
        controller,
        periods,
        growth.as_mut(),
        requests,
        observer,
    )
    .await;
    let limit = if ended.is_ok() {
        DRAIN_LIMIT
    } else {
        // Nothing more of it will be used.
        Duration::ZERO
    };
    load.expect_border(Duration::MAX);
    let drained = load.drain(limit).await;
    if ended.is_ok() && drained.cancelled > 0 {
        tracing::warn!(
            "{} requests were still running {:.0}s after the last period and were cancelled",
            drained.cancelled,
            limit.as_secs_f64()
        );
    }
    // Not before: what fails in the drain was not sent. Who stops a run knows that it is not done.
    if let Some(growth) = &mut growth
        && load.context().stop.requested().is_none()
    {
        growth.told_missing(&mut load, observer);
    }
    let rows = load.context().sink.collect().await;
    requests.take(&mut load, rows);
    settle_rows(&mut periods.rows, &load.settle());
    let sink = &mut *load.context().sink;
    sink.put_periods(periods.test, periods.rows.clone());
    let late_error = sink.collect().await.write_error;
    let stopped = load.context().stop.requested().is_some();
    let stop = ended?;
    if let Some(line) = requests.write_error.clone().or(late_error) {
        return Err(TestError::Write(line));
    }
    if stopped {
        return Err(TestError::Stopped);
    }
    observer.observe(&StudyEvent::PeriodsEnded {
        stop: &stop,
        periods: &periods.rows,
    });
    Ok(())
}

/// Runs period after period. The load is left as it stands, requests in flight.
async fn run_periods(
    load: &mut Load<'_, '_>,
    controller: &mut SustainedController,
    periods: &mut Periods<'_>,
    mut growth: Option<&mut Growth<'_>>,
    requests: &mut Requests,
    observer: &mut dyn Observer,
) -> Result<SustainedStop, TestError> {
    let plan = periods.plan;
    let thresholds = controller.settings().thresholds;
    let patience = thresholds.max_ttft.map(Duration::from_secs_f64);
    let begin = load.started();
    let mut border = begin;
    loop {
        if let Some(growth) = &mut growth {
            // Before the time is up there is nothing to hold open, and nothing to say.
            let is_up = controller.is_time_up(border - begin);
            controller.hold_open(is_up && growth.is_open(load, observer));
        }
        let spec = match controller.next(border - begin) {
            PeriodStep::Run(spec) => spec,
            PeriodStep::Done(stop) => return Ok(stop),
        };
        if spec.number > 1 {
            load.next_phase(period_phase(plan, &spec), spec.concurrency, border);
        }
        load.stage(&next_prompts(plan, &spec));
        load.context()
            .live
            .phase(&spec.phase_id(), spec.concurrency);
        observer.observe(&StudyEvent::PeriodStarted { spec: &spec });
        let planned = border + spec.length;
        load.expect_border(planned);
        let pause = run_period(load, growth.as_deref_mut(), planned, requests, observer).await;
        let (end, failing) = match pause {
            Pause::TimeUp | Pause::Covered => (planned, None),
            Pause::Stopped => return Err(TestError::Stopped),
            // Not worth the rest of the period; it ends here, and so do its figures.
            Pause::Failing(line) => (load.context().clock.now().min(planned), Some(line)),
        };
        let felt = load.context().transport.felt();
        let metered = load.take_meter(end, spec.length);
        let is_dead = failing.is_some() && load.is_dead();
        let figures = load.close_period(end, patience);
        let observation = observe(&plan.window, &figures, end - border, failing.is_none());
        let decided = controller.record(observation);
        periods.held |= !matches!(decided.decision, Decision::RampDown | Decision::MinReached);
        let active = growth.as_ref().map(|growth| growth.active_tokens(load));
        periods.push(
            &spec,
            (border, end),
            &figures,
            &observation,
            (&decided, active),
        );
        let (row, health) = periods.meter(metered, felt.as_ref(), &spec);
        let sink = &mut *load.context().sink;
        sink.add_period(periods.test, row, health);
        observer.observe(&StudyEvent::PeriodDone {
            spec: &spec,
            row: periods.rows.last().expect("the row was pushed above"),
            figures: &figures,
            decided: &decided,
        });
        if let Some(rows) = load.context().sink.spill() {
            requests.take(load, rows);
        }
        if let Some(line) = requests.write_error.clone().or_else(|| sink_error(load)) {
            return Err(TestError::Write(line));
        }
        if let Some(line) = failing {
            // A level that is refused is too high, as long as the server serves at all and there is a lower one.
            if is_dead || decided.next >= decided.level {
                return Err(TestError::Failed(line));
            }
            load.forgive();
        }
        border = end;
    }
}

/// Runs up to a border. Rows that are on disk are taken meanwhile, a few at a time: all those of a period at once would
/// keep the streams waiting at the border.
async fn run_period(
    load: &mut Load<'_, '_>,
    mut growth: Option<&mut Growth<'_>>,
    border: Duration,
    requests: &mut Requests,
    observer: &mut dyn Observer,
) -> Pause {
    loop {
        let until = border.min(load.context().clock.now() + SPILL_EVERY);
        let pause = match growth.as_deref_mut() {
            Some(growth) => growth.run_until(load, until, observer).await,
            None => load.run_until(until).await,
        };
        if until == border || pause != Pause::TimeUp {
            return pause;
        }
        if let Some(rows) = load.context().sink.spill() {
            requests.take(load, rows);
        }
    }
}

fn sink_error(load: &mut Load<'_, '_>) -> Option<String> {
    load.context().sink.write_error()
}

/// What the controller needs to know of a period. One in which more requests failed than did anything else
/// says that the level is too high, whatever the latencies of the rest.
fn observe(
    settings: &WindowSettings,
    figures: &PeriodFigures,
    length: Duration,
    is_complete: bool,
) -> PeriodObservation {
    let good = figures.prefills.max(figures.completed);
    let input_tps = if length.is_zero() {
        0.0
    } else {
        figures.input_tokens as f64 / length.as_secs_f64()
    };
    PeriodObservation {
        level: Observation {
            input_tps,
            ttft: settings.ttft_metric.of(&figures.ttft_with_waits),
            speed: settings.speed_metric.of(&figures.speed),
            valid: is_complete && figures.failed <= good,
        },
        has_tokens: figures.has_tokens(),
    }
}

fn period_phase(plan: &TestPlan<'_>, spec: &PeriodSpec) -> Phase {
    Phase {
        request_prefix: Some(spec.request_prefix()),
        ..phase_of(plan, &spec.phase_id())
    }
}

/// What is kept of a test's requests when their rows are on disk: sums, whatever the test's length.
struct Requests {
    tally: RequestTally,
    /// By phase id.
    failed: BTreeMap<String, FailedCounts>,
    /// Kind and message of the first request that failed.
    first_failure: Option<(FailureKind, String)>,
    short: ShortOutputs,
    write_error: Option<String>,
}

impl Requests {
    fn new(plan: &TestPlan<'_>) -> Self {
        let tolerance = doubt::cached_tolerance(plan.chunk_size);
        Self {
            tally: plan.sustained.latencies.tally(tolerance),
            failed: BTreeMap::new(),
            first_failure: None,
            short: ShortOutputs::new(plan.window.output_tokens),
            write_error: None,
        }
    }

    fn take(&mut self, load: &mut Load<'_, '_>, rows: WindowRows) {
        let WindowRows {
            records,
            failed,
            write_error,
        } = rows;
        load.count(&records);
        self.tally.extend(&records);
        self.short.look(&records);
        for request in failed {
            let of_phase = self
                .failed
                .entry(request.intent.phase_id.to_string())
                .or_default();
            of_phase.add(&request);
            if !request.is_cancelled() && self.first_failure.is_none() {
                self.first_failure = Some((request.kind, request.message));
            }
        }
        self.write_error = self.write_error.take().or(write_error);
    }
}

/// Prompts of the period after `spec`.
fn next_prompts(plan: &TestPlan<'_>, spec: &PeriodSpec) -> crate::feed::PhasePrompts {
    let next = PeriodSpec {
        number: spec.number + 1,
        ..spec.clone()
    };
    phase_of(plan, &next.phase_id()).prompts
}

/// The periods of a test so far.
struct Periods<'p> {
    plan: &'p TestPlan<'p>,
    test: TestName,
    rows: Vec<PeriodRow>,
    health: Vec<WindowHealth>,
    /// The thresholds held in one of them, or nothing spoke against it.
    held: bool,
}

impl Periods<'_> {
    fn push(
        &mut self,
        spec: &PeriodSpec,
        (start, end): (Duration, Duration),
        figures: &PeriodFigures,
        observation: &PeriodObservation,
        (decided, active): (&Decided, Option<u64>),
    ) {
        let anchor = self.plan.window.anchor;
        let key = PeriodKey {
            number: u64::from(spec.number),
            context_size: self.plan.key.context_size,
            cache_hit_rate: self.plan.key.cache_hit_rate,
            working_set_size: active,
            start_time: anchor.unix(start),
            end_time: anchor.unix(end),
            duration: end.saturating_sub(start).as_secs_f64(),
            concurrency: spec.concurrency,
        };
        let mut row = PeriodRow::from_figures(&key, figures, observation.level.ttft);
        row.decision = decided.decision.as_str().to_owned();
        row.next_concurrency = decided.next;
        self.rows.push(row);
    }

    /// Marks the period pushed last by what the client knows of its part in it. Returns both as they are written.
    fn meter(
        &mut self,
        metered: Metered,
        felt: Option<&Felt>,
        spec: &PeriodSpec,
    ) -> (PeriodRow, HealthRow) {
        let row = self.rows.last_mut().expect("the row was pushed before");
        let typical = |median, p95| Typical { median, p95 };
        let typical = (
            typical(row.median_ttft, row.p95_ttft),
            typical(row.median_itl, row.p95_itl),
        );
        let phase = period_phase(self.plan, spec);
        let held = (spec.concurrency, PartOf::Test);
        let mut health = metered.health(&phase, held, felt, typical);
        health.answer_tokens = row.answer_tokens();
        row.client_limited = health.is_limited();
        let told = HealthRow::new(&health, None);
        self.health.push(health);
        (row.clone(), told)
    }

    /// The periods as phases, where the tool lists them there too. `failed` are the failed and cancelled requests by
    /// phase id.
    fn phases(&self, failed: &BTreeMap<String, FailedCounts>) -> Vec<PhaseRow> {
        if !self.plan.sustained.phases {
            return Vec::new();
        }
        let of_period = |row: &PeriodRow| {
            let id = format!("SUSTAINED_P{}", row.period_number);
            let of_phase = failed.get(&id).copied().unwrap_or_default();
            let counts = (of_phase.failed, of_phase.cancelled);
            phase_of_period(row, self.plan.key.working_set_size, counts)
        };
        self.rows.iter().map(of_period).collect()
    }

    /// The row of the test, and what speaks against it.
    fn conclude(
        &self,
        requests: &Requests,
        observer: &mut dyn Observer,
    ) -> Result<(SummaryRow, Vec<Doubt>), TestError> {
        let plan = self.plan;
        let summary = summarise_periods(
            &plan.key,
            PeriodSample {
                periods: &self.rows,
                requests: &requests.tally,
            },
        );
        if summary.total_requests == 0 {
            return Err(TestError::Failed(match &requests.first_failure {
                Some((kind, message)) => {
                    format!("no request got a token; the first failed with {kind}: {message}")
                }
                None => {
                    "no request got its first token within the test; allow a longer --test-duration"
                        .to_owned()
                }
            }));
        }
        let key = metrics::TestKey {
            peak_concurrency: summary.peak_concurrency,
            ..plan.key.clone()
        };
        let evidence = doubt::Evidence {
            key: &key,
            passed: self.held,
            requests: &requests.tally,
            failed: FailedCounts {
                failed: requests.failed.values().map(|counts| counts.failed).sum(),
                // They were cut off behind the last period; nothing that counts is missing.
                cancelled: 0,
            },
        };
        let mut doubts = doubt::doubts(&evidence);
        doubts.extend(proof::felt(&self.health, summary.peak_concurrency));
        for doubt in &doubts {
            observer.observe(&StudyEvent::Doubt(doubt));
        }
        Ok((summary, doubts))
    }
}

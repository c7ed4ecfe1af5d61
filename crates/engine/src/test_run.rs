//! One test: a controller asks for windows, the load runs them, their figures go back, a summary row comes out.

use std::time::Duration;

use metrics::RequestTally;
use metrics::health::{PartOf, WindowHealth};
use metrics::period::{LatenciesOver, PeriodRow};
use metrics::phase::PhaseRow;
use metrics::record::{FailedRequest, RequestRecord};
use metrics::summary::{PhaseSample, SummaryRow, TestKey, summarise};
use ramp::{Controller, Purpose, RampOutcome, Step, WindowSpec};

use crate::doubt::{self, FailedCounts};
use crate::event::{Doubt, Observer, RunLine, StudyEvent};
use crate::feed::PhasePrompts;
use crate::growth::GrowthPlan;
use crate::load::{LoadContext, Phase, phase_id};
use crate::proof;
use crate::warm_up::{WarmUp, WarmUpError, warm_up};
use crate::window::{WindowEnd, WindowOutcome, WindowSettings, run_window};

/// What is fixed for the windows of a test.
pub struct TestPlan<'a> {
    /// Identifies the test; the peak is filled in at the end.
    pub key: TestKey,
    /// Recipe of its prompts; the phase id is set per window.
    pub prompts: PhasePrompts,
    /// Warm the working set up before every window.
    pub warm_each_window: Option<WarmUp<'a>>,
    /// How windows are measured.
    pub window: WindowSettings,
    /// Rounding of cached prefixes, tokens; the tolerance of the hit-rate check.
    pub chunk_size: u64,
    /// Nominal input tokens that every window sends at least, however long it takes.
    pub coverage: Option<u64>,
    /// How the working set grows within the test, if it does; only in a sustained test.
    pub growth: Option<GrowthPlan>,
    /// What a sustained test leaves.
    pub sustained: SustainedResults,
}

/// What differs between the tools in the results of a sustained test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SustainedResults {
    /// Over what the latencies of its row are taken.
    pub latencies: LatenciesOver,
    /// Whether its periods are listed as phases too.
    pub phases: bool,
}

impl SustainedResults {
    /// Those of `cache_rate_tester`.
    pub const CACHE_RATE: Self = Self {
        latencies: LatenciesOver::Periods,
        phases: false,
    };
    /// Those of `working_set_tester`.
    pub const WORKING_SET: Self = Self {
        latencies: LatenciesOver::Requests,
        phases: true,
    };
}

impl std::fmt::Debug for TestPlan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestPlan")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// A finished test.
#[derive(Debug)]
pub struct TestOutcome {
    /// Its row.
    pub summary: SummaryRow,
    /// The windows at its peak, for the table that people see; none in a sustained test.
    pub runs: Vec<RunLine>,
    /// All its windows, in order; in a sustained test its periods, where they are listed as phases too.
    pub phases: Vec<PhaseRow>,
    /// All its periods, in order; only in a sustained test.
    pub periods: Vec<PeriodRow>,
    /// All its completed requests, window by window; none of a sustained test, which may last for days.
    pub records: Vec<RequestRecord>,
    /// What the client knows of its own part in each window or period, in order.
    pub health: Vec<WindowHealth>,
    /// Reasons to look twice.
    pub doubts: Vec<Doubt>,
}

/// Why a test has no result.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The run was asked to stop.
    #[error("stopped")]
    Stopped,
    /// No window gave a sample, or the server failed throughout.
    #[error("{0}")]
    Failed(String),
    /// The working set could not be initialised before a window.
    #[error(transparent)]
    WarmUp(WarmUpError),
    /// Rows could not be written: measuring on would lose data.
    #[error("{0}")]
    Write(String),
}

/// A test without a result, and what was measured of it all the same.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct TestFailure {
    /// Why there is no result.
    pub error: TestError,
    /// Its windows, in order, a broken-off one included, or its periods where they are listed as phases too: their
    /// requests are on disk, and belong to them.
    pub phases: Vec<PhaseRow>,
    /// All its periods, in order; only of a sustained test.
    pub periods: Vec<PeriodRow>,
    /// What the client knows of its own part in each window or period, in order.
    pub health: Vec<WindowHealth>,
}

impl From<TestError> for TestFailure {
    fn from(error: TestError) -> Self {
        Self {
            error,
            phases: Vec::new(),
            periods: Vec::new(),
            health: Vec::new(),
        }
    }
}

struct Measured {
    phase: PhaseRow,
    records: Vec<RequestRecord>,
    failed: Vec<FailedRequest>,
    health: WindowHealth,
    run: RunLine,
    /// It lasted as long as planned; one that was broken off joins no mean.
    is_complete: bool,
}

/// Runs `controller` to its end.
///
/// # Errors
/// When the test yields no result; requests and windows measured before are handed on all the same.
pub async fn run_test(
    context: &mut LoadContext<'_>,
    plan: &TestPlan<'_>,
    controller: &mut dyn Controller,
    observer: &mut dyn Observer,
) -> Result<TestOutcome, TestFailure> {
    let mut windows = Windows::default();
    let ended = match windows.run(context, plan, controller, observer).await {
        Ok(outcome) => {
            windows.mark_bounds(&outcome);
            windows.conclude(plan, &outcome)
        }
        Err(error) => Err(error),
    };
    let (key, mut summary, passed) = match ended {
        Ok(ended) => ended,
        Err(error) => {
            let measured = windows.measured.into_iter();
            let (phases, health) = measured.map(|m| (m.phase, m.health)).unzip();
            return Err(TestFailure {
                phases,
                health,
                ..TestFailure::from(error)
            });
        }
    };
    let measured = windows.measured;
    let runs: Vec<RunLine> = measured
        .iter()
        .filter(|m| m.is_complete && m.phase.concurrency_level == key.peak_concurrency)
        .map(|m| m.run.clone())
        .collect();
    let mut requests = RequestTally::new(doubt::cached_tolerance(plan.chunk_size));
    requests.extend(measured.iter().flat_map(|m| &m.records));
    let mut failed = FailedCounts::default();
    measured
        .iter()
        .flat_map(|m| &m.failed)
        .for_each(|request| failed.add(request));
    let evidence = doubt::Evidence {
        key: &key,
        passed,
        requests: &requests,
        failed,
    };
    let mut doubts = doubt::doubts(&evidence);
    // The peak is chosen neither from such a window nor because of one without a word.
    let felt = proof::felt(measured.iter().map(|m| &m.health), key.peak_concurrency);
    if !felt.is_empty() {
        summary.client_limited = Some(true);
    }
    doubts.extend(felt);
    for doubt in &doubts {
        observer.observe(&StudyEvent::Doubt(doubt));
    }
    let (mut phases, mut records) = (Vec::with_capacity(measured.len()), Vec::new());
    let mut health = Vec::with_capacity(measured.len());
    for window in measured {
        phases.push(window.phase);
        records.extend(window.records);
        health.push(window.health);
    }
    Ok(TestOutcome {
        summary,
        runs,
        phases,
        periods: Vec::new(),
        records,
        health,
        doubts,
    })
}

/// The windows of a test so far.
#[derive(Default)]
struct Windows {
    measured: Vec<Measured>,
    /// The first line on failures in a row.
    gave_up: Option<String>,
}

impl Windows {
    /// Runs window after window until the controller has enough.
    async fn run(
        &mut self,
        context: &mut LoadContext<'_>,
        plan: &TestPlan<'_>,
        controller: &mut dyn Controller,
        observer: &mut dyn Observer,
    ) -> Result<RampOutcome, TestError> {
        // The time limit begins with the first window. Taken any earlier it would have lost some microseconds by
        // then, and a limit of exactly one window would have no room for it.
        let mut started = None;
        // Warm-ups and pauses, which the time limit does not cover.
        let mut apart = Duration::ZERO;
        loop {
            let now = context.clock.now();
            let elapsed = now
                .saturating_sub(*started.get_or_insert(now))
                .saturating_sub(apart);
            let step = controller.next(elapsed);
            notes(controller, observer);
            let spec = match step {
                Step::Run(spec) => spec,
                Step::Done(outcome) => return Ok(outcome),
            };
            if let Some(each) = &plan.warm_each_window {
                let before = context.clock.now();
                warm_up(context, each).await.map_err(|error| match error {
                    WarmUpError::Stopped => TestError::Stopped,
                    error => TestError::WarmUp(error),
                })?;
                apart += context.clock.now().saturating_sub(before);
            }
            observer.observe(&StudyEvent::WindowStarted { spec: &spec });
            let phase = phase_of(plan, &spec.phase_id);
            let mut window =
                run_window(context, phase, &spec, &plan.window, plan.coverage, observer).await;
            apart += window.rested;
            let (end, write_error) = (window.end.clone(), window.write_error.take());
            let is_judged = write_error.is_none() && end != WindowEnd::Stopped;
            if is_judged {
                judge_window(plan, controller, observer, &spec, &window);
            }
            self.measured.push(keep(&spec, window));
            if let Some(line) = write_error {
                return Err(TestError::Write(line));
            }
            match end {
                WindowEnd::Complete => {}
                WindowEnd::Stopped => return Err(TestError::Stopped),
                // Errors where the load was already known to be bearable are a server that has stopped serving. In
                // the search they may show where its limit is, and the controller knows what is left to try.
                WindowEnd::Failing(line) if spec.purpose == Purpose::Retry => {
                    return Err(TestError::Failed(line));
                }
                WindowEnd::Failing(line) => {
                    self.gave_up.get_or_insert(line);
                }
            }
        }
    }

    /// Notes which windows keep the peak from being higher.
    fn mark_bounds(&mut self, outcome: &RampOutcome) {
        for bound in outcome.bounds() {
            let is_it = |m: &&mut Measured| m.phase.phase_id == bound.phase_id;
            if let Some(window) = self.measured.iter_mut().find(is_it) {
                window.health.part_of = match bound.verdict.passed {
                    true => PartOf::Rival,
                    false => PartOf::EndOfSearch,
                };
            }
        }
    }

    /// The row of the test at its peak, and whether the peak held the thresholds.
    fn conclude(
        &self,
        plan: &TestPlan<'_>,
        outcome: &RampOutcome,
    ) -> Result<(TestKey, SummaryRow, bool), TestError> {
        let nothing = || TestError::Failed(self.why_nothing(&outcome.stop.to_string()));
        let peak = outcome.peak.as_ref().ok_or_else(nothing)?;
        let key = TestKey {
            peak_concurrency: peak.concurrency,
            ..plan.key.clone()
        };
        let samples: Vec<PhaseSample<'_>> = self
            .measured
            .iter()
            .filter(|m| m.phase.concurrency_level == peak.concurrency)
            .map(|m| {
                if plan.window.strict {
                    PhaseSample::strict(&m.phase, &m.records)
                } else {
                    PhaseSample::new(&m.phase, &m.records)
                }
            })
            .collect();
        let summary = summarise(&key, &samples);
        if summary.total_requests == 0 {
            return Err(nothing());
        }
        Ok((key, summary, peak.passed))
    }

    /// The most useful sentence when a test has no result: what went wrong first, not just that nothing came.
    /// `stop` is why the search ended.
    fn why_nothing(&self, stop: &str) -> String {
        if let Some(line) = &self.gave_up {
            return line.clone();
        }
        let has_success = self.measured.iter().any(|m| !m.records.is_empty());
        let first = self
            .measured
            .iter()
            .flat_map(|m| m.failed.iter())
            .find(|f| !f.is_cancelled());
        match first {
            Some(f) if has_success => format!(
                "more than half of the requests failed at every level; the first with {}: {}",
                f.kind, f.message
            ),
            Some(f) => format!(
                "no request succeeded; the first failed with {}: {}",
                f.kind, f.message
            ),
            None if self.measured.is_empty() => format!("no window was run ({stop})"),
            None => "no request finished within its window or the drain after it; allow a longer \
                     --ramp-duration"
                .to_owned(),
        }
    }
}

/// A phase of the test under this id.
pub(crate) fn phase_of(plan: &TestPlan<'_>, id: &str) -> Phase {
    Phase {
        prompts: PhasePrompts {
            phase_id: phase_id(id),
            ..plan.prompts.clone()
        },
        cache_hit_rate: plan.key.cache_hit_rate,
        context_size: plan.key.context_size,
        working_set_size: plan.key.working_set_size,
        request_prefix: None,
    }
}

fn judge_window(
    plan: &TestPlan<'_>,
    controller: &mut dyn Controller,
    observer: &mut dyn Observer,
    spec: &WindowSpec,
    window: &WindowOutcome,
) {
    let observation = window.observation(&plan.window);
    let verdict = controller.record(observation);
    let judged = spec.purpose != Purpose::Retry;
    observer.observe(&StudyEvent::WindowDone {
        spec,
        level: &window.level,
        ttft: observation.ttft,
        verdict: judged.then_some(&verdict),
    });
    notes(controller, observer);
}

fn notes(controller: &mut dyn Controller, observer: &mut dyn Observer) {
    for note in controller.take_notes() {
        observer.observe(&StudyEvent::Note(&note));
    }
}

fn keep(spec: &WindowSpec, window: WindowOutcome) -> Measured {
    let run = RunLine {
        phase_id: spec.phase_id.clone(),
        input_tps: window.level.deciding.input_tps,
        output_tps: window.level.deciding.output_tps,
        avg_ttft: window.level.ttft.avg,
        p95_ttft: window.level.ttft.p95,
        n_requests: window.level.completed,
    };
    Measured {
        is_complete: window.end == WindowEnd::Complete,
        phase: window.phase,
        records: window.records,
        failed: window.failed,
        health: window.health,
        run,
    }
}

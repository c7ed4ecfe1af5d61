//! A study: contexts × hit rates × working sets, each a test, with everything measured so far on disk at any moment.
//!
//! Order after a test: rows, phases, summary, the client's own part, then `progress.json`; whoever observes draws after that.

mod building;
mod plan;
mod tables;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, mpsc};

use metrics::health::WindowHealth;
use metrics::summary::TestKey;
use metrics::{FailureKind, PeriodRow};
use ramp::{FixedController, RampController, SustainedController};
use report::files::{ResultDir, TableWriter};
use report::progress::Progress;
use report::test_name::TestName;
use workload::{ContextPlan, PieceTable, PromptPlan, Seed, Selector, TextTokenizer, WorkingSet};

use crate::event::{Doubt, Observer, StudyEvent, TestPrompts};
use crate::feed::{PhasePrompts, PromptFeed, VerificationCounters};
use crate::files::one_line;
use crate::load::{LoadContext, Rotation, phase_id};
use crate::progress::Live;
use crate::recorder::RecordSink;
use crate::stop::{Stop, StopReason};
use crate::sustained::run_sustained;
use crate::test_run::{TestError, TestFailure, TestOutcome, TestPlan, run_test};
use crate::transport::Transport;
use crate::warm_up::{WarmUp, WarmUpError, warm_up};

use building::{Building, Verified, Verifying};
pub use plan::{GivesUp, Mode, Reinit, StudyPlan, WorkingSets};

/// Failed tests in a row, of the kind that [`GivesUp`] names, after which the rest is not tried.
const FAILED_TESTS_IN_A_ROW: u32 = 3;

/// Where results go.
#[derive(Debug)]
pub struct StudyStore<'a> {
    /// The directory.
    pub dir: &'a ResultDir,
    /// Summary and phases.
    pub tables: &'a mut TableWriter,
    /// Which tests are done.
    pub progress: &'a mut Progress,
}

/// What a study runs on.
pub struct StudyParts<'a> {
    /// Carries requests.
    pub transport: &'a dyn Transport,
    /// Stamps.
    pub clock: core_client::RunClock,
    /// Fresh text.
    pub feed: &'a mut dyn PromptFeed,
    /// Ended requests.
    pub sink: &'a mut dyn RecordSink,
    /// Endpoint choice.
    pub rotation: &'a mut Rotation,
    /// Asked between and within all steps.
    pub stop: &'a Stop,
    /// Terminal display.
    pub live: &'a dyn Live,
    /// Events.
    pub observer: &'a mut dyn Observer,
    /// The server's tokenizer.
    pub tokenizer: TextTokenizer,
    /// Pieces measured under it.
    pub pieces: PieceTable,
    /// Seed of the run.
    pub seed: Seed,
    /// Verified prompts.
    pub counters: Arc<VerificationCounters>,
}

impl std::fmt::Debug for StudyParts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StudyParts").finish_non_exhaustive()
    }
}

/// How a study ended.
#[derive(Debug, Default)]
pub struct StudyEnd {
    /// Tests that this run completed, in order.
    pub completed: Vec<TestName>,
    /// Tests that yielded nothing, with the reason.
    pub failed: Vec<(TestName, String)>,
    /// The run was asked to stop.
    pub stopped: Option<StopReason>,
    /// Why the rest was not tried.
    pub aborted: Option<String>,
    /// The rest, in order; none after a stop, which whoever asked for it knows of.
    pub untried: Vec<TestName>,
    /// The rest was not tried because files could not be written.
    pub cannot_write: bool,
    /// Reasons to look twice at completed tests.
    pub doubts: Vec<Doubt>,
    /// What the client knows of its own part in every window and period, in order.
    pub health: Vec<WindowHealth>,
    /// All periods of the sustained tests, in order.
    pub periods: Vec<(TestName, Vec<PeriodRow>)>,
    /// Prompts per context size.
    pub working_set_prompts: BTreeMap<u64, u64>,
}

/// Prompts of a context that were sent ahead once.
struct Warm {
    /// So many, from the first on.
    prompts: usize,
}

/// What a test of a context stands on.
struct Ground<'g> {
    context: ContextPlan,
    prompts: TestPrompts,
    working_set: &'g Arc<WorkingSet>,
    selector: &'g mut Selector,
    previous_peak: Option<u32>,
}

/// Why a test has no result.
struct Failed {
    reason: String,
    /// Not even a connection was had.
    is_unreachable: bool,
}

impl Failed {
    /// For another reason than the way to the server.
    fn here(reason: String) -> Self {
        Self {
            reason,
            is_unreachable: false,
        }
    }

    fn of_warm_up(error: &WarmUpError) -> Self {
        let kind = match error {
            WarmUpError::AllFailed { kind, .. } => Some(*kind),
            WarmUpError::Stopped => None,
        };
        Self {
            reason: error.to_string(),
            is_unreachable: kind == Some(FailureKind::Connect),
        }
    }
}

enum ContextEnd {
    Done,
    Abort,
}

/// Runs the study. Everything that can go wrong with the server is in the result.
pub async fn run_study<'a>(
    plan: &StudyPlan,
    parts: StudyParts<'a>,
    store: StudyStore<'a>,
) -> StudyEnd {
    let mut study = Study {
        plan,
        parts,
        store,
        end: StudyEnd::default(),
        failed_in_a_row: 0,
        started_tests: 0,
        n_tests: 0,
    };
    study.n_tests = study.remaining_tests().count() as u32;
    for &context_size in &plan.context_sizes {
        let end = study.context(context_size).await;
        study.end.stopped = study.parts.stop.requested();
        if matches!(end, ContextEnd::Abort) || study.end.stopped.is_some() {
            break;
        }
    }
    study.end.untried = study.untried();
    study.end
}

struct Study<'p, 'a> {
    plan: &'p StudyPlan,
    parts: StudyParts<'a>,
    store: StudyStore<'a>,
    end: StudyEnd,
    failed_in_a_row: u32,
    started_tests: u32,
    n_tests: u32,
}

impl Study<'_, '_> {
    /// Tests that have no result yet, in order.
    fn remaining_tests(&self) -> impl Iterator<Item = TestName> {
        let contexts = self.plan.context_sizes.iter();
        let all = contexts.flat_map(|context| self.plan.tests_of(*context));
        all.filter(|test| !self.store.progress.is_complete(test))
    }

    /// Tests that were given up unseen.
    fn untried(&self) -> Vec<TestName> {
        if self.end.aborted.is_none() {
            return Vec::new();
        }
        let has_failed = |test: &TestName| self.end.failed.iter().any(|(failed, _)| failed == test);
        self.remaining_tests()
            .filter(|test| !has_failed(test))
            .collect()
    }

    async fn context(&mut self, context_size: u64) -> ContextEnd {
        let tests: Vec<TestName> = self.plan.tests_of(context_size).collect();
        if tests
            .iter()
            .all(|test| self.store.progress.is_complete(test))
        {
            self.parts
                .observer
                .observe(&StudyEvent::ContextSkipped { context_size });
            return ContextEnd::Done;
        }
        let remaining: Vec<TestName> = tests
            .iter()
            .filter(|test| !self.store.progress.is_complete(test))
            .copied()
            .collect();
        let context_plan = self.plan.context_plan_for(context_size, &remaining);
        self.parts.observer.observe(&StudyEvent::ContextStarted {
            context_size,
            rounded: context_plan.rounded(),
            n_prompts: context_plan.num_prompts(),
            working_set_size: context_plan.working_set_size,
        });
        self.parts.live.phase("building the working set", 0);
        self.parts.feed.rest();
        let (working_set, verifying) = match self.build_working_set(context_plan).await {
            Ok(built) => built,
            Err(_) if self.parts.stop.requested().is_some() => return ContextEnd::Abort,
            Err(reason) => return self.fail_context(&tests, &Failed::here(reason)),
        };
        self.end
            .working_set_prompts
            .insert(context_size, working_set.len() as u64);
        let mut warm = Warm { prompts: 0 };
        let is_shared = matches!(self.plan.working_sets, WorkingSets::One(_));
        // Tests that share a working set share the position in it, too.
        let label = format!("selector {context_size}");
        let mut shared = self.selector(&label, working_set.len());
        // The first requests go out while prompts are still being re-encoded. Should one turn out to need other
        // words, which no tokenizer has needed so far, what was sent is sent again.
        let warms = is_shared && self.plan.reinit == Reinit::Once;
        let all = 0..working_set.len();
        let mut warmed = if warms {
            let begin = Some(verifying.begins());
            self.warm(&mut shared, &working_set, all.clone(), begin)
                .await
        } else {
            Ok(())
        };
        if warmed.is_ok() {
            match self.verified(context_plan, &working_set, verifying).await {
                Ok(is_changed) if is_changed && warms => {
                    warmed = self.warm(&mut shared, &working_set, all, None).await;
                }
                Ok(_) => {}
                Err(_) if self.parts.stop.requested().is_some() => return ContextEnd::Abort,
                Err(reason) => return self.fail_context(&tests, &Failed::here(reason)),
            }
        }
        if let Err(error) = warmed {
            return match error {
                WarmUpError::Stopped => ContextEnd::Abort,
                error => self.fail_context(&tests, &Failed::of_warm_up(&error)),
            };
        }
        if warms {
            warm.prompts = working_set.len();
        }
        let mut previous: Option<(u32, u32)> = None;
        for test in tests {
            let rate = test.cache_hit_rate;
            if self.store.progress.is_complete(&test) {
                self.parts
                    .observer
                    .observe(&StudyEvent::TestSkipped { test });
                // A size measured by an earlier run precedes the next one all the same; hit rates begin anew.
                if !is_shared {
                    let mut kept = self.store.tables.summary().iter();
                    let row = kept.rfind(|row| TestName::from(*row) == test);
                    previous = row.map(|row| (rate, row.peak_concurrency)).or(previous);
                }
                continue;
            }
            // The peak of a test is a good start for the one that differs from it in one thing only.
            let previous_peak = previous
                .filter(|(of_rate, _)| is_shared || *of_rate == rate)
                .map(|(_, peak)| peak);
            let prompts = self.plan.prompts(test, &context_plan);
            let mut own = (!is_shared)
                .then(|| self.selector(&format!("selector of test {test}"), prompts.initial));
            let ground = Ground {
                context: context_plan,
                prompts,
                working_set: &working_set,
                selector: own.as_mut().unwrap_or(&mut shared),
                previous_peak,
            };
            match self.test(test, ground, &mut warm).await {
                Ok(peak) => previous = Some((rate, peak)),
                Err(()) => return ContextEnd::Abort,
            }
        }
        self.parts
            .observer
            .observe(&StudyEvent::ContextDone { context_size });
        ContextEnd::Done
    }

    fn selector(&self, label: &str, n_prompts: usize) -> Selector {
        let rotation = &*self.parts.rotation;
        let n_pinned = (rotation.selection() == crate::load::EndpointSelection::Pinned)
            .then(|| rotation.n_endpoints());
        let seed = self.parts.seed.child(label);
        Selector::new(self.plan.order, n_prompts, n_pinned, &seed)
    }

    /// Sends what is to be warm before a test begins.
    async fn warm_for(
        &mut self,
        ground: &mut Ground<'_>,
        warm: &mut Warm,
    ) -> Result<(), WarmUpError> {
        let wanted = self.plan.warm_prompts(&ground.prompts);
        let prompts = match self.plan.reinit {
            Reinit::Once => warm.prompts..wanted,
            Reinit::EachTest => 0..wanted,
            Reinit::EachWindow if matches!(self.plan.mode, Mode::Sustained(_)) => 0..wanted,
            Reinit::EachWindow => return Ok(()),
        };
        if prompts.is_empty() {
            return Ok(());
        }
        let working_set = ground.working_set;
        self.warm(ground.selector, working_set, prompts, None)
            .await?;
        warm.prompts = warm.prompts.max(wanted);
        Ok(())
    }

    /// The peak of the test, or of none where it failed; `Err` when the run must end.
    async fn test(
        &mut self,
        test: TestName,
        mut ground: Ground<'_>,
        warm: &mut Warm,
    ) -> Result<u32, ()> {
        let attempt = self.store.progress.begin_attempt(&test);
        if let Err(error) = self.store.progress.save(self.store.dir.path()) {
            return self.abort(test, &one_line(&error));
        }
        let rate = test.cache_hit_rate;
        let previous_peak = ground.previous_peak;
        self.announce(test, &ground);
        let growth = self.plan.growth(&ground.context);
        if let Some(plan) = &growth {
            self.parts
                .observer
                .observe(&StudyEvent::GrowthPlanned { plan });
        }
        match self.warm_for(&mut ground, warm).await {
            Ok(()) => {}
            Err(WarmUpError::Stopped) => return Err(()),
            Err(error) => {
                return self.fail_test(test, &Failed::of_warm_up(&error), previous_peak);
            }
        }
        let Ground {
            context: context_plan,
            prompts: of_test,
            working_set,
            selector,
            ..
        } = ground;
        let prompts = PhasePrompts {
            plan: Arc::new(PromptPlan::new(
                &self.parts.pieces,
                &self.parts.seed,
                context_plan,
                rate,
            )),
            tokenizer: self.parts.tokenizer.clone(),
            attempt,
            working_set_size: test.working_set_size,
            working_set: (rate > 0).then(|| Arc::clone(working_set)),
            phase_id: phase_id(""),
        };
        let plan = TestPlan {
            key: TestKey {
                context_size: test.context_size,
                working_set_size: test.working_set_size,
                cache_hit_rate: rate,
                model: Some(self.plan.model.clone()),
                peak_concurrency: 0,
            },
            prompts,
            warm_each_window: (self.plan.reinit == Reinit::EachWindow).then(|| WarmUp {
                working_set,
                prompts: 0..of_test.initial,
                concurrency: self.plan.init_concurrency,
                underway: None,
            }),
            window: self.plan.window,
            chunk_size: self.plan.chunk_size,
            coverage: self.plan.coverage(test),
            growth,
            sustained: self.plan.sustained,
        };
        let parts = &mut self.parts;
        let mut context = LoadContext {
            transport: parts.transport,
            clock: parts.clock,
            feed: &mut *parts.feed,
            sink: &mut *parts.sink,
            selector,
            rotation: &mut *parts.rotation,
            stop: parts.stop,
            live: parts.live,
        };
        let observer = &mut *parts.observer;
        let ended = match &self.plan.mode {
            Mode::Ramp(settings) => {
                let mut controller = RampController::new(*settings, previous_peak);
                run_test(&mut context, &plan, &mut controller, observer).await
            }
            Mode::Fixed(settings) => {
                let mut controller = FixedController::new(settings.clone());
                run_test(&mut context, &plan, &mut controller, observer).await
            }
            Mode::Sustained(settings) => {
                let controller = SustainedController::new(*settings);
                run_sustained(&mut context, &plan, controller, observer).await
            }
        };
        let outcome = match ended {
            Ok(outcome) => outcome,
            Err(failure) => return self.keep_failure(test, failure, previous_peak),
        };
        self.failed_in_a_row = 0;
        if let Err(error) = self.put_phases(&outcome.phases) {
            return self.abort(test, &error);
        }
        let tables = &mut *self.store.tables;
        let stored = tables.put_summary(std::slice::from_ref(&outcome.summary));
        if let Err(error) = stored {
            return self.abort(test, &one_line(&error));
        }
        if let Err(error) = self.put_health(test, &outcome.health, &outcome.periods) {
            return self.abort(test, &error);
        }
        self.store.progress.mark_complete(&test);
        if let Err(error) = self.store.progress.save(self.store.dir.path()) {
            return self.abort(test, &one_line(&error));
        }
        self.end.completed.push(test);
        // Not before: a result that cannot be stored is none.
        self.parts
            .observer
            .observe(&StudyEvent::TestDone { outcome: &outcome });
        self.parts.observer.observe(&StudyEvent::TestStored {
            test,
            outcome: &outcome,
        });
        let TestOutcome {
            summary, doubts, ..
        } = outcome;
        self.end.doubts.extend(doubts);
        Ok(summary.peak_concurrency)
    }

    fn announce(&mut self, test: TestName, ground: &Ground<'_>) {
        self.started_tests += 1;
        let per_test = self.plan.mode.longest_test();
        let elapsed = self.parts.clock.now();
        let done = self.end.completed.len() as u32;
        let mean = if done == 0 { per_test } else { elapsed / done };
        let expected = elapsed + mean * (self.n_tests + 1 - self.started_tests.min(self.n_tests));
        let set = test
            .working_set_size
            .map_or_else(String::new, |size| format!(", working set of {size}"));
        let name = format!(
            "test {} of {}: {} tokens at {}%{set}",
            self.started_tests, self.n_tests, test.context_size, test.cache_hit_rate
        );
        self.parts.live.test(&name, Some(expected));
        self.parts.observer.observe(&StudyEvent::TestStarted {
            test,
            cached_tokens: ground.context.split(test.cache_hit_rate).cached,
            prompts: ground.prompts,
        });
    }

    /// A test has no result; its windows are written all the same, for their requests are on disk.
    fn keep_failure(
        &mut self,
        test: TestName,
        failure: TestFailure,
        previous_peak: Option<u32>,
    ) -> Result<u32, ()> {
        let TestFailure {
            error,
            phases,
            periods,
            health,
        } = failure;
        if let TestError::Write(line) = error {
            return self.abort(test, &line);
        }
        let put = self
            .put_phases(&phases)
            .and_then(|()| self.put_health(test, &health, &periods));
        if let Err(unwritten) = put {
            return self.abort(test, &unwritten);
        }
        match error {
            TestError::Stopped => Err(()),
            TestError::WarmUp(error) => {
                self.fail_test(test, &Failed::of_warm_up(&error), previous_peak)
            }
            error => self.fail_test(test, &Failed::here(error.to_string()), previous_peak),
        }
    }

    fn fail_test(
        &mut self,
        test: TestName,
        failed: &Failed,
        previous_peak: Option<u32>,
    ) -> Result<u32, ()> {
        self.parts.observer.observe(&StudyEvent::TestFailed {
            test,
            reason: &failed.reason,
        });
        self.end.failed.push((test, failed.reason.clone()));
        let counts = match self.plan.gives_up {
            GivesUp::AfterFailures => true,
            GivesUp::Unreachable => failed.is_unreachable,
        };
        self.failed_in_a_row = if counts { self.failed_in_a_row + 1 } else { 0 };
        if self.failed_in_a_row >= FAILED_TESTS_IN_A_ROW {
            let n = self.failed_in_a_row;
            self.end.aborted = Some(match self.plan.gives_up {
                GivesUp::AfterFailures => {
                    format!("{n} tests failed in a row; the rest is not tried")
                }
                GivesUp::Unreachable => format!(
                    "the server could not be reached in {n} tests in a row; the rest is not tried"
                ),
            });
            return Err(());
        }
        Ok(previous_peak.unwrap_or(0))
    }

    fn abort(&mut self, test: TestName, reason: &str) -> Result<u32, ()> {
        self.parts
            .observer
            .observe(&StudyEvent::TestFailed { test, reason });
        self.end.failed.push((test, reason.to_owned()));
        self.end.cannot_write = true;
        self.end.aborted = Some(
            "results cannot be written any more, so the rest is not tried; once the output directory takes \
             files again, the same command goes on after the last complete test"
                .to_owned(),
        );
        Err(())
    }

    fn fail_context(&mut self, tests: &[TestName], failed: &Failed) -> ContextEnd {
        for test in tests {
            if !self.store.progress.is_complete(test)
                && self.fail_test(*test, failed, None).is_err()
            {
                return ContextEnd::Abort;
            }
        }
        ContextEnd::Done
    }

    async fn warm(
        &mut self,
        selector: &mut Selector,
        working_set: &WorkingSet,
        prompts: Range<usize>,
        underway: Option<mpsc::Sender<()>>,
    ) -> Result<(), WarmUpError> {
        let what = WarmUp {
            working_set,
            prompts,
            concurrency: self.plan.init_concurrency,
            underway,
        };
        let parts = &mut self.parts;
        let mut context = LoadContext {
            transport: parts.transport,
            clock: parts.clock,
            feed: &mut *parts.feed,
            sink: &mut *parts.sink,
            selector,
            rotation: &mut *parts.rotation,
            stop: parts.stop,
            live: parts.live,
        };
        warm_up(&mut context, &what).await.map(drop)
    }

    async fn build_working_set(
        &mut self,
        context: ContextPlan,
    ) -> Result<(Arc<WorkingSet>, Verifying), String> {
        let building = Building {
            context,
            rates: self.plan.cache_hit_rates.clone(),
            pieces: self.parts.pieces.clone(),
            seed: self.parts.seed,
            tokenizer: self.parts.tokenizer.clone(),
            n_threads: self.plan.n_build_threads,
        };
        building.run(self.parts.stop.clone()).await
    }

    /// Waits until every prompt of the working set was re-encoded: nothing is measured before. Returns whether any
    /// is another one now than when it was built.
    async fn verified(
        &mut self,
        context_plan: ContextPlan,
        working_set: &WorkingSet,
        verifying: Verifying,
    ) -> Result<bool, String> {
        let Verified {
            verification,
            built_in,
            verified_in,
        } = verifying.outcome().await?;
        self.parts.counters.add(verification);
        self.parts.observer.observe(&StudyEvent::WorkingSetReady {
            tokens: context_plan.rounded() * working_set.len() as u64,
            built_in,
            verified_in,
            verification,
        });
        if self.parts.stop.requested().is_some() {
            // Verification was cut short, so the set is not fit for use.
            return Err("stopped".to_owned());
        }
        Ok(verification.corrected > 0)
    }
}

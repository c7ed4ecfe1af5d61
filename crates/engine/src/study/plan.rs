//! What a study measures: contexts, hit rates, working sets, and how levels are found.

use std::time::Duration;

use ramp::{FixedSettings, RampSettings, SustainedSettings};
use report::test_name::TestName;
use workload::{ContextPlan, GrowthSchedule, SelectionOrder, prompts_for};

use crate::event::TestPrompts;
use crate::growth::GrowthPlan;
use crate::test_run::SustainedResults;
use crate::window::WindowSettings;

/// When the working set is sent to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reinit {
    /// Every prompt once per context size.
    Once,
    /// Before every test.
    EachTest,
    /// Before every measured window. A sustained test has no windows between which it could be sent, so there it is
    /// sent before every test.
    EachWindow,
}

/// When tests that fail one after the other end the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivesUp {
    /// Behind three, whatever the reason.
    AfterFailures,
    /// Behind three in which the server could not be reached; any other failure is of its own test only.
    Unreachable,
}

/// How the levels of a test are found.
#[derive(Debug, Clone)]
pub enum Mode {
    /// Climb until a threshold breaks, search, repeat.
    Ramp(RampSettings),
    /// Measure given levels.
    Fixed(FixedSettings),
    /// Never stop sending; decide anew after every period.
    Sustained(SustainedSettings),
}

impl Mode {
    /// How long a test may take, warm-ups and drains left out: all that is known before one was timed.
    pub(super) fn longest_test(&self) -> Duration {
        match self {
            Self::Ramp(ramp) => ramp.test_duration + ramp.ramp_duration * ramp.num_retries,
            Self::Fixed(fixed) => {
                let n_levels = u32::try_from(fixed.levels.len()).unwrap_or(u32::MAX);
                fixed
                    .ramp_duration
                    .saturating_mul(n_levels.saturating_mul(fixed.num_retries.saturating_add(1)))
            }
            Self::Sustained(sustained) => sustained.test_duration,
        }
    }
}

/// Working sets of a study, in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkingSets {
    /// All tests share one, and none is named by it.
    One(u64),
    /// A test for each of these, ascending.
    Each(Vec<u64>),
    /// One test for each context and rate, in which it grows.
    Growing {
        /// Size at the start.
        first: u64,
        /// Size at the end, at least the first, by which the test is named.
        last: u64,
        /// Steps from the one to the other.
        n_events: u32,
        /// Whether all prompts are warmed up before the test, and not only those of the start.
        warm_all: bool,
    },
}

impl WorkingSets {
    /// The largest of them.
    #[must_use]
    pub fn largest(&self) -> u64 {
        match self {
            Self::One(size) => *size,
            Self::Each(sizes) => sizes.last().copied().unwrap_or_default(),
            Self::Growing { last, .. } => *last,
        }
    }

    /// The sizes by which tests are named.
    fn names(&self) -> Vec<Option<u64>> {
        match self {
            Self::One(_) => vec![None],
            Self::Each(sizes) => sizes.iter().copied().map(Some).collect(),
            Self::Growing { last, .. } => vec![Some(*last)],
        }
    }
}

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct StudyPlan {
    /// Ascending, tokens.
    pub context_sizes: Vec<u64>,
    /// Ascending, percent.
    pub cache_hit_rates: Vec<u32>,
    /// Working sets.
    pub working_sets: WorkingSets,
    /// Whether every window, and every size of a growing set, goes on until its working set was sent once over.
    pub ensure_coverage: bool,
    /// Tokens.
    pub chunk_size: u64,
    /// When prompts are sent ahead.
    pub reinit: Reinit,
    /// Prompts sent ahead at a time.
    pub init_concurrency: u32,
    /// Order in which working-set prompts are taken.
    pub order: SelectionOrder,
    /// How levels are found.
    pub mode: Mode,
    /// How windows are measured.
    pub window: WindowSettings,
    /// What sustained tests leave.
    pub sustained: SustainedResults,
    /// When failed tests end the run.
    pub gives_up: GivesUp,
    /// Model, as it stands in the rows.
    pub model: String,
    /// Threads that build and verify a working set.
    pub n_build_threads: usize,
}

impl StudyPlan {
    /// The tests of a context size, in order: by rate, then by working set.
    pub fn tests_of(&self, context_size: u64) -> impl Iterator<Item = TestName> + '_ {
        let sets = self.working_sets.names();
        self.cache_hit_rates.iter().flat_map(move |rate| {
            let test = TestName::new(context_size, *rate);
            let of_rate: Vec<TestName> = sets.iter().map(|s| test.with_working_set(*s)).collect();
            of_rate
        })
    }

    /// A context size with its largest working set.
    #[must_use]
    pub fn context_plan(&self, context_size: u64) -> ContextPlan {
        ContextPlan {
            context_size,
            chunk_size: self.chunk_size,
            working_set_size: self.working_sets.largest(),
        }
    }

    /// A context size with the largest working set that these of its tests need.
    #[must_use]
    pub fn context_plan_for(&self, context_size: u64, tests: &[TestName]) -> ContextPlan {
        let largest = tests.iter().filter_map(|test| test.working_set_size).max();
        let all = self.context_plan(context_size);
        ContextPlan {
            working_set_size: largest.unwrap_or(all.working_set_size),
            ..all
        }
    }

    /// How the working set of a test grows, if it does.
    pub(super) fn growth(&self, context: &ContextPlan) -> Option<GrowthPlan> {
        let WorkingSets::Growing {
            first,
            last,
            n_events,
            warm_all,
        } = self.working_sets
        else {
            return None;
        };
        let Mode::Sustained(settings) = &self.mode else {
            return None;
        };
        let tokens_per_prompt = context.rounded();
        Some(GrowthPlan {
            schedule: GrowthSchedule::new(
                prompts_for(first, tokens_per_prompt),
                prompts_for(last, tokens_per_prompt),
                n_events,
                settings.test_duration,
            ),
            tokens_per_prompt,
            warm: warm_all,
            ensure_coverage: self.ensure_coverage,
        })
    }

    /// The working set of a test.
    pub(super) fn prompts(&self, test: TestName, context: &ContextPlan) -> TestPrompts {
        let rounded = context.rounded();
        let (initial, target) = match self.growth(context) {
            Some(growth) => (growth.schedule.initial, growth.schedule.target),
            None => {
                let size = test.working_set_size.unwrap_or(context.working_set_size);
                let n = prompts_for(size, rounded);
                (n, n)
            }
        };
        TestPrompts {
            rounded,
            initial,
            target,
        }
    }

    /// The first so many prompts are to be warm before a test begins.
    pub(super) fn warm_prompts(&self, prompts: &TestPrompts) -> usize {
        match self.working_sets {
            WorkingSets::Growing { warm_all: true, .. } => prompts.target,
            WorkingSets::One(_) | WorkingSets::Each(_) | WorkingSets::Growing { .. } => {
                prompts.initial
            }
        }
    }

    /// Nominal input tokens that every window of a test sends at least.
    pub(super) fn coverage(&self, test: TestName) -> Option<u64> {
        self.ensure_coverage
            .then(|| test.working_set_size.unwrap_or(self.working_sets.largest()))
    }
}

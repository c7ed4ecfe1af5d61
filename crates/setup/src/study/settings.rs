//! From the shared options to what the engine runs.

use core_client::RunClock;
use engine::study::{GivesUp, Mode, Reinit, StudyPlan, WorkingSets};
use engine::test_run::SustainedResults;
use engine::window::WindowSettings;
use metrics::window::{SpeedMetric, TtftMetric};
use ramp::{FixedRules, FixedSettings, RampRules, RampSettings, SustainedRules, SustainedSettings};
use workload::{ContextPlan, SelectionOrder};

use super::StudyOptions;

/// What a tool adds to the study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudyShape {
    /// Working sets.
    pub working_sets: WorkingSets,
    /// Whether all of a working set is sent before the next one.
    pub ensure_coverage: bool,
    /// When prompts are sent ahead.
    pub reinit: Reinit,
    /// Rules of the tool.
    pub rules: StudyRules,
}

/// Where the algorithms that tools share differ between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StudyRules {
    /// Of the search for the best level.
    pub ramp: RampRules,
    /// Of given levels.
    pub fixed: FixedRules,
    /// Of levels that follow the load.
    pub sustained: SustainedRules,
    /// Of what is written of those.
    pub results: SustainedResults,
    /// Of tests that fail.
    pub gives_up: GivesUp,
}

impl StudyRules {
    /// Those of `cache_rate_tester`.
    pub const CACHE_RATE: Self = Self {
        ramp: RampRules::CACHE_RATE,
        fixed: FixedRules::CACHE_RATE,
        sustained: SustainedRules::CACHE_RATE,
        results: SustainedResults::CACHE_RATE,
        gives_up: GivesUp::AfterFailures,
    };
    /// Those of `working_set_tester`.
    pub const WORKING_SET: Self = Self {
        ramp: RampRules::WORKING_SET,
        fixed: FixedRules::WORKING_SET,
        sustained: SustainedRules::WORKING_SET,
        results: SustainedResults::WORKING_SET,
        gives_up: GivesUp::Unreachable,
    };
}

impl StudyOptions {
    /// The context sizes, each with a working set of so many tokens.
    #[must_use]
    pub fn contexts(&self, working_set_size: u64) -> Vec<ContextPlan> {
        let context = |&context_size: &u64| ContextPlan {
            context_size,
            chunk_size: self.chunk_size,
            working_set_size,
        };
        self.context_sizes.iter().map(context).collect()
    }

    /// The study that carries the plan of a tool out.
    #[must_use]
    pub fn study(&self, shape: StudyShape, model: &str, clock: RunClock) -> StudyPlan {
        StudyPlan {
            context_sizes: self.context_sizes.clone(),
            cache_hit_rates: self.cache_hit_rates.clone(),
            working_sets: shape.working_sets,
            ensure_coverage: shape.ensure_coverage,
            chunk_size: self.chunk_size,
            reinit: shape.reinit,
            init_concurrency: self.init_concurrency,
            order: if self.random_selection {
                SelectionOrder::Random
            } else {
                SelectionOrder::RoundRobin
            },
            mode: self.levels(shape.rules),
            sustained: shape.rules.results,
            gives_up: shape.rules.gives_up,
            window: self.window(clock),
            model: model.to_owned(),
            n_build_threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }

    /// How the levels of a test are found.
    fn levels(&self, rules: StudyRules) -> Mode {
        use cli::options::Mode as Given;
        match self.mode {
            Given::Ramp => Mode::Ramp(RampSettings {
                start: self.start_concurrency,
                increment: self.concurrency_increment,
                max: self.max_concurrency,
                test_duration: self.test_duration,
                ramp_duration: self.ramp_duration,
                num_retries: self.num_retries,
                thresholds: self.thresholds,
                rules: rules.ramp,
            }),
            Given::Fixed => Mode::Fixed(FixedSettings {
                levels: self.fixed_levels.clone(),
                ramp_duration: self.ramp_duration,
                num_retries: self.num_retries,
                thresholds: self.thresholds,
                rules: rules.fixed,
            }),
            Given::Sustained => Mode::Sustained(SustainedSettings {
                start: self.start_concurrency,
                increment: self.concurrency_increment,
                max: self.max_concurrency,
                test_duration: self.test_duration,
                period: self.assessment_period,
                thresholds: self.thresholds,
                rules: rules.sustained,
            }),
        }
    }

    /// How windows are measured.
    fn window(&self, clock: RunClock) -> WindowSettings {
        use cli::options::{SpeedMetric as Speed, TtftMetric as Ttft};
        WindowSettings {
            ttft_metric: match self.ttft_metric {
                Ttft::Max => TtftMetric::Max,
                Ttft::Avg => TtftMetric::Avg,
                Ttft::P95 => TtftMetric::P95,
            },
            speed_metric: match self.speed_metric {
                Speed::Avg => SpeedMetric::Avg,
                Speed::P5 => SpeedMetric::P5,
                Speed::P10 => SpeedMetric::P10,
            },
            strict: self.strict_time_window,
            output_tokens: self.output_tokens,
            cooldown: self.cooldown,
            anchor: clock.anchor(),
        }
    }
}

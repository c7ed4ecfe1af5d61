//! From the plan to what the engine runs.

use core_client::RunClock;
use engine::study::{Mode, Reinit, StudyPlan};
use engine::window::WindowSettings;
use metrics::window::{SpeedMetric, TtftMetric};
use ramp::{FixedSettings, RampSettings, SustainedRules, SustainedSettings};
use workload::SelectionOrder;

use crate::args::{Mode as ModeOption, ReinitStrategy, SpeedMetric as SpeedOption};
use crate::plan::Plan;

/// How the levels of a test are found.
fn mode(plan: &Plan) -> Mode {
    match plan.mode {
        ModeOption::Ramp => Mode::Ramp(RampSettings {
            start: plan.start_concurrency,
            increment: plan.concurrency_increment,
            max: plan.max_concurrency,
            test_duration: plan.test_duration,
            ramp_duration: plan.ramp_duration,
            num_retries: plan.num_retries,
            thresholds: plan.thresholds,
        }),
        ModeOption::Fixed => Mode::Fixed(FixedSettings {
            levels: plan.fixed_levels.clone(),
            ramp_duration: plan.ramp_duration,
            num_retries: plan.num_retries,
            thresholds: plan.thresholds,
        }),
        ModeOption::Sustained => Mode::Sustained(SustainedSettings {
            start: plan.start_concurrency,
            increment: plan.concurrency_increment,
            max: plan.max_concurrency,
            test_duration: plan.test_duration,
            period: plan.assessment_period,
            thresholds: plan.thresholds,
            rules: SustainedRules::CACHE_RATE,
        }),
    }
}

/// The study that carries the plan out.
pub(super) fn plan(plan: &Plan, model: &str, clock: RunClock) -> StudyPlan {
    StudyPlan {
        context_sizes: plan.context_sizes.clone(),
        cache_hit_rates: plan.cache_hit_rates.clone(),
        working_set_size: plan.working_set_size,
        chunk_size: plan.chunk_size,
        reinit: match plan.reinit_strategy {
            ReinitStrategy::Once => Reinit::Once,
            ReinitStrategy::PerCacheRate => Reinit::PerCacheRate,
            ReinitStrategy::PerTest => Reinit::PerTest,
        },
        init_concurrency: plan.init_concurrency,
        order: if plan.random_selection {
            SelectionOrder::Random
        } else {
            SelectionOrder::RoundRobin
        },
        mode: mode(plan),
        window: WindowSettings {
            ttft_metric: match plan.ttft_metric {
                cli::options::TtftMetric::Max => TtftMetric::Max,
                cli::options::TtftMetric::Avg => TtftMetric::Avg,
                cli::options::TtftMetric::P95 => TtftMetric::P95,
            },
            speed_metric: match plan.speed_metric {
                SpeedOption::Avg => SpeedMetric::Avg,
                SpeedOption::P5 => SpeedMetric::P5,
                SpeedOption::P10 => SpeedMetric::P10,
            },
            strict: plan.strict_time_window,
            output_tokens: plan.output_tokens,
            cooldown: plan.cooldown,
            anchor: clock.anchor(),
        },
        model: model.to_owned(),
        n_build_threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}

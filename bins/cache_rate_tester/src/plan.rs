//! What the arguments mean: [`Args`] → [`Plan`], pure.
//!
//! Promises: a plan is sorted, free of duplicates, within bounds, and holds the thresholds that take
//! effect; every reason to refuse is one line that names the option, its value and the remedy. Nothing
//! is read or written, and no secret can be printed from it by accident.

mod record;

use cli::options::Mode;
use ramp::Thresholds;
use setup::study::{Choices, DEFAULT_MAX_TTFT, StudyError, StudyOptions, tokens};

use crate::args::{Args, ReinitStrategy};

/// Rates that are tested where none were given: 0, 5, … 100.
#[must_use]
pub fn default_cache_hit_rates() -> Vec<u32> {
    (0..=100).step_by(5).collect()
}

/// A run, ready to be carried out.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What this tool shares with others. Levels of fixed mode are ascending, without duplicates.
    pub common: StudyOptions,
    /// Working set in tokens.
    pub working_set_size: u64,
    /// When the working set is warmed again.
    pub reinit_strategy: ReinitStrategy,
}

impl TryFrom<Args> for Plan {
    type Error = StudyError;

    fn try_from(args: Args) -> Result<Self, StudyError> {
        let Args {
            working_set_size,
            mode,
            cache_hit_rates,
            reinit_strategy,
            study,
        } = args;
        let choices = Choices {
            mode,
            cache_hit_rates: cache_hit_rates.unwrap_or_else(|| {
                default_cache_hit_rates()
                    .into_iter()
                    .map(i128::from)
                    .collect()
            }),
        };
        let working_set_size = tokens("--working-set-size", working_set_size)?;
        let mut common = StudyOptions::new(study, choices)?;
        let Thresholds {
            max_ttft,
            min_speed,
        } = common.thresholds;
        common.thresholds = effective_thresholds(mode, max_ttft, min_speed);
        common.fixed_levels.sort_unstable();
        common.fixed_levels.dedup();
        common.cross_check()?;
        if mode == Mode::Sustained {
            common.test_holds("--assessment-period", common.assessment_period)?;
        }
        Ok(Self {
            common,
            working_set_size,
            reinit_strategy,
        })
    }
}

/// Rule T of the tool's page: which thresholds take effect.
fn effective_thresholds(mode: Mode, max_ttft: Option<f64>, min_speed: Option<f64>) -> Thresholds {
    let assumed = match mode {
        Mode::Ramp | Mode::Sustained if min_speed.is_none() => Some(DEFAULT_MAX_TTFT),
        Mode::Ramp | Mode::Sustained | Mode::Fixed => None,
    };
    Thresholds {
        max_ttft: max_ttft.or(assumed),
        min_speed,
    }
}

#[cfg(test)]
mod tests;

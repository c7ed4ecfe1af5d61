//! What the arguments mean: [`Args`] → [`Plan`], pure.
//!
//! Promises: a plan is within bounds and holds the thresholds that take effect; every reason to refuse is one line that
//! names the option, its value and the remedy; what was assumed or left out is a [`Notice`]. Nothing is read or
//! written, and no secret can be printed from it by accident.

mod error;
mod record;
#[cfg(test)]
mod tests;

use cli::options::Mode;
use metrics::PeriodRow;
use metrics::summary::SummaryRow;
use setup::check::Int;
use setup::study::{Choices, DEFAULT_MAX_TTFT, StudyOptions, level, tokens};
use workload::working_set_sizes;

pub use error::PlanError;

use crate::args::{Args, InitStrategy, PlateauDetection, ReinitStrategy};
use crate::text::Sizes;

/// Most sizes or steps.
const MAX_INCREMENTS: i128 = 100_000;

/// A run, ready to be carried out.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What this tool shares with others. Levels of fixed mode are in the order given, without duplicates.
    pub common: StudyOptions,
    /// Smallest working set, tokens.
    pub min_working_set_size: u64,
    /// Largest working set, tokens.
    pub max_working_set_size: u64,
    /// Sizes, or steps of growth.
    pub working_set_increments: u32,
    /// The sizes, in tokens, ascending, without duplicates.
    pub working_set_sizes: Vec<u64>,
    /// When prompts are warmed again.
    pub reinit_strategy: ReinitStrategy,
    /// How much of a growing set is warm at the start.
    pub init_strategy: InitStrategy,
    /// Whether falling throughput lowers the load.
    pub plateau_detection: PlateauDetection,
    /// Whether all of a working set is sent before the next one.
    pub ensure_coverage: bool,
    /// The TTFT threshold was not given but assumed.
    pub threshold_is_assumed: bool,
    /// What the user should know of how the arguments were taken.
    pub notices: Vec<Notice>,
}

/// Something that was assumed or left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// No threshold was given where one is needed; `is_warning` where the mode was not given either.
    AssumedThreshold {
        /// Whether it deserves a warning.
        is_warning: bool,
    },
    /// Levels were given in a mode that finds its own.
    LevelsIgnored {
        /// The mode.
        mode: Mode,
    },
    /// Levels were listed more than once.
    LevelsRepeated {
        /// Each of them once.
        levels: Vec<u32>,
    },
    /// With one size only the smallest is used.
    MaximumUnused {
        /// What is used, tokens.
        min: u64,
        /// What is not, tokens.
        max: u64,
    },
}

impl TryFrom<Args> for Plan {
    type Error = PlanError;

    fn try_from(args: Args) -> Result<Self, PlanError> {
        let Args {
            min_working_set_size,
            max_working_set_size,
            working_set_increments,
            mode: given_mode,
            mut study,
            fixed_concurrency,
            plateau_detection,
            cache_hit_rates,
            reinit_strategy,
            init_strategy,
            ensure_working_set_coverage,
        } = args;
        let mode = given_mode.unwrap_or(Mode::Sustained);
        let min = tokens("--min-working-set-size", min_working_set_size)?;
        let max = tokens("--max-working-set-size", max_working_set_size)?;
        if min > max {
            return Err(PlanError::MinAboveMax { min, max });
        }
        let increments = Int {
            flag: "--working-set-increments",
            unit: "sizes",
        }
        .within(working_set_increments, 1, MAX_INCREMENTS)?;
        if let Some(levels) = fixed_concurrency {
            if study.fixed_concurrency_levels.is_some() {
                return Err(PlanError::LevelsTwice);
            }
            for value in &levels {
                level("--fixed-concurrency", *value)?;
            }
            study.fixed_concurrency_levels = Some(levels);
        }
        let has_levels = study.fixed_concurrency_levels.is_some();
        let mut common = StudyOptions::new(
            study,
            Choices {
                mode,
                cache_hit_rates,
            },
        )?;

        let mut notices = Vec::new();
        let threshold_is_assumed = match mode {
            _ if common.thresholds.is_active() => false,
            Mode::Fixed => false,
            Mode::Sustained if given_mode.is_some() => return Err(PlanError::NoThreshold),
            Mode::Sustained | Mode::Ramp => true,
        };
        if threshold_is_assumed {
            common.thresholds.max_ttft = Some(DEFAULT_MAX_TTFT);
            let is_warning = mode == Mode::Sustained;
            notices.push(Notice::AssumedThreshold { is_warning });
        }
        if mode != Mode::Fixed && has_levels {
            notices.push(Notice::LevelsIgnored { mode });
        }
        let repeated = keep_first(&mut common.fixed_levels);
        if !repeated.is_empty() {
            notices.push(Notice::LevelsRepeated { levels: repeated });
        }
        if increments == 1 && min < max {
            notices.push(Notice::MaximumUnused { min, max });
        }
        common.cross_check()?;
        Ok(Self {
            common,
            min_working_set_size: min,
            max_working_set_size: max,
            working_set_increments: increments,
            working_set_sizes: working_set_sizes(min, max, u64::from(increments)),
            reinit_strategy,
            init_strategy,
            plateau_detection,
            ensure_coverage: ensure_working_set_coverage,
            threshold_is_assumed,
            notices,
        })
    }
}

/// Drops what stands in the list already, and returns it, each once.
fn keep_first(levels: &mut Vec<u32>) -> Vec<u32> {
    let mut kept: Vec<u32> = Vec::with_capacity(levels.len());
    let mut repeated = Vec::new();
    for level in levels.drain(..) {
        if !kept.contains(&level) {
            kept.push(level);
        } else if !repeated.contains(&level) {
            repeated.push(level);
        }
    }
    *levels = kept;
    repeated
}

/// The sizes between which the working set of a sustained test grew: those of its first and of its last period. The row
/// alone knows the first; without periods the last is what was asked for.
#[must_use]
pub fn sizes_of(row: &SummaryRow, periods: &[PeriodRow]) -> Option<Sizes> {
    let reached = periods.iter().rev().find_map(|p| p.working_set_size);
    Some(Sizes {
        first: row.min_working_set_size?,
        last: reached.or(row.working_set_size)?,
    })
}

impl Plan {
    /// The size at which a test begins; in sustained mode it grows from there.
    #[must_use]
    pub fn first_size(&self) -> u64 {
        self.min_working_set_size
    }

    /// The largest size, by which sustained tests are named.
    #[must_use]
    pub fn last_size(&self) -> u64 {
        self.working_set_sizes
            .last()
            .copied()
            .unwrap_or(self.min_working_set_size)
    }
}

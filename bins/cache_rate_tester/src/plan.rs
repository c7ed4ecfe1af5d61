//! What the arguments mean: [`Args`] → [`Plan`], pure.
//!
//! Promises: a plan is sorted, free of duplicates, within bounds, and holds the thresholds that take
//! effect; every reason to refuse is one line that names the option, its value and the remedy. Nothing
//! is read or written, and no secret can be printed from it by accident.

mod error;
mod record;

use std::path::PathBuf;
use std::time::Duration;

use cli::logging::Verbosity;
use cli::options::{DEFAULT_TOKENIZER, EndpointSelection, KvPrecision, TtftMetric};
use ramp::Thresholds;
use setup::Requests;
use setup::check::{self, Int, float_above_zero, float_from_zero, seconds};

pub use error::PlanError;
pub use record::RunFacts;

use crate::args::{Args, Mode, ReinitStrategy, SpeedMetric};

/// TTFT threshold in seconds where none was given and none is ruled out.
pub const DEFAULT_MAX_TTFT: f64 = 2.0;

/// Rates that are tested where none were given: 0, 5, … 100.
#[must_use]
pub fn default_cache_hit_rates() -> Vec<u32> {
    (0..=100).step_by(5).collect()
}

/// A run, ready to be carried out.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Servers, and what every request carries.
    pub requests: Requests,
    /// How requests are spread over them.
    pub endpoint_selection: EndpointSelection,
    /// Context sizes in tokens, ascending, without duplicates.
    pub context_sizes: Vec<u64>,
    /// Working set in tokens.
    pub working_set_size: u64,
    /// Output tokens asked for.
    pub output_tokens: u64,
    /// Thresholds that take effect (rule T): seconds, tokens/s.
    pub thresholds: Thresholds,
    /// Statistic the TTFT threshold limits.
    pub ttft_metric: TtftMetric,
    /// Statistic the speed threshold limits.
    pub speed_metric: SpeedMetric,
    /// How the concurrency is found.
    pub mode: Mode,
    /// Limit of the search of one test.
    pub test_duration: Duration,
    /// Length of one window.
    pub ramp_duration: Duration,
    /// Length of one period in sustained mode.
    pub assessment_period: Duration,
    /// Windows repeated at the peak.
    pub num_retries: u32,
    /// Rest after each window.
    pub cooldown: Duration,
    /// Whether only requests within their window count.
    pub strict_time_window: bool,
    /// First level.
    pub start_concurrency: u32,
    /// Step between levels.
    pub concurrency_increment: u32,
    /// Highest level.
    pub max_concurrency: u32,
    /// Requests in flight during warm-up.
    pub init_concurrency: u32,
    /// Levels of fixed mode, ascending, without duplicates; empty in the other modes.
    pub fixed_levels: Vec<u32>,
    /// Rates in percent, ascending, without duplicates.
    pub cache_hit_rates: Vec<u32>,
    /// Tokens in a cache block.
    pub chunk_size: u64,
    /// When the working set is warmed again.
    pub reinit_strategy: ReinitStrategy,
    /// Whether prompts are chosen at random instead of in turn.
    pub random_selection: bool,
    /// Bytes per element, for estimates.
    pub kv_precision: KvPrecision,
    /// Tokenizer, if one was named.
    pub tokenizer: Option<String>,
    /// Seed, if one was given: −2^63 to 2^64 − 1.
    pub seed: Option<i128>,
    /// Where results go.
    pub output_dir: PathBuf,
    /// Whether chart pages are left out.
    pub skip_graphs: bool,
    /// Whether progress is ignored.
    pub force_restart: bool,
    /// Whether a report for scripts goes to stdout.
    pub brief: bool,
    /// Whether debug lines are logged.
    pub verbose: bool,
    /// Whether colours are refused.
    pub no_color: bool,
}

impl TryFrom<Args> for Plan {
    type Error = PlanError;

    fn try_from(args: Args) -> Result<Self, PlanError> {
        let Args {
            thresholds,
            concurrency,
            cache,
            tokenizer,
            endpoint,
            output,
            ..
        } = args;
        let tokens = |flag, value| {
            Int {
                flag,
                unit: "tokens",
            }
            .within(value, 1, check::MAX_TOKENS)
        };
        let level = |flag, value| {
            Int {
                flag,
                unit: "requests in flight",
            }
            .within(value, 1, check::MAX_LEVEL)
        };

        let context_sizes =
            check::sorted_set(&args.context_sizes, |size| tokens("--context-sizes", size))?;
        let fixed_levels = args.fixed_concurrency_levels.as_deref().unwrap_or_default();
        let fixed_levels = check::sorted_set(fixed_levels, |size| {
            level("--fixed-concurrency-levels", size)
        })?;
        let cache_hit_rates = match &args.cache_hit_rates {
            None => default_cache_hit_rates(),
            Some(rates) => check::sorted_set(rates, |rate| {
                Int {
                    flag: "--cache-hit-rates",
                    unit: "percent",
                }
                .within(rate, 0, 100)
            })?,
        };
        let max_ttft = float_above_zero("--max-ttft", "seconds", thresholds.max_ttft)?;
        let min_speed = float_above_zero(
            "--min-tokens-per-req",
            "tokens/s",
            thresholds.min_tokens_per_req,
        )?;

        let plan = Self {
            requests: Requests::new(&endpoint.api_endpoint, endpoint.requests)?,
            endpoint_selection: endpoint.endpoint_selection,
            context_sizes,
            working_set_size: tokens("--working-set-size", args.working_set_size)?,
            output_tokens: tokens("--output-tokens", args.output_tokens)?,
            thresholds: effective_thresholds(args.mode, max_ttft, min_speed),
            ttft_metric: thresholds.ttft_metric,
            speed_metric: args.tokens_per_req_metric,
            mode: args.mode,
            test_duration: seconds("--test-duration", args.test_duration)?,
            ramp_duration: seconds("--ramp-duration", args.ramp_duration)?,
            assessment_period: seconds("--assessment-period", args.assessment_period)?,
            num_retries: Int {
                flag: "--num-retries",
                unit: "windows",
            }
            .within(args.num_retries, 0, check::MAX_RETRIES)?,
            cooldown: float_from_zero("--cooldown", "seconds", args.pacing.cooldown)?,
            strict_time_window: args.strict_time_window,
            start_concurrency: level("--start-concurrency", concurrency.start_concurrency)?,
            concurrency_increment: level(
                "--concurrency-increment",
                concurrency.concurrency_increment,
            )?,
            max_concurrency: level("--max-concurrency", concurrency.max_concurrency)?,
            init_concurrency: level("--init-concurrency", concurrency.init_concurrency)?,
            fixed_levels: if args.mode == Mode::Fixed {
                fixed_levels
            } else {
                Vec::new()
            },
            cache_hit_rates,
            chunk_size: tokens("--chunk-size", cache.chunk_size)?,
            reinit_strategy: args.reinit_strategy,
            random_selection: cache.random_working_set_selection,
            kv_precision: cache.kv_cache_quantization,
            tokenizer: check::not_empty(
                "--tokenizer",
                "a directory, a model id or builtin",
                tokenizer.tokenizer,
            )?,
            seed: tokenizer.seed.map(check::seed).transpose()?,
            output_dir: output.output_dir,
            skip_graphs: output.skip_graphs,
            force_restart: output.force_restart,
            brief: output.console.brief,
            verbose: output.console.verbose,
            no_color: output.console.no_color,
        };
        plan.cross_check()?;
        Ok(plan)
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

impl Plan {
    /// Rules that need more than one option.
    fn cross_check(&self) -> Result<(), PlanError> {
        let shorter = |flag, part: Duration| {
            let (test, part) = (self.test_duration.as_secs(), part.as_secs());
            if test < part {
                Err(PlanError::TestTooShort { test, flag, part })
            } else {
                Ok(())
            }
        };
        match self.mode {
            Mode::Ramp | Mode::Fixed => shorter("--ramp-duration", self.ramp_duration)?,
            Mode::Sustained => shorter("--assessment-period", self.assessment_period)?,
        }
        if self.start_concurrency > self.max_concurrency {
            return Err(PlanError::StartAboveMax {
                start: self.start_concurrency,
                max: self.max_concurrency,
            });
        }
        if self.mode == Mode::Fixed && self.fixed_levels.is_empty() {
            return Err(PlanError::NoFixedLevels);
        }
        Ok(())
    }

    /// Most requests in flight that any test may come to.
    #[must_use]
    pub fn highest_level(&self) -> u32 {
        match self.mode {
            Mode::Ramp | Mode::Sustained => self.max_concurrency,
            Mode::Fixed => self.fixed_levels.last().copied().unwrap_or_default(),
        }
    }

    /// Number of tests: context sizes times rates.
    #[must_use]
    pub fn n_tests(&self) -> usize {
        self.context_sizes.len() * self.cache_hit_rates.len()
    }

    /// The seed as 64 bits, negative ones in two's complement.
    #[must_use]
    pub fn seed_bits(&self) -> Option<u64> {
        // Truncation is the meaning: the range was checked, and −1 and 2^64 − 1 are the same bits.
        self.seed.map(|seed| seed as u64)
    }

    /// The tokenizer by name, where nothing better is known than the arguments.
    #[must_use]
    pub fn tokenizer_or_default(&self) -> &str {
        self.tokenizer.as_deref().unwrap_or(DEFAULT_TOKENIZER)
    }

    /// How much is logged.
    #[must_use]
    pub fn verbosity(&self) -> Verbosity {
        Verbosity::from_flags(self.brief, self.verbose)
    }
}

#[cfg(test)]
mod tests;

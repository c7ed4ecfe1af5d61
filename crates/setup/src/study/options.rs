//! What the shared options mean: [`StudyArgs`] → [`StudyOptions`], pure.
//!
//! Promises: lists of sizes and rates are sorted and free of duplicates, everything is within bounds; every reason to
//! refuse is one line that names the option, its value and the remedy. Which thresholds take effect, and in which
//! order given levels are measured, is for each tool to say.

use std::path::PathBuf;
use std::time::Duration;

use cli::options::{
    Calibrate, DEFAULT_TOKENIZER, EndpointSelection, KvPrecision, Mode, SpeedMetric, StudyArgs,
    TtftMetric,
};
use ramp::Thresholds;
use thiserror::Error;

use crate::check::{self, Int, float_above_zero, float_from_zero, seconds};
use crate::{ArgumentError, Requests};

/// TTFT threshold in seconds where one is needed and none was given.
pub const DEFAULT_MAX_TTFT: f64 = 2.0;

/// Why the arguments make no study.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum StudyError {
    /// A single value that cannot be used.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// The test ends before its first part does.
    #[error(
        "--test-duration {test} is shorter than {flag} {part}: raise the first or lower the second"
    )]
    TestTooShort {
        /// Seconds of the test.
        test: u64,
        /// The option of the part.
        flag: &'static str,
        /// Seconds of the part.
        part: u64,
    },
    /// The first level is above the highest.
    #[error(
        "--start-concurrency {start} is above --max-concurrency {max}: lower the first or raise the second"
    )]
    StartAboveMax {
        /// First level.
        start: u32,
        /// Highest level.
        max: u32,
    },
    /// Fixed mode without levels.
    #[error(
        "--mode fixed needs --fixed-concurrency-levels: list the levels to measure, such as 2 4 8"
    )]
    NoFixedLevels,
}

/// What a tool adds to the shared options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    /// How the concurrency is found.
    pub mode: Mode,
    /// Rates that were given, or the tool's own.
    pub cache_hit_rates: Vec<i128>,
}

/// The shared options of a study, ready to be carried out.
#[derive(Debug, Clone)]
pub struct StudyOptions {
    /// Servers, and what every request carries.
    pub requests: Requests,
    /// How requests are spread over them.
    pub endpoint_selection: EndpointSelection,
    /// Context sizes in tokens, ascending, without duplicates.
    pub context_sizes: Vec<u64>,
    /// Rates in percent, ascending, without duplicates.
    pub cache_hit_rates: Vec<u32>,
    /// Output tokens asked for.
    pub output_tokens: u64,
    /// Thresholds that take effect: seconds, tokens/s.
    pub thresholds: Thresholds,
    /// Statistic the TTFT threshold limits.
    pub ttft_metric: TtftMetric,
    /// Statistic the speed threshold limits.
    pub speed_metric: SpeedMetric,
    /// How the concurrency is found.
    pub mode: Mode,
    /// Limit of the search of one test; in sustained mode the length of the test.
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
    /// Levels of fixed mode as given; empty in the other modes.
    pub fixed_levels: Vec<u32>,
    /// Tokens in a cache block.
    pub chunk_size: u64,
    /// Whether prompts are chosen at random instead of in turn.
    pub random_selection: bool,
    /// Bytes per element, for estimates.
    pub kv_precision: KvPrecision,
    /// Tokenizer, if one was named.
    pub tokenizer: Option<String>,
    /// Seed, if one was given: −2^63 to 2^64 − 1.
    pub seed: Option<i128>,
    /// Threads that carry requests, if they were given.
    pub client_threads: Option<u32>,
    /// Whether the client's own error is measured behind the study.
    pub calibrate: Calibrate,
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

/// A number of tokens, at least one.
///
/// # Errors
/// When the value is not that.
pub fn tokens(flag: &'static str, value: i128) -> Result<u64, ArgumentError> {
    let unit = "tokens";
    Int { flag, unit }.within(value, 1, check::MAX_TOKENS)
}

/// A number of requests in flight, at least one.
///
/// # Errors
/// When the value is not that.
pub fn level(flag: &'static str, value: i128) -> Result<u32, ArgumentError> {
    let unit = "requests in flight";
    Int { flag, unit }.within(value, 1, check::MAX_LEVEL)
}

fn rate(value: i128) -> Result<u32, ArgumentError> {
    let (flag, unit) = ("--cache-hit-rates", "percent");
    Int { flag, unit }.within(value, 0, 100)
}

impl StudyOptions {
    /// Checks every value by itself. Thresholds are those that were given.
    ///
    /// # Errors
    /// For the first value that cannot be used.
    pub fn new(args: StudyArgs, choices: Choices) -> Result<Self, ArgumentError> {
        let StudyArgs {
            thresholds,
            concurrency,
            cache,
            tokenizer,
            endpoint,
            output,
            ..
        } = args;
        let Choices {
            mode,
            cache_hit_rates,
        } = choices;
        let context_sizes =
            check::sorted_set(&args.context_sizes, |size| tokens("--context-sizes", size))?;
        let fixed_levels = args
            .fixed_concurrency_levels
            .unwrap_or_default()
            .into_iter()
            .map(|value| level("--fixed-concurrency-levels", value))
            .collect::<Result<Vec<u32>, _>>()?;
        let cache_hit_rates = check::sorted_set(&cache_hit_rates, rate)?;
        let max_ttft = float_above_zero("--max-ttft", "seconds", thresholds.max_ttft)?;
        let min_speed = float_above_zero(
            "--min-tokens-per-req",
            "tokens/s",
            thresholds.min_tokens_per_req,
        )?;
        Ok(Self {
            requests: Requests::new(&endpoint.api_endpoint, endpoint.requests)?,
            endpoint_selection: endpoint.endpoint_selection,
            context_sizes,
            cache_hit_rates,
            output_tokens: tokens("--output-tokens", args.output_tokens)?,
            thresholds: Thresholds {
                max_ttft,
                min_speed,
            },
            ttft_metric: thresholds.ttft_metric,
            speed_metric: args.tokens_per_req_metric,
            mode,
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
            fixed_levels: if mode == Mode::Fixed {
                fixed_levels
            } else {
                Vec::new()
            },
            chunk_size: tokens("--chunk-size", cache.chunk_size)?,
            random_selection: cache.random_working_set_selection,
            kv_precision: cache.kv_cache_quantization,
            tokenizer: check::not_empty(
                "--tokenizer",
                "a directory, a model id or builtin",
                tokenizer.tokenizer,
            )?,
            seed: tokenizer.seed.map(check::seed).transpose()?,
            client_threads: args
                .client
                .client_threads
                .map(check::client_threads)
                .transpose()?,
            calibrate: args.client.calibration.calibrate,
            output_dir: output.output_dir,
            skip_graphs: output.skip_graphs,
            force_restart: output.force_restart,
            brief: output.console.brief,
            verbose: output.console.verbose,
            no_color: output.console.no_color,
        })
    }

    /// Rules that need more than one option: the test has room for a window, the levels are in order, fixed mode has
    /// some.
    ///
    /// # Errors
    /// For the first rule that is broken.
    pub fn cross_check(&self) -> Result<(), StudyError> {
        if matches!(self.mode, Mode::Ramp | Mode::Fixed) {
            self.test_holds("--ramp-duration", self.ramp_duration)?;
        }
        if self.start_concurrency > self.max_concurrency {
            return Err(StudyError::StartAboveMax {
                start: self.start_concurrency,
                max: self.max_concurrency,
            });
        }
        if self.mode == Mode::Fixed && self.fixed_levels.is_empty() {
            return Err(StudyError::NoFixedLevels);
        }
        Ok(())
    }

    /// Whether the test is as long as this part of it, given by `flag`.
    ///
    /// # Errors
    /// When it is shorter.
    pub fn test_holds(&self, flag: &'static str, part: Duration) -> Result<(), StudyError> {
        let (test, part) = (self.test_duration.as_secs(), part.as_secs());
        if test < part {
            Err(StudyError::TestTooShort { test, flag, part })
        } else {
            Ok(())
        }
    }

    /// Most requests in flight that any test may come to.
    #[must_use]
    pub fn highest_level(&self) -> u32 {
        match self.mode {
            Mode::Ramp | Mode::Sustained => self.max_concurrency,
            Mode::Fixed => self.fixed_levels.iter().copied().max().unwrap_or_default(),
        }
    }

    /// The tokenizer by name, where nothing better is known than the arguments.
    #[must_use]
    pub fn tokenizer_or_default(&self) -> &str {
        self.tokenizer.as_deref().unwrap_or(DEFAULT_TOKENIZER)
    }
}

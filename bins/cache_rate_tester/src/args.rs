//! What was typed: every option of the tool, checked for its form only.
//!
//! Promise: names, defaults and value words are the published ones. Whether a number is sensible and
//! whether options fit together is decided by [`crate::plan`].

use std::fmt;

use clap::{ArgAction, Parser, ValueEnum};
use cli::argparse::parse_int;
use cli::options::{
    CacheArgs, ConcurrencyArgs, EndpointArgs, OutputArgs, PacingArgs, ThresholdArgs, TokenizerArgs,
};

/// Options of the program as the user's own pages describe it.
pub const SEED_OPTIONS: &[&str] = &[
    "api-endpoint",
    "cache-hit-rates",
    "chunk-size",
    "concurrency-increment",
    "context-sizes",
    "force-restart",
    "help",
    "init-concurrency",
    "kv-cache-quantization",
    "max-concurrency",
    "max-ttft",
    "num-retries",
    "output-dir",
    "output-tokens",
    "ramp-duration",
    "random-working-set-selection",
    "reinit-strategy",
    "seed",
    "skip-graphs",
    "start-concurrency",
    "strict-time-window",
    "test-duration",
    "tokenizer",
    "ttft-metric",
    "verbose",
    "working-set-size",
];

/// Options of the newest original.
pub const LATEST_OPTIONS: &[&str] = &[
    "api-endpoint",
    "assessment-period",
    "brief",
    "cache-hit-rates",
    "chunk-size",
    "concurrency-increment",
    "context-sizes",
    "endpoint-selection",
    "fixed-concurrency-levels",
    "force-restart",
    "help",
    "init-concurrency",
    "kv-cache-quantization",
    "max-concurrency",
    "max-ttft",
    "min-tokens-per-req",
    "mode",
    "no-color",
    "num-retries",
    "output-dir",
    "output-tokens",
    "ramp-duration",
    "random-working-set-selection",
    "reinit-strategy",
    "seed",
    "skip-graphs",
    "start-concurrency",
    "strict-time-window",
    "test-duration",
    "tokenizer",
    "tokens-per-req-metric",
    "ttft-metric",
    "verbose",
    "working-set-size",
];

/// The option sets whose unambiguous prefixes keep their meaning. They cannot contradict each other:
/// the later set contains the earlier one, so a prefix that names one option in both names the same.
pub const OPTION_GENERATIONS: &[&[&str]] = &[SEED_OPTIONS, LATEST_OPTIONS];

const USAGE: &str = "\
cache_rate_tester --api-endpoint <URL>... --context-sizes <TOKENS>...
                         --working-set-size <TOKENS> [OPTIONS]";

const EXAMPLES: &str = "\
Examples:
  One context size, all rates from 0 % to 100 % in steps of 5:
    cache_rate_tester --api-endpoint http://localhost:8000 \\
        --context-sizes 32000 --working-set-size 2000000
  A quick look at three rates:
    cache_rate_tester --api-endpoint http://localhost:8000 \\
        --context-sizes 8000 --working-set-size 200000 \\
        --cache-hit-rates 0 50 100 --ramp-duration 15 --test-duration 120
  Without any server of your own, against the simulated one:
    kv_cache_sim --port 8000 &
    cache_rate_tester --api-endpoint http://localhost:8000 \\
        --context-sizes 4000 --working-set-size 40000 \\
        --cache-hit-rates 0 50 100 --ramp-duration 5 --test-duration 30

An interrupted run goes on where it stopped when the command is given again.
Options may be shortened (--context 8000) as long as they stay unambiguous.

Exit codes: 0 done, 1 the run or one of its tests failed, 2 wrong arguments,
130 Ctrl-C and 143 SIGTERM, both after writing everything measured so far.";

/// The arguments of the tool.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "cache_rate_tester",
    version,
    about = "Measure an inference server at cache hit rates from 0 % to 100 %.\n\nFor every context size \
             and cache hit rate, warms a working set of prompts, sends requests that share that part of \
             their tokens with it, and looks for the concurrency with the highest input throughput that \
             keeps the latency threshold. Results are CSV files, charts and an index.html.",
    override_usage = USAGE,
    after_help = EXAMPLES
)]
pub struct Args {
    /// Prompt lengths to test, in tokens
    #[arg(long, value_name = "TOKENS", required = true, num_args = 1.., action = ArgAction::Set,
          value_parser = parse_int, allow_negative_numbers = true, help_heading = "Required")]
    pub context_sizes: Vec<i128>,

    /// Size of the working set, in tokens: the distinct prompts whose prefixes are reused
    #[arg(long, value_name = "TOKENS", required = true, value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Required")]
    pub working_set_size: i128,

    /// Search for the best concurrency (ramp), follow the load over time (sustained), or measure given
    /// levels (fixed)
    #[arg(
        long,
        value_name = "MODE",
        value_enum,
        default_value_t,
        help_heading = "Inference session tuning"
    )]
    pub mode: Mode,

    /// Output tokens to ask for in each request
    #[arg(long, value_name = "TOKENS", default_value = "256", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Inference session tuning")]
    pub output_tokens: i128,

    /// Latency thresholds.
    #[command(flatten)]
    pub thresholds: ThresholdArgs,

    /// Statistic of the generation speed that --min-tokens-per-req limits
    #[arg(
        long,
        value_name = "STAT",
        value_enum,
        default_value_t,
        help_heading = "Inference session tuning"
    )]
    pub tokens_per_req_metric: SpeedMetric,

    /// Seconds one test may take to find its peak; in sustained mode, seconds of the whole test
    #[arg(long, value_name = "S", default_value = "300", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Inference session tuning")]
    pub test_duration: i128,

    /// Seconds at each concurrency level in ramp and fixed mode
    #[arg(long, value_name = "S", default_value = "60", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Inference session tuning")]
    pub ramp_duration: i128,

    /// Seconds in one assessment period of sustained mode
    #[arg(long, value_name = "S", default_value = "30", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Inference session tuning")]
    pub assessment_period: i128,

    /// Further windows at the peak, averaged with it
    #[arg(long, value_name = "N", default_value = "3", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Inference session tuning")]
    pub num_retries: i128,

    /// Pacing.
    #[command(flatten)]
    pub pacing: PacingArgs,

    /// Count only requests that were launched and completed within their window
    #[arg(long, help_heading = "Inference session tuning")]
    pub strict_time_window: bool,

    /// Concurrency.
    #[command(flatten)]
    pub concurrency: ConcurrencyArgs,

    /// Levels to measure in fixed mode, in requests in flight
    #[arg(long, value_name = "N", num_args = 1.., action = ArgAction::Set, value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Concurrency control")]
    pub fixed_concurrency_levels: Option<Vec<i128>>,

    /// Cache hit rates to test, in percent [default: 0 5 10 ... 100]
    #[arg(long, value_name = "PERCENT", num_args = 1.., action = ArgAction::Set, value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Cache behavior")]
    pub cache_hit_rates: Option<Vec<i128>>,

    /// Warm the working set once per context size, before every rate, or before every window
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        help_heading = "Cache behavior"
    )]
    pub reinit_strategy: ReinitStrategy,

    /// Cache.
    #[command(flatten)]
    pub cache: CacheArgs,

    /// Prompts.
    #[command(flatten)]
    pub tokenizer: TokenizerArgs,

    /// Requests.
    #[command(flatten)]
    pub endpoint: EndpointArgs,

    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How the concurrency is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Mode {
    /// Grow until the threshold breaks, refine, repeat at the best level.
    #[default]
    #[value(alias = "adaptive")]
    Ramp,
    /// Never stop sending; decide anew after every period.
    Sustained,
    /// Measure the listed levels.
    Fixed,
}

/// When the working set is sent to the server again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ReinitStrategy {
    /// Once per context size.
    #[default]
    Once,
    /// Before every rate.
    #[value(name = "per_cache_rate")]
    PerCacheRate,
    /// Before every window.
    #[value(name = "per_test")]
    PerTest,
}

/// Statistic of the request speed that a threshold limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SpeedMetric {
    /// The mean.
    #[default]
    Avg,
    /// The 5th percentile.
    P5,
    /// The 10th percentile.
    P10,
}

/// The word of a choice, as on the command line and in files.
fn word(value: &impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map(|word| word.get_name().to_owned())
        .unwrap_or_default()
}

macro_rules! display_as_word {
    ($($name:ty),+) => {
        $(impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&word(self))
            }
        })+
    };
}
display_as_word!(Mode, ReinitStrategy, SpeedMetric);

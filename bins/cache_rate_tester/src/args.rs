//! What was typed: every option of the tool, checked for its form only.
//!
//! Promise: names, defaults and value words are the published ones. Whether a number is sensible and
//! whether options fit together is decided by [`crate::plan`].

use clap::{ArgAction, Parser, ValueEnum};
use cli::argparse::parse_int;
use cli::options::{Mode, StudyArgs};

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
    /// Size of the working set, in tokens: the distinct prompts whose prefixes are reused
    #[arg(long, value_name = "TOKENS", required = true, value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Required", display_order = 2)]
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

    /// What this tool shares with others.
    #[command(flatten)]
    pub study: StudyArgs,

    /// Cache hit rates to test, in percent [default: 0 5 10 ... 100]
    #[arg(long, value_name = "PERCENT", num_args = 1.., action = ArgAction::Set, value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Cache behavior", display_order = 3)]
    pub cache_hit_rates: Option<Vec<i128>>,

    /// Warm the working set once per context size, before every rate, or before every window
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        help_heading = "Cache behavior",
        display_order = 4
    )]
    pub reinit_strategy: ReinitStrategy,
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
cli::words!(ReinitStrategy { Once = "once", PerCacheRate = "per_cache_rate", PerTest = "per_test" });

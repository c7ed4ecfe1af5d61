//! What was typed: every option of the tool, checked for its form only.
//!
//! Promise: names, defaults and value words are the published ones. Whether a number is sensible and whether options
//! fit together is decided by [`crate::plan`].

use clap::{ArgAction, Parser, ValueEnum};
use cli::argparse::parse_int;
use cli::options::{Mode, StudyArgs};

/// Options of the version that the user's page describes.
pub const SEED_OPTIONS: &[&str] = &[
    "api-endpoint",
    "assessment-period",
    "brief",
    "cache-hit-rates",
    "chunk-size",
    "concurrency-increment",
    "context-sizes",
    "fixed-concurrency-levels",
    "force-restart",
    "help",
    "init-concurrency",
    "init-strategy",
    "kv-cache-quantization",
    "max-concurrency",
    "max-ttft",
    "max-working-set-size",
    "min-tokens-per-req",
    "min-working-set-size",
    "mode",
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
    "working-set-increments",
];

/// Options of the first version, of which the suite's README speaks.
pub const FIRST_OPTIONS: &[&str] = &[
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
    "max-working-set-size",
    "min-working-set-size",
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
    "working-set-increments",
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
    "fixed-concurrency",
    "force-restart",
    "help",
    "init-concurrency",
    "init-strategy",
    "kv-cache-quantization",
    "max-concurrency",
    "max-ttft",
    "max-working-set-size",
    "min-tokens-per-req",
    "min-working-set-size",
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
    "ttft-metric",
    "verbose",
    "working-set-increments",
];

/// The option sets whose unambiguous prefixes keep their meaning; where two disagree, the earlier one counts.
pub const OPTION_GENERATIONS: &[&[&str]] = &[SEED_OPTIONS, FIRST_OPTIONS, LATEST_OPTIONS];

const USAGE: &str = "\
working_set_tester --api-endpoint <URL>... --context-sizes <TOKENS>...
                          --min-working-set-size <TOKENS>
                          --max-working-set-size <TOKENS>
                          --working-set-increments <N> [OPTIONS]";

const EXAMPLES: &str = "\
Examples:
  One test in which the working set grows, the load following a threshold:
    working_set_tester --api-endpoint http://localhost:8000 \\
        --context-sizes 10000 --min-working-set-size 100000 \\
        --max-working-set-size 2000000 --working-set-increments 4 \\
        --cache-hit-rates 90 --test-duration 600 --max-ttft 5.0
  Ten sizes, one after the other, at given levels:
    working_set_tester --api-endpoint http://localhost:8000 \\
        --context-sizes 30000 --min-working-set-size 100000 \\
        --max-working-set-size 5000000 --working-set-increments 10 \\
        --mode fixed --fixed-concurrency-levels 10 20 40 80
  Without any server of your own, against the simulated one:
    kv_cache_sim --port 8000 &
    working_set_tester --api-endpoint http://localhost:8000 \\
        --context-sizes 1000 --min-working-set-size 20000 \\
        --max-working-set-size 400000 --working-set-increments 5 \\
        --mode fixed --fixed-concurrency-levels 4 \\
        --ramp-duration 5 --num-retries 0

An interrupted run goes on where it stopped when the command is given again.
Options may be shortened (--context 8000) as long as they stay unambiguous.

Exit codes: 0 done, 1 the run or one of its tests failed, 2 wrong arguments,
130 Ctrl-C and 143 SIGTERM, both after writing everything measured so far.";

/// The arguments of the tool.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "working_set_tester",
    version,
    about = "Measure an inference server while the prompts that are reused outgrow its cache.\n\nWarms a set of \
             prompts, sends requests that share part of their tokens with it, and makes the set larger, within one \
             test or from test to test. Where throughput falls and the time to first token rises, the KV cache has \
             moved on to a slower tier. Results are CSV files, charts and an index.html.",
    override_usage = USAGE,
    after_help = EXAMPLES
)]
pub struct Args {
    /// Smallest working set, in tokens
    #[arg(long, value_name = "TOKENS", required = true, value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Required", display_order = 2)]
    pub min_working_set_size: i128,

    /// Largest working set, in tokens
    #[arg(long, value_name = "TOKENS", required = true, value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Required", display_order = 3)]
    pub max_working_set_size: i128,

    /// Sizes from the smallest to the largest; in sustained mode, steps in which the set grows
    #[arg(long, value_name = "N", required = true, value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Required", display_order = 4)]
    pub working_set_increments: i128,

    /// Let the set grow while the load follows --max-ttft or --min-tokens-per-req (sustained),
    /// measure given levels at each size (fixed), or search for the best concurrency at each size
    /// (ramp) [default: sustained]
    #[arg(
        long,
        value_name = "MODE",
        value_enum,
        help_heading = "Inference session tuning"
    )]
    pub mode: Option<Mode>,

    /// What the testers share.
    #[command(flatten)]
    pub study: StudyArgs,

    /// The same as --fixed-concurrency-levels, for one level as a rule
    // Several values, because this was an accepted prefix of the list.
    #[arg(long, value_name = "N", num_args = 1.., action = ArgAction::Set, value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Concurrency control")]
    pub fixed_concurrency: Option<Vec<i128>>,

    /// In sustained mode, also lower the load when input throughput falls off its recent best
    #[arg(
        long,
        value_name = "RULE",
        value_enum,
        default_value_t,
        help_heading = "Concurrency control"
    )]
    pub plateau_detection: PlateauDetection,

    /// Cache hit rates to test, in percent
    #[arg(long, value_name = "PERCENT", num_args = 1.., action = ArgAction::Set, value_parser = parse_int,
          default_value = "100", allow_negative_numbers = true, help_heading = "Cache behavior",
          display_order = 3)]
    pub cache_hit_rates: Vec<i128>,

    /// Warm prompts once per context size, before every test, or before every window
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        help_heading = "Cache behavior",
        display_order = 4
    )]
    pub reinit_strategy: ReinitStrategy,

    /// In sustained mode, warm before the test only the prompts it begins with (min) or all (max)
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value_t,
        help_heading = "Cache behavior",
        display_order = 5
    )]
    pub init_strategy: InitStrategy,

    /// Go on with every window, or every size of a growing set, until as many input tokens were sent
    /// as the working set has
    #[arg(long, help_heading = "Cache behavior", display_order = 6)]
    pub ensure_working_set_coverage: bool,
}

/// When prompts are sent to the server again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ReinitStrategy {
    /// Each prompt once per context size.
    Once,
    /// Before every test.
    #[default]
    #[value(name = "per_working_set")]
    PerWorkingSet,
    /// Before every window.
    #[value(name = "per_test")]
    PerTest,
}
cli::words!(ReinitStrategy { Once = "once", PerWorkingSet = "per_working_set", PerTest = "per_test" });

/// How much of a growing working set is warm when its test begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum InitStrategy {
    /// The prompts that the test begins with; those that join are cold.
    #[default]
    Min,
    /// All of them.
    Max,
}
cli::words!(InitStrategy { Min = "min", Max = "max" });

/// Whether falling throughput lowers the load although all thresholds hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum PlateauDetection {
    /// Never: a working set that grows lowers throughput on purpose.
    #[default]
    Off,
    /// When it falls by a quarter below the best of five recent periods.
    Window,
}
cli::words!(PlateauDetection { Off = "off", Window = "window" });

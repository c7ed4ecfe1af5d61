//! What was typed: every option of the tool, checked for its form only.
//!
//! Promise: names and defaults are the published ones. Whether a number is sensible and whether options fit together
//! is decided by [`crate::plan`].

use std::path::PathBuf;

use clap::{ArgAction, Parser};
use cli::argparse::parse_int;
use cli::options::{CalibrateArgs, ConsoleArgs, RequestArgs, TokenizerArgs};

/// Options of the first original, which the suite's own page describes.
pub const FIRST_OPTIONS: &[&str] = &[
    "api-endpoint",
    "help",
    "max-tokens",
    "min-tokens",
    "num-iterations",
    "output-dir",
    "output-tokens",
    "seed",
    "tokenizer",
    "verbose",
];

/// Options of the program as the user's page of the tool describes it.
pub const SEED_OPTIONS: &[&str] = &[
    "api-endpoint",
    "brief",
    "cached-repeats",
    "concurrent-prompts",
    "context-sizes",
    "help",
    "max-tokens",
    "min-tokens",
    "num-iterations",
    "output-dir",
    "output-tokens",
    "seed",
    "tokenizer",
    "verbose",
];

/// Options of the newest original.
pub const LATEST_OPTIONS: &[&str] = &[
    "api-endpoint",
    "brief",
    "cached-repeats",
    "concurrent-prompts",
    "context-sizes",
    "help",
    "max-tokens",
    "min-tokens",
    "no-color",
    "num-iterations",
    "output-dir",
    "output-tokens",
    "seed",
    "tokenizer",
    "verbose",
];

/// The option sets whose unambiguous prefixes keep their meaning, the one that scripts are most likely to use first.
/// A later set contains the earlier one, so a prefix that names one option in both names the same.
pub const OPTION_GENERATIONS: &[&[&str]] = &[SEED_OPTIONS, LATEST_OPTIONS, FIRST_OPTIONS];

const USAGE: &str = "single_prompt_tester --api-endpoint <URL> [OPTIONS]";

const EXAMPLES: &str = "\
Examples:
  Sizes from 1,000 to 128,000 tokens, doubling:
    single_prompt_tester --api-endpoint http://localhost:8000
  Three sizes, more iterations for a narrower interval:
    single_prompt_tester --api-endpoint http://localhost:8000 \\
        --context-sizes 8000 32000 64000 --num-iterations 10
  Ten prompts at once, each repeated three times:
    single_prompt_tester --api-endpoint http://localhost:8000 \\
        --context-sizes 32000 -n 10 -r 3
  Without any server of your own, against the simulated one:
    kv_cache_sim --port 8000 &
    single_prompt_tester --api-endpoint http://localhost:8000 \\
        --context-sizes 2000 8000 --output-tokens 16

Options may be shortened (--context 8000) as long as they stay unambiguous.

Exit codes: 0 done, 1 a request failed or the run could not start, 2 wrong
arguments, 130 Ctrl-C and 143 SIGTERM, both after writing everything measured
so far. What the verdicts say about the server is no exit code.";

/// The arguments of the tool.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "single_prompt_tester",
    version,
    about = "Single Prompt Performance Tester - Cold Start vs Cached\n\nFor every context size, sends a prompt \
             that nobody has sent before, then the very same prompt again, and compares the times to first \
             token. Says whether the server's prefix cache works and what it is worth. Results are a CSV file, \
             charts and an index.html.",
    override_usage = USAGE,
    after_help = EXAMPLES
)]
pub struct Args {
    /// URL of the inference server
    #[arg(long, value_name = "URL", help_heading = "Required", display_order = 0)]
    pub api_endpoint: String,

    /// Prompt lengths to test, in tokens, instead of those from --min-tokens to --max-tokens
    #[arg(long, value_name = "TOKENS", num_args = 1.., action = ArgAction::Set, value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Test")]
    pub context_sizes: Option<Vec<i128>>,

    /// Shortest prompt, in tokens; each further one is twice as long
    #[arg(long, value_name = "TOKENS", default_value = "1000", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Test")]
    pub min_tokens: i128,

    /// No prompt is longer than this, in tokens
    #[arg(long, value_name = "TOKENS", default_value = "128000", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Test")]
    pub max_tokens: i128,

    /// Output tokens to ask for in each request
    #[arg(long, value_name = "TOKENS", default_value = "256", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Test")]
    pub output_tokens: i128,

    /// Iterations per context size, each with prompts of its own
    #[arg(long, value_name = "N", default_value = "5", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Test")]
    pub num_iterations: i128,

    /// Prompts that are sent at the same moment
    #[arg(short = 'n', long, value_name = "N", default_value = "1", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Test")]
    pub concurrent_prompts: i128,

    /// How often the prompts are sent again
    #[arg(short = 'r', long, value_name = "N", default_value = "1", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Test")]
    pub cached_repeats: i128,

    /// Prompts.
    #[command(flatten)]
    pub tokenizer: TokenizerArgs,

    /// Requests.
    #[command(flatten)]
    pub requests: RequestArgs,

    /// The client's own error.
    #[command(flatten)]
    pub calibration: CalibrateArgs,

    /// Directory for all results; created if missing
    #[arg(
        long,
        value_name = "DIR",
        default_value = "./single_prompt_output",
        help_heading = "Output"
    )]
    pub output_dir: PathBuf,

    /// Console.
    #[command(flatten)]
    pub console: ConsoleArgs,
}

//! The options of testers that measure test after test: contexts, lengths, thresholds, levels.
//!
//! Promise: one name, one default and one help text for all of them; a tester adds what only it varies.

use clap::{ArgAction, Args};

use super::{
    CacheArgs, ClientArgs, ConcurrencyArgs, EndpointArgs, OutputArgs, PacingArgs, SpeedMetric,
    ThresholdArgs, TokenizerArgs,
};
use crate::argparse::parse_int;

/// What testers of many tests share.
#[derive(Debug, Clone, Args)]
pub struct StudyArgs {
    /// Prompt lengths to test, in tokens
    #[arg(long, value_name = "TOKENS", required = true, num_args = 1.., action = ArgAction::Set,
          value_parser = parse_int, allow_negative_numbers = true, help_heading = "Required",
          display_order = 1)]
    pub context_sizes: Vec<i128>,

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

    /// Further windows at the peak, averaged with it; in fixed mode at every level that holds
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

    /// Cache.
    #[command(flatten)]
    pub cache: CacheArgs,

    /// Prompts.
    #[command(flatten)]
    pub tokenizer: TokenizerArgs,

    /// Requests.
    #[command(flatten)]
    pub endpoint: EndpointArgs,

    /// Client.
    #[command(flatten)]
    pub client: ClientArgs,

    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

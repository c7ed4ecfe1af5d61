//! Option groups that several tools flatten into their own arguments.
//!
//! Promises: names and defaults are the suite's; a field holds what was typed, checked for its form
//! only. What a value means, and whether values fit together, is decided by each tool's plan. Units
//! stand in the help text and in the field names.
//!
//! | Group | Options |
//! |---|---|
//! | [`EndpointArgs`] | where requests go, and, as [`RequestArgs`], what every request carries |
//! | [`ThresholdArgs`] | what latency is acceptable |
//! | [`PacingArgs`] | what happens between windows |
//! | [`ConcurrencyArgs`] | how many requests are in flight |
//! | [`ClientArgs`] | the client's threads, and the measure of its own error |
//! | [`CacheArgs`] | blocks, warm-up and choice of prompts |
//! | [`TokenizerArgs`] | tokenizer and seed |
//! | [`OutputArgs`] | files and, as [`ConsoleArgs`], the console |
//! | [`StudyArgs`] | all of these, and what else the testers share that measure test after test |

mod choice;
mod client;
mod header;
mod study;

use std::path::PathBuf;

use clap::{ArgAction, Args};

pub use choice::{
    EndpointSelection, EndpointType, HttpVersion, KvPrecision, Mode, SpeedMetric, TtftMetric,
};
pub use client::{Calibrate, CalibrateArgs, ClientArgs};
pub use header::{Header, HeaderError};
pub use study::StudyArgs;

use crate::argparse::{parse_float, parse_int};
use crate::secret::Secret;

/// Model id that is loaded when no tokenizer was named and none fits the server's model.
pub const DEFAULT_TOKENIZER: &str = "Qwen/Qwen2.5-Coder-32B-Instruct";
/// Key sent when none was given; servers without keys ignore it.
pub const DEFAULT_API_KEY: &str = "EMPTY";

/// Where requests go and what every request carries.
#[derive(Debug, Clone, Args)]
pub struct EndpointArgs {
    /// URL of the inference server; several share the load
    #[arg(long, value_name = "URL", required = true, num_args = 1.., action = ArgAction::Set,
          help_heading = "Required", display_order = 0)]
    pub api_endpoint: Vec<String>,

    /// Send each request to the next endpoint in turn, or keep each working-set prompt on one of them;
    /// matters with two endpoints or more
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value_t,
        help_heading = "Requests"
    )]
    pub endpoint_selection: EndpointSelection,

    /// What every request carries.
    #[command(flatten)]
    pub requests: RequestArgs,
}

/// What every request carries.
#[derive(Debug, Clone, Args)]
pub struct RequestArgs {
    /// Send requests for this model instead of the first one the server lists
    #[arg(long, value_name = "NAME", help_heading = "Requests")]
    pub model: Option<String>,

    /// Send this key as bearer token; it is stored in no file and no log [default: EMPTY]
    #[arg(long, value_name = "KEY", env = "OPENAI_API_KEY", hide_env_values = true,
          help_heading = "Requests", value_parser = secret)]
    pub api_key: Option<Secret>,

    /// Add a header to every request; may be repeated
    #[arg(long, value_name = "K: V", help_heading = "Requests", value_parser = Header::parse)]
    pub header: Vec<Header>,

    /// Post to /v1/chat/completions or to /v1/completions
    #[arg(
        long,
        value_name = "TYPE",
        value_enum,
        default_value_t,
        help_heading = "Requests"
    )]
    pub endpoint_type: EndpointType,

    /// Ask the server to produce all output tokens, also past the model's own end
    #[arg(long, help_heading = "Requests")]
    pub ignore_eos: bool,

    /// Add the fields of this JSON object to every request body
    #[arg(long, value_name = "JSON", help_heading = "Requests")]
    pub extra_body: Option<String>,

    /// Seconds until an unfinished request counts as failed
    #[arg(long, value_name = "S", default_value = "600", value_parser = parse_float,
          allow_negative_numbers = true, help_heading = "Requests")]
    pub request_timeout: f64,

    /// HTTP version; auto means 1.1, or what the server prefers over https
    #[arg(
        long,
        value_name = "VERSION",
        value_enum,
        default_value_t,
        help_heading = "Requests"
    )]
    pub http: HttpVersion,

    /// Accept any certificate over https
    #[arg(long, help_heading = "Requests")]
    pub insecure: bool,
}

/// What latency is acceptable.
#[derive(Debug, Clone, Args)]
pub struct ThresholdArgs {
    /// Longest acceptable time to first token in seconds [default: 2.0 unless --min-tokens-per-req is
    /// given; none in fixed mode; see --mode]
    #[arg(long, value_name = "S", value_parser = parse_float, allow_negative_numbers = true,
          help_heading = "Inference session tuning")]
    pub max_ttft: Option<f64>,

    /// Statistic of the time to first token that --max-ttft limits
    #[arg(
        long,
        value_name = "STAT",
        value_enum,
        default_value_t,
        help_heading = "Inference session tuning"
    )]
    pub ttft_metric: TtftMetric,

    /// Lowest acceptable generation speed of one request in tokens/s [default: none]
    #[arg(long, value_name = "TOK/S", value_parser = parse_float, allow_negative_numbers = true,
          help_heading = "Inference session tuning")]
    pub min_tokens_per_req: Option<f64>,
}

/// What happens between windows.
#[derive(Debug, Clone, Args)]
pub struct PacingArgs {
    /// Seconds of rest after each window
    #[arg(long, value_name = "S", default_value = "0", value_parser = parse_float,
          allow_negative_numbers = true, help_heading = "Inference session tuning")]
    pub cooldown: f64,
}

/// How many requests are in flight.
#[derive(Debug, Clone, Args)]
pub struct ConcurrencyArgs {
    /// Requests in flight at the first level
    #[arg(long, value_name = "N", default_value = "2", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Concurrency control")]
    pub start_concurrency: i128,

    /// Smallest step between levels, in requests; far below a threshold it is taken up to ten times
    #[arg(long, value_name = "N", default_value = "2", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Concurrency control")]
    pub concurrency_increment: i128,

    /// Requests in flight at the highest level
    #[arg(long, value_name = "N", default_value = "1000", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Concurrency control")]
    pub max_concurrency: i128,

    /// Requests in flight while the working set is warmed up
    #[arg(long, value_name = "N", default_value = "16", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Concurrency control")]
    pub init_concurrency: i128,
}

/// Blocks of the cache and the choice of prompts.
#[derive(Debug, Clone, Args)]
pub struct CacheArgs {
    /// Tokens in one cache block; cached prefixes end on a block border
    #[arg(long, value_name = "TOKENS", default_value = "256", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Cache behavior")]
    pub chunk_size: i128,

    /// Choose working-set prompts at random instead of in turn
    #[arg(long, help_heading = "Cache behavior")]
    pub random_working_set_selection: bool,

    /// Bytes per cached value, for the memory estimates: 1 for FP8, 2 for FP16
    #[arg(
        long,
        value_name = "BYTES",
        value_enum,
        default_value_t,
        help_heading = "Cache behavior"
    )]
    pub kv_cache_quantization: KvPrecision,
}

/// Tokenizer and seed.
#[derive(Debug, Clone, Args)]
pub struct TokenizerArgs {
    /// Tokenizer that counts tokens: a directory or file with tokenizer.json, a Hugging Face model id,
    /// or builtin [default: that of the server's model, else Qwen/Qwen2.5-Coder-32B-Instruct]
    #[arg(long, value_name = "TOKENIZER", help_heading = "Prompts")]
    pub tokenizer: Option<String>,

    /// Make the same prompts in every run; without it no two runs share a prompt
    #[arg(long, value_name = "N", value_parser = parse_int, allow_negative_numbers = true,
          help_heading = "Prompts")]
    pub seed: Option<i128>,
}

/// Files and console.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// Directory for all results; created if missing
    #[arg(
        long,
        value_name = "DIR",
        default_value = "./output",
        help_heading = "Output"
    )]
    pub output_dir: PathBuf,

    /// Write no chart pages; index.html is written all the same
    #[arg(long, help_heading = "Output")]
    pub skip_graphs: bool,

    /// Measure everything anew instead of going on where progress.json ends
    #[arg(long, help_heading = "Output")]
    pub force_restart: bool,

    /// The console.
    #[command(flatten)]
    pub console: ConsoleArgs,
}

/// What is printed.
#[derive(Debug, Clone, Args)]
pub struct ConsoleArgs {
    /// Print a report for scripts on stdout, and of the log only warnings
    #[arg(long, help_heading = "Output")]
    pub brief: bool,

    /// Log every request; wins over --brief
    #[arg(long, help_heading = "Output")]
    pub verbose: bool,

    /// Print no colors; there are none either without a terminal or with NO_COLOR set
    #[arg(long, help_heading = "Output")]
    pub no_color: bool,
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

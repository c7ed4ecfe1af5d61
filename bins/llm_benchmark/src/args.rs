//! What was typed: every option of the tool, checked for its form only.
//!
//! Promise: names and defaults are the original's, and so are the words about a number that is none,
//! which scripts may search for. Whether a number makes sense is decided by [`crate::plan`].

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use cli::Parsed;
use cli::argparse::{Stop, parse_float, parse_int, try_parse};
use cli::options::{CalibrateArgs, Header, HttpVersion};

/// Options of the original program; their unambiguous prefixes keep their meaning.
pub const ORIGINAL_OPTIONS: &[&str] = &[
    "concurrency",
    "endpoint",
    "help",
    "max-tokens",
    "output",
    "repeat-ratio",
    "requests",
    "warmup",
];

/// The option sets whose prefixes are kept.
pub const OPTION_GENERATIONS: &[&[&str]] = &[ORIGINAL_OPTIONS];

const EXAMPLES: &str = "\
Examples:
  Basic benchmark:
    llm_benchmark --endpoint http://localhost:8000/generate
  20 requests at a time, 200 in all:
    llm_benchmark --concurrency 20 --requests 200
  Half of the prompts repeated, to see the cache work:
    llm_benchmark --requests 100 --repeat-ratio 0.5
  Without any server of your own, against the simulated one:
    kv_cache_sim --port 8000 &
    llm_benchmark

The endpoint is sent {\"prompt\", \"max_tokens\", \"temperature\": 0.0} and answers
{\"text\", \"cached\"}, whole or as a stream of server-sent events or JSON lines.
Options may be shortened (--req 100) as long as they stay unambiguous.

Exit codes: 0 at least one request succeeded, 1 none did or the results could not
be written, 2 wrong arguments, 130 Ctrl-C and 143 SIGTERM, both after reporting
the requests that had finished.";

/// The arguments of the tool.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "llm_benchmark",
    version,
    about = "Benchmark LLM inference API with batching and caching",
    after_help = EXAMPLES
)]
pub struct Args {
    /// URL that prompts are posted to, used as it is
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://localhost:8000/generate",
        help_heading = "Benchmark"
    )]
    pub endpoint: String,

    /// Measured requests
    #[arg(long, value_name = "N", default_value = "50", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Benchmark")]
    pub requests: i128,

    /// Requests in flight at a time
    #[arg(long, value_name = "N", default_value = "5", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Benchmark")]
    pub concurrency: i128,

    /// Tokens to generate per request, sent as max_tokens
    #[arg(long, value_name = "TOKENS", default_value = "100", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Benchmark")]
    pub max_tokens: i128,

    /// Share of repeated prompts, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0.3", value_parser = parse_float,
          allow_negative_numbers = true, help_heading = "Benchmark")]
    pub repeat_ratio: f64,

    /// Requests sent and discarded before the measurement
    #[arg(long, value_name = "N", default_value = "5", value_parser = parse_int,
          allow_negative_numbers = true, help_heading = "Benchmark")]
    pub warmup: i128,

    /// Mix unique and repeated prompts of the measurement instead of sending the repeated ones last
    #[arg(long, help_heading = "Benchmark")]
    pub shuffle: bool,

    /// Order of --shuffle; the same number gives the same order [default: 0]
    #[arg(long, value_name = "N", value_parser = parse_int, allow_negative_numbers = true,
          help_heading = "Benchmark")]
    pub seed: Option<i128>,

    /// Seconds until an unfinished request counts as failed
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_float,
          allow_negative_numbers = true, help_heading = "Requests")]
    pub timeout: f64,

    /// Recognize streams by their content type, or take every answer for one JSON document
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value_t,
        help_heading = "Requests"
    )]
    pub stream: StreamMode,

    /// Add the fields of this JSON object to every request body, such as '{"stream": true}'
    #[arg(long, value_name = "JSON", help_heading = "Requests")]
    pub extra_body: Option<String>,

    /// Add a header to every request; may be repeated
    #[arg(long, value_name = "K: V", help_heading = "Requests", value_parser = Header::parse)]
    pub header: Vec<Header>,

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

    /// The client's own error.
    #[command(flatten)]
    pub calibration: CalibrateArgs,

    /// Write the results to this JSON file
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    pub output: Option<PathBuf>,

    /// Append configuration, errors, the origin of token counts and the client's own error to the JSON file
    #[arg(long, help_heading = "Output")]
    pub details: bool,

    /// Print no notes on stderr, only errors
    #[arg(long, help_heading = "Output")]
    pub quiet: bool,

    /// Print no colors in this help; there are none elsewhere
    #[arg(long, help_heading = "Output")]
    pub no_color: bool,
}

/// Whether streams are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum StreamMode {
    /// By the content type of each answer.
    #[default]
    Auto,
    /// Every answer is one JSON document, as it was for the original.
    Off,
}

/// Parses a command line without printing anything.
///
/// # Errors
/// [`Stop::Text`] for `--help` and `--version`, [`Stop::Usage`] for everything that is wrong.
pub fn read(argv: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Args, Stop> {
    try_parse(OPTION_GENERATIONS, argv)
}

/// Parses a command line; prints help to stdout and errors to stderr.
#[must_use]
pub fn parse(argv: impl IntoIterator<Item = OsString>) -> Parsed<Args> {
    cli::parse(OPTION_GENERATIONS, argv)
}

//! The options as they are typed: validated one by one, not interpreted.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, ValueEnum};
use cli::argparse::parse_float;
use kvcalc::Precision;
use sim::{FaultRule, StreamForm};

use crate::value::{Latency, Seed, TierSpec, fault, precision, seed, stream_form, whole};

/// Exit codes and examples, shown under the options.
const AFTER_HELP: &str = "\
When it is ready, one line on stdout says where it listens. Stop it with Ctrl-C (exit 130) or SIGTERM (exit 143); \
running requests may finish for two seconds. 1 means that it could not listen or read a file, 2 that an option is wrong.

Examples:
  kv_cache_sim --port 8000
  kv_cache_sim --port 0 --profile h100-8b --kv-capacity 200000
  kv_cache_sim --tier hbm:40000:0:0 --tier dram:400000:20:0.001 --kv-bytes-per-token 131072
  kv_cache_sim --latency linear:0.1,0.03
  kv_cache_sim --fault 500:every=10 --fault cut:tokens=5:p=0.02
  kv_cache_sim --stream-form reasoning=20 --stream-form crlf --metrics-style sglang
  kv_cache_sim --tls --tls-cert cert.pem

docs/simulator.md explains the model, every option and the numbers of the profiles.";

/// Simulate an OpenAI-compatible inference server with a prefix cache and known answers.
#[derive(Debug, Parser)]
#[command(name = "kv_cache_sim", version, after_help = AFTER_HELP, allow_negative_numbers = true)]
pub struct Args {
    /// Listen on this address or name; anything but loopback lets other machines in
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1",
        value_parser = NonEmptyStringValueParser::new(),
        help_heading = "Server"
    )]
    pub host: String,

    /// Listen on this port; 0 takes a free one and prints it
    #[arg(
        long,
        value_name = "PORT",
        default_value = "8000",
        value_parser = whole::<u16>(..),
        help_heading = "Server"
    )]
    pub port: u16,

    /// Answer to this model id
    #[arg(long, value_name = "NAME", default_value = sim::DEFAULT_MODEL,
          value_parser = NonEmptyStringValueParser::new(), help_heading = "Server")]
    pub model: String,

    /// Ask clients for this key [default: any or none]
    #[arg(
        long,
        value_name = "KEY",
        env = "KV_CACHE_SIM_API_KEY",
        hide_env_values = true,
        help_heading = "Server"
    )]
    pub api_key: Option<String>,

    /// Serve https (HTTP/2 and HTTP/1.1) with a certificate that is made at start and signed by itself
    #[arg(long, help_heading = "Server")]
    pub tls: bool,

    /// Write that certificate to this file, for clients that shall trust it
    #[arg(long, value_name = "PATH", requires = "tls", help_heading = "Server")]
    pub tls_cert: Option<PathBuf>,

    /// Tokenise with this tokenizer.json, or the one in this directory, or 'builtin'
    #[arg(
        long,
        value_name = "PATH",
        default_value = "builtin",
        help_heading = "Server"
    )]
    pub tokenizer: PathBuf,

    /// Refuse prompts plus output beyond this many tokens
    #[arg(
        long,
        value_name = "TOKENS",
        default_value = "1048576",
        value_parser = whole::<u64>(1..),
        help_heading = "Server"
    )]
    pub max_model_len: u64,

    /// Generate this many tokens for requests that name no limit
    #[arg(long, value_name = "TOKENS", default_value = "128", help_heading = "Server",
          value_parser = whole::<u32>(1..))]
    pub default_max_tokens: u32,

    /// End an output after each token with this probability, unless ignore_eos is set
    #[arg(long, value_name = "P", default_value = "0", value_parser = parse_float, help_heading = "Server")]
    pub eos_probability: f64,

    /// Report usage in this form
    #[arg(long, value_name = "FORM", value_enum, default_value_t = UsageChoice::Full, help_heading = "Server")]
    pub usage: UsageChoice,

    /// Write streams in this form; may be repeated, forms combine. One of: no-role, empty-chunks[=N],
    /// tokens-per-chunk=N, finish-chunk, reasoning-content[=TOKENS], reasoning[=TOKENS], tool-call, no-done,
    /// crlf, comments[=SECONDS], split-utf8
    #[arg(long, value_name = "FORM", value_parser = stream_form, help_heading = "Server")]
    pub stream_form: Vec<StreamForm>,

    /// Use the metric names of this engine on /metrics
    #[arg(long, value_name = "ENGINE", value_enum, default_value_t = MetricsChoice::Vllm, help_heading = "Server")]
    pub metrics_style: MetricsChoice,

    /// Let something go wrong: KIND[:after=N][:every=N][:p=P][:times=N][:tokens=N][:seconds=S][:on=models|chat|all];
    /// may be repeated, the first that fires wins
    #[arg(long, value_name = "FAULT", value_parser = fault, help_heading = "Server")]
    pub fault: Vec<FaultRule>,

    /// Keep this many received requests for /sim/requests
    #[arg(
        long,
        value_name = "N",
        default_value = "20000",
        value_parser = whole::<usize>(0..),
        help_heading = "Server"
    )]
    pub record_requests: usize,

    /// Keep this many bytes of each prompt's text
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "256",
        value_parser = whole::<usize>(0..),
        help_heading = "Server"
    )]
    pub record_text_bytes: usize,

    /// Start from this set of numbers
    #[arg(long, value_name = "NAME", value_enum, default_value_t = ProfileChoice::Demo, help_heading = "Model")]
    pub profile: ProfileChoice,

    /// How long things take: 'batching' (a modelled engine), 'linear:A,B' (first token after A seconds times the
    /// requests in the server, then one each B seconds) or 'fixed:T' (T seconds per request)
    #[arg(
        long,
        value_name = "MODEL",
        default_value = "batching",
        help_heading = "Model"
    )]
    pub latency: Latency,

    /// Tokens per KV block [default: 16]
    #[arg(long, value_name = "TOKENS", help_heading = "Model", value_parser = whole::<u32>(1..))]
    pub block_size: Option<u32>,

    /// Tokens that the first tier (HBM) holds [default: from the profile]
    #[arg(
        long,
        value_name = "TOKENS",
        value_parser = whole::<u64>(0..),
        help_heading = "Model",
        conflicts_with = "tier"
    )]
    pub kv_capacity: Option<u64>,

    /// A memory tier, fastest first: NAME:CAPACITY:GB_PER_S:LATENCY, capacity in tokens or in bytes with a unit
    /// (MB, MiB, GB, GiB, TB, TiB), latency in seconds; may be repeated, replaces the profile's tiers
    #[arg(long, value_name = "TIER", help_heading = "Model")]
    pub tier: Vec<TierSpec>,

    /// KV bytes of one token over all layers [default: from the profile]
    #[arg(long, value_name = "BYTES", help_heading = "Model", value_parser = whole::<u32>(1..))]
    pub kv_bytes_per_token: Option<u32>,

    /// Compute them from this model's config.json, or the one in this directory
    #[arg(
        long,
        value_name = "PATH",
        help_heading = "Model",
        conflicts_with = "kv_bytes_per_token"
    )]
    pub model_config: Option<PathBuf>,

    /// With --model-config: how the cache stores its values (fp16, bf16, fp8, int8, fp4, fp32)
    #[arg(long, value_name = "TYPE", default_value = "fp16", requires = "model_config", help_heading = "Model",
          value_parser = precision)]
    pub kv_dtype: Precision,

    /// Evict the least recently used or the first inserted block, in all tiers
    #[arg(long, value_name = "RULE", value_enum, default_value_t = EvictionChoice::Lru, help_heading = "Model")]
    pub eviction: EvictionChoice,

    /// Forget blocks below HBM that were not used for so many seconds [default: never]
    #[arg(long, value_name = "S", value_parser = parse_float, help_heading = "Model")]
    pub tier_ttl: Option<f64>,

    /// Copy blocks to the next tier when HBM evicts them (back) or as soon as they are computed (through)
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = WriteChoice::Back, help_heading = "Model")]
    pub write: WriteChoice,

    /// Whether a block loaded into HBM stays in its tier (inclusive) or moves (exclusive)
    #[arg(long, value_name = "RULE", value_enum, default_value_t = InclusionChoice::Inclusive, help_heading = "Model")]
    pub tier_inclusion: InclusionChoice,

    /// Seconds until a block stored into a lower tier can be hit
    #[arg(long, value_name = "S", default_value = "0", value_parser = parse_float, help_heading = "Model")]
    pub store_lag: f64,

    /// Requests that run at once; the others queue [default: from the profile]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..), help_heading = "Model")]
    pub max_num_seqs: Option<usize>,

    /// Tokens in one engine step, decode and prefill together [default: from the profile]
    #[arg(long, value_name = "TOKENS", value_parser = whole::<u64>(1..), help_heading = "Model")]
    pub max_batched_tokens: Option<u64>,

    /// Seconds of any engine step [default: from the profile]
    #[arg(long, value_name = "S", value_parser = parse_float, help_heading = "Model")]
    pub step_base: Option<f64>,

    /// Seconds per decoding sequence in a step [default: from the profile]
    #[arg(long, value_name = "S", value_parser = parse_float, help_heading = "Model")]
    pub decode_per_seq: Option<f64>,

    /// Seconds per token of context of each decoding sequence [default: from the profile]
    #[arg(long, value_name = "S", value_parser = parse_float, help_heading = "Model")]
    pub decode_per_context_token: Option<f64>,

    /// Seconds per uncached prompt token [default: from the profile]
    #[arg(long, value_name = "S", value_parser = parse_float, help_heading = "Model")]
    pub prefill_per_token: Option<f64>,

    /// Seconds per attended pair of tokens in prefill: the quadratic term [default: from the profile]
    #[arg(long, value_name = "S", value_parser = parse_float, help_heading = "Model")]
    pub prefill_per_pair: Option<f64>,

    /// Log-normal jitter of step times: standard deviation of the logarithm
    #[arg(
        long,
        value_name = "SIGMA",
        default_value = "0",
        value_parser = parse_float,
        help_heading = "Model"
    )]
    pub jitter: f64,

    /// Seed of output words, jitter and fault probabilities
    #[arg(long, value_name = "N", default_value = "0", value_parser = seed, help_heading = "Model")]
    pub seed: Seed,

    /// Run so many times as fast as real time, 0.000001 to 1000000; what is reported stays in the model's seconds
    #[arg(
        long,
        value_name = "FACTOR",
        default_value = "1",
        value_parser = parse_float,
        help_heading = "Model"
    )]
    pub time_scale: f64,

    /// Log every connection's end and more
    #[arg(long, help_heading = "Other")]
    pub verbose: bool,

    /// Print no colors; there are none either without a terminal or with NO_COLOR set
    #[arg(long, help_heading = "Other")]
    pub no_color: bool,
}

/// `--profile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProfileChoice {
    /// Small and slow: contexts of 1,000 to 4,000 tokens show everything within seconds
    Demo,
    /// Like an 8B model on one H100
    #[value(name = "h100-8b")]
    H100Llama8b,
    /// Like a 70B model on eight H100
    #[value(name = "8xh100-70b")]
    H100x8Llama70b,
}

impl From<ProfileChoice> for sim::Profile {
    fn from(choice: ProfileChoice) -> Self {
        match choice {
            ProfileChoice::Demo => Self::Demo,
            ProfileChoice::H100Llama8b => Self::H100Llama8b,
            ProfileChoice::H100x8Llama70b => Self::H100x8Llama70b,
        }
    }
}

/// `--usage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UsageChoice {
    /// With cached tokens, in a chunk of its own
    Full,
    /// Without details: prompt_tokens_details is null
    Null,
    /// No usage at all
    Missing,
    /// Cached tokens are always 0
    ZeroCached,
    /// With cached tokens, on the last chunk with text
    FinalOnly,
}

impl From<UsageChoice> for sim::UsageForm {
    fn from(choice: UsageChoice) -> Self {
        match choice {
            UsageChoice::Full => Self::Full,
            UsageChoice::Null => Self::Null,
            UsageChoice::Missing => Self::Missing,
            UsageChoice::ZeroCached => Self::ZeroCached,
            UsageChoice::FinalOnly => Self::FinalOnly,
        }
    }
}

/// `--metrics-style`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MetricsChoice {
    /// vllm:prefix_cache_hits_total and the like
    Vllm,
    /// sglang:cached_tokens_total and the like
    Sglang,
}

impl From<MetricsChoice> for sim::MetricsStyle {
    fn from(choice: MetricsChoice) -> Self {
        match choice {
            MetricsChoice::Vllm => Self::Vllm,
            MetricsChoice::Sglang => Self::Sglang,
        }
    }
}

/// `--eviction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EvictionChoice {
    /// Least recently used first
    Lru,
    /// First inserted first
    Fifo,
}

impl From<EvictionChoice> for sim::model::Eviction {
    fn from(choice: EvictionChoice) -> Self {
        match choice {
            EvictionChoice::Lru => Self::Lru,
            EvictionChoice::Fifo => Self::Fifo,
        }
    }
}

/// `--write`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WriteChoice {
    /// On eviction
    Back,
    /// On computation
    Through,
}

impl From<WriteChoice> for sim::model::WritePolicy {
    fn from(choice: WriteChoice) -> Self {
        match choice {
            WriteChoice::Back => Self::Back,
            WriteChoice::Through => Self::Through,
        }
    }
}

/// `--tier-inclusion`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InclusionChoice {
    /// Copies are kept
    Inclusive,
    /// Each block is in one tier
    Exclusive,
}

impl From<InclusionChoice> for sim::model::Inclusion {
    fn from(choice: InclusionChoice) -> Self {
        match choice {
            InclusionChoice::Inclusive => Self::Inclusive,
            InclusionChoice::Exclusive => Self::Exclusive,
        }
    }
}

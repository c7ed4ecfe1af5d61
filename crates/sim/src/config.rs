//! Everything a simulated server is made of.

use std::sync::Arc;

use kvcalc::TokenCount;

use crate::fault::FaultPlan;
use crate::form::StreamForms;
use crate::model::EngineConfig;
use crate::profile::Profile;
use crate::tls::TlsIdentity;

/// The model id that clients of this suite recognise: they then choose the built-in tokenizer.
pub const DEFAULT_MODEL: &str = "kv-cache-sim";

/// Where the tokenizer comes from.
#[derive(Clone, Debug)]
pub enum TokenizerSource {
    /// The one shipped inside the program.
    Builtin,
    /// The content of a `tokenizer.json`.
    Bytes(Arc<[u8]>),
}

/// How a response reports its usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageForm {
    /// With `prompt_tokens_details.cached_tokens`; in a stream, in a chunk of its own behind the text.
    Full,
    /// `prompt_tokens_details` is null, as some servers send it unless told otherwise.
    Null,
    /// No usage at all, though it was asked for.
    Missing,
    /// `cached_tokens` is always 0, as from a server that does not count.
    ZeroCached,
    /// As full, but in a stream it rides on the last chunk with text and there is no chunk of its own.
    FinalOnly,
}

/// Whose names `/metrics` uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsStyle {
    /// vLLM's.
    Vllm,
    /// SGLang's.
    Sglang,
}

/// How much of the received requests is kept for `/sim/requests`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLimits {
    /// Requests kept; the oldest goes first.
    pub requests: usize,
    /// Bytes of each prompt's text kept.
    pub text_bytes: usize,
}

/// A simulated server.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// The engine.
    pub engine: EngineConfig,
    /// The model id that the server answers to.
    pub model: String,
    /// The tokenizer.
    pub tokenizer: TokenizerSource,
    /// Longest prompt plus output; beyond it, status 400.
    pub max_model_len: TokenCount,
    /// Output tokens of a request that names no limit.
    pub default_max_tokens: u32,
    /// Probability with which the model ends by itself after each token, unless `ignore_eos` is set; 0 for never.
    pub eos_probability: f64,
    /// How usage is reported.
    pub usage: UsageForm,
    /// How streams are written.
    pub forms: StreamForms,
    /// Whose names the metrics page uses.
    pub metrics: MetricsStyle,
    /// What goes wrong on purpose.
    pub faults: FaultPlan,
    /// The key that clients must send; `None` for any or none.
    pub api_key: Option<String>,
    /// The server's certificate; `None` for plain HTTP.
    pub tls: Option<TlsIdentity>,
    /// Model seconds per real second: 10 runs ten times as fast.
    pub time_scale: f64,
    /// What is kept of received requests.
    pub record: RecordLimits,
    /// Seed of output words and of where they end. (Jitter and faults have their own.)
    pub seed: u64,
}

impl SimConfig {
    /// A server on the engine of `profile`, everything else as the program's defaults are.
    #[must_use]
    pub fn from_profile(profile: Profile) -> Self {
        Self {
            engine: profile.engine(),
            model: DEFAULT_MODEL.to_owned(),
            tokenizer: TokenizerSource::Builtin,
            max_model_len: TokenCount(1_048_576),
            default_max_tokens: 128,
            eos_probability: 0.0,
            usage: UsageForm::Full,
            forms: StreamForms::default(),
            metrics: MetricsStyle::Vllm,
            tls: None,
            faults: FaultPlan::none(),
            api_key: None,
            time_scale: 1.0,
            record: RecordLimits {
                requests: 20_000,
                text_bytes: 256,
            },
            seed: 0,
        }
    }

    /// The demo profile's server.
    #[must_use]
    pub fn demo() -> Self {
        Self::from_profile(Profile::Demo)
    }
}

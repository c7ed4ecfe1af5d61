//! From options to a server's configuration: pure, and checked as a whole.

use std::path::PathBuf;
use std::time::Duration;

use kvcalc::{BlockSize, CacheFormat, KvBytesPerToken, ModelGeometry, Precision, TokenCount};
use sim::model::{ConfigError, ServiceModel, StepCosts, TierConfig};
use sim::{FaultPlan, RecordLimits, SimConfig};

use crate::args::Args;
use crate::value::{Capacity, Latency, TierSpec};

/// Everything that [`crate::run`] needs.
#[derive(Debug)]
pub struct Plan {
    /// Where to listen: an address or a name, not yet looked up.
    pub host: String,
    /// The port there; 0 for a free one.
    pub port: u16,
    /// The bytes of a token are a mean: the model has none that hold for every token.
    pub mean_kv_bytes: bool,
    /// Serve https.
    pub tls: bool,
    /// Where the certificate is written to.
    pub tls_cert: Option<PathBuf>,
    /// The tokenizer's file or directory; `None` for the built-in one.
    pub tokenizer: Option<PathBuf>,
    /// The server; its tokenizer is the built-in one until the file was read.
    pub config: SimConfig,
    /// Log more.
    pub verbose: bool,
    /// No colours.
    pub no_color: bool,
}

/// Options that do not go together, or values that make no sense.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The engine cannot be built like this.
    #[error(transparent)]
    Engine(#[from] ConfigError),
    /// A number outside of its range.
    #[error("{option} must be {rule}, not {value}")]
    Range {
        /// The option.
        option: &'static str,
        /// Its rule.
        rule: &'static str,
        /// What was given.
        value: f64,
    },
    /// Costs of steps, but no steps.
    #[error("{0} concerns the batching engine and does nothing with --latency linear or fixed")]
    CostWithoutSteps(&'static str),
    /// A model without a cache, or with one beyond all bounds.
    #[error("one token of the model in --model-config has no usable number of KV bytes")]
    NoKvBytes,
}

impl Plan {
    /// Resolves the options against the profile; `model` is what `--model-config` names.
    ///
    /// # Errors
    /// [`PlanError`], naming the option.
    pub fn from_args(args: Args, model: Option<&ModelGeometry>) -> Result<Self, PlanError> {
        let mut config = SimConfig::from_profile(args.profile.into());
        let ttl = args
            .tier_ttl
            .map(|s| duration("--tier-ttl", s))
            .transpose()?;
        let engine = &mut config.engine;
        if let Some(size) = args
            .block_size
            .and_then(|size| BlockSize::try_new(size).ok())
        {
            engine.block_size = size;
        }
        if let Some(bytes) = args.kv_bytes_per_token.and_then(KvBytesPerToken::new) {
            engine.kv_bytes_per_token = bytes;
        }
        if let Some(model) = model {
            engine.kv_bytes_per_token =
                kv_bytes_per_token(model, args.kv_dtype).ok_or(PlanError::NoKvBytes)?;
        }
        if let Some(tokens) = args.kv_capacity {
            engine.tiers[0].capacity = TokenCount(tokens);
        }
        if !args.tier.is_empty() {
            let per_token = engine.kv_bytes_per_token;
            engine.tiers = args
                .tier
                .iter()
                .map(|tier| tier_config(tier, per_token))
                .collect();
        }
        for (index, tier) in engine.tiers.iter_mut().enumerate() {
            tier.eviction = args.eviction.into();
            tier.ttl = ttl.filter(|_| index > 0);
        }
        engine.write = args.write.into();
        engine.inclusion = args.tier_inclusion.into();
        engine.store_lag = duration("--store-lag", args.store_lag)?;
        engine.max_num_seqs = args.max_num_seqs.unwrap_or(engine.max_num_seqs);
        engine.max_batched_tokens = args.max_batched_tokens.unwrap_or(engine.max_batched_tokens);
        engine.jitter_sigma = args.jitter;
        let seed = args.seed.0;
        engine.seed = seed;
        engine.service = service_model(&args, &engine.service)?;
        engine.validate()?;
        check(
            "--time-scale",
            args.time_scale,
            "between 0.000001 and 1000000",
            |factor| sim::TIME_SCALES.contains(&factor),
        )?;
        check(
            "--eos-probability",
            args.eos_probability,
            "between 0 and 1",
            |p| (0.0..=1.0).contains(&p),
        )?;
        config.model = args.model;
        config.max_model_len = TokenCount(args.max_model_len);
        config.default_max_tokens = args.default_max_tokens;
        config.eos_probability = args.eos_probability;
        config.usage = args.usage.into();
        config.forms = args.stream_form.into_iter().collect();
        config.metrics = args.metrics_style.into();
        config.faults = FaultPlan {
            rules: args.fault,
            seed,
        };
        config.api_key = args.api_key;
        config.time_scale = args.time_scale;
        config.record = RecordLimits {
            requests: args.record_requests,
            text_bytes: args.record_text_bytes,
        };
        config.seed = seed;
        Ok(Self {
            host: args.host,
            port: args.port,
            mean_kv_bytes: model.is_some_and(|model| !model.is_linear()),
            tls: args.tls,
            tls_cert: args.tls_cert,
            tokenizer: (args.tokenizer.as_os_str() != "builtin").then_some(args.tokenizer),
            config,
            verbose: args.verbose,
            no_color: args.no_color,
        })
    }
}

/// What one token weighs in a simulator that knows one weight for all. Exact where every token adds the same
/// bytes; else (windows, recurrent states) the mean over a sequence of [`USUAL_SEQUENCE`].
#[must_use]
pub fn kv_bytes_per_token(model: &ModelGeometry, precision: Precision) -> Option<KvBytesPerToken> {
    let tokens = if model.is_linear() {
        TokenCount(1)
    } else {
        USUAL_SEQUENCE
    };
    model.mean_bytes_per_token(tokens, &CacheFormat::new(precision))
}

/// The length of sequence for which models without one weight per token are weighed.
pub const USUAL_SEQUENCE: TokenCount = TokenCount(32_768);

fn tier_config(spec: &TierSpec, per_token: KvBytesPerToken) -> TierConfig {
    TierConfig {
        name: spec.name.clone(),
        capacity: match spec.capacity {
            Capacity::Tokens(tokens) => tokens,
            Capacity::Bytes(bytes) => bytes.whole_tokens(per_token),
        },
        bytes_per_s: spec.gigabytes_per_s * 1e9,
        latency: Duration::from_secs_f64(spec.latency_s),
        eviction: sim::model::Eviction::Lru,
        ttl: None,
    }
}

fn service_model(args: &Args, profile: &ServiceModel) -> Result<ServiceModel, PlanError> {
    let overrides = [
        ("--step-base", args.step_base),
        ("--decode-per-seq", args.decode_per_seq),
        ("--decode-per-context-token", args.decode_per_context_token),
        ("--prefill-per-token", args.prefill_per_token),
        ("--prefill-per-pair", args.prefill_per_pair),
    ];
    let given = overrides.iter().find(|(_, value)| value.is_some());
    match (args.latency, profile) {
        (Latency::Batching, ServiceModel::Batching(costs)) => {
            let [base, seq, context, token, pair] = overrides.map(|(_, value)| value);
            Ok(ServiceModel::Batching(StepCosts {
                base: base.unwrap_or(costs.base),
                per_decode_seq: seq.unwrap_or(costs.per_decode_seq),
                per_decode_context: context.unwrap_or(costs.per_decode_context),
                per_prefill_token: token.unwrap_or(costs.per_prefill_token),
                per_attended_pair: pair.unwrap_or(costs.per_attended_pair),
            }))
        }
        (Latency::Batching, other) => Ok(other.clone()),
        (_, _) if given.is_some() => Err(PlanError::CostWithoutSteps(
            given.map_or("", |(option, _)| option),
        )),
        (Latency::Linear { first, then }, _) => Ok(ServiceModel::Linear {
            per_active: Duration::from_secs_f64(first),
            per_token: Duration::from_secs_f64(then),
        }),
        (Latency::Fixed(total), _) => Ok(ServiceModel::Fixed {
            total: Duration::from_secs_f64(total),
        }),
    }
}

fn duration(option: &'static str, seconds: f64) -> Result<Duration, PlanError> {
    check(option, seconds, "a number of seconds from 0 on", |s| {
        (0.0..=1e9).contains(&s)
    })?;
    Ok(Duration::from_secs_f64(seconds))
}

fn check(
    option: &'static str,
    value: f64,
    rule: &'static str,
    holds: impl Fn(f64) -> bool,
) -> Result<(), PlanError> {
    if holds(value) {
        return Ok(());
    }
    Err(PlanError::Range {
        option,
        rule,
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn plan(options: &[&str]) -> Result<Plan, String> {
        let argv = std::iter::once("kv_cache_sim").chain(options.iter().copied());
        let args = Args::try_parse_from(argv).map_err(|error| error.to_string())?;
        Plan::from_args(args, None).map_err(|error| error.to_string())
    }

    #[test]
    fn a_models_config_gives_the_bytes_of_a_token_and_tiers_in_bytes_follow() {
        let config = serde_json::json!({
            "model_type": "llama", "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 8, "hidden_size": 4096,
        });
        let model = ModelGeometry::from_config(&config).unwrap();
        let plan = |dtype: &str| {
            let options = [
                "x",
                "--model-config",
                "c",
                "--kv-dtype",
                dtype,
                "--tier",
                "hbm:1GiB:0:0",
            ];
            Plan::from_args(Args::parse_from(options), Some(&model))
                .unwrap()
                .config
                .engine
        };
        let engine = plan("fp16");
        assert_eq!(engine.kv_bytes_per_token.get(), 131_072);
        assert_eq!(engine.tiers[0].capacity, TokenCount(8_192));
        assert_eq!(plan("fp8").tiers[0].capacity, TokenCount(16_384));
    }

    #[test]
    fn a_model_with_windows_is_weighed_over_a_usual_sequence() {
        let config = serde_json::json!({
            "model_type": "mistral", "num_hidden_layers": 2, "num_attention_heads": 8,
            "num_key_value_heads": 8, "hidden_size": 512, "sliding_window": 4096,
        });
        let model = ModelGeometry::from_config(&config).unwrap();
        assert!(!model.is_linear());
        // 2 layers × 2 × 8 heads × 64 × 2 bytes for an eighth of the tokens.
        let bytes = kv_bytes_per_token(&model, Precision::Bf16).unwrap();
        assert_eq!(bytes.get(), 4_096 / 8);
    }

    #[test]
    fn without_options_it_is_the_demo_profile_on_loopback() {
        let plan = plan(&[]).unwrap();
        assert_eq!((plan.host.as_str(), plan.port), ("127.0.0.1", 8000));
        assert_eq!(plan.config.engine, sim::Profile::Demo.engine());
        assert_eq!(plan.config.model, "kv-cache-sim");
        assert_eq!(plan.tokenizer, None);
    }

    #[test]
    fn tiers_are_read_in_tokens_and_bytes() {
        let plan = plan(&[
            "--tier",
            "hbm:40000:0:0",
            "--tier",
            "dram:2GiB:20:0.001",
            "--kv-bytes-per-token",
            "131072",
            "--tier-ttl",
            "60",
            "--eviction",
            "fifo",
        ])
        .unwrap();
        let tiers = &plan.config.engine.tiers;
        assert_eq!(tiers[0].capacity, TokenCount(40_000));
        assert_eq!(tiers[1].capacity, TokenCount(16_384));
        assert_eq!(
            (tiers[1].bytes_per_s, tiers[1].latency),
            (20e9, Duration::from_millis(1))
        );
        assert_eq!(
            (tiers[0].ttl, tiers[1].ttl),
            (None, Some(Duration::from_secs(60)))
        );
        assert_eq!(tiers[1].eviction, sim::model::Eviction::Fifo);
    }

    #[test]
    fn latency_models_are_read() {
        let service = |text| plan(&["--latency", text]).map(|plan| plan.config.engine.service);
        assert_eq!(
            service("linear:0.1,0.03"),
            Ok(ServiceModel::Linear {
                per_active: Duration::from_millis(100),
                per_token: Duration::from_millis(30)
            })
        );
        assert_eq!(
            service("fixed:0.5"),
            Ok(ServiceModel::Fixed {
                total: Duration::from_millis(500)
            })
        );
        assert!(matches!(service("batching"), Ok(ServiceModel::Batching(_))));
    }

    #[test]
    fn options_override_single_numbers_of_the_profile() {
        let plan = plan(&[
            "--profile",
            "h100-8b",
            "--prefill-per-token",
            "0.001",
            "--kv-capacity",
            "64000",
        ])
        .unwrap();
        let ServiceModel::Batching(costs) = plan.config.engine.service else {
            panic!()
        };
        assert_eq!((costs.per_prefill_token, costs.base), (0.001, 6e-3));
        assert_eq!(plan.config.engine.tiers[0].capacity, TokenCount(64_000));
    }

    #[test]
    fn nonsense_is_refused_with_the_option_or_the_reason() {
        for (options, word) in [
            (&["--latency", "linear:1"][..], "linear:A,B"),
            (&["--latency", "fixed:-1"], "fixed:T"),
            (&["--tier", "hbm:1:2"], "NAME:CAPACITY"),
            (&["--tier", "hbm:40kilo:0:0"], "no capacity"),
            (&["--tier", "hbm:8:0:0"], "less than one block"),
            (
                &["--tier", "hbm:4096:0:0", "--tier", "dram:4096:0:0"],
                "bandwidth",
            ),
            (
                &["--tier", "hbm:4096:0:0", "--kv-capacity", "5"],
                "cannot be used with",
            ),
            (
                &[
                    "--tier",
                    "a:4096:0:0",
                    "--tier",
                    "b:4096:1:0",
                    "--latency",
                    "fixed:1",
                ],
                "batching",
            ),
            (&["--latency", "fixed:1", "--step-base", "1"], "--step-base"),
            (&["--time-scale", "0"], "--time-scale"),
            (&["--eos-probability", "2"], "--eos-probability"),
            (&["--store-lag", "-1"], "--store-lag"),
            (&["--max-num-seqs", "0"], "--max-num-seqs"),
            (&["--jitter", "NaN"], "jitter"),
            (&["--fault", "fire"], "unknown fault"),
            (&["--host", ""], "--host"),
            (&["--model", ""], "--model"),
            (&["--max-model-len", "0"], "at least 1"),
            (&["--time-scale", "1e300"], "1000000"),
            (&["--port", "65536"], "at most 65535"),
        ] {
            let error = plan(options).expect_err(&format!("{options:?} was taken"));
            assert!(error.contains(word), "{options:?}: {error}");
        }
    }
}

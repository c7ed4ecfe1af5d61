//! KV memory that is shown before anything is measured.
//!
//! Promise: where the model's config can be had, sizes follow from its geometry ([`kvcalc`]); elsewhere they are the
//! published estimates, by the model's name and for a reference geometry. The lines say which. Looking for a config
//! never fails a run and asks the network last, shortly, and only for what can be an id of the Hub.

mod find;

use cli::logging::{Line, Style};
use cli::number::{human_bytes, thousands};
use cli::options::KvPrecision;
use kvcalc::{CacheFormat, ConfigError, ModelGeometry, Precision, TokenCount};
use report::kv_estimate::KvEstimate;
use serde_json::{Value, json};
use workload::ContextPlan;

use crate::tokenizer::SIMULATOR_MODEL;

pub use find::find_aside;

/// Values per token of the reference geometry: keys and values × 4 KV heads × 64 dimensions × 48 layers.
const REFERENCE_VALUES_PER_TOKEN: u64 = 2 * 4 * 64 * 48;

/// Working sets beyond this many bytes of cache at FP8 deserve a warning: 100 GiB.
pub const LARGE_CACHE_BYTES: u64 = 100 * 1024 * 1024 * 1024;

/// What is known of the cache that a server keeps for its model.
#[derive(Debug, Clone, PartialEq)]
pub struct KvModel {
    name: String,
    geometry: Option<Geometry>,
}

#[derive(Debug, Clone, PartialEq)]
struct Geometry {
    geometry: ModelGeometry,
    /// Where the config came from, in words.
    origin: String,
}

impl KvModel {
    /// A model of which only the name is known.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            geometry: None,
        }
    }

    /// A model whose config was found.
    ///
    /// # Errors
    /// When the config is not understood.
    pub fn of_config(name: &str, config: &Value, origin: String) -> Result<Self, ConfigError> {
        let geometry = ModelGeometry::from_config(config)?;
        Ok(Self {
            name: name.to_owned(),
            geometry: Some(Geometry { geometry, origin }),
        })
    }

    /// Bytes of `n_prompts` prompts of `tokens` tokens each; by the reference geometry where the model's is not known.
    #[must_use]
    pub fn prompts(&self, n_prompts: u64, tokens: u64, precision: KvPrecision) -> u64 {
        let one = match &self.geometry {
            Some(known) => known.bytes(tokens, precision),
            None => {
                let per_token = REFERENCE_VALUES_PER_TOKEN * u64::from(precision.bytes());
                tokens.saturating_mul(per_token)
            }
        };
        one.saturating_mul(n_prompts)
    }

    /// Bytes of the largest working set of these, at FP8 and at FP16; by the model's name where its geometry is not
    /// known.
    #[must_use]
    pub fn working_set(&self, contexts: &[ContextPlan]) -> (u64, u64) {
        match &self.geometry {
            Some(known) => {
                let largest = |precision| {
                    let sets = contexts.iter().map(|context| {
                        let n_prompts = context.num_prompts() as u64;
                        known
                            .bytes(context.rounded(), precision)
                            .saturating_mul(n_prompts)
                    });
                    sets.max().unwrap_or_default()
                };
                (
                    largest(KvPrecision::OneByte),
                    largest(KvPrecision::TwoBytes),
                )
            }
            None => {
                let estimate = KvEstimate::of(Some(&self.name), tokens(contexts));
                (estimate.fp8_bytes(), estimate.fp16_bytes())
            }
        }
    }

    /// What the run's files keep of it.
    #[must_use]
    pub fn facts(&self, contexts: &[ContextPlan]) -> Value {
        let (fp8, fp16) = self.working_set(contexts);
        json!({
            "source": if self.geometry.is_some() { "config" } else { "name" },
            "origin": self.geometry.as_ref().map(|known| &known.origin),
            "tokens": tokens(contexts),
            "fp8_bytes": fp8,
            "fp16_bytes": fp16,
        })
    }

    /// How the sizes are known.
    #[must_use]
    pub fn source(&self) -> Option<Line> {
        let config = |text| Some(Line::styled(Style::Config, text));
        if let Some(known) = &self.geometry {
            return config(format!(
                "KV cache sizes follow from the model's config ({})",
                known.origin
            ));
        }
        if KvEstimate::of(Some(&self.name), 0).recognised {
            return config("KV cache sizes are estimates by the model's name".to_owned());
        }
        let text = format!(
            "The KV cache of model {} is not known; estimates assume that of a 70b model",
            self.name
        );
        // The simulator has no cache that an estimate could be wrong about.
        if self.name == SIMULATOR_MODEL {
            config(text)
        } else {
            Some(Line::warning(text))
        }
    }
}

impl Geometry {
    fn bytes(&self, tokens: u64, precision: KvPrecision) -> u64 {
        let format = CacheFormat::new(match precision {
            KvPrecision::OneByte => Precision::Fp8,
            KvPrecision::TwoBytes => Precision::Fp16,
        });
        let bytes = self.geometry.bytes(TokenCount(tokens), &format);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// Tokens of the largest working set, as asked for.
fn tokens(contexts: &[ContextPlan]) -> u64 {
    let sizes = contexts.iter().map(|context| context.working_set_size);
    sizes.max().unwrap_or_default()
}

/// The lines: how sizes are known, the working set at both precisions, and one request and all prompts of each context
/// at the precision asked for.
#[must_use]
pub fn lines(model: &KvModel, contexts: &[ContextPlan], precision: KvPrecision) -> Vec<Line> {
    let config = |text| Line::styled(Style::Config, text);
    let mut lines: Vec<Line> = model.source().into_iter().collect();
    let (fp8, fp16) = model.working_set(contexts);
    lines.push(config(format!(
        "KV Cache Estimate for the working set: {} (FP8), {} (FP16)",
        bytes(fp8),
        bytes(fp16)
    )));
    if fp8 > LARGE_CACHE_BYTES {
        lines.push(Line::warning(format!(
            "The working set needs {} of KV cache even at FP8; less cache than that means a lower hit rate than asked for",
            bytes(fp8)
        )));
    }
    let mut total: u64 = 0;
    for context in contexts {
        let n_prompts = context.num_prompts() as u64;
        let set = model.prompts(n_prompts, context.rounded(), precision);
        total = total.saturating_add(set);
        lines.push(config(format!(
            "  Context {}: {} per request, {} for {} prompts",
            thousands(context.context_size),
            bytes(model.prompts(1, context.context_size, precision)),
            bytes(set),
            thousands(n_prompts)
        )));
    }
    if contexts.len() > 1 {
        lines.push(config(format!(
            "  Total over all contexts: {}; have that much KV cache at least",
            bytes(total)
        )));
    }
    lines
}

/// A number of bytes as people read it: `46.88 MB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    human_bytes(n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cli::logging::LineLevel;

    fn context(context_size: u64) -> ContextPlan {
        ContextPlan {
            context_size,
            chunk_size: 256,
            working_set_size: 8000,
        }
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn a_known_geometry_decides_every_size() {
        // Qwen2.5-7B: 28 layers × 2 × 4 heads × 128 dimensions = 28,672 values per token.
        let config = json!({
            "model_type": "qwen2", "num_hidden_layers": 28, "num_attention_heads": 28,
            "num_key_value_heads": 4, "hidden_size": 3584,
        });
        let model =
            KvModel::of_config("qwen", &config, "/models/q/config.json".to_owned()).unwrap();
        let contexts = [context(1000), context(2000)];
        assert_eq!(
            texts(&lines(&model, &contexts, KvPrecision::TwoBytes)),
            [
                "KV cache sizes follow from the model's config (/models/q/config.json)",
                // 8 prompts of 1,024 tokens and 4 of 2,048 are the same number of tokens.
                "KV Cache Estimate for the working set: 224.00 MB (FP8), 448.00 MB (FP16)",
                "  Context 1,000: 54.69 MB per request, 448.00 MB for 8 prompts",
                "  Context 2,000: 109.38 MB per request, 448.00 MB for 4 prompts",
                "  Total over all contexts: 896.00 MB; have that much KV cache at least",
            ]
        );
        let facts = model.facts(&contexts);
        assert_eq!(facts["source"], "config");
        assert_eq!(facts["fp16_bytes"], 8192 * 28_672 * 2);
        assert_eq!(facts["tokens"], 8000);
    }

    #[test]
    fn a_window_limits_what_a_long_prompt_keeps() {
        let config = json!({
            "model_type": "mistral", "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 8, "hidden_size": 4096, "sliding_window": 1024,
        });
        let model = KvModel::of_config("m", &config, String::new()).unwrap();
        let one = |tokens| model.prompts(1, tokens, KvPrecision::OneByte);
        assert_eq!(one(1024), one(100_000));
        assert!(one(512) < one(1024));
    }

    #[test]
    fn without_a_config_the_published_estimates_stand() {
        let contexts = [context(1000)];
        let known = KvModel::of_name("meta-llama/Llama-3.1-8B-Instruct");
        assert_eq!(
            texts(&lines(&known, &contexts, KvPrecision::OneByte)),
            [
                "KV cache sizes are estimates by the model's name",
                "KV Cache Estimate for the working set: 244.14 MB (FP8), 488.28 MB (FP16)",
                "  Context 1,000: 23.44 MB per request, 192.00 MB for 8 prompts",
            ]
        );
        assert_eq!(known.facts(&contexts)["source"], "name");
        let unknown = lines(&KvModel::of_name("demo"), &contexts, KvPrecision::OneByte);
        assert_eq!(unknown[0].level, LineLevel::Warning);
        let simulated = lines(
            &KvModel::of_name("kv-cache-sim"),
            &contexts,
            KvPrecision::OneByte,
        );
        assert_eq!(simulated[0].level, LineLevel::Info);
    }

    #[test]
    fn a_large_working_set_is_warned_about() {
        let large = ContextPlan {
            working_set_size: 2_000_000,
            ..context(8000)
        };
        let lines = lines(&KvModel::of_name("demo"), &[large], KvPrecision::OneByte);
        let warned = lines.iter().filter(|line| line.level == LineLevel::Warning);
        assert_eq!(warned.count(), 2, "{lines:?}");
        assert!(texts(&lines)[2].contains("298.02 GB"), "{lines:?}");
    }
}

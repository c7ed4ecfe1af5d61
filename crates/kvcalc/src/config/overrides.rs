//! `per_layer_config`: values that single layers have instead of the model's, as transformers 5 writes them for models
//! whose layers differ (Gemma 4, pruned models).
//!
//! Promise: a key in it that may change the cache and is not read here is an error. Source:
//! `integrations/heterogeneity/configuration_utils.py` and `get_layer_types_and_kwargs` in transformers.

use serde_json::Value;

use super::ConfigProblem;
use super::pattern::Kind;
use super::reader::{Reader, number};

/// What one layer has instead.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Override {
    pub(super) kv_heads: Option<u64>,
    pub(super) head_dim: Option<u64>,
    pub(super) v_head_dim: Option<u64>,
    /// `Some(None)` switches the window off.
    window: Option<Option<u64>>,
    chunk: Option<Option<u64>>,
    has_no_attention: bool,
}

/// One entry per layer, empty where nothing is overridden.
#[derive(Debug, Default)]
pub(super) struct Overrides(Vec<Override>);

/// Keys that change what attention keeps and are not understood per layer.
const UNREAD: &[&str] = &[
    "kv_lora_rank",
    "qk_rope_head_dim",
    "layer_type",
    "layer_types",
    "num_kv_shared_layers",
];

impl Overrides {
    pub(super) fn read(reader: &Reader<'_>, n_layers: usize) -> Result<Self, ConfigProblem> {
        let Some(per_layer) = reader
            .object("per_layer_config")
            .filter(|map| !map.is_empty())
        else {
            return Ok(Self::default());
        };
        let mut all = vec![Override::default(); n_layers];
        for (index, values) in per_layer {
            let bad = |wanted| ConfigProblem::BadValue {
                key: "per_layer_config".to_owned(),
                value: index.clone(),
                wanted,
            };
            let layer = index.parse::<usize>().ok().and_then(|i| all.get_mut(i));
            let layer = layer.ok_or_else(|| bad("the index of a layer"))?;
            let values = values.as_object().ok_or_else(|| bad("an object"))?;
            for (key, value) in values {
                layer.set(key, value)?;
            }
        }
        Ok(Self(all))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What layer `i` has instead.
    pub(super) fn of(&self, i: usize) -> Override {
        self.0.get(i).copied().unwrap_or_default()
    }

    /// Layer kinds with overridden windows, chunks, and attention taken out.
    pub(super) fn apply(&self, mut kinds: Vec<Kind>) -> Vec<Kind> {
        for (kind, layer) in kinds.iter_mut().zip(&self.0) {
            *kind = layer.apply(*kind);
        }
        kinds
    }
}

impl Override {
    fn set(&mut self, key: &str, value: &Value) -> Result<(), ConfigProblem> {
        let count = || match value {
            Value::Null => Ok(None),
            value => number(key, value, 1 << 20).map(Some),
        };
        let length = || match value {
            Value::Null => Ok(None),
            value => number(key, value, 1 << 40).map(|n| Some(n).filter(|n| *n > 0)),
        };
        match key {
            "num_key_value_heads" => self.kv_heads = count()?,
            "head_dim" => self.head_dim = count()?,
            "v_head_dim" => self.v_head_dim = count()?,
            "sliding_window" => self.window = Some(length()?),
            "attention_chunk_size" => self.chunk = Some(length()?),
            "skip" => {
                let words = value.as_array().into_iter().flatten();
                self.has_no_attention = words
                    .filter_map(Value::as_str)
                    .any(|word| word.contains("attn") || word.contains("attention"));
            }
            key if UNREAD.contains(&key) || key.contains("mamba") || key.contains("linear_") => {
                return Err(ConfigProblem::Unread {
                    model_type: "per_layer_config".to_owned(),
                    keys: vec![key.to_owned()],
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn apply(&self, kind: Kind) -> Kind {
        if self.has_no_attention && kind.reach().is_some() {
            return if kind.has_state() {
                Kind::State
            } else {
                Kind::Nothing
            };
        }
        match (kind, self.window, self.chunk) {
            (Kind::Sliding(_), Some(None), _) | (Kind::Chunked(_), _, Some(None)) => Kind::Full,
            (Kind::Sliding(_) | Kind::Full, Some(Some(window)), _) => Kind::Sliding(window),
            (Kind::Chunked(_), _, Some(Some(chunk))) => Kind::Chunked(chunk),
            (Kind::SlidingAndState(_), Some(Some(window)), _) => Kind::SlidingAndState(window),
            (other, ..) => other,
        }
    }
}

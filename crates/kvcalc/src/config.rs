//! Reads a model's `config.json` into a [`ModelGeometry`].
//!
//! Promises that a number comes from the config, from the defaults of its `model_type` (what the transformers library
//! fills in), or from a rule that a doc comment names with its source. Refuses to guess: what is missing is named, a
//! layer type that nobody knows is an error, and so is a key that changes the cache in a `model_type` nobody knows.

mod defaults;
mod heads;
mod overrides;
mod pattern;
mod reader;
mod state;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::geometry::{CrossAttention, Layer, ModelGeometry, Reach, Shape, Store};
use heads::Heads;
use overrides::Overrides;
use pattern::Kind;
use reader::Reader;

/// The numbers that could be read, for a report that says what is there and what is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Layers.
    pub layers: Option<u64>,
    /// KV heads.
    pub kv_heads: Option<u64>,
    /// Elements of one head.
    pub head_dim: Option<u64>,
    /// Width of the model.
    pub hidden_size: Option<u64>,
    /// Query heads.
    pub attention_heads: Option<u64>,
}

/// Why a config was not understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigProblem {
    /// Not a JSON object.
    #[error("the config is not a JSON object")]
    NotAnObject,
    /// Keys that are needed and have no default. Each entry names the alternatives.
    #[error("missing {}{}", .keys.join(", "), of(.model_type.as_deref()))]
    Missing {
        /// `model_type`, if there is one.
        model_type: Option<String>,
        /// What is missing.
        keys: Vec<String>,
    },
    /// A key with a value of the wrong kind or size.
    #[error("{key} is {value}, not {wanted}")]
    BadValue {
        /// The key.
        key: String,
        /// Its value, shortened.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A layer type whose cache nobody described to this program.
    #[error("{key} holds the layer type {word:?}, whose cache is not known")]
    UnknownLayer {
        /// The key.
        key: String,
        /// The layer type.
        word: String,
    },
    /// An unknown model type with keys that may change its cache.
    #[error("the model type {model_type:?} is not known, and these keys may change what it keeps: {}", .keys.join(", "))]
    Unread {
        /// `model_type`.
        model_type: String,
        /// Keys that no rule reads.
        keys: Vec<String>,
    },
}

fn of(model_type: Option<&str>) -> String {
    model_type
        .map(|name| format!(" (model type {name:?})"))
        .unwrap_or_default()
}

/// A config that was not understood, with what was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct ConfigError {
    /// What is wrong.
    pub problem: ConfigProblem,
    /// What could be read.
    pub extracted: Box<Extracted>,
}

/// Where multimodal configs keep their text model, in the order of preference.
///
/// Source: `get_text_config` of transformers (`text_config`, `decoder`) and the names that remote-code families use.
const TEXT_MODELS: &[&str] = &[
    "text_config",
    "llm_config",
    "language_config",
    "language_model",
    "thinker_config.text_config",
    "decoder",
];

/// Number of layers, first non-null wins. Longcat counts pairs (see [`layer_count`]).
const LAYERS: &[&str] = &[
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "num_transformer_layers",
    "decoder_layers",
];
/// The same for the decoder of an encoder–decoder, where `num_hidden_layers` and `num_layers` may be the encoder's.
const DECODER_LAYERS: &[&str] = &[
    "decoder_layers",
    "num_decoder_layers",
    "num_hidden_layers",
    "num_layers",
];
/// Width of the model.
const HIDDEN: &[&str] = &["hidden_size", "n_embd", "n_embed", "d_model", "model_dim"];
/// Most layers that are believed.
const MOST_LAYERS: u64 = 10_000;

impl ModelGeometry {
    /// Reads a parsed `config.json`.
    ///
    /// # Errors
    /// A config that is not understood, with the missing keys or the value in question.
    pub fn from_config(config: &Value) -> Result<Self, ConfigError> {
        let mut extracted = Extracted::default();
        read(config, &mut extracted).map_err(|problem| ConfigError {
            problem,
            extracted: Box::new(extracted),
        })
    }
}

/// The text model's own object, and the name whose defaults hold for it.
///
/// A nested object wins over the top level when it names layers or a model type, or when the top level names no layers:
/// published multimodal configs repeat stale numbers outside.
fn locate(config: &Map<String, Value>) -> (&Map<String, Value>, Option<String>) {
    let model_type = |object: &Map<String, Value>| {
        object
            .get("model_type")
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
    };
    let outer = model_type(config);
    let has_layers =
        |object: &Map<String, Value>| LAYERS.iter().any(|key| object.get(*key).is_some());
    for path in TEXT_MODELS {
        let found = path
            .split('.')
            .try_fold(config, |object, key| object.get(key)?.as_object());
        let Some(inner) = found else { continue };
        if has_layers(inner) || inner.contains_key("model_type") || !has_layers(config) {
            let name = model_type(inner).or_else(|| nested_name(outer.as_deref()));
            return (inner, name.or(outer));
        }
    }
    // A multimodal config with its text keys at the top level, as older qwen2_vl: the defaults are the text model's.
    let name = match &outer {
        Some(name) if !defaults::has(name) => nested_name(Some(name)).or(outer),
        _ => outer,
    };
    (config, name)
}

/// The text model's type for an outer type, where the table has one.
fn nested_name(outer: Option<&str>) -> Option<String> {
    let outer = outer?;
    let names = [
        format!("{outer}_text"),
        format!("{outer}_text_model"),
        outer.to_owned(),
    ];
    names.into_iter().find(|name| defaults::has(name))
}

fn read(config: &Value, extracted: &mut Extracted) -> Result<ModelGeometry, ConfigProblem> {
    let outer = config.as_object().ok_or(ConfigProblem::NotAnObject)?;
    let (text, model_type) = locate(outer);
    let reader = Reader::new(text, model_type.clone());
    let is_encoder_decoder = outer.get("is_encoder_decoder") == Some(&Value::Bool(true))
        || reader.flag(&["is_encoder_decoder"]).unwrap_or(false);

    let n_layers = layer_count(&reader, is_encoder_decoder)?;
    extracted.layers = n_layers;
    extracted.hidden_size = reader.count(HIDDEN)?;
    let heads = Heads::read(&reader, n_layers, is_encoder_decoder, extracted)?;
    let mut missing = Vec::new();
    if n_layers.is_none() {
        missing.push(LAYERS.join(" / "));
    }
    let latent = latent(&reader, &mut missing)?;
    heads.add_missing(latent.is_some(), &mut missing);
    let (Some(n_layers), true) = (n_layers, missing.is_empty()) else {
        return Err(ConfigProblem::Missing {
            model_type,
            keys: missing,
        });
    };

    let overrides = Overrides::read(&reader, n_layers as usize)?;
    let heads = heads.with_overrides(overrides);
    let kinds = pattern::kinds(&reader, n_layers)?;
    let kinds = heads.overrides().apply(kinds);
    if kinds.iter().all(|kind| *kind == Kind::Full) {
        reader.refuse_unread()?;
    }
    let layers = assemble(&reader, &kinds, &heads, latent)?;
    let cross = cross_attention(&heads, &kinds, is_encoder_decoder);
    Ok(ModelGeometry {
        model_type,
        kv_heads: heads.most_kv_heads(),
        attention_heads: heads.attention,
        head_dim: heads.shown_head_dim(),
        hidden_size: extracted.hidden_size,
        layers,
        cross,
        state_bytes: state::configured_bytes(&reader),
        defaulted: reader.defaulted(),
    })
}

/// Number of layers: the keys of [`LAYERS`], or the length of whatever lists one entry per layer (Nemotron-H's class
/// takes it from there). LongCat-Flash has two attention layers in each of its `num_layers`
/// (`LongcatFlashConfig.num_hidden_layers` in transformers).
fn layer_count(
    reader: &Reader<'_>,
    is_encoder_decoder: bool,
) -> Result<Option<u64>, ConfigProblem> {
    let counted = if is_encoder_decoder {
        reader.count(DECODER_LAYERS)?
    } else if reader.is(&["longcat_flash"]) {
        reader
            .count(&["num_layers"])?
            .map(|pairs| pairs.saturating_mul(2))
    } else {
        reader.count(LAYERS)?
    };
    let listed = || {
        let list = reader.list(&["layer_types", "layers_block_type", "block_configs"]);
        let pattern = reader.text(&["hybrid_override_pattern"]);
        list.map(|list| list.len() as u64)
            .or(pattern.map(|pattern| pattern.chars().count() as u64))
    };
    match counted.or_else(listed) {
        Some(0) => Ok(None),
        Some(n) if n > MOST_LAYERS => Err(ConfigProblem::BadValue {
            key: "number of layers".to_owned(),
            value: n.to_string(),
            wanted: "at most 10,000",
        }),
        other => Ok(other),
    }
}

/// The latent of multi-head latent attention, decided by a `kv_lora_rank` that is not null: DeepSeek-V2/V3/R1, Kimi K2
/// and Kimi Linear, GLM-4.7-Flash, LongCat. `qk_rope_head_dim` has to be there and may be 0.
///
/// Source: DeepSeek-V2, arXiv 2405.04434; the same two keys in vLLM's `get_head_size` for MLA models.
fn latent(reader: &Reader<'_>, missing: &mut Vec<String>) -> Result<Option<Shape>, ConfigProblem> {
    let Some(rank) = reader.count(&["kv_lora_rank"])?.filter(|rank| *rank > 0) else {
        return Ok(None);
    };
    let Some(rope) = reader.count(&["qk_rope_head_dim"])? else {
        missing.push("qk_rope_head_dim".to_owned());
        return Ok(Some(Shape::Latent { rank, rope: 0 }));
    };
    Ok(Some(Shape::Latent { rank, rope }))
}

fn assemble(
    reader: &Reader<'_>,
    kinds: &[Kind],
    heads: &Heads,
    latent: Option<Shape>,
) -> Result<Vec<Layer>, ConfigProblem> {
    let state = if kinds.iter().any(|kind| kind.has_state()) {
        Some(state::read(reader, heads)?)
    } else {
        None
    };
    let index_dim = reader.count(&["index_head_dim"])?.filter(|dim| *dim > 0);
    if index_dim.is_some() && latent.is_none() {
        return Err(ConfigProblem::Unread {
            model_type: reader.model_type().unwrap_or_default(),
            keys: vec!["index_head_dim (known with kv_lora_rank only)".to_owned()],
        });
    }
    let shares_index = shared_indexers(reader)?;
    let shared_from = first_shared(reader, kinds.len())?;
    let cla_factor = match reader.flag(&["use_cla"]) {
        Some(true) => reader.count(&["cla_share_factor"])?.filter(|f| *f > 1),
        _ => None,
    };
    let store = |i: usize, reach: Reach| -> Option<Store> {
        let slides = reach != Reach::Full;
        let shape = match latent {
            Some(latent) => latent,
            None => heads.shape(i, slides)?,
        };
        let index_dim = index_dim
            .filter(|_| latent.is_some() && !shares_index.get(i).copied().unwrap_or(false));
        Some(Store {
            shape,
            reach,
            index_dim,
        })
    };
    let layer = |(i, kind): (usize, &Kind)| {
        // Cross-layer attention of Hunyuan-Large: of every `cla_share_factor` layers the first one keeps keys and values.
        let reuses = cla_factor.is_some_and(|factor| !(i as u64).is_multiple_of(factor));
        if (i >= shared_from || reuses) && kind.reach().is_some() {
            return Layer::Shared;
        }
        let store = kind.reach().and_then(|reach| store(i, reach));
        match (store, state.filter(|_| kind.has_state())) {
            (Some(store), None) => Layer::Attention(store),
            (None, Some(state)) => Layer::State(state),
            (Some(store), Some(state)) => Layer::Both(store, state),
            (None, None) if *kind == Kind::Cross => Layer::Cross,
            (None, None) => Layer::Empty,
        }
    };
    Ok(kinds.iter().enumerate().map(layer).collect())
}

/// Index of the first layer that reuses another layer's cache: the last `num_kv_shared_layers` store nothing.
///
/// Source: `get_layer_types_and_kwargs` in transformers' `cache_utils.py` (Gemma 3n, Gemma 4).
fn first_shared(reader: &Reader<'_>, n_layers: usize) -> Result<usize, ConfigProblem> {
    let shared = reader.count(&["num_kv_shared_layers"])?.unwrap_or(0);
    let shared = usize::try_from(shared).unwrap_or(usize::MAX);
    Ok(n_layers.saturating_sub(shared))
}

/// Which layers reuse the choice of an earlier indexer and keep no index keys: `indexer_types`, else
/// `index_topk_pattern` (`F`/`S`), else every `index_topk_freq`-th layer has its own.
///
/// Source: `GlmMoeDsaConfig` of transformers.
fn shared_indexers(reader: &Reader<'_>) -> Result<Vec<bool>, ConfigProblem> {
    if let Some(types) = reader.list(&["indexer_types"]) {
        return Ok(types.iter().map(|word| word == "shared").collect());
    }
    if let Some(pattern) = reader.text(&["index_topk_pattern"]) {
        return Ok(pattern.chars().map(|letter| letter == 'S').collect());
    }
    let frequency = reader.count(&["index_topk_freq"])?.unwrap_or(1).max(1);
    let offset = reader.count(&["index_skip_topk_offset"])?.unwrap_or(2);
    Ok((0..MOST_LAYERS)
        .map(|i| !(i + 1).saturating_sub(offset).is_multiple_of(frequency))
        .collect())
}

/// Attention to an encoder: every layer of an encoder–decoder, or the layers of `cross_attention_layers` (Mllama).
/// What it keeps depends on the encoder's input and is not part of the sums over text tokens.
fn cross_attention(heads: &Heads, kinds: &[Kind], all: bool) -> Option<CrossAttention> {
    let n_layers = if all {
        kinds.len()
    } else {
        kinds.iter().filter(|kind| **kind == Kind::Cross).count()
    };
    let shape = heads.shape(0, false)?;
    (n_layers > 0).then_some(CrossAttention {
        n_layers: n_layers as u64,
        shape,
    })
}

#[cfg(test)]
mod tests;

//! KV heads and the size of keys and values, per layer.
//!
//! Promise: each rule names its keys and where the rule comes from; a model whose layers differ has one entry per layer.

use serde_json::Value;

use super::overrides::Overrides;
use super::reader::Reader;
use super::{ConfigProblem, Extracted, HIDDEN};
use crate::geometry::Shape;

const ATTENTION_HEADS: &[&str] = &[
    "num_attention_heads",
    "n_head",
    "n_heads",
    "num_heads",
    "num_query_heads",
    "decoder_attention_heads",
];
const DECODER_ATTENTION_HEADS: &[&str] = &[
    "decoder_attention_heads",
    "num_attention_heads",
    "num_heads",
    "n_head",
];
const KV_HEADS: &[&str] = &[
    "num_key_value_heads",
    "num_kv_heads",
    "n_head_kv",
    "n_kv_heads",
    "attn_config.kv_n_heads",
];
const HEAD_DIM: &[&str] = &["head_dim", "kv_channels", "attention_head_dim", "d_kv"];

/// Elements of one key and one value.
#[derive(Clone, Copy, Debug)]
struct Dims {
    k: u64,
    v: u64,
}

/// What layers with a window or chunk have instead, or, for Gemma 4, layers without.
#[derive(Clone, Copy, Debug)]
struct Variant {
    kv_heads: Option<u64>,
    dims: Dims,
    /// True when it holds for windowed layers, false when for full ones.
    for_sliding: bool,
}

/// Heads of all layers.
#[derive(Debug)]
pub(super) struct Heads {
    /// Query heads, if there is one number.
    pub(super) attention: Option<u64>,
    /// KV heads: one entry for all layers, or one per layer. Empty when unknown.
    kv: Vec<u64>,
    dims: Option<Dims>,
    variant: Option<Variant>,
    /// What the report shows for models with latents.
    qk_dim: Option<u64>,
    hidden: Option<u64>,
    overrides: Overrides,
}

impl Heads {
    pub(super) fn read(
        reader: &Reader<'_>,
        n_layers: Option<u64>,
        is_encoder_decoder: bool,
        extracted: &mut Extracted,
    ) -> Result<Self, ConfigProblem> {
        let attention = reader.count(if is_encoder_decoder {
            DECODER_ATTENTION_HEADS
        } else {
            ATTENTION_HEADS
        })?;
        let attention = attention.filter(|heads| *heads > 0);
        extracted.attention_heads = attention;
        let kv = kv_heads(reader, attention, n_layers)?;
        extracted.kv_heads = kv.iter().copied().max().filter(|heads| *heads > 0);
        let hidden = extracted.hidden_size;
        let k = head_dim(reader, attention, hidden)?;
        extracted.head_dim = k;
        // Not for MLA, where it is the size of an expanded value that is never kept.
        let v = match reader.count(&["v_head_dim"])? {
            Some(v) if !reader.has(&["kv_lora_rank"]) && v > 0 => Some(v),
            _ => None,
        };
        let dims = k.map(|k| Dims {
            k,
            v: v.unwrap_or(k),
        });
        let nope = reader.count(&["qk_nope_head_dim"])?;
        let rope = reader.count(&["qk_rope_head_dim"])?;
        Ok(Self {
            attention,
            variant: variant(reader, dims)?,
            kv,
            dims,
            qk_dim: nope.zip(rope).map(|(nope, rope)| nope + rope),
            hidden,
            overrides: Overrides::default(),
        })
    }

    /// The same with single layers overridden, which replaces the family's own rule for layers of two shapes
    /// (`Gemma4TextConfig` in transformers).
    pub(super) fn with_overrides(mut self, overrides: Overrides) -> Self {
        if !overrides.is_empty() {
            self.variant = None;
        }
        self.overrides = overrides;
        self
    }

    /// What single layers have instead.
    pub(super) fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// Names what attention with heads needs and the config lacks.
    pub(super) fn add_missing(&self, is_latent: bool, missing: &mut Vec<String>) {
        if is_latent {
            return;
        }
        if self.kv.is_empty() {
            missing.push(format!(
                "{} (or {})",
                KV_HEADS.join(" / "),
                ATTENTION_HEADS[..3].join(" / ")
            ));
        }
        if self.dims.is_none() {
            let mut text = HEAD_DIM[..2].join(" / ");
            if self.hidden.is_none() {
                text.push_str(&format!(
                    " (or {} with the number of heads)",
                    HIDDEN.join(" / ")
                ));
            }
            missing.push(text);
        }
    }

    /// What layer `i` keeps per token; `None` for a layer without KV heads.
    pub(super) fn shape(&self, i: usize, slides: bool) -> Option<Shape> {
        let mut kv_heads = match self.kv.as_slice() {
            [one] => *one,
            list => list.get(i).copied()?,
        };
        let mut dims = self.dims?;
        if let Some(variant) = self.variant.filter(|v| v.for_sliding == slides) {
            kv_heads = variant.kv_heads.unwrap_or(kv_heads);
            dims = variant.dims;
        }
        let own = self.overrides.of(i);
        if let Some(k) = own.head_dim {
            dims = Dims { k, v: k };
        }
        dims.v = own.v_head_dim.unwrap_or(dims.v);
        kv_heads = own.kv_heads.unwrap_or(kv_heads);
        (kv_heads > 0).then_some(Shape::Heads {
            kv_heads,
            k_dim: dims.k,
            v_dim: dims.v,
        })
    }

    /// The largest number of KV heads of any layer; query heads where only a latent is known.
    pub(super) fn most_kv_heads(&self) -> u64 {
        let most = self.kv.iter().copied().max();
        most.or(self.attention).unwrap_or(1)
    }

    /// Elements of one key, as the report shows it.
    pub(super) fn shown_head_dim(&self) -> u64 {
        self.qk_dim.or(self.dims.map(|dims| dims.k)).unwrap_or(0)
    }

    /// Elements of one key as configured, for states that are as wide.
    pub(super) fn head_dim(&self) -> Option<u64> {
        self.dims.map(|dims| dims.k)
    }

    /// Width of the model.
    pub(super) fn hidden(&self) -> Option<u64> {
        self.hidden
    }
}

/// KV heads by the first rule that holds:
///
/// * `block_configs[i].attention`: `n_heads_in_group` query heads share one, `no_op` and `replace_with_linear` keep
///   nothing (Nemotron-NAS, `DeciLMConfig`);
/// * `num_key_value_heads_per_layer`, or a list under any of the usual keys (DeciLM, OpenELM);
/// * Falcon: `new_decoder_architecture` → `num_kv_heads`, else `multi_query` → 1, else all heads. Its published configs
///   carry `num_kv_heads: 71` beside `multi_query: true` (`FalconAttention` in transformers);
/// * `multi_query` of GPT-BigCode → 1 (`GPTBigCodeAttention`);
/// * ChatGLM and GLM-4 in the remote-code format: `multi_query_attention` → `multi_query_group_num`;
/// * the keys of [`KV_HEADS`]; else all heads.
fn kv_heads(
    reader: &Reader<'_>,
    attention: Option<u64>,
    n_layers: Option<u64>,
) -> Result<Vec<u64>, ConfigProblem> {
    if let Some(blocks) = reader.list(&["block_configs"]) {
        return blocks
            .iter()
            .map(|block| nas_heads(reader, block, attention))
            .collect();
    }
    let per_layer = reader
        .counts(&["num_key_value_heads_per_layer"])?
        .or(reader.counts(KV_HEADS)?);
    if let Some(list) = per_layer {
        if n_layers.is_some_and(|n| list.len() as u64 != n) {
            return Err(ConfigProblem::BadValue {
                key: "list of KV heads".to_owned(),
                value: format!("{} entries long", list.len()),
                wanted: "one entry per layer",
            });
        }
        return Ok(list);
    }
    let configured = |keys| -> Result<_, ConfigProblem> {
        Ok(reader
            .count(keys)?
            .filter(|heads: &u64| *heads > 0)
            .or(attention))
    };
    let is_multi_query = reader.flag(&["multi_query"]) == Some(true);
    let heads = if reader.is_like("falcon") && !reader.is(&["falcon_h1", "falcon_mamba"])
        || reader.is_like("RefinedWeb")
    {
        if reader.flag(&["new_decoder_architecture"]) == Some(true) {
            configured(&["num_kv_heads", "n_head_kv", "num_key_value_heads"])?
        } else if is_multi_query {
            Some(1)
        } else {
            // RefinedWeb of Falcon-40B has `n_head_kv` and neither flag.
            match reader.count(&["n_head_kv"])? {
                Some(heads) if heads > 0 => Some(heads),
                _ => attention,
            }
        }
    } else if reader.is(&["gpt_bigcode"]) && is_multi_query {
        Some(1)
    } else if reader.flag(&["multi_query_attention"]) == Some(true) {
        match reader.count(&["multi_query_group_num"])? {
            Some(groups) if groups > 0 => Some(groups),
            _ => return Err(reader.missing(&["multi_query_group_num"])),
        }
    } else {
        configured(KV_HEADS)?
    };
    Ok(heads.into_iter().collect())
}

fn nas_heads(
    reader: &Reader<'_>,
    block: &Value,
    attention: Option<u64>,
) -> Result<u64, ConfigProblem> {
    let part = block.get("attention");
    let field = |name: &str| part.and_then(|part| part.get(name));
    if ["no_op", "replace_with_linear"]
        .iter()
        .any(|name| field(name) == Some(&Value::Bool(true)))
    {
        return Ok(0);
    }
    let group = field("n_heads_in_group").and_then(Value::as_u64);
    let direct = field("num_key_value_heads").and_then(Value::as_u64);
    match (direct, group, attention) {
        (Some(heads), ..) => Ok(heads),
        (None, Some(group), Some(attention)) if group > 0 => Ok(attention / group),
        _ => Err(reader.missing(&["block_configs[].attention.n_heads_in_group"])),
    }
}

/// Elements of one key: the keys of [`HEAD_DIM`]; for Zamba twice the model's width over the heads, because its shared
/// block attends to two of them side by side (`ZambaConfig`); without a latent `qk_nope_head_dim + qk_rope_head_dim`;
/// else `hidden_size / heads`.
fn head_dim(
    reader: &Reader<'_>,
    attention: Option<u64>,
    hidden: Option<u64>,
) -> Result<Option<u64>, ConfigProblem> {
    let keys: &[&str] = if reader.is(&["mamba2"]) {
        // Here the first key is the state's.
        &HEAD_DIM[1..]
    } else if reader.is(&["zamba", "zamba2"]) {
        // Zamba2 also writes a `kv_channels` that its attention does not use.
        &["attention_head_dim", "head_dim"]
    } else {
        HEAD_DIM
    };
    if let Some(dim) = reader.count(keys)?.filter(|dim| *dim > 0) {
        return Ok(Some(dim));
    }
    let derived = hidden.zip(attention).map(|(hidden, heads)| hidden / heads);
    if reader.is(&["zamba", "zamba2"]) {
        return Ok(hidden
            .zip(attention)
            .map(|(hidden, heads)| 2 * hidden / heads));
    }
    if !reader.has(&["kv_lora_rank"]) {
        let nope = reader.count(&["qk_nope_head_dim"])?;
        let rope = reader.count(&["qk_rope_head_dim"])?;
        if let Some((nope, rope)) = nope.zip(rope) {
            return Ok(Some(nope + rope));
        }
    }
    Ok(derived.filter(|dim| *dim > 0))
}

/// Layers of two shapes:
///
/// * MiMo-V2: `swa_num_key_value_heads`, `swa_head_dim`, `swa_v_head_dim` for windowed layers
///   (`MiMoV2FlashForCausalLM` in vLLM);
/// * Gemma 4: `global_head_dim` (512) for full layers, and `num_global_key_value_heads` where `attention_k_eq_v` is true
///   (`Gemma4TextConfig` in transformers).
fn variant(reader: &Reader<'_>, dims: Option<Dims>) -> Result<Option<Variant>, ConfigProblem> {
    let Some(dims) = dims else { return Ok(None) };
    if reader.has(&["swa_num_key_value_heads", "swa_head_dim", "swa_v_head_dim"]) {
        let k = reader.count(&["swa_head_dim"])?.unwrap_or(dims.k);
        return Ok(Some(Variant {
            kv_heads: reader.count(&["swa_num_key_value_heads"])?,
            dims: Dims {
                k,
                v: reader.count(&["swa_v_head_dim"])?.unwrap_or(dims.v),
            },
            for_sliding: true,
        }));
    }
    let is_gemma4 = reader.is_like("gemma4");
    if is_gemma4 || reader.has(&["global_head_dim"]) {
        let global = match reader.count(&["global_head_dim"])? {
            None if is_gemma4 => 512,
            None => dims.k,
            Some(dim) => dim,
        };
        let kv_heads = match reader.flag(&["attention_k_eq_v"]) {
            Some(true) => reader.count(&["num_global_key_value_heads"])?,
            _ => None,
        };
        return Ok(Some(Variant {
            kv_heads,
            dims: Dims {
                k: global,
                v: global,
            },
            for_sliding: false,
        }));
    }
    Ok(None)
}

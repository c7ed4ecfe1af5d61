//! The report as one JSON object, for scripts.
//!
//! Promise: bytes are exact whole numbers; what is undefined is null; what has no limit is null with `unlimited: true`.

use kvcalc::fit::Fit;
use kvcalc::{Layer, Reach, Shape, State, Store};
use serde::Serialize;

use super::Answer;
use super::fits::{self, Row};
use crate::plan::Plan;
use crate::source::Origin;

#[derive(Serialize)]
struct Object<'a> {
    model: &'a str,
    source: Source<'a>,
    precision: &'static str,
    bits_per_element: u32,
    kv_scales: &'static str,
    state_bytes_per_element: u32,
    batch_size: u64,
    tensor_parallel: u32,
    architecture: Architecture<'a>,
    bytes_per_token: PerToken,
    requirements: Vec<Requirement>,
    fits: Vec<Fits<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Source<'a> {
    Config { origin: &'a str },
    BuiltInTable { reason: &'a str },
}

#[derive(Serialize)]
struct Architecture<'a> {
    model_type: Option<&'a str>,
    layers: usize,
    kv_heads: u64,
    attention_heads: Option<u64>,
    head_dim: u64,
    hidden_size: Option<u64>,
    /// Runs of equal layers, in order.
    layer_groups: Vec<Group>,
    cross_attention: Option<Cross>,
    /// Keys with their class's default.
    defaulted_keys: &'a [String],
}

#[derive(Serialize)]
struct Cross {
    layers: u64,
    bytes_per_encoder_token: u64,
}

/// Equal layers in a row.
#[derive(Serialize)]
struct Group {
    first_layer: usize,
    layers: usize,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attention: Option<Attention>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<Constant>,
}

#[derive(Serialize)]
struct Attention {
    reach: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(flatten)]
    shape: ShapeFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    index_dim: Option<u64>,
    bits_per_token: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ShapeFields {
    Heads {
        kv_heads: u64,
        k_dim: u64,
        v_dim: u64,
    },
    Latent {
        kv_lora_rank: u64,
        qk_rope_head_dim: u64,
    },
}

#[derive(Serialize)]
struct Constant {
    kind: &'static str,
    recurrent_elements: u64,
    convolution_elements: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct PerToken {
    within_windows: u64,
    beyond_windows: u64,
}

#[derive(Serialize)]
struct Requirement {
    tokens: u64,
    per_layer_bytes: Number,
    total_bytes: Number,
    per_token_bytes: Option<Number>,
    marginal_bytes: Number,
    state_bytes: Number,
    per_rank_bytes: Number,
}

#[derive(Serialize)]
struct Fits<'a> {
    tier: &'a str,
    size_bytes: u64,
    longest_request_tokens: Option<u64>,
    unlimited: bool,
    requests: Vec<Requests>,
}

#[derive(Serialize)]
struct Requests {
    tokens: u64,
    requests: Option<u64>,
}

/// A number of bytes; beyond 64 bits JSON readers see a float anyway.
#[derive(Serialize)]
#[serde(untagged)]
enum Number {
    Exact(u64),
    Huge(f64),
}

impl From<u128> for Number {
    fn from(bytes: u128) -> Self {
        u64::try_from(bytes).map_or(Self::Huge(bytes as f64), Self::Exact)
    }
}

/// The object, with a line break at its end.
///
/// # Errors
/// None that can occur: the object holds nothing that JSON cannot.
pub fn json(plan: &Plan, answer: &Answer) -> serde_json::Result<String> {
    let (geometry, format) = (&answer.geometry, &answer.format);
    let object = Object {
        model: &plan.model_id,
        source: match &answer.origin {
            Origin::Config(origin) => Source::Config { origin },
            Origin::Table { reason, .. } => Source::BuiltInTable { reason },
        },
        precision: format.precision().word(),
        bits_per_element: format.precision().bits(),
        kv_scales: format.scales().word(),
        state_bytes_per_element: format.state_bytes(),
        batch_size: plan.batch,
        tensor_parallel: plan.ranks.get(),
        architecture: architecture(answer),
        bytes_per_token: PerToken {
            within_windows: geometry.bytes_per_token_within_windows(format),
            beyond_windows: geometry.growth_per_token(format),
        },
        requirements: requirements(plan, answer),
        fits: fits::rows(plan, answer).iter().map(fits_of).collect(),
    };
    Ok(serde_json::to_string_pretty(&object)? + "\n")
}

fn architecture(answer: &Answer) -> Architecture<'_> {
    let geometry = &answer.geometry;
    let mut layer_groups: Vec<Group> = Vec::new();
    let mut previous = None;
    for (i, layer) in geometry.layers.iter().enumerate() {
        match layer_groups.last_mut() {
            Some(group) if previous == Some(layer) => group.layers += 1,
            _ => layer_groups.push(group(i, layer, answer)),
        }
        previous = Some(layer);
    }
    Architecture {
        model_type: geometry.model_type.as_deref(),
        layers: geometry.layers.len(),
        kv_heads: geometry.kv_heads,
        attention_heads: geometry.attention_heads,
        head_dim: geometry.head_dim,
        hidden_size: geometry.hidden_size,
        layer_groups,
        cross_attention: geometry.cross.map(|cross| Cross {
            layers: cross.n_layers,
            bytes_per_encoder_token: cross.bytes_per_encoder_token(&answer.format),
        }),
        defaulted_keys: &geometry.defaulted,
    }
}

fn group(first_layer: usize, layer: &Layer, answer: &Answer) -> Group {
    Group {
        first_layer,
        layers: 1,
        kind: match layer {
            Layer::Attention(_) => "attention",
            Layer::State(_) => "state",
            Layer::Both(..) => "attention_and_state",
            Layer::Shared => "shared",
            Layer::Cross => "cross_attention",
            Layer::Empty => "none",
        },
        attention: layer.store().map(|store| attention(store, answer)),
        state: layer.state().map(|state| constant(state, answer)),
    }
}

fn attention(store: &Store, answer: &Answer) -> Attention {
    Attention {
        reach: match store.reach {
            Reach::Full => "full",
            Reach::Window(_) => "sliding",
            Reach::Chunk(_) => "chunked",
        },
        limit: store.reach.limit(),
        shape: match store.shape {
            Shape::Heads {
                kv_heads,
                k_dim,
                v_dim,
            } => ShapeFields::Heads {
                kv_heads,
                k_dim,
                v_dim,
            },
            Shape::Latent { rank, rope } => ShapeFields::Latent {
                kv_lora_rank: rank,
                qk_rope_head_dim: rope,
            },
        },
        index_dim: store.index_dim,
        bits_per_token: store.bits_per_token(&answer.format),
    }
}

fn constant(state: &State, answer: &Answer) -> Constant {
    Constant {
        kind: state.label(),
        recurrent_elements: state.recurrent(),
        convolution_elements: state.convolution(),
        bytes: state.bytes(&answer.format),
    }
}

fn requirements(plan: &Plan, answer: &Answer) -> Vec<Requirement> {
    let (geometry, format) = (&answer.geometry, &answer.format);
    let batch = u128::from(plan.batch);
    let requirement = |tokens: &kvcalc::TokenCount| {
        let total = geometry.bytes(*tokens, format) * batch;
        Requirement {
            tokens: tokens.0,
            per_layer_bytes: (geometry.largest_layer_bytes(*tokens, format) * batch).into(),
            total_bytes: total.into(),
            per_token_bytes: total.checked_div(tokens.0.into()).map(Into::into),
            marginal_bytes: (geometry.marginal_bytes(*tokens, format) * batch).into(),
            state_bytes: (geometry.state_bytes(*tokens, format) * batch).into(),
            per_rank_bytes: (answer.rank.bytes(*tokens, format) * batch).into(),
        }
    };
    plan.tokens.iter().map(requirement).collect()
}

fn fits_of<'a>(row: &Row<'a>) -> Fits<'a> {
    Fits {
        tier: row.name,
        size_bytes: row.size.0,
        longest_request_tokens: limit(row.longest),
        unlimited: row.longest == Fit::Unlimited,
        requests: row
            .requests
            .iter()
            .map(|(tokens, fit)| Requests {
                tokens: tokens.0,
                requests: limit(*fit),
            })
            .collect(),
    }
}

fn limit(fit: Fit) -> Option<u64> {
    match fit {
        Fit::UpTo(n) => Some(n),
        Fit::Unlimited => None,
    }
}

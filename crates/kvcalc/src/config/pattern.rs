//! Which layer does what: full attention, a window, a chunk, a state, both, or nothing.
//!
//! Promise: the first rule that a config answers decides, lists that name each layer before patterns before the model
//! type's own habit. A window without any rule for its layers is an error.

use serde_json::Value;

use super::ConfigProblem;
use super::reader::Reader;
use crate::geometry::Reach;

/// What a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Attention to all tokens.
    Full,
    /// Attention to the last so many.
    Sliding(u64),
    /// Attention within a chunk of so many.
    Chunked(u64),
    /// A state.
    State,
    /// Attention to all tokens, and a state.
    FullAndState,
    /// Attention to the last so many, and a state.
    SlidingAndState(u64),
    /// Attention to an encoder.
    Cross,
    /// Neither.
    Nothing,
}

impl Kind {
    /// How far its attention to the text reaches.
    pub(super) fn reach(self) -> Option<Reach> {
        match self {
            Self::Full | Self::FullAndState => Some(Reach::Full),
            Self::Sliding(window) | Self::SlidingAndState(window) => Some(Reach::Window(window)),
            Self::Chunked(chunk) => Some(Reach::Chunk(chunk)),
            Self::State | Self::Cross | Self::Nothing => None,
        }
    }

    pub(super) fn has_state(self) -> bool {
        matches!(
            self,
            Self::State | Self::FullAndState | Self::SlidingAndState(_)
        )
    }
}

const LAYER_LISTS: &[&str] = &["layer_types", "layers_block_type"];
const WINDOW: &[&str] = &[
    "sliding_window",
    "sliding_window_size",
    "attention_window_size",
];

/// The kinds of all layers.
pub(super) fn kinds(reader: &Reader<'_>, n_layers: u64) -> Result<Vec<Kind>, ConfigProblem> {
    let n = usize::try_from(n_layers).expect("at most 10,000 layers");
    let window = window(reader)?;
    let kinds = match listed(reader, n, window)? {
        Some(kinds) => kinds,
        None => match hybrid(reader, n, window)? {
            Some(kinds) => kinds,
            None => attention_only(reader, n, window)?,
        },
    };
    with_last_full(reader, with_cross(reader, kinds)?)
}

/// The window, unless `use_sliding_window` is false (Qwen2, Qwen2.5, Qwen3 carry a number all the same), null, or 0.
fn window(reader: &Reader<'_>) -> Result<Option<u64>, ConfigProblem> {
    if reader.flag(&["use_sliding_window"]) == Some(false) {
        return Ok(None);
    }
    reader.window(WINDOW)
}

/// `layer_types` or `layers_block_type`: one word per layer, taken literally. A list that goes on after the last layer
/// describes extra prediction layers and is cut.
///
/// Source: `ALLOWED_LAYER_TYPES` and the cache classes by layer type in transformers.
fn listed(
    reader: &Reader<'_>,
    n: usize,
    window: Option<u64>,
) -> Result<Option<Vec<Kind>>, ConfigProblem> {
    let Some(list) = reader.list(LAYER_LISTS) else {
        return Ok(None);
    };
    if list.len() < n {
        return Err(ConfigProblem::BadValue {
            key: "layer_types".to_owned(),
            value: format!("{} entries long", list.len()),
            wanted: "one entry per layer",
        });
    }
    let is_windowless = reader.flag(&["use_sliding_window"]) == Some(false);
    let kind = |value: &Value| {
        let word = value.as_str().unwrap_or_default();
        let sliding = || match window {
            Some(window) => Ok(window),
            None => Err(reader.missing(&WINDOW[..1])),
        };
        Ok(match word {
            "full_attention" | "attention" | "full" | "global" | "global_attention" => Kind::Full,
            "sliding_attention" | "sliding" | "local" | "local_attention" | "swa" => {
                if is_windowless {
                    Kind::Full
                } else {
                    Kind::Sliding(sliding()?)
                }
            }
            "chunked_attention" => match reader.window(&["attention_chunk_size"])? {
                Some(chunk) => Kind::Chunked(chunk),
                None => return Err(reader.missing(&["attention_chunk_size"])),
            },
            "linear_attention" | "mamba" | "mamba2" | "recurrent" | "conv" | "kda" => Kind::State,
            "hybrid" => Kind::FullAndState,
            "hybrid_sliding" => Kind::SlidingAndState(sliding()?),
            "moe" | "mlp" | "ffn" => Kind::Nothing,
            // Sparse attention keeps what full attention keeps, and its indexer's keys, which are known for MLA only.
            "indexed_attention" if reader.count(&["kv_lora_rank"])?.is_some() => Kind::Full,
            _ => {
                return Err(ConfigProblem::UnknownLayer {
                    key: "layer_types".to_owned(),
                    word: if word.is_empty() {
                        value.to_string()
                    } else {
                        word.to_owned()
                    },
                });
            }
        })
    };
    list.iter()
        .take(n)
        .map(kind)
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Families that mix attention with states, each by its own keys.
fn hybrid(
    reader: &Reader<'_>,
    n: usize,
    window: Option<u64>,
) -> Result<Option<Vec<Kind>>, ConfigProblem> {
    let by = |is_attention: &dyn Fn(usize) -> bool| {
        let kind = |i| {
            if is_attention(i) {
                Kind::Full
            } else {
                Kind::State
            }
        };
        Some((0..n).map(kind).collect::<Vec<_>>())
    };
    // Nemotron-H: `*` attention, `M` Mamba-2, `-` and `E` feed-forward (`NemotronHConfig`).
    if let Some(pattern) = reader.text(&["hybrid_override_pattern"]) {
        return letters(&pattern, n).map(Some);
    }
    // Kimi Linear: one-based indices (`KimiLinearConfig`).
    if let Some(full) = reader.counts(&["linear_attn_config.full_attn_layers"])? {
        return Ok(by(&|i| full.contains(&(i as u64 + 1))));
    }
    if reader.is(&["kimi_linear"]) {
        return Ok(by(&|i| i > 0 && i.is_multiple_of(4)));
    }
    // Qwen3-Next and Qwen3.5: every `full_attention_interval`-th layer, 4 by default (`Qwen3NextConfig`, `Qwen3_5Config`).
    let is_delta_net = reader.is_like("qwen3_next") || reader.is_like("qwen3_5");
    let interval = reader.count(&["full_attention_interval"])?;
    if is_delta_net || interval.is_some() || reader.is(&["olmo_hybrid"]) {
        let interval = interval.unwrap_or(4).max(1);
        return Ok(by(&|i| (i as u64 + 1).is_multiple_of(interval)));
    }
    // Zamba: the third layer, then every `attn_layer_period`-th of the rest; attention and Mamba side by side
    // (`ZambaConfig`).
    let period = reader
        .count(&["attn_layer_period"])?
        .map(|period| period.max(1));
    let offset = reader.count(&["attn_layer_offset"])?.unwrap_or(0);
    if reader.is(&["zamba"]) {
        let period = period.ok_or_else(|| reader.missing(&["attn_layer_period"]))?;
        let is_hybrid = |i: usize| match i {
            0 | 1 => false,
            2 => true,
            _ => (i as u64 - 3) % period == offset,
        };
        let kind = |i| {
            if is_hybrid(i) {
                Kind::FullAndState
            } else {
                Kind::State
            }
        };
        return Ok(Some((0..n).map(kind).collect()));
    }
    // Zamba2: the layers of `hybrid_layer_ids` (`Zamba2Config`).
    if let Some(ids) = reader.counts(&["hybrid_layer_ids"])? {
        let kind = |i| {
            if ids.contains(&i) {
                Kind::FullAndState
            } else {
                Kind::State
            }
        };
        return Ok(Some((0..n as u64).map(kind).collect()));
    }
    if reader.is(&["zamba2"]) {
        return Err(reader.missing(&["layers_block_type"]));
    }
    // Jamba: where i mod period is the offset (`JambaConfig.layers_block_type`).
    if let Some(period) = period {
        return Ok(by(&|i| i as u64 % period == offset));
    }
    // Bamba: the listed layers, none without a list (`BambaConfig`). Granite 4 lists `layer_types`.
    if let Some(indices) = reader.counts(&["attn_layer_indices"])? {
        return Ok(by(&|i| indices.contains(&(i as u64))));
    }
    if reader.is(&[
        "bamba",
        "granitemoehybrid",
        "mamba",
        "mamba2",
        "falcon_mamba",
    ]) {
        return Ok(by(&|_| false));
    }
    // Falcon-H1: both in every layer (`FalconH1Config`).
    if reader.is(&["falcon_h1"]) {
        return Ok(Some(vec![Kind::FullAndState; n]));
    }
    // MiniMax-01: 1 softmax, 0 lightning; transformers' port alternates, beginning with softmax (`MiniMaxConfig`).
    if let Some(types) = reader.counts(&["attn_type_list"])? {
        if types.len() < n {
            return Err(reader.missing(&["attn_type_list with one entry per layer"]));
        }
        return Ok(by(&|i| types[i] == 1));
    }
    if reader.is(&["minimax_text_01", "minimax_m1"]) {
        return Err(reader.missing(&["attn_type_list"]));
    }
    if reader.is(&["minimax"]) {
        return Ok(by(&|i| i.is_multiple_of(2)));
    }
    // LFM2: the listed layers, all without a list (`Lfm2Config`).
    if let Some(full) = reader.counts(&["full_attn_idxs"])? {
        return Ok(by(&|i| full.contains(&(i as u64))));
    }
    // RecurrentGemma: `block_types` repeated; its attention has a window (`RecurrentGemmaConfig`).
    let is_recurrent = reader.is(&["recurrent_gemma"]);
    let blocks = reader.list(&["block_types", "_block_types"]);
    if is_recurrent || blocks.is_some() {
        let window = window.ok_or_else(|| reader.missing(&["attention_window_size"]))?;
        let own = ["recurrent", "recurrent", "attention"].map(Value::from);
        let blocks = blocks.unwrap_or_else(|| own.to_vec());
        let kind = |block: &Value| {
            if block == "attention" {
                Kind::Sliding(window)
            } else {
                Kind::State
            }
        };
        return Ok(Some(blocks.iter().map(kind).cycle().take(n).collect()));
    }
    Ok(None)
}

fn letters(pattern: &str, n: usize) -> Result<Vec<Kind>, ConfigProblem> {
    let kinds: Vec<Kind> = pattern
        .chars()
        .map(|letter| match letter {
            '*' => Ok(Kind::Full),
            'M' => Ok(Kind::State),
            '-' | 'E' => Ok(Kind::Nothing),
            other => Err(ConfigProblem::UnknownLayer {
                key: "hybrid_override_pattern".to_owned(),
                word: other.to_string(),
            }),
        })
        .collect::<Result<_, _>>()?;
    if kinds.len() < n {
        return Err(ConfigProblem::BadValue {
            key: "hybrid_override_pattern".to_owned(),
            value: format!("{} letters long", kinds.len()),
            wanted: "one letter per layer",
        });
    }
    Ok(kinds.into_iter().take(n).collect())
}

/// Attention everywhere: all layers full, or windows and chunks by pattern, by list, or by the family's habit.
fn attention_only(
    reader: &Reader<'_>,
    n: usize,
    window: Option<u64>,
) -> Result<Vec<Kind>, ConfigProblem> {
    // Llama 4: layers with rotary positions attend within chunks; every fourth has none by default
    // (`Llama4TextConfig`; `no_rope_layers` holds 1 where rotary positions are used).
    if reader.is(&["llama4_text", "llama4"]) {
        return chunked(reader, n);
    }
    // A class that mixes in something else by a habit that none of the rules above knows.
    let class_layers = reader.class_layers().unwrap_or_default();
    if class_layers.contains(['L', 'H', 'X', '-']) {
        return Err(reader.missing(&["layer_types"]));
    }
    let Some(window) = window else {
        let is_switched_off =
            reader.names(WINDOW) || reader.flag(&["use_sliding_window"]) == Some(false);
        if class_layers.contains('S') && !is_switched_off {
            // Its window has a name of its own.
            return Err(reader.missing(&["layer_types"]));
        }
        return Ok(vec![Kind::Full; n]);
    };
    let slide_where = |slides: &dyn Fn(usize) -> bool| {
        let kind = |i| {
            if slides(i) {
                Kind::Sliding(window)
            } else {
                Kind::Full
            }
        };
        Ok((0..n).map(kind).collect())
    };
    let full_every = |period: u64| slide_where(&|i| !(i as u64 + 1).is_multiple_of(period));
    // MiMo-V2: 1 window, 0 full.
    if let Some(pattern) = reader.counts(&["hybrid_layer_pattern"])? {
        return slide_where(&|i| pattern.get(i) == Some(&1));
    }
    if let Some(word) = reader.text(&["sliding_window_pattern"]) {
        // EXAONE 4: letters repeated, `L` local and `G` global.
        let letters: Vec<char> = word.chars().collect();
        if letters.is_empty() || letters.iter().any(|letter| !matches!(letter, 'L' | 'G')) {
            return Err(ConfigProblem::UnknownLayer {
                key: "sliding_window_pattern".to_owned(),
                word,
            });
        }
        return slide_where(&|i| letters[i % letters.len()] == 'L');
    }
    let pattern = ["sliding_window_pattern", "_sliding_window_pattern"];
    if let Some(period) = reader.count(&pattern)? {
        // 0 and 1 switch windows off: every layer is the last of its group.
        return full_every(period.max(1));
    }
    if let Some(period) = reader.count(&["global_attn_every_n_layers"])? {
        return full_every(period.max(1));
    }
    // SmolLM3: layers without rotary positions (`SmolLM3Config`).
    if reader.is(&["smollm3"]) {
        let ropes = reader.counts(&["no_rope_layers"])?;
        let interval = reader
            .count(&["no_rope_layer_interval"])?
            .unwrap_or(4)
            .max(1);
        return slide_where(&|i| match &ropes {
            Some(ropes) => ropes.get(i) == Some(&0),
            None => (i as u64 + 1).is_multiple_of(interval),
        });
    }
    // Qwen2 and its descendants with the window switched on, and dots.llm1: layers from `max_window_layers` on.
    if let Some(first) = reader.count(&["max_window_layers"])? {
        return slide_where(&|i| i as u64 >= first);
    }
    if reader.is(&["gemma2", "gpt_oss", "vaultgemma"]) {
        return slide_where(&|i| i.is_multiple_of(2));
    }
    if reader.is(&["gemma3_text", "gemma3", "mimo_v2_flash"]) || reader.is_like("gemma4") {
        let first_is_full = reader.is(&["mimo_v2_flash"]);
        return slide_where(&|i| !((i + 1).is_multiple_of(6) || first_is_full && i == 0));
    }
    if reader.is(&["gemma3n_text", "gemma3n"]) {
        return full_every(5);
    }
    if reader.is(&["cohere2", "olmo3", "exaone4", "exaone_moe", "afmoe"]) {
        return full_every(4);
    }
    if reader.is(&["cwm", "granite_swa", "granitemoe_swa"]) {
        return slide_where(&|i| !i.is_multiple_of(4));
    }
    // A class that knows a window and no pattern slides in every layer (`get_layer_types_and_kwargs` in transformers):
    // Mistral, Mixtral, Phi-3, StarCoder2, Moshi.
    if reader.has_class() && class_layers.chars().all(|letter| letter == 'S') {
        return slide_where(&|_| true);
    }
    Err(reader.missing(&["layer_types (or sliding_window_pattern): which layers have the window"]))
}

fn chunked(reader: &Reader<'_>, n: usize) -> Result<Vec<Kind>, ConfigProblem> {
    let Some(chunk) = reader.window(&["attention_chunk_size"])? else {
        if reader.names(&["attention_chunk_size"]) {
            return Ok(vec![Kind::Full; n]);
        }
        return Err(reader.missing(&["attention_chunk_size"]));
    };
    let ropes = reader
        .counts(&["no_rope_layers"])?
        .filter(|list| !list.is_empty());
    let interval = reader
        .count(&["no_rope_layer_interval"])?
        .unwrap_or(4)
        .max(1);
    let is_chunked = |i: usize| match &ropes {
        Some(ropes) => ropes.get(i) != Some(&0),
        None => !(i as u64 + 1).is_multiple_of(interval),
    };
    let kind = |i| {
        if is_chunked(i) {
            Kind::Chunked(chunk)
        } else {
            Kind::Full
        }
    };
    Ok((0..n).map(kind).collect())
}

/// Mllama: the layers of `cross_attention_layers` attend to the image and keep nothing for text.
fn with_cross(reader: &Reader<'_>, mut kinds: Vec<Kind>) -> Result<Vec<Kind>, ConfigProblem> {
    let listed = reader.counts(&["cross_attention_layers"])?;
    // `MllamaTextConfig`'s own list, which class attributes do not show.
    let own = || (reader.is_like("mllama")).then(|| vec![3, 8, 13, 18, 23, 28, 33, 38]);
    for i in listed.or_else(own).unwrap_or_default() {
        let i = usize::try_from(i).unwrap_or(usize::MAX);
        if let Some(kind) = kinds.get_mut(i) {
            *kind = Kind::Cross;
        }
    }
    Ok(kinds)
}

/// Gemma 4 makes its last layer full whatever the list says (`Gemma4TextConfig`).
fn with_last_full(reader: &Reader<'_>, mut kinds: Vec<Kind>) -> Result<Vec<Kind>, ConfigProblem> {
    if reader.is_like("gemma4")
        && let Some(last) = kinds.last_mut()
    {
        *last = Kind::Full;
    }
    Ok(kinds)
}

//! What a model keeps per token and per sequence, layer by layer, and how many bytes that is.
//!
//! Promises exact whole numbers: bits are summed over layers and tokens, and rounded up to bytes once. Refuses to
//! guess: a geometry is made by [`ModelGeometry::from_config`] or by hand, and says nothing about engines' own extras
//! (block rounding, prefill chunks held beside a window, memory pools).

mod state;

use std::num::NonZeroU32;

use thiserror::Error;

use crate::format::CacheFormat;
use crate::unit::{KvBytes, KvBytesPerToken, TokenCount};

pub use state::State;

/// The vectors that one attention layer keeps for one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A key and a value for every KV head (MHA, GQA, MQA): `kv_heads · (k_dim + v_dim)` elements.
    ///
    /// Source: `DynamicLayer` of transformers (`cache_utils.py`) and `AttentionSpec` of vLLM
    /// (`v1/kv_cache_interface.py`: `num_kv_heads · (head_size + head_size_v)`).
    Heads {
        /// KV heads.
        kv_heads: u64,
        /// Elements of one key.
        k_dim: u64,
        /// Elements of one value.
        v_dim: u64,
    },
    /// One latent shared by all heads (multi-head latent attention): `rank + rope` elements, no factor 2.
    ///
    /// Source: DeepSeek-V2 (arXiv 2405.04434, section 2.1); `MLAAttentionSpec` of vLLM; `deepseek_v3` of transformers,
    /// which caches the latent before it is expanded.
    Latent {
        /// Elements of the compressed key and value: `kv_lora_rank`.
        rank: u64,
        /// Elements of the shared rotary key: `qk_rope_head_dim`.
        rope: u64,
    },
}

/// Which tokens a layer still needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// All of them.
    Full,
    /// The last so many, the current one included.
    Window(u64),
    /// At most so many: a chunk is forgotten when the next begins.
    Chunk(u64),
}

impl Reach {
    /// How many of `tokens` are kept.
    #[must_use]
    pub fn kept(self, tokens: u64) -> u64 {
        match self {
            Self::Full => tokens,
            Self::Window(limit) | Self::Chunk(limit) => tokens.min(limit),
        }
    }

    /// The most that is ever kept; `None` without limit.
    #[must_use]
    pub fn limit(self) -> Option<u64> {
        match self {
            Self::Full => None,
            Self::Window(limit) | Self::Chunk(limit) => Some(limit),
        }
    }
}

/// What an attention layer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    /// Per token.
    pub shape: Shape,
    /// For how many tokens.
    pub reach: Reach,
    /// Elements of the key of a sparse-attention indexer, kept in 8 bits with a 4-byte scale per 128 elements whatever
    /// the cache's precision is.
    ///
    /// Source: `index_head_dim` of DeepSeek-V3.2; `DeepseekV32IndexerCache` of vLLM (132 bytes for 128 elements).
    pub index_dim: Option<u64>,
}

impl Store {
    /// Full attention with this shape.
    #[must_use]
    pub const fn full(shape: Shape) -> Self {
        Self {
            shape,
            reach: Reach::Full,
            index_dim: None,
        }
    }

    /// Bits that one kept token takes.
    #[must_use]
    pub const fn bits_per_token(&self, format: &CacheFormat) -> u64 {
        let attention = match self.shape {
            Shape::Heads {
                kv_heads,
                k_dim,
                v_dim,
            } => kv_heads * (format.vector_bits(k_dim) + format.vector_bits(v_dim)),
            Shape::Latent { rank, rope } => format.latent_bits(rank, rope),
        };
        match self.index_dim {
            Some(dim) => attention + (dim + dim.div_ceil(128) * 4) * 8,
            None => attention,
        }
    }

    fn bits(&self, tokens: u64, format: &CacheFormat) -> u128 {
        u128::from(self.bits_per_token(format)).saturating_mul(self.reach.kept(tokens).into())
    }

    fn per_rank(mut self, ranks: u64) -> Result<Self, UnevenSplit> {
        if let Shape::Heads { kv_heads, .. } = &mut self.shape {
            *kv_heads = split_heads(*kv_heads, ranks)?;
        }
        Ok(self)
    }
}

/// One layer of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// Attention with a cache of its own.
    Attention(Store),
    /// A state of constant size.
    State(State),
    /// Attention and a state side by side.
    Both(Store, State),
    /// Attention that reads another layer's cache.
    Shared,
    /// Attention to an encoder's output, which is counted apart.
    Cross,
    /// Nothing kept: a feed-forward layer, or attention that was taken out.
    Empty,
}

impl Layer {
    /// The attention cache, if the layer has one.
    #[must_use]
    pub const fn store(&self) -> Option<&Store> {
        match self {
            Self::Attention(store) | Self::Both(store, _) => Some(store),
            Self::State(_) | Self::Shared | Self::Cross | Self::Empty => None,
        }
    }

    /// The state, if the layer has one.
    #[must_use]
    pub const fn state(&self) -> Option<&State> {
        match self {
            Self::State(state) | Self::Both(_, state) => Some(state),
            Self::Attention(_) | Self::Shared | Self::Cross | Self::Empty => None,
        }
    }

    fn bits(&self, tokens: u64, format: &CacheFormat) -> u128 {
        let store = self.store().map_or(0, |store| store.bits(tokens, format));
        store.saturating_add(self.state_bits(tokens, format))
    }

    /// A sequence without a token has no state yet.
    fn state_bits(&self, tokens: u64, format: &CacheFormat) -> u128 {
        match self.state() {
            Some(state) if tokens > 0 => u128::from(state.bytes(format)) * 8,
            _ => 0,
        }
    }

    fn per_rank(self, ranks: u64) -> Result<Self, UnevenSplit> {
        Ok(match self {
            Self::Attention(store) => Self::Attention(store.per_rank(ranks)?),
            Self::State(state) => Self::State(state.per_rank(ranks)?),
            Self::Both(store, state) => Self::Both(store.per_rank(ranks)?, state.per_rank(ranks)?),
            other @ (Self::Shared | Self::Cross | Self::Empty) => other,
        })
    }
}

/// Attention to the output of an encoder: kept per token of the encoder, not of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CrossAttention {
    /// Layers that have it.
    pub n_layers: u64,
    /// What each keeps for one token of the encoder.
    pub shape: Shape,
}

impl CrossAttention {
    /// Bytes for one token of the encoder, over all layers.
    #[must_use]
    pub const fn bytes_per_encoder_token(&self, format: &CacheFormat) -> u64 {
        (Store::full(self.shape).bits_per_token(format) * self.n_layers).div_ceil(8)
    }
}

/// What a model keeps, layer by layer, with the numbers people know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelGeometry {
    /// `model_type` of the text model.
    pub model_type: Option<String>,
    /// The layers in order; never empty when read from a config.
    pub layers: Vec<Layer>,
    /// KV heads as configured, the largest number where layers differ.
    pub kv_heads: u64,
    /// Query heads, where the config has one number for all layers.
    pub attention_heads: Option<u64>,
    /// Elements of one head's key, the largest number where layers differ.
    pub head_dim: u64,
    /// Width of the model.
    pub hidden_size: Option<u64>,
    /// Attention to an encoder.
    pub cross: Option<CrossAttention>,
    /// Bytes of one element of a recurrent state, where the config names the type.
    pub state_bytes: Option<u32>,
    /// Keys that were not in the config and have their model type's default, in the order they were asked for.
    pub defaulted: Vec<String>,
}

/// A number of ranks that the engines do not split this model over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{count} {what} cannot be split over {ranks} ranks")]
pub struct UnevenSplit {
    /// What would have to be split.
    pub what: &'static str,
    /// How many of it there are.
    pub count: u64,
    /// Ranks asked for.
    pub ranks: u64,
}

/// KV heads of one rank: an equal share, or one replica each where there are more ranks than heads.
///
/// Source: `ModelConfig.get_num_kv_heads` of vLLM (`max(1, total // ranks)`) and the divisibility that its attention
/// layers assert; the same rule stands in SGLang and TensorRT-LLM.
const fn split_heads(kv_heads: u64, ranks: u64) -> Result<u64, UnevenSplit> {
    if kv_heads.is_multiple_of(ranks) {
        Ok(kv_heads / ranks)
    } else if ranks.is_multiple_of(kv_heads) {
        Ok(1)
    } else {
        Err(UnevenSplit {
            what: "KV heads",
            count: kv_heads,
            ranks,
        })
    }
}

impl ModelGeometry {
    /// Bytes of one sequence of `tokens`, states included.
    #[must_use]
    pub fn bytes(&self, tokens: TokenCount, format: &CacheFormat) -> u128 {
        let bits = self.layers.iter().fold(0_u128, |sum, l| {
            sum.saturating_add(l.bits(tokens.0, format))
        });
        bits.div_ceil(8)
    }

    /// The part of [`Self::bytes`] that does not grow: recurrent states and windows of convolutions.
    #[must_use]
    pub fn state_bytes(&self, tokens: TokenCount, format: &CacheFormat) -> u128 {
        let bits: u128 = self
            .layers
            .iter()
            .map(|layer| layer.state_bits(tokens.0, format))
            .sum();
        bits.div_ceil(8)
    }

    /// Bytes of the largest single layer.
    #[must_use]
    pub fn largest_layer_bytes(&self, tokens: TokenCount, format: &CacheFormat) -> u128 {
        let bits = self.layers.iter().map(|l| l.bits(tokens.0, format)).max();
        bits.unwrap_or_default().div_ceil(8)
    }

    /// Bytes that the token after `tokens` adds.
    #[must_use]
    pub fn marginal_bytes(&self, tokens: TokenCount, format: &CacheFormat) -> u128 {
        let next = TokenCount(tokens.0.saturating_add(1));
        self.bytes(next, format)
            .saturating_sub(self.bytes(tokens, format))
    }

    /// Bytes that one more token adds while every window still has room.
    #[must_use]
    pub fn bytes_per_token_within_windows(&self, format: &CacheFormat) -> u64 {
        self.bytes_per_token(format, |_| true)
    }

    /// Bytes that one more token adds beyond all windows: only layers with full attention count. Zero for a model whose
    /// cache stops growing.
    #[must_use]
    pub fn growth_per_token(&self, format: &CacheFormat) -> u64 {
        self.bytes_per_token(format, |reach| reach == Reach::Full)
    }

    fn bytes_per_token(&self, format: &CacheFormat, counts: impl Fn(Reach) -> bool) -> u64 {
        let stores = self.layers.iter().filter_map(Layer::store);
        let bits: u64 = stores
            .filter(|store| counts(store.reach))
            .map(|store| store.bits_per_token(format))
            .sum();
        bits.div_ceil(8)
    }

    /// Mean bytes per token of a sequence of `tokens`, rounded up, for whoever counts a cache in tokens; `None` for no
    /// tokens, for a model that keeps nothing, and beyond 32 bits.
    #[must_use]
    pub fn mean_bytes_per_token(
        &self,
        tokens: TokenCount,
        format: &CacheFormat,
    ) -> Option<KvBytesPerToken> {
        let mean = self
            .bytes(tokens, format)
            .checked_add(u128::from(tokens.0).checked_sub(1)?)?
            / u128::from(tokens.0);
        KvBytesPerToken::new(u32::try_from(mean).ok()?)
    }

    /// [`Self::bytes`] as the unit; `None` beyond 64 bits.
    #[must_use]
    pub fn kv_bytes(&self, tokens: TokenCount, format: &CacheFormat) -> Option<KvBytes> {
        u64::try_from(self.bytes(tokens, format)).ok().map(KvBytes)
    }

    /// What one of `ranks` tensor-parallel ranks keeps: KV heads and states are divided, KV heads are replicated when
    /// there are fewer than ranks, latents and indexer keys are replicated always.
    ///
    /// # Errors
    /// A number of ranks that engines refuse: heads or groups that do not divide.
    pub fn per_rank(&self, ranks: NonZeroU32) -> Result<Self, UnevenSplit> {
        let ranks = u64::from(ranks.get());
        if let Some(heads) = self.attention_heads
            && !heads.is_multiple_of(ranks)
        {
            return Err(UnevenSplit {
                what: "attention heads",
                count: heads,
                ranks,
            });
        }
        let layers = self.layers.iter().map(|layer| layer.per_rank(ranks));
        let cross = self.cross.map(|cross| {
            let store = Store::full(cross.shape).per_rank(ranks)?;
            Ok(CrossAttention {
                shape: store.shape,
                ..cross
            })
        });
        Ok(Self {
            layers: layers.collect::<Result<_, _>>()?,
            cross: cross.transpose()?,
            ..self.clone()
        })
    }

    /// Whether all layers are attention of one shape over all tokens: then the cache is linear from the first token on.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let mut layers = self.layers.iter();
        let Some(first @ Layer::Attention(store)) = layers.next() else {
            return false;
        };
        store.reach == Reach::Full
            && store.index_dim.is_none()
            && matches!(store.shape, Shape::Heads { .. })
            && self.cross.is_none()
            && layers.all(|layer| layer == first)
    }

    /// Whether every further token adds the same bytes.
    #[must_use]
    pub fn is_linear(&self) -> bool {
        self.layers.iter().all(|layer| {
            layer.state().is_none() && layer.store().is_none_or(|store| store.reach == Reach::Full)
        })
    }

    /// Whether any layer keeps a latent.
    #[must_use]
    pub fn has_latent(&self) -> bool {
        let mut stores = self.layers.iter().filter_map(Layer::store);
        stores.any(|store| matches!(store.shape, Shape::Latent { .. }))
    }
}

#[cfg(test)]
mod tests;

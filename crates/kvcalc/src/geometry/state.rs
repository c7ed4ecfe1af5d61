//! States of constant size: what linear attention, state-space layers and short convolutions keep per sequence.
//!
//! Promise: the shapes are those that vLLM allocates (`MambaStateShapeCalculator` in
//! `model_executor/layers/mamba/mamba_utils.py`), where a convolution of width k keeps the k − 1 columns before the
//! current one. transformers keeps k columns, the current one included.

use super::UnevenSplit;
use crate::format::{CONV_BYTES, CacheFormat};

/// The state of one layer for one sequence, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Mamba-1: `inner · state` recurrent, `inner · (kernel − 1)` convolution.
    Mamba1 {
        /// Width inside the layer: `mamba_expand · hidden_size`.
        inner: u64,
        /// `mamba_d_state`.
        state: u64,
        /// `mamba_d_conv`.
        kernel: u64,
    },
    /// Mamba-2: `heads · head_dim · state` recurrent, `(inner + 2 · groups · state) · (kernel − 1)` convolution.
    Mamba2 {
        /// Heads.
        heads: u64,
        /// Elements per head.
        head_dim: u64,
        /// State elements per head element.
        state: u64,
        /// Groups of heads that share B and C.
        groups: u64,
        /// Width inside the layer.
        inner: u64,
        /// Width of the convolution.
        kernel: u64,
    },
    /// Gated delta net: `v_heads · k_dim · v_dim` recurrent, `(2 · k_heads · k_dim + v_heads · v_dim) · (kernel − 1)`
    /// convolution.
    DeltaNet {
        /// `linear_num_key_heads`.
        k_heads: u64,
        /// `linear_key_head_dim`.
        k_dim: u64,
        /// `linear_num_value_heads`.
        v_heads: u64,
        /// `linear_value_head_dim`.
        v_dim: u64,
        /// `linear_conv_kernel_dim`.
        kernel: u64,
    },
    /// Kimi delta attention: `heads · head_dim²` recurrent, `3 · heads · head_dim · (kernel − 1)` convolution.
    KimiDelta {
        /// `linear_attn_config.num_heads`.
        heads: u64,
        /// `linear_attn_config.head_dim`.
        head_dim: u64,
        /// `linear_attn_config.short_conv_kernel_size`.
        kernel: u64,
    },
    /// Lightning attention: `heads · head_dim²` recurrent.
    Lightning {
        /// Heads.
        heads: u64,
        /// Elements per head.
        head_dim: u64,
    },
    /// A short convolution alone: `width · (kernel − 1)`.
    ShortConv {
        /// Channels.
        width: u64,
        /// `conv_L_cache`.
        kernel: u64,
    },
    /// A gated linear recurrence (RG-LRU): `width` recurrent, `width · (kernel − 1)` convolution.
    GatedRecurrence {
        /// `lru_width`.
        width: u64,
        /// `conv1d_width`.
        kernel: u64,
    },
}

impl State {
    /// Elements of the recurrent part.
    #[must_use]
    pub const fn recurrent(&self) -> u64 {
        match *self {
            Self::Mamba1 { inner, state, .. } => inner * state,
            Self::Mamba2 {
                heads,
                head_dim,
                state,
                ..
            } => heads * head_dim * state,
            Self::DeltaNet {
                k_dim,
                v_heads,
                v_dim,
                ..
            } => v_heads * k_dim * v_dim,
            Self::KimiDelta {
                heads, head_dim, ..
            }
            | Self::Lightning { heads, head_dim } => heads * head_dim * head_dim,
            Self::ShortConv { .. } => 0,
            Self::GatedRecurrence { width, .. } => width,
        }
    }

    /// Elements of the convolution's window.
    #[must_use]
    pub const fn convolution(&self) -> u64 {
        let (channels, kernel) = match *self {
            Self::Mamba1 { inner, kernel, .. } => (inner, kernel),
            Self::Mamba2 {
                state,
                groups,
                inner,
                kernel,
                ..
            } => (inner + 2 * groups * state, kernel),
            Self::DeltaNet {
                k_heads,
                k_dim,
                v_heads,
                v_dim,
                kernel,
            } => (2 * k_heads * k_dim + v_heads * v_dim, kernel),
            Self::KimiDelta {
                heads,
                head_dim,
                kernel,
            } => (3 * heads * head_dim, kernel),
            Self::Lightning { .. } => (0, 1),
            Self::ShortConv { width, kernel } | Self::GatedRecurrence { width, kernel } => {
                (width, kernel)
            }
        };
        channels * kernel.saturating_sub(1)
    }

    /// Bytes of both parts.
    #[must_use]
    pub const fn bytes(&self, format: &CacheFormat) -> u64 {
        self.recurrent() * format.state_bytes() as u64 + self.convolution() * CONV_BYTES
    }

    /// What the layers with such a state are called in the report.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Mamba1 { .. } => "mamba",
            Self::Mamba2 { .. } => "mamba-2",
            Self::DeltaNet { .. } | Self::KimiDelta { .. } | Self::Lightning { .. } => "linear",
            Self::ShortConv { .. } => "convolution",
            Self::GatedRecurrence { .. } => "recurrent",
        }
    }

    /// The share of one rank.
    pub(super) fn per_rank(mut self, ranks: u64) -> Result<Self, UnevenSplit> {
        let share = |count: &mut u64, what: &'static str| {
            if !count.is_multiple_of(ranks) {
                return Err(UnevenSplit {
                    what,
                    count: *count,
                    ranks,
                });
            }
            *count /= ranks;
            Ok(())
        };
        match &mut self {
            Self::Mamba1 { inner, .. } => share(inner, "state channels")?,
            Self::Mamba2 {
                heads,
                groups,
                inner,
                ..
            } => {
                share(heads, "state heads")?;
                share(inner, "state channels")?;
                // A single group is replicated; several have to divide.
                if *groups > 1 {
                    share(groups, "state groups")?;
                }
            }
            Self::DeltaNet {
                k_heads, v_heads, ..
            } => {
                share(k_heads, "state key heads")?;
                share(v_heads, "state value heads")?;
            }
            Self::KimiDelta { heads, .. } | Self::Lightning { heads, .. } => {
                share(heads, "state heads")?;
            }
            Self::ShortConv { width, .. } | Self::GatedRecurrence { width, .. } => {
                share(width, "state channels")?;
            }
        }
        Ok(self)
    }
}

//! Arithmetic of KV memory, all pure: no I/O, no clock, no randomness.
//!
//! Promises that tokens, blocks and bytes cannot be mixed up: each is a type of its own, and going from
//! one to another always names the factor that was used.
//!
//! | Question | Answer |
//! |---|---|
//! | What does a model keep per token? | [`ModelGeometry::from_config`], or [`known::find`] by id |
//! | How are the values stored? | [`CacheFormat`] |
//! | How many bytes is that? | [`ModelGeometry::bytes`], [`ModelGeometry::growth_per_token`] |
//! | What does one rank of several hold? | [`ModelGeometry::per_rank`] |
//! | How much fits? | [`fit::longest`], [`fit::requests`] |
//!
//! ```
//! use kvcalc::{CacheFormat, ModelGeometry, Precision, TokenCount};
//!
//! let config = serde_json::json!({
//!     "model_type": "llama", "num_hidden_layers": 80, "num_attention_heads": 64,
//!     "num_key_value_heads": 8, "hidden_size": 8192,
//! });
//! let geometry = ModelGeometry::from_config(&config)?;
//! let format = CacheFormat::new(Precision::Fp16);
//! assert_eq!(geometry.bytes(TokenCount(1), &format), 327_680);
//! # Ok::<(), kvcalc::ConfigError>(())
//! ```

pub mod config;
pub mod fit;
mod format;
mod geometry;
pub mod known;
mod unit;

pub use config::{ConfigError, ConfigProblem, Extracted};
pub use format::{CacheFormat, FormatError, Precision, Scales};
pub use geometry::{CrossAttention, Layer, ModelGeometry, Reach, Shape, State, Store, UnevenSplit};
pub use unit::{BlockSize, KvBytes, KvBytesPerToken, TokenCount, ZeroBlockSize};

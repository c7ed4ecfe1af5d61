//! Finds `tokenizer.json` and `config.json` of a model: the copy inside the program, a local path, the shared
//! Hugging Face cache, and at last a download from the hub.
//!
//! Promises: blocking and bounded in time; the cache is the one that Python's `huggingface_hub` uses, in the same layout,
//! so that either side reads what the other wrote; a file enters the cache whole or not at all; the user's token goes to the
//! hub's own origin and nowhere else, and never into a message; every error names each place that was tried and what to pass
//! instead.
//!
//! Refuses: to retry, to look up revisions other than `main`, to fetch weights, to interpret what it finds (that is the
//! `workload` and `kvcalc` crates' work), and to touch the network when `HF_HUB_OFFLINE` is set.

mod address;
mod cache;
mod download;
mod env;
mod error;
mod find;
mod reference;

pub use env::{DEFAULT_ENDPOINT, HubEnv, Token};
pub use error::{HubError, Tried, Wanted};
pub use find::{ModelFile, ModelFileKind, find_config, find_tokenizer};
pub use reference::TokenizerRef;

/// The bytes of the built-in tokenizer's `tokenizer.json`: a small byte-level BPE made by `cargo xtask train-builtin`.
pub static BUILTIN_TOKENIZER: &[u8] = include_bytes!("../assets/builtin-tokenizer.json");

/// The built-in tokenizer's `tokenizer.json`, ready to parse; needs neither files nor the network.
#[must_use]
pub fn builtin_tokenizer() -> &'static [u8] {
    BUILTIN_TOKENIZER
}

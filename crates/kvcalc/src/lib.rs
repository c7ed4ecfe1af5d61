//! Arithmetic of KV memory, all pure: no I/O, no clock, no randomness.
//!
//! Promises that tokens, blocks and bytes cannot be mixed up: each is a type of its own, and going from
//! one to another always names the factor that was used.

mod unit;

pub use unit::{BlockSize, KvBytes, KvBytesPerToken, TokenCount, ZeroBlockSize};

//! What can go wrong, each by name: the real binary against a real socket.
//!
//! Every test holds the tool to the same promises: the right exit code, one clear line that names the cause
//! and what to do, the kind of every failed request in its file, and rows written earlier as they were.
//!
//! * [`answers`]: servers that answer something else than a stream of tokens.
//! * [`harmless`]: unusual streams that are right all the same, and must change nothing.
//! * [`outages`]: servers that go away, are slow, or fail every time or too often.
//! * [`models`]: servers that cannot say which model they serve.
//! * [`local`]: wrong arguments, and places that cannot be written.

#![allow(
    clippy::float_cmp,
    reason = "counts are whole numbers, which a float holds exactly"
)]

mod answers;
mod harmless;
mod local;
mod models;
mod outages;
mod relay;
mod scene;

#[allow(dead_code, reason = "other targets use the rest")]
#[path = "../support/support.rs"]
mod support;
#[path = "../support/tool.rs"]
mod tool;

//! The search for a model's files against a hub that runs in this process, on a real socket of the loopback interface.

#![expect(
    clippy::unwrap_used,
    reason = "a fake hub and a helper of a test may fail as loudly as a test"
)]

mod cache_layout;
mod download;
mod fake;
mod faults;
mod local;
mod process;

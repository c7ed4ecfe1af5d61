//! The acceptance examples of the tool: the real binary against a real server on a real socket.
//!
//! Promise: every example of the tool's page is one test, with the example's number
//! above it. Windows are shortened (the examples' 10 s to 2 s or 1 s), the server's times against the
//! thresholds are not: where a threshold decides, a level that holds it does so by more than 0.1 s, so that a
//! busy machine decides nothing. Refuses to look inside: what the server received and what lies on disk counts.
//!
//! Real time is the subject here; nothing in this target can run on a virtual clock.

#[path = "../support/support.rs"]
mod support;

mod client;
mod console;
mod endpoint;
mod failure;
mod figure;
mod fixed;
mod interruption;
mod prompt;
mod ramp;
mod resume;
mod script;
mod sustained;

/// The tool, and where it is.
const TOOL: &str = "cache_rate_tester";
const BINARY: &str = env!("CARGO_BIN_EXE_cache_rate_tester");
/// The smallest run that measures: one level, one window of 1 s and one retry, per rate. Options given behind
/// these replace them.
const QUICK: &str = "--tokenizer builtin --context-sizes 1000 --working-set-size 8000 \
    --output-tokens 4 --start-concurrency 2 --max-concurrency 2 --ramp-duration 1 --test-duration 4 \
    --num-retries 1 --cache-hit-rates 0";

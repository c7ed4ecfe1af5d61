//! What can go wrong while a working set varies, each by name: the real binary against a real socket.
//!
//! What can go wrong with a single answer, a connection or a place to write is tested with `cache_rate_tester`, which
//! runs the same code; here is what only periods, sizes and levels as listed bring with them. Every test holds the tool
//! to the same promises: the right exit code, one line with cause and remedy, and what was measured stays.

#[path = "../../../cache_rate_tester/tests/support/support.rs"]
#[allow(dead_code, reason = "other targets use the rest")]
mod support;

#[path = "../../../cache_rate_tester/tests/faults/relay.rs"]
#[allow(dead_code, reason = "other targets use the rest")]
mod relay;

mod outages;

/// The tool, and where it is.
const TOOL: &str = "working_set_tester";
const BINARY: &str = env!("CARGO_BIN_EXE_working_set_tester");
/// The smallest run that measures: two sizes, one level, one window of 1 s each. Options given behind these replace
/// them.
const QUICK: &str = "--tokenizer builtin --context-sizes 512 --min-working-set-size 1024 \
    --max-working-set-size 2048 --working-set-increments 2 --output-tokens 4 --cache-hit-rates 100 --mode fixed \
    --fixed-concurrency-levels 2 --ramp-duration 1 --test-duration 4 --num-retries 0";

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
#[path = "../support/tool.rs"]
mod tool;

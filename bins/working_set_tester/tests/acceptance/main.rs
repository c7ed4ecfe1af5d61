//! The acceptance examples of the tool: the real binary against a real server on a real socket.
//!
//! Promise: every example of the tool's page that needs a server is a test, with the example's number above it.
//! Token sizes are divided by 10 or 100 where the page's would take minutes to build, and windows are shortened; the
//! factor stands at the test. Where a threshold decides, a level holds it by more than 0.1 s, so that a busy machine
//! decides nothing. Refuses to look inside: what the server received and what lies on disk counts.
//!
//! What this tool shares with `cache_rate_tester` (requests, streams, endpoints, tokenizers, secrets, logs) is tested
//! there; both run the same code.

#[path = "../../../cache_rate_tester/tests/support/support.rs"]
#[allow(dead_code, reason = "the other tool's tests use the rest")]
mod support;

mod client;
mod console;
mod coverage;
mod figure;
mod fixed;
mod interruption;
mod left_behind;
mod ramp;
mod resume;
mod scene;
mod sustained;
#[path = "../support/tool.rs"]
mod tool;
mod warm_up;

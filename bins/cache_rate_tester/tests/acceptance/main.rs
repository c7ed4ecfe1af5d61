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
#[path = "../support/tool.rs"]
mod tool;

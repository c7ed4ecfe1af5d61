//! The acceptance examples of ramp mode: the real binary against a real server on a real socket.
//!
//! Promise: every example of the tool's page that concerns ramp mode is one test, with the example's number
//! above it. The examples' windows of 10 s are shortened, never their thresholds against the server's times:
//! each level's TTFT lies at least 0.1 s off the threshold, so that a busy machine decides nothing.
//! Refuses to look inside: what the server received and what lies on disk is all that counts.

#[path = "../support/support.rs"]
mod support;

mod ramp;

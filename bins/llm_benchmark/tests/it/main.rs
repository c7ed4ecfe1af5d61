//! The real binary against real servers: the simulator, and a hand-written one that does what servers
//! do wrong.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stand outside of test functions, where the lint cannot see what they are"
)]

mod acceptance;
mod client;
mod console;
mod fault;
mod interruption;
mod mock;
mod option;
mod sample;
mod seed;
mod shim;
mod simulator;
mod tool;

//! The real binary against real servers on real sockets.
//!
//! * [`acceptance`]: the examples of the tool's page, one test each, against a server of a few lines.
//! * [`simulator`]: what it says about servers whose cache is known: `kv_cache_sim` in its forms. [`client`]: about itself.
//! * [`fault`]: what can go wrong, each by name. [`interruption`]: signals.
//! * [`console`]: channels, log file, the report for scripts. [`option`]: arguments, help, prefixes.
//! * [`seed`]: every command of the user's pages. [`shim`]: the Python file that old scripts call.
//!
//! Promise: every server takes a free port and every process a directory of its own; no process outlives its test.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stand outside of test functions, where the lint cannot see what they are"
)]
#![expect(
    clippy::float_cmp,
    reason = "counts are whole numbers, which a float holds exactly"
)]

mod acceptance;
mod client;
mod console;
mod fault;
mod interruption;
mod mock;
mod option;
mod seed;
mod shim;
mod simulator;
mod tool;

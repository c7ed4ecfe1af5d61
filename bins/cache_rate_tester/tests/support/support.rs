//! What the tests of the real binary against a real server share.
//!
//! * [`server`]: a simulated server with known answers on a port of its own, and what it received.
//! * [`process`]: the binary as a process: arguments, working directory, signals, a hard time limit.
//! * [`output`]: what it left behind: CSV by column name, JSON, pages, and the one validator.
//! * [`figure`]: figures computed again from rows.
//!
//! A test target includes it with
//! `#[path = "../support/support.rs"] mod support;`, those of `working_set_tester` from their own place. Which
//! tool is tested is said by the target's module `tool`.
//!
//! Promise: every server takes a free port and every process a directory of its own, so that tests run
//! side by side; a process never outlives its test. Refuses to wait without a limit.

pub(crate) mod figure;
pub(crate) mod output;
pub(crate) mod process;
pub(crate) mod server;

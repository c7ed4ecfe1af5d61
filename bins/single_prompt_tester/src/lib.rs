//! `single_prompt_tester`: does an inference server's prefix cache work, and what is it worth?
//!
//! Every prompt is sent twice: once when nobody has sent it before, once when all of it should be in the cache.
//!
//! Promise: a thin shell. [`args`] is what was typed, [`plan`] what it means, [`prompts`] what is sent, [`session`]
//! the sending, [`client`] what the client itself adds to the figures, [`text`] how it is told, [`verdict`] what it says about the server; everything else is done by the
//! library crates.

pub mod args;
pub mod client;
pub mod plan;
pub mod prompts;
pub mod run;
pub mod session;
pub mod text;
pub mod verdict;

use cli::{AppExit, Failure};

/// Runs the tool with parsed arguments.
///
/// # Errors
/// Wrong arguments, with exit code 2, before anything is sent or written; a run that could not start, with exit
/// code 1.
pub fn run(args: args::Args) -> Result<AppExit, Failure> {
    let plan = plan::Plan::try_from(args).map_err(Failure::usage)?;
    run::run(&plan)
}

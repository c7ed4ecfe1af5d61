//! `working_set_tester`: how an inference server behaves as the set of prompts that are reused outgrows one tier of
//! its cache after the other.
//!
//! Promise: a thin shell. [`args`] is what was typed, [`plan`] what it means, [`text`] how it is told, [`tool`] ties
//! them to the study that it shares with other testers; everything else is done by the library crates.

pub mod args;
pub mod plan;
pub mod text;
mod tool;

use cli::{AppExit, Failure};

/// Runs the tool with parsed arguments.
///
/// # Errors
/// Wrong arguments, with exit code 2, before anything is sent or written; a run that failed, with exit code 1.
pub fn run(args: args::Args) -> Result<AppExit, Failure> {
    let plan = plan::Plan::try_from(args).map_err(Failure::usage)?;
    setup::study::run(&plan)
}

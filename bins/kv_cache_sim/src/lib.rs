//! The simulated inference server as a program: options in, a listening server out.
//!
//! Promises: exactly one line on stdout, when it is ready: `kv_cache_sim listening on http://HOST:PORT` (or `https://`).
//! Everything else goes to stderr. Wrong arguments end it with 2 before it listens.

pub mod args;
pub mod plan;
mod serve;
pub mod value;

use std::ffi::OsString;

use cli::exit::{AppExit, Failure};
use cli::{Parsed, parse};

pub use args::Args;
pub use plan::Plan;

/// Parses `argv` (the program's name included), serves until it is stopped, and says how that ended.
///
/// # Errors
/// A [`Failure`] that knows its exit code.
pub fn run(argv: Vec<OsString>) -> Result<AppExit, Failure> {
    match parse::<Args>(&[], argv) {
        Parsed::Exit(exit) => Ok(exit),
        Parsed::Run(args) => {
            let model = serve::read_model(args.model_config.as_deref())?;
            let plan = Plan::from_args(args, model.as_ref()).map_err(Failure::usage)?;
            serve::serve(plan)
        }
    }
}

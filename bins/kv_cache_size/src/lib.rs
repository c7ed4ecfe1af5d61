//! `kv_cache_size`: how much memory the KV cache of a model needs.
//!
//! Promise: a thin shell. [`args`] is what was typed, [`plan`] what it means, [`source`] finds the config, `kvcalc`
//! does all arithmetic, [`report`] says it. The result goes to stdout; an error that the original printed there stands
//! on both channels.

pub mod args;
pub mod plan;
pub mod report;
pub mod run;
pub mod source;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use cli::argparse::UsageError;
use cli::{AppExit, Parsed, exit, parse};

/// Runs the tool with the words of a command line.
#[must_use]
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let argv = args::model_id_last(argv);
    let args = match parse::<args::Args>(args::OPTION_GENERATIONS, argv) {
        Parsed::Exit(code) => return code.into(),
        Parsed::Run(args) => args,
    };
    match plan::Plan::try_from(args) {
        Ok(plan) => exit::finish(run::run(&plan)),
        Err(error) => {
            print_usage_error(&error);
            AppExit::Usage.into()
        }
    }
}

/// Wrong arguments, as the parser prints them.
fn print_usage_error(error: &plan::PlanError) {
    let error = UsageError {
        tool: args::NAME.to_owned(),
        usage: format!("usage: {}", args::USAGE),
        message: error.to_string(),
        hint: None,
    };
    let mut stderr = io::stderr().lock();
    for line in error.lines() {
        // A closed stderr leaves nobody to tell.
        let _ = writeln!(stderr, "{line}");
    }
}

//! The binary: parse, run, map the outcome to an exit code.

use std::process::ExitCode;

use cache_rate_tester::args::{Args, OPTION_GENERATIONS};
use cli::{Parsed, exit, parse};

fn main() -> ExitCode {
    match parse::<Args>(OPTION_GENERATIONS, std::env::args_os()) {
        Parsed::Exit(code) => code.into(),
        Parsed::Run(args) => exit::finish(cache_rate_tester::run(args)),
    }
}

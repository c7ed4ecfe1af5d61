//! The binary: parse, run, map the outcome to an exit code.

use std::process::ExitCode;

use cli::{Parsed, exit, parse};
use working_set_tester::args::{Args, OPTION_GENERATIONS};

fn main() -> ExitCode {
    match parse::<Args>(OPTION_GENERATIONS, std::env::args_os()) {
        Parsed::Exit(code) => code.into(),
        Parsed::Run(args) => exit::finish(working_set_tester::run(args)),
    }
}

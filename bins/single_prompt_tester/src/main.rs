//! The binary: parse, run, map the outcome to an exit code.

use std::process::ExitCode;

use cli::{Parsed, exit, parse};
use single_prompt_tester::args::{Args, OPTION_GENERATIONS};

fn main() -> ExitCode {
    match parse::<Args>(OPTION_GENERATIONS, std::env::args_os()) {
        Parsed::Exit(code) => code.into(),
        Parsed::Run(args) => exit::finish(single_prompt_tester::run(args)),
    }
}

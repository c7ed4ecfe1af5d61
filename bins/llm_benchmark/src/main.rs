//! The binary: parse, run, map the outcome to an exit code.

use std::process::ExitCode;

use cli::{Parsed, exit};
use llm_benchmark::args;

fn main() -> ExitCode {
    match args::parse(std::env::args_os()) {
        Parsed::Exit(code) => code.into(),
        Parsed::Run(args) => exit::finish(llm_benchmark::run(args)),
    }
}

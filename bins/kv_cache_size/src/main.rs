//! The binary: parse, run, map the outcome to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    kv_cache_size::main(std::env::args_os())
}

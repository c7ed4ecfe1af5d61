//! `kv_cache_sim`: parses its arguments, serves, and maps the end to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::exit::finish(kv_cache_sim::run(std::env::args_os().collect()))
}

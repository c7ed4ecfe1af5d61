//! `cargo run -p report --example validate -- DIR`: what [`report::validate`] says of a result directory.
//! Exits 1 when it finds an error.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal"
)]

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: validate DIR");
        return ExitCode::from(2);
    };
    let validation = report::validate::validate(&dir);
    println!("{validation}");
    if validation.is_valid() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

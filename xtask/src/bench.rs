//! `cargo xtask bench`: the benches whose figures stand in `docs/performance.md`.

mod report;

use anyhow::Result;
use xshell::Shell;

use crate::workspace;

/// Which bench.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Bench {
    /// Prompt building: tokens per second assembled and verified.
    Prompts,
    /// SSE decoding: bytes per second.
    Sse,
    /// The whole client: the released `cache_rate_tester` against the least possible client, one core each
    /// (four minutes; the machine must be quiet, or every figure is of the other programs).
    Client,
    /// Memory of the client over twelve minutes, or as many as are given, at 10,000 chunks a second: fails where it grows.
    Memory,
    /// The simulator: its own work, then streamed chunks per second and how late they are (a minute).
    Sim,
    /// The report programs: start, and a study of a million requests (makes 0.6 GB in target).
    Report,
}

/// Options of the benches.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Bench to run; when none is named prompts, sse, sim and client, one after the other.
    bench: Option<Bench>,
    /// Cells of `client`, such as `flat` or `paced256`, all of them when none is named; minutes of `memory`.
    cells: Vec<String>,
}

/// Runs one bench or all.
pub(crate) fn run(shell: &Shell, args: &Args) -> Result<()> {
    let all = [Bench::Prompts, Bench::Sse, Bench::Sim, Bench::Client];
    for bench in args.bench.map_or(all.to_vec(), |one| vec![one]) {
        let (package, targets) = match bench {
            Bench::Prompts => ("workload", &["prompts"][..]),
            Bench::Sse => ("core-client", &["sse"][..]),
            Bench::Sim => ("sim", &["sim", "streams"][..]),
            Bench::Report => {
                report::run(shell)?;
                continue;
            }
            Bench::Client => {
                client(shell, &args.cells)?;
                continue;
            }
            Bench::Memory => {
                let mut words = vec!["memory".to_owned()];
                words.extend(args.cells.iter().cloned());
                client(shell, &words)?;
                continue;
            }
        };
        for target in targets {
            workspace::cargo(shell)
                .args(["bench", "--locked", "-p", package, "--bench", target])
                .run()?;
        }
    }
    Ok(())
}

/// Builds the tool that is measured as it is released, and runs the bench that runs it.
fn client(shell: &Shell, cells: &[String]) -> Result<()> {
    let tool = "cache_rate_tester".to_owned();
    let tool = workspace::build_released(shell, None, &[tool])?.join("cache_rate_tester");
    let _tool = shell.push_env("CLIENT_TOOL", tool);
    workspace::cargo(shell)
        .args([
            "bench",
            "--locked",
            "-p",
            "core-client",
            "--bench",
            "client",
            "--",
        ])
        .args(cells)
        .run()?;
    Ok(())
}

//! `cargo xtask bench`: the benches whose figures stand in `docs/performance.md`.

use anyhow::Result;
use xshell::{Shell, cmd};

/// Which bench.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Bench {
    /// Prompt building: tokens per second assembled and verified.
    Prompts,
    /// SSE decoding: bytes per second.
    Sse,
    /// The simulator: its own work, then streamed chunks per second and how late they are (a minute).
    Sim,
}

/// Options of the benches.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Bench to run; all of them when none is named.
    bench: Option<Bench>,
}

/// Runs one bench or all.
pub(crate) fn run(shell: &Shell, args: &Args) -> Result<()> {
    let all = [Bench::Prompts, Bench::Sse, Bench::Sim];
    for bench in args.bench.map_or(all.to_vec(), |one| vec![one]) {
        let (package, targets) = match bench {
            Bench::Prompts => ("workload", &["prompts"][..]),
            Bench::Sse => ("core-client", &["sse"][..]),
            Bench::Sim => ("sim", &["sim", "streams"][..]),
        };
        for target in targets {
            cmd!(shell, "cargo bench --locked -p {package} --bench {target}").run()?;
        }
    }
    Ok(())
}

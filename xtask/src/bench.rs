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
}

/// Options of the benches.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Bench to run; all of them when none is named.
    bench: Option<Bench>,
}

/// Runs one bench or all.
pub(crate) fn run(shell: &Shell, args: &Args) -> Result<()> {
    let all = [Bench::Prompts, Bench::Sse];
    for bench in args.bench.map_or(all.to_vec(), |one| vec![one]) {
        let (package, target) = match bench {
            Bench::Prompts => ("workload", "prompts"),
            Bench::Sse => ("core-client", "sse"),
        };
        cmd!(shell, "cargo bench --locked -p {package} --bench {target}").run()?;
    }
    Ok(())
}

//! `combine_graphs`: several runs in common charts and one table.
//!
//! Promise: a thin shell; figures, charts and pages are [`report::combine`]'s work. Every directory is read
//! before the result directory is made, so a run that cannot be used leaves nothing behind.

pub mod args;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use cli::console::{Console, use_color};
use cli::interrupt::Interrupt;
use cli::logging::{self, LogOptions, Verbosity};
use cli::secret::Redactor;
use cli::{AppExit, Failure};
use report::combine::{CombinedRun, Comparison, default_label, unique_labels, write_comparison};
use report::files::ResultDir;

use args::Args;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the tool with parsed arguments.
///
/// # Errors
/// Wrong arguments, with exit code 2; a directory that holds nothing usable, or a result that cannot be
/// written, with exit code 1. Nothing is written in either case.
pub fn run(args: &Args) -> Result<AppExit, Failure> {
    let labels = labels(args).map_err(Failure::usage)?;
    let options = LogOptions {
        tool: "combine_graphs",
        verbosity: Verbosity::from_flags(false, args.verbose),
        color: use_color(args.no_color),
        file: None,
        redactor: Redactor::default(),
        capacity: LogOptions::DEFAULT_CAPACITY,
    };
    let _log = logging::init(options, Console::stderr())?;
    let interrupt = Interrupt::listen();
    let (labels, mut warnings) = unique_labels(&labels);
    let mut comparison = Comparison::default();
    for (dir, label) in args.output_dirs.iter().zip(&labels) {
        if interrupt.came() {
            return Ok(interrupted());
        }
        tracing::info!("Loading {} as '{label}'", dir.display());
        let (run, noticed) = CombinedRun::load(dir, label)
            .map_err(|error| Failure::run(anyhow!("Failed to load data: {error}")))?;
        tracing::debug!(
            "{} has contexts {:?}",
            dir.display(),
            run.contexts
                .iter()
                .map(|c| c.context_size)
                .collect::<Vec<_>>()
        );
        warnings.extend(noticed);
        comparison.runs.push(run);
    }
    warnings.extend(comparison.gaps());
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    if let Some(dir) = own_directory(args) {
        tracing::warn!(
            "The result goes into {}, which is one of the runs: its index.html is replaced (generate_index shows the \
             comparison from now on)",
            dir.display()
        );
    }
    ResultDir::create(&args.output)?;
    let stop = || interrupt.came();
    let written = write_comparison(&args.output, &comparison, &warnings, VERSION, &stop)?;
    for path in &written {
        tracing::debug!("Wrote {}", path.display());
    }
    if interrupt.came() {
        return Ok(interrupted());
    }
    let n_runs = comparison.runs.len();
    tracing::info!(
        "Combined {n_runs} {} in {} files: {}",
        if n_runs == 1 { "run" } else { "runs" },
        written.len(),
        args.output.join("index.html").display()
    );
    Ok(AppExit::Done)
}

fn interrupted() -> AppExit {
    tracing::warn!("Interrupted by user.");
    AppExit::Interrupted
}

/// The directory that is read and written at once.
fn own_directory(args: &Args) -> Option<&PathBuf> {
    let output = args.output.canonicalize().ok()?;
    args.output_dirs
        .iter()
        .find(|dir| dir.canonicalize().is_ok_and(|dir| dir == output))
}

/// One label per directory, given or by rule.
fn labels(args: &Args) -> anyhow::Result<Vec<String>> {
    let missing = |dir: &&PathBuf| !dir.is_dir();
    if let Some(dir) = args.output_dirs.iter().find(missing) {
        let shown = dir.display();
        return Err(if dir.exists() {
            anyhow!("{shown} is not a directory")
        } else {
            anyhow!("Output directory does not exist: {shown}")
        });
    }
    let Some(given) = &args.labels else {
        let current: PathBuf =
            std::env::current_dir().context("the current directory cannot be told")?;
        let label = |dir: &PathBuf| default_label(Path::new(dir), &current);
        return Ok(args.output_dirs.iter().map(label).collect());
    };
    let (n, m) = (given.len(), args.output_dirs.len());
    if n != m {
        return Err(anyhow!(
            "Number of labels ({n}) must match number of output directories ({m})"
        ));
    }
    if given.iter().any(|label| label.trim().is_empty()) {
        return Err(anyhow!("A label must not be empty"));
    }
    Ok(given.clone())
}

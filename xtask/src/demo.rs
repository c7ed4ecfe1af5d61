//! `cargo xtask demo`: one command from a fresh clone to two finished studies.
//!
//! Builds the release binaries and starts the bundled simulator on a free loopback port. First act: runs
//! `cache_rate_tester` against it, and compares what the server says it served from cache with what the
//! study intended. Second act ([`tiers`]): lets `working_set_tester` outgrow the server's memory, tier by tier.
//! Exits 1 when the first differ by more than a block, or when a border between tiers does not show.

mod tiers;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use xshell::Shell;

use crate::simulator::Simulator;
use crate::workspace;

/// Block size of the simulated cache, and so the most by which cached tokens may miss their target.
const BLOCK_SIZE: u64 = 16;
const CONTEXT_SIZE: &str = "2000";
const RATES: [u64; 3] = [0, 50, 100];

/// Options of the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write the first study to this directory, and the second to its `working_set` [default: target/demo].
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Run the programs in this directory instead of building them.
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// Measure for a shorter time: for seeing that everything works. Judged like the whole demo.
    #[arg(long)]
    quick: bool,
}

/// For how long the demo measures, in seconds as the testers' options say them. What is measured and how it is judged
/// is the same at each pace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// A window of the first act's ramp.
    ramp: &'static str,
    /// A whole ramp of the first act.
    test: &'static str,
    /// A window of the second act.
    sweep: &'static str,
}

impl Pace {
    /// Long enough that charts and throughput are worth looking at.
    pub(crate) const WHOLE: Self = Self {
        ramp: "3",
        test: "15",
        sweep: "4",
    };
    /// For a package whose programs are measured at length elsewhere: that they work, and count tokens and tiers rightly.
    pub(crate) const QUICK: Self = Self {
        ramp: "1",
        test: "8",
        sweep: "2",
    };
}

/// Runs the demo.
pub(crate) fn run(args: &Args) -> Result<()> {
    let root = workspace::root();
    let bin = match &args.bin_dir {
        Some(given) => std::path::absolute(given)?,
        None => {
            let shell = Shell::new()?;
            shell.change_dir(&root);
            let tools = ["kv_cache_sim", "cache_rate_tester", "working_set_tester"];
            workspace::build_released(&shell, None, &tools.map(str::to_owned))?
        }
    };
    let pace = if args.quick { Pace::QUICK } else { Pace::WHOLE };
    run_in(&Programs::of(&bin), &output_dir(args, &root)?, pace)
}

/// The programs of the demo, and what is done to each before it is started.
#[derive(Debug)]
pub(crate) struct Programs<'a> {
    bin: &'a Path,
    prepare: fn(Command) -> Command,
}

impl<'a> Programs<'a> {
    /// Those in `bin`, with the environment of this process.
    pub(crate) fn of(bin: &'a Path) -> Self {
        Self {
            bin,
            prepare: |command| command,
        }
    }

    /// The same, each changed by `prepare` before it starts.
    pub(crate) fn prepared(self, prepare: fn(Command) -> Command) -> Self {
        Self { prepare, ..self }
    }

    fn command(&self, name: &str) -> Command {
        (self.prepare)(Command::new(self.bin.join(name)))
    }

    /// The simulator with blocks of the size that the demo judges by.
    fn simulator(&self, options: &[String]) -> Result<Simulator> {
        let block = ["--block-size".to_owned(), BLOCK_SIZE.to_string()];
        let options: Vec<&str> = block.iter().chain(options).map(String::as_str).collect();
        Simulator::launch(self.command("kv_cache_sim"), &options)
    }
}

/// Runs the demo with these programs, its first study into the empty directory `output`.
///
/// # Errors
/// When a study fails, the server served something else from cache than was meant, or a border does not show.
pub(crate) fn run_in(programs: &Programs<'_>, output: &Path, pace: Pace) -> Result<()> {
    let start = Instant::now();
    let mut server = programs.simulator(&[])?;
    let tester = programs.command("cache_rate_tester");
    let studied = study(tester, server.url(), output, pace);
    server.stop();
    studied?;
    let rates = achieved(output)?;
    let stdout = std::io::stdout();
    writeln!(stdout.lock(), "{}\n", table(&rates))?;
    judge(&rates)?;
    let sweep = output.join("working_set");
    let told = tiers::act(programs, &sweep, pace)?;
    writeln!(stdout.lock(), "{told}\n")?;
    writeln!(
        stdout.lock(),
        "Studied in {:.0} s. Open {} and {}",
        start.elapsed().as_secs_f64(),
        output.join("index.html").display(),
        sweep.join("index.html").display()
    )?;
    Ok(())
}

/// Where the study goes: an absolute path, since the tester runs in the directory above it. Only the demo's
/// own place is emptied; somebody else's results are not the demo's to delete.
fn output_dir(args: &Args, root: &Path) -> Result<PathBuf> {
    let output = match &args.output_dir {
        Some(given) => std::path::absolute(given)?,
        None => root.join("target/demo"),
    };
    if output.join("progress.json").exists() {
        ensure!(
            args.output_dir.is_none(),
            "{} holds a study already: name another directory",
            output.display()
        );
        std::fs::remove_dir_all(&output)
            .with_context(|| format!("emptying {}", output.display()))?;
    }
    std::fs::create_dir_all(&output).with_context(|| format!("creating {}", output.display()))?;
    Ok(output)
}

/// Runs a tester against a server, in the directory above its output.
fn run_tool(mut tester: Command, url: &str, output: &Path, options: &[(&str, &str)]) -> Result<()> {
    let status = tester
        .args(["--api-endpoint", url, "--tokenizer", "builtin"])
        .args(
            options
                .iter()
                .flat_map(|(flag, values)| std::iter::once(*flag).chain(values.split_whitespace())),
        )
        .arg("--output-dir")
        .arg(output)
        .current_dir(
            output
                .parent()
                .context("the output directory has no parent")?,
        )
        .status()
        .with_context(|| format!("running {}", tester.get_program().display()))?;
    ensure!(status.success(), "the study ended with {status}");
    Ok(())
}

fn study(tester: Command, url: &str, output: &Path, pace: Pace) -> Result<()> {
    let rates = RATES.map(|r| r.to_string()).join(" ");
    run_tool(
        tester,
        url,
        output,
        &[
            ("--context-sizes", CONTEXT_SIZE),
            ("--working-set-size", "40000"),
            ("--output-tokens", "32"),
            ("--max-ttft", "1.0"),
            ("--ramp-duration", pace.ramp),
            ("--test-duration", pace.test),
            ("--num-retries", "1"),
            ("--start-concurrency", "2"),
            ("--concurrency-increment", "2"),
            ("--max-concurrency", "40"),
            ("--cache-hit-rates", &rates),
        ],
    )
}

/// What one rate came to.
#[derive(Debug, Default)]
struct Achieved {
    intended_tokens: u64,
    reported_tokens: u64,
    body_tokens: u64,
    worst_miss: u64,
    unreported: u64,
    requests: u64,
    levels: std::collections::BTreeSet<u64>,
    peak: String,
    avg_ttft: f64,
    input_tps: f64,
}

fn achieved(output: &Path) -> Result<BTreeMap<u64, Achieved>> {
    let mut rates: BTreeMap<u64, Achieved> = BTreeMap::new();
    for row in rows(&newest(output, "detailed_results_")?)? {
        let entry = rates.entry(number(&row, "cache_hit_rate")?).or_default();
        entry.requests += 1;
        entry.levels.insert(number(&row, "concurrency_level")?);
        let intended = number(&row, "cached_tokens")?;
        let Some(reported) = filled(&row, "reported_cached_tokens") else {
            entry.unreported += 1;
            continue;
        };
        let reported: u64 = reported.parse()?;
        entry.intended_tokens += intended;
        entry.reported_tokens += reported;
        entry.body_tokens += intended + number(&row, "unique_tokens")?;
        entry.worst_miss = entry.worst_miss.max(intended.abs_diff(reported));
    }
    for row in rows(&newest(output, "summary_")?)? {
        let entry = rates.entry(number(&row, "cache_hit_rate")?).or_default();
        entry.peak = filled(&row, "peak_concurrency")
            .unwrap_or_default()
            .to_owned();
        entry.avg_ttft = filled(&row, "avg_ttft").unwrap_or_default().parse()?;
        entry.input_tps = filled(&row, "window_input_tokens_per_sec")
            .unwrap_or_default()
            .parse()?;
    }
    Ok(rates)
}

fn table(rates: &BTreeMap<u64, Achieved>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "Target",
        "Cached meant",
        "Cached reported",
        "Worst miss",
        "Requests",
        "Levels",
        "Peak",
        "Avg TTFT",
        "Input tok/s",
    ]);
    for (rate, a) in rates {
        // Tokens per request, as shares of what was sent beside the question and the chat template.
        let share = |tokens: u64| {
            let n = a.requests.max(1) as f64;
            format!(
                "{:.0} ({:.1} %)",
                tokens as f64 / n,
                100.0 * tokens as f64 / a.body_tokens.max(1) as f64
            )
        };
        table.add_row([
            format!("{rate} %"),
            share(a.intended_tokens),
            share(a.reported_tokens),
            format!("{} tokens", a.worst_miss),
            a.requests.to_string(),
            a.levels.len().to_string(),
            a.peak.clone(),
            format!("{:.3} s", a.avg_ttft),
            format!("{:.0}", a.input_tps),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn judge(rates: &BTreeMap<u64, Achieved>) -> Result<()> {
    for rate in RATES {
        let a = rates
            .get(&rate)
            .with_context(|| format!("rate {rate} % has no row"))?;
        ensure!(
            a.unreported == 0,
            "at {rate} % the server reported no cached tokens for {} requests",
            a.unreported
        );
        ensure!(
            a.worst_miss <= BLOCK_SIZE,
            "at {rate} % a request's reported cached tokens miss the intended ones by {}, more than a block of {BLOCK_SIZE}",
            a.worst_miss
        );
        ensure!(
            a.levels.len() >= 3,
            "at {rate} % only {} concurrency levels were measured",
            a.levels.len()
        );
    }
    Ok(())
}

type Row = BTreeMap<String, String>;

fn rows(path: &Path) -> Result<Vec<Row>> {
    let mut reader = csv::Reader::from_reader(
        File::open(path).with_context(|| format!("opening {}", path.display()))?,
    );
    reader
        .deserialize()
        .collect::<Result<_, _>>()
        .with_context(|| format!("reading {}", path.display()))
}

fn filled<'r>(row: &'r Row, column: &str) -> Option<&'r str> {
    row.get(column)
        .map(String::as_str)
        .filter(|cell| !cell.is_empty())
}

fn number(row: &Row, column: &str) -> Result<u64> {
    filled(row, column)
        .with_context(|| format!("no {column}"))?
        .parse()
        .with_context(|| format!("column {column}"))
}

/// The file of that prefix whose name sorts last; names end in a time stamp.
fn newest(dir: &Path, prefix: &str) -> Result<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .with_context(|| format!("listing {}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .and_then(|n| n.to_str())
                .is_some_and(|n| n.starts_with(prefix) && n.ends_with(".csv"))
        })
        .collect();
    found.sort();
    found
        .pop()
        .with_context(|| format!("no {prefix}*.csv in {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_in_a_directory_that_was_named_are_never_deleted() {
        let root = Shell::new().unwrap().create_temp_dir().unwrap();
        let named = root.path().join("mine");
        let args = Args {
            output_dir: Some(named.clone()),
            bin_dir: None,
            quick: false,
        };
        assert_eq!(output_dir(&args, root.path()).unwrap(), named);
        std::fs::write(named.join("progress.json"), "{}").unwrap();
        assert!(output_dir(&args, root.path()).is_err());
        assert!(named.join("progress.json").exists());
    }
}

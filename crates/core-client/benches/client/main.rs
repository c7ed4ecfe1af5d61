//! The released tester against the least possible client: same server, same cells, one core each.
//!
//! `cargo xtask bench client` builds `cache_rate_tester`, tells this program where it is (`CLIENT_TOOL`) and runs it;
//! `-- CELL…` chooses cells. Server and this program are bound to core 0, the client under test to core 1. Each cell
//! runs the floor client and the tool in turn against a null server and prints floor, ours and their ratio.
//!
//! * TTFT error: the client's TTFT less the server's own, from the whole request to the write of the token.
//! * Gap error: how much a gap between two tokens is off at the client, any sign.
//! * CPU: of the whole process from its first request to its end, files and threads included; of the floor client without
//!   the lines that it prints at its end.
//!
//! The tool runs without the calibration of its own error, which would come on top of each cell: it is a measurement behind
//! the study, and what is asked here is what the study's requests cost. `CLIENT_ARGS` holds options to add, such as
//! `--client-threads 2`; one that is there twice counts as it stands last.
//!
//! These are measurements, not checks: nothing fails here but what cannot run. `memory` is a check ([`memory`]).
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

mod child;
mod floor;
mod job;
mod memory;

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use core_client::null_server::{Answered, NullServer, Script};
use metrics::percentile::percentile;
use metrics::schema::{DetailReader, Lists};

use crate::child::{SERVER_CORE, Used, bind_to};
use crate::job::{Job, Measured};

/// Tokens of a prompt.
const PROMPT_TOKENS: u64 = 1000;
/// The floor client's prompt, about as long as one of the tool's.
const PROMPT_BYTES: usize = 5_500;

/// One comparison.
#[derive(Clone, Copy)]
struct Cell {
    name: &'static str,
    level: usize,
    window_s: u64,
    tokens: u32,
    first_after_ms: u64,
    gap_ms: u64,
    tokens_per_write: u32,
    shown: Shown,
}

#[derive(Clone, Copy, PartialEq)]
enum Shown {
    /// Chunks per processor second.
    Chunks,
    /// Errors of times, memory.
    Times,
    /// Requests.
    Requests,
}

const CELLS: &[Cell] = &[
    flat("flat", 1),
    flat("flat16", 16),
    paced("paced1", 1, 6, 20, 128),
    paced("paced64", 64, 10, 20, 128),
    paced("paced256", 256, 10, 20, 128),
    paced("paced1000", 1000, 10, 20, 128),
    paced("paced10000", 10_000, 20, 500, 16),
    Cell {
        name: "requests",
        level: 16,
        window_s: 5,
        tokens: 1,
        first_after_ms: 0,
        gap_ms: 0,
        tokens_per_write: 1,
        shown: Shown::Requests,
    },
];

const fn flat(name: &'static str, tokens_per_write: u32) -> Cell {
    Cell {
        name,
        level: 16,
        window_s: 6,
        tokens: 1024,
        first_after_ms: 0,
        gap_ms: 0,
        tokens_per_write,
        shown: Shown::Chunks,
    }
}

const fn paced(name: &'static str, level: usize, window_s: u64, gap_ms: u64, tokens: u32) -> Cell {
    Cell {
        name,
        level,
        window_s,
        tokens,
        first_after_ms: 200,
        gap_ms,
        tokens_per_write: 1,
        shown: Shown::Times,
    }
}

impl Cell {
    fn script(self) -> Script {
        Script {
            first_after: Duration::from_millis(self.first_after_ms),
            gap: Duration::from_millis(self.gap_ms),
            tokens_per_write: self.tokens_per_write,
            stamp_all: self.shown == Shown::Times,
            in_step: false,
        }
    }

    fn job(self) -> Job {
        Job {
            level: self.level,
            window: Duration::from_secs(self.window_s),
            tokens: self.tokens,
            prompt_bytes: PROMPT_BYTES,
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|a| a == "floor") {
        let address = arguments.get(1).ok_or("no address")?.parse()?;
        let job = Job::parse(&arguments[2..]).ok_or("not a job")?;
        return Ok(floor::run(address, &job)?);
    }
    let tool = std::env::var_os("CLIENT_TOOL")
        .map(PathBuf::from)
        .ok_or("CLIENT_TOOL names no tester: run `cargo xtask bench client`")?;
    if arguments.first().is_some_and(|a| a == "memory") {
        let minutes = arguments.get(1).filter(|a| !a.starts_with("--"));
        return memory::run(&tool, minutes.map_or(Ok(memory::MINUTES), |m| m.parse())?);
    }
    let named: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    if !bind_to(SERVER_CORE) {
        println!("cannot bind threads to cores: figures are of whatever cores were free");
    }
    // Ten thousand sockets on this side; the tool sees to its own.
    rlimit_or_say();
    println!(
        "{:<12}{:<34}{:>12}{:>12}{:>9}",
        "cell", "figure", "floor", "ours", "ratio"
    );
    for cell in CELLS {
        if named.is_empty() || named.iter().any(|name| *name == cell.name) {
            let floor = run_floor(*cell)?;
            let ours = run_tool(*cell, &tool)?;
            print_cell(*cell, &floor, &ours);
        }
    }
    Ok(())
}

fn rlimit_or_say() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        println!("the limit of open files stays as it is: {error}");
    }
}

/// A client's cell.
struct Outcome {
    used: Used,
    measured: Vec<Measured>,
    truth: HashMap<String, Answered>,
    /// Tokens and requests that the server wrote and read, warm-up included.
    tokens: u64,
    requests: u64,
    /// From the first to the last request of the window, seconds.
    seconds: f64,
    /// From the client's start to its first whole request at the server, as the server saw it.
    start: Duration,
    /// Tokens a second that were written while all streams were there: from a fifth of that time on.
    held: f64,
}

fn start_server(cell: Cell) -> io::Result<NullServer> {
    NullServer::start(cell.script(), || {
        bind_to(SERVER_CORE);
    })
}

fn run_floor(cell: Cell) -> Result<Outcome, Box<dyn std::error::Error>> {
    let server = start_server(cell)?;
    let output = tempfile::NamedTempFile::new()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("floor")
        .arg(server.address().to_string())
        .args(cell.job().arguments())
        .stdout(Stdio::from(output.reopen()?));
    let (status, mut used) = child::run(command, &server)?;
    if !status.success() {
        return Err(format!("the floor client ended with {status}").into());
    }
    let mut printed = io::BufReader::new(output.reopen()?);
    let mut until_printing = String::new();
    printed.read_line(&mut until_printing)?;
    let before_first_request = used.cpu_in_all - used.cpu;
    used.cpu = until_printing.trim_end().parse::<f64>()? - before_first_request;
    let measured = Measured::read_all(printed)?;
    Ok(outcome(server, used, measured))
}

fn run_tool(cell: Cell, tool: &Path) -> Result<Outcome, Box<dyn std::error::Error>> {
    let server = start_server(cell)?;
    // The floor client is this very program, which is in memory: so is the tool, or the disk would be part of its start.
    drop(fs::read(tool)?);
    let place = tempfile::tempdir()?;
    let log = fs::File::create(place.path().join("log"))?;
    let mut command = Command::new(tool);
    command
        .args(["--api-endpoint", &format!("http://{}", server.address())])
        .args(
            "--model null --tokenizer builtin --working-set-size 100000 --cache-hit-rates 100"
                .split(' '),
        )
        .args("--mode fixed --num-retries 0 --skip-graphs --max-ttft 1000000 --seed 1".split(' '))
        .args(["--calibrate", "off"])
        .args(["--context-sizes", &PROMPT_TOKENS.to_string()])
        .args(["--fixed-concurrency-levels", &cell.level.to_string()])
        .args(["--ramp-duration", &cell.window_s.to_string()])
        .args(["--test-duration", &(cell.window_s + 1).to_string()])
        .args(["--output-tokens", &cell.tokens.to_string()])
        .arg("--output-dir")
        .arg(place.path().join("results"))
        .args(
            std::env::var("CLIENT_ARGS")
                .unwrap_or_default()
                .split_whitespace(),
        )
        // Its log goes where its results are.
        .current_dir(place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(log));
    let (status, used) = child::run(command, &server)?;
    if !status.success() {
        let log = fs::read_to_string(place.path().join("log"))?;
        return Err(format!("the tool ended with {status}:\n{log}").into());
    }
    let mut measured = Vec::new();
    for entry in fs::read_dir(place.path().join("results"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with("detailed_results_") {
            continue;
        }
        for record in DetailReader::new(io::BufReader::new(fs::File::open(&path)?), Lists::Parse)? {
            let record = record?;
            let first = record.token_timestamps.first().copied().unwrap_or_default();
            measured.push(Measured {
                id: record.intent.request_id,
                ttft: record.ttft.unwrap_or_default(),
                arrivals: record
                    .token_timestamps
                    .iter()
                    .map(|at| at - first)
                    .collect(),
            });
        }
    }
    Ok(outcome(server, used, measured))
}

fn outcome(server: NullServer, used: Used, measured: Vec<Measured>) -> Outcome {
    let (tokens, requests) = (server.counts().tokens(), server.counts().requests());
    let truth: HashMap<String, Answered> = server
        .stop()
        .into_iter()
        .map(|a| (a.request_id.clone(), a))
        .collect();
    let first_of_all = truth.values().map(|answered| answered.received).min();
    let start = first_of_all.map_or(Duration::ZERO, |at| at - used.started);
    let ids = measured.iter().filter_map(|m| truth.get(&m.id));
    let (first, last) = ids.fold(
        (None, None),
        |(first, last): (Option<Instant>, Option<Instant>), a| {
            (
                Some(first.map_or(a.received, |f| f.min(a.received))),
                Some(last.map_or(a.received, |l| l.max(a.received))),
            )
        },
    );
    let (seconds, held) = match (first, last) {
        (Some(first), Some(last)) => {
            let from = first + (last - first) / 5;
            let writes = truth.values().flat_map(|answered| &answered.writes);
            let n_held = writes.filter(|at| (from..last).contains(at)).count();
            let seconds = (last - from).as_secs_f64();
            ((last - first).as_secs_f64(), n_held as f64 / seconds)
        }
        _ => (0.0, 0.0),
    };
    Outcome {
        used,
        measured,
        truth,
        tokens,
        requests,
        seconds,
        start,
        held,
    }
}

impl Outcome {
    /// TTFT errors and gap errors, seconds, ascending.
    fn errors(&self) -> (Vec<f64>, Vec<f64>) {
        let (mut ttft, mut gaps) = (Vec::new(), Vec::new());
        for seen in &self.measured {
            let Some(truth) = self.truth.get(&seen.id) else {
                continue;
            };
            let Some(real) = truth.ttft() else { continue };
            ttft.push(seen.ttft - real.as_secs_f64());
            if truth.writes.len() != seen.arrivals.len() {
                continue;
            }
            for (seen, wrote) in seen.arrivals.windows(2).zip(truth.writes.windows(2)) {
                gaps.push(((seen[1] - seen[0]) - (wrote[1] - wrote[0]).as_secs_f64()).abs());
            }
        }
        ttft.sort_by(f64::total_cmp);
        gaps.sort_by(f64::total_cmp);
        (ttft, gaps)
    }
}

fn print_cell(cell: Cell, floor: &Outcome, ours: &Outcome) {
    let line = |figure: &str, f: f64, o: f64, unit: &str, digits: usize| {
        println!(
            "{:<12}{:<34}{:>12}{:>12}{:>9}",
            cell.name,
            format!("{figure}, {unit}"),
            format!("{f:.digits$}"),
            format!("{o:.digits$}"),
            format!("{:.2}", o / f)
        );
    };
    match cell.shown {
        Shown::Chunks => {
            let rate = |o: &Outcome| o.tokens as f64 / o.used.cpu;
            line("chunks per CPU second", rate(floor), rate(ours), "1/s", 0);
            line(
                "CPU per chunk",
                1e6 / rate(floor),
                1e6 / rate(ours),
                "µs",
                2,
            );
            let wall = |o: &Outcome| o.tokens as f64 / o.seconds;
            line("chunks per second", wall(floor), wall(ours), "1/s", 0);
        }
        Shown::Times => {
            let ((ft, fg), (ot, og)) = (floor.errors(), ours.errors());
            let at = |sorted: &[f64], q| percentile(sorted, q).unwrap_or(f64::NAN) * 1e3;
            for (name, q) in [("p50", 0.5), ("p99", 0.99)] {
                line(
                    &format!("TTFT error {name}"),
                    at(&ft, q),
                    at(&ot, q),
                    "ms",
                    3,
                );
            }
            for (name, q) in [("p50", 0.5), ("p99", 0.99)] {
                line(
                    &format!("gap error {name}"),
                    at(&fg, q),
                    at(&og, q),
                    "ms",
                    3,
                );
            }
            line("chunks per second", floor.held, ours.held, "1/s", 0);
            let per_chunk = |o: &Outcome| o.used.cpu / o.tokens as f64 * 1e6;
            line("CPU per chunk", per_chunk(floor), per_chunk(ours), "µs", 2);
            let mib = |o: &Outcome| o.used.peak_rss as f64 / f64::from(1 << 20);
            line("peak memory", mib(floor), mib(ours), "MiB", 1);
            let kib = |o: &Outcome| o.used.peak_rss as f64 / 1024.0 / cell.level as f64;
            line("memory per stream", kib(floor), kib(ours), "KiB", 1);
            let ms = |o: &Outcome| o.start.as_secs_f64() * 1e3;
            line("start to first request", ms(floor), ms(ours), "ms", 1);
        }
        Shown::Requests => {
            let rate = |o: &Outcome| o.measured.len() as f64 / o.seconds;
            line("requests per second", rate(floor), rate(ours), "1/s", 0);
            let cpu = |o: &Outcome| o.used.cpu / o.requests as f64 * 1e6;
            line("CPU per request", cpu(floor), cpu(ours), "µs", 1);
            let prompt = |o: &Outcome| rate(o) * PROMPT_TOKENS as f64;
            line(
                "prompt tokens per second",
                prompt(floor),
                prompt(ours),
                "1/s",
                0,
            );
        }
    }
    println!(
        "{:<12}({} requests measured by the floor client, {} by the tool; CPU {:.2} s and {:.2} s, in all {:.2} s)",
        "",
        floor.measured.len(),
        ours.measured.len(),
        floor.used.cpu,
        ours.used.cpu,
        ours.used.cpu_in_all
    );
}

//! Memory of a run that lasts: a sustained test at ten thousand chunks a second, its resident memory looked at every
//! five seconds, and what the slope would come to in eight hours.
//!
//! `cargo xtask bench memory` runs it for twelve minutes, `cargo xtask bench memory 30` for thirty. Unlike the cells this
//! is a check: it fails when eight hours would need more than [`MOST_GROWTH_MIB`] beyond what the first minutes do. Times
//! are not looked at, so the machine need not be quiet.
//!
//! The slope is that behind request [`SETTLED`] of each connection: until then every connection still takes memory that it
//! keeps, as hyper hands requests to it through a list in blocks of 32, of which two are in use from request 33 on.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use core_client::null_server::{NullServer, Script};

use crate::child;

/// Streams; with the pace below ten thousand chunks a second.
const LEVEL: u32 = 220;
const FIRST_AFTER: Duration = Duration::from_millis(200);
const GAP: Duration = Duration::from_millis(20);
const TOKENS: u32 = 128;
/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Minutes, if none are given: three until the connections have settled, and enough behind for a slope.
pub(crate) const MINUTES: f64 = 12.0;
/// Requests of a connection behind which it takes no more memory: both blocks of 32 have been in use.
const SETTLED: u64 = 64;
/// What eight hours may add, MiB. Allocators settle for long, and some minutes cannot tell less from nothing.
const MOST_GROWTH_MIB: f64 = 64.0;
const HOURS: f64 = 8.0;
const PERIOD_S: u64 = 15;

/// A look: minutes since the start, KiB.
type Look = (f64, f64);

/// Runs the tool for so many minutes.
pub(crate) fn run(tool: &Path, minutes: f64) -> Result<(), Box<dyn Error>> {
    let script = Script {
        first_after: FIRST_AFTER,
        gap: GAP,
        tokens_per_write: 1,
        stamp_all: false,
        in_step: false,
    };
    let server = NullServer::start(script, || {})?;
    let place = tempfile::tempdir()?;
    let log = fs::File::create(place.path().join("log"))?;
    let level = LEVEL.to_string();
    let mut command = Command::new(tool);
    command
        .current_dir(place.path())
        .args(["--api-endpoint", &format!("http://{}", server.address())])
        .args("--model null --tokenizer builtin --working-set-size 100000 --cache-hit-rates 100".split(' '))
        .args("--mode sustained --skip-graphs --max-ttft 1000000 --seed 1 --calibrate off --context-sizes 1000".split(' '))
        .args(["--start-concurrency", &level, "--max-concurrency", &level])
        .args(["--output-tokens", &TOKENS.to_string()])
        .args(["--assessment-period", &PERIOD_S.to_string()])
        .args(["--test-duration", &(minutes * 60.0).round().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(log));
    let started = Instant::now();
    let mut child = command.spawn()?;
    let mut looks: Vec<Look> = Vec::new();
    println!(
        "{:>8}{:>12}{:>16}{:>14}",
        "minute", "RSS, MiB", "anonymous, MiB", "chunks"
    );
    let (mut n_looks, mut settled_at) = (0_usize, None);
    let status = loop {
        thread::sleep(EVERY);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let minute = started.elapsed().as_secs_f64() / 60.0;
        if minute > minutes {
            // The drain and the files at the end are no part of a run that goes on.
            continue;
        }
        let kib = |name| child::memory(child.id(), name) as f64 / 1024.0;
        let rss = kib("VmRSS:");
        if n_looks.is_multiple_of(6) {
            let (anonymous, chunks) = (kib("RssAnon:"), server.counts().tokens());
            println!(
                "{minute:>8.1}{:>12.1}{:>16.1}{chunks:>14}",
                rss / 1024.0,
                anonymous / 1024.0
            );
        }
        n_looks += 1;
        if server.counts().requests() >= SETTLED * u64::from(LEVEL) {
            settled_at.get_or_insert(minute);
            looks.push((minute, rss));
        }
    };
    if !status.success() {
        let log = fs::read_to_string(place.path().join("log"))?;
        return Err(format!("the tool ended with {status}:\n{log}").into());
    }
    let rate = server.counts().tokens() as f64 / (minutes * 60.0);
    let (Some(settled_at), Some(slope)) = (settled_at, slope(&looks)) else {
        return Err(format!(
            "too short for a slope: {SETTLED} requests of each connection come first"
        )
        .into());
    };
    let growth = slope * HOURS * 60.0 / 1024.0;
    println!(
        "{rate:.0} chunks a second, {} looks from minute {settled_at:.1} on: {slope:+.1} KiB a minute, {growth:+.0} MiB in {HOURS:.0} hours",
        looks.len(),
    );
    if growth > MOST_GROWTH_MIB {
        return Err(format!("memory is not flat: at most {MOST_GROWTH_MIB:.0} MiB are").into());
    }
    Ok(())
}

/// Slope of the line of least squares.
fn slope(looks: &[Look]) -> Option<f64> {
    let n = looks.len() as f64;
    let (x, y) = looks
        .iter()
        .fold((0.0, 0.0), |(x, y), look| (x + look.0 / n, y + look.1 / n));
    let (both, squares) = looks.iter().fold((0.0, 0.0), |(both, squares), look| {
        (
            both + (look.0 - x) * (look.1 - y),
            squares + (look.0 - x).powi(2),
        )
    });
    (squares > 0.0).then(|| both / squares)
}

//! `cargo xtask bench report`: how long the report programs take to start, and to read a large study.
//!
//! Makes a directory as `cache_rate_tester` leaves one: a million requests in one detail file, sixteen chunks
//! each. The directory is kept in `target` for the next time.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use xshell::Shell;

use crate::workspace;

const ROWS: u32 = 1_000_000;
const CHUNKS: u32 = 16;
const CONTEXT: u64 = 8_000;
const TOOLS: [&str; 3] = ["generate_index", "regenerate_graphs", "combine_graphs"];
/// Starts of each program; the median counts.
const STARTS: usize = 21;
/// Runs over the large directory; all are shown.
const RUNS: usize = 3;

/// Builds the programs, makes the data if they are not there, and prints what was measured.
pub(super) fn run(shell: &Shell) -> Result<()> {
    let released = workspace::build_released(shell, None, &TOOLS.map(str::to_owned))?;
    let target = workspace::target_directory()?;
    let dir = target.join("bench-report");
    let bytes = make(&dir)?;
    let bin = |tool: &str| released.join(tool);
    for tool in TOOLS {
        let mut times = Vec::new();
        for _ in 0..STARTS {
            times.push(measure(Command::new(bin(tool)).arg("--version"))?.0);
        }
        times.sort();
        eprintln!(
            "{tool} --version: {:.1} ms (median of {STARTS})",
            times[STARTS / 2].as_secs_f64() * 1e3
        );
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a file is far smaller than 2^53 bytes"
    )]
    let megabytes = bytes as f64 / 1e6;
    eprintln!("{ROWS} rows of {CHUNKS} chunks, {megabytes:.0} MB:");
    // regenerate_graphs makes the index again where there is one, as behind a study.
    measure(Command::new(bin(TOOLS[0])).arg(&dir))?;
    let combined = target.join("bench-report-combined");
    let work: [(&str, Vec<&Path>); 3] = [
        (TOOLS[1], vec![&dir]),
        (TOOLS[0], vec![&dir]),
        (
            TOOLS[2],
            vec![
                Path::new("--output-dirs"),
                &dir,
                Path::new("--output"),
                &combined,
            ],
        ),
    ];
    for (tool, args) in work {
        for _ in 0..RUNS {
            let (time, peak) = measure(Command::new(bin(tool)).args(&args))?;
            eprintln!(
                "{tool}: {:.2} s, {peak} MiB at the peak",
                time.as_secs_f64()
            );
        }
    }
    Ok(())
}

/// Runs a command to its end: how long it took, and its largest resident memory in MiB as the system counts it.
fn measure(command: &mut Command) -> Result<(Duration, u64)> {
    let start = Instant::now();
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting a report program")?;
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let text = std::fs::read_to_string(&status_file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0));
        // Often enough for a start of a few milliseconds, seldom enough to cost nothing.
        thread::sleep(Duration::from_micros(200));
    };
    let time = start.elapsed();
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok((time, peak.div_ceil(1024)))
}

/// One window of a test.
struct Phase {
    id: String,
    rate: u64,
    level: u64,
    start: f64,
}

/// Length of a window, seconds.
const WINDOW: f64 = 60.0;
const PEAK: u64 = 42;

/// A ramp and three retries at 21 rates.
fn phases() -> Vec<Phase> {
    let mut out = Vec::new();
    let mut start = 1_795_000_000.0;
    for rate in (0..=100).step_by(5) {
        let ramp = [2, 12, 22, 32, PEAK, 52].map(|level| (format!("RAMP_c{level}"), level));
        let retries = [1, 2, 3].map(|i| (format!("RETRY_{i}"), PEAK));
        for (id, level) in ramp.into_iter().chain(retries) {
            out.push(Phase {
                id,
                rate,
                level,
                start,
            });
            start += WINDOW + 1.0;
        }
    }
    out
}

/// Writes the directory, unless it is there; returns the size of the detail file in bytes.
fn make(dir: &Path) -> Result<u64> {
    let details = dir.join(format!("detailed_results_{CONTEXT}_20261122_000000.csv"));
    if let Ok(metadata) = std::fs::metadata(&details) {
        return Ok(metadata.len());
    }
    std::fs::create_dir_all(dir)?;
    let phases = phases();
    std::fs::write(dir.join("summary_20261122_000000.csv"), summary())?;
    std::fs::write(
        dir.join("phase_metadata_20261122_000000.csv"),
        phase_table(&phases),
    )?;
    let progress = r#"{"test_id": "0", "parameters": {"context_sizes": [8000], "max_ttft": 2.0, "mode": "ramp"}, "completed_tests": [], "last_update": ""}"#;
    std::fs::write(dir.join("progress.json"), progress)?;
    // Under another name until it is whole.
    let unfinished = dir.join("details.part");
    write_details(&unfinished, &phases)
        .with_context(|| format!("writing {}", unfinished.display()))?;
    std::fs::rename(&unfinished, &details)?;
    Ok(std::fs::metadata(&details)?.len())
}

fn summary() -> String {
    let mut text = String::from(
        "context_size,cache_hit_rate,model,input_tokens_per_sec,output_tokens_per_sec,avg_ttft,median_ttft,p95_ttft,p99_ttft,avg_ttlt,\
         median_ttlt,p95_ttlt,p99_ttlt,avg_output_tokens,avg_itl,median_itl,p95_itl,p99_itl,peak_concurrency,total_requests,test_duration\n",
    );
    for rate in (0..=100).step_by(5) {
        text.push_str(&format!(
            "{CONTEXT},{rate},bench,21000.5,670.25,0.9,0.85,1.4,1.7,4.0,3.9,5.0,5.5,38.5,0.025,0.025,0.03,0.04,{PEAK},21000,240.5\n"
        ));
    }
    text
}

fn phase_table(phases: &[Phase]) -> String {
    let mut text = String::from(
        "phase_type,phase_id,cache_hit_rate,context_size,concurrency_level,start_time,end_time,duration,num_requests_launched,\
         num_requests_completed\n",
    );
    for Phase {
        id,
        rate,
        level,
        start,
    } in phases
    {
        let kind = if id.starts_with("RAMP") {
            "RAMP"
        } else {
            "RETRY"
        };
        let end = start + WINDOW;
        text.push_str(&format!(
            "{kind},{id},{rate},{CONTEXT},{level},{start:.6},{end:.6},{WINDOW:.1},5300,5300\n"
        ));
    }
    text
}

fn write_details(path: &Path, phases: &[Phase]) -> Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    writeln!(
        out,
        "request_id,phase_id,cache_hit_rate,context_size,cached_tokens,unique_tokens,output_tokens,ttft,ttlt,generation_time,total_time,\
         launch_time,finish_time,concurrency_level,itl,prefill_complete_time,token_timestamps,tokens_per_chunk,reported_prompt_tokens,\
         reported_cached_tokens,send_delay,endpoint"
    )?;
    let n_phases = u32::try_from(phases.len())?;
    let mut row = 0;
    for (i, phase) in (0u32..).zip(phases) {
        // The rows are spread evenly, none is lost to rounding.
        let end = u32::try_from(u64::from(ROWS) * u64::from(i + 1) / u64::from(n_phases))?;
        let n = end - row;
        for k in 0..n {
            write_row(&mut out, phase, k, f64::from(k) / f64::from(n))?;
        }
        row = end;
    }
    out.flush()?;
    Ok(())
}

/// One request; `share` is how far into its window it was launched.
fn write_row(out: &mut impl Write, phase: &Phase, k: u32, share: f64) -> Result<()> {
    let Phase {
        id, rate, level, ..
    } = phase;
    let cached = CONTEXT * rate / 100 / 256 * 256;
    let unique = CONTEXT - cached;
    // Latencies wander a little, with all digits that a clock gives.
    let wobble = f64::from(k % 997) / 997.0;
    let ttft = 0.05 + 0.000_1 * unique_seconds(unique) + 0.013_7 * wobble;
    let gap = 0.021 + 0.003_1 * wobble;
    let generation = gap * f64::from(CHUNKS - 1);
    let launch = phase.start + share * (WINDOW - 3.0);
    let first = launch + ttft;
    let finish = first + generation;
    write!(
        out,
        "{id}_r{k},{id},{rate},{CONTEXT},{cached},{unique},{CHUNKS},{ttft},{ttlt},{generation},{ttlt},{launch:.7},{finish:.7},{level},{gap},{first:.7},\"[",
        ttlt = ttft + generation
    )?;
    for i in 0..CHUNKS {
        let comma = if i == 0 { "" } else { ", " };
        write!(out, "{comma}{:.7}", first + gap * f64::from(i))?;
    }
    write!(out, "]\",\"[1")?;
    for _ in 1..CHUNKS {
        write!(out, ", 1")?;
    }
    writeln!(
        out,
        "]\",{},{cached},0.000{},http://localhost:8000",
        CONTEXT + 24,
        k % 100
    )?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand tokens")]
fn unique_seconds(unique: u64) -> f64 {
    unique as f64
}

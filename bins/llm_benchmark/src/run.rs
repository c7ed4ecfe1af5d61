//! One run from plan to exit code.
//!
//! Promise: a place that cannot be written ends it before the first request; results are on the console
//! before they are written, so that a full disk loses none; a signal loses no finished request.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context as _;
use cli::exit::write_stdout;
use cli::options::Calibrate;
use cli::{AppExit, Failure};
use core_client::RunClock;
use core_client::null_server::calibration::most_files;
use core_client::plain::{PlainClient, PlainConfig};
use core_client::probe::Probe;
use metrics::health::{Planned, WindowHealth};
use serde_json::{Map, Value};

use crate::client::{self, ClientPart};
use crate::load::{Samples, send_all};
use crate::output::ResultFile;
use crate::plan::Plan;
use crate::stop::Stop;
use crate::summary::{Latencies, Remarks, Summary, errors};
use crate::text;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Carries the plan out.
///
/// # Errors
/// When the run could not start or its results could not be written. A run that started reports failed
/// requests through the exit code.
pub fn run(plan: &Plan) -> Result<AppExit, Failure> {
    let config = PlainConfig {
        http: plan.http,
        headers: plan.headers.clone(),
        insecure: plan.insecure,
        request_timeout: plan.timeout,
        connect_timeout: CONNECT_TIMEOUT.min(plan.timeout),
    };
    let client = PlainClient::new(plan.endpoint.clone(), config, RunClock::start())
        .map_err(Failure::usage)?;
    let file = match &plan.output {
        Some(path) => Some(ResultFile::open(path).map_err(|error| {
            Failure::run(error).with_hint("choose another --output; nothing was sent")
        })?),
        None => None,
    };
    // Connections are files. Where this fails the requests say so.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(benchmark(plan, &client, file))
}

async fn benchmark(
    plan: &Plan,
    client: &PlainClient,
    file: Option<ResultFile>,
) -> Result<AppExit, Failure> {
    let stop = Stop::listen().context("listening for signals")?;
    write_stdout(&text::configuration(plan))?;
    if !plan.quiet {
        tell([text::possible_hit_rate(plan)]);
    }
    if plan.n_warmup > 0 {
        write_stdout(&text::warmup(plan.n_warmup))?;
        let n_slots = plan.warmup_concurrency();
        let warmed = send_all(client, plan, 0..plan.n_warmup, n_slots, &stop.token, None).await?;
        let failed = errors(&warmed.samples);
        let n_failed = failed.iter().map(|kind| kind.n).sum();
        if n_failed > 0 && !plan.quiet {
            tell([text::warmup_failures(n_failed, plan.n_warmup, &failed)]);
        }
    }
    let (probe, feelers) = Probe::start(1).context("starting the thread that probes")?;
    for feeler in feelers {
        tokio::spawn(feeler.feel());
    }
    let mut measured = Samples::default();
    if stop.requested().is_none() {
        write_stdout(&text::benchmark(plan.n_requests))?;
        let range = plan.n_warmup..plan.prompts.n_total();
        let (concurrency, probe) = (plan.concurrency, Some(&probe));
        measured = send_all(client, plan, range, concurrency, &stop.token, probe).await?;
    }
    drop(probe);
    // The calibration needs files for connections of its own.
    client.close_idle();
    report(plan, &measured, file, &stop).await?;
    let has_success = measured.samples.iter().any(|sample| sample.outcome.is_ok());
    // Behind the last request there is little to stop, but who stops the run gets the exit code of one that was stopped.
    Ok(match stop.requested() {
        Some(exit) => exit,
        None if has_success => AppExit::Done,
        None => AppExit::Failed,
    })
}

async fn report(
    plan: &Plan,
    measured: &Samples,
    file: Option<ResultFile>,
    stop: &Stop,
) -> Result<(), Failure> {
    let samples = &measured.samples;
    let is_interrupted = stop.requested().is_some() && samples.len() < plan.n_requests;
    let (remarks, failed) = (Remarks::of(samples), errors(samples));
    let summary = Summary::of(measured);
    if !samples.is_empty() {
        write_stdout(&text::results(&summary))?;
    }
    tell(text::error_table(&failed, samples.len()));
    if is_interrupted {
        tell([text::interrupted(samples.len(), plan.n_requests)]);
    }
    if !plan.quiet {
        tell(text::advice(plan, &failed, remarks.n_replies > 0));
        tell(text::notes(&remarks));
    }
    let mut results = text::json_results(&summary);
    let awaits_details = match file.filter(|_| !samples.is_empty()) {
        // The client's own part is not in it: whoever waits for the file does not wait for the calibration.
        Some(file) if !plan.details => {
            save(file, &results)?;
            None
        }
        file => file,
    };
    let health = WindowHealth {
        level: u32::try_from(plan.concurrency.min(plan.n_requests)).unwrap_or(u32::MAX),
        ..measured.own_part.health()
    };
    let calibration = calibration(plan, &health, remarks.n_replies, stop).await;
    let own_part = ClientPart::judge(&health, calibration, plan.endpoint.is_tls(), plan.http);
    if !plan.quiet && remarks.n_replies > 0 {
        tell(own_part.lines());
    }
    let Some(file) = awaits_details else {
        return Ok(());
    };
    let from_intended = Latencies::from_intended(samples);
    results.extend(text::json_details(
        plan,
        &remarks,
        &failed,
        &from_intended,
        is_interrupted,
    ));
    results.insert("client".to_owned(), own_part.object());
    save(file, &results)
}

/// Writes the file, and says where it is.
fn save(file: ResultFile, results: &Map<String, Value>) -> Result<(), Failure> {
    let path = file.path().display().to_string();
    let results = serde_json::to_string_pretty(results).context("writing JSON")?;
    file.write(&results).map_err(|error| {
        Failure::run(error).with_hint("the results are on the console and nowhere else")
    })?;
    write_stdout(&text::saved(&path))?;
    Ok(())
}

/// The client's own error, where somebody asks for it and there is something to hold it against.
async fn calibration(
    plan: &Plan,
    health: &WindowHealth,
    n_replies: usize,
    stop: &Stop,
) -> Option<Planned> {
    let is_told = !plan.quiet || plan.details;
    if plan.calibrate == Calibrate::Off || !is_told || n_replies == 0 {
        return None;
    }
    client::calibrate(health, plan.max_tokens, most_files(), &stop.token).await
}

/// Lines for people. A stderr that is closed is nobody's problem.
fn tell(lines: impl IntoIterator<Item = String>) {
    let mut stderr = io::stderr().lock();
    for line in lines {
        let _ = writeln!(stderr, "{line}");
    }
}

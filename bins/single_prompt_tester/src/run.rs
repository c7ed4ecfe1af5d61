//! From a plan to a finished run: sets everything up, hands it to the session, tells the end.
//!
//! Promise: a wrong place to write or an unreachable server ends the run before anything is measured; from the first
//! request on, whatever was measured is on disk when this returns.

mod pages;
mod tell;

use std::path::Path;
use std::thread;

use anyhow::Context as _;
use cli::logging::{Line, log_lines};
use cli::options::Calibrate;
use cli::{AppExit, Failure};
use core_client::{Client, RunClock};
use engine::runtimes::{self, Carriage};
use engine::stop::{Stop, StopReason};
use metrics::caching::judge_caching;
use metrics::health::Planned;
use metrics::single_prompt::SizeFigures;
use report::files::{
    ResultDir, RunWriter, SinglePromptMetadata, SinglePromptWriter, WriterOptions,
};
use report::metadata::{PromptFacts, RunFacts};
use report::single_prompt::LimitedSizes;
use report::stamp::RunStamp;
use serde_json::{Number, Value, json};
use setup::study::{doubt_object, proof};
use setup::terminal::{Terminal, TerminalOptions};
use setup::tokenizer::{self, LoadedTokenizer};

use crate::client::ClientPart;
use crate::plan::Plan;
use crate::prompts::PromptMaker;
use crate::session::{self, SessionEnd, Settings};
use crate::text::{self, End, KnownFacts};
use crate::verdict::{self, NotCompared, Verdict};

/// Name of the tool in log lines and files.
const TOOL: &str = "single_prompt_tester";
/// Version in files and on pages.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Threads that make prompts, at most: they work only while nothing is measured.
const MOST_MAKERS: usize = 16;
/// Runtimes that carry requests: that of the session.
const N_RUNTIMES: usize = 1;

/// Carries the plan out.
///
/// # Errors
/// When the run could not start, with the cause and what to do; a run that started reports its failures through the
/// exit code.
pub fn run(plan: &Plan) -> Result<AppExit, Failure> {
    let terminal = Terminal::start(TerminalOptions {
        tool: TOOL,
        brief: plan.brief,
        verbose: plan.verbose,
        no_color: plan.no_color,
        redactor: plan.requests.redactor(),
    })?;
    let dir = ResultDir::create(&plan.output_dir).map_err(|error| {
        Failure::run(error).with_hint("choose a place that can be written with --output-dir")
    })?;
    let stamp = RunStamp::take(dir.path(), &cli::clock::now());
    let program = std::env::args().next().unwrap_or_else(|| TOOL.to_owned());
    let script = report::run_command::write(dir.path(), &stamp, &program, &plan.command_options())
        .map_err(Failure::run)?;
    log_lines(&text::banner(plan));
    let (n, what) = (plan.concurrent_prompts, "--concurrent-prompts");
    setup::descriptors::raise_limit(n, what, plan.calibrate);
    let stop = Stop::new();
    stop.listen()
        .context("listening for signals")
        .map_err(Failure::run)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
        .map_err(Failure::run)?;
    let files = Files {
        dir: &dir,
        stamp: &stamp,
        script: &script,
    };
    let ended = runtime.block_on(measure(plan, files, &stop, &terminal))?;
    // The report for scripts is the last output: whatever was logged is written before it.
    drop(terminal);
    if let Some(report) = ended.report {
        cli::exit::write_stdout(&report)
            .and(ended.brief_lines)
            .context("the report could not be written to stdout")
            .map_err(Failure::run)?;
    }
    Ok(ended.exit)
}

/// Where a run's files go.
#[derive(Debug, Clone, Copy)]
struct Files<'a> {
    dir: &'a ResultDir,
    stamp: &'a RunStamp,
    script: &'a Path,
}

/// How a run ended.
struct Ended {
    exit: AppExit,
    /// The text of `--brief`.
    report: Option<String>,
    /// Whether the lines of `--brief` reached stdout while the run went on.
    brief_lines: std::io::Result<()>,
}

impl Ended {
    /// Before the first measured request.
    fn interrupted(stop: &Stop) -> Self {
        log_lines(&[text::interrupted()]);
        Self {
            exit: exit_of(stop.requested().unwrap_or(StopReason::Interrupt)),
            report: None,
            brief_lines: Ok(()),
        }
    }
}

fn exit_of(reason: StopReason) -> AppExit {
    match reason {
        StopReason::Interrupt => AppExit::Interrupted,
        StopReason::Terminate => AppExit::Terminated,
    }
}

/// The part that talks to the server.
async fn measure(
    plan: &Plan,
    files: Files<'_>,
    stop: &Stop,
    terminal: &Terminal,
) -> Result<Ended, Failure> {
    let clock = RunClock::start();
    let requests = &plan.requests;
    let config = requests.client_config().map_err(Failure::usage)?;
    let client =
        Client::new(requests.endpoints.clone(), config.clone(), clock).map_err(Failure::run)?;
    log_lines(&text::client_ready(plan));
    let model = match &requests.model {
        Some(name) => name.clone(),
        None => {
            let detected = tokio::select! {
                detected = client.detect_model() => detected,
                () = stop.wait() => return Ok(Ended::interrupted(stop)),
            };
            let model = detected
                .map_err(|error| requests.cannot_detect(error).within("Fatal error"))?
                .id;
            log_lines(&[Line::plain(format!("Auto-detected model: {model}"))]);
            model
        }
    };
    if let Some(given) = &plan.tokenizer {
        log_lines(&[Line::plain(format!("Loading tokenizer: {given}"))]);
    }
    let loaded = tokio::select! {
        loaded = tokenizer::load_aside(plan.tokenizer.as_deref(), &model) => loaded?,
        () = stop.wait() => return Ok(Ended::interrupted(stop)),
    };
    let (seed, seed_facts) = setup::seed::take(plan.seed)?;
    log_lines(&text::known_facts(
        plan,
        KnownFacts {
            tokenizer: &loaded.described(),
            seed: &seed_facts.value,
            run_script: files.script,
        },
    ));
    let maker = PromptMaker::new(&loaded.pieces, &seed);

    let metadata = metadata(plan, &model, &loaded, seed_facts.value.clone());
    metadata.save(files.dir.path()).map_err(Failure::run)?;
    let rows = SinglePromptWriter::create(files.dir, files.stamp).map_err(Failure::run)?;
    let (failures, _) = RunWriter::create(files.dir, files.stamp, WriterOptions::default()).split();
    let mut facts = RunFacts::new(TOOL, VERSION);
    facts.tokenizer = Some(loaded.facts());
    facts.seed = Some(seed_facts);
    facts
        .sections
        .insert("suffix_tokens".to_owned(), json!(maker.suffix_tokens()));
    // Without it a run that is killed leaves a directory that does not say which tokenizer counted.
    facts.save(files.dir.path()).map_err(Failure::run)?;

    log_lines(&text::sizes_announced(&plan.context_sizes));
    let template = requests
        .template(&model, plan.output_tokens)
        .map_err(Failure::usage)?;
    let carriage = Carriage {
        endpoints: requests.endpoints.clone(),
        config,
        clock,
        warm_up: template.warmup(),
        measured: template,
    };
    // It has done its part.
    drop(client);
    let transport = runtimes::start(&carriage, N_RUNTIMES).map_err(Failure::run)?;
    let mut teller = tell::Teller::new(plan, tell::Outputs { rows, failures }, terminal.live());
    let settings = settings(plan);
    let end = session::run(
        &settings,
        session::Parts {
            transport: &*transport,
            clock,
            stop,
            maker: &maker,
        },
        &mut teller,
    )
    .await;
    let told = teller.end();
    // Before it is measured by itself, the client lets go of what it held.
    drop(transport);
    let calibrations = calibrate(plan, &carriage, &end, stop).await;
    Ok(finish(
        plan,
        files,
        &settings,
        Run {
            stopped: end.stopped.or(stop.requested()),
            end,
            told,
            calibrations,
            carriage,
            metadata,
            facts,
        },
    ))
}

/// The client's own error at the sizes that were measured.
async fn calibrate(
    plan: &Plan,
    carriage: &Carriage,
    end: &SessionEnd,
    stop: &Stop,
) -> Vec<Planned> {
    let has_ended_early = end.stopped.is_some() || end.aborted;
    if plan.calibrate == Calibrate::Off || has_ended_early || end.rows.is_empty() {
        return Vec::new();
    }
    proof::measure_error(carriage, N_RUNTIMES, &end.health, stop).await
}

/// Everything that a session left, to be told and stored.
struct Run {
    end: SessionEnd,
    /// Why the run was stopped: the session, or what came behind it.
    stopped: Option<StopReason>,
    calibrations: Vec<Planned>,
    carriage: Carriage,
    told: tell::Told,
    metadata: SinglePromptMetadata,
    facts: RunFacts,
}

fn metadata(
    plan: &Plan,
    model: &str,
    loaded: &LoadedTokenizer,
    seed: Number,
) -> SinglePromptMetadata {
    let mut metadata =
        SinglePromptMetadata::new(plan.requests.first_url(), model, &plan.context_sizes, seed);
    metadata.num_iterations = plan.num_iterations;
    metadata.concurrent_prompts = plan.concurrent_prompts;
    metadata.output_tokens = plan.output_tokens;
    metadata.cached_repeats = plan.cached_repeats;
    metadata.tokenizer_id.clone_from(&loaded.name);
    metadata
}

fn settings(plan: &Plan) -> Settings {
    let temperature = plan
        .requests
        .extra_body
        .as_ref()
        .and_then(|body| body.get("temperature"));
    Settings {
        context_sizes: plan.context_sizes.clone(),
        num_iterations: plan.num_iterations,
        concurrent_prompts: plan.concurrent_prompts,
        cached_repeats: plan.cached_repeats,
        compare_text: temperature.is_none_or(|value| value.as_f64() == Some(0.0)),
        n_threads: thread::available_parallelism().map_or(1, |n| n.get().min(MOST_MAKERS)),
    }
}

/// Stores and tells the end.
fn finish(plan: &Plan, files: Files<'_>, settings: &Settings, run: Run) -> Ended {
    let Run {
        end,
        stopped,
        calibrations,
        carriage,
        told,
        mut metadata,
        mut facts,
    } = run;
    let dir = files.dir.path();
    let (mut caching, output) = judge(settings, &end);
    let figures: Vec<SizeFigures> = told
        .sizes
        .iter()
        .map(|size| SizeFigures::of(*size, &end.rows))
        .collect();
    caching.object["sizes"] = verdict::by_size_object(&figures);
    metadata.failed_requests = end.n_failed;
    metadata.unsent_requests = end.n_not_sent;
    metadata.interrupted = end.stopped.is_some() || end.aborted;
    metadata
        .verdicts
        .insert("caching".to_owned(), caching.object.clone());
    metadata
        .verdicts
        .insert("output".to_owned(), output.object.clone());
    facts.prompts = Some(PromptFacts {
        verified: end.verification.verified,
        corrected: end.verification.corrected,
        working_set_prompts: std::collections::BTreeMap::new(),
    });
    let client = ClientPart::judge(&end.health, &calibrations);
    let client_facts = proof::facts(&carriage, N_RUNTIMES, &calibrations);
    store_client(&mut facts, &client, client_facts);
    let limited = LimitedSizes::of_facts(&facts);
    let warnings = warnings(&end, &client);
    if !warnings.is_empty() {
        facts
            .sections
            .insert("warnings".to_owned(), Value::Array(warnings));
    }
    let mut is_stored = told.is_stored;
    for saved in [metadata.save(dir), facts.save(dir)] {
        if let Err(error) = saved {
            tracing::error!("{:#}", anyhow::Error::new(error));
            is_stored = false;
        }
    }
    if stopped.is_some() {
        log_lines(&[text::interrupted()]);
    }
    let mut index = None;
    if is_stored {
        tracing::info!("Saved results to {}", told.rows_path.display());
        index = pages::write(dir, (&end.rows, &limited), &metadata, VERSION);
    }
    log_lines(&text::final_table(&figures, &limited));
    let differences: Vec<String> = end.differences.iter().map(verdict::difference).collect();
    log_lines(&text::verdicts(&[
        (&caching, &verdict::by_size(&figures)),
        (&output, &differences),
    ]));
    log_lines(client.line().as_slice());
    log_lines(&text::completion(End {
        n_failed: end.n_failed,
        n_not_sent: end.n_not_sent,
        is_complete: stopped.is_none() && is_stored,
        output_dir: &plan.output_dir,
        index: index.as_deref(),
    }));
    let report = plan.brief.then(|| {
        text::brief_report(
            &metadata.detected_model,
            plan.requests.first_url(),
            &metadata.seed,
            &plan.output_dir,
            &figures,
        )
    });
    let exit = match stopped {
        Some(reason) => exit_of(reason),
        None if end.n_failed == 0 && end.n_not_sent == 0 && is_stored => AppExit::Done,
        None => AppExit::Failed,
    };
    Ended {
        exit,
        report,
        brief_lines: told.brief_lines,
    }
}

/// Both verdicts.
fn judge(settings: &Settings, end: &SessionEnd) -> (Verdict, Verdict) {
    let not_compared = if !settings.compare_text {
        Some(NotCompared::Temperature)
    } else if end.comparison.n_compared == 0 {
        Some(NotCompared::NoPair)
    } else {
        None
    };
    (
        verdict::caching(&judge_caching(&end.rows)),
        verdict::output(&end.comparison, not_compared),
    )
}

/// What the run's facts keep of the client, in the form that all testers give it.
fn store_client(facts: &mut RunFacts, client: &ClientPart, mut object: Value) {
    object["sizes"] = client.object();
    facts.sections.insert("client".to_owned(), object);
    let doubts: Vec<Value> = client.limited().iter().map(doubt_object).collect();
    if !doubts.is_empty() {
        facts
            .sections
            .insert("doubts".to_owned(), Value::Array(doubts));
    }
}

/// Lines that the dashboard shows.
fn warnings(end: &SessionEnd, client: &ClientPart) -> Vec<Value> {
    let mut lines: Vec<Value> = end.doubts.iter().map(|doubt| json!(doubt)).collect();
    for limited in client.limited() {
        tracing::warn!("{}", limited.text);
        lines.push(json!(limited.text));
    }
    if end.verification.deviating > 0 {
        let line = format!(
            "{} prompts have another number of tokens than planned and could not be corrected",
            end.verification.deviating
        );
        tracing::warn!("{line}");
        lines.push(json!(line));
    }
    lines
}

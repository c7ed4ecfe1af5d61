//! From a plan to a finished study: sets everything up, hands it to the engine, tells the end.
//!
//! Promise: a wrong place to write or an unreachable server ends the run before anything is measured;
//! from the first request on, whatever was measured is on disk when this returns.

mod estimate;
mod pages;
mod study;
mod tell;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use cli::logging::log_lines;
use cli::{AppExit, Failure};
use core_client::{Client, RunClock};
use engine::feed::{ThreadFeed, VerificationCounters};
use engine::load::{EndpointSelection, Rotation};
use engine::recorder::{Interpreter, ThreadSink};
use engine::stop::{Stop, StopReason};
use engine::study::{StudyEnd, StudyParts, StudyStore, run_study};
use engine::transport::HttpTransport;
use report::files::{ResultDir, RunWriter, TableWriter, WriterOptions};
use report::metadata::{PromptFacts, RunFacts, SeedFacts, TestMetadata};
use report::progress::{ParameterMatch, Progress};
use report::resume::ResumeState;
use report::stamp::RunStamp;
use report::test_name::TestName;
use serde_json::{Value, json};
use setup::terminal::{Terminal, TerminalOptions};
use setup::tokenizer::{self, LoadedTokenizer};
use workload::PieceTable;

use crate::plan::{Plan, RunFacts as PlanFacts};
use crate::text::{self, BriefInput, FailedTest, RunEnd, StartFacts};

/// Name of the tool in log lines and files.
const TOOL: &str = "cache_rate_tester";
/// Version in files and on pages.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Carries the plan out.
///
/// # Errors
/// When the run could not start, with the cause and what to do; a run that started reports its failures
/// through the exit code.
pub fn run(plan: &Plan) -> Result<AppExit, Failure> {
    // What the arguments make of a request is checked before anything is written.
    plan.requests
        .template("", plan.output_tokens)
        .and(plan.requests.client_config().map(drop))
        .map_err(Failure::usage)?;
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
    let stamp = RunStamp::take(dir.path());
    let program = std::env::args().next().unwrap_or_else(|| TOOL.to_owned());
    let script = report::run_command::write(dir.path(), &stamp, &program, &plan.command_options())
        .map_err(Failure::run)?;
    log_lines(&text::banner(plan));
    setup::descriptors::raise_limit(
        u64::from(plan.highest_level().max(plan.init_concurrency)),
        "the highest level",
    );

    let stop = Stop::new();
    stop.listen()
        .context("listening for signals")
        .map_err(Failure::run)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
        .map_err(Failure::run)?;
    let ended = runtime.block_on(measure(plan, &dir, &stamp, &script, &stop, &terminal))?;
    // The report for scripts is the last output: whatever was logged is written before it.
    drop(terminal);
    if let Some(report) = ended.report {
        cli::exit::write_stdout(&report)
            .context("the report could not be written to stdout")
            .map_err(Failure::run)?;
    }
    Ok(ended.exit)
}

/// How a run ended.
struct Ended {
    exit: AppExit,
    /// The text of `--brief`.
    report: Option<String>,
}

/// The part that talks to the server.
async fn measure(
    plan: &Plan,
    dir: &ResultDir,
    stamp: &RunStamp,
    script: &Path,
    stop: &Stop,
    terminal: &Terminal,
) -> Result<Ended, Failure> {
    let clock = RunClock::start();
    let requests = &plan.requests;
    let config = requests.client_config().map_err(Failure::usage)?;
    let client = Client::new(requests.endpoints.clone(), config, clock).map_err(Failure::run)?;
    let model = match &requests.model {
        Some(name) => name.clone(),
        None => {
            let detected = tokio::select! {
                detected = client.detect_model() => detected,
                () = stop.wait() => return Ok(interrupted(stop)),
            };
            detected.map_err(|error| requests.cannot_detect(error))?
        }
    };
    let urls = requests.urls().into_iter().map(str::to_owned).collect();
    TestMetadata::new(&model, urls, &plan.mode.to_string())
        .save(dir.path())
        .map_err(Failure::run)?;
    let loaded = tokio::select! {
        loaded = tokenizer::load_aside(plan.tokenizer.as_deref(), &model) => loaded?,
        () = stop.wait() => return Ok(interrupted(stop)),
    };
    log_lines(&text::start_facts(&StartFacts {
        run_script: script,
        model: &model,
        tokenizer: &loaded.described(),
        kv: &estimate::estimates(plan, &model),
    }));
    let pieces = PieceTable::build(&loaded.tokenizer)
        .with_context(|| format!("preparing prompts with tokenizer {}", loaded.name))
        .map_err(|error| Failure::run(error).with_hint("pass another one with --tokenizer"))?;

    let parameters = plan.parameters(PlanFacts {
        detected_model: Some(&model),
        tokenizer: Some(&loaded.name),
    });
    let mut progress = begin_progress(plan, dir, parameters)?;
    let kept = ResumeState::gather(dir, &progress, plan.force_restart);
    if kept.n_dropped_summary_rows > 0 {
        tracing::info!(
            "{} rows of the last summary are of tests that are not listed as complete; left out",
            kept.n_dropped_summary_rows
        );
    }
    let mut writer = RunWriter::create(dir, stamp, WriterOptions::default());
    writer.carry_over(&kept);
    let (mut requests, mut tables) = writer.split();
    for context_size in contexts_with_work(plan, &progress) {
        // Copying kept rows takes time that must not fall into a window.
        requests.begin_context(context_size).map_err(Failure::run)?;
    }
    for warning in kept
        .warnings
        .iter()
        .cloned()
        .chain(requests.take_warnings())
    {
        tracing::warn!("{warning}");
    }

    let counters = Arc::new(VerificationCounters::default());
    let (seed, seed_facts) = setup::seed::take(plan.seed)?;
    let template = plan
        .requests
        .template(&model, plan.output_tokens)
        .map_err(Failure::usage)?;
    let warm_up = template.warmup();
    let transport = HttpTransport::new(client, template, warm_up);
    let n_builders =
        std::thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1).clamp(1, 8));
    let threads = |error: std::io::Error| {
        Failure::run(anyhow::Error::new(error).context("starting a thread"))
    };
    let mut feed = ThreadFeed::start(n_builders, &counters).map_err(threads)?;
    let interpreter = Interpreter {
        anchor: clock.anchor(),
        tokenizer: loaded.tokenizer.clone(),
    };
    let mut sink = ThreadSink::start(interpreter, requests).map_err(threads)?;
    let selection = match plan.endpoint_selection {
        cli::options::EndpointSelection::RoundRobin => EndpointSelection::RoundRobin,
        cli::options::EndpointSelection::Pinned => EndpointSelection::Pinned,
    };
    let mut rotation = Rotation::new(selection, plan.requests.endpoints.len());
    let mut facts = facts(&loaded, seed_facts, &pieces);
    let old_doubts = kept_doubts(dir.path(), &progress);
    let pages = pages::Pages::new(plan, dir.path(), &model, VERSION);
    let mut teller = tell::Teller::new(plan, pages);
    let live = tell::LiveDisplay(terminal.live());

    let end = run_study(
        &study::plan(plan, &model, clock),
        StudyParts {
            transport: &transport,
            clock,
            feed: &mut feed,
            sink: &mut sink,
            rotation: &mut rotation,
            stop,
            live: &live,
            observer: &mut teller,
            tokenizer: loaded.tokenizer.clone(),
            pieces: pieces.clone(),
            seed,
            counters: Arc::clone(&counters),
        },
        StudyStore {
            dir,
            tables: &mut tables,
            progress: &mut progress,
        },
    )
    .await;
    // Waits for the writer thread: from here on all rows are on disk.
    drop(sink);
    let mut all_written = true;
    if tables.summary().is_empty() {
        // Nothing to carry over either; an empty table would only hide that.
        tracing::debug!("no test has a result; no summary is written");
    } else if end.completed.is_empty() {
        // Kept rows belong into this run's files too, so that the newest file is complete.
        // Sustained tests have no windows, and their directory no table of them.
        let phases = if tables.phases().is_empty() {
            Ok(())
        } else {
            tables.put_phases(&[])
        };
        let put = phases.and_then(|()| tables.put_summary(&[]));
        all_written &= written(put);
    }
    let total = counters.total();
    facts.prompts = Some(PromptFacts {
        verified: total.verified,
        corrected: total.corrected,
        working_set_prompts: end.working_set_prompts.clone(),
    });
    store_doubts(&mut facts, old_doubts, &end, total.deviating);
    match facts.save(dir.path()) {
        Ok(()) => teller.finish_pages(),
        // The run has said that nothing can be written any more.
        Err(_) if end.cannot_write => {}
        saved => all_written &= written(saved),
    }
    let mut ended = tell_end(plan, &model, &tables, &end);
    if !all_written && ended.exit == AppExit::Done {
        ended.exit = AppExit::Failed;
    }
    Ok(ended)
}

/// Whether a file of the end of a run was written; if not, says why. What was measured is told all the same.
fn written<E: Into<anyhow::Error>>(result: Result<(), E>) -> bool {
    result
        .map_err(|error| tracing::error!("{:#}", error.into()))
        .is_ok()
}

/// The final lines, the report for scripts, and the exit code.
fn tell_end(plan: &Plan, model: &str, tables: &TableWriter, end: &StudyEnd) -> Ended {
    if let Some(reason) = &end.aborted {
        tracing::error!("{reason}");
    }
    if end.stopped.is_some() {
        log_lines(&[text::interrupted()]);
    }
    let failed: Vec<FailedTest> = end
        .failed
        .iter()
        .map(|(test, reason)| FailedTest {
            context_size: test.context_size,
            cache_hit_rate: test.cache_hit_rate,
            reason: reason.clone(),
        })
        .collect();
    log_lines(&text::end_of_run(RunEnd {
        results: tables.summary(),
        failed: &failed,
        is_complete: end.stopped.is_none() && end.aborted.is_none(),
        output_dir: &plan.output_dir,
    }));
    let report = plan.brief.then(|| {
        text::brief_report(BriefInput {
            model,
            endpoint: plan.requests.first_url(),
            working_set_size: plan.working_set_size,
            results: tables.summary(),
            output_dir: &plan.output_dir,
        })
    });
    let exit = match end.stopped {
        Some(StopReason::Interrupt) => AppExit::Interrupted,
        Some(StopReason::Terminate) => AppExit::Terminated,
        None if end.failed.is_empty() && end.aborted.is_none() => AppExit::Done,
        None => AppExit::Failed,
    };
    Ended { exit, report }
}

fn interrupted(stop: &Stop) -> Ended {
    log_lines(&[text::interrupted()]);
    let exit = match stop.requested() {
        Some(StopReason::Terminate) => AppExit::Terminated,
        Some(StopReason::Interrupt) | None => AppExit::Interrupted,
    };
    Ended { exit, report: None }
}

/// A finished, matching `progress.json` to go on from, or a fresh one.
fn begin_progress(
    plan: &Plan,
    dir: &ResultDir,
    parameters: serde_json::Map<String, Value>,
) -> Result<Progress, Failure> {
    let earlier = if plan.force_restart {
        Ok(None)
    } else {
        Progress::load(dir.path())
    };
    match earlier {
        Ok(Some(mut progress)) => match progress.matches(&parameters) {
            ParameterMatch::Match => {
                progress.adopt(parameters);
                tracing::info!(
                    style = "success",
                    "Resuming from previous progress: {} tests completed (subset resume)",
                    progress.completed_tests.len()
                );
                return Ok(progress);
            }
            ParameterMatch::Mismatch(keys) => {
                tracing::warn!(
                    "Progress file found but parameters don't match. Starting fresh. (different: {})",
                    keys.join(", ")
                );
            }
        },
        Ok(None) => {}
        Err(error) => {
            let error = anyhow::Error::new(error);
            tracing::error!("the progress file cannot be used, starting fresh: {error:#}");
        }
    }
    let mut progress = Progress::new(parameters);
    progress.save(dir.path()).map_err(Failure::run)?;
    Ok(progress)
}

/// Contexts with a test that is not complete.
fn contexts_with_work(plan: &Plan, progress: &Progress) -> Vec<u64> {
    let has_work = |context: &&u64| {
        plan.cache_hit_rates
            .iter()
            .any(|rate| !progress.is_complete(&TestName::new(**context, *rate)))
    };
    plan.context_sizes
        .iter()
        .filter(has_work)
        .copied()
        .collect()
}

fn facts(loaded: &LoadedTokenizer, seed: SeedFacts, pieces: &PieceTable) -> RunFacts {
    let mut facts = RunFacts::new(TOOL, VERSION);
    facts.tokenizer = Some(loaded.facts());
    facts.seed = Some(seed);
    // A reader who checks prompt_tokens needs to know what the question behind request k adds.
    let questions: Vec<u64> = (0..pieces.n_questions())
        .map(|k| pieces.question_tokens(k))
        .collect();
    facts
        .sections
        .insert("question_tokens".to_owned(), json!(questions));
    facts
}

/// Doubts of tests that an earlier run completed and this one keeps.
fn kept_doubts(dir: &Path, progress: &Progress) -> Vec<Value> {
    let Ok(Some(earlier)) = RunFacts::load(dir) else {
        return Vec::new();
    };
    let list = earlier
        .sections
        .get("doubts")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    list.into_iter()
        .filter(|doubt| {
            let test = format!("{}_{}", doubt["context_size"], doubt["cache_hit_rate"]);
            progress.completed_tests.contains(&test)
        })
        .collect()
}

/// All doubts by test for programs, and as lines those that the dashboard cannot see in the data itself.
fn store_doubts(facts: &mut RunFacts, mut doubts: Vec<Value>, end: &StudyEnd, n_deviating: u64) {
    use engine::event::DoubtKind;
    doubts.extend(end.doubts.iter().map(|d| {
        json!({"context_size": d.context_size, "cache_hit_rate": d.cache_hit_rate, "kind": d.kind.as_str(), "text": d.text})
    }));
    let unseen = [
        DoubtKind::PromptTokens.as_str(),
        DoubtKind::NoUsage.as_str(),
    ];
    let mut lines: Vec<Value> = doubts
        .iter()
        .filter(|d| unseen.iter().any(|kind| d["kind"] == *kind))
        .map(|d| {
            json!(format!(
                "{} tokens at {}%: {}",
                d["context_size"],
                d["cache_hit_rate"],
                d["text"].as_str().unwrap_or_default()
            ))
        })
        .collect();
    if n_deviating > 0 {
        let line = format!(
            "{n_deviating} checked prompts have another number of tokens than planned and could not be corrected"
        );
        tracing::warn!("{line}");
        lines.push(json!(line));
    }
    if !lines.is_empty() {
        facts
            .sections
            .insert("warnings".to_owned(), Value::Array(lines));
    }
    if !doubts.is_empty() {
        facts
            .sections
            .insert("doubts".to_owned(), Value::Array(doubts));
    }
}

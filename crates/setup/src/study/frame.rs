//! The frame around a study: sets everything up, hands it to the engine, tells the end.
//!
//! Promise: a wrong place to write or an unreachable server ends the run before anything is measured;
//! from the first request on, whatever was measured is on disk when this returns.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use cli::logging::log_lines;
use cli::options::Mode;
use cli::{AppExit, Failure};
use core_client::{Client, RunClock, ServedModel};
use engine::event::Doubt;
use engine::feed::{ThreadFeed, VerificationCounters};
use engine::load::{EndpointSelection, Rotation};
use engine::recorder::{Interpreter, ThreadSink};
use engine::runtimes::{self, Carriage};
use engine::stop::{Stop, StopReason};
use engine::study::{StudyEnd, StudyParts, StudyPlan, StudyStore, run_study};
use report::data::RunData;
use report::files::{ResultDir, RunWriter, TableWriter, WriterOptions};
use report::metadata::{PromptFacts, RunFacts, SeedFacts, TestMetadata};
use report::progress::{ParameterMatch, Progress, ResumeRules};
use report::resume::ResumeState;
use report::stamp::RunStamp;
use serde_json::Value;
use workload::{ContextPlan, PieceTable, Seed, WorkingSet};

use super::memory as kv_memory;
use super::pages::Pages;
use super::tell::{LiveDisplay, Teller};
use super::text::{self, FailedTest, RunEnd};
use super::{KnownFacts, StartFacts, StudyTool, doubts, proof};
use crate::memory;
use crate::terminal::{Terminal, TerminalOptions};
use crate::tokenizer::{self, LoadedTokenizer};

/// Carries the plan of a tool out.
///
/// # Errors
/// When the run could not start, with the cause and what to do; a run that started reports its failures
/// through the exit code.
pub fn run<T: StudyTool>(tool: &T) -> Result<AppExit, Failure> {
    let options = tool.common();
    // What the arguments make of a request is checked before anything is written.
    options
        .requests
        .template("", options.output_tokens)
        .and(options.requests.client_config().map(drop))
        .map_err(Failure::usage)?;
    let sketch = tool.study("", RunClock::start());
    let contexts = sketch.context_sizes.iter();
    memory::refuse_impossible(
        contexts.map(|size| sketch.context_plan(*size).working_set_tokens()),
        T::WORKING_SET_FLAG,
    )?;
    let terminal = Terminal::start(TerminalOptions {
        tool: T::NAME,
        brief: options.brief,
        verbose: options.verbose,
        no_color: options.no_color,
        redactor: options.requests.redactor(),
    })?;
    match carry_out(tool, &terminal) {
        Ok(ended) => {
            // The report for scripts is the last output: whatever was logged is written before it.
            drop(terminal);
            if let Some(report) = ended.report {
                cli::exit::write_stdout(&report)
                    .context("the report could not be written to stdout")
                    .map_err(Failure::run)?;
            }
            Ok(ended.exit)
        }
        Err(failure) if failure.exit == AppExit::Failed => {
            log_lines(&text::fatal(&failure));
            Ok(failure.exit)
        }
        Err(failure) => Err(failure),
    }
}

/// Everything that is logged.
fn carry_out<T: StudyTool>(tool: &T, terminal: &Terminal) -> Result<Ended, Failure> {
    let options = tool.common();
    let dir = ResultDir::create(&options.output_dir).map_err(|error| {
        Failure::run(error).with_hint("choose a place that can be written with --output-dir")
    })?;
    let stamp = RunStamp::take(dir.path(), &cli::clock::now());
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| T::NAME.to_owned());
    let script = report::run_command::write(dir.path(), &stamp, &program, &tool.command_options())
        .map_err(Failure::run)?;
    log_lines(&tool.banner());
    log_lines(&tool.script_written(&script));
    crate::descriptors::raise_limit(
        options.highest_level().max(options.init_concurrency),
        "the highest level",
        options.calibrate,
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
    runtime.block_on(measure(tool, &dir, &stamp, &script, &stop, terminal))
}

/// How a run ended.
struct Ended {
    exit: AppExit,
    /// The text of `--brief`.
    report: Option<String>,
}

/// The part that talks to the server.
async fn measure<T: StudyTool>(
    tool: &T,
    dir: &ResultDir,
    stamp: &RunStamp,
    script: &Path,
    stop: &Stop,
    terminal: &Terminal,
) -> Result<Ended, Failure> {
    let clock = RunClock::start();
    let options = tool.common();
    let requests = &options.requests;
    let config = requests.client_config().map_err(Failure::usage)?;
    let client =
        Client::new(requests.endpoints.clone(), config.clone(), clock).map_err(Failure::run)?;
    let served = match &requests.model {
        Some(name) => ServedModel::named(name),
        None => {
            let detected = tokio::select! {
                detected = client.detect_model() => detected,
                () = stop.wait() => return Ok(interrupted(stop)),
            };
            detected.map_err(|error| requests.cannot_detect(error))?
        }
    };
    let model = served.id.clone();
    let urls = requests.urls().into_iter().map(str::to_owned).collect();
    TestMetadata::new(&model, urls, options.mode.as_str())
        .save(dir.path())
        .map_err(Failure::run)?;
    // Both may ask the Hub.
    let found = async {
        let tokenizer = tokenizer::load_aside(options.tokenizer.as_deref(), &model);
        let kv = async { Ok(kv_memory::find_aside(&served).await) };
        tokio::try_join!(tokenizer, kv)
    };
    let (loaded, kv) = tokio::select! {
        found = found => found?,
        () = stop.wait() => return Ok(interrupted(stop)),
    };
    log_lines(&tool.start_facts(&StartFacts {
        model: &model,
        tokenizer: &loaded.described(),
        kv: &kv,
    }));
    let pieces = loaded.pieces.clone();

    let parameters = tool.parameters(KnownFacts {
        detected_model: Some(&model),
        tokenizer: Some(&loaded.name),
    });
    let study = tool.study(&model, clock);
    let mut progress = begin_progress(options.force_restart, dir, parameters, &T::RESUME)?;
    let kept = ResumeState::gather(dir, &progress, options.force_restart);
    if kept.n_dropped_summary_rows > 0 {
        tracing::info!(
            "{} rows of the last summary are of tests that are not listed as complete; left out",
            kept.n_dropped_summary_rows
        );
    }
    let mut writer = RunWriter::create(
        dir,
        stamp,
        WriterOptions {
            set: tool.set_columns(),
        },
    );
    writer.carry_over(&kept);
    let (mut requests, mut tables) = writer.split();
    if progress.completed_tests.is_empty() && dir.scan().has_rows() {
        // Whoever reads the directory from here on, these pages first of all, finds that older results are not this
        // run's.
        tables.put_summary(&[]).map_err(Failure::run)?;
    }
    for context_size in contexts_with_work(&study, &progress) {
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
    let (seed, seed_facts) = crate::seed::take(options.seed)?;
    check_memory::<T>(&study, &progress, &pieces, &seed)?;
    let template = options
        .requests
        .template(&model, options.output_tokens)
        .map_err(Failure::usage)?;
    // It asked for the model; requests are carried by others.
    drop(client);
    let carriage = Carriage {
        endpoints: options.requests.endpoints.clone(),
        config,
        clock,
        warm_up: template.warmup(),
        measured: template,
    };
    let n_runtimes = options
        .client_threads
        .map_or_else(runtimes::default_runtimes, |n| n as usize);
    let transport = runtimes::start(&carriage, n_runtimes)
        .map_err(|error| Failure::run(anyhow::Error::new(error)))?;
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
    let selection = match options.endpoint_selection {
        cli::options::EndpointSelection::RoundRobin => EndpointSelection::RoundRobin,
        cli::options::EndpointSelection::Pinned => EndpointSelection::Pinned,
    };
    let mut rotation = Rotation::new(selection, options.requests.endpoints.len());
    let mut facts = facts::<T>(&loaded, seed_facts, &pieces);
    let sizes = study.context_sizes.iter();
    let plans: Vec<ContextPlan> = sizes.map(|size| study.context_plan(*size)).collect();
    facts
        .sections
        .insert("kv_cache".to_owned(), kv.facts(&plans));
    let old_doubts = doubts::kept(dir.path(), &progress);
    let pages = Pages::new(options, dir.path(), &model, T::VERSION);
    let mut teller = Teller::new(tool, pages);
    let live = LiveDisplay(terminal.live());

    let mut end = run_study(
        &study,
        StudyParts {
            transport: &*transport,
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
    // Before it is measured by itself, the client lets go of what it held for the study.
    drop((transport, feed));
    let calibrations = proof::calibrate(options, &carriage, n_runtimes, &end, stop).await;
    let concluded = proof::conclude(&calibrations, &mut tables, &mut end)
        .map(|marked| teller.redraw_periods(&marked, tables.summary()));
    all_written &= written(concluded);
    facts.sections.insert(
        "client".to_owned(),
        proof::facts(&carriage, n_runtimes, &calibrations),
    );
    let total = counters.total();
    facts.prompts = Some(PromptFacts {
        verified: total.verified,
        corrected: total.corrected,
        working_set_prompts: end.working_set_prompts.clone(),
    });
    doubts::store(&mut facts, old_doubts, &end, total.deviating);
    match facts.save(dir.path()) {
        Ok(()) => teller.finish_pages(),
        // The run has said that nothing can be written any more.
        Err(_) if end.cannot_write => {}
        saved => all_written &= written(saved),
    }
    // Behind the study there is little to stop, but who stops the run gets the exit code of one that was stopped.
    end.stopped = end.stopped.or(stop.requested());
    let how = How {
        script,
        n_complete: progress.completed_tests.len(),
    };
    let mut ended = tell_end(tool, &model, &tables, &end, how);
    if !all_written && ended.exit == AppExit::Done {
        ended.exit = AppExit::Failed;
    }
    Ok(ended)
}

/// Refuses a working set that does not fit into this machine's memory; they are built one after the other.
fn check_memory<T: StudyTool>(
    study: &StudyPlan,
    progress: &Progress,
    pieces: &PieceTable,
    seed: &Seed,
) -> Result<(), Failure> {
    let contexts = contexts_with_work(study, progress);
    let plans = contexts.into_iter().map(|size| {
        let remaining = study.tests_of(size);
        let remaining: Vec<_> = remaining
            .filter(|test| !progress.is_complete(test))
            .collect();
        study.context_plan_for(size, &remaining)
    });
    let Some(largest) = plans.max_by_key(ContextPlan::working_set_tokens) else {
        return Ok(());
    };
    let bytes = WorkingSet::estimated_bytes(&largest, &study.cache_hit_rates, pieces, seed)
        .context("building a prompt of the working set")
        .map_err(Failure::run)?;
    let need = memory::Need {
        tokens: largest.working_set_tokens(),
        bytes,
    };
    memory::check(need, T::WORKING_SET_FLAG)
}

/// What is to be said of results that the client limits.
fn limited(end: &StudyEnd) -> Vec<Doubt> {
    let of_client = end.doubts.iter().filter(|doubt| doubt.kind.is_of_client());
    of_client.cloned().collect()
}

/// Whether a file of the end of a run was written; if not, says why. What was measured is told all the same.
fn written<E: Into<anyhow::Error>>(result: Result<(), E>) -> bool {
    result
        .map_err(|error| tracing::error!("{:#}", error.into()))
        .is_ok()
}

/// How a run can go on.
struct How<'a> {
    /// The script that repeats it.
    script: &'a Path,
    /// Tests that are not measured again.
    n_complete: usize,
}

/// The final lines, the report for scripts, and the exit code.
fn tell_end<T: StudyTool>(
    tool: &T,
    model: &str,
    tables: &TableWriter,
    end: &StudyEnd,
    how: How<'_>,
) -> Ended {
    let options = tool.common();
    if let Some(reason) = &end.aborted {
        tracing::error!("{reason}");
    }
    if end.stopped.is_some() {
        log_lines(&text::interrupted(
            how.n_complete,
            how.script,
            options.force_restart,
        ));
    }
    let failed: Vec<FailedTest> = end
        .failed
        .iter()
        .map(|(test, reason)| FailedTest {
            test: *test,
            reason: reason.clone(),
        })
        .collect();
    let results = tables.summary();
    let index = options.output_dir.join(report::index::INDEX_FILE);
    let run_end = RunEnd {
        results,
        failed: &failed,
        untried: &end.untried,
        limited: &limited(end),
        is_complete: end.stopped.is_none() && end.aborted.is_none(),
        output_dir: &options.output_dir,
        index: index.exists().then_some(index.as_path()),
    };
    // A table without a row would say nothing.
    let table = if results.is_empty() {
        Vec::new()
    } else {
        let periods = match options.mode {
            Mode::Sustained => RunData::read_tables(&options.output_dir).periods,
            Mode::Ramp | Mode::Fixed => BTreeMap::new(),
        };
        tool.final_table(results, &periods)
    };
    log_lines(&text::end_of_run(run_end, table));
    if options.brief {
        log_lines(tool.beside_report(results).as_slice());
    }
    let report = options
        .brief
        .then(|| tool.brief_report(model, results).text());
    let exit = match end.stopped {
        Some(StopReason::Interrupt) => AppExit::Interrupted,
        Some(StopReason::Terminate) => AppExit::Terminated,
        None if end.failed.is_empty() && end.aborted.is_none() => AppExit::Done,
        None => AppExit::Failed,
    };
    Ended { exit, report }
}

fn interrupted(stop: &Stop) -> Ended {
    log_lines(&[text::interrupted_early()]);
    let exit = match stop.requested() {
        Some(StopReason::Terminate) => AppExit::Terminated,
        Some(StopReason::Interrupt) | None => AppExit::Interrupted,
    };
    Ended { exit, report: None }
}

/// A finished, matching `progress.json` to go on from, or a fresh one.
fn begin_progress(
    force_restart: bool,
    dir: &ResultDir,
    parameters: serde_json::Map<String, Value>,
    rules: &ResumeRules,
) -> Result<Progress, Failure> {
    let earlier = if force_restart {
        Ok(None)
    } else {
        Progress::load(dir.path())
    };
    match earlier {
        Ok(Some(mut progress)) => match progress.matches(&parameters, rules) {
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
    progress.begin(dir.path()).map_err(Failure::run)?;
    Ok(progress)
}

/// Contexts with a test that is not complete.
fn contexts_with_work(study: &StudyPlan, progress: &Progress) -> Vec<u64> {
    let has_work = |context: &u64| {
        study
            .tests_of(*context)
            .any(|test| !progress.is_complete(&test))
    };
    study
        .context_sizes
        .iter()
        .copied()
        .filter(has_work)
        .collect()
}

fn facts<T: StudyTool>(loaded: &LoadedTokenizer, seed: SeedFacts, pieces: &PieceTable) -> RunFacts {
    let mut facts = RunFacts::new(T::NAME, T::VERSION);
    facts.tokenizer = Some(loaded.facts());
    facts.seed = Some(seed);
    // A reader who checks prompt_tokens needs to know what the question behind request k adds.
    let questions: Vec<u64> = (0..pieces.n_questions())
        .map(|k| pieces.question_tokens(k))
        .collect();
    facts
        .sections
        .insert("question_tokens".to_owned(), Value::from(questions));
    facts
}

//! From a plan to a finished study: sets everything up, hands it to the engine, tells the end.
//!
//! Promise: a wrong place to write or an unreachable server ends the run before anything is measured;
//! from the first request on, whatever was measured is on disk when this returns.

mod estimate;
mod pages;
mod study;
mod tell;
mod tokenizer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cli::console::{Console, stderr_is_capable, use_color};
use cli::logging::{self, LogOptions, Verbosity, log_lines};
use cli::progress::Progress as Display;
use cli::{AppExit, Failure};
use core_client::{
    Client, ClientConfig, ClientError, DetectError, RequestSettings, RequestTemplate, RunClock,
};
use engine::feed::{ThreadFeed, VerificationCounters};
use engine::load::{EndpointSelection, Rotation};
use engine::recorder::{Interpreter, ThreadSink};
use engine::stop::{Stop, StopReason};
use engine::study::{StudyEnd, StudyParts, StudyStore, run_study};
use engine::transport::HttpTransport;
use report::files::{ResultDir, RunWriter, TableWriter, WriterOptions};
use report::metadata::{PromptFacts, RunFacts, SeedFacts, TestMetadata, TokenizerFacts};
use report::progress::{ParameterMatch, Progress};
use report::resume::ResumeState;
use report::stamp::RunStamp;
use report::test_name::TestName;
use serde_json::{Value, json};
use workload::{PieceTable, Seed};

use crate::plan::{Plan, RunFacts as PlanFacts};
use crate::text::{self, BriefInput, FailedTest, RunEnd, StartFacts};
use tokenizer::LoadedTokenizer;

/// Name of the tool in log lines and files.
const TOOL: &str = "cache_rate_tester";
/// Version in files and on pages.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Descriptors beyond one per request in flight: files, standard streams, runtime.
const SPARE_DESCRIPTORS: u64 = 64;

/// Carries the plan out.
///
/// # Errors
/// When the run could not start, with the cause and what to do; a run that started reports its failures
/// through the exit code.
pub fn run(plan: &Plan) -> Result<AppExit, Failure> {
    // What the arguments make of a request is checked before anything is written.
    templates(plan, "")?;
    let color = use_color(plan.no_color);
    let console = Console::stderr();
    let verbosity = Verbosity::from_flags(plan.brief, plan.verbose);
    let options = LogOptions {
        tool: TOOL,
        verbosity,
        color,
        file: Some(LogOptions::default_file(TOOL)),
        redactor: plan.redactor(),
        capacity: LogOptions::DEFAULT_CAPACITY,
    };
    let log = logging::init(options, Arc::clone(&console))
        .context("setting up the log")
        .map_err(Failure::run)?;
    let display = Display::start(&console, !plan.brief && stderr_is_capable(), color);
    let dir = ResultDir::create(&plan.output_dir).map_err(|error| {
        Failure::run(error).with_hint("choose a place that can be written with --output-dir")
    })?;
    let stamp = RunStamp::take(dir.path());
    let program = std::env::args().next().unwrap_or_else(|| TOOL.to_owned());
    let script = report::run_command::write(dir.path(), &stamp, &program, &plan.command_options())
        .map_err(Failure::run)?;
    log_lines(&text::banner(plan));
    raise_descriptor_limit(plan);

    let stop = Stop::new();
    stop.listen()
        .context("listening for signals")
        .map_err(Failure::run)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
        .map_err(Failure::run)?;
    let ended = runtime.block_on(measure(plan, &dir, &stamp, &script, &stop, &display))?;
    // The report for scripts is the last output: whatever was logged is written before it.
    drop(display);
    drop(log);
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
    display: &Display,
) -> Result<Ended, Failure> {
    let clock = RunClock::start();
    let client =
        Client::new(plan.endpoints.clone(), client_config(plan)?, clock).map_err(Failure::run)?;
    let model = match &plan.model {
        Some(name) => name.clone(),
        None => {
            let detected = tokio::select! {
                detected = client.detect_model() => detected,
                () = stop.wait() => return Ok(interrupted(stop)),
            };
            detected.map_err(|error| cannot_detect(plan, error))?
        }
    };
    let urls: Vec<String> = plan
        .endpoints
        .iter()
        .map(|e| e.given().to_owned())
        .collect();
    TestMetadata::new(&model, urls, &plan.mode.to_string())
        .save(dir.path())
        .map_err(Failure::run)?;
    let loaded = tokio::select! {
        loaded = load_tokenizer(plan, &model) => loaded?,
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
    let (seed, seed_facts) = seed(plan.seed)?;
    let templates = templates(plan, &model)?;
    let transport = HttpTransport::new(client, templates.0, templates.1);
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
    let mut rotation = Rotation::new(selection, plan.endpoints.len());
    let mut facts = facts(&loaded, seed_facts, &pieces);
    let old_doubts = kept_doubts(dir.path(), &progress);
    let pages = pages::Pages::new(plan, dir.path(), &model, VERSION);
    let mut teller = tell::Teller::new(plan, pages);
    let live = tell::LiveDisplay(display.handle());

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

/// The tokenizer, looked for on a thread of its own: a download can take minutes, and a stop is heard meanwhile.
async fn load_tokenizer(plan: &Plan, model: &str) -> Result<LoadedTokenizer, Failure> {
    let (reply, loaded) = tokio::sync::oneshot::channel();
    let given = plan.tokenizer.clone();
    let (default, model) = (plan.tokenizer_or_default().to_owned(), model.to_owned());
    std::thread::Builder::new()
        .name("tokenizer".to_owned())
        .spawn(move || {
            // Nobody waits any more when the run was stopped.
            drop(reply.send(tokenizer::load(given.as_deref(), &default, &model)));
        })
        .context("starting a thread")
        .map_err(Failure::run)?;
    loaded
        .await
        .context("the thread that loads the tokenizer has stopped")
        .map_err(Failure::run)?
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
            endpoint: plan.endpoints.first().map_or("", |e| e.given()),
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

fn cannot_detect(plan: &Plan, error: ClientError) -> Failure {
    let endpoint = plan.endpoints.first().map_or("", |e| e.given());
    let endpoint = endpoint.strip_suffix("/v1").unwrap_or(endpoint);
    let what = format!("Fatal error: Could not detect model from {endpoint}/v1/models");
    let ClientError::DetectModel { source, .. } = error else {
        return Failure::run(anyhow::Error::new(error).context(what));
    };
    let hint = detection_hint(&source);
    let failure = Failure::run(anyhow::Error::new(source).context(what));
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// What to do where no model was found; `None` where the cause says it all.
fn detection_hint(error: &DetectError) -> Option<&'static str> {
    match error {
        DetectError::Failed(failure) => match failure.status {
            // Without the right key no request will do better.
            Some(401 | 403) => None,
            // The server is there, and may only lack this list.
            Some(_) => Some("--model NAME leaves the question out"),
            None => Some("check that the server runs and that --api-endpoint names it"),
        },
        DetectError::Timeout { .. } => {
            Some("check that the server runs and that --api-endpoint names it")
        }
        DetectError::NoList(_) => Some(
            "check that --api-endpoint names an OpenAI API; --model NAME leaves the question out",
        ),
        _ => None,
    }
}

fn client_config(plan: &Plan) -> Result<ClientConfig, Failure> {
    use core_client::{EndpointType, HttpVersion};
    let headers = plan
        .headers
        .iter()
        .map(|h| Ok((h.name().parse()?, h.value().parse()?)))
        .collect::<anyhow::Result<Vec<_>>>()
        .context("--header does not make a valid HTTP header")
        .map_err(Failure::usage)?;
    Ok(ClientConfig {
        endpoint_type: match plan.endpoint_type {
            cli::options::EndpointType::Chat => EndpointType::Chat,
            cli::options::EndpointType::Completions => EndpointType::Completions,
        },
        http: match plan.http {
            cli::options::HttpVersion::Auto => HttpVersion::Auto,
            cli::options::HttpVersion::Http1 => HttpVersion::Http1,
            cli::options::HttpVersion::Http2 => HttpVersion::Http2,
        },
        api_key: plan.api_key.as_ref().map(|key| key.expose().to_owned()),
        headers,
        insecure: plan.insecure,
        request_timeout: plan.request_timeout,
        connect_timeout: CONNECT_TIMEOUT.min(plan.request_timeout),
    })
}

fn templates(plan: &Plan, model: &str) -> Result<(RequestTemplate, RequestTemplate), Failure> {
    let settings = RequestSettings {
        model: model.to_owned(),
        output_tokens: plan.output_tokens,
        ignore_eos: plan.ignore_eos,
        extra_body: plan.extra_body.clone(),
        endpoint_type: client_config(plan)?.endpoint_type,
    };
    let measured = RequestTemplate::new(settings).map_err(Failure::usage)?;
    let warm_up = measured.warmup();
    Ok((measured, warm_up))
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

/// The seed given, or one nobody has used before.
fn seed(given: Option<i128>) -> Result<(Seed, SeedFacts), Failure> {
    let value =
        match given {
            Some(value) => value,
            None => i128::from(getrandom::u64().map_err(|e| {
                Failure::run(anyhow::anyhow!("the system gave no random seed: {e}"))
            })?),
        };
    let number = u64::try_from(value)
        .map(serde_json::Number::from)
        .or_else(|_| i64::try_from(value).map(serde_json::Number::from));
    let number = number
        .context("--seed is outside of 64 bits")
        .map_err(Failure::usage)?;
    Ok((
        Seed::new(value),
        SeedFacts {
            value: number,
            given: given.is_some(),
        },
    ))
}

fn facts(loaded: &LoadedTokenizer, seed: SeedFacts, pieces: &PieceTable) -> RunFacts {
    let mut facts = RunFacts::new(TOOL, VERSION);
    facts.tokenizer = Some(TokenizerFacts {
        name: loaded.name.clone(),
        origin: loaded.origin.clone(),
        fingerprint: Some(format!("{:016x}", loaded.tokenizer.fingerprint())),
    });
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

/// Raises the limit on open files, and says when the planned concurrency does not fit.
fn raise_descriptor_limit(plan: &Plan) {
    let highest = plan.highest_level();
    let needed = u64::from(highest.max(plan.init_concurrency)) + SPARE_DESCRIPTORS;
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < needed => tracing::warn!(
            "Up to {} requests in flight are planned, but this process may open only {limit} files; raise the limit (ulimit -n) \
             or plan fewer",
            highest
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!("The limit on open files could not be raised: {error}"),
    }
}

//! The same questions put to the real programs: `cache_rate_tester` against `kv_cache_sim`, two processes and a socket.
//!
//! Time is real here, so servers are faster, levels few, and thresholds stand where neighbouring levels differ clearly.
//! What was said is read from the files that the tool leaves, as a person's script would.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use metrics::window::{SpeedMetric, TtftMetric};
use sim::model::{EngineConfig, ServiceModel, StepCosts};

use crate::capacity;
use crate::case::{Case, Posed};
use crate::grade::{Answer, Criterion};
use crate::in_process::Words;

/// Repeats at the peak, from which the reported rate comes together with the window that found it.
const RETRIES: u32 = 1;
/// Two busy processors tell a rate less exactly than a clock that stands still.
const RATE_TOLERANCE: f64 = 0.03;

/// Answers of one seed.
pub(crate) type SocketAnswers = [Vec<Answer>; 3];

/// Asks the programs in `bins` about this seed.
pub(crate) fn ask(words: &Words, bins: &Path, seed: u64) -> SocketAnswers {
    let posed = Case::posed(seed, Case::draw_quick, words);
    match run(&posed, bins) {
        Ok(said) => [
            vec![peak(&posed, &said)],
            vec![rate(&posed, &said)],
            vec![hits(&posed, &said)],
        ],
        Err(reason) => [
            vec![capacity::missing(&posed, &reason)],
            vec![capacity::missing(&posed, &reason)],
            vec![capacity::missing(&posed, &reason)],
        ],
    }
}

type Row = BTreeMap<String, String>;

/// What stands in the tool's files.
struct Said {
    summary: Row,
    detailed: Vec<Row>,
    none_passed: bool,
}

fn peak(posed: &Posed, said: &Said) -> Answer {
    let level = number(&said.summary, "peak_concurrency").map(|level| level as u32);
    let chosen = level.filter(|_| !said.none_passed);
    capacity::graded(posed, &posed.truths[0], chosen)
}

/// The rate reported for the level that the tool chose, against the true one of that level.
fn rate(posed: &Posed, said: &Said) -> Answer {
    let case = &posed.case;
    let level = number(&said.summary, "peak_concurrency");
    let levels = &posed.truths[0].levels;
    let Some(steady) = levels.iter().find(|s| Some(f64::from(s.level)) == level) else {
        return capacity::missing(posed, &format!("a level off the grid: {level:?}"));
    };
    let body = case.shape(case.rates[0], 0, &[0]).body as f64;
    let told = number(&said.summary, "window_input_tokens_per_sec");
    capacity::graded_rate(case, steady.requests_per_s * body, told, RATE_TOLERANCE)
}

/// Whether every request reused what was meant, as the server told it over the wire.
fn hits(posed: &Posed, said: &Said) -> Answer {
    let case = &posed.case;
    let rate = case.rates[0];
    let shape = case.shape(rate, 0, &[0]);
    let block = f64::from(case.engine.block_size.get());
    let mut worst = 0.0_f64;
    let mut n_odd = 0;
    for row in &said.detailed {
        let meant = shape.cached as f64;
        let sent = (number(row, "cached_tokens"), number(row, "unique_tokens"));
        let right = (Some(meant), Some(shape.body as f64 - meant));
        match number(row, "reported_cached_tokens") {
            Some(reported) if sent == right => {
                let off = reported - meant;
                if off.abs() > worst.abs() {
                    worst = off;
                }
            }
            _ => n_odd += 1,
        }
    }
    let n = said.detailed.len();
    Answer {
        seed: case.seed,
        group: case.family.name().to_owned(),
        truth: format!(
            "{rate} % of {}: {} of {} tokens",
            case.context, shape.cached, shape.body
        ),
        said: if n_odd > 0 {
            format!("{n_odd} of {n} rows say other numbers, or none")
        } else {
            format!("{worst:+} tokens in one of {n} requests")
        },
        error: (n_odd == 0).then_some(worst / block),
        right: n > 0 && n_odd == 0 && worst.abs() <= block,
    }
}

/// A process that ends with its owner.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(binary: &Path, engine: &EngineConfig) -> Result<Self, String> {
        let shown = binary.display();
        let mut child = Command::new(binary)
            .args(["--port", "0"])
            .args(engine_options(engine))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{shown} cannot be started: {error}"))?;
        let out = child.stdout.take().expect("it is piped");
        let mut server = Self {
            child,
            url: String::new(),
        };
        let mut line = String::new();
        BufReader::new(out)
            .read_line(&mut line)
            .map_err(|error| format!("{shown}: {error}"))?;
        server.url = line
            .split_whitespace()
            .last()
            .filter(|word| word.starts_with("http://"))
            .ok_or_else(|| format!("{shown} did not say where it listens, but {line:?}"))?
            .to_owned();
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is as good as stopped.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The options of `kv_cache_sim` that make this server.
fn engine_options(engine: &EngineConfig) -> Vec<String> {
    let mut options: Vec<String> = Vec::new();
    let mut give = |option: &str, value: String| options.extend([option.to_owned(), value]);
    give("--block-size", engine.block_size.get().to_string());
    give("--kv-capacity", engine.tiers[0].capacity.0.to_string());
    give("--seed", engine.seed.to_string());
    give("--jitter", engine.jitter_sigma.to_string());
    match &engine.service {
        ServiceModel::Linear {
            per_active,
            per_token,
        } => give(
            "--latency",
            format!(
                "linear:{},{}",
                per_active.as_secs_f64(),
                per_token.as_secs_f64()
            ),
        ),
        ServiceModel::Fixed { total } => {
            give("--latency", format!("fixed:{}", total.as_secs_f64()))
        }
        ServiceModel::Batching(costs) => {
            let StepCosts {
                base,
                per_decode_seq,
                per_decode_context,
                per_prefill_token,
                per_attended_pair,
            } = costs;
            give("--max-num-seqs", engine.max_num_seqs.to_string());
            give(
                "--max-batched-tokens",
                engine.max_batched_tokens.to_string(),
            );
            give("--step-base", base.to_string());
            give("--decode-per-seq", per_decode_seq.to_string());
            give("--decode-per-context-token", per_decode_context.to_string());
            give("--prefill-per-token", per_prefill_token.to_string());
            give("--prefill-per-pair", per_attended_pair.to_string());
        }
    }
    options
}

/// The options of `cache_rate_tester` that ask this question.
fn study_options(posed: &Posed, url: &str, output: &Path) -> Vec<String> {
    let case = &posed.case;
    let window = posed.short_window.as_secs();
    let mut options: Vec<String> = Vec::new();
    let mut give = |option: &str, value: String| options.extend([option.to_owned(), value]);
    give("--api-endpoint", url.to_owned());
    give("--tokenizer", "builtin".to_owned());
    give("--context-sizes", case.context.to_string());
    give("--working-set-size", case.working_set.to_string());
    give("--chunk-size", case.chunk.to_string());
    give("--cache-hit-rates", case.rates[0].to_string());
    give("--output-tokens", case.output.to_string());
    give("--start-concurrency", case.start.to_string());
    give("--concurrency-increment", case.increment.to_string());
    give("--max-concurrency", case.max.to_string());
    give("--ramp-duration", window.to_string());
    give("--test-duration", (window * 60).to_string());
    give("--num-retries", RETRIES.to_string());
    if let Some(max) = posed.thresholds.max_ttft {
        give("--max-ttft", max.to_string());
    }
    if let Some(min) = posed.thresholds.min_speed {
        give("--min-tokens-per-req", min.to_string());
    }
    let ttft = match case.ttft_metric {
        TtftMetric::P95 => "p95",
        TtftMetric::Avg => "avg",
        TtftMetric::Max => "max",
    };
    give("--ttft-metric", ttft.to_owned());
    let speed = match case.speed_metric {
        SpeedMetric::Avg => "avg",
        SpeedMetric::P5 => "p5",
        SpeedMetric::P10 => "p10",
    };
    give("--tokens-per-req-metric", speed.to_owned());
    if case.seed.is_multiple_of(2) {
        give("--seed", case.seed.to_string());
    }
    give("--client-threads", "1".to_owned());
    give("--calibrate", "off".to_owned());
    give("--output-dir", output.display().to_string());
    if case.random_prompts {
        options.push("--random-working-set-selection".to_owned());
    }
    options.push("--skip-graphs".to_owned());
    options.push("--brief".to_owned());
    options
}

fn run(posed: &Posed, bins: &Path) -> Result<Said, String> {
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    let output = place.path().join("output");
    let server = Server::start(&bins.join("kv_cache_sim"), &posed.case.engine)?;
    let tester = bins.join("cache_rate_tester");
    let ended = Command::new(&tester)
        .args(study_options(posed, &server.url, &output))
        .current_dir(place.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("{} cannot be started: {error}", tester.display()))?;
    if !ended.status.success() {
        let told = String::from_utf8_lossy(&ended.stderr);
        let last = told.lines().last().unwrap_or("no word").to_owned();
        return Err(format!("{}: {last}", ended.status));
    }
    let facts = std::fs::read_to_string(output.join("run_facts.json"))
        .map_err(|error| format!("run_facts.json: {error}"))?;
    let summary = rows(&newest(&output, "summary_")?)?;
    Ok(Said {
        summary: summary.into_iter().next().ok_or("an empty summary")?,
        detailed: rows(&newest(&output, "detailed_results_")?)?,
        none_passed: facts.contains("\"no_level_passed\""),
    })
}

fn rows(path: &Path) -> Result<Vec<Row>, String> {
    let read =
        || -> csv::Result<Vec<Row>> { csv::Reader::from_path(path)?.deserialize().collect() };
    read().map_err(|error| format!("{}: {error}", path.display()))
}

/// The file of that prefix whose name sorts last; names end in a time stamp.
fn newest(dir: &Path, prefix: &str) -> Result<PathBuf, String> {
    let entries = std::fs::read_dir(dir).map_err(|error| error.to_string())?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(prefix) && name.ends_with(".csv"))
        })
        .collect();
    found.sort();
    found.pop().ok_or_else(|| format!("no {prefix}*.csv"))
}

/// A cell as a number; `None` where it is empty or absent.
fn number(row: &Row, column: &str) -> Option<f64> {
    row.get(column)?.parse().ok()
}

/// The criteria, without answers: peak, rate, hit rate.
pub(crate) fn criteria() -> [Criterion; 3] {
    let criterion = |name, unit, wanted, rule: &str| Criterion {
        rule: rule.to_owned(),
        name,
        unit,
        wanted,
        answers: Vec::new(),
    };
    [
        criterion(
            "programs: peak",
            "increments",
            0.9,
            "`cache_rate_tester --mode ramp` against `kv_cache_sim`, both as released, over loopback and in real time: \
             the chosen level is within one increment of the best one.",
        ),
        criterion(
            "programs: input rate",
            "%",
            0.9,
            "`window_input_tokens_per_sec` in the summary is within 3 % of the steady rate of the chosen level.",
        ),
        criterion(
            "programs: hit rate",
            "blocks",
            1.0,
            "In every row of `detailed_results_*.csv`, `cached_tokens` and `unique_tokens` are what the page's formula \
             says, and `reported_cached_tokens` is within a block of it. Even seeds run with `--seed`, odd ones without.",
        ),
    ]
}

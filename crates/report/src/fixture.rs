//! A run made by arithmetic instead of a server, for the tests of writers, resume and the validator.
//!
//! Promise: everything in it agrees, down to the last digit, as in the files of a real run.

use std::path::Path;
use std::time::Duration;

use metrics::attribution::{Ending, TokenAttribution};
use metrics::period::{
    LatenciesOver, PeriodKey, PeriodSample, phase_of_period, settle_rows, summarise_periods,
};
use metrics::schema::SetColumns;
use metrics::window::{WindowSample, prorated_throughput};
use metrics::{
    ChunkStamp, Exchange, FailedRequest, Failure, FailureKind, PeriodRow, PhaseRow, PhaseSample,
    RequestIntent, RequestRecord, SummaryRow, TestKey, Timeline, Usage, WallAnchor, summarise,
};
use serde_json::{Map, Value, json};

use crate::files::{ResultDir, RunWriter, WriterOptions};
use crate::metadata::{RunFacts, TestMetadata};
use crate::progress::Progress;
use crate::run_command;
use crate::stamp::RunStamp;
use crate::test_name::TestName;

/// Stamp of the first run.
pub(crate) const FIRST: &str = "20261122_010848";
/// Stamp of the second run.
pub(crate) const SECOND: &str = "20261122_020000";

/// Unix seconds at the monotonic epoch of all fixtures.
const ANCHOR: WallAnchor = WallAnchor {
    unix_at_epoch: 1_795_309_663.398_591_8,
};

/// Peak level of every fixture test.
const PEAK: u32 = 2;

/// A measured test.
pub(crate) struct Measured {
    pub(crate) test: TestName,
    pub(crate) records: Vec<RequestRecord>,
    pub(crate) failed: Vec<FailedRequest>,
    pub(crate) phases: Vec<PhaseRow>,
    pub(crate) summary: SummaryRow,
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn intent(test: TestName, phase_id: &str, k: u64, level: u32) -> RequestIntent {
    let cached = test.context_size * u64::from(test.cache_hit_rate) / 100;
    RequestIntent {
        request_id: format!("{phase_id}_r{k}"),
        phase_id: phase_id.into(),
        cache_hit_rate: test.cache_hit_rate,
        context_size: test.context_size,
        cached_tokens: cached,
        unique_tokens: test.context_size - cached,
        question_tokens: 30,
        concurrency_level: level,
        endpoint: "http://localhost:8000/v1".into(),
        working_set_size: test.working_set_size,
    }
}

fn exchange(launched: u64, ttft: u64, failure: Option<Failure>) -> Exchange {
    let chunk = |i: u64| ChunkStamp {
        at: millis(launched + ttft + 31 * i),
        text_bytes: 5 + i as u32,
    };
    let chunks: Vec<ChunkStamp> = match failure {
        Some(Failure {
            kind: FailureKind::Status,
            ..
        }) => Vec::new(),
        _ => (0..6).map(chunk).collect(),
    };
    Exchange {
        timeline: Timeline {
            intended: millis(launched),
            launched: millis(launched),
            dial: Duration::ZERO,
            headers_at: Some(millis(launched + 1)),
            finished: millis(launched + ttft + 31 * 5 + 3),
            chunks,
            ..Timeline::default()
        },
        usage: Usage {
            prompt_tokens: Some(1040),
            completion_tokens: Some(16),
            cached_tokens: Some(512),
        },
        text: "six chunks of text".to_owned(),
        failure,
    }
}

/// Measures a test that begins `start_s` seconds after the epoch: a window at the peak with a failed
/// request, one above it with a cancelled one, and a retry.
pub(crate) fn measure(test: TestName, start_s: u64) -> Measured {
    let mut all = Measured {
        test,
        records: Vec::new(),
        failed: Vec::new(),
        phases: Vec::new(),
        summary: SummaryRow::default(),
    };
    let windows = [("RAMP_c2", PEAK), ("RAMP_c4", 4), ("RETRY_1", PEAK)];
    for (w, (phase_id, level)) in windows.into_iter().enumerate() {
        let start = 1000 * start_s + 4000 * w as u64;
        let records: Vec<RequestRecord> = (0..9)
            .map(|k| {
                let sent = exchange(start + 300 * k + 7, 90 + 3 * k, None);
                RequestRecord::from_exchange(intent(test, phase_id, k, level), &sent, ANCHOR, None)
            })
            .collect();
        let failure = match phase_id {
            "RAMP_c2" => Some((
                FailureKind::Status,
                Some(500),
                "the server said\n\"busy\", twice",
            )),
            "RAMP_c4" => Some((FailureKind::Cancelled, None, "cancelled at the drain limit")),
            _ => None,
        };
        let failed: Vec<FailedRequest> = failure
            .into_iter()
            .filter_map(|(kind, status, message)| {
                let message = message.to_owned();
                let sent = exchange(
                    start + 500,
                    100,
                    Some(Failure {
                        kind,
                        status,
                        message,
                    }),
                );
                FailedRequest::from_exchange(intent(test, phase_id, 9, level), sent, ANCHOR)
            })
            .collect();
        all.phases
            .push(phase(test, phase_id, level, start, &records, &failed));
        all.records.extend(records);
        all.failed.extend(failed);
    }
    let samples: Vec<PhaseSample<'_>> = all
        .phases
        .iter()
        .map(|row| {
            let of_phase = |r: &&RequestRecord| *r.intent.phase_id == *row.phase_id;
            PhaseSample::new(row, all.records.iter().filter(of_phase))
        })
        .collect();
    let key = TestKey {
        context_size: test.context_size,
        working_set_size: test.working_set_size,
        cache_hit_rate: test.cache_hit_rate,
        model: Some("demo-8b".to_owned()),
        peak_concurrency: PEAK,
    };
    all.summary = summarise(&key, &samples);
    all
}

fn phase(
    test: TestName,
    phase_id: &str,
    level: u32,
    start: u64,
    records: &[RequestRecord],
    failed: &[FailedRequest],
) -> PhaseRow {
    let window = WindowSample::starting_at_first_launch(3.0, records, failed);
    let rates = prorated_throughput(&window);
    let n_cancelled = failed.iter().filter(|f| f.is_cancelled()).count() as u64;
    let (start_time, end_time) = (
        ANCHOR.unix(millis(start)),
        ANCHOR.unix(millis(start + 3500)),
    );
    PhaseRow {
        phase_id: phase_id.to_owned(),
        working_set_size: test.working_set_size,
        cache_hit_rate: test.cache_hit_rate,
        context_size: test.context_size,
        concurrency_level: level,
        start_time,
        end_time,
        duration: end_time - start_time,
        num_requests_launched: (records.len() + failed.len()) as u64,
        num_requests_completed: records.len() as u64,
        window_start_time: Some(window.first_launch),
        window_duration: Some(window.planned),
        window_input_tokens_per_sec: Some(rates.input_tps),
        window_output_tokens_per_sec: Some(rates.output_tps),
        num_requests_failed: Some(failed.len() as u64 - n_cancelled),
        num_requests_cancelled: Some(n_cancelled),
        client_limited: Some(false),
    }
}

/// A whole finished run of one sustained test: three periods of 2 s, requests that span their borders.
///
/// A test with a working set of its own is one of a set that grows.
pub(crate) fn run_sustained(dir: &Path, stamp: &str, test: TestName) {
    let grows = test.working_set_size.is_some();
    let mut attribution = TokenAttribution::new();
    let mut records = Vec::new();
    for k in 0..20 {
        let launched = 300 * k + 7;
        let sent = exchange(launched, 90 + 3 * k, None);
        let period = launched / 2000 + 1;
        let intent = intent(test, &format!("SUSTAINED_P{period}"), k, 2);
        attribution.launch(k, test.context_size, millis(launched));
        attribution.end(k, &sent.timeline, Some(16), Ending::Completed);
        records.push(RequestRecord::from_exchange(intent, &sent, ANCHOR, None));
    }
    let decided = [("RAMP_UP", 2, 4), ("STAY", 4, 4), ("RAMP_DOWN", 4, 2)];
    let mut periods: Vec<PeriodRow> = (1..)
        .zip(decided)
        .map(|(number, (decision, concurrency, next))| {
            let (start, end) = (2000 * (number - 1), 2000 * number);
            let mut figures = attribution.close(millis(end), None);
            // Everything was launched before the first border was looked at.
            figures.launched = records
                .iter()
                .filter(|r| *r.intent.phase_id == *format!("SUSTAINED_P{number}"))
                .count() as u64;
            let key = PeriodKey {
                number,
                context_size: test.context_size,
                cache_hit_rate: test.cache_hit_rate,
                // It grows from the second period on, up to a little more than the test's own size.
                working_set_size: test.working_set_size.map(|size| match number {
                    1 => size / 4,
                    _ => size + 100,
                }),
                start_time: ANCHOR.unix(millis(start)),
                end_time: ANCHOR.unix(millis(end)),
                duration: 2.0,
                concurrency,
            };
            PeriodRow {
                decision: decision.to_owned(),
                next_concurrency: next,
                ..PeriodRow::from_figures(&key, &figures, figures.ttft.p95)
            }
        })
        .collect();
    settle_rows(&mut periods, &attribution.finish());
    let key = TestKey {
        context_size: test.context_size,
        working_set_size: test.working_set_size,
        cache_hit_rate: test.cache_hit_rate,
        model: Some("demo-8b".to_owned()),
        ..TestKey::default()
    };
    let latencies = if grows {
        LatenciesOver::Requests
    } else {
        LatenciesOver::Periods
    };
    let mut requests = latencies.tally(0);
    requests.extend(&records);
    let sample = PeriodSample {
        periods: &periods,
        requests: &requests,
    };
    let summary = summarise_periods(&key, sample);
    let set = if grows {
        SetColumns::Growing
    } else {
        SetColumns::Without
    };
    let (mut requests, mut tables) = writer_with(dir, stamp, WriterOptions { set }).split();
    requests.append_detail(test.context_size, &records).unwrap();
    requests.put_periods(test, &periods).unwrap();
    if grows {
        let phases: Vec<PhaseRow> = periods
            .iter()
            .map(|period| phase_of_period(period, test.working_set_size, (0, 0)))
            .collect();
        tables.put_phases(&phases).unwrap();
    }
    tables.put_summary(&[summary]).unwrap();
    TestMetadata::new(
        "demo-8b",
        vec!["http://localhost:8000".to_owned()],
        "sustained",
    )
    .save(dir)
    .unwrap();
    RunFacts::new("cache_rate_tester", "0.1.0")
        .save(dir)
        .unwrap();
    let mut parameters = parameters(&[test.context_size], &[test.cache_hit_rate]);
    parameters.insert("mode".to_owned(), json!("sustained"));
    if let Some(size) = test.working_set_size {
        parameters.remove("working_set_size");
        parameters.insert("working_set_sizes".to_owned(), json!([size / 4, size]));
    }
    let mut progress = Progress::new(parameters);
    progress.mark_complete(&test);
    progress.save(dir).unwrap();
}

/// Effective options of the fixture runs.
pub(crate) fn parameters(contexts: &[u64], rates: &[u32]) -> Map<String, Value> {
    let value = json!({
        "api_endpoint": "http://localhost:8000", "api_endpoints": ["http://localhost:8000"],
        "context_sizes": contexts, "working_set_size": 8000, "output_tokens": 16,
        "max_ttft": 0.5, "ttft_metric": "p95", "min_tokens_per_req": null,
        "tokens_per_req_metric": "avg", "output_dir": "./output", "tokenizer_id": "builtin",
        "test_duration": 120, "ramp_duration": 3, "assessment_period": 30, "mode": "ramp",
        "reinit_strategy": "once", "random_selection": false, "num_retries": 1,
        "start_concurrency": 2, "concurrency_increment": 2, "max_concurrency": 1000,
        "init_concurrency": 16, "cache_hit_rates": rates, "skip_graphs": true,
        "force_restart": false, "verbose": false, "chunk_size": 256, "seed": 42,
        "kv_cache_bytes": 2, "strict_time_window": false, "fixed_concurrency_levels": null,
        "endpoint_selection": "round-robin", "detected_model": "demo-8b"
    });
    match value {
        Value::Object(map) => map,
        _ => unreachable!("the macro was given an object"),
    }
}

/// Appends the rows of single requests, in two batches.
pub(crate) fn append_requests(writer: &mut RunWriter, measured: &Measured) {
    let context = measured.test.context_size;
    let (first, second) = measured.records.split_at(measured.records.len() / 2);
    writer.append_detail(context, first).unwrap();
    writer.append_failed(context, &measured.failed).unwrap();
    writer.append_detail(context, second).unwrap();
}

/// Writes a finished test as the tools do: requests, phases, summary, then progress.
pub(crate) fn finish(
    dir: &Path,
    writer: &mut RunWriter,
    progress: &mut Progress,
    measured: &Measured,
) {
    append_requests(writer, measured);
    writer.put_phases(&measured.phases).unwrap();
    writer
        .put_summary(std::slice::from_ref(&measured.summary))
        .unwrap();
    progress.mark_complete(&measured.test);
    progress.save(dir).unwrap();
}

/// The writer of a run.
pub(crate) fn writer(dir: &Path, stamp: &str) -> RunWriter {
    writer_with(dir, stamp, WriterOptions::default())
}

fn writer_with(dir: &Path, stamp: &str, options: WriterOptions) -> RunWriter {
    let stamp = RunStamp::parse(stamp).unwrap();
    run_command::write(dir, &stamp, "cache_rate_tester", &[]).unwrap();
    RunWriter::create(&ResultDir::open(dir).unwrap(), &stamp, options)
}

/// A whole finished run of these tests, dashboard left to the caller.
pub(crate) fn run(dir: &Path, stamp: &str, tests: &[TestName]) {
    let mut contexts: Vec<u64> = tests.iter().map(|t| t.context_size).collect();
    contexts.dedup();
    let mut rates: Vec<u32> = tests.iter().map(|t| t.cache_hit_rate).collect();
    rates.sort_unstable();
    rates.dedup();
    let mut writer = writer(dir, stamp);
    let endpoints = vec!["http://localhost:8000".to_owned()];
    TestMetadata::new("demo-8b", endpoints, "ramp")
        .save(dir)
        .unwrap();
    RunFacts::new("cache_rate_tester", "0.1.0")
        .save(dir)
        .unwrap();
    let mut progress = Progress::new(parameters(&contexts, &rates));
    for (i, test) in tests.iter().enumerate() {
        let measured = measure(*test, 100 * i as u64);
        finish(dir, &mut writer, &mut progress, &measured);
    }
}

/// A dashboard that links every file.
pub(crate) fn write_index(dir: &Path) {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "index.html")
        .collect();
    names.sort();
    let links: String = names
        .iter()
        .map(|name| format!("<li><a href=\"{name}\">{name}</a></li>"))
        .collect();
    let page = format!("<!DOCTYPE html><html><body><ul>{links}</ul></body></html>");
    std::fs::write(dir.join("index.html"), page).unwrap();
}

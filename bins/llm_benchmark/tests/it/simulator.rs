//! Against the simulator's `/generate`: plain, as events and as lines.

use std::time::Duration;

use sim::model::ServiceModel;
use sim::{Background, SimConfig};

use crate::tool::{Finished, Place, Shown};

/// First token after `first` seconds for each request in the server, then one every `next` seconds.
fn linear(first: f64, next: f64) -> Background {
    let mut config = SimConfig::demo();
    config.engine.service = ServiceModel::Linear {
        per_active: Duration::from_secs_f64(first),
        per_token: Duration::from_secs_f64(next),
    };
    Background::start(config).unwrap()
}

fn run(server: &Background, path: &str, more: &[&str]) -> Finished {
    let url = format!("{}{path}", server.url());
    let args = [&["--endpoint", &url, "--concurrency", "1"], more].concat();
    Place::new().run(&args).exits(0)
}

#[test]
fn repeats_are_answered_from_the_response_cache() {
    let server = linear(0.001, 0.0001);
    let run = run(&server, "/generate", &["--max-tokens", "8"])
        .shows("Successful:", "50")
        .shows("Hit Rate:", "28.0%")
        .never_says("estimated");
    assert!(run.number("Tokens/sec:") > 0.0);
    let generations = server.generations();
    assert_eq!(generations.len(), 55);
    assert_eq!(
        generations
            .iter()
            .filter(|r| r.completion_tokens == Some(0))
            .count(),
        14
    );
}

#[test]
fn a_stream_shows_its_first_token_and_a_whole_answer_cannot() {
    let _undisturbed = testkit::busy::undisturbed();
    // 150 ms to the first token and 40 × 5 ms behind it.
    let common = [
        "--requests",
        "4",
        "--warmup",
        "0",
        "--repeat-ratio",
        "0",
        "--max-tokens",
        "41",
    ];
    for (path, extra) in [
        ("/generate", &["--extra-body", r#"{"stream": true}"#][..]),
        ("/generate?stream=ndjson", &[]),
    ] {
        let server = linear(0.15, 0.005);
        let run = run(&server, path, &[&common[..], extra].concat()).never_says("one piece");
        let (ttft, latency) = (run.number("TTFT P50:"), run.number("Avg Latency:"));
        assert!(ttft >= 150.0, "{path}: {ttft}");
        assert!(latency >= 350.0, "{path}: {latency}");
        // What is between them is the other 40 tokens, whatever this machine adds to either.
        assert!(latency - ttft >= 150.0, "{path}: {ttft} of {latency}");
        let tpot = run.number("TPOT (avg):");
        assert!((3.5..50.0).contains(&tpot), "{path}: {tpot}");
    }
    let server = linear(0.15, 0.005);
    let run = run(&server, "/generate", &common).says("answers came in one piece");
    assert!(run.number("TTFT P50:") >= 350.0);
}

#[test]
fn streamed_repeats_are_hits_too() {
    let server = linear(0.001, 0.0001);
    run(&server, "/generate?stream=sse", &["--max-tokens", "4"]).shows("Hit Rate:", "28.0%");
}

#[test]
fn without_detection_a_stream_is_no_answer() {
    let server = linear(0.001, 0.0001);
    let url = format!("{}/generate?stream=sse", server.url());
    Place::new()
        .run(&["--endpoint", &url, "--stream", "off", "--requests", "3"])
        .exits(1)
        .says("protocol × 3");
}

#[test]
fn faults_of_the_simulator_are_counted_by_kind() {
    let mut config = SimConfig::demo();
    config.engine.service = ServiceModel::Fixed {
        total: Duration::from_millis(2),
    };
    let faults = ["500:every=5", "html:every=7", "cut:tokens=2:every=11"];
    config.faults.rules = faults.iter().map(|rule| rule.parse().unwrap()).collect();
    let server = Background::start(config).unwrap();
    let url = format!("{}/generate?stream=sse", server.url());
    let run = Place::new()
        .run(&[
            "--endpoint",
            &url,
            "--warmup",
            "0",
            "--concurrency",
            "1",
            "--max-tokens",
            "8",
        ])
        .exits(0)
        .says("status × ")
        .says("protocol × ")
        .says("truncated × ");
    // The simulator knows whom it hit.
    let n_hit = server
        .generations()
        .iter()
        .filter(|r| r.fault.is_some())
        .count();
    assert!(n_hit > 10);
    run.shows("Failed:", &n_hit.to_string());
}

//! The acceptance examples of the tool's page, against the server that the page describes.

use std::time::Duration;

use serde_json::json;

use crate::mock::{Do, Mock, answer, json_answer};
use crate::tool::{Place, Shown};

const KEYS: [&str; 11] = [
    "total_requests",
    "successful_requests",
    "failed_requests",
    "ttft_p50_ms",
    "ttft_p95_ms",
    "ttft_p99_ms",
    "tpot_avg_ms",
    "throughput_tokens_per_sec",
    "cache_hit_rate",
    "avg_latency_ms",
    "total_time_sec",
];

#[test]
fn defaults_send_55_requests_and_count_50() {
    let server = Mock::acceptance();
    let run = Place::new()
        .run(&["--endpoint", &server.url()])
        .exits(0)
        .shows("Total Requests:", "50")
        .shows("Successful:", "50")
        .shows("Failed:", "0");
    assert!(
        run.stdout
            .contains("\n🔥 Running 5 warmup requests...\n\n🏃 Running 50 benchmark requests...\n")
    );
    let seen = server.seen();
    assert_eq!(seen.bodies.len(), 55);
    assert!(seen.most_in_flight <= 5, "{}", seen.most_in_flight);
    // Opened ahead for the warm-up and used to the end.
    assert_eq!(seen.n_connections, 5);
}

#[test]
fn the_first_body_and_the_first_repeat_are_the_originals() {
    let server = Mock::caching(Duration::ZERO);
    let place = Place::new();
    let url = server.url();
    place
        .run(&[
            "--endpoint",
            &url,
            "--concurrency",
            "1",
            "--output",
            "r.json",
        ])
        .exits(0)
        .shows("Hit Rate:", "28.0%")
        .says("hit rate of 28.0% (14 of 50)");
    assert_eq!(place.json("r.json")["cache_hit_rate"], json!(0.28));
    let seen = server.seen();
    let first = json!({
        "prompt": "Explain machine learning in simple terms. (variation 0)",
        "max_tokens": 100,
        "temperature": 0.0,
    });
    assert_eq!(seen.bodies[0], first);
    assert_eq!(
        seen.prompts()[38],
        "Explain machine learning in simple terms."
    );
    assert!(seen.heads[0].starts_with("POST /generate HTTP/1.1\r\n"));
    assert!(
        !seen.heads[0].contains("authorization"),
        "{}",
        seen.heads[0]
    );
}

#[test]
fn without_a_warm_up_there_is_no_line_of_one_and_the_file_has_eleven_keys() {
    let server = Mock::acceptance();
    let place = Place::new();
    let url = server.url();
    let run = place
        .run(&[
            "--endpoint",
            &url,
            "--requests",
            "10",
            "--warmup",
            "0",
            "--concurrency",
            "1",
            "--output",
            "deep/er/r.json",
        ])
        .exits(0)
        .shows("Hit Rate:", "0.0%");
    assert!(!run.stdout.contains("warmup"));
    assert!(
        run.stdout
            .ends_with("\n📁 Results saved to: deep/er/r.json\n")
    );
    let text = place.read("deep/er/r.json");
    assert!(
        text.starts_with("{\n  \"total_requests\": 10,\n") && text.ends_with("\n}"),
        "{text}"
    );
    let results = place.json("deep/er/r.json");
    let keys: Vec<&String> = results.as_object().unwrap().keys().collect();
    assert_eq!(keys, KEYS);
    for key in &KEYS[..3] {
        assert!(results[key].is_u64(), "{key}");
    }
    for key in &KEYS[3..] {
        assert!(results[key].is_f64(), "{key}");
    }
    let seconds = results["total_time_sec"].as_f64().unwrap();
    let throughput = results["throughput_tokens_per_sec"].as_f64().unwrap();
    assert!(seconds >= 0.5, "{seconds}");
    assert!((throughput * seconds / 1000.0 - 1.0).abs() < 1e-9);
    assert!(results["ttft_p50_ms"].as_f64().unwrap() >= 50.0);
}

#[test]
fn concurrency_is_reached_and_never_passed() {
    let server = Mock::acceptance();
    let url = server.url();
    Place::new()
        .run(&[
            "--endpoint",
            &url,
            "--concurrency",
            "20",
            "--requests",
            "200",
        ])
        .exits(0);
    let seen = server.seen();
    assert_eq!(seen.most_in_flight, 20);
    assert_eq!(seen.bodies.len(), 205);
}

#[test]
fn errors_of_every_request_are_named_and_counted_and_the_run_fails() {
    let server =
        Mock::start(|_, _| vec![answer("500 Internal Server Error", "text/plain", "boom")]);
    let url = server.url();
    let run = Place::new()
        .run(&["--endpoint", &url])
        .exits(1)
        .shows("Failed:", "50")
        .says("errors: 50 of 50 requests failed\n   status × 50\n      HTTP 500 × 50 (Internal Server Error: boom)\n")
        .says("5 of 5 warm-up requests failed: HTTP 500");
    for label in [
        "TTFT P50:",
        "TTFT P95:",
        "TTFT P99:",
        "TPOT (avg):",
        "Avg Latency:",
    ] {
        assert_eq!(run.value(label), "0.00 ms");
    }
    // One try each.
    assert_eq!(server.seen().bodies.len(), 55);
}

#[test]
fn one_answer_without_text_fails_alone() {
    let server = Mock::start(|n, _| {
        vec![json_answer(if n == 7 {
            r#"{"text": null}"#
        } else {
            r#"{"text": "fine"}"#
        })]
    });
    let url = server.url();
    Place::new()
        .run(&["--endpoint", &url])
        .exits(0)
        .shows("Successful:", "49")
        .shows("Failed:", "1")
        .shows("Hit Rate:", "0.0%")
        .says("empty × 1\n      the answer has no text: \"text\" is null × 1");
}

#[test]
fn a_slow_server_times_out_request_by_request() {
    let _undisturbed = testkit::busy::undisturbed();
    let server = Mock::start(|_, _| vec![Do::Wait(Duration::from_secs(3)), json_answer("{}")]);
    let place = Place::new();
    let url = server.url();
    place
        .run(&[
            "--endpoint",
            &url,
            "--timeout",
            "1",
            "--requests",
            "4",
            "--concurrency",
            "2",
            "--warmup",
            "0",
            "--output",
            "r.json",
        ])
        .exits(1)
        .says("timeout × 4\n      timeout after 1 s × 4");
    // Two rounds of one second each, and not of three.
    let seconds = place.json("r.json")["total_time_sec"].as_f64().unwrap();
    assert!((2.0..6.0).contains(&seconds), "{seconds}");
}

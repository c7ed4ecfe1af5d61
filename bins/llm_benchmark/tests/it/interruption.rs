//! Signals: what had finished is reported and written, and nothing more is sent.

use std::time::Duration;

use crate::mock::{Do, Mock, json_answer};
use crate::tool::{Place, Shown};

fn check(signal: &str, code: i32) {
    let server = Mock::caching(Duration::from_millis(20));
    let place = Place::new();
    let url = server.url();
    let running = place.start(&[
        "--endpoint",
        &url,
        "--requests",
        "100000",
        "--concurrency",
        "3",
        "--output",
        "r.json",
    ]);
    server.wait_for(30);
    running.signal(signal);
    let run = running
        .finish()
        .exits(code)
        .says("interrupted: ")
        .never_says("errors:");
    let n = run.number("Total Requests:");
    assert!((20.0..100_000.0).contains(&n), "{n}");
    assert_eq!(run.value("Failed:"), "0");
    let results = place.json("r.json");
    assert_eq!(results["total_requests"].as_f64(), Some(n));
    assert!(results["total_time_sec"].as_f64().unwrap() > 0.0);
    // Those in flight and the warm-up on top.
    assert!(server.seen().heads.len() <= n as usize + 5 + 3);
}

#[test]
fn ctrl_c_reports_what_had_finished() {
    check("INT", 130);
}

#[test]
fn a_termination_too() {
    check("TERM", 143);
}

#[test]
fn before_the_first_answer_there_is_nothing_to_report_and_no_file() {
    let server = Mock::start(|_, _| vec![Do::Wait(Duration::from_secs(20)), json_answer("{}")]);
    let place = Place::new();
    let url = server.url();
    let running = place.start(&["--endpoint", &url, "--output", "r.json"]);
    server.wait_for(1);
    running.signal("INT");
    let run = running
        .finish()
        .exits(130)
        .says("interrupted: no measured request had finished");
    assert!(run.took < Duration::from_secs(15), "{:?}", run.took);
    assert!(!run.stdout.contains("RESULTS"));
    assert!(!place.path().join("r.json").exists());
}

/// The run was over for whoever asked for its exit code: 0, and the signal was lost.
fn check_during_the_calibration(signal: &str, code: i32) {
    // An answer takes so long that the calibration lasts three seconds.
    let server = Mock::start(|_, _| {
        vec![
            Do::Wait(Duration::from_millis(200)),
            json_answer(r#"{"text": "a word or two"}"#),
        ]
    });
    let place = Place::new();
    let url = server.url();
    for details in [&["--details"][..], &[]] {
        let common = ["--endpoint", &url, "--requests", "3", "--warmup", "0"];
        let file = ["--output", "r.json", "--calibrate", "auto"];
        let running = place.start(&[&common[..], &file[..], details].concat());
        // The results are on the console, and what comes behind them takes a second at least.
        running.wait_until("results", || running.stdout().contains("Total Requests:"));
        running.signal(signal);
        let run = running.finish().exits(code).never_says("errors:");
        assert_eq!(run.value("Total Requests:"), "3");
        let results = place.json("r.json");
        assert_eq!(results["successful_requests"], 3);
        if !details.is_empty() {
            assert_eq!(results["interrupted"], false);
            let client = &results["client"];
            assert_eq!(client["without_calibration"], "the run was stopped");
            assert_eq!(client["calibrated_requests"], serde_json::Value::Null);
            assert!(client["lag_p50_ms"].is_f64());
        }
    }
}

#[test]
fn ctrl_c_during_the_calibration_keeps_all_results_and_has_its_exit_code() {
    check_during_the_calibration("INT", 130);
}

#[test]
fn a_termination_during_the_calibration_too() {
    check_during_the_calibration("TERM", 143);
}

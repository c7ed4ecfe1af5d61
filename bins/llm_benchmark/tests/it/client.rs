//! What the tool says of its own part in what it measured.

use std::time::Duration;

use serde_json::Value;
use testkit::busy;

use crate::mock::{Do, Mock, json_answer};
use crate::tool::{Finished, Place};

/// The words of a run whose figures are not to be trusted.
const LIMITED: &str = "warning: the figures are limited by this client: ";
const LATE: &str = "note: the client itself was late by p50 ";

/// Answers in one piece, after `delay` milliseconds.
fn whole(delay: u64) -> Mock {
    let delay = Duration::from_millis(delay);
    Mock::start(move |_, _| vec![Do::Wait(delay), json_answer(r#"{"text": "a word or two"}"#)])
}

fn run(place: &Place, server: &Mock, more: &[&str]) -> Finished {
    let url = server.url();
    let common = ["--endpoint", &url, "--requests", "12", "--warmup", "1"];
    let file = ["--concurrency", "2", "--output", "r.json", "--details"];
    place.run(&[&common[..], &file[..], more].concat()).exits(0)
}

/// What the file says of the client, after a check that stderr says the same.
#[track_caller]
fn client(place: &Place, run: &Finished) -> Value {
    let client = place.json("r.json")["client"].clone();
    assert_eq!(run.stderr.contains(LIMITED), client["limited"] == true);
    assert_eq!(client["limited_by"].is_string(), client["limited"] == true);
    client
}

/// By 15 ms the client may be off. What else runs beside these tests may do that to it, and then it says so rightly;
/// three times in a row it does not.
#[test]
fn a_client_that_nothing_disturbs_says_by_how_much_it_was_late_and_no_more() {
    let _undisturbed = busy::undisturbed();
    let server = whole(300);
    let is_undisturbed = (0..3).any(|_| {
        let place = Place::new();
        let run = run(&place, &server, &["--calibrate", "auto"]).says(LATE);
        let client = client(&place, &run);
        let at = |key: &str| {
            client[key]
                .as_f64()
                .unwrap_or_else(|| panic!("{key}: {client}"))
        };
        assert!(at("lag_p50_ms") > 0.0 && at("lag_p50_ms") <= at("lag_p99_ms"));
        assert!(at("ttft_error_p50_ms") >= at("lag_p50_ms"));
        assert!(at("ttft_error_p99_ms") >= at("ttft_error_p50_ms"));
        assert!(at("calibrated_requests") >= 2.0 && at("cpu_share") > 0.0);
        // Answers in one piece have no time between tokens.
        assert_eq!(client["tpot_error_p50_ms"], Value::Null);
        client["limited"] == false
    });
    assert!(is_undisturbed, "a client that has nothing to do limits");
}

#[test]
fn a_busy_core_under_the_client_is_a_warning() {
    let server = whole(20);
    let place = Place::new();
    let run = busy::on_a_busy_core(|| run(&place, &server, &["--calibrate", "auto"]));
    assert!(run.stderr.contains(LIMITED), "{}", run.stderr);
    assert_eq!(client(&place, &run)["limited"], true, "{}", run.stderr);
    assert!(run.stderr.contains(LATE), "{}", run.stderr);
    // The console block is the published one.
    assert!(!run.stdout.contains("client"), "{}", run.stdout);
}

#[test]
fn without_a_calibration_the_client_is_judged_by_what_it_felt() {
    let server = whole(20);
    let place = Place::new();
    let run = run(&place, &server, &["--calibrate", "off"]).says(LATE);
    let client = client(&place, &run);
    assert_eq!(client["calibrated_requests"], Value::Null);
    assert_eq!(client["ttft_error_p99_ms"], client["lag_p99_ms"]);
    // Nothing but the benchmark was sent, and to nobody else.
    assert_eq!(server.seen().heads.len(), 13);
}

#[test]
fn quiet_says_nothing_of_the_client_and_the_file_does_all_the_same() {
    let server = whole(0);
    let place = Place::new();
    let run = run(&place, &server, &["--calibrate", "auto", "--quiet"]);
    assert_eq!(run.stderr, "");
    assert!(place.json("r.json")["client"]["calibrated_requests"].is_u64());
}

#[test]
fn a_run_without_an_answer_says_nothing_of_the_client() {
    let server = Mock::start(|_, _| vec![crate::mock::answer("500 Oops", "text/plain", "no")]);
    let place = Place::new();
    let url = server.url();
    place
        .run(&["--endpoint", &url, "--requests", "2", "--calibrate", "auto"])
        .exits(1)
        .never_says("the client itself");
    assert!(place.files().is_empty());
}

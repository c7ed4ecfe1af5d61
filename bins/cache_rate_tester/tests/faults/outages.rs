//! Servers that go away, are too slow, or fail every time or too often.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sim::fault::{FaultKind, FaultPlan};
use testkit::process::Finished;

use crate::relay::{Act, Purpose, Relay, dead_address};
use crate::scene::{CONTEXT, STUDY, at, faulty, healthy, quick, reads_well, second_rate};
use crate::support::process::Place;
use crate::support::server;

/// Twenty windows of the study, were they all run, with their pauses: a run that gives up early takes far less.
const FULL_STUDY: Duration = Duration::from_secs(20);

/// All rates by default; a server that fails must not be asked for all of them.
const ALL_RATES: &str = "--context-sizes 512 --working-set-size 2048 --chunk-size 128 --output-tokens 6 \
    --start-concurrency 2 --max-concurrency 2 --ramp-duration 1 --test-duration 1 --num-retries 0 --skip-graphs";

/// Lines that list failed tests at the end, with their reasons.
fn listed(end: &Finished) -> Vec<&str> {
    let mut lines = end.lines("512 tokens at ");
    lines.retain(|line| line.contains("%: "));
    lines
}

#[test]
fn a_server_that_dies_between_two_rates_costs_only_what_was_not_measured() {
    let scene = second_rate("--cache-hit-rates 0 25 50 75 100", |_| Act::Die);
    let scene = scene.exits(1).kept_the_first_rate();
    assert_eq!(listed(&scene.end).len(), 3, "{}", scene.end.stderr);
    for line in &listed(&scene.end)[1..] {
        assert!(line.contains("connect: connection to 127.0.0.1:"), "{line}");
        assert!(line.contains("refused: is the server running?"), "{line}");
    }
    assert_eq!(
        scene
            .end
            .lines("3 tests failed in a row; the rest is not tried")
            .len(),
        1
    );
    let failed = scene.output().newest("failed_requests_512_");
    // The request that saw the server die, and perhaps its neighbour, had a connection.
    let kinds = failed.distinct("kind");
    assert!(
        kinds.contains("connect") && kinds.is_subset(&texts(&["connect", "truncated"])),
        "{kinds:?}"
    );
    let rates = failed.distinct("cache_hit_rate");
    assert_eq!(rates, texts(&["25", "50", "75"]));
    assert!(failed.matching(&[("kind", "truncated")]).rows.len() <= 2);
    assert!(scene.end.took < FULL_STUDY, "{:?}", scene.end.took);
}

#[test]
fn a_server_that_dies_during_a_window_keeps_the_rows_of_that_window() {
    let scene = second_rate("", |arrived| {
        if arrived.nth > 6 {
            Act::Die
        } else {
            Act::Forward(healthy())
        }
    });
    let scene = scene.exits(1);
    assert_eq!(scene.output().completed(), ["512_0"]);
    let warm = scene
        .output()
        .detail(CONTEXT)
        .matching(&[("cache_hit_rate", "50")]);
    // The sixth may have been under way.
    assert!(
        (5..=6).contains(&warm.rows.len()),
        "{} rows",
        warm.rows.len()
    );
    assert_eq!(scene.output().summary().rows.len(), 1);
    assert!(
        listed(&scene.end)[0].contains("refused: is the server running?")
            || listed(&scene.end)[0].contains("truncated")
    );
    scene.output().assert_valid();
}

#[test]
fn a_server_that_dies_during_the_warm_up_aborts_its_context() {
    let scene = at(Purpose::WarmUp, "", |_| Act::Die).exits(1);
    assert!(scene.output().completed().is_empty());
    assert_eq!(listed(&scene.end).len(), 2, "{}", scene.end.stderr);
    for line in listed(&scene.end) {
        assert!(
            line.contains("the 4 requests that initialise the working set"),
            "{line}"
        );
    }
    assert_eq!(scene.n_warm, 0);
    assert!(
        scene.output().names_like("", ".csv").is_empty(),
        "{:?}",
        scene.output().names()
    );
    assert!(scene.end.took < FULL_STUDY, "{:?}", scene.end.took);
}

#[test]
fn half_a_warm_up_goes_on_with_a_warning_and_tries_again_once() {
    // The first and the second prompt fail once; the others do not.
    let scene = at(Purpose::WarmUp, "", |arrived| match arrived.nth {
        1 | 2 => Act::answer("500 Internal Server Error", "text/plain", "no"),
        _ => Act::Forward(healthy()),
    });
    let scene = scene.exits(0);
    assert_eq!(scene.output().completed(), ["512_0", "512_50"]);
    assert_eq!(
        scene
            .end
            .lines("Sending 2 working-set prompts again that failed the first time")
            .len(),
        1
    );
    assert!(scene.output().names_like("failed_requests_", "").is_empty());
}

#[test]
fn warm_up_prompts_that_fail_twice_are_warned_of() {
    // Which prompts these are is not known; that they come again last is.
    let scene = at(Purpose::WarmUp, "", |arrived| match arrived.nth {
        1 | 5 => Act::answer("500 Internal Server Error", "text/plain", "no"),
        _ => Act::Forward(healthy()),
    });
    let scene = scene.exits(0);
    let warned = scene
        .end
        .lines("1 of 4 working-set prompts could not be initialised");
    assert_eq!(warned.len(), 1, "{}", scene.end.stderr);
}

#[test]
fn an_endpoint_that_refuses_with_a_model_given_fails_the_context() {
    let place = Place::new();
    let end = place
        .run(&format!(
            "--api-endpoint http://{} --model kv-cache-sim {STUDY}",
            dead_address()
        ))
        .exits(1);
    reads_well(&end);
    for line in end.lines("512 tokens at ") {
        assert!(line.contains("connect: connection to 127.0.0.1:"), "{line}");
        assert!(line.contains("refused: is the server running?"), "{line}");
    }
    assert_eq!(end.lines("512 tokens at ").len(), 2, "{}", end.stderr);
    assert!(place.output().completed().is_empty());
    assert!(end.took < FULL_STUDY, "{:?}", end.took);
}

#[test]
fn a_server_that_answers_500_to_every_post_ends_the_run_early_with_nothing_complete() {
    let server = faulty(FaultPlan::always(FaultKind::Status(500)));
    let place = Place::new();
    // Acceptance example 11: full durations would be minutes.
    let end = place
        .run(&format!(
            "--api-endpoint {} {ALL_RATES} --ramp-duration 10 --test-duration 120",
            server.url()
        ))
        .exits(1);
    reads_well(&end);
    assert!(place.output().completed().is_empty());
    let listed = listed(&end);
    assert_eq!(listed.len(), 3, "{}", end.stderr);
    for line in listed {
        assert!(
            line.contains("HTTP 500 Internal Server Error") && line.contains("see its log"),
            "{line}"
        );
    }
    assert_eq!(
        end.lines("3 tests failed in a row; the rest is not tried")
            .len(),
        1
    );
    assert!(end.took < FULL_STUDY, "{:?}", end.took);
    assert!(
        place.output().names_like("", ".csv").is_empty(),
        "{:?}",
        place.output().names()
    );
}

#[test]
fn failures_are_told_five_times_a_phase_and_then_counted_and_three_failed_tests_stop_the_run() {
    // The warm-up is answered, so that every test has a window to fail in.
    let relay = Relay::start(|arrived| match arrived.purpose {
        Purpose::Models | Purpose::WarmUp => Act::Forward(healthy()),
        Purpose::Cold | Purpose::Warm => {
            Act::answer("500 Internal Server Error", "text/plain", "out of memory")
        }
    });
    let place = Place::new();
    let end = place
        .run(&format!(
            "--api-endpoint {} {ALL_RATES} --ramp-duration 10 --test-duration 120 --num-retries 2",
            relay.url()
        ))
        .exits(1);
    reads_well(&end);
    let output = place.output();
    assert!(output.completed().is_empty());
    assert!(output.names_like("summary_", "").is_empty());
    assert!(output.names_like("detailed_results_", "").is_empty());
    let failed = output.newest("failed_requests_512_");
    assert_eq!(failed.distinct("kind"), texts(&["status"]));
    assert_eq!(failed.distinct("status"), texts(&["500"]));
    let rates = failed.distinct("cache_hit_rate");
    assert_eq!(rates, texts(&["0", "5", "10"]));
    assert_eq!(
        end.lines("Request RAMP_c2_r").len(),
        3 * 5,
        "{}",
        end.stderr
    );
    for rate in rates {
        let of_test = failed.matching(&[("cache_hit_rate", &rate)]);
        assert!(
            (10..=11).contains(&of_test.rows.len()),
            "{} at {rate}%",
            of_test.rows.len()
        );
    }
    assert_eq!(end.lines("✗ Cache hit rate").len(), 3);
    assert_eq!(end.lines("✗ 3 of the tests failed:").len(), 1);
    assert_eq!(
        end.lines("3 tests failed in a row; the rest is not tried")
            .len(),
        1
    );
    assert_eq!(end.lines("✓").len(), 0, "{}", end.stderr);
    // An ill server is no reason to loosen a threshold.
    for misleading in ["--max-ttft", "hreshold"] {
        let told = end
            .stderr
            .lines()
            .filter(|line| line.contains(" WARNING ") || line.contains(" ERROR "));
        let told: Vec<&str> = told.filter(|line| line.contains(misleading)).collect();
        assert!(told.is_empty(), "{told:?}");
    }
    assert!(end.took < FULL_STUDY, "{:?}", end.took);
}

#[test]
fn a_level_with_every_second_request_failed_is_still_measured_and_marked() {
    let scene = second_rate("", |arrived| match arrived.nth % 2 {
        0 => Act::answer("503 Service Unavailable", "text/plain", "no"),
        _ => Act::Forward(healthy()),
    });
    let scene = scene.exits(0);
    let output = scene.output();
    assert_eq!(output.completed(), ["512_0", "512_50"]);
    assert_eq!(output.doubts(CONTEXT, 50), ["failures"]);
    assert!(output.doubts(CONTEXT, 0).is_empty());
    scene.failed_requests("status", "503", &["HTTP 503"]);
    let phase = output.phases().matching(&[("cache_hit_rate", "50")]);
    let failed = output.newest("failed_requests_512_").rows.len() as f64;
    let completed = output
        .detail(CONTEXT)
        .matching(&[("cache_hit_rate", "50")])
        .rows
        .len() as f64;
    assert_eq!(phase.number("num_requests_failed"), failed);
    assert_eq!(phase.number("num_requests_completed"), completed);
    assert_eq!(phase.number("num_requests_launched"), failed + completed);
    assert!(
        failed <= completed && failed >= completed - 1.0,
        "{failed} failed, {completed} completed"
    );
    output.assert_valid();
}

#[test]
fn a_level_with_more_than_half_of_its_requests_failed_is_no_result() {
    // Of three requests in a row two fail, so that never ten do.
    let scene = second_rate("", |arrived| match arrived.nth % 3 {
        1 => Act::Forward(healthy()),
        _ => Act::answer("503 Service Unavailable", "text/plain", "no"),
    });
    let scene = scene.exits(1);
    assert_eq!(scene.output().completed(), ["512_0"]);
    assert_eq!(scene.output().summary().rows.len(), 1);
    scene.failed_requests("status", "503", &["HTTP 503"]);
    let line = listed(&scene.end)[0];
    assert!(line.contains("more than half"), "{line}");
    assert!(
        line.contains("status: HTTP 503 Service Unavailable"),
        "{line}"
    );
    assert!(!line.contains("threshold"), "{line}");
    // What was answered is on file all the same.
    let rows = scene
        .output()
        .detail(CONTEXT)
        .matching(&[("cache_hit_rate", "50")]);
    assert!(!rows.rows.is_empty());
    scene.output().assert_valid();
}

#[test]
fn a_limit_on_requests_at_once_is_where_the_ramp_settles() {
    // Four streams at a time take half a second each; a fifth request is refused.
    let scene = second_rate(
        "--max-concurrency 12 --test-duration 60 --num-retries 1",
        |arrived| {
            if arrived.answering < 4 {
                Act::slow_stream(6, Duration::from_millis(80))
            } else {
                Act::answer(
                    "429 Too Many Requests",
                    "application/json",
                    r#"{"error":{"message":"at most 4 at once"}}"#,
                )
            }
        },
    );
    let scene = scene.exits(0);
    let output = scene.output();
    assert_eq!(output.completed(), ["512_0", "512_50"]);
    let warm = output.summary().matching(&[("cache_hit_rate", "50")]);
    assert_eq!(warm.number("peak_concurrency"), 4.0, "{}", scene.end.stderr);
    let failed = output.newest("failed_requests_512_");
    // Where refusals end a window, the streams that were served are cancelled.
    let kinds = failed.distinct("kind");
    assert!(
        kinds.is_subset(&texts(&["status", "cancelled"])),
        "{kinds:?}"
    );
    let refused = failed.matching(&[("kind", "status")]);
    assert_eq!(refused.distinct("status"), texts(&["429"]));
    let phases = output
        .phases()
        .matching(&[("cache_hit_rate", "50"), ("concurrency_level", "4")]);
    // Behind a window that was given up, the server may still be busy with the last of its streams.
    let repeat = phases.matching(&[("phase_id", "RETRY_1")]);
    let (failed, completed) = (
        repeat.number("num_requests_failed"),
        repeat.number("num_requests_completed"),
    );
    assert!(failed < completed, "{failed} failed, {completed} completed");
    assert!(output.doubts(CONTEXT, 50).contains(&"failures".to_owned()));
    output.assert_valid();
}

#[test]
fn requests_that_outlast_the_drain_are_cancelled_and_said_to_be() {
    let slow = server::start(sim::SimConfig {
        engine: server::fixed(60.0).engine,
        ..quick()
    });
    let address = slow.address();
    let scene = second_rate("", move |_| Act::Forward(address))
        .exits(1)
        .kept_the_first_rate();
    let failed = scene.output().newest("failed_requests_512_");
    assert_eq!(failed.distinct("kind"), texts(&["cancelled"]));
    assert_eq!(failed.rows.len(), 2);
    // A window of 1 s and a drain of 5 s.
    assert!(
        failed
            .numbers("elapsed")
            .iter()
            .all(|s| (4.0..30.0).contains(s)),
        "{:?}",
        failed.texts("elapsed")
    );
    let warned = scene
        .end
        .lines("2 requests of RAMP_c2 were still running 5s after its end and were cancelled");
    assert_eq!(warned.len(), 1, "{}", scene.end.stderr);
    let line = listed(&scene.end)[0];
    assert!(
        line.contains("no request finished") && line.contains("--ramp-duration"),
        "{line}"
    );
    // Cancelling is what the tool did and no failure of the server's.
    assert!(
        scene.end.lines("Request RAMP_c2_r").is_empty(),
        "{}",
        scene.end.stderr
    );
}

#[test]
fn a_server_that_fails_only_in_the_repeats_costs_that_test_alone() {
    let relay = Relay::start(|arrived| {
        if arrived.purpose == Purpose::Cold && arrived.is_retry {
            return Act::answer("500 Internal Server Error", "text/plain", "no");
        }
        Act::Forward(healthy())
    });
    let place = Place::new();
    let end = place
        .run(&format!(
            "--api-endpoint {} {STUDY} --num-retries 1",
            relay.url()
        ))
        .exits(1);
    reads_well(&end);
    let output = place.output();
    assert_eq!(output.completed(), ["512_50"]);
    assert_eq!(output.summary().rows.len(), 1);
    let listed = end.lines("512 tokens at 0%: ");
    assert_eq!(listed.len(), 1, "{}", end.stderr);
    assert!(
        listed[0].contains("requests in a row failed; the first with status: HTTP 500"),
        "{}",
        listed[0]
    );
    output.assert_valid();
}

fn texts(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn the_same_command_repeats_only_the_test_that_failed_once_the_server_is_well() {
    let is_ill = Arc::new(AtomicBool::new(true));
    let ill = Arc::clone(&is_ill);
    let relay = Relay::start(move |arrived| match arrived.purpose {
        Purpose::Warm if ill.load(Ordering::SeqCst) => {
            Act::answer("500 Internal Server Error", "text/plain", "no")
        }
        _ => Act::Forward(healthy()),
    });
    let place = Place::new();
    let args = format!("--api-endpoint {} {STUDY}", relay.url());
    place.run(&args).exits(1);
    let output = place.output();
    assert_eq!(output.completed(), ["512_0"]);
    let first = output.summary();
    is_ill.store(false, Ordering::SeqCst);
    let n_cold = relay.seen(Purpose::Cold);
    reads_well(&place.run(&args).exits(0));
    assert_eq!(output.completed(), ["512_0", "512_50"]);
    assert_eq!(
        relay.seen(Purpose::Cold),
        n_cold,
        "the first rate was measured again"
    );
    let both = output.summary();
    assert_eq!(both.matching(&[("cache_hit_rate", "0")]).rows, first.rows);
    // The failures belong to the attempt that yielded nothing.
    assert!(output.doubts(CONTEXT, 50).is_empty());
    output.assert_valid();
}

#[test]
fn the_report_for_scripts_is_the_last_output_though_tests_failed() {
    let relay = Relay::start(|arrived| match arrived.purpose {
        Purpose::Warm => Act::answer("500 Internal Server Error", "text/plain", "no"),
        _ => Act::Forward(healthy()),
    });
    let place = Place::new();
    let args = format!("--api-endpoint {} {STUDY} --brief", relay.url());
    // Both channels in one pipe, as on a terminal.
    let end = place
        .program("sh")
        .args(["-c", "exec \"$@\" 2>&1", "sh"])
        .args([
            env!("CARGO_BIN_EXE_cache_rate_tester"),
            "--calibrate",
            "off",
        ])
        .args(args.split_whitespace())
        .run()
        .exits(1);
    let report = end.stdout.find("model: ").expect("a report");
    let (log, report) = end.stdout.split_at(report);
    assert!(log.contains("512 tokens at 50%: "), "{}", end.stdout);
    // Behind it only what a busy machine may add.
    let closing = |line: &&str| !line.starts_with("client_limited: ");
    assert_eq!(report.lines().rfind(closing), Some("output: ./output"));
    for level in ["INFO", "WARNING", "ERROR"] {
        assert!(!report.contains(level), "{report}");
        assert!(level != "INFO" || !log.contains(" INFO - "), "{log}");
    }
    // One row: the test that failed has none.
    let rows = report.lines().filter(|line| line.starts_with("512,"));
    assert_eq!(rows.count(), 1, "{report}");
}

//! Runs that are cut short, and the same command afterwards.

use std::collections::BTreeSet;

use crate::scene::{SUSTAINED, periods};
use crate::support::process::{Place, wait_for_second_period};
use crate::support::server;

/// No prompt was sent twice that was meant to be sent once.
#[track_caller]
fn assert_all_cold_differ(server: &sim::Background) {
    let mut all = server::measured(server);
    all.retain(|r| !server::text(r).starts_with("# PROMPT_"));
    let distinct: BTreeSet<_> = all.iter().map(|r| &r.text_sha256).collect();
    assert_eq!(distinct.len(), all.len(), "a prompt was sent twice");
}

// Example 13: example 5's run, interrupted after two of its four tests.
fn fixed_cut_short_and_repeated(signal: &str) {
    let server = server::swift();
    let place = Place::new();
    let command = "--cache-hit-rates 50 100 --num-retries 1 --seed 7";
    let run = place.quick(&server, command).start();
    run.wait_until("the third test's retry", || {
        run.stderr().matches("(phase: FIXED_c2_run1)").count() == 3
    });
    run.cut_short(signal);
    let output = place.output();
    assert_eq!(output.completed(), ["512_1024_50", "512_2048_50"]);
    assert_eq!(output.summary().rows.len(), 2);
    // The dashboard is written behind every test, so that it is there however the run ends.
    let index = output.read("index.html");
    assert!(index.contains("Peak Input Throughput"), "{index}");
    let kept = |rate: &str| {
        let detail = output.detail(512);
        detail
            .matching(&[("cache_hit_rate", rate)])
            .texts("launch_time")
    };
    let before = kept("50");
    // What was measured of the test at hand is on disk, too.
    assert!(!kept("100").is_empty());

    place
        .quick(&server, command)
        .args(["--verbose", "--skip-graphs"])
        .run()
        .exits(0)
        .says("Skipping working set size 1,024 (already completed)")
        .says("Skipping working set size 2,048 (already completed)")
        .says("Total tests completed: 4");
    assert_eq!(output.completed().len(), 4);
    assert_eq!(output.summary().rows.len(), 4);
    assert_eq!(kept("50"), before, "the rows kept are the old ones");
    let detail = output.detail(512);
    detail.assert_unique(&["working_set_size", "cache_hit_rate", "request_id"]);
    detail.assert_unique(&["launch_time"]);
    let phases = output.phases();
    phases.assert_unique(&["working_set_size", "cache_hit_rate", "phase_id"]);
    assert_eq!(phases.rows.len(), 8);
    output.assert_valid();
    // Once more: everything is there.
    let before = server.generations().len();
    place
        .quick(&server, command)
        .run()
        .exits(0)
        .says("Total tests completed: 4");
    assert_eq!(server.generations().len(), before);
    output.assert_valid();
}

#[test]
fn after_ctrl_c_the_same_command_measures_only_what_is_missing() {
    fixed_cut_short_and_repeated("INT");
}

#[test]
fn after_a_kill_the_same_command_measures_only_what_is_missing() {
    fixed_cut_short_and_repeated("KILL");
}

/// Cuts a run of two rates short in the middle of the second rate's second period, and runs it again.
fn sustained_cut_short_and_repeated(signal: &str) {
    let server = server::swift();
    let place = Place::new();
    let start = || {
        place
            .tool(SUSTAINED)
            .args("--cache-hit-rates 0 50 --seed 7 --test-duration 3".split(' '))
            .args(["--api-endpoint", &server.url()])
            .start()
    };
    let run = start();
    let output = place.output();
    wait_for_second_period(&run, &output, "sustained_periods_ctx512_ws4096_cache50_");
    run.cut_short(signal);
    assert_eq!(output.completed(), ["512_4096_0"]);
    // The period that was over is on disk, the one that was not is no period.
    let begun = periods(&output, 512, 4096, 50).texts("period_number");
    assert_eq!(begun, ["1"]);
    let zero = periods(&output, 512, 4096, 0).rows;
    if signal != "KILL" {
        // Its phase is there as well: requests on disk belong to it.
        let half = output.phases().matching(&[("cache_hit_rate", "50")]);
        assert_eq!(half.texts("phase_id"), ["SUSTAINED_P1"]);
    }

    start()
        .finish()
        .exits(0)
        .says("Skipping working set size 4,096 (already completed)");
    assert_eq!(output.completed(), ["512_4096_0", "512_4096_50"]);
    assert_eq!(periods(&output, 512, 4096, 0).rows, zero);
    assert_eq!(periods(&output, 512, 4096, 50).rows.len(), 3);
    let detail = output.detail(512);
    detail.assert_unique(&["cache_hit_rate", "request_id"]);
    detail.assert_unique(&["launch_time"]);
    output
        .phases()
        .assert_unique(&["cache_hit_rate", "phase_id"]);
    assert_eq!(output.phases().rows.len(), 6);
    assert_all_cold_differ(&server);
    output.assert_valid();
}

#[test]
fn after_ctrl_c_in_a_period_the_same_command_measures_only_what_is_missing() {
    sustained_cut_short_and_repeated("INT");
}

#[test]
fn after_sigterm_in_a_period_the_same_command_measures_only_what_is_missing() {
    sustained_cut_short_and_repeated("TERM");
}

#[test]
fn after_a_kill_in_a_period_the_same_command_measures_only_what_is_missing() {
    sustained_cut_short_and_repeated("KILL");
}

#[test]
fn sigterm_during_the_warm_up_leaves_a_clean_directory() {
    let server = server::start(server::linear(0.3, 0.01));
    let place = Place::new();
    let run = place.quick(&server, "--init-concurrency 1").start();
    run.wait_until("the first prompt", || !server.generations().is_empty());
    run.cut_short("TERM");
    let output = place.output();
    assert!(output.completed().is_empty());
    assert!(output.names_like("summary_", "").is_empty());
    assert!(server::measured(&server).is_empty());
    output.assert_valid();
}

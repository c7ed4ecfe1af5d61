//! Runs that are cut short, and the same command afterwards.

use crate::support::process::Place;
use crate::support::server;

/// Two rates; the seed makes sure that only the attempt's number keeps repeated prompts cold.
const COMMAND: &str = "--cache-hit-rates 0 50 --num-retries 2 --seed 7";
const SAVED: &str = "Test interrupted by user. Progress has been saved.";

/// After the second run: everything is there once, and what was complete was not measured again.
fn assert_complete(place: &Place, kept: &[String], server: &sim::Background, n_before: usize) {
    let output = place.output();
    assert_eq!(output.completed(), ["1000_0", "1000_50"]);
    let detail = output.detail(1000);
    detail.assert_unique(&["cache_hit_rate", "request_id"]);
    detail.assert_unique(&["launch_time"]);
    let phases = output.phases();
    phases.assert_unique(&["cache_hit_rate", "phase_id"]);
    assert_eq!(phases.rows.len(), 6);
    let zero = detail.matching(&[("cache_hit_rate", "0")]);
    assert_eq!(
        zero.texts("launch_time"),
        kept,
        "the rows kept are the old ones"
    );
    assert_eq!(output.summary().rows.len(), 2);
    // The interrupted test was repeated from its start, with other prompts.
    let again = &server.generations()[n_before..];
    let n_half = detail.matching(&[("cache_hit_rate", "50")]).rows.len();
    let measured: Vec<_> = again
        .iter()
        .filter(|request| !server::request_id(request).starts_with("WARMUP_"))
        .collect();
    assert_eq!(measured.len(), n_half);
    assert!(
        measured
            .iter()
            .all(|r| server::text(r).starts_with("# PROMPT_"))
    );
    server::assert_no_prompt_came_twice(&server::measured(server));
    assert!(
        output.doubts(1000, 50).is_empty(),
        "{:?}",
        output.doubts(1000, 50)
    );
    output.assert_valid();
}

/// Rows of the complete test, as they stand when the first run is over.
fn kept_rows(place: &Place) -> Vec<String> {
    let detail = place.output().detail(1000);
    detail
        .matching(&[("cache_hit_rate", "0")])
        .texts("launch_time")
}

// Example 12.
#[test]
fn after_ctrl_c_the_same_command_measures_only_what_is_missing() {
    let server = server::swift();
    let place = Place::new();
    let run = place.quick(&server, COMMAND).start();
    run.wait_for("Testing cache hit rate: 50%")
        .wait_for("(phase: RETRY_1)");
    run.wait_until("the second rate's retry", || {
        run.stderr().matches("(phase: RETRY_1)").count() == 2
    });
    run.cut_short("INT");
    let output = place.output();
    assert_eq!(output.completed(), ["1000_0"]);
    assert_eq!(output.summary().texts("cache_hit_rate"), ["0"]);
    let health = output.newest("client_health_");
    assert_eq!(health.texts("phase_id"), output.phases().texts("phase_id"));
    output.assert_valid();
    let kept = kept_rows(&place);
    let n_before = server.generations().len();

    place
        .quick(&server, COMMAND)
        .run()
        .exits(0)
        .says("Skipping cache hit rate 0% (already completed)");
    assert_complete(&place, &kept, &server, n_before);
}

#[test]
fn after_a_kill_the_same_command_measures_only_what_is_missing() {
    let server = server::swift();
    let place = Place::new();
    let run = place.quick(&server, COMMAND).start();
    run.wait_for("Testing cache hit rate: 50%");
    run.wait_until("the second rate's first retry", || {
        run.stderr().matches("(phase: RETRY_1)").count() == 2
    });
    run.cut_short("KILL");
    let output = place.output();
    assert_eq!(output.completed(), ["1000_0"]);
    // The CSV is whole at any moment, and holds the windows that were over.
    let detail = output.detail(1000);
    let half = detail.matching(&[("cache_hit_rate", "50")]);
    assert!(half.distinct("phase_id").contains("RAMP_c2"));
    // So does what the client says of itself, test by test.
    let health = output.newest("client_health_");
    assert_eq!(health.texts("cache_hit_rate"), ["0"; 3]);
    let kept = kept_rows(&place);
    let n_before = server.generations().len();

    place.quick(&server, COMMAND).run().exits(0);
    assert_complete(&place, &kept, &server, n_before);
}

#[test]
fn sigterm_during_the_warm_up_ends_with_143_and_a_clean_directory() {
    let server = server::start(server::linear(0.3, 0.01));
    let place = Place::new();
    let run = place.quick(&server, "--init-concurrency 1").start();
    run.wait_for("Initializing working set");
    run.wait_until("the first prompt", || !server.generations().is_empty());
    run.signal("TERM");
    run.finish().exits(143).says(SAVED).never_says("complete!");
    let output = place.output();
    assert!(output.completed().is_empty());
    assert!(output.names_like("summary_", "").is_empty());
    assert!(server::measured(&server).is_empty());
    assert!(server::warm_ups(&server).len() < 8);
    output.assert_valid();
}

#[test]
fn sigterm_in_a_window_ends_with_143_and_cancels_what_is_in_flight() {
    // Requests of 60 s: only cancelling them ends the run in time.
    let server = server::start(server::linear(0.01, 20.0));
    let place = Place::new();
    let run = place
        .quick(&server, "--ramp-duration 60 --test-duration 60")
        .start();
    run.wait_for("(phase: RAMP_c2)");
    run.wait_until("two requests in flight", || {
        server::measured(&server).len() == 2
    });
    run.signal("TERM");
    let run = run.finish().exits(143).says(SAVED);
    assert!(run.took.as_secs() < 60, "took {:?}", run.took);
    let output = place.output();
    assert!(output.completed().is_empty());
    assert!(output.names_like("summary_", "").is_empty());
    let failed = output.newest("failed_requests_1000_");
    assert_eq!(failed.texts("kind"), ["cancelled", "cancelled"]);
    output.assert_valid();
}

#[test]
fn a_signal_while_the_model_is_asked_for_ends_the_run() {
    let mut config = server::linear(0.01, 0.01);
    config.faults = sim::FaultPlan::of("hang:on=models".parse().unwrap());
    let server = server::start(config);
    let place = Place::new();
    let run = place.quick(&server, "").start();
    run.wait_until("the question for the model", || {
        !server.requests().is_empty()
    });
    run.signal("INT");
    let run = run.finish().exits(130);
    assert!(run.took.as_secs() < 8, "took {:?}", run.took);
}

//! What the search for the best level measures at every size.

use crate::support::figure::assert_same;
use crate::support::process::Place;
use crate::support::server;

// Example 8, its windows of 2 s shortened to 1 s; a maximum of 40 ends the search with the second step of 20 cut short.
#[test]
fn the_search_climbs_by_headroom_to_the_maximum_and_repeats_the_best_level() {
    let server = server::start(server::linear(0.01, 0.002));
    let place = Place::new();
    let run = place
        .quick(
            &server,
            "--min-working-set-size 1024 --max-working-set-size 1024 --working-set-increments 1 --mode ramp \
             --max-concurrency 40 --test-duration 30 --num-retries 2",
        )
        .run()
        .exits(0)
        .says("--max-ttft 2.0 (seconds) is assumed")
        .says("Phase 2: Retrying at peak concurrency")
        .says("    Retry Summary (Peak Concurrency ")
        .says("✓ Working set size 1,024 complete");
    for name in ["RAMP ", "RETRY1 ", "RETRY2 ", "AVERAGE ", "STD DEV "] {
        assert_eq!(run.lines(name).len(), 1, "{name}");
    }
    let output = place.output();
    let phases = output.phases();
    assert_eq!(
        phases.texts("phase_id"),
        ["RAMP_c2", "RAMP_c22", "RAMP_c40", "RETRY_1", "RETRY_2"]
    );
    assert_eq!(
        phases.texts("phase_type"),
        ["RAMP", "RAMP", "RAMP", "RETRY", "RETRY"]
    );
    let rates = phases.numbers("window_input_tokens_per_sec");
    let levels = phases.numbers("concurrency_level");
    let best = (0..3).max_by(|a, b| rates[*a].total_cmp(&rates[*b]));
    let best = levels[best.expect("three levels")];
    assert_same(output.summary().number("peak_concurrency"), best);
    assert_same(levels[3], best);
    assert!(output.pages().contains("ramp_ctx512_ws1024_cache100.html"));
    output.assert_valid();
}

#[test]
fn the_next_size_begins_at_the_peak_of_the_last_one_and_the_next_rate_does_not() {
    let server = server::start(server::linear(0.01, 0.002));
    let place = Place::new();
    place
        .quick(
            &server,
            "--mode ramp --max-ttft 1 --max-concurrency 22 --start-concurrency 2 --cache-hit-rates 50 100",
        )
        .run()
        .exits(0)
        .says("Starting at the last test's peak 22 instead of 2");
    let output = place.output();
    let first_of = |size: &str, rate: &str| {
        let test = [("working_set_size", size), ("cache_hit_rate", rate)];
        output.phases().matching(&test).texts("phase_id")[0].clone()
    };
    for rate in ["50", "100"] {
        assert_eq!(first_of("1024", rate), "RAMP_c2");
        assert_eq!(first_of("2048", rate), "RAMP_c22");
    }
    output.assert_valid();
}

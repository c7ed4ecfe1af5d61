//! What a ramp finds, and the files it leaves.

use std::collections::BTreeSet;

use crate::support::process::Place;
use crate::support::server;

/// The common part of the examples' commands, and their server's threshold.
const EXAMPLE: &str = "--tokenizer builtin --output-tokens 16 --context-sizes 1000 --working-set-size 8000 \
    --max-ttft 0.5";

fn pages(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

// Example 1, its windows of 10 s shortened to 2 s.
#[test]
fn a_ramp_climbs_by_headroom_refines_and_repeats_at_the_peak() {
    let server = server::start(server::linear(0.1, 0.03));
    let place = Place::new();
    place
        .tool(EXAMPLE)
        .args("--ramp-duration 2 --test-duration 60 --cache-hit-rates 0 50".split(' '))
        .args(["--api-endpoint", &server.url()])
        .run()
        .exits(0)
        .says("✓ All tests complete!");
    let output = place.output();
    assert_eq!(
        output.phase_ids(1000, 0),
        [
            "RAMP_c2",
            "RAMP_c12",
            "RAMP_REFINE_c6_1",
            "RAMP_REFINE_c4_2",
            "RETRY_1",
            "RETRY_2",
            "RETRY_3"
        ]
    );
    assert_eq!(output.phase_ids(1000, 50)[0], "RAMP_c4");
    assert_eq!(output.completed(), ["1000_0", "1000_50"]);
    let summary = output.summary();
    assert_eq!(summary.texts("cache_hit_rate"), ["0", "50"]);
    assert_eq!(summary.texts("peak_concurrency"), ["4", "4"]);
    assert_eq!(summary.distinct("model"), [server::MODEL.to_owned()].into());
    assert_eq!(
        output.pages(),
        pages(&[
            "ramp_ctx1000_cache0.html",
            "ramp_ctx1000_cache50.html",
            "performance_vs_cache_rate_1000.html",
            "input_throughput_comparison.html",
            "output_throughput_comparison.html",
            "output_metrics_comparison.html",
            "index.html",
        ])
    );
    output.assert_valid();
    // One request in flight more than a level asks for, or one less, would show in the server's TTFT.
    let detail = output.detail(1000);
    for level in [2, 4, 6, 12] {
        let rows = detail.matching(&[("concurrency_level", &level.to_string())]);
        let slowest = rows.numbers("ttft").into_iter().fold(0.0, f64::max);
        let expected = 0.1 * f64::from(level);
        assert!(
            (expected..expected + 0.1).contains(&slowest),
            "level {level}: slowest TTFT {slowest}"
        );
    }
}

// Example 6.
#[test]
fn without_rates_all_21_are_tested_and_without_graphs_only_the_index_is_written() {
    let server = server::swift();
    let place = Place::new();
    place
        .tool("--tokenizer builtin --output-tokens 4 --context-sizes 1000 --working-set-size 8000")
        .args("--ramp-duration 1 --test-duration 2 --num-retries 0 --skip-graphs".split(' '))
        .args(["--api-endpoint", &server.url()])
        .run()
        .exits(0)
        .says("Cache Hit Rates: 21 tests (0% to 100%)")
        .says("Total tests completed: 21");
    let output = place.output();
    let tests: Vec<String> = (0..=100)
        .step_by(5)
        .map(|rate| format!("1000_{rate}"))
        .collect();
    assert_eq!(output.completed(), tests);
    assert_eq!(output.summary().rows.len(), 21);
    assert_eq!(output.pages(), pages(&["index.html"]));
    output.assert_valid();
}

// Example 15.
#[test]
fn the_ramp_tests_the_highest_level_allowed() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(
            &server,
            "--max-concurrency 20 --test-duration 20 --max-ttft 60",
        )
        .run()
        .exits(0);
    assert_eq!(
        place.output().phase_ids(1000, 0),
        ["RAMP_c2", "RAMP_c20", "RETRY_1"]
    );
    place.output().assert_valid();
}

#[test]
fn two_starts_of_the_climb_give_two_phases_of_their_own() {
    // The second rate starts at the first one's peak; by then the server is slower, so that the climb backs
    // off, halfway towards the start, and may come by the failed level again.
    let server = server::start(server::linear(0.1, 0.005));
    let place = Place::new();
    let run = place
        .quick(&server, "--cache-hit-rates 0 50 --start-concurrency 2")
        .args("--max-concurrency 6 --test-duration 40 --max-ttft 0.7 --num-retries 0".split(' '))
        .start();
    run.wait_for("Testing cache hit rate: 50%");
    // Two requests of somebody else make every TTFT 0.2 s longer.
    let stranger = Place::new();
    let load = stranger
        .quick(&server, "--ramp-duration 60 --test-duration 60")
        .start();
    let run = run.finish().exits(0);
    drop(load);
    let ids = place.output().phase_ids(1000, 50);
    assert_eq!(ids[0], "RAMP_c6", "{ids:?}");
    assert_eq!(ids[1], "RAMP_c4", "{ids:?}\n{}", run.stderr);
    assert_eq!(
        ids.iter().collect::<BTreeSet<_>>().len(),
        ids.len(),
        "{ids:?}"
    );
    place.output().assert_valid();
}

#[test]
fn a_threshold_that_nothing_holds_gives_the_least_bad_level_and_a_doubt() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(&server, "--max-ttft 0.001")
        .run()
        .exits(0)
        .says("WARNING");
    let output = place.output();
    assert_eq!(output.summary().number("peak_concurrency"), 2.0);
    assert!(
        output
            .doubts(1000, 0)
            .contains(&"no_level_passed".to_owned())
    );
    output.assert_valid();
}

//! What a ramp finds, and the files it leaves.

use std::collections::BTreeSet;

use crate::support::process::Place;
use crate::support::server;

/// First token after so many seconds for each request in the server.
const PER_ACTIVE: f64 = 0.15;

/// The examples' command, times half as long again. Whatever a busy machine adds to a TTFT is added: levels
/// that break the threshold (6 and 12: 0.9 s, 1.8 s) always do, those that hold it (2 and 4: 0.3 s, 0.6 s) and
/// the headroom of level 2 have 0.13 s to spare.
const EXAMPLE: &str = "--tokenizer builtin --output-tokens 16 --context-sizes 1000 --working-set-size 8000 \
    --max-ttft 0.87";

fn pages(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

// Example 1, its windows of 10 s shortened to 2 s.
#[test]
fn a_ramp_climbs_by_headroom_refines_and_repeats_at_the_peak() {
    let server = server::start(server::linear(PER_ACTIVE, 0.03));
    let place = Place::new();
    let run = place
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
        ],
        "{}",
        run.stderr
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
            "client_health.html",
            "index.html",
        ])
    );
    output.assert_valid();
    // The server's own TTFTs tell how many requests it had: never more than the level, and all of them.
    for (phase, level) in [("RAMP_c2_", 2.0), ("RAMP_c12_", 12.0), ("RETRY_3_", 4.0)] {
        let active = server::measured(&server)
            .iter()
            .filter(|request| server::request_id(request).starts_with(phase))
            .map(|request| request.ttft_s.expect("it was answered") / PER_ACTIVE)
            .fold(0.0, f64::max);
        assert!((active - level).abs() < 0.01, "{phase}: {active} in flight");
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
    let detail = output.detail(1000);
    for rate in (0..=100).step_by(5) {
        let rows = detail.matching(&[("cache_hit_rate", &rate.to_string())]);
        // The published rounding: down to whole percent of tokens, then down to whole chunks.
        let (cached, unique) = match rate {
            100 => (1024, 0),
            _ => (
                1000 * rate / 100 / 256 * 256,
                1000 - 1000 * rate / 100 / 256 * 256,
            ),
        };
        assert_eq!(rows.distinct("cached_tokens"), [cached.to_string()].into());
        assert_eq!(rows.distinct("unique_tokens"), [unique.to_string()].into());
        // The server's word: the chat template shifts its blocks of 16, so that a little more or less is right.
        for reported in rows.numbers("reported_cached_tokens") {
            let off = reported - f64::from(cached);
            assert!((-16.0..=32.0).contains(&off), "{rate} %: {reported} cached");
        }
    }
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
fn a_climb_that_backs_off_gives_a_level_tested_again_a_phase_of_its_own() {
    // The second rate starts at the first one's peak. By then a stranger's two requests make every TTFT 0.3 s
    // longer, so that the climb backs off halfway towards the start and then comes by the failed level again.
    let server = server::start(server::linear(PER_ACTIVE, 0.005));
    let place = Place::new();
    let run = place
        .quick(
            &server,
            "--cache-hit-rates 0 50 --max-concurrency 6 --max-ttft 1.1",
        )
        .args("--ramp-duration 2 --test-duration 40 --num-retries 0".split(' '))
        .start();
    run.wait_for("Testing cache hit rate: 50%");
    let stranger = Place::new();
    let load = stranger
        .quick(&server, "--ramp-duration 120 --test-duration 120")
        .start();
    let run = run.finish().exits(0);
    drop(load);
    assert_eq!(
        place.output().phase_ids(1000, 50),
        ["RAMP_c6", "RAMP_c4", "RAMP_c6_2"],
        "{}",
        run.stderr
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
    assert_eq!(output.summary().texts("peak_concurrency"), ["2"]);
    assert!(
        output
            .doubts(1000, 0)
            .contains(&"no_level_passed".to_owned())
    );
    output.assert_valid();
}

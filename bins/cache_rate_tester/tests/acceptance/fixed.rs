//! What fixed mode measures, and the files it leaves.

use crate::support::process::Place;
use crate::support::server;

/// The examples' command in fixed mode.
const EXAMPLE: &str = "--tokenizer builtin --output-tokens 16 --context-sizes 1000 --working-set-size 8000 \
    --cache-hit-rates 0 --mode fixed";

/// The values of a series of a page, x and y, as the page holds them for its read-out.
fn points(page: &str, series: &str) -> Vec<(f64, f64)> {
    let data = page
        .find("type=\"application/json\"")
        .expect("the page holds its values");
    let start = data + page[data..].find('{').expect("an object");
    let mut values = serde_json::Deserializer::from_str(&page[start..]).into_iter();
    let value: serde_json::Value = values.next().expect("a value").expect("JSON");
    let panels = value["panels"].as_array().expect("panels");
    let all = panels
        .iter()
        .flat_map(|p| p["series"].as_array().expect("series"));
    let found = all
        .filter(|s| s["name"] == series)
        .flat_map(|s| s["points"].as_array().expect("points"));
    found
        .map(|p| (p[0].as_f64().expect("x"), p[1].as_f64().expect("y")))
        .collect()
}

// Example 7, the server's times two and a half times as long: level 6 takes 1.5 s, level 4 1.0 s, the limit lies
// at 1.3 s, so that a busy machine decides nothing.
#[test]
fn levels_are_measured_in_order_until_one_fails_and_the_highest_that_passed_is_reported() {
    let server = server::start(server::linear(0.25, 0.03));
    let place = Place::new();
    let run = place
        .tool(EXAMPLE)
        .args(
            "--fixed-concurrency-levels 6 2 4 --ramp-duration 3 --test-duration 16 --max-ttft 1.3 \
             --num-retries 1"
                .split_whitespace(),
        )
        .args(["--api-endpoint", &server.url()])
        .run()
        .exits(0)
        .says("✓ Cache hit rate 0% complete (fixed mode)")
        .says("Fixed Concurrency 2 Summary:")
        .says("Fixed Concurrency 4 Summary:")
        .says(
            "Concurrency 6 did not hold. Stopping fixed concurrency testing (tested 3 of 3 levels)",
        )
        .never_says("Phase 1: Finding peak");
    let output = place.output();
    assert_eq!(
        output.phase_ids(1000, 0),
        [
            "FIXED_c2_run0",
            "FIXED_c2_RETRY_1",
            "FIXED_c4_run0",
            "FIXED_c4_RETRY_1",
            "FIXED_c6_run0"
        ],
        "{}",
        run.stderr
    );
    assert_eq!(
        output.phases().distinct("phase_type"),
        ["RETRY".to_owned()].into()
    );
    assert!(
        output
            .phases()
            .numbers("duration")
            .iter()
            .all(|d| *d < 10.0)
    );
    let summary = output.summary();
    assert_eq!(summary.texts("peak_concurrency"), ["4"]);
    assert!((summary.number("measured_duration") - 6.0).abs() < 1e-9);
    let page = output.read("fixed_ctx1000_cache0.html");
    let stored = summary.number("window_input_tokens_per_sec");
    let drawn = points(&page, "Input tokens/s");
    let levels: Vec<f64> = drawn.iter().map(|p| p.0).collect();
    assert_eq!(levels, [2.0, 4.0, 6.0]);
    assert!(
        (drawn[1].1 / stored - 1.0).abs() < 0.1,
        "{drawn:?}, {stored}"
    );
    output.assert_valid();
}

// Example 14, with requests of 1 s: what a busy machine adds to each is the less.
#[test]
fn the_published_rate_of_a_server_of_known_speed_is_true() {
    let server = server::start(server::fixed(1.0));
    let place = Place::new();
    place
        .tool(EXAMPLE)
        .args("--fixed-concurrency-levels 8 --ramp-duration 6 --num-retries 0".split(' '))
        .args(["--test-duration", "6", "--api-endpoint", &server.url()])
        .run()
        .exits(0);
    let summary = place.output().summary();
    let truth = 8.0 * 1000.0;
    for column in ["input_tokens_per_sec", "window_input_tokens_per_sec"] {
        let rate = summary.number(column);
        assert!(
            (rate / truth - 1.0).abs() < 0.05,
            "{column}: {rate}, true are {truth}"
        );
    }
}

#[test]
fn without_thresholds_all_levels_are_measured_and_the_highest_is_reported() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(
            &server,
            "--mode fixed --fixed-concurrency-levels 3 1 3 --num-retries 0",
        )
        .run()
        .exits(0)
        .never_says("Summary:\n    Run");
    let output = place.output();
    assert_eq!(
        output.phase_ids(1000, 0),
        ["FIXED_c1_run0", "FIXED_c3_run0"]
    );
    assert_eq!(output.summary().texts("peak_concurrency"), ["3"]);
    output.assert_valid();
}

#[test]
fn where_no_level_passes_the_lowest_is_reported_with_a_doubt() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(
            &server,
            "--mode fixed --fixed-concurrency-levels 2 4 --max-ttft 0.001",
        )
        .run()
        .exits(0)
        .says("(tested 1 of 2 levels); not tested: [4]");
    let output = place.output();
    assert_eq!(output.phase_ids(1000, 0), ["FIXED_c2_run0"]);
    assert_eq!(output.summary().texts("peak_concurrency"), ["2"]);
    assert_eq!(output.doubts(1000, 0), ["no_level_passed"]);
    output.assert_valid();
}

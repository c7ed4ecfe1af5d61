//! What the tool says of its own part in what it measured.

use std::time::Duration;

use serde_json::Value;
use testkit::busy;

use crate::mock::{Do, Mock, spaced, usage};
use crate::tool::{Finished, Place};

/// Words of the line about a size that the client limits.
const LIMITED: &str = "tokens: the figures are limited by this client";

/// First tokens after `first` milliseconds, further ones after `gap`.
fn server(first: u64, gap: u64) -> Mock {
    let ms = Duration::from_millis;
    Mock::start(move |asked| -> Vec<Do> {
        let cached = if asked.is_known { 192 } else { 0 };
        spaced(ms(first), ms(gap), Some(usage(asked.body, Some(cached))))
    })
}

/// Requires that log, dashboard and facts agree; returns whether any size is limited.
#[track_caller]
fn is_limited(place: &Place, run: &Finished) -> bool {
    let facts = place.json("run_facts.json");
    let sizes = facts["sections"]["client"]["sizes"].as_array().unwrap();
    let marked = sizes.iter().any(|size| size["client_limited"] == true);
    let told = |text: &str| text.contains(LIMITED);
    assert_eq!(told(&run.stderr), marked, "{}\n{facts:#}", run.stderr);
    assert_eq!(told(&place.read("index.html")), marked);
    let doubts = facts["sections"]["doubts"].as_array();
    let is_ours = |doubt: &Value| doubt["kind"] == "client_limited" && doubt["context_size"] == 200;
    assert_eq!(doubts.is_some_and(|all| all.iter().any(is_ours)), marked);
    let warnings = facts["sections"]["warnings"].as_array();
    let is_told = |line: &Value| line.as_str().is_some_and(told);
    assert_eq!(warnings.is_some_and(|all| all.iter().any(is_told)), marked);
    let note = "Limited by the client: 200 tokens";
    for page in ["single_prompt_performance.html", "summary_table.html"] {
        assert_eq!(place.read(page).contains(note), marked, "{page}");
    }
    // With --brief the log has warnings only, and the report on stdout keeps the published grammar.
    if run.stdout.is_empty() {
        let footnote = "* limited by this client: 200 tokens";
        assert_eq!(run.stderr.contains(footnote), marked, "{}", run.stderr);
    }
    place.assert_valid();
    marked
}

/// First tokens take half a second, others a tenth: by 25 ms and 5 ms a token the client may be off. What else runs
/// beside these tests may do that to it, and then it says so rightly; three times in a row it does not.
#[test]
fn a_client_that_nothing_disturbs_limits_nothing_and_says_by_how_much_it_is_off() {
    let _undisturbed = busy::undisturbed();
    let server = server(500, 100);
    let is_undisturbed = (0..3).any(|_| {
        let place = Place::new();
        let run = place
            .quick(&server.url(), "--calibrate auto")
            .exits(0)
            .says("Measuring the client's own error")
            .says("The client's own part: TTFT error p50 ");
        let client = place.json("run_facts.json")["sections"]["client"].clone();
        assert_eq!(client["threads"], 1);
        assert_eq!(client["calibrations"][0]["context_size"], 200);
        assert_eq!(client["calibrations"][0]["concurrency"], 1);
        let sizes = client["sizes"].as_array().unwrap();
        let prompts: Vec<&Value> = sizes.iter().map(|size| &size["prompts"]).collect();
        assert_eq!(prompts, ["unique", "cached"]);
        for size in sizes {
            let at = |key: &str| {
                size[key]
                    .as_f64()
                    .unwrap_or_else(|| panic!("{key}: {size}"))
            };
            assert!(at("lag_p50") <= at("lag_p99") && at("lag_p99") <= at("lag_max"));
            assert!(at("ttft_error_p50") >= at("lag_p50") && at("ttft_error_p50") > 0.0);
            assert!(at("send_delay_p99") >= 0.0 && at("cpu_share") > 0.0);
        }
        !is_limited(&place, &run)
    });
    assert!(is_undisturbed, "a client that has nothing to do limits");
}

#[test]
fn a_busy_core_under_the_client_is_a_warning_also_with_brief() {
    let server = server(40, 5);
    let place = Place::new();
    let arguments = "--calibrate auto --brief --num-iterations 3";
    let run = busy::on_a_busy_core(|| place.quick(&server.url(), arguments)).exits(0);
    assert!(is_limited(&place, &run), "{}", run.stderr);
    // The report for scripts is the published one.
    assert_eq!(run.stdout.lines().count(), 14, "{}", run.stdout);
    assert!(run.stdout.starts_with("[200] unique="), "{}", run.stdout);
}

#[test]
fn without_a_calibration_the_figures_are_judged_by_what_was_felt() {
    let server = server(20, 5);
    let place = Place::new();
    let run = place
        .quick(&server.url(), "--calibrate off")
        .exits(0)
        .says("The client's own part: TTFT error p50 ")
        .never_says("Measuring the client's own error");
    let client = place.json("run_facts.json")["sections"]["client"].clone();
    assert_eq!(client["calibrations"], serde_json::json!([]));
    for size in client["sizes"].as_array().unwrap() {
        assert_eq!(size["ttft_error_p99"], size["lag_p99"]);
        assert!(size["client_limited"].is_boolean());
    }
    is_limited(&place, &run);
    assert!(place.read(&script(&place)).contains("--calibrate off"));
}

/// The name of the script that repeats the run.
fn script(place: &Place) -> String {
    let is_script = |name: &String| name.starts_with("run_command_");
    place.names("out").into_iter().find(is_script).unwrap()
}

#[test]
fn a_signal_during_the_calibration_ends_a_run_that_has_measured_everything() {
    let server = server(20, 5);
    let place = Place::new();
    // Two lengths of prompts: the calibration lasts two seconds.
    let more = "--calibrate auto --context-sizes 100 200";
    let run = place.start(&crate::tool::quick(&server.url(), more));
    run.wait_for("Measuring the client's own error");
    run.signal("TERM");
    run.finish().exits(143).says("Interrupted by user.");
    assert_eq!(place.rows().rows.len(), 4);
    assert_eq!(place.json("metadata.json")["interrupted"], false);
    place.assert_valid();
}

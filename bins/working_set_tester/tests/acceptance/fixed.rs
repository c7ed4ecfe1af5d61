//! What fixed mode measures at every size, and the files it leaves.

use std::collections::BTreeSet;

use crate::support::figure::{assert_close, by_phase, mean, published};
use crate::support::output::{Output, Table};
use crate::support::process::Place;
use crate::support::server;

/// Phase ids of a test, in the order of the file.
#[track_caller]
fn phase_ids(output: &Output, size: u64, rate: u64) -> Vec<String> {
    let test = [
        ("working_set_size", &*size.to_string()),
        ("cache_hit_rate", &*rate.to_string()),
    ];
    output.phases().matching(&test).texts("phase_id")
}

const SUMMARY: &str = "context_size working_set_size cache_hit_rate model input_tokens_per_sec \
    output_tokens_per_sec avg_ttft median_ttft p95_ttft p99_ttft avg_ttlt median_ttlt p95_ttlt p99_ttlt \
    avg_output_tokens avg_itl median_itl p95_itl p99_itl peak_concurrency total_requests test_duration";

// Example 5, its windows of 2 s shortened to 1 s.
#[test]
fn every_size_is_measured_at_every_level_and_the_row_can_be_computed_again() {
    let server = server::swift();
    let place = Place::new();
    place
        .tool(
            "--tokenizer builtin --context-sizes 512 --min-working-set-size 2048 --max-working-set-size 8192 \
             --working-set-increments 2 --cache-hit-rates 50 100 --mode fixed --fixed-concurrency-levels 2 4 8 \
             --ramp-duration 1 --test-duration 30 --num-retries 1 --output-tokens 4",
        )
        .args(["--api-endpoint", &server.url()])
        .run()
        .exits(0)
        .says("    Testing working set size: 8,192 tokens")
        .says("    Working set: 16 prompts × 512 tokens = 8,192 tokens")
        .says("    ✓ Working set size 2,048 complete")
        .says("Tested levels: [2, 4, 8]")
        .says("    INITIAL  ")
        .says("    RETRY1  ")
        .says("Total tests completed: 4")
        .warns_of_nothing();
    let output = place.output();
    assert_eq!(
        output.completed(),
        ["512_2048_50", "512_8192_50", "512_2048_100", "512_8192_100"]
    );
    let phases = output.phases();
    assert_eq!(phases.rows.len(), 24);
    assert_eq!(phases.distinct("phase_type"), ["RETRY".to_owned()].into());
    let ids = [
        "FIXED_c2_run0",
        "FIXED_c2_run1",
        "FIXED_c4_run0",
        "FIXED_c4_run1",
        "FIXED_c8_run0",
        "FIXED_c8_run1",
    ];
    let mut expected: BTreeSet<String> = BTreeSet::new();
    for size in [2048, 8192] {
        for rate in [50, 100] {
            assert_eq!(phase_ids(&output, size, rate), ids);
            expected.insert(format!("fixed_ctx512_ws{size}_cache{rate}.html"));
        }
    }
    assert!(expected.is_subset(&output.pages()), "{:?}", output.pages());

    let summary = output.summary();
    assert_eq!(summary.rows.len(), 4);
    let columns: Vec<&str> = summary.columns.iter().map(String::as_str).collect();
    assert_eq!(
        columns[..22],
        SUMMARY.split_whitespace().collect::<Vec<_>>()
    );
    assert_eq!(summary.texts("peak_concurrency"), ["8"; 4]);
    let detail = output.detail(512);
    for size in ["2048", "8192"] {
        for rate in ["50", "100"] {
            let test = [("working_set_size", size), ("cache_hit_rate", rate)];
            let row = summary.matching(&test);
            let at_peak = detail
                .matching(&test)
                .matching(&[("concurrency_level", "8")]);
            let runs = by_phase(&at_peak);
            assert_eq!(runs.len(), 2);
            let over_runs =
                |of: &dyn Fn(&Table) -> f64| mean(&runs.values().map(of).collect::<Vec<_>>());
            let check =
                |column: &str, expected: f64| assert_close(row.number(column), expected, column);
            check("input_tokens_per_sec", over_runs(&|run| published(run).0));
            check("output_tokens_per_sec", over_runs(&|run| published(run).1));
            check("avg_ttft", over_runs(&|run| mean(&run.numbers("ttft"))));
            check("total_requests", at_peak.rows.len() as f64);
        }
    }
    let of_rate = |rate| detail.matching(&[("cache_hit_rate", rate)]);
    assert_eq!(
        of_rate("50").distinct("cached_tokens"),
        ["256".to_owned()].into()
    );
    assert_eq!(
        of_rate("100").distinct("unique_tokens"),
        ["0".to_owned()].into()
    );
    output.assert_valid();
}

// Example 6, with 0.7 s for the example's 0.5 s, so that level 4 holds it by 0.3 s and level 8 breaks it by 0.1 s.
#[test]
fn each_size_begins_again_with_the_first_level_and_ends_at_the_one_that_breaks() {
    let server = server::start(server::linear(0.1, 0.001));
    let place = Place::new();
    place
        .quick(
            &server,
            "--fixed-concurrency-levels 2 4 8 16 --max-ttft 0.7 --num-retries 1 --ramp-duration 2",
        )
        .run()
        .exits(0)
        .says("Stopping fixed concurrency testing (tested 3 of 4 levels)");
    let output = place.output();
    for size in [1024, 2048] {
        assert_eq!(
            phase_ids(&output, size, 100),
            [
                "FIXED_c2_run0",
                "FIXED_c2_run1",
                "FIXED_c4_run0",
                "FIXED_c4_run1",
                "FIXED_c8_run0"
            ]
        );
    }
    assert_eq!(output.summary().texts("peak_concurrency"), ["4", "4"]);
    output.assert_valid();
}

#[test]
fn levels_are_measured_in_the_order_given_and_the_last_that_held_is_reported() {
    let server = server::swift();
    let place = Place::new();
    let run = place
        .quick(
            &server,
            "--fixed-concurrency-levels 4 1 4 2 --working-set-increments 1",
        )
        .run()
        .exits(0);
    assert_eq!(
        run.warnings().len(),
        2,
        "one size leaves the maximum unused, a level is repeated: {:?}",
        run.warnings()
    );
    let output = place.output();
    assert_eq!(
        phase_ids(&output, 1024, 100),
        ["FIXED_c4_run0", "FIXED_c1_run0", "FIXED_c2_run0"]
    );
    assert_eq!(output.summary().texts("peak_concurrency"), ["2"]);
    output.assert_valid();
}

#[test]
fn where_no_level_holds_the_first_is_reported_with_a_doubt() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(&server, "--fixed-concurrency-levels 4 2 --max-ttft 0.001")
        .run()
        .exits(0)
        .says("(tested 1 of 2 levels); not tested: [2]");
    let output = place.output();
    assert_eq!(output.summary().texts("peak_concurrency"), ["4", "4"]);
    assert_eq!(output.doubts(512, 100), ["no_level_passed"; 2]);
    output.assert_valid();
}

#[test]
fn the_strict_window_says_how_many_requests_it_leaves_out() {
    // Requests of 0.3 s: at every level some reach beyond the second they were launched in.
    let server = server::start(server::fixed(0.3));
    let place = Place::new();
    let run = place
        .quick(&server, "--strict-time-window --fixed-concurrency-levels 4")
        .run()
        .exits(0);
    let output = place.output();
    let summary = output.summary();
    for (row, size) in ["1024", "2048"].into_iter().enumerate() {
        let all = output.detail(512).matching(&[("working_set_size", size)]);
        let kept = summary.numbers("total_requests")[row];
        let left_out = all.rows.len() as f64 - kept;
        assert!(left_out >= 1.0, "{size}: {kept} of {}", all.rows.len());
        let line = format!(
            "Strict time window: {left_out} of {} requests",
            all.rows.len()
        );
        assert!(run.stderr.contains(&line), "no '{line}' in {}", run.stderr);
    }
    let page = output.read("fixed_ctx512_ws1024_cache100.html");
    assert!(page.contains("(strict time window)"), "{page}");
    output.assert_valid();
}

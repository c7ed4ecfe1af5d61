//! Servers that go away, refuse beyond a level, or take longer than a period.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::relay::{Act, Purpose, Relay};
use crate::support::output::{Output, Table};
use crate::support::process::Place;
use crate::support::server;

/// A sustained test of three sizes with periods of 1 s.
const SUSTAINED: &str = "--tokenizer builtin --context-sizes 512 --min-working-set-size 1024 \
    --max-working-set-size 4096 --working-set-increments 3 --output-tokens 4 --mode sustained --max-ttft 5 \
    --assessment-period 1 --test-duration 6 --max-concurrency 2 --cache-hit-rates 100";

fn periods(output: &Output, rate: u64) -> Table {
    output.newest(&format!("sustained_periods_ctx512_ws4096_cache{rate}_"))
}

/// A server that answers within some 50 ms.
fn healthy() -> sim::Background {
    server::start(server::fixed(0.05))
}

#[test]
fn a_server_that_is_gone_in_period_3_leaves_what_was_measured_and_exit_code_1() {
    let server = healthy();
    let place = Place::new();
    let run = place
        .tool(SUSTAINED)
        .args(["--test-duration", "60", "--api-endpoint", &server.url()])
        .start();
    run.wait_for("Period 3: Running");
    drop(server);
    let run = run
        .finish()
        .exits(1)
        .says("✗ Working set size 4,096 failed")
        .says("--test-duration 60, --assessment-period 1")
        .never_says("All tests complete");
    assert!(run.stderr.contains("in a row failed"), "{}", run.stderr);
    let output = place.output();
    assert!(output.completed().is_empty());
    let table = periods(&output, 100);
    assert_eq!(table.rows.len(), 3);
    let tokens = table.numbers("total_output_tokens");
    assert!(tokens[..2].iter().all(|n| *n > 0.0), "{tokens:?}");
    let detail = output.detail(512).distinct("phase_id");
    assert!(detail.contains("SUSTAINED_P1") && detail.contains("SUSTAINED_P2"));
    // Their requests are on disk, and so are the phases that they belong to.
    assert_eq!(
        output.phases().texts("phase_id"),
        ["SUSTAINED_P1", "SUSTAINED_P2", "SUSTAINED_P3"]
    );
    assert!(output.names_like("summary_", "").is_empty());
    assert_eq!(output.names_like("failed_requests_512_", ".csv").len(), 1);
    output.assert_valid();
}

/// A server behind a relay that answers at most two measured requests at a time; every other one is told to come back
/// later.
fn refusing(server: &sim::Background, kind: &'static str, words: &'static str) -> Relay {
    let address = server.address();
    Relay::start(move |arrived| {
        if arrived.purpose == Purpose::Warm && arrived.answering >= 2 {
            Act::answer("429 Too Many Requests", kind, words)
        } else if arrived.purpose == Purpose::Warm {
            Act::slow_stream(2, Duration::from_millis(25))
        } else {
            Act::Forward(address)
        }
    })
}

#[test]
fn a_server_that_refuses_beyond_a_level_lowers_the_level_and_yields_its_row() {
    let server = healthy();
    let busy =
        "{\"error\":{\"message\":\"too many requests\",\"type\":\"rate_limit\",\"code\":429}}";
    let relay = refusing(&server, "application/json", busy);
    let place = Place::new();
    place
        .tool(SUSTAINED)
        .args("--max-concurrency 40 --test-duration 8".split(' '))
        .args(["--api-endpoint", &relay.url()])
        .run()
        .exits(0)
        .says("RAMP DOWN: 22 -> ")
        .says("- too many requests failed")
        .says("requests failed");
    let output = place.output();
    assert_eq!(output.completed(), ["512_4096_100"]);
    let table = periods(&output, 100);
    let levels = table.numbers("concurrency_level");
    assert!(levels.contains(&22.0) && levels[0] < 2.5, "{levels:?}");
    // Level 22 is never said to be good.
    for (level, decision) in levels.iter().zip(table.texts("decision")) {
        assert!(*level < 3.0 || decision != "RAMP_UP", "{level}: {decision}");
    }
    let failed = output.newest("failed_requests_512_");
    assert_eq!(failed.distinct("status"), ["429".to_owned()].into());
    assert!(output.doubts(512, 100).contains(&"failures".to_owned()));
    output.assert_valid();
}

// The same in fixed mode: the level that is refused is no result, the ones before it are.
#[test]
fn a_level_that_is_refused_ends_its_size_and_keeps_the_levels_before_it() {
    let server = healthy();
    let relay = refusing(&server, "text/plain", "later");
    let place = Place::new();
    place
        .tool(crate::tool::QUICK)
        .args("--fixed-concurrency-levels 1 8 2 --max-ttft 5".split(' '))
        .args(["--api-endpoint", &relay.url()])
        .run()
        .exits(0)
        .says("Level failed: no request succeeded, more than half failed, or too many in a row")
        .says("(tested 2 of 3 levels); not tested: [2]");
    let output = place.output();
    assert_eq!(output.summary().texts("peak_concurrency"), ["1", "1"]);
    let ids: BTreeSet<String> = output.phases().distinct("phase_id");
    assert_eq!(
        ids,
        ["FIXED_c1_run0".to_owned(), "FIXED_c8_run0".to_owned()].into()
    );
    output.assert_valid();
}

// The first token comes after 2.5 periods: periods without data, none of them lost, and no request counted twice.
#[test]
fn a_first_token_that_takes_longer_than_a_period_is_counted_in_the_period_of_its_arrival() {
    let server = server::start(server::linear(1.25, 0.001));
    let place = Place::new();
    place
        .tool(SUSTAINED)
        .args("--max-ttft 20 --test-duration 8".split(' '))
        .args(["--api-endpoint", &server.url()])
        .run()
        .exits(0)
        .says("- nothing completed in the period");
    let output = place.output();
    let table = periods(&output, 100);
    assert_eq!(table.rows.len(), 8);
    let completed = table.numbers("num_requests_completed");
    assert!(completed[0] < 0.5, "{completed:?}");
    let empty: Vec<usize> = (0..8).filter(|i| completed[*i] < 0.5).collect();
    for column in ["avg_ttft", "measured_ttft"] {
        let cells = table.texts(column);
        assert!(empty.iter().all(|i| cells[*i].is_empty()), "{cells:?}");
    }
    let first_tokens: f64 = completed.iter().sum();
    // Two at a time, 2.5 s each: six have their first token within 8 s.
    assert!((5.0..=6.0).contains(&first_tokens), "{completed:?}");
    let summary = output.summary();
    assert!((summary.number("total_requests") - first_tokens).abs() < 0.5);
    output.assert_valid();
}

#[test]
fn no_first_token_within_the_test_fails_it_and_names_the_remedy() {
    let server = server::start(server::linear(3.0, 0.001));
    let place = Place::new();
    place
        .tool(SUSTAINED)
        .args("--max-ttft 20 --test-duration 2".split(' '))
        .args(["--api-endpoint", &server.url()])
        .run()
        .exits(1)
        .says("no request got its first token within the test; allow a longer --test-duration")
        .says("--test-duration 2, --assessment-period 1");
    let output = place.output();
    assert!(output.completed().is_empty());
    assert_eq!(periods(&output, 100).rows.len(), 2);
    output.assert_valid();
}

// Example 15's last sentence.
#[test]
fn a_server_that_fails_every_time_is_given_up_without_a_flood_of_lines() {
    let mut config = server::fixed(0.01);
    config.faults = sim::FaultPlan::of("500".parse().expect("a fault"));
    let server = server::start(config);
    for arguments in [crate::tool::QUICK, SUSTAINED] {
        let place = Place::new();
        let run = place
            .tool(arguments)
            .args(["--api-endpoint", &server.url()])
            .run()
            .exits(1);
        let errors = run.stderr.matches("] ERROR - ").count();
        assert!((1..100).contains(&errors), "{errors} errors");
        assert!(place.output().completed().is_empty());
        place.output().assert_valid();
    }
}

// The first size is measured, the server dies in the second one.
#[test]
fn a_server_that_dies_at_the_second_size_keeps_the_first() {
    let server = healthy();
    let address = server.address();
    let relay = Relay::start(move |arrived| {
        // Two prompts are warmed for the first size; the third warm-up is the second size's.
        if arrived.purpose == Purpose::WarmUp && arrived.nth > 2 {
            Act::Die
        } else {
            Act::Forward(address)
        }
    });
    let place = Place::new();
    place
        .tool(crate::tool::QUICK)
        .args(["--api-endpoint", &relay.url()])
        .run()
        .exits(1)
        .says("✓ Working set size 1,024 complete")
        .says("✗ Working set size 2,048 failed")
        .says("512 tokens at 100%, working set of 2,048: ");
    let output = place.output();
    assert_eq!(output.completed(), ["512_1024_100"]);
    assert_eq!(output.summary().rows.len(), 1);
    output.assert_valid();
}

/// Four sizes at one level.
const SIZES: &str = "--tokenizer builtin --context-sizes 512 --min-working-set-size 1024 --max-working-set-size 4096 \
    --working-set-increments 4 --output-tokens 4 --mode fixed --fixed-concurrency-levels 2 --ramp-duration 1 \
    --test-duration 4 --num-retries 0";

#[test]
fn a_server_that_answers_with_errors_fails_each_test_by_itself() {
    let mut config = server::fixed(0.05);
    config.faults = sim::FaultPlan::of("500".parse().expect("a fault"));
    let server = server::start(config);
    let place = Place::new();
    let run = place
        .tool(SIZES)
        .args(["--api-endpoint", &server.url()])
        .run()
        .exits(1)
        .says("✗ 4 of the tests failed:")
        .never_says("not tried");
    assert_eq!(run.lines("✗ Working set size ").len(), 4, "{}", run.stderr);
}

#[test]
fn a_server_that_cannot_be_reached_any_more_ends_the_run_behind_three_tests() {
    let server = healthy();
    let place = Place::new();
    let run = place
        .tool(SIZES)
        .args("--ramp-duration 60 --test-duration 60 --working-set-increments 6".split(' '))
        .args(["--api-endpoint", &server.url()])
        .start();
    run.wait_for("(phase: FIXED_c2_run0)");
    drop(server);
    let run = run
        .finish()
        .exits(1)
        .says("the server could not be reached in 3 tests in a row; the rest is not tried")
        .says("✗ 2 of the tests were not tried:");
    // The one that was being measured failed in its window.
    assert_eq!(run.lines("✗ Working set size ").len(), 4, "{}", run.stderr);
}

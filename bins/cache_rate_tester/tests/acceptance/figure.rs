//! Whether columns, rows and figures are what the published tables say.

use crate::support::figure::{assert_close, by_phase, mean, percentile, published};
use crate::support::output::{Output, Table};
use crate::support::process::Place;
use crate::support::server;

const SUMMARY: &str = "context_size cache_hit_rate model input_tokens_per_sec output_tokens_per_sec avg_ttft \
    median_ttft p95_ttft p99_ttft avg_ttlt median_ttlt p95_ttlt p99_ttlt avg_output_tokens avg_itl median_itl \
    p95_itl p99_itl peak_concurrency total_requests test_duration";
const SUMMARY_APPENDED: &str = "window_input_tokens_per_sec window_output_tokens_per_sec measured_duration \
    total_input_tokens total_output_tokens reported_cache_hit_rate";
const DETAIL: &str = "request_id phase_id cache_hit_rate context_size cached_tokens unique_tokens output_tokens \
    ttft ttlt generation_time total_time launch_time finish_time concurrency_level itl prefill_complete_time \
    token_timestamps tokens_per_chunk";
const DETAIL_APPENDED: &str =
    "reported_prompt_tokens reported_cached_tokens send_delay endpoint dial_time";
const PHASE: &str = "phase_type phase_id cache_hit_rate context_size concurrency_level start_time end_time \
    duration num_requests_launched num_requests_completed";
const PHASE_APPENDED: &str = "window_start_time window_duration window_input_tokens_per_sec \
    window_output_tokens_per_sec num_requests_failed num_requests_cancelled";

/// The published columns come first and in their order, then the appended ones.
#[track_caller]
fn assert_columns(table: &Table, published: &str, appended: &str) {
    let columns: Vec<&str> = table.columns.iter().map(String::as_str).collect();
    let published: Vec<&str> = published.split_whitespace().collect();
    let (first, rest) = columns.split_at(published.len().min(columns.len()));
    assert_eq!(first, published);
    for column in appended.split_whitespace() {
        assert!(rest.contains(&column), "{column} is not among {rest:?}");
    }
}

/// Checks the one summary row of the test against the requests that `keep` leaves of each phase at the peak.
fn assert_summary(output: &Output, keep: impl Fn(&Table, f64) -> Table) {
    let summary = output.summary();
    let peak = summary.texts("peak_concurrency")[0].clone();
    let rows = output
        .detail(1000)
        .matching(&[("concurrency_level", &peak)]);
    let phases = output.phases();
    let planned = |id: &str| {
        phases
            .matching(&[("phase_id", id)])
            .number("window_duration")
    };
    let kept: Vec<Table> = by_phase(&rows)
        .iter()
        .map(|(id, rows)| keep(rows, planned(id)))
        .collect();
    assert!(kept.len() >= 2, "a ramp window and a retry");
    let over_phases =
        |figure: &dyn Fn(&Table) -> f64| mean(&kept.iter().map(figure).collect::<Vec<_>>());
    let check =
        |column: &str, expected: f64| assert_close(summary.number(column), expected, column);
    check(
        "input_tokens_per_sec",
        over_phases(&|rows| published(rows).0),
    );
    check(
        "output_tokens_per_sec",
        over_phases(&|rows| published(rows).1),
    );
    for value in ["ttft", "ttlt", "itl"] {
        check(
            &format!("avg_{value}"),
            over_phases(&|rows| mean(&rows.numbers(value))),
        );
        for (name, q) in [("median", 0.5), ("p95", 0.95), ("p99", 0.99)] {
            check(
                &format!("{name}_{value}"),
                over_phases(&|rows| percentile(&rows.numbers(value), q)),
            );
        }
    }
    let speeds: Vec<f64> = kept
        .iter()
        .flat_map(|rows| {
            let times = rows.numbers("generation_time");
            let tokens = rows.numbers("output_tokens");
            times
                .into_iter()
                .zip(tokens)
                .map(|(time, tokens)| tokens / time)
        })
        .collect();
    check("avg_output_tokens", mean(&speeds));
    check("total_requests", speeds.len() as f64);
}

#[test]
fn columns_are_the_published_ones_and_figures_follow_from_the_rows() {
    let server = server::swift();
    let place = Place::new();
    place.quick(&server, "--num-retries 2").run().exits(0);
    let output = place.output();
    output.assert_valid();
    assert_columns(&output.summary(), SUMMARY, SUMMARY_APPENDED);
    assert_columns(&output.detail(1000), DETAIL, DETAIL_APPENDED);
    assert_columns(&output.phases(), PHASE, PHASE_APPENDED);
    assert_eq!(
        output.phases().texts("phase_type"),
        ["RAMP", "RETRY", "RETRY"]
    );
    assert_summary(&output, |rows, _| rows.clone());

    let (summary, detail) = (output.summary(), output.detail(1000));
    assert_close(
        summary.number("total_input_tokens"),
        1000.0 * summary.number("total_requests"),
        "total_input_tokens",
    );
    assert_close(
        summary.number("measured_duration"),
        3.0,
        "measured_duration",
    );
    // The server's own word for every request, and its count of the tokens that make it up.
    assert_eq!(detail.rows.len(), server::measured(&server).len());
    assert_eq!(detail.distinct("output_tokens"), ["4".to_owned()].into());
    assert_eq!(detail.distinct("endpoint"), [server.url()].into());
    for row in detail.texts("tokens_per_chunk") {
        let tokens: Vec<u64> = serde_json::from_str(&row).expect("a JSON list");
        assert_eq!(tokens.iter().sum::<u64>(), 4, "{row}");
    }
    // Little's law: level × tokens ÷ mean time of a request.
    let little = 2.0 * 1000.0 / mean(&detail.numbers("total_time"));
    let windowed = summary.number("window_input_tokens_per_sec");
    assert!(
        (windowed / little - 1.0).abs() < 0.1,
        "{windowed} tokens/s, Little's law says {little}"
    );
}

#[test]
fn with_a_strict_window_every_figure_leaves_out_what_ended_late() {
    // Requests of 0.25 s in windows of 1 s: the last ones end late.
    let server = server::start(server::fixed(0.25));
    let place = Place::new();
    place
        .quick(&server, "--strict-time-window --num-retries 2")
        .run()
        .exits(0);
    let output = place.output();
    output.assert_valid();
    let mut left_out = 0;
    let strict = |rows: &Table, planned: f64| {
        let launched = rows.numbers("launch_time");
        let first = launched.into_iter().fold(f64::INFINITY, f64::min);
        let mut kept = rows.clone();
        let ends = rows.numbers("finish_time");
        let mut ends = ends.iter();
        kept.rows
            .retain(|_| ends.next().is_some_and(|end| *end <= first + planned));
        kept
    };
    for (id, rows) in by_phase(&output.detail(1000)) {
        let kept = strict(&rows, 1.0).rows.len();
        assert!(kept > 0, "{id}");
        left_out += rows.rows.len() - kept;
    }
    assert!(left_out > 0, "the test needs requests that end late");
    assert_summary(&output, strict);
}

#[test]
fn the_window_rate_is_the_true_one_where_the_published_one_reads_low() {
    // Fixed 0.8 s per request whatever the load: 2 in flight make 2 × 1000 / 0.8 tokens/s.
    let server = server::start(server::fixed(0.8));
    let place = Place::new();
    place
        .quick(
            &server,
            "--ramp-duration 4 --test-duration 4 --num-retries 0",
        )
        .run()
        .exits(0);
    let summary = place.output().summary();
    let rate = summary.number("window_input_tokens_per_sec");
    assert!(
        (rate / 2500.0 - 1.0).abs() < 0.05,
        "{rate} tokens/s, true are 2500"
    );
}

#[test]
fn a_cooldown_lies_outside_of_every_phase() {
    let server = server::swift();
    let place = Place::new();
    let run = place.quick(&server, "--cooldown 1").run().exits(0);
    assert_eq!(run.lines("Cooling down for 1s").len(), 2);
    let phases = place.output().phases();
    for duration in phases.numbers("duration") {
        assert!((1.0..2.0).contains(&duration), "{duration}");
    }
    let (starts, ends) = (phases.numbers("start_time"), phases.numbers("end_time"));
    assert!(starts[1] - ends[0] >= 1.0, "{starts:?} {ends:?}");
    place.output().assert_valid();
}

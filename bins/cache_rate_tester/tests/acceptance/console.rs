//! What stands on stdout, on stderr and in the log.

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};

use testkit::process::Sink;

use crate::support::output::Table;
use crate::support::process::{Place, without_client};
use crate::support::server;

fn integer(number: f64) -> String {
    format!("{}", number.round() as i64)
}

/// The report as the page describes it, made from the CSV.
fn expected_report(server: &sim::Background, summary: &Table) -> String {
    let mut report = format!(
        "model: {}\nendpoint: {}\nworking_set: 8000\n\n\
         context_size,cache_rate,requests,input_tokens,output_tokens,input_tps,output_tps,avg_ttft,p95_ttft,concurrency\n",
        server::MODEL,
        server.url()
    );
    let column = |name: &str| summary.numbers(name);
    for row in 0..summary.rows.len() {
        let cells = [
            integer(column("context_size")[row]),
            integer(column("cache_hit_rate")[row]),
            integer(column("total_requests")[row]),
            integer(column("total_input_tokens")[row]),
            integer(column("total_output_tokens")[row]),
            integer(column("input_tokens_per_sec")[row]),
            integer(column("output_tokens_per_sec")[row]),
            format!("{:.3}", column("avg_ttft")[row]),
            format!("{:.3}", column("p95_ttft")[row]),
            integer(column("peak_concurrency")[row]),
        ];
        report += &cells.join(",");
        report += "\n";
    }
    let total = |name: &str| integer(column(name).iter().sum());
    report
        + &format!(
            "\ntotal_requests: {}\ntotal_input_tokens: {}\ntotal_output_tokens: {}\noutput: ./output\n",
            total("total_requests"),
            total("total_input_tokens"),
            total("total_output_tokens")
        )
}

// Example 9, in ramp mode.
#[test]
fn brief_prints_exactly_the_report_and_nothing_else() {
    let server = server::swift();
    let place = Place::new();
    let run = place
        .quick(&server, "--brief --no-color --cache-hit-rates 50 0")
        .run()
        .exits(0);
    assert_eq!(run.stdout.lines().next(), Some("model: demo"));
    assert_eq!(
        without_client(&run.stdout),
        expected_report(&server, &place.output().summary())
    );
    assert!(!run.stderr.contains("INFO"), "{}", run.stderr);
    assert!(!run.stderr.contains('\u{1b}'));
    place.output().assert_valid();

    // Nothing left to do: the same report again.
    let again = place
        .quick(&server, "--brief --no-color --cache-hit-rates 50 0")
        .run()
        .exits(0);
    assert_eq!(again.stdout, run.stdout);
    assert!(!again.stderr.contains("INFO"), "{}", again.stderr);
    again.warns_of_nothing();
}

#[test]
fn without_brief_stdout_is_empty_and_no_line_is_coloured_off_a_terminal() {
    let server = server::swift();
    let place = Place::new();
    let run = place.quick(&server, "--verbose").run().exits(0);
    assert_eq!(run.stdout, "");
    // One debug line per request, and what the page says stands in it.
    let requests = run.lines("Request RAMP_c2_r");
    assert_eq!(
        requests.len(),
        place.output().phases().numbers("num_requests_completed")[0] as usize
    );
    for part in ["4 tokens", "TTFT ", "TTLT ", "ITL ", "4 chunks"] {
        assert!(requests[0].contains(part), "{}", requests[0]);
    }
    assert!(run.stderr.contains(" DEBUG - Request RAMP_c2_r0: "));
    assert!(!run.stderr.contains('\u{1b}'));
    // Every line has the published shape, and the log holds the same lines.
    for line in run.stderr.lines() {
        let (stamp, rest) = line.split_once("] ").unwrap_or_else(|| panic!("'{line}'"));
        assert_eq!(stamp.len(), "[2026-01-02 03:04:05,678".len(), "{line}");
        let level = rest.split(' ').next().unwrap_or_default();
        assert!(
            ["DEBUG", "INFO", "WARNING", "ERROR"].contains(&level),
            "{line}"
        );
    }
    assert_eq!(place.log(), run.stderr);
}

#[test]
fn the_log_is_appended_to_and_its_absence_is_no_failure() {
    let server = server::swift();
    let place = Place::new();
    fs::write(place.path().join("cache_rate_tester.log"), "earlier\n").unwrap();
    place.quick(&server, "--num-retries 0").run().exits(0);
    assert!(place.log().starts_with("earlier\n["));

    let place = Place::new();
    fs::create_dir(place.path().join("cache_rate_tester.log")).unwrap();
    place
        .quick(&server, "--num-retries 0")
        .run()
        .exits(0)
        .says("✓ All tests complete!");
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(&server, "--brief --num-retries 0")
        .stdout(Sink::ClosedPipe)
        .run()
        .exits(0)
        .never_says("panicked");
    assert_eq!(place.output().completed(), ["1000_0"]);
}

#[test]
fn a_report_that_cannot_be_written_fails_the_run_but_loses_no_data() {
    let server = server::swift();
    let place = Place::new();
    let full = File::options().write(true).open("/dev/full").unwrap();
    place
        .quick(&server, "--brief --num-retries 0")
        .stdout(Sink::File(full))
        .run()
        .exits(1)
        .says("stdout")
        .never_says("panicked");
    assert_eq!(place.output().completed(), ["1000_0"]);
    place.output().assert_valid();
}

#[test]
fn stdin_is_left_to_the_script_that_calls() {
    let server = server::swift();
    let place = Place::new();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"a line of the calling script\n").unwrap();
    file.rewind().unwrap();
    // A clone shares its position with the original, so what the tool read would show.
    place
        .quick(&server, "--num-retries 0")
        .stdin(file.try_clone().unwrap())
        .run()
        .exits(0);
    assert_eq!(file.stream_position().unwrap(), 0);
}

#[test]
fn the_log_tells_a_ramp_as_the_page_says() {
    let server = server::swift();
    let place = Place::new();
    let run = place
        .quick(
            &server,
            "--context-sizes 200 --cache-hit-rates 50 --num-retries 2",
        )
        .run()
        .exits(0)
        .says("Cache Rate Performance Testing Tool - Ramp Mode")
        .says("Context Sizes: [200]")
        .says("Working Set Size: 8,000 tokens")
        .says("Performance Thresholds: Max TTFT: 2s (P95)")
        .says("Test Duration: 4s (ramp: 1s per level)")
        .says("Chunk Size: 256 tokens (for cache block alignment)")
        .says("Testing cache hit rate: 50%")
        .says("Phase 1: Finding peak concurrency (time limit: 4s)")
        .says("Testing concurrency 2... (phase: RAMP_c2)")
        .says("Phase 2: Retrying at peak concurrency 2 (2 times)")
        .says("✓ Cache hit rate 50% complete")
        .says("Final Summary - All Test Results")
        .says("Total tests completed: 1");
    // 50 % of 200 tokens is less than a chunk: nothing is cached, which is said once.
    assert_eq!(
        run.lines("50% of 200 tokens is less than one chunk").len(),
        1
    );
    for name in ["RAMP ", "RETRY1 ", "RETRY2 ", "AVERAGE ", "STD DEV "] {
        assert_eq!(run.lines(name).len(), 1, "{name}");
    }
    assert_eq!(run.lines("Results saved to: ./output").len(), 1);
}

#[test]
fn memory_of_a_model_whose_config_is_known_is_no_estimate_by_name() {
    let mut config = server::linear(0.01, 0.002);
    config.model = "Qwen/Qwen2.5-7B-Instruct".to_owned();
    let server = server::start(config);
    let place = Place::new();
    place
        .quick(&server, "")
        .run()
        .exits(0)
        .says("KV cache sizes follow from the model's config (built-in table, `Qwen/Qwen2.5-7B-Instruct`)")
        // 8 prompts of 1,024 tokens, 28 layers × 2 × 4 heads × 128 dimensions.
        .says("KV Cache Estimate for the working set: 224.00 MB (FP8), 448.00 MB (FP16)")
        .warns_of_nothing();
    let page = place.output().read("index.html");
    assert!(page.contains("448.00 MB"), "{page}");
    assert!(page.contains("From the model"), "{page}");
}

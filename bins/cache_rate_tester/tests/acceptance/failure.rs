//! Runs that cannot start or yield nothing, and how they say so.

use std::fs;
use std::net::TcpListener;

use sim::{FaultPlan, FaultRule};
use testkit::process::Finished;

use crate::support::process::Place;
use crate::support::server;
use crate::tool::QUICK;

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let address = listener.local_addr().expect("the listener has an address");
    format!("http://{address}")
}

/// The lines of an error that ended the run.
fn error_lines(run: &Finished) -> Vec<&str> {
    [run.lines("Fatal error: "), run.lines("hint: ")].concat()
}

// Example 10, its first case.
#[test]
fn a_server_that_is_absent_is_named_at_once() {
    let place = Place::new();
    let run = place
        .tool(QUICK)
        .args(["--api-endpoint", &nobody()])
        .run()
        .exits(1)
        .says("Fatal error: Could not detect model from http://127.0.0.1:")
        .says("/v1/models");
    assert!(run.took.as_secs() < 10, "took {:?}", run.took);
    assert_eq!(run.stdout, "");
    let lines = error_lines(&run);
    assert!(lines[0].starts_with("Fatal error: "), "{lines:?}");
    assert!(lines.len() <= 2, "an error and a hint: {lines:?}");
    // Whoever looks only at the log finds it, too.
    let log = place.log();
    assert!(
        log.contains(" ERROR - Fatal error: Could not detect model from "),
        "{log}"
    );
}

// Example 10, the others.
#[test]
fn wrong_arguments_end_with_2_and_leave_no_trace() {
    let endpoint = nobody();
    let required = format!("--api-endpoint {endpoint} --context-sizes 1000");
    for more in [
        "",
        "--working-set-size 8000 --mode fixed",
        "--working-set-size 8000 --start-concurrency 5 --max-concurrency 4",
        "--working-set-size 8000 --cache-hit-rates 120",
        "--working-set-size 8000 --test-duration 10 --ramp-duration 20",
        "--working-set-size 8000 --max-ttft 0",
        "--working-set-size 8000 --init-concurrency 0",
        "--working-set-size 8000 --header nonsense",
        "--working-set-size 8000 --extra-body [1]",
    ] {
        let place = Place::new();
        let run = place.run(&format!("{required} {more}")).exits(2);
        assert_eq!(run.stdout, "");
        assert!(run.stderr.contains("error: "), "{more}: {}", run.stderr);
        assert_eq!(place.files(), Vec::<std::path::PathBuf>::new(), "{more}");
    }
}

// Example 11.
#[test]
fn a_server_that_answers_nothing_but_errors_fails_every_test_early() {
    let mut config = server::linear(0.02, 0.005);
    config.faults = FaultPlan::always(sim::FaultKind::Status(500));
    let server = server::start(config);
    let place = Place::new();
    let run = place
        .quick(
            &server,
            "--cache-hit-rates 0 50 --ramp-duration 60 --test-duration 60",
        )
        .run()
        .exits(1)
        .says("✗ Cache hit rate 0% failed")
        .says("✗ Cache hit rate 50% failed")
        .says("500")
        .never_says("All tests complete");
    assert!(run.took.as_secs() < 20, "took {:?}", run.took);
    let output = place.output();
    assert!(output.completed().is_empty());
    assert!(output.names_like("summary_", "").is_empty());
    output.assert_valid();

    // For scripts: the report has its header, and nothing below it.
    let brief = place
        .quick(&server, "--brief --cache-hit-rates 0 50")
        .run()
        .exits(1)
        .says("ERROR - ✗ Cache hit rate 50% failed");
    let expected = format!(
        "model: demo\nendpoint: {}\nworking_set: 8000\n\n\
         context_size,cache_rate,requests,input_tokens,output_tokens,input_tps,output_tps,avg_ttft,p95_ttft,concurrency\n\
         \ntotal_requests: 0\ntotal_input_tokens: 0\ntotal_output_tokens: 0\noutput: ./output\n",
        server.url()
    );
    assert_eq!(brief.stdout, expected);
}

/// 10^12 tokens were accepted, and the machine ran out of memory while they were built.
#[test]
fn a_working_set_beyond_the_memory_of_this_machine_is_refused_at_once() {
    let memory = setup::memory::Memory::of_machine().expect("this system says what it has");
    if memory.total > 900_000_000_000 {
        eprintln!("skipped: this machine has room for the largest working set there is");
        return;
    }
    let server = server::swift();
    let place = Place::new();
    let run = place
        .quick(&server, "--working-set-size 1_000_000_000_000")
        .run()
        .exits(2)
        .says("a working set of 1,000,000,000,000 tokens takes at least 931.32 GB of memory here")
        .says("lower --working-set-size");
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(place.files().is_empty());
    // Only the tokenizer tells how much text a token is.
    let run = place
        .quick(&server, &format!("--working-set-size {}", memory.total / 2))
        .run()
        .exits(1)
        .says("of memory here, and this machine has");
    assert!(run.took.as_secs() < 20, "took {:?}", run.took);
    assert!(server.generations().is_empty());
}

// Example 11, with a server that fails after the warm-up.
#[test]
fn a_server_that_fails_every_measured_request_fails_every_test_early() {
    let mut config = server::linear(0.02, 0.005);
    config.faults = FaultPlan::of(FaultRule::always(sim::FaultKind::Status(500)).after(8));
    let server = server::start(config);
    let place = Place::new();
    let run = place
        .quick(
            &server,
            "--cache-hit-rates 0 25 50 75 100 --ramp-duration 60 --test-duration 60",
        )
        .run()
        .exits(1)
        .says("3 tests failed in a row")
        .says("✗ 2 of the tests were not tried:")
        .says("  1,000 tokens at 75%, 100%")
        .says("Open in a browser: ./output/index.html")
        .never_says("Final Summary")
        .never_says("All tests complete");
    assert!(run.took.as_secs() < 20, "took {:?}", run.took);
    let output = place.output();
    assert!(output.completed().is_empty());
    // The requests of the windows are in a file, so the windows must be, too.
    let phases = output.newest("phase_metadata_");
    assert_eq!(phases.texts("phase_id"), ["RAMP_c2"; 3]);
    assert!(
        phases
            .texts("window_input_tokens_per_sec")
            .iter()
            .all(|rate| rate.is_empty())
    );
    assert!(
        phases
            .numbers("window_duration")
            .iter()
            .all(|length| *length < 20.0)
    );
    // Three tests, each given up after 10 failures in a row; one more may have been in flight.
    let n = server::measured(&server).len();
    assert!((30..=36).contains(&n), "{n} requests");
    let failed = output.newest("failed_requests_1000_");
    assert!(failed.texts("status").iter().all(|status| status == "500"));
    output.assert_valid();
}

#[test]
fn an_output_directory_that_cannot_be_made_is_one_line_and_exit_1() {
    let server = server::swift();
    let place = Place::new();
    fs::write(place.path().join("taken"), "I am a file\n").unwrap();
    for dir in ["taken", "taken/below", "/proc/no-directory-here"] {
        let run = place
            .quick(&server, "--output-dir")
            .args([dir])
            .run()
            .exits(1)
            .never_says("panicked");
        let lines = error_lines(&run);
        assert!(
            lines[0].starts_with("Fatal error: ") && lines[0].contains(dir),
            "{lines:?}"
        );
        assert!(
            lines[1..].iter().all(|line| line.starts_with("hint: ")),
            "{lines:?}"
        );
        assert!(lines.len() <= 2, "{lines:?}");
    }
    assert!(
        server.requests().is_empty(),
        "the server was asked all the same"
    );
    let taken = fs::read_to_string(place.path().join("taken")).unwrap();
    assert_eq!(taken, "I am a file\n");
}

#[test]
fn a_tokenizer_that_cannot_be_had_is_said_with_what_to_pass_instead() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(&server, "--tokenizer ./no-such-place")
        .run()
        .exits(1)
        .says("no-such-place")
        .says("hint: pass --tokenizer");
    assert!(server.generations().is_empty());
}

#[test]
fn the_simulator_is_known_by_its_model_and_needs_no_tokenizer() {
    let mut config = server::linear(0.02, 0.005);
    config.model = sim::DEFAULT_MODEL.to_owned();
    let server = server::start(config);
    let place = Place::new();
    let args = QUICK.replace("--tokenizer builtin ", "");
    place
        .tool(&args)
        .args(["--num-retries", "0", "--api-endpoint", &server.url()])
        .run()
        .exits(0)
        .warns_of_nothing();
    let facts = place.output().json("run_facts.json");
    assert_eq!(facts["tokenizer"]["name"], "builtin");
    place.output().assert_valid();
}

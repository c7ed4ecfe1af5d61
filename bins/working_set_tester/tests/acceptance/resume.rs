//! What a second run of a command does.

use std::collections::BTreeSet;

use crate::support::process::Place;
use crate::support::server;

#[test]
fn a_second_context_is_added_without_measuring_the_first_again() {
    let server = server::swift();
    let place = Place::new();
    place.quick(&server, "").run().exits(0);
    let output = place.output();
    let kept = output.detail(512).texts("launch_time");
    let before = server.generations().len();
    place
        .quick(&server, "--context-sizes 512 1024")
        .run()
        .exits(0)
        .says("Resuming from previous progress: 2 tests completed");
    for request in &server.generations()[before..] {
        assert!(
            request.prompt_tokens.is_some_and(|tokens| tokens >= 1024),
            "{:?} belongs to the context that was complete",
            request.request_id
        );
    }
    let tests = [
        "512_1024_100",
        "512_2048_100",
        "1024_1024_100",
        "1024_2048_100",
    ];
    assert_eq!(output.completed(), tests);
    assert_eq!(output.summary().rows.len(), 4);
    assert_eq!(output.detail(512).texts("launch_time"), kept);
    output.assert_valid();
    // Back to the first command: nothing to do, and nothing is lost.
    let before = server.generations().len();
    place
        .quick(&server, "")
        .run()
        .exits(0)
        .says("✓ All tests complete!")
        .says("Total tests completed: 4");
    assert_eq!(server.generations().len(), before);
    assert_eq!(output.completed(), tests);
    output.assert_valid();
}

// Example 13's last sentence, and what else makes another run of it.
#[test]
fn what_changes_results_starts_afresh_and_what_does_not_goes_on() {
    let server = server::swift();
    let place = Place::new();
    let levels = "--fixed-concurrency-levels 2 1";
    place.quick(&server, levels).run().exits(0);
    let before = server.generations().len();
    place
        .quick(&server, levels)
        .args("--verbose --skip-graphs --init-concurrency 3 --kv-cache-quantization 1".split(' '))
        .run()
        .exits(0)
        .says("Resuming from previous progress: 2 tests completed");
    assert_eq!(server.generations().len(), before);
    for (more, key) in [
        ("--fixed-concurrency-levels 1 2", "fixed_concurrency_levels"),
        (
            "--fixed-concurrency-levels 1 2 --chunk-size 128",
            "chunk_size",
        ),
        (
            "--fixed-concurrency-levels 1 2 --chunk-size 128 --reinit-strategy once",
            "reinit_strategy",
        ),
    ] {
        place
            .quick(&server, more)
            .run()
            .exits(0)
            .says("Progress file found but parameters don't match. Starting fresh.")
            .says(&format!("(different: {key})"));
    }
    let output = place.output();
    assert_eq!(output.completed().len(), 2);
    assert_eq!(output.summary().rows.len(), 2);
    output.assert_valid();
}

#[test]
fn another_model_under_the_same_endpoint_starts_afresh() {
    let server = server::swift();
    let place = Place::new();
    place.quick(&server, "").run().exits(0);
    let output = place.output();
    // As if the server had served another one when it was measured.
    let then = output.read("progress.json");
    let other = then.replace(
        "\"detected_model\": \"demo\"",
        "\"detected_model\": \"other\"",
    );
    assert_ne!(then, other);
    std::fs::write(output.dir().join("progress.json"), other).expect("the file can be replaced");
    let before = server::measured(&server).len();
    place
        .quick(&server, "")
        .run()
        .exits(0)
        .says("(different: detected_model)");
    assert!(server::measured(&server).len() > before);
    output.assert_valid();
}

// A search begins at the peak of the size before, also where that size was measured by an earlier run.
#[test]
fn a_search_that_goes_on_begins_at_the_peak_of_the_size_before() {
    let server = server::start(server::linear(0.02, 0.005));
    let place = Place::new();
    let command = "--mode ramp --max-ttft 5 --max-concurrency 6 --test-duration 8";
    let run = place.quick(&server, command).start();
    run.wait_until("the second size", || {
        run.stderr()
            .contains("Testing working set size: 2,048 tokens")
    });
    run.wait_until("its first window", || {
        run.stderr()
            .matches("Starting at the last test's peak")
            .count()
            == 1
    });
    run.signal("INT");
    run.finish().exits(130);
    let output = place.output();
    assert_eq!(output.completed(), ["512_1024_100"]);
    let peak = output.summary().texts("peak_concurrency").remove(0);
    place
        .quick(&server, command)
        .run()
        .exits(0)
        .says("Skipping working set size 1,024 (already completed)")
        .says(&format!(
            "Starting at the last test's peak {peak} instead of 2"
        ));
    output.assert_valid();
}

#[test]
fn force_restart_measures_everything_again_and_keeps_old_files() {
    let server = server::swift();
    let place = Place::new();
    place.quick(&server, "").run().exits(0);
    let output = place.output();
    let old: BTreeSet<String> = output.names().into_iter().collect();
    let launches = output.detail(512).texts("launch_time");
    place.quick(&server, "--force-restart").run().exits(0);
    let names: BTreeSet<String> = output.names().into_iter().collect();
    assert!(old.is_subset(&names));
    let again = output.detail(512).texts("launch_time");
    assert!(again.iter().all(|launch| !launches.contains(launch)));
    assert_eq!(output.summary().rows.len(), 2);
    output.assert_valid();
}

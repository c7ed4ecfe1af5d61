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

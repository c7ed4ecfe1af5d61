//! What a second run of a command does.

use std::collections::BTreeSet;
use std::fs;

use crate::support::process::Place;
use crate::support::server;

// Example 2.
#[test]
fn a_second_context_size_is_added_without_measuring_the_first_again() {
    let server = server::swift();
    let place = Place::new();
    let command = "--cache-hit-rates 0 50 --context-sizes 1000";
    place.quick(&server, command).run().exits(0);
    let output = place.output();
    assert!(!output.pages().contains("ttft_heatmap.html"));
    let before = server.generations().len();
    let old_rows = output.detail(1000).rows.len();

    place
        .quick(&server, &format!("{command} 2000"))
        .run()
        .exits(0)
        .says("Resuming from previous progress: 2 tests completed (subset resume)");
    for request in &server.generations()[before..] {
        assert!(
            request.prompt_tokens.is_some_and(|tokens| tokens >= 2000),
            "{:?} belongs to the context that was complete",
            request.request_id
        );
    }
    let tests = ["1000_0", "1000_50", "2000_0", "2000_50"];
    assert_eq!(output.completed(), tests);
    assert_eq!(output.summary().rows.len(), 4);
    assert_eq!(output.detail(1000).rows.len(), old_rows);
    let in_phases: BTreeSet<_> = output.phases().texts("context_size").into_iter().collect();
    assert_eq!(in_phases.len(), 2, "the newest table of phases is complete");
    assert!(output.pages().contains("ttft_heatmap.html"));
    output.assert_valid();

    // Back to the first command: nothing to do, and nothing is lost.
    let before = server.generations().len();
    place
        .quick(&server, command)
        .run()
        .exits(0)
        .says("✓ All tests complete!");
    assert_eq!(server.generations().len(), before);
    assert_eq!(output.completed(), tests);
    assert_eq!(output.summary().rows.len(), 4);
    output.assert_valid();
}

// Example 3.
#[test]
fn other_parameters_start_afresh_with_a_warning_and_leave_old_files_alone() {
    let server = server::swift();
    let place = Place::new();
    let command = "--cache-hit-rates 0 50 --num-retries 0";
    place.quick(&server, command).run().exits(0);
    let output = place.output();
    let old: Vec<(String, String)> = output
        .names_like("", ".csv")
        .into_iter()
        .map(|name| (name.clone(), output.read(&name)))
        .collect();
    place
        .quick(&server, &format!("{command} --output-tokens 8"))
        .run()
        .exits(0)
        .says("WARNING - Progress file found but parameters don't match. Starting fresh.");
    assert_eq!(output.completed(), ["1000_0", "1000_50"]);
    let detail = output.detail(1000);
    assert_eq!(detail.distinct("output_tokens"), ["8".to_owned()].into());
    assert_eq!(detail.distinct("cache_hit_rate").len(), 2);
    let summary = output.summary();
    assert_eq!(summary.rows.len(), 2);
    let tokens: f64 = summary.numbers("total_output_tokens").iter().sum();
    assert_eq!(tokens as usize, 8 * detail.rows.len());
    for (name, text) in old {
        assert_eq!(output.read(&name), text, "{name} was changed");
    }
    output.assert_valid();
}

#[test]
fn flags_that_measure_nothing_do_not_keep_a_run_from_resuming() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(&server, "--force-restart --verbose --skip-graphs")
        .run()
        .exits(0);
    let before = server.generations().len();
    place
        .quick(&server, "--kv-cache-quantization 1")
        .run()
        .exits(0)
        .says("Resuming from previous progress: 1 tests completed");
    assert_eq!(server.generations().len(), before);
    place.output().assert_valid();
}

#[test]
fn force_restart_measures_everything_again_and_keeps_old_files() {
    let server = server::swift();
    let place = Place::new();
    place.quick(&server, "").run().exits(0);
    let output = place.output();
    let old_names: BTreeSet<String> = output.names().into_iter().collect();
    let old_launches = output.detail(1000).texts("launch_time");
    let before = server.generations().len();

    let run = place.quick(&server, "--force-restart").start();
    run.wait_for("Testing cache hit rate: 0%");
    assert!(
        output.completed().is_empty(),
        "the old progress is gone from the start"
    );
    run.finish().exits(0);
    assert!(server.generations().len() > before);
    assert_eq!(output.completed(), ["1000_0"]);
    let names: BTreeSet<String> = output.names().into_iter().collect();
    assert!(old_names.is_subset(&names));
    let launches = output.detail(1000).texts("launch_time");
    assert!(
        launches.iter().all(|launch| !old_launches.contains(launch)),
        "rows of the run that was thrown away are in the new file"
    );
    assert_eq!(output.summary().rows.len(), 1);
    output.assert_valid();
}

#[test]
fn a_progress_file_that_cannot_be_read_is_said_and_the_run_starts_afresh() {
    let server = server::swift();
    let place = Place::new();
    fs::create_dir(place.output().dir()).unwrap();
    fs::write(place.output().dir().join("progress.json"), "{\"test_id\": ").unwrap();
    place
        .quick(&server, "--num-retries 0")
        .run()
        .exits(0)
        .says("ERROR - the progress file cannot be used");
    assert_eq!(place.output().completed(), ["1000_0"]);
    place.output().assert_valid();
}

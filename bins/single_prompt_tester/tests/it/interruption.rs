//! Runs that are cut short.

use std::fs;

use crate::mock::{Do, Mock, stream, usage};
use crate::tool::{Place, quick};

/// A server that answers `n` measured requests and none after them.
fn stops_answering_after(n: usize) -> Mock {
    Mock::start(move |asked| {
        let delay = if asked.n < n { 0.005 } else { 1000.0 };
        stream(delay, &["Once", " upon"], Some(usage(asked.body, None)))
    })
}

#[test]
fn sigterm_in_a_cached_batch_keeps_what_was_answered_and_says_143() {
    let server = stops_answering_after(5);
    let place = Place::new();
    let run = place.start(&quick(&server.url(), "-n 3 -r 2 --brief --seed 9"));
    run.wait_until("the cached batch", || server.seen().bodies.len() == 7);
    run.wait_until("rows on disk", || {
        place
            .names("out")
            .iter()
            .any(|n| n.starts_with("single_prompt_results"))
    });
    run.signal("TERM");
    let run = run.finish().exits(143).says("Interrupted by user.");
    // Every request of the batch is a row or was cancelled; one of them had no answer coming.
    let rows = place.rows();
    let kinds = rows.texts("prompt_type");
    assert_eq!(kinds[..3], ["unique"; 3]);
    assert!(
        kinds[3..].iter().all(|kind| *kind == "cached_r1"),
        "{kinds:?}"
    );
    let cancelled = place.failed(200);
    assert!(
        cancelled
            .texts("kind")
            .iter()
            .all(|kind| *kind == "cancelled")
    );
    assert!(!cancelled.rows.is_empty());
    assert_eq!(kinds.len() + cancelled.rows.len(), 6);
    // What is known of the size is reported.
    assert!(run.stdout.starts_with("[200] unique=0.0"), "{}", run.stdout);
    assert!(run.stdout.contains("seed: 9\n"), "{}", run.stdout);
    let metadata = place.json("metadata.json");
    assert_eq!(
        (&metadata["interrupted"], &metadata["failed_requests"]),
        (&true.into(), &0.into())
    );
}

#[test]
fn rows_are_on_disk_while_the_run_goes_on_and_survive_a_kill() {
    let server = stops_answering_after(6);
    let place = Place::new();
    let run = place.start(&quick(
        &server.url(),
        "--context-sizes 100 200 --num-iterations 2",
    ));
    run.wait_until("the seventh request", || server.seen().bodies.len() == 8);
    assert_eq!(place.rows().rows.len(), 6);
    run.signal("KILL");
    drop(run);
    // Valid to its last byte, and the metadata say that the run did not end.
    assert_eq!(place.rows().rows.len(), 6);
    assert_eq!(place.json("metadata.json")["interrupted"], true);
}

#[test]
fn the_same_command_again_begins_anew_beside_the_old_rows() {
    let server = Mock::caching();
    let place = Place::new();
    place.quick(&server.url(), "").exits(0);
    let old = place.names("out");
    let csv = old.iter().find(|n| n.ends_with(".csv")).unwrap().clone();
    let before = fs::read(place.path().join("out").join(&csv)).unwrap();
    place.quick(&server.url(), "--context-sizes 300").exits(0);
    assert_eq!(
        fs::read(place.path().join("out").join(&csv)).unwrap(),
        before
    );
    let files = place.names("out");
    assert_eq!(
        files
            .iter()
            .filter(|n| n.starts_with("single_prompt_results_"))
            .count(),
        2,
        "{files:?}"
    );
    // Pages show the newest run.
    assert!(place.read("summary_table.html").contains(">300<"));
    assert!(!place.read("summary_table.html").contains(">200<"));
}

#[test]
fn a_signal_before_the_first_measured_request_ends_the_run() {
    let server = Mock::start_with(
        || vec![Do::Wait(std::time::Duration::from_secs(1000))],
        |_| Vec::new(),
    );
    let place = Place::new();
    let run = place.start(&quick(&server.url(), ""));
    run.wait_until("the first request", || server.seen().bodies.len() == 1);
    run.signal("INT");
    let run = run.finish().exits(130).says("Interrupted by user.");
    assert!(run.took.as_secs() < 60, "{:?}", run.took);
    assert!(place.rows().rows.is_empty());
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let server = stops_answering_after(0);
    let place = Place::new();
    let run = place.start(&quick(&server.url(), ""));
    run.wait_until("the first measured request", || {
        server.seen().bodies.len() == 2
    });
    run.signal("INT");
    run.signal("INT");
    let run = run.finish().exits(130);
    assert!(run.took.as_secs() < 60, "{:?}", run.took);
}

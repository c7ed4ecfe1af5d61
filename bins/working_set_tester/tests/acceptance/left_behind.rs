//! Directories in which an earlier run of another kind has left its files.

use crate::scene::SUSTAINED;
use crate::support::output::Output;
use crate::support::process::Place;
use crate::support::server;

/// Runs the same context, sizes and rate in sustained mode.
fn sustained(place: &Place, server: &sim::Background, more: &str) {
    place
        .tool(SUSTAINED)
        .args(["--api-endpoint", &server.url()])
        .args(more.split_whitespace())
        .run()
        .exits(0);
}

/// A page and the index, as they are now and as they are when the directory is read again.
fn pages(output: &Output) -> (String, String) {
    (
        output.read("performance_vs_working_set_512.html"),
        output.read("index.html"),
    )
}

#[test]
fn windows_measured_after_a_sustained_test_take_its_place() {
    let server = server::swift();
    let place = Place::new();
    sustained(&place, &server, "");
    let output = place.output();
    let (before, index) = pages(&output);
    // A size on the way is none of the sizes of fixed mode.
    assert!(before.contains("3,072"), "{before}");
    assert!(index.contains("Sustained test: "), "{index}");
    // The same largest size: the same name of a test.
    place
        .quick(&server, "--max-working-set-size 4096")
        .run()
        .exits(0)
        .says("parameters don't match. Starting fresh.");
    let (after, index) = pages(&output);
    assert!(!after.contains("3,072"), "{after}");
    assert!(!index.contains("Sustained test: "), "{index}");
    output.assert_valid();
}

#[test]
fn a_sustained_test_measured_after_windows_takes_their_place() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(&server, "--max-working-set-size 4096")
        .run()
        .exits(0);
    let output = place.output();
    sustained(&place, &server, "");
    let (again, index) = pages(&output);
    assert!(index.contains("Sustained test: "), "{index}");
    assert!(again.contains("3,072"), "{again}");
    output.assert_valid();
}

#[test]
fn a_run_without_a_result_shows_none_of_the_run_before() {
    let server = server::swift();
    let place = Place::new();
    sustained(&place, &server, "");
    let output = place.output();
    assert_eq!(output.summary().rows.len(), 1);
    let failing = server::start({
        let mut config = server::linear(0.02, 0.005);
        config.faults = sim::FaultPlan::always(sim::FaultKind::Status(500));
        config
    });
    place
        .quick(&failing, "--force-restart --max-working-set-size 4096")
        .run()
        .exits(1);
    assert_eq!(output.summary().rows.len(), 0, "of this run");
    let index = output.read("index.html");
    assert!(!index.contains("Peak Input Throughput"), "{index}");
    assert!(!index.contains("Sustained test: "), "{index}");
    output.assert_valid();
}

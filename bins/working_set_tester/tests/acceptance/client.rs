//! What the tool says of its own part in what it measured. That a client which nothing disturbs marks nothing is tested in
//! `cache_rate_tester`.

use testkit::busy;

use crate::support::process::Place;
use crate::support::server;

#[test]
fn a_busy_core_under_the_client_marks_the_results() {
    let server = server::swift();
    let place = Place::new();
    let arguments = "--calibrate auto --client-threads 1 --brief";
    let run = busy::on_a_busy_core(|| place.quick(&server, arguments).run()).exits(0);
    let output = place.output();
    let health = output.newest("client_health_");
    let marks = output.summary().texts("client_limited");
    assert_eq!(marks, ["true", "true"], "{health:?}");
    // The report on stdout has a published form, which ends with the directory.
    let told = "WARNING - client_limited: 512@100%/1024 512@100%/2048";
    assert!(run.stderr.contains(told), "{}", run.stderr);
    assert!(!run.stdout.contains("client_limited"), "{}", run.stdout);
    let doubts = output.all_doubts(512, 100);
    let of_client = doubts.iter().filter(|kind| *kind == "client_limited");
    assert_eq!(of_client.count(), 2, "{doubts:?}");
    output.assert_valid();
}

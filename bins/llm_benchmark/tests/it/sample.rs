//! The sample of the console output that ships with the tool is what the tool prints.

use crate::console::redacted;
use crate::mock::Mock;
use crate::tool::Place;

const SAMPLE: &str =
    include_str!("../../../../scripts/llm_benchmark/expected_output/sample_output.txt");

/// A line with what depends on the server taken out.
fn form(line: &str) -> String {
    if line.starts_with("   Endpoint:") {
        return "   Endpoint:".to_owned();
    }
    line.to_owned()
}

#[test]
fn the_sample_is_a_run_with_defaults_against_a_server_with_a_cache() {
    let server = Mock::acceptance();
    let url = server.url();
    let run = Place::new()
        .run(&["--endpoint", &url, "--output", "results.json"])
        .exits(0);
    let lines = |text: &str| redacted(text).lines().map(form).collect::<Vec<_>>();
    let (sample, run) = (lines(SAMPLE), lines(&run.stdout));
    assert_eq!(sample.len(), run.len());
    for (shipped, printed) in sample.iter().zip(&run) {
        // The mock does not hold back copies in flight, the sample's server does.
        if !printed.starts_with("   Hit Rate:") {
            assert_eq!(shipped, printed);
        }
    }
    assert!(SAMPLE.contains("   Endpoint:      http://localhost:8000/generate\n"));
    assert!(SAMPLE.contains("   Successful:          50\n"));
    assert!(SAMPLE.contains("   Hit Rate:            28.0%\n"));
}

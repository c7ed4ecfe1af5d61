//! The console block to the character, numbers aside.

use std::time::Duration;

use crate::mock::Mock;
use crate::tool::{Place, Shown};

/// Times and rates vary from run to run, and so do ports: digits of those values become `#`.
pub(crate) fn redacted(stdout: &str) -> String {
    let varies = |line: &str| {
        line.ends_with(" ms")
            || line.ends_with(" sec")
            || line.starts_with("   Tokens/sec:")
            || line.starts_with("   Endpoint:")
    };
    let redact = |line: &str| -> String {
        if !varies(line) {
            return line.to_owned();
        }
        // Labels have digits too: P50.
        let value_at = line.rfind("  ").map_or(0, |at| at + 2);
        let (label, value) = line.split_at(value_at);
        let mut out = label.to_owned();
        for c in value.chars() {
            if !c.is_ascii_digit() {
                out.push(c);
            } else if !out.ends_with('#') {
                out.push('#');
            }
        }
        out
    };
    stdout.lines().map(|line| redact(line) + "\n").collect()
}

#[test]
fn the_whole_console_block_is_the_originals() {
    let server = Mock::caching(Duration::from_millis(2));
    let url = server.url();
    let run = Place::new()
        .run(&[
            "--endpoint",
            &url,
            "--concurrency",
            "1",
            "--output",
            "results.json",
        ])
        .exits(0);
    insta::assert_snapshot!(redacted(&run.stdout));
    let column = |label: &str| {
        let line = run
            .stdout
            .lines()
            .find(|line| line.contains(label))
            .unwrap();
        let value = run.value(label);
        line.len() - value.len() + 1
    };
    assert_eq!(column("Concurrency:"), 19);
    assert_eq!(column("Repeat Ratio:"), 19);
    assert_eq!(column("Successful:"), 25);
    assert_eq!(column("Hit Rate:"), 25);
    assert!(run.stdout.contains("\u{23f1}\u{fe0f}  Latency"));
}

#[test]
fn two_decimals_for_times_and_one_for_the_hit_rate() {
    let server = Mock::caching(Duration::ZERO);
    let url = server.url();
    let run = Place::new()
        .run(&[
            "--endpoint",
            &url,
            "--repeat-ratio",
            "1",
            "--requests",
            "8",
            "--warmup",
            "0",
            "--concurrency",
            "1",
        ])
        .exits(0)
        .shows("Repeat Ratio:", "1.0")
        .shows("Hit Rate:", "62.5%");
    for label in ["TTFT P50:", "TPOT (avg):", "Tokens/sec:", "Total Time:"] {
        let number = run.value(label).split(' ').next().unwrap();
        assert_eq!(
            number.split_once('.').map(|(_, d)| d.len()),
            Some(2),
            "{label} {number}"
        );
    }
}

#[test]
fn quiet_leaves_errors_only_and_a_good_run_has_none() {
    let server = Mock::caching(Duration::ZERO);
    let url = server.url();
    let run = Place::new().run(&["--endpoint", &url, "--quiet"]).exits(0);
    assert_eq!(run.stderr, "");
    let loud = Place::new().run(&["--endpoint", &url]).exits(0);
    loud.says("tokens are estimated as characters / 4")
        .never_says("errors:");
}

//! The real binary: exit codes, channels, and that wrong arguments leave no trace.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::{contains, is_empty};

const REQUIRED: [&str; 10] = [
    "--api-endpoint",
    "http://127.0.0.1:1",
    "--context-sizes",
    "1000",
    "--min-working-set-size",
    "8000",
    "--max-working-set-size",
    "16000",
    "--working-set-increments",
    "2",
];

fn tool(dir: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("working_set_tester"));
    command
        .current_dir(dir)
        .env_remove("OPENAI_API_KEY")
        .env_remove("NO_COLOR");
    command
}

/// Wrong arguments: exit 2, the words on stderr, nothing on stdout, nothing on disk.
#[track_caller]
fn refused(args: &[&str], words: &str) {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    tool(dir.path())
        .args(args)
        .assert()
        .code(2)
        .stdout(is_empty())
        .stderr(contains(words));
    assert_eq!(
        fs::read_dir(dir.path()).map_or(0, Iterator::count),
        0,
        "{args:?} left something behind"
    );
}

#[track_caller]
fn refused_beyond_required(more: &[&str], words: &str) {
    refused(&[&REQUIRED[..], more].concat(), words);
}

#[test]
fn a_missing_option_is_named() {
    refused(
        &REQUIRED[..6],
        "working_set_tester: error: the following arguments are required: --max-working-set-size, \
         --working-set-increments\n",
    );
}

#[test]
fn a_mistyped_option_gets_a_suggestion() {
    refused_beyond_required(
        &["--api-edpoint", "http://localhost:8000"],
        "did you mean '--api-endpoint'",
    );
    // Also where it stands in the place of the right one, which is then missing: that is not the trouble.
    let misspelt = [&["--api-edpoint"], &REQUIRED[1..]].concat();
    refused(&misspelt, "did you mean '--api-endpoint'");
}

#[test]
fn syntax_errors_print_usage_and_one_line() {
    for (more, words) in [
        (
            vec!["--cache-hit-rates", "a"],
            "working_set_tester: error: argument --cache-hit-rates: invalid int value: 'a'\n",
        ),
        (
            vec!["--ttft-metric", "p50"],
            "error: argument --ttft-metric: invalid choice: 'p50' (choose from 'max', 'avg', 'p95')\n",
        ),
        (
            vec!["--mode", "fast"],
            "error: argument --mode: invalid choice: 'fast' (choose from 'ramp', 'sustained', 'fixed')\n",
        ),
        (
            vec!["--kv-cache-quantization", "3"],
            "error: argument --kv-cache-quantization: invalid choice: '3' (choose from '1', '2')\n",
        ),
        (
            vec!["--context-sizes"],
            "error: argument --context-sizes: expected at least one argument\n",
        ),
        (vec!["--test"], "hint: try 'working_set_tester --help'"),
    ] {
        refused_beyond_required(&more, words);
    }
}

#[test]
fn semantic_errors_print_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        &REQUIRED[..],
        &["--cache-hit-rates", "120", "--output-dir", "results"],
    ]
    .concat();
    tool(dir.path())
        .args(args)
        .assert()
        .code(2)
        .stdout(is_empty())
        .stderr("error: --cache-hit-rates 120 is out of range: give 0 to 100 percent\n");
    assert!(!dir.path().join("results").exists());
    for (more, words) in [
        ("--mode sustained", "at least one of --max-ttft"),
        ("--mode fixed", "needs --fixed-concurrency-levels"),
        ("--mode fixed --fixed-concurrency-levels 0", "out of range"),
        ("--mode fixed --fixed-concurrency 0", "out of range"),
        (
            "--mode fixed --fixed-concurrency 2 --fixed-concurrency-levels 2",
            "give one of them",
        ),
        (
            "--min-working-set-size 20000",
            "is above --max-working-set-size 16000",
        ),
        ("--working-set-increments 0", "out of range"),
        (
            "--start-concurrency 5 --max-concurrency 4",
            "is above --max-concurrency 4",
        ),
        (
            "--mode ramp --test-duration 5 --ramp-duration 6",
            "--test-duration 5 is shorter",
        ),
    ] {
        let more: Vec<&str> = more.split(' ').collect();
        refused_beyond_required(&more, words);
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let dir = tempfile::tempdir().unwrap();
    for flag in ["--help", "-h", "--he"] {
        let help = contains("--context-sizes <TOKENS>...").and(contains("Exit codes:"));
        tool(dir.path())
            .arg(flag)
            .assert()
            .code(0)
            .stdout(help)
            .stderr(is_empty());
    }
    let version = format!("working_set_tester {}\n", env!("CARGO_PKG_VERSION"));
    tool(dir.path())
        .arg("--version")
        .assert()
        .code(0)
        .stdout(version)
        .stderr(is_empty());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_key_in_the_environment_is_not_shown_by_help() {
    let dir = tempfile::tempdir().unwrap();
    tool(dir.path())
        .env("OPENAI_API_KEY", "sk-very-secret")
        .arg("--help")
        .assert()
        .code(0)
        .stdout(contains("OPENAI_API_KEY").and(contains("sk-very-secret").not()));
}

#[test]
fn a_closed_stdout_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    // Closed before the tool starts, so that its first byte already meets a broken pipe.
    drop(reader);
    let output = std::process::Command::new(assert_cmd::cargo::cargo_bin!("working_set_tester"))
        .arg("--help")
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

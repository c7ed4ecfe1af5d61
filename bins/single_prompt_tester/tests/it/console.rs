//! Channels, the log file, colours, the report for scripts.

use std::fs::{self, File};

use crate::mock::{Mock, spaced, stream, usage};
use crate::tool::Place;

#[test]
fn the_lines_of_a_run_come_in_the_published_order() {
    let server = Mock::caching();
    let place = Place::new();
    let run = place.quick(&server.url(), "--seed 42").exits(0);
    assert_eq!(run.stdout, "");
    let url = server.url();
    let rule = "=".repeat(80);
    let expected = [
        rule.clone(),
        "Single Prompt Performance Tester".to_owned(),
        rule.clone(),
        format!("API Endpoint: {url}"),
        "Iterations per size: 1".to_owned(),
        rule.clone(),
        format!("API Client initialized: {url}"),
        format!("Auto-detecting model from {url}/v1/models"),
        "Auto-detected model: mock-model".to_owned(),
        "Loading tokenizer: builtin".to_owned(),
        "Tokenizer loaded successfully".to_owned(),
        "Using provided seed: 42".to_owned(),
        "Using specified context sizes: [200]".to_owned(),
        "Testing 1 context size: [200]".to_owned(),
        "Testing context size: 200 tokens".to_owned(),
        "    Iteration 1: Testing 1 unique prompt (200 tokens each)...".to_owned(),
        "      Unique: TTFT=".to_owned(),
        "      Response: Once upon a time...".to_owned(),
        "    Iteration 1: Testing 1 cached prompt...".to_owned(),
        "      Cached: TTFT=".to_owned(),
        "      Response: Once upon a time...".to_owned(),
        "      Cache speedup: TTFT ".to_owned(),
        "  Summary for 200 tokens:".to_owned(),
        "    Avg Unique TTFT: ".to_owned(),
        "Saved results to out/single_prompt_results_".to_owned(),
        "Generating visualizations...".to_owned(),
        "Generated graph: out/single_prompt_performance.html".to_owned(),
        "Generated summary table: out/summary_table.html".to_owned(),
        "Generating index.html dashboard...".to_owned(),
        "✓ Generated index.html dashboard".to_owned(),
        rule.clone(),
        "Final Summary - All Context Sizes".to_owned(),
        rule.clone(),
        "  Context Size |  Unique TTFT |  Cached TTFT |  Speedup".to_owned(),
        "---------------+--------------+--------------+---------".to_owned(),
        "           200 |       0.".to_owned(),
        "---------------+--------------+--------------+---------".to_owned(),
        rule.clone(),
        "✓ Testing complete!".to_owned(),
        rule,
        "Results saved to: out".to_owned(),
        "Open in a browser: out/index.html".to_owned(),
    ];
    let lines = run.log_lines();
    let mut rest = lines.iter();
    for line in &expected {
        assert!(
            rest.any(|found| found.starts_with(line.as_str())),
            "no {line:?} at its place in:\n{}",
            run.stderr
        );
    }
}

#[test]
fn a_stamp_and_a_level_stand_before_every_line_and_the_file_holds_the_same() {
    let server = Mock::caching();
    let place = Place::new();
    let run = place.quick(&server.url(), "").exits(0);
    for line in run.stderr.lines() {
        let (stamp, rest) = line.split_at(26);
        assert!(stamp.starts_with("[20") && stamp.ends_with("] "), "{line}");
        assert!(
            rest.starts_with("INFO -") || rest.starts_with("WARNING -"),
            "{line}"
        );
    }
    let file = fs::read_to_string(place.path().join("single_prompt_tester.log")).unwrap();
    assert_eq!(file, run.stderr);
    assert!(!file.contains('\u{1b}'));
}

#[test]
fn brief_leaves_stderr_and_log_empty_on_a_clean_run() {
    let ms = std::time::Duration::from_millis;
    let server = Mock::start(move |asked| {
        let cached = if asked.is_known { 192 } else { 0 };
        spaced(ms(500), ms(100), Some(usage(asked.body, Some(cached))))
    });
    // What else runs beside these tests may delay the client, and then it says so: no run was clean.
    let is_clean = (0..3).any(|_| {
        let place = Place::new();
        let run = place.quick(&server.url(), "--brief").exits(0);
        let log = place.path().join("single_prompt_tester.log");
        assert_eq!(fs::read_to_string(log).unwrap_or_default(), run.stderr);
        assert_eq!(run.stdout.lines().count(), 14, "{}", run.stdout);
        for line in run.stderr.lines() {
            assert!(line.contains("limited by this client"), "{line}");
        }
        run.stderr.is_empty()
    });
    assert!(is_clean);
}

#[test]
fn verbose_wins_over_brief_on_stderr_only() {
    let server = Mock::caching();
    let place = Place::new();
    let run = place
        .quick(&server.url(), "--brief --verbose")
        .exits(0)
        .says("Testing complete!");
    assert!(run.stdout.starts_with("[200] "), "{}", run.stdout);
}

#[test]
fn a_line_for_scripts_is_out_as_soon_as_its_size_is_done() {
    let server = Mock::start(|asked| {
        let delay = if asked.n < 2 { 0.005 } else { 1000.0 };
        stream(delay, &["Once", " upon"], Some(usage(asked.body, None)))
    });
    let place = Place::new();
    let more = "--context-sizes 100 200 --brief";
    let run = place.start(&crate::tool::quick(&server.url(), more));
    run.wait_until("the first line", || {
        run.stdout().starts_with("[100] unique=")
    });
    run.signal("TERM");
    run.finish().exits(143);
}

#[test]
fn a_closed_stdout_is_no_error() {
    let server = Mock::caching();
    let place = Place::new();
    let mut command = std::process::Command::new("sh");
    let args = crate::tool::quick(&server.url(), "--brief");
    let binary = crate::tool::binary();
    command.args(["-c", &format!("exec {} {args} >&-", binary.display())]);
    let run = place.spawn(command).finish();
    assert_eq!(place.rows().rows.len(), 2, "{}", run.stderr);
    let mut command = std::process::Command::new("sh");
    command.args([
        "-c",
        &format!("{} {args} | head -c 1; wait", binary.display()),
    ]);
    place.spawn(command).finish().exits(0);
}

#[test]
fn a_stdout_that_takes_nothing_is_told_and_the_results_are_kept() {
    let server = Mock::caching();
    let place = Place::new();
    let mut command = std::process::Command::new("sh");
    let args = crate::tool::quick(&server.url(), "--brief");
    command.args([
        "-c",
        &format!("exec {} {args} >/dev/full", crate::tool::binary().display()),
    ]);
    place
        .spawn(command)
        .finish()
        .exits(1)
        .says("could not be written to stdout");
    assert_eq!(place.rows().rows.len(), 2);
}

#[test]
fn a_log_file_that_cannot_be_written_is_a_warning() {
    let server = Mock::caching();
    let place = Place::new();
    File::create(place.path().join("x")).unwrap();
    fs::create_dir(place.path().join("single_prompt_tester.log")).unwrap();
    place
        .quick(&server.url(), "")
        .exits(0)
        .says("cannot write the log file single_prompt_tester.log");
    assert_eq!(place.rows().rows.len(), 2);
}

#[test]
fn batches_are_told_prompt_by_prompt_with_their_summary() {
    let server = Mock::caching();
    let place = Place::new();
    let run = place.quick(&server.url(), "-n 2 -r 2").exits(0);
    for line in [
        "Concurrent prompts per test: 2",
        "Cached repeats per iteration: 2",
        "    Iteration 1: Testing 2 unique prompts (200 tokens each)...",
        "        [Prompt 2] TTFT=0.0",
        "      Unique batch summary:",
        "    Iteration 1: Testing 2 cached prompts (repeat 2/2)...",
        "      Cached (repeat 2/2) batch summary:",
        "        total input tokens=",
    ] {
        assert!(
            run.log_lines().iter().any(|found| found.starts_with(line)),
            "no {line:?} in:\n{}",
            run.stderr
        );
    }
}

//! Arguments: what is refused, in which words, before anything is sent; and prefixes that scripts use.

use std::time::Duration;

use clap::CommandFactory;
use cli::argparse::prepare;
use llm_benchmark::args::{Args, OPTION_GENERATIONS, ORIGINAL_OPTIONS};
use testkit::prefix::assert_kept;

use crate::mock::Mock;
use crate::tool::{Place, Shown};

#[test]
fn wrong_arguments_end_with_2_and_the_originals_words() {
    let server = Mock::caching(Duration::ZERO);
    let place = Place::new();
    for (words, said) in [
        (
            &["--requests", "x"][..],
            "llm_benchmark: error: argument --requests: invalid int value: 'x'",
        ),
        (
            &["--requests", "1.5"],
            "argument --requests: invalid int value: '1.5'",
        ),
        (
            &["--repeat-ratio", "x"],
            "argument --repeat-ratio: invalid float value: 'x'",
        ),
        (
            &["--timeout", "nan"],
            "argument --timeout: invalid float value: 'nan'",
        ),
        (&["--wat"], "unrecognized arguments: --wat"),
        (&["extra"], "unrecognized arguments: extra"),
        (&["--requets", "5"], "did you mean '--requests'"),
        (&["--re", "5"], "ambiguous"),
        (
            &["--requests"],
            "argument --requests: expected one argument",
        ),
        (&["--concurrency", "0"], "--concurrency must be from 1"),
        (
            &["--repeat-ratio", "1.5"],
            "--repeat-ratio must be from 0 to 1",
        ),
        (&["--warmup", "-1"], "--warmup must be"),
        (&["--header", "content-length: 5"], "--header"),
        (&["--header", "te: trailers"], "cannot be set"),
    ] {
        let url = server.url();
        let words = [words, &["--endpoint", &url, "--output", "new/r.json"]].concat();
        let run = place.run(&words).exits(2).says(said);
        assert_eq!(run.stdout, "", "{words:?}");
    }
    assert_eq!(server.seen().heads.len(), 0);
    assert!(
        !place.path().join("new").exists(),
        "nothing is written either"
    );
}

#[test]
fn prefixes_and_equals_signs_work_and_the_last_one_counts() {
    let server = Mock::caching(Duration::ZERO);
    let endpoint = format!("--e={}", server.url());
    Place::new()
        .run(&[
            &endpoint, "--req", "9", "--con=1", "--m", "1_0", "--w", "1", "--rep", "0", "--req=3",
        ])
        .exits(0)
        .shows("Total Requests:", "3")
        .shows("Max Tokens:", "10");
    assert_eq!(server.seen().bodies.len(), 4);
}

#[test]
fn every_unambiguous_prefix_of_the_originals_options_keeps_its_meaning() {
    let command = prepare(Args::command(), OPTION_GENERATIONS);
    assert_eq!(assert_kept(&command, OPTION_GENERATIONS, &[]), 61);
}

#[test]
fn help_and_version_go_to_stdout() {
    let place = Place::new();
    let help = place.run(&["--help"]).exits(0);
    assert!(
        help.stdout
            .starts_with("Benchmark LLM inference API with batching and caching\n")
    );
    for option in ORIGINAL_OPTIONS {
        assert!(help.stdout.contains(&format!("--{option}")), "{option}");
    }
    assert_eq!(help.stdout.matches("    llm_benchmark").count(), 4);
    assert!(place.run(&["-h"]).exits(0).stdout == help.stdout);
    let version = place.run(&["--version"]).exits(0);
    assert!(version.stdout.starts_with("llm_benchmark "));
}

#[test]
fn help_on_100_columns() {
    let text = testkit::help::at_width(prepare(Args::command(), OPTION_GENERATIONS), 100);
    insta::assert_snapshot!(text);
}

#[test]
fn every_option_has_a_help_sentence_and_a_heading() {
    testkit::help::assert_documented(&prepare(Args::command(), OPTION_GENERATIONS));
}

#[test]
fn headers_and_extra_fields_are_sent_and_secrets_not_shown() {
    let server = Mock::start(|_, _| {
        vec![crate::mock::answer(
            "401 Unauthorized",
            "text/plain",
            "bad key sk-secret-1",
        )]
    });
    let url = server.url();
    let place = Place::new();
    let run = place
        .run(&[
            "--endpoint",
            &url,
            "--requests",
            "2",
            "--header",
            "X-Api-Key: sk-secret-1",
            "--extra-body",
            r#"{"top_k": 3}"#,
            "--output",
            "r.json",
            "--details",
        ])
        .exits(1);
    let seen = server.seen();
    assert!(seen.heads[0].contains("x-api-key: sk-secret-1"));
    assert_eq!(seen.bodies[0]["top_k"], 3);
    for text in [&run.stdout, &run.stderr, &place.read("r.json")] {
        assert!(!text.contains("sk-secret"), "{text}");
    }
}

#[test]
fn details_come_behind_the_eleven_keys() {
    let server = Mock::caching(Duration::ZERO);
    let url = server.url();
    let place = Place::new();
    place
        .run(&[
            "--endpoint",
            &url,
            "--output",
            "r.json",
            "--details",
            "--shuffle",
            "--seed",
            "-7",
        ])
        .exits(0);
    let results = place.json("r.json");
    let keys: Vec<&String> = results.as_object().unwrap().keys().collect();
    assert_eq!(keys[..2], ["total_requests", "successful_requests"]);
    assert_eq!(
        keys[10..],
        [
            "total_time_sec",
            "interrupted",
            "errors",
            "token_counts",
            "config",
            "from_intended",
            "client"
        ]
    );
    assert_eq!(results["token_counts"]["estimated"], 50);
    assert_eq!(results["config"]["shuffle_seed"], -7);
    assert_eq!(results["interrupted"], false);
}

#[test]
fn a_place_that_cannot_be_written_ends_the_run_before_the_first_request() {
    let server = Mock::caching(Duration::ZERO);
    let url = server.url();
    let place = Place::new();
    std::fs::write(place.path().join("file"), "x").unwrap();
    for (path, said) in [
        ("file/r.json", "cannot make the folder"),
        (".", "cannot write"),
    ] {
        place
            .run(&["--endpoint", &url, "--output", path])
            .exits(1)
            .says(said);
    }
    assert_eq!(server.seen().heads.len(), 0);
}

#[test]
fn a_disk_that_fills_up_loses_no_result() {
    let server = Mock::caching(Duration::ZERO);
    let url = server.url();
    let run = Place::new()
        .run(&["--endpoint", &url, "--output", "/dev/full"])
        .exits(1)
        .shows("Successful:", "50")
        .says("cannot write /dev/full");
    assert!(!run.stdout.contains("saved"));
}

#[test]
fn a_shuffle_mixes_the_repeats_and_its_seed_repeats_it() {
    let prompts = |args: &[&str]| {
        let server = Mock::caching(Duration::ZERO);
        let url = server.url();
        let args = [args, &["--endpoint", &url, "--concurrency", "1"]].concat();
        Place::new().run(&args).exits(0);
        let seen = server.seen();
        seen.prompts()
            .iter()
            .map(|p| (*p).to_owned())
            .collect::<Vec<_>>()
    };
    let plain = prompts(&[]);
    let mixed = prompts(&["--shuffle"]);
    assert_eq!(mixed, prompts(&["--shuffle", "--seed", "0"]));
    assert_ne!(mixed, prompts(&["--shuffle", "--seed", "1"]));
    assert_ne!(mixed, plain);
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    assert_eq!(sorted(mixed), sorted(plain));
}

//! Arguments: what is refused, in which words, before anything is sent or written; help; prefixes that scripts use.

use clap::CommandFactory;
use cli::argparse::prepare;
use single_prompt_tester::args::{
    Args, FIRST_OPTIONS, LATEST_OPTIONS, OPTION_GENERATIONS, SEED_OPTIONS,
};
use testkit::prefix::{assert_exist, assert_kept, sets};

use crate::mock::Mock;
use crate::tool::Place;

#[test]
fn wrong_arguments_end_with_2_and_leave_no_trace() {
    let server = Mock::caching();
    let place = Place::new();
    for (words, said) in [
        (
            "--num-iterations two",
            "single_prompt_tester: error: argument --num-iterations: invalid int value: 'two'",
        ),
        (
            "--context-sizes",
            "argument --context-sizes: expected at least one argument",
        ),
        (
            "--context-sizes 100 x",
            "argument --context-sizes: invalid int value: 'x'",
        ),
        ("extra", "unrecognized arguments: extra"),
        ("--con 5", "'--con' is ambiguous"),
        ("--num-iteratons 5", "did you mean '--num-iterations'"),
        ("-n 0", "--concurrent-prompts 0 is out of range: give 1 to "),
        ("-r 0", "--cached-repeats 0 is out of range: give 1 to "),
        (
            "--num-iterations 0",
            "--num-iterations 0 is out of range: give 1 to ",
        ),
        (
            "--output-tokens 0",
            "--output-tokens 0 is out of range: give 1 to ",
        ),
        (
            "--context-sizes 0",
            "--context-sizes 0 is out of range: give 1 to ",
        ),
        (
            "--min-tokens 0",
            "--min-tokens 0 is out of range: give 1 to ",
        ),
        (
            "--min-tokens 500 --max-tokens 100",
            "Invalid parameter range: min-tokens (500) must be <= max-tokens (100)",
        ),
        ("--request-timeout 0", "--request-timeout 0 is out of range"),
        ("--extra-body []", "--extra-body '[]' is not a JSON object"),
    ] {
        let run = place
            .run(&format!("--api-endpoint {} {words}", server.url()))
            .exits(2)
            .says(said);
        assert_eq!(run.stdout, "", "{words}");
        assert!(place.names(".").is_empty(), "{words} left something behind");
    }
    assert_eq!(server.seen().n_connections, 0);
}

#[test]
fn help_and_version_go_to_stdout_and_leave_no_log() {
    let place = Place::new();
    for flag in ["--help", "-h", "--he"] {
        let run = place.run(flag).exits(0);
        assert!(
            run.stdout
                .contains("Single Prompt Performance Tester - Cold Start vs Cached"),
            "{}",
            run.stdout
        );
        assert_eq!(run.stderr, "");
    }
    let run = place.run("--version").exits(0);
    assert_eq!(
        run.stdout,
        concat!("single_prompt_tester ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert!(place.names(".").is_empty());
}

fn help(columns: usize) -> String {
    testkit::help::at_width(prepare(Args::command(), OPTION_GENERATIONS), columns)
}

#[test]
fn help_on_80_columns() {
    insta::assert_snapshot!(help(80));
}

#[test]
fn every_option_has_a_help_sentence_and_a_heading() {
    testkit::help::assert_documented(&prepare(Args::command(), OPTION_GENERATIONS));
}

/// Where two originals differ, the one that the user's page describes decides.
#[test]
fn every_unambiguous_prefix_of_every_original_keeps_its_meaning() {
    let command = prepare(Args::command(), OPTION_GENERATIONS);
    let n_prefixes = assert_kept(&command, OPTION_GENERATIONS, &[]);
    // So many there are; a walk that finds none must not pass.
    assert!(n_prefixes > 250, "{n_prefixes}");
}

#[test]
fn prefixes_that_new_options_could_have_taken_are_still_the_old_ones() {
    let command = prepare(Args::command(), OPTION_GENERATIONS);
    for (word, long) in [
        ("a", "api-endpoint"),
        ("api", "api-endpoint"),
        ("ver", "verbose"),
        ("h", "help"),
        ("t", "tokenizer"),
        ("num", "num-iterations"),
        ("b", "brief"),
        ("cach", "cached-repeats"),
        ("context", "context-sizes"),
    ] {
        assert!(sets(&command, word, long), "--{word}");
    }
}

#[test]
fn the_option_sets_are_those_of_the_pages_and_grow() {
    assert_exist(
        &prepare(Args::command(), OPTION_GENERATIONS),
        OPTION_GENERATIONS,
    );
    assert!(FIRST_OPTIONS.iter().all(|name| SEED_OPTIONS.contains(name)));
    assert!(
        SEED_OPTIONS
            .iter()
            .all(|name| LATEST_OPTIONS.contains(name))
    );
}

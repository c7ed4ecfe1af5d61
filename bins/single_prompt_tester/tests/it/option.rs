//! Arguments: what is refused, in which words, before anything is sent or written; help; prefixes that scripts use.

use std::ffi::OsString;

use clap::{Arg, Command, CommandFactory};
use cli::argparse::prepare;
use single_prompt_tester::args::{
    Args, FIRST_OPTIONS, LATEST_OPTIONS, OPTION_GENERATIONS, SEED_OPTIONS,
};

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
    // The environment of whoever runs the tests must not show.
    let text = prepare(Args::command(), OPTION_GENERATIONS)
        .term_width(columns)
        .render_help()
        .to_string();
    assert!(
        text.lines().all(|line| line.chars().count() <= columns),
        "a line is wider than {columns}"
    );
    text
}

#[test]
fn help_on_80_columns() {
    insta::assert_snapshot!(help(80));
}

#[test]
fn every_option_has_a_help_sentence_and_a_heading() {
    for arg in prepare(Args::command(), OPTION_GENERATIONS).get_arguments() {
        let name = arg.get_id();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        assert!(
            help.starts_with(char::is_uppercase) && !help.ends_with('.'),
            "{name}: {help}"
        );
        assert!(arg.get_help_heading().is_some(), "{name}");
    }
}

/// argparse's rule: an exact name, or the only name that begins with the word.
fn meant<'a>(word: &str, options: &[&'a str]) -> Option<&'a str> {
    if let Some(exact) = options.iter().find(|name| **name == word) {
        return Some(exact);
    }
    let mut begun = options.iter().filter(|name| name.starts_with(word));
    begun.next().filter(|_| begun.next().is_none()).copied()
}

fn option<'a>(command: &'a Command, long: &str) -> &'a Arg {
    let mut all = command.get_arguments();
    all.find(|arg| arg.get_long() == Some(long))
        .unwrap_or_else(|| panic!("no --{long}"))
}

/// The option that was set by `--word`.
fn read_as(command: &Command, word: &str, long: &str) -> Option<String> {
    let arg = option(command, long);
    let mut argv: Vec<OsString> = vec!["single_prompt_tester".into(), format!("--{word}").into()];
    if arg.get_action().takes_values() {
        argv.push(if long == "api-endpoint" {
            "http://x".into()
        } else {
            "7".into()
        });
    }
    let lenient = command.clone().mut_args(|arg| arg.required(false));
    match lenient.try_get_matches_from(argv) {
        Ok(matches) => {
            let given = matches.value_source(arg.get_id().as_str())
                == Some(clap::parser::ValueSource::CommandLine);
            given.then(|| long.to_owned())
        }
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => {
            Some("help".to_owned())
        }
        Err(error) => panic!("--{word}: {error}"),
    }
}

/// Where two originals differ, the one that the user's page describes decides.
#[test]
fn every_unambiguous_prefix_of_every_original_keeps_its_meaning() {
    let command = prepare(Args::command(), OPTION_GENERATIONS);
    let mut n_prefixes = 0;
    for (i, options) in OPTION_GENERATIONS.iter().enumerate() {
        for long in *options {
            for end in 1..=long.len() {
                let word = &long[..end];
                let Some(name) = meant(word, options) else {
                    continue;
                };
                let earlier = OPTION_GENERATIONS[..i]
                    .iter()
                    .find_map(|options| meant(word, options));
                let name = earlier.unwrap_or(name);
                assert_eq!(
                    read_as(&command, word, name).as_deref(),
                    Some(name),
                    "--{word}"
                );
                n_prefixes += 1;
            }
        }
    }
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
        assert_eq!(
            read_as(&command, word, long).as_deref(),
            Some(long),
            "--{word}"
        );
    }
}

#[test]
fn the_option_sets_are_those_of_the_pages_and_grow() {
    let command = prepare(Args::command(), OPTION_GENERATIONS);
    for options in OPTION_GENERATIONS {
        for long in *options {
            option(&command, long);
        }
    }
    assert!(FIRST_OPTIONS.iter().all(|name| SEED_OPTIONS.contains(name)));
    assert!(
        SEED_OPTIONS
            .iter()
            .all(|name| LATEST_OPTIONS.contains(name))
    );
}

//! Every prefix that was unambiguous among an original's options still names the same option.

use std::ffi::OsString;

use clap::{Arg, Command, CommandFactory};
use cli::argparse::prepare;
use working_set_tester::args::{Args, OPTION_GENERATIONS};

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
        .expect("the option sets are checked to exist below")
}

/// A value that the option takes, or none for a switch.
fn sample(command: &Command, long: &str) -> Option<String> {
    let arg = option(command, long);
    if !arg.get_action().takes_values() {
        return None;
    }
    let words = arg.get_possible_values();
    Some(match long {
        "api-endpoint" => "http://x".to_owned(),
        "output-dir" | "tokenizer" => "x".to_owned(),
        _ => words
            .first()
            .map_or_else(|| "7".to_owned(), |word| word.get_name().to_owned()),
    })
}

/// The option that was set by `--word`.
fn reads(command: &Command, word: &str, long: &str) -> Option<String> {
    let mut argv: Vec<OsString> = vec!["working_set_tester".into(), format!("--{word}").into()];
    argv.extend(sample(command, long).map(OsString::from));
    // Only this option: what is required elsewhere does not matter here.
    let lenient = command
        .clone()
        .mut_args(|arg| arg.required(false).exclusive(false));
    match lenient.try_get_matches_from(argv) {
        Ok(matches) => {
            let id = option(command, long).get_id().as_str();
            let given = matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine);
            given.then(|| long.to_owned())
        }
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => {
            Some("help".to_owned())
        }
        Err(error) => panic!("--{word}: {error}"),
    }
}

#[test]
fn every_unambiguous_prefix_of_every_original_keeps_its_meaning() {
    let command = prepare(Args::command(), OPTION_GENERATIONS);
    let mut n_prefixes = 0;
    for (i, options) in OPTION_GENERATIONS.iter().enumerate() {
        for long in *options {
            for end in 1..=long.len() {
                let word = &long[..end];
                let Some(option) = meant(word, options) else {
                    continue;
                };
                // Where generations disagree, the user's own page counts.
                let earlier = OPTION_GENERATIONS[..i].iter();
                let first = earlier.filter_map(|options| meant(word, options)).next();
                let option = first.unwrap_or(option);
                let same: &[&str] = match option {
                    // A name of its own now, which takes the same values and means the same.
                    "fixed-concurrency-levels" if word == "fixed-concurrency" => {
                        &["fixed-concurrency"]
                    }
                    _ => &[option],
                };
                let read = same.iter().find_map(|long| reads(&command, word, long));
                assert_eq!(read.as_deref(), Some(same[0]), "--{word}");
                n_prefixes += 1;
            }
        }
    }
    // So many there are; a walk that finds none must not pass.
    assert!(n_prefixes > 500, "{n_prefixes}");
}

#[test]
fn the_prefixes_that_new_options_could_have_taken_are_still_the_old_ones() {
    let command = prepare(Args::command(), OPTION_GENERATIONS);
    for (word, long) in [
        ("api", "api-endpoint"),
        ("ver", "verbose"),
        ("h", "help"),
        ("mo", "mode"),
        ("re", "reinit-strategy"),
        ("init-c", "init-concurrency"),
        ("context", "context-sizes"),
        ("fixed", "fixed-concurrency-levels"),
        ("fixed-concurrency-l", "fixed-concurrency-levels"),
        ("w", "working-set-increments"),
        ("min-w", "min-working-set-size"),
        ("no", "no-color"),
    ] {
        assert_eq!(
            reads(&command, word, long).as_deref(),
            Some(long),
            "--{word}"
        );
    }
}

#[test]
fn the_option_sets_name_only_options_that_exist() {
    let command = prepare(Args::command(), OPTION_GENERATIONS);
    for options in OPTION_GENERATIONS {
        for long in *options {
            assert!(
                command
                    .get_arguments()
                    .any(|arg| arg.get_long() == Some(long)),
                "--{long}"
            );
        }
    }
}

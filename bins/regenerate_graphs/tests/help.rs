//! The help text, as it stands on a terminal of two widths, and the prefixes of the original's options.

use clap::CommandFactory;
use cli::argparse::{prepare, unambiguous_prefixes};
use regenerate_graphs::args::{Args, OPTION_GENERATIONS, ORIGINAL_OPTIONS};

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
fn help_on_100_columns() {
    insta::assert_snapshot!(help(100));
}

#[test]
fn every_argument_has_a_help_sentence_and_a_heading() {
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

#[test]
fn every_prefix_of_the_originals_options_keeps_its_meaning() {
    let command = prepare(Args::command(), OPTION_GENERATIONS).mut_args(|arg| arg.required(false));
    let prefixes = unambiguous_prefixes(ORIGINAL_OPTIONS);
    assert!(prefixes.len() > 5, "{}", prefixes.len());
    for (prefix, option) in prefixes {
        let arg = command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(option))
            .expect("the original's options exist");
        let mut argv = vec!["regenerate_graphs".to_owned(), format!("--{prefix}")];
        if arg.get_action().takes_values() {
            let word = arg
                .get_possible_values()
                .first()
                .map(|word| word.get_name().to_owned());
            argv.push(word.unwrap_or_else(|| "x".to_owned()));
        }
        match command.clone().try_get_matches_from(argv) {
            Ok(matches) => {
                let source = matches.value_source(arg.get_id().as_str());
                assert_eq!(
                    source,
                    Some(clap::parser::ValueSource::CommandLine),
                    "--{prefix}"
                );
            }
            Err(error) => {
                assert_eq!(
                    error.kind(),
                    clap::error::ErrorKind::DisplayHelp,
                    "--{prefix}"
                );
                assert_eq!(option, "help");
            }
        }
    }
}

//! The help text, as it stands on a terminal of two widths.

use clap::CommandFactory;
use cli::argparse::prepare;
use working_set_tester::args::{Args, OPTION_GENERATIONS};

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

//! The help text, as it stands on a terminal of two widths, and the prefixes of the original's options.

use clap::CommandFactory;
use cli::argparse::prepare;
use regenerate_graphs::args::{Args, OPTION_GENERATIONS};
use testkit::prefix::assert_kept;

fn help(columns: usize) -> String {
    testkit::help::at_width(prepare(Args::command(), OPTION_GENERATIONS), columns)
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
    testkit::help::assert_documented(&prepare(Args::command(), OPTION_GENERATIONS));
}

#[test]
fn every_prefix_of_the_originals_options_keeps_its_meaning() {
    let command = prepare(Args::command(), OPTION_GENERATIONS);
    let n_prefixes = assert_kept(&command, OPTION_GENERATIONS, &[]);
    // So many there are; a walk that finds none must not pass.
    assert_eq!(n_prefixes, 8);
}

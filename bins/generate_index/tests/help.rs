//! The help text, as it stands on a terminal of two widths.

use clap::CommandFactory;
use cli::argparse::prepare;
use generate_index::args::{Args, OPTION_GENERATIONS};

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

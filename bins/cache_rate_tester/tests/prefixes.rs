//! Every prefix that was unambiguous among an original's options still names the same option.

use cache_rate_tester::args::{Args, OPTION_GENERATIONS};
use clap::CommandFactory;
use cli::argparse::prepare;
use testkit::prefix::{assert_exist, assert_kept, sets};

#[test]
fn every_unambiguous_prefix_of_every_original_keeps_its_meaning() {
    let command = prepare(Args::command(), OPTION_GENERATIONS);
    let n_prefixes = assert_kept(&command, OPTION_GENERATIONS, &[]);
    // So many there are; a walk that finds none must not pass.
    assert!(n_prefixes > 500, "{n_prefixes}");
}

#[test]
fn the_prefixes_that_new_options_could_have_taken_are_still_the_old_ones() {
    let command = prepare(Args::command(), OPTION_GENERATIONS);
    for (word, long) in [
        ("api", "api-endpoint"),
        ("endpoint", "endpoint-selection"),
        ("e", "endpoint-selection"),
        ("ver", "verbose"),
        ("h", "help"),
        ("mo", "mode"),
        ("re", "reinit-strategy"),
        ("in", "init-concurrency"),
        ("context", "context-sizes"),
    ] {
        assert!(sets(&command, word, long), "--{word}");
    }
}

#[test]
fn the_option_sets_name_only_options_that_exist() {
    assert_exist(
        &prepare(Args::command(), OPTION_GENERATIONS),
        OPTION_GENERATIONS,
    );
}

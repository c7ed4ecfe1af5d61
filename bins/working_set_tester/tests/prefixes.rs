//! Every prefix that was unambiguous among an original's options still names the same option.

use clap::CommandFactory;
use cli::argparse::prepare;
use testkit::prefix::{Renamed, assert_exist, assert_kept, sets};
use working_set_tester::args::{Args, OPTION_GENERATIONS};

#[test]
fn every_unambiguous_prefix_of_every_original_keeps_its_meaning() {
    let command = prepare(Args::command(), OPTION_GENERATIONS);
    // A name of its own now, which takes the same values and means the same.
    let renamed = [Renamed {
        word: "fixed-concurrency",
        meant: "fixed-concurrency-levels",
    }];
    let n_prefixes = assert_kept(&command, OPTION_GENERATIONS, &renamed);
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

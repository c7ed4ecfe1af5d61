//! The habits, on a small tool of the test's own.

use clap::{Parser, ValueEnum};
use proptest::prelude::*;

use super::*;

#[derive(Debug, Parser, PartialEq)]
#[command(name = "tool", version = "1.2.3")]
struct Args {
    /// Sizes.
    #[arg(long, required = true, num_args = 1.., action = ArgAction::Set, value_name = "N",
          value_parser = parse_int, allow_negative_numbers = true)]
    sizes: Vec<i128>,
    /// Seed.
    #[arg(long, value_parser = parse_int, allow_negative_numbers = true)]
    seed: Option<i128>,
    /// Endpoint.
    #[arg(long)]
    api_endpoint: Option<String>,
    /// New option whose name begins like an old one.
    #[arg(long)]
    api_key: Option<String>,
    /// Level.
    #[arg(long, value_enum, default_value_t = Level::Low)]
    level: Level,
    /// Flag.
    #[arg(long)]
    verbose: bool,
    /// Repeatable.
    #[arg(long, action = ArgAction::Append)]
    header: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Level {
    Low,
    High,
}

const ORIGINALS: &[&str] = &["help", "sizes", "seed", "api-endpoint", "level", "verbose"];

fn read(words: &str) -> Result<Args, Stop> {
    try_parse(
        &[ORIGINALS],
        std::iter::once("tool").chain(words.split_whitespace()),
    )
}

fn good(words: &str) -> Args {
    read(words).unwrap_or_else(|stop| panic!("{words}: {stop:?}"))
}

fn bad(words: &str) -> (String, Option<String>) {
    match read(words) {
        Err(Stop::Usage(error)) => (error.message, error.hint),
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn several_values_run_up_to_the_next_option() {
    assert_eq!(
        good("--sizes 1 2 -3 1_000 --seed -5").sizes,
        [1, 2, -3, 1000]
    );
    assert_eq!(good("--sizes 1 2 --seed -5").seed, Some(-5));
    assert_eq!(good("--sizes=7 --seed=-5").seed, Some(-5));
}

#[test]
fn the_last_occurrence_replaces_the_earlier_ones() {
    let args = good(
        "--sizes 1 2 3 --seed 1 --verbose --level low --sizes 4 --seed 2 --verbose --level high",
    );
    assert_eq!(
        (args.sizes, args.seed, args.verbose, args.level),
        (vec![4], Some(2), true, Level::High)
    );
    assert_eq!(
        good("--sizes 1 --header a --header b").header,
        ["a", "b"],
        "a repeatable option still appends"
    );
}

#[test]
fn prefixes_work_and_the_originals_keep_theirs() {
    assert_eq!(good("--siz 1").sizes, [1]);
    assert_eq!(
        good("--sizes 1 --api URL").api_endpoint.as_deref(),
        Some("URL")
    );
    assert_eq!(
        good("--sizes 1 --a=URL").api_endpoint.as_deref(),
        Some("URL")
    );
    assert_eq!(good("--sizes 1 --api-k K").api_key.as_deref(), Some("K"));
    assert!(good("--sizes 1 --ver").verbose, "--version came later");
    assert!(matches!(read("--vers"), Err(Stop::Text { plain, .. }) if plain == "tool 1.2.3\n"));
    assert!(
        matches!(read("--h"), Err(Stop::Text { .. })),
        "--header came later"
    );
    assert_eq!(good("--sizes 1 --hea x").header, ["x"]);
}

#[test]
fn each_mistake_has_its_own_line() {
    let cases = [
        ("", "the following arguments are required: --sizes", None),
        (
            "--sizes",
            "argument --sizes: expected at least one argument",
            None,
        ),
        (
            "--sizes x",
            "argument --sizes: invalid int value: 'x'",
            None,
        ),
        (
            "--sizes 1.5",
            "argument --sizes: invalid int value: '1.5'",
            None,
        ),
        (
            "--sizes 1 --level medium",
            "argument --level: invalid choice: 'medium' (choose from 'low', 'high')",
            None,
        ),
        (
            "--sizes 1 --level hihg",
            "argument --level: invalid choice: 'hihg' (choose from 'low', 'high')",
            Some("did you mean 'high'"),
        ),
        (
            "--sizes 1 --api-edpoint x",
            "unrecognized arguments: --api-edpoint",
            Some("did you mean '--api-endpoint'"),
        ),
        (
            "--sizes 1 --api-edpoint=x",
            "unrecognized arguments: --api-edpoint",
            Some("did you mean '--api-endpoint'"),
        ),
        (
            "--sizes 1 --frobnicate",
            "unrecognized arguments: --frobnicate",
            None,
        ),
        (
            "--s 1",
            "'--s' is ambiguous: it could mean --sizes, --seed",
            None,
        ),
        (
            "--sizes 1 --verbose=yes",
            "--verbose takes no value, but 'yes' was given",
            None,
        ),
        ("word --sizes 1", "unrecognized arguments: word", None),
        ("--sizes 1 -V", "unrecognized arguments: -V", None),
        (
            "--sizes 1 --seed --verbose",
            "argument --seed: expected one argument",
            None,
        ),
    ];
    for (words, message, hint) in cases {
        assert_eq!(
            bad(words),
            (message.to_owned(), hint.map(str::to_owned)),
            "{words}"
        );
    }
}

#[test]
fn an_error_is_printed_with_usage_line_and_hint() {
    let Err(Stop::Usage(error)) = read("--api-edpoint x --sizes 1") else {
        panic!("accepted")
    };
    assert_eq!(
        error.lines(),
        [
            "usage: tool [OPTIONS] --sizes <N>...",
            "tool: error: unrecognized arguments: --api-edpoint",
            "hint: did you mean '--api-endpoint'; try 'tool --help' for all options",
        ]
    );
}

#[test]
fn help_shows_no_hidden_alias() {
    let Err(Stop::Text { plain, coloured }) = read("--help") else {
        panic!("no help")
    };
    assert!(plain.contains("--api-endpoint"), "{plain}");
    assert!(
        !plain.contains("aliases") && !plain.contains('\u{1b}'),
        "{plain}"
    );
    assert!(coloured.contains('\u{1b}'));
}

/// argparse's own rule, written again from its documentation: an exact name wins, else all names that
/// begin with the word.
fn argparse_reads<'a>(word: &str, options: &[&'a str]) -> Option<&'a str> {
    if let Some(exact) = options.iter().find(|name| **name == word) {
        return Some(exact);
    }
    let mut begun = options.iter().filter(|name| name.starts_with(word));
    begun.next().filter(|_| begun.next().is_none()).copied()
}

proptest! {
    /// Whatever options are added to a set, each word that named one of the old options still names it,
    /// unless a new option has exactly that name.
    #[test]
    fn added_options_never_take_a_prefix_away(
        old in prop::collection::btree_set("[a-c]{1,3}(-[a-c]{1,2})?", 1..8),
        new in prop::collection::btree_set("[a-c]{1,3}(-[a-c]{1,2})?", 0..8),
    ) {
        let old: Vec<&str> = old.iter().map(String::as_str).collect();
        let all: Vec<&str> = old.iter().copied().chain(new.iter().map(String::as_str).filter(|n| !old.contains(n))).collect();
        let command = all.iter().fold(Command::new("tool").infer_long_args(true), |command, name| {
            command.arg(Arg::new((*name).to_owned()).long((*name).to_owned()).action(ArgAction::SetTrue))
        });
        let command = add_prefix_aliases(command, &old);
        for name in &old {
            for end in 1..=name.len() {
                let word = &name[..end];
                let Some(meant) = argparse_reads(word, &old) else { continue };
                if all.contains(&word) && word != meant {
                    continue;
                }
                let matches = command.clone().try_get_matches_from(["tool", &format!("--{word}")]).unwrap();
                prop_assert!(matches.get_flag(meant), "--{} should mean --{}", word, meant);
            }
        }
    }
}

/// clap's own way to write them, `<OUTPUT_DIR>` and `[VERSION]`, stood in the sentences, or nothing at all.
#[test]
fn positional_arguments_are_called_as_argparse_calls_them() {
    #[derive(Debug, Parser)]
    #[command(name = "tool", version = "1.2.3")]
    struct Places {
        #[arg(value_name = "OUTPUT_DIR")]
        output_dir: std::path::PathBuf,
        #[arg(value_name = "OTHER", default_value = "1.0")]
        other: std::path::PathBuf,
    }
    let message = |words: &[&str]| match try_parse::<Places>(&[], words.iter().copied()) {
        Err(Stop::Usage(error)) => error.message,
        other => panic!("{words:?}: {other:?}"),
    };
    assert_eq!(
        message(&["tool"]),
        "the following arguments are required: output_dir"
    );
    assert_eq!(
        message(&["tool", ""]),
        "argument output_dir: must not be empty"
    );
    assert_eq!(
        message(&["tool", "dir", ""]),
        "argument other: must not be empty"
    );
}

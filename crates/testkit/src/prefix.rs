//! Shortened options: a script that wrote `--context` for `--context-sizes` must still be understood.
//!
//! An option set is the long options of one version of a program, without dashes. Sets come in the order in which they
//! count: where two disagree on a prefix, the earlier one is right.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, Command};

/// A prefix that a set gives to one option, and that is the full name of another one now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renamed<'a> {
    /// What was written, and is a name of its own now.
    pub word: &'a str,
    /// The option that it meant.
    pub meant: &'a str,
}

/// argparse's rule: an exact name, or the only name that begins with the word.
#[must_use]
pub fn meant<'a>(word: &str, options: &[&'a str]) -> Option<&'a str> {
    if let Some(exact) = options.iter().find(|name| **name == word) {
        return Some(exact);
    }
    let mut begun = options.iter().filter(|name| name.starts_with(word));
    begun.next().filter(|_| begun.next().is_none()).copied()
}

/// Whether `--word` sets the option `long`.
///
/// # Panics
/// When there is no such option, or the word is not understood at all.
#[must_use]
#[track_caller]
pub fn sets(command: &Command, word: &str, long: &str) -> bool {
    let arg = option(command, long);
    let mut argv: Vec<OsString> = vec![command.get_name().into(), format!("--{word}").into()];
    if arg.get_action().takes_values() {
        // A number is a text as well; only a choice needs one of its words.
        let words = arg.get_possible_values();
        let first = words.first().map(|word| word.get_name().to_owned());
        argv.push(first.unwrap_or_else(|| "7".to_owned()).into());
    }
    // This option alone: what is required elsewhere does not matter here.
    let lenient = command
        .clone()
        .mut_args(|arg| arg.required(false).exclusive(false));
    match lenient.try_get_matches_from(argv) {
        Ok(matches) => {
            matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelp => long == "help",
        Err(error) => panic!("--{word}: {error}"),
    }
}

#[track_caller]
fn option<'a>(command: &'a Command, long: &str) -> &'a Arg {
    let mut all = command.get_arguments();
    all.find(|arg| arg.get_long() == Some(long))
        .unwrap_or_else(|| panic!("no --{long}"))
}

/// Requires that every prefix that was unambiguous within a set still names its option, full names included; those in
/// `renamed` name themselves. The answer is how many prefixes there were.
///
/// # Panics
/// When one does not.
#[must_use]
#[track_caller]
pub fn assert_kept(command: &Command, generations: &[&[&str]], renamed: &[Renamed<'_>]) -> usize {
    let mut n_prefixes = 0;
    for options in generations {
        for long in *options {
            for end in 1..=long.len() {
                let word = &long[..end];
                if meant(word, options).is_none() {
                    continue;
                }
                let first = generations.iter().find_map(|options| meant(word, options));
                let first = first.expect("the set at hand gives it a meaning");
                let is_renamed = renamed.iter().any(|r| r.word == word && r.meant == first);
                let right = if is_renamed { word } else { first };
                assert!(
                    sets(command, word, right),
                    "--{word} does not set --{right}"
                );
                n_prefixes += 1;
            }
        }
    }
    n_prefixes
}

/// Requires that the sets name only options that the command has.
///
/// # Panics
/// When one is missing, or there is no set.
#[track_caller]
pub fn assert_exist(command: &Command, generations: &[&[&str]]) {
    assert!(!generations.is_empty(), "no set of options");
    for long in generations.iter().flat_map(|options| options.iter()) {
        let _ = option(command, long);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ArgAction;

    /// A version with `--concurrency` and `--context-sizes`, as clap reads it with a new option beside them.
    const OLD: &[&str] = &["concurrency", "context-sizes"];

    fn command(longs: &[&'static str], aliases: &[(&'static str, &'static str)]) -> Command {
        longs
            .iter()
            .fold(Command::new("tool"), |command, long| {
                let arg = Arg::new(*long).long(*long).action(ArgAction::Set);
                let own = aliases.iter().filter(|(_, meant)| meant == long);
                command.arg(own.fold(arg, |arg, (alias, _)| arg.alias(*alias)))
            })
            .infer_long_args(true)
    }

    #[test]
    fn a_word_means_its_exact_name_or_the_only_one_that_begins_with_it() {
        let set = ["mode", "model", "seed"];
        assert_eq!(meant("mode", &set), Some("mode"));
        assert_eq!(meant("mod", &set), None);
        assert_eq!(meant("s", &set), Some("seed"));
        assert_eq!(meant("x", &set), None);
    }

    #[test]
    fn the_same_options_keep_their_prefixes() {
        // con… is ambiguous up to "con": conc to concurrency are 8, cont to context-sizes 10.
        assert_eq!(assert_kept(&command(OLD, &[]), &[OLD], &[]), 18);
    }

    #[test]
    #[should_panic(expected = "--cont")]
    fn a_prefix_that_a_new_option_made_ambiguous_is_found() {
        let new = command(&["concurrency", "context-sizes", "continue"], &[]);
        let _ = assert_kept(&new, &[OLD], &[]);
    }

    #[test]
    #[should_panic(expected = "--cont does not set --context-sizes")]
    fn a_prefix_that_was_given_to_another_option_is_found() {
        let new = command(
            &["concurrency", "context-sizes", "other"],
            &[("cont", "other")],
        );
        let _ = assert_kept(&new, &[OLD], &[]);
    }

    #[test]
    fn a_renamed_prefix_names_itself() {
        let renamed = Renamed {
            word: "context",
            meant: "context-sizes",
        };
        let aliases = ["cont", "conte", "contex"].map(|word| (word, "context-sizes"));
        let new = command(&["concurrency", "context-sizes", "context"], &aliases);
        assert_eq!(assert_kept(&new, &[OLD], &[renamed]), 18);
    }

    #[test]
    fn where_generations_disagree_the_earlier_one_is_right() {
        let (first, second): (&[&str], &[&str]) = (&["mode"], &["model"]);
        // Four of the first; of the second's five all but `model` mean what the first says.
        let new = command(
            &["model", "mode"],
            &["m", "mo", "mod"].map(|word| (word, "mode")),
        );
        assert_eq!(assert_kept(&new, &[first, second], &[]), 9);
    }

    #[test]
    #[should_panic(expected = "no --seed")]
    fn an_option_that_is_missing_is_found() {
        assert_exist(&command(OLD, &[]), &[&["seed"]]);
    }
}

//! clap, made to read command lines as Python's argparse did, because existing scripts rely on it.
//!
//! Promises:
//! * `--opt value`, `--opt=value` and unambiguous prefixes of long options;
//! * an option of several values takes all words up to the next option, negative numbers included;
//! * the last occurrence of an option replaces the earlier ones;
//! * a prefix that was unambiguous among the *original's* options keeps its meaning whatever options
//!   were added since ([`add_prefix_aliases`]);
//! * anything wrong is exit code 2, a usage line and one `<tool>: error: …` line on stderr.
//!
//! Refuses: abbreviations of values, `@file` arguments, and colours anywhere but on a terminal.

mod message;
mod value;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};

use clap::builder::Styles;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};

pub use value::{FloatError, IntError, parse_float, parse_int};

use crate::exit::{AppExit, write_stdout};

/// What a command line asked for.
#[derive(Debug)]
pub enum Parsed<T> {
    /// Run with these arguments.
    Run(T),
    /// Nothing left to do: help was printed, or an error.
    Exit(AppExit),
}

/// Why there are no arguments to run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// `--help` or `--version`: this text belongs on stdout.
    Text {
        /// Without colours.
        plain: String,
        /// With colours, for a terminal.
        coloured: String,
    },
    /// The arguments are wrong: these lines belong on stderr.
    Usage(UsageError),
}

/// A command line that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    /// Name of the tool.
    pub tool: String,
    /// How the tool is called, one line.
    pub usage: String,
    /// What is wrong, one line.
    pub message: String,
    /// What to write instead, where that can be guessed.
    pub hint: Option<String>,
}

impl UsageError {
    /// The lines as they go to stderr.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            self.usage.clone(),
            format!("{}: error: {}", self.tool, self.message),
        ];
        let more = format!("try '{} --help' for all options", self.tool);
        lines.push(match &self.hint {
            Some(hint) => format!("hint: {hint}; {more}"),
            None => format!("hint: {more}"),
        });
        lines
    }
}

/// Turns a derived command into one with argparse's habits.
///
/// `generations` are the option sets of the original programs, without dashes and `help` included, the
/// set that scripts are most likely to use first; each keeps all its unambiguous prefixes.
#[must_use]
pub fn prepare(command: Command, generations: &[&[&str]]) -> Command {
    // clap adds its own help and version flags only while parsing, too late to give them aliases, and
    // with short forms that the originals do not have.
    let help = Arg::new("help")
        .short('h')
        .long("help")
        .help("Show this help and exit")
        .help_heading("Other")
        .action(ArgAction::HelpShort);
    let version = Arg::new("version")
        .long("version")
        .help("Show the version and exit")
        .help_heading("Other")
        .action(ArgAction::Version);
    let command = command
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(help)
        .arg(version)
        .infer_long_args(true)
        .args_override_self(true)
        .max_term_width(100)
        .next_line_help(true)
        .styles(Styles::styled());
    generations.iter().fold(command, |command, originals| {
        add_prefix_aliases(command, originals)
    })
}

/// Adds every prefix that was unambiguous among `originals` as a hidden alias of the option it meant.
///
/// clap resolves an exact match before it infers, so such a prefix can neither change its meaning nor
/// become ambiguous when options are added. Prefixes that are the full name of some option are left to
/// that option; names in `originals` that the command does not have are passed over.
#[must_use]
pub fn add_prefix_aliases(command: Command, originals: &[&str]) -> Command {
    // A few hundred of them at every start: looked up, not searched for.
    let mut taken: HashSet<String> = HashSet::new();
    for arg in command.get_arguments() {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        taken.extend(arg.get_long().into_iter().chain(aliases).map(str::to_owned));
    }
    let mut wanted: HashMap<&str, Vec<&str>> = HashMap::new();
    for (prefix, original) in unambiguous_prefixes(originals) {
        if taken.insert(prefix.to_owned()) {
            wanted.entry(original).or_default().push(prefix);
        }
    }
    // Not `mut_arg`, which moves what it changes to the end of the help.
    command.mut_args(
        |arg| match arg.get_long().and_then(|long| wanted.get(long)) {
            Some(prefixes) => {
                let prefixes: Vec<String> =
                    prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
                arg.aliases(prefixes)
            }
            None => arg,
        },
    )
}

/// Every proper prefix that argparse would have accepted for exactly one of these options, with that
/// option. A full name is never a prefix, also when it begins another name.
#[must_use]
pub fn unambiguous_prefixes<'a>(originals: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let mut sorted = originals.to_vec();
    sorted.sort_unstable();
    let shared = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let mut found = Vec::new();
    for &original in originals {
        // Whoever shares a beginning with it stands beside it, a name that is the beginning of another one included.
        let at = sorted.partition_point(|name| *name < original);
        let before = at.checked_sub(1).and_then(|i| sorted.get(i));
        let ambiguous = before
            .into_iter()
            .chain(sorted.get(at + 1))
            .map(|name| shared(name, original))
            .max();
        let shortest = ambiguous.unwrap_or(0) + 1;
        let ends = shortest..original.len();
        found.extend(ends.filter_map(|end| Some((original.get(..end)?, original))));
    }
    found
}

/// Parses a command line without printing anything.
///
/// # Errors
/// [`Stop::Text`] for `--help` and `--version`, [`Stop::Usage`] for everything that is wrong.
pub fn try_parse<T: CommandFactory + FromArgMatches>(
    generations: &[&[&str]],
    argv: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<T, Stop> {
    let mut command = prepare(T::command(), generations);
    let stop = |error: clap::Error, command: &mut Command| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = error.render();
            Stop::Text {
                plain: text.to_string(),
                coloured: text.ansi().to_string(),
            }
        }
        _ => Stop::Usage(message::explain(&error, command)),
    };
    let matches = command
        .try_get_matches_from_mut(argv)
        .map_err(|error| stop(error, &mut command))?;
    T::from_arg_matches(&matches).map_err(|error| stop(error.format(&mut command), &mut command))
}

/// Parses a command line; prints help to stdout and errors to stderr.
#[must_use]
pub fn parse<T: CommandFactory + FromArgMatches>(
    generations: &[&[&str]],
    argv: impl IntoIterator<Item = OsString>,
) -> Parsed<T> {
    let argv: Vec<OsString> = argv.into_iter().collect();
    // Parsing stops at --help, so whether colours were refused has to be seen in the words themselves.
    let refused =
        argv.iter().any(|word| word == "--no-color") || crate::console::no_color_in_environment();
    match try_parse(generations, argv) {
        Ok(args) => Parsed::Run(args),
        Err(Stop::Text { plain, coloured }) => {
            let text = if refused || !io::stdout().is_terminal() {
                plain
            } else {
                coloured
            };
            Parsed::Exit(if write_stdout(&text).is_ok() {
                AppExit::Done
            } else {
                AppExit::Failed
            })
        }
        Err(Stop::Usage(error)) => {
            let mut stderr = io::stderr().lock();
            for line in error.lines() {
                let _ = writeln!(stderr, "{line}");
            }
            Parsed::Exit(AppExit::Usage)
        }
    }
}

#[cfg(test)]
mod tests;

//! One line for each way in which a command line can be wrong.
//!
//! Promise: the line names the option and the word that is wrong; suggestions name options that the
//! help shows, never the hidden abbreviations. Where argparse has a sentence for it, that sentence is kept: scripts
//! and people's notes know it.

use std::error::Error as _;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::UsageError;
use super::value::{FloatError, IntError};

/// Names less alike than this are no suggestion (Jaro similarity, 0…1).
const LEAST_SIMILARITY: f64 = 0.7;

/// Explains a parse error in the suite's words.
pub(super) fn explain(error: &clap::Error, command: &mut Command) -> UsageError {
    let (message, hint) = wording(error, command);
    let usage = command.render_usage().to_string();
    let usage = usage.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    UsageError {
        tool: command.get_name().to_owned(),
        usage: match usage.strip_prefix("Usage:") {
            Some(rest) => format!("usage:{rest}"),
            None => usage,
        },
        message,
        hint,
    }
}

fn wording(error: &clap::Error, command: &Command) -> (String, Option<String>) {
    let invalid_arg = text(error, ContextKind::InvalidArg);
    let option = invalid_arg
        .as_deref()
        .map_or_else(|| "the option".to_owned(), flag_of);
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(invalid_arg.as_deref().unwrap_or_default(), command),
        ErrorKind::InvalidValue if value.is_empty() && !option.starts_with('-') => {
            (format!("argument {option}: must not be empty"), None)
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            let n = if takes_several(command, &option) {
                "at least one"
            } else {
                "one"
            };
            (format!("argument {option}: expected {n} argument"), None)
        }
        ErrorKind::InvalidValue => {
            let choices = texts(error, ContextKind::ValidValue).join("', '");
            let hint = text(error, ContextKind::SuggestedValue)
                .map(|best| format!("did you mean '{best}'?"));
            (
                format!("argument {option}: invalid choice: '{value}' (choose from '{choices}')"),
                hint.map(|h| h.trim_end_matches('?').to_owned()),
            )
        }
        ErrorKind::ValueValidation => {
            let cause = error.source();
            let is_no_int = cause.and_then(|c| c.downcast_ref()) == Some(&IntError::NotAnInteger);
            let is_no_float = cause.is_some_and(|c| c.is::<FloatError>());
            if is_no_int || is_no_float {
                let kind = if is_no_int { "int" } else { "float" };
                return (
                    format!("argument {option}: invalid {kind} value: '{value}'"),
                    None,
                );
            }
            // A header may hold a key, and stderr may be somebody's CI log.
            let value = if option == "--header" {
                "the value".to_owned()
            } else {
                format!("'{value}'")
            };
            let cause = cause.map_or_else(|| "not a valid value".to_owned(), ToString::to_string);
            (format!("argument {option}: {value} is {cause}"), None)
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = texts(error, ContextKind::InvalidArg);
            let missing = missing
                .iter()
                .map(|arg| flag_of(arg))
                .collect::<Vec<String>>()
                .join(", ");
            (
                format!("the following arguments are required: {missing}"),
                None,
            )
        }
        ErrorKind::TooManyValues => (
            format!("{option} takes no value, but '{value}' was given"),
            None,
        ),
        ErrorKind::InvalidUtf8 => ("an argument is not valid UTF-8".to_owned(), None),
        _ => {
            // Whatever clap may add one day: its own first line, without its own prefix.
            let rendered = error.render().to_string();
            let first = rendered.lines().next().unwrap_or_default();
            (
                first.strip_prefix("error: ").unwrap_or(first).to_owned(),
                None,
            )
        }
    }
}

fn unknown(word: &str, command: &Command) -> (String, Option<String>) {
    let Some(name) = word
        .strip_prefix("--")
        .map(|name| name.split('=').next().unwrap_or(name))
    else {
        return (format!("unrecognized arguments: {word}"), None);
    };
    let longs = || {
        command
            .get_arguments()
            .filter(|arg| !arg.is_hide_set())
            .filter_map(|arg| arg.get_long())
    };
    let begun: Vec<String> = longs()
        .filter(|long| long.starts_with(name) && !name.is_empty())
        .map(|long| format!("--{long}"))
        .collect();
    if begun.len() > 1 {
        return (
            format!(
                "'--{name}' is ambiguous: it could mean {}",
                begun.join(", ")
            ),
            None,
        );
    }
    let best = longs()
        .map(|long| (strsim::jaro(name, long), long))
        .filter(|(similarity, _)| *similarity > LEAST_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    (
        format!("unrecognized arguments: --{name}"),
        best.map(|(_, long)| format!("did you mean '--{long}'")),
    )
}

/// Whether an option takes a list.
fn takes_several(command: &Command, option: &str) -> bool {
    let long = option.trim_start_matches('-');
    let mut all = command.get_arguments();
    all.find(|arg| arg.get_long() == Some(long))
        .and_then(|arg| arg.get_num_args())
        .is_some_and(|n| n.max_values() > 1)
}

/// `--context-sizes` of `--context-sizes <TOKENS>...`, and `output_dir` of `<OUTPUT_DIR>`, which is what argparse
/// calls it.
fn flag_of(arg: &str) -> String {
    if arg.starts_with('-') {
        return arg.split([' ', '=', '[']).next().unwrap_or(arg).to_owned();
    }
    arg.trim_matches(['[', ']', '<', '>', '.']).to_lowercase()
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::Strings(texts)) => texts.clone(),
        Some(ContextValue::String(text)) => vec![text.clone()],
        _ => Vec::new(),
    }
}

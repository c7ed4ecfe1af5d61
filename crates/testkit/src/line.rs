//! Command lines, as tests write them and as a tool writes them down.

use std::collections::BTreeSet;

use clap::Command;

/// The words of a command line behind the tool's name, split at blanks; a word may hold blanks written as `~`.
#[must_use]
pub fn words(tool: &str, line: &str) -> Vec<String> {
    std::iter::once(tool)
        .chain(line.split_whitespace())
        .map(|word| word.replace('~', " "))
        .collect()
}

/// The command line that options with their values make, the tool's name first.
#[must_use]
pub fn written(tool: &str, options: Vec<(String, Vec<String>)>) -> Vec<String> {
    let option = |(flag, values)| std::iter::once(flag).chain(values);
    std::iter::once(tool.to_owned())
        .chain(options.into_iter().flat_map(option))
        .collect()
}

/// The long options of a command that are none of these flags, sorted, without dashes.
#[must_use]
pub fn left_out(command: &Command, flags: impl IntoIterator<Item = String>) -> Vec<String> {
    let all = command.get_arguments().filter_map(|arg| arg.get_long());
    let mut left: BTreeSet<&str> = all.collect();
    for flag in flags {
        left.remove(flag.trim_start_matches('-'));
    }
    left.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    #[test]
    fn words_and_options_make_the_same_line() {
        let line = words("tool", "--a b~c  --d");
        assert_eq!(line, ["tool", "--a", "b c", "--d"]);
        let options = vec![
            ("--a".to_owned(), vec!["b c".to_owned()]),
            ("--d".to_owned(), Vec::new()),
        ];
        assert_eq!(written("tool", options), line);
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let command = Command::new("tool").args(["b", "a"].map(|name| Arg::new(name).long(name)));
        assert_eq!(left_out(&command, ["--b".to_owned()]), ["a"]);
        assert_eq!(left_out(&command, []), ["a", "b"]);
    }
}

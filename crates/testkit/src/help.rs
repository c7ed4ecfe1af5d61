//! Help texts.

use clap::Command;

/// The help of a prepared command on a terminal of so many columns. The environment of whoever runs the test does not
/// show.
///
/// # Panics
/// When a line is wider than the terminal.
#[must_use]
#[track_caller]
pub fn at_width(command: Command, columns: usize) -> String {
    let text = command.term_width(columns).render_help().to_string();
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(
        widest.is_some_and(|widest| widest <= columns),
        "a line is wider than {columns}:\n{text}"
    );
    text
}

/// Requires of every argument that its help is a sentence without a full stop, and that it stands below a heading.
///
/// # Panics
/// When one has not, or when there is no argument.
#[track_caller]
pub fn assert_documented(command: &Command) {
    assert!(command.get_arguments().next().is_some(), "no argument");
    for arg in command.get_arguments() {
        let name = arg.get_id();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        assert!(
            help.starts_with(char::is_uppercase) && !help.ends_with('.'),
            "{name}: {help}"
        );
        assert!(arg.get_help_heading().is_some(), "{name}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    fn command(help: &'static str) -> Command {
        let arg = Arg::new("x").long("x").help(help).help_heading("Other");
        Command::new("tool").disable_help_flag(true).arg(arg)
    }

    #[test]
    fn a_sentence_below_a_heading_is_right() {
        assert_documented(&command("Do it"));
        assert!(at_width(command("Do it"), 40).contains("Do it"));
    }

    #[test]
    #[should_panic(expected = "x: Do it.")]
    fn a_full_stop_is_found() {
        assert_documented(&command("Do it."));
    }

    #[test]
    #[should_panic(expected = "x")]
    fn a_missing_heading_is_found() {
        let arg = Arg::new("x").long("x").help("Do it");
        assert_documented(&Command::new("tool").arg(arg));
    }

    #[test]
    #[should_panic(expected = "wider than 30")]
    fn a_line_that_is_too_wide_is_found() {
        // A word is never broken.
        let _ = at_width(command("Uninterrupted_words_are_as_wide_as_they_are"), 30);
    }
}

//! Commands of a page in Markdown, such as those that describe a tool to its users.

/// A command in a code block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What stands behind the backticks that open its block: `bash`, or nothing.
    pub language: String,
    /// As it stands there, for a shell: continued lines together, each with its line end.
    pub text: String,
}

impl Command {
    /// Its words as a shell without quotes sees them, a comment at the end of a line left out.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let lines = self.text.lines();
        lines
            .map(|line| line.split(" #").next().unwrap_or_default().trim_end())
            .flat_map(|line| line.strip_suffix('\\').unwrap_or(line).split_whitespace())
            .map(str::to_owned)
            .collect()
    }
}

/// All commands of a page's code blocks; empty lines and those that are comments are none.
#[must_use]
pub fn commands(page: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut language: Option<String> = None;
    let mut text = String::new();
    for line in page.lines() {
        if let Some(opened) = line.trim_start().strip_prefix("```") {
            language = match language {
                Some(_) => None,
                None => Some(opened.trim().to_owned()),
            };
            continue;
        }
        let Some(language) = &language else {
            continue;
        };
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        text.push_str(line);
        text.push('\n');
        if !line.trim_end().ends_with('\\') {
            commands.push(Command {
                language: language.clone(),
                text: std::mem::take(&mut text),
            });
        }
    }
    commands
}

/// Words of every command of a page that calls this program, from the program's name on.
#[must_use]
pub fn calls(page: &str, program: &str) -> Vec<Vec<String>> {
    let from_name = |command: &Command| {
        let words = command.words();
        let at = words.iter().position(|word| word == program)?;
        Some(words[at..].to_vec())
    };
    commands(page).iter().filter_map(from_name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
run this:
```bash
# first
cd x   # there
python tool.py --a 1 \\
    --b 2

```
python tool.py outside
```
python tool.py c
```
";

    #[test]
    fn commands_stand_in_blocks_and_go_on_behind_a_backslash() {
        let found = commands(PAGE);
        let texts: Vec<&str> = found.iter().map(|command| command.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "cd x   # there\n",
                "python tool.py --a 1 \\\n    --b 2\n",
                "python tool.py c\n"
            ]
        );
        assert_eq!(found[0].words(), ["cd", "x"]);
        assert_eq!(
            (found[0].language.as_str(), found[2].language.as_str()),
            ("bash", "")
        );
    }

    #[test]
    fn calls_begin_with_the_name() {
        assert_eq!(
            calls(PAGE, "tool.py"),
            [
                vec!["tool.py", "--a", "1", "--b", "2"],
                vec!["tool.py", "c"]
            ]
        );
        assert!(calls(PAGE, "other.py").is_empty());
    }
}

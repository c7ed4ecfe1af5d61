//! A program that is called with wrong arguments, or only asked for its help: exit codes, channels, and that nothing is
//! left behind.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// How a tester of the suite is called.
#[derive(Debug, Clone, Copy)]
pub struct CommandLine<'a> {
    /// The program's file; its name is the tool's.
    pub program: &'a str,
    /// The options without which it refuses.
    pub required: &'a [&'a str],
}

/// What a program did in an empty directory.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    n_files: usize,
}

impl CommandLine<'_> {
    /// The tool's name.
    #[must_use]
    pub fn name(&self) -> &str {
        let name = Path::new(self.program).file_name();
        name.and_then(|name| name.to_str())
            .expect("a tool's name is text")
    }

    fn command(&self, dir: &TempDir) -> Command {
        let mut command = Command::new(self.program);
        command
            .current_dir(dir.path())
            // The settings of whoever runs the test decide nothing.
            .env_remove("OPENAI_API_KEY")
            .env_remove("NO_COLOR");
        command
    }

    fn run(&self, prepare: impl FnOnce(&mut Command)) -> Ended {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let mut command = self.command(&dir);
        prepare(&mut command);
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().expect("the program can be started");
        let text = |bytes| String::from_utf8(bytes).expect("a tool writes text");
        Ended {
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
            n_files: fs::read_dir(dir.path()).map_or(0, Iterator::count),
        }
    }

    /// Requires that these arguments are refused: exit code 2, the words on stderr, nothing on stdout, nothing on disk.
    ///
    /// # Panics
    /// When they are not.
    #[track_caller]
    pub fn assert_refused(&self, args: &[&str], words: &str) {
        let ended = self.run(|command| {
            command.args(args);
        });
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.stdout.is_empty(), "{args:?}: {ended:?}");
        assert!(
            ended.stderr.contains(words),
            "{args:?}: no {words:?} in {:?}",
            ended.stderr
        );
        assert_eq!(ended.n_files, 0, "{args:?} left something behind");
    }

    /// The same with these arguments behind the required ones.
    ///
    /// # Panics
    /// When they are not refused.
    #[track_caller]
    pub fn assert_refused_behind(&self, more: &[&str], words: &str) {
        self.assert_refused(&[self.required, more].concat(), words);
    }

    /// Requires that stderr is this one line and nothing else.
    ///
    /// # Panics
    /// When it is not, or the arguments are not refused.
    #[track_caller]
    pub fn assert_one_line(&self, more: &[&str], line: &str) {
        self.assert_refused_behind(more, line);
        let ended = self.run(|command| {
            command.args(self.required).args(more);
        });
        assert_eq!(ended.stderr, format!("{line}\n"), "{more:?}");
    }

    /// Requires argparse's words for options that the testers share.
    ///
    /// # Panics
    /// When they differ.
    #[track_caller]
    pub fn assert_syntax_errors(&self) {
        let name = self.name();
        for (more, words) in [
            (
                &["--cache-hit-rates", "a"][..],
                format!("{name}: error: argument --cache-hit-rates: invalid int value: 'a'\n"),
            ),
            (
                &["--ttft-metric", "p50"],
                "error: argument --ttft-metric: invalid choice: 'p50' (choose from 'max', 'avg', 'p95')\n".to_owned(),
            ),
            (
                &["--mode", "fast"],
                "error: argument --mode: invalid choice: 'fast' (choose from 'ramp', 'sustained', 'fixed')\n".to_owned(),
            ),
            (
                &["--kv-cache-quantization", "3"],
                "error: argument --kv-cache-quantization: invalid choice: '3' (choose from '1', '2')\n".to_owned(),
            ),
            (
                &["--context-sizes"],
                "error: argument --context-sizes: expected at least one argument\n".to_owned(),
            ),
            (&["--test"], format!("hint: try '{name} --help'")),
        ] {
            self.assert_refused_behind(more, &words);
        }
    }

    /// Requires that help, which has these words, and the version go to stdout.
    ///
    /// # Panics
    /// When they do not.
    #[track_caller]
    pub fn assert_help_and_version(&self, words: &[&str], version: &str) {
        let asked = |flag: &str| {
            let ended = self.run(|command| {
                command.arg(flag);
            });
            assert_eq!(ended.code, Some(0), "{flag}: {ended:?}");
            assert!(ended.stderr.is_empty(), "{flag}: {ended:?}");
            assert_eq!(ended.n_files, 0, "{flag} left something behind");
            ended.stdout
        };
        for flag in ["--help", "-h", "--he"] {
            let help = asked(flag);
            for word in words {
                assert!(help.contains(word), "{flag}: no {word:?} in {help}");
            }
        }
        assert_eq!(asked("--version"), format!("{} {version}\n", self.name()));
    }

    /// Requires that help names the variable that holds a key, and not the key.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_hides_key(&self) {
        let help = self.run(|command| {
            command
                .env("OPENAI_API_KEY", "sk-very-secret")
                .arg("--help");
        });
        assert_eq!(help.code, Some(0), "{help:?}");
        assert!(help.stdout.contains("OPENAI_API_KEY"), "{help:?}");
        assert!(!help.stdout.contains("sk-very-secret"), "{help:?}");
    }

    /// Requires that a stdout which is closed before the first byte is no error.
    ///
    /// # Panics
    /// When it is.
    #[track_caller]
    pub fn assert_closed_stdout_is_no_error(&self) {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        // Closed before the tool starts, so that its first byte already meets a broken pipe.
        drop(reader);
        let output = self
            .command(&dir)
            .arg("--help")
            .stdout(writer)
            .output()
            .expect("the program can be started");
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    }
}

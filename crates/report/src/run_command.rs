//! `run_command_<ts>.sh`: the script that repeats a run.
//!
//! Promise: the script is valid `sh`, passes every value on exactly as it was given (spaces, quotes,
//! `$`, newlines) and hands further arguments through. Refuses to store secrets and
//! `--force-restart`: an API key and the values of headers that look secret never reach the file, a
//! comment names what was left out.

use std::path::{Path, PathBuf};

use crate::atomic::{AtomicFile, Durability, FileError};
use crate::stamp::RunStamp;

/// One option of the command: the flag with its dashes, and its values (none for a switch).
pub type CommandOption = (String, Vec<String>);

/// Options that are never stored: the first would make every repetition start over, the second is a
/// secret.
const NEVER_STORED: [&str; 2] = ["--force-restart", "--api-key"];

/// Writes the script for a run of `program` (as it was invoked) with `options`, and returns its path.
///
/// # Errors
/// When the directory cannot be written.
pub fn write(
    dir: &Path,
    stamp: &RunStamp,
    program: &str,
    options: &[CommandOption],
) -> Result<PathBuf, FileError> {
    use std::io::Write as _;

    let path = dir.join(format!("run_command_{stamp}.sh"));
    let mut file = AtomicFile::create_with_mode(&path, 0o755)?;
    file.write_all(script(dir, stamp, program, options).as_bytes())
        .map_err(|e| FileError::new("write", &path, e))?;
    let file = file.commit(Durability::Renamed)?;
    make_executable(&file).map_err(|e| FileError::new("make executable", &path, e))?;
    Ok(path)
}

/// The text of the script in `dir`, which is named as it was given: the program and the options are relative to
/// the same place.
#[must_use]
pub fn script(dir: &Path, stamp: &RunStamp, program: &str, options: &[CommandOption]) -> String {
    let (kept, left_out) = without_secrets(options);
    let tool = Path::new(program).file_name().map_or_else(
        || program.to_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    let path = dir.join(format!("run_command_{stamp}.sh"));
    let name = comment(&quote(&path.display().to_string()));
    let mut text = format!(
        "#!/bin/bash\n\
         # {} - Run command\n\
         # Generated: {}\n\
         # To repeat this run:       bash {name}\n\
         # To start from the first:  bash {name} --force-restart\n",
        comment(&tool),
        stamp.human(),
    );
    for what in left_out {
        text.push_str(&format!(
            "# Not stored, pass it again: {}\n",
            comment(&what)
        ));
    }
    text.push('\n');
    text.push_str(&quote_program(program));
    for (flag, values) in kept {
        text.push_str(" \\\n  ");
        text.push_str(&quote(&flag));
        match values.as_slice() {
            // argparse and clap take a separate word that starts with a dash for an option, unless it
            // is a number.
            [value] if value.starts_with('-') && value.parse::<f64>().is_err() => {
                text.push('=');
                text.push_str(&quote(value));
            }
            values => {
                for value in values {
                    text.push(' ');
                    text.push_str(&quote(value));
                }
            }
        }
    }
    text.push_str(" \\\n  \"$@\"\n");
    text
}

/// Whether a header's value must never be stored, judged by the header's name.
#[must_use]
pub fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "auth",
        "key",
        "token",
        "secret",
        "cookie",
        "passw",
        "credential",
        "session",
        "signature",
        "jwt",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// Splits the options into those to be stored and the names of what must not be.
fn without_secrets(options: &[CommandOption]) -> (Vec<CommandOption>, Vec<String>) {
    let mut kept = Vec::new();
    let mut left_out = Vec::new();
    for (flag, values) in options {
        if flag == "--force-restart" {
            continue;
        }
        if NEVER_STORED.contains(&flag.as_str()) {
            left_out.push(flag.clone());
            continue;
        }
        if flag != "--header" {
            kept.push((flag.clone(), values.clone()));
            continue;
        }
        let (secret, plain): (Vec<_>, Vec<_>) = values
            .iter()
            .cloned()
            .partition(|header| is_secret_header(header_name(header)));
        left_out.extend(
            secret
                .iter()
                .map(|header| format!("--header '{}: ...'", header_name(header))),
        );
        // The flag takes one value and may be repeated.
        kept.extend(plain.into_iter().map(|header| (flag.clone(), vec![header])));
    }
    (kept, left_out)
}

fn header_name(header: &str) -> &str {
    header
        .split_once(':')
        .map_or(header, |(name, _)| name)
        .trim()
}

/// Text that may stand in a comment: one line, no control characters.
fn comment(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Quotes one word for a POSIX shell; words that need no quotes get none.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    // Inside single quotes everything is literal, so the quote itself steps outside for a moment.
    format!("'{}'", word.replace('\'', r#"'"'"'"#))
}

/// As [`quote`]; the first word of a command must not read as an assignment either.
fn quote_program(program: &str) -> String {
    if program.contains('=') {
        format!("'{}'", program.replace('\'', r#"'"'"'"#))
    } else {
        quote(program)
    }
}

#[cfg(unix)]
fn make_executable(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    // Exactly 0755 whatever the umask says: people run these from other accounts.
    file.set_permissions(std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_file: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(list: &[(&str, &[&str])]) -> Vec<CommandOption> {
        list.iter()
            .map(|(flag, values)| {
                let values = values.iter().map(|v| (*v).to_owned()).collect();
                ((*flag).to_owned(), values)
            })
            .collect()
    }

    fn stamp() -> RunStamp {
        RunStamp::parse("20261122_010848").unwrap()
    }

    #[test]
    fn the_script_has_one_option_per_line_and_ends_with_the_pass_through() {
        let text = script(
            Path::new("my results"),
            &stamp(),
            "./bin/cache_rate_tester",
            &options(&[
                ("--api-endpoint", &["http://localhost:8000"]),
                ("--context-sizes", &["1000", "2000"]),
                ("--force-restart", &[]),
                ("--strict-time-window", &[]),
                ("--seed", &["-5"]),
                ("--output-dir", &["my results"]),
            ]),
        );
        let expected = "#!/bin/bash\n\
            # cache_rate_tester - Run command\n\
            # Generated: 2026-11-22 01:08:48\n\
            # To repeat this run:       bash 'my results/run_command_20261122_010848.sh'\n\
            # To start from the first:  bash 'my results/run_command_20261122_010848.sh' --force-restart\n\
            \n\
            ./bin/cache_rate_tester \\\n  \
            --api-endpoint http://localhost:8000 \\\n  \
            --context-sizes 1000 2000 \\\n  \
            --strict-time-window \\\n  \
            --seed -5 \\\n  \
            --output-dir 'my results' \\\n  \
            \"$@\"\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn secrets_are_left_out_and_named() {
        let text = script(
            Path::new("out"),
            &stamp(),
            "cache_rate_tester",
            &options(&[
                ("--api-key", &["sk-very-secret"]),
                (
                    "--header",
                    &[
                        "X-Api-Key: hush",
                        "X-Tenant: blue",
                        "Authorization: Bearer hush\nrm -rf /",
                    ],
                ),
            ]),
        );
        assert!(
            !text.contains("hush") && !text.contains("sk-very-secret"),
            "{text}"
        );
        assert!(text.contains("# Not stored, pass it again: --api-key\n"));
        assert!(text.contains("--header 'X-Api-Key: ...'\n"));
        assert!(text.contains("  --header 'X-Tenant: blue' \\\n"));
        assert_eq!(text.matches("--force-restart").count(), 1);
    }

    /// Running the script through the shell, a stub program receives every value byte for byte, then
    /// the arguments given to the script.
    #[cfg(unix)]
    #[test]
    fn the_shell_passes_every_value_on_exactly() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let stub = dir.path().join("stub's $dir = a b");
        std::fs::write(&stub, "#!/bin/sh\nprintf '%s\\0' \"$@\"\n").unwrap();
        std::fs::set_permissions(&stub, std::fs::Permissions::from_mode(0o755)).unwrap();
        let nasty = [
            "plain",
            "two words",
            "it's",
            "\"double\"",
            "$HOME `id` $(id)",
            "line\nbreak\n",
            "",
            "back\\slash",
            "tab\there",
            "*?[a]~",
            "#not a comment",
            "a;b&c|d<e>f(g)",
            "!history",
            "größe ✓",
            "{\"a\": [1, 2]}",
            "'",
            "''",
            "a=b",
        ];
        let given = options(&[
            ("--flag", &[]),
            ("--values", &nasty),
            ("--extra-body", &["--dashed $x"]),
            ("--seed", &["-5"]),
        ]);
        let path = write(dir.path(), &stamp(), stub.to_str().unwrap(), &given).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        for shell in ["bash", "sh"] {
            let output = std::process::Command::new(shell)
                .arg(&path)
                .args(["--force-restart", "more words"])
                .current_dir(dir.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "{shell}: {output:?}");
            let stdout = String::from_utf8(output.stdout).unwrap();
            let received: Vec<&str> = stdout.strip_suffix('\0').unwrap().split('\0').collect();
            let mut expected = vec!["--flag", "--values"];
            expected.extend(nasty);
            expected.extend(["--extra-body=--dashed $x", "--seed", "-5"]);
            expected.extend(["--force-restart", "more words"]);
            assert_eq!(received, expected, "{shell}");
        }
    }
}

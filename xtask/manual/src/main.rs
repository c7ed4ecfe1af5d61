//! Writes the man page and the shell completions of every tool, from the options that the tool itself parses.
//!
//! `manual DIR` fills `DIR` as a system's `share` is laid out, where man and the shells look by themselves;
//! `cargo xtask release` runs it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use cli::argparse::prepare;

/// Every tool with the command that its `main` parses with.
fn commands() -> Vec<Command> {
    macro_rules! command {
        ($tool:ident) => {
            prepare(
                $tool::args::Args::command(),
                $tool::args::OPTION_GENERATIONS,
            )
        };
    }
    vec![
        command!(cache_rate_tester),
        command!(combine_graphs),
        command!(generate_index),
        prepare(kv_cache_sim::Args::command(), &[]),
        command!(kv_cache_size),
        command!(llm_benchmark),
        command!(regenerate_graphs),
        command!(single_prompt_tester),
        command!(working_set_tester),
    ]
}

fn main() -> Result<()> {
    let dir = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .context("the first argument is the directory to write to")?;
    for command in commands() {
        write(command, &dir)?;
    }
    Ok(())
}

/// Splits a description into the one line of a page's head and the whole text of its body.
fn described(command: Command) -> Command {
    let whole = command
        .get_long_about()
        .or(command.get_about())
        .map(ToString::to_string)
        .unwrap_or_default();
    let line = whole.lines().next().unwrap_or_default();
    let line = line.trim_end_matches('.').to_owned();
    command.about(line).long_about(whole)
}

fn write(command: Command, dir: &Path) -> Result<()> {
    let mut command = described(command);
    let name = command.get_name().to_owned();
    for (shell, path) in [
        (Shell::Bash, format!("bash-completion/completions/{name}")),
        (Shell::Zsh, format!("zsh/site-functions/_{name}")),
        (
            Shell::Fish,
            format!("fish/vendor_completions.d/{name}.fish"),
        ),
    ] {
        let mut script = Vec::new();
        generate(shell, &mut command, &name, &mut script);
        write_below(dir, &path, &script)?;
    }
    let mut page = Vec::new();
    // The title's date stays empty, so that a page depends on nothing but the options.
    Man::new(command).render(&mut page)?;
    write_below(dir, &format!("man/man1/{name}.1"), &page)
}

fn write_below(dir: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    let path = dir.join(path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_manual() {
        let bins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bins");
        let mut tools: Vec<String> = fs::read_dir(bins)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("Cargo.toml").exists())
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        tools.sort();
        let manuals: Vec<String> = commands()
            .iter()
            .map(|command| command.get_name().to_owned())
            .collect();
        assert_eq!(manuals, tools, "a new tool needs a line in commands()");
    }
}

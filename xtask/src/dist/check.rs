//! `--check`: the archive as a user gets it, in an empty directory, with nothing on the path but the base system.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xshell::Shell;

use super::sha256;
use crate::{demo, workspace};

/// What every Linux system has.
const BASE_PATH: &str = "/usr/bin:/bin";

/// Unpacks the archive and uses everything in it.
pub(super) fn run(archive: &Path) -> Result<()> {
    let work = Shell::new()?.create_temp_dir()?;
    let bundle = unpack(archive, work.path())?;
    let manifest: Value = serde_json::from_slice(&std::fs::read(bundle.join("MANIFEST.json"))?)?;
    let n_files = check_files(&bundle, &manifest)?;
    let version = manifest["version"].as_str().context("no version")?;
    let tools = tools(&bundle)?;
    ensure!(
        tools == workspace::tools()?,
        "bin/ holds {tools:?}, which are not the tools of this workspace"
    );
    let mut shells = Vec::new();
    for tool in &tools {
        check_tool(&bundle, tool, version)?;
        shells = check_completions(&bundle, tool)?;
    }
    for requirements in [
        "scripts/requirements.txt",
        "scripts/llm_benchmark/requirements.txt",
    ] {
        let text = std::fs::read_to_string(bundle.join(requirements)).context(requirements)?;
        ensure!(
            text.lines()
                .all(|line| line.trim().is_empty() || line.starts_with('#')),
            "{requirements} asks for something"
        );
    }
    let bin = bundle.join("bin");
    demo::run_in(
        &demo::Programs::of(&bin).prepared(base),
        &work.path().join("demo"),
        demo::Pace::QUICK,
    )?;
    eprintln!(
        "The bundle works: {n_files} files as listed, {} tools with help, version, man page and completions ({}), and the demo",
        tools.len(),
        shells.join(", ")
    );
    Ok(())
}

/// Unpacks an archive into `dir` with the system's own programs, its checksum verified first.
pub(crate) fn unpack(archive: &Path, dir: &Path) -> Result<PathBuf> {
    let parent = archive.parent().context("an archive without a directory")?;
    let name = archive
        .file_name()
        .and_then(|name| name.to_str())
        .context("an archive without a name")?;
    let mut sum = base(Command::new("sha256sum"));
    sum.args(["--check", "--quiet", &format!("{name}.sha256")])
        .current_dir(parent);
    succeed(sum)?;
    let mut tar = base(Command::new("tar"));
    tar.arg("-xzf").arg(archive).current_dir(dir);
    succeed(tar)?;
    Ok(dir.join(name.strip_suffix(".tar.gz").context("no .tar.gz")?))
}

/// A program with the base system's environment and nothing of ours.
fn base(mut command: Command) -> Command {
    command
        .env_clear()
        .env("PATH", BASE_PATH)
        .env("HOME", "/nonexistent");
    command
}

fn succeed(mut command: Command) -> Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output)
}

/// Every file is the one that the manifest lists, and there are no others.
fn check_files(bundle: &Path, manifest: &Value) -> Result<usize> {
    let listed = manifest["files"].as_array().context("no list of files")?;
    for file in listed {
        let path = file["path"].as_str().context("a file without a path")?;
        let bytes = std::fs::read(bundle.join(path)).with_context(|| path.to_owned())?;
        ensure!(
            file["sha256"].as_str() == Some(&sha256(&bytes)),
            "{path} is not the file that the manifest lists"
        );
    }
    let mut found = base(Command::new("find"));
    found.args([".", "-type", "f"]).current_dir(bundle);
    let n_found = String::from_utf8_lossy(&succeed(found)?.stdout)
        .lines()
        .count();
    // The manifest does not list itself.
    ensure!(
        n_found == listed.len() + 1,
        "{n_found} files unpacked, {} listed",
        listed.len()
    );
    Ok(n_found)
}

fn tools(bundle: &Path) -> Result<Vec<String>> {
    let mut tools = Vec::new();
    for entry in std::fs::read_dir(bundle.join("bin"))? {
        let entry = entry?;
        ensure!(
            entry.metadata()?.permissions().mode() & 0o111 == 0o111,
            "{} cannot be run",
            entry.path().display()
        );
        tools.push(entry.file_name().to_string_lossy().into_owned());
    }
    tools.sort();
    Ok(tools)
}

fn check_tool(bundle: &Path, tool: &str, version: &str) -> Result<()> {
    let run = |argument: &str| -> Result<String> {
        let mut command = base(Command::new(bundle.join("bin").join(tool)));
        command.arg(argument).current_dir(bundle);
        let output = succeed(command)?;
        ensure!(
            output.stderr.is_empty(),
            "{tool} {argument} wrote to stderr"
        );
        Ok(String::from_utf8(output.stdout)?)
    };
    let help = run("--help")?;
    ensure!(
        help.contains("Usage:") && help.contains("--version"),
        "{tool} --help is no help: {help}"
    );
    let told = run("--version")?;
    ensure!(
        told == format!("{tool} {version}\n"),
        "{tool} --version says {told:?}"
    );
    let page = std::fs::read_to_string(bundle.join(format!("share/man/man1/{tool}.1")))?;
    let head = page
        .split(".SH NAME\n")
        .nth(1)
        .and_then(|rest| rest.split(".SH").next())
        .with_context(|| format!("the man page of {tool} has no name"))?;
    ensure!(
        page.contains(&format!(".TH {tool} 1")) && head.trim().lines().count() == 1,
        "the man page of {tool} has no head of one line: {head:?}"
    );
    Ok(())
}

/// A shell with the script that shows how it completes `$2 --ver`, given the bundle's `share` as `$1`.
const SHELLS: &[(&str, &[&str], &str)] = &[
    (
        "bash",
        &["--noprofile", "--norc", "-c"],
        "source \"$1/bash-completion/completions/$2\"; f=$(complete -p \"$2\"); f=${f#*-F }; \
         COMP_WORDS=(\"$2\" --ver); COMP_CWORD=1; \"${f%% *}\" \"$2\" --ver \"$2\"; printf '%s\\n' \"${COMPREPLY[@]}\"",
    ),
    // As in the pages: the folder stands in fpath, and compinit finds what is in it.
    (
        "zsh",
        &["-f", "-c"],
        "fpath=(\"$1/zsh/site-functions\" $fpath); autoload -U compinit; compinit -D -u; \
         autoload +X ${_comps[$2]} && functions ${_comps[$2]}",
    ),
    (
        "fish",
        &["--no-config", "-c"],
        "set -p fish_complete_path $argv[1]/fish/vendor_completions.d; set -p PATH $argv[1]/../bin; complete -C \"$argv[2] --ver\"",
    ),
];

/// Loads the completions of a tool in each shell of this machine; answers with those shells.
fn check_completions(bundle: &Path, tool: &str) -> Result<Vec<&'static str>> {
    let mut tried = Vec::new();
    for (shell, options, script) in SHELLS {
        let mut command = base(Command::new(shell));
        command.args(*options).arg(script);
        // fish has no name for the script itself.
        if *shell != "fish" {
            command.arg(shell);
        }
        command.arg(bundle.join("share")).arg(tool);
        match command.output() {
            Err(error) if error.kind() == ErrorKind::NotFound && *shell != "bash" => {}
            output => {
                let output = output.with_context(|| format!("starting {shell}"))?;
                ensure!(
                    output.status.success()
                        && String::from_utf8_lossy(&output.stdout).contains("--version"),
                    "{shell} does not complete {tool} --ver: {output:?}"
                );
                tried.push(*shell);
            }
        }
    }
    Ok(tried)
}

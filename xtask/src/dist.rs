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

use crate::{wheel, workspace};

pub(crate) use archive::write_whole;
pub(crate) use check::unpack;

/// Name of the product in file names.
pub(crate) const PRODUCT: &str = "kv-cache-tester";

/// Options of the release.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build for these installed targets instead of the host's (Linux only).
    #[arg(long, value_name = "TRIPLE", num_args(1..))]
    target: Vec<String>,
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
    let mut asked: Vec<Option<&str>> = args.target.iter().map(|one| Some(one.as_str())).collect();
    if asked.is_empty() {
        asked.push(None);
    }
    let out = match &args.out_dir {
        Some(given) => std::path::absolute(given)?,
        None => workspace::target_directory()?.join("dist"),
    };
    // All of them before the first build, which takes minutes.
    for target in asked.iter().flatten() {
        usable(&shell, target)?;
        ensure!(
            !args.check || *target == host,
            "--check runs the programs, which those for {target} cannot do here"
        );
    }
    let source = Source::of(&shell)?;
    ensure!(
        !args.twice || !source.modified,
        "--twice builds a clone of the commit: commit your changes first"
    );
    for asked in asked {
        let archive = pack(&shell, asked, asked.unwrap_or(&host), &source, &out)?;
        if args.twice {
            twice::run(&shell, asked, &archive)?;
        }
        if args.check {
            check::run(&archive)?;
        }
    }
    Ok(())
}

/// Refuses a target that rustc does not know, that is no Linux, or that is not installed.
fn usable(shell: &Shell, target: &str) -> Result<()> {
    let facts = cmd!(shell, "rustc --print cfg --target {target}")
        .quiet()
        .ignore_stderr()
        .read()
        .with_context(|| format!("rustc knows no target {target}: rustc --print target-list"))?;
    ensure!(
        facts.lines().any(|fact| fact == "target_os=\"linux\""),
        "{target} is no Linux, and the tools are for Linux only"
    );
    let library = sysroot(shell)?.join("lib/rustlib").join(target).join("lib");
    ensure!(
        library.is_dir(),
        "the target {target} is not installed: rustup target add {target}"
    );
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
    let tools = workspace::tools()?;
    // Before the build, which takes minutes: some settings are refused.
    let settings = workspace::build_settings()?;
    let built = workspace::build_released(shell, asked, &tools)?;
    let mut files = Files::new();
    add_tools(shell, &tools, &built, &mut files)?;
    add_manual(shell, &tools, &mut files)?;
    add_repository(shell, &mut files)?;
    let dependencies = licences::add(&tools, target, &mut files)?;
    let glibc = newest_glibc(files.iter().filter(|(path, _)| path.starts_with("bin/")));
    for setting in &settings {
        eprintln!("Built with {setting}, which MANIFEST.json records");
    }
    let version = workspace::version()?;
    let manifest = json!({
        "name": PRODUCT,
        "version": version,
        "commit": source.commit,
        "modified": source.modified,
        "target": target,
        "glibc": glibc.map(|(major, minor)| format!("{major}.{minor}")),
        "rustc": cmd!(shell, "rustc --version").quiet().read()?,
        "c_compiler": c_compiler(shell, target),
        "build_settings": settings,
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

/// The newest glibc that a program of these asks for; none when all are static.
fn newest_glibc<'a>(files: impl Iterator<Item = (&'a String, &'a Packed)>) -> Option<(u32, u32)> {
    files
        .filter_map(|(_, file)| wheel::newest_glibc(&file.bytes))
        .max()
}

/// What the compiler of the C parts says of itself in its first line, the one that build scripts take; none where it says
/// nothing.
fn c_compiler(shell: &Shell, target: &str) -> Option<String> {
    let named = [
        format!("CC_{target}"),
        format!("CC_{}", target.replace('-', "_")),
        "TARGET_CC".to_owned(),
        "CC".to_owned(),
    ];
    let compiler = named
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .or_else(|| {
            // Another machine's compiler has that machine's name in front.
            let is_host = host(shell).is_ok_and(|host| host == target);
            let gnu = target.replace("-unknown", "");
            Some(if is_host {
                "cc".to_owned()
            } else {
                format!("{gnu}-gcc")
            })
        })?;
    let words: Vec<&str> = compiler.split_whitespace().collect();
    let (program, arguments) = words.split_first()?;
    let told = cmd!(shell, "{program} {arguments...} --version")
        .quiet()
        .ignore_stderr()
        .read()
        .ok()?;
    told.lines().next().map(str::to_owned)
}

/// Writes the licence texts, as the archive has them, to a directory.
pub(crate) fn write_licences(dir: &Path) -> Result<()> {
    let shell = Shell::new()?;
    let (files, _) = licence_files(&workspace::tools()?, &host(&shell)?)?;
    for (path, file) in &files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(dir))?;
        std::fs::write(&path, &file.bytes).with_context(|| path.display().to_string())?;
    }
    eprintln!("{} files in {}", files.len(), dir.display());
    Ok(())
}

/// Licence texts of what is compiled into the tools, by their path below `licenses/`.
/// Also the terms of the whole, as an SPDX expression.
pub(crate) fn licence_files(tools: &[String], target: &str) -> Result<(Files, String)> {
    let mut files = Files::new();
    let dependencies = licences::add(tools, target, &mut files)?;
    let terms = licences::terms(
        dependencies
            .iter()
            .filter_map(|dependency| dependency["license"].as_str()),
    )?;
    let files = files
        .into_iter()
        .map(|(path, file)| match path.strip_prefix("licenses/") {
            Some(below) => (below.to_owned(), file),
            None => (path, file),
        })
        .collect();
    Ok((files, terms))
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
            format!("bash-completion/completions/{tool}"),
            format!("zsh/site-functions/_{tool}"),
            format!("fish/vendor_completions.d/{tool}.fish"),
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
        "git ls-files README.md LICENSE ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md docs scripts/*.py scripts/requirements.txt scripts/llm_benchmark"
    )
    .quiet()
    .read()
    .context("the list of what is packed comes from git")?;
    for path in listed.lines().filter(|path| is_shipped(path)) {
        let bytes = std::fs::read(workspace::root().join(path)).with_context(|| path.to_owned())?;
        insert(files, packed_as(path), bytes, is_shim(path));
    }
    insert(files, "README.md", BUNDLE_README.as_bytes().to_vec(), false);
    Ok(())
}

/// What to do with a bundle; the project's own README begins with commands for a checkout.
const BUNDLE_README: &str = include_str!("dist/README.md");

/// A file's path in the bundle.
fn packed_as(path: &str) -> &str {
    match path {
        "README.md" => "ABOUT.md",
        other => other,
    }
}

/// Whether a script is one that users start, not a module or an example beside it.
fn is_shim(path: &str) -> bool {
    path.ends_with(".py") && !path.contains("/src/")
}

/// Git's `*` crosses directories: of the scripts, only those that stand where an original stood are for users.
fn is_shipped(path: &str) -> bool {
    match path.strip_prefix("scripts/") {
        Some(script) if script.ends_with(".sh") => false,
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
            // The user's page points at the sample and starts the example server.
            (
                "scripts/llm_benchmark/expected_output/sample_output.txt",
                true,
            ),
            ("scripts/llm_benchmark/src/server.py", true),
            ("scripts/llm_benchmark/check.sh", false),
            ("scripts/kv_cache/check_transformers.py", false),
            ("docs/deploy/job.yaml", true),
        ] {
            assert_eq!(is_shipped(path), shipped, "{path}");
        }
    }

    #[test]
    fn a_bundles_readme_names_every_tool_and_no_command_of_a_checkout() {
        for tool in workspace::tools().unwrap() {
            assert!(BUNDLE_README.contains(&format!("`{tool}`")), "{tool}");
        }
        assert!(!BUNDLE_README.contains("cargo "));
    }

    #[test]
    fn targets_that_nothing_can_be_built_for_are_refused_before_the_build() {
        let shell = Shell::new().unwrap();
        let host = host(&shell).unwrap();
        usable(&shell, &host).unwrap();
        for (target, cause) in [
            ("x86_64-pc-windows-msvc", "is no Linux"),
            ("aarch64-apple-darwin", "is no Linux"),
            ("s390x-unknown-linux-musl", "not installed"),
            ("no-such-target", "rustc knows no target"),
        ] {
            let said = usable(&shell, target).unwrap_err().to_string();
            assert!(said.contains(cause), "{said}");
        }
    }
}

//! Where the workspace is, and what `cargo metadata` says of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{Message, Metadata, MetadataCommand};
use xshell::{Cmd, Shell, cmd};

/// The workspace's root directory.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .map_or(manifest.clone(), std::path::Path::to_path_buf)
}

/// Paths in the repository of the files that fit the pattern, with their text; what git ignores is left out.
///
/// # Errors
/// When git fails or a file cannot be read.
pub(crate) fn texts(pattern: &str) -> Result<Vec<(PathBuf, String)>> {
    let shell = Shell::new()?;
    shell.change_dir(root());
    let listed = cmd!(
        shell,
        "git ls-files --cached --others --exclude-standard {pattern}"
    )
    .quiet()
    .read()?;
    listed
        .lines()
        // One that was deleted and not yet committed is still listed.
        .filter(|path| root().join(path).exists())
        .map(|path| {
            let text =
                std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned())?;
            Ok((PathBuf::from(path), text))
        })
        .collect()
}

/// What cargo says of our own packages, without dependencies.
///
/// # Errors
/// When `cargo metadata` fails.
pub(crate) fn metadata() -> Result<Metadata> {
    Ok(MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()?)
}

/// Where cargo puts what it builds.
///
/// # Errors
/// When `cargo metadata` fails.
pub(crate) fn target_directory() -> Result<PathBuf> {
    Ok(metadata()?.target_directory.into_std_path_buf())
}

/// Names of the tools that are shipped: the programs of the packages below `bins/`, sorted.
///
/// # Errors
/// When `cargo metadata` fails.
pub(crate) fn tools() -> Result<Vec<String>> {
    let metadata = metadata()?;
    let bins = metadata.workspace_root.join("bins");
    let mut tools: Vec<String> = metadata
        .packages
        .iter()
        .filter(|package| package.manifest_path.starts_with(&bins))
        .flat_map(|package| &package.targets)
        .filter(|target| target.is_bin())
        .map(|target| target.name.clone())
        .collect();
    tools.sort();
    ensure!(!tools.is_empty(), "no package below bins/ makes a program");
    Ok(tools)
}

/// Version of the workspace: every tool has the same.
///
/// # Errors
/// When `cargo metadata` fails.
pub(crate) fn version() -> Result<String> {
    let metadata = metadata()?;
    let versions: std::collections::BTreeSet<String> = metadata
        .packages
        .iter()
        .map(|package| package.version.to_string())
        .collect();
    ensure!(
        versions.len() == 1,
        "packages of several versions: {versions:?}"
    );
    Ok(versions.into_iter().collect())
}

/// cargo without what the cargo that runs xtask has put into the environment.
///
/// Build scripts (ring's is one) ask to be run anew when `CARGO_MANIFEST_DIR` and its like change. With xtask's own values
/// in the environment everything above ring would be built again each time that somebody builds without xtask.
pub(crate) fn cargo(shell: &Shell) -> Cmd<'_> {
    without_xtask(cmd!(shell, "cargo")).quiet()
}

/// A command that may call cargo, for the same reason.
pub(crate) fn without_xtask(command: Cmd<'_>) -> Cmd<'_> {
    std::env::vars_os()
        .filter(|(name, _)| is_xtasks_own(&name.to_string_lossy()))
        .fold(command, |command, (name, _)| command.env_remove(name))
}

/// Whether cargo sets that variable for the program that it runs.
fn is_xtasks_own(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
        .iter()
        .any(|begin| name.starts_with(begin))
        || ["CARGO", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE"].contains(&name)
}

/// Builds tools as they are released and answers with the directory that holds them.
///
/// Everything that needs released tools builds them in this way, so that cargo builds them once.
///
/// # Errors
/// When the build fails.
pub(crate) fn build_released(
    shell: &Shell,
    target: Option<&str>,
    tools: &[String],
) -> Result<PathBuf> {
    eprintln!("Building release binaries (the first time this takes some minutes)");
    let packages = tools.iter().flat_map(|tool| ["-p", tool]);
    let programs = executables(
        cargo(shell)
            .args(["build", "--release", "--locked"])
            .args(target.map_or(vec![], |target| vec!["--target", target]))
            .args(packages),
    )?;
    let host = crate::dist::host(shell)?;
    let directory = target_directory()?;
    let expected = match target {
        Some(target) => vec![directory.join(target).join("release")],
        None => vec![
            directory.join("release"),
            directory.join(&host).join("release"),
        ],
    };
    common_directory(tools, &programs, &expected)
}

/// Runs a build, and answers with what can be run of it, by name: cargo alone knows where its settings put that.
///
/// # Errors
/// When the build fails.
pub(crate) fn executables(build: Cmd<'_>) -> Result<BTreeMap<String, PathBuf>> {
    let told = build
        .arg("--message-format=json-render-diagnostics")
        .read()?;
    let mut programs = BTreeMap::new();
    for message in Message::parse_stream(told.as_bytes()) {
        if let Message::CompilerArtifact(artifact) = message?
            && let Some(path) = artifact.executable
        {
            programs.insert(artifact.target.name, path.into_std_path_buf());
        }
    }
    Ok(programs)
}

/// The directory that holds all the tools, which is one of those expected.
///
/// With `build.target` or `CARGO_BUILD_TARGET` cargo builds for another system without being asked here, and what still lies
/// where it is expected is old.
fn common_directory(
    tools: &[String],
    programs: &BTreeMap<String, PathBuf>,
    expected: &[PathBuf],
) -> Result<PathBuf> {
    let mut found = None;
    for tool in tools {
        let path = programs
            .get(tool)
            .with_context(|| format!("cargo built no program {tool}"))?;
        let dir = path.parent().unwrap_or(Path::new(""));
        if !expected.iter().any(|expected| expected == dir) {
            bail!(
                "cargo was told to build for another target (CARGO_BUILD_TARGET, or build.target of a configuration file): \
                 {tool} is in {}; unset it, or name the target: cargo xtask release --target TRIPLE",
                dir.display()
            );
        }
        ensure!(
            *found.get_or_insert(dir) == dir,
            "the tools are in several directories: {programs:?}"
        );
    }
    found.map(Path::to_owned).context("no tools")
}

/// Settings from outside the repository that change what a release build makes, as `NAME=value`, sorted.
///
/// # Errors
/// When one of them makes programs that run on this kind of processor only.
pub(crate) fn build_settings() -> Result<Vec<String>> {
    let mut settings: Vec<String> = std::env::vars()
        .filter(|(name, _)| changes_the_build(name))
        .map(|(name, value)| format!("{name}={}", value.replace('\u{1f}', " ")))
        .collect();
    settings.extend(configured()?);
    settings.sort();
    if let Some(native) = settings
        .iter()
        .find(|one| one.contains("target-cpu=native"))
    {
        bail!(
            "{native}: such programs run on this kind of processor only; unset it, or name a processor that all machines have"
        );
    }
    Ok(settings)
}

/// Whether a variable of the environment changes the bytes of a build.
fn changes_the_build(name: &str) -> bool {
    let is_flags = ["RUSTFLAGS", "CFLAGS"]
        .iter()
        .any(|flags| name.ends_with(flags) || name.starts_with(&format!("{flags}_")));
    let is_program = ["CC", "AR", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"].contains(&name)
        || name.starts_with("CC_")
        || (name.starts_with("CARGO_TARGET_") && name.ends_with("_LINKER"));
    is_flags || is_program || name.starts_with("CARGO_PROFILE_RELEASE_")
}

/// Lines of cargo's configuration files outside the repository (those of directories above, and of its home) that set flags
/// or a linker.
fn configured() -> Result<Vec<String>> {
    let root = root();
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or(std::env::home_dir().map(|home| home.join(".cargo")));
    let above = root.ancestors().skip(1).map(|dir| dir.join(".cargo"));
    let mut files: Vec<PathBuf> = above
        .chain(home)
        .flat_map(|dir| [dir.join("config.toml"), dir.join("config")])
        .collect();
    files.sort();
    files.dedup();
    let mut lines = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        lines.extend(flag_lines(&text));
    }
    Ok(lines)
}

/// `config: rustflags = […]` for each line of a configuration that sets flags, a linker or the release profile.
fn flag_lines(text: &str) -> Vec<String> {
    let mut in_profile = false;
    let mut lines = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') && line.ends_with(']') {
            in_profile = line.starts_with("[profile.release");
            continue;
        }
        let sets_flags = line.split_once('=').is_some_and(|(key, _)| {
            let key = key.trim();
            key.ends_with("rustflags") || key.ends_with("linker")
        });
        if !line.starts_with('#') && !line.is_empty() && (in_profile || sets_flags) {
            lines.push(format!("cargo's configuration: {line}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_built_for_another_target_than_asked_are_not_packed() {
        let tools = ["a".to_owned(), "b".to_owned()];
        let built = |dir: &str| {
            let programs = tools
                .iter()
                .map(|tool| (tool.clone(), Path::new(dir).join(tool)))
                .collect();
            common_directory(&tools, &programs, &["/t/release".into()])
        };
        assert_eq!(built("/t/release").unwrap(), Path::new("/t/release"));
        let refused = built("/t/x86_64-unknown-linux-musl/release").unwrap_err();
        assert!(
            refused.to_string().contains("CARGO_BUILD_TARGET"),
            "{refused}"
        );
        assert!(common_directory(&tools, &BTreeMap::new(), &[]).is_err());
    }

    #[test]
    fn settings_that_change_the_programs_are_told_from_others() {
        for (name, changes) in [
            ("RUSTFLAGS", true),
            ("CARGO_ENCODED_RUSTFLAGS", true),
            ("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", true),
            ("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", true),
            ("CARGO_PROFILE_RELEASE_LTO", true),
            ("CARGO_PROFILE_DEV_DEBUG", false),
            ("CFLAGS", true),
            ("CC", true),
            ("CARGO_TARGET_DIR", false),
            ("CCACHE_DIR", false),
        ] {
            assert_eq!(changes_the_build(name), changes, "{name}");
        }
        let config = "[registries.x]\nindex = 'y'\n[target.z]\nrustflags = ['-C', 'target-cpu=native']\n#linker = 'a'\n\
                      [profile.release]\nopt-level = 1\n";
        let lines = flag_lines(config);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("target-cpu=native") && lines[1].contains("opt-level"));
    }

    #[test]
    fn what_a_user_sets_stays_and_what_cargo_run_sets_goes() {
        for (name, own) in [
            ("CARGO_PKG_NAME", true),
            ("CARGO_MANIFEST_DIR", true),
            ("CARGO_TARGET_DIR", false),
            ("CARGO_HOME", false),
            ("CARGO_PROFILE_RELEASE_LTO", false),
        ] {
            assert_eq!(is_xtasks_own(name), own, "{name}");
        }
    }
}

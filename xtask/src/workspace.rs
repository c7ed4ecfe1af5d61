//! Where the workspace is, and what `cargo metadata` says of it.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{Metadata, MetadataCommand};
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
    let packages: Vec<&str> = tools.iter().flat_map(|tool| ["-p", tool]).collect();
    let (dir, target) = match target {
        None => (target_directory()?, vec![]),
        Some(target) => (target_directory()?.join(target), vec!["--target", target]),
    };
    cargo(shell)
        .args(["build", "--release", "--locked"])
        .args(target)
        .args(packages)
        .run()?;
    Ok(dir.join("release"))
}

#[cfg(test)]
mod tests {
    use super::*;

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

//! Where the workspace is, and what `cargo metadata` says of it.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use cargo_metadata::{Metadata, MetadataCommand};
use xshell::{Shell, cmd};

/// The workspace's root directory.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .map_or(manifest.clone(), std::path::Path::to_path_buf)
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
    cmd!(
        shell,
        "cargo build --release --locked {target...} {packages...}"
    )
    .quiet()
    .run()?;
    Ok(dir.join("release"))
}

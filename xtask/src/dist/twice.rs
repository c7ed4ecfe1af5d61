//! The second build: a fresh clone of the commit, its own target directory, the same bytes or a list of what differs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::sha256;
use crate::workspace;

/// Builds the commit again and compares the archives.
pub(super) fn run(shell: &Shell, target: Option<&str>, first: &Path) -> Result<()> {
    let work = workspace::target_directory()?.join("twice");
    if work.exists() {
        std::fs::remove_dir_all(&work).with_context(|| format!("emptying {}", work.display()))?;
    }
    let root = workspace::root();
    let (clone, build, out) = (work.join("clone"), work.join("build"), work.join("dist"));
    cmd!(shell, "git clone --quiet --no-hardlinks {root} {clone}")
        .quiet()
        .run()?;
    let commit = cmd!(shell, "git rev-parse HEAD").quiet().read()?;
    cmd!(shell, "git -C {clone} checkout --quiet --detach {commit}")
        .quiet()
        .run()?;
    {
        let _dir = shell.push_dir(&clone);
        let _target = shell.push_env("CARGO_TARGET_DIR", &build);
        let target = target.map_or(vec![], |target| vec!["--target", target]);
        workspace::cargo(shell)
            .args(["xtask", "release"])
            .args(target)
            .arg("--out-dir")
            .arg(&out)
            .run()?;
    }
    let name = first.file_name().context("an archive without a name")?;
    let second = out.join(name);
    let sums = [
        sha256(&std::fs::read(first)?),
        sha256(&std::fs::read(&second)?),
    ];
    if sums[0] == sums[1] {
        eprintln!("Twice the same: two builds of {commit} are {}", sums[0]);
        return Ok(());
    }
    let (a, b) = (listed(shell, first)?, listed(shell, &second)?);
    let differing: Vec<&String> = a
        .keys()
        .chain(b.keys().filter(|path| !a.contains_key(*path)))
        .filter(|path| a.get(*path) != b.get(*path))
        .collect();
    bail!("two builds of {commit} differ: {differing:?}")
}

/// Sums of the files by path, as the archive's manifest says.
fn listed(shell: &Shell, archive: &Path) -> Result<BTreeMap<String, String>> {
    let manifest = cmd!(shell, "tar -xzOf {archive} --wildcards */MANIFEST.json")
        .quiet()
        .read()?;
    let manifest: Value = serde_json::from_str(&manifest)?;
    let files = manifest["files"]
        .as_array()
        .context("a manifest without files")?;
    files
        .iter()
        .map(|file| {
            let text = |key: &str| {
                Ok::<_, anyhow::Error>(file[key].as_str().context("no text")?.to_owned())
            };
            Ok((text("path")?, text("sha256")?))
        })
        .collect()
}

//! The second build: a fresh clone of the commit, its own target directory, the same bytes or a list of what differs.
//!
//! Its directory is of this run alone and goes with it; a second archive that differs stays beside the first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use xshell::{Shell, cmd};

use super::sha256;
use crate::workspace;

/// Builds the commit again and compares the archives.
pub(super) fn run(shell: &Shell, target: Option<&str>, first: &Path) -> Result<()> {
    let work = tempfile::Builder::new()
        .prefix("twice-")
        .tempdir_in(workspace::target_directory()?)?;
    let work = work.path();
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
    let kept = first.with_file_name(format!("second-{}", name.to_string_lossy()));
    std::fs::copy(&second, &kept)?;
    let differing = differences(&manifest(shell, first)?, &manifest(shell, &second)?);
    let differing = if differing.is_empty() {
        "the same files, packed otherwise".to_owned()
    } else {
        differing.into_iter().collect::<Vec<_>>().join(", ")
    };
    bail!(
        "two builds of {commit} differ: {differing} (the second is {})",
        kept.display()
    )
}

/// The archive's own list of what is in it.
fn manifest(shell: &Shell, archive: &Path) -> Result<Value> {
    let text = cmd!(shell, "tar -xzOf {archive} --wildcards */MANIFEST.json")
        .quiet()
        .read()?;
    Ok(serde_json::from_str(&text)?)
}

/// What differs: paths of files, and entries of the manifest itself.
fn differences(first: &Value, second: &Value) -> BTreeSet<String> {
    let (a, b) = (entries(first), entries(second));
    a.keys()
        .chain(b.keys())
        .filter(|name| a.get(*name) != b.get(*name))
        .cloned()
        .collect()
}

/// Files by path with all that the manifest says of them, its other entries by `MANIFEST.json: KEY`.
fn entries(manifest: &Value) -> BTreeMap<String, &Value> {
    let mut entries = BTreeMap::new();
    for (key, value) in manifest.as_object().into_iter().flatten() {
        match (key.as_str(), value) {
            ("files", Value::Array(files)) => entries.extend(files.iter().map(|file| {
                let path = file["path"].as_str().unwrap_or_default();
                (path.to_owned(), file)
            })),
            _ => {
                entries.insert(format!("MANIFEST.json: {key}"), value);
            }
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_in_the_manifest_alone_was_told_as_none() {
        let file = |sum: &str| json!([{"path": "bin/a", "sha256": sum}]);
        let of = |rustc: &str, files: Value| json!({"rustc": rustc, "files": files});
        let first = of("1", file("x"));
        let told = |second: &Value| differences(&first, second).into_iter().collect::<Vec<_>>();
        assert_eq!(told(&first), Vec::<String>::new());
        assert_eq!(told(&of("2", file("x"))), ["MANIFEST.json: rustc"]);
        assert_eq!(told(&of("1", file("y"))), ["bin/a"]);
        assert_eq!(told(&of("1", json!([]))), ["bin/a"]);
    }
}

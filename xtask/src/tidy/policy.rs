//! What a dependency may be: the lists of `deny.toml`, the toolchain that is tested, and that somebody uses it.
//!
//! `cargo deny` and `cargo machete` say the same and more, but take longer to build than all of our checks together;
//! what they would say first is said here from `cargo metadata` alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::semver::Version;
use cargo_metadata::{Metadata, MetadataCommand, Package};
use spdx::{Expression, ParseMode};
use xshell::{Shell, cmd};

use crate::workspace;

/// Checks every dependency on every platform, and that each of ours names none in vain.
pub(super) fn breaches() -> Result<Vec<String>> {
    let root = workspace::root();
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(vec!["--locked".to_owned()])
        .exec()?;
    let rules = Rules::parse(&std::fs::read_to_string(root.join("deny.toml"))?);
    let tested = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_none())
        .find_map(|package| package.rust_version.clone())
        .context("the workspace has no rust-version")?;
    let mut breaches = Vec::new();
    for package in metadata.packages.iter().filter(|p| p.source.is_some()) {
        breaches.extend(rules.breaches(&Facts::of(package)));
        if let Some(asked) = &package.rust_version
            && *asked > tested
        {
            breaches.push(format!(
                "{} {} asks for Rust {asked}, the workspace is tested with {tested}",
                package.name, package.version
            ));
        }
    }
    let shell = Shell::new()?;
    let rustc = cmd!(shell, "rustc --version").quiet().read()?;
    breaches.extend(toolchain_breach(&rustc, &tested));
    breaches.extend(unused(&metadata)?);
    Ok(breaches)
}

/// That `rust-version` is the toolchain in use: no other one is ever tested.
fn toolchain_breach(told: &str, tested: &Version) -> Option<String> {
    let used = told
        .strip_prefix("rustc ")
        .and_then(|rest| rest.split([' ', '-']).next())
        .and_then(|version| Version::parse(version).ok());
    let is_tested =
        used.is_some_and(|used| (used.major, used.minor) == (tested.major, tested.minor));
    (!is_tested).then(|| {
        format!(
            "rust-version says {tested}, and everything is tested with {told}: use that toolchain, or raise rust-version"
        )
    })
}

/// What the rules look at.
#[derive(Debug)]
struct Facts {
    name: String,
    licence: String,
    source: String,
}

impl Facts {
    fn of(package: &Package) -> Self {
        Self {
            name: package.name.to_string(),
            licence: package.license.clone().unwrap_or_default(),
            source: package
                .source
                .as_ref()
                .map(|source| source.repr.clone())
                .unwrap_or_default(),
        }
    }
}

/// The lists of `deny.toml` that are checked here.
#[derive(Debug)]
struct Rules {
    licences: BTreeSet<String>,
    banned: BTreeSet<String>,
    registries: BTreeSet<String>,
}

impl Rules {
    /// Reads the lists of strings in the file; other settings are cargo-deny's.
    fn parse(text: &str) -> Self {
        let mut lists: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        let mut section = String::new();
        let mut key = String::new();
        for line in text.lines().map(str::trim) {
            if line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                name.clone_into(&mut section);
                key.clear();
                continue;
            }
            let values = match line.split_once(" = ") {
                Some((name, values)) => {
                    name.clone_into(&mut key);
                    values
                }
                None => line,
            };
            let strings = values.split('"').skip(1).step_by(2).map(str::to_owned);
            lists
                .entry((section.clone(), key.clone()))
                .or_default()
                .extend(strings);
        }
        let mut take = |section: &str, key: &str| {
            lists
                .remove(&(section.to_owned(), key.to_owned()))
                .unwrap_or_default()
        };
        Self {
            licences: take("licenses", "allow"),
            banned: take("bans", "deny"),
            registries: take("sources", "allow-registry"),
        }
    }

    fn breaches(&self, package: &Facts) -> Vec<String> {
        let name = &package.name;
        let mut breaches = Vec::new();
        let licensed =
            Expression::parse_mode(&package.licence, ParseMode::LAX).is_ok_and(|licence| {
                licence.evaluate(|asked| {
                    asked
                        .license
                        .id()
                        .is_some_and(|id| self.licences.contains(id.name))
                })
            });
        if !licensed {
            breaches.push(format!(
                "{name} has the licence {:?}, which deny.toml does not allow",
                package.licence
            ));
        }
        if self.banned.contains(name) {
            breaches.push(format!("{name} is banned by deny.toml"));
        }
        let registry = package.source.strip_prefix("registry+");
        if !registry.is_some_and(|url| self.registries.contains(url)) {
            breaches.push(format!(
                "{name} comes from {}, which deny.toml does not allow",
                package.source
            ));
        }
        breaches
    }
}

/// Dependencies of our packages whose name stands in none of their files.
fn unused(metadata: &Metadata) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    for package in metadata.packages.iter().filter(|p| p.source.is_none()) {
        let home = package
            .manifest_path
            .parent()
            .context("a manifest without a directory")?;
        let mut code = String::new();
        for dir in ["src", "tests", "benches", "examples"] {
            append_code(home.join(dir).as_std_path(), &mut code)?;
        }
        let words: BTreeSet<&str> = code
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .collect();
        for dependency in &package.dependencies {
            let name = dependency.rename.as_ref().unwrap_or(&dependency.name);
            // A library may be called otherwise than its package: md-5 is md5 in code.
            let libraries = metadata
                .packages
                .iter()
                .filter(|package| package.name.as_str() == dependency.name)
                .flat_map(|package| &package.targets)
                .map(|target| target.name.replace('-', "_"));
            let mut names = libraries.chain([name.replace('-', "_")]);
            if !names.any(|name| words.contains(name.as_str())) {
                breaches.push(format!("{} never uses its dependency {name}", package.name));
            }
        }
    }
    Ok(breaches)
}

/// Appends the code below `dir`, and that of the directories in which a `#[path]` of it leads: tests share support.
fn append_code(dir: &Path, code: &mut String) -> Result<()> {
    let mut open = vec![dir.to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(dir) = open.pop() {
        let Ok(dir) = dir.canonicalize() else {
            continue;
        };
        if !seen.insert(dir.clone()) {
            continue;
        }
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path)?;
                let leads = text
                    .lines()
                    .filter_map(|line| line.trim().strip_prefix("#[path = \""))
                    .filter_map(|rest| rest.split('"').next())
                    .filter_map(|lead| Some(dir.join(lead).parent()?.to_owned()));
                open.extend(leads);
                code.push_str(&text);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "\
# allow = [\"GPL-3.0\"]
[licenses]
allow = [
    \"MIT\",
    # \"GPL-3.0\",
    \"ISC\",
]
[bans]
multiple-versions = \"warn\"
deny = [\"openssl\"]
[sources]
allow-registry = [\"https://crates\"]
";

    fn breaches(name: &str, licence: &str, source: &str) -> usize {
        let facts = Facts {
            name: name.to_owned(),
            licence: licence.to_owned(),
            source: source.to_owned(),
        };
        Rules::parse(RULES).breaches(&facts).len()
    }

    #[test]
    fn a_package_needs_a_licence_a_source_and_no_ban() {
        let home = "registry+https://crates";
        for licence in ["MIT", "GPL-3.0 OR MIT", "MIT/Apache-2.0", "MIT AND ISC"] {
            assert_eq!(breaches("a", licence, home), 0, "{licence}");
        }
        for licence in ["GPL-3.0", "MIT AND GPL-3.0", "", "my own"] {
            assert_eq!(breaches("a", licence, home), 1, "{licence}");
        }
        assert_eq!(breaches("openssl", "MIT", home), 1);
        assert_eq!(breaches("a", "MIT", "git+https://crates"), 1);
    }

    #[test]
    fn the_toolchain_is_the_one_that_rust_version_names() {
        let breach = |told: &str| toolchain_breach(told, &Version::new(1, 95, 0)).is_some();
        for told in ["rustc 1.95.0 (abc 2026-01-01)", "rustc 1.95.2 (abc)"] {
            assert!(!breach(told), "{told}");
        }
        for told in [
            "rustc 1.96.0 (abc)",
            "rustc 1.94.1",
            "rustc 1.96.0-nightly (x)",
            "",
        ] {
            assert!(breach(told), "{told}");
        }
    }

    #[test]
    fn the_repositorys_own_rules_are_read() {
        let text = std::fs::read_to_string(workspace::root().join("deny.toml")).unwrap();
        let rules = Rules::parse(&text);
        assert!(rules.licences.contains("Apache-2.0"));
        assert!(rules.banned.contains("openssl-sys"));
        assert_eq!(rules.registries.len(), 1);
    }
}

//! Licence texts of everything that is compiled into the tools.
//!
//! Promise: a dependency without a text of its own gets the standard text of a licence it offers, said so; one for
//! which there is neither ends the release.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, MetadataCommand, Package, PackageId};
use serde_json::{Value, json};
use spdx::{Expression, LicenseReq, ParseMode};

use super::{Files, insert};
use crate::workspace;

/// Beginnings of the names of files that hold a licence or what it asks to pass on, in capitals.
const NAMES: &[&str] = &[
    "LICENSE",
    "LICENCE",
    "UNLICENSE",
    "COPYING",
    "COPYRIGHT",
    "NOTICE",
];
/// How deep below a package's root they are looked for: `oniguruma/COPYING`, `third_party/fiat/LICENSE`.
const DEPTH: usize = 3;

const MIT: &str = "\
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the \"Software\"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
";

/// Adds `licenses/NAME-VERSION/…` and `licenses/README.md`; answers with name, version and licence of each dependency.
pub(super) fn add(tools: &[String], target: &str, files: &mut Files) -> Result<Vec<Value>> {
    let packages = compiled(tools, target)?;
    let apache = std::fs::read_to_string(workspace::root().join("LICENSE"))?;
    let mut table = String::from(
        "# Licences of what is compiled into the tools\n\nThe tools themselves: Apache-2.0 (`LICENSE`). Rust's standard \
         library: MIT or Apache-2.0.\n\n| package | licence |\n|---|---|\n",
    );
    let mut listed = Vec::new();
    for package in &packages {
        let folder = format!("licenses/{}-{}", package.name, package.version);
        let licence = package.license.clone().unwrap_or_default();
        let home = package
            .manifest_path
            .parent()
            .context("a manifest without a directory")?;
        let mut texts = BTreeMap::new();
        collect(home.as_std_path(), "", DEPTH, &mut texts)?;
        if texts.is_empty() {
            texts.insert(
                "LICENSE.standard.txt".to_owned(),
                standard(package, &apache)?.into_bytes(),
            );
        }
        for (path, text) in texts {
            insert(files, &format!("{folder}/{path}"), text, false);
        }
        writeln!(
            table,
            "| {} {} | {licence} |",
            package.name, package.version
        )?;
        listed.push(json!({
            "name": package.name.as_str(),
            "version": package.version.to_string(),
            "license": licence,
        }));
    }
    insert(files, "licenses/README.md", table.into_bytes(), false);
    Ok(listed)
}

/// The packages of others that the tools are built from, on that target; tests' and benches' own are not among them.
fn compiled(tools: &[String], target: &str) -> Result<Vec<Package>> {
    let metadata = MetadataCommand::new()
        .manifest_path(workspace::root().join("Cargo.toml"))
        .other_options(vec![
            "--locked".to_owned(),
            "--filter-platform".to_owned(),
            target.to_owned(),
        ])
        .exec()?;
    let resolve = metadata
        .resolve
        .as_ref()
        .context("cargo metadata resolved nothing")?;
    let nodes: BTreeMap<&PackageId, _> =
        resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut open: Vec<&PackageId> = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_none() && tools.contains(&package.name.to_string()))
        .map(|package| &package.id)
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let node = nodes
            .get(id)
            .context("a package that is not in the graph")?;
        open.extend(
            node.deps
                .iter()
                .filter(|dep| {
                    dep.dep_kinds
                        .iter()
                        .any(|kind| kind.kind != DependencyKind::Development)
                })
                .map(|dep| &dep.pkg),
        );
    }
    let mut packages: Vec<Package> = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_some() && seen.contains(&package.id))
        .cloned()
        .collect();
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(packages)
}

/// Licences in the order in which one is chosen where a package offers several.
const PREFERRED: &[&str] = &[
    "Apache-2.0",
    "MIT",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CDLA-Permissive-2.0",
];

/// The terms of the tools with all that is compiled in: our licence, and of each dependency's the one it is used under.
pub(super) fn terms<'a>(licences: impl Iterator<Item = &'a str>) -> Result<String> {
    let mut terms = BTreeSet::from(["Apache-2.0".to_owned()]);
    let accepted: Vec<spdx::Licensee> = PREFERRED
        .iter()
        .map(|name| spdx::Licensee::parse(name))
        .collect::<Result<_, _>>()?;
    for licence in licences {
        let expression = Expression::parse_mode(licence, ParseMode::LAX)
            .with_context(|| format!("the licence {licence:?}"))?;
        let chosen = expression
            .minimized_requirements(&accepted)
            .with_context(|| {
                format!("no licence of {licence:?} is in xtask's list of the preferred: add one")
            })?;
        terms.extend(chosen.iter().map(ToString::to_string));
    }
    Ok(terms.into_iter().collect::<Vec<_>>().join(" AND "))
}

fn collect(
    dir: &Path,
    below: &str,
    depth: usize,
    texts: &mut BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = format!("{below}{name}");
        let is_dir = entry.file_type()?.is_dir();
        if is_dir && depth > 1 && !["target", ".git", "tests"].contains(&name.as_str()) {
            collect(&entry.path(), &format!("{path}/"), depth - 1, texts)?;
        } else if !is_dir && is_licence(&name) {
            texts.insert(path, std::fs::read(entry.path())?);
        }
    }
    Ok(())
}

fn is_licence(name: &str) -> bool {
    let capitals = name.to_ascii_uppercase();
    let is_code = [".RS", ".C", ".H", ".PY", ".TMPL", ".HTML"]
        .iter()
        .any(|end| capitals.ends_with(end));
    !is_code && NAMES.iter().any(|begin| capitals.starts_with(begin))
}

/// The standard text for a package that carries none.
fn standard(package: &Package, apache: &str) -> Result<String> {
    let words = package.license.as_deref().unwrap_or_default();
    let expression = Expression::parse_mode(words, ParseMode::LAX)
        .with_context(|| format!("{} has the licence {words:?}", package.name))?;
    let offers = |id: &str| {
        expression
            .evaluate(|req: &LicenseReq| req.license.id().is_some_and(|licence| licence.name == id))
    };
    let authors = if package.authors.is_empty() {
        format!("the authors of {}", package.name)
    } else {
        package.authors.join(", ")
    };
    let text = if offers("MIT") {
        format!("MIT License\n\nCopyright (c) {authors}\n\n{MIT}")
    } else if offers("Apache-2.0") {
        format!("Copyright {authors}\n\n{apache}")
    } else {
        bail!(
            "{} {} has no licence text and its licence is {words:?}: add the text by hand",
            package.name,
            package.version
        )
    };
    Ok(format!(
        "The package contains no licence text; its manifest says {words:?}. This is the standard text.\n\n{text}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terms_of_the_whole_name_what_is_used_of_each_part() {
        let of = |licences: &[&str]| terms(licences.iter().copied());
        assert_eq!(of(&[]).unwrap(), "Apache-2.0");
        assert_eq!(
            of(&[
                "MIT",
                "MIT/Apache-2.0",
                "Apache-2.0 AND ISC",
                "Unlicense OR MIT"
            ])
            .unwrap(),
            "Apache-2.0 AND ISC AND MIT"
        );
        assert!(of(&["GPL-3.0-only"]).is_err());
    }

    #[test]
    fn licence_files_are_told_from_code_about_licences() {
        for (name, is) in [
            ("LICENSE", true),
            ("LICENSE-MIT", true),
            ("license-apache.txt", true),
            ("COPYING", true),
            ("NOTICE.md", true),
            ("license.rs", false),
            ("README.md", false),
        ] {
            assert_eq!(is_licence(name), is, "{name}");
        }
    }
}

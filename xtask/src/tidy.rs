//! `cargo xtask tidy`: house rules that no compiler checks, each with the reason it exists.

mod policy;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, ensure};
use cargo_metadata::DependencyKind;

use crate::{docs, workspace};

/// What testers need that measure test after test.
const STUDY_TESTER: &[&str] = &[
    "cli",
    "core-client",
    "engine",
    "metrics",
    "ramp",
    "report",
    "setup",
    "workload",
];

/// Which of our crates may depend on which. A new edge is a design decision: make it here, on purpose.
const MAY_USE: &[(&str, &[&str])] = &[
    ("cli", &[]),
    ("core-client", &["metrics"]),
    (
        "engine",
        &["core-client", "metrics", "ramp", "report", "workload"],
    ),
    ("hub", &[]),
    ("kvcalc", &[]),
    ("metrics", &[]),
    ("ramp", &["metrics"]),
    ("report", &["metrics"]),
    (
        "setup",
        &[
            "cli",
            "core-client",
            "engine",
            "hub",
            "kvcalc",
            "metrics",
            "ramp",
            "report",
            "workload",
        ],
    ),
    ("sim", &["hub", "kvcalc"]),
    ("testkit", &[]),
    ("workload", &[]),
    ("cache_rate_tester", STUDY_TESTER),
    ("combine_graphs", &["cli", "metrics", "report"]),
    ("generate_index", &["cli", "metrics", "report"]),
    ("regenerate_graphs", &["cli", "metrics", "report"]),
    ("kv_cache_sim", &["cli", "kvcalc", "sim"]),
    ("kv_cache_size", &["cli", "hub", "kvcalc"]),
    ("llm_benchmark", &["cli", "core-client", "metrics"]),
    (
        "single_prompt_tester",
        &[
            "cli",
            "core-client",
            "engine",
            "metrics",
            "report",
            "setup",
            "workload",
        ],
    ),
    ("working_set_tester", STUDY_TESTER),
    ("xtask", &[]),
    (
        "manual",
        &[
            "cli",
            "cache_rate_tester",
            "combine_graphs",
            "generate_index",
            "kv_cache_sim",
            "kv_cache_size",
            "llm_benchmark",
            "regenerate_graphs",
            "single_prompt_tester",
            "working_set_tester",
        ],
    ),
];

/// Crates that answer from their arguments alone.
const PURE: &[&str] = &["kvcalc", "metrics", "ramp", "workload"];
/// What they may not name.
const IMPURE: &[&str] = &[
    "tokio::",
    "std::fs",
    "fs_err",
    "SystemTime",
    "Instant::now",
    "rand::rng()",
    "std::net",
    "println!",
];
/// A file longer than this is two files.
const MOST_LINES: usize = 700;
/// A `main.rs` longer than this hides something that a test wants to call.
const MOST_MAIN_LINES: usize = 30;

/// Checks the rules and prints every breach.
pub(crate) fn run() -> Result<()> {
    let mut breaches = dependency_breaches()?;
    breaches.extend(policy::breaches()?);
    breaches.extend(docs::breaches()?);
    for (path, text) in workspace::texts("*.rs")? {
        breaches.extend(file_breaches(&path, &text));
    }
    for breach in &breaches {
        eprintln!("tidy: {breach}");
    }
    ensure!(
        breaches.is_empty(),
        "{} breaches of the house rules",
        breaches.len()
    );
    eprintln!("tidy: clean");
    Ok(())
}

fn dependency_breaches() -> Result<Vec<String>> {
    let metadata = workspace::metadata()?;
    let ours: BTreeSet<String> = metadata
        .packages
        .iter()
        .map(|p| p.name.to_string())
        .collect();
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut breaches = Vec::new();
    for package in &metadata.packages {
        let name = package.name.to_string();
        let Some(allowed) = allowed.get(name.as_str()) else {
            breaches.push(format!(
                "package {name} has no line in xtask's table of dependencies"
            ));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|d| d.kind == DependencyKind::Normal)
        {
            if ours.contains(&dependency.name) && !allowed.contains(&dependency.name.as_str()) {
                breaches.push(format!(
                    "{name} depends on {}, an edge that xtask's table does not allow",
                    dependency.name
                ));
            }
        }
    }
    Ok(breaches)
}

fn file_breaches(path: &Path, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let shown = path.display();
    let n_lines = text.lines().count();
    if !text.starts_with("//!") {
        breaches.push(format!(
            "{shown}: starts without a //! line that says what the file is for"
        ));
    }
    if n_lines > MOST_LINES {
        breaches.push(format!("{shown}: {n_lines} lines, more than {MOST_LINES}"));
    }
    if path.file_name().is_some_and(|n| n == "main.rs")
        && path.starts_with("bins")
        && n_lines > MOST_MAIN_LINES
    {
        breaches.push(format!(
            "{shown}: {n_lines} lines in a main.rs, more than {MOST_MAIN_LINES}"
        ));
    }
    if path.file_name().is_some_and(|n| n == "mod.rs") && !path.iter().any(|part| part == "tests") {
        // Below tests/, `common/mod.rs` is cargo's own way to say that a file is no test target.
        breaches.push(format!("{shown}: name the module's file after the module"));
    }
    let is_pure = PURE
        .iter()
        .any(|krate| path.starts_with(format!("crates/{krate}/src")));
    if is_pure {
        let product_code = without_tests(text);
        for word in IMPURE.iter().filter(|word| product_code.contains(**word)) {
            breaches.push(format!("{shown}: a pure crate names {word}"));
        }
    }
    breaches
}

/// Formatted code without its items for tests alone; what stands behind such an item is product code again.
fn without_tests(text: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines();
    let mut product = String::new();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            product.push_str(line);
            product.push('\n');
            continue;
        }
        let depth = indent(line);
        // rustfmt ends an item with the first line as far left as its beginning that closes a block or a statement.
        for item in lines.by_ref() {
            let ends = item.ends_with(';') || item.ends_with('}');
            if indent(item) == depth && ends {
                break;
            }
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_behind_an_item_for_tests_is_looked_at() {
        let breaches = |text: &str| file_breaches(Path::new("crates/ramp/src/x.rs"), text).len();
        let module = "//! X.\n#[cfg(test)]\nmod tests;\n\nfn f() { Instant::now(); }\n";
        assert_eq!(breaches(module), 1);
        let block =
            "//! X.\n#[cfg(test)]\nmod tests {\n    fn g() {\n        Instant::now();\n    }\n}\n";
        assert_eq!(breaches(block), 0);
        assert_eq!(
            breaches(&format!("{block}fn f() {{ Instant::now(); }}\n")),
            1
        );
    }

    #[test]
    fn a_pure_crate_that_reads_a_clock_is_a_breach() {
        let breaches = file_breaches(
            Path::new("crates/ramp/src/x.rs"),
            "//! X.\nfn f() { Instant::now(); }\n",
        );
        assert_eq!(breaches.len(), 1, "{breaches:?}");
    }

    #[test]
    fn a_file_without_a_purpose_is_a_breach() {
        assert_eq!(
            file_breaches(Path::new("crates/engine/src/x.rs"), "fn f() {}\n").len(),
            1
        );
        assert!(
            file_breaches(Path::new("crates/engine/src/x.rs"), "//! X.\nfn f() {}\n").is_empty()
        );
    }
}

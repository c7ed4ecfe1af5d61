//! What README and docs promise: every command in them is run, every link leads somewhere, every page is in the book.
//!
//! A box marked `bash` is run by `cargo xtask docs`, one marked `bash ci` holds lines that `.ci/run` runs; all others say
//! that they are no commands (`text`, `json`, …). `cargo xtask tidy` holds pages to that.

mod execute;
mod page;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, ensure};
use xshell::Shell;

use crate::workspace;
use page::{Block, Page};

/// Words behind the backticks of boxes that hold no command.
const NO_COMMANDS: &[&str] = &["text", "json", "yaml", "toml", "csv", "rust", "python"];

/// Pages whose commands run side by side; none of them judges a time.
const PAGES_AT_ONCE: usize = 3;

/// Options of the check.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run the commands of these pages only, such as docs/simulator.md.
    pages: Vec<PathBuf>,
    /// Run the programs in this directory instead of building them.
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

/// Runs every command of README and docs.
pub(crate) fn run(args: &Args) -> Result<()> {
    let shell = Shell::new()?;
    shell.change_dir(workspace::root());
    let bin = match &args.bin_dir {
        Some(given) => std::path::absolute(given)?,
        None => workspace::build_released(&shell, None, &workspace::tools()?)?,
    };
    let pages = pages()?;
    let asked = |path: &PathBuf| args.pages.is_empty() || args.pages.contains(path);
    let work: Vec<(&Path, Vec<&Block>)> = pages
        .iter()
        .filter(|(path, _)| asked(path))
        .map(|(path, page)| {
            let runs = page.blocks.iter().filter(|block| block.info == "bash");
            (path.as_path(), runs.collect::<Vec<_>>())
        })
        .filter(|(_, boxes)| !boxes.is_empty())
        .collect();
    let n_boxes: usize = work.iter().map(|(_, boxes)| boxes.len()).sum();
    ensure!(n_boxes > 0, "no page has a command");
    run_pages(&bin, &work)?;
    eprintln!("{n_boxes} boxes of commands ran");
    Ok(())
}

/// Runs the boxes of pages, some pages at once: the programs mostly wait for the simulated server.
fn run_pages(bin: &Path, work: &[(&Path, Vec<&Block>)]) -> Result<()> {
    let next = AtomicUsize::new(0);
    let run_next = || -> Result<()> {
        let shell = Shell::new()?;
        while let Some((path, boxes)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            execute::page(&shell, bin, path, boxes)?;
            eprintln!("{}: {} boxes", path.display(), boxes.len());
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..PAGES_AT_ONCE).map(|_| scope.spawn(run_next)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .map_err(|_| anyhow!("a page's thread panicked"))?
        })
    })
}

/// What is wrong with pages, links and the book's list.
pub(crate) fn breaches() -> Result<Vec<String>> {
    let pages = pages()?;
    let ci = std::fs::read_to_string(workspace::root().join(".ci/run"))?;
    let mut breaches = Vec::new();
    for (path, page) in &pages {
        breaches.extend(box_breaches(path, page, &ci));
        breaches.extend(link_breaches(path, page, &pages));
    }
    breaches.extend(book_breaches(&pages));
    Ok(breaches)
}

/// The pages by their path in the repository.
fn pages() -> Result<BTreeMap<PathBuf, Page>> {
    let texts = workspace::texts("*.md")?;
    let ours = texts
        .into_iter()
        .filter(|(path, _)| !path.to_string_lossy().contains("tests/data/"));
    Ok(ours
        .map(|(path, text)| (path, Page::parse(&text)))
        .collect())
}

/// What stands in the boxes of one page, in their order.
///
/// # Errors
/// When there is no such page.
pub(crate) fn boxes(page: &str) -> Result<Vec<String>> {
    let text =
        std::fs::read_to_string(workspace::root().join(page)).with_context(|| page.to_owned())?;
    Ok(Page::parse(&text)
        .blocks
        .into_iter()
        .map(|block| block.text)
        .collect())
}

fn box_breaches(path: &Path, page: &Page, ci: &str) -> Vec<String> {
    let shown = path.display();
    let mut breaches = Vec::new();
    for line in &page.indented {
        breaches.push(format!(
            "{shown}:{line}: a box by indentation; put it between backticks and say what it holds"
        ));
    }
    for block in &page.blocks {
        let line = block.line;
        match block.info.as_str() {
            "bash" => {}
            "bash ci" => {
                for command in block.commands() {
                    if !runs(ci, &command) {
                        breaches.push(format!("{shown}:{line}: .ci/run does not run `{command}`"));
                    }
                }
            }
            info if NO_COMMANDS.contains(&info) => {}
            info => breaches.push(format!(
                "{shown}:{line}: a box marked {info:?}: `bash` is run by cargo xtask docs, `bash ci` by .ci/run; else `text` or \
                 the kind of data"
            )),
        }
    }
    breaches
}

/// Whether a script has that command, and not in a comment.
fn runs(script: &str, command: &str) -> bool {
    let mut code = script
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split(" #").next());
    code.any(|line| line.contains(command))
}

fn link_breaches(path: &Path, page: &Page, pages: &BTreeMap<PathBuf, Page>) -> Vec<String> {
    let shown = path.display();
    let mut breaches = Vec::new();
    for (line, link) in &page.links {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = if file.is_empty() {
            path.to_owned()
        } else {
            resolved(path, file)
        };
        if !workspace::root().join(&target).exists() {
            breaches.push(format!("{shown}:{line}: {link} leads nowhere"));
        } else if path.starts_with("docs") && !target.starts_with("docs") {
            breaches.push(format!(
                "{shown}:{line}: {link} leads out of the book; name the file instead"
            ));
        } else if !anchor.is_empty()
            && !pages
                .get(&target)
                .is_some_and(|page| page.anchors.contains(anchor))
        {
            breaches.push(format!("{shown}:{line}: {link} has no such heading"));
        }
    }
    breaches
}

/// A link's target as a path in the repository.
fn resolved(from: &Path, link: &str) -> PathBuf {
    let mut target = from.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => {
                target.pop();
            }
            Component::Normal(name) => target.push(name),
            _ => {}
        }
    }
    target
}

/// Every page below docs/ is in the book, once.
fn book_breaches(pages: &BTreeMap<PathBuf, Page>) -> Vec<String> {
    let summary = Path::new("docs/SUMMARY.md");
    let Some(list) = pages.get(summary) else {
        return vec!["docs/SUMMARY.md is missing".to_owned()];
    };
    let listed: Vec<PathBuf> = list
        .links
        .iter()
        .map(|(_, link)| resolved(summary, link))
        .collect();
    pages
        .keys()
        .filter(|path| path.starts_with("docs") && *path != summary)
        .filter_map(|path| {
            let n = listed.iter().filter(|listed| *listed == path).count();
            (n != 1).then(|| {
                format!(
                    "docs/SUMMARY.md lists {} {n} times, not once",
                    path.display()
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(path: &str, text: &str) -> BTreeMap<PathBuf, Page> {
        BTreeMap::from([(PathBuf::from(path), Page::parse(text))])
    }

    #[test]
    fn a_box_of_commands_that_nobody_runs_is_a_breach() {
        let count = |text: &str| {
            box_breaches(
                Path::new("x.md"),
                &Page::parse(text),
                "  cargo xtask demo --locked\n  # cargo fly\nstep # cargo fly\n",
            )
            .len()
        };
        assert_eq!(count("```bash\nls\n```\n"), 0);
        assert_eq!(count("```text\nls\n```\n"), 0);
        assert_eq!(count("```\nls\n```\n"), 1);
        assert_eq!(count("```sh\nls\n```\n"), 1);
        assert_eq!(count("text\n\n    ls\n"), 1);
        assert_eq!(count("- item\n\n    more of it\n"), 0);
        assert_eq!(count("- item\n\n    - item within\n\n    more of it\n"), 0);
        assert_eq!(count("12. item\n\n    more of it\n"), 0);
        // A box of options was taken for a list, and so was one behind a line that begins with bold words or a number.
        assert_eq!(count("text\n\n    --mode fixed\n"), 1);
        assert_eq!(count("text\n\n    - x\n"), 1);
        assert_eq!(count("**text**\n\n    ls\n"), 1);
        assert_eq!(count("16 cores\n\n    ls\n"), 1);
        assert_eq!(count("```bash ci\ncargo xtask demo   # a minute\n```\n"), 0);
        assert_eq!(count("```bash ci\ncargo xtask demo\ncargo fly\n```\n"), 1);
    }

    #[test]
    fn links_lead_to_files_and_headings() {
        let count = |text: &str| {
            let pages = book("docs/performance.md", text);
            link_breaches(
                Path::new("docs/performance.md"),
                &pages[Path::new("docs/performance.md")],
                &pages,
            )
            .len()
        };
        assert_eq!(count("# A `b`, c\n[x](#a-b-c) [y](https://z/q#w)\n"), 0);
        assert_eq!(count("[x](#nothing)\n"), 1);
        assert_eq!(count("[x](no_such_page.md)\n"), 1);
        assert_eq!(count("[x](../README.md)\n"), 1);
        assert_eq!(count("`[x](no_such_page.md)`\n"), 0);
    }
}

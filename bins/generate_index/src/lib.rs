//! `generate_index`: the dashboard of a result directory.
//!
//! Promise: a thin shell; everything on the page is [`report::index`]'s work. Whatever is wrong with the
//! files of the directory, the page is written.

pub mod args;

use anyhow::anyhow;
use cli::console::Console;
use cli::{AppExit, Failure};
use report::index::{INDEX_FILE, write_index_with_kind};

/// Runs the tool with parsed arguments.
///
/// # Errors
/// A directory that does not exist, with exit code 2; a page that cannot be written, with exit code 1.
pub fn run(args: &args::Args) -> Result<AppExit, Failure> {
    let dir = &args.output_dir;
    if !dir.is_dir() {
        let shown = dir.display();
        return Err(Failure::usage(if dir.exists() {
            anyhow!("{shown} is not a directory")
        } else {
            anyhow!("Directory {shown} does not exist")
        }));
    }
    let (kind, warnings) = write_index_with_kind(dir, &args.tool_version)?;
    let console = Console::stderr();
    for warning in warnings {
        console.write(&format!("Warning: {warning}\n"));
    }
    console.write(&format!("Detected test type: {kind}\n"));
    let page = dir.join(INDEX_FILE);
    console.write(&format!("Generated index.html: {}\n", page.display()));
    Ok(AppExit::Done)
}

//! Pages that hold tables and no chart.

use std::path::{Path, PathBuf};

use askama::Template;

use super::{policy_without_script, style_sheet};
use crate::atomic::{self, FileError};

/// One cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    /// As it is shown.
    pub text: String,
    /// Set off as the best of its kind.
    pub best: bool,
}

impl Cell {
    /// A cell like any other.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            best: false,
        }
    }
}

/// A table with what is said about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// Heading; empty where the page's title says it all.
    pub heading: String,
    /// Name for assistive software.
    pub label: String,
    /// Sentences before the table.
    pub intro: Vec<String>,
    /// Names of the columns.
    pub head: Vec<String>,
    /// Rows, all as long as the head.
    pub rows: Vec<Vec<Cell>>,
    /// Sentences behind the table.
    pub notes: Vec<String>,
}

#[derive(Template)]
#[template(path = "table.html")]
struct TablePage<'a> {
    policy: &'static str,
    version: &'a str,
    title: &'a str,
    style: String,
    sections: &'a [Section],
}

/// Writes `<stem>.html` into `dir` and returns its path.
///
/// # Errors
/// When the directory cannot be written; an older page then stands unchanged.
pub fn write_table_page(
    dir: &Path,
    stem: &str,
    title: &str,
    sections: &[Section],
    version: &str,
) -> Result<PathBuf, FileError> {
    let page = TablePage {
        policy: policy_without_script(),
        version,
        title,
        style: style_sheet(),
        sections,
    };
    let text = page
        .render()
        .expect("the template only writes into a string");
    let path = dir.join(format!("{stem}.html"));
    atomic::write(&path, text.as_bytes())?;
    Ok(path)
}

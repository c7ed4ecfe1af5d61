//! Self-contained pages: one chart each, with everything inside and nothing fetched.
//!
//! A page holds the drawing for wide and for narrow screens, a small preview for the index, all values
//! as a table, the same values as data for the one inline script, and a content security policy that
//! lets only that script run. Text from outside is escaped by the templates and by [`data`]; markup
//! that goes in unescaped is our own drawing, whose texts were escaped when it was drawn.

mod data;
mod sheet;
mod style;
mod table;

use std::path::{Path, PathBuf};

use askama::Template;

use crate::atomic::{self, FileError};
use crate::chart::Chart;
use crate::svg::{Layout, draw};

pub use sheet::{Cell, Section, write_table_page};
use style::style_sheet_for;
pub(crate) use style::{policy_without_script, style_sheet};

/// What pages say about the run they belong to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageContext {
    /// Model as the server names it.
    pub model: Option<String>,
    /// Version of this program, for the footer.
    pub version: String,
}

/// The one inline script of all chart pages.
const SCRIPT: &str = include_str!("../templates/chart.js");

#[derive(Template)]
#[template(path = "chart.html")]
struct ChartPage<'a> {
    policy: String,
    version: &'a str,
    title: String,
    kind: &'static str,
    description: &'a str,
    model: Option<&'a str>,
    preview: String,
    style: String,
    wide: String,
    narrow: String,
    captions: &'a [String],
    tables: Vec<table::Table>,
    data: String,
    script: &'static str,
}

/// The page of one chart, as HTML that is well-formed XML too.
#[must_use]
pub fn chart_page(chart: &Chart, context: &PageContext) -> String {
    let wide = draw(chart, Layout::Wide);
    let narrow = draw(chart, Layout::Narrow);
    let page = ChartPage {
        policy: style::policy(SCRIPT),
        version: &context.version,
        title: page_title(chart),
        kind: chart.kind.name(),
        description: &chart.description,
        model: context.model.as_deref(),
        preview: draw(chart, Layout::Preview).svg,
        style: style_sheet_for(chart),
        data: data::embed(chart, &wide, &narrow),
        wide: wide.svg,
        narrow: narrow.svg,
        captions: &chart.captions,
        tables: table::tables(chart),
        script: SCRIPT,
    };
    page.render()
        .expect("the template only writes into a string")
}

/// Writes the page of `chart` into `dir` under its own name and returns its path.
///
/// # Errors
/// When the directory cannot be written; an older page then stands unchanged.
pub fn write_chart(dir: &Path, chart: &Chart, context: &PageContext) -> Result<PathBuf, FileError> {
    let path = dir.join(format!("{}.html", chart.stem));
    atomic::write(&path, chart_page(chart, context).as_bytes())?;
    Ok(path)
}

/// Title of the browser's tab: the chart's title and what it is about.
fn page_title(chart: &Chart) -> String {
    match chart.subtitles.first() {
        Some(about) => format!("{} – {about}", chart.title),
        None => chart.title.clone(),
    }
}

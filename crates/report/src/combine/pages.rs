//! The files of a comparison.

use std::path::{Path, PathBuf};

use askama::Template;
use jiff::Zoned;

use super::table::{COLUMNS, comparison_rows};
use super::{Comparison, ab};
use crate::atomic::{self, FileError};
use crate::catalogue::combined_charts;
use crate::chart::{Ink, count};
use crate::index::{Link, preview_address};
use crate::page::{
    Cell, PageContext, Section, policy_without_script, style_sheet, write_chart, write_table_page,
};

/// Stem of the table's files.
const TABLE: &str = "summary_comparison";

/// Writes all files into an existing directory: three charts per context, the table as CSV and as a page,
/// and the index, in this order. `stop` is asked before each file; where it says so, nothing more is
/// written. Returns the paths of what was written.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_comparison(
    dir: &Path,
    comparison: &Comparison,
    warnings: &[String],
    version: &str,
    stop: &dyn Fn() -> bool,
) -> Result<Vec<PathBuf>, FileError> {
    let context = PageContext {
        model: common_model(comparison),
        version: version.to_owned(),
    };
    let mut written = Vec::new();
    let mut groups: Vec<Group> = [
        "Input Throughput Comparisons",
        "Output Throughput Comparisons",
        "TTFT Comparisons",
    ]
    .map(|title| Group {
        title,
        links: Vec::new(),
    })
    .into();
    let words = [
        "Input throughput",
        "Output throughput",
        "Time to first token",
    ];
    for size in comparison.contexts() {
        let charts = combined_charts(size, &comparison.lines(size));
        for ((chart, group), words) in charts.iter().zip(&mut groups).zip(words) {
            if stop() {
                return Ok(written);
            }
            written.push(write_chart(dir, chart, &context)?);
            group.links.push(Link {
                href: format!("{}.html", chart.stem),
                text: format!("Context {} tokens - {words}", count(size)),
                description: "All configurations over the cache hit rate.",
                picture: Some(preview_address(chart)),
            });
        }
    }
    if stop() {
        return Ok(written);
    }
    let rows = comparison_rows(comparison);
    let csv = dir.join(format!("{TABLE}.csv"));
    atomic::write(&csv, csv_text(&rows).as_bytes())?;
    written.push(csv);
    let differences = ab::section(comparison);
    let mut sections = vec![table_section(comparison, rows)];
    if comparison.runs.len() > 1 {
        sections.push(differences.clone());
    }
    written.push(write_table_page(
        dir,
        TABLE,
        "Cache Rate Tester - Combined Summary",
        &sections,
        version,
    )?);
    let page = IndexPage {
        policy: policy_without_script(),
        version,
        title: "Combined Cache Rate Tester Results",
        style: style_sheet(),
        generated: Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string(),
        warnings,
        runs: runs(comparison),
        ab: differences,
        groups,
    };
    let index = dir.join(crate::index::INDEX_FILE);
    let text = page
        .render()
        .expect("the template only writes into a string");
    atomic::write(&index, text.as_bytes())?;
    written.push(index);
    Ok(written)
}

/// The model, where all runs measured the same.
fn common_model(comparison: &Comparison) -> Option<String> {
    let first = comparison.runs.first()?.model.as_ref()?;
    let same = |run: &super::CombinedRun| run.model.as_ref() == Some(first);
    comparison.runs.iter().all(same).then(|| first.clone())
}

fn csv_text(rows: &[[Cell; COLUMNS.len()]]) -> String {
    let mut text = COLUMNS.join(",");
    text.push('\n');
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| quoted(&cell.text)).collect();
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}

/// A cell, in quotes where it needs them.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn table_section(comparison: &Comparison, rows: Vec<[Cell; COLUMNS.len()]>) -> Section {
    let n = comparison.runs.len();
    let m = comparison.contexts().len();
    let marked = rows.iter().flatten().any(|cell| cell.best);
    let mut notes = Vec::new();
    if rows.is_empty() {
        notes.push(
            "No configuration was measured at both 0% and 100% cache hit rate, so there is nothing to put into this table."
                .to_owned(),
        );
    }
    if marked {
        notes.push(
            "Bold green cells are the highest of their context. TTFT Improvement is how much lower the mean TTFT is at 100%."
                .to_owned(),
        );
    }
    Section {
        heading: String::new(),
        label: "All configurations without and with cache".to_owned(),
        intro: vec![format!(
            "Comparison of {n} test configurations across {m} context size(s)"
        )],
        head: COLUMNS.map(str::to_owned).into(),
        rows: rows.into_iter().map(Vec::from).collect(),
        notes,
    }
}

/// One configuration in the list of the index.
struct RunView {
    label: String,
    class: String,
    about: String,
}

fn runs(comparison: &Comparison) -> Vec<RunView> {
    comparison
        .runs
        .iter()
        .enumerate()
        .map(|(place, run)| {
            let contexts: Vec<String> =
                run.contexts.iter().map(|c| count(c.context_size)).collect();
            let model = run
                .model
                .as_ref()
                .map(|m| format!("{m}; "))
                .unwrap_or_default();
            RunView {
                label: run.label.clone(),
                class: Ink::Run(place).class().into_owned(),
                about: format!(
                    "{model}contexts {} tokens; {}",
                    contexts.join(", "),
                    run.dir.display()
                ),
            }
        })
        .collect()
}

/// Links under one heading.
struct Group {
    title: &'static str,
    links: Vec<Link>,
}

#[derive(Template)]
#[template(path = "combined.html")]
struct IndexPage<'a> {
    policy: &'static str,
    version: &'a str,
    title: &'static str,
    style: String,
    generated: String,
    warnings: &'a [String],
    runs: Vec<RunView>,
    ab: Section,
    groups: Vec<Group>,
}

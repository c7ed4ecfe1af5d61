//! `index.html`: the page of a whole result directory.
//!
//! Headline figures first, then what casts doubt on them, then configuration, charts as pictures with
//! their links, and files. Works on our directories and on those of the Python originals; whatever
//! cannot be read becomes a warning on the page and in the result. Every `*.html` of the directory is
//! linked exactly once. Text from files, paths and servers is escaped by the template; pictures from
//! chart pages go in as image data, which no browser executes.

mod config;
mod figure;
mod headline;
mod inventory;
mod links;
mod notes;
mod overview;
mod preview;
mod sustained;
mod trace_replay;
mod validity;

use std::path::Path;

use askama::Template;
use jiff::Zoned;

use crate::atomic::{self, FileError};
use crate::chart::count;
use crate::data::{DataWarning, RunData};
use crate::kv_estimate::{KvEstimate, human_size};
use crate::page::{policy_without_script, style_sheet};
use config::ConfigRow;
use figure::{BoxView, TableView};
use headline::Headline;
pub use inventory::RunKind;
use inventory::{DataFile, Inventory};
pub(crate) use links::Link;
use links::Visualizations;
use notes::Notes;
pub(crate) use preview::address_of as preview_address;
use sustained::SustainedView;
use validity::Finding;

/// Name of the page.
pub const INDEX_FILE: &str = "index.html";

/// Detail files up to this size in all are read for the page's checks; larger ones would delay it.
const DETAIL_BYTES_WORTH_READING: u64 = 256 * 1024 * 1024;

/// Writes the index of a result directory. What could not be used is returned and also stands on the
/// page.
///
/// # Errors
/// When the directory does not exist or the page cannot be written.
pub fn write_index(dir: &Path, version: &str) -> Result<Vec<DataWarning>, FileError> {
    write_index_with_kind(dir, version).map(|(_, warnings)| warnings)
}

/// As [`write_index`]; also tells which kind of results the directory was taken for.
///
/// # Errors
/// When the directory does not exist or the page cannot be written.
pub fn write_index_with_kind(
    dir: &Path,
    version: &str,
) -> Result<(RunKind, Vec<DataWarning>), FileError> {
    write_read(dir, version, DETAIL_BYTES_WORTH_READING)
}

/// As [`write_index`], reading rows of requests only up to so many bytes of them.
///
/// # Errors
/// When the directory does not exist or the page cannot be written.
pub fn write_index_within(
    dir: &Path,
    version: &str,
    detail_bytes: u64,
) -> Result<Vec<DataWarning>, FileError> {
    write_read(dir, version, detail_bytes).map(|(_, warnings)| warnings)
}

fn write_read(
    dir: &Path,
    version: &str,
    detail_bytes: u64,
) -> Result<(RunKind, Vec<DataWarning>), FileError> {
    let inventory = Inventory::of(dir)?;
    let data = if inventory.detail_bytes() <= detail_bytes {
        RunData::read(dir)
    } else {
        RunData::read_tables(dir)
    };
    write_page(dir, &inventory, &data, version)?;
    Ok((inventory.kind(&data), data.warnings))
}

/// Writes the index of a directory whose data were read already.
///
/// # Errors
/// When the directory does not exist or the page cannot be written.
pub fn write_index_of(data: &RunData, version: &str) -> Result<(), FileError> {
    write_page(&data.dir, &Inventory::of(&data.dir)?, data, version)
}

fn write_page(
    dir: &Path,
    inventory: &Inventory,
    data: &RunData,
    version: &str,
) -> Result<(), FileError> {
    let page = index_page(inventory, data, version, &Zoned::now());
    atomic::write(&dir.join(INDEX_FILE), page.as_bytes())
}

#[derive(Template)]
#[template(path = "index.html")]
struct IndexPage<'a> {
    policy: &'static str,
    style: String,
    version: &'a str,
    heading: &'static str,
    generated: String,
    model: String,
    endpoint: Option<String>,
    headline: Headline,
    findings: Vec<Finding>,
    checked: String,
    config: Vec<ConfigRow>,
    boxes: Vec<BoxView>,
    results: Option<TableView>,
    sustained: Vec<SustainedView>,
    kv: Option<KvView>,
    charts: Visualizations,
    files: &'a [DataFile],
    scripts: &'a [DataFile],
    notes: Option<Notes>,
}

/// Boxes of the KV estimate.
struct KvView {
    fp8: String,
    fp16: String,
    tokens: String,
    /// How the sizes are known.
    source: String,
}

impl KvView {
    /// What the run worked out from the model's config, or else the estimate by the model's name.
    fn of(data: &RunData) -> Option<Self> {
        let tokens = config::working_set(data)?;
        let stored = data.facts.as_ref().and_then(|f| f.sections.get("kv_cache"));
        let exact = stored
            .filter(|kv| kv["source"] == "config" && kv["tokens"].as_u64() == Some(tokens))
            .and_then(|kv| {
                let origin = kv["origin"].as_str()?;
                let size = |key: &str| kv[key].as_u64().map(human_size);
                Some(Self {
                    fp8: size("fp8_bytes")?,
                    fp16: size("fp16_bytes")?,
                    tokens: count(tokens),
                    source: format!("From the model's config ({origin})."),
                })
            });
        Some(exact.unwrap_or_else(|| {
            let estimate = KvEstimate::of(data.model(), tokens);
            let assumed = if estimate.recognised {
                ""
            } else {
                ", which is not in the table: the size of a 70B model is assumed"
            };
            Self {
                fp8: human_size(estimate.fp8_bytes()),
                fp16: human_size(estimate.fp16_bytes()),
                tokens: count(tokens),
                source: format!(
                    "Estimated from the model's name{assumed}. The exact size follows from the model's geometry (kv_cache_size)."
                ),
            }
        }))
    }
}

fn index_page(inventory: &Inventory, data: &RunData, version: &str, now: &Zoned) -> String {
    let kind = inventory.kind(data);
    let estimated = matches!(
        kind,
        RunKind::CacheRate | RunKind::WorkingSet | RunKind::Sustained
    );
    let page = IndexPage {
        policy: policy_without_script(),
        style: style_sheet(),
        version,
        heading: kind.heading(data.is_only_sustained()),
        generated: now.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        model: data.model().unwrap_or("Unknown").to_owned(),
        endpoint: config::endpoint(data),
        headline: Headline::of(data, kind),
        findings: validity::findings(data, inventory, kind),
        checked: validity::checked(data, kind),
        config: config::rows(data),
        boxes: overview::boxes(data, kind),
        results: overview::table(data),
        sustained: sustained::views(data),
        kv: estimated.then(|| KvView::of(data)).flatten(),
        charts: Visualizations::of(inventory),
        files: &inventory.data_files,
        scripts: &inventory.scripts,
        notes: notes::of(data, kind),
    };
    page.render()
        .expect("the template only writes into a string")
}

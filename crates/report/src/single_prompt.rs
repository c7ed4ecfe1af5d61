//! The two pages of `single_prompt_tester`: the chart and the table of means and spreads.

mod limited;

use std::path::{Path, PathBuf};

use metrics::SinglePromptRow;
use metrics::single_prompt::{MeanStd, SizeFigures};

use crate::atomic::FileError;
use crate::catalogue::single_prompt_chart;
use crate::chart::{count, fixed};
use crate::page::{Cell, PageContext, Section, write_chart, write_table_page};

pub use limited::{Limited, LimitedSizes};

/// Columns of the table. Those behind `Iterations` are additions.
const COLUMNS: [&str; 11] = [
    "Context Size",
    "Unique TTFT (mean)",
    "Unique TTFT (std)",
    "Cached TTFT (mean)",
    "Cached TTFT (std)",
    "Cache Speedup",
    "Iterations",
    "Unique TTLT (mean)",
    "Cached TTLT (mean)",
    "Speedup (95% interval)",
    "From Cache",
];

/// Writes `single_prompt_performance.html` and `summary_table.html` and returns their paths. Where nothing was
/// answered only the table is written, with a sentence. What the client limits is named below both.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_single_prompt_pages(
    dir: &Path,
    rows: &[SinglePromptRow],
    limited: &LimitedSizes,
    context: &PageContext,
) -> Result<Vec<PathBuf>, FileError> {
    let contexts = SizeFigures::of_all(rows);
    let mut written = Vec::new();
    if let Some(chart) = single_prompt_chart(&contexts, limited) {
        written.push(write_chart(dir, &chart, context)?);
    }
    let section = table(&contexts, limited);
    let title = "Single Prompt Performance Summary";
    written.push(write_table_page(
        dir,
        "summary_table",
        title,
        &[section],
        &context.version,
    )?);
    Ok(written)
}

/// What is said below chart and table where the client limits figures.
pub(crate) fn limited_note(limited: &LimitedSizes) -> Option<String> {
    let named = limited.named()?;
    Some(format!(
        "Limited by the client: {named}. These figures say more of the measuring machine than of the server; client in \
         run_facts.json tells why."
    ))
}

/// The table, one row per context.
fn table(contexts: &[SizeFigures], limited: &LimitedSizes) -> Section {
    let seconds =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{}s", fixed(v, 3)));
    let mean = |figure: Option<MeanStd>| seconds(figure.map(|f| f.mean));
    let std = |figure: Option<MeanStd>| seconds(figure.and_then(|f| f.std));
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows = contexts
        .iter()
        .map(|c| {
            [
                count(c.context_size),
                mean(c.unique_ttft),
                std(c.unique_ttft),
                mean(c.cached_ttft),
                std(c.cached_ttft),
                or_dash(c.speedup.map(|x| format!("{}x", fixed(x, 2)))),
                count(c.n_unique as u64),
                mean(c.unique_total),
                mean(c.cached_total),
                or_dash(
                    c.speedup_interval
                        .map(|(low, high)| format!("{}x to {}x", fixed(low, 2), fixed(high, 2))),
                ),
                or_dash(
                    c.reported_share
                        .map(|share| format!("{}%", fixed(share * 100.0, 1))),
                ),
            ]
            .map(Cell::plain)
            .into()
        })
        .collect();
    let mut notes = vec![
        "Mean and sample standard deviation over all requests of a context. Speedup is mean TTFT of cold prompts ÷ mean TTFT of their \
         cached repeats, with its interval over prompts; TTLT is the time to the last token; From Cache is the share of the repeated \
         prompts' tokens that the server reports as cached."
            .to_owned(),
    ];
    notes.extend(limited_note(limited));
    if contexts.is_empty() {
        notes.insert(
            0,
            "No request was answered, so there is nothing to compare.".to_owned(),
        );
    }
    Section {
        heading: String::new(),
        label: "Cold and cached prompts by context size".to_owned(),
        intro: vec![
            "Performance of a cold start compared with a warm cache over context sizes.".to_owned(),
        ],
        head: COLUMNS.map(str::to_owned).into(),
        rows,
        notes,
    }
}

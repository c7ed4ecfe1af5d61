//! Charts, table and dashboard of a run. A page that cannot be written is a warning: the rows are what counts.

use std::path::{Path, PathBuf};

use cli::logging::{Line, Style, log_lines};
use metrics::SinglePromptRow;
use report::files::SinglePromptMetadata;
use report::index::{INDEX_FILE, write_index};
use report::page::PageContext;
use report::single_prompt::{LimitedSizes, write_single_prompt_pages};

/// Writes all pages from the rows of this run; returns the one to begin with, if it was written.
pub(super) fn write(
    dir: &Path,
    (rows, limited): (&[SinglePromptRow], &LimitedSizes),
    metadata: &SinglePromptMetadata,
    version: &str,
) -> Option<PathBuf> {
    log_lines(&[Line::plain(""), Line::plain("Generating visualizations...")]);
    let context = PageContext {
        model: Some(metadata.detected_model.clone()),
        version: version.to_owned(),
    };
    match write_single_prompt_pages(dir, rows, limited, &context) {
        Ok(pages) => {
            for page in pages {
                let is_table = page
                    .file_name()
                    .is_some_and(|name| name == "summary_table.html");
                let what = if is_table { "summary table" } else { "graph" };
                tracing::info!("Generated {what}: {}", page.display());
            }
        }
        Err(error) => {
            let error = anyhow::Error::new(error);
            tracing::warn!("Failed to generate the graphs: {error:#}");
        }
    }
    log_lines(&[Line::plain("Generating index.html dashboard...")]);
    match write_index(dir, version) {
        Ok(_) => {
            log_lines(&[Line::styled(
                Style::Success,
                "✓ Generated index.html dashboard",
            )]);
            Some(dir.join(INDEX_FILE))
        }
        Err(error) => {
            let error = anyhow::Error::new(error);
            tracing::warn!("Failed to generate index.html: {error:#}");
            None
        }
    }
}

//! Lines before the first measurement: banner, facts, context sizes, tests.

use std::path::Path;
use std::time::Duration;

use cli::logging::{Line, Style};
use cli::number::{bracketed, seconds, thousands};
use cli::options::Mode;
use report::test_name::TestName;
use setup::study::memory;
use setup::study::text::{self, banner_end, banner_title, config, durations, pinned_note};
use setup::study::{ContextSize, StartFacts, StudyOptions};

use crate::plan::Plan;

/// The banner: what was asked for, with the thresholds that take effect.
#[must_use]
pub fn banner(plan: &Plan) -> Vec<Line> {
    let common = &plan.common;
    let mut lines: Vec<Line> = banner_title(format!(
        "Cache Rate Performance Testing Tool - {} Mode",
        mode_title(common.mode)
    ))
    .into();
    match common.requests.endpoints.as_slice() {
        [only] => lines.push(config(format!("API Endpoint: {}", only.given()))),
        several => {
            lines.push(config(format!(
                "API Endpoints: {} endpoints (load balanced){}",
                several.len(),
                pinned_note(common)
            )));
            lines.extend(
                (1..)
                    .zip(several)
                    .map(|(i, url)| config(format!("  {i}. {}", url.given()))),
            );
        }
    }
    lines.push(config(format!(
        "Context Sizes: {}",
        bracketed(&common.context_sizes)
    )));
    lines.push(config(format!(
        "Working Set Size: {} tokens",
        thousands(plan.working_set_size)
    )));
    lines.push(config(format!("Output Tokens: {}", common.output_tokens)));
    lines.push(config(format!(
        "Performance Thresholds: {}",
        thresholds(common)
    )));
    lines.push(config(format!(
        "Test Duration: {}",
        durations(common, "test")
    )));
    if common.mode == Mode::Fixed {
        lines.push(config(format!(
            "Fixed Concurrency Levels: {}",
            bracketed(&common.fixed_levels)
        )));
    }
    lines.push(config(format!(
        "Cache Hit Rates: {}",
        rates(&common.cache_hit_rates)
    )));
    lines.push(config(format!(
        "Chunk Size: {} tokens (for cache block alignment)",
        common.chunk_size
    )));
    lines.push(config(format!(
        "Output Directory: {}",
        common.output_dir.display()
    )));
    lines.push(banner_end());
    lines
}

fn mode_title(mode: Mode) -> &'static str {
    match mode {
        Mode::Ramp => "Ramp",
        Mode::Sustained => "Sustained",
        Mode::Fixed => "Fixed",
    }
}

/// The thresholds that take effect: `Max TTFT: 2s (P95)`, or `none`.
fn thresholds(plan: &StudyOptions) -> String {
    let upper = |word: String| word.to_uppercase();
    let mut parts = Vec::new();
    if let Some(max) = plan.thresholds.max_ttft {
        parts.push(format!(
            "Max TTFT: {max}s ({})",
            upper(plan.ttft_metric.to_string())
        ));
    }
    if let Some(min) = plan.thresholds.min_speed {
        parts.push(format!(
            "Min Tokens/Req: {min} tok/s ({})",
            upper(plan.speed_metric.to_string())
        ));
    }
    if parts.is_empty() {
        "none".to_owned()
    } else {
        parts.join(" | ")
    }
}

fn rates(rates: &[u32]) -> String {
    match (rates.first(), rates.last()) {
        (Some(min), Some(max)) => format!("{} tests ({min}% to {max}%)", rates.len()),
        _ => "0 tests".to_owned(),
    }
}

/// The script that repeats the run is written.
#[must_use]
pub fn script_written(script: &Path) -> Line {
    config(format!("Run command saved to: {}", script.display()))
}

/// Lines after the banner, the memory that the tests take in the server's cache among them.
#[must_use]
pub fn start_facts(plan: &Plan, facts: &StartFacts<'_>) -> Vec<Line> {
    let common = &plan.common;
    let mut lines = vec![config(format!("Model: {}", facts.model))];
    let contexts = common.contexts(plan.working_set_size);
    lines.extend(memory::lines(facts.kv, &contexts, common.kv_precision));
    lines.push(config(format!("Tokenizer: {}", facts.tokenizer)));
    lines
}

/// A context size begins.
#[must_use]
pub fn context_start(context: ContextSize) -> Vec<Line> {
    let mut lines = text::context_start(context);
    let ContextSize {
        rounded,
        n_prompts,
        working_set_size,
        ..
    } = context;
    if working_set_size < rounded {
        lines.push(Line::warning(format!(
            "--working-set-size {working_set_size} is less than one prompt; one prompt of {rounded} tokens is used; \
             raise --working-set-size to at least {rounded}"
        )));
    }
    lines.push(Line::plain(format!(
        "Working set: {} prompts of {} tokens, {} tokens in all",
        thousands(n_prompts),
        thousands(rounded),
        thousands(n_prompts.saturating_mul(rounded))
    )));
    lines
}

/// A test begins. `search_limit` is the time limit of a search for the peak, where there is one.
#[must_use]
pub fn test_start(test: TestName, cached_tokens: u64, search_limit: Option<Duration>) -> Vec<Line> {
    let cache_hit_rate = test.cache_hit_rate;
    let mut lines = vec![Line::styled(
        Style::Heading,
        format!("Testing cache hit rate: {cache_hit_rate}%"),
    )];
    if cache_hit_rate > 0 && cached_tokens == 0 {
        lines.push(Line::plain(format!(
            "{cache_hit_rate}% of {} tokens is less than one chunk; nothing is reused in this test",
            thousands(test.context_size)
        )));
    }
    if let Some(limit) = search_limit {
        lines.push(Line::styled(
            Style::Sub,
            format!(
                "Phase 1: Finding peak concurrency (time limit: {}s)",
                seconds(limit)
            ),
        ));
    }
    lines
}

/// A test was completed by an earlier run.
#[must_use]
pub fn test_skipped(cache_hit_rate: u32) -> Line {
    Line::plain(format!(
        "Skipping cache hit rate {cache_hit_rate}% (already completed)"
    ))
}

//! Lines before the first measurement: banner, facts, context sizes, tests.

use std::path::Path;
use std::time::Duration;

use cli::logging::{Line, Style};
use cli::number::{bracketed, human_bytes, seconds, thousands};
use cli::table::rule;

use crate::args::Mode;
use crate::plan::Plan;

/// Width of the rules around the banner.
const BANNER_WIDTH: usize = 80;
/// Working sets beyond this many bytes of cache at FP8 deserve a warning: 100 GiB.
const LARGE_CACHE_BYTES: f64 = 100.0 * 1024.0 * 1024.0 * 1024.0;

/// The banner: what was asked for, with the thresholds that take effect.
#[must_use]
pub fn banner(plan: &Plan) -> Vec<Line> {
    let config = |text: String| Line::styled(Style::Config, text);
    let heading = |text: String| Line::styled(Style::Heading, text);
    let mut lines = vec![
        heading(rule('=', BANNER_WIDTH)),
        heading(format!(
            "Cache Rate Performance Testing Tool - {} Mode",
            mode_title(plan.mode)
        )),
        heading(rule('=', BANNER_WIDTH)),
    ];
    match plan.requests.endpoints.as_slice() {
        [only] => lines.push(config(format!("API Endpoint: {}", only.given()))),
        several => {
            let how = match plan.endpoint_selection {
                cli::options::EndpointSelection::RoundRobin => "",
                cli::options::EndpointSelection::Pinned => ", prompts pinned",
            };
            lines.push(config(format!(
                "API Endpoints: {} endpoints (load balanced){how}",
                several.len()
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
        bracketed(&plan.context_sizes)
    )));
    lines.push(config(format!(
        "Working Set Size: {} tokens",
        thousands(plan.working_set_size)
    )));
    lines.push(config(format!("Output Tokens: {}", plan.output_tokens)));
    lines.push(config(format!(
        "Performance Thresholds: {}",
        thresholds(plan)
    )));
    lines.push(config(format!("Test Duration: {}", durations(plan))));
    if plan.mode == Mode::Fixed {
        lines.push(config(format!(
            "Fixed Concurrency Levels: {}",
            bracketed(&plan.fixed_levels)
        )));
    }
    lines.push(config(format!(
        "Cache Hit Rates: {}",
        rates(&plan.cache_hit_rates)
    )));
    lines.push(config(format!(
        "Chunk Size: {} tokens (for cache block alignment)",
        plan.chunk_size
    )));
    lines.push(config(format!(
        "Output Directory: {}",
        plan.output_dir.display()
    )));
    lines.push(heading(rule('=', BANNER_WIDTH)));
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
fn thresholds(plan: &Plan) -> String {
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

fn durations(plan: &Plan) -> String {
    let (test, ramp) = (seconds(plan.test_duration), seconds(plan.ramp_duration));
    match plan.mode {
        Mode::Ramp => format!("{test}s (ramp: {ramp}s per level)"),
        Mode::Sustained => format!(
            "{test}s (assessment: {}s per period)",
            seconds(plan.assessment_period)
        ),
        Mode::Fixed => format!("{test}s (test: {ramp}s per level)"),
    }
}

fn rates(rates: &[u32]) -> String {
    match (rates.first(), rates.last()) {
        (Some(min), Some(max)) => format!("{} tests ({min}% to {max}%)", rates.len()),
        _ => "0 tests".to_owned(),
    }
}

/// Memory the tests would need in the server's cache, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct KvEstimates {
    /// Whether the model's geometry is known, or a common one was assumed.
    pub model_is_known: bool,
    /// The working set at one byte per element.
    pub working_set_fp8: f64,
    /// The working set at two bytes per element.
    pub working_set_fp16: f64,
    /// Per context size, for a reference geometry at `--kv-cache-quantization`.
    pub contexts: Vec<ContextEstimate>,
}

/// Memory of one context size for the reference geometry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ContextEstimate {
    /// As given, tokens.
    pub context_size: u64,
    /// Prompts of its working set.
    pub n_prompts: u64,
    /// One request, bytes.
    pub request: f64,
    /// All its prompts, bytes.
    pub working_set: f64,
}

/// What is known once the server and the tokenizer were asked.
#[derive(Debug, Clone)]
pub struct StartFacts<'a> {
    /// The script that repeats the run.
    pub run_script: &'a Path,
    /// Model the requests name.
    pub model: &'a str,
    /// Tokenizer, by the name under which it was found.
    pub tokenizer: &'a str,
    /// Memory estimates.
    pub kv: &'a KvEstimates,
}

/// Lines after the banner.
#[must_use]
pub fn start_facts(facts: &StartFacts<'_>) -> Vec<Line> {
    let config = |text: String| Line::styled(Style::Config, text);
    let kv = facts.kv;
    let mut lines = vec![
        config(format!(
            "Run command saved to: {}",
            facts.run_script.display()
        )),
        config(format!("Model: {}", facts.model)),
    ];
    if !kv.model_is_known {
        lines.push(Line::warning(format!(
            "The KV cache of model {} is not known; estimates assume that of a 70b model",
            facts.model
        )));
    }
    lines.push(config(format!(
        "KV Cache Estimate for the working set: {} (FP8), {} (FP16)",
        human_bytes(kv.working_set_fp8),
        human_bytes(kv.working_set_fp16)
    )));
    if kv.working_set_fp8 > LARGE_CACHE_BYTES {
        lines.push(Line::warning(format!(
            "The working set needs {} of KV cache even at FP8; less cache than that means a lower hit rate than asked for",
            human_bytes(kv.working_set_fp8)
        )));
    }
    for context in &kv.contexts {
        lines.push(config(format!(
            "  Context {}: {} per request, {} for {} prompts",
            thousands(context.context_size),
            human_bytes(context.request),
            human_bytes(context.working_set),
            thousands(context.n_prompts)
        )));
    }
    if kv.contexts.len() > 1 {
        let total = kv.contexts.iter().map(|context| context.working_set).sum();
        lines.push(config(format!(
            "  Total over all contexts: {}; have that much KV cache at least",
            human_bytes(total)
        )));
    }
    lines.push(config(format!("Tokenizer: {}", facts.tokenizer)));
    lines
}

/// A context size and the working set made for it, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextSize {
    /// As given.
    pub context_size: u64,
    /// Rounded up to whole chunks.
    pub rounded: u64,
    /// Prompts of the working set.
    pub n_prompts: u64,
    /// Working set as asked for.
    pub working_set_size: u64,
}

/// A context size begins.
#[must_use]
pub fn context_start(context: ContextSize) -> Vec<Line> {
    let ContextSize {
        context_size,
        rounded,
        n_prompts,
        working_set_size,
    } = context;
    let mut lines = vec![
        Line::styled(Style::Heading, rule('=', BANNER_WIDTH)),
        Line::styled(
            Style::Heading,
            format!("Testing context size: {} tokens", thousands(context_size)),
        ),
        Line::styled(Style::Heading, rule('=', BANNER_WIDTH)),
    ];
    if rounded != context_size {
        lines.push(Line::plain(format!(
            "Working-set prompts are rounded up from {} to {} tokens, whole chunks",
            thousands(context_size),
            thousands(rounded)
        )));
    }
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

/// A context size has nothing left to do.
#[must_use]
pub fn context_skipped(context_size: u64) -> Line {
    Line::plain(format!(
        "Skipping context size {} (all tests already completed)",
        thousands(context_size)
    ))
}

/// A test begins. `search_limit` is the time limit of a search for the peak, where there is one.
#[must_use]
pub fn test_start(
    context_size: u64,
    cache_hit_rate: u32,
    cached_tokens: u64,
    search_limit: Option<Duration>,
) -> Vec<Line> {
    let mut lines = vec![Line::styled(
        Style::Heading,
        format!("Testing cache hit rate: {cache_hit_rate}%"),
    )];
    if cache_hit_rate > 0 && cached_tokens == 0 {
        lines.push(Line::plain(format!(
            "{cache_hit_rate}% of {} tokens is less than one chunk; nothing is reused in this test",
            thousands(context_size)
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

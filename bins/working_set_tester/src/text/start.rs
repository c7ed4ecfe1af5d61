//! Lines before the first measurement: banner, notices, facts, context sizes, tests.

use std::path::Path;

use cli::logging::{Line, Style};
use cli::number::{bracketed, thousands};
use cli::options::Mode;
use cli::table::rule;
use engine::event::TestPrompts;
use report::test_name::TestName;
use setup::study::text::{banner_end, banner_title, config, durations, heading, pinned_note};
use setup::study::{DEFAULT_MAX_TTFT, StartFacts, StudyOptions};

use super::memory::memory;
use crate::plan::{Notice, Plan};

/// Width of the rule under a test's name.
const TEST_WIDTH: usize = 60;

/// The banner: what was asked for, with the thresholds that take effect; behind it what was assumed or left out.
#[must_use]
pub fn banner(plan: &Plan) -> Vec<Line> {
    let common = &plan.common;
    let mut lines: Vec<Line> = banner_title("Working Set Size Performance Testing Tool").into();
    lines.extend([
        config(endpoints(common)),
        config(format!(
            "Context Sizes: {}",
            bracketed(&common.context_sizes)
        )),
        config(format!(
            "Working Set Sizes: {} tests from {} to {} tokens",
            plan.working_set_sizes.len(),
            thousands(plan.min_working_set_size),
            thousands(plan.max_working_set_size)
        )),
        config(format!(
            "Cache Hit Rates: {}",
            bracketed(&common.cache_hit_rates)
        )),
        config(format!("Output Tokens: {}", common.output_tokens)),
        config(format!("Max TTFT: {}", max_ttft(common))),
        config(format!("Min Tokens/Req: {}", min_speed(common))),
        config(format!("Mode: {}", common.mode)),
    ]);
    if !common.fixed_levels.is_empty() {
        lines.push(config(format!(
            "Fixed Concurrency Levels: {}",
            bracketed(&common.fixed_levels)
        )));
    }
    lines.extend([
        config(format!("Test Duration: {}", durations(common, "ramp"))),
        config(format!(
            "Chunk Size: {} tokens (for cache block alignment)",
            common.chunk_size
        )),
        config(format!("Output Directory: {}", common.output_dir.display())),
        banner_end(),
    ]);
    lines.extend(plan.notices.iter().map(notice));
    lines
}

fn endpoints(options: &StudyOptions) -> String {
    let given: Vec<&str> = options.requests.urls();
    match given.as_slice() {
        [only] => format!("API Endpoint: {only}"),
        several => format!(
            "API Endpoints ({} for load balancing{}): {}",
            several.len(),
            pinned_note(options),
            several.join(", ")
        ),
    }
}

fn max_ttft(options: &StudyOptions) -> String {
    options.thresholds.max_ttft.map_or_else(
        || "not set".to_owned(),
        |max| format!("{max:?}s ({})", options.ttft_metric.as_str().to_uppercase()),
    )
}

fn min_speed(options: &StudyOptions) -> String {
    options.thresholds.min_speed.map_or_else(
        || "not set".to_owned(),
        |min| {
            let metric = options.speed_metric.as_str().to_uppercase();
            format!("{min:?} tok/s ({metric})")
        },
    )
}

fn notice(notice: &Notice) -> Line {
    match notice {
        Notice::AssumedThreshold { is_warning } => {
            let text = format!(
                "No threshold was given; --max-ttft {DEFAULT_MAX_TTFT:?} (seconds) is assumed. Set one with --max-ttft or \
                 --min-tokens-per-req"
            );
            if *is_warning {
                Line::warning(text)
            } else {
                Line::plain(text)
            }
        }
        Notice::LevelsIgnored { mode } => Line::warning(format!(
            "The given concurrency levels are ignored in mode {mode}; --mode fixed measures them"
        )),
        Notice::LevelsRepeated { levels } => Line::warning(format!(
            "Levels given more than once are measured once: {}",
            bracketed(levels)
        )),
        Notice::MaximumUnused { min, max } => Line::warning(format!(
            "With --working-set-increments 1 only the smallest working set of {} tokens is used, and \
             --max-working-set-size {} is not",
            thousands(*min),
            thousands(*max)
        )),
    }
}

/// The script that repeats the run is written.
#[must_use]
pub fn script_written(script: &Path) -> Vec<Line> {
    vec![
        config(format!("Saved run command to {}", script.display())),
        config(format!("To re-run this test: bash {}", script.display())),
        Line::plain("Initializing components..."),
    ]
}

/// Lines once the server was asked, the memory that the working sets take in the server's cache among them.
#[must_use]
pub fn start_facts(plan: &Plan, facts: &StartFacts<'_>) -> Vec<Line> {
    let mut lines = vec![config(format!("Model: {}", facts.model))];
    lines.extend(memory(plan, facts.kv));
    lines.push(config(format!("Tokenizer: {}", facts.tokenizer)));
    lines
}

/// The tests of a rate begin.
#[must_use]
pub fn rate_start(cache_hit_rate: u32) -> Line {
    heading(format!("  Testing cache hit rate: {cache_hit_rate}%"))
}

/// A test begins; `cached_tokens` of each request come from the working set.
#[must_use]
pub fn test_start(
    plan: &Plan,
    test: TestName,
    cached_tokens: u64,
    prompts: TestPrompts,
) -> Vec<Line> {
    let size = test.working_set_size.unwrap_or_default();
    let rate = test.cache_hit_rate;
    let mut lines = vec![
        Line::styled(
            Style::Sub,
            format!("    Testing working set size: {} tokens", thousands(size)),
        ),
        Line::plain(format!("    {}", rule('-', TEST_WIDTH))),
    ];
    if rate > 0 && cached_tokens == 0 {
        lines.push(Line::warning(format!(
            "    {rate}% of {} tokens is less than one chunk; the effective rate of this test is 0",
            thousands(test.context_size)
        )));
    }
    let TestPrompts {
        rounded, initial, ..
    } = prompts;
    let smallest = if plan.common.mode == Mode::Sustained {
        plan.first_size()
    } else {
        size
    };
    if smallest < rounded {
        lines.push(Line::warning(format!(
            "    A working set of {} tokens is less than one prompt; one prompt of {} tokens is used; raise \
             --min-working-set-size to at least {rounded}",
            thousands(smallest),
            thousands(rounded)
        )));
    }
    let word = if initial == 1 { "prompt" } else { "prompts" };
    lines.push(Line::plain(format!(
        "    Working set: {initial} {word} × {rounded} tokens = {} tokens",
        thousands(rounded.saturating_mul(initial as u64))
    )));
    lines
}

/// A test was completed by an earlier run.
#[must_use]
pub fn test_skipped(test: TestName) -> Line {
    let size = test.working_set_size.unwrap_or_default();
    Line::plain(format!(
        "    Skipping working set size {} (already completed)",
        thousands(size)
    ))
}

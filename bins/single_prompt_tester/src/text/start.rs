//! Lines before the first request.

use std::path::Path;

use cli::logging::{Line, Style};
use cli::number::{bracketed, thousands};
use cli::table::rule;

use super::WIDTH;
use crate::plan::{Plan, Sizes};

fn config(text: impl Into<String>) -> Line {
    Line::styled(Style::Config, text)
}

fn heading(text: impl Into<String>) -> Line {
    Line::styled(Style::Heading, text)
}

/// The banner.
#[must_use]
pub fn banner(plan: &Plan) -> Vec<Line> {
    let mut lines = vec![
        heading(rule('=', WIDTH)),
        heading("Single Prompt Performance Tester"),
        heading(rule('=', WIDTH)),
        config(format!("API Endpoint: {}", plan.requests.first_url())),
        config(format!("Iterations per size: {}", plan.num_iterations)),
        heading(rule('=', WIDTH)),
    ];
    if !plan.duplicate_sizes.is_empty() {
        lines.push(Line::warning(format!(
            "--context-sizes names {} more than once; each size is tested once",
            plan.duplicate_sizes
                .iter()
                .map(|size| thousands(*size))
                .collect::<Vec<_>>()
                .join(", ")
        )));
    }
    lines
}

/// The client stands; the server is asked for its model next, unless that was given.
#[must_use]
pub fn client_ready(plan: &Plan) -> Vec<Line> {
    let url = plan.requests.first_url();
    let mut lines = vec![Line::plain(format!("API Client initialized: {url}"))];
    if plan.requests.model.is_none() {
        let base = url.strip_suffix("/v1").unwrap_or(url);
        lines.push(Line::plain(format!(
            "Auto-detecting model from {base}/v1/models"
        )));
    }
    lines
}

/// What is known once the server and the tokenizer were asked.
#[derive(Debug, Clone, Copy)]
pub struct KnownFacts<'a> {
    /// The tokenizer, with its origin.
    pub tokenizer: &'a str,
    /// The seed that is used.
    pub seed: &'a serde_json::Number,
    /// The script that repeats the run.
    pub run_script: &'a Path,
}

/// Tokenizer, seed and what is tested.
#[must_use]
pub fn known_facts(plan: &Plan, facts: KnownFacts<'_>) -> Vec<Line> {
    let seed = facts.seed;
    let mut lines = vec![
        Line::plain("Tokenizer loaded successfully"),
        config(format!("Tokenizer: {}", facts.tokenizer)),
        config(format!(
            "Run command saved to: {}",
            facts.run_script.display()
        )),
        config(if plan.seed.is_some() {
            format!("Using provided seed: {seed}")
        } else {
            format!("Using random seed: {seed} (use --seed {seed} to reproduce)")
        }),
        config(match plan.sizes {
            Sizes::Listed => format!(
                "Using specified context sizes: {}",
                bracketed(&plan.context_sizes)
            ),
            Sizes::Doubling { min, max } => format!(
                "Context Range: {} to {} tokens (doubling)",
                thousands(min),
                thousands(max)
            ),
        }),
    ];
    if plan.concurrent_prompts > 1 {
        lines.push(config(format!(
            "Concurrent prompts per test: {}",
            plan.concurrent_prompts
        )));
    }
    if plan.cached_repeats > 1 {
        lines.push(config(format!(
            "Cached repeats per iteration: {}",
            plan.cached_repeats
        )));
    }
    lines
}

/// All sizes, before the first one begins.
#[must_use]
pub fn sizes_announced(sizes: &[u64]) -> Vec<Line> {
    vec![
        Line::plain(""),
        heading(format!(
            "Testing {} context {}: {}",
            sizes.len(),
            if sizes.len() == 1 { "size" } else { "sizes" },
            bracketed(sizes)
        )),
        Line::plain(""),
    ]
}

/// A size begins.
#[must_use]
pub fn size_started(context_size: u64) -> Line {
    Line::styled(
        Style::Sub,
        format!("Testing context size: {} tokens", thousands(context_size)),
    )
}

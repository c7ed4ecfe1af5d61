//! Lines of one iteration: its batches, their requests, the speed-up.

use std::collections::BTreeMap;

use cli::logging::{Line, Style};
use cli::number::{fixed, thousands};
use metrics::percentile::mean;
use metrics::record::FailedRequest;
use metrics::single_prompt::{PromptKind, SinglePromptRow};

use super::{seconds, times};
use crate::session::{Answer, BatchDone};

/// Characters of the answer to a single prompt that are shown.
const ANSWER_CHARS: usize = 100;
/// Characters of each answer where there are several.
const SHORT_ANSWER_CHARS: usize = 80;
/// Kinds of failure of one batch that are told; more are counted.
const TOLD_FAILURES: usize = 5;

/// A batch is handed over.
#[must_use]
pub fn batch_started(
    context_size: u64,
    iteration: u32,
    kind: PromptKind,
    n_repeats: u32,
    n_prompts: u32,
) -> Line {
    let prompts = if n_prompts == 1 { "prompt" } else { "prompts" };
    let what = match kind {
        PromptKind::Unique => format!(
            "{n_prompts} unique {prompts} ({} tokens each)",
            thousands(context_size)
        ),
        PromptKind::Cached => format!("{n_prompts} cached {prompts}"),
        PromptKind::CachedRepeat(repeat) => {
            format!("{n_prompts} cached {prompts} (repeat {repeat}/{n_repeats})")
        }
    };
    Line::plain(format!(
        "    Iteration {}: Testing {what}...",
        iteration + 1
    ))
}

/// `Unique`, `Cached`, `Cached (repeat 1/3)`.
fn label(kind: PromptKind, n_repeats: u32) -> String {
    match kind {
        PromptKind::Unique => "Unique".to_owned(),
        PromptKind::Cached => "Cached".to_owned(),
        PromptKind::CachedRepeat(repeat) => format!("Cached (repeat {repeat}/{n_repeats})"),
    }
}

/// A batch has ended. `n_prompts` is how many a full batch has: it decides the form.
#[must_use]
pub fn batch_done(batch: &BatchDone, n_repeats: u32, n_prompts: u32) -> Vec<Line> {
    let label = label(batch.kind, n_repeats);
    let mut lines = Vec::new();
    if n_prompts == 1 {
        for answer in batch.answers() {
            lines.push(Line::plain(format!(
                "      {label}: TTFT={}, Output={} tok{}",
                seconds(answer.row.ttft),
                answer.row.completion_tokens,
                from_cache(batch.kind, &answer.row),
            )));
            lines.push(Line::plain(format!(
                "      Response: {}...",
                excerpt(&answer.text, ANSWER_CHARS)
            )));
        }
    } else {
        for answer in batch.answers() {
            lines.push(Line::plain(format!(
                "        [Prompt {}] TTFT={}, abs_time={}, output={} tok{}",
                answer.prompt_index + 1,
                seconds(answer.row.ttft),
                seconds(answer.abs_time),
                answer.row.completion_tokens,
                from_cache(batch.kind, &answer.row),
            )));
            lines.push(Line::plain(format!(
                "                  Response: {}...",
                excerpt(&answer.text, SHORT_ANSWER_CHARS)
            )));
        }
        if batch.answers().next().is_some() {
            lines.extend(batch_summary(&label, &batch.answers().collect::<Vec<_>>()));
        }
    }
    lines.extend(failures(batch.failures()));
    lines
}

/// What the server took from its cache, where it says so and the prompt was sent before.
fn from_cache(kind: PromptKind, row: &SinglePromptRow) -> String {
    match row.reported_cached_tokens.filter(|_| kind.is_cached()) {
        Some(tokens) => format!(
            ", from cache={} of {} tok",
            thousands(tokens),
            thousands(row.prompt_tokens)
        ),
        None => String::new(),
    }
}

/// The beginning of an answer on one line.
fn excerpt(text: &str, n_chars: usize) -> String {
    let blank = |c| if matches!(c, '\n' | '\r') { ' ' } else { c };
    text.chars().take(n_chars).map(blank).collect()
}

fn batch_summary(label: &str, answers: &[&Answer]) -> [Line; 4] {
    let ttfts: Vec<f64> = answers.iter().filter_map(|a| a.row.ttft).collect();
    let arrivals: Vec<f64> = answers.iter().filter_map(|a| a.abs_time).collect();
    let last = arrivals.iter().copied().reduce(f64::max);
    let first = arrivals.iter().copied().reduce(f64::min);
    let input: u64 = answers.iter().map(|a| a.row.prompt_tokens).sum();
    let throughput = last
        .filter(|time| *time > 0.0)
        .map(|time| input as f64 / time);
    [
        Line::plain(format!("      {label} batch summary:")),
        Line::plain(format!(
            "        avg TTFT={}, abs_time spread={}",
            seconds(mean(&ttfts)),
            seconds(last.zip(first).map(|(last, first)| last - first))
        )),
        Line::plain(format!(
            "        prefill time={} (until all first tokens), effective per-prompt={}",
            seconds(last),
            seconds(last.map(|time| time / answers.len() as f64))
        )),
        Line::plain(format!(
            "        total input tokens={}, prefill throughput={}",
            thousands(input),
            fixed(throughput, 0, " tok/s")
        )),
    ]
}

/// One line per kind and message, with how often it came.
fn failures<'a>(failed: impl Iterator<Item = &'a FailedRequest>) -> Vec<Line> {
    let mut told: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for request in failed.filter(|request| !request.is_cancelled()) {
        *told
            .entry((request.kind.as_str(), request.message.as_str()))
            .or_insert(0) += 1;
    }
    let n_left: usize = told.values().skip(TOLD_FAILURES).sum();
    let mut lines: Vec<Line> = told
        .iter()
        .take(TOLD_FAILURES)
        .map(|((kind, message), n)| {
            let often = if *n == 1 {
                String::new()
            } else {
                format!(" (×{n})")
            };
            Line::error(format!("      Request failed: {kind}: {message}{often}"))
        })
        .collect();
    if n_left > 0 {
        lines.push(Line::error(format!(
            "      {n_left} more requests failed for other reasons"
        )));
    }
    lines
}

/// All batches of an iteration have ended.
#[must_use]
pub fn iteration_done(rows: &[SinglePromptRow]) -> Option<Line> {
    let ttft = |cached: bool| {
        let of_kind = rows.iter().filter(|row| row.is_cached() == cached);
        mean(&of_kind.filter_map(|row| row.ttft).collect::<Vec<_>>())
    };
    let cached = ttft(true)?;
    let speedup = ttft(false)
        .filter(|_| cached > 0.0)
        .map(|cold| cold / cached);
    Some(Line::styled(
        Style::Success,
        format!("      Cache speedup: TTFT {} faster", times(speedup)),
    ))
}

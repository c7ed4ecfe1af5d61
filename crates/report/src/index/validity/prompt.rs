//! Doubts about a run of `single_prompt_tester`.

use metrics::caching::{Caching, Unclear, judge_caching};
use metrics::single_prompt::SizeFigures;

use super::super::config::{integer, integers};
use super::super::figure::plural;
use super::{Finding, finding};
use crate::chart::count;
use crate::data::RunData;

/// Fewer cold prompts than this say nothing of the spread.
const FEW_PROMPTS: usize = 3;

pub(super) fn findings(data: &RunData, out: &mut Vec<Finding>) {
    let rows = &data.single_prompt;
    let sizes = SizeFigures::of_all(rows);
    if data
        .parameter("interrupted")
        .and_then(serde_json::Value::as_bool)
        == Some(true)
    {
        out.push(finding(
            "The run was interrupted.".to_owned(),
            "Later contexts and iterations are missing.",
        ));
    }
    if let Some(n) = integer(data, "failed_requests") {
        let unsent = integer(data, "unsent_requests")
            .map(|n| format!(", and {} not sent for that reason", count(n)))
            .unwrap_or_default();
        out.push(finding(
            format!("{} failed{unsent}.", plural(n, "request", "requests")),
            "Failed requests are in no figure.",
        ));
    }
    let n_compared = rows
        .iter()
        .filter(|row| row.matches_cold_text.is_some())
        .count();
    let n_different = rows
        .iter()
        .filter(|row| row.matches_cold_text == Some(false))
        .count();
    if n_different > 0 {
        out.push(finding(
            format!(
                "{} of {} answers from cache are not what was answered cold at temperature 0.",
                count(n_different as u64),
                count(n_compared as u64)
            ),
            "Few engines are stable to the last bit between a cold and a warm prefill; many differences early in the text are worth a look.",
        ));
    }
    let untested: Vec<u64> = integers(data, "context_sizes")
        .into_iter()
        .filter(|size| !sizes.iter().any(|s| s.context_size == *size))
        .collect();
    if !untested.is_empty() {
        out.push(finding(
            format!("No result at {} tokens.", list(&untested)),
            "These contexts were asked for; their requests failed or were never sent.",
        ));
    }
    let one_sided: Vec<u64> = sizes
        .iter()
        .filter(|s| s.unique_ttft.is_none() || s.cached_ttft.is_none())
        .map(|s| s.context_size)
        .collect();
    if !one_sided.is_empty() {
        out.push(finding(
            format!(
                "Cold or cached requests are missing at {} tokens.",
                list(&one_sided)
            ),
            "Without both there is no speedup.",
        ));
    }
    let verdict = judge_caching(rows);
    if verdict.n_cold_cached > 0 {
        out.push(finding(
            format!(
                "{} meant to be cold came from the cache.",
                plural(verdict.n_cold_cached as u64, "prompt", "prompts")
            ),
            "Somebody had sent them before, so the speedup is understated; use another seed or restart the server.",
        ));
    }
    if !verdict.sizes_without.is_empty() {
        out.push(finding(
            format!("Nothing came from the cache at {} tokens.", list(&verdict.sizes_without)),
            "At other contexts it did: these prompts may be shorter than a cache block or longer than the cache.",
        ));
    }
    if let Caching::CannotTell(reasons) = &verdict.caching {
        let why: Vec<&str> = reasons.iter().map(|reason| words(*reason)).collect();
        out.push(finding(
            format!(
                "Whether the cache works cannot be told: {}.",
                why.join(", ")
            ),
            "More iterations, or longer contexts, decide it.",
        ));
    }
    let few: Vec<u64> = sizes
        .iter()
        .filter(|s| s.n_unique > 0 && s.n_unique < FEW_PROMPTS)
        .map(|s| s.context_size)
        .collect();
    if !few.is_empty() {
        out.push(finding(
            format!(
                "Fewer than {FEW_PROMPTS} cold requests at {} tokens.",
                list(&few)
            ),
            "Means of so few may be chance; more iterations help.",
        ));
    }
}

pub(super) fn checked(data: &RunData) -> String {
    let reported = data
        .single_prompt
        .iter()
        .any(|row| row.reported_cached_tokens.is_some());
    let compared = data
        .single_prompt
        .iter()
        .any(|row| row.matches_cold_text.is_some());
    let mut looked = vec![
        "readable files",
        "number of samples",
        "both kinds of requests at every context",
    ];
    let mut unknown = Vec::new();
    for (known, what) in [
        (reported, "cached tokens reported by the server"),
        (compared, "the text answered from cache"),
    ] {
        if known { &mut looked } else { &mut unknown }.push(what);
    }
    let mut text = format!("Checked: {}.", looked.join(", "));
    if !unknown.is_empty() {
        text.push_str(&format!(
            " Not in these files, so not checked: {}.",
            unknown.join(", ")
        ));
    }
    text
}

fn words(reason: Unclear) -> &'static str {
    match reason {
        Unclear::NoPair => "no prompt was answered both cold and again",
        Unclear::NothingReported => "the server reports no cached tokens",
        Unclear::OnePair => "with a single prompt the times have no spread",
        Unclear::TooNoisy => "the times vary too much",
        Unclear::ShorterThanBlock => "no prompt is as long as usual cache blocks",
        Unclear::ColdWasCached => "the prompts were in the cache before they were first sent",
    }
}

/// `500, 1,000`.
fn list(sizes: &[u64]) -> String {
    let texts: Vec<String> = sizes.iter().map(|n| count(*n)).collect();
    texts.join(", ")
}

//! What a run says about the server, in plain words.
//!
//! Promise: pure; every figure that a sentence rests on stands in it, and in the object for programs beside it.

use cli::number::{fixed, thousands};
use metrics::caching::{Basis, Caching, CachingVerdict, OutputComparison, Unclear};
use metrics::interval::Estimate;
use metrics::single_prompt::SizeFigures;
use serde_json::{Value, json};

use crate::session::TextDifference;

/// A sentence, and whether it is good news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// One line.
    pub text: String,
    /// Whether nothing is to be looked at.
    pub is_good: bool,
    /// The same for programs.
    pub object: Value,
}

/// One line per size, where there are several: what the cache is worth differs by size.
#[must_use]
pub fn by_size(figures: &[SizeFigures]) -> Vec<String> {
    if figures.len() < 2 {
        return Vec::new();
    }
    let line = |size: &SizeFigures| {
        let interval = size
            .speedup_interval
            .map(|(low, high)| format!(" (95% interval {low:.2} to {high:.2})"));
        let share = size
            .reported_share
            .map(|share| format!(", {} from cache", percent(share)));
        format!(
            "  {} tokens: {}{}{}",
            thousands(size.context_size),
            fixed(size.speedup, 2, "x"),
            interval.unwrap_or_default(),
            share.unwrap_or_default()
        )
    };
    figures.iter().map(line).collect()
}

/// The same for programs.
#[must_use]
pub fn by_size_object(figures: &[SizeFigures]) -> Value {
    let object = |size: &SizeFigures| {
        json!({
            "context_size": size.context_size,
            "speedup": size.speedup,
            "speedup_low": size.speedup_interval.map(|(low, _)| low),
            "speedup_high": size.speedup_interval.map(|(_, high)| high),
            "reported_share": size.reported_share,
        })
    };
    figures.iter().map(object).collect()
}

/// A share below which a working cache is worth a remark.
const SMALL_SHARE: f64 = 0.5;

/// Whether caching works.
#[must_use]
pub fn caching(verdict: &CachingVerdict) -> Verdict {
    let (word, text) = match &verdict.caching {
        Caching::Works(basis) => ("works", works(verdict, *basis)),
        Caching::DoesNotWork(basis) => ("does not work", does_not_work(verdict, *basis)),
        Caching::CannotTell(reasons) => ("cannot tell", cannot_tell(verdict, reasons)),
    };
    let interval = verdict.speedup.and_then(|speedup| speedup.interval);
    Verdict {
        is_good: word == "works",
        object: json!({
            "verdict": word,
            "text": text,
            "reported_share": verdict.reported_share,
            "speedup": verdict.speedup.map(|speedup| speedup.value),
            "speedup_low": interval.map(|(low, _)| low),
            "speedup_high": interval.map(|(_, high)| high),
            "prompts": verdict.n_pairs,
            "sizes_without": verdict.sizes_without,
        }),
        text,
    }
}

fn works(verdict: &CachingVerdict, basis: Basis) -> String {
    let mut text = match (basis, verdict.reported_share) {
        (Basis::Report, Some(share)) => {
            let only = if share < SMALL_SHARE { "only " } else { "" };
            format!(
                "Caching works: the server took {only}{} of the repeated prompts from its cache",
                percent(share)
            )
        }
        (_, Some(_)) => {
            "Caching works, by the times: the server reports that it took nothing from its cache, but".to_owned()
        }
        (_, None) => {
            "Caching works, by the times: the server does not report what it took from its cache, but".to_owned()
        }
    };
    let joint = if basis == Basis::Report { "; " } else { " " };
    match verdict.speedup {
        Some(speedup) => text.push_str(&format!(
            "{joint}the first token of a repeated prompt came {}",
            sooner(speedup)
        )),
        None => text.push_str("; a speed-up could not be measured"),
    }
    if verdict.n_cold_cached > 0 {
        text.push_str(&format!(
            "; {} of {} prompts were in the cache before they were first sent and are left out of the times",
            verdict.n_cold_cached, verdict.n_pairs
        ));
    }
    if !verdict.sizes_without.is_empty() {
        let sizes: Vec<String> = verdict
            .sizes_without
            .iter()
            .map(|size| thousands(*size))
            .collect();
        text.push_str(&format!(
            "; but nothing came from cache at {} tokens",
            sizes.join(", ")
        ));
    }
    text
}

fn does_not_work(verdict: &CachingVerdict, basis: Basis) -> String {
    let why = match basis {
        Basis::Report => format!(
            "the server reports that it took {} of the repeated prompts from its cache",
            verdict
                .reported_share
                .map_or_else(|| "nothing".to_owned(), percent)
        ),
        Basis::Times => "repeated prompts were not answered sooner".to_owned(),
    };
    let times = verdict.speedup.map(|speedup| {
        format!(
            "; the first token of a repeated prompt came {}",
            sooner(speedup)
        )
    });
    format!(
        "Caching does not work: {why}{}; is prefix caching switched on, and is there room for a prompt?",
        times.unwrap_or_default()
    )
}

fn cannot_tell(verdict: &CachingVerdict, reasons: &[Unclear]) -> String {
    let times = verdict
        .speedup
        .map(|speedup| {
            format!(
                " (the first token of a repeated prompt came {})",
                sooner(speedup)
            )
        })
        .unwrap_or_default();
    let words: Vec<String> = reasons
        .iter()
        .map(|reason| match reason {
            Unclear::NoPair => "no prompt was answered both cold and repeated".to_owned(),
            Unclear::NothingReported => {
                "the server does not report what it took from its cache".to_owned()
            }
            Unclear::OnePair => {
                format!("a single prompt shows no spread{times}; repeat with more --num-iterations")
            }
            Unclear::TooNoisy => {
                format!("the times vary too much{times}; repeat with more --num-iterations")
            }
            Unclear::ShorterThanBlock => format!(
                "the prompts are shorter than the blocks in which servers usually cache{times}; repeat with longer ones"
            ),
            Unclear::ColdWasCached => {
                "all prompts were in the cache before they were first sent".to_owned()
            }
        })
        .collect();
    format!(
        "Cannot tell whether caching works: {}",
        words.join(", and ")
    )
}

/// `4.31 times as soon (95% interval 4.10 to 4.55, 5 prompts)`.
fn sooner(speedup: Estimate) -> String {
    let n = speedup.n_pairs;
    let prompts = if n == 1 { "prompt" } else { "prompts" };
    match speedup.interval {
        Some((low, high)) => format!(
            "{:.2} times as soon (95% interval {low:.2} to {high:.2}, {n} {prompts})",
            speedup.value
        ),
        None => format!(
            "{:.2} times as soon ({n} {prompts}, no interval)",
            speedup.value
        ),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// Why answers are not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCompared {
    /// `--extra-body` sets another temperature than 0.
    Temperature,
    /// No prompt was answered both cold and repeated.
    NoPair,
}

/// Whether what comes from cache is what comes cold. Never a failure: engines are not stable to the last bit between a
/// cold and a warm prefill.
#[must_use]
pub fn output(comparison: &OutputComparison, not_compared: Option<NotCompared>) -> Verdict {
    let OutputComparison {
        n_compared,
        n_different,
        n_repeated_prompts,
        n_unstable_prompts,
    } = *comparison;
    let (word, text) = match not_compared {
        Some(NotCompared::Temperature) => (
            "not compared",
            "Output not compared: --extra-body sets a temperature other than 0".to_owned(),
        ),
        Some(NotCompared::NoPair) => (
            "not compared",
            "Output not compared: no prompt was answered both cold and repeated".to_owned(),
        ),
        None if n_different == 0 => (
            "equal",
            format!(
                "Output from cache is right: {} to repeated prompts {} what was answered cold, word by word",
                if n_compared == 1 {
                    "the answer".to_owned()
                } else {
                    format!("all {n_compared} answers")
                },
                if n_compared == 1 { "is" } else { "are" },
            ),
        ),
        None => {
            let among = if n_repeated_prompts == 0 {
                String::new()
            } else if n_unstable_prompts == 0 {
                "; repeated answers agree among themselves, so the cold and the warm path differ"
                    .to_owned()
            } else {
                format!(
                    "; the repeated answers of {n_unstable_prompts} of {n_repeated_prompts} prompts differ among themselves too, so the \
                     server is not stable at temperature 0"
                )
            };
            (
                "different",
                format!(
                    "Output from cache differs: {n_different} of {n_compared} answers to repeated prompts are not what was answered cold \
                     at temperature 0{among}. Few engines are stable to the last bit; many differences early in the text are worth a look"
                ),
            )
        }
    };
    Verdict {
        is_good: n_different == 0,
        object: json!({
            "verdict": word,
            "text": text,
            "compared": n_compared,
            "different": n_different,
            "unstable_prompts": n_unstable_prompts,
        }),
        text,
    }
}

/// One line about one difference.
#[must_use]
pub fn difference(difference: &TextDifference) -> String {
    let TextDifference {
        context_size,
        iteration,
        prompt_index,
        kind,
        n_common_chars,
        cold,
        cached,
    } = difference;
    let shown = |text: &str| {
        if text.is_empty() {
            "the end".to_owned()
        } else {
            format!("{text:?}")
        }
    };
    format!(
        "  {} tokens, iteration {}, prompt {}, {kind}: after {n_common_chars} characters {} cold, {} from cache",
        thousands(*context_size),
        iteration + 1,
        prompt_index + 1,
        shown(cold),
        shown(cached)
    )
}

#[cfg(test)]
mod tests;

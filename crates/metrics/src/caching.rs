//! Does the server's prefix cache work? A plain answer from prompts that were sent cold and again.
//!
//! What the server reports of its cache goes before what its times suggest; times alone decide only beyond a margin
//! that noise does not reach. "Cannot tell" is an answer, with its reasons.
//!
//! One test over all prompts decides by times, not one per context size: of eight sizes without any cache, one would
//! look faster by chance in every sixth run.

use crate::interval::{Estimate, geometric_mean_ratio};
use crate::selfcheck::TEMPLATE_ALLOWANCE_TOKENS;
use crate::single_prompt::{PromptPair, SinglePromptRow, prompt_pairs, reported_share};

/// A speed-up below this is none: second requests gain some percent without any cache.
pub const LEAST_SPEEDUP: f64 = 1.1;
/// Cache blocks of usual engines are at most this long, tokens; shorter prompts may fill none.
pub const USUAL_BLOCK_TOKENS: u64 = 256;

/// Whether prompts that were sent before are served from cache.
#[derive(Debug, Clone, PartialEq)]
pub enum Caching {
    /// They are.
    Works(Basis),
    /// They are not.
    DoesNotWork(Basis),
    /// These measurements do not say.
    CannotTell(Vec<Unclear>),
}

/// What an answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The server's report of cached tokens.
    Report,
    /// The times alone.
    Times,
}

/// Why nothing can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unclear {
    /// No prompt was answered both cold and again.
    NoPair,
    /// The server reports no cached tokens.
    NothingReported,
    /// With a single prompt the times have no spread.
    OnePair,
    /// The times vary too much.
    TooNoisy,
    /// No prompt is as long as the blocks that engines usually cache in.
    ShorterThanBlock,
    /// The prompts were in the cache before they were first sent.
    ColdWasCached,
}

/// The answer with its figures.
#[derive(Debug, Clone, PartialEq)]
pub struct CachingVerdict {
    /// The answer.
    pub caching: Caching,
    /// Share of the repetitions' prompt tokens that the server took from its cache, by its own report.
    pub reported_share: Option<f64>,
    /// TTFT cold ÷ TTFT again: geometric mean over all prompts with its 95 % interval. Prompts that were in the cache
    /// when they were first sent take no part.
    pub speedup: Option<Estimate>,
    /// First sendings that were served from cache though nobody had sent them in this run.
    pub n_cold_cached: usize,
    /// First sendings with a repetition.
    pub n_pairs: usize,
    /// Context sizes at which the server reports nothing from cache, where it does at others; tokens.
    pub sizes_without: Vec<u64>,
}

/// Judges all rows of a run.
#[must_use]
pub fn judge_caching(rows: &[SinglePromptRow]) -> CachingVerdict {
    let mut pairs = prompt_pairs(rows);
    pairs.retain(|pair| pair.cold.is_some() && !pair.cached.is_empty());
    let times: Vec<(f64, f64)> = pairs
        .iter()
        .filter(|pair| !was_cached(pair))
        .filter_map(PromptPair::ttfts)
        .collect();
    let speedup = geometric_mean_ratio(&times);
    let n_cold_cached = pairs.iter().filter(|pair| was_cached(pair)).count();
    CachingVerdict {
        caching: decide(&pairs, speedup, n_cold_cached),
        reported_share: reported_share(rows.iter().filter(|row| row.is_cached())),
        speedup,
        n_cold_cached,
        n_pairs: pairs.len(),
        sizes_without: sizes_without(&pairs),
    }
}

fn decide(pairs: &[PromptPair<'_>], speedup: Option<Estimate>, n_cold_cached: usize) -> Caching {
    if pairs.is_empty() {
        return Caching::CannotTell(vec![Unclear::NoPair]);
    }
    let interval = speedup.and_then(|s| s.interval);
    let is_faster = interval.is_some_and(|(low, _)| low >= LEAST_SPEEDUP);
    let is_not_faster = interval.is_some_and(|(_, high)| high < LEAST_SPEEDUP);
    let longest = pairs
        .iter()
        .filter_map(|pair| pair.cold)
        .map(|row| row.prompt_tokens)
        .max();
    let is_short = longest.is_some_and(|tokens| tokens < USUAL_BLOCK_TOKENS);
    if pairs.iter().any(has_report) {
        if pairs.iter().any(was_served) {
            Caching::Works(Basis::Report)
        } else if is_faster {
            // Some servers send the field and never fill it.
            Caching::Works(Basis::Times)
        } else if is_short {
            Caching::CannotTell(vec![Unclear::ShorterThanBlock])
        } else {
            Caching::DoesNotWork(Basis::Report)
        }
    } else if is_faster {
        Caching::Works(Basis::Times)
    } else if is_not_faster && !is_short {
        Caching::DoesNotWork(Basis::Times)
    } else {
        let why = if n_cold_cached == pairs.len() {
            Unclear::ColdWasCached
        } else if is_short {
            Unclear::ShorterThanBlock
        } else if interval.is_none() {
            Unclear::OnePair
        } else {
            Unclear::TooNoisy
        };
        Caching::CannotTell(vec![Unclear::NothingReported, why])
    }
}

/// Whether the server said anything about its cache when the prompt was repeated.
fn has_report(pair: &PromptPair<'_>) -> bool {
    pair.cached
        .iter()
        .any(|row| row.reported_cached_tokens.is_some())
}

/// Whether the prompt's first sending was served from cache, beyond what a chat template explains.
fn was_cached(pair: &PromptPair<'_>) -> bool {
    let reported = pair.cold.and_then(|row| row.reported_cached_tokens);
    reported.is_some_and(|tokens| tokens > TEMPLATE_ALLOWANCE_TOKENS)
}

/// Whether a repetition was served from cache: more of it than of the first sending, or as much where that was
/// cached already.
fn was_served(pair: &PromptPair<'_>) -> bool {
    let cold = pair
        .cold
        .and_then(|row| row.reported_cached_tokens)
        .unwrap_or(0);
    pair.cached
        .iter()
        .filter_map(|row| row.reported_cached_tokens)
        .any(|tokens| tokens > cold || (was_cached(pair) && tokens > TEMPLATE_ALLOWANCE_TOKENS))
}

fn sizes_without(pairs: &[PromptPair<'_>]) -> Vec<u64> {
    let mut reported: Vec<(u64, bool)> = Vec::new();
    for pair in pairs.iter().filter(|pair| has_report(pair)) {
        match reported.last_mut() {
            Some((size, served)) if *size == pair.context_size => *served |= was_served(pair),
            _ => reported.push((pair.context_size, was_served(pair))),
        }
    }
    if reported.iter().all(|(_, served)| !served) {
        return Vec::new();
    }
    let without = reported.iter().filter(|(_, served)| !served);
    without.map(|(size, _)| *size).collect()
}

/// Whether what is answered from cache is what is answered cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputComparison {
    /// Repetitions whose answer was compared with the cold one to the same prompt.
    pub n_compared: usize,
    /// Those that differ.
    pub n_different: usize,
    /// Prompts with at least two compared repetitions.
    pub n_repeated_prompts: usize,
    /// Of those, prompts whose repetitions differ among themselves: the engine is not stable even on a warm prompt.
    pub n_unstable_prompts: usize,
}

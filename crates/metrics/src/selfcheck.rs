//! Checks a run makes on itself: is what the server received what was meant.
//!
//! Only requests for which the server reported the number take part; without any, the answer is `None` and
//! proves nothing either way. Nothing here decides what to do about a finding.

use crate::percentile::{percentile, sorted};
use crate::record::RequestRecord;
use crate::sample::Completed;

/// A median prompt length may be off by this share of the expected length …
pub const PROMPT_TOLERANCE_SHARE: f64 = 0.02;
/// … plus this many tokens, for the chat template.
pub const PROMPT_TOLERANCE_TOKENS: f64 = 64.0;
/// Cached tokens that a chat template alone can explain when the engine's block size is not known.
pub const TEMPLATE_ALLOWANCE_TOKENS: u64 = 64;

/// Server's `prompt_tokens` against body + question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PromptCheck {
    /// Requests compared.
    pub n: usize,
    /// Median of what was meant, tokens.
    pub expected_median: f64,
    /// Median of what the server counted, tokens.
    pub reported_median: f64,
    /// Median over requests of reported − expected, tokens.
    pub median_deviation: f64,
    /// The deviation is more than the tolerance.
    pub exceeded: bool,
}

/// Compares prompt lengths; `None` when the server reported none.
#[must_use]
pub fn check_prompts<'a>(
    records: impl IntoIterator<Item = &'a RequestRecord>,
) -> Option<PromptCheck> {
    let pairs: Vec<(f64, f64)> = records
        .into_iter()
        .filter_map(|r| {
            let expected = r.input_tokens() + r.intent.question_tokens;
            Some((expected as f64, r.reported_prompt_tokens? as f64))
        })
        .collect();
    let median = |values: Vec<f64>| percentile(&sorted(values), 0.5);
    let expected_median = median(pairs.iter().map(|p| p.0).collect())?;
    let reported_median = median(pairs.iter().map(|p| p.1).collect())?;
    let median_deviation = median(pairs.iter().map(|p| p.1 - p.0).collect())?;
    let tolerance = PROMPT_TOLERANCE_SHARE * expected_median + PROMPT_TOLERANCE_TOKENS;
    Some(PromptCheck {
        n: pairs.len(),
        expected_median,
        reported_median,
        median_deviation,
        exceeded: median_deviation.abs() > tolerance,
    })
}

/// Server's `cached_tokens` against the intended ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachedCheck {
    /// Requests compared.
    pub n: usize,
    /// Requests that are off by more than the tolerance.
    pub n_mismatched: usize,
    /// Lowest reported − intended, tokens; negative when the server cached less than meant.
    pub lowest: i64,
    /// Highest reported − intended, tokens.
    pub highest: i64,
}

/// Reported − intended cached tokens of one request; `None` when the server reported none.
#[must_use]
pub fn cached_mismatch(record: &impl Completed) -> Option<i64> {
    let reported = i64::try_from(record.reported_cached_tokens()?).unwrap_or(i64::MAX);
    let intended = i64::try_from(record.cached_tokens()).unwrap_or(i64::MAX);
    Some(reported.saturating_sub(intended))
}

/// Compares cached tokens, request by request, with a tolerance in tokens (one cache block, as a rule);
/// `None` when the server reported none.
#[must_use]
pub fn check_cached<'a, R: Completed + 'a>(
    records: impl IntoIterator<Item = &'a R>,
    tolerance: u64,
) -> Option<CachedCheck> {
    let deviations: Vec<i64> = records
        .into_iter()
        .filter_map(|r| cached_mismatch(r))
        .collect();
    Some(CachedCheck {
        n: deviations.len(),
        n_mismatched: deviations
            .iter()
            .filter(|d| d.unsigned_abs() > tolerance)
            .count(),
        lowest: *deviations.iter().min()?,
        highest: *deviations.iter().max()?,
    })
}

/// Requests meant cold that the server answered from its cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColdCheck {
    /// Cold requests for which the server reported cached tokens.
    pub n: usize,
    /// Those with more cached tokens than the allowance.
    pub n_warm: usize,
    /// Most cached tokens reported for a cold request.
    pub most_cached: u64,
}

impl ColdCheck {
    /// Whether any request meant cold was warm: the test does not measure what it says.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.n_warm > 0
    }
}

/// Looks for warm requests among those of rate 0; `allowance` is what the chat template may explain, in
/// tokens. `None` when there are no such requests or the server reported nothing.
#[must_use]
pub fn check_cold<'a, R: Completed + 'a>(
    records: impl IntoIterator<Item = &'a R>,
    allowance: u64,
) -> Option<ColdCheck> {
    let cached: Vec<u64> = records
        .into_iter()
        .filter(|r| r.cache_hit_rate() == 0)
        .filter_map(Completed::reported_cached_tokens)
        .collect();
    Some(ColdCheck {
        n: cached.len(),
        n_warm: cached.iter().filter(|c| **c > allowance).count(),
        most_cached: *cached.iter().max()?,
    })
}

//! Checks a run makes on itself: is what the server received what was meant.
//!
//! Only requests for which the server reported the number take part; without any, the answer is `None` and
//! proves nothing either way. Nothing here decides what to do about a finding.

use std::collections::BTreeMap;

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
    let mut tally = PromptTally::default();
    records.into_iter().for_each(|r| tally.add(r));
    tally.check()
}

/// [`check_prompts`] request by request. Lengths are kept with how often they came, so that any number of requests
/// takes the room of their different lengths.
#[derive(Debug, Clone, Default)]
pub struct PromptTally {
    expected: Counts,
    reported: Counts,
    deviations: Counts,
}

impl PromptTally {
    /// Looks at one request.
    pub fn add(&mut self, record: &RequestRecord) {
        let Some(reported) = record.reported_prompt_tokens else {
            return;
        };
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let expected = whole(record.input_tokens() + record.intent.question_tokens);
        let reported = whole(reported);
        self.expected.add(expected);
        self.reported.add(reported);
        self.deviations.add(reported.saturating_sub(expected));
    }

    /// What came of it.
    #[must_use]
    pub fn check(&self) -> Option<PromptCheck> {
        let expected_median = self.expected.median()?;
        let median_deviation = self.deviations.median()?;
        let tolerance = PROMPT_TOLERANCE_SHARE * expected_median + PROMPT_TOLERANCE_TOKENS;
        Some(PromptCheck {
            n: self.expected.n,
            expected_median,
            reported_median: self.reported.median()?,
            median_deviation,
            exceeded: median_deviation.abs() > tolerance,
        })
    }
}

/// Whole numbers and how often each came.
#[derive(Debug, Clone, Default)]
struct Counts {
    of: BTreeMap<i64, usize>,
    n: usize,
}

impl Counts {
    fn add(&mut self, value: i64) {
        *self.of.entry(value).or_default() += 1;
        self.n += 1;
    }

    fn median(&self) -> Option<f64> {
        let last = self.n.checked_sub(1)?;
        let middle = [last / 2, last.div_ceil(2)].map(|rank| self.at(rank));
        percentile(&sorted(middle.into_iter().flatten()), 0.5)
    }

    /// The value of a rank, from 0.
    fn at(&self, rank: usize) -> Option<f64> {
        let mut seen = 0;
        let (value, _) = self.of.iter().find(|(_, n)| {
            seen += **n;
            seen > rank
        })?;
        Some(*value as f64)
    }
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
    let mut check = None;
    for record in records {
        CachedCheck::add(&mut check, record, tolerance);
    }
    check
}

impl CachedCheck {
    /// Looks at one more request, with a tolerance in tokens.
    pub fn add(check: &mut Option<Self>, record: &impl Completed, tolerance: u64) {
        let Some(deviation) = cached_mismatch(record) else {
            return;
        };
        let check = check.get_or_insert(Self {
            n: 0,
            n_mismatched: 0,
            lowest: deviation,
            highest: deviation,
        });
        check.n += 1;
        check.n_mismatched += usize::from(deviation.unsigned_abs() > tolerance);
        check.lowest = check.lowest.min(deviation);
        check.highest = check.highest.max(deviation);
    }
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

    /// Looks at one more request; `allowance` is what the chat template may explain, in tokens.
    pub fn add(check: &mut Option<Self>, record: &impl Completed, allowance: u64) {
        if record.cache_hit_rate() != 0 {
            return;
        }
        let Some(cached) = record.reported_cached_tokens() else {
            return;
        };
        let check = check.get_or_insert(Self {
            n: 0,
            n_warm: 0,
            most_cached: 0,
        });
        check.n += 1;
        check.n_warm += usize::from(cached > allowance);
        check.most_cached = check.most_cached.max(cached);
    }
}

/// Looks for warm requests among those of rate 0; `allowance` is what the chat template may explain, in
/// tokens. `None` when there are no such requests or the server reported nothing.
#[must_use]
pub fn check_cold<'a, R: Completed + 'a>(
    records: impl IntoIterator<Item = &'a R>,
    allowance: u64,
) -> Option<ColdCheck> {
    let mut check = None;
    for record in records {
        ColdCheck::add(&mut check, record, allowance);
    }
    check
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // The median of counted values is the median of the values.
        #[test]
        fn counts_have_the_median_of_what_was_counted(values in prop::collection::vec(-50_i64..50, 0..60)) {
            let mut counts = Counts::default();
            values.iter().for_each(|value| counts.add(*value));
            let all = sorted(values.iter().map(|value| *value as f64));
            prop_assert_eq!(counts.median(), percentile(&all, 0.5));
        }
    }
}

//! What a size's own data say against its figures.

use metrics::record::RequestRecord;
use metrics::selfcheck::{PromptCheck, TEMPLATE_ALLOWANCE_TOKENS, check_cold, check_prompts};

/// A prompt may be longer or shorter than planned by this share …
const PROMPT_DEVIATION_SHARE: f64 = 0.1;
/// … or by what a short chat template adds, tokens.
const SHORT_TEMPLATE_TOKENS: f64 = 16.0;
/// Said once per run.
const NO_USAGE: &str = "the server sent no token counts";

/// Reasons to look twice at the figures of a size, beyond those `told` before.
pub(super) fn doubts(context_size: u64, records: &[RequestRecord], told: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(cold) = check_cold(records, TEMPLATE_ALLOWANCE_TOKENS).filter(|c| c.is_warm()) {
        found.push(format!(
            "{context_size} tokens: {} of {} prompts that nobody had sent before were served from the server's cache, \
             up to {} tokens: their cold times are none. A server that still holds an earlier run with the same --seed \
             does this; restart it, or leave --seed out",
            cold.n_warm, cold.n, cold.most_cached
        ));
    }
    if let Some(check) = check_prompts(records).filter(is_far_off) {
        found.push(format!(
            "{context_size} tokens: the server counts {:.0} prompt tokens where {:.0} were sent (medians): is \
             --tokenizer the server's own?",
            check.reported_median, check.expected_median
        ));
    }
    let is_local =
        |record: &&RequestRecord| record.counted_locally || record.reported_prompt_tokens.is_none();
    let n_local = records.iter().filter(is_local).count();
    if n_local > 0 && !told.iter().any(|doubt| doubt.contains(NO_USAGE)) {
        found.push(format!(
            "{context_size} tokens: {NO_USAGE} for {n_local} of {} requests; they were counted here, and the column \
             token_counts says so",
            records.len()
        ));
    }
    found
}

/// Whether the server's count of prompt tokens is too far from ours: by the rule of all testers, or by a tenth, which
/// for short prompts is less.
fn is_far_off(check: &PromptCheck) -> bool {
    let tolerance = (PROMPT_DEVIATION_SHARE * check.expected_median).max(SHORT_TEMPLATE_TOKENS);
    check.exceeded || check.median_deviation.abs() > tolerance
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tenth more tokens than sent is too many, also where the suite's rule lets short prompts pass.
    #[test]
    fn a_tenth_of_a_short_prompt_is_too_far_off() {
        let check = |expected: f64, deviation: f64| PromptCheck {
            n: 4,
            expected_median: expected,
            reported_median: expected + deviation,
            median_deviation: deviation,
            exceeded: deviation.abs() > 0.02 * expected + 64.0,
        };
        for (expected, deviation, is_off) in [
            (206.0, 34.0, true),
            (206.0, 20.0, false),
            (206.0, -21.0, true),
            (40.0, 15.0, false),
            (8006.0, 300.0, true),
            (8006.0, 200.0, false),
        ] {
            assert_eq!(
                is_far_off(&check(expected, deviation)),
                is_off,
                "{expected} {deviation}"
            );
        }
    }
}

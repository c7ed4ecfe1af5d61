//! Which figures of a single-prompt run say more of the client than they should.

use std::collections::BTreeMap;

use crate::chart::{count, some_of};
use crate::metadata::RunFacts;

/// Prompts of one size whose times the client limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limited {
    /// Those sent for the first time.
    pub cold: bool,
    /// Their repeats.
    pub cached: bool,
}

impl Limited {
    /// Whether either are: the speed-up is made of both.
    #[must_use]
    pub fn any(self) -> bool {
        self.cold || self.cached
    }

    /// In words; `None` where nothing is limited.
    #[must_use]
    pub fn words(self) -> Option<&'static str> {
        match (self.cold, self.cached) {
            (true, true) => Some("cold and cached"),
            (true, false) => Some("cold"),
            (false, true) => Some("cached"),
            (false, false) => None,
        }
    }
}

/// The sizes of a run that the client limits, as `run_facts.json` has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitedSizes {
    sizes: BTreeMap<u64, Limited>,
}

impl LimitedSizes {
    /// What the facts of a run say; nothing is limited where they say nothing.
    #[must_use]
    pub fn of_facts(facts: &RunFacts) -> Self {
        let client = facts.sections.get("client");
        let rows = client.and_then(|client| client["sizes"].as_array());
        let mut limited = Self::default();
        for row in rows.into_iter().flatten() {
            let is_limited = row["client_limited"] == true;
            if let (true, Some(size)) = (is_limited, row["context_size"].as_u64()) {
                let of_size = limited.sizes.entry(size).or_default();
                match row["prompts"].as_str() {
                    Some("unique") => of_size.cold = true,
                    _ => of_size.cached = true,
                }
            }
        }
        limited
    }

    /// What is limited at a size, tokens.
    #[must_use]
    pub fn of(&self, context_size: u64) -> Limited {
        self.sizes.get(&context_size).copied().unwrap_or_default()
    }

    /// `1,000 tokens (cached); 8,000 tokens (cold and cached)`; `None` where nothing is limited.
    #[must_use]
    pub fn named(&self) -> Option<String> {
        let sizes = self.sizes.iter();
        let words = sizes
            .filter_map(|(size, of)| Some(format!("{} tokens ({})", count(*size), of.words()?)));
        (!self.sizes.is_empty()).then(|| some_of(words, self.sizes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts(sizes: serde_json::Value) -> RunFacts {
        let mut facts = RunFacts::new("single_prompt_tester", "1.0");
        facts
            .sections
            .insert("client".to_owned(), json!({ "sizes": sizes }));
        facts
    }

    #[test]
    fn a_size_is_limited_through_either_of_its_prompts() {
        let row = |size: u64, prompts: &str, is_limited: Option<bool>| json!({"context_size": size, "prompts": prompts, "client_limited": is_limited});
        let limited = LimitedSizes::of_facts(&facts(json!([
            row(1000, "unique", Some(false)),
            row(1000, "cached", Some(true)),
            row(8000, "unique", Some(true)),
            row(8000, "cached", Some(true)),
            row(9000, "unique", None),
        ])));
        assert_eq!(
            limited.named().as_deref(),
            Some("1,000 tokens (cached); 8,000 tokens (cold and cached)")
        );
        assert!(!limited.of(1000).cold && limited.of(1000).any() && !limited.of(9000).any());
        let many = (1..=6u64).map(|n| row(n, "cached", Some(true))).collect();
        let many = LimitedSizes::of_facts(&facts(many));
        assert!(
            many.named()
                .is_some_and(|text| text.ends_with("; and 2 more"))
        );
    }

    #[test]
    fn facts_that_say_nothing_limit_nothing() {
        for facts in [
            RunFacts::new("single_prompt_tester", "1.0"),
            facts(json!("none")),
            facts(json!([{}, 1])),
        ] {
            assert_eq!(LimitedSizes::of_facts(&facts), LimitedSizes::default());
        }
    }
}

//! The list of prompts against its definition.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;

fn measured(plan: &PromptPlan) -> Vec<String> {
    (plan.n_warmup..plan.n_total())
        .map(|i| plan.text(i))
        .collect()
}

#[test]
fn the_known_plans_have_their_known_numbers() {
    // warm-up, requests, ratio, unique, repeated, hits of a perfect cache
    for (warmup, requests, ratio, unique, repeated, hits) in [
        (5, 50, 0.3, 38, 17, 14),
        (5, 100, 0.5, 52, 53, 50),
        (5, 200, 0.3, 143, 62, 59),
        (0, 10, 0.3, 7, 3, 0),
        (0, 100, 0.9, 9, 91, 88),
        (0, 10, 0.0, 10, 0, 0),
        (0, 10, 1.0, 0, 10, 7),
        // The warm-up holds the first three repeats: every measured one is a hit.
        (5, 10, 1.0, 0, 15, 10),
    ] {
        let plan = PromptPlan::new(warmup, requests, ratio);
        let numbers = (plan.n_unique(), plan.n_repeated(), plan.n_possible_hits());
        assert_eq!(numbers, (unique, repeated, hits), "{requests} at {ratio}");
    }
}

#[test]
fn unique_prompts_carry_their_number_and_repeats_do_not() {
    let plan = PromptPlan::new(5, 50, 0.3);
    assert_eq!(
        plan.text(0),
        "Explain machine learning in simple terms. (variation 0)"
    );
    assert_eq!(
        plan.text(37),
        "What is overfitting and how to prevent it? (variation 37)"
    );
    assert_eq!(plan.text(38), "Explain machine learning in simple terms.");
    assert_eq!(plan.text(40), "How do neural networks work?");
    assert_eq!(plan.text(41), plan.text(38));
}

#[test]
fn a_shuffle_is_the_same_in_every_release() {
    let plan = PromptPlan::new(2, 8, 0.5).shuffled(0);
    let order: Vec<usize> = (0..10).map(|i| plan.place(i)).collect();
    insta::assert_debug_snapshot!(order);
}

proptest! {
    /// The share of repeated prompts is the ratio, to within one prompt, and all of them are in the
    /// list: unique ones are pairwise different, repeats take three texts at most, and no text is both.
    #[test]
    fn repeats_are_the_asked_share(warmup in 0usize..20, requests in 1usize..400, ratio in 0.0f64..=1.0) {
        let plan = PromptPlan::new(warmup, requests, ratio);
        let total = (warmup + requests) as f64;
        prop_assert!((plan.n_repeated() as f64 - total * ratio).abs() < 1.0 + 1e-9);
        let texts: Vec<String> = (0..plan.n_total()).map(|i| plan.text(i)).collect();
        let (unique, repeats) = texts.split_at(plan.n_unique());
        prop_assert_eq!(unique.iter().collect::<HashSet<_>>().len(), unique.len());
        let kinds: HashSet<_> = repeats.iter().collect();
        prop_assert_eq!(kinds.len(), repeats.len().min(3));
        prop_assert!(unique.iter().all(|text| !kinds.contains(text)));
    }

    /// A shuffle neither adds nor removes a measured prompt, and leaves the warm-up alone.
    #[test]
    fn a_shuffle_only_changes_the_order(warmup in 0usize..20, requests in 1usize..200, ratio in 0.0f64..=1.0, seed: u64) {
        let plain = PromptPlan::new(warmup, requests, ratio);
        let mixed = plain.clone().shuffled(seed);
        let count = |plan: &PromptPlan| {
            let mut counts = BTreeMap::new();
            for text in measured(plan) {
                *counts.entry(text).or_insert(0) += 1;
            }
            counts
        };
        prop_assert_eq!(count(&plain), count(&mixed));
        prop_assert!((0..warmup).all(|i| plain.text(i) == mixed.text(i)));
        // Not the same order, where there is more than one, save by a chance of one in many.
        if requests > 20 && ratio < 0.5 {
            prop_assert_ne!(measured(&plain), measured(&mixed));
        }
    }

    /// The hits of a perfect cache, counted by simulating one over the texts themselves.
    #[test]
    fn possible_hits_are_those_of_a_cache_without_limit(warmup in 0usize..20, requests in 1usize..200, ratio in 0.0f64..=1.0, seed: Option<u64>) {
        let plan = PromptPlan::new(warmup, requests, ratio);
        let plan = match seed {
            Some(seed) => plan.shuffled(seed),
            None => plan,
        };
        let mut seen = HashSet::new();
        let mut n_hits = 0;
        for i in 0..plan.n_total() {
            let is_hit = !seen.insert(plan.text(i));
            n_hits += usize::from(is_hit && i >= warmup);
        }
        prop_assert_eq!(plan.n_possible_hits(), n_hits);
    }
}

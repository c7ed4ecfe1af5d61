//! Cold means cold: what must differ differs from the first block on, what must repeat repeats.

use crate::families;

use std::collections::{HashMap, HashSet};

use workload::{
    ContextPlan, PieceTable, PromptPlan, RequestKey, Seed, SelectionOrder, Selector, TextTokenizer,
    WorkingSet,
};

/// Tokens of the smallest cache block in use.
const BLOCK: usize = 16;

const RATES: [u32; 4] = [0, 25, 50, 100];

fn plan(context_size: u64) -> ContextPlan {
    ContextPlan {
        context_size,
        chunk_size: 256,
        working_set_size: 8000,
    }
}

fn set(table: &PieceTable, seed: &Seed, plan: &ContextPlan) -> WorkingSet {
    WorkingSet::build(plan, &RATES, table, seed, 2, &|| false).unwrap()
}

fn key<'a>(plan: &ContextPlan, rate: u32, phase_id: &'a str, k: u64) -> RequestKey<'a> {
    RequestKey {
        context_size: plan.context_size,
        cache_hit_rate: rate,
        working_set_size: None,
        attempt: 1,
        phase_id,
        k,
    }
}

/// The first block that a request does not share with its working-set prompt.
fn first_fresh_block(tokenizer: &TextTokenizer, text: &str, cached: u64) -> Vec<u32> {
    tokenizer
        .encode(text)
        .into_iter()
        .skip(cached as usize)
        .take(BLOCK)
        .collect()
}

#[test]
fn no_two_requests_of_many_phases_share_their_first_fresh_block() {
    let tokenizer = families::builtin();
    let table = families::table(&tokenizer);
    let seed = Seed::new(42);
    let mut seen = HashMap::new();
    for context in [300, 1000, 2000] {
        let plan = plan(context);
        let ws = set(&table, &seed, &plan);
        for i in 0..ws.len() {
            let text = workload::warmup_prompt(&ws, i).plain_text();
            let block = first_fresh_block(&tokenizer, &text, 0);
            assert_eq!(seen.insert(block, format!("prompt {i} of {context}")), None);
        }
        for rate in [0, 25, 50] {
            let prompts = PromptPlan::new(&table, &seed, plan, rate);
            for attempt in 1..=2 {
                for phase_id in [
                    "RAMP_c2",
                    "RAMP_c12",
                    "RAMP_REFINE_c6_1",
                    "RETRY_1",
                    "RETRY_2",
                ] {
                    for k in 0..40 {
                        let fresh = prompts.fresh(&RequestKey {
                            working_set_size: None,
                            attempt,
                            ..key(&plan, rate, phase_id, k)
                        });
                        let text = std::str::from_utf8(&fresh.text)
                            .unwrap()
                            .replace("\\n", "\n");
                        let block = first_fresh_block(&tokenizer, &text, 0);
                        let name = format!("{context} {rate} {attempt} {phase_id} {k}");
                        let other = seen.insert(block, name.clone());
                        assert_eq!(other, None, "{name}");
                    }
                }
            }
        }
    }
}

#[test]
fn working_sets_of_other_seeds_sizes_and_chunks_share_no_block() {
    let tokenizer = families::builtin();
    let table = families::table(&tokenizer);
    let mut seen = HashSet::new();
    for seed in [1, 2] {
        for context_size in [1000, 1024, 4000] {
            for chunk_size in [128, 256] {
                let plan = ContextPlan {
                    context_size,
                    chunk_size,
                    working_set_size: 8000,
                };
                let ws =
                    WorkingSet::build(&plan, &[], &table, &Seed::new(seed), 1, &|| false).unwrap();
                for i in 0..ws.len() {
                    let text = workload::warmup_prompt(&ws, i).plain_text();
                    assert!(
                        seen.insert(first_fresh_block(&tokenizer, &text, 0)),
                        "{seed} {plan:?} {i}"
                    );
                }
            }
        }
    }
}

#[test]
fn equal_seeds_give_equal_requests_whatever_else_is_drawn() {
    let tokenizer = families::builtin();
    let table = families::table(&tokenizer);
    let plan = plan(2000);
    let sequence = |disturb: bool| {
        let seed = Seed::new(7);
        if disturb {
            // Other consumers of the same seed: another context, another phase, a selector.
            let other = ContextPlan {
                context_size: 500,
                ..plan
            };
            set(&table, &seed, &other);
            PromptPlan::new(&table, &seed, other, 0).fresh(&key(&other, 0, "RAMP_c2", 0));
            Selector::new(SelectionOrder::Random, 8, None, &seed).choose(&[]);
        }
        let ws = set(&table, &seed, &plan);
        let prompts = PromptPlan::new(&table, &seed, plan, 50);
        let mut selector = Selector::new(SelectionOrder::Random, ws.len(), None, &seed);
        (0..20)
            .map(|k| {
                if disturb {
                    prompts.fresh(&key(&plan, 50, "another phase", k));
                }
                let index = selector.choose(&[]);
                prompts
                    .assemble(
                        Some(&ws),
                        Some(index),
                        prompts.fresh(&key(&plan, 50, "RAMP_c2", k)),
                        k,
                    )
                    .plain_text()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(sequence(false), sequence(true));
}

#[test]
fn the_working_set_does_not_depend_on_rates_threads_or_its_own_size() {
    let tokenizer = families::builtin();
    let table = families::table(&tokenizer);
    let seed = Seed::new(3);
    let few = ContextPlan {
        context_size: 3000,
        chunk_size: 64,
        working_set_size: 9000,
    };
    let many = ContextPlan {
        working_set_size: 30_000,
        ..few
    };
    let one = WorkingSet::build(&few, &[50], &table, &seed, 1, &|| false).unwrap();
    let other = WorkingSet::build(&many, &[5, 10, 33, 95], &table, &seed, 2, &|| false).unwrap();
    assert!(one.len() < other.len());
    for i in 0..one.len() {
        assert_eq!(one.prompt(i).text, other.prompt(i).text);
    }
}

#[test]
fn one_token_of_fresh_text_differs_for_as_long_as_there_are_words() {
    let tokenizer = families::builtin();
    let table = families::table(&tokenizer);
    let plan = ContextPlan {
        context_size: 1,
        chunk_size: 1,
        working_set_size: 1,
    };
    let prompts = PromptPlan::new(&table, &Seed::new(5), plan, 0);
    let texts: HashSet<_> = (0..500)
        .map(|k| prompts.fresh(&key(&plan, 0, "P", k)).text)
        .collect();
    assert_eq!(texts.len(), 500);
}

#[test]
fn a_cancelled_build_says_so() {
    let table = families::table(&families::builtin());
    let outcome = WorkingSet::build(&plan(1000), &RATES, &table, &Seed::new(1), 2, &|| true);
    assert!(matches!(outcome, Err(workload::WorkingSetError::Cancelled)));
}

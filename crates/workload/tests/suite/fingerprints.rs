//! The prompts of a seed are part of the product: a change here changes every seeded run and is made on purpose only.
//!
//! To renew: run the test, read the new value in its message, write down in the changelog why prompts changed.

use crate::families;

use sha2::{Digest as _, Sha256};
use workload::{
    ContextPlan, Prompt, PromptPlan, RequestKey, Seed, SelectionOrder, Selector, WorkingSet,
    warmup_prompt,
};

const PLAN: ContextPlan = ContextPlan {
    context_size: 3000,
    chunk_size: 256,
    working_set_size: 20_000,
};

fn digest(prompts: impl Iterator<Item = Prompt>) -> String {
    let mut hash = Sha256::new();
    for prompt in prompts {
        hash.update(prompt.plain_text());
        hash.update([0]);
    }
    hash.finalize()
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect()
}

fn requests(rate: u32) -> String {
    let table = families::table(&families::builtin());
    let seed = Seed::new(42);
    let ws = WorkingSet::build(&PLAN, &[0, 50, 100], &table, &seed, 2, &|| false).unwrap();
    let prompts = PromptPlan::new(&table, &seed, PLAN, rate);
    let mut selector = Selector::new(SelectionOrder::RoundRobin, ws.len(), None, &seed);
    digest((0..20).map(|k| {
        let key = RequestKey {
            context_size: 3000,
            cache_hit_rate: rate,
            working_set_size: None,
            attempt: 1,
            phase_id: "RAMP_c2",
            k,
        };
        prompts.assemble(
            Some(&ws),
            Some(selector.choose(&[])),
            prompts.fresh(&key),
            k,
        )
    }))
}

#[test]
fn working_set_prompts_are_those_of_the_release() {
    let table = families::table(&families::builtin());
    let ws = WorkingSet::build(&PLAN, &[50], &table, &Seed::new(42), 2, &|| false).unwrap();
    assert_eq!(
        digest((0..ws.len()).map(|i| warmup_prompt(&ws, i))),
        "1c5f55d2f0aee890"
    );
}

#[test]
fn cold_requests_are_those_of_the_release() {
    assert_eq!(requests(0), "7ed165c6529bf00a");
}

#[test]
fn half_warm_requests_are_those_of_the_release() {
    assert_eq!(requests(50), "32a8778ace0bd32f");
}

#[test]
fn warm_requests_are_those_of_the_release() {
    assert_eq!(requests(100), "be5034f5bdd967f4");
}

//! Prompts have exactly the tokens that were asked for, under every family of tokenizers.

use crate::families;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use workload::{
    ContextPlan, Kind, Outcome, PieceTable, PromptCheck, PromptPlan, RequestKey, Seed,
    TextTokenizer, WorkingSet, questions::QUESTIONS, warmup_prompt,
};

#[derive(Debug, Clone)]
struct Case {
    plan: ContextPlan,
    rates: [u32; 3],
    seed: i64,
    k: u64,
}

/// Contexts of 1 to 40,000 tokens and chunks of 1 to 1024, small ones as likely as large ones.
fn case() -> impl Strategy<Value = Case> {
    let context = (0.0..10.6_f64).prop_map(|e| (e.exp() as u64).clamp(1, 40_000));
    let chunk = (0.0..6.94_f64).prop_map(|e| (e.exp() as u64).clamp(1, 1024));
    (
        context,
        chunk,
        0_u32..100,
        1_u32..100,
        any::<i64>(),
        0_u64..100_000,
    )
        .prop_map(|(context_size, chunk_size, a, b, seed, k)| {
            let mut plan = ContextPlan {
                context_size,
                chunk_size,
                working_set_size: 0,
            };
            plan.working_set_size = 2 * plan.rounded();
            Case {
                plan,
                rates: [a, b, 100],
                seed,
                k,
            }
        })
}

/// The invariant: working-set prompts and request bodies have exactly the planned number of tokens, the ids of a
/// cached part are the beginning of the ids of the working-set prompt and of every request built on it, and the tool's
/// own verification agrees.
fn check(tokenizer: &TextTokenizer, table: &PieceTable, case: &Case) -> Result<(), TestCaseError> {
    let Case {
        plan,
        rates,
        seed,
        k,
    } = case;
    let seed = Seed::new(*seed);
    let ws = WorkingSet::build(plan, rates, table, &seed, 1, &|| false).unwrap();
    prop_assert_eq!(ws.len(), 2);
    for i in 0..ws.len() {
        let text = warmup_prompt(&ws, i).plain_text();
        let ids = tokenizer.try_encode(&text).unwrap();
        prop_assert_eq!(
            ids.len() as u64,
            plan.rounded(),
            "working-set prompt {}: {:.60}",
            i,
            &text
        );
        prop_assert!(
            text.ends_with(|c: char| c.is_ascii_lowercase()),
            "{}",
            &text[text.len() - 10..]
        );
        prop_assert_eq!(ws.verify_one(i, tokenizer), Outcome::Verified);
        if plan.chunk_size > 16 {
            let header = format!("# PROMPT_{i}");
            prop_assert!(
                text.strip_prefix(&header)
                    .is_some_and(|t| t.starts_with(['\n', ' '])),
                "{:.40}",
                &text
            );
        }
    }
    for rate in rates {
        let prompts = PromptPlan::new(table, &seed, *plan, *rate);
        let split = plan.split(*rate);
        let key = RequestKey {
            context_size: plan.context_size,
            cache_hit_rate: *rate,
            working_set_size: None,
            attempt: 1,
            phase_id: "P",
            k: *k,
        };
        let index = (*k % 2) as usize;
        let fresh = prompts.fresh(&key);
        // At 100 % the fresh text is a nonce in front of the question.
        let nonce = if *rate == 100 { fresh.tokens } else { 0 };
        prop_assert_eq!(fresh.tokens, split.unique + nonce);
        prop_assert!(fresh.tokens > 0);
        let prompt = prompts.assemble(Some(&ws), Some(index), fresh, *k);
        let text = prompt.plain_text();
        let (body, question) = text.rsplit_once("\n\n").unwrap();
        prop_assert_eq!(question, QUESTIONS[(*k % QUESTIONS.len() as u64) as usize]);
        if *rate == 100 {
            prop_assert!(body.starts_with(&warmup_prompt(&ws, index).plain_text()));
        }
        let ids = tokenizer.try_encode(body).unwrap();
        prop_assert_eq!(
            ids.len() as u64,
            split.total() + nonce,
            "body at {} %: {:.60}",
            rate,
            body
        );
        prop_assert!(body.ends_with(|c: char| c.is_ascii_lowercase()));
        prop_assert!(!body.starts_with(' '));
        let all = tokenizer.try_encode(&text).unwrap();
        prop_assert_eq!(all.len() as u64, prompt.expected_tokens(), "question {}", k);
        prop_assert_eq!(&all[..ids.len()], &ids[..]);
        if let Some(prefix) = ws.prefix(index, split.cached) {
            let prefix = workload_plain(&prefix);
            let cached = tokenizer.try_encode(&prefix).unwrap();
            prop_assert_eq!(cached.len() as u64, split.cached, "prefix at {} %", rate);
            prop_assert_eq!(&ids[..cached.len()], &cached[..]);
        } else {
            prop_assert_eq!(split.cached, 0);
        }
        prop_assert_eq!(prompts.verify(&prompt, tokenizer), PromptCheck::Exact);
    }
    Ok(())
}

/// What an escaped text of ours stands for: newlines are the only thing that is escaped.
fn workload_plain(escaped: &[u8]) -> String {
    std::str::from_utf8(escaped).unwrap().replace("\\n", "\n")
}

fn check_family(name: &str, tokenizer: &TextTokenizer, cases: u32) {
    let table = families::table(tokenizer);
    println!(
        "{name}: {} pieces, {} one-token words, kinds {:?}",
        table.n_pieces(),
        table.n_singles(),
        table.kinds()
    );
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&case(), |case| check(tokenizer, &table, &case))
        .unwrap();
}

fn check_real(name: &str) {
    if let Some(tokenizer) = families::real(name) {
        check_family(name, &tokenizer, 24);
    }
}

#[test]
fn builtin_counts_are_exact() {
    check_family("builtin", &families::builtin(), 64);
}

#[test]
fn made_wordpiece_counts_are_exact() {
    check_family("made WordPiece", &families::made_wordpiece(), 32);
}

#[test]
fn made_unigram_counts_are_exact() {
    check_family("made Unigram", &families::made_unigram(), 32);
}

#[test]
fn counts_are_exact_where_newlines_and_commas_swallow_the_next_blank() {
    let tokenizer = families::builtin_with(&["\n ", ", "]);
    let table = families::table(&tokenizer);
    // The kinds that end in a newline or a comma do not join; the others remain.
    for gone in [
        Kind::StopLine,
        Kind::WordLine,
        Kind::Comma,
        Kind::Head,
        Kind::Call,
    ] {
        assert!(!table.kinds().contains(&gone), "{:?}", table.kinds());
    }
    assert!(
        [Kind::Word, Kind::Stop]
            .iter()
            .all(|kind| table.kinds().contains(kind)),
        "{:?}",
        table.kinds()
    );
    check_family("builtin with greedy signs", &tokenizer, 24);
}

#[test]
fn counts_are_exact_where_only_single_token_words_add_up() {
    let tokenizer = families::made_context_dependent();
    // This tokenizer drops newlines and knows signs, so these stay one token each.
    assert_eq!(
        families::table(&tokenizer).kinds(),
        [Kind::Word, Kind::WordLine, Kind::Operator]
    );
    check_family("context dependent", &tokenizer, 24);
}

#[test]
fn qwen3_counts_are_exact() {
    check_real("qwen3");
}

#[test]
fn llama3_counts_are_exact() {
    check_real("llama3_1");
}

#[test]
fn gpt4o_counts_are_exact() {
    check_real("gpt4o");
}

#[test]
fn llama2_counts_are_exact() {
    check_real("llama2");
}

#[test]
fn gemma3_counts_are_exact() {
    check_real("gemma3");
}

#[test]
fn minilm_counts_are_exact() {
    check_real("minilm");
}

#[test]
fn every_tiny_length_is_exact_under_builtin() {
    let tokenizer = families::builtin();
    let table = families::table(&tokenizer);
    for context_size in 1..80 {
        for chunk_size in [1, 2, 3, 7, 16, 64] {
            let plan = ContextPlan {
                context_size,
                chunk_size,
                working_set_size: 0,
            };
            let plan = ContextPlan {
                working_set_size: 2 * plan.rounded(),
                ..plan
            };
            check(
                &tokenizer,
                &table,
                &Case {
                    plan,
                    rates: [0, 50, 95],
                    seed: 7,
                    k: context_size,
                },
            )
            .unwrap();
        }
    }
}

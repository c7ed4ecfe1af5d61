//! A text that is not what it should be is found, replaced and counted.

use crate::families;

use workload::{
    ContextPlan, Outcome, PieceError, PieceTable, Prompt, PromptCheck, PromptPlan, RequestKey,
    Seed, TextTokenizer, Verification, WorkingSet, warmup_prompt,
};

const PLAN: ContextPlan = ContextPlan {
    context_size: 2000,
    chunk_size: 256,
    working_set_size: 20_000,
};

fn set(table: &PieceTable) -> WorkingSet {
    WorkingSet::build(&PLAN, &[0, 50, 100], table, &Seed::new(9), 2, &|| false).unwrap()
}

fn ids(tokenizer: &TextTokenizer, prompt: &Prompt) -> usize {
    tokenizer.try_count(&prompt.plain_text()).unwrap()
}

#[test]
fn a_sound_set_is_verified_whole_and_only_once() {
    let tokenizer = families::builtin();
    let ws = set(&families::table(&tokenizer));
    assert_eq!(ws.verification(), Verification::default());
    assert_eq!(ws.verify_one(3, &tokenizer), Outcome::Verified);
    assert_eq!(
        ws.verification(),
        Verification {
            verified: 1,
            corrected: 0,
            deviating: 0
        }
    );
    let all = Verification {
        verified: ws.len() as u64,
        corrected: 0,
        deviating: 0,
    };
    assert_eq!(ws.verify_all(&tokenizer, 2, &|| false), all);
    assert_eq!(ws.verify_all(&tokenizer, 2, &|| false), all);
}

#[test]
fn a_prompt_whose_punctuation_drifts_is_rebuilt_from_single_token_words() {
    let table = families::table(&families::builtin());
    let ws = set(&table);
    let drifting = families::builtin_with(&["):\n", ")\n"]);
    let before = ws.prompt(0).text.clone();
    assert_ne!(ids(&drifting, &warmup_prompt(&ws, 0)), 2048);
    assert_eq!(ws.verify_one(0, &drifting), Outcome::Corrected);
    assert_ne!(ws.prompt(0).text, before);
    assert_eq!(ids(&drifting, &warmup_prompt(&ws, 0)), 2048);
    // The cut moved with the text.
    let prefix = std::str::from_utf8(&ws.prefix(0, 768).unwrap())
        .unwrap()
        .replace("\\n", "\n");
    assert_eq!(drifting.count(&prefix), 768);
    assert_eq!(
        ws.verification(),
        Verification {
            verified: 0,
            corrected: 1,
            deviating: 0
        }
    );
}

#[test]
fn a_prompt_under_a_quite_different_tokenizer_is_trimmed_to_measure() {
    let table = families::table(&families::builtin());
    let ws = set(&table);
    let other = families::made_wordpiece();
    let found = ws.verify_all(&other, 2, &|| false);
    assert_eq!(
        found,
        Verification {
            verified: 0,
            corrected: ws.len() as u64,
            deviating: 0
        }
    );
    for i in 0..ws.len() {
        assert_eq!(ids(&other, &warmup_prompt(&ws, i)), 2048);
    }
}

#[test]
fn a_fresh_text_that_drifts_is_replaced() {
    let table = families::table(&families::builtin());
    let drifting = families::builtin_with(&["):\n", ")\n"]);
    let prompts = PromptPlan::new(&table, &Seed::new(4), PLAN, 0);
    let mut corrected = 0;
    for k in 0..20 {
        let key = RequestKey {
            context_size: 2000,
            cache_hit_rate: 0,
            working_set_size: None,
            attempt: 1,
            phase_id: "P",
            k,
        };
        let prompt = prompts.assemble(None, None, prompts.fresh(&key), k);
        match prompts.verify(&prompt, &drifting) {
            PromptCheck::Exact => {
                assert_eq!(ids(&drifting, &prompt) as u64, prompt.expected_tokens())
            }
            PromptCheck::Corrected(new) => {
                corrected += 1;
                assert_ne!(ids(&drifting, &prompt) as u64, prompt.expected_tokens());
                assert_eq!(ids(&drifting, &new) as u64, new.expected_tokens());
                assert_eq!(
                    (new.split, new.index, new.question_tokens),
                    (prompt.split, prompt.index, prompt.question_tokens)
                );
            }
            PromptCheck::Deviating { tokens } => panic!("{tokens} tokens could not be corrected"),
        }
    }
    assert!(corrected > 0);
}

#[test]
fn a_prompt_that_cannot_be_corrected_is_reported_with_its_true_count() {
    let tokenizer = families::builtin();
    let table = families::table(&tokenizer);
    let prompts = PromptPlan::new(&table, &Seed::new(4), PLAN, 100);
    let ws = set(&table);
    let fresh = prompts.fresh(&RequestKey {
        context_size: 2000,
        cache_hit_rate: 100,
        working_set_size: None,
        attempt: 1,
        phase_id: "P",
        k: 0,
    });
    let mut prompt = prompts.assemble(Some(&ws), Some(0), fresh, 0);
    prompt.split.cached = 2048;
    prompt.parts[0] = "only these few words".into();
    let tokens = ids(&tokenizer, &prompt) as u64;
    assert_eq!(
        prompts.verify(&prompt, &tokenizer),
        PromptCheck::Deviating { tokens }
    );
}

#[test]
fn a_tokenizer_without_words_is_refused_with_the_reason() {
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {
            "type": "Unigram", "unk_id": 0, "byte_fallback": false,
            "vocab": std::iter::once(("<unk>".to_owned(), 0.0))
                .chain((b' '..=b'~').map(|b| ((b as char).to_string(), -5.0))).collect::<Vec<_>>(),
        },
    });
    let letters = TextTokenizer::from_bytes(json.to_string().as_bytes()).unwrap();
    match PieceTable::build(&letters) {
        Err(error @ PieceError::TooFewSingles { found: 0, .. }) => {
            assert!(error.to_string().contains("single token"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_is_no_tokenizer_is_refused() {
    assert!(TextTokenizer::from_bytes(b"{}").is_err());
}

#[test]
fn truncation_and_padding_of_the_file_are_cleared() {
    let tokenizer = families::made_wordpiece();
    assert_eq!(tokenizer.count("the"), 1);
    assert_eq!(tokenizer.count(&"the ".repeat(500)), 500);
}

//! A table made of kept counts is the one that a measurement gives, or there is none.

use proptest::prelude::*;
use workload::{
    ContextPlan, PieceCounts, PieceTable, PromptPlan, RequestKey, Seed, TextTokenizer,
    TokenizerError,
};

use crate::families;

const BUILTIN: &[u8] = include_bytes!("../../../hub/assets/builtin-tokenizer.json");

/// Text drawn from a table: depends on every piece, shape and count of it in the long run.
fn texts(table: &PieceTable) -> Vec<Vec<u8>> {
    let context = ContextPlan {
        context_size: 8000,
        chunk_size: 256,
        working_set_size: 16_000,
    };
    let plan = PromptPlan::new(table, &Seed::new(5), context, 0);
    (0..20)
        .map(|k| {
            let fresh = plan.fresh(&RequestKey {
                context_size: 8000,
                working_set_size: None,
                cache_hit_rate: 0,
                attempt: 1,
                phase_id: "P",
                k,
            });
            fresh.text.to_vec()
        })
        .collect()
}

#[test]
fn kept_counts_give_the_same_table_without_the_tokenizer() {
    let tokenizer = TextTokenizer::from_bytes(BUILTIN).unwrap();
    let (measured, counts) = PieceTable::build_and_keep(&tokenizer).unwrap();
    let read = PieceCounts::from_json(counts.to_json().as_bytes()).unwrap();
    assert_eq!(read, counts);
    let unread = TextTokenizer::known(BUILTIN.into());
    let rebuilt = PieceTable::rebuild(&unread, &read).unwrap();
    assert_eq!(rebuilt.kinds(), measured.kinds());
    assert_eq!(rebuilt.n_pieces(), measured.n_pieces());
    assert_eq!(texts(&rebuilt), texts(&measured));
    unread.load().unwrap();
    assert_eq!(unread.count("the cache"), tokenizer.count("the cache"));
}

#[test]
fn counts_of_another_tokenizer_or_vocabulary_are_no_counts() {
    let tokenizer = families::builtin();
    let (_, counts) = PieceTable::build_and_keep(&tokenizer).unwrap();
    let other = families::builtin_with(&["cache"]);
    assert!(PieceTable::rebuild(&other, &counts).is_none());
    let json = counts.to_json();
    let at = json.find("questions").unwrap() + "questions\":\"".len();
    let digit = if &json[at..=at] == "0" { "1" } else { "0" };
    let other = format!("{}{digit}{}", &json[..at], &json[at + 1..]);
    let other = PieceCounts::from_json(other.as_bytes()).unwrap();
    assert!(PieceTable::rebuild(&tokenizer, &other).is_none());
}

#[test]
fn a_known_file_that_is_none_says_so_when_it_is_needed() {
    let tokenizer = TextTokenizer::known(b"{}".as_slice().into());
    assert!(matches!(tokenizer.load(), Err(TokenizerError::Parse(_))));
    assert!(matches!(
        tokenizer.try_count("a"),
        Err(TokenizerError::Parse(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// One answer less or more, and the interview is another one.
    #[test]
    fn cut_counts_are_no_counts(share in 0.0..1.0f64) {
        let tokenizer = families::builtin();
        let mut value: serde_json::Value =
            serde_json::from_str(&PieceCounts::builtin().unwrap().to_json()).unwrap();
        let counts = value["counts"].as_array_mut().unwrap();
        let keep = (counts.len() as f64 * share) as usize;
        counts.truncate(keep);
        let cut = PieceCounts::from_json(value.to_string().as_bytes()).unwrap();
        prop_assert!(PieceTable::rebuild(&tokenizer, &cut).is_none());
    }
}

//! A table that was kept is the one that a measurement gives, or there is none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use workload::{
    ContextPlan, PieceTable, PromptPlan, RequestKey, Seed, TextTokenizer, TokenizerError,
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
fn a_kept_table_is_the_measured_one_without_the_tokenizer() {
    let tokenizer = TextTokenizer::from_bytes(BUILTIN).unwrap();
    let measured = PieceTable::build(&tokenizer).unwrap();
    let unread = TextTokenizer::known(BUILTIN.into());
    let read = PieceTable::from_bytes(&unread, &measured.to_bytes()).unwrap();
    let brought = PieceTable::builtin(&unread).unwrap();
    for kept in [read, brought] {
        assert_eq!(kept.kinds(), measured.kinds());
        assert_eq!(kept.n_pieces(), measured.n_pieces());
        assert_eq!(kept.to_bytes(), measured.to_bytes());
        assert_eq!(texts(&kept), texts(&measured));
    }
    unread.load().unwrap();
    assert_eq!(unread.count("the cache"), tokenizer.count("the cache"));
}

#[test]
fn the_table_of_another_tokenizer_is_no_table() {
    let table = PieceTable::build(&families::builtin()).unwrap();
    let other = families::builtin_with(&["cache"]);
    assert!(PieceTable::from_bytes(&other, &table.to_bytes()).is_none());
    assert!(PieceTable::builtin(&other).is_none());
}

/// Files of tables are named by the edition: a source that it leaves out could change tables under the same name.
#[test]
fn the_edition_knows_every_source_of_a_table() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(sources.join(folder)).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        entries.map(|entry| name(entry.unwrap())).collect()
    };
    let listed = fs::read_to_string(sources.join("pieces/kept.rs")).unwrap();
    for name in names("pieces") {
        assert!(listed.contains(&format!("(\"{name}\")")), "{name}");
        let source = fs::read_to_string(sources.join("pieces").join(&name)).unwrap();
        for (at, word) in source.match_indices("use crate::") {
            let path = &source[at + word.len()..];
            let module = path.split([':', ';']).next().unwrap();
            let is_listed = listed.contains(&format!("(\"../{module}.rs\")"));
            assert!(is_listed, "{name} uses {module}");
            let has_parts = sources.join(module).exists();
            assert!(module == "words" || !has_parts, "{module} has parts");
        }
    }
    for name in names("words") {
        assert!(listed.contains(&format!("(\"../words/{name}\")")), "{name}");
    }
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
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A bit that is wrong, or an end that is missing, and there is no table.
    #[test]
    fn damaged_bytes_are_no_table(at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let tokenizer = families::builtin();
        let mut bytes = PieceTable::builtin(&tokenizer).unwrap().to_bytes();
        let at = at.index(bytes.len());
        prop_assert!(PieceTable::from_bytes(&tokenizer, &bytes[..at]).is_none());
        bytes[at] ^= 1 << bit;
        prop_assert!(PieceTable::from_bytes(&tokenizer, &bytes).is_none());
    }
}

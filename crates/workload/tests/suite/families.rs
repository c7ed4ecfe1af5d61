//! Tokenizer families for the tests: the built-in one, two made on the spot (Unigram, WordPiece), and real ones.
//!
//! Promise: real tokenizers are looked for in the folder named by `KV_TOKENIZERS`, else in `target/tokenizers`, as
//! `<name>/tokenizer.json`. One that is missing is skipped with a visible line, or with `KV_REQUIRE_TOKENIZERS=1` a
//! failure.

use std::path::PathBuf;

use tokenizers::Tokenizer;
use tokenizers::models::unigram::Unigram;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use workload::{PieceTable, TextTokenizer};

/// The tokenizer that the binaries carry.
pub(crate) fn builtin() -> TextTokenizer {
    TextTokenizer::from_bytes(include_bytes!("../../../hub/assets/builtin-tokenizer.json")).unwrap()
}

/// The built-in tokenizer, except that the texts `added` are one token wherever they stand: what is put together from
/// pieces measured without them has another length.
pub(crate) fn builtin_with(added: &[&str]) -> TextTokenizer {
    let mut json: serde_json::Value =
        serde_json::from_slice(include_bytes!("../../../hub/assets/builtin-tokenizer.json"))
            .unwrap();
    let first = json["model"]["vocab"].as_object().unwrap().len();
    let tokens = added.iter().enumerate().map(|(at, content)| {
        serde_json::json!({
            "id": first + at, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": false,
        })
    });
    json["added_tokens"] = tokens.collect();
    TextTokenizer::from_bytes(json.to_string().as_bytes()).unwrap()
}

/// A real tokenizer by the name of its folder; `None` (and a line on stderr) if it was never fetched.
pub(crate) fn real(name: &str) -> Option<TextTokenizer> {
    let folder = std::env::var_os("KV_TOKENIZERS").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../target/tokenizers"
            ))
        },
        PathBuf::from,
    );
    let path = folder.join(name).join("tokenizer.json");
    match std::fs::read(&path) {
        Ok(bytes) => Some(TextTokenizer::from_bytes(&bytes).unwrap()),
        Err(error) => {
            let required = std::env::var_os("KV_REQUIRE_TOKENIZERS").is_some_and(|v| v == "1");
            assert!(
                !required,
                "tokenizer {name} is required: {}: {error}",
                path.display()
            );
            // Straight to the terminal: the test harness shows captured output of failed tests only.
            use std::io::Write as _;
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED {name}: no {}; run `cargo xtask fetch-tokenizers`",
                path.display()
            );
            None
        }
    }
}

/// A lower-casing WordPiece with the truncation and padding that sentence encoders ship with.
pub(crate) fn made_wordpiece() -> TextTokenizer {
    wordpiece(|at, _| at % 3 == 0, serde_json::Value::Null)
}

/// A WordPiece that knows short words whole, and into whose text a normaliser puts signs wherever two long words
/// meet: the tokens of long words do not add up, those of short ones do.
pub(crate) fn made_context_dependent() -> TextTokenizer {
    let replace = serde_json::json!({
        "type": "Replace", "pattern": { "Regex": "(?<=[a-z]{6}) (?=[a-z]{6})" }, "content": " & & ",
    });
    wordpiece(|_, word| word.len() < 6, replace)
}

/// A WordPiece that knows the words of ours that `whole` says, of the others the first three letters.
fn wordpiece(whole: impl Fn(usize, &str) -> bool, normaliser: serde_json::Value) -> TextTokenizer {
    let words = workload::words::all();
    let mut entries: Vec<String> = vec!["[UNK]".into(), "[PAD]".into()];
    entries.extend(
        (b'!'..=b'~')
            .filter(|b| !b.is_ascii_uppercase())
            .map(|b| (b as char).to_string()),
    );
    entries.extend(('a'..='z').map(|c| format!("##{c}")));
    entries.extend(('0'..='9').map(|c| format!("##{c}")));
    for (at, word) in words.iter().enumerate() {
        entries.push(if whole(at, word) {
            (*word).to_owned()
        } else {
            word.chars().take(3).collect()
        });
    }
    let bert = serde_json::json!({
        "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
        "lowercase": true,
    });
    let normaliser = if normaliser.is_null() {
        bert
    } else {
        normaliser
    };
    let mut vocab = serde_json::Map::new();
    for entry in entries {
        let id = vocab.len();
        vocab.entry(entry).or_insert(id.into());
    }
    let json = serde_json::json!({
        "version": "1.0",
        "truncation": { "direction": "Right", "max_length": 128, "strategy": "LongestFirst", "stride": 0 },
        "padding": {
            "strategy": { "Fixed": 128 }, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 1, "pad_type_id": 0, "pad_token": "[PAD]",
        },
        "added_tokens": [],
        "normalizer": normaliser,
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": null,
        "decoder": null,
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab,
        },
    });
    TextTokenizer::from_bytes(json.to_string().as_bytes()).unwrap()
}

/// A Unigram model behind a metaspace, which turns newlines into pieces of their own.
pub(crate) fn made_unigram() -> TextTokenizer {
    let mut vocab: Vec<(String, f64)> = vec![("<unk>".into(), 0.0)];
    let known = workload::words::all().into_iter().enumerate();
    vocab.extend(known.map(|(at, word)| {
        if at % 2 == 0 {
            (format!("▁{word}"), -8.0)
        } else {
            (word.to_owned(), -9.0)
        }
    }));
    vocab.extend((b' '..=b'~').map(|b| ((b as char).to_string(), -12.0)));
    vocab.extend([
        ("\n".to_owned(), -10.0),
        ("▁".to_owned(), -6.0),
        ("▁the".to_owned(), -4.0),
    ]);
    let mut seen = std::collections::HashSet::new();
    vocab.retain(|(piece, _)| seen.insert(piece.clone()));
    let mut tokenizer = Tokenizer::new(Unigram::from(vocab, Some(0), false).unwrap());
    tokenizer.with_pre_tokenizer(Some(Metaspace::new('▁', PrependScheme::First, true)));
    TextTokenizer::from_bytes(tokenizer.to_string(false).unwrap().as_bytes()).unwrap()
}

/// The table of a tokenizer, as it is in all runs but the first.
pub(crate) fn table(tokenizer: &TextTokenizer) -> PieceTable {
    let measured = PieceTable::build(tokenizer).unwrap();
    PieceTable::from_bytes(tokenizer, &measured.to_bytes()).expect("every table can be kept")
}

//! `cargo xtask train-builtin`: trains the tokenizer that is shipped inside the binaries.
//!
//! Promise: deterministic. The same word lists and questions give the same bytes on every machine, and a test holds
//! the committed file against a new training. The result is a byte-level BPE without normaliser in which nearly every
//! word of our lists, with a space in front, is one token. Refuses to read any text that is not ours.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    SplitDelimiterBehavior, TokenizerBuilder,
};
use workload::{PieceTable, TextTokenizer};

/// Entries of the vocabulary: all bytes, every word of ours behind a space, the commoner ones also without.
const VOCABULARY: usize = 7168;

/// Words at a line start get their own tokens up to this length; prompts begin with one of them.
const STARTER_LENGTH: usize = 5;

/// How a text is cut before merging: a word with at most one leading non-letter, up to three digits, punctuation
/// with the newlines behind it, newline runs, blanks.
const SPLIT: &str =
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Trains and writes the built-in tokenizer and its piece table, or with `--check` compares a new training with the
/// committed files.
fn main() -> anyhow::Result<()> {
    let tokenizer = train()?;
    let pieces = measure(&tokenizer)?;
    for (path, bytes) in [
        (asset_path(), tokenizer.into_bytes()),
        (pieces_path(), pieces),
    ] {
        let shown = path.display();
        match std::env::args().nth(1).as_deref() {
            None => std::fs::write(&path, &bytes).with_context(|| format!("writing {shown}"))?,
            Some("--check") => {
                let committed = std::fs::read(&path).with_context(|| format!("reading {shown}"))?;
                if committed != bytes {
                    bail!(
                        "{shown} is not what a new training gives; run `cargo xtask train-builtin`"
                    );
                }
            }
            Some(other) => bail!("unknown argument {other}; the only one is --check"),
        }
    }
    Ok(())
}

/// Where the tokenizer lives in the repository.
pub(crate) fn asset_path() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../hub/assets/builtin-tokenizer.json"
    ))
}

/// Where its piece table lives.
pub(crate) fn pieces_path() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/assets/builtin.pieces"
    ))
}

/// Measures our pieces of text under the tokenizer.
pub(crate) fn measure(tokenizer: &str) -> anyhow::Result<Vec<u8>> {
    let tokenizer = TextTokenizer::from_bytes(tokenizer.as_bytes())?;
    Ok(PieceTable::build(&tokenizer)?.to_bytes())
}

/// Trains the tokenizer and returns its `tokenizer.json`.
pub(crate) fn train() -> anyhow::Result<String> {
    let split = Split::new(
        SplitPattern::Regex(SPLIT.to_owned()),
        SplitDelimiterBehavior::Isolated,
        false,
    )
    .map_err(|e| anyhow!(e))?;
    let bytes = ByteLevel::new(false, false, false);
    let mut tokenizer = TokenizerBuilder::<
        BPE,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    >::new()
    .with_model(BPE::default())
    .with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(Sequence::new(vec![
        split.into(),
        bytes.into(),
    ]))))
    .with_decoder(Some(DecoderWrapper::ByteLevel(bytes)))
    .build()
    .map_err(|e| anyhow!(e))?;
    let mut trainer = BpeTrainer::builder()
        .vocab_size(VOCABULARY)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    tokenizer
        .train(&mut trainer, corpus().into_iter())
        .map_err(|e| anyhow!(e))?;
    let mut json = tokenizer.to_string(false).map_err(|e| anyhow!(e))?;
    json.push('\n');
    Ok(json)
}

/// The training text: every word of ours many times behind a space, short ones also at a line start, the header of
/// working-set prompts, punctuation as our text uses it, and the questions.
fn corpus() -> Vec<String> {
    let words = workload::words::all();
    let mut lines = Vec::new();
    for word in &words {
        let starter = if word.len() <= STARTER_LENGTH {
            word
        } else {
            ""
        };
        for _ in 0..24 {
            lines.push(format!(" {word}"));
        }
        for _ in 0..12 {
            lines.push(starter.to_owned());
        }
    }
    for _ in 0..200 {
        lines.push("# PROMPT_\n".to_owned());
        lines.push(" ,.;:?\n.\n),():\n\n\n    +    -    *    =    return".to_owned());
    }
    for question in workload::questions::QUESTIONS {
        for _ in 0..4 {
            lines.push(question.to_owned());
        }
    }
    lines
}

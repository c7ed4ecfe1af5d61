//! Counting pieces inside their joints, and trying joints.
//!
//! Promise: nothing is assumed about a tokenizer that was not seen in its own encodings.

use std::collections::HashMap;
use std::rc::Rc;

use crate::tokenizer::{TextTokenizer, TokenizerError};

/// The word that stands around everything that is measured.
const ANCHOR: &str = "the";

/// Pieces of more tokens than this are of no use for an exact fill.
const MAX_TOKENS: usize = 64;

/// Encodes pieces between two anchors and remembers their counts.
pub(super) struct Gauge<'t> {
    tokenizer: &'t TextTokenizer,
    /// Tokens of "the the".
    pair: usize,
    /// Tokens of " the" between words.
    pub(super) word_tokens: usize,
    singles_only: bool,
    known: HashMap<Rc<str>, Option<u16>>,
    /// Where a piece is put together before it is looked up: most are known already.
    scratch: String,
}

/// A piece that was counted; its text is the gauge's own.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    pub(super) text: Rc<str>,
    pub(super) tokens: u16,
}

impl<'t> Gauge<'t> {
    pub(super) fn new(tokenizer: &'t TextTokenizer) -> Result<Self, TokenizerError> {
        let one = tokenizer.try_count(ANCHOR)?;
        let pair = tokenizer.try_count(&[ANCHOR, " ", ANCHOR].concat())?;
        let word_tokens = pair.saturating_sub(one);
        Ok(Self {
            tokenizer,
            pair,
            word_tokens,
            singles_only: false,
            known: HashMap::with_capacity(8192),
            scratch: String::with_capacity(128),
        })
    }

    /// A gauge that lets pass pieces of one token only.
    pub(super) fn of_singles(tokenizer: &'t TextTokenizer) -> Result<Self, TokenizerError> {
        Ok(Self {
            singles_only: true,
            ..Self::new(tokenizer)?
        })
    }

    /// The piece that `parts` are together, with the tokens that it adds between two words; `None` for none, too many, or
    /// a text that is refused.
    pub(super) fn inner(&mut self, parts: &[&str]) -> Option<Counted> {
        self.scratch.clear();
        self.scratch.extend(parts.iter().copied());
        if let Some((text, known)) = self.known.get_key_value(self.scratch.as_str()) {
            return known.map(|tokens| Counted {
                text: Rc::clone(text),
                tokens,
            });
        }
        let text: Rc<str> = Rc::from(self.scratch.as_str());
        let all = self.count(&[ANCHOR, &text, " ", ANCHOR]).ok();
        let tokens = usable(all.and_then(|n| n.checked_sub(self.pair)))
            .filter(|n| *n == 1 || !self.singles_only);
        self.known.insert(Rc::clone(&text), tokens);
        tokens.map(|tokens| Counted { text, tokens })
    }

    /// Tokens of the text that `parts` are together at the very beginning, with a word behind it.
    pub(super) fn leading(&self, parts: &[&str]) -> Option<u16> {
        let all = self.count(&[parts, &[" ", ANCHOR]].concat()).ok();
        usable(all.and_then(|n| n.checked_sub(self.word_tokens)))
    }

    /// Tokens that `tail` adds at the very end, behind words.
    pub(super) fn trailing(&self, tail: &str) -> Result<u64, TokenizerError> {
        let body = [ANCHOR, " ", ANCHOR, " ", ANCHOR];
        let all = self.count(&[&body[..], &[tail]].concat())?;
        Ok(all.saturating_sub(self.count(&body)?) as u64)
    }

    /// Whether the pieces, one behind the other between two anchors, count as much as `expected` says.
    pub(super) fn adds_up(&self, pieces: &str, expected: usize) -> bool {
        self.count(&[ANCHOR, pieces, " ", ANCHOR])
            .is_ok_and(|n| n == self.pair + expected)
    }

    /// Number of tokens of the text that `parts` are together.
    fn count(&self, parts: &[&str]) -> Result<usize, TokenizerError> {
        self.tokenizer.try_count(&parts.concat())
    }

    /// Those of the one-token words that stay one token among each other: blocks of words are encoded together, and
    /// a block that does not add up is halved until the culprits stand alone.
    pub(super) fn singles_that_add_up(&self, words: &[&'static str]) -> Vec<&'static str> {
        words
            .chunks(256)
            .flat_map(|block| self.clean_part(block))
            .collect()
    }

    fn clean_part(&self, words: &[&'static str]) -> Vec<&'static str> {
        let mut text = String::with_capacity(words.len() * 9);
        for word in words {
            text.push(' ');
            text.push_str(word);
        }
        if self.adds_up(&text, words.len()) {
            return words.to_vec();
        }
        if words.len() == 1 {
            return Vec::new();
        }
        let (left, right) = words.split_at(words.len() / 2);
        let mut clean = self.clean_part(left);
        clean.extend(self.clean_part(right));
        clean
    }
}

fn usable(tokens: Option<usize>) -> Option<u16> {
    tokens
        .filter(|n| (1..=MAX_TOKENS).contains(n))
        .and_then(|n| u16::try_from(n).ok())
}

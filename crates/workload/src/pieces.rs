//! The piece table: short texts whose token counts simply add up.
//!
//! Promise: every piece in the table was counted by encoding it between two words of the tokenizer at hand, and
//! every kind of joint that the text writer may produce was encoded too; a piece or a kind that failed is not in the
//! table. So a text put together from the table has as many tokens as its pieces have together. Whole prompts are
//! still encoded once to prove it ([`crate::WorkingSet::verify_one`]).
//!
//! The rules that make it so (all measured): a piece starts with one blank and a letter (operators and indentation
//! apart); a newline belongs to the end of the piece before it, never to the front of the next; no capitals, no digits, no
//! apostrophes, no blank lines.
//!
//! Refuses tokenizers with fewer than [`MIN_SINGLES`] single-token words: exact lengths and nonces need them.

mod kept;
mod layout;
mod measure;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::tokenizer::{TextTokenizer, TokenizerError};

/// Fewest words of one token that a tokenizer must have.
pub const MIN_SINGLES: usize = 64;

/// Why no piece table can be made for a tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum PieceError {
    /// The tokenizer refuses even plain lower-case English.
    #[error("the tokenizer refuses plain English words")]
    Encode(#[from] TokenizerError),
    /// Exact lengths cannot be hit and prompts not be told apart with so few words of one token.
    #[error(
        "only {found} of {tried} plain English words are a single token under this tokenizer, {MIN_SINGLES} are needed"
    )]
    TooFewSingles {
        /// Words of one token, behind a blank and between words.
        found: usize,
        /// Words tried.
        tried: usize,
    },
    /// Token counts of words do not add up, so that no text can be put together from them.
    #[error("under this tokenizer the tokens of two words are not the sum of the tokens of each")]
    WordsDoNotAddUp,
}

/// Where a piece's text lies in the arena, and what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) start: u32,
    pub(crate) len: u16,
    pub(crate) tokens: u16,
}

/// Pieces that can stand for each other: a range of [`Inner::pieces`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// A question of the bank behind its two newlines, JSON-escaped, and its tokens behind a body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) text: Bytes,
    pub(crate) tokens: u64,
}

/// What was measured, laid out: all that [`PieceTable`] knows beside its tokenizer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Inner {
    /// All piece texts, JSON-escaped, one behind the other.
    pub(crate) arena: Bytes,
    pub(crate) pieces: Vec<Piece>,
    /// " word" of one token each.
    pub(crate) singles: Span,
    /// "word" of one token each when it begins a text; may be empty.
    pub(crate) starters: Span,
    /// "word" of any number of tokens at the beginning of a text, the cheapest first.
    pub(crate) long_starters: Span,
    /// Sentence, code and mixed blocks to draw from.
    pub(crate) layout: layout::Layout,
    pub(crate) questions: Vec<Question>,
    /// Whether "# PROMPT_<i>" is a line of its own; not where the tokenizer does not keep newlines apart.
    header_has_line: bool,
    /// Tokens of that first line for `i` = 0, 1, …; of larger sets the rest is counted when it is written.
    pub(crate) header_tokens: Vec<u16>,
    /// Tokens of " the" between words.
    pub(crate) word_tokens: usize,
    kinds: Vec<Kind>,
}

/// What stands behind "# PROMPT_<i>".
fn header_end(has_line: bool) -> &'static str {
    if has_line { "\n" } else { "" }
}

impl Inner {
    /// What stands behind "# PROMPT_<i>".
    pub(crate) fn header_end(&self) -> &'static str {
        header_end(self.header_has_line)
    }

    /// The pieces of a span.
    pub(crate) fn span(&self, span: Span) -> &[Piece] {
        &self.pieces[span.start as usize..(span.start + span.len) as usize]
    }

    /// The escaped text of a piece.
    pub(crate) fn text(&self, piece: Piece) -> &[u8] {
        &self.arena[piece.start as usize..piece.start as usize + usize::from(piece.len)]
    }

    /// Words that a nonce of at least 60 bits needs when it stands behind other text.
    pub(crate) fn nonce_words(&self) -> u64 {
        let bits = f64::from(self.singles.len).log2();
        (NONCE_BITS / bits).ceil() as u64
    }
}

/// Fewest bits of the marker that keeps two prompts apart.
pub(crate) const NONCE_BITS: f64 = 60.0;

/// Forms of pieces, in the order in which they are given up when a joint fails (last first).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `" word"`
    Word,
    /// `" word,"`
    Comma,
    /// `" word."`
    Stop,
    /// `" word;"`
    Semicolon,
    /// `" word:"`
    Colon,
    /// `" word?"`
    Mark,
    /// `" word.\n"`
    StopLine,
    /// `" word\n"`
    WordLine,
    /// `" +"` and other signs
    Operator,
    /// `" = word(word, word)\n"` behind a word
    Call,
    /// `" def word(word, word, word):\n"`
    Head,
    /// An indented `return`
    Indent,
}

/// Pieces of text with known token counts under one tokenizer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PieceTable {
    tokenizer: TextTokenizer,
    pub(crate) inner: Arc<Inner>,
}

impl PieceTable {
    /// Measures our vocabulary under `tokenizer`: a few thousand short encodings, a tenth of a second.
    ///
    /// # Errors
    /// When the tokenizer refuses English, has too few single-token words, or does not add up.
    pub fn build(tokenizer: &TextTokenizer) -> Result<Self, PieceError> {
        layout::build(tokenizer).map(|inner| Self::of(tokenizer, inner))
    }

    fn of(tokenizer: &TextTokenizer, inner: Inner) -> Self {
        Self {
            tokenizer: tokenizer.clone(),
            inner: Arc::new(inner),
        }
    }

    /// The tokenizer the table was measured with.
    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    /// The forms of pieces that this tokenizer joins cleanly; [`Kind::Word`] is always among them.
    pub fn kinds(&self) -> &[Kind] {
        &self.inner.kinds
    }

    /// Number of words that are one token behind a blank; the alphabet of nonces.
    pub fn n_singles(&self) -> usize {
        self.inner.singles.len as usize
    }

    /// Number of pieces in all.
    pub fn n_pieces(&self) -> usize {
        self.inner.pieces.len()
    }

    /// Number of questions in the bank.
    pub fn n_questions(&self) -> u64 {
        self.inner.questions.len() as u64
    }

    /// Tokens that question `k` (modulo the bank) and the two newlines before it add to a body.
    pub fn question_tokens(&self, k: u64) -> u64 {
        self.question(k).tokens
    }

    pub(crate) fn question(&self, k: u64) -> &Question {
        &self.inner.questions[(k % self.n_questions()) as usize]
    }
}

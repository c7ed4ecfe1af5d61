//! From text to token ids, fast enough that it does not show in a measured TTFT.
//!
//! Promises: exactly the ids that the tokenizer gives for the whole text. Text is cut where a word begins
//! behind something that is not a blank; each piece is looked up, or encoded once behind an anchor word and
//! remembered. Whether the loaded tokenizer allows that is tested at loading with text that has the joints
//! of prose and code; where it does not, whole texts are encoded, which is exact too and some hundred times
//! slower.
//!
//! Everything here computes and blocks; callers keep it off the threads that carry streams.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokenizers::Tokenizer;

/// A word that stands in front of a piece while it is encoded, so that it is encoded as in the middle of a text.
const ANCHOR: &str = "the";

/// Pieces longer than this are not worth remembering: they hardly come back.
const LONGEST_REMEMBERED_BYTES: usize = 96;

/// Beyond this many pieces the memory is emptied and filled anew.
const MOST_REMEMBERED: usize = 400_000;

/// The joints that cutting must survive, for [`SimTokenizer::from_bytes`]'s self-test.
const JOINTS: &str = "The river runs, slowly; past old mills. \"Why?\" she asked (twice).\nNext line\n\nnew \
paragraph don't stop-gap e-mail user@example.org 12,345.67 and 3rd x1 y2 # PROMPT_7\nfn main() {\n    let total = \
a + b; // sum\n\treturn total\n}\n* item one\n* item two: é ü naïve café façade 東京 is big 😀 smile <b>bold</b> \
[user]\nA/B C\\D e_f __init__ CamelCase HTTPServer ... end --- rule  double  blank   triple tab\there 50% $5 a'b";

/// A tokenizer that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The bytes are no `tokenizer.json`.
    #[error("not a usable tokenizer.json: {0}")]
    Parse(#[source] tokenizers::Error),
    /// The tokenizer could not be changed to encode whole texts.
    #[error("the tokenizer's truncation cannot be switched off: {0}")]
    Truncation(#[source] tokenizers::Error),
    /// Encoding failed.
    #[error("the tokenizer could not encode a text: {0}")]
    Encode(#[source] tokenizers::Error),
    /// Decoding failed.
    #[error("the tokenizer could not decode token ids: {0}")]
    Decode(#[source] tokenizers::Error),
}

/// A tokenizer with a memory of pieces; cheap to clone, shared by all threads.
#[derive(Clone, Debug)]
pub struct SimTokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    tokenizer: Tokenizer,
    anchor: Vec<u32>,
    piecewise: bool,
    pieces: RwLock<HashMap<Box<str>, Arc<[u32]>>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("piecewise", &self.piecewise)
            .finish_non_exhaustive()
    }
}

impl SimTokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TextError`] if the bytes are none, or it cannot encode.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TextError> {
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(TextError::Parse)?;
        // Some files carry a maximum length and padding, with which every count would be wrong.
        tokenizer
            .with_truncation(None)
            .map_err(TextError::Truncation)?;
        tokenizer.with_padding(None);
        let mut inner = Inner {
            anchor: Vec::new(),
            tokenizer,
            piecewise: true,
            pieces: RwLock::new(HashMap::new()),
        };
        inner.anchor = inner.encode_whole(ANCHOR)?;
        inner.piecewise = inner.encode_by_pieces(JOINTS)? == Some(inner.encode_whole(JOINTS)?);
        if !inner.piecewise {
            tracing::info!(
                "this tokenizer joins across words: prompts are encoded whole, which is slower"
            );
        }
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The ids of `text`, without special tokens around it.
    ///
    /// # Errors
    /// [`TextError::Encode`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        if self.inner.piecewise
            && let Some(ids) = self.inner.encode_by_pieces(text)?
        {
            return Ok(ids);
        }
        self.inner.encode_whole(text)
    }

    /// The ids of `text`, always by encoding the whole: the slow reference.
    ///
    /// # Errors
    /// [`TextError::Encode`].
    pub fn encode_whole(&self, text: &str) -> Result<Vec<u32>, TextError> {
        self.inner.encode_whole(text)
    }

    /// The text of `ids`.
    ///
    /// # Errors
    /// [`TextError::Decode`].
    pub fn decode(&self, ids: &[u32]) -> Result<String, TextError> {
        self.inner
            .tokenizer
            .decode(ids, false)
            .map_err(TextError::Decode)
    }

    /// Whether texts are encoded by remembered pieces.
    #[must_use]
    pub fn is_piecewise(&self) -> bool {
        self.inner.piecewise
    }

    /// The id of `piece` (a word with its space) if it is a single token in the middle of a text.
    #[must_use]
    pub fn single_token(&self, piece: &str) -> Option<u32> {
        match self.inner.encode_behind_anchor(piece).ok()??.as_slice() {
            [id] => Some(*id),
            _ => None,
        }
    }
}

impl Inner {
    fn encode_whole(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(TextError::Encode)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a piece as it stands behind other text; `None` if it melts into what stands before it.
    fn encode_behind_anchor(&self, piece: &str) -> Result<Option<Vec<u32>>, TextError> {
        let ids = self.encode_whole(&format!("{ANCHOR}{piece}"))?;
        Ok(ids
            .strip_prefix(self.anchor.as_slice())
            .map(<[u32]>::to_vec))
    }

    /// `None` if some piece cannot be encoded apart.
    fn encode_by_pieces(&self, text: &str) -> Result<Option<Vec<u32>>, TextError> {
        // An English word and its space have some six bytes.
        let mut ids = Vec::with_capacity(text.len() / 4);
        let mut cuts = Cuts { text, from: 0 };
        let Some(first) = cuts.next() else {
            return Ok(Some(ids));
        };
        // The first piece has nothing before it, which some tokenizers mark; it is not remembered, because the
        // memory is of pieces in the middle.
        ids.extend(self.encode_whole(first)?);
        let mut rest = cuts.peekable();
        while rest.peek().is_some() {
            let unknown = {
                let known = self.pieces.read().unwrap_or_else(PoisonError::into_inner);
                loop {
                    let Some(piece) = rest.next() else { break None };
                    match known.get(piece) {
                        Some(piece_ids) => ids.extend_from_slice(piece_ids),
                        None => break Some(piece),
                    }
                }
            };
            let Some(piece) = unknown else { break };
            let Some(piece_ids) = self.encode_behind_anchor(piece)? else {
                return Ok(None);
            };
            ids.extend_from_slice(&piece_ids);
            if piece.len() <= LONGEST_REMEMBERED_BYTES {
                let mut known = self.pieces.write().unwrap_or_else(PoisonError::into_inner);
                if known.len() >= MOST_REMEMBERED {
                    known.clear();
                }
                known.insert(piece.into(), piece_ids.into());
            }
        }
        Ok(Some(ids))
    }
}

/// The pieces of a text: cut in front of " x" (a blank and an ASCII letter) behind anything but white space.
struct Cuts<'a> {
    text: &'a str,
    from: usize,
}

impl<'a> Iterator for Cuts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let start = self.from;
        if start >= bytes.len() {
            return None;
        }
        // The first byte may be the blank of this very piece.
        let cut = (start + 1..bytes.len().saturating_sub(1)).find(|at| {
            bytes[*at] == b' '
                && bytes[at + 1].is_ascii_alphabetic()
                && !bytes[at - 1].is_ascii_whitespace()
        });
        self.from = cut.unwrap_or(bytes.len());
        // A cut stands in front of an ASCII blank, which is always a character boundary.
        Some(&self.text[start..self.from])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;
    use proptest::prelude::*;

    /// Parsed once: a property looks at hundreds of texts.
    fn builtin() -> SimTokenizer {
        static TOKENIZER: OnceLock<SimTokenizer> = OnceLock::new();
        let parse = || SimTokenizer::from_bytes(hub::builtin_tokenizer()).unwrap();
        TOKENIZER.get_or_init(parse).clone()
    }

    #[test]
    fn the_builtin_tokenizer_is_encoded_by_pieces() {
        assert!(builtin().is_piecewise());
    }

    #[test]
    fn text_survives_encoding_and_decoding() {
        let tokenizer = builtin();
        let ids = tokenizer.encode(JOINTS).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), JOINTS);
    }

    proptest! {
        /// Whatever the text, encoding by pieces gives the ids that encoding the whole gives.
        #[test]
        fn pieces_give_the_ids_of_the_whole(parts in prop::collection::vec(
            prop::sample::select(vec![
                " river", "stone", ".", ",", "?", "\n", "\n\n", " ", "  ", "\t", "é", " é", "東", " 12", "345", "'s",
                " don't", "//", " #", "_", "-", " A", "B", "\r\n", "😀", " x ", "(", ")", " {\n", "    let", "1 a",
            ]), 0..60))
        {
            let text = parts.concat();
            let tokenizer = builtin();
            prop_assert_eq!(tokenizer.encode(&text).unwrap(), tokenizer.encode_whole(&text).unwrap());
        }
    }
}

//! Proof by encoding: does a finished text have the tokens it was built to have, and boundaries where it is cut?
//!
//! Promise: one encoding of the text with the tokenizer's own offsets, nothing more, so a check costs what the
//! tokenizer costs. A cut holds when no token lies across it and exactly the planned tokens lie before it. For every
//! tokenizer family at hand that means that the text before the cut, encoded alone, has the same ids: merges (BPE)
//! that never cross the cut happen in the same order without what follows, the best path (Unigram) and the longest
//! match (WordPiece) up to a border do not depend on what follows it.

use crate::escape::unescape_into;
use crate::tokenizer::TextTokenizer;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The text has exactly the planned tokens and boundaries.
    Verified,
    /// It had not, and was replaced by one that has.
    Corrected,
    /// It has not, and no replacement was found; it is used as it is.
    Deviating {
        /// Tokens it has in fact; 0 when the tokenizer refuses it.
        tokens: u64,
    },
}

/// How many texts were verified, and what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verification {
    /// Texts encoded whole and found exact.
    pub verified: u64,
    /// Texts found wrong and replaced by exact ones.
    pub corrected: u64,
    /// Texts found wrong for which no exact replacement exists.
    pub deviating: u64,
}

impl Verification {
    /// Counts one more outcome.
    pub fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Verified => self.verified += 1,
            Outcome::Corrected => self.corrected += 1,
            Outcome::Deviating { .. } => self.deviating += 1,
        }
    }
}

/// A text with its plan: how many tokens end at which byte.
pub(crate) struct Claim {
    plain: String,
    /// (tokens, byte offset) of every boundary, ascending; the last is the end of the text.
    bounds: Vec<(u64, usize)>,
}

impl Claim {
    pub(crate) fn new() -> Self {
        Self {
            plain: String::new(),
            bounds: Vec::new(),
        }
    }

    /// Appends JSON-escaped text and claims that `tokens` tokens (from the beginning) end behind it.
    pub(crate) fn part(mut self, escaped: &[u8], tokens: u64) -> Self {
        let mut bytes = std::mem::take(&mut self.plain).into_bytes();
        unescape_into(escaped, &mut bytes);
        self.plain = String::from_utf8(bytes)
            .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        self.bounds.push((tokens, self.plain.len()));
        self
    }

    /// The claim for a text with cuts at the given escaped offsets.
    pub(crate) fn with_cuts(text: &[u8], total: u64, cuts: &[u64], offsets: &[usize]) -> Self {
        let mut claim = Self::new();
        claim.plain.reserve(text.len());
        let mut start = 0;
        for (tokens, offset) in cuts.iter().zip(offsets) {
            claim = claim.part(&text[start..*offset], *tokens);
            start = *offset;
        }
        claim.part(&text[start..], total)
    }

    /// Encodes the text and compares. `Err` holds the true number of tokens (0 if the text is refused).
    pub(crate) fn check(&self, tokenizer: &TextTokenizer) -> Result<(), u64> {
        let spans = tokenizer.spans(&self.plain).map_err(|_| 0_u64)?;
        let holds = self.bounds.iter().all(|(tokens, offset)| {
            let at = usize::try_from(*tokens).unwrap_or(usize::MAX);
            let left = at
                .checked_sub(1)
                .and_then(|last| spans.get(last))
                .is_none_or(|(_, end)| end <= offset);
            let right = spans.get(at).is_none_or(|(start, _)| start >= offset);
            left && right && at <= spans.len()
        });
        let total = self.bounds.last().map_or(0, |(tokens, _)| *tokens);
        if holds && total == spans.len() as u64 {
            Ok(())
        } else {
            Err(spans.len() as u64)
        }
    }
}

//! A tokenizer's answers while a table was built, so that the next run need not ask again.
//!
//! Promise: kept answers count only for the questions they were given to, in their order. One question more, less or
//! other, and the table is measured anew.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::tokenizer::{TextTokenizer, TokenizerError};

/// Token counts of all texts that [`super::PieceTable::build`] encodes, in order; about 20 kB as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceCounts {
    /// [`TextTokenizer::fingerprint`], in hex.
    tokenizer: String,
    /// SHA-256 of the texts, in hex.
    questions: String,
    /// One per text; `None` for a text that was refused.
    counts: Vec<Option<u32>>,
}

/// Kept counts that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("kept token counts cannot be read")]
pub struct PieceCountsError(#[from] serde_json::Error);

impl PieceCounts {
    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// When `json` is nothing of that kind, or cut short.
    pub fn from_json(json: &[u8]) -> Result<Self, PieceCountsError> {
        Ok(serde_json::from_slice(json)?)
    }

    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers always serialise")
    }

    /// Those of the built-in tokenizer.
    #[must_use]
    pub fn builtin() -> Option<Self> {
        // A test holds the file against a new measurement; should it ever be stale, the tokenizer is asked.
        Self::from_json(include_bytes!("../../assets/builtin-pieces.json")).ok()
    }

    /// Whether they were measured with a tokenizer of this fingerprint.
    #[must_use]
    pub fn is_of(&self, fingerprint: u64) -> bool {
        self.tokenizer == in_hex(fingerprint)
    }
}

fn in_hex(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

/// Counts tokens: asks the tokenizer and writes the answers down, or reads them off.
#[derive(Debug)]
pub(super) struct Counter<'t>(RefCell<Interview<'t>>);

#[derive(Debug)]
struct Interview<'t> {
    questions: Sha256,
    answers: Answers<'t>,
}

#[derive(Debug)]
enum Answers<'t> {
    Asked(&'t TextTokenizer, Vec<Option<u32>>),
    Kept {
        kept: &'t PieceCounts,
        n_used: usize,
    },
}

impl<'t> Counter<'t> {
    pub(super) fn asking(tokenizer: &'t TextTokenizer) -> Self {
        Self::new(Answers::Asked(tokenizer, Vec::with_capacity(8192)))
    }

    pub(super) fn remembering(tokenizer: &TextTokenizer, kept: &'t PieceCounts) -> Option<Self> {
        kept.is_of(tokenizer.fingerprint())
            .then(|| Self::new(Answers::Kept { kept, n_used: 0 }))
    }

    fn new(answers: Answers<'t>) -> Self {
        Self(RefCell::new(Interview {
            questions: Sha256::new(),
            answers,
        }))
    }

    /// Number of tokens of the text that `parts` are together; put together only for a tokenizer that is asked.
    pub(super) fn count(&self, parts: &[&str]) -> Result<usize, TokenizerError> {
        let mut interview = self.0.borrow_mut();
        for part in parts {
            interview.questions.update(part);
        }
        // No text of ours holds a zero byte, so two lists of texts never give the same bytes.
        interview.questions.update([0]);
        match &mut interview.answers {
            Answers::Asked(tokenizer, counts) => {
                let outcome = tokenizer.try_count(&parts.concat());
                let count = outcome.as_ref().ok();
                counts.push(count.map(|n| u32::try_from(*n).unwrap_or(u32::MAX)));
                outcome
            }
            Answers::Kept { kept, n_used } => {
                let answer = kept.counts.get(*n_used).copied().flatten();
                *n_used += 1;
                answer
                    .map(|n| n as usize)
                    .ok_or_else(|| TokenizerError::refused_before(&parts.concat()))
            }
        }
    }

    /// What was asked and answered.
    pub(super) fn into_counts(self, tokenizer: &TextTokenizer) -> PieceCounts {
        let Interview { questions, answers } = self.0.into_inner();
        PieceCounts {
            tokenizer: in_hex(tokenizer.fingerprint()),
            questions: digest(questions),
            counts: match answers {
                Answers::Asked(_, counts) => counts,
                Answers::Kept { kept, .. } => kept.counts.clone(),
            },
        }
    }

    /// Whether exactly the questions came up that the kept answers were given to.
    pub(super) fn was_the_same_interview(self) -> bool {
        let Interview { questions, answers } = self.0.into_inner();
        match answers {
            Answers::Asked(..) => true,
            Answers::Kept { kept, n_used } => {
                n_used == kept.counts.len() && digest(questions) == kept.questions
            }
        }
    }
}

fn digest(questions: Sha256) -> String {
    questions
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

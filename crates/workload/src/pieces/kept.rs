//! A table as bytes, so that the next run need not measure.
//!
//! Promise: bytes give the very table that they were made of, or none: they are of one tokenizer, and damage shows in a
//! checksum. One that was made to mislead has the right checksum and may hold any words, but what reads it never leaves its
//! lists. That bytes are of this program's words and rules is the caller's to see to, by [`PieceTable::edition`].

use sha2::{Digest as _, Sha256};

use super::layout::{Program, TopicBlocks};
use super::{Inner, MIN_SINGLES, PieceTable, Span};
use crate::tokenizer::TextTokenizer;

/// Bytes of the checksum that comes first.
const CHECKSUM: usize = 8;

/// The table of the built-in tokenizer; a test holds it against a new measurement.
static BUILTIN: &[u8] = include_bytes!("../../assets/builtin.pieces");

/// All that a table depends on beside its tokenizer and the libraries.
const SOURCES: [&str; 12] = [
    include_str!("../escape.rs"),
    include_str!("../pieces.rs"),
    include_str!("../questions.rs"),
    include_str!("../seed.rs"),
    include_str!("../tokenizer.rs"),
    include_str!("../words.rs"),
    include_str!("../words/common.rs"),
    include_str!("../words/shared.rs"),
    include_str!("../words/topics.rs"),
    include_str!("kept.rs"),
    include_str!("layout.rs"),
    include_str!("measure.rs"),
];

impl PieceTable {
    /// The table for [`Self::from_bytes`], a few hundred kB.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let kept = (self.tokenizer.fingerprint(), &*self.inner);
        let kept = postcard::to_allocvec(&kept).expect("numbers and texts always serialise");
        [&checksum(&kept)[..], &kept].concat()
    }

    /// The table that [`Self::to_bytes`] wrote, without asking the tokenizer; `None` for bytes of another tokenizer,
    /// damaged ones, and others.
    #[must_use]
    pub fn from_bytes(tokenizer: &TextTokenizer, bytes: &[u8]) -> Option<Self> {
        let (sum, kept) = bytes.split_at_checked(CHECKSUM)?;
        (sum == checksum(kept))
            .then(|| decode(tokenizer, kept))?
            .filter(|table| table.inner.is_sound())
    }

    /// The table that this program brings for its built-in tokenizer; `None` for another one.
    #[must_use]
    pub fn builtin(tokenizer: &TextTokenizer) -> Option<Self> {
        decode(tokenizer, &BUILTIN[CHECKSUM..])
    }

    /// Identifies the words, the shapes and the rules that tables are made with: tables of one edition and one tokenizer
    /// are the same. The first 64 bits of the SHA-256 of their sources.
    #[must_use]
    pub fn edition() -> u64 {
        let digest = SOURCES
            .iter()
            .fold(Sha256::new(), |digest, source| digest.chain_update(source))
            .finalize();
        digest
            .iter()
            .take(8)
            .fold(0, |edition, byte| edition << 8 | u64::from(*byte))
    }
}

fn checksum(kept: &[u8]) -> [u8; CHECKSUM] {
    let digest: [u8; 32] = Sha256::digest(kept).into();
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&digest[..CHECKSUM]);
    sum
}

fn decode(tokenizer: &TextTokenizer, kept: &[u8]) -> Option<PieceTable> {
    let (fingerprint, rest) = postcard::take_from_bytes::<u64>(kept).ok()?;
    if fingerprint != tokenizer.fingerprint() {
        return None;
    }
    let (inner, rest) = postcard::take_from_bytes::<Inner>(rest).ok()?;
    rest.is_empty().then(|| PieceTable::of(tokenizer, inner))
}

impl Inner {
    /// Whether every place that something is read from exists.
    fn is_sound(&self) -> bool {
        let layout = &self.layout;
        let n_pieces = self.pieces.len() as u64;
        let is_within = |span: &Span| u64::from(span.start) + u64::from(span.len) <= n_pieces;
        let is_program = |program: &Program| {
            let mut places = program.iter().map(|place| usize::from(*place));
            !program.is_empty() && places.all(|place| place < layout.spans.len())
        };
        let is_topic = |topic: &TopicBlocks| {
            let lists = [&topic.sentences, &topic.code, &topic.mixed];
            lists
                .into_iter()
                .all(|programs| !programs.is_empty() && programs.iter().all(is_program))
        };
        let ends = self
            .pieces
            .iter()
            .map(|piece| piece.start as usize + usize::from(piece.len));
        let mut wheel = layout.wheel.iter().map(|topic| usize::from(*topic));
        ends.max().unwrap_or_default() <= self.arena.len()
            && self.pieces.iter().all(|piece| piece.tokens > 0)
            && self.singles.len as usize >= MIN_SINGLES
            && [&self.singles, &self.starters, &self.long_starters]
                .into_iter()
                .all(is_within)
            && layout
                .spans
                .iter()
                .all(|span| span.len > 0 && is_within(span))
            && !layout.wheel.is_empty()
            && wheel.all(|topic| topic < layout.topics.len())
            && layout.topics.iter().all(is_topic)
            && !self.questions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn builtin() -> Inner {
        let file = include_bytes!("../../../hub/assets/builtin-tokenizer.json");
        let table = PieceTable::builtin(&TextTokenizer::known(file.into())).unwrap();
        Arc::into_inner(table.inner).unwrap()
    }

    #[test]
    fn a_table_that_points_past_its_lists_is_no_table() {
        assert!(builtin().is_sound());
        let breaks: [fn(&mut Inner); 10] = [
            |inner| inner.arena.truncate(100),
            |inner| inner.pieces.truncate(100),
            |inner| inner.pieces[7].tokens = 0,
            |inner| inner.singles.len = 3,
            |inner| inner.long_starters.start = u32::MAX,
            |inner| inner.layout.spans.truncate(9),
            |inner| inner.layout.topics.truncate(3),
            |inner| inner.layout.topics[2].code.clear(),
            |inner| inner.layout.wheel.clear(),
            |inner| inner.questions.clear(),
        ];
        for (number, break_it) in breaks.iter().enumerate() {
            let mut inner = builtin();
            break_it(&mut inner);
            assert!(!inner.is_sound(), "{number}");
        }
    }
}

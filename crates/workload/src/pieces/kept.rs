//! A table as bytes, so that the next run need not measure.
//!
//! Promise: bytes give the very table that they were made of, or none: they are of one tokenizer, and damage shows in a
//! checksum. That they are of this program's words and rules is the caller's to see to, by [`PieceTable::edition`].

use sha2::{Digest as _, Sha256};

use super::{Inner, PieceTable};
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
        (sum == checksum(kept)).then(|| decode(tokenizer, kept))?
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

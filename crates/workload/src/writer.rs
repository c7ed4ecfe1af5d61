//! Writes text of an exact token count from pieces.
//!
//! Promise: `total` tokens by the table's counts, a piece boundary at every multiple of `stride`, the last piece a
//! single-token word (so the text ends in a letter). Text is blocks of sentences (40 %), code-like lines (30 %) and
//! mixed words (30 %), topics by weight, each block of one topic.
//! Refuses to encode anything: exactness rests on the table, proof on verification.

use rand_chacha::ChaCha8Rng;

use crate::pieces::{Inner, Piece, Span};
use crate::seed::below;

/// Which lengths a text must honour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    /// Tokens of the whole text.
    pub(crate) total: u64,
    /// A piece ends at every multiple of this; `u64::MAX` where no cut is ever made.
    pub(crate) stride: u64,
    /// Token counts (multiples of `stride`, ascending) whose byte offsets are wanted.
    pub(crate) cuts: &'a [u64],
    /// Only one-token words: the repair of a text whose pieces did not add up.
    pub(crate) plain: bool,
}

/// A text in the making. The output is JSON-escaped.
pub(crate) struct Writer<'t> {
    table: &'t Inner,
    rng: ChaCha8Rng,
    shape: Shape<'t>,
    out: Vec<u8>,
    tokens: u64,
    /// The next count at which a piece must end: a multiple of the stride, or one before the end.
    boundary: u64,
    offsets: Vec<usize>,
}

impl<'t> Writer<'t> {
    pub(crate) fn new(table: &'t Inner, rng: ChaCha8Rng, shape: Shape<'t>) -> Self {
        let capacity = usize::try_from(shape.total.min(1 << 30)).unwrap_or(0) * 8 + 64;
        let mut writer = Self {
            table,
            rng,
            shape,
            out: Vec::with_capacity(capacity),
            tokens: 0,
            boundary: 0,
            offsets: Vec::with_capacity(shape.cuts.len()),
        };
        writer.next_boundary();
        writer
    }

    /// Tokens still to be written.
    pub(crate) fn room(&self) -> u64 {
        self.shape.total - self.tokens
    }

    /// Puts a text of known count at the beginning; `ends` are the byte offsets (in `escaped`) behind each of its
    /// tokens, needed only where a cut lies inside it.
    pub(crate) fn lead(&mut self, escaped: &[u8], tokens: u64, ends: &[usize]) {
        self.out.extend_from_slice(escaped);
        self.tokens += tokens;
        while let Some(cut) = self
            .shape
            .cuts
            .get(self.offsets.len())
            .filter(|cut| **cut <= self.tokens)
        {
            let inside = if *cut < self.tokens {
                ends.get(*cut as usize - 1)
            } else {
                None
            };
            self.offsets.push(inside.copied().unwrap_or(escaped.len()));
        }
        self.next_boundary();
    }

    /// Puts the word at position `index` (modulo their number) among those that may begin a text as one token, or
    /// the cheapest longer one that fits. Does nothing if none fits.
    pub(crate) fn starter(&mut self, index: usize) {
        let starters = self.table.span(self.table.starters);
        let piece = if starters.is_empty() {
            let long = self.table.span(self.table.long_starters);
            let fitting =
                long.partition_point(|p| u64::from(p.tokens) <= self.room().min(self.boundary));
            if fitting == 0 {
                return;
            }
            long[index % fitting]
        } else {
            starters[index % starters.len()]
        };
        self.push(piece);
        if self.tokens == self.boundary {
            self.at_boundary();
        }
    }

    /// Puts a random word that may begin a text.
    pub(crate) fn random_starter(&mut self) {
        let index = below(&mut self.rng, 1 << 20);
        self.starter(index);
    }

    /// Puts the single-token word at position `index` (modulo their number), if there is room.
    pub(crate) fn single(&mut self, index: usize) {
        if self.room() > 0 {
            let singles = self.table.span(self.table.singles);
            let piece = singles[index % singles.len()];
            self.push(piece);
            if self.tokens == self.boundary {
                self.at_boundary();
            }
        }
    }

    /// Puts `n` random single-token words, as far as there is room.
    pub(crate) fn random_singles(&mut self, n: u64) {
        for _ in 0..n.min(self.room()) {
            let index = below(&mut self.rng, self.table.singles.len as usize);
            self.single(index);
        }
    }

    /// Fills up with text and returns it (JSON-escaped) with the byte offsets of the cuts.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Vec<usize>) {
        let end = self.shape.total.saturating_sub(1);
        while self.tokens < end {
            if self.shape.plain {
                self.random_singles(self.boundary - self.tokens);
            } else {
                self.block(end);
            }
        }
        self.random_singles(1);
        (self.out, self.offsets)
    }

    /// One block; stops early at `end`.
    fn block(&mut self, end: u64) {
        let layout = &self.table.layout;
        let topic =
            &layout.topics[usize::from(layout.wheel[below(&mut self.rng, layout.wheel.len())])];
        let programs = match below(&mut self.rng, 10) {
            0..4 => &topic.sentences,
            4..7 => &topic.code,
            _ => &topic.mixed,
        };
        for place in &programs[below(&mut self.rng, programs.len())] {
            self.put(layout.spans[usize::from(*place)]);
            if self.tokens >= end {
                return;
            }
        }
    }

    /// One random piece of the span. One that would cross the boundary waits until single-token words have filled
    /// up to it; one that is longer than the stride is replaced by a word.
    #[inline]
    fn put(&mut self, span: Span) {
        let index = span.start as usize + below(&mut self.rng, span.len as usize);
        let piece = self.table.pieces[index];
        let tokens = u64::from(piece.tokens);
        if self.tokens + tokens > self.boundary {
            self.random_singles(self.boundary - self.tokens);
            if self.tokens + 1 >= self.shape.total {
                return;
            }
            if self.tokens + tokens > self.boundary {
                return self.random_singles(1);
            }
        }
        self.push(piece);
        if self.tokens == self.boundary {
            self.at_boundary();
        }
    }

    #[inline]
    fn push(&mut self, piece: Piece) {
        self.out.extend_from_slice(self.table.text(piece));
        self.tokens += u64::from(piece.tokens);
    }

    #[cold]
    fn at_boundary(&mut self) {
        if self.shape.cuts.get(self.offsets.len()) == Some(&self.tokens) {
            self.offsets.push(self.out.len());
        }
        self.next_boundary();
    }

    /// The first multiple of the stride behind the present count, but at most one token before the end, so that the
    /// end is always reached by a single-token word.
    fn next_boundary(&mut self) {
        let multiple = (self.tokens / self.shape.stride + 1).saturating_mul(self.shape.stride);
        let end = self.shape.total.saturating_sub(1);
        self.boundary = if self.tokens < end {
            multiple.min(end)
        } else {
            self.shape.total
        };
    }
}

//! Building the table: measuring, dropping what fails, and compiling block shapes to spans of pieces.
//!
//! Promise: the same tokenizer gives the same table, always: whatever is shuffled here is shuffled by a constant
//! seed. A block shape is a flat list of places in a list of spans, so the text writer only draws an index and copies bytes.

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::measure::{Counted, Gauge};
use super::{Inner, Kind, MIN_SINGLES, Piece, PieceError, Question, Span, header_end};
use crate::escape::escape_into;
use crate::questions::QUESTIONS;
use crate::seed::{Seed, below, shuffle};
use crate::tokenizer::TextTokenizer;
use crate::words;

/// A block of text: places in [`Layout::spans`], to draw one piece from each span.
pub(crate) type Program = Vec<u16>;

/// Block shapes by topic.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// Topic numbers, each as often as its weight.
    pub(crate) wheel: Vec<u8>,
    /// Every span that a block shape has, once: some hundreds stand for all of the tens of thousands of places.
    pub(crate) spans: Vec<Span>,
    pub(crate) topics: Vec<TopicBlocks>,
}

/// The block shapes of one topic.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TopicBlocks {
    pub(crate) sentences: Vec<Program>,
    pub(crate) code: Vec<Program>,
    pub(crate) mixed: Vec<Program>,
}

/// Sentence shapes. A slot in brackets is drawn anew each time; the last slot of each takes the full stop.
const TEMPLATES: [&str; 14] = [
    "the [noun] should [verb] the [adj] [noun] before the [noun] can [verb] another [noun]",
    "when a [noun] starts to [verb] every [noun], the [adj] [noun] will also [verb] its [noun]",
    "we [verb] the [noun] [conn] the [adj] [noun] does not need to [verb] any [noun]",
    "most teams [verb] their [noun] first, [conn] they [shared] the [adj] [noun] [conn] the [noun]",
    "a [adj] [noun] is easy to [shared] [conn] hard to [verb] without a good [noun]",
    "this [noun] and that [noun] both [verb] the same [adj] [noun] during every [noun]",
    "once the [noun] is ready, [verb] the [noun] again [conn] [shared] each [adj] [noun]",
    "some [adj] [noun] may [verb] the [noun] too early, so check the [noun] [conn] the [noun]",
    "[shared] the [noun]: it lets a [adj] [noun] [verb] more [noun] than an old [noun]",
    "nobody wants a [adj] [noun]; still the [noun] must [verb] and [shared] the whole [noun]",
    "here the [noun] can [verb] or [verb] the [noun], [conn] only a [adj] [noun] will [shared] the [noun]",
    "how would the [adj] [noun] [verb] a [noun]? it must first [shared] the [noun] of the [noun]",
    "in a [everyday] system the [noun] may [verb] [conn] the [everyday] [noun] will [shared] the [adj] [noun]",
    "they found a [everyday] way to [verb] the [noun], much like a [everyday] [everyday] near the [everyday] [noun]",
];

/// Signs between the words of code-like lines.
const OPERATORS: [&str; 8] = [" +", " -", " *", " ==", " <", " >", " %", " &"];

/// First lines of working-set prompts that are counted ahead.
const HEADERS: usize = 1024;
/// Words of a topic that also appear with punctuation.
const PUNCTUATED_NOUNS: usize = 24;
/// Calls and heads per topic.
const CODE_PIECES: usize = 12;
/// Shuffled shapes per topic of code and of mixed blocks.
const SHAPES: usize = 8;
/// Longest word that may begin a text.
const STARTER_LENGTH: usize = 5;
/// Sampled pairs per kind of joint, and for the commonest of all.
const JOINT_SAMPLES: usize = 8;
const WORD_JOINT_SAMPLES: usize = 64;

const PUNCTUATION: [(Kind, &str); 7] = [
    (Kind::Comma, ","),
    (Kind::Stop, "."),
    (Kind::Semicolon, ";"),
    (Kind::Colon, ":"),
    (Kind::Mark, "?"),
    (Kind::StopLine, ".\n"),
    (Kind::WordLine, "\n"),
];

/// Pieces of one kind as text, before they go into the arena.
type Texts = Vec<Counted>;

/// Measured, not yet laid out.
struct TopicTexts {
    nouns: Texts,
    verbs: Texts,
    /// One list per entry of [`PUNCTUATION`].
    punctuated: Vec<Texts>,
    heads: Texts,
    calls: Texts,
}

/// Measures everything and lays it out. A tokenizer under which longer words do not add up gets a table of
/// one-token words alone.
pub(super) fn build(tokenizer: &TextTokenizer) -> Result<Inner, PieceError> {
    match measure_and_lay_out(Gauge::new(tokenizer)?) {
        Err(PieceError::WordsDoNotAddUp) => measure_and_lay_out(Gauge::of_singles(tokenizer)?),
        outcome => outcome,
    }
}

fn measure_and_lay_out(mut gauge: Gauge<'_>) -> Result<Inner, PieceError> {
    let all = words::all();
    let ones: Vec<&'static str> = all
        .iter()
        .filter(|w| {
            gauge
                .inner(&[" ", w])
                .is_some_and(|piece| piece.tokens == 1)
        })
        .copied()
        .collect();
    let singles = gauge.singles_that_add_up(&ones);
    if singles.len() < MIN_SINGLES {
        return Err(PieceError::TooFewSingles {
            found: singles.len(),
            tried: all.len(),
        });
    }
    let topics: Vec<TopicTexts> = words::topics()
        .iter()
        .map(|t| measure_topic(&mut gauge, t))
        .collect();
    let word_list =
        |gauge: &mut Gauge<'_>, list: &[&str]| measured(gauge, list.iter().map(|w| [" ", w]));
    let operators = measured(&mut gauge, OPERATORS.map(|o| [o]));
    let indent = measured(&mut gauge, [["    return"]]);
    let single_texts = measured(&mut gauge, singles.iter().map(|w| [" ", w]));
    let mut common = word_list(&mut gauge, &words::common());
    if common.is_empty() {
        common.clone_from(&single_texts);
    }

    let samples = |of: &dyn Fn(&TopicTexts) -> &Texts| -> Texts {
        topics.iter().flat_map(|t| of(t).iter().cloned()).collect()
    };
    let mut by_kind: Vec<(Kind, Texts)> = vec![(Kind::Word, common.clone())];
    for (at, (kind, _)) in PUNCTUATION.iter().enumerate() {
        by_kind.push((*kind, samples(&|t| &t.punctuated[at])));
    }
    by_kind.push((Kind::Operator, operators.clone()));
    by_kind.push((Kind::Call, samples(&|t| &t.calls)));
    by_kind.push((Kind::Head, samples(&|t| &t.heads)));
    by_kind.push((Kind::Indent, indent.clone()));
    let kinds = clean_kinds(&gauge, by_kind)?;

    let mut arena = Arena {
        bytes: Vec::with_capacity(1 << 17),
        pieces: Vec::with_capacity(1 << 13),
        kinds,
    };
    let shared = SharedSpans {
        adjectives: arena.add(Kind::Word, &word_list(&mut gauge, &words::adjectives())),
        connectors: arena.add(Kind::Word, &word_list(&mut gauge, &words::connectors())),
        verbs: arena.add(Kind::Word, &word_list(&mut gauge, &words::shared_verbs())),
        common: arena.add(Kind::Word, &common),
        operators: arena.add(Kind::Operator, &operators),
        indent: arena.add(Kind::Indent, &indent),
    };
    let layout = lay_out(&mut arena, &mut gauge, &topics, &shared);
    let singles = arena.add(Kind::Word, &single_texts);
    let mut starters: Texts = all
        .iter()
        .filter(|w| w.len() <= STARTER_LENGTH)
        .filter_map(|w| {
            let tokens = gauge.leading(&[w])?;
            let text = Rc::from(*w);
            Some(Counted { text, tokens })
        })
        .collect();
    starters.sort_by_key(|piece| piece.tokens);
    let n_one = starters.partition_point(|piece| piece.tokens == 1);
    let long_starters = arena.add(Kind::Word, &starters[n_one..]);
    let starters = arena.add(Kind::Word, &starters[..n_one]);
    let header_has_line = header_has_line(&gauge, &single_texts);
    let header_end = header_end(header_has_line);
    Ok(Inner {
        arena: arena.bytes.into(),
        pieces: arena.pieces,
        singles,
        starters,
        long_starters,
        layout,
        questions: measure_questions(&gauge)?,
        header_has_line,
        header_tokens: (0..HEADERS)
            .map_while(|i| gauge.leading(&["# PROMPT_", &i.to_string(), header_end]))
            .collect(),
        word_tokens: gauge.word_tokens,
        kinds: arena.kinds,
    })
}

/// Those pieces, each in parts, that have a count.
fn measured<'a, const N: usize>(
    gauge: &mut Gauge<'_>,
    pieces: impl IntoIterator<Item = [&'a str; N]>,
) -> Texts {
    let pieces = pieces.into_iter();
    let mut counted = Vec::with_capacity(pieces.size_hint().0);
    counted.extend(pieces.filter_map(|parts| gauge.inner(&parts)));
    counted
}

fn measure_topic(gauge: &mut Gauge<'_>, topic: &words::Topic) -> TopicTexts {
    let (nouns, verbs) = (topic.nouns(), topic.verbs());
    let mut rng = Seed::new(0).child(topic.name).rng();
    let mut picks = nouns.clone();
    shuffle(&mut rng, &mut picks);
    picks.truncate(PUNCTUATED_NOUNS);
    let punctuated = PUNCTUATION
        .iter()
        .map(|(_, end)| measured(gauge, picks.iter().map(|w| [" ", w, end])))
        .collect();
    let noun = |rng: &mut _| nouns[below(rng, nouns.len())];
    let mut heads = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..CODE_PIECES {
        let verb = verbs[below(&mut rng, verbs.len())];
        let (a, b, c) = (noun(&mut rng), noun(&mut rng), noun(&mut rng));
        heads.push(format!(" def {verb}({a}, {b}, {c}):\n"));
        let verb = verbs[below(&mut rng, verbs.len())];
        let (a, b) = (noun(&mut rng), noun(&mut rng));
        calls.push(format!(" = {verb}({a}, {b})\n"));
    }
    TopicTexts {
        nouns: measured(gauge, nouns.iter().map(|w| [" ", w])),
        verbs: measured(gauge, verbs.iter().map(|w| [" ", w])),
        punctuated,
        heads: measured(gauge, heads.iter().map(|head| [head.as_str()])),
        calls: measured(gauge, calls.iter().map(|call| [call.as_str()])),
    }
}

/// Tries every kind of joint and gives up kinds, the least needed first, until all that remain add up.
fn clean_kinds(
    gauge: &Gauge<'_>,
    mut by_kind: Vec<(Kind, Texts)>,
) -> Result<Vec<Kind>, PieceError> {
    by_kind.retain(|(_, texts)| !texts.is_empty());
    let mut rng = Seed::new(0).child("joints").rng();
    loop {
        let mut bad_pairs = Vec::new();
        for left in &by_kind {
            for right in &by_kind {
                let words = left.0 == Kind::Word && right.0 == Kind::Word;
                let n = if words {
                    WORD_JOINT_SAMPLES
                } else {
                    JOINT_SAMPLES
                };
                if can_follow(left.0, right.0) && !joins(gauge, &mut rng, &left.1, &right.1, n) {
                    bad_pairs.push((left.0, right.0));
                }
            }
        }
        // A kind that fails beside plain words is at fault itself; otherwise the less needed one of a pair goes.
        let beside_word = bad_pairs
            .iter()
            .filter(|(a, b)| Kind::Word == *a.min(b))
            .map(|(a, b)| *a.max(b))
            .max();
        match beside_word.or_else(|| bad_pairs.iter().map(|(a, b)| *a.max(b)).max()) {
            None => return Ok(by_kind.into_iter().map(|(kind, _)| kind).collect()),
            Some(Kind::Word) => return Err(PieceError::WordsDoNotAddUp),
            Some(culprit) => by_kind.retain(|(kind, _)| *kind != culprit),
        }
    }
}

/// Whether `n` sampled pairs of `left` and `right` count as much as their pieces.
fn joins(gauge: &Gauge<'_>, rng: &mut ChaCha8Rng, left: &Texts, right: &Texts, n: usize) -> bool {
    let (mut text, mut tokens) = (String::new(), 0);
    for _ in 0..n {
        for texts in [left, right] {
            let piece = &texts[below(rng, texts.len())];
            text.push_str(&piece.text);
            tokens += usize::from(piece.tokens);
        }
        text.push_str(" the");
        tokens += gauge.word_tokens;
    }
    gauge.adds_up(&text, tokens)
}

/// Which kinds the writer may put behind which: signs and calls only behind words, an indented `return` only
/// behind a head or, when a fill came between, a word.
fn can_follow(left: Kind, right: Kind) -> bool {
    match right {
        Kind::Operator | Kind::Call => left == Kind::Word,
        Kind::Indent => matches!(left, Kind::Head | Kind::Word),
        _ => true,
    }
}

/// Texts and pieces in the making.
struct Arena {
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    kinds: Vec<Kind>,
}

impl Arena {
    /// Appends a list; an empty span if its kind has been given up.
    fn add(&mut self, kind: Kind, texts: &[Counted]) -> Span {
        let start = self.pieces.len() as u32;
        if self.kinds.contains(&kind) {
            for Counted { text, tokens } in texts {
                let at = self.bytes.len();
                escape_into(text, &mut self.bytes);
                let len = u16::try_from(self.bytes.len() - at)
                    .expect("pieces are a few dozen bytes long");
                self.pieces.push(Piece {
                    start: at as u32,
                    len,
                    tokens: *tokens,
                });
            }
        }
        Span {
            start,
            len: self.pieces.len() as u32 - start,
        }
    }
}

struct SharedSpans {
    adjectives: Span,
    connectors: Span,
    verbs: Span,
    common: Span,
    operators: Span,
    indent: Span,
}

fn lay_out(
    arena: &mut Arena,
    gauge: &mut Gauge<'_>,
    topics: &[TopicTexts],
    shared: &SharedSpans,
) -> Layout {
    let mut rng = Seed::new(0).child("shapes").rng();
    let templates: Vec<Vec<Slot>> = TEMPLATES
        .iter()
        .map(|t| parse_template(arena, gauge, t))
        .collect();
    let mut wheel = Vec::new();
    let mut spans_in_use = SpanList::default();
    let mut blocks = Vec::new();
    for (number, (texts, topic)) in topics.iter().zip(words::topics()).enumerate() {
        wheel.extend(std::iter::repeat_n(number as u8, topic.weight as usize));
        let spans = TopicSpans {
            nouns: or_else(arena.add(Kind::Word, &texts.nouns), shared.common),
            verbs: or_else(arena.add(Kind::Word, &texts.verbs), shared.verbs),
            punctuated: PUNCTUATION
                .iter()
                .zip(&texts.punctuated)
                .map(|((kind, _), t)| (*kind, arena.add(*kind, t)))
                .collect(),
            heads: arena.add(Kind::Head, &texts.heads),
            calls: arena.add(Kind::Call, &texts.calls),
        };
        let mut program = |spans: Vec<Span>| spans_in_use.program(spans);
        blocks.push(TopicBlocks {
            sentences: templates
                .iter()
                .map(|t| program(sentences(t, &spans, shared)))
                .collect(),
            code: (0..SHAPES)
                .map(|_| program(code(&mut rng, &spans, shared)))
                .collect(),
            mixed: (0..SHAPES)
                .map(|_| program(mixed(&mut rng, &spans, shared)))
                .collect(),
        });
    }
    Layout {
        wheel,
        spans: spans_in_use.spans,
        topics: blocks,
    }
}

/// [`Layout::spans`] in the making.
#[derive(Default)]
struct SpanList {
    spans: Vec<Span>,
    places: HashMap<Span, u16>,
}

impl SpanList {
    /// The block shape of these spans; empty ones are left out.
    fn program(&mut self, spans: Vec<Span>) -> Program {
        let used = spans.into_iter().filter(|span| span.len > 0);
        used.map(|span| {
            *self.places.entry(span).or_insert_with(|| {
                self.spans.push(span);
                u16::try_from(self.spans.len() - 1)
                    .expect("twenty topics of a dozen lists, and the words of the templates")
            })
        })
        .collect()
    }
}

struct TopicSpans {
    nouns: Span,
    verbs: Span,
    punctuated: Vec<(Kind, Span)>,
    heads: Span,
    calls: Span,
}

impl TopicSpans {
    /// Nouns in the form `kind`, or plain ones where the tokenizer does not allow it.
    fn noun(&self, kind: Kind) -> Span {
        self.punctuated
            .iter()
            .find(|(k, _)| *k == kind)
            .map_or(self.nouns, |(_, span)| or_else(*span, self.nouns))
    }
}

fn or_else(span: Span, fallback: Span) -> Span {
    if span.len == 0 { fallback } else { span }
}

/// A place in a sentence.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Noun(Kind),
    Verb,
    Shared,
    Adjective,
    Connector,
    Everyday,
    Fixed(Span),
}

fn parse_template(arena: &mut Arena, gauge: &mut Gauge<'_>, template: &str) -> Vec<Slot> {
    let mut slots: Vec<Slot> = Vec::new();
    for part in template.split(' ') {
        let (slot, end) = match part.strip_prefix('[') {
            Some(slot) => slot
                .split_once(']')
                .expect("every slot of our templates is closed"),
            None => (part, ""),
        };
        slots.push(match slot {
            "noun" => Slot::Noun(end_kind(end)),
            "verb" => Slot::Verb,
            "shared" => Slot::Shared,
            "adj" => Slot::Adjective,
            "conn" => Slot::Connector,
            "everyday" => Slot::Everyday,
            _ => Slot::Fixed(fixed(arena, gauge, part)),
        });
    }
    slots
}

fn end_kind(end: &str) -> Kind {
    PUNCTUATION
        .iter()
        .find(|(_, e)| *e == end && !end.is_empty())
        .map_or(Kind::Word, |(kind, _)| *kind)
}

/// A fixed word of a template, with its comma if it has one and the tokenizer allows it.
fn fixed(arena: &mut Arena, gauge: &mut Gauge<'_>, part: &str) -> Span {
    let bare = part.trim_end_matches(|c: char| !c.is_ascii_lowercase());
    let kind = end_kind(&part[bare.len()..]);
    let with_end = measured(gauge, [[" ", part]]);
    let span = arena.add(kind, &with_end);
    if span.len > 0 {
        return span;
    }
    let plain = measured(gauge, [[" ", bare]]);
    arena.add(Kind::Word, &plain)
}

/// One template five times, each with a full stop, the last with the end of the line.
fn sentences(template: &[Slot], topic: &TopicSpans, shared: &SharedSpans) -> Vec<Span> {
    let mut program = Vec::with_capacity(5 * template.len());
    for round in 0..5 {
        let stop = if round == 4 {
            Kind::StopLine
        } else {
            Kind::Stop
        };
        for (at, slot) in template.iter().enumerate() {
            let last = at + 1 == template.len();
            program.push(match *slot {
                Slot::Noun(_) if last => topic.noun(stop),
                Slot::Noun(kind) => topic.noun(kind),
                Slot::Verb => topic.verbs,
                Slot::Shared => shared.verbs,
                Slot::Adjective => shared.adjectives,
                Slot::Connector => shared.connectors,
                Slot::Everyday => shared.common,
                Slot::Fixed(span) => span,
            });
        }
    }
    program
}

/// A head, an indented return of ten nouns with five signs between them, and two calls.
fn code(rng: &mut ChaCha8Rng, topic: &TopicSpans, shared: &SharedSpans) -> Vec<Span> {
    // The indentation is only sure to join behind a head.
    let mut program = if topic.heads.len > 0 {
        vec![topic.heads, shared.indent]
    } else {
        Vec::new()
    };
    let mut signs = [true, true, true, true, true, false, false, false, false];
    shuffle(rng, &mut signs);
    for sign in signs {
        program.push(topic.nouns);
        if sign {
            program.push(shared.operators);
        }
    }
    program.push(topic.noun(Kind::WordLine));
    for _ in 0..2 {
        program.push(topic.nouns);
        program.push(topic.calls);
    }
    program
}

/// Twenty nouns, fifteen connectors, ten verbs and five adjectives in any order; some nouns carry a comma.
fn mixed(rng: &mut ChaCha8Rng, topic: &TopicSpans, shared: &SharedSpans) -> Vec<Span> {
    let mut program = Vec::with_capacity(50);
    program.extend([topic.nouns; 15]);
    program.extend([topic.noun(Kind::Comma); 4]);
    program.extend([shared.connectors; 15]);
    program.extend([topic.verbs; 6]);
    program.extend([shared.verbs; 4]);
    program.extend([shared.adjectives; 5]);
    shuffle(rng, &mut program);
    program.push(topic.noun(Kind::WordLine));
    program
}

fn measure_questions(gauge: &Gauge<'_>) -> Result<Vec<Question>, PieceError> {
    QUESTIONS
        .iter()
        .map(|question| {
            let plain = format!("\n\n{question}");
            let mut text = Vec::with_capacity(plain.len() + 8);
            escape_into(&plain, &mut text);
            Ok(Question {
                text: Bytes::from(text),
                tokens: gauge.trailing(&plain)?,
            })
        })
        .collect()
}

/// Whether "# PROMPT_<i>" may end in a newline: its joint with the nonce behind it is tried for short and long numbers.
fn header_has_line(gauge: &Gauge<'_>, singles: &[Counted]) -> bool {
    let mut rng = Seed::new(0).child("header").rng();
    [0, 7, 12, 345, 99_999].iter().all(|i| {
        let header = format!("# PROMPT_{i}{}", header_end(true));
        let word = &singles[below(&mut rng, singles.len())].text;
        match (gauge.leading(&[&header]), gauge.leading(&[&header, word])) {
            (Some(alone), Some(with_word)) => with_word == alone + 1,
            _ => false,
        }
    })
}

//! The prompt of one request: a cached beginning, fresh text, a question.
//!
//! Promise: the fresh text of request `k` of a phase is a pure function of seed, tokenizer and [`RequestKey`], of exactly
//! the planned token count, and begins with a nonce of at least 60 bits in single-token words (fewer where it is
//! shorter than that). [`PromptPlan::assemble`] copies no text. The body ends in a letter, the question follows after
//! two newlines.
//!
//! At 100 % nothing of the body is new. A question of its own would then be served from cache from its second use
//! with the same prompt on, and the test would speed up by itself; so a nonce stands between body and question there
//! too. It belongs to the question: it is counted in `question_tokens` and not in the split.
//!
//! Refuses to choose a working-set prompt ([`crate::Selector`] does) and to send anything.

use bytes::Bytes;

use crate::escape::unescape_into;
use crate::pieces::PieceTable;
use crate::plan::{ContextPlan, TokenSplit};
use crate::seed::Seed;
use crate::tokenizer::TextTokenizer;
use crate::verify::Claim;
use crate::working_set::{WorkingSet, spell};
use crate::writer::{Shape, Writer};

/// What makes a request's fresh text different from all others of all runs with the same seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestKey<'a> {
    /// Context size of the test, tokens.
    pub context_size: u64,
    /// Hit rate of the test, percent.
    pub cache_hit_rate: u32,
    /// Working set of the test in tokens, where tests differ in it.
    pub working_set_size: Option<u64>,
    /// How often the test has been started, counted over resumed runs.
    pub attempt: u32,
    /// Phase the request belongs to.
    pub phase_id: &'a str,
    /// Number of the request within its phase.
    pub k: u64,
}

/// Text that no other request shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshText {
    /// The text, JSON-escaped.
    pub text: Bytes,
    /// Its tokens behind the cached part: those of the split that are unique, at 100 % those of a nonce.
    pub tokens: u64,
}

/// One request's prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// JSON-escaped parts whose concatenation is the prompt.
    pub parts: Vec<Bytes>,
    /// Tokens of the body, question excluded.
    pub split: TokenSplit,
    /// Tokens that the question and the newlines before it add, and at 100 % the nonce before those; 0 without a
    /// question.
    pub question_tokens: u64,
    /// The working-set prompt that the request was assigned to, if any.
    pub index: Option<usize>,
}

impl Prompt {
    /// The prompt as the server will see it.
    pub fn plain_text(&self) -> String {
        let mut bytes = Vec::with_capacity(self.parts.iter().map(Bytes::len).sum());
        for part in &self.parts {
            unescape_into(part, &mut bytes);
        }
        String::from_utf8(bytes)
            .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
    }

    /// Tokens of body and question, without what a chat template adds.
    pub fn expected_tokens(&self) -> u64 {
        self.split.total() + self.question_tokens
    }
}

/// What [`PromptPlan::verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptCheck {
    /// Exactly as planned.
    Exact,
    /// It deviated; this one does not and takes its place.
    Corrected(Box<Prompt>),
    /// It deviates and could not be corrected.
    Deviating {
        /// Tokens of the whole prompt in fact; 0 when the tokenizer refuses it.
        tokens: u64,
    },
}

/// Everything fixed that is needed to make the prompts of one test (context size and hit rate).
#[derive(Debug, Clone)]
pub struct PromptPlan {
    table: PieceTable,
    seed: Seed,
    context: ContextPlan,
    rate: u32,
    split: TokenSplit,
}

impl PromptPlan {
    /// The plan for hit rate `rate` percent at one context size.
    pub fn new(table: &PieceTable, seed: &Seed, context: ContextPlan, rate: u32) -> Self {
        let seed = seed.child(&format!(
            "fresh/tokenizer {:016x}",
            table.tokenizer().fingerprint()
        ));
        Self {
            table: table.clone(),
            seed,
            context,
            rate,
            split: context.split(rate),
        }
    }

    /// Tokens of every body of this test.
    pub fn split(&self) -> TokenSplit {
        self.split
    }

    /// Hit rate, percent.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// The context size it belongs to.
    pub fn context(&self) -> &ContextPlan {
        &self.context
    }

    /// Whether requests are built on working-set prompts at all.
    pub fn needs_working_set(&self) -> bool {
        self.split.cached > 0
    }

    /// Tokens of a request's fresh text.
    fn fresh_tokens(&self) -> u64 {
        match self.split.unique {
            0 => self.table.inner.nonce_words(),
            unique => unique,
        }
    }

    /// The fresh text of a request. Pure; takes about ten nanoseconds a token.
    pub fn fresh(&self, key: &RequestKey<'_>) -> FreshText {
        let (context, rate) = (key.context_size, key.cache_hit_rate);
        let set = key
            .working_set_size
            .map_or_else(String::new, |size| format!("/working set {size}"));
        let phase = self.seed.child(&format!(
            "context {context}/rate {rate}{set}/attempt {}/phase {}",
            key.attempt, key.phase_id
        ));
        FreshText {
            text: self.write(&phase, key.k, false),
            tokens: self.fresh_tokens(),
        }
    }

    /// Request number `k` of `phase`.
    fn write(&self, phase: &Seed, k: u64, plain: bool) -> Bytes {
        let total = self.fresh_tokens();
        let table = &self.table.inner;
        let at_start = self.split.cached == 0;
        let rng = phase.child(&format!("request {k}")).rng();
        let mut writer = Writer::new(
            table,
            rng,
            Shape {
                total,
                stride: u64::MAX,
                cuts: &[],
                plain,
            },
        );
        // One word more at the start of a text, for there are fewer words that may stand there.
        let nonce = table.nonce_words() + u64::from(at_start);
        if total >= nonce {
            if at_start {
                writer.random_starter();
            }
            writer.random_singles(nonce - u64::from(at_start));
        } else {
            // Too short for chance to keep requests apart: count instead.
            let mut shift = phase.child("enumeration").rng();
            spell(&self.table, &mut writer, k, &mut shift, at_start);
        }
        Bytes::from(writer.finish().0)
    }

    /// The prompt of request `k`: the cached part of working-set prompt `index`, the fresh text, and the question of
    /// number `k`. Shares all text. `index` is kept in the prompt also where nothing is cached.
    ///
    /// # Panics
    /// When the plan [needs a working set](Self::needs_working_set) and none (or one built without this hit rate)
    /// is given.
    pub fn assemble(
        &self,
        ws: Option<&WorkingSet>,
        index: Option<usize>,
        fresh: FreshText,
        k: u64,
    ) -> Prompt {
        let mut parts = Vec::with_capacity(3);
        if self.needs_working_set() {
            let prefix = ws
                .zip(index)
                .and_then(|(ws, i)| ws.prefix(i, self.split.cached));
            parts
                .push(prefix.expect("the engine builds the working set with the rates of the run"));
        }
        let nonce_tokens = fresh.tokens.saturating_sub(self.split.unique);
        parts.push(fresh.text);
        let question = self.table.question(k);
        parts.push(question.text.clone());
        Prompt {
            parts,
            split: self.split,
            question_tokens: question.tokens + nonce_tokens,
            index,
        }
    }

    /// Encodes a prompt of this plan whole and compares it with its plan: the count of all tokens, the boundary
    /// behind the cached part, the boundary behind the body. A deviating one is rebuilt with fresh text of
    /// single-token words. Meant for a sample (one in 50), off the measuring thread.
    pub fn verify(&self, prompt: &Prompt, tokenizer: &TextTokenizer) -> PromptCheck {
        let Err(tokens) = self.claim(prompt).check(tokenizer) else {
            return PromptCheck::Exact;
        };
        let mut corrected = prompt.clone();
        let at = usize::from(self.needs_working_set());
        let old = String::from_utf8_lossy(&prompt.parts[at]);
        corrected.parts[at] = self.write(&self.seed.child("correction").child(&old), 0, true);
        if self.claim(&corrected).check(tokenizer).is_ok() {
            return PromptCheck::Corrected(Box::new(corrected));
        }
        PromptCheck::Deviating { tokens }
    }

    fn claim(&self, prompt: &Prompt) -> Claim {
        let question = prompt.expected_tokens() - self.split.cached - self.fresh_tokens();
        let counts = [self.split.cached, self.fresh_tokens(), question];
        let skipped = usize::from(!self.needs_working_set());
        let mut tokens = 0;
        prompt
            .parts
            .iter()
            .zip(&counts[skipped..])
            .fold(Claim::new(), |claim, (part, n)| {
                tokens += n;
                claim.part(part, tokens)
            })
    }
}

/// The request that warms prompt `i` up: the whole of it, no question.
///
/// # Panics
/// When there is no prompt `i`.
pub fn warmup_prompt(ws: &WorkingSet, i: usize) -> Prompt {
    Prompt {
        parts: vec![ws.prompt(i).text.clone()],
        split: TokenSplit {
            cached: ws.tokens_per_prompt(),
            unique: 0,
        },
        question_tokens: 0,
        index: Some(i),
    }
}

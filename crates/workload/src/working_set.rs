//! The working set of one context size: the prompts whose beginnings are meant to be in the server's cache.
//!
//! Promise: every prompt has exactly [`ContextPlan::rounded`] tokens, begins with the line `# PROMPT_<i>` (where it is
//! long enough to hold it, and no chunk ends inside it where text cannot be cut) and a nonce of at least 60 bits, has a piece boundary at every chunk, and its text depends
//! on seed, context size, chunk size, tokenizer and `i` only: not on the rates, the number of prompts or the threads.
//! Text is stored once, JSON-escaped; requests share it.
//!
//! Refuses to verify by itself: the engine calls [`WorkingSet::verify_one`] off the measuring thread before a prompt
//! is first sent. A prompt that fails is replaced in place, for all who ask afterwards.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;

use crate::escape::escape_into;
use crate::pieces::PieceTable;
use crate::plan::ContextPlan;
use crate::seed::{Seed, below};
use crate::tokenizer::{TextTokenizer, TokenizerError};
use crate::verify::{Claim, Outcome, Verification};
use crate::writer::{Shape, Writer};

/// Why a working set was not built.
#[derive(Debug, thiserror::Error)]
pub enum WorkingSetError {
    /// The caller asked to stop.
    #[error("building the working set was cancelled")]
    Cancelled,
    /// The tokenizer refused the first line of a prompt.
    #[error("the tokenizer refuses the header of a working-set prompt")]
    Header(#[from] TokenizerError),
}

/// One prompt of the set.
#[derive(Debug, Clone)]
pub struct WorkingPrompt {
    /// The whole text, JSON-escaped.
    pub text: Bytes,
    /// Byte offsets (in the escaped text) of the set's cuts, in their order.
    offsets: Box<[usize]>,
}

/// A prompt and what verification made of it.
#[derive(Debug)]
struct Slot {
    built: WorkingPrompt,
    checked: OnceLock<(Outcome, Option<Box<WorkingPrompt>>)>,
}

/// All prompts of one context size.
#[derive(Debug)]
pub struct WorkingSet {
    plan: ContextPlan,
    table: PieceTable,
    seed: Seed,
    /// Token counts at which every prompt can be cut, ascending.
    cuts: Box<[u64]>,
    slots: Vec<Slot>,
}

impl WorkingSet {
    /// Builds the prompts of `plan`, with cuts for the hit rates `rates`, on up to `threads` threads. `cancelled` is
    /// asked before each prompt.
    ///
    /// # Errors
    /// When cancelled, or when the tokenizer refuses the first line.
    pub fn build(
        plan: &ContextPlan,
        rates: &[u32],
        table: &PieceTable,
        seed: &Seed,
        threads: usize,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Self, WorkingSetError> {
        let label = format!(
            "working set/context {}/chunk {}/tokenizer {:016x}",
            plan.context_size,
            plan.chunk_size,
            table.tokenizer().fingerprint()
        );
        let mut set = Self {
            plan: *plan,
            table: table.clone(),
            seed: seed.child(&label),
            cuts: plan.cuts(rates).into(),
            slots: Vec::new(),
        };
        let built = in_parallel(plan.num_prompts(), threads, cancelled, |i| {
            set.write(i, false)
        })?;
        set.slots = built
            .into_iter()
            .map(|prompt| {
                prompt.map(|built| Slot {
                    built,
                    checked: OnceLock::new(),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(set)
    }

    /// Bytes of memory that a set of `plan` takes, from one prompt of it built and measured. Texts differ by little:
    /// prompts have the same number of tokens of the same kinds.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn estimated_bytes(
        plan: &ContextPlan,
        rates: &[u32],
        table: &PieceTable,
        seed: &Seed,
    ) -> Result<u64, WorkingSetError> {
        let sample = ContextPlan {
            working_set_size: 1,
            ..*plan
        };
        let one = Self::build(&sample, rates, table, seed, 1, &|| false)?;
        let of_prompt = |slot: &Slot| {
            slot.built.text.len() + size_of_val(&*slot.built.offsets) + size_of::<Slot>()
        };
        let bytes = one.slots.iter().map(of_prompt).sum::<usize>() as u64;
        Ok(bytes.saturating_mul(plan.num_prompts() as u64))
    }

    /// Number of prompts.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Never: a working set has at least one prompt.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The sizes the set was built for.
    pub fn plan(&self) -> &ContextPlan {
        &self.plan
    }

    /// Tokens of each prompt.
    pub fn tokens_per_prompt(&self) -> u64 {
        self.plan.rounded()
    }

    /// Bytes of all texts together.
    pub fn text_bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.built.text.len()).sum()
    }

    /// Prompt `i` as it stands: corrected, if verification found it wrong.
    ///
    /// # Panics
    /// When there is no prompt `i`.
    pub fn prompt(&self, i: usize) -> &WorkingPrompt {
        let slot = &self.slots[i];
        match slot.checked.get() {
            Some((_, Some(corrected))) => corrected,
            _ => &slot.built,
        }
    }

    /// The first `tokens` tokens of prompt `i` (JSON-escaped, shared): all of it, or up to one of the cuts that the
    /// set was built with. `None` for any other count.
    pub fn prefix(&self, i: usize, tokens: u64) -> Option<Bytes> {
        let prompt = self.prompt(i);
        if tokens == self.plan.rounded() {
            return Some(prompt.text.clone());
        }
        let cut = self.cuts.binary_search(&tokens).ok()?;
        Some(prompt.text.slice(..prompt.offsets[cut]))
    }

    /// Encodes prompt `i` whole and compares it with its plan, cuts included; a prompt that deviates is replaced by
    /// one of single-token words, or as the last resort by one trimmed to measure. Idempotent: asked again, or by two
    /// threads at once, it answers what was found first.
    ///
    /// # Panics
    /// When there is no prompt `i`.
    pub fn verify_one(&self, i: usize, tokenizer: &TextTokenizer) -> Outcome {
        let slot = &self.slots[i];
        slot.checked
            .get_or_init(|| match self.check(&slot.built, tokenizer) {
                Ok(()) => (Outcome::Verified, None),
                Err(tokens) => match self.correct(i, tokenizer) {
                    Some(prompt) => (Outcome::Corrected, Some(Box::new(prompt))),
                    None => (Outcome::Deviating { tokens }, None),
                },
            })
            .0
    }

    /// Verifies all prompts on up to `threads` threads; those left when `cancelled` says so stay unverified.
    pub fn verify_all(
        &self,
        tokenizer: &TextTokenizer,
        threads: usize,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Verification {
        // A cancelled pass still counts what was done before.
        let _ = in_parallel(self.len(), threads, cancelled, |i| {
            self.verify_one(i, tokenizer)
        });
        self.verification()
    }

    /// What has been verified so far.
    pub fn verification(&self) -> Verification {
        let mut found = Verification::default();
        for (outcome, _) in self.slots.iter().filter_map(|slot| slot.checked.get()) {
            found.add(*outcome);
        }
        found
    }

    fn check(&self, prompt: &WorkingPrompt, tokenizer: &TextTokenizer) -> Result<(), u64> {
        Claim::with_cuts(
            &prompt.text,
            self.plan.rounded(),
            &self.cuts,
            &prompt.offsets,
        )
        .check(tokenizer)
    }

    /// Writes prompt `i`; `plain` uses single-token words only.
    fn write(&self, i: usize, plain: bool) -> Result<WorkingPrompt, WorkingSetError> {
        let table = &self.table.inner;
        let total = self.plan.rounded();
        let stride = self.plan.chunk_size.max(1);
        let seed = self.seed.child(&format!("prompt {i}"));
        let header = format!("# PROMPT_{i}{}", table.header_end());
        let tokens = match table.header_tokens.get(i) {
            Some(tokens) => u64::from(*tokens),
            None => self
                .table
                .tokenizer()
                .try_count(&format!("{header} the"))?
                .saturating_sub(table.word_tokens) as u64,
        };
        let mut writer = Writer::new(
            table,
            seed.rng(),
            Shape {
                total,
                stride,
                cuts: &self.cuts,
                plain,
            },
        );
        match self.header_ends(&header, tokens)? {
            Some(ends) if tokens < total => {
                let mut escaped = Vec::with_capacity(header.len() + 1);
                escape_into(&header, &mut escaped);
                writer.lead(&escaped, tokens, &ends);
                writer.random_singles(table.nonce_words());
            }
            _ if total > table.nonce_words() => {
                writer.random_starter();
                writer.random_singles(table.nonce_words());
            }
            _ => self.enumerate(&mut writer, i),
        }
        let (text, offsets) = writer.finish();
        Ok(WorkingPrompt {
            text: Bytes::copy_from_slice(&text),
            offsets: offsets.into(),
        })
    }

    /// Where each of the `tokens` tokens of the header ends; empty if no chunk ends inside it, so that nobody will
    /// ask. `None` if a chunk ends where the text cannot be cut (a token that stands for no character of its own):
    /// such a prompt does without the header.
    fn header_ends(&self, header: &str, tokens: u64) -> Result<Option<Vec<usize>>, TokenizerError> {
        let chunk = usize::try_from(self.plan.chunk_size.max(1)).unwrap_or(usize::MAX);
        let tokens = tokens as usize;
        if chunk >= tokens {
            return Ok(Some(Vec::new()));
        }
        let spans = self.table.tokenizer().spans(&format!("{header} the"))?;
        let clean =
            (chunk..tokens)
                .step_by(chunk)
                .all(|at| match (spans.get(at - 1), spans.get(at)) {
                    (Some(left), Some(right)) => left.1 > 0 && left.1 <= right.0,
                    _ => false,
                });
        Ok(clean.then(|| spans.into_iter().map(|(_, end)| end).collect()))
    }

    /// Without room for the header, words that spell `i` in the number system of the single-token words keep
    /// prompts apart for as long as there are enough words for it.
    fn enumerate(&self, writer: &mut Writer<'_>, i: usize) {
        let mut rng = self.seed.child("enumeration").rng();
        spell(&self.table, writer, i as u64, &mut rng, true);
    }

    /// A prompt of single-token words; failing that, a longer one trimmed at its own token boundaries.
    fn correct(&self, i: usize, tokenizer: &TextTokenizer) -> Option<WorkingPrompt> {
        let plain = self.write(i, true).ok()?;
        if self.check(&plain, tokenizer).is_ok() {
            return Some(plain);
        }
        let text = std::str::from_utf8(&plain.text).ok()?.replace("\\n", " ");
        let spans = tokenizer.spans(&format!("{text} {text}")).ok()?;
        let end = |tokens: u64| {
            spans
                .get(usize::try_from(tokens).ok()?.checked_sub(1)?)
                .map(|(_, end)| *end)
        };
        let offsets: Box<[usize]> = self
            .cuts
            .iter()
            .map(|cut| end(*cut))
            .collect::<Option<_>>()?;
        let text = format!("{text} {text}")
            .get(..end(self.plan.rounded())?)?
            .to_owned();
        let trimmed = WorkingPrompt {
            text: Bytes::from(text),
            offsets,
        };
        self.check(&trimmed, tokenizer).is_ok().then_some(trimmed)
    }
}

/// Puts the digits of `number`, each as one word, at the beginning of a text; each digit is shifted by a draw of
/// `rng`, which must be the same for all numbers that are to differ.
pub(crate) fn spell(
    table: &PieceTable,
    writer: &mut Writer<'_>,
    number: u64,
    rng: &mut ChaCha8Rng,
    at_start: bool,
) {
    let n_starters = table.inner.starters.len.max(1) as usize;
    let n_singles = table.n_singles();
    let mut rest = number as usize;
    if at_start {
        writer.starter((rest % n_starters) + below(rng, n_starters));
        rest /= n_starters;
    }
    while writer.room() > 0 {
        writer.single((rest % n_singles) + below(rng, n_singles));
        rest /= n_singles;
    }
}

/// Runs `job` for `0..n` on up to `threads` threads and returns the results in order.
fn in_parallel<T: Send>(
    n: usize,
    threads: usize,
    cancelled: &(dyn Fn() -> bool + Sync),
    job: impl Fn(usize) -> T + Sync,
) -> Result<Vec<T>, WorkingSetError> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while !cancelled() {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n {
                break;
            }
            done.push((i, job(i)));
        }
        done
    };
    let parts = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(n)).map(|_| scope.spawn(worker)).collect();
        let mut parts = vec![worker()];
        parts.extend(others.into_iter().map(|handle| match handle.join() {
            Ok(part) => part,
            Err(panic) => std::panic::resume_unwind(panic),
        }));
        parts
    });
    let mut results: Vec<(usize, T)> = parts.into_iter().flatten().collect();
    if results.len() < n {
        return Err(WorkingSetError::Cancelled);
    }
    results.sort_unstable_by_key(|(i, _)| *i);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

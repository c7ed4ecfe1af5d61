//! The prompts of a run: text of an exact length that nobody has sent before, and the suffix.
//!
//! Promises: the text of prompt `index` of iteration `iteration` at a size is a pure function of seed, tokenizer and
//! these three; two prompts of a run differ within their first cache block; every prompt is encoded whole and compared
//! with its planned length before it is used.

use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use workload::{
    ContextPlan, PieceTable, Prompt, PromptCheck, PromptPlan, RequestKey, Seed, TextTokenizer,
    TokenSplit, Verification,
};

/// What every prompt ends with, behind its text.
pub const SUFFIX: &str = "\n\nTell me a story.";
/// The suffix inside a JSON string.
const ESCAPED_SUFFIX: &str = "\\n\\nTell me a story.";
/// A word as the last of a text, in front of the suffix: its own tokens are subtracted again.
const ANCHOR: &str = "the the";
/// Phase of every request's key; the size and the number tell prompts apart.
const PHASE: &str = "single prompt";

/// Makes prompts. Cheap to clone, shared by threads.
#[derive(Debug, Clone)]
pub struct PromptMaker {
    table: PieceTable,
    seed: Seed,
    suffix_tokens: u64,
}

/// The prompts of one iteration, and what encoding them showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// In their order.
    pub prompts: Vec<Arc<Prompt>>,
    /// How many were verified.
    pub verification: Verification,
}

impl PromptMaker {
    /// A maker of the prompts of `seed`.
    #[must_use]
    pub fn new(table: &PieceTable, seed: &Seed) -> Self {
        let tokenizer = table.tokenizer();
        let with = tokenizer.count(&format!("{ANCHOR}{SUFFIX}"));
        Self {
            table: table.clone(),
            seed: *seed,
            suffix_tokens: with.saturating_sub(tokenizer.count(ANCHOR)) as u64,
        }
    }

    /// Tokens that the suffix adds to a prompt.
    #[must_use]
    pub fn suffix_tokens(&self) -> u64 {
        self.suffix_tokens
    }

    /// The prompts of an iteration, made and encoded on `n_threads` threads.
    #[must_use]
    pub fn batch(
        &self,
        context_size: u64,
        iteration: u32,
        n_prompts: u32,
        n_threads: usize,
    ) -> Batch {
        let numbers: Vec<u64> = (0..n_prompts)
            .map(|index| number_of(iteration, index))
            .collect();
        let share = numbers.len().div_ceil(n_threads.max(1)).max(1);
        let made: Vec<(Prompt, PromptCheck)> = thread::scope(|scope| {
            let threads: Vec<_> = numbers
                .chunks(share)
                .map(|part| {
                    scope.spawn(|| -> Vec<_> {
                        part.iter().map(|k| self.prompt(context_size, *k)).collect()
                    })
                })
                .collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined
                .flat_map(|made| made.expect("making a prompt does not panic"))
                .collect()
        });
        let mut batch = Batch {
            prompts: Vec::with_capacity(made.len()),
            verification: Verification::default(),
        };
        for (prompt, check) in made {
            let prompt = match check {
                PromptCheck::Exact => {
                    batch.verification.verified += 1;
                    prompt
                }
                PromptCheck::Corrected(corrected) => {
                    batch.verification.corrected += 1;
                    *corrected
                }
                PromptCheck::Deviating { .. } => {
                    batch.verification.deviating += 1;
                    prompt
                }
            };
            batch.prompts.push(Arc::new(prompt));
        }
        batch
    }

    /// Prompt number `k` of a size, and whether its length is as planned.
    fn prompt(&self, context_size: u64, k: u64) -> (Prompt, PromptCheck) {
        // A chunk of one token, so that no length is rounded.
        let context = ContextPlan {
            context_size,
            chunk_size: 1,
            working_set_size: context_size,
        };
        let plan = PromptPlan::new(&self.table, &self.seed, context, 0);
        let fresh = plan.fresh(&RequestKey {
            context_size,
            cache_hit_rate: 0,
            working_set_size: None,
            attempt: 0,
            phase_id: PHASE,
            k,
        });
        let prompt = Prompt {
            parts: vec![fresh.text, Bytes::from_static(ESCAPED_SUFFIX.as_bytes())],
            split: plan.split(),
            question_tokens: self.suffix_tokens,
            index: None,
        };
        let check = plan.verify(&prompt, self.tokenizer());
        (prompt, check)
    }

    /// The tokenizer that counts.
    #[must_use]
    pub fn tokenizer(&self) -> &TextTokenizer {
        self.table.tokenizer()
    }
}

/// One number for each pair, small where both are small (Cantor's pairing), so that a prompt does not depend on how
/// many others are sent with it.
fn number_of(iteration: u32, index: u32) -> u64 {
    let diagonal = u64::from(iteration) + u64::from(index);
    diagonal * (diagonal + 1) / 2 + u64::from(index)
}

/// The prompt of the one request that is sent ahead and not measured: shorter than any cache block.
#[must_use]
pub fn warm_up_prompt() -> Prompt {
    Prompt {
        parts: vec![Bytes::from_static(b"Hello")],
        split: TokenSplit {
            cached: 0,
            unique: 1,
        },
        question_tokens: 0,
        index: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    fn maker(seed: i64) -> PromptMaker {
        let tokenizer = TextTokenizer::from_bytes(hub::builtin_tokenizer()).unwrap();
        PromptMaker::new(&PieceTable::build(&tokenizer).unwrap(), &Seed::new(seed))
    }

    #[test]
    fn prompts_have_their_length_and_end_in_the_suffix() {
        let maker = maker(7);
        for size in [1, 2, 5, 17, 33, 34, 200, 1000, 4096] {
            let batch = maker.batch(size, 0, 3, 2);
            assert_eq!(batch.verification.deviating, 0, "{size}");
            for prompt in &batch.prompts {
                let text = prompt.plain_text();
                let body = text.strip_suffix(SUFFIX).unwrap();
                assert_eq!(maker.tokenizer().count(body) as u64, size, "{body:?}");
                assert_eq!(
                    maker.tokenizer().count(&text) as u64,
                    prompt.expected_tokens()
                );
            }
        }
    }

    #[test]
    fn no_two_prompts_of_a_run_share_their_first_tokens() {
        let maker = maker(11);
        let mut seen = BTreeSet::new();
        // Pairs that met in the originals: index 10 of one size and index 0 of another, iterations and sizes.
        for (size, iterations, n) in [(101, 4, 12), (1000, 4, 12), (2000, 4, 12), (4, 3, 5)] {
            for iteration in 0..iterations {
                for prompt in maker.batch(size, iteration, n, 2).prompts {
                    let mut ids = maker.tokenizer().encode(&prompt.plain_text());
                    ids.truncate(16);
                    assert!(seen.insert(ids), "{size} tokens, iteration {iteration}");
                }
            }
        }
        assert_eq!(seen.len(), 3 * 48 + 15);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// The number of threads that make a batch, and how many prompts it has, change none of them; another seed
        /// changes all.
        #[test]
        fn a_seed_decides_every_prompt(seed: i64, size in 8_u64..300, iteration in 0_u32..5, n in 1_u32..5) {
            let (one, other) = (maker(seed), maker(seed.wrapping_add(1)));
            let batch = one.batch(size, iteration, n, 1);
            prop_assert_eq!(&batch, &one.batch(size, iteration, n, 3));
            let larger = one.batch(size, iteration, n + 2, 2);
            prop_assert_eq!(&batch.prompts[..], &larger.prompts[..batch.prompts.len()]);
            for (a, b) in batch.prompts.iter().zip(&other.batch(size, iteration, n, 1).prompts) {
                prop_assert_ne!(a.plain_text(), b.plain_text());
            }
        }
    }
}

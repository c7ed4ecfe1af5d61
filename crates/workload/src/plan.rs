//! The arithmetic of one context size: how long prompts are, how many there are, how a hit rate splits them.
//!
//! Promise: exact integer arithmetic; cached counts are multiples of the chunk size, rounded down, prompts are
//! rounded up to it. Refuses nothing: sizes of 0 are treated as 1, rates above 100 as 100 (the command line has
//! rejected both before).

use crate::growth::prompts_for;

/// Tokens of one request's body: those meant to be in the server's cache and those meant to be new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenSplit {
    /// Tokens taken from the start of a working-set prompt.
    pub cached: u64,
    /// Tokens never sent before.
    pub unique: u64,
}

impl TokenSplit {
    /// All tokens of the body.
    pub fn total(&self) -> u64 {
        self.cached + self.unique
    }
}

/// One context size and the working set that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContextPlan {
    /// Tokens of a request's body as asked for.
    pub context_size: u64,
    /// Tokens of a cache block; cached counts are multiples of it.
    pub chunk_size: u64,
    /// Tokens that the working set should have at least.
    pub working_set_size: u64,
}

impl ContextPlan {
    fn chunk(&self) -> u64 {
        self.chunk_size.max(1)
    }

    /// Tokens of a working-set prompt: the context size rounded up to whole chunks.
    pub fn rounded(&self) -> u64 {
        self.context_size
            .max(1)
            .div_ceil(self.chunk())
            .saturating_mul(self.chunk())
    }

    /// Prompts in the working set; at least one.
    pub fn num_prompts(&self) -> usize {
        prompts_for(self.working_set_size, self.rounded())
    }

    /// Tokens that the working set has: at least what was asked for, in whole prompts.
    pub fn working_set_tokens(&self) -> u64 {
        (self.num_prompts() as u64).saturating_mul(self.rounded())
    }

    /// How a request of hit rate `rate` percent is made up. At 100 it is a whole working-set prompt.
    pub fn split(&self, rate: u32) -> TokenSplit {
        if rate >= 100 {
            return TokenSplit {
                cached: self.rounded(),
                unique: 0,
            };
        }
        let context = self.context_size.max(1);
        let wanted = u128::from(context) * u128::from(rate) / 100;
        let cached = u64::try_from(wanted).unwrap_or(u64::MAX) / self.chunk() * self.chunk();
        TokenSplit {
            cached,
            unique: context - cached,
        }
    }

    /// The cached counts at which working-set prompts must be cut for `rates`: above 0, below 100 %, ascending.
    pub fn cuts(&self, rates: &[u32]) -> Vec<u64> {
        let mut cuts: Vec<u64> = rates
            .iter()
            .filter(|r| **r < 100)
            .map(|r| self.split(*r).cached)
            .filter(|c| *c > 0)
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(context_size: u64, chunk_size: u64, working_set_size: u64) -> ContextPlan {
        ContextPlan {
            context_size,
            chunk_size,
            working_set_size,
        }
    }

    #[test]
    fn splits_are_those_of_the_published_examples() {
        for (context, rate, cached, unique) in [
            (1000, 50, 256, 744),
            (8000, 5, 256, 7744),
            (8000, 95, 7424, 576),
            (32000, 50, 15872, 16128),
            (1000, 25, 0, 1000),
        ] {
            assert_eq!(
                plan(context, 256, 0).split(rate),
                TokenSplit { cached, unique },
                "{context} at {rate} %"
            );
        }
        assert_eq!(
            plan(1000, 256, 0).split(100),
            TokenSplit {
                cached: 1024,
                unique: 0
            }
        );
        assert_eq!(
            (
                plan(1000, 256, 8000).num_prompts(),
                plan(1000, 256, 8000).rounded()
            ),
            (8, 1024)
        );
        assert_eq!(plan(1000, 256, 10).num_prompts(), 1);
    }

    proptest! {
        /// Below 100 % the split adds up to the context size and its cached part is whole chunks that never exceed
        /// the rate; at 100 % it is the rounded prompt.
        #[test]
        fn splits_add_up(context in 1_u64..200_000, chunk in 1_u64..2048, rate in 0_u32..=100) {
            let plan = plan(context, chunk, 0);
            let split = plan.split(rate);
            prop_assert_eq!(split.cached % chunk, 0);
            if rate == 100 {
                prop_assert_eq!(split, TokenSplit { cached: plan.rounded(), unique: 0 });
            } else {
                prop_assert_eq!(split.total(), context);
                prop_assert!(split.cached * 100 <= context * u64::from(rate) && split.unique > 0);
            }
            prop_assert!(plan.rounded() >= context && plan.rounded() < context + chunk);
        }
    }
}

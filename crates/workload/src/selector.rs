//! Which working-set prompt a request is built on.
//!
//! Promise: round robin keeps its position for as long as the selector lives, over all phases and levels; random
//! selection draws from the seed it was given and from nothing else. With pinned endpoints prompt `i` belongs to
//! endpoint `i mod n`. A working set that grows gains prompts at the end of the rotation, whose position stays. After
//! [`Selector::cover`] every prompt is taken once before any is taken again. Refuses to know endpoints beyond their
//! number and their load.

use rand_chacha::ChaCha8Rng;

use crate::seed::{Seed, below, shuffle};

/// In which order prompts are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectionOrder {
    /// One after the other, from the first on.
    RoundRobin,
    /// Uniformly at random.
    Random,
}

/// Chooses working-set prompts.
#[derive(Debug, Clone)]
pub struct Selector {
    order: SelectionOrder,
    n_prompts: usize,
    n_pinned: Option<usize>,
    position: usize,
    rng: ChaCha8Rng,
    /// Prompts of a random order that are to be taken before chance is free again, the next one last.
    owed: Vec<usize>,
}

impl Selector {
    /// A selector over `n_prompts` prompts (at least one is assumed); `n_pinned` is the number of endpoints when each
    /// prompt belongs to one of them.
    pub fn new(
        order: SelectionOrder,
        n_prompts: usize,
        n_pinned: Option<usize>,
        seed: &Seed,
    ) -> Self {
        let rng = seed.child("selector").rng();
        Self {
            order,
            n_prompts: n_prompts.max(1),
            n_pinned: n_pinned.filter(|n| *n > 0),
            position: 0,
            rng,
            owed: Vec::new(),
        }
    }

    /// Prompts in the rotation.
    pub fn n_prompts(&self) -> usize {
        self.n_prompts
    }

    /// Adds prompts to the end of the rotation.
    pub fn grow(&mut self, more: usize) {
        self.n_prompts += more;
    }

    /// From here on every prompt of the rotation is taken once before any is taken again by chance. In turn they are
    /// anyhow.
    pub fn cover(&mut self) {
        if self.order == SelectionOrder::Random {
            self.owed = (0..self.n_prompts).collect();
            shuffle(&mut self.rng, &mut self.owed);
        }
    }

    /// The prompt for the next request. `active_per_endpoint` is the number of requests outstanding at each endpoint;
    /// only random selection over two or more pinned endpoints looks at it.
    pub fn choose(&mut self, active_per_endpoint: &[u32]) -> usize {
        if let Some(index) = self.owed.pop() {
            return index;
        }
        match self.order {
            SelectionOrder::RoundRobin => {
                let index = self.position;
                self.position = (self.position + 1) % self.n_prompts;
                index
            }
            SelectionOrder::Random => match self.n_pinned {
                Some(n) if n >= 2 => self.least_active(n, active_per_endpoint),
                _ => below(&mut self.rng, self.n_prompts),
            },
        }
    }

    /// The endpoint that owns prompt `index`, when endpoints are pinned.
    pub fn endpoint_of(&self, index: usize) -> Option<usize> {
        self.n_pinned.map(|n| index % n)
    }

    /// Uniformly among the endpoints with the fewest active requests, then uniformly among its prompts; any prompt if
    /// it owns none.
    fn least_active(&mut self, n: usize, active: &[u32]) -> usize {
        let load = |e: usize| active.get(e).copied().unwrap_or(0);
        let fewest = (0..n).map(load).min().unwrap_or(0);
        let idle: Vec<usize> = (0..n).filter(|e| load(*e) == fewest).collect();
        let endpoint = idle[below(&mut self.rng, idle.len())];
        if endpoint >= self.n_prompts {
            return below(&mut self.rng, self.n_prompts);
        }
        let owned = (self.n_prompts - endpoint).div_ceil(n);
        endpoint + n * below(&mut self.rng, owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn round_robin_goes_through_all_prompts_in_turn() {
        let mut selector = Selector::new(SelectionOrder::RoundRobin, 3, None, &Seed::new(1));
        let taken: Vec<_> = (0..7).map(|_| selector.choose(&[])).collect();
        assert_eq!(taken, [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(selector.endpoint_of(2), None);
    }

    #[test]
    fn random_order_follows_the_seed_and_reaches_every_prompt() {
        let draw = |seed: i64| -> Vec<usize> {
            let mut selector = Selector::new(SelectionOrder::Random, 8, None, &Seed::new(seed));
            (0..200).map(|_| selector.choose(&[])).collect()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!((0..8).all(|i| draw(7).contains(&i)));
    }

    #[test]
    fn new_prompts_join_at_the_end_of_the_rotation() {
        let mut selector = Selector::new(SelectionOrder::RoundRobin, 3, None, &Seed::new(1));
        let mut take = |n: usize, more: usize| -> Vec<usize> {
            selector.grow(more);
            (0..n).map(|_| selector.choose(&[])).collect()
        };
        assert_eq!(take(5, 0), [0, 1, 2, 0, 1]);
        assert_eq!(take(6, 2), [2, 3, 4, 0, 1, 2]);
        // Grown between two rounds: the new one waits for the end of the round to come.
        assert_eq!(take(2, 0), [3, 4]);
        assert_eq!(take(3, 1), [0, 1, 2]);
    }

    #[test]
    fn an_endpoint_that_owns_no_prompt_gets_any() {
        let mut selector = Selector::new(SelectionOrder::Random, 2, Some(4), &Seed::new(7));
        let taken: Vec<_> = (0..50).map(|_| selector.choose(&[1, 1, 1, 0])).collect();
        assert!(taken.contains(&0) && taken.contains(&1) && taken.iter().all(|i| *i < 2));
    }

    proptest! {
        /// Asked to cover, a random order takes every prompt once before any again, also when the set has grown.
        #[test]
        fn covering_takes_every_prompt_once_first(n in 1_usize..60, more in 0_usize..20, before in 0_usize..9, seed: i64) {
            let mut selector = Selector::new(SelectionOrder::Random, n, None, &Seed::new(seed));
            for _ in 0..before { selector.choose(&[]); }
            for grown in [0, more] {
                selector.grow(grown);
                selector.cover();
                let mut taken: Vec<usize> = (0..selector.n_prompts()).map(|_| selector.choose(&[])).collect();
                taken.sort_unstable();
                prop_assert!(taken.iter().copied().eq(0..selector.n_prompts()));
            }
        }

        /// Random selection over pinned endpoints only ever gives a prompt of an endpoint with the fewest active
        /// requests, and over time every prompt of every such endpoint.
        #[test]
        fn pinned_random_prefers_the_least_active(active in prop::collection::vec(0_u32..4, 2..6), extra in 0_usize..20, seed: i64) {
            let n = active.len();
            let n_prompts = n + extra;
            let mut selector = Selector::new(SelectionOrder::Random, n_prompts, Some(n), &Seed::new(seed));
            let fewest = *active.iter().min().unwrap();
            let mut seen = vec![false; n_prompts];
            for _ in 0..n_prompts * 40 {
                let index = selector.choose(&active);
                prop_assert!(index < n_prompts);
                prop_assert_eq!(active[selector.endpoint_of(index).unwrap()], fewest);
                seen[index] = true;
            }
            for (index, seen) in seen.iter().enumerate() {
                prop_assert_eq!(*seen, active[index % n] == fewest, "prompt {}", index);
            }
        }
    }
}

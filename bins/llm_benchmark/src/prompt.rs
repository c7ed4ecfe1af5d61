//! Which prompt is request i: a pure function of the numbers on the command line.
//!
//! The list is the original's: first the unique prompts (a base text with its number behind it), then
//! the repeated ones (three base texts in turn, without a number). With a shuffle, only the measured
//! part is mixed, so that what is warmed up and what is measured stay the same prompts.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// The base texts, in order.
const BASE: [&str; 10] = [
    "Explain machine learning in simple terms.",
    "What is the difference between AI and ML?",
    "How do neural networks work?",
    "What is gradient descent?",
    "Explain the transformer architecture.",
    "What is attention in deep learning?",
    "How does backpropagation work?",
    "What is overfitting and how to prevent it?",
    "Explain the bias-variance tradeoff.",
    "What are activation functions?",
];

/// How many of them are repeated.
const N_REPEATED: usize = 3;

/// The prompts of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptPlan {
    n_warmup: usize,
    n_requests: usize,
    n_unique: usize,
    /// Places in the unshuffled list of the measured requests, when they are shuffled.
    order: Option<Vec<usize>>,
}

impl PromptPlan {
    /// A plan of `n_warmup` discarded and `n_requests` measured requests. `repeat_ratio` is 0 to 1.
    #[must_use]
    pub fn new(n_warmup: usize, n_requests: usize, repeat_ratio: f64) -> Self {
        let n_total = n_warmup + n_requests;
        // In double precision and in this order: 0.9 leaves 0.09999999999999998, so that 100 prompts
        // have 9 unique ones. The cast cuts the fraction off.
        let n_unique = (n_total as f64 * (1.0 - repeat_ratio)) as usize;
        Self {
            n_warmup,
            n_requests,
            n_unique: n_unique.min(n_total),
            order: None,
        }
    }

    /// The same with the measured part in an order that `seed` decides.
    #[must_use]
    pub fn shuffled(mut self, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<usize> = (self.n_warmup..self.n_total()).collect();
        // Fisher and Yates, spelled out: the order must not change with a library's version.
        for last in (1..order.len()).rev() {
            // A draw's high bits as a place in 0..=last; the bias is far below 2^-32.
            let place = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
            order.swap(last, place as usize);
        }
        self.order = Some(order);
        self
    }

    /// Requests sent in all.
    #[must_use]
    pub fn n_total(&self) -> usize {
        self.n_warmup + self.n_requests
    }

    /// Prompts that occur once.
    #[must_use]
    pub fn n_unique(&self) -> usize {
        self.n_unique
    }

    /// Prompts drawn from the three that occur again and again.
    #[must_use]
    pub fn n_repeated(&self) -> usize {
        self.n_total() - self.n_unique
    }

    /// Place of request `i` in the unshuffled list.
    fn place(&self, i: usize) -> usize {
        match (&self.order, i.checked_sub(self.n_warmup)) {
            (Some(order), Some(measured)) => order.get(measured).copied().unwrap_or(i),
            _ => i,
        }
    }

    /// Prompt of request `i`, counted from 0 over warm-up and measurement.
    #[must_use]
    pub fn text(&self, i: usize) -> String {
        let place = self.place(i);
        match place.checked_sub(self.n_unique) {
            None => format!("{} (variation {place})", BASE[place % BASE.len()]),
            Some(repeat) => BASE[repeat % N_REPEATED].to_owned(),
        }
    }

    /// Measured requests whose prompt came before: what a perfect cache answers when requests are sent
    /// one after another.
    #[must_use]
    pub fn n_possible_hits(&self) -> usize {
        let mut seen = [false; N_REPEATED];
        let mut n_hits = 0;
        for i in 0..self.n_total() {
            let Some(repeat) = self.place(i).checked_sub(self.n_unique) else {
                continue;
            };
            let came_before = std::mem::replace(&mut seen[repeat % N_REPEATED], true);
            n_hits += usize::from(came_before && i >= self.n_warmup);
        }
        n_hits
    }
}

#[cfg(test)]
mod tests;

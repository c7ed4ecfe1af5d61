//! What the arguments mean: [`Args`] → [`Plan`], pure.
//!
//! Promises: a plan's sizes are ascending and free of duplicates, everything is within bounds; every reason to refuse
//! is one line that names the option, its value and the remedy. Nothing is read or written, and no secret can be
//! printed from a plan by accident.

use std::path::PathBuf;

use cli::options::Calibrate;
use setup::check::{self, Int};
use setup::command::Options;
use setup::{ArgumentError, Requests};
use thiserror::Error;

use crate::args::Args;

/// Prompts at once: each needs a connection and memory for its text.
const MAX_CONCURRENT: i128 = 100_000;
/// Iterations and repeats.
const MAX_ROUNDS: i128 = 1_000_000;

/// How the context sizes were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// One by one.
    Listed,
    /// From a shortest one, doubling, up to a longest one; tokens.
    Doubling {
        /// Shortest.
        min: u64,
        /// No size is above.
        max: u64,
    },
}

/// A run, ready to be carried out.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server, and what every request carries.
    pub requests: Requests,
    /// How the sizes were chosen.
    pub sizes: Sizes,
    /// Context sizes in tokens, ascending, without duplicates.
    pub context_sizes: Vec<u64>,
    /// Sizes that were listed more than once.
    pub duplicate_sizes: Vec<u64>,
    /// Output tokens asked for.
    pub output_tokens: u64,
    /// Iterations per size.
    pub num_iterations: u32,
    /// Prompts sent at once.
    pub concurrent_prompts: u32,
    /// Repetitions of every batch.
    pub cached_repeats: u32,
    /// Tokenizer, if one was named.
    pub tokenizer: Option<String>,
    /// Seed, if one was given: −2^63 to 2^64 − 1.
    pub seed: Option<i128>,
    /// Whether the client's own error is measured at the end.
    pub calibrate: Calibrate,
    /// Where results go.
    pub output_dir: PathBuf,
    /// Whether a report for scripts goes to stdout.
    pub brief: bool,
    /// Whether debug lines are logged.
    pub verbose: bool,
    /// Whether colours are refused.
    pub no_color: bool,
}

/// Why arguments make no plan.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PlanError {
    /// A single value that cannot be used.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// The shortest size is above the longest.
    #[error("Invalid parameter range: min-tokens ({min}) must be <= max-tokens ({max})")]
    Range {
        /// `--min-tokens`.
        min: i128,
        /// `--max-tokens`.
        max: i128,
    },
}

impl TryFrom<Args> for Plan {
    type Error = PlanError;

    fn try_from(args: Args) -> Result<Self, PlanError> {
        let tokens = |flag, value| {
            Int {
                flag,
                unit: "tokens",
            }
            .within(value, 1, check::MAX_TOKENS)
        };
        let count = |flag, unit, value, most| Int { flag, unit }.within(value, 1, most);
        let requests = Requests::new(std::slice::from_ref(&args.api_endpoint), args.requests)?;
        let (sizes, context_sizes) = match &args.context_sizes {
            Some(listed) => {
                let sizes = check::sorted_set(listed, |size| tokens("--context-sizes", size))?;
                (Sizes::Listed, sizes)
            }
            None => {
                let min = tokens("--min-tokens", args.min_tokens)?;
                if args.min_tokens > args.max_tokens {
                    return Err(PlanError::Range {
                        min: args.min_tokens,
                        max: args.max_tokens,
                    });
                }
                let max = tokens("--max-tokens", args.max_tokens)?;
                (Sizes::Doubling { min, max }, doubling(min, max))
            }
        };
        let duplicate_sizes = duplicates(args.context_sizes.as_deref().unwrap_or_default());
        let plan = Self {
            requests,
            sizes,
            context_sizes,
            duplicate_sizes,
            output_tokens: tokens("--output-tokens", args.output_tokens)?,
            num_iterations: count(
                "--num-iterations",
                "iterations",
                args.num_iterations,
                MAX_ROUNDS,
            )?,
            concurrent_prompts: count(
                "--concurrent-prompts",
                "prompts",
                args.concurrent_prompts,
                MAX_CONCURRENT,
            )?,
            cached_repeats: count(
                "--cached-repeats",
                "repeats",
                args.cached_repeats,
                MAX_ROUNDS,
            )?,
            tokenizer: check::not_empty(
                "--tokenizer",
                "a directory, a model id or builtin",
                args.tokenizer.tokenizer,
            )?,
            seed: args.tokenizer.seed.map(check::seed).transpose()?,
            calibrate: args.calibration.calibrate,
            output_dir: args.output_dir,
            brief: args.console.brief,
            verbose: args.console.verbose,
            no_color: args.console.no_color,
        };
        // What the arguments make of a request is checked before anything is written.
        plan.requests.client_config()?;
        plan.requests.template("", plan.output_tokens)?;
        Ok(plan)
    }
}

/// `min`, twice that, four times that, … as far as it is not above `max`.
fn doubling(min: u64, max: u64) -> Vec<u64> {
    std::iter::successors(Some(min), |size| size.checked_mul(2))
        .take_while(|size| *size <= max)
        .collect()
}

/// Values that occur more than once, ascending. Those outside of bounds were refused before.
fn duplicates(listed: &[i128]) -> Vec<u64> {
    let mut sorted = listed.to_vec();
    sorted.sort_unstable();
    let mut twice: Vec<u64> = sorted
        .windows(2)
        .filter(|pair| pair[0] == pair[1])
        .filter_map(|pair| u64::try_from(pair[0]).ok())
        .collect();
    twice.dedup();
    twice
}

impl Plan {
    /// The options that repeat this run: the required one always, others where they differ from their default.
    #[must_use]
    pub fn command_options(&self) -> Vec<(String, Vec<String>)> {
        let mut options = Options::default();
        options.always("--api-endpoint", [self.requests.first_url()]);
        match self.sizes {
            Sizes::Listed => options.always("--context-sizes", &self.context_sizes),
            Sizes::Doubling { min, max } => {
                options.unless("--min-tokens", min, 1000);
                options.unless("--max-tokens", max, 128_000);
            }
        }
        options.unless("--output-tokens", self.output_tokens, 256);
        options.unless("--num-iterations", self.num_iterations, 5);
        options.unless("--concurrent-prompts", self.concurrent_prompts, 1);
        options.unless("--cached-repeats", self.cached_repeats, 1);
        options.if_given("--tokenizer", self.tokenizer.as_ref());
        options.if_given("--seed", self.seed);
        options.requests(&self.requests);
        options.unless(
            "--calibrate",
            self.calibrate.as_str(),
            Calibrate::default().as_str(),
        );
        options.unless(
            "--output-dir",
            self.output_dir.display().to_string(),
            "./single_prompt_output".to_owned(),
        );
        options.switch("--brief", self.brief);
        options.switch("--verbose", self.verbose);
        options.switch("--no-color", self.no_color);
        options.into_vec()
    }
}

#[cfg(test)]
mod tests;

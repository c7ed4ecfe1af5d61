//! Prompts of exact token length, derived from a seed.
//!
//! Promise: pure. Nothing here opens a file, reads a clock, knows an async runtime or draws a random number that
//! does not come from a [`Seed`] passed in. A prompt has exactly the number of tokens it was asked for under the
//! loaded tokenizer, and [`WorkingSet::verify_one`] / [`PromptPlan::verify`] prove it by encoding it whole.
//!
//! How: [`PieceTable`] measures pieces of text (" word", " word,", " word.\n", …) by re-encoding them inside their
//! joints once; text is then assembled from pieces whose counts simply add up, four hundred times faster than a
//! tokenizer would go.
//!
//! Refuses: to select endpoints' health, to send anything, to decide when a prompt is needed.

mod escape;
mod growth;
mod pieces;
mod plan;
mod prompt;
pub mod questions;
mod seed;
mod selector;
mod tokenizer;
mod verify;
pub mod words;
mod working_set;
mod writer;

pub use growth::{GrowthEvent, GrowthSchedule, prompts_for, working_set_sizes};
pub use pieces::{Kind, MIN_SINGLES, PieceError, PieceTable};
pub use plan::{ContextPlan, TokenSplit};
pub use prompt::{FreshText, Prompt, PromptCheck, PromptPlan, RequestKey, warmup_prompt};
pub use seed::Seed;
pub use selector::{SelectionOrder, Selector};
pub use tokenizer::{TextTokenizer, TokenizerError};
pub use verify::{Outcome, Verification};
pub use working_set::{WorkingPrompt, WorkingSet, WorkingSetError};

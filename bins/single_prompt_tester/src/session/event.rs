//! What happens in a session, and who is told.

use std::time::Duration;

use metrics::record::FailedRequest;
use metrics::single_prompt::{PromptKind, SinglePromptRow};
use metrics::timeline::Failure;

use super::Answer;

/// One ended request of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// Which of the prompts, from 0.
    pub prompt_index: u32,
    /// What came back.
    pub result: Result<Answer, Box<FailedRequest>>,
}

/// A batch that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchDone {
    /// Tokens of each prompt.
    pub context_size: u64,
    /// From 0.
    pub iteration: u32,
    /// Cold or which repetition.
    pub kind: PromptKind,
    /// Its requests, in the order of the prompts.
    pub sent: Vec<Sent>,
}

impl BatchDone {
    /// The answers, in the order of the prompts.
    pub fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.sent
            .iter()
            .filter_map(|sent| sent.result.as_ref().ok())
    }

    /// The failures, in the order of the prompts.
    pub fn failures(&self) -> impl Iterator<Item = &FailedRequest> {
        self.sent
            .iter()
            .filter_map(|sent| sent.result.as_ref().err().map(|failed| &**failed))
    }
}

/// Why the rest of a size is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// The server refuses prompts of this length.
    Refused {
        /// HTTP status.
        status: u16,
        /// What the server said.
        message: String,
    },
    /// Nothing was answered in several iterations.
    NoAnswer,
}

/// What happens in a session.
#[derive(Debug)]
pub enum Event<'a> {
    /// The unmeasured request failed; the run goes on.
    WarmUpFailed(&'a Failure),
    /// A size begins.
    SizeStarted {
        /// Tokens.
        context_size: u64,
    },
    /// A batch is handed over.
    BatchStarted {
        /// Tokens of each prompt.
        context_size: u64,
        /// From 0.
        iteration: u32,
        /// Cold or which repetition.
        kind: PromptKind,
        /// Prompts in it.
        n_prompts: u32,
    },
    /// A request was answered; its batch goes on.
    Answered {
        /// Launch to first token, if one came.
        ttft: Option<Duration>,
        /// Tokens of the prompt.
        input_tokens: u64,
        /// Tokens of the answer, as far as the server counts them.
        output_tokens: u64,
    },
    /// A request failed; its batch goes on.
    Failed,
    /// A batch has ended.
    BatchDone(&'a BatchDone),
    /// All batches of an iteration have ended; the rows of the iteration.
    IterationDone(&'a [SinglePromptRow]),
    /// The rest of a size is left out.
    SizeSkipped {
        /// Tokens.
        context_size: u64,
        /// Why.
        reason: &'a SkipReason,
    },
    /// Something to know about the figures of a size.
    Doubt(String),
    /// A size has ended; the rows of the size.
    SizeDone {
        /// Tokens.
        context_size: u64,
        /// All its rows.
        rows: &'a [SinglePromptRow],
    },
}

/// Who is told.
pub trait Observer {
    /// Called on the thread that reads streams, between batches but for [`Event::Answered`] and [`Event::Failed`].
    fn observe(&mut self, event: &Event<'_>);

    /// Whether the session is to end for a reason of the observer's own; asked after every batch.
    fn wants_end(&self) -> bool {
        false
    }
}

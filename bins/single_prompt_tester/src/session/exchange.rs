//! From one exchange to one row, and from two answers to their difference.

use std::time::Duration;

use metrics::record::{FailedRequest, RequestIntent, RequestRecord, WallAnchor};
use metrics::single_prompt::{PromptKind, SinglePromptRow};
use metrics::timeline::Exchange;
use workload::TextTokenizer;

/// Characters of each answer that are shown where two begin to differ.
const EXCERPT_CHARS: usize = 30;

/// What a request is meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// Tokens of the text, suffix not counted.
    pub context_size: u64,
    /// From 0.
    pub iteration: u32,
    /// Cold or which repetition.
    pub kind: PromptKind,
    /// Which of the batch's prompts, from 0.
    pub prompt_index: u32,
    /// Tokens of text and suffix.
    pub prompt_tokens: u64,
    /// Prompts of a full batch.
    pub n_prompts: u32,
}

/// An answered request.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its row.
    pub row: SinglePromptRow,
    /// What was answered.
    pub text: String,
    /// Which of the batch's prompts, from 0.
    pub prompt_index: u32,
    /// Which sending.
    pub kind: PromptKind,
    /// Beginning of the batch to first token, seconds.
    pub abs_time: Option<f64>,
    /// All that is known of it, for the checks of a size.
    pub record: RequestRecord,
}

impl Intent {
    /// `CTX8000_I0_UNIQUE`, `CTX8000_I0_CACHED_R2`.
    fn phase_id(&self) -> String {
        let kind = self.kind.to_string().to_uppercase();
        format!("CTX{}_I{}_{kind}", self.context_size, self.iteration)
    }

    /// The phase and the number of the prompt; travels in the `x-request-id` header.
    #[must_use]
    pub fn request_id(&self) -> String {
        format!("{}_r{}", self.phase_id(), self.prompt_index)
    }

    fn request(&self) -> RequestIntent {
        let is_cached = self.kind.is_cached();
        RequestIntent {
            request_id: self.request_id(),
            phase_id: self.phase_id().into(),
            cache_hit_rate: if is_cached { 100 } else { 0 },
            context_size: self.context_size,
            cached_tokens: if is_cached { self.context_size } else { 0 },
            unique_tokens: if is_cached { 0 } else { self.context_size },
            question_tokens: self.prompt_tokens.saturating_sub(self.context_size),
            concurrency_level: self.n_prompts,
            endpoint: "".into(),
            working_set_size: None,
        }
    }

    /// What came of it. `begun` is when the batch was handed over; `tokenizer` counts where the server does not.
    ///
    /// # Errors
    /// The failure, with what had arrived by then.
    pub fn interpret(
        self,
        exchange: Exchange,
        begun: Duration,
        anchor: WallAnchor,
        tokenizer: &TextTokenizer,
    ) -> Result<Answer, Box<FailedRequest>> {
        let intent = self.request();
        if exchange.failure.is_some() {
            let failed = FailedRequest::from_exchange(intent, exchange, anchor);
            return Err(Box::new(failed.expect("it holds a failure")));
        }
        let usage = exchange.usage;
        let local = usage
            .completion_tokens
            .is_none()
            .then(|| tokenizer.count(&exchange.text) as u64);
        let record = RequestRecord::from_exchange(intent, &exchange, anchor, local);
        let timeline = &exchange.timeline;
        let between = timeline.first_token_at().zip(timeline.last_token_at());
        // Up to the last text: what follows it is bookkeeping, and no token.
        let generation = between.map(|(first, last)| last.saturating_sub(first).as_secs_f64());
        let completion_tokens = record.output_tokens;
        let row = SinglePromptRow {
            context_size: self.context_size,
            iteration: u64::from(self.iteration),
            prompt_type: self.kind.to_string(),
            prompt_tokens: usage.prompt_tokens.unwrap_or(self.prompt_tokens),
            completion_tokens,
            ttft: record.ttft,
            generation_time: generation,
            total_time: Some(record.total_time),
            output_tokens_per_sec: generation
                .filter(|time| *time > 0.0)
                .map(|time| completion_tokens as f64 / time),
            reported_cached_tokens: usage.cached_tokens,
            prompt_index: Some(u64::from(self.prompt_index)),
            counted_locally: Some(
                usage.prompt_tokens.is_none() || usage.completion_tokens.is_none(),
            ),
            matches_cold_text: None,
            send_delay: record.send_delay,
            dial_time: record.dial_time,
        };
        let abs_time = timeline
            .first_token_at()
            .map(|at| at.saturating_sub(begun).as_secs_f64());
        Ok(Answer {
            row,
            text: exchange.text,
            prompt_index: self.prompt_index,
            kind: self.kind,
            abs_time,
            record,
        })
    }
}

impl Answer {
    /// Notes whether this is what was answered cold; nothing where that is not known.
    pub(super) fn compare_with(&mut self, cold: Option<&Self>) {
        self.row.matches_cold_text = cold.map(|cold| cold.text == self.text);
    }
}

/// Where an answer from cache begins to differ from the cold one to the same prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextDifference {
    /// Tokens of the prompt.
    pub context_size: u64,
    /// From 0.
    pub iteration: u64,
    /// Which of the batch's prompts, from 0.
    pub prompt_index: u32,
    /// Which repetition.
    pub kind: PromptKind,
    /// Characters that both have in common from the start.
    pub n_common_chars: usize,
    /// What follows cold, a few characters.
    pub cold: String,
    /// What follows from cache, a few characters.
    pub cached: String,
}

impl TextDifference {
    /// Between two answers that differ.
    #[must_use]
    pub fn between(cold: &Answer, cached: &Answer) -> Self {
        let pairs = cold.text.chars().zip(cached.text.chars());
        let n_common_chars = pairs.take_while(|(a, b)| a == b).count();
        let rest = |text: &str| {
            text.chars()
                .skip(n_common_chars)
                .take(EXCERPT_CHARS)
                .collect()
        };
        Self {
            context_size: cached.row.context_size,
            iteration: cached.row.iteration,
            prompt_index: cached.prompt_index,
            kind: cached.kind,
            n_common_chars,
            cold: rest(&cold.text),
            cached: rest(&cached.text),
        }
    }
}

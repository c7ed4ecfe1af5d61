//! One request's tokens as they come.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;

use super::SimService;
use super::queue::EventReceiver;
use crate::model::{Begun, Event, EventKind, OutputIds, RequestId, Timing, Usage, output};
use crate::record::RequestState;

/// What a stream yields.
#[derive(Clone, Debug, PartialEq)]
pub enum SimEvent {
    /// A token.
    Token {
        /// Its text: a word with a space in front.
        text: Arc<str>,
        /// Its position in the output, from 0.
        position: u32,
        /// The exact model time at which the engine generated it.
        at: Duration,
    },
    /// The end; nothing comes behind it.
    Done {
        /// What the request used.
        usage: Usage,
        /// Where its time went.
        timing: Timing,
    },
}

/// Why an output ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The limit of tokens.
    Length,
    /// The model ended by itself.
    Stop,
}

impl FinishReason {
    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Stop => "stop",
        }
    }
}

/// What is known of a request when it is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outline {
    pub(super) id: RequestId,
    pub(super) record: u64,
    pub(super) output_tokens: u32,
    pub(super) finish: FinishReason,
    pub(super) prompt_tokens: u64,
    pub(super) seed: u64,
}

/// A request's events. Dropping it cancels the request.
#[derive(Debug)]
pub struct SimStream {
    outline: Outline,
    events: EventReceiver,
    output_ids: Option<OutputIds>,
    service: SimService,
    done: bool,
}

impl SimStream {
    pub(super) fn new(
        outline: Outline,
        events: EventReceiver,
        output_ids: Option<OutputIds>,
        service: SimService,
    ) -> Self {
        Self {
            outline,
            events,
            output_ids,
            service,
            done: false,
        }
    }

    /// Tokens that will come.
    #[must_use]
    pub fn output_tokens(&self) -> u32 {
        self.outline.output_tokens
    }

    /// Tokens of the prompt.
    #[must_use]
    pub fn prompt_tokens(&self) -> u64 {
        self.outline.prompt_tokens
    }

    /// Why the output will end.
    #[must_use]
    pub fn finish_reason(&self) -> FinishReason {
        self.outline.finish
    }

    /// Whether the end was seen; a stream that is over without it broke off, because the simulator has stopped.
    pub(crate) fn is_complete(&self) -> bool {
        self.done
    }

    /// The next event; `None` behind the end, or when the simulator has stopped.
    pub async fn next(&mut self) -> Option<SimEvent> {
        std::future::poll_fn(|context| self.poll_event(context)).await
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<SimEvent>> {
        while let Some(event) = ready!(self.events.poll_next(context)) {
            if let Some(event) = self.translate(event) {
                return Poll::Ready(Some(event));
            }
        }
        Poll::Ready(None)
    }

    /// What a reader sees of an event; nothing of one that is only for the record.
    fn translate(&mut self, event: Event) -> Option<SimEvent> {
        match event.kind {
            EventKind::Begun(begun) => {
                self.record_begin(&begun);
                None
            }
            EventKind::Token { position } => Some(SimEvent::Token {
                text: self.word(position),
                position,
                at: event.at,
            }),
            EventKind::Done(done) => {
                self.done = true;
                let (usage, timing) = *done;
                self.record_end(&usage, &timing);
                Some(SimEvent::Done { usage, timing })
            }
        }
    }

    fn word(&self, position: u32) -> Arc<str> {
        let vocabulary = &self.service.inner.vocabulary;
        let entry = match &self.output_ids {
            Some(ids) => ids.entry(position),
            None => {
                let mixed = output::mix(self.outline.seed, u64::from(position));
                (mixed % vocabulary.n_words() as u64) as usize
            }
        };
        Arc::clone(vocabulary.word(entry))
    }

    /// From the first token on it is known where the TTFT went, whatever becomes of the rest.
    fn record_begin(&self, begun: &Begun) {
        let timing = &begun.timing;
        self.service.update_record(self.outline.record, |record| {
            record.cached_tokens = Some(begun.cached_by_tier.iter().sum());
            record.cached_by_tier = Some(begun.cached_by_tier.clone());
            record.ttft_s = Some(timing.ttft().as_secs_f64());
            record.queue_s = Some(timing.queue.as_secs_f64());
            record.load_s_by_tier = Some(
                timing
                    .load_by_tier
                    .iter()
                    .map(Duration::as_secs_f64)
                    .collect(),
            );
            record.prefill_s = Some(timing.prefill.as_secs_f64());
        });
    }

    fn record_end(&self, usage: &Usage, timing: &Timing) {
        self.service.update_record(self.outline.record, |record| {
            record.state = RequestState::Done;
            record.completion_tokens = Some(usage.completion_tokens);
            record.done_s = Some(timing.done_at.as_secs_f64());
            record.preemptions = Some(timing.preemptions);
        });
    }
}

impl Stream for SimStream {
    type Item = SimEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<SimEvent>> {
        self.poll_event(context)
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let shared = &self.service.inner.shared;
        shared.cancelled().push(self.outline.id);
        shared.wake.notify_one();
        self.service.update_record(self.outline.record, |record| {
            record.state = RequestState::Cancelled
        });
    }
}

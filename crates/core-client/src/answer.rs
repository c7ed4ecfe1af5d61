//! What a streamed answer says, as a state machine without I/O: stamped frames in, an [`Exchange`] out.
//!
//! A frame is stamped by the caller with the read that brought it and decoded here after; all events of one
//! read share its stamp. Output counts when it is a non-empty string of content, else reasoning, else
//! tool-call name or arguments, or the text of the completions API.

use std::ops::ControlFlow;
use std::time::Duration;

use metrics::timeline::{ChunkStamp, Exchange, Failure, FailureKind, Timeline, Usage};
use serde_json::Value;

use crate::chunk::{Choices, Chunk};
use crate::excerpt::{self, Redactor};
use crate::likeness::Likeness;
use crate::sse::{SseDecoder, SseEvent};

/// Ends a stream of the OpenAI APIs.
const DONE: &[u8] = b"[DONE]";

/// Bytes of an answer without events that are kept to show what came instead.
const MAX_SAMPLE_BYTES: usize = 2048;

/// One answer while it comes in.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) timeline: Timeline,
    /// Since when a connection is being opened, while it is.
    pub(crate) dialing_since: Option<Duration>,
    decoder: SseDecoder,
    reading: Reading,
    /// HTTP status, once the head is here.
    pub(crate) status: Option<u16>,
    /// When the answer was complete or wrong.
    ended_at: Option<Duration>,
    /// Beginning of the answer, kept until the first event shows that it is a stream.
    sample: Vec<u8>,
}

/// The part that events change; apart from the decoder, which lends them out.
#[derive(Debug, Default)]
struct Reading {
    chunks: Vec<ChunkStamp>,
    usage: Usage,
    text: String,
    n_events: u64,
    /// What the events of this answer look like.
    likeness: Likeness,
    has_usage: bool,
    is_finished: bool,
    is_done: bool,
    fault: Option<Failure>,
}

impl Answer {
    pub(crate) fn new(intended: Duration, expected_chunks: usize) -> Self {
        Self {
            timeline: Timeline {
                intended,
                ..Timeline::default()
            },
            dialing_since: None,
            decoder: SseDecoder::new(),
            reading: Reading {
                chunks: Vec::with_capacity(expected_chunks),
                // Four bytes are the usual length of a token in English.
                text: String::with_capacity(expected_chunks.saturating_mul(4)),
                ..Reading::default()
            },
            status: None,
            ended_at: None,
            sample: Vec::new(),
        }
    }

    /// Takes a body frame that was read at `at`. Breaks when nothing more is to be read: the stream said
    /// that it is done, or something in it is wrong.
    pub(crate) fn frame(
        &mut self,
        at: Duration,
        bytes: &[u8],
        redactor: &Redactor,
    ) -> ControlFlow<()> {
        let reading = &mut self.reading;
        self.decoder
            .push(bytes, |event| reading.event(at, event, redactor));
        if reading.n_events > 0 {
            // It is a stream. Most begin with an event and never had a sample.
            self.sample = Vec::new();
        } else if self.sample.len() < MAX_SAMPLE_BYTES {
            let room = MAX_SAMPLE_BYTES - self.sample.len();
            self.sample
                .extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        if self.reading.is_done || self.reading.fault.is_some() {
            self.ended_at = Some(at);
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Whether the stream ended as it should and nothing that happens now can spoil the sample.
    pub(crate) fn is_done(&self) -> bool {
        self.reading.is_done && self.reading.fault.is_none()
    }

    /// Output chunks so far.
    pub(crate) fn n_chunks(&self) -> usize {
        self.reading.chunks.len()
    }

    /// Output chunks behind the first `n_known`.
    pub(crate) fn chunks_behind(&self, n_known: usize) -> &[ChunkStamp] {
        &self.reading.chunks[n_known..]
    }

    /// The body came to its end, or broke off with `broken`. Decides whether the answer is complete.
    pub(crate) fn end(&mut self, at: Duration, broken: Option<Failure>, redactor: &Redactor) {
        self.ended_at = Some(at);
        let unfinished = self.decoder.finish();
        if unfinished.is_some_and(|event| event.data == DONE) {
            self.reading.is_done = true;
        }
        let reading = &mut self.reading;
        let is_complete = reading.is_done || reading.is_finished || reading.has_usage;
        if reading.fault.is_some() || is_complete {
            return;
        }
        let n_chunks = reading.chunks.len();
        reading.fault = Some(match broken {
            Some(failure) => failure,
            None if reading.n_events == 0
                && !self.sample.is_empty()
                && self.decoder.n_comments() == 0 =>
            {
                failure(
                    FailureKind::Protocol,
                    not_a_stream("events", &self.sample, redactor),
                )
            }
            None => failure(
                FailureKind::Truncated,
                format!(
                    "the stream ended after {n_chunks} chunks without a finish reason, usage or [DONE]: \
                     see the server's log"
                ),
            ),
        });
    }

    /// The request has ended. `stopped` is why it was broken off from outside or never got so far; it
    /// does not count against an answer that was complete already.
    pub(crate) fn into_exchange(mut self, now: Duration, stopped: Option<Failure>) -> Exchange {
        if let Some(since) = self.dialing_since {
            self.timeline.dial = now.saturating_sub(since);
            self.timeline.is_unsent = true;
        }
        self.timeline.finished = self.ended_at.unwrap_or(now);
        let reading = self.reading;
        let mut outcome = reading.fault.or(stopped.filter(|_| !reading.is_done));
        if outcome.is_none() && reading.chunks.is_empty() {
            let message = match reading.usage.completion_tokens {
                Some(n) if n > 0 => {
                    format!("the answer is complete but its {n} tokens hold no text")
                }
                _ => "the answer is complete but holds no token".to_owned(),
            };
            outcome = Some(failure(FailureKind::Empty, message));
        }
        self.timeline.chunks = reading.chunks;
        Exchange {
            timeline: self.timeline,
            usage: reading.usage,
            text: reading.text,
            failure: outcome.map(|failure| Failure {
                status: self.status,
                ..failure
            }),
        }
    }
}

impl Reading {
    fn event(&mut self, at: Duration, event: SseEvent<'_>, redactor: &Redactor) {
        self.n_events += 1;
        if self.is_done || self.fault.is_some() {
            return;
        }
        if event.data == DONE {
            self.is_done = true;
            return;
        }
        if event.name == b"error" {
            self.fault = Some(reported_error(event.data, redactor));
            return;
        }
        if event.data.is_empty() {
            return;
        }
        if let Some(text) = self.likeness.text_of(event.data) {
            self.text.push_str(text);
            self.stamp(at, text.len());
            return;
        }
        self.read_in_full(at, event.data, redactor);
    }

    fn stamp(&mut self, at: Duration, text_bytes: usize) {
        self.chunks.push(ChunkStamp {
            at,
            text_bytes: u32::try_from(text_bytes).unwrap_or(u32::MAX),
        });
    }

    fn read_in_full(&mut self, at: Duration, data: &[u8], redactor: &Redactor) {
        let chunk: Chunk<'_> = match serde_json::from_slice(data) {
            Ok(chunk) => chunk,
            Err(error) => {
                self.fault = Some(unreadable(data, &error, redactor));
                return;
            }
        };
        if chunk.is_error() {
            self.fault = Some(reported_error(data, redactor));
            return;
        }
        let (mut text_bytes, mut n_texts, mut n_choices) = (0, 0, 0);
        let mut is_finished = false;
        for choice in chunk.choices.iter().flat_map(Choices::iter) {
            n_choices += 1;
            choice.output(|text| {
                self.text.push_str(text);
                text_bytes += text.len();
                n_texts += 1;
            });
            is_finished |= choice.is_finished();
        }
        self.is_finished |= is_finished;
        if text_bytes > 0 {
            self.stamp(at, text_bytes);
        }
        if n_choices == 1 && n_texts == 1 && !is_finished && chunk.usage.is_none() {
            // Only output changes the state: that of the next event can be taken without the rest.
            for choice in chunk.choices.iter().flat_map(Choices::iter) {
                choice.output(|text| self.likeness.learn(data, text));
            }
        }
        if let Some(usage) = chunk.usage {
            self.usage = Usage::from(usage);
            self.has_usage |= chunk
                .choices
                .is_none_or(|choices| choices.iter().next().is_none());
        }
    }
}

/// A failure without a status; the status of the head is added at the end.
pub(crate) fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure {
        kind,
        status: None,
        message: message.into(),
    }
}

/// What came in place of a stream of events.
pub(crate) fn not_a_stream(wanted: &str, body: &[u8], redactor: &Redactor) -> String {
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        if value.get("choices").is_some() {
            return "the server did not stream: it sent the whole completion at once, so no token has a \
                    time; a proxy may be buffering"
                .to_owned();
        }
        let said = excerpt::json_message(&value).unwrap_or_else(|| value.to_string());
        return format!(
            "the server sent JSON in place of {wanted}: {}",
            redactor.line(&said)
        );
    }
    let text = String::from_utf8_lossy(body);
    let said = redactor.line(&excerpt::plain_text(body));
    if excerpt::looks_like_html(&text) {
        format!(
            "the server sent a web page in place of {wanted}: is the endpoint an OpenAI API? it reads: {said}"
        )
    } else {
        format!("the server sent something else in place of {wanted}: {said}")
    }
}

fn reported_error(data: &[u8], redactor: &Redactor) -> Failure {
    let said = redactor.line(&excerpt::server_message(data));
    failure(
        FailureKind::Protocol,
        format!("the server reported an error in the stream: {said}"),
    )
}

fn unreadable(data: &[u8], error: &serde_json::Error, redactor: &Redactor) -> Failure {
    // An error object may be of any shape; its message says more than that it is no chunk.
    if let Ok(value) = serde_json::from_slice::<Value>(data)
        && value.get("error").is_some_and(|e| !e.is_null())
    {
        return reported_error(data, redactor);
    }
    let said = redactor.line(&String::from_utf8_lossy(data));
    failure(
        FailureKind::Protocol,
        format!("an event of the stream is not a chunk of a completion ({error}): {said}"),
    )
}

#[cfg(test)]
mod tests;

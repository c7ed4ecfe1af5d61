//! What an answer says: text, cache hit, tokens, and when the first of them came.
//!
//! Promise: pure, and run after the request has ended. A plain JSON answer has its first token when its
//! headers came, because nothing else is known; a streamed one (server-sent events or JSON lines, by
//! content type) when the first part with text came. Every answer that cannot be used is one
//! [`Failure`]; an empty text is an answer without tokens.

use std::time::Duration;

use core_client::plain::{Framing, PlainExchange, Record, records};
use metrics::timeline::{Failure, FailureKind};
use serde_json::{Map, Value};

use crate::args::StreamMode;

/// Content types of JSON lines.
const LINE_TYPES: [&str; 7] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/jsonlines",
    "application/json-lines",
    "application/stream+json",
];

/// Where the number of tokens comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenCount {
    /// The server said it.
    Reported,
    /// Parts of the stream that held text.
    Chunks,
    /// A quarter of the characters, as the original estimates.
    Estimated,
}

/// A usable answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// From the launch of the request to its first token.
    pub ttft: Duration,
    /// From the launch of the request to the end of the answer.
    pub latency: Duration,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// Where that number comes from.
    pub token_count: TokenCount,
    /// Whether the server answered from its cache.
    pub is_cached: bool,
    /// Whether it came as a stream.
    pub is_streamed: bool,
    /// Whether its text was empty.
    pub is_empty: bool,
}

impl Reply {
    /// Mean time between tokens, seconds, of a stream of several; the end of an answer in one piece says nothing of it.
    #[must_use]
    pub fn between_tokens(&self) -> Option<f64> {
        let n_gaps = self.output_tokens.checked_sub(1).filter(|n| *n > 0)?;
        let between = self.latency.saturating_sub(self.ttft);
        (self.is_streamed && !between.is_zero()).then(|| between.as_secs_f64() / n_gaps as f64)
    }
}

/// Everything that parts of an answer can say.
#[derive(Debug, Default)]
struct Said {
    text: String,
    first_text_at: Option<Duration>,
    n_chunks: u64,
    is_cached: bool,
    output_tokens: Option<u64>,
}

/// Reads the answer of a request. `excerpt` makes one line of what a server said.
///
/// # Errors
/// Why the request failed: the exchange's own failure, or an answer that means nothing.
pub fn read(
    exchange: &PlainExchange,
    mode: StreamMode,
    excerpt: impl Fn(&[u8]) -> String,
) -> Result<Reply, Failure> {
    if let Some(failure) = &exchange.failure {
        return Err(failure.clone());
    }
    let framing = match mode {
        StreamMode::Off => None,
        StreamMode::Auto => framing(exchange),
    };
    let mut said = Said::default();
    match framing {
        Some(framing) => {
            for record in records(&exchange.body, &exchange.frames, framing) {
                said.record(&record, framing, &excerpt)?;
            }
            if said.n_chunks == 0 {
                return Err(failure(
                    FailureKind::Empty,
                    "the stream ended without any text",
                ));
            }
        }
        None => match serde_json::from_slice(&exchange.body) {
            Ok(Value::Object(answer)) => said.object(&answer, None, &excerpt)?,
            Ok(other) => {
                return Err(failure(
                    FailureKind::Protocol,
                    format!("the answer is {} and not a JSON object", kind_of(&other)),
                ));
            }
            Err(_) => return Err(not_json(exchange, &excerpt)),
        },
    }
    let timeline = &exchange.timeline;
    let first_at = said
        .first_text_at
        .or(timeline.headers_at)
        .unwrap_or(timeline.finished);
    let is_empty = said.text.is_empty();
    let (output_tokens, token_count) = match (said.output_tokens, framing) {
        (Some(tokens), _) => (tokens, TokenCount::Reported),
        (None, Some(_)) => (said.n_chunks, TokenCount::Chunks),
        (None, None) => (estimated_tokens(&said.text), TokenCount::Estimated),
    };
    Ok(Reply {
        ttft: first_at.saturating_sub(timeline.launched),
        latency: timeline.finished.saturating_sub(timeline.launched),
        output_tokens: if is_empty { 0 } else { output_tokens },
        token_count,
        is_cached: said.is_cached,
        is_streamed: framing.is_some(),
        is_empty,
    })
}

/// The original's estimate, max(1, ⌊characters / 4⌋), but none for an empty text.
#[must_use]
pub fn estimated_tokens(text: &str) -> u64 {
    match text.chars().count() as u64 {
        0 => 0,
        n => (n / 4).max(1),
    }
}

/// How the parts of this answer follow each other; `None` when it is one document.
fn framing(exchange: &PlainExchange) -> Option<Framing> {
    if exchange.is_event_stream() {
        return Some(Framing::Events);
    }
    let content_type = exchange.content_type.as_deref().unwrap_or_default();
    LINE_TYPES.contains(&content_type).then_some(Framing::Lines)
}

impl Said {
    fn record(
        &mut self,
        record: &Record,
        framing: Framing,
        excerpt: &impl Fn(&[u8]) -> String,
    ) -> Result<(), Failure> {
        if record.data.is_empty() || record.data == b"[DONE]" {
            return Ok(());
        }
        if record.name == b"error" {
            return Err(reported_error(&excerpt(&record.data)));
        }
        match serde_json::from_slice(&record.data) {
            Ok(Value::Object(part)) => self.object(&part, Some(record.at), excerpt),
            Ok(Value::String(text)) => {
                self.text(&text, Some(record.at));
                Ok(())
            }
            _ if !record.is_ended => Err(failure(
                FailureKind::Truncated,
                format!(
                    "the stream broke off in the middle of a part, after {} parts with text",
                    self.n_chunks
                ),
            )),
            // Many small servers send the bare text of a token as an event. What begins like an object
            // was meant to be one.
            Ok(_) | Err(_) if framing == Framing::Events && record.data[0] != b'{' => {
                self.text(&String::from_utf8_lossy(&record.data), Some(record.at));
                Ok(())
            }
            _ => Err(failure(
                FailureKind::Protocol,
                format!(
                    "a part of the stream is no JSON object: {}",
                    excerpt(&record.data)
                ),
            )),
        }
    }

    /// A whole answer, or with `at` a part of a streamed one.
    fn object(
        &mut self,
        object: &Map<String, Value>,
        at: Option<Duration>,
        excerpt: &impl Fn(&[u8]) -> String,
    ) -> Result<(), Failure> {
        let error = object.get("error").filter(|error| !error.is_null());
        if let Some(error) = error.filter(|_| !object.contains_key("text")) {
            return Err(reported_error(&excerpt(error.to_string().as_bytes())));
        }
        match text_of(object, at.is_some()) {
            None => {}
            Some(Value::String(text)) => self.text(text, at),
            // The last part of a stream may well say that there is no more text.
            Some(Value::Null) if at.is_some() => {}
            Some(Value::Null) => {
                let message = "the answer has no text: \"text\" is null";
                return Err(failure(FailureKind::Empty, message));
            }
            Some(other) => {
                let message = format!("\"text\" is {} and not a string", kind_of(other));
                return Err(failure(FailureKind::Protocol, message));
            }
        }
        if let Some(cached) = object.get("cached") {
            self.is_cached = is_hit(cached);
        }
        let usage = object.get("usage");
        let counts = [
            object.get("output_tokens"),
            object.get("completion_tokens"),
            usage.and_then(|usage| usage.get("completion_tokens")),
        ];
        let count = counts.into_iter().flatten().find_map(Value::as_u64);
        self.output_tokens = count.or(self.output_tokens);
        Ok(())
    }

    fn text(&mut self, text: &str, at: Option<Duration>) {
        if text.is_empty() {
            return;
        }
        self.text.push_str(text);
        self.n_chunks += 1;
        self.first_text_at = self.first_text_at.or(at);
    }
}

/// The text of an answer or of a part of one. `text` is what this API has; in streams the names that
/// other servers give to the next piece of text are understood too.
fn text_of(object: &Map<String, Value>, is_part: bool) -> Option<&Value> {
    if !is_part || object.contains_key("text") {
        return object.get("text");
    }
    let choice = object.get("choices").and_then(|choices| choices.get(0));
    if let Some(choice) = choice {
        let delta = choice.get("delta").and_then(|delta| delta.get("content"));
        return choice.get("text").or(delta);
    }
    match object.get("token") {
        Some(Value::Object(token)) => token.get("text"),
        Some(token @ Value::String(_)) => Some(token),
        _ => ["delta", "content", "response"]
            .into_iter()
            .find_map(|name| object.get(name)),
    }
}

/// Whether `cached` says yes: true, a number other than 0, or one of a few words. Any other word, such as
/// `"false"`, says no.
fn is_hit(cached: &Value) -> bool {
    match cached {
        Value::Bool(cached) => *cached,
        Value::Number(n) => n.as_f64().is_some_and(|n| n.abs() > 0.0),
        Value::String(word) => {
            let word = word.trim();
            ["true", "hit", "1"]
                .iter()
                .any(|yes| word.eq_ignore_ascii_case(yes))
        }
        _ => false,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn not_json(exchange: &PlainExchange, excerpt: &impl Fn(&[u8]) -> String) -> Failure {
    if exchange.body.trim_ascii().is_empty() {
        return failure(FailureKind::Empty, "the answer has no body");
    }
    let content_type = match exchange.content_type.as_deref() {
        Some("text/html") => "a web page".to_owned(),
        Some(other) => format!("something of the type {}", excerpt(other.as_bytes())),
        None => "something without a content type".to_owned(),
    };
    let said = excerpt(&exchange.body);
    failure(
        FailureKind::Protocol,
        format!("the server sent {content_type} in place of JSON: {said}"),
    )
}

fn reported_error(said: &str) -> Failure {
    failure(
        FailureKind::Protocol,
        format!("the server reported an error: {said}"),
    )
}

fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure {
        kind,
        status: None,
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;

//! A stream of tokens as server-sent events, in the shapes that vLLM sends.
//!
//! Promises: a role-only chunk with empty content first (chat), sent with the first token; one chunk per
//! token; the finish reason on the last of them; usage in a chunk without choices; `[DONE]`. Faults that
//! concern the stream are acted out here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use super::body::Step;
use super::response::Keeper;
use crate::config::UsageForm;
use crate::fault::FaultKind;
use crate::model::Usage;
use crate::service::{FinishReason, SimEvent};

/// Between two halves of an event, so that they arrive as two reads and not as one; and before a cut, which
/// would otherwise take what is still in hyper's buffer with it.
pub(super) const APART: Duration = Duration::from_millis(3);

/// What [`FaultKind::SplitUtf8`] writes behind each word: characters of two, three and four bytes.
const MULTI_BYTE: &str = "é東😀";

/// Which API the chunks belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Chat,
    Completions,
    /// `/generate`: `text`, `cached` and `output_tokens`; a stream of it as server-sent events.
    GenerateEvents,
    /// The same, a stream of it as one JSON object a line.
    GenerateLines,
}

impl Shape {
    /// Whether this is `/generate`, the one that is no OpenAI API.
    pub(super) const fn is_generate(self) -> bool {
        matches!(self, Self::GenerateEvents | Self::GenerateLines)
    }

    /// Content type of a stream.
    pub(super) const fn stream_type(self) -> &'static str {
        match self {
            Self::GenerateLines => "application/x-ndjson",
            // As vLLM sends it.
            _ => "text/event-stream; charset=utf-8",
        }
    }

    /// What begins a record of a stream.
    const fn record_start(self) -> &'static str {
        match self {
            Self::GenerateLines => "",
            _ => "data: ",
        }
    }

    /// What ends a record of a stream.
    const fn record_end(self) -> &'static str {
        match self {
            Self::GenerateLines => "\n",
            _ => "\n\n",
        }
    }

    /// What ends a stream.
    pub(super) const fn stream_end(self) -> &'static str {
        match self {
            Self::GenerateLines => "",
            _ => "data: [DONE]\n\n",
        }
    }

    /// A whole record of a stream.
    pub(super) fn record(self, value: &Value) -> Bytes {
        Bytes::from(format!(
            "{}{value}{}",
            self.record_start(),
            self.record_end()
        ))
    }

    /// What stands before the token's text, behind the chunk's common head.
    const fn before_text(self) -> &'static str {
        match self {
            Self::Chat => r#""choices":[{"index":0,"delta":{"content":"#,
            Self::Completions => r#""choices":[{"index":0,"text":"#,
            Self::GenerateEvents | Self::GenerateLines => r#""text":"#,
        }
    }

    /// What stands behind the token's text, up to the finish reason's value.
    const fn after_text(self) -> &'static str {
        match self {
            Self::Chat => r#"},"logprobs":null,"finish_reason":"#,
            Self::Completions => r#","logprobs":null,"finish_reason":"#,
            Self::GenerateEvents | Self::GenerateLines => "",
        }
    }

    pub(super) const fn id_prefix(self) -> &'static str {
        match self {
            Self::Chat => "chatcmpl",
            Self::Completions => "cmpl",
            Self::GenerateEvents | Self::GenerateLines => "gen",
        }
    }

    const fn chunk_object(self) -> &'static str {
        match self {
            Self::Chat => "chat.completion.chunk",
            Self::Completions | Self::GenerateEvents | Self::GenerateLines => "text_completion",
        }
    }

    const fn object(self) -> &'static str {
        match self {
            Self::Chat => "chat.completion",
            Self::Completions | Self::GenerateEvents | Self::GenerateLines => "text_completion",
        }
    }
}

/// What all chunks of a response have in common.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) shape: Shape,
    pub(super) id: String,
    /// Unix time in seconds.
    pub(super) created: u64,
    pub(super) model: String,
}

impl Head {
    fn object(&self, object: &str) -> serde_json::Map<String, Value> {
        if self.shape.is_generate() {
            return serde_json::Map::new();
        }
        let value =
            json!({"id": self.id, "object": object, "created": self.created, "model": self.model});
        match value {
            Value::Object(map) => map,
            _ => serde_json::Map::new(),
        }
    }

    /// A whole, unstreamed response.
    pub(super) fn whole(&self, text: &str, finish: FinishReason, usage: Option<Value>) -> Value {
        if self.shape.is_generate() {
            return generate_json(
                text,
                false,
                usage.and_then(|u| u["completion_tokens"].as_u64()),
            );
        }
        let mut map = self.object(self.shape.object());
        let choice = match self.shape {
            Shape::Chat => json!({
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "logprobs": null,
                "finish_reason": finish.as_str(),
                "stop_reason": null,
            }),
            Shape::Completions => json!({
                "index": 0,
                "text": text,
                "logprobs": null,
                "finish_reason": finish.as_str(),
                "stop_reason": null,
            }),
            Shape::GenerateEvents | Shape::GenerateLines => Value::Null,
        };
        map.insert("choices".to_owned(), json!([choice]));
        map.insert("system_fingerprint".to_owned(), json!(FINGERPRINT));
        if let Some(usage) = usage {
            map.insert("usage".to_owned(), usage);
        }
        Value::Object(map)
    }
}

/// An answer of `/generate`, or a record of its stream; the count is left out where usage is not reported.
pub(super) fn generate_json(text: &str, cached: bool, output_tokens: Option<u64>) -> Value {
    let mut value = json!({"text": text, "cached": cached});
    if let Some(tokens) = output_tokens {
        value["output_tokens"] = json!(tokens);
    }
    value
}

/// What stands for the server's version in responses.
const FINGERPRINT: &str = concat!("kv-cache-sim-", env!("CARGO_PKG_VERSION"));

/// Usage as the server reports it in this form; `None` where it keeps silent.
pub(super) fn usage_json(form: UsageForm, usage: &Usage) -> Option<Value> {
    let details = match form {
        UsageForm::Missing => return None,
        UsageForm::Full | UsageForm::FinalOnly => json!({"cached_tokens": usage.cached_tokens}),
        UsageForm::Null => Value::Null,
        UsageForm::ZeroCached => json!({"cached_tokens": 0}),
    };
    Some(json!({
        "prompt_tokens": usage.prompt_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "completion_tokens": usage.completion_tokens,
        "prompt_tokens_details": details,
    }))
}

/// An error object as the API writes it.
pub(super) fn error_json(status: u16, kind: &str, param: Option<&str>, message: &str) -> Value {
    json!({"error": {"message": message, "type": kind, "param": param, "code": status}})
}

/// Writes a request's events as chunks.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    head: Head,
    /// `data: {"id":…,"model":…,` up to where the choices begin.
    head_bytes: Bytes,
    include_usage: bool,
    usage: UsageForm,
    fault: Option<FaultKind>,
    finish: FinishReason,
    output_tokens: u32,
    /// The text chunk that waits for the usage that rides on it.
    last: Option<Arc<str>>,
    /// An event that waits for the one it shares a frame with.
    held: Option<Bytes>,
    /// The stream has ended early on purpose.
    over: bool,
    /// Keeps the answer for the next request of its kind.
    keeper: Option<Keeper>,
}

impl ChunkWriter {
    pub(super) fn new(
        head: Head,
        include_usage: bool,
        usage: UsageForm,
        fault: Option<FaultKind>,
        finish: FinishReason,
        output_tokens: u32,
    ) -> Self {
        let map = Value::Object(head.object(head.shape.chunk_object())).to_string();
        let open = map.strip_suffix('}').unwrap_or(&map);
        let comma = if head.shape.is_generate() { "" } else { "," };
        let start = head.shape.record_start();
        Self {
            head_bytes: Bytes::from(format!("{start}{open}{comma}")),
            head,
            include_usage: include_usage && fault != Some(FaultKind::NoUsage),
            usage,
            fault,
            finish,
            output_tokens,
            last: None,
            held: None,
            over: false,
            keeper: None,
        }
    }

    /// Keeps the answer when it is complete.
    pub(super) fn keeping(mut self, keeper: Option<Keeper>) -> Self {
        self.keeper = keeper;
        self
    }

    /// Appends what `event` sends.
    pub(super) fn write(&mut self, event: SimEvent, steps: &mut VecDeque<Step>) {
        if self.over {
            return;
        }
        match event {
            SimEvent::Token { text, position, .. } => self.token(text, position, steps),
            SimEvent::Done { usage, .. } => self.done(&usage, steps),
        }
    }

    fn token(&mut self, text: Arc<str>, position: u32, steps: &mut VecDeque<Step>) {
        if let Some(keeper) = &mut self.keeper {
            keeper.push(&text);
        }
        if position == 0 {
            if self.head.shape == Shape::Chat {
                let choice = json!([{
                    "index": 0,
                    "delta": {"role": "assistant", "content": ""},
                    "logprobs": null,
                    "finish_reason": null,
                }]);
                self.event(&format!("\"choices\":{choice}"), steps);
            }
            self.interrupt(0, steps);
        }
        if self.over || self.fault == Some(FaultKind::Empty) {
            return;
        }
        let is_last = position + 1 == self.output_tokens;
        let rides = !self.head.shape.is_generate() && self.include_usage;
        if is_last && rides && self.usage == UsageForm::FinalOnly {
            self.last = Some(text);
            return;
        }
        self.text(&text, is_last, "", steps);
        self.interrupt(position + 1, steps);
    }

    fn done(&mut self, usage: &Usage, steps: &mut VecDeque<Step>) {
        if let Some(keeper) = self.keeper.take() {
            keeper.keep();
        }
        if self.head.shape.is_generate() {
            return self.generate_done(usage, steps);
        }
        let report = usage_json(self.usage, usage).filter(|_| self.include_usage);
        if self.fault == Some(FaultKind::Empty) {
            let choice = match self.head.shape {
                Shape::Chat => json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]),
                _ => json!([{"index": 0, "text": "", "finish_reason": "stop"}]),
            };
            self.event(&format!("\"choices\":{choice}"), steps);
        }
        match (self.last.take(), report) {
            (Some(text), Some(report)) => {
                self.text(&text, true, &format!(",\"usage\":{report}"), steps)
            }
            (None, Some(report)) => {
                let rest = format!(
                    "\"choices\":[],\"usage\":{report},\"system_fingerprint\":\"{FINGERPRINT}\""
                );
                self.event(&rest, steps);
            }
            (_, None) => {}
        }
        if self.fault != Some(FaultKind::NoDone) {
            self.frame(Bytes::from_static(b"data: [DONE]\n\n"), None, steps);
        }
        if let Some(held) = self.held.take() {
            steps.push_back(Step::Data(held));
        }
    }

    /// The end of a stream of `/generate`: a record without text that says what is known now.
    fn generate_done(&mut self, usage: &Usage, steps: &mut VecDeque<Step>) {
        let shape = self.head.shape;
        let report = usage_json(self.usage, usage).filter(|_| self.include_usage);
        let tokens = report.map(|_| usage.completion_tokens);
        self.frame(shape.record(&generate_json("", false, tokens)), None, steps);
        if self.fault != Some(FaultKind::NoDone) && !shape.stream_end().is_empty() {
            self.frame(Bytes::from(shape.stream_end()), None, steps);
        }
        if let Some(held) = self.held.take() {
            steps.push_back(Step::Data(held));
        }
    }

    /// A chunk with text: built by hand, because it is the one that is sent thousands of times a second.
    fn text(&mut self, text: &str, is_last: bool, extra: &str, steps: &mut VecDeque<Step>) {
        let shape = self.head.shape;
        let marked =
            (self.fault == Some(FaultKind::SplitUtf8)).then(|| format!("{text}{MULTI_BYTE}"));
        let text = marked.as_deref().unwrap_or(text);
        let mut bytes = BytesMut::with_capacity(self.head_bytes.len() + text.len() + 160);
        bytes.put_slice(&self.head_bytes);
        bytes.put_slice(shape.before_text().as_bytes());
        put_json_string(&mut bytes, text);
        bytes.put_slice(shape.after_text().as_bytes());
        if !shape.is_generate() {
            if is_last {
                put_json_string(&mut bytes, self.finish.as_str());
            } else {
                bytes.put_slice(b"null");
            }
            if is_last || shape == Shape::Completions {
                bytes.put_slice(br#","stop_reason":null"#);
            }
            bytes.put_slice(br#","token_ids":null}]"#);
        }
        bytes.put_slice(extra.as_bytes());
        bytes.put_slice(b"}");
        bytes.put_slice(shape.record_end().as_bytes());
        let bytes = bytes.freeze();
        // The first multi-byte character's second byte.
        let inside = marked
            .and_then(|_| bytes.iter().position(|byte| *byte >= 0x80))
            .map(|at| at + 1);
        self.frame(bytes, inside, steps);
    }

    /// An event whose JSON goes on with `rest` behind the common head.
    fn event(&mut self, rest: &str, steps: &mut VecDeque<Step>) {
        let mut bytes = BytesMut::with_capacity(self.head_bytes.len() + rest.len() + 3);
        bytes.put_slice(&self.head_bytes);
        bytes.put_slice(rest.as_bytes());
        bytes.put_slice(b"}\n\n");
        self.frame(bytes.freeze(), None, steps);
    }

    /// Sends an event's bytes in the frames that the fault asks for; `inside` is a place within a character.
    fn frame(&mut self, bytes: Bytes, inside: Option<usize>, steps: &mut VecDeque<Step>) {
        match self.fault {
            Some(FaultKind::Joined) => match self.held.take() {
                None => self.held = Some(bytes),
                Some(held) => {
                    let mut both = BytesMut::with_capacity(held.len() + bytes.len());
                    both.put_slice(&held);
                    both.put_slice(&bytes);
                    steps.push_back(Step::Data(both.freeze()));
                }
            },
            Some(FaultKind::Split) => split_at(&bytes, bytes.len() / 2, steps),
            Some(FaultKind::SplitUtf8) if inside.is_some() => {
                split_at(&bytes, inside.unwrap_or_default(), steps);
            }
            Some(FaultKind::Drip) => {
                steps.extend((0..bytes.len()).map(|at| Step::Data(bytes.slice(at..=at))));
            }
            _ => steps.push_back(Step::Data(bytes)),
        }
    }

    /// Acts out what happens after `tokens` tokens.
    fn interrupt(&mut self, tokens: u32, steps: &mut VecDeque<Step>) {
        match self.fault {
            Some(FaultKind::Cut { tokens: at }) if at == tokens => {
                steps.extend([Step::Pause(APART), Step::Abort]);
                self.over = true;
            }
            Some(FaultKind::Stall { tokens: at, pause }) if at == tokens => {
                steps.push_back(pause.map_or(Step::Forever, Step::Pause));
            }
            Some(FaultKind::ErrorEvent { tokens: at }) if at == tokens => {
                let error = error_json(
                    500,
                    "InternalServerError",
                    None,
                    "the engine failed (on purpose)",
                );
                let shape = self.head.shape;
                steps.push_back(Step::Data(shape.record(&error)));
                if !shape.stream_end().is_empty() {
                    steps.push_back(Step::Data(Bytes::from(shape.stream_end())));
                }
                self.over = true;
            }
            _ => {}
        }
    }
}

fn split_at(bytes: &Bytes, at: usize, steps: &mut VecDeque<Step>) {
    steps.extend([
        Step::Data(bytes.slice(..at)),
        Step::Pause(APART),
        Step::Data(bytes.slice(at..)),
    ]);
}

fn put_json_string(bytes: &mut BytesMut, text: &str) {
    if text
        .bytes()
        .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
    {
        bytes.put_u8(b'"');
        bytes.put_slice(text.as_bytes());
        bytes.put_u8(b'"');
    } else {
        bytes.put_slice(Value::from(text).to_string().as_bytes());
    }
}

//! Answers as JSON: whole ones, errors, usage, and what all chunks of a stream have in common.
//!
//! [`writer`] writes streams.

pub(super) mod writer;

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use crate::config::UsageForm;
use crate::form::StreamForms;
use crate::model::{EngineConfig, Usage};
use crate::service::FinishReason;

/// Between two halves of an event, so that they arrive as two reads and not as one; and before a cut, which
/// would otherwise take what is still in hyper's buffer with it.
pub(super) const APART: Duration = Duration::from_millis(3);

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
    /// The function that the answer calls, if it is a tool call.
    pub(super) tool: Option<String>,
    /// Of the output's tokens, those that are sent as reasoning.
    pub(super) reasoning_tokens: Option<u32>,
}

/// The parts of an output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// What was thought first.
    pub(super) reasoning: String,
    /// The answer, or the words that a tool is called with.
    pub(super) answer: String,
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
    pub(super) fn whole(
        &self,
        parts: &Parts,
        forms: &StreamForms,
        finish: FinishReason,
        usage: Option<Value>,
        extension: Option<Value>,
    ) -> Value {
        if self.shape.is_generate() {
            let tokens = usage.and_then(|usage| usage["completion_tokens"].as_u64());
            return generate_json(&parts.answer, false, tokens);
        }
        let mut map = self.object(self.shape.object());
        let mut choice = match self.shape {
            Shape::Chat => json!({"index": 0, "message": self.message(parts, forms)}),
            _ => json!({"index": 0, "text": parts.answer}),
        };
        choice["logprobs"] = Value::Null;
        choice["finish_reason"] = json!(self.finish(finish));
        choice["stop_reason"] = Value::Null;
        map.insert("choices".to_owned(), json!([choice]));
        map.insert("system_fingerprint".to_owned(), json!(FINGERPRINT));
        if let Some(usage) = usage {
            map.insert("usage".to_owned(), usage);
        }
        if let Some(extension) = extension {
            map.insert("sglext".to_owned(), extension);
        }
        Value::Object(map)
    }

    fn message(&self, parts: &Parts, forms: &StreamForms) -> Value {
        let mut message = json!({"role": "assistant", "content": parts.answer});
        if let Some(tool) = &self.tool {
            message["content"] = Value::Null;
            message["tool_calls"] = json!([{
                "id": self.tool_call_id(),
                "type": "function",
                "function": {
                    "name": tool,
                    "arguments": format!("{TOOL_OPENS}{}{TOOL_CLOSES}", parts.answer),
                },
            }]);
        }
        if let Some(reasoning) = forms.reasoning {
            message[reasoning.field.as_str()] = json!(parts.reasoning);
        }
        message
    }

    fn tool_call_id(&self) -> String {
        format!("call_{}", self.id)
    }

    /// The finish reason as the API writes it: a tool call that is complete has its own.
    fn finish(&self, finish: FinishReason) -> &'static str {
        if self.tool.is_some() {
            "tool_calls"
        } else {
            finish.as_str()
        }
    }
}

/// What stands before and behind the words in a tool call's arguments.
const TOOL_OPENS: &str = "{\"words\":\"";
const TOOL_CLOSES: &str = "\"}";

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
pub(super) fn usage_json(form: UsageForm, usage: &Usage, reasoning: Option<u32>) -> Option<Value> {
    let details = match form {
        UsageForm::Missing => return None,
        UsageForm::Full | UsageForm::FinalOnly => json!({"cached_tokens": usage.cached_tokens}),
        UsageForm::Null => Value::Null,
        UsageForm::ZeroCached => json!({"cached_tokens": 0}),
    };
    let mut report = json!({
        "prompt_tokens": usage.prompt_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "completion_tokens": usage.completion_tokens,
        "prompt_tokens_details": details,
    });
    if let Some(tokens) = reasoning {
        report["completion_tokens_details"] = json!({"reasoning_tokens": tokens});
    }
    Some(report)
}

/// SGLang's split of the cached tokens: the first tier is its device, the second its host memory, all others
/// its storage.
pub(super) fn cached_split(engine: &EngineConfig, usage: &Usage) -> Value {
    let mut split = json!({
        "device": usage.cached_by_tier.first().unwrap_or(&0),
        "host": usage.cached_by_tier.get(1).unwrap_or(&0),
    });
    if let Some(tier) = engine.tiers.get(2) {
        split["storage"] = json!(usage.cached_by_tier.iter().skip(2).sum::<u64>());
        split["storage_backend"] = json!(tier.name);
    }
    split
}

/// The same as it stands in an answer; `None` where usage is silent about cached tokens.
pub(super) fn extension(form: UsageForm, engine: &EngineConfig, usage: &Usage) -> Option<Value> {
    match form {
        UsageForm::Full | UsageForm::FinalOnly => {
            Some(json!({"cached_tokens_details": cached_split(engine, usage)}))
        }
        UsageForm::Null | UsageForm::Missing | UsageForm::ZeroCached => None,
    }
}

/// An error object as the API writes it.
pub(super) fn error_json(status: u16, kind: &str, param: Option<&str>, message: &str) -> Value {
    json!({"error": {"message": message, "type": kind, "param": param, "code": status}})
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

//! Request bodies as clients send them, and what they mean here.
//!
//! Refuses what the simulator cannot do (several answers, unknown models) with the error objects that real
//! servers send, and ignores what makes no difference (temperature and the like).

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::chunk::{Shape, error_json};
use crate::prompt::{Message, SimPrompt};
use crate::service::SimRequest;

/// An error answer.
#[derive(Debug, PartialEq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    kind: &'static str,
    param: Option<&'static str>,
    message: String,
}

impl ApiError {
    pub(super) fn bad_request(param: Option<&'static str>, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "BadRequestError",
            param,
            message: message.into(),
        }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "NotFoundError",
            param: None,
            message: message.into(),
        }
    }

    /// An error of this status, with the kind that belongs to it.
    pub(super) fn of_status(status: StatusCode, message: impl Into<String>) -> Self {
        let kind = match status.as_u16() {
            400 => "BadRequestError",
            401 => "AuthenticationError",
            403 => "PermissionDeniedError",
            404 => "NotFoundError",
            405 => "MethodNotAllowedError",
            413 => "PayloadTooLargeError",
            429 => "RateLimitError",
            503 => "ServiceUnavailableError",
            500..=599 => "InternalServerError",
            _ => "APIError",
        };
        Self {
            status,
            kind,
            param: None,
            message: message.into(),
        }
    }

    pub(super) fn json(&self) -> Value {
        error_json(self.status.as_u16(), self.kind, self.param, &self.message)
    }
}

/// A request for generated text, understood.
#[derive(Debug, PartialEq)]
pub(super) struct Generation {
    pub(super) request: SimRequest,
    pub(super) model: Option<String>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    /// SGLang's split of the cached tokens is asked for.
    pub(super) cached_split: bool,
    /// The first tool that was offered.
    pub(super) tool: Option<String>,
    /// Options that were given but do nothing.
    pub(super) ignored: Vec<&'static str>,
}

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    messages: Option<Vec<RawMessage>>,
    prompt: Option<Value>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    min_tokens: Option<i64>,
    ignore_eos: Option<bool>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<i64>,
    stop: Option<Value>,
    tools: Option<Value>,
    return_cached_tokens_details: Option<bool>,
}

#[derive(Deserialize)]
struct RawMessage {
    role: String,
    content: Option<Value>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// Reads a body, which must be a JSON object. (Serde would take a list of the fields' values as well.)
fn parse_object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::bad_request(
            None,
            "cannot read the request: its body is no JSON object",
        ));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::bad_request(None, format!("cannot read the request: {error}")))
}

/// Reads a generation request.
pub(super) fn parse_generation(shape: Shape, bytes: &[u8]) -> Result<Generation, ApiError> {
    let body: Body = parse_object(bytes)?;
    if body.n.is_some_and(|n| n != 1) {
        return Err(ApiError::bad_request(Some("n"), "only n=1 is simulated"));
    }
    let prompt = match shape {
        Shape::Chat => SimPrompt::Chat(messages(body.messages)?),
        Shape::Completions => completion_prompt(body.prompt)?,
        Shape::GenerateEvents | Shape::GenerateLines => match body.prompt {
            Some(Value::String(text)) => SimPrompt::Text(text),
            _ => {
                let message = "prompt must be a text";
                return Err(ApiError::bad_request(Some("prompt"), message));
            }
        },
    };
    let asked = body.max_completion_tokens.or(body.max_tokens);
    let max_tokens = asked
        .map(|tokens| {
            if tokens < 1 {
                let message = format!("max_tokens must be at least 1, got {tokens}");
                return Err(ApiError::bad_request(Some("max_tokens"), message));
            }
            // More than 32 bits is too long for any context, which is said where that is known.
            Ok(u32::try_from(tokens).unwrap_or(u32::MAX))
        })
        .transpose()?;
    let min_tokens = body.min_tokens.unwrap_or(0);
    let most = max_tokens.map_or(i64::from(u32::MAX), i64::from);
    if !(0..=most).contains(&min_tokens) {
        let message = format!("min_tokens must be between 0 and max_tokens, got {min_tokens}");
        return Err(ApiError::bad_request(Some("min_tokens"), message));
    }
    let min_tokens = u32::try_from(min_tokens).unwrap_or(u32::MAX);
    let stop_given = body.stop.is_some_and(|stop| !stop.is_null());
    Ok(Generation {
        request: SimRequest {
            prompt,
            max_tokens,
            ignore_eos: body.ignore_eos.unwrap_or(false),
            min_tokens,
        },
        model: body.model,
        stream: body.stream.unwrap_or(false),
        include_usage: body
            .stream_options
            .and_then(|o| o.include_usage)
            .unwrap_or(false),
        cached_split: body.return_cached_tokens_details.unwrap_or(false),
        tool: body
            .tools
            .as_ref()
            .and_then(|tools| tools.pointer("/0/function/name")?.as_str())
            .map(str::to_owned),
        ignored: if stop_given { vec!["stop"] } else { vec![] },
    })
}

fn messages(raw: Option<Vec<RawMessage>>) -> Result<Vec<Message>, ApiError> {
    let raw = raw.unwrap_or_default();
    if raw.is_empty() {
        return Err(ApiError::bad_request(
            Some("messages"),
            "at least one message is needed",
        ));
    }
    raw.into_iter()
        .map(|message| {
            Ok(Message {
                role: message.role,
                content: content(message.content)?,
            })
        })
        .collect()
}

/// A message's text: a string, or the text parts of a list, or nothing (an assistant's tool call).
fn content(value: Option<Value>) -> Result<String, ApiError> {
    let unusable = || {
        ApiError::bad_request(
            Some("messages"),
            "content must be text or a list of text parts",
        )
    };
    match value {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(Value::Array(parts)) => parts
            .iter()
            .map(|part| {
                part.get("text")
                    .and_then(Value::as_str)
                    .ok_or_else(unusable)
            })
            .collect(),
        Some(_) => Err(unusable()),
    }
}

/// `/v1/completions` takes text or token ids, each also as a list of one.
fn completion_prompt(value: Option<Value>) -> Result<SimPrompt, ApiError> {
    let unusable = || {
        ApiError::bad_request(
            Some("prompt"),
            "prompt must be one text or one list of token ids",
        )
    };
    match value {
        Some(Value::String(text)) => Ok(SimPrompt::Text(text)),
        Some(Value::Array(mut items)) => match items.first() {
            Some(Value::Number(_)) => ids(&items).map(SimPrompt::Ids).ok_or_else(unusable),
            Some(Value::String(_) | Value::Array(_)) if items.len() == 1 => {
                completion_prompt(items.pop())
            }
            _ => Err(unusable()),
        },
        _ => Err(unusable()),
    }
}

fn ids(items: &[Value]) -> Option<Vec<u32>> {
    items
        .iter()
        .map(|id| u32::try_from(id.as_u64()?).ok())
        .collect()
}

#[derive(Deserialize)]
struct TokenizeBody {
    prompt: Option<String>,
    messages: Option<Vec<RawMessage>>,
}

/// Reads a `/tokenize` request.
pub(super) fn parse_tokenize(bytes: &[u8]) -> Result<SimPrompt, ApiError> {
    let body: TokenizeBody = parse_object(bytes)?;
    match (body.prompt, body.messages) {
        (Some(text), _) => Ok(SimPrompt::Text(text)),
        (None, Some(raw)) => messages(Some(raw)).map(SimPrompt::Chat),
        (None, None) => Err(ApiError::bad_request(
            Some("prompt"),
            "prompt or messages is needed",
        )),
    }
}

#[derive(Deserialize)]
struct DetokenizeBody {
    tokens: Vec<u32>,
}

/// Reads a `/detokenize` request.
pub(super) fn parse_detokenize(bytes: &[u8]) -> Result<Vec<u32>, ApiError> {
    parse_object::<DetokenizeBody>(bytes).map(|body| body.tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shape: Shape, body: &str) -> Result<SimPrompt, String> {
        parse_generation(shape, body.as_bytes())
            .map(|generation| generation.request.prompt)
            .map_err(|error| error.message)
    }

    #[test]
    fn prompts_come_in_every_form_that_clients_use() {
        let text = SimPrompt::Text("hi".to_owned());
        let ids = SimPrompt::Ids(vec![1, 2]);
        for (body, expected) in [
            (r#"{"prompt":"hi"}"#, &text),
            (r#"{"prompt":["hi"]}"#, &text),
            (r#"{"prompt":[1,2]}"#, &ids),
            (r#"{"prompt":[[1,2]]}"#, &ids),
        ] {
            assert_eq!(
                check(Shape::Completions, body).as_ref(),
                Ok(expected),
                "{body}"
            );
        }
        let chat = SimPrompt::Chat(vec![Message {
            role: "user".to_owned(),
            content: "hi".to_owned(),
        }]);
        for body in [
            r#"{"messages":[{"role":"user","content":"hi"}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"h"},{"type":"text","text":"i"}]}]}"#,
        ] {
            assert_eq!(check(Shape::Chat, body).as_ref(), Ok(&chat), "{body}");
        }
    }

    #[test]
    fn what_cannot_be_simulated_is_refused_by_name() {
        for (shape, body, word) in [
            (Shape::Chat, "{", "cannot read"),
            (Shape::Chat, "{}", "message"),
            (
                Shape::Chat,
                r#"{"messages":[{"role":"user","content":7}]}"#,
                "content",
            ),
            (Shape::Completions, r#"{"prompt":["a","b"]}"#, "prompt"),
            (Shape::Completions, r#"{"prompt":[1,-2]}"#, "prompt"),
            (Shape::Completions, r#"{"prompt":"a","n":2}"#, "n=1"),
            (Shape::GenerateEvents, r#"{"prompt":["a"]}"#, "a text"),
            (
                Shape::Completions,
                r#"{"prompt":"a","max_tokens":0}"#,
                "max_tokens",
            ),
        ] {
            let error = check(shape, body).unwrap_err();
            assert!(error.contains(word), "{body}: {error}");
        }
    }
}

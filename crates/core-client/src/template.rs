//! The JSON of a request, written once per run around a hole for the prompt.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::body::RequestBody;
use crate::endpoint::EndpointType;

/// What all requests of a run have in common.
#[derive(Debug, Clone)]
pub struct RequestSettings {
    /// Model name as the server knows it.
    pub model: String,
    /// Tokens to ask for.
    pub output_tokens: u64,
    /// Adds `ignore_eos: true` and `min_tokens`, so that the answer has its full length.
    pub ignore_eos: bool,
    /// Keys put into every request; a key of ours is replaced in its place.
    pub extra_body: Option<Map<String, Value>>,
    /// Where the prompt goes: into `messages` or into `prompt`.
    pub endpoint_type: EndpointType,
}

/// Why a template cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A key that would replace the prompt or stop the stream.
    #[error("the extra body must not set {key:?}: {why}")]
    Reserved {
        /// The key.
        key: &'static str,
        /// What would go wrong.
        why: &'static str,
    },
}

/// Stands for the prompt while the JSON is written; any text without a character to escape serves,
/// because it is looked up at a place that is known and not by search.
const PROMPT_KEY_CHAT: &str = r#""messages":[{"role":"user","content":""#;
const PROMPT_KEY_COMPLETIONS: &str = r#""prompt":""#;

/// Most chunk stamps for which room is made ahead; longer answers grow their list.
const MAX_EXPECTED_CHUNKS: u64 = 1 << 16;

/// The JSON before and after the prompt. A body is the head, the prompt's parts and the tail; the
/// prompt is never copied.
#[derive(Debug, Clone)]
pub struct RequestTemplate {
    settings: RequestSettings,
    head: Bytes,
    tail: Bytes,
    expected_chunks: usize,
}

impl RequestTemplate {
    /// Writes the JSON with its keys in the order model, prompt, max_tokens, temperature, stream,
    /// stream_options, then ignore_eos and min_tokens if wanted, then the extra keys.
    ///
    /// # Errors
    /// When the extra body would replace the prompt or turn streaming off.
    pub fn new(settings: RequestSettings) -> Result<Self, TemplateError> {
        if let Some(extra) = &settings.extra_body {
            for key in ["messages", "prompt"] {
                if extra.contains_key(key) {
                    let why = "the prompt is what is measured";
                    return Err(TemplateError::Reserved { key, why });
                }
            }
            if extra.get("stream").is_some_and(|v| *v != Value::Bool(true)) {
                let why = "times are taken from the stream";
                return Err(TemplateError::Reserved { key: "stream", why });
            }
        }
        Ok(Self::write(settings))
    }

    /// The same request asking for one token: what a warm-up sends. Limits on the output that came
    /// with the extra body are lowered too.
    #[must_use]
    pub fn warmup(&self) -> Self {
        let mut settings = self.settings.clone();
        settings.output_tokens = 1;
        if let Some(extra) = &mut settings.extra_body {
            for key in ["max_tokens", "max_completion_tokens", "min_tokens"] {
                if let Some(value) = extra.get_mut(key) {
                    *value = json!(1);
                }
            }
        }
        Self::write(settings)
    }

    /// A body around a prompt given as parts of JSON-escaped text, as they would stand between quotes.
    #[must_use]
    pub fn body(&self, parts: &[Bytes]) -> RequestBody {
        let mut all = Vec::with_capacity(parts.len() + 2);
        all.push(self.head.clone());
        all.extend_from_slice(parts);
        all.push(self.tail.clone());
        RequestBody::new(all, self.expected_chunks)
    }

    /// A body around a prompt that is plain text, escaped here.
    #[must_use]
    pub fn body_from_text(&self, text: &str) -> RequestBody {
        let quoted = Value::from(text).to_string();
        let escaped = Bytes::from(quoted).slice(1..);
        let escaped = escaped.slice(..escaped.len() - 1);
        self.body(&[escaped])
    }

    /// What the template was made from.
    #[must_use]
    pub fn settings(&self) -> &RequestSettings {
        &self.settings
    }

    fn write(settings: RequestSettings) -> Self {
        let model = settings
            .extra_body
            .as_ref()
            .and_then(|extra| extra.get("model"));
        let model = model
            .cloned()
            .unwrap_or_else(|| Value::from(settings.model.as_str()));
        let prompt_key = match settings.endpoint_type {
            EndpointType::Chat => PROMPT_KEY_CHAT,
            EndpointType::Completions => PROMPT_KEY_COMPLETIONS,
        };
        let head = format!(r#"{{"model":{model},{prompt_key}"#);

        let mut rest = Map::new();
        rest.insert("max_tokens".into(), json!(settings.output_tokens));
        rest.insert("temperature".into(), json!(0));
        rest.insert("stream".into(), json!(true));
        rest.insert("stream_options".into(), json!({"include_usage": true}));
        if settings.ignore_eos {
            rest.insert("ignore_eos".into(), json!(true));
            rest.insert("min_tokens".into(), json!(settings.output_tokens));
        }
        for (key, value) in settings.extra_body.iter().flatten() {
            if key != "model" {
                rest.insert(key.clone(), value.clone());
            }
        }
        let closing = match settings.endpoint_type {
            EndpointType::Chat => r#""}],"#,
            EndpointType::Completions => r#"","#,
        };
        let rest = Value::Object(rest).to_string();
        let tail = format!("{closing}{}", &rest[1..]);

        let expected = rest_limit(&settings).min(MAX_EXPECTED_CHUNKS);
        Self {
            settings,
            head: Bytes::from(head),
            tail: Bytes::from(tail),
            expected_chunks: usize::try_from(expected).unwrap_or_default(),
        }
    }
}

/// Output tokens that the request really asks for.
fn rest_limit(settings: &RequestSettings) -> u64 {
    let extra = settings.extra_body.as_ref();
    ["max_completion_tokens", "max_tokens"]
        .into_iter()
        .find_map(|key| extra?.get(key)?.as_u64())
        .unwrap_or(settings.output_tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> RequestSettings {
        RequestSettings {
            model: "tiny \"1\"".into(),
            output_tokens: 256,
            ignore_eos: false,
            extra_body: None,
            endpoint_type: EndpointType::Chat,
        }
    }

    fn text(template: &RequestTemplate, parts: &[&'static str]) -> String {
        let parts: Vec<Bytes> = parts
            .iter()
            .map(|p| Bytes::from_static(p.as_bytes()))
            .collect();
        let body = template.body(&parts);
        let bytes = body.to_vec();
        assert_eq!(bytes.len() as u64, body.content_length());
        String::from_utf8(bytes).unwrap()
    }

    fn extra(value: Value) -> Option<Map<String, Value>> {
        value.as_object().cloned()
    }

    #[test]
    fn a_chat_request_has_its_keys_in_the_published_order() {
        let template = RequestTemplate::new(settings()).unwrap();
        assert_eq!(
            text(&template, &["Once\\n", " upon"]),
            r#"{"model":"tiny \"1\"","messages":[{"role":"user","content":"Once\n upon"}],"max_tokens":256,"temperature":0,"stream":true,"stream_options":{"include_usage":true}}"#
        );
    }

    #[test]
    fn a_completions_request_carries_the_prompt_as_a_string() {
        let template = RequestTemplate::new(RequestSettings {
            endpoint_type: EndpointType::Completions,
            ignore_eos: true,
            ..settings()
        })
        .unwrap();
        assert_eq!(
            text(&template, &["x"]),
            r#"{"model":"tiny \"1\"","prompt":"x","max_tokens":256,"temperature":0,"stream":true,"stream_options":{"include_usage":true},"ignore_eos":true,"min_tokens":256}"#
        );
    }

    #[test]
    fn extra_keys_replace_ours_in_place_and_follow_otherwise() {
        let template = RequestTemplate::new(RequestSettings {
            extra_body: extra(json!({"top_p": 0.5, "temperature": 0.7, "model": "m2"})),
            ..settings()
        })
        .unwrap();
        assert_eq!(
            text(&template, &["x"]),
            r#"{"model":"m2","messages":[{"role":"user","content":"x"}],"max_tokens":256,"temperature":0.7,"stream":true,"stream_options":{"include_usage":true},"top_p":0.5}"#
        );
    }

    #[test]
    fn the_prompt_and_the_stream_cannot_be_replaced() {
        for (value, key) in [
            (json!({"messages": []}), "messages"),
            (json!({"prompt": ""}), "prompt"),
            (json!({"stream": false}), "stream"),
        ] {
            let error = RequestTemplate::new(RequestSettings {
                extra_body: extra(value),
                ..settings()
            })
            .expect_err(key);
            assert!(error.to_string().contains(key), "{error}");
        }
    }

    #[test]
    fn a_warm_up_asks_for_one_token_whatever_the_extra_body_says() {
        let template = RequestTemplate::new(RequestSettings {
            ignore_eos: true,
            extra_body: extra(json!({"max_completion_tokens": 99, "min_tokens": 50})),
            ..settings()
        })
        .unwrap()
        .warmup();
        let sent: Value = serde_json::from_str(&text(&template, &["x"])).unwrap();
        for key in ["max_tokens", "max_completion_tokens", "min_tokens"] {
            assert_eq!(sent[key], json!(1), "{key}");
        }
    }

    #[test]
    fn plain_text_is_escaped_and_read_back_unchanged() {
        let template = RequestTemplate::new(settings()).unwrap();
        for prompt in ["", "a \"b\" \\ \n\t\u{1}", "grüße 世界 🙂"] {
            let body = template.body_from_text(prompt);
            let sent: Value = serde_json::from_slice(&body.to_vec()).unwrap();
            assert_eq!(sent["messages"][0]["content"], prompt);
        }
    }
}

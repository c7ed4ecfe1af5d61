//! One chunk of a streamed completion, as typed JSON that borrows from the event.
//!
//! Only what a measurement needs is read; everything else a server adds is skipped without being built.
//! Text is borrowed unless it holds an escape. The usual chunk with one choice allocates nothing.

use std::borrow::Cow;
use std::fmt;

use metrics::timeline::Usage;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, SeqAccess, Visitor};

/// A chunk of either API.
#[derive(Debug, Deserialize)]
pub(crate) struct Chunk<'a> {
    #[serde(borrow, default)]
    pub(crate) choices: Option<Choices<'a>>,
    #[serde(default)]
    pub(crate) usage: Option<UsageObject>,
    /// Present and not null: the server reports a failure in the stream.
    #[serde(default)]
    pub(crate) error: Option<IgnoredAny>,
    /// `"error"` in the flat error objects of some servers.
    #[serde(borrow, default)]
    pub(crate) object: Option<Text<'a>>,
}

impl Chunk<'_> {
    /// Whether this is an error in place of a chunk.
    pub(crate) fn is_error(&self) -> bool {
        self.error.is_some() || self.object.as_ref().is_some_and(|o| o.as_str() == "error")
    }
}

/// The choices of a chunk; one in practice, so the first lies in place.
#[derive(Debug, Default)]
pub(crate) struct Choices<'a> {
    first: Option<Choice<'a>>,
    more: Vec<Choice<'a>>,
}

impl<'a> Choices<'a> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Choice<'a>> {
        self.first.iter().chain(&self.more)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Choice<'a> {
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
}

impl Choice<'_> {
    /// Whether the server says that this choice is complete.
    pub(crate) fn is_finished(&self) -> bool {
        self.finish_reason
            .as_ref()
            .is_some_and(|r| !r.as_str().is_empty())
    }

    /// Hands every piece of the choice's output to `sink`: the content, else reasoning, else tool
    /// calls, else the text of the completions API. A piece is never empty.
    pub(crate) fn output(&self, mut sink: impl FnMut(&str)) {
        if let Some(delta) = &self.delta {
            let texts = [&delta.content, &delta.reasoning_content, &delta.reasoning];
            if let Some(text) = texts.into_iter().find_map(non_empty) {
                return sink(text);
            }
            let mut found = false;
            for function in delta
                .tool_calls
                .iter()
                .flatten()
                .filter_map(|c| c.function.as_ref())
            {
                for text in [&function.name, &function.arguments]
                    .into_iter()
                    .filter_map(non_empty)
                {
                    found = true;
                    sink(text);
                }
            }
            if found {
                return;
            }
        }
        if let Some(text) = non_empty(&self.text) {
            sink(text);
        }
    }
}

fn non_empty<'t>(text: &'t Option<Text<'_>>) -> Option<&'t str> {
    text.as_ref().map(Text::as_str).filter(|t| !t.is_empty())
}

#[derive(Debug, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Option<Text<'a>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow, default)]
    reasoning: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
}

#[derive(Debug, Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
}

#[derive(Debug, Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    arguments: Option<Text<'a>>,
}

/// The `usage` object of a chunk.
#[derive(Debug, Deserialize)]
pub(crate) struct UsageObject {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptTokensDetails>,
}

#[derive(Debug, Deserialize)]
struct PromptTokensDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

impl From<UsageObject> for Usage {
    fn from(object: UsageObject) -> Self {
        Self {
            prompt_tokens: object.prompt_tokens,
            completion_tokens: object.completion_tokens,
            cached_tokens: object.prompt_tokens_details.and_then(|d| d.cached_tokens),
        }
    }
}

/// A string that is borrowed where it can be. An `Option<Cow<str>>` would always be copied by serde.
#[derive(Debug)]
pub(crate) struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text)))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Choices<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ChoicesVisitor;
        impl<'de> Visitor<'de> for ChoicesVisitor {
            type Value = Choices<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of choices")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Choices<'de>, A::Error> {
                let mut choices = Choices {
                    first: seq.next_element()?,
                    more: Vec::new(),
                };
                while let Some(choice) = seq.next_element()? {
                    choices.more.push(choice);
                }
                Ok(choices)
            }
        }
        deserializer.deserialize_seq(ChoicesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(json: &str) -> Vec<String> {
        let chunk: Chunk<'_> = serde_json::from_str(json).unwrap();
        let mut pieces = Vec::new();
        for choice in chunk.choices.iter().flat_map(Choices::iter) {
            choice.output(|text| pieces.push(text.to_owned()));
        }
        pieces
    }

    #[track_caller]
    fn check(delta: &str, want: &[&str]) {
        let json = format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#);
        assert_eq!(output(&json), want, "{delta}");
    }

    #[test]
    fn output_is_content_else_reasoning_else_tool_calls() {
        check(r#"{"content":"a"}"#, &["a"]);
        check(r#"{"content":"a","reasoning_content":"b"}"#, &["a"]);
        check(r#"{"content":"","reasoning_content":"b"}"#, &["b"]);
        check(r#"{"content":null,"reasoning":"c"}"#, &["c"]);
        check(
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"x"}}]}"#,
            &["{\"x"],
        );
        check(
            r#"{"tool_calls":[{"function":{"name":"f","arguments":""}}]}"#,
            &["f"],
        );
        check(r#"{"content":" é\n🙂 \ud83d\ude42"}"#, &[" é\n🙂 🙂"]);
    }

    #[test]
    fn roles_and_empty_strings_are_no_output() {
        check(r#"{"role":"assistant","content":""}"#, &[]);
        check(r#"{"role":"assistant","content":null}"#, &[]);
        check(r#"{"role":"assistant"}"#, &[]);
        check("{}", &[]);
        check("null", &[]);
        check(r#"{"tool_calls":[]}"#, &[]);
        check(r#"{"tool_calls":[{"index":0,"id":"x"}]}"#, &[]);
    }

    #[test]
    fn completions_carry_their_output_in_text() {
        assert_eq!(
            output(r#"{"choices":[{"text":"x","finish_reason":"length"}]}"#),
            ["x"]
        );
        assert!(output(r#"{"choices":[{"text":"","finish_reason":"length"}]}"#).is_empty());
        assert_eq!(
            output(r#"{"choices":[{"text":"x"},{"text":"y"}]}"#),
            ["x", "y"]
        );
        assert!(output(r#"{"choices":[]}"#).is_empty());
        assert!(output(r#"{"choices":null}"#).is_empty());
    }

    #[test]
    fn text_without_escapes_is_borrowed() {
        let json = String::from(r#"{"choices":[{"delta":{"content":"plain"}}]}"#);
        let chunk: Chunk<'_> = serde_json::from_str(&json).unwrap();
        let choices = chunk.choices.unwrap();
        let text = choices.first.unwrap().delta.unwrap().content.unwrap();
        assert!(matches!(text.0, Cow::Borrowed("plain")));
    }

    #[test]
    fn absent_usage_fields_stay_absent() {
        let usage = |json: &str| {
            let chunk: Chunk<'_> = serde_json::from_str(json).unwrap();
            chunk.usage.map(Usage::from)
        };
        assert_eq!(usage(r#"{"usage":null}"#), None);
        assert_eq!(usage(r#"{"usage":{}}"#), Some(Usage::default()));
        let details =
            r#"{"usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":null}}"#;
        assert_eq!(usage(details).unwrap().cached_tokens, None);
        let details = r#"{"usage":{"prompt_tokens_details":{"cached_tokens":0}}}"#;
        assert_eq!(usage(details).unwrap().cached_tokens, Some(0));
    }

    #[test]
    fn an_error_object_is_told_from_a_chunk() {
        let is_error = |json: &str| serde_json::from_str::<Chunk<'_>>(json).unwrap().is_error();
        assert!(is_error(r#"{"error":{"message":"x"}}"#));
        assert!(is_error(r#"{"error":"x"}"#));
        assert!(is_error(r#"{"object":"error","message":"x"}"#));
        assert!(!is_error(r#"{"error":null,"choices":[]}"#));
        assert!(!is_error(r#"{"object":"text_completion","choices":[]}"#));
    }
}

//! The shapes that streams take in the wild, as far as they differ from vLLM's plain one.
//!
//! Promises: forms combine, and whatever is combined, the texts of all chunks together are the output that the
//! model wrote. Knows nothing of HTTP: the server writes a stream in these forms.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// How a server writes its streams. Unstreamed answers follow where it applies (reasoning, tool call).
#[derive(Clone, Debug, PartialEq)]
pub struct StreamForms {
    /// A chunk with the role and empty content comes first (chat); otherwise the role rides on the first text.
    pub role_chunk: bool,
    /// So many chunks with empty text in front of each chunk with text.
    pub empty_chunks: u32,
    /// Tokens in one chunk.
    pub tokens_per_chunk: NonZeroU32,
    /// The finish reason comes in a chunk of its own, without text, and not on the last text.
    pub finish_chunk: bool,
    /// The beginning of an output is reasoning (chat).
    pub reasoning: Option<Reasoning>,
    /// The output, behind any reasoning, is the argument of a tool call (chat).
    pub tool_call: bool,
    /// `[DONE]` ends the stream.
    pub done: bool,
    /// Lines end in CR LF instead of LF.
    pub crlf: bool,
    /// A comment at the beginning, and one after each such time of silence.
    pub comments: Option<Duration>,
    /// Words carry multi-byte characters, each cut in the middle by a frame's border.
    pub split_utf8: bool,
}

/// Reasoning in front of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reasoning {
    /// Where its text stands.
    pub field: ReasoningField,
    /// Tokens of it; `None` for half of the output.
    pub tokens: Option<u32>,
}

/// The two names under which servers send reasoning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningField {
    /// `reasoning_content`: SGLang, DeepSeek, vLLM for a long time.
    ReasoningContent,
    /// `reasoning`: newer vLLM, OpenRouter.
    Reasoning,
}

impl ReasoningField {
    /// As it stands in a delta or message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReasoningContent => "reasoning_content",
            Self::Reasoning => "reasoning",
        }
    }
}

impl Reasoning {
    /// How many of `output` tokens are reasoning.
    #[must_use]
    pub fn of(self, output: u32) -> u32 {
        self.tokens.map_or(output / 2, |tokens| tokens.min(output))
    }
}

impl Default for StreamForms {
    /// vLLM's plain stream.
    fn default() -> Self {
        Self {
            role_chunk: true,
            empty_chunks: 0,
            tokens_per_chunk: NonZeroU32::MIN,
            finish_chunk: false,
            reasoning: None,
            tool_call: false,
            done: true,
            crlf: false,
            comments: None,
            split_utf8: false,
        }
    }
}

/// One form, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StreamForm {
    /// See [`StreamForms::role_chunk`].
    NoRole,
    /// See [`StreamForms::empty_chunks`].
    EmptyChunks(u32),
    /// See [`StreamForms::tokens_per_chunk`].
    TokensPerChunk(NonZeroU32),
    /// See [`StreamForms::finish_chunk`].
    FinishChunk,
    /// See [`StreamForms::reasoning`].
    Reasoning(Reasoning),
    /// See [`StreamForms::tool_call`].
    ToolCall,
    /// See [`StreamForms::done`].
    NoDone,
    /// See [`StreamForms::crlf`].
    CrLf,
    /// See [`StreamForms::comments`].
    Comments(Duration),
    /// See [`StreamForms::split_utf8`].
    SplitUtf8,
}

/// A form that was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormParseError {
    /// No such form.
    #[error("unknown stream form '{0}'; one of {FORMS}")]
    Form(String),
    /// Its value is missing, wrong or too much.
    #[error("'{0}' is no value for a stream form; the forms are {FORMS}")]
    Value(String),
}

/// The forms, as they are written.
pub const FORMS: &str = "no-role, empty-chunks[=N], tokens-per-chunk=N, finish-chunk, \
reasoning-content[=TOKENS], reasoning[=TOKENS], tool-call, no-done, crlf, comments[=SECONDS], split-utf8";

/// Silence after which a comment is sent, unless another one is given. Proxies often cut after 15 to 60 s.
const USUAL_SILENCE: Duration = Duration::from_secs(10);

impl FromStr for StreamForm {
    type Err = FormParseError;

    /// Reads `NAME` or `NAME=VALUE`.
    fn from_str(text: &str) -> Result<Self, FormParseError> {
        let wrong = || FormParseError::Value(text.to_owned());
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let number = || {
            value
                .map(|value| value.parse().map_err(|_| wrong()))
                .transpose()
        };
        let reasoning = |field| {
            Ok(Self::Reasoning(Reasoning {
                field,
                tokens: number()?,
            }))
        };
        match name {
            "empty-chunks" => Ok(Self::EmptyChunks(number()?.unwrap_or(1))),
            "tokens-per-chunk" => number()?
                .and_then(NonZeroU32::new)
                .map(Self::TokensPerChunk)
                .ok_or_else(wrong),
            "reasoning-content" => reasoning(ReasoningField::ReasoningContent),
            "reasoning" => reasoning(ReasoningField::Reasoning),
            "comments" => match value.map(str::parse::<f64>) {
                None => Ok(Self::Comments(USUAL_SILENCE)),
                // A tenth of a millisecond: below it, comments would be all that is sent.
                Some(Ok(s)) if (1e-4..=1e9).contains(&s) => {
                    Ok(Self::Comments(Duration::from_secs_f64(s)))
                }
                Some(_) => Err(wrong()),
            },
            "no-role" | "finish-chunk" | "tool-call" | "no-done" | "crlf" | "split-utf8"
                if value.is_some() =>
            {
                Err(wrong())
            }
            "finish-chunk" => Ok(Self::FinishChunk),
            "no-role" => Ok(Self::NoRole),
            "tool-call" => Ok(Self::ToolCall),
            "no-done" => Ok(Self::NoDone),
            "crlf" => Ok(Self::CrLf),
            "split-utf8" => Ok(Self::SplitUtf8),
            _ => Err(FormParseError::Form(name.to_owned())),
        }
    }
}

impl FromIterator<StreamForm> for StreamForms {
    /// All of them together; of two values for the same thing the later one counts.
    fn from_iter<I: IntoIterator<Item = StreamForm>>(forms: I) -> Self {
        let mut all = Self::default();
        for form in forms {
            match form {
                StreamForm::NoRole => all.role_chunk = false,
                StreamForm::EmptyChunks(n) => all.empty_chunks = n,
                StreamForm::TokensPerChunk(n) => all.tokens_per_chunk = n,
                StreamForm::FinishChunk => all.finish_chunk = true,
                StreamForm::Reasoning(reasoning) => all.reasoning = Some(reasoning),
                StreamForm::ToolCall => all.tool_call = true,
                StreamForm::NoDone => all.done = false,
                StreamForm::CrLf => all.crlf = true,
                StreamForm::Comments(silence) => all.comments = Some(silence),
                StreamForm::SplitUtf8 => all.split_utf8 = true,
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(texts: &[&str]) -> StreamForms {
        texts
            .iter()
            .map(|text| text.parse::<StreamForm>().unwrap())
            .collect()
    }

    #[test]
    fn forms_combine_and_the_later_value_counts() {
        assert_eq!(forms(&[]), StreamForms::default());
        let all = forms(&[
            "crlf",
            "tokens-per-chunk=3",
            "reasoning",
            "reasoning-content=5",
        ]);
        assert!(all.crlf && all.done && all.role_chunk);
        assert_eq!(all.tokens_per_chunk.get(), 3);
        let reasoning = all.reasoning.unwrap();
        assert_eq!(reasoning.field.as_str(), "reasoning_content");
        assert_eq!((reasoning.of(9), reasoning.of(3)), (5, 3));
        assert_eq!(forms(&["reasoning"]).reasoning.unwrap().of(9), 4);
        assert_eq!(
            forms(&["comments=0.25"]).comments,
            Some(Duration::from_millis(250))
        );
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (text, word) in [
            ("loud", "unknown stream form"),
            ("tokens-per-chunk", "no value"),
            ("tokens-per-chunk=0", "no value"),
            ("crlf=1", "no value"),
            ("comments=0", "no value"),
            ("comments=NaN", "no value"),
            ("reasoning=-1", "no value"),
        ] {
            let error = text.parse::<StreamForm>().unwrap_err().to_string();
            assert!(
                error.contains(word) && error.contains("split-utf8"),
                "{text}: {error}"
            );
        }
    }
}

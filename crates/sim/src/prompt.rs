//! From a request's prompt to blocks of token ids.
//!
//! The chat template, rendered with the server's own tokenizer, piece by piece so that contents never melt
//! into it: for each message `"[ROLE]\n"`, the content, `"\n"`; behind the last one `"[assistant]\n"`. An
//! assistant message's content is thus followed by the tokens that a later turn puts there, and its blocks
//! can be hit by that turn.

use std::fmt::Write as _;

use kvcalc::{BlockSize, TokenCount};
use sha2::{Digest, Sha256};

use crate::model::PromptBlocks;
use crate::text::{SimTokenizer, TextError};

/// A prompt as it comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SimPrompt {
    /// Token ids, taken as they are.
    Ids(Vec<u32>),
    /// Text without a template, as `/v1/completions` takes it.
    Text(String),
    /// Messages, rendered with the chat template.
    Chat(Vec<Message>),
}

impl SimPrompt {
    /// Whether it is tokenised and cut in less time than it takes to hand it to another thread and back,
    /// a tenth of a millisecond at worst.
    pub(crate) fn is_small(&self) -> bool {
        match self {
            Self::Ids(ids) => ids.len() <= 4_096,
            Self::Text(text) => text.len() <= 256,
            Self::Chat(messages) => match messages.as_slice() {
                [message] => message.content.len() <= 256,
                _ => false,
            },
        }
    }
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `user`, `assistant`, `system`, or whatever the client says.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// A prompt ready for the engine, and what is worth recording of it.
#[derive(Clone, Debug)]
pub(crate) struct PreparedPrompt {
    pub(crate) blocks: PromptBlocks,
    pub(crate) text: Option<TextRecord>,
}

/// What is recorded of a prompt's text.
#[derive(Clone, Debug)]
pub(crate) struct TextRecord {
    pub(crate) prefix: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// The token ids of a prompt.
///
/// # Errors
/// [`TextError::Encode`].
pub fn prompt_ids(tokenizer: &SimTokenizer, prompt: &SimPrompt) -> Result<Vec<u32>, TextError> {
    match prompt {
        SimPrompt::Ids(ids) => Ok(ids.clone()),
        SimPrompt::Text(text) => tokenizer.encode(text),
        SimPrompt::Chat(messages) => {
            let mut ids = Vec::new();
            for message in messages {
                ids.extend(tokenizer.encode(&format!("[{}]\n", message.role))?);
                ids.extend(tokenizer.encode(&message.content)?);
                ids.extend(tokenizer.encode("\n")?);
            }
            ids.extend(tokenizer.encode("[assistant]\n")?);
            Ok(ids)
        }
    }
}

/// How many tokens the template puts around one user message.
///
/// # Errors
/// [`TextError::Encode`].
pub fn template_tokens(tokenizer: &SimTokenizer) -> Result<TokenCount, TextError> {
    let empty = SimPrompt::Chat(vec![Message {
        role: "user".to_owned(),
        content: String::new(),
    }]);
    prompt_ids(tokenizer, &empty).map(|ids| TokenCount(ids.len() as u64))
}

pub(crate) fn prepare(
    tokenizer: &SimTokenizer,
    block_size: BlockSize,
    text_bytes: usize,
    prompt: &SimPrompt,
) -> Result<PreparedPrompt, TextError> {
    let ids = prompt_ids(tokenizer, prompt)?;
    Ok(PreparedPrompt {
        blocks: PromptBlocks::new(&ids, block_size),
        text: match prompt {
            SimPrompt::Ids(_) => None,
            SimPrompt::Text(text) => Some(record_text([text.as_str()].into_iter(), text_bytes)),
            SimPrompt::Chat(messages) => {
                let contents = messages.iter().map(|message| message.content.as_str());
                Some(record_text(contents, text_bytes))
            }
        },
    })
}

/// Records texts as if they were joined by newlines, without joining them.
pub(crate) fn record_text<'a>(texts: impl Iterator<Item = &'a str>, limit: usize) -> TextRecord {
    let mut digest = Sha256::new();
    let mut record = TextRecord {
        prefix: String::new(),
        bytes: 0,
        sha256: String::new(),
    };
    for (index, text) in texts.enumerate() {
        for part in [if index == 0 { "" } else { "\n" }, text] {
            digest.update(part.as_bytes());
            record.bytes += part.len() as u64;
            let room = limit.saturating_sub(record.prefix.len());
            record
                .prefix
                .push_str(&part[..part.floor_char_boundary(room)]);
        }
    }
    for byte in digest.finalize() {
        write!(record.sha256, "{byte:02x}").expect("writing to a String cannot fail");
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_adds_the_same_few_tokens_around_every_content() {
        let tokenizer = SimTokenizer::from_bytes(hub::builtin_tokenizer()).unwrap();
        let around = template_tokens(&tokenizer).unwrap().get();
        assert!((3..16).contains(&around), "{around} template tokens");
        for content in ["one", " two words", "# PROMPT_3\nlines\n", "é"] {
            let chat = SimPrompt::Chat(vec![Message {
                role: "user".to_owned(),
                content: content.to_owned(),
            }]);
            let with = prompt_ids(&tokenizer, &chat).unwrap().len() as u64;
            assert_eq!(
                with,
                tokenizer.encode(content).unwrap().len() as u64 + around
            );
        }
    }

    #[test]
    fn text_is_recorded_up_to_the_limit_at_a_character_boundary() {
        let record = record_text(["ab", "éé"].into_iter(), 4);
        assert_eq!((record.prefix.as_str(), record.bytes), ("ab\n", 7));
        // sha256 of "ab\néé", computed with coreutils.
        assert_eq!(record.sha256, SHA_AB);
        assert_eq!(record_text(["ab", "éé"].into_iter(), 100).prefix, "ab\néé");
    }

    const SHA_AB: &str = "5b08e0d6aff798099f6e82a0c5c1ced56ca189cbc7f612621b857f69a1a8cf48";
}

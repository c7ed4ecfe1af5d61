//! The tokenizer, reduced to what prompts need.
//!
//! Promise: text is encoded without special tokens, without truncation and without padding, whatever the file asks
//! for (some carry a limit of 128 tokens and pad to it). Refuses to load files: bytes come in.

use std::borrow::Cow;
use std::mem;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sha2::{Digest as _, Sha256};
use tokenizers::{Encoding, Tokenizer};

/// Why a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The bytes are not a `tokenizer.json` that we understand.
    #[error("the tokenizer file cannot be read")]
    Parse(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The tokenizer refused a text, for example because its vocabulary lacks a character and an unknown token.
    #[error("the tokenizer cannot encode {text:?}")]
    Encode {
        /// The first characters of the text.
        text: String,
        /// What the tokenizer said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A text tokenizer: cheap to clone, shared by threads.
#[derive(Clone)]
pub struct TextTokenizer {
    inner: Arc<Parsed>,
    fingerprint: u64,
}

/// A tokenizer, or the file that it will be made of when it is needed.
struct Parsed {
    tokenizer: OnceLock<Result<Tokenizer, String>>,
    /// Empty once the tokenizer is there.
    file: Mutex<Cow<'static, [u8]>>,
}

impl Parsed {
    fn get(&self) -> Result<&Tokenizer, TokenizerError> {
        self.tokenizer
            .get_or_init(|| {
                let file =
                    mem::take(&mut *self.file.lock().unwrap_or_else(PoisonError::into_inner));
                parse(&file).map_err(|e| e.to_string())
            })
            .as_ref()
            .map_err(|e| TokenizerError::Parse(e.as_str().into()))
    }
}

/// The tokenizer of a file, without what it says of truncation and padding.
fn parse(file: &[u8]) -> Result<Tokenizer, tokenizers::Error> {
    let mut tokenizer = Tokenizer::from_bytes(file)?;
    tokenizer.with_truncation(None)?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

fn fingerprint(file: &[u8]) -> u64 {
    let digest: [u8; 32] = Sha256::digest(file).into();
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(head)
}

impl std::fmt::Debug for TextTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TextTokenizer({:016x})", self.fingerprint)
    }
}

impl TextTokenizer {
    /// Loads the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError::Parse`] when the bytes are no tokenizer file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let tokenizer = parse(bytes).map_err(TokenizerError::Parse)?;
        Ok(Self {
            inner: Arc::new(Parsed {
                tokenizer: OnceLock::from(Ok(tokenizer)),
                file: Mutex::default(),
            }),
            fingerprint: fingerprint(bytes),
        })
    }

    /// The tokenizer of a file that [`Self::from_bytes`] has loaded before, parsed by the first who needs it, or ahead by
    /// [`Self::load`].
    pub fn known(file: Cow<'static, [u8]>) -> Self {
        Self {
            fingerprint: fingerprint(&file),
            inner: Arc::new(Parsed {
                tokenizer: OnceLock::new(),
                file: Mutex::new(file),
            }),
        }
    }

    /// Parses the file now, if nobody has yet.
    ///
    /// # Errors
    /// [`TokenizerError::Parse`] when the file is no tokenizer after all.
    pub fn load(&self) -> Result<(), TokenizerError> {
        self.inner.get().map(|_| ())
    }

    /// Identifies the tokenizer file: the first 64 bits of its SHA-256.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Token ids of `text`.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] when the tokenizer has no way to express the text.
    pub fn try_encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        Ok(self.fast(text)?.get_ids().to_vec())
    }

    /// Number of tokens of `text`.
    ///
    /// # Errors
    /// As [`Self::try_encode`].
    pub fn try_count(&self, text: &str) -> Result<usize, TokenizerError> {
        Ok(self.fast(text)?.len())
    }

    /// Token ids of `text`; none for a text that the tokenizer refuses (see [`Self::try_encode`]).
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.try_encode(text).unwrap_or_default()
    }

    /// Number of tokens of `text`; 0 for a text that the tokenizer refuses (see [`Self::try_count`]).
    pub fn count(&self, text: &str) -> usize {
        self.try_count(text).unwrap_or_default()
    }

    /// Byte ranges of the text that the tokens stand for, one per token.
    pub(crate) fn spans(&self, text: &str) -> Result<Vec<(usize, usize)>, TokenizerError> {
        let encoding = self
            .inner
            .get()?
            .encode(text, false)
            .map_err(|e| refused(text, e))?;
        Ok(encoding.get_offsets().to_vec())
    }

    fn fast(&self, text: &str) -> Result<Encoding, TokenizerError> {
        self.inner
            .get()?
            .encode_fast(text, false)
            .map_err(|e| refused(text, e))
    }
}

fn refused(text: &str, source: tokenizers::Error) -> TokenizerError {
    TokenizerError::Encode {
        text: text.chars().take(40).collect(),
        source,
    }
}

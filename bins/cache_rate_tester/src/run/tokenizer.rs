//! Which tokenizer counts the prompts, and how it is found.

use anyhow::Context as _;
use cli::Failure;
use hub::{HubEnv, TokenizerRef, find_tokenizer};
use workload::TextTokenizer;

/// Model id by which the bundled simulator is known.
const SIMULATOR_MODEL: &str = "kv-cache-sim";

/// A tokenizer and where it came from.
#[derive(Debug)]
pub(super) struct LoadedTokenizer {
    pub(super) tokenizer: TextTokenizer,
    /// By which it was found: a path, a Hub id, `builtin`.
    pub(super) name: String,
    /// Where its bytes were, in words.
    pub(super) origin: String,
}

impl LoadedTokenizer {
    /// Name and origin, for a line.
    pub(super) fn described(&self) -> String {
        if self.origin == self.name {
            self.name.clone()
        } else {
            format!("{} ({})", self.name, self.origin)
        }
    }
}

/// The one given, exactly; else that of the simulator; else that of the server's model; else the default.
///
/// # Errors
/// When none can be had.
pub(super) fn load(
    given: Option<&str>,
    default: &str,
    model: &str,
) -> Result<LoadedTokenizer, Failure> {
    let env = HubEnv::from_process();
    if let Some(given) = given {
        return find(given, &env).map_err(no_tokenizer);
    }
    if model == SIMULATOR_MODEL {
        return find("builtin", &env).map_err(no_tokenizer);
    }
    tracing::info!("Looking for the tokenizer of model {model}");
    find(model, &env).or_else(|error| {
        tracing::warn!(
            "No tokenizer under the server's model name: {error:#}. Falling back to {default}"
        );
        find(default, &env).map_err(no_tokenizer)
    })
}

fn no_tokenizer(error: anyhow::Error) -> Failure {
    Failure::run(error).with_hint(
        "pass --tokenizer with a directory that holds tokenizer.json, a Hub id, or builtin",
    )
}

fn find(name: &str, env: &HubEnv) -> anyhow::Result<LoadedTokenizer> {
    let reference = TokenizerRef::parse(name)?;
    let file = find_tokenizer(&reference, env)?;
    let tokenizer = TextTokenizer::from_bytes(&file.bytes)
        .with_context(|| format!("loading tokenizer {name}"))?;
    Ok(LoadedTokenizer {
        tokenizer,
        name: name.to_owned(),
        origin: file.origin,
    })
}

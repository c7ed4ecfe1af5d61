//! Which tokenizer counts the prompts, and how it is found.
//!
//! Promise: one that was named is used exactly or not at all.

mod kept;

use std::thread;

use anyhow::Context as _;
use cli::Failure;
use cli::logging::{Line, log_lines};
use cli::options::DEFAULT_TOKENIZER;
use hub::{HubEnv, TokenizerRef, find_tokenizer};
use report::metadata::TokenizerFacts;
use tokio::sync::oneshot;
use workload::{PieceTable, TextTokenizer};

/// Model id by which the bundled simulator is known.
pub const SIMULATOR_MODEL: &str = "kv-cache-sim";

/// A tokenizer, what is known about it, and where it came from.
#[derive(Debug)]
pub struct LoadedTokenizer {
    /// Counts tokens.
    pub tokenizer: TextTokenizer,
    /// Pieces of text and what they count under it.
    pub pieces: PieceTable,
    /// By which it was found: a path, a Hub id, `builtin`.
    pub name: String,
    /// Where its bytes were, in words.
    pub origin: String,
}

impl LoadedTokenizer {
    /// Name and origin, for a line.
    #[must_use]
    pub fn described(&self) -> String {
        if self.origin == self.name {
            self.name.clone()
        } else {
            format!("{} ({})", self.name, self.origin)
        }
    }

    /// What the run's files keep of it.
    #[must_use]
    pub fn facts(&self) -> TokenizerFacts {
        TokenizerFacts {
            name: self.name.clone(),
            origin: self.origin.clone(),
            fingerprint: Some(format!("{:016x}", self.tokenizer.fingerprint())),
        }
    }
}

/// As [`load`], with the suite's default, on a thread of its own: a download can take minutes, and a stop is to be
/// heard meanwhile.
///
/// # Errors
/// When none can be had.
pub async fn load_aside(given: Option<&str>, model: &str) -> Result<LoadedTokenizer, Failure> {
    let (reply, loaded) = oneshot::channel();
    let (given, model) = (given.map(str::to_owned), model.to_owned());
    thread::Builder::new()
        .name("tokenizer".to_owned())
        .spawn(move || {
            // Nobody waits any more when the run was stopped.
            drop(reply.send(load(given.as_deref(), DEFAULT_TOKENIZER, &model)));
        })
        .context("starting a thread")
        .map_err(Failure::run)?;
    loaded
        .await
        .context("the thread that loads the tokenizer has stopped")
        .map_err(Failure::run)?
}

/// A tokenizer, and its piece table if an earlier run has kept it.
struct Found {
    tokenizer: TextTokenizer,
    name: String,
    origin: String,
    kept: Option<PieceTable>,
}

/// The one given, exactly; else that of the simulator; else that of the server's model; else the default.
///
/// # Errors
/// When none can be had.
pub fn load(given: Option<&str>, default: &str, model: &str) -> Result<LoadedTokenizer, Failure> {
    let found = find_first(given, default, model)?;
    let name = found.name.clone();
    found
        .prepared()
        .with_context(|| format!("preparing prompts with tokenizer {name}"))
        .map_err(|error| Failure::run(error).with_hint("pass another one with --tokenizer"))
}

fn find_first(given: Option<&str>, default: &str, model: &str) -> Result<Found, Failure> {
    let env = HubEnv::from_process();
    if let Some(given) = given {
        return find(given, &env).map_err(no_tokenizer);
    }
    if model == SIMULATOR_MODEL {
        return find("builtin", &env).map_err(no_tokenizer);
    }
    // The server chose this name: nothing in it may break the line.
    log_lines(&[Line::plain(format!(
        "Looking for the tokenizer of model {model}"
    ))]);
    find(model, &env).or_else(|error| {
        log_lines(&[Line::warning(format!(
            "No tokenizer under the server's model name: {error:#}. Falling back to {default}"
        ))]);
        find(default, &env).map_err(no_tokenizer)
    })
}

fn no_tokenizer(error: anyhow::Error) -> Failure {
    Failure::run(error).with_hint(
        "pass --tokenizer with a directory that holds tokenizer.json, a Hub id, or builtin",
    )
}

fn find(name: &str, env: &HubEnv) -> anyhow::Result<Found> {
    let reference = TokenizerRef::parse(name)?;
    let file = find_tokenizer(&reference, env)?;
    let tokenizer = TextTokenizer::known(file.bytes);
    let kept = kept::find(&tokenizer);
    if kept.is_none() {
        tokenizer
            .load()
            .with_context(|| format!("loading tokenizer {name}"))?;
    }
    Ok(Found {
        tokenizer,
        name: name.to_owned(),
        origin: file.origin,
        kept,
    })
}

impl Found {
    /// With its pieces of text counted: by an earlier run, or now.
    fn prepared(self) -> anyhow::Result<LoadedTokenizer> {
        let tokenizer = self.tokenizer;
        // A table that was kept makes the tokenizer itself wait for the check of the first prompts: until requests are out, the
        // time to parse it is time they would wait.
        let pieces = match self.kept {
            Some(pieces) => pieces,
            None => {
                let pieces = PieceTable::build(&tokenizer)?;
                kept::keep(&pieces);
                pieces
            }
        };
        Ok(LoadedTokenizer {
            tokenizer,
            pieces,
            name: self.name,
            origin: self.origin,
        })
    }
}

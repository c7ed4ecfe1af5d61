//! Finds a model's config: a file, a directory, the Hub with its cache, and at last the built-in table.
//!
//! Promises that the table answers only when the Hub was asked and gave nothing, that the caller learns it, and that an
//! error names what was tried. Refuses to run code of a model.

use std::path::Path;

use hub::{HubEnv, HubError, TokenizerRef, find_config};
use kvcalc::known;
use serde_json::Value;
use thiserror::Error;

/// A config and where it came from.
#[derive(Clone, Debug)]
pub struct Found {
    /// The parsed config.
    pub config: Value,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a config came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file, a cache, or a download, in words.
    Config(String),
    /// The built-in table.
    Table {
        /// Why the Hub gave nothing, in a few words.
        reason: String,
        /// The whole story, for stderr.
        detail: String,
    },
}

/// Why there is no config.
#[derive(Debug, Error)]
pub enum SourceError {
    /// A path with nothing at it.
    #[error(
        "{0} looks like a path, but nothing is there; pass a directory that holds config.json, the file itself, or a model id"
    )]
    NoSuchPath(String),
    /// Neither a path nor an id.
    #[error("{given:?} is neither an existing path nor a model id of the Hub ({reason})")]
    BadId {
        /// What was typed.
        given: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A file that cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: String,
        /// The reason.
        source: std::io::Error,
    },
    /// A config that is not JSON.
    #[error("{origin} is not JSON")]
    NotJson {
        /// Where it came from.
        origin: String,
        /// Where the JSON breaks.
        source: serde_json::Error,
    },
    /// Anything the Hub or its cache says.
    #[error(transparent)]
    Hub(HubError),
}

/// Finds the config of a model as it was typed.
///
/// # Errors
/// A [`SourceError`] that says what was tried.
pub fn find(given: &str, env: &HubEnv) -> Result<Found, SourceError> {
    let path = Path::new(given);
    if path.is_file() {
        let bytes = std::fs::read(path).map_err(|source| SourceError::Unreadable {
            path: given.to_owned(),
            source,
        })?;
        return parsed(&bytes, given.to_owned());
    }
    // A directory may have the name of the built-in tokenizer, which means nothing here.
    let model = match TokenizerRef::parse(given) {
        Ok(TokenizerRef::Builtin) if path.is_dir() => TokenizerRef::Path(path.to_path_buf()),
        Ok(TokenizerRef::Builtin) => TokenizerRef::HubId(given.to_owned()),
        Ok(model) => model,
        Err(HubError::NoSuchPath { given }) => return Err(SourceError::NoSuchPath(given)),
        Err(HubError::BadId { given, reason }) => return Err(SourceError::BadId { given, reason }),
        Err(other) => return Err(SourceError::Hub(other)),
    };
    match find_config(&model, env) {
        Ok(file) => parsed(&file.bytes, file.origin),
        Err(error) => from_table(&model, error),
    }
}

fn parsed(bytes: &[u8], origin: String) -> Result<Found, SourceError> {
    match serde_json::from_slice(bytes) {
        Ok(config) => Ok(Found {
            config,
            origin: Origin::Config(origin),
        }),
        Err(source) => Err(SourceError::NotJson { origin, source }),
    }
}

/// The built-in row of a Hub id, when the Hub did not give the config.
fn from_table(model: &TokenizerRef, error: HubError) -> Result<Found, SourceError> {
    let TokenizerRef::HubId(id) = model else {
        return Err(SourceError::Hub(error));
    };
    let Some(row) = known::find(id) else {
        return Err(SourceError::Hub(error));
    };
    Ok(Found {
        config: row.config,
        origin: Origin::Table {
            reason: briefly(&error),
            detail: error.to_string(),
        },
    })
}

/// An error of the Hub in a few words.
fn briefly(error: &HubError) -> String {
    match error {
        HubError::Offline { .. } => {
            "the Hub is switched off and the cache has no config".to_owned()
        }
        HubError::Refused { status, gated, .. } => {
            let what = if *gated {
                "the model is gated"
            } else {
                "access refused"
            };
            format!("{what} ({status}); a token in HF_TOKEN is needed")
        }
        HubError::NotFound { .. } => "the Hub has no such file (404)".to_owned(),
        HubError::Status { status, .. } => format!("the Hub answered {status}"),
        HubError::TimedOut { .. } => "the Hub did not answer in time".to_owned(),
        _ => "the Hub cannot be reached".to_owned(),
    }
}

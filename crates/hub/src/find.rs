//! The search itself: built in, local path, cache, hub, in this order, stopping at the first that has the file.
//!
//! Promises that a file in the cache costs no request, and that a cache which cannot be written costs a warning and not
//! the run.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::cache;
use crate::download;
use crate::env::HubEnv;
use crate::error::{HubError, Tried, Wanted};
use crate::reference::TokenizerRef;

/// Which of a model's files is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelFileKind {
    /// `tokenizer.json`.
    Tokenizer,
    /// `config.json`.
    Config,
}

impl ModelFileKind {
    /// The file's name in a model's directory and on the hub.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Tokenizer => "tokenizer.json",
            Self::Config => "config.json",
        }
    }

    /// What a user can pass instead when the file cannot be had.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Tokenizer => {
                "pass `--tokenizer DIR` with a directory that holds tokenizer.json, another hub id, or `--tokenizer builtin`"
            }
            Self::Config => "pass the path of a directory that holds config.json",
        }
    }
}

/// A model's file and where it came from.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// The whole file.
    pub bytes: Cow<'static, [u8]>,
    /// Where it came from, in words, for a log line.
    pub origin: String,
    /// The file on disk; `None` for the built-in one, and for a download that could not be kept.
    pub path: Option<PathBuf>,
}

/// Finds a model's `tokenizer.json`. Blocks; at worst for the two time limits in `env`.
///
/// # Errors
/// A [`HubError`] that names every place tried and what to pass instead.
pub fn find_tokenizer(model: &TokenizerRef, env: &HubEnv) -> Result<ModelFile, HubError> {
    find(model, ModelFileKind::Tokenizer, env)
}

/// Finds a model's `config.json`, as [`find_tokenizer`] does; beside a tokenizer file that was given by its own path.
///
/// # Errors
/// As [`find_tokenizer`]; [`HubError::NotBuiltIn`] for the built-in tokenizer.
pub fn find_config(model: &TokenizerRef, env: &HubEnv) -> Result<ModelFile, HubError> {
    find(model, ModelFileKind::Config, env)
}

fn find(model: &TokenizerRef, kind: ModelFileKind, env: &HubEnv) -> Result<ModelFile, HubError> {
    match model {
        TokenizerRef::Builtin => match kind {
            ModelFileKind::Tokenizer => Ok(ModelFile {
                bytes: Cow::Borrowed(crate::builtin_tokenizer()),
                origin: "the built-in tokenizer".to_owned(),
                path: None,
            }),
            ModelFileKind::Config => Err(HubError::NotBuiltIn { kind }),
        },
        TokenizerRef::Path(path) => {
            let file = file_at(path, kind)?;
            let origin = file.display().to_string();
            read(file, kind, origin)
        }
        TokenizerRef::HubId(id) => find_on_hub(id, kind, env),
    }
}

/// The file that a local path stands for.
fn file_at(path: &Path, kind: ModelFileKind) -> Result<PathBuf, HubError> {
    let dir = if path.is_dir() {
        path
    } else {
        let is_wanted = match kind {
            // A tokenizer may be given under any file name.
            ModelFileKind::Tokenizer => true,
            ModelFileKind::Config => path
                .file_name()
                .is_some_and(|name| name == kind.file_name()),
        };
        if is_wanted {
            return Ok(path.to_path_buf());
        }
        path.parent().unwrap_or(Path::new(""))
    };
    let file = dir.join(kind.file_name());
    if file.exists() {
        Ok(file)
    } else {
        Err(HubError::NotInDirectory {
            dir: dir.to_path_buf(),
            kind,
        })
    }
}

fn read(path: PathBuf, kind: ModelFileKind, origin: String) -> Result<ModelFile, HubError> {
    match std::fs::read(&path) {
        Ok(bytes) => Ok(ModelFile {
            bytes: Cow::Owned(bytes),
            origin,
            path: Some(path),
        }),
        Err(source) => Err(HubError::Unreadable { path, kind, source }),
    }
}

fn find_on_hub(id: &str, kind: ModelFileKind, env: &HubEnv) -> Result<ModelFile, HubError> {
    // `HubId` is public, so what is in it need not have come through `parse`; it becomes a directory name and a URL.
    if let Some(reason) = crate::reference::id_fault(id) {
        return Err(HubError::BadId {
            given: id.to_owned(),
            reason,
        });
    }
    let file = kind.file_name();
    let mut wanted = Wanted {
        id: id.to_owned(),
        kind,
        tried: Tried::default(),
    };
    if let Some(dir) = &env.cache_dir {
        if let Some(cached) = cache::lookup(dir, id, file) {
            let origin = format!("`{id}` in the cache, commit {}", cached.commit);
            return read(cached.path, kind, origin);
        }
        wanted.tried.0.push(format!("the cache {}", dir.display()));
    }
    if env.offline {
        return Err(HubError::Offline { wanted });
    }
    let fetched = download::fetch(wanted, env)?;
    let path = keep(id, file, &fetched, env);
    Ok(ModelFile {
        origin: format!("`{id}`, downloaded from {}", fetched.url),
        bytes: Cow::Owned(fetched.bytes),
        path,
    })
}

/// Puts a download into the cache; a failure is a warning, since the bytes are at hand.
fn keep(id: &str, file: &str, fetched: &download::Fetched, env: &HubEnv) -> Option<PathBuf> {
    let dir = env.cache_dir.as_deref()?;
    let (Some(commit), Some(etag)) = (&fetched.commit, &fetched.etag) else {
        tracing::warn!(
            "{file} of `{id}` is not kept in the cache: {} named no commit and etag to keep it under",
            fetched.url
        );
        return None;
    };
    match cache::store(dir, id, file, commit, etag, &fetched.bytes) {
        Ok(path) => Some(path),
        Err(error) => {
            tracing::warn!(
                "{file} of `{id}` is not kept in the cache {}: {error}",
                dir.display()
            );
            None
        }
    }
}

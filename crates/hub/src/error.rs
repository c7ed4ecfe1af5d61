//! Everything that can keep a model's file from being found, typed, with messages that stand alone on one line.
//!
//! Promises that each message names the places tried and what to pass instead, and that none holds a token, a user name, or
//! the query of an address (where content networks put their signatures). The low-level reason is left in `source()`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::find::ModelFileKind;

/// The file that was asked for, and every place where it was looked for before giving up.
#[derive(Debug)]
pub struct Wanted {
    /// The hub id of the model.
    pub id: String,
    /// Which of its files.
    pub kind: ModelFileKind,
    /// The places tried, in order.
    pub tried: Tried,
}

impl Wanted {
    /// What to do instead, for the end of a message.
    fn remedy(&self) -> &'static str {
        self.kind.remedy()
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of `{}`", self.kind.file_name(), self.id)
    }
}

/// Places tried, in order; shown as one list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried(pub Vec<String>);

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no place at all");
        }
        f.write_str(&self.0.join(", then "))
    }
}

/// Why a model's file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A value that can only be a path, with nothing at it.
    #[error("`{given}` looks like a path, but nothing is there; {}", ModelFileKind::Tokenizer.remedy())]
    NoSuchPath {
        /// The value as given.
        given: String,
    },
    /// Neither an existing path nor an id that the hub could have given out.
    #[error("`{given}` is neither an existing path nor a model id of the hub ({reason}); {}", ModelFileKind::Tokenizer.remedy())]
    BadId {
        /// The value as given.
        given: String,
        /// Which rule for ids it breaks.
        reason: &'static str,
    },
    /// The directory exists and the file in it does not.
    #[error("no {} in the directory {}; {}", kind.file_name(), dir.display(), kind.remedy())]
    NotInDirectory {
        /// The directory.
        dir: PathBuf,
        /// The file that should be in it.
        kind: ModelFileKind,
    },
    /// A file that is there but cannot be read.
    #[error("cannot read {}; {}", path.display(), kind.remedy())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Which of a model's files it was to be.
        kind: ModelFileKind,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The built-in tokenizer belongs to no model, so it has no other files.
    #[error("the built-in tokenizer has no {}; {}", kind.file_name(), kind.remedy())]
    NotBuiltIn {
        /// The file that was asked for.
        kind: ModelFileKind,
    },
    /// A setting that cannot be used, found when it was needed.
    #[error("no {wanted}: {name} {reason}; tried {}; correct {name}, or {}", wanted.tried, wanted.remedy())]
    Setting {
        /// What was looked for, and where.
        wanted: Wanted,
        /// The variable's name, or the token file.
        name: String,
        /// What is wrong with it; never its secret value.
        reason: String,
    },
    /// Not in the cache, and the network is forbidden.
    #[error("no {wanted}: HF_HUB_OFFLINE forbids downloading it and it is not in the cache; tried {}; unset HF_HUB_OFFLINE, or {}", wanted.tried, wanted.remedy())]
    Offline {
        /// What was looked for, and where.
        wanted: Wanted,
    },
    /// The hub answered 401 or 403.
    #[error("no {wanted}: the hub refused it ({status}{}); {}; tried {}; or {}", said(detail.as_deref()), advice(token_source.as_deref(), *gated), wanted.tried, wanted.remedy())]
    Refused {
        /// What was looked for, and where.
        wanted: Wanted,
        /// 401 or 403.
        status: u16,
        /// Where the token that was sent came from; `None` when none was sent.
        token_source: Option<String>,
        /// True when the hub itself said that the model is gated.
        gated: bool,
        /// The hub's own words, if it sent any.
        detail: Option<String>,
    },
    /// The hub answered 404.
    #[error("no {wanted}: {} (404{}); tried {}; check the spelling, or {}", if *model_exists { "the model has no such file" } else { "the hub knows no such model or file" }, said(detail.as_deref()), wanted.tried, wanted.remedy())]
    NotFound {
        /// What was looked for, and where.
        wanted: Wanted,
        /// True when the hub said that only the file is missing.
        model_exists: bool,
        /// The hub's own words, if it sent any.
        detail: Option<String>,
    },
    /// Any other answer than the file.
    #[error("no {wanted}: {url} answered {status}; tried {}; try again later, or {}", wanted.tried, wanted.remedy())]
    Status {
        /// What was looked for, and where.
        wanted: Wanted,
        /// Who answered.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// No connection, no name, no TLS, or no HTTP.
    #[error("no {wanted}: cannot get an answer from {url}; tried {}; check the network and HF_ENDPOINT, or {}", wanted.tried, wanted.remedy())]
    Unreachable {
        /// What was looked for, and where.
        wanted: Wanted,
        /// Who was asked.
        url: String,
        /// The reason.
        source: Box<ureq::Error>,
    },
    /// A time limit ran out.
    #[error("no {wanted}: {url} took longer than {} s; tried {}; try again later, or {}", limit.as_secs_f64(), wanted.tried, wanted.remedy())]
    TimedOut {
        /// What was looked for, and where.
        wanted: Wanted,
        /// Who was asked.
        url: String,
        /// The limit that ran out.
        limit: Duration,
    },
    /// The answer ended before the file did. Nothing of it was kept.
    #[error("no {wanted}: the download from {url} was cut after {got} bytes{}; nothing was kept; tried {}; run again, or {}", expected.map(|n| format!(" of {n}")).unwrap_or_default(), wanted.tried, wanted.remedy())]
    Cut {
        /// What was looked for, and where.
        wanted: Wanted,
        /// Who sent it.
        url: String,
        /// Bytes that came.
        got: u64,
        /// Bytes announced, if any were.
        expected: Option<u64>,
    },
    /// A redirect that cannot or must not be followed.
    #[error("no {wanted}: {url} redirects {reason}; tried {}; check HF_ENDPOINT, or {}", wanted.tried, wanted.remedy())]
    Redirect {
        /// What was looked for, and where.
        wanted: Wanted,
        /// Who redirected.
        url: String,
        /// What is wrong with the redirect.
        reason: String,
    },
    /// The answer is not JSON: an HTML page of a proxy or a log-in wall, as a rule.
    #[error("no {wanted}: what {url} sent is not JSON; tried {}; check HF_ENDPOINT and any proxy, or {}", wanted.tried, wanted.remedy())]
    NotJson {
        /// What was looked for, and where.
        wanted: Wanted,
        /// Who sent it.
        url: String,
        /// Where the JSON breaks.
        source: serde_json::Error,
    },
    /// The answer is longer than any such file.
    #[error("no {wanted}: {url} sent more than {limit} bytes; tried {}; {}", wanted.tried, wanted.remedy())]
    TooLarge {
        /// What was looked for, and where.
        wanted: Wanted,
        /// Who sent it.
        url: String,
        /// Most bytes accepted.
        limit: u64,
    },
}

/// The server's own words after a status, in a bracket that is already open.
fn said(detail: Option<&str>) -> String {
    detail
        .map(|detail| format!(", \"{detail}\""))
        .unwrap_or_default()
}

/// What to do about a refusal, depending on whether a token was sent.
fn advice(token_source: Option<&str>, gated: bool) -> String {
    let state = if gated {
        "the model is gated"
    } else {
        "the model is gated or private, or does not exist"
    };
    match token_source {
        None => format!(
            "{state}, and no token was sent: accept the model's conditions on its page and set HF_TOKEN"
        ),
        Some(source) => format!(
            "{state}, and the token from {source} is not enough: accept the model's conditions on its page, or set HF_TOKEN \
             to a token that may read it"
        ),
    }
}

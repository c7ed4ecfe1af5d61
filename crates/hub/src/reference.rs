//! What a user (or a server) may call a model: `builtin`, a path, or a hub id.
//!
//! Decides only which of the three is meant, by looking whether the path exists; reads no file and no network.
//! What looks like a path and does not exist is refused here, so that a typing error never becomes a request to the hub.

use std::path::PathBuf;

use crate::error::HubError;

/// The word that stands for the tokenizer inside the program.
const BUILTIN: &str = "builtin";

/// Longest name the hub gives to a model, in characters (namespace and name each).
const MAX_NAME: usize = 96;

/// Where a model's files are to be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenizerRef {
    /// The tokenizer that ships inside the program.
    Builtin,
    /// An existing directory with the model's files, or an existing file.
    Path(PathBuf),
    /// An id of the hub, `org/name` or `name`.
    HubId(String),
}

impl TokenizerRef {
    /// Reads a value of `--tokenizer`, or a model name that a server reported.
    ///
    /// `builtin` is the built-in one (write `./builtin` for a directory of that name); an existing path is a path; anything
    /// else must be a well-formed hub id.
    ///
    /// # Errors
    /// [`HubError::NoSuchPath`] for what can only be a path and does not exist, [`HubError::BadId`] for what is neither a
    /// path nor an id the hub could have given out.
    pub fn parse(given: &str) -> Result<Self, HubError> {
        if given == BUILTIN {
            return Ok(Self::Builtin);
        }
        let path = PathBuf::from(given);
        if !given.is_empty() && path.exists() {
            return Ok(Self::Path(path));
        }
        if looks_like_path(given) {
            return Err(HubError::NoSuchPath {
                given: given.to_owned(),
            });
        }
        match id_fault(given) {
            None => Ok(Self::HubId(given.to_owned())),
            Some(reason) => Err(HubError::BadId {
                given: given.to_owned(),
                reason,
            }),
        }
    }
}

impl std::fmt::Display for TokenizerRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Builtin => f.write_str(BUILTIN),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::HubId(id) => f.write_str(id),
        }
    }
}

/// True for what no hub id can look like but a path often does.
fn looks_like_path(given: &str) -> bool {
    given.starts_with(['/', '.', '~'])
        || given.contains('\\')
        || given.ends_with('/')
        || given.matches('/').count() > 1
        || std::path::Path::new(given)
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// Why `id` cannot be a hub id; `None` when it can. The rules are the hub's own: one or two names of at most 96 ASCII
/// letters, digits, `-`, `_` and `.`, that neither begin nor end with `-` or `.` and hold no `--` or `..`. They also make
/// the id safe as a directory name.
pub(crate) fn id_fault(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        return Some("it is empty");
    }
    if id.split('/').count() > 2 {
        return Some("it has more than one `/`");
    }
    if id.contains("--") || id.contains("..") {
        return Some("it holds `--` or `..`");
    }
    for name in id.split('/') {
        if name.is_empty() || name.len() > MAX_NAME {
            return Some("each name in it must be 1 to 96 characters long");
        }
        if !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        {
            return Some("it may hold only letters, digits, `-`, `_`, `.` and one `/`");
        }
        if name.starts_with(['-', '.']) || name.ends_with(['-', '.']) {
            return Some("a name in it begins or ends with `-` or `.`");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_paths_and_builtin_are_told_apart() {
        for id in ["gpt2", "Qwen/Qwen2.5-Coder-32B-Instruct", "a/b_c.d", "123"] {
            assert_eq!(
                TokenizerRef::parse(id).unwrap(),
                TokenizerRef::HubId(id.to_owned())
            );
        }
        assert_eq!(
            TokenizerRef::parse("builtin").unwrap(),
            TokenizerRef::Builtin
        );
        let dir = tempfile::tempdir().unwrap();
        let given = dir.path().to_str().unwrap();
        assert_eq!(
            TokenizerRef::parse(given).unwrap(),
            TokenizerRef::Path(dir.path().to_path_buf())
        );
    }

    #[test]
    fn a_path_that_does_not_exist_is_said_to_be_one() {
        for given in [
            "/no/such/dir",
            "./nothing",
            "../nothing-here",
            "~/models/qwen",
            "models/qwen/",
            "a/b/c",
            "C:\\models\\qwen",
            "tokenizer.json",
        ] {
            let error = TokenizerRef::parse(given).unwrap_err();
            assert!(
                matches!(error, HubError::NoSuchPath { .. }),
                "{given}: {error}"
            );
            assert!(error.to_string().contains(given));
            assert!(error.to_string().contains("--tokenizer"));
        }
    }

    #[test]
    fn ids_the_hub_would_never_give_out_are_refused_before_any_request() {
        for given in [
            "",
            "llama3:8b",
            "org name/x",
            "a--b",
            "a..b",
            "-a",
            "org/a-",
            "org/na\nme",
            "ö/x",
        ] {
            let error = TokenizerRef::parse(given).unwrap_err();
            assert!(
                matches!(error, HubError::BadId { .. }),
                "{given:?}: {error}"
            );
        }
    }

    proptest! {
        /// Whatever string comes in, an accepted id makes a directory name of one harmless component.
        #[test]
        fn accepted_ids_are_safe_directory_names(given in "\\PC{0,40}|[a-zA-Z0-9./_-]{0,30}") {
            if id_fault(&given).is_none() {
                let folder = crate::cache::repo_folder(&given);
                let components: Vec<_> = std::path::Path::new(&folder).components().collect();
                prop_assert_eq!(components.len(), 1);
                prop_assert!(matches!(components[0], std::path::Component::Normal(_)));
            }
        }

        /// Two different accepted ids never share a directory.
        #[test]
        fn different_ids_have_different_directories(a in "[ab._-]{1,4}(/[ab._-]{1,4})?", b in "[ab._-]{1,4}(/[ab._-]{1,4})?") {
            if a != b && id_fault(&a).is_none() && id_fault(&b).is_none() {
                prop_assert_ne!(crate::cache::repo_folder(&a), crate::cache::repo_folder(&b));
            }
        }
    }
}

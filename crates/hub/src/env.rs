//! The user's hub settings, read once from the environment variables that Python's `huggingface_hub` reads.
//!
//! Promises the same meaning and precedence as there, with an empty variable counting as unset. Refuses to show a token:
//! [`Token`] has no `Display`, and its `Debug` hides the value.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The hub's own address, used when `HF_ENDPOINT` is not set.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// A token for the hub and where it came from.
#[derive(Clone)]
pub struct Token {
    value: String,
    source: String,
}

impl Token {
    /// A token with the words that say where it came from, such as `HF_TOKEN`; `None` when nothing but blanks is in it.
    #[must_use]
    pub fn new(value: &str, source: impl Into<String>) -> Option<Self> {
        let value = value.trim();
        (!value.is_empty()).then(|| Self {
            value: value.to_owned(),
            source: source.into(),
        })
    }

    /// Where it came from: the variable's name or the file's path.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The secret itself; for the one header that carries it, and for striking it out of texts.
    pub(crate) fn secret(&self) -> &str {
        &self.value
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("value", &"***")
            .field("source", &self.source)
            .finish()
    }
}

/// Everything the search for a model's files depends on besides the file system.
#[derive(Clone, Debug)]
pub struct HubEnv {
    /// The cache directory that holds `models--org--name`; `None` when not even a home directory is known.
    pub cache_dir: Option<PathBuf>,
    /// Address of the hub, with or without a path and a trailing slash.
    pub endpoint: String,
    /// Sent to the endpoint's own origin only.
    pub token: Option<Token>,
    /// True forbids every request.
    pub offline: bool,
    /// Longest wait for a name to resolve, and again for a connection to stand.
    pub connect_timeout: Duration,
    /// Longest wait for a whole download, redirects included.
    pub total_timeout: Duration,
    /// Whether `HTTPS_PROXY` and its kin are obeyed.
    pub use_proxy: bool,
}

impl HubEnv {
    /// Settings with nothing taken from the surroundings: this cache, this endpoint, no token, no proxy.
    #[must_use]
    pub fn new(cache_dir: impl Into<PathBuf>, endpoint: impl Into<String>) -> Self {
        Self {
            cache_dir: Some(cache_dir.into()),
            endpoint: endpoint.into(),
            token: None,
            offline: false,
            connect_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(120),
            use_proxy: false,
        }
    }

    /// Settings of this process: its environment variables, its home directory, its token file.
    #[must_use]
    pub fn from_process() -> Self {
        Self {
            use_proxy: true,
            ..Self::from_lookup(|name| std::env::var_os(name))
        }
    }

    /// Settings out of any set of variables.
    ///
    /// * cache: `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `$HF_HOME/hub`, where `HF_HOME` is by default
    ///   `$XDG_CACHE_HOME/huggingface` or `~/.cache/huggingface`;
    /// * endpoint: `HF_ENDPOINT`;
    /// * token: `HF_TOKEN`, else the older `HUGGING_FACE_HUB_TOKEN`, else the file `HF_TOKEN_PATH` (by default
    ///   `$HF_HOME/token`); none at all where `HF_HUB_DISABLE_IMPLICIT_TOKEN` is true;
    /// * offline: `HF_HUB_OFFLINE`, else `TRANSFORMERS_OFFLINE`, when 1, ON, YES or TRUE in any case.
    #[must_use]
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).map(|value| value.to_string_lossy().into_owned());
        let home = set("HOME")
            .or_else(|| set("USERPROFILE"))
            .map(PathBuf::from);
        let path = |name: &str| set(name).map(|value| expand_home(value, home.as_deref()));
        let is_true = |name: &str| text(name).is_some_and(|value| is_true(&value));

        let hf_home = path("HF_HOME").or_else(|| {
            path("XDG_CACHE_HOME")
                .or_else(|| home.as_ref().map(|home| home.join(".cache")))
                .map(|cache| cache.join("huggingface"))
        });
        let cache_dir = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| hf_home.as_ref().map(|hf_home| hf_home.join("hub")));
        let token_path =
            path("HF_TOKEN_PATH").or_else(|| hf_home.as_ref().map(|hf_home| hf_home.join("token")));
        let token = if is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            None
        } else {
            ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]
                .iter()
                .find_map(|name| Token::new(&text(name)?, *name))
                .or_else(|| token_from_file(&token_path?))
        };
        let offline = match text("HF_HUB_OFFLINE") {
            Some(value) => self::is_true(&value),
            None => is_true("TRANSFORMERS_OFFLINE"),
        };
        Self {
            cache_dir,
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned()),
            token,
            offline,
            ..Self::new(PathBuf::new(), "")
        }
    }
}

/// The values that mean "yes" in the hub's variables.
fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"]
        .iter()
        .any(|yes| value.eq_ignore_ascii_case(yes))
}

/// Puts the home directory where the path begins with `~/`, as the shell would have done outside quotes.
fn expand_home(value: OsString, home: Option<&Path>) -> PathBuf {
    let path = PathBuf::from(value);
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

/// The token that a log-in left on disk; a file that cannot be read is mentioned and otherwise ignored.
fn token_from_file(path: &Path) -> Option<Token> {
    match std::fs::read_to_string(path) {
        Ok(text) => Token::new(&text, format!("the token file {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(
                "ignoring the token file {}, which cannot be read: {error}",
                path.display()
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> HubEnv {
        let map: HashMap<String, OsString> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
            .collect();
        HubEnv::from_lookup(|name| map.get(name).cloned())
    }

    #[test]
    fn the_cache_is_found_in_the_order_python_uses() {
        let all = [
            ("HF_HUB_CACHE", "/a"),
            ("HUGGINGFACE_HUB_CACHE", "/b"),
            ("HF_HOME", "/c"),
            ("XDG_CACHE_HOME", "/d"),
            ("HOME", "/e"),
        ];
        let expected = [
            "/a",
            "/b",
            "/c/hub",
            "/d/huggingface/hub",
            "/e/.cache/huggingface/hub",
        ];
        for (skip, expected) in expected.iter().enumerate() {
            assert_eq!(
                env(&all[skip..]).cache_dir.as_deref(),
                Some(Path::new(expected))
            );
        }
        assert_eq!(env(&[]).cache_dir, None);
        assert_eq!(
            env(&[("HF_HUB_CACHE", ""), ("HF_HOME", "~/hf"), ("HOME", "/e")]).cache_dir,
            Some(PathBuf::from("/e/hf/hub"))
        );
    }

    #[test]
    fn offline_has_four_spellings_and_any_other_value_means_online() {
        for yes in ["1", "ON", "yes", "True", "TRUE"] {
            assert!(env(&[("HF_HUB_OFFLINE", yes)]).offline, "{yes}");
            assert!(env(&[("TRANSFORMERS_OFFLINE", yes)]).offline, "{yes}");
        }
        for no in ["0", "off", "no", "false", "", "2"] {
            assert!(!env(&[("HF_HUB_OFFLINE", no)]).offline, "{no}");
        }
        assert!(!env(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]).offline);
    }

    #[test]
    fn the_token_comes_from_the_variable_before_the_file_and_is_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "hf_fromfile\n").unwrap();
        let home = dir.path().to_str().unwrap();
        let from_file = env(&[("HF_HOME", home)]);
        assert_eq!(from_file.token.as_ref().unwrap().secret(), "hf_fromfile");
        let both = env(&[("HF_HOME", home), ("HF_TOKEN", " hf_fromenv\r\n")]);
        assert_eq!(both.token.as_ref().unwrap().secret(), "hf_fromenv");
        assert_eq!(both.token.as_ref().unwrap().source(), "HF_TOKEN");
        let other = dir.path().join("elsewhere");
        std::fs::write(&other, "hf_elsewhere").unwrap();
        let by_path = env(&[
            ("HF_HOME", home),
            ("HF_TOKEN", "  "),
            ("HF_TOKEN_PATH", other.to_str().unwrap()),
        ]);
        assert_eq!(by_path.token.as_ref().unwrap().secret(), "hf_elsewhere");
        for env in [&from_file, &both, &by_path] {
            assert!(!format!("{env:?}").contains("hf_"), "{env:?}");
        }
        assert!(
            env(&[("HF_TOKEN", "x"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")])
                .token
                .is_none()
        );
    }

    #[test]
    fn the_endpoint_falls_back_to_the_hub_itself() {
        assert_eq!(env(&[]).endpoint, DEFAULT_ENDPOINT);
        assert_eq!(env(&[("HF_ENDPOINT", "")]).endpoint, DEFAULT_ENDPOINT);
        assert_eq!(
            env(&[("HF_ENDPOINT", "http://m/hf/")]).endpoint,
            "http://m/hf/"
        );
    }
}

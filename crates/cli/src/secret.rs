//! Keys and header values that cannot be printed by accident.
//!
//! Promise: `Debug` and `Display` of a [`Secret`] show `***`; the text is reached by
//! [`Secret::expose`] only. A [`Redactor`] removes known secrets from text that came from outside,
//! such as a server's "invalid key sk-…".

use std::borrow::Cow;
use std::fmt;

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// Secrets shorter than this are not searched for in foreign text: they would hit ordinary words.
const SHORTEST_REDACTED: usize = 6;

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Whether a header's value must be kept out of files and logs, judged by its name.
///
/// Errs on the side of hiding: a value hidden in vain costs a re-typed option, a value shown in vain
/// costs a key.
#[must_use]
pub fn is_secret_header(name: &str) -> bool {
    const MARKS: [&str; 10] = [
        "auth",
        "key",
        "token",
        "secret",
        "cookie",
        "passw",
        "credential",
        "session",
        "signature",
        "jwt",
    ];
    let name = name.to_ascii_lowercase();
    MARKS.iter().any(|mark| name.contains(mark))
}

/// Replaces known secrets in text by [`MASK`].
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Vec<String>,
}

impl Redactor {
    /// A redactor of these secrets. Very short ones are left alone, for they would hit ordinary words.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut secrets: Vec<String> = secrets
            .into_iter()
            .map(str::trim)
            .filter(|secret| secret.len() >= SHORTEST_REDACTED)
            .map(str::to_owned)
            .collect();
        // Longest first: a secret that contains another must not leave a readable remainder.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self { secrets }
    }

    /// The text without the secrets; borrowed when it holds none.
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), MASK));
            }
        }
        text
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} secrets)", self.secrets.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_only_stars() {
        let secret = Secret::new("sk-123456");
        assert_eq!(format!("{secret:?} {secret}"), "*** ***");
        assert_eq!(secret.expose(), "sk-123456");
    }

    #[test]
    fn names_that_promise_a_secret_are_recognised() {
        for name in [
            "Authorization",
            "X-API-Key",
            "api-key",
            "Cookie",
            "x-amz-security-token",
            "Proxy-Authorization",
        ] {
            assert!(is_secret_header(name), "{name}");
        }
        for name in ["Accept", "X-Request-Class", "User-Agent", "X-Tenant"] {
            assert!(!is_secret_header(name), "{name}");
        }
    }

    #[test]
    fn a_secret_inside_another_leaves_no_remainder() {
        let redactor = Redactor::new(["sk-abcdef", "sk-abcdef-long"]);
        assert_eq!(
            redactor.redact("key sk-abcdef-long is wrong, sk-abcdef too"),
            "key *** is wrong, *** too"
        );
        assert!(matches!(redactor.redact("nothing here"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_short_secret_does_not_eat_ordinary_words() {
        assert_eq!(
            Redactor::new(["EMPTY", ""]).redact("the body is EMPTY"),
            "the body is EMPTY"
        );
    }
}

//! A whole URL that is posted to as it is, query included.

use std::fmt;

use http::Uri;

use crate::endpoint::{EndpointError, Origin, well_formed, without_values};

/// Why a text is no URL that can be posted to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlainUrlError {
    /// Nothing but blanks.
    #[error("the endpoint is empty; give a URL such as http://localhost:8000/generate")]
    Empty,
    /// A user name or password before the host. The URL is not repeated, it holds a secret.
    #[error("the endpoint holds a user name or password; pass credentials by --header")]
    Credentials,
    /// Anything else that is wrong with it.
    #[error(transparent)]
    Invalid(EndpointError),
}

impl From<EndpointError> for PlainUrlError {
    fn from(error: EndpointError) -> Self {
        match error {
            EndpointError::Empty => Self::Empty,
            EndpointError::Credentials => Self::Credentials,
            other => Self::Invalid(other),
        }
    }
}

/// An http or https URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainUrl {
    /// As it may be shown.
    shown: String,
    origin: Origin,
    target: Uri,
}

impl PlainUrl {
    /// Takes a URL as it is: nothing is added to its path, its query is kept. A fragment is dropped, as
    /// it never leaves a client.
    ///
    /// # Errors
    /// When it is no http or https URL; the message says what to write instead.
    pub fn parse(text: &str) -> Result<Self, PlainUrlError> {
        let given = well_formed(text)?;
        let sent = given.split('#').next().unwrap_or(given);
        let (origin, target) = Origin::parse(sent)?;
        Ok(Self {
            shown: without_values(given),
            origin,
            target,
        })
    }

    /// Whether it is asked over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.origin.https
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn target(&self) -> &Uri {
        &self.target
    }

    /// The URL that `location` names, seen from `from`; `None` when it is on another server.
    pub(crate) fn resolve(&self, from: &Uri, location: &str) -> Option<Uri> {
        let location = location.split('#').next().unwrap_or(location);
        let absolute = if location.contains("://") {
            location.to_owned()
        } else if location.starts_with("//") {
            format!("{}:{location}", from.scheme_str()?)
        } else if location.starts_with('/') {
            format!("{}{location}", self.origin.base())
        } else {
            // Relative to the folder of the path: RFC 3986, section 5.2.3.
            let folder = from
                .path()
                .rsplit_once('/')
                .map_or("", |(folder, _)| folder);
            format!("{}{folder}/{location}", self.origin.base())
        };
        let (origin, target) = Origin::parse(&absolute).ok()?;
        let is_same = (origin.https, origin.port) == (self.origin.https, self.origin.port)
            && origin.host.eq_ignore_ascii_case(&self.origin.host);
        is_same.then_some(target)
    }
}

impl fmt::Display for PlainUrl {
    /// As it was given, without blanks around it and without the values of its query, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Path and query alone, the form of HTTP/1.1.
pub(crate) fn origin_form(target: &Uri) -> Uri {
    match target.path_and_query() {
        Some(path) => Uri::from(path.clone()),
        None => Uri::from_static("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, authority: &str, path: &str) {
        let url = PlainUrl::parse(text).unwrap();
        assert_eq!(url.origin.authority, authority, "{text}");
        assert_eq!(origin_form(&url.target).to_string(), path, "{text}");
    }

    #[test]
    fn a_url_is_taken_as_it_is() {
        check(
            "http://localhost:8000/generate",
            "localhost:8000",
            "/generate",
        );
        check(" https://h/a/b/?x=1&y=2#z ", "h", "/a/b/?x=1&y=2");
        check("http://h:1", "h:1", "/");
        check("http://[::1]:8000/g", "[::1]:8000", "/g");
    }

    #[test]
    fn what_is_no_url_is_refused_with_the_remedy() {
        for (text, words) in [
            ("", "http://localhost:8000/generate"),
            (
                "localhost:8000/generate",
                "write http://localhost:8000/generate",
            ),
            ("ftp://h/x", "only http and https"),
            ("http://", "host is missing"),
            ("http://h:0/x", "port"),
            ("http://h h/x", "not a URL"),
        ] {
            let message = PlainUrl::parse(text).expect_err(text).to_string();
            assert!(message.contains(words), "{text}: {message}");
        }
        let error = PlainUrl::parse("http://me:hunter2@h/x").expect_err("a password");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn a_location_is_followed_on_the_same_server_only() {
        let url = PlainUrl::parse("http://h:8000/api/generate/").unwrap();
        let resolve = |location| {
            url.resolve(&url.target, location)
                .map(|target| target.to_string())
        };
        for (location, target) in [
            ("/generate", "http://h:8000/generate"),
            ("http://H:8000/x?y=1#z", "http://H:8000/x?y=1"),
            ("//h:8000/x", "http://h:8000/x"),
            ("other", "http://h:8000/api/generate/other"),
        ] {
            assert_eq!(resolve(location).as_deref(), Some(target), "{location}");
        }
        for location in [
            "https://h:8000/x",
            "http://h:8001/x",
            "http://elsewhere:8000/x",
            "http:// /",
        ] {
            assert_eq!(resolve(location), None, "{location}");
        }
    }
}

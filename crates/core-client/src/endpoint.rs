//! Where requests go: an API base URL, parsed once and refused early.

use std::fmt;

use http::Uri;

/// Which of the two completion APIs is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EndpointType {
    /// `POST <base>/chat/completions` with `messages`.
    #[default]
    Chat,
    /// `POST <base>/completions` with `prompt`.
    Completions,
}

impl EndpointType {
    /// Path below the base URL.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Completions => "/completions",
        }
    }
}

/// Which HTTP version connections speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HttpVersion {
    /// HTTP/1.1 on http; on https whatever ALPN agrees on, HTTP/2 preferred.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only: by prior knowledge on http, demanded by ALPN on https.
    Http2,
}

/// Why a string is not an API base URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Nothing but blanks.
    #[error("the endpoint is empty; give a base URL such as http://localhost:8000/v1")]
    Empty,
    /// No `scheme://` in front.
    #[error("the endpoint {given:?} has no scheme; write http://{given} or https://{given}")]
    NoScheme {
        /// The endpoint as given.
        given: String,
    },
    /// A scheme other than the two.
    #[error("the endpoint {given:?} has the scheme {scheme}; only http and https can be measured")]
    Scheme {
        /// The endpoint as given.
        given: String,
        /// Its scheme.
        scheme: String,
    },
    /// A user name or password before the host. The endpoint is not repeated, it holds a secret.
    #[error(
        "the endpoint holds a user name or password; pass credentials by --api-key or --header"
    )]
    Credentials,
    /// A query or fragment.
    #[error("the endpoint {given:?} has a query or fragment; give the base URL alone")]
    Query {
        /// The endpoint as given.
        given: String,
    },
    /// The path of one API call in place of the base.
    #[error("the endpoint {given:?} ends in {call}; give the base URL without it")]
    Call {
        /// The endpoint as given.
        given: String,
        /// The path that is too much.
        call: &'static str,
    },
    /// A port that is none.
    #[error("the endpoint {given:?} has no valid port; ports are 1 to 65535")]
    Port {
        /// The endpoint as given.
        given: String,
    },
    /// Not a URL.
    #[error("the endpoint {given:?} is not a URL: {reason}")]
    Invalid {
        /// The endpoint as given.
        given: String,
        /// What the parser said.
        reason: String,
    },
}

/// The base URL of one server's API.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    given: String,
    base: String,
    origin: Origin,
    path: String,
}

/// The part of a URL that a connection needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) https: bool,
    /// Host name or IP address, an IPv6 one without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Host and port as they were written, for the Host header.
    pub(crate) authority: String,
}

/// Paths that people copy along with the base URL.
const CALLS: [&str; 3] = ["/chat/completions", "/v1/completions", "/v1/models"];

impl Endpoint {
    /// Takes a base URL with or without `/v1`. A path in front of `/v1` is kept, slashes at the end go.
    ///
    /// # Errors
    /// When it is not a plain http or https URL; the message says what to write instead.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let trimmed = well_formed(text)?;
        if trimmed.contains(['?', '#']) {
            return Err(EndpointError::Query {
                given: without_values(trimmed),
            });
        }
        let given = trimmed.trim_end_matches('/').to_owned();
        let (origin, uri) = Origin::parse(&given)?;
        let path = uri.path().trim_end_matches('/');
        if let Some(call) = CALLS.into_iter().find(|call| path.ends_with(call)) {
            return Err(EndpointError::Call { given, call });
        }
        let path = if path.ends_with("/v1") {
            path.to_owned()
        } else {
            format!("{path}/v1")
        };
        let base = format!("{}{path}", origin.base());
        Ok(Self {
            given,
            base,
            origin,
            path,
        })
    }

    /// The base URL of the API; ends in `/v1`.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base
    }

    /// The URL as it was given, without slashes at its end.
    #[must_use]
    pub fn given(&self) -> &str {
        &self.given
    }

    /// `<base>/models`, the URL that model detection asks.
    #[must_use]
    pub fn models_url(&self) -> String {
        format!("{}/models", self.base)
    }

    /// Where connections go.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Path of the base URL, `/v1` included.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

/// The URL as it may be shown: the values of its query are left out, for keys are passed in them.
pub(crate) fn without_values(url: &str) -> String {
    let (url, fragment) = url
        .split_once('#')
        .map_or((url, None), |(url, fragment)| (url, Some(fragment)));
    let mut shown = url.to_owned();
    if let Some((path, query)) = url.split_once('?') {
        let names = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) => format!("{name}=***"),
            // A value without a name is a value all the same.
            None if pair.is_empty() => String::new(),
            None => "***".to_owned(),
        });
        shown = format!("{path}?{}", names.collect::<Vec<_>>().join("&"));
    }
    if fragment.is_some_and(|fragment| !fragment.is_empty()) {
        shown.push_str("#***");
    }
    shown
}

/// The text without blanks around it, if it may be a URL at all. Nothing that holds a password gets
/// further than this, so that no message repeats one.
pub(crate) fn well_formed(text: &str) -> Result<&str, EndpointError> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(EndpointError::Empty);
    }
    // A `@` in a path is legal, so only the part between the scheme and the first slash counts.
    let after_scheme = trimmed.split_once("://").map_or(trimmed, |(_, rest)| rest);
    let authority_text = after_scheme
        .split(['/', '?', '#'])
        .next()
        .unwrap_or_default();
    if authority_text.contains('@') {
        return Err(EndpointError::Credentials);
    }
    if !trimmed.contains("://") {
        let given = without_values(trimmed.trim_end_matches('/'));
        return Err(EndpointError::NoScheme { given });
    }
    if authority_text.is_empty() {
        return Err(EndpointError::Invalid {
            given: without_values(trimmed),
            reason: "the host is missing".to_owned(),
        });
    }
    Ok(trimmed)
}

impl Origin {
    /// The origin of a URL that [`well_formed`] let through, and the URL in parts.
    pub(crate) fn parse(given: &str) -> Result<(Self, Uri), EndpointError> {
        let shown = || without_values(given);
        let invalid = |reason: &str| EndpointError::Invalid {
            given: shown(),
            reason: reason.to_owned(),
        };
        let uri: Uri = given
            .parse()
            .map_err(|e: http::uri::InvalidUri| invalid(&e.to_string()))?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            other => {
                return Err(EndpointError::Scheme {
                    scheme: other.unwrap_or_default().to_owned(),
                    given: shown(),
                });
            }
        };
        let authority = uri
            .authority()
            .ok_or_else(|| invalid("the host is missing"))?;
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if host.is_empty() {
            return Err(invalid("the host is missing"));
        }
        let port_text = authority.as_str()[authority.host().len()..].strip_prefix(':');
        let port = match port_text {
            None if https => 443,
            None => 80,
            Some(digits) => match digits.parse::<u16>() {
                Ok(port) if port != 0 => port,
                _ => {
                    return Err(EndpointError::Port { given: shown() });
                }
            },
        };
        let authority = authority.as_str().to_owned();
        let origin = Self {
            https,
            host,
            port,
            authority,
        };
        Ok((origin, uri))
    }

    /// `http://host:port`, as it was written.
    pub(crate) fn base(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, base: &str, host: &str, port: u16) {
        let endpoint = Endpoint::parse(text).unwrap();
        assert_eq!(endpoint.base_url(), base, "base of {text}");
        assert_eq!(endpoint.origin().host, host, "host of {text}");
        assert_eq!(endpoint.origin().port, port, "port of {text}");
    }

    #[test]
    fn the_version_path_is_added_once_and_slashes_at_the_end_go() {
        check(
            "http://localhost:8000",
            "http://localhost:8000/v1",
            "localhost",
            8000,
        );
        check(
            "http://localhost:8000/",
            "http://localhost:8000/v1",
            "localhost",
            8000,
        );
        check(
            "http://localhost:8000/v1",
            "http://localhost:8000/v1",
            "localhost",
            8000,
        );
        check(
            "http://localhost:8000/v1///",
            "http://localhost:8000/v1",
            "localhost",
            8000,
        );
        check(
            " https://a.example/ ",
            "https://a.example/v1",
            "a.example",
            443,
        );
        check("http://a.example", "http://a.example/v1", "a.example", 80);
        check(
            "HTTP://a.example:1",
            "http://a.example:1/v1",
            "a.example",
            1,
        );
    }

    #[test]
    fn the_values_of_a_query_are_shown_nowhere() {
        for text in [
            "http://h/v1?key=hunter2",
            "h/v1?key=hunter2",
            "ftp://h/v1?key=hunter2",
            "http://h:0/v1?key=hunter2",
            "http:///v1?key=hunter2",
            "http://h/v1?hunter2",
            "http://h/v1#hunter2",
        ] {
            let message = Endpoint::parse(text).unwrap_err().to_string();
            assert!(!message.contains("hunter2"), "{message}");
        }
        assert_eq!(
            without_values("http://h/g?key=a%3Db&stream=true&&x#top"),
            "http://h/g?key=***&stream=***&&***#***"
        );
        assert_eq!(without_values("http://h/g"), "http://h/g");
    }

    #[test]
    fn a_prefix_of_the_path_is_kept() {
        check("http://h:1/proxy/llm", "http://h:1/proxy/llm/v1", "h", 1);
        check(
            "http://h:1/proxy/llm/v1/",
            "http://h:1/proxy/llm/v1",
            "h",
            1,
        );
        check("http://h:1/a@b/", "http://h:1/a@b/v1", "h", 1);
        check("http://h:1/models", "http://h:1/models/v1", "h", 1);
    }

    #[test]
    fn ipv6_literals_lose_their_brackets_only_as_a_host() {
        check("http://[::1]:8000", "http://[::1]:8000/v1", "::1", 8000);
        check(
            "https://[2001:db8::2]",
            "https://[2001:db8::2]/v1",
            "2001:db8::2",
            443,
        );
        assert_eq!(
            Endpoint::parse("http://[::1]:8000")
                .unwrap()
                .origin()
                .authority,
            "[::1]:8000"
        );
    }

    #[test]
    fn the_given_form_is_kept_without_slashes_at_its_end() {
        assert_eq!(
            Endpoint::parse("http://h:1/v1/").unwrap().given(),
            "http://h:1/v1"
        );
        assert_eq!(
            Endpoint::parse("http://h:1//").unwrap().given(),
            "http://h:1"
        );
        assert_eq!(
            Endpoint::parse("http://h:1").unwrap().models_url(),
            "http://h:1/v1/models"
        );
    }

    #[track_caller]
    fn refused(text: &str, words: &str) {
        let message = Endpoint::parse(text).expect_err(text).to_string();
        assert!(message.contains(words), "{text}: {message}");
    }

    #[test]
    fn what_is_no_base_url_is_refused_with_the_remedy() {
        refused("", "empty");
        refused("  ", "empty");
        refused("localhost:8000", "write http://localhost:8000");
        refused("ftp://h", "only http and https");
        refused("http://", "not a URL");
        refused("http://:8000", "host is missing");
        refused("http://h:0", "port");
        refused("http://h:99999", "port");
        refused("http://h:", "port");
        refused("http://h:80?x=1", "query");
        refused("http://h:80/v1#frag", "query or fragment");
        refused(
            "http://h:80/v1/chat/completions",
            "ends in /chat/completions",
        );
        refused("http://h:80/v1/models/", "ends in /v1/models");
        refused("http://h h", "not a URL");
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_not_repeated() {
        for text in [
            "http://me:hunter2@h:1",
            "me:hunter2@h",
            "ftp://me:hunter2@h/x?y",
        ] {
            let error = Endpoint::parse(text).expect_err(text);
            assert!(
                !format!("{error} {error:?}").contains("hunter2"),
                "{error:?}"
            );
        }
    }
}

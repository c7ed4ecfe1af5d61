//! Addresses of the hub: joined, compared by origin, resolved against a redirect's `Location`, and shown without secrets.
//!
//! Understands `http` and `https` only, and refuses addresses that carry a user name or password, so that none can reach a
//! log or another host. Resolving follows RFC 3986, section 5.2, for these two schemes.

use std::fmt;

use ureq::http::Uri;
use ureq::http::uri::Scheme;

/// An absolute http or https address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    uri: Uri,
}

impl Address {
    /// Reads an absolute address.
    ///
    /// # Errors
    /// The reason, as the end of a sentence that begins with the address's name; the address itself is not in it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const NEEDED: &str = "must be an address that begins with http:// or https://";
        let text = text.trim().split('#').next().unwrap_or_default();
        let uri: Uri = text.parse().map_err(|_| NEEDED)?;
        let plain = match uri.scheme() {
            Some(scheme) => scheme == &Scheme::HTTP || scheme == &Scheme::HTTPS,
            None => false,
        };
        let Some(authority) = uri.authority().filter(|_| plain) else {
            return Err(NEEDED);
        };
        if authority.as_str().contains('@') {
            return Err("must not hold a user name or password (a token goes into HF_TOKEN)");
        }
        if authority.host().is_empty() {
            return Err("names no host");
        }
        Ok(Self { uri })
    }

    /// This address with `path` (no leading slash) put after its own path.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub(crate) fn below(&self, path: &str) -> Result<Self, &'static str> {
        let base = self.uri.path().trim_end_matches('/');
        Self::parse(&format!("{}{base}/{path}", self.origin()))
    }

    /// The address that a `Location` header of an answer from this address means.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub(crate) fn resolve(&self, location: &str) -> Result<Self, &'static str> {
        let location = location.trim();
        if has_scheme(location) {
            return Self::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            let scheme = if self.is_https() { "https" } else { "http" };
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let (path, query) = match location.find(['?', '#']) {
            Some(at) => location.split_at(at),
            None => (location, ""),
        };
        let path = if path.is_empty() {
            self.uri.path().to_owned()
        } else if path.starts_with('/') {
            without_dots(path)
        } else {
            let base = self.uri.path();
            let folder = &base[..base.rfind('/').map_or(0, |at| at + 1)];
            without_dots(&format!("/{}{path}", folder.trim_start_matches('/')))
        };
        Self::parse(&format!("{}{path}{query}", self.origin()))
    }

    /// Scheme, host and port; two addresses with the same origin belong to the same server as far as secrets go.
    fn origin(&self) -> String {
        let host = self.uri.host().unwrap_or_default().to_ascii_lowercase();
        let (scheme, default_port) = if self.is_https() {
            ("https", 443)
        } else {
            ("http", 80)
        };
        match self.uri.port_u16() {
            Some(port) if port != default_port => format!("{scheme}://{host}:{port}"),
            _ => format!("{scheme}://{host}"),
        }
    }

    /// True when both have the same scheme, host and port.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        self.origin() == other.origin()
    }

    /// True for https.
    pub(crate) fn is_https(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }

    /// The address to send a request to.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }
}

/// Without the query: content networks sign it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.uri.path())
    }
}

/// True when the text begins with `scheme:`.
fn has_scheme(text: &str) -> bool {
    let Some(at) = text.find([':', '/', '?', '#']) else {
        return false;
    };
    text.as_bytes()[at] == b':'
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text[..at]
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// Removes `.` and `..` from an absolute path (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn only_http_and_https_addresses_with_a_host_and_without_secrets_are_taken() {
        for good in [
            "http://h",
            "https://h:8443/a/b/",
            "HTTP://H/",
            "http://[::1]:80/x",
        ] {
            assert!(Address::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "h",
            "h:80",
            "/x",
            "ftp://h/",
            "http://",
            "file:///etc/passwd",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        let reason = Address::parse("http://me:geheim@h/").unwrap_err();
        assert!(reason.contains("HF_TOKEN") && !reason.contains("geheim"));
    }

    #[test]
    fn paths_are_put_after_the_endpoints_own_path() {
        for base in ["http://h:1/hf", "http://h:1/hf/", "http://h:1/hf//"] {
            assert_eq!(
                address(base)
                    .below("o/n/resolve/main/f")
                    .unwrap()
                    .uri()
                    .to_string(),
                "http://h:1/hf/o/n/resolve/main/f"
            );
        }
        assert_eq!(
            address("https://h").below("n/f").unwrap().uri().to_string(),
            "https://h/n/f"
        );
    }

    #[test]
    fn locations_are_resolved_as_a_browser_would() {
        let base = address("https://h:8443/a/b/c?x=1");
        for (location, expected) in [
            ("https://cdn/f?sig=1", "https://cdn/f?sig=1"),
            ("//cdn:9/f", "https://cdn:9/f"),
            ("/z", "https://h:8443/z"),
            ("/z/../y?q=a/b", "https://h:8443/y?q=a/b"),
            ("d", "https://h:8443/a/b/d"),
            ("../d", "https://h:8443/a/d"),
            ("../../../d", "https://h:8443/d"),
            ("./", "https://h:8443/a/b/"),
            ("?q", "https://h:8443/a/b/c?q"),
            ("d#part", "https://h:8443/a/b/d"),
        ] {
            assert_eq!(
                base.resolve(location).unwrap().uri().to_string(),
                expected,
                "{location}"
            );
        }
        assert!(base.resolve("javascript:alert(1)").is_err());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let base = address("https://h/a");
        assert!(base.same_origin(&address("https://H:443/b?c")));
        for other in [
            "http://h/a",
            "https://h:444/a",
            "https://h.evil/a",
            "https://x/a",
        ] {
            assert!(!base.same_origin(&address(other)), "{other}");
        }
        assert!(!address("http://127.0.0.1:5/").same_origin(&address("http://localhost:5/")));
    }

    #[test]
    fn a_shown_address_has_no_query() {
        assert_eq!(
            address("https://cdn/f?sig=secret").to_string(),
            "https://cdn/f"
        );
    }
}

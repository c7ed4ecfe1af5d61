//! `--header 'K: V'`.
//!
//! Promise: a header that was accepted can be sent as it is; the values of secret-looking ones show
//! as `***` in `Debug`. Refuses headers that describe the connection itself.

use std::fmt;

use thiserror::Error;

use crate::secret::{MASK, is_secret_header};

/// A header of every request.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    name: String,
    value: String,
}

/// Why a text is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// No colon.
    #[error("not of the form 'Name: value'")]
    NoColon,
    /// A name with characters that HTTP does not allow.
    #[error("not a header: the name before the colon must be letters, digits and dashes")]
    Name,
    /// A value with characters that HTTP does not allow.
    #[error("not a header: the value must be printable ASCII")]
    Value,
    /// A header that the client must set itself.
    #[error("not allowed: this header belongs to the connection and is set by the tool")]
    Reserved,
}

impl Header {
    /// Reads `Name: value`; blanks around the value do not count.
    ///
    /// # Errors
    /// When that could not be sent; see [`HeaderError`].
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        const RESERVED: [&str; 5] = [
            "connection",
            "content-length",
            "keep-alive",
            "transfer-encoding",
            "upgrade",
        ];
        let (name, value) = text.split_once(':').ok_or(HeaderError::NoColon)?;
        let (name, value) = (name.trim(), value.trim());
        // RFC 9110, section 5.6.2: the characters of a token.
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(HeaderError::Name);
        }
        if !value
            .bytes()
            .all(|b| b == b'\t' || (b' '..=b'~').contains(&b))
        {
            return Err(HeaderError::Value);
        }
        if RESERVED
            .iter()
            .any(|reserved| name.eq_ignore_ascii_case(reserved))
        {
            return Err(HeaderError::Reserved);
        }
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }

    /// The name as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value; see [`Header::is_secret`] before showing it.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether the value must be kept out of files and logs.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        is_secret_header(&self.name)
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.is_secret() { MASK } else { &self.value };
        write!(f, "Header({}: {value})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_headers_are_split_at_the_first_colon() {
        let header = Header::parse("X-Class:  a: b ").unwrap();
        assert_eq!(
            (header.name(), header.value(), header.is_secret()),
            ("X-Class", "a: b", false)
        );
        assert_eq!(Header::parse("X-Empty:").unwrap().value(), "");
    }

    #[test]
    fn what_could_not_be_sent_is_refused() {
        let cases = [
            ("no colon", HeaderError::NoColon),
            (": v", HeaderError::Name),
            ("X Y: v", HeaderError::Name),
            ("Näme: v", HeaderError::Name),
            ("X: a\nY: b", HeaderError::Value),
            ("X: ü", HeaderError::Value),
            ("Content-Length: 5", HeaderError::Reserved),
        ];
        for (text, error) in cases {
            assert_eq!(Header::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_secret_value_is_not_shown() {
        let header = Header::parse("Authorization: Basic abc").unwrap();
        assert_eq!(format!("{header:?}"), "Header(Authorization: ***)");
        assert_eq!(
            format!("{:?}", Header::parse("X: y").unwrap()),
            "Header(X: y)"
        );
    }
}

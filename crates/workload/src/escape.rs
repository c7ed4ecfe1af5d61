//! JSON string escaping, there and back.
//!
//! Promise: `unescape(escape(text)) == text` for every text, and an escaped text may stand between two quotes of a
//! JSON document. Texts are stored escaped so that a request body needs no work at send time.

/// Appends `text` to `out` as the inside of a JSON string.
pub(crate) fn escape_into(text: &str, out: &mut Vec<u8>) {
    // Almost all of our text is plain.
    if !text.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\') {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
}

/// Appends what `escaped` (written by [`escape_into`], whole or cut between two escapes) stands for.
pub(crate) fn unescape_into(escaped: &[u8], out: &mut Vec<u8>) {
    let mut rest = escaped;
    while let Some(at) = rest.iter().position(|b| *b == b'\\') {
        out.extend_from_slice(&rest[..at]);
        let (byte, used) = match rest.get(at + 1) {
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b't') => (b'\t', 2),
            Some(b'u') => (control(rest.get(at + 2..at + 6)), 6),
            Some(other) => (*other, 2),
            None => (b'\\', 1),
        };
        out.push(byte);
        rest = rest.get(at + used..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// The control character of four hexadecimal digits.
fn control(digits: Option<&[u8]>) -> u8 {
    digits
        .and_then(|d| std::str::from_utf8(d).ok())
        .and_then(|d| u8::from_str_radix(d, 16).ok())
        .unwrap_or(b'?')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Escaping and back gives the same text, and nothing that JSON forbids inside a string remains.
        #[test]
        fn escaping_is_undone_by_unescaping(text in any::<String>()) {
            let mut escaped = Vec::new();
            escape_into(&text, &mut escaped);
            prop_assert!(escaped.iter().all(|b| *b >= 0x20));
            let mut plain = Vec::new();
            unescape_into(&escaped, &mut plain);
            prop_assert_eq!(String::from_utf8(plain).unwrap(), text);
        }
    }
}

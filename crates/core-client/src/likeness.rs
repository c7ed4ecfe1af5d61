//! Recognises an event that differs from an earlier one only in its text, without reading its JSON again.
//!
//! Servers send the same object for every token of an answer but for one string. Where an event begins and
//! ends with the very bytes that stood around the text of one that was read in full, and what stands
//! between them is a string's inside without escapes, reading it in full would give the same object with
//! that text: nothing is guessed. Whatever else an event may be is read in full.

use memchr::memchr2;

/// Shortest texts first: a token is some bytes, and a loop over those costs less than a call.
const SHORT: usize = 32;

/// The bytes around the text of an event that was read in full.
#[derive(Debug, Default)]
pub(crate) struct Likeness {
    /// Both sides, one behind the other. Empty: nothing to compare with.
    frame: Vec<u8>,
    /// Where the second begins.
    cut: usize,
}

impl Likeness {
    /// Remembers an event whose only text is `text`, a slice of `data` between two quotes.
    pub(crate) fn learn(&mut self, data: &[u8], text: &str) {
        self.frame.clear();
        let start = (text.as_ptr() as usize).wrapping_sub(data.as_ptr() as usize);
        let end = start.saturating_add(text.len());
        // Escaped text was decoded into a string of its own and lies elsewhere.
        let Some((before, rest)) = data.split_at_checked(start) else {
            return;
        };
        let Some((inside, behind)) = rest.split_at_checked(text.len()) else {
            return;
        };
        if inside.as_ptr() != text.as_ptr()
            || before.last() != Some(&b'"')
            || behind.first() != Some(&b'"')
        {
            return;
        }
        debug_assert_eq!(&data[start..end], text.as_bytes());
        self.frame.reserve_exact(before.len() + behind.len());
        self.frame.extend_from_slice(before);
        self.frame.extend_from_slice(behind);
        self.cut = before.len();
    }

    /// The text of an event like the remembered one; `None` when it has to be read in full, also when its
    /// text is empty: then another field may hold output.
    pub(crate) fn text_of<'d>(&self, data: &'d [u8]) -> Option<&'d str> {
        if self.frame.is_empty() {
            return None;
        }
        let (before, behind) = self.frame.split_at(self.cut);
        let text = data.strip_prefix(before)?.strip_suffix(behind)?;
        if text.is_empty() || !is_plain(text) {
            return None;
        }
        std::str::from_utf8(text).ok()
    }
}

/// Whether these bytes inside of quotes are themselves: no quote, no escape, no control character.
fn is_plain(text: &[u8]) -> bool {
    if text.len() <= SHORT {
        return text.iter().all(|b| *b >= 0x20 && *b != b'"' && *b != b'\\');
    }
    memchr2(b'"', b'\\', text).is_none() && text.iter().all(|b| *b >= 0x20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(data: &str, text: &str) -> Likeness {
        let at = data.find(text).unwrap();
        let mut likeness = Likeness::default();
        likeness.learn(data.as_bytes(), &data[at..at + text.len()]);
        likeness
    }

    #[test]
    fn an_event_with_another_text_is_recognised() {
        let likeness = learned(r#"{"a":"one","b":1}"#, "one");
        assert_eq!(
            likeness.text_of(r#"{"a":" zwölf","b":1}"#.as_bytes()),
            Some(" zwölf")
        );
    }

    #[test]
    fn whatever_is_not_just_another_text_is_not_recognised() {
        let likeness = learned(r#"{"a":"one","b":1}"#, "one");
        for other in [
            r#"{"a":"","b":1}"#,
            r#"{"a":"x","b":2}"#,
            r#"{"a":"x\n","b":1}"#,
            r#"{"a":"x","c":"y","b":1}"#,
            r#"{"a":"x"#,
            r#"{"a":","b":1}"#,
            "{\"a\":\"x\ty\",\"b\":1}",
            "",
        ] {
            assert_eq!(likeness.text_of(other.as_bytes()), None, "{other}");
        }
        assert_eq!(likeness.text_of(b"{\"a\":\"\xff\",\"b\":1}"), None);
        assert_eq!(Likeness::default().text_of(b""), None);
    }

    #[test]
    fn text_that_lies_elsewhere_is_not_learned() {
        let elsewhere = String::from("one");
        let mut likeness = Likeness::default();
        likeness.learn(br#"{"a":"one"}"#, &elsewhere);
        assert_eq!(likeness.text_of(br#"{"a":"two"}"#), None);
    }
}

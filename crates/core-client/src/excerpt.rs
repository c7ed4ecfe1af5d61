//! What a server said, made fit for one line of a log: short, printable and without our secrets.

use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

/// Longest excerpt of a server's words, in characters.
const MAX_CHARS: usize = 200;

/// Shortest secret that is searched for. Shorter ones would blot out common words, and are none.
const MIN_SECRET_BYTES: usize = 4;

/// Words in the name of a header whose value must not be shown.
const SECRET_WORDS: [&str; 9] = [
    "auth",
    "key",
    "token",
    "secret",
    "cookie",
    "password",
    "credential",
    "session",
    "signature",
];

/// Whether a header's name says that its value is a secret.
pub(crate) fn is_secret(name: &HeaderName) -> bool {
    SECRET_WORDS.iter().any(|word| name.as_str().contains(word))
}

/// Removes the run's secrets from whatever is about to be shown: servers like to repeat a wrong key.
#[derive(Clone, Default)]
pub(crate) struct Redactor {
    secrets: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor")
            .field("n_secrets", &self.secrets.len())
            .finish()
    }
}

impl Redactor {
    pub(crate) fn new(api_key: Option<&str>, headers: &[(HeaderName, HeaderValue)]) -> Self {
        let mut secrets: Vec<String> = api_key.into_iter().map(str::to_owned).collect();
        for (name, value) in headers.iter().filter(|(name, _)| is_secret(name)) {
            let Ok(text) = value.to_str() else { continue };
            secrets.push(text.to_owned());
            // Behind a scheme such as "Bearer" the credentials alone may be repeated.
            if *name == header::AUTHORIZATION || *name == header::PROXY_AUTHORIZATION {
                secrets.extend(text.split_whitespace().skip(1).map(str::to_owned));
            }
        }
        secrets.retain(|s| s.len() >= MIN_SECRET_BYTES && s != "EMPTY");
        // The longest first: one secret may hold another.
        secrets.sort_by_key(|s| std::cmp::Reverse(s.len()));
        Self { secrets }
    }

    /// One line of at most 200 characters without secrets and control characters. Secrets go first, so
    /// that none is cut in half and left standing.
    pub(crate) fn line(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in &self.secrets {
            if clean.contains(secret.as_str()) {
                clean = clean.replace(secret.as_str(), "[secret]");
            }
        }
        let mut line = String::with_capacity(clean.len().min(MAX_CHARS * 4));
        let mut n_chars = 0;
        let mut gap = false;
        for c in clean.chars() {
            if c.is_whitespace() || c.is_control() {
                gap = !line.is_empty();
                continue;
            }
            if is_direction_mark(c) {
                continue;
            }
            if n_chars + usize::from(gap) + 1 >= MAX_CHARS {
                line.push('…');
                break;
            }
            if std::mem::take(&mut gap) {
                line.push(' ');
                n_chars += 1;
            }
            line.push(c);
            n_chars += 1;
        }
        line
    }
}

/// Marks that turn the writing direction and could make a terminal line read as something else.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The part of an error answer that was meant for people: the message of an OpenAI error object, the
/// detail of a FastAPI one, else the first text.
pub(crate) fn server_message(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => json_message(&value).unwrap_or_else(|| value.to_string()),
        Err(_) => plain_text(body),
    }
}

/// A message inside JSON, wherever servers put it.
pub(crate) fn json_message(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => items.iter().find_map(json_message),
        Value::Object(map) => {
            let found = ["error", "message", "detail", "msg", "error_description"];
            found.iter().find_map(|key| json_message(map.get(*key)?))
        }
        _ => None,
    }
}

/// Text of a page or of anything else: tags, scripts and styles of HTML left out.
pub(crate) fn plain_text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    if !looks_like_html(&text) {
        return text.into_owned();
    }
    let mut out = String::new();
    let mut rest: &str = &text;
    while let Some(open) = rest.find('<') {
        out.push_str(&rest[..open]);
        out.push(' ');
        rest = &rest[open..];
        let skipped = ["script", "style"].into_iter().find(|name| {
            rest.get(1..=name.len())
                .is_some_and(|tag| tag.eq_ignore_ascii_case(name))
        });
        let end = match skipped {
            Some(name) => {
                let close = format!("</{name}");
                find_ignoring_case(rest, &close).and_then(|at| Some(at + rest[at..].find('>')?))
            }
            None => rest.find('>'),
        };
        match end {
            Some(end) => rest = &rest[end + 1..],
            None => return out,
        }
    }
    out.push_str(rest);
    out
}

/// Whether text begins as a web page does.
pub(crate) fn looks_like_html(text: &str) -> bool {
    let start = text.trim_start_matches(['\u{feff}', ' ', '\n', '\r', '\t']);
    ["<!doctype", "<html", "<head", "<body", "<?xml"]
        .iter()
        .any(|mark| {
            start
                .get(..mark.len())
                .is_some_and(|s| s.eq_ignore_ascii_case(mark))
        })
}

fn find_ignoring_case(text: &str, needle: &str) -> Option<usize> {
    text.as_bytes()
        .windows(needle.len())
        .position(|w| w.eq_ignore_ascii_case(needle.as_bytes()))
}

/// What a status usually means here, and what to try.
pub(crate) fn status_hint(status: StatusCode) -> Option<&'static str> {
    Some(match status.as_u16() {
        300..=399 => "a redirect is not followed: give the final URL as endpoint",
        400 | 422 => "the server rejects the request: see its limit on context and its options",
        401 => "check the API key given by --api-key",
        403 => "the API key may not use this model or server",
        404 => "check the model name and the path of the endpoint",
        405 => "check the path of the endpoint",
        408 => "the server gave up waiting",
        413 => "the prompt is larger than the server or a proxy before it accepts",
        429 => "the server limits requests: lower the concurrency or raise its limit",
        502..=504 => "the server or a proxy before it is overloaded or down",
        500..=599 => "the server failed: see its log",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_short_printable_line() {
        let redactor = Redactor::default();
        assert_eq!(
            redactor.line("a\r\n  b\x1b[31m\tc\u{0}\u{202e}d "),
            "a b [31m c d"
        );
        let long = redactor.line(&"wörd ".repeat(100));
        assert!(
            long.chars().count() <= MAX_CHARS && long.ends_with('…'),
            "{long}"
        );
        assert_eq!(redactor.line(&"x".repeat(199)).chars().count(), 199);
    }

    #[test]
    fn no_secret_survives_in_an_excerpt_not_even_half_of_one() {
        let headers = [
            (
                HeaderName::from_static("x-api-key"),
                HeaderValue::from_static("hunter22"),
            ),
            (
                header::AUTHORIZATION,
                HeaderValue::from_static("Basic dXNlcjpwdw=="),
            ),
            (
                HeaderName::from_static("x-team"),
                HeaderValue::from_static("benchmark"),
            ),
        ];
        let redactor = Redactor::new(Some("sk-long-key"), &headers);
        let line = redactor.line("sk-long-key hunter22 dXNlcjpwdw== benchmark");
        assert_eq!(line, "[secret] [secret] [secret] benchmark");
        for n in 150..210 {
            let line = redactor.line(&format!("{}sk-long-key", "x".repeat(n)));
            assert!(!line.contains("sk-"), "{line}");
        }
        let empty = Redactor::new(Some("EMPTY"), &[]);
        assert_eq!(
            empty.line("the key EMPTY is wrong"),
            "the key EMPTY is wrong"
        );
    }

    #[test]
    fn the_message_is_found_in_every_common_shape_of_error() {
        for (body, want) in [
            (
                r#"{"error":{"message":"no such model","type":"x","code":404}}"#,
                "no such model",
            ),
            (r#"{"error":"boom"}"#, "boom"),
            (
                r#"{"object":"error","message":"too long","code":400}"#,
                "too long",
            ),
            (r#"{"detail":"Not Found"}"#, "Not Found"),
            (
                r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#,
                "field required",
            ),
            (r#"{"weird":1}"#, r#"{"weird":1}"#),
            ("plain words", "plain words"),
        ] {
            assert_eq!(server_message(body.as_bytes()), want);
        }
    }

    #[test]
    fn a_page_is_read_without_tags_scripts_and_styles() {
        let page = "<!DOCTYPE html><html><head><STYLE>p{a:b}</style><script>x<y</script>\
                    <title>502 Bad Gateway</title></head><body>nginx</body></html>";
        assert_eq!(
            Redactor::default().line(&plain_text(page.as_bytes())),
            "502 Bad Gateway nginx"
        );
        assert_eq!(plain_text(b"1 < 2 and 3 > 2"), "1 < 2 and 3 > 2");
        assert_eq!(
            Redactor::default().line(&plain_text(b"<html>cut <scr")),
            "cut"
        );
    }
}

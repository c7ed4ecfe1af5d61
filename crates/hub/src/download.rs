//! One file from the hub over HTTP, redirects followed by hand.
//!
//! Promises: the token is sent to the hub's own origin (scheme, host and port) and never again once a redirect has left it;
//! no redirect from https to http is followed; the whole exchange ends within the total limit; an answer that is shorter
//! than announced, is not JSON, or is longer than any such file is an error and yields no bytes. Refuses to retry.

use std::io::Read as _;
use std::time::Instant;

use ureq::http::HeaderMap;
use ureq::http::header::{ACCEPT_ENCODING, AUTHORIZATION, ETAG, HeaderName, HeaderValue, LOCATION};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Timeout};

use crate::address::Address;
use crate::cache;
use crate::env::{HubEnv, Token};
use crate::error::{HubError, Wanted};

/// Redirects followed before giving up.
const MAX_REDIRECTS: usize = 5;
/// Longest file accepted, in bytes; the largest tokenizers in use have some 35 MB.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
/// Longest text of the server's that is repeated in a message, in characters.
const MAX_DETAIL: usize = 160;

const REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");
const LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
const LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");
const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");

/// A whole file and what the hub said about it.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) bytes: Vec<u8>,
    /// The hub's address of the file, without secrets.
    pub(crate) url: String,
    /// The commit `main` stands for; `None` when the server does not say or says nothing usable.
    pub(crate) commit: Option<String>,
    /// Name for the blob; `None` likewise.
    pub(crate) etag: Option<String>,
}

/// What the hub's own answers say about the file; a content network's answers say nothing.
#[derive(Debug, Default)]
struct Facts {
    commit: Option<String>,
    etag: Option<String>,
    size: Option<u64>,
}

impl Facts {
    /// Takes what this answer of the hub's adds. A renamed model redirects within the hub first, so a later answer wins.
    fn note(&mut self, headers: &HeaderMap) {
        if let Some(commit) =
            header(headers, &REPO_COMMIT).filter(|name| cache::is_plain_name(name))
        {
            self.commit = Some(commit.to_owned());
        }
        let etag = header(headers, &LINKED_ETAG).or_else(|| header(headers, &ETAG));
        if let Some(etag) = etag.and_then(cache::blob_name) {
            self.etag = Some(etag);
        }
        if let Some(size) = header(headers, &LINKED_SIZE).and_then(|size| size.parse().ok()) {
            self.size = Some(size);
        }
    }
}

/// Downloads the file, noting in `wanted` that the hub was tried.
///
/// # Errors
/// Every [`HubError`] that takes a [`Wanted`], except [`HubError::Offline`].
pub(crate) fn fetch(mut wanted: Wanted, env: &HubEnv) -> Result<Fetched, HubError> {
    let path = format!("{}/resolve/main/{}", wanted.id, wanted.kind.file_name());
    let start = match Address::parse(&env.endpoint).and_then(|endpoint| endpoint.below(&path)) {
        Ok(start) => start,
        Err(reason) => return Err(setting(wanted, "HF_ENDPOINT", reason)),
    };
    let bearer = match env.token.as_ref() {
        None => None,
        Some(token) => match bearer(token) {
            Some(bearer) => Some(bearer),
            None => {
                let reason = "holds characters that cannot stand in a token";
                return Err(setting(wanted, token.source(), reason));
            }
        },
    };
    wanted.tried.0.push(start.to_string());

    let agent = agent(env, start.is_https());
    let deadline = Instant::now() + env.total_timeout;
    let mut facts = Facts::default();
    let mut at = start.clone();
    let mut at_hub = true;
    for _ in 0..=MAX_REDIRECTS {
        let mut response = match get(&agent, &at, bearer.as_ref().filter(|_| at_hub), deadline) {
            Ok(response) => response,
            Err(error) => return Err(transport_error(wanted, &at, env, error)),
        };
        if at_hub {
            facts.note(response.headers());
        }
        let status = response.status().as_u16();
        match status {
            200 => {
                let bytes = read_body(&mut response, wanted, &at, facts.size, env)?;
                return Ok(Fetched {
                    bytes,
                    url: start.to_string(),
                    commit: facts.commit,
                    etag: facts.etag,
                });
            }
            301 | 302 | 303 | 307 | 308 => {
                let next = match next_address(&at, response.headers()) {
                    Ok(next) => next,
                    Err(reason) => {
                        return Err(HubError::Redirect {
                            wanted,
                            url: at.to_string(),
                            reason,
                        });
                    }
                };
                tracing::debug!("{at} redirects to {next}");
                at_hub = at_hub && next.same_origin(&start);
                at = next;
            }
            _ => {
                return Err(refusal(
                    wanted,
                    &at,
                    at_hub,
                    status,
                    response.headers(),
                    env,
                ));
            }
        }
    }
    Err(HubError::Redirect {
        wanted,
        url: start.to_string(),
        reason: format!("more than {MAX_REDIRECTS} times"),
    })
}

/// An agent that follows no redirect and takes every status for an answer.
fn agent(env: &HubEnv, https: bool) -> Agent {
    let mut config = Agent::config_builder()
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_resolve(Some(env.connect_timeout))
        .timeout_connect(Some(env.connect_timeout))
        .user_agent(concat!("cache-suite-hub/", env!("CARGO_PKG_VERSION")));
    if !env.use_proxy {
        config = config.proxy(None);
    }
    if https && let Some(roots) = system_roots() {
        config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
    }
    config.build().new_agent()
}

/// The certificates this system trusts; `None` (Mozilla's are used then) where it names none.
fn system_roots() -> Option<RootCerts> {
    let found = rustls_native_certs::load_native_certs();
    let roots: Vec<_> = found
        .certs
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    (!roots.is_empty()).then(|| RootCerts::from(roots))
}

/// The header that carries the token; `None` when it holds what no header can.
fn bearer(token: &Token) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.secret())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn setting(wanted: Wanted, name: &str, reason: &str) -> HubError {
    HubError::Setting {
        wanted,
        name: name.to_owned(),
        reason: reason.to_owned(),
    }
}

fn get(
    agent: &Agent,
    at: &Address,
    bearer: Option<&HeaderValue>,
    deadline: Instant,
) -> Result<ureq::http::Response<Body>, ureq::Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ureq::Error::Timeout(Timeout::Global));
    }
    // Packed answers would make the announced length useless as a check, as `huggingface_hub` found too.
    let mut request = agent
        .get(at.uri().clone())
        .header(ACCEPT_ENCODING, "identity");
    if let Some(bearer) = bearer {
        request = request.header(AUTHORIZATION, bearer.clone());
    }
    request.config().timeout_global(Some(left)).build().call()
}

/// Where the redirect leads, or why it is not followed.
fn next_address(at: &Address, headers: &HeaderMap) -> Result<Address, String> {
    let location = header(headers, &LOCATION).ok_or("without saying where to")?;
    let next = at
        .resolve(location)
        .map_err(|reason| format!("to a place that {reason}"))?;
    if at.is_https() && !next.is_https() {
        return Err(format!("from https to plain http ({next})"));
    }
    Ok(next)
}

/// Reads the whole body and checks it against every length that was announced, and as JSON.
fn read_body(
    response: &mut ureq::http::Response<Body>,
    wanted: Wanted,
    at: &Address,
    hub_size: Option<u64>,
    env: &HubEnv,
) -> Result<Vec<u8>, HubError> {
    let url = at.to_string();
    let expected = response.body().content_length().or(hub_size);
    let mut bytes = Vec::new();
    if let Some(expected) = expected.filter(|&expected| expected <= MAX_BYTES) {
        bytes.reserve_exact(usize::try_from(expected).unwrap_or(0));
    }
    let read = response
        .body_mut()
        .as_reader()
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes);
    let got = bytes.len() as u64;
    if let Err(error) = read {
        return Err(match ureq::Error::from(error) {
            error @ ureq::Error::Timeout(_) => transport_error(wanted, at, env, error),
            error => {
                tracing::debug!("the download from {url} ended early: {error}");
                HubError::Cut {
                    wanted,
                    url,
                    got,
                    expected,
                }
            }
        });
    }
    if got > MAX_BYTES {
        return Err(HubError::TooLarge {
            wanted,
            url,
            limit: MAX_BYTES,
        });
    }
    // The hub's own figure counts even where the content network announced another one.
    if let Some(expected) = [expected, hub_size]
        .into_iter()
        .flatten()
        .find(|&n| n != got)
    {
        return Err(HubError::Cut {
            wanted,
            url,
            got,
            expected: Some(expected),
        });
    }
    if let Err(source) = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes) {
        return Err(HubError::NotJson {
            wanted,
            url,
            source,
        });
    }
    Ok(bytes)
}

fn transport_error(wanted: Wanted, at: &Address, env: &HubEnv, error: ureq::Error) -> HubError {
    let url = at.to_string();
    match error {
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => HubError::TimedOut {
            wanted,
            url,
            limit: env.connect_timeout,
        },
        ureq::Error::Timeout(_) => HubError::TimedOut {
            wanted,
            url,
            limit: env.total_timeout,
        },
        source => HubError::Unreachable {
            wanted,
            url,
            source: Box::new(source),
        },
    }
}

/// The error for an answer that is neither the file nor a redirect.
fn refusal(
    wanted: Wanted,
    at: &Address,
    at_hub: bool,
    status: u16,
    headers: &HeaderMap,
    env: &HubEnv,
) -> HubError {
    let code = header(headers, &ERROR_CODE);
    let detail = header(headers, &ERROR_MESSAGE).map(|text| presentable(text, env.token.as_ref()));
    match status {
        // Only the hub's own refusal is about the user's rights; a content network's is about an expired link.
        401 | 403 if at_hub => HubError::Refused {
            wanted,
            status,
            token_source: env.token.as_ref().map(|token| token.source().to_owned()),
            gated: code == Some("GatedRepo"),
            detail,
        },
        404 if at_hub => HubError::NotFound {
            wanted,
            model_exists: code == Some("EntryNotFound"),
            detail,
        },
        _ => HubError::Status {
            wanted,
            url: at.to_string(),
            status,
        },
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// A server's words made fit for a message: one line, not long, and without the token should the server repeat it.
fn presentable(text: &str, token: Option<&Token>) -> String {
    let text = match token {
        Some(token) => text.replace(token.secret(), "***"),
        None => text.to_owned(),
    };
    let mut clean = text.chars().filter(|c| !c.is_control());
    let mut shown: String = clean.by_ref().take(MAX_DETAIL).collect();
    if clean.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_default_limits_are_ten_seconds_to_connect_and_two_minutes_in_all() {
        let env = HubEnv::new("", "");
        assert_eq!(env.connect_timeout, Duration::from_secs(10));
        assert_eq!(env.total_timeout, Duration::from_secs(120));
    }

    #[test]
    fn a_servers_words_are_shortened_cleaned_and_stripped_of_the_token() {
        let token = Token::new("hf_geheim", "HF_TOKEN");
        assert_eq!(
            presentable("bad token hf_geheim\u{7}!", token.as_ref()),
            "bad token ***!"
        );
        let long = presentable(&"ä".repeat(1000), None);
        assert_eq!(long.chars().count(), MAX_DETAIL + 1);
    }

    #[test]
    fn a_redirect_from_https_to_plain_http_is_not_followed() {
        let at = Address::parse("https://hub/a").unwrap();
        let to = |location: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, HeaderValue::from_static(location));
            next_address(&at, &headers)
        };
        let reason = to("http://hub/b?sig=geheim").unwrap_err();
        assert!(reason.contains("http://hub/b") && !reason.contains("geheim"));
        assert_eq!(
            to("//cdn/b").unwrap(),
            Address::parse("https://cdn/b").unwrap()
        );
    }
}

//! One POST of a JSON body to one URL, stamped: for servers that do not speak the OpenAI API.
//!
//! Promise: the same measurement as [`Client`](crate::Client) makes. The request is handed to a
//! connection that stands ready, what arrives is stamped when it is read, and whatever goes wrong is one
//! typed [`Failure`]. What the body means is not judged here: it is kept as it came, with the stamp of
//! every frame, and read after the request has ended ([`records`] cuts a stream into its parts).
//!
//! Refusals: a request that was handed over is not sent again, but for one exception that HTTP demands:
//! status 307 or 308 with a location on the same server is followed, within the same measurement, and
//! counted. Other redirects would change the method or the server and are failures. No `Authorization`
//! is sent unless it is among the given headers.

mod record;
mod url;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use metrics::timeline::{Failure, FailureKind, Timeline};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::answer::failure;
use crate::body::RequestBody;
use crate::client::{
    ClientError, MAX_MESSAGE_BYTES, MESSAGE_LIMIT, TlsSetup, content_type, encoding, read_body,
    status_message,
};
use crate::clock::RunClock;
use crate::dial::Dialer;
use crate::ending::read_end;
use crate::endpoint::HttpVersion;
use crate::excerpt::{self, Redactor};
use crate::fault;
use crate::handover::{Stamps, hand_over};
use crate::limits::{Cut, unless_cut};
use crate::pool::Pool;
use crate::route::with_custom;

pub use record::{Framing, Record, records};
pub use url::{PlainUrl, PlainUrlError};

/// Redirects that one request may take, as browsers and other clients limit them.
const MAX_REDIRECTS: u32 = 10;

/// How requests are sent.
#[derive(Clone)]
pub struct PlainConfig {
    /// Which HTTP version is spoken.
    pub http: HttpVersion,
    /// Sent with every request; one of the same name as a header of ours replaces it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Accept any certificate.
    pub insecure: bool,
    /// Limit on a whole request, from asking for a connection to the end of the body.
    pub request_timeout: Duration,
    /// Limit on opening a connection.
    pub connect_timeout: Duration,
}

impl fmt::Debug for PlainConfig {
    /// Without the values of headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("PlainConfig")
            .field("http", &self.http)
            .field("headers", &names)
            .field("insecure", &self.insecure)
            .field("request_timeout", &self.request_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

/// Arrival of one frame of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameStamp {
    /// When it arrived.
    pub at: Duration,
    /// Where in the body it ends, in bytes.
    pub end: usize,
}

/// Everything that is known of one request when it has ended.
#[derive(Debug, Clone, Default)]
pub struct PlainExchange {
    /// The stamps; `chunks` stays empty, because what a chunk is depends on what the body means.
    pub timeline: Timeline,
    /// HTTP status, once the head is here.
    pub status: Option<u16>,
    /// Media type of the answer without its parameters, in lower case.
    pub content_type: Option<String>,
    /// The body as far as it came; only that of status 200 is kept.
    pub body: Vec<u8>,
    /// When each part of it came.
    pub frames: Vec<FrameStamp>,
    /// Redirects that were followed.
    pub n_redirects: u32,
    /// `None` when the body came to its proper end with status 200.
    pub failure: Option<Failure>,
}

impl PlainExchange {
    /// Whether the answer calls itself a stream of server-sent events.
    #[must_use]
    pub fn is_event_stream(&self) -> bool {
        self.content_type.as_deref() == Some("text/event-stream")
    }
}

/// Posts to one URL. Clones share the connections.
#[derive(Clone)]
pub struct PlainClient {
    inner: Arc<Inner>,
}

struct Inner {
    url: PlainUrl,
    pool: Arc<Pool>,
    headers: HeaderMap,
    host: HeaderValue,
    request_timeout: Duration,
    clock: RunClock,
    redactor: Redactor,
}

impl fmt::Debug for PlainClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainClient")
            .field("url", &self.inner.url)
            .finish_non_exhaustive()
    }
}

impl PlainClient {
    /// Prepares everything that is the same for all requests; opens no connection.
    ///
    /// # Errors
    /// When a header or the host name cannot be used, or TLS cannot be set up.
    pub fn new(url: PlainUrl, config: PlainConfig, clock: RunClock) -> Result<Self, ClientError> {
        let mut headers = with_custom(HeaderMap::new(), &config.headers)?;
        headers
            .entry(header::CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/json"));
        let origin = url.origin();
        let tls = TlsSetup::new(config.http, config.insecure).of(origin)?;
        let pool = Arc::new(Pool::new(Dialer::new(
            origin,
            config.http,
            tls,
            config.connect_timeout,
            clock,
        )));
        // An authority has no character that a header could not carry.
        let host =
            HeaderValue::from_str(&origin.authority).expect("a parsed authority is visible ASCII");
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                headers,
                host,
                request_timeout: config.request_timeout,
                clock,
                redactor: Redactor::new(None, &config.headers),
                url,
            }),
        })
    }

    /// The clock of every stamp.
    #[must_use]
    pub fn clock(&self) -> RunClock {
        self.inner.clock
    }

    /// Opens connections in parallel until that many requests can be sent at once without dialling.
    /// Stops at the first failure: whoever sends the request reports it.
    pub async fn open_connections(&self, n: usize) {
        if n > 0 {
            self.inner.pool.open(n).await;
        }
    }

    /// Closes every connection that carries no request.
    pub fn close_idle(&self) {
        self.inner.pool.close_idle();
    }

    /// What somebody's body says, as one short printable line without markup and without our secrets.
    #[must_use]
    pub fn excerpt(&self, body: &[u8]) -> String {
        self.inner.redactor.line(&excerpt::server_message(body))
    }

    /// Sends one request and reads its answer to the end. Failures are inside the result.
    ///
    /// `launched` is stamped after a connection is there and immediately before the request is handed
    /// to it; what opening one took, if none stood ready, is in `dial`. A redirect moves neither.
    /// Dropping the future, the limit on requests and `cancel` all close the connection (with HTTP/2,
    /// the stream); what had arrived by then is kept in the result. A stream of events ends with the
    /// event `[DONE]`, whatever the server does with the connection after it.
    pub async fn post(
        &self,
        body: RequestBody,
        intended: Duration,
        cancel: &CancellationToken,
    ) -> PlainExchange {
        let inner = &*self.inner;
        let mut exchange = PlainExchange::default();
        exchange.timeline.intended = intended;
        exchange.timeline.launched = inner.clock.now();
        let mut dialing_since = None;
        let limit = inner.request_timeout;
        let ended = {
            let work = pin!(inner.exchange(body, &mut exchange, &mut dialing_since));
            unless_cut(work, limit, cancel).await
        };
        let result = ended.unwrap_or_else(|cut| Err(cut_off(cut, limit)));
        let now = inner.clock.now();
        if let Some(since) = dialing_since {
            exchange.timeline.dial = now.saturating_sub(since);
            exchange.timeline.is_unsent = true;
        }
        exchange.timeline.finished = match &result {
            Ok(ended_at) => *ended_at,
            Err(_) => now,
        };
        exchange.failure = result.err().map(|failure| Failure {
            status: exchange.status,
            ..failure
        });
        exchange
    }
}

fn cut_off(cut: Cut, limit: Duration) -> Failure {
    match cut {
        Cut::Cancelled => failure(
            FailureKind::Cancelled,
            "cancelled before the answer was complete",
        ),
        Cut::TimedOut => {
            let message = format!("timeout after {} s", limit.as_secs_f64());
            failure(FailureKind::Timeout, message)
        }
    }
}

impl Inner {
    /// One request from asking for a connection to the end of its body; returns when that came.
    async fn exchange(
        &self,
        body: RequestBody,
        exchange: &mut PlainExchange,
        dialing_since: &mut Option<Duration>,
    ) -> Result<Duration, Failure> {
        let mut target = self.url.target().clone();
        let mut first_try = None;
        loop {
            let stamps = Stamps {
                timeline: &mut exchange.timeline,
                dialing_since: &mut *dialing_since,
                status: &mut exchange.status,
            };
            let request = |is_http2, body| self.request(&target, is_http2, body);
            let started = hand_over(self.clock, &self.pool, body.clone(), request, stamps).await;
            let (launched, dial) =
                *first_try.get_or_insert((exchange.timeline.launched, exchange.timeline.dial));
            exchange.timeline.launched = launched;
            exchange.timeline.dial = dial;
            let (mut link, response) = started?;
            let (head, mut incoming) = response.into_parts();
            exchange.content_type = content_type(&head.headers).map(|t| t.to_ascii_lowercase());
            if head.status != StatusCode::OK {
                let mut bytes = Vec::new();
                let reading = read_body(&mut link, &mut incoming, MAX_MESSAGE_BYTES, &mut bytes);
                if timeout(MESSAGE_LIMIT, reading).await.unwrap_or(false) {
                    self.pool.put_back(link).await;
                }
                if exchange.n_redirects < MAX_REDIRECTS
                    && let Some(next) = self.redirect(&target, head.status, &head.headers)
                {
                    exchange.n_redirects += 1;
                    target = next;
                    continue;
                }
                let message = status_message(head.status, &head.headers, &bytes, &self.redactor);
                return Err(failure(FailureKind::Status, message));
            }
            if let Some(encoding) = encoding(&head.headers) {
                let encoding = self.redactor.line(&encoding);
                let message = format!("the server compressed the answer ({encoding}) unasked");
                return Err(failure(FailureKind::Protocol, message));
            }
            let ends_with_done = exchange.is_event_stream();
            // Its values lie in hyper's read buffer, which cannot be used again while they live.
            drop(head);
            loop {
                match link.frame(&mut incoming).await {
                    Some(Ok(frame)) => {
                        let at = link.read_at();
                        let Some(bytes) = frame.data_ref() else {
                            continue;
                        };
                        exchange.body.extend_from_slice(bytes);
                        let end = exchange.body.len();
                        exchange.frames.push(FrameStamp { at, end });
                        if !(ends_with_done && record::is_done(&exchange.body)) {
                            continue;
                        }
                        let since = self.clock.now();
                        read_end(&self.pool, link, incoming).await;
                        exchange.timeline.held_back = self.clock.now().saturating_sub(since);
                        return Ok(at);
                    }
                    Some(Err(error)) => {
                        return Err(fault::in_body(&error, exchange.frames.len()));
                    }
                    None => {
                        let ended_at = self.clock.now();
                        self.pool.put_back_after_stream(link).await;
                        return Ok(ended_at);
                    }
                }
            }
        }
    }

    fn request(&self, target: &Uri, is_http2: bool, body: RequestBody) -> Request<RequestBody> {
        let mut headers = self.headers.clone();
        if !is_http2 {
            headers
                .entry(header::HOST)
                .or_insert_with(|| self.host.clone());
        }
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = if is_http2 {
            target.clone()
        } else {
            url::origin_form(target)
        };
        *request.headers_mut() = headers;
        request
    }

    /// Where a redirect that keeps the method and the server leads.
    fn redirect(&self, from: &Uri, status: StatusCode, headers: &HeaderMap) -> Option<Uri> {
        if !matches!(
            status,
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
        ) {
            return None;
        }
        let location = headers.get(header::LOCATION)?.to_str().ok()?;
        self.url.resolve(from, location)
    }
}

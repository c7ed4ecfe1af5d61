//! The client: sends one request at a time per link and reports what happened to it.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, response};
use hyper::body::Incoming;
use metrics::timeline::{Exchange, Failure, FailureKind};
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, failure, not_a_stream};
use crate::body::RequestBody;
use crate::clock::RunClock;
use crate::detect::{self, DetectError, ServedModel};
use crate::dial::Dialer;
use crate::ending::read_end;
use crate::endpoint::{Endpoint, EndpointType, HttpVersion, Origin};
use crate::excerpt::{self, Redactor};
use crate::fault;
use crate::handover::{Stamps, hand_over};
use crate::limits::{Cut, unless_cut};
use crate::pool::{Link, Pool};
use crate::route::{Call, Route, common_headers};
use crate::tls;
use crate::witness::Witness;

/// How a run talks to its servers.
#[derive(Clone)]
pub struct ClientConfig {
    /// Which API is called.
    pub endpoint_type: EndpointType,
    /// Which HTTP version is spoken.
    pub http: HttpVersion,
    /// Sent as `Authorization: Bearer <key>`, `EMPTY` when there is none. Shown nowhere.
    pub api_key: Option<String>,
    /// Sent with every request; one of the same name as a header of ours replaces it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Accept any certificate.
    pub insecure: bool,
    /// Limit on a whole request, from asking for a connection to the end of the stream.
    pub request_timeout: Duration,
    /// Limit on opening a connection.
    pub connect_timeout: Duration,
}

impl fmt::Debug for ClientConfig {
    /// Without the key and without the values of headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ClientConfig")
            .field("endpoint_type", &self.endpoint_type)
            .field("http", &self.http)
            .field("has_api_key", &self.api_key.is_some())
            .field("headers", &names)
            .field("insecure", &self.insecure)
            .field("request_timeout", &self.request_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

/// Why there is no client, or no model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// An empty list of endpoints.
    #[error("no endpoint is given")]
    NoEndpoint,
    /// The key has characters that no header can carry.
    #[error("the API key holds characters that cannot be sent in a header")]
    ApiKey,
    /// A header that HTTP itself sets.
    #[error("the header {name} cannot be set: it belongs to the connection")]
    ReservedHeader {
        /// Its name.
        name: HeaderName,
    },
    /// A host that no certificate can name.
    #[error("{host:?} cannot be the name of a TLS server")]
    ServerName {
        /// The host.
        host: String,
    },
    /// A URL that cannot be asked.
    #[error("the URL {url} cannot be requested")]
    Url {
        /// The base URL.
        url: String,
        /// Why.
        source: http::uri::InvalidUri,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The server did not say which model it serves.
    #[error("could not detect model from {url}")]
    DetectModel {
        /// What was asked.
        url: String,
        /// Why.
        source: DetectError,
    },
}

/// Time and bytes given to a body that is read only for its message.
pub(crate) const MESSAGE_LIMIT: Duration = Duration::from_secs(5);
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// Sends requests to one or more endpoints. Clones share the connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    endpoints: Vec<Endpoint>,
    routes: Vec<Route>,
    config: ClientConfig,
    clock: RunClock,
    pub(crate) redactor: Redactor,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoints", &self.inner.endpoints)
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Prepares everything that is the same for all requests; opens no connection.
    ///
    /// # Errors
    /// When a header, the key or a host name cannot be used, or TLS cannot be set up.
    pub fn new(
        endpoints: Vec<Endpoint>,
        config: ClientConfig,
        clock: RunClock,
    ) -> Result<Self, ClientError> {
        if endpoints.is_empty() {
            return Err(ClientError::NoEndpoint);
        }
        let headers = common_headers(config.api_key.as_deref(), &config.headers)?;
        let mut tls = TlsSetup::new(config.http, config.insecure);
        let mut routes = Vec::with_capacity(endpoints.len());
        for endpoint in &endpoints {
            let origin = endpoint.origin();
            let dialer = Dialer::new(
                origin,
                config.http,
                tls.of(origin)?,
                config.connect_timeout,
                clock,
            );
            let pool = Arc::new(Pool::new(dialer));
            routes.push(Route::new(
                endpoint,
                pool,
                config.endpoint_type,
                headers.clone(),
            )?);
        }
        let redactor = Redactor::new(config.api_key.as_deref(), &config.headers);
        Ok(Self {
            inner: Arc::new(Inner {
                endpoints,
                routes,
                config,
                clock,
                redactor,
            }),
        })
    }

    /// The endpoints in the order in which `send` numbers them.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.inner.endpoints
    }

    /// The clock of every stamp.
    #[must_use]
    pub fn clock(&self) -> RunClock {
        self.inner.clock
    }

    /// Asks the first endpoint for its models and returns the first, within 10 s.
    ///
    /// # Errors
    /// [`ClientError::DetectModel`], with the URL that was asked and the cause.
    pub async fn detect_model(&self) -> Result<ServedModel, ClientError> {
        // `new` refuses an empty list of endpoints.
        let (endpoint, route) = (&self.inner.endpoints[0], &self.inner.routes[0]);
        detect::first_model(&self.inner, route)
            .await
            .map_err(|source| ClientError::DetectModel {
                url: endpoint.models_url(),
                source,
            })
    }

    /// Opens connections in parallel until that many requests per endpoint can be sent at once without
    /// dialling; idle ones that still stand count, dead ones are dropped. With HTTP/2, streams count.
    ///
    /// Stops at an endpoint's first failure: whoever sends the request reports it.
    pub async fn open_connections(&self, per_endpoint: &[usize]) {
        let routes = self.inner.routes.iter().zip(per_endpoint);
        let open = routes
            .filter(|(_, n)| **n > 0)
            .map(|(route, n)| route.pool.open(*n));
        join_all(open).await;
    }

    /// Closes the connections that carry no request.
    pub fn close_idle(&self) {
        for route in &self.inner.routes {
            route.pool.close_idle();
        }
    }

    /// Sends one request and reads its stream to the end. Failures are inside the result.
    ///
    /// `launched` is stamped after a connection is there and immediately before the request is handed
    /// to it; what opening one took, if none stood ready, is in `dial`. When no connection could be
    /// opened, `launched` is when the attempt began. The request goes out at most once: it moves to
    /// another connection only while not a byte of it was written.
    ///
    /// Dropping the future, the limit on requests and `cancel` all close the connection (with HTTP/2,
    /// the stream); what had arrived by then is kept in the result.
    ///
    /// # Panics
    /// When there is no endpoint of that number.
    pub async fn send(
        &self,
        endpoint: usize,
        body: RequestBody,
        intended: Duration,
        cancel: &CancellationToken,
    ) -> Exchange {
        self.send_watched(endpoint, body, intended, cancel, &mut ())
            .await
    }

    /// [`Client::send`], with somebody who is told of output as it arrives.
    ///
    /// # Panics
    /// When there is no endpoint of that number.
    pub async fn send_watched(
        &self,
        endpoint: usize,
        body: RequestBody,
        intended: Duration,
        cancel: &CancellationToken,
        witness: &mut impl Witness,
    ) -> Exchange {
        let inner = &*self.inner;
        let route = &inner.routes[endpoint];
        let mut answer = Answer::new(intended, body.expected_chunks());
        answer.timeline.launched = inner.clock.now();
        let limit = inner.config.request_timeout;
        let ended = {
            let work = pin!(exchange(inner, route, body, &mut answer, witness));
            unless_cut(work, limit, cancel).await
        };
        let stopped = match ended {
            Ok(result) => result.err(),
            Err(cut) => Some(cut_off(cut, limit, answer.n_chunks())),
        };
        answer.into_exchange(inner.clock.now(), stopped)
    }
}

/// TLS, set up when the first https server needs it and shared by all.
#[derive(Debug)]
pub(crate) struct TlsSetup {
    http: HttpVersion,
    insecure: bool,
    config: Option<Arc<rustls::ClientConfig>>,
}

impl TlsSetup {
    pub(crate) fn new(http: HttpVersion, insecure: bool) -> Self {
        Self {
            http,
            insecure,
            config: None,
        }
    }

    /// What connections to this server need of TLS; nothing over plain http.
    pub(crate) fn of(
        &mut self,
        origin: &Origin,
    ) -> Result<Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>, ClientError> {
        if !origin.https {
            return Ok(None);
        }
        let config = match &self.config {
            Some(config) => Arc::clone(config),
            None => {
                let made =
                    tls::client_config(self.http, self.insecure).map_err(ClientError::Tls)?;
                Arc::clone(self.config.insert(Arc::new(made)))
            }
        };
        let host = origin.host.clone();
        let name =
            ServerName::try_from(host.clone()).map_err(|_| ClientError::ServerName { host })?;
        Ok(Some((config, name)))
    }
}

/// A request that was ended from outside, after so many chunks.
fn cut_off(cut: Cut, limit: Duration, n_chunks: usize) -> Failure {
    match cut {
        Cut::Cancelled => failure(
            FailureKind::Cancelled,
            format!("cancelled before the answer was complete, after {n_chunks} chunks"),
        ),
        Cut::TimedOut => failure(FailureKind::Timeout, {
            let limit = limit.as_secs_f64();
            if n_chunks == 0 {
                format!("no output within {limit} s: is the server stalled or overloaded?")
            } else {
                format!(
                    "not complete within {limit} s, after {n_chunks} chunks: raise --request-timeout?"
                )
            }
        }),
    }
}

/// One request from asking for a connection to the end of its stream.
async fn exchange(
    inner: &Inner,
    route: &Route,
    body: RequestBody,
    answer: &mut Answer,
    witness: &mut impl Witness,
) -> Result<(), Failure> {
    let started = start(inner, route, Call::Complete, body, answer);
    let redactor = &inner.redactor;
    let (mut link, mut body) = {
        let (link, response) = started.await?;
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK || !is_event_stream(&head.headers) {
            // As with a connection that has to be opened: rare and large.
            return Err(Box::pin(refusal(route, head, link, body, redactor)).await);
        }
        // The head ends here: its values lie in hyper's read buffer, which cannot be used again while they live.
        (link, body)
    };
    loop {
        match link.frame(&mut body).await {
            Some(Ok(frame)) => {
                let at = link.read_at();
                let Some(bytes) = frame.data_ref() else {
                    continue;
                };
                let n_known = answer.n_chunks();
                let flow = answer.frame(at, bytes, redactor);
                let new = answer.chunks_behind(n_known);
                if !new.is_empty() {
                    witness.arrived(answer.timeline.launch(), new);
                }
                if flow.is_break() {
                    break;
                }
            }
            Some(Err(error)) => {
                let broken = fault::in_body(&error, answer.n_chunks());
                answer.end(inner.clock.now(), Some(broken), redactor);
                return Ok(());
            }
            None => {
                answer.end(inner.clock.now(), None, redactor);
                route.pool.put_back_after_stream(link).await;
                return Ok(());
            }
        }
    }
    // A stream that reported an error has no end worth waiting for.
    if answer.is_done() {
        let since = inner.clock.now();
        read_end(&route.pool, link, body).await;
        answer.timeline.held_back = inner.clock.now().saturating_sub(since);
    }
    Ok(())
}

/// What an answer that is no stream says.
async fn refusal(
    route: &Route,
    head: response::Parts,
    mut link: Link,
    mut body: Incoming,
    redactor: &Redactor,
) -> Failure {
    let mut bytes = Vec::new();
    let reading = read_body(&mut link, &mut body, MAX_MESSAGE_BYTES, &mut bytes);
    let is_whole = timeout(MESSAGE_LIMIT, reading).await.unwrap_or(false);
    if is_whole {
        route.pool.put_back(link).await;
    }
    if head.status == StatusCode::OK {
        not_streamed(&head.headers, &bytes, redactor)
    } else {
        status_failure(head.status, &head.headers, &bytes, redactor)
    }
}

/// Gets a connection, hands the request over and waits for the head of the answer.
pub(crate) fn start<'a>(
    inner: &'a Inner,
    route: &'a Route,
    call: Call,
    body: RequestBody,
    answer: &'a mut Answer,
) -> impl Future<Output = Result<(Link, Response<Incoming>), Failure>> + Send + 'a {
    let stamps = Stamps {
        timeline: &mut answer.timeline,
        dialing_since: &mut answer.dialing_since,
        status: &mut answer.status,
    };
    let request = move |is_http2, body| route.request(call, is_http2, body);
    hand_over(inner.clock, &route.pool, body, request, stamps)
}

/// Reads a body that is no stream. False when it was cut off, by an error or by the limit; what came
/// is in `bytes` all the same.
pub(crate) async fn read_body(
    link: &mut Link,
    body: &mut Incoming,
    max: usize,
    bytes: &mut Vec<u8>,
) -> bool {
    while let Some(frame) = link.frame(body).await {
        let Ok(frame) = frame else { return false };
        if let Some(data) = frame.data_ref() {
            let room = max - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return false;
            }
        }
    }
    true
}

/// Whether the head announces events. A server that names no type gets the benefit of the doubt: what
/// it sends shows what it is.
fn is_event_stream(headers: &HeaderMap) -> bool {
    encoding(headers).is_none()
        && content_type(headers).is_none_or(|t| t.eq_ignore_ascii_case("text/event-stream"))
}

/// Media type without its parameters.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?;
    let text = String::from_utf8_lossy(value.as_bytes());
    let essence = text.split(';').next().unwrap_or_default().trim();
    (!essence.is_empty()).then(|| essence.to_owned())
}

/// A compression nobody asked for.
pub(crate) fn encoding(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_ENCODING)?;
    let text = String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
    (!text.is_empty() && !text.eq_ignore_ascii_case("identity")).then_some(text)
}

fn not_streamed(headers: &HeaderMap, body: &[u8], redactor: &Redactor) -> Failure {
    let message = if let Some(encoding) = encoding(headers) {
        let encoding = redactor.line(&encoding);
        format!("the server compressed the stream ({encoding}), which hides when a token arrives")
    } else {
        let content_type = redactor.line(&content_type(headers).unwrap_or_default());
        let said = not_a_stream("a stream", body, redactor);
        format!("{said} (content type {content_type})")
    };
    failure(FailureKind::Protocol, message)
}

/// A status other than 200 with the server's own words and what to try.
pub(crate) fn status_failure(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    redactor: &Redactor,
) -> Failure {
    let mut message = status_message(status, headers, body, redactor);
    if let Some(hint) = excerpt::status_hint(status) {
        message.push_str(&format!(" ({hint})"));
    }
    Failure {
        kind: FailureKind::Status,
        status: Some(status.as_u16()),
        message,
    }
}

/// `HTTP 500 Internal Server Error: ` and the server's own words.
pub(crate) fn status_message(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    redactor: &Redactor,
) -> String {
    let mut message = format!("HTTP {}", status.as_u16());
    if let Some(reason) = status.canonical_reason() {
        message.push_str(&format!(" {reason}"));
    }
    let mut said = redactor.line(&excerpt::server_message(body));
    if let Some(location) = headers
        .get(header::LOCATION)
        .filter(|_| status.is_redirection())
    {
        said = redactor.line(&format!(
            "to {}",
            String::from_utf8_lossy(location.as_bytes())
        ));
    }
    if !said.is_empty() {
        message.push_str(&format!(": {said}"));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_keeps_while_it_waits_is_small() {
        let endpoint = Endpoint::parse("http://127.0.0.1:1").unwrap();
        let config = ClientConfig {
            endpoint_type: EndpointType::Chat,
            http: HttpVersion::Auto,
            api_key: None,
            headers: Vec::new(),
            insecure: false,
            request_timeout: Duration::MAX,
            connect_timeout: Duration::MAX,
        };
        let client = Client::new(vec![endpoint], config, RunClock::start()).unwrap();
        let cancel = CancellationToken::new();
        let sent = client.send(0, RequestBody::default(), Duration::ZERO, &cancel);
        // Ten thousand are in flight at once, each in boxes of about this size. What only some requests need, such as
        // opening a connection, has a box of its own.
        let size = size_of_val(&sent);
        assert!(size <= 2560, "{size} bytes");
    }
}

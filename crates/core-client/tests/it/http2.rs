//! HTTP/2: many requests on one connection, as many as the server allows.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use core_client::{Client, HttpVersion};
use futures_util::future::join_all;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use metrics::timeline::FailureKind;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::secure::self_signed;
use crate::server::*;

#[derive(Clone, Debug, Default)]
struct Log2 {
    n_connections: usize,
    n_ended: usize,
    n_in_flight: usize,
    max_in_flight: usize,
    heads: Vec<String>,
    last_body: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
struct Options {
    max_streams: Option<u32>,
    /// Sends one token and then nothing more.
    hangs: bool,
    /// Closes the connection a moment after its first answer.
    closes: bool,
}

struct Server2 {
    port: u16,
    log: watch::Receiver<Log2>,
}

impl Server2 {
    async fn start(options: Options, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (log, watched) = watch::channel(Log2::default());
        let log = Arc::new(log);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                log.send_modify(|log| log.n_connections += 1);
                let (log, tls) = (Arc::clone(&log), tls.clone());
                tokio::spawn(async move {
                    let wire = match tls {
                        None => Some(Wire::Plain(tcp)),
                        Some(tls) => tls.accept(tcp).await.ok().map(|t| Wire::Tls(Box::new(t))),
                    };
                    if let Some(wire) = wire {
                        serve(wire, options, &log).await;
                    }
                    log.send_modify(|log| log.n_ended += 1);
                });
            }
        });
        Self { port, log: watched }
    }

    fn client(&self, scheme: &str, http: HttpVersion) -> Client {
        let mut config = config();
        (config.http, config.insecure) = (http, true);
        client(&format!("{scheme}://127.0.0.1:{}", self.port), config)
    }

    fn log(&self) -> Log2 {
        self.log.borrow().clone()
    }

    async fn until(&self, is_so: impl FnMut(&Log2) -> bool) {
        let mut log = self.log.clone();
        let waiting = log.wait_for(is_so);
        tokio::time::timeout(Duration::from_secs(60), waiting)
            .await
            .expect("never seen")
            .unwrap();
    }
}

async fn serve(wire: Wire, options: Options, log: &Arc<watch::Sender<Log2>>) {
    if matches!(wire, Wire::Tls(_)) {
        assert!(wire.chose_h2(), "ALPN did not choose HTTP/2");
    }
    let (answered, mut has_answered) = watch::channel(false);
    let answered = Arc::new(answered);
    let service = service_fn(|request: Request<Incoming>| {
        let (log, answered) = (Arc::clone(log), Arc::clone(&answered));
        async move {
            let head = format!(
                "{} {} {:?}",
                request.method(),
                request.uri(),
                request.headers()
            );
            let body = request.into_body().collect().await.unwrap().to_bytes();
            log.send_modify(|log| {
                log.heads.push(head);
                log.last_body = body.to_vec();
                log.n_in_flight += 1;
                log.max_in_flight = log.max_in_flight.max(log.n_in_flight);
            });
            // Requests that belong together are in flight together. Real time, short.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let mut events = vec![ROLE.to_owned(), token("Hello")];
            if !options.hangs {
                events.extend([token(" world"), FINISH.into(), USAGE.into(), DONE.into()]);
            }
            let guard = InFlight(log);
            let frames = stream::unfold((events.into_iter(), guard), move |(mut events, guard)| {
                let answered = Arc::clone(&answered);
                async move {
                    match events.next() {
                        Some(event) => {
                            let frame = Frame::data(Bytes::from(event));
                            Some((Ok::<_, Infallible>(frame), (events, guard)))
                        }
                        None if options.hangs => std::future::pending().await,
                        None => {
                            answered.send_replace(true);
                            None
                        }
                    }
                }
            });
            let response = Response::builder()
                .header("content-type", "text/event-stream")
                .body(StreamBody::new(frames))
                .unwrap();
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder.max_concurrent_streams(options.max_streams);
    let connection = builder.serve_connection(TokioIo::new(wire), service);
    let close = async {
        let _ = has_answered.wait_for(|a| *a).await;
        if !options.closes {
            std::future::pending::<()>().await;
        }
        // Real time: lets the last frames out before the connection is dropped.
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    tokio::select! {
        _ = connection => {}
        () = close => {}
    }
}

/// Counts a request as long as its answer is being sent.
struct InFlight(Arc<watch::Sender<Log2>>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.send_modify(|log| log.n_in_flight -= 1);
    }
}

#[tokio::test]
async fn prior_knowledge_puts_many_requests_on_one_connection() {
    let server = Server2::start(Options::default(), None).await;
    let client = server.client("http", HttpVersion::Http2);
    for exchange in join_all((0..10).map(|_| ask(&client))).await {
        assert_good(&exchange);
    }
    let log = server.log();
    assert_eq!((log.n_connections, log.heads.len()), (1, 10));
    assert!(log.max_in_flight > 1, "{}", log.max_in_flight);
}

#[tokio::test]
async fn the_request_is_the_same_as_over_http1() {
    let server = Server2::start(Options::default(), None).await;
    let client = server.client("http", HttpVersion::Http2);
    let sent = body().with_request_id("r1");
    let bytes = sent.to_vec();
    assert_good(
        &client
            .send(0, sent, Duration::ZERO, &CancellationToken::new())
            .await,
    );
    let log = server.log();
    assert_eq!(log.last_body, bytes);
    let head = &log.heads[0];
    let target = format!("POST http://127.0.0.1:{}/v1/chat/completions ", server.port);
    assert!(head.starts_with(&target), "{head}");
    for words in [
        "Bearer EMPTY",
        "application/json",
        "\"x-request-id\": \"r1\"",
        "content-length",
    ] {
        assert!(head.contains(words), "no {words} in {head}");
    }
    assert!(!head.contains("\"host\""), "{head}");
}

#[tokio::test]
async fn alpn_prefers_http2_on_https() {
    for http in [HttpVersion::Auto, HttpVersion::Http2] {
        let tls = self_signed(&[b"h2", b"http/1.1"]);
        let server = Server2::start(Options::default(), Some(tls)).await;
        let client = server.client("https", http);
        for exchange in join_all((0..4).map(|_| ask(&client))).await {
            assert_good(&exchange);
        }
        assert_eq!(server.log().n_connections, 1);
    }
}

#[tokio::test]
async fn http1_is_kept_on_https_when_it_was_asked_for() {
    let server = Server::start_on(vec![good()], Some(self_signed(&[b"h2", b"http/1.1"]))).await;
    let mut config = config();
    (config.http, config.insecure) = (HttpVersion::Http1, true);
    assert_good(
        &ask(&client(
            &format!("https://127.0.0.1:{}", server.port),
            config,
        ))
        .await,
    );
}

#[tokio::test]
async fn a_limit_on_streams_opens_another_connection() {
    let options = Options {
        max_streams: Some(2),
        ..Options::default()
    };
    let server = Server2::start(options, None).await;
    let client = server.client("http", HttpVersion::Http2);
    client.open_connections(&[5]).await;
    assert_eq!(server.log().n_connections, 3);
    for _ in 0..2 {
        for exchange in join_all((0..5).map(|_| ask(&client))).await {
            assert_good(&exchange);
            assert_eq!(exchange.timeline.dial, Duration::ZERO);
        }
    }
    assert_eq!(server.log().n_connections, 3);
    for exchange in join_all((0..7).map(|_| ask(&client))).await {
        assert_good(&exchange);
    }
    assert_eq!(server.log().n_connections, 4);
}

#[tokio::test]
async fn a_cancelled_request_resets_its_stream_and_leaves_the_connection() {
    let options = Options {
        hangs: true,
        ..Options::default()
    };
    let server = Server2::start(options, None).await;
    let client = server.client("http", HttpVersion::Http2);
    for n in 1..=2 {
        let cancel = CancellationToken::new();
        let stop = async {
            server.until(|log| log.heads.len() == n).await;
            // Real time: what the client has read cannot be seen from here.
            tokio::time::sleep(Duration::from_millis(200)).await;
            cancel.cancel();
        };
        let (exchange, ()) = tokio::join!(client.send(0, body(), Duration::ZERO, &cancel), stop);
        assert_fails(&exchange, FailureKind::Cancelled, &["after 1 chunks"]);
        assert_eq!(exchange.text, "Hello");
        server.until(|log| log.n_in_flight == 0).await;
    }
    assert_eq!(server.log().n_connections, 1);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_dropped_before_use() {
    let options = Options {
        closes: true,
        ..Options::default()
    };
    let server = Server2::start(options, None).await;
    let client = server.client("http", HttpVersion::Http2);
    for n in 1..=2 {
        assert_good(&ask(&client).await);
        server.until(|log| log.n_ended == n).await;
    }
    let log = server.log();
    assert_eq!((log.n_connections, log.heads.len()), (2, 2));
}

#[tokio::test]
async fn a_server_without_http2_is_a_connect_failure() {
    // The greeting of HTTP/2 reads as a request without a body to an HTTP/1.1 server.
    let refusal = whole("400 Bad Request", "text/plain", "what?");
    let server = Server::start(vec![[refusal, vec![Do::Close]].concat()]).await;
    let mut config = config();
    config.http = HttpVersion::Http2;
    let exchange = ask(&client(&server.url(), config)).await;
    assert_fails(&exchange, FailureKind::Connect, &["does not speak HTTP/2"]);
}

#[tokio::test]
async fn closing_idle_connections_closes_them() {
    let server = Server2::start(Options::default(), None).await;
    let client = server.client("http", HttpVersion::Http2);
    client.open_connections(&[3]).await;
    assert_eq!(server.log().n_connections, 1);
    client.close_idle();
    server.until(|log| log.n_ended == 1).await;
    assert_good(&ask(&client).await);
}

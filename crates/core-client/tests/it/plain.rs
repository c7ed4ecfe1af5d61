//! Plain posts: what is sent, what is kept of the answer, and every way in which it can fail.

use std::time::Duration;

use core_client::plain::{Framing, PlainClient, PlainConfig, PlainExchange, PlainUrl, records};
use core_client::{HttpVersion, RequestBody, RunClock};
use http::{HeaderName, HeaderValue};
use metrics::timeline::FailureKind;
use tokio_util::sync::CancellationToken;

use crate::server::{Do, LAST_CHUNK, Server, chunk, send, whole};

const BODY: &str = r#"{"prompt":"p","max_tokens":1,"temperature":0.0}"#;

fn config() -> PlainConfig {
    PlainConfig {
        http: HttpVersion::Auto,
        headers: Vec::new(),
        insecure: false,
        request_timeout: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(60),
    }
}

fn client(server: &Server, path: &str, config: PlainConfig) -> PlainClient {
    let url = PlainUrl::parse(&format!("{}{path}", server.url())).unwrap();
    PlainClient::new(url, config, RunClock::start()).unwrap()
}

async fn post(client: &PlainClient) -> PlainExchange {
    let body = RequestBody::new(vec![BODY.into()], 0);
    let intended = client.clock().now();
    client.post(body, intended, &CancellationToken::new()).await
}

fn streaming(content_type: &str, parts: &[&str], end: &[u8]) -> Vec<Do> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let parts = parts.iter().map(|part| Do::Send(chunk(part)));
    [send(head)]
        .into_iter()
        .chain(parts)
        .chain([send(end)])
        .collect()
}

#[track_caller]
fn assert_fails(exchange: &PlainExchange, kind: FailureKind, words: &[&str]) {
    let failure = exchange.failure.as_ref().expect("a failure");
    assert_eq!(failure.kind, kind, "{failure:?}");
    for word in words {
        assert!(failure.message.contains(word), "no {word:?} in {failure:?}");
    }
}

#[tokio::test]
async fn the_body_goes_to_the_url_as_it_is_and_no_key_with_it() {
    let answer = r#"{"text": "hello", "cached": false}"#;
    let server = Server::start(vec![whole(
        "200 OK",
        "Application/JSON; charset=utf-8",
        answer,
    )])
    .await;
    let mut config = config();
    config.headers = vec![(
        HeaderName::from_static("x-team"),
        HeaderValue::from_static("blue"),
    )];
    let client = client(&server, "/api/generate?x=1", config);
    client.open_connections(3).await;
    let exchange = post(&client).await;
    assert_eq!(exchange.failure, None);
    assert_eq!(exchange.body, answer.as_bytes());
    assert_eq!(exchange.content_type.as_deref(), Some("application/json"));
    assert_eq!(exchange.timeline.dial, Duration::ZERO);
    let t = &exchange.timeline;
    let stamps = [t.intended, t.launched, t.headers_at.unwrap(), t.finished];
    assert!(stamps.is_sorted(), "{stamps:?}");
    let log = server.log();
    assert_eq!(log.n_connections, 3);
    let seen = &log.requests[0];
    assert!(
        seen.head.starts_with("POST /api/generate?x=1 HTTP/1.1"),
        "{}",
        seen.head
    );
    assert_eq!(seen.body, BODY.as_bytes());
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("x-team"), Some("blue"));
    assert_eq!(seen.header("authorization"), None);
}

#[tokio::test]
async fn a_stream_is_stamped_frame_by_frame_and_ends_with_done() {
    let parts = ["data: {\"text\": \"a\"}\n\n", "data: [DONE]\n\n"];
    let mut script = streaming("text/event-stream", &parts, b"");
    // The server keeps the body open behind its last event, for ever.
    script.push(Do::Hang);
    let server = Server::start(vec![script]).await;
    let exchange = post(&client(&server, "/", config())).await;
    assert_eq!(exchange.failure, None);
    assert!(exchange.is_event_stream());
    let records = records(&exchange.body, &exchange.frames, Framing::Events);
    assert_eq!(records.len(), 2);
    assert_eq!(records[1].at, exchange.timeline.finished);
}

#[tokio::test]
async fn connections_are_used_again_whatever_the_answer_was() {
    let lines = streaming(
        "application/x-ndjson",
        &["{}\n", "{}\n"],
        LAST_CHUNK.as_bytes(),
    );
    let server = Server::start(vec![
        lines,
        whole("500 Internal Server Error", "text/plain", "boom"),
        whole("200 OK", "application/json", "{}"),
    ])
    .await;
    let client = client(&server, "/", config());
    for _ in 0..3 {
        post(&client).await;
        // Real time: behind the first stream it is looked whether the server closes the connection.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(server.log().n_connections, 1);
}

#[tokio::test]
async fn a_status_is_a_failure_with_the_servers_words_and_no_secret_of_ours() {
    let body = r#"{"detail": "no hunter22 here"}"#;
    let server = Server::start(vec![whole("401 Unauthorized", "application/json", body)]).await;
    let mut config = config();
    config.headers = vec![(
        HeaderName::from_static("x-api-key"),
        HeaderValue::from_static("hunter22"),
    )];
    let exchange = post(&client(&server, "/", config)).await;
    assert_fails(
        &exchange,
        FailureKind::Status,
        &["HTTP 401 Unauthorized: no [secret] here"],
    );
    assert_eq!(exchange.status, Some(401));
    assert_eq!(exchange.failure.unwrap().status, Some(401));
    assert!(exchange.body.is_empty());
}

#[tokio::test]
async fn a_created_or_empty_answer_is_no_success() {
    for status in ["201 Created", "204 No Content"] {
        let server = Server::start(vec![whole(status, "application/json", "")]).await;
        let exchange = post(&client(&server, "/", config())).await;
        assert_fails(&exchange, FailureKind::Status, &["HTTP 20"]);
    }
}

#[tokio::test]
async fn a_cut_body_is_truncated() {
    let script = vec![
        send(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{\"te",
        ),
        Do::Close,
    ];
    let server = Server::start(vec![script]).await;
    let exchange = post(&client(&server, "/", config())).await;
    assert_fails(&exchange, FailureKind::Truncated, &["cut"]);
    assert_eq!(exchange.body, b"{\"te");
}

#[tokio::test]
async fn a_silent_server_times_out_in_these_words() {
    let server = Server::start(vec![vec![Do::Hang]]).await;
    let mut config = config();
    config.request_timeout = Duration::from_millis(1500);
    let exchange = post(&client(&server, "/", config)).await;
    assert_fails(&exchange, FailureKind::Timeout, &["timeout after 1.5 s"]);
}

#[tokio::test]
async fn nobody_listening_is_a_connect_failure() {
    let url = {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/generate", server.local_addr().unwrap())
    };
    let url = PlainUrl::parse(&url).unwrap();
    let client = PlainClient::new(url, config(), RunClock::start()).unwrap();
    client.open_connections(2).await;
    assert_fails(&post(&client).await, FailureKind::Connect, &["refused"]);
}

#[tokio::test]
async fn an_answer_that_is_not_http_and_one_compressed_unasked_are_protocol_failures() {
    let server = Server::start(vec![vec![send("SSH-2.0-OpenSSH_9\r\n"), Do::Close]]).await;
    let exchange = post(&client(&server, "/", config())).await;
    assert_fails(&exchange, FailureKind::Protocol, &["not HTTP"]);
    let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx";
    let server = Server::start(vec![vec![send(head)]]).await;
    let exchange = post(&client(&server, "/", config())).await;
    assert_fails(&exchange, FailureKind::Protocol, &["gzip"]);
}

#[tokio::test]
async fn a_redirect_that_keeps_method_and_server_is_followed_and_counted() {
    let redirect = |location: &str| {
        vec![send(format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        ))]
    };
    let server = Server::start(vec![
        redirect("/generate"),
        whole("200 OK", "application/json", "{}"),
    ])
    .await;
    let exchange = post(&client(&server, "/generate/", config())).await;
    assert_eq!((exchange.failure, exchange.n_redirects), (None, 1));
    let log = server.log();
    assert!(log.requests[1].head.starts_with("POST /generate HTTP/1.1"));
    assert_eq!(log.requests[1].body, BODY.as_bytes());

    let server = Server::start(vec![redirect("http://192.0.2.1/x")]).await;
    let exchange = post(&client(&server, "/", config())).await;
    assert_fails(
        &exchange,
        FailureKind::Status,
        &["HTTP 307", "to http://192.0.2.1/x"],
    );

    // Round and round: it ends after ten.
    let server = Server::start(vec![redirect("/again")]).await;
    let exchange = post(&client(&server, "/", config())).await;
    assert_fails(&exchange, FailureKind::Status, &["HTTP 307"]);
    assert_eq!(server.log().requests.len(), 11);
}

#[tokio::test]
async fn a_found_redirect_would_change_the_method_and_is_not_followed() {
    let script = "HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n";
    let server = Server::start(vec![vec![send(script)]]).await;
    let exchange = post(&client(&server, "/", config())).await;
    assert_fails(&exchange, FailureKind::Status, &["HTTP 302", "to /login"]);
    assert_eq!(server.log().requests.len(), 1);
}

#[tokio::test]
async fn cancelling_closes_the_connection_and_says_so() {
    let server = Server::start(vec![vec![Do::Hang]]).await;
    let client = client(&server, "/", config());
    let cancel = CancellationToken::new();
    let body = RequestBody::new(vec![BODY.into()], 0);
    let stop = async {
        server.until(|log| log.requests.len() == 1).await;
        cancel.cancel();
    };
    let (exchange, ()) = tokio::join!(client.post(body, Duration::ZERO, &cancel), stop);
    assert_fails(&exchange, FailureKind::Cancelled, &[]);
    server.until(|log| log.n_ended == 1).await;
}

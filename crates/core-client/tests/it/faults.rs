//! Everything a server can do wrong, each by name: its kind, its status, and words that help.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use metrics::timeline::FailureKind;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::server::*;

/// A port on which nobody listens.
async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn a_server_that_refuses_is_a_connect_failure() {
    let port = closed_port().await;
    let client = client(&format!("http://127.0.0.1:{port}"), config());
    let exchange = ask(&client).await;
    assert_fails(
        &exchange,
        FailureKind::Connect,
        &["refused", &port.to_string(), "running"],
    );
    let failure = exchange.failure.unwrap();
    assert_eq!(failure.status, None);
    let t = &exchange.timeline;
    assert!(t.dial > Duration::ZERO && t.is_unsent);
    assert_eq!(t.ready_at(), t.launched);
    assert!(t.finished >= t.launched + t.dial);
    // Opening connections ahead does not hide it either.
    client.open_connections(&[3]).await;
    assert_eq!(
        ask(&client).await.failure.unwrap().kind,
        FailureKind::Connect
    );
}

#[tokio::test]
async fn a_host_without_an_address_is_a_connect_failure() {
    // The name is reserved never to exist (RFC 6761); where there is no resolver, that fails too.
    let client = client("http://nowhere.invalid:80", config());
    let exchange = ask(&client).await;
    assert_fails(
        &exchange,
        FailureKind::Connect,
        &["nowhere.invalid", "check the host name"],
    );
}

#[tokio::test]
async fn a_server_that_hangs_before_its_head_times_out() {
    let server = Server::start(vec![vec![Do::Hang]]).await;
    let mut config = config();
    // Real time, short: the limit is the thing under test.
    config.request_timeout = Duration::from_millis(100);
    let exchange = ask(&client(&server.url(), config)).await;
    assert_fails(&exchange, FailureKind::Timeout, &["no output within 0.1 s"]);
    assert_eq!(exchange.timeline.headers_at, None);
    let t = &exchange.timeline;
    assert!(t.finished - t.launched + t.dial >= Duration::from_millis(100));
    server.until(|log| log.n_ended == 1).await;
}

#[tokio::test]
async fn the_limit_on_a_request_passes_in_virtual_time() {
    let server = Server::start(vec![
        [open_stream(&[&token("Hello")]), vec![Do::Hang]].concat(),
    ])
    .await;
    let mut config = config();
    config.request_timeout = Duration::from_secs(600);
    let client = client(&server.url(), config);
    client.open_connections(&[1]).await;
    tokio::time::pause();
    let exchange = ask(&client).await;
    assert_fails(&exchange, FailureKind::Timeout, &["600 s"]);
    let t = &exchange.timeline;
    let took = t.finished - t.launched;
    assert!(
        took >= Duration::from_secs(600) && took < Duration::from_secs(601),
        "{took:?}"
    );
}

#[tokio::test]
async fn a_listener_that_never_shakes_hands_is_a_connect_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut config = config();
    // Real time, short: the limit is the thing under test.
    config.connect_timeout = Duration::from_millis(100);
    let client = client(&format!("https://127.0.0.1:{port}"), config);
    let exchange = ask(&client).await;
    assert_fails(
        &exchange,
        FailureKind::Connect,
        &["within 0.1 s", "reachable"],
    );
    drop(listener);
}

#[tokio::test]
async fn a_web_page_is_a_protocol_failure_with_its_text() {
    let page = "<!DOCTYPE html><html><head><title>Welcome</title></head><body>nginx</body></html>";
    let exchange = ask_once(whole("200 OK", "text/html; charset=utf-8", page)).await;
    assert_fails(
        &exchange,
        FailureKind::Protocol,
        &["web page", "Welcome", "nginx", "text/html"],
    );
    assert_eq!(exchange.failure.unwrap().status, Some(200));
}

#[tokio::test]
async fn a_completion_that_is_not_streamed_is_a_protocol_failure() {
    let json = "{\"choices\":[{\"message\":{\"content\":\"Hello\"},\"finish_reason\":\"stop\"}],\"usage\":{}}";
    let exchange = ask_once(whole("200 OK", "application/json", json)).await;
    assert_fails(&exchange, FailureKind::Protocol, &["did not stream"]);
    let exchange = ask_once(whole("200 OK", "application/json", "{\"error\":\"busy\"}")).await;
    assert_fails(
        &exchange,
        FailureKind::Protocol,
        &["busy", "application/json"],
    );
}

#[tokio::test]
async fn a_compressed_stream_is_a_protocol_failure() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx";
    let exchange = ask_once(vec![send(head)]).await;
    assert_fails(&exchange, FailureKind::Protocol, &["compressed", "gzip"]);
}

#[tokio::test]
async fn every_refusing_status_has_the_servers_words_and_a_hint() {
    let openai =
        "{\"error\":{\"message\":\"the server's\\n own words\",\"type\":\"x\",\"code\":1}}";
    let fastapi = "{\"detail\":\"the server's own words\"}";
    for (status, code, body, hint) in [
        ("401 Unauthorized", 401, openai, "API key"),
        ("403 Forbidden", 403, fastapi, "API key"),
        ("404 Not Found", 404, openai, "model name and the path"),
        ("400 Bad Request", 400, fastapi, "rejects"),
        (
            "413 Payload Too Large",
            413,
            "the server's own words",
            "larger than",
        ),
        ("429 Too Many Requests", 429, openai, "limits requests"),
        (
            "500 Internal Server Error",
            500,
            "<html><h1>the server's own</h1>words</html>",
            "see its log",
        ),
        ("503 Service Unavailable", 503, openai, "overloaded"),
        ("299 Odd", 299, openai, "HTTP 299"),
    ] {
        let exchange = ask_once(whole(status, "application/json", body)).await;
        let code_text = code.to_string();
        assert_fails(
            &exchange,
            FailureKind::Status,
            &["the server's own words", hint, &code_text],
        );
        assert_eq!(exchange.failure.unwrap().status, Some(code));
        assert!(exchange.timeline.headers_at.is_some());
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_but_named() {
    let elsewhere = Server::start(vec![good()]).await;
    let head = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: {}/v1/x\r\ncontent-length: 0\r\n\r\n",
        elsewhere.url()
    );
    let exchange = ask_once(vec![send(head)]).await;
    assert_fails(
        &exchange,
        FailureKind::Status,
        &["307", &elsewhere.url(), "not followed"],
    );
    assert_eq!(elsewhere.log().n_connections, 0);
}

#[tokio::test]
async fn an_error_answer_that_never_ends_is_reported_by_its_head() {
    let head = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 1000\r\n\r\nout of memory";
    let server = Server::start(vec![vec![send(head), Do::Hang]]).await;
    let client = client(&server.url(), config());
    client.open_connections(&[1]).await;
    tokio::time::pause();
    let exchange = ask(&client).await;
    assert_fails(&exchange, FailureKind::Status, &["500", "out of memory"]);
    assert!(exchange.timeline.finished - exchange.timeline.launched < Duration::from_secs(10));
}

#[tokio::test]
async fn a_server_that_repeats_the_key_does_not_get_it_into_our_message() {
    let said =
        "{\"error\":{\"message\":\"Incorrect API key provided: sk-very-secret, team hunter22\"}}";
    let server = Server::start(vec![
        whole("401 Unauthorized", "application/json", said),
        stream_of(&["data: {\"error\":{\"message\":\"bad key sk-very-secret\"}}\n\n"]),
        whole("200 OK", "text/plain", "sk-very-secret hunter22"),
    ])
    .await;
    let mut config = config();
    config.api_key = Some("sk-very-secret".into());
    config.headers = vec![(
        HeaderName::from_static("x-team-token"),
        HeaderValue::from_static("hunter22"),
    )];
    let client = client(&server.url(), config.clone());
    for _ in 0..3 {
        let shown = format!("{:?} {client:?} {config:?}", ask(&client).await.failure);
        assert!(shown.contains("[secret]"), "{shown}");
        assert!(
            !shown.contains("sk-very-secret") && !shown.contains("hunter22"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_stream_cut_in_the_middle_is_truncated_and_keeps_what_came() {
    let script = [open_stream(&[ROLE, &token("Hello")]), vec![Do::Close]].concat();
    let exchange = ask_once(script).await;
    assert_fails(
        &exchange,
        FailureKind::Truncated,
        &["cut after 1 chunks", "log"],
    );
    assert_eq!(exchange.text, "Hello");
    assert_eq!(exchange.timeline.chunks.len(), 1);
    assert_eq!(exchange.failure.unwrap().status, Some(200));
}

#[tokio::test]
async fn a_stream_cut_by_a_reset_is_truncated_and_keeps_what_came() {
    let mut script = open_stream(&[ROLE, &token("Hello")]);
    // Real time: a reset right behind the data may overtake it.
    script.extend([Do::Wait(Duration::from_millis(100)), Do::Reset]);
    let exchange = ask_once(script).await;
    assert_fails(
        &exchange,
        FailureKind::Truncated,
        &["cut after 1 chunks", "reset"],
    );
    assert_eq!(exchange.text, "Hello");
}

#[tokio::test]
async fn a_server_that_hangs_up_without_an_answer_is_asked_once() {
    for ending in [Do::Close, Do::Reset] {
        let server = Server::start(vec![vec![ending], good()]).await;
        let exchange = ask(&client(&server.url(), config())).await;
        assert_fails(&exchange, FailureKind::Truncated, &["before"]);
        assert_eq!(server.log().requests.len(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_protocol_failure() {
    let exchange = ask_once(vec![send("SSH-2.0-OpenSSH_9.7\r\n\r\n")]).await;
    assert_fails(&exchange, FailureKind::Protocol, &["not HTTP"]);
}

#[tokio::test]
async fn a_broken_chunk_length_is_a_protocol_failure() {
    let mut script = open_stream(&[&token("Hello")]);
    script.push(send("zz\r\nwhat"));
    let exchange = ask_once(script).await;
    assert_fails(
        &exchange,
        FailureKind::Protocol,
        &["framing", "after 1 chunks"],
    );
}

#[tokio::test]
async fn a_stream_without_a_token_is_empty() {
    let exchange = ask_once(stream_of(&[ROLE, FINISH, USAGE, DONE])).await;
    assert_fails(&exchange, FailureKind::Empty, &["no text"]);
    let exchange = ask_once(stream_of(&[ROLE, FINISH, DONE])).await;
    assert_fails(&exchange, FailureKind::Empty, &["no token"]);
    assert_eq!(exchange.timeline.first_token_at(), None);
}

#[tokio::test]
async fn an_error_event_in_the_stream_is_a_protocol_failure() {
    let error = "data: {\"error\":{\"message\":\"KV cache exhausted\",\"code\":500}}\n\n";
    let exchange = ask_once(stream_of(&[&token("Hello"), error, DONE])).await;
    assert_fails(&exchange, FailureKind::Protocol, &["KV cache exhausted"]);
    assert_eq!(exchange.text, "Hello");
}

#[tokio::test]
async fn broken_json_in_the_stream_is_a_protocol_failure() {
    let exchange = ask_once(stream_of(&[
        &token("Hello"),
        "data: {\"choices\":[{]}\n\n",
        DONE,
    ]))
    .await;
    assert_fails(
        &exchange,
        FailureKind::Protocol,
        &["not a chunk", "{\"choices\":[{]}"],
    );
}

#[tokio::test]
async fn a_content_length_that_is_too_long_is_truncated() {
    let text = [ROLE, &token("Hello")].concat();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{text}",
        text.len() + 10
    );
    let exchange = ask_once(vec![send(head), Do::Close]).await;
    assert_fails(&exchange, FailureKind::Truncated, &["after 1 chunks"]);
}

#[tokio::test]
async fn a_content_length_that_is_too_short_is_truncated_and_the_rest_spoils_nothing() {
    let text = [&token("Hello"), &token(" world"), DONE].concat();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{text}",
        token("Hello").len() + 5
    );
    let server = Server::start(vec![vec![send(head)], good()]).await;
    let client = client(&server.url(), config());
    assert_fails(
        &ask(&client).await,
        FailureKind::Truncated,
        &["after 1 chunks"],
    );
    // What is left over on that connection must not be read as the next answer.
    assert_good(&ask(&client).await);
    assert_eq!(server.log().n_connections, 2);
}

#[tokio::test]
async fn a_cancel_before_the_send_sends_nothing() {
    let server = Server::start(vec![good()]).await;
    let client = client(&server.url(), config());
    let cancel = CancellationToken::new();
    cancel.cancel();
    let exchange = client.send(0, body(), Duration::ZERO, &cancel).await;
    assert_fails(&exchange, FailureKind::Cancelled, &["cancelled"]);
    assert_eq!(server.log().n_connections, 0);
}

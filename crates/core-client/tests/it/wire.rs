//! What goes over the wire: request line, headers, body.

use std::time::Duration;

use bytes::Bytes;
use core_client::{Client, ClientError, Endpoint, EndpointType, RunClock};
use http::{HeaderName, HeaderValue, header};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::server::*;

#[tokio::test]
async fn the_key_and_custom_headers_go_with_every_request() {
    let models = whole(
        "200 OK",
        "application/json",
        "{\"data\":[{\"id\":\"tiny\"}]}",
    );
    let server = Server::start(vec![models, good()]).await;
    let mut config = config();
    config.api_key = Some("sk-1234".into());
    config.headers = vec![
        (
            HeaderName::from_static("x-team"),
            HeaderValue::from_static("a"),
        ),
        (
            HeaderName::from_static("x-team"),
            HeaderValue::from_static("b"),
        ),
        (header::USER_AGENT, HeaderValue::from_static("mine")),
    ];
    let client = client(&server.url(), config);
    assert_eq!(client.detect_model().await.unwrap().id, "tiny");
    assert_good(&ask(&client).await);
    let requests = server.log().requests;
    assert!(
        requests[0].head.starts_with("GET /v1/models HTTP/1.1\r\n"),
        "{}",
        requests[0].head
    );
    assert!(
        requests[1]
            .head
            .starts_with("POST /v1/chat/completions HTTP/1.1\r\n")
    );
    for seen in &requests {
        assert_eq!(seen.header("authorization"), Some("Bearer sk-1234"));
        assert_eq!(seen.header("user-agent"), Some("mine"));
        assert_eq!(
            seen.header("host"),
            Some(format!("127.0.0.1:{}", server.port).as_str())
        );
        let teams: Vec<&str> = seen
            .head
            .lines()
            .filter(|l| l.starts_with("x-team:"))
            .collect();
        assert_eq!(teams, ["x-team: a", "x-team: b"]);
    }
    // And both went over one connection.
    assert_eq!(server.log().n_connections, 1);
}

#[tokio::test]
async fn without_a_key_the_bearer_is_empty_by_name() {
    let server = Server::start(vec![good()]).await;
    assert_good(&ask(&client(&server.url(), config())).await);
    let seen = server.log().requests.remove(0);
    assert_eq!(seen.header("authorization"), Some("Bearer EMPTY"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("x-request-id"), None);
}

#[tokio::test]
async fn a_custom_authorization_takes_the_place_of_the_key() {
    let server = Server::start(vec![good()]).await;
    let mut config = config();
    config.headers = vec![(
        header::AUTHORIZATION,
        HeaderValue::from_static("Basic abcd"),
    )];
    assert_good(&ask(&client(&server.url(), config)).await);
    let seen = server.log().requests.remove(0);
    assert_eq!(seen.head.matches("authorization:").count(), 1);
    assert_eq!(seen.header("authorization"), Some("Basic abcd"));
}

#[tokio::test]
async fn the_request_id_is_sent_and_made_printable() {
    let server = Server::start(vec![good()]).await;
    let client = client(&server.url(), config());
    let cancel = CancellationToken::new();
    for id in ["ramp_c4_r17", "a b\nü"] {
        let body = body().with_request_id(id);
        assert_good(&client.send(0, body, Duration::ZERO, &cancel).await);
    }
    let requests = server.log().requests;
    assert_eq!(requests[0].header("x-request-id"), Some("ramp_c4_r17"));
    assert_eq!(requests[1].header("x-request-id"), Some("a_b__"));
}

#[tokio::test]
async fn a_large_prompt_in_many_parts_arrives_unchanged_with_its_length() {
    let server = Server::start(vec![good()]).await;
    let client = client(&server.url(), config());
    let parts: Vec<Bytes> = (0..3000)
        .map(|i| Bytes::from(format!(" word{i}").repeat(i % 200)))
        .collect();
    let body = template(EndpointType::Chat).body(&parts);
    let (length, sent) = (body.content_length(), body.to_vec());
    assert_good(
        &client
            .send(0, body, Duration::ZERO, &CancellationToken::new())
            .await,
    );
    let seen = server.log().requests.remove(0);
    assert_eq!(
        seen.header("content-length"),
        Some(length.to_string().as_str())
    );
    assert_eq!(seen.header("transfer-encoding"), None);
    assert!(seen.body == sent, "the body differs");
    let json: Value = serde_json::from_slice(&seen.body).unwrap();
    let prompt = json["messages"][0]["content"].as_str().unwrap();
    assert_eq!(prompt.as_bytes(), parts.concat());
}

#[tokio::test]
async fn a_prefix_of_the_path_is_kept() {
    let server = Server::start(vec![good()]).await;
    assert_good(&ask(&client(&format!("{}/proxy/llm/", server.url()), config())).await);
    let seen = server.log().requests.remove(0);
    assert!(
        seen.head
            .starts_with("POST /proxy/llm/v1/chat/completions "),
        "{}",
        seen.head
    );
}

#[tokio::test]
async fn an_ipv6_endpoint_is_dialled_and_named_with_brackets() {
    let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else {
        eprintln!("skipped: this machine has no IPv6 loopback");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let client = client(&format!("http://[::1]:{port}"), config());
    let server = async {
        use tokio::io::AsyncReadExt;
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let n = tcp.read(&mut head).await.unwrap();
        String::from_utf8_lossy(&head[..n]).into_owned()
    };
    let (_, head) = tokio::join!(ask(&client), server);
    assert!(head.contains(&format!("host: [::1]:{port}\r\n")), "{head}");
}

#[test]
fn headers_that_belong_to_the_connection_are_refused() {
    let endpoint = Endpoint::parse("http://localhost:1").unwrap();
    for name in [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
    ] {
        let mut config = config();
        config.headers = vec![(name.clone(), HeaderValue::from_static("1"))];
        let error =
            Client::new(vec![endpoint.clone()], config, RunClock::start()).expect_err("refused");
        assert!(matches!(error, ClientError::ReservedHeader { name: ref n } if *n == name));
    }
    let mut config = config();
    config.api_key = Some("sk\nsecret".into());
    let error = Client::new(vec![endpoint], config, RunClock::start()).expect_err("refused");
    assert!(!format!("{error:?} {error}").contains("secret"));
}

#[test]
fn a_client_and_its_requests_can_move_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    fn is_shared<T: Send + Sync + Clone>(_: &T) {}
    let client = client("http://localhost:1", config());
    is_shared(&client);
    let cancel = CancellationToken::new();
    drop(is_send(client.send(0, body(), Duration::ZERO, &cancel)));
    drop(is_send(client.open_connections(&[1])));
    drop(is_send(client.detect_model()));
}

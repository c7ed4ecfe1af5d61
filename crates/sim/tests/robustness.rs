//! What clients do to a server that is only polite to polite ones: bursts, endless bodies, wrong methods, and
//! leaving in the middle.
#![allow(
    clippy::unwrap_used,
    reason = "helpers outside of test functions may panic as tests do"
)]

mod http;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use http::{Client, LONG, call, get, post};
use serde_json::{Value, json};
use sim::model::ServiceModel;
use sim::{Background, RequestState, SimConfig};

fn start(service: ServiceModel) -> Background {
    let mut config = SimConfig::demo();
    config.engine.service = service;
    Background::start(config).unwrap()
}

fn fast() -> Background {
    start(ServiceModel::Fixed {
        total: Duration::from_millis(1),
    })
}

/// The error's message, which must come with this status.
fn refused(server: &Background, path: &str, body: &str, status: u16) -> String {
    let reply = call(server.address(), "POST", path, body);
    assert_eq!(reply.status, status, "{path} {body}");
    let error = &reply.json()["error"];
    assert_eq!(error["code"], status);
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_burst_of_a_thousand_connections_does_not_wait_for_a_second_syn() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // Nobody accepts: what is connected all the same is what may wait.
    let listener = runtime.block_on(sim::listen("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    // Linux repeats a SYN that found no room after a second.
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(900)).unwrap();
    let waiting: Vec<_> = (0..1_000).map(connect).collect();
    assert_eq!(waiting.len(), 1_000);
}

#[test]
fn a_name_can_be_listened_on_and_one_without_an_address_cannot() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listen = |host| runtime.block_on(sim::listen(host, 0));
    assert!(
        listen("localhost")
            .unwrap()
            .local_addr()
            .unwrap()
            .ip()
            .is_loopback()
    );
    assert!(listen("no such host").is_err());
}

#[test]
fn a_body_beyond_the_limit_is_answered_with_413_when_it_was_sent_to_its_end() {
    let server = fast();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    let piece = vec![b' '; 8 << 20];
    let pieces = 33;
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: sim\r\ncontent-length: {}\r\n\r\n",
        pieces * piece.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..pieces {
        stream.write_all(&piece).unwrap();
    }
    let reply = Client::of(stream).reply().unwrap();
    assert_eq!(reply.status, 413);
    let message = reply.json()["error"]["message"].to_string();
    assert!(message.contains("276824064 bytes"), "{message}");
}

#[test]
fn a_body_that_is_no_object_is_refused_in_words_of_the_api() {
    let server = fast();
    for path in [
        "/v1/chat/completions",
        "/v1/completions",
        "/tokenize",
        "/detokenize",
    ] {
        for body in ["", "[]", "null", "\"x\"", "[\"m\",[],\"p\"]"] {
            let message = refused(&server, path, body, 400);
            assert!(message.contains("no JSON object"), "{message}");
        }
    }
    let message = refused(&server, "/tokenize", "{}", 400);
    assert!(message.contains("prompt or messages"), "{message}");
}

#[test]
fn limits_of_tokens_that_contradict_each_other_are_refused() {
    let server = fast();
    let refused = |body: &str| refused(&server, "/v1/completions", body, 400);
    let message = refused(r#"{"prompt":"a","min_tokens":3,"max_tokens":2}"#);
    assert!(message.contains("min_tokens"), "{message}");
    let message = refused(r#"{"prompt":"a","min_tokens":-1}"#);
    assert!(message.contains("min_tokens"), "{message}");
    // More than 32 bits is not less than one.
    let message = refused(r#"{"prompt":"a","max_tokens":4294967296}"#);
    assert!(message.contains("maximum context length"), "{message}");
    let body = json!({"prompt": "a", "min_tokens": 2, "max_tokens": 2, "ignore_eos": true});
    assert_eq!(post(server.address(), "/v1/completions", &body).status, 200);
}

#[test]
fn an_endpoint_asked_with_the_wrong_method_says_which_one_is_right() {
    let server = fast();
    for (method, path, allowed) in [
        ("POST", "/v1/models", "GET"),
        ("POST", "/health", "GET"),
        ("POST", "/sim/truth", "GET"),
        ("DELETE", "/v1/models/kv-cache-sim", "GET"),
        ("GET", "/tokenize", "POST"),
        ("GET", "/v1/completions", "POST"),
        ("GET", "/generate", "POST"),
    ] {
        let reply = call(server.address(), method, path, "");
        assert_eq!(reply.status, 405, "{method} {path}");
        assert_eq!(reply.header("allow"), Some(allowed), "{method} {path}");
    }
    // As health checks ask.
    let mut client = Client::connect(server.address());
    client.send("HEAD", "/health", &[("connection", "close")], "");
    assert_eq!(client.reply().unwrap().status, 200);
}

#[test]
fn a_model_with_a_slash_in_its_name_is_found_however_the_slash_is_written() {
    let mut config = SimConfig::demo();
    config.model = "org/name".to_owned();
    let server = Background::start(config).unwrap();
    for path in ["/v1/models/org/name", "/v1/models/org%2Fname"] {
        let reply = get(server.address(), path);
        assert_eq!(
            (reply.status, &reply.json()["id"]),
            (200, &json!("org/name"))
        );
    }
}

fn truth(address: SocketAddr, id: &str) -> Value {
    get(address, &format!("/sim/truth?request_id={id}")).json()["requests"][0].clone()
}

#[test]
fn the_truth_of_a_ttft_is_known_while_the_request_still_runs_and_when_it_is_given_up() {
    let server = start(ServiceModel::Linear {
        per_active: Duration::from_millis(5),
        per_token: LONG,
    });
    let mut client = Client::connect(server.address());
    let body = json!({"prompt": "Hello", "max_tokens": 2, "stream": true}).to_string();
    client.send("POST", "/v1/completions", &[("x-request-id", "r")], &body);
    let deadline = Instant::now() + LONG;
    let begun = loop {
        let request = truth(server.address(), "r");
        if !request["ttft_s"].is_null() {
            break request;
        }
        assert!(Instant::now() < deadline, "{request}");
        std::thread::sleep(Duration::from_millis(2));
    };
    assert_eq!(
        (&begun["state"], &begun["ttft_s"], &begun["prefill_s"]),
        (&json!("active"), &json!(0.005), &json!(0.005))
    );
    assert_eq!(begun["done_s"], Value::Null);
    drop(client);
    while server.generations()[0].state != RequestState::Cancelled {
        assert!(Instant::now() < deadline, "the request was not cancelled");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(truth(server.address(), "r")["ttft_s"], 0.005);
}

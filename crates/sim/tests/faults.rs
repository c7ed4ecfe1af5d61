//! Every fault by name, as a client sees it on the wire.
#![allow(
    clippy::unwrap_used,
    reason = "helpers outside of test functions may panic as tests do"
)]

mod http;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use http::{Client, Reply, get, post};
use serde_json::{Value, json};
use sim::model::ServiceModel;
use sim::{Background, FaultPlan, SimConfig};

fn start(faults: &[&str]) -> Background {
    let mut config = SimConfig::demo();
    config.engine.service = ServiceModel::Fixed {
        total: Duration::from_millis(1),
    };
    config.faults = FaultPlan {
        rules: faults.iter().map(|fault| fault.parse().unwrap()).collect(),
        seed: 1,
    };
    Background::start(config).unwrap()
}

fn body(stream: bool) -> Value {
    json!({
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 8,
        "stream": stream,
        "stream_options": {"include_usage": true},
    })
}

fn hit(fault: &str) -> Reply {
    post(
        start(&[fault]).address(),
        "/v1/chat/completions",
        &body(true),
    )
}

/// What a whole stream looks like: role, eight tokens, usage, end.
fn check_whole(reply: &Reply) {
    assert!(reply.complete);
    assert_eq!(reply.events().len(), 11);
    assert_eq!(
        reply.chunks().last().unwrap()["usage"]["completion_tokens"],
        8
    );
}

#[test]
fn a_status_answers_with_an_error_object() {
    for (status, kind) in [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (404, "NotFoundError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailableError"),
    ] {
        let reply = hit(&status.to_string());
        assert_eq!(reply.status, status);
        assert_eq!(reply.json()["error"]["type"], kind);
        let retry = (status == 429 || status == 503).then_some("1");
        assert_eq!(reply.header("retry-after"), retry);
    }
}

#[test]
fn a_busy_server_says_when_to_come_again() {
    let reply = hit("429:seconds=7");
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (429, Some("7"))
    );
    assert_eq!(reply.json()["error"]["type"], "RateLimitError");
}

#[test]
fn slow_accept_leaves_a_new_connection_alone_for_its_time() {
    let server = start(&["slow-accept:seconds=0.2:every=2"]);
    let started = Instant::now();
    let mut first = Client::connect(server.address());
    let mut second = Client::connect(server.address());
    for client in [&mut first, &mut second] {
        client.send("POST", "/v1/chat/completions", &[], &body(true).to_string());
    }
    check_whole(&second.reply().unwrap());
    assert!(started.elapsed() >= Duration::from_millis(200));
    check_whole(&first.reply().unwrap());
    // The first one's request was there long before the second one's.
    let arrivals: Vec<_> = server.generations().iter().map(|r| r.arrival_s).collect();
    assert!(arrivals[1] - arrivals[0] >= 0.1, "{arrivals:?}");
}

#[test]
fn refuse_resets_a_connection_and_closes_the_port_for_its_time() {
    let server = start(&["refuse:seconds=0.3:after=1:times=1"]);
    let mut before = Client::connect(server.address());
    // Served, so that it was accepted for certain before the next one comes.
    before.send("POST", "/v1/chat/completions", &[], &body(true).to_string());
    check_whole(&before.reply().unwrap());
    let mut hit = Client::connect(server.address());
    hit.send("POST", "/v1/chat/completions", &[], &body(true).to_string());
    assert_eq!(hit.reply().unwrap_err(), ErrorKind::ConnectionReset);
    let refused = std::net::TcpStream::connect(server.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // Connections from before go on.
    before.send("POST", "/v1/chat/completions", &[], &body(true).to_string());
    check_whole(&before.reply().unwrap());
    let deadline = Instant::now() + http::LONG;
    while std::net::TcpStream::connect(server.address()).is_err() {
        assert!(Instant::now() < deadline, "the port stays closed");
        std::thread::sleep(Duration::from_millis(10));
    }
    check_whole(&post(server.address(), "/v1/chat/completions", &body(true)));
}

#[test]
fn html_answers_a_page() {
    let reply = hit("html");
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    assert!(reply.body().contains("<html>"));
}

#[test]
fn no_stream_answers_json_though_a_stream_was_asked_for() {
    let reply = hit("no-stream");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.json()["usage"]["completion_tokens"], 8);
}

#[test]
fn hang_sends_nothing_until_its_time_is_over() {
    let server = start(&["hang:times=1"]);
    let mut client = Client::connect(server.address());
    client.set_patience(Duration::from_millis(200));
    client.send("POST", "/v1/chat/completions", &[], &body(true).to_string());
    assert_eq!(client.reply().unwrap_err(), ErrorKind::WouldBlock);
    let started = Instant::now();
    check_whole(&hit("hang:seconds=0.15"));
    assert!(started.elapsed() >= Duration::from_millis(150));
}

#[test]
fn stall_sends_some_tokens_and_then_waits() {
    let server = start(&["stall:tokens=2"]);
    let mut client = Client::connect(server.address());
    client.set_patience(Duration::from_millis(300));
    client.send("POST", "/v1/chat/completions", &[], &body(true).to_string());
    let reply = client.reply().unwrap();
    assert!(!reply.complete);
    assert_eq!(reply.events().len(), 3, "role and two tokens");
    check_whole(&hit("stall:tokens=2:seconds=0.05"));
}

#[test]
fn cut_ends_the_connection_in_the_middle() {
    let reply = hit("cut:tokens=5");
    assert!(!reply.complete);
    assert_eq!(reply.events().len(), 6, "role and five tokens");
    assert_eq!(hit("cut:tokens=0").events().len(), 1, "the role alone");
    let server = start(&["cut"]);
    let whole = post(server.address(), "/v1/chat/completions", &body(false));
    assert!(!whole.complete && whole.status == 200);
}

#[test]
fn empty_sends_a_complete_stream_without_a_token() {
    let reply = hit("empty");
    assert!(reply.complete);
    assert_eq!(reply.text(), "");
    assert_eq!(reply.events().last().map(String::as_str), Some("[DONE]"));
    let server = start(&["empty"]);
    let whole = post(server.address(), "/v1/chat/completions", &body(false)).json();
    assert_eq!(whole["choices"][0]["message"]["content"], "");
}

#[test]
fn no_usage_leaves_it_out() {
    let reply = hit("no-usage");
    assert!(
        reply.complete
            && reply
                .chunks()
                .iter()
                .all(|chunk| chunk.get("usage").is_none())
    );
    assert_eq!(reply.text().split_ascii_whitespace().count(), 8);
}

#[test]
fn no_done_ends_without_the_marker() {
    let reply = hit("no-done");
    assert!(reply.complete && !reply.body().contains("[DONE]"));
    assert_eq!(reply.chunks().len(), 10);
}

#[test]
fn error_event_comes_in_the_stream() {
    let reply = hit("error-event:tokens=2");
    let chunks = reply.chunks();
    assert_eq!(chunks.len(), 4);
    assert_eq!(chunks[3]["error"]["code"], 500);
}

#[test]
fn joined_puts_two_events_into_each_frame() {
    let reply = hit("joined");
    check_whole(&reply);
    assert_eq!(reply.frames.len(), 6, "five pairs and the last one");
    assert!(
        reply.frames[..5]
            .iter()
            .all(|frame| frame.windows(6).filter(|w| *w == b"data: ").count() == 2)
    );
}

#[test]
fn split_puts_each_event_into_two_frames() {
    let reply = hit("split");
    check_whole(&reply);
    assert_eq!(reply.frames.len(), 22);
    assert!(
        reply
            .frames
            .iter()
            .step_by(2)
            .all(|frame| frame.starts_with(b"data: ") && !frame.ends_with(b"\n\n"))
    );
}

#[test]
fn split_utf8_cuts_characters_in_the_middle() {
    let reply = hit("split-utf8");
    check_whole(&reply);
    let cut = reply
        .frames
        .iter()
        .filter(|frame| std::str::from_utf8(frame).is_err())
        .count();
    assert_eq!(cut, 16, "both halves of each of eight tokens");
    assert!(reply.text().contains("é東😀"));
}

#[test]
fn drip_sends_one_byte_per_frame() {
    let reply = hit("drip");
    check_whole(&reply);
    assert!(reply.frames.iter().all(|frame| frame.len() == 1));
}

#[test]
fn wrong_length_promises_more_than_it_sends() {
    let reply = hit("wrong-length");
    assert_eq!(reply.header("content-length"), Some("10000000"));
    assert!(!reply.complete);
}

#[test]
fn reset_and_close_end_the_connection_before_any_answer() {
    for (fault, kind) in [
        ("reset", ErrorKind::ConnectionReset),
        ("close", ErrorKind::UnexpectedEof),
    ] {
        let server = start(&[fault]);
        let mut client = Client::connect(server.address());
        client.send("POST", "/v1/chat/completions", &[], &body(true).to_string());
        assert_eq!(client.reply().unwrap_err(), kind, "{fault}");
    }
}

#[test]
fn faults_hit_the_requests_that_their_rule_names() {
    let server = start(&["500:after=1:every=2", "404:on=models:times=1"]);
    let statuses: Vec<_> = (0..6)
        .map(|_| post(server.address(), "/v1/chat/completions", &body(true)).status)
        .collect();
    assert_eq!(statuses, [200, 200, 500, 200, 500, 200]);
    assert_eq!(get(server.address(), "/v1/models").status, 404);
    assert_eq!(get(server.address(), "/v1/models").status, 200);
    let faults: Vec<_> = server
        .generations()
        .into_iter()
        .map(|request| request.fault)
        .collect();
    assert_eq!(faults.iter().filter(|fault| fault.is_some()).count(), 2);
}

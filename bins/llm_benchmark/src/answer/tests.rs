//! Answers of every shape.

use core_client::plain::FrameStamp;
use proptest::prelude::*;

use super::*;

/// An exchange whose head came at 1 s and whose parts came at 2 s, 3 s and so on.
fn exchange(content_type: &str, parts: &[&str]) -> PlainExchange {
    let mut exchange = PlainExchange {
        content_type: Some(content_type.to_owned()),
        status: Some(200),
        ..PlainExchange::default()
    };
    exchange.timeline.headers_at = Some(Duration::from_secs(1));
    let mut at = Duration::from_secs(1);
    for part in parts {
        at += Duration::from_secs(1);
        exchange.body.extend_from_slice(part.as_bytes());
        let end = exchange.body.len();
        exchange.frames.push(FrameStamp { at, end });
    }
    exchange.timeline.finished = at;
    exchange
}

fn read_auto(exchange: &PlainExchange) -> Result<Reply, Failure> {
    read(exchange, StreamMode::Auto, |bytes| {
        String::from_utf8_lossy(bytes).into_owned()
    })
}

fn json(body: &str) -> Result<Reply, Failure> {
    read_auto(&exchange("application/json", &[body]))
}

#[track_caller]
fn fails(result: Result<Reply, Failure>, kind: FailureKind, words: &str) {
    let failure = result.expect_err(words);
    assert_eq!(failure.kind, kind, "{failure:?}");
    assert!(failure.message.contains(words), "{failure:?}");
}

#[test]
fn a_plain_answer_has_its_first_token_with_its_headers() {
    let reply = json(r#"{"text": "twelve chars", "cached": true}"#).unwrap();
    assert_eq!(reply.ttft, Duration::from_secs(1));
    assert_eq!(reply.latency, Duration::from_secs(2));
    assert_eq!(reply.output_tokens, 3);
    assert_eq!(reply.token_count, TokenCount::Estimated);
    assert!(reply.is_cached && !reply.is_streamed && !reply.is_empty);
}

#[test]
fn json_is_read_whatever_it_calls_itself() {
    for content_type in ["text/plain", "application/problem+json", "text/html"] {
        assert!(read_auto(&exchange(content_type, &[r#"{"text": "x"}"#])).is_ok());
    }
}

#[test]
fn a_quarter_of_the_characters_are_tokens_and_no_text_has_none() {
    for (text, tokens) in [
        ("", 0),
        ("a", 1),
        ("sieben.", 1),
        ("acht....", 2),
        ("éééééééé", 2),
    ] {
        assert_eq!(estimated_tokens(text), tokens, "{text}");
    }
    let reply = json(r#"{"text": ""}"#).unwrap();
    assert!(reply.is_empty);
    assert_eq!(reply.output_tokens, 0);
    assert!(json(r#"{"cached": false}"#).unwrap().is_empty);
    // A server that counts tokens of a text it did not send is not believed.
    assert_eq!(
        json(r#"{"text": "", "output_tokens": 9}"#)
            .unwrap()
            .output_tokens,
        0
    );
}

#[test]
fn the_servers_own_count_goes_before_the_estimate() {
    for body in [
        r#"{"text": "x", "output_tokens": 7}"#,
        r#"{"text": "x", "completion_tokens": 7}"#,
        r#"{"text": "x", "usage": {"completion_tokens": 7}}"#,
        r#"{"text": "x", "output_tokens": null, "completion_tokens": 7}"#,
    ] {
        let reply = json(body).unwrap();
        assert_eq!(
            (reply.output_tokens, reply.token_count),
            (7, TokenCount::Reported),
            "{body}"
        );
    }
}

#[test]
fn cached_is_read_and_not_judged_by_its_truthiness() {
    for (cached, is_hit) in [
        ("true", true),
        ("false", false),
        ("1", true),
        ("0", false),
        ("0.5", true),
        ("null", false),
        ("\"true\"", true),
        ("\"HIT\"", true),
        ("\"1\"", true),
        ("\"false\"", false),
        ("\"miss\"", false),
        ("\"\"", false),
        ("[1]", false),
        ("{}", false),
    ] {
        let reply = json(&format!(r#"{{"text": "x", "cached": {cached}}}"#)).unwrap();
        assert_eq!(reply.is_cached, is_hit, "{cached}");
    }
    assert!(!json(r#"{"text": "x"}"#).unwrap().is_cached);
}

#[test]
fn an_answer_that_means_nothing_fails_alone_and_says_why() {
    use FailureKind::{Empty, Protocol};
    fails(json(r#"{"text": null}"#), Empty, "is null");
    fails(
        json(r#"{"text": 7}"#),
        Protocol,
        "a number and not a string",
    );
    fails(
        json(r#"{"text": ["a"]}"#),
        Protocol,
        "a list and not a string",
    );
    fails(json(r#"["a"]"#), Protocol, "a list and not a JSON object");
    fails(json("null"), Protocol, "null and not a JSON object");
    fails(json(""), Empty, "no body");
    fails(json("{\"text\": \"a"), Protocol, "in place of JSON");
    fails(json(r#"{"error": "overloaded"}"#), Protocol, "overloaded");
    let page = exchange("text/html", &["<html>hello</html>"]);
    fails(read_auto(&page), Protocol, "a web page in place of JSON");
}

#[test]
fn a_stream_has_its_first_token_with_its_first_text() {
    let events = [
        "data: {\"text\": \"\"}\n\n",
        "data: {\"text\": \" a\"}\n\n",
        ": ping\n\ndata: {\"text\": \" b\"}\n\n",
        "data: {\"text\": \"\", \"cached\": true}\n\ndata: [DONE]\n\n",
    ];
    let lines = [
        "{\"text\": \"\"}\n",
        "{\"text\": \" a\"}\n",
        "\n{\"text\": \" b\"}\n",
        "{\"text\": null, \"cached\": true}",
    ];
    for (content_type, parts) in [
        ("text/event-stream", events),
        ("application/x-ndjson", lines),
    ] {
        let reply = read_auto(&exchange(content_type, &parts)).unwrap();
        assert_eq!(reply.ttft, Duration::from_secs(3), "{content_type}");
        assert_eq!(reply.latency, Duration::from_secs(5));
        assert_eq!(
            (reply.output_tokens, reply.token_count),
            (2, TokenCount::Chunks)
        );
        assert!(reply.is_cached && reply.is_streamed);
    }
}

#[test]
fn parts_of_other_servers_streams_are_understood() {
    for part in [
        r#"{"token": "x"}"#,
        r#"{"token": {"id": 1, "text": "x"}}"#,
        r#"{"delta": "x"}"#,
        r#"{"content": "x", "stop": false}"#,
        r#"{"response": "x", "done": false}"#,
        r#"{"choices": [{"text": "x"}]}"#,
        r#"{"choices": [{"delta": {"content": "x"}}]}"#,
        r#""x""#,
        "x",
        "12",
    ] {
        let body = format!("data: {part}\n\ndata: [DONE]\n\n");
        let reply = read_auto(&exchange("text/event-stream", &[&body])).unwrap();
        assert_eq!(reply.output_tokens, 1, "{part}");
    }
}

#[test]
fn a_broken_stream_is_a_failure_of_its_kind() {
    use FailureKind::{Empty, Protocol, Truncated};
    let events = |body: &str| read_auto(&exchange("text/event-stream", &[body]));
    fails(
        events("data: {\"text\": \"a\"}\n\ndata: {\"te"),
        Truncated,
        "after 1 parts",
    );
    fails(events("data: [DONE]\n\n"), Empty, "without any text");
    fails(events(""), Empty, "without any text");
    fails(events("data: {\"text\": }\n\n"), Protocol, "no JSON object");
    fails(
        events("data: {\"text\": \"a\"}\n\ndata: {\"error\": \"lost\"}\n\n"),
        Protocol,
        "lost",
    );
    fails(events("event: error\ndata: lost\n\n"), Protocol, "lost");
    let lines = |body: &str| read_auto(&exchange("application/x-ndjson", &[body]));
    fails(
        lines("{\"text\": \"a\"}\nhello\n"),
        Protocol,
        "no JSON object",
    );
    fails(
        lines("{\"text\": \"a\"}\n{\"te"),
        Truncated,
        "after 1 parts",
    );
    // What the last line lacks is only its end.
    assert!(lines("{\"text\": \"a\"}").is_ok());
}

#[test]
fn without_stream_detection_a_stream_is_no_json() {
    let stream = exchange("text/event-stream", &["data: {\"text\": \"a\"}\n\n"]);
    let result = read(&stream, StreamMode::Off, |bytes| {
        String::from_utf8_lossy(bytes).into_owned()
    });
    fails(result, FailureKind::Protocol, "text/event-stream");
}

proptest! {
    /// Whatever bytes a server sends, reading them ends in a reply or a failure, never in a panic, and
    /// a reply's first token lies within its latency.
    #[test]
    fn no_bytes_are_too_strange(parts in prop::collection::vec(".{0,20}", 0..6), kind in 0usize..3) {
        let types = ["application/json", "text/event-stream", "application/x-ndjson"];
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let exchange = exchange(types[kind], &parts);
        if let Ok(reply) = read_auto(&exchange) {
            prop_assert!(reply.ttft <= reply.latency);
        }
    }
}

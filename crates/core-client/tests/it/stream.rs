//! Streams that are right, in all the ways in which they come.

use std::time::Duration;

use core_client::EndpointType;
use metrics::timeline::{FailureKind, Usage};
use tokio_util::sync::CancellationToken;

use crate::server::*;

#[tokio::test]
async fn a_good_answer_is_stamped_in_order_and_read_to_its_end() {
    let exchange = ask_once(good()).await;
    assert_good(&exchange);
    assert!(
        exchange.timeline.dial > Duration::ZERO,
        "nothing stood ready"
    );
}

#[tokio::test]
async fn recorded_answers_of_real_engines_are_samples() {
    for (name, text) in [
        ("vllm", include_str!("../data/vllm_sse_chat.txt")),
        ("llama", include_str!("../data/llama_sse_chat.txt")),
    ] {
        let events: Vec<String> = text
            .trim_end()
            .split("\n\n")
            .map(|e| format!("{e}\n\n"))
            .collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let exchange = ask_once(stream_of(&events)).await;
        assert_eq!(exchange.failure, None, "{name}");
        assert_eq!(exchange.timeline.chunks.len(), 4, "{name}");
        assert_eq!(exchange.usage.completion_tokens, Some(4), "{name}");
    }
}

#[tokio::test]
async fn a_completions_stream_is_read_from_its_text_fields() {
    let text = include_str!("../data/vllm_sse_completions.txt");
    let server = Server::start(vec![stream_of(&[text, "\n\n"])]).await;
    let mut config = config();
    config.endpoint_type = EndpointType::Completions;
    let client = client(&server.url(), config);
    let body = template(EndpointType::Completions).body_from_text("x");
    let exchange = client
        .send(0, body, Duration::ZERO, &CancellationToken::new())
        .await;
    assert_eq!(exchange.failure, None);
    assert_eq!(exchange.timeline.chunks.len(), 4);
    let seen = server.log().requests.remove(0);
    assert!(
        seen.head.starts_with("POST /v1/completions HTTP/1.1\r\n"),
        "{}",
        seen.head
    );
    assert!(
        String::from_utf8(seen.body)
            .unwrap()
            .contains("\"prompt\":\"x\"")
    );
}

#[tokio::test]
async fn two_events_in_one_frame_share_one_stamp() {
    let both = token("Hello") + &token(" world");
    let exchange = ask_once(stream_of(&[ROLE, &both, USAGE, DONE])).await;
    assert_good(&exchange);
    let chunks = &exchange.timeline.chunks;
    assert_eq!(chunks[0].at, chunks[1].at);
    assert_eq!((chunks[0].text_bytes, chunks[1].text_bytes), (5, 6));
}

#[tokio::test]
async fn all_frames_of_one_read_share_one_stamp() {
    let [first, second] = ["Hello", " world"].map(token);
    let frames = [ROLE, &first, &second, USAGE, DONE].map(chunk).concat();
    // One write, so that one read brings the head and all frames.
    let whole = [STREAM_HEAD.as_bytes(), &frames, LAST_CHUNK.as_bytes()].concat();
    let exchange = ask_once(vec![send(whole)]).await;
    assert_good(&exchange);
    let t = &exchange.timeline;
    assert_eq!(t.headers_at, Some(t.chunks[0].at));
    assert_eq!(
        (t.chunks[1].at, t.finished),
        (t.chunks[0].at, t.chunks[0].at)
    );
}

#[tokio::test]
async fn one_event_over_two_frames_is_stamped_when_it_is_whole() {
    let event = token("Hello");
    let (a, b) = event.split_at(30);
    let pause = Duration::from_millis(50);
    let mut script = open_stream(&[ROLE, a]);
    // Real time: the pause is what is measured, and only its lower bound is asserted.
    script.extend([Do::Wait(pause), send(chunk(b))]);
    script.extend([&token(" world"), USAGE, DONE].map(|e| send(chunk(e))));
    script.push(send(LAST_CHUNK));
    let exchange = ask_once(script).await;
    assert_good(&exchange);
    let headers_at = exchange.timeline.headers_at.unwrap();
    // The server's pause begins a little before the client sees the head.
    let waited = exchange.timeline.first_token_at().unwrap() - headers_at;
    assert!(waited > pause / 2, "{waited:?}");
}

#[tokio::test]
async fn a_character_split_between_frames_comes_out_whole() {
    let event = token("grüße 世界🙂");
    for cut in 0..event.len() {
        let (a, b) = event.as_bytes().split_at(cut);
        let mut bytes = STREAM_HEAD.as_bytes().to_vec();
        for part in [a, b] {
            if !part.is_empty() {
                bytes.extend(chunk(part));
            }
        }
        bytes.extend(chunk(DONE));
        bytes.extend_from_slice(LAST_CHUNK.as_bytes());
        let exchange = ask_once(vec![send(bytes)]).await;
        assert_eq!(exchange.failure, None, "cut at {cut}");
        assert_eq!(exchange.text, "grüße 世界🙂", "cut at {cut}");
    }
}

#[tokio::test]
async fn lines_may_end_in_crlf_and_comments_may_come_between() {
    let events = [
        ROLE,
        ": keep-alive\n\n",
        &token("Hello"),
        &token(" world"),
        USAGE,
        DONE,
    ];
    let events: Vec<String> = events.iter().map(|e| e.replace('\n', "\r\n")).collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    assert_good(&ask_once(stream_of(&events)).await);
}

#[tokio::test]
async fn a_stream_sent_byte_by_byte_is_the_same_stream() {
    let text = [ROLE, &token("Hello"), &token(" world"), USAGE, DONE].concat();
    let mut bytes = STREAM_HEAD.as_bytes().to_vec();
    for byte in text.as_bytes() {
        bytes.extend(chunk([*byte]));
    }
    bytes.extend_from_slice(LAST_CHUNK.as_bytes());
    assert_good(&ask_once(vec![send(bytes)]).await);
}

#[tokio::test]
async fn a_stream_without_done_but_with_a_finish_reason_is_complete() {
    assert_good(
        &ask_once(stream_of(&[
            &token("Hello"),
            &token(" world"),
            FINISH,
            USAGE,
        ]))
        .await,
    );
    let exchange = ask_once(stream_of(&[&token("Hello"), FINISH])).await;
    assert_eq!(exchange.failure, None);
    let exchange = ask_once(stream_of(&[&token("Hello")])).await;
    assert_fails(&exchange, FailureKind::Truncated, &["without", "[DONE]"]);
}

#[tokio::test]
async fn a_stream_without_usage_is_a_sample_without_usage() {
    let exchange = ask_once(stream_of(&[
        &token("Hello"),
        &token(" world"),
        FINISH,
        DONE,
    ]))
    .await;
    assert_eq!(exchange.failure, None);
    assert_eq!(exchange.usage, Usage::default());
    assert_eq!(exchange.text, "Hello world");
}

#[tokio::test]
async fn reasoning_and_tool_calls_are_output_too() {
    let reasoning =
        "data: {\"choices\":[{\"delta\":{\"content\":null,\"reasoning_content\":\"hm\"}}]}\n\n";
    let tool = "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]}}]}\n\n";
    let exchange = ask_once(stream_of(&[ROLE, reasoning, tool, FINISH, DONE])).await;
    assert_eq!(exchange.failure, None);
    assert_eq!(exchange.text, "hm{}");
    assert_eq!(exchange.timeline.chunks.len(), 2);
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_read_to_its_end() {
    let text = [ROLE, &token("Hello"), &token(" world"), USAGE, DONE].concat();
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let head = format!("{version} 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        assert_good(&ask_once(vec![send(head), send(text.as_bytes()), Do::Close]).await);
    }
}

#[tokio::test]
async fn a_stream_without_a_content_type_is_judged_by_what_it_sends() {
    let text = [&token("Hello"), &token(" world"), USAGE, DONE].concat();
    let head = "HTTP/1.1 200 OK\r\n\r\n";
    assert_good(&ask_once(vec![send(head), send(text), Do::Close]).await);
    let exchange = ask_once(vec![send(head), send("<html>hello</html>"), Do::Close]).await;
    assert_fails(&exchange, FailureKind::Protocol, &["web page", "hello"]);
}

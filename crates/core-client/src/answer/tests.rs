//! The state machine on its own: what counts as output, what ends a stream, what is a fault.

use super::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Feeds one frame a millisecond, then the end unless the stream broke it off.
fn read(frames: &[&str]) -> Exchange {
    let redactor = Redactor::new(Some("sk-secret"), &[]);
    let mut answer = Answer::new(ms(0), 8);
    answer.status = Some(200);
    for (i, frame) in frames.iter().enumerate() {
        let at = ms(i as u64 + 1);
        if answer.frame(at, frame.as_bytes(), &redactor).is_break() {
            return answer.into_exchange(ms(1000), None);
        }
    }
    answer.end(ms(frames.len() as u64 + 1), None, &redactor);
    answer.into_exchange(ms(1000), None)
}

fn delta(text: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

const FINISH: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":4,\"prompt_tokens_details\":{\"cached_tokens\":8}}}\n\n";
const END: &str = "data: [DONE]\n\n";

#[track_caller]
fn fails(exchange: &Exchange, kind: FailureKind, words: &str) {
    let failure = exchange.failure.as_ref().expect("a failure");
    assert_eq!(failure.kind, kind, "{failure:?}");
    assert!(failure.message.contains(words), "{failure:?}");
    assert!(!failure.message.contains("sk-secret"), "{failure:?}");
}

#[test]
fn recorded_streams_of_real_engines_are_complete() {
    for (name, text) in [
        (
            "vllm chat",
            include_str!("../../tests/data/vllm_sse_chat.txt"),
        ),
        (
            "vllm completions",
            include_str!("../../tests/data/vllm_sse_completions.txt"),
        ),
        (
            "llama chat",
            include_str!("../../tests/data/llama_sse_chat.txt"),
        ),
        (
            "llama completions",
            include_str!("../../tests/data/llama_sse_completions.txt"),
        ),
    ] {
        let events: Vec<String> = text
            .trim_end()
            .split("\n\n")
            .map(|e| format!("{e}\n\n"))
            .collect();
        let frames: Vec<&str> = events.iter().map(String::as_str).collect();
        let exchange = read(&frames);
        assert_eq!(exchange.failure, None, "{name}");
        let n = exchange.usage.completion_tokens.expect(name);
        assert_eq!(exchange.timeline.chunks.len() as u64, n, "{name}");
        assert_eq!(exchange.usage.cached_tokens, Some(0), "{name}");
        assert!(exchange.usage.prompt_tokens.is_some(), "{name}");
        // The role-only chunk of the chat streams is no token.
        let first = if name.ends_with("chat") { ms(2) } else { ms(1) };
        assert_eq!(exchange.timeline.first_token_at(), Some(first), "{name}");
        assert!(!exchange.text.is_empty(), "{name}");
    }
}

#[test]
fn events_of_one_frame_share_its_stamp() {
    let both = delta("a") + &delta("bc");
    let exchange = read(&[&both, END]);
    let stamps: Vec<_> = exchange
        .timeline
        .chunks
        .iter()
        .map(|c| (c.at, c.text_bytes))
        .collect();
    assert_eq!(stamps, [(ms(1), 1), (ms(1), 2)]);
    assert_eq!(exchange.text, "abc");
    assert_eq!(exchange.timeline.finished, ms(2));
}

#[test]
fn the_sample_of_an_answer_goes_when_it_turns_out_to_be_a_stream() {
    let redactor = Redactor::default();
    let mut answer = Answer::new(ms(0), 0);
    assert!(
        answer
            .frame(ms(1), b": a comment\n\ndata: {", &redactor)
            .is_continue()
    );
    assert!(!answer.sample.is_empty());
    let rest = &delta("a")["data: {".len()..];
    assert!(
        answer
            .frame(ms(2), rest.as_bytes(), &redactor)
            .is_continue()
    );
    assert_eq!(answer.sample.capacity(), 0);
    assert!(
        answer
            .frame(ms(3), delta("b").as_bytes(), &redactor)
            .is_continue()
    );
    assert_eq!(answer.sample.capacity(), 0);
    assert_eq!(answer.n_chunks(), 2);
}

#[test]
fn an_event_counts_when_the_frame_that_completes_it_arrives() {
    let event = delta("é");
    for cut in 1..event.len() - 1 {
        let bytes = event.as_bytes();
        let redactor = Redactor::default();
        let mut answer = Answer::new(ms(0), 0);
        assert!(answer.frame(ms(1), &bytes[..cut], &redactor).is_continue());
        assert!(answer.frame(ms(2), &bytes[cut..], &redactor).is_continue());
        assert!(answer.frame(ms(3), END.as_bytes(), &redactor).is_break());
        let exchange = answer.into_exchange(ms(4), None);
        assert_eq!(exchange.text, "é");
        assert_eq!(exchange.timeline.first_token_at(), Some(ms(2)));
    }
}

#[test]
fn a_stream_without_done_is_complete_after_a_finish_reason_or_the_usage_chunk() {
    assert_eq!(read(&[&delta("a"), FINISH]).failure, None);
    assert_eq!(read(&[&delta("a"), USAGE]).failure, None);
    assert_eq!(read(&[&delta("a"), "data: [DONE]"]).failure, None);
    fails(
        &read(&[&delta("a")]),
        FailureKind::Truncated,
        "after 1 chunks",
    );
    fails(
        &read(&[&delta("a"), &delta("b"), "data: {\"choi"]),
        FailureKind::Truncated,
        "2 chunks",
    );
    fails(&read(&[]), FailureKind::Truncated, "after 0 chunks");
}

#[test]
fn usage_that_comes_with_every_chunk_does_not_complete_a_stream() {
    let with_usage = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"completion_tokens\":1}}\n\n";
    let exchange = read(&[with_usage, with_usage]);
    fails(&exchange, FailureKind::Truncated, "2 chunks");
    assert_eq!(exchange.usage.completion_tokens, Some(1));
}

#[test]
fn the_last_usage_that_is_not_null_counts() {
    let nothing = "data: {\"choices\":[],\"usage\":null}\n\n";
    let early = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"completion_tokens\":1}}\n\n";
    let exchange = read(&[early, USAGE, nothing, END]);
    assert_eq!(exchange.usage.completion_tokens, Some(4));
    assert_eq!(exchange.usage.cached_tokens, Some(8));
    assert_eq!(read(&[&delta("a"), END]).usage, Usage::default());
}

#[test]
fn a_complete_answer_without_output_is_empty() {
    fails(&read(&[FINISH, END]), FailureKind::Empty, "no token");
    fails(
        &read(&[&delta(""), FINISH, USAGE, END]),
        FailureKind::Empty,
        "4 tokens hold no text",
    );
}

#[test]
fn an_error_in_the_stream_ends_it_with_its_message() {
    for event in [
        "data: {\"error\":{\"message\":\"out of blocks for sk-secret\",\"code\":500}}\n\n",
        "data: {\"error\":\"out of blocks\"}\n\n",
        "data: {\"object\":\"error\",\"message\":\"out of blocks\"}\n\n",
        "event: error\ndata: out of blocks\n\n",
        "data: {\"error\":{\"message\":\"out of blocks\"},\"choices\":7}\n\n",
    ] {
        let exchange = read(&[&delta("a"), event, &delta("b"), END]);
        fails(&exchange, FailureKind::Protocol, "out of blocks");
        assert_eq!(exchange.timeline.chunks.len(), 1, "{event}");
        assert_eq!(exchange.timeline.finished, ms(2), "{event}");
        assert_eq!(exchange.failure.unwrap().status, Some(200));
    }
}

#[test]
fn what_is_no_chunk_is_a_protocol_failure_with_an_excerpt() {
    let odd = "data: <oops> sk-secret\n\n";
    fails(
        &read(&[&delta("a"), odd, END]),
        FailureKind::Protocol,
        "<oops> [secret]",
    );
    let wrong = "data: {\"choices\":[{\"delta\":{\"content\":7}}]}\n\n";
    fails(
        &read(&[wrong, END]),
        FailureKind::Protocol,
        "expected a string",
    );
    fails(
        &read(&["<html><b>hello</b></html>"]),
        FailureKind::Protocol,
        "web page",
    );
    fails(
        &read(&["{\"choices\":[{\"message\":{\"content\":\"x\"}}]}"]),
        FailureKind::Protocol,
        "did not stream",
    );
}

#[test]
fn comments_and_empty_events_are_neither_output_nor_faults() {
    assert_eq!(
        read(&[": ping\n\n", "data:\n\n", &delta("a"), ": ping\n\n", END]).failure,
        None
    );
    fails(&read(&[": ping\n\n"]), FailureKind::Truncated, "0 chunks");
}

#[test]
fn a_broken_transport_does_not_spoil_a_finished_answer() {
    let broken = || Some(failure(FailureKind::Truncated, "connection reset"));
    for (last, complete) in [(FINISH, true), (USAGE, true), (": ping\n\n", false)] {
        let redactor = Redactor::default();
        let mut answer = Answer::new(ms(0), 0);
        assert!(
            answer
                .frame(ms(1), delta("a").as_bytes(), &redactor)
                .is_continue()
        );
        assert!(
            answer
                .frame(ms(2), last.as_bytes(), &redactor)
                .is_continue()
        );
        answer.end(ms(3), broken(), &redactor);
        let exchange = answer.into_exchange(ms(4), None);
        assert_eq!(exchange.failure.is_none(), complete, "{last}");
    }
}

#[test]
fn a_stop_after_the_end_does_not_count_and_before_it_keeps_what_came() {
    let redactor = Redactor::default();
    let stop = || Some(failure(FailureKind::Cancelled, "stopped"));
    let mut answer = Answer::new(ms(0), 0);
    let _ = answer.frame(ms(1), delta("a").as_bytes(), &redactor);
    let exchange = answer.into_exchange(ms(9), stop());
    fails(&exchange, FailureKind::Cancelled, "stopped");
    assert_eq!(
        (exchange.timeline.chunks.len(), exchange.timeline.finished),
        (1, ms(9))
    );

    let mut answer = Answer::new(ms(0), 0);
    let _ = answer.frame(ms(1), (delta("a") + END).as_bytes(), &redactor);
    assert_eq!(answer.into_exchange(ms(9), stop()).failure, None);
}

mod likeness {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// An event of one of several shapes and the output that it holds.
    fn event() -> impl Strategy<Value = (String, String)> {
        let text = prop_oneof![
            Just(String::new()),
            "[a-z ]{1,6}",
            ".{0,40}",
            Just("\"},\"finish_reason\":\"stop\"".to_owned()),
            Just("\\".to_owned()),
        ];
        (0..7_u8, text, "[a-z]{0,3}", 0..3_u8).prop_map(|(shape, text, other, id)| {
            let choice = match shape {
                0 => json!({"index": 0, "delta": {"content": text}}),
                1 => json!({"index": 0, "delta": {"content": text, "reasoning": other}}),
                2 => json!({"index": 0, "delta": {"content": "", "reasoning": text}}),
                3 => json!({"index": 0, "delta": {"tool_calls": [{"function": {"name": other, "arguments": text}}]}}),
                4 => json!({"index": 0, "text": text}),
                5 => json!({"index": 0, "delta": {"role": other}, "logprobs": text}),
                _ => json!({"index": 0, "delta": {"content": text}, "stop_reason": null}),
            };
            let output = match shape {
                1 if text.is_empty() => other,
                3 => format!("{other}{text}"),
                5 => String::new(),
                _ => text,
            };
            let data = json!({"id": id, "object": "chat.completion.chunk", "choices": [choice]});
            (format!("data: {data}\n\n"), output)
        })
    }

    proptest! {
        // Whatever events follow each other, each yields the output it would yield alone.
        #[test]
        fn an_event_reads_the_same_whatever_came_before(events in prop::collection::vec(event(), 1..40)) {
            let redactor = Redactor::new(None, &[]);
            let mut together = Answer::new(ms(0), 8);
            for (frame, _) in &events {
                prop_assert!(together.frame(ms(1), frame.as_bytes(), &redactor).is_continue());
            }
            let want: String = events.iter().map(|(_, output)| output.as_str()).collect();
            prop_assert_eq!(&together.reading.text, &want);
            let bytes: Vec<usize> = together.reading.chunks.iter().map(|c| c.text_bytes as usize).collect();
            let wanted: Vec<usize> = events.iter().map(|(_, o)| o.len()).filter(|n| *n > 0).collect();
            prop_assert_eq!(bytes, wanted);
        }
    }
}

//! Servers that answer something else than a stream of tokens, from the second rate on.

use sim::fault::FaultKind;

use crate::relay::Act;
use crate::scene::{second_rate, second_rate_meets};

/// A status for every request above 0 %.
#[track_caller]
fn refuses_with(status: u16, words: &[&str]) {
    let scene = second_rate_meets(FaultKind::Status(status), "");
    let scene = scene.lost_the_second_rate("status", &status.to_string(), words);
    // Ten failures in a row end it, and one more may have been under way with the last of them. On a busy
    // machine the window of a second may be over before.
    assert!(scene.n_warm <= 11, "{} requests were sent", scene.n_warm);
}

#[test]
fn a_server_that_answers_401_points_at_the_key() {
    refuses_with(
        401,
        &[
            "HTTP 401 Unauthorized",
            "check the API key given by --api-key",
        ],
    );
}

#[test]
fn a_server_that_answers_404_points_at_model_and_path() {
    refuses_with(
        404,
        &[
            "HTTP 404 Not Found",
            "check the model name and the path of the endpoint",
        ],
    );
}

#[test]
fn a_server_that_answers_429_says_that_it_limits_requests() {
    refuses_with(
        429,
        &[
            "HTTP 429 Too Many Requests",
            "lower the concurrency or raise its limit",
        ],
    );
}

#[test]
fn a_server_that_answers_500_points_at_its_log() {
    refuses_with(500, &["HTTP 500 Internal Server Error", "see its log"]);
}

#[test]
fn a_server_that_answers_503_is_overloaded_or_down() {
    refuses_with(503, &["HTTP 503 Service Unavailable", "overloaded or down"]);
}

#[test]
fn an_error_answer_is_quoted_but_the_api_key_in_it_is_not() {
    let body = r#"{"error":{"message":"Incorrect API key provided: sk-very-secret. Try another.","code":"invalid"}}"#;
    let scene = second_rate("--api-key sk-very-secret", move |_| {
        Act::answer("401 Unauthorized", "application/json", body)
    });
    let scene = scene.lost_the_second_rate(
        "status",
        "401",
        &["Incorrect API key provided", "Try another."],
    );
    assert!(!scene.end.stderr.contains("sk-very-secret"));
    for path in scene.place.files() {
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains("sk-very-secret"),
            "{} holds the key",
            path.display()
        );
    }
}

#[test]
fn a_web_page_in_place_of_a_stream_is_called_one() {
    second_rate_meets(FaultKind::Html, "").lost_the_second_rate(
        "protocol",
        "200",
        &[
            "sent a web page",
            "is the endpoint an OpenAI API?",
            "Please log in.",
        ],
    );
}

#[test]
fn an_answer_that_is_not_streamed_is_no_sample() {
    second_rate_meets(FaultKind::NoStream, "").lost_the_second_rate(
        "protocol",
        "200",
        &["the server did not stream", "a proxy may be buffering"],
    );
}

#[test]
fn a_server_that_never_sends_headers_runs_into_the_request_timeout() {
    second_rate_meets(FaultKind::Hang(None), "--request-timeout 1").lost_the_second_rate(
        "timeout",
        "",
        &[
            "no output within 1 s",
            "is the server stalled or overloaded?",
        ],
    );
}

#[test]
fn a_stream_that_stalls_runs_into_the_request_timeout() {
    let stall = FaultKind::Stall {
        tokens: 3,
        pause: None,
    };
    second_rate_meets(stall, "--request-timeout 1").lost_the_second_rate(
        "timeout",
        "200",
        &[
            "not complete within 1 s, after 3 chunks",
            "raise --request-timeout?",
        ],
    );
}

#[test]
fn a_stream_that_is_cut_is_no_sample_however_much_of_it_came() {
    second_rate_meets(FaultKind::Cut { tokens: 3 }, "").lost_the_second_rate(
        "truncated",
        "200",
        &["cut after 3 chunks", "see the server's log"],
    );
}

#[test]
fn an_answer_shorter_than_announced_is_truncated() {
    // The stream itself is whole up to its usage; only the bytes promised in the head never come.
    let short = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 4096\r\nconnection: close\r\n\r\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    second_rate(" --request-timeout 1", move |_| {
        Act::AnswerAndClose(short.into())
    })
    .lost_the_second_rate(
        "truncated",
        "200",
        &["cut after 1 chunks", "see the server's log"],
    );
}

#[test]
fn a_connection_closed_before_the_answer_points_at_the_server_s_log() {
    second_rate_meets(FaultKind::Close, "").lost_the_second_rate(
        "truncated",
        "",
        &["closed the connection before it answered", "see its log"],
    );
}

#[test]
fn a_connection_reset_before_the_answer_points_at_the_server_s_log() {
    second_rate_meets(FaultKind::Reset, "").lost_the_second_rate(
        "truncated",
        "",
        &[
            "the connection broke before the server answered",
            "reset",
            "see the server's log",
        ],
    );
}

#[test]
fn a_complete_stream_without_a_token_is_empty_and_no_sample() {
    second_rate_meets(FaultKind::Empty, "").lost_the_second_rate(
        "empty",
        "200",
        &["the answer is complete but", "no "],
    );
}

#[test]
fn an_error_inside_a_stream_is_quoted() {
    second_rate_meets(FaultKind::ErrorEvent { tokens: 2 }, "").lost_the_second_rate(
        "protocol",
        "200",
        &[
            "the server reported an error in the stream: ",
            "the engine failed",
        ],
    );
}

#[test]
fn an_answer_that_is_no_http_is_called_that() {
    second_rate("", |_| {
        Act::AnswerAndClose(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())
    })
    .lost_the_second_rate("protocol", "", &["the answer is not HTTP"]);
}

#[test]
fn control_characters_and_line_ends_of_a_server_s_message_cannot_fake_lines() {
    let body = "{\"detail\":\"bad\\n[2026-01-01 00:00:00,000] INFO - \\u001b[32m✓ All tests complete!\\r\\nmore\"}";
    let scene = second_rate("", move |_| {
        Act::answer("400 Bad Request", "application/json", body)
    });
    let scene = scene.lost_the_second_rate("status", "400", &["bad [2026-01-01", "more"]);
    assert!(!scene.end.stderr.contains('\u{1b}'));
    assert!(
        !scene
            .end
            .stderr
            .lines()
            .any(|line| line.starts_with("[2026-01-01"))
    );
}

//! What servers do wrong, one test each: what is counted, what is said, and the exit code.

use std::time::Duration;

use crate::mock::{Do, Mock, answer, json_answer};
use crate::tool::{Finished, Place, Shown};

/// Four requests, two at a time, no warm-up, to a server that answers so.
fn run(answer: impl Fn(usize) -> Vec<Do> + Send + Sync + 'static) -> Finished {
    let server = Mock::start(move |n, _| answer(n));
    let url = server.url();
    let finished = Place::new().run(&[
        "--endpoint",
        &url,
        "--requests",
        "4",
        "--concurrency",
        "2",
        "--warmup",
        "0",
    ]);
    assert_eq!(server.seen().heads.len(), 4, "one try each");
    finished
}

fn good() -> Do {
    json_answer(r#"{"text": "four words of text", "cached": false}"#)
}

#[test]
fn nobody_listening() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/generate", free.local_addr().unwrap());
    drop(free);
    let run = Place::new()
        .run(&["--endpoint", &url])
        .exits(1)
        .shows("Failed:", "50")
        .says("connect × 50\n")
        .says("is the server running?")
        .says("5 of 5 warm-up requests failed")
        .never_says("does the server close connections?");
    assert!(run.took < Duration::from_secs(30), "{:?}", run.took);
}

#[test]
fn a_host_that_does_not_exist() {
    Place::new()
        .run(&[
            "--endpoint",
            "http://nowhere.invalid/generate",
            "--requests",
            "2",
            "--warmup",
            "0",
        ])
        .exits(1)
        .says("connect × 2")
        .says("nowhere.invalid");
}

#[test]
fn every_other_request_is_refused_by_status() {
    run(|n| {
        vec![if n % 2 == 0 {
            answer("503 Service Unavailable", "application/json", r#"{"detail": "busy"}"#)
        } else {
            good()
        }]
    })
    .exits(0)
    .shows("Successful:", "2")
    .shows("Failed:", "2")
    .says("errors: 2 of 4 requests failed\n   status × 2\n      HTTP 503 × 2 (Service Unavailable: busy)");
}

#[test]
fn a_web_page() {
    let page =
        "<!DOCTYPE html><html><head><title>Welcome</title></head><body>Log in.</body></html>";
    run(|_| vec![answer("200 OK", "text/html", page)])
        .exits(1)
        .says(
            "protocol × 4\n      the server sent a web page in place of JSON: Welcome Log in. × 4",
        );
}

#[test]
fn an_answer_cut_in_the_middle() {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"text";
    run(|_| vec![Do::Send(head.into()), Do::Close])
        .exits(1)
        .says("truncated × 4\n");
}

#[test]
fn a_stream_cut_in_the_middle() {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = "15\r\ndata: {\"text\": \"a\"}\n\n\r\n";
    run(|_| vec![Do::Send(head.into()), Do::Send(chunk.into()), Do::Close])
        .exits(1)
        .says("truncated × 4\n");
    // Without any framing the end of the connection is the end of the body, but not of an event.
    let open = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let cut = "data: {\"text\": \"a\"}\n\ndata: {\"te";
    run(|_| vec![Do::Send(open.into()), Do::Send(cut.into()), Do::Close])
        .exits(1)
        .says("truncated × 4\n      the stream broke off in the middle of a part");
}

#[test]
fn a_connection_closed_without_an_answer() {
    run(|n| {
        if n == 0 {
            vec![Do::Close]
        } else {
            vec![good()]
        }
    })
    .exits(0)
    .shows("Failed:", "1")
    .says("truncated × 1\n      the server closed the connection before it answered")
    .says(
        "1 connection was lost before the answer was complete: does the server close connections",
    );
}

/// The page of the original says what to do when all requests fail and when they take too long.
#[test]
fn failures_left_their_user_without_a_remedy() {
    run(|_| vec![answer("404 Not Found", "application/json", "{}")])
        .exits(1)
        .says("no request succeeded: is --endpoint the URL that takes");
    run(|n| {
        vec![if n == 0 {
            answer("404 Not Found", "application/json", "{}")
        } else {
            good()
        }]
    })
    .exits(0)
    .never_says("no request succeeded");
    let silent = Mock::start(|_, _| vec![Do::Wait(Duration::from_secs(3))]);
    Place::new()
        .run(&[
            "--endpoint",
            &silent.url(),
            "--requests",
            "1",
            "--warmup",
            "0",
            "--timeout",
            "0.5",
        ])
        .exits(1)
        .says("1 request had not finished within 0.5 s: raise --timeout or lower --concurrency");
}

#[test]
fn a_server_that_closes_every_connection_is_measured_and_noted() {
    let body = r#"{"text": "some text"}"#;
    let whole = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    run(move |_| vec![Do::Send(whole.clone().into()), Do::Close])
        .exits(0)
        .shows("Successful:", "4")
        .says("for 2 requests a connection had to be opened")
        .never_says("lost before the answer");
}

#[test]
fn cached_missing_is_a_miss_and_an_empty_text_no_token() {
    run(|_| vec![json_answer(r#"{"text": "some text"}"#)])
        .exits(0)
        .shows("Hit Rate:", "0.0%");
    run(|n| {
        vec![if n == 0 {
            good()
        } else {
            json_answer(r#"{"text": "", "cached": true}"#)
        }]
    })
    .exits(0)
    .shows("Successful:", "4")
    .shows("Hit Rate:", "75.0%")
    .says("3 of 4 answers had no text and count as 0 tokens");
}

#[test]
fn a_text_that_is_no_string() {
    run(|n| {
        vec![if n == 2 {
            json_answer(r#"{"text": [1]}"#)
        } else {
            good()
        }]
    })
    .exits(0)
    .shows("Failed:", "1")
    .says("protocol × 1\n      \"text\" is a list and not a string × 1");
}

#[test]
fn a_word_in_cached_is_read_and_not_merely_there() {
    run(|n| {
        let cached = ["\"false\"", "\"hit\"", "0", "1"][n];
        vec![json_answer(&format!(
            r#"{{"text": "abc", "cached": {cached}}}"#
        ))]
    })
    .exits(0)
    .shows("Hit Rate:", "50.0%");
}

#[test]
fn a_server_that_counts_its_tokens_is_believed() {
    let server = Mock::start(|_, _| {
        vec![
            Do::Wait(Duration::from_millis(20)),
            json_answer(r#"{"text": "x", "usage": {"completion_tokens": 40}}"#),
        ]
    });
    let url = server.url();
    let place = Place::new();
    place
        .run(&["--endpoint", &url, "--requests", "5", "--output", "r.json"])
        .exits(0)
        .never_says("estimated");
    let results = place.json("r.json");
    let tokens = results["throughput_tokens_per_sec"].as_f64().unwrap()
        * results["total_time_sec"].as_f64().unwrap();
    assert!((tokens - 200.0).abs() < 1e-6, "{tokens}");
}

#[test]
fn a_redirect_to_the_same_server_is_followed_and_noted() {
    let server = Mock::start(|n, _| {
        let redirect =
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: /generate\r\ncontent-length: 0\r\n\r\n";
        vec![if n % 2 == 0 {
            Do::Send(redirect.into())
        } else {
            good()
        }]
    });
    let url = format!("{}/", server.url());
    Place::new()
        .run(&[
            "--endpoint",
            &url,
            "--requests",
            "3",
            "--concurrency",
            "1",
            "--warmup",
            "0",
        ])
        .exits(0)
        .shows("Successful:", "3")
        .says("3 requests were redirected");
}

#[test]
fn the_time_to_the_headers_is_said_to_be_no_first_token() {
    let server = Mock::acceptance();
    let url = server.url();
    Place::new()
        .run(&["--endpoint", &url, "--requests", "5"])
        .exits(0)
        .says("answers came in one piece, so TTFT is the arrival of the headers");
}

//! Requests that we end: cancelled, dropped, or done before their body is.

use std::time::Duration;

use metrics::timeline::FailureKind;
use tokio_util::sync::CancellationToken;

use crate::server::*;

/// Long enough for what was sent over loopback to be read. Real time: whether the client has read
/// something can be seen only when it is done.
const SETTLE: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_cancel_in_the_middle_keeps_what_came_and_closes_the_connection() {
    let server = Server::start(vec![
        [open_stream(&[ROLE, &token("Hello")]), vec![Do::Hang]].concat(),
    ])
    .await;
    let client = client(&server.url(), config());
    let cancel = CancellationToken::new();
    let stop = async {
        server.until(|log| log.requests.len() == 1).await;
        tokio::time::sleep(SETTLE).await;
        cancel.cancel();
    };
    let (exchange, ()) = tokio::join!(client.send(0, body(), Duration::ZERO, &cancel), stop);
    assert_fails(&exchange, FailureKind::Cancelled, &["after 1 chunks"]);
    assert_eq!(exchange.text, "Hello");
    let t = &exchange.timeline;
    assert_eq!(t.chunks.len(), 1);
    assert!(t.headers_at.is_some() && t.finished > t.chunks[0].at);
    server.until(|log| log.n_ended == 1).await;
}

#[tokio::test]
async fn a_cancel_while_waiting_for_the_head_closes_the_connection() {
    let server = Server::start(vec![vec![Do::Hang]]).await;
    let client = client(&server.url(), config());
    let cancel = CancellationToken::new();
    let stop = async {
        server.until(|log| log.requests.len() == 1).await;
        cancel.cancel();
    };
    let (exchange, ()) = tokio::join!(client.send(0, body(), Duration::ZERO, &cancel), stop);
    assert_fails(&exchange, FailureKind::Cancelled, &["after 0 chunks"]);
    server.until(|log| log.n_ended == 1).await;
}

#[tokio::test]
async fn a_request_that_is_dropped_closes_its_connection() {
    let server = Server::start(vec![
        [open_stream(&[&token("Hello")]), vec![Do::Hang]].concat(),
    ])
    .await;
    let client = client(&server.url(), config());
    tokio::select! {
        _ = ask(&client) => panic!("the server hangs"),
        () = server.until(|log| log.requests.len() == 1) => {}
    }
    server.until(|log| log.n_ended == 1).await;
}

#[tokio::test]
async fn a_body_that_goes_on_behind_done_does_not_hold_the_result() {
    let script = [
        open_stream(&[&token("Hello"), &token(" world"), USAGE, DONE]),
        vec![Do::Hang],
    ]
    .concat();
    let server = Server::start(vec![script, good()]).await;
    let client = client(&server.url(), config());
    client.open_connections(&[1]).await;
    tokio::time::pause();
    let asked = tokio::time::Instant::now();
    let exchange = ask(&client).await;
    assert_good(&exchange);
    // The slot of this request is free for the next one.
    assert!(
        asked.elapsed() < Duration::from_millis(100),
        "{:?}",
        asked.elapsed()
    );
    let t = &exchange.timeline;
    // The end is when [DONE] came, not when we gave up on the rest.
    assert!(
        t.finished - t.launched < Duration::from_millis(200),
        "{t:?}"
    );
    tokio::time::resume();
    assert_good(&ask(&client).await);
    assert_eq!(server.log().n_connections, 2);
}

#[tokio::test]
async fn a_late_end_behind_done_gives_the_connection_back() {
    let script = [
        open_stream(&[&token("Hello"), &token(" world"), USAGE, DONE]),
        vec![
            Do::Wait(Duration::from_millis(60)),
            Do::Send(b"0\r\n\r\n".to_vec()),
        ],
    ]
    .concat();
    let server = Server::start(vec![script, good()]).await;
    let client = client(&server.url(), config());
    assert_good(&ask(&client).await);
    // Real time: the end comes over a real socket, and nobody waits for it.
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_good(&ask(&client).await);
    assert_eq!(server.log().n_connections, 1);
}

#[tokio::test]
async fn a_connection_that_breaks_behind_done_spoils_nothing() {
    for ending in [Do::Close, Do::Reset] {
        let script = open_stream(&[&token("Hello"), &token(" world"), USAGE, DONE]);
        assert_good(&ask_once([script, vec![ending]].concat()).await);
    }
}

#[tokio::test]
async fn an_answer_before_the_request_was_read_is_an_answer() {
    // A server that refuses a large prompt by its length need not read it.
    let refusal =
        "HTTP/1.1 413 Payload Too Large\r\nconnection: close\r\ncontent-length: 8\r\n\r\ntoo long";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 1 << 16];
        let n = tcp.read(&mut buffer).await.unwrap();
        assert!(n > 0);
        tcp.write_all(refusal.as_bytes()).await.unwrap();
        // Reads on without an answer, so that nothing is reset.
        while tcp.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    };
    let client = client(&format!("http://127.0.0.1:{port}"), config());
    let prompt = "word ".repeat(4 << 20);
    let body = template(core_client::EndpointType::Chat).body_from_text(&prompt);
    let cancel = CancellationToken::new();
    let (exchange, ()) = tokio::join!(client.send(0, body, Duration::ZERO, &cancel), server);
    assert_fails(&exchange, FailureKind::Status, &["413", "too long"]);
}

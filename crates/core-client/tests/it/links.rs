//! Connections: opened ahead, reused while they live, dropped before use when they do not.

use std::time::Duration;

use core_client::{Client, Endpoint, RunClock};
use futures_util::future::join_all;
use metrics::timeline::FailureKind;
use tokio_util::sync::CancellationToken;

use crate::server::*;

#[tokio::test]
async fn one_connection_serves_one_request_after_another() {
    let server = Server::start(vec![good()]).await;
    let client = client(&server.url(), config());
    let first = acquaint(&client).await;
    assert!(!first.timeline.dial.is_zero());
    for i in 0..5 {
        let exchange = ask(&client).await;
        assert_good(&exchange);
        assert_eq!(exchange.timeline.dial, Duration::ZERO, "request {i}");
    }
    assert_eq!(server.log().n_connections, 1);
    assert_eq!(server.log().requests.len(), 6);
}

/// The first connection is watched behind its answer, in case the server closes it; no slot is held meanwhile. Real time: on
/// a busy machine a request may take any time, but one that waits for the look never takes less.
#[tokio::test]
async fn nobody_waits_until_it_is_known_whether_a_server_keeps_its_connections() {
    let server = Server::start(vec![good()]).await;
    let mut shortest = Duration::MAX;
    for _ in 0..20 {
        let client = client(&server.url(), config());
        client.open_connections(&[1]).await;
        let asked = std::time::Instant::now();
        assert_good(&ask(&client).await);
        shortest = shortest.min(asked.elapsed());
    }
    assert!(shortest < Duration::from_millis(20), "{shortest:?}");
}

#[tokio::test]
async fn requests_in_flight_at_once_have_a_connection_each() {
    let server = Server::start(vec![good()]).await;
    let client = client(&server.url(), config());
    acquaint(&client).await;
    for _ in 0..3 {
        for exchange in join_all((0..8).map(|_| ask(&client))).await {
            assert_good(&exchange);
        }
    }
    let log = server.log();
    assert_eq!((log.n_connections, log.requests.len()), (8, 25));
}

#[tokio::test]
async fn connections_opened_ahead_leave_nothing_to_dial() {
    let server = Server::start(vec![good()]).await;
    let client = client(&server.url(), config());
    acquaint(&client).await;
    client.open_connections(&[3]).await;
    server.until(|log| log.n_connections == 3).await;
    // Those that stand count, so this opens none and the next one two.
    client.open_connections(&[3]).await;
    for exchange in join_all((0..3).map(|_| ask(&client))).await {
        assert_good(&exchange);
        assert_eq!(exchange.timeline.dial, Duration::ZERO);
    }
    assert_eq!(server.log().n_connections, 3);
    client.open_connections(&[5]).await;
    server.until(|log| log.n_connections == 5).await;
}

#[tokio::test]
async fn more_connections_than_one_burst_are_opened_ahead() {
    let server = Server::start(vec![good()]).await;
    let client = client(&server.url(), config());
    client.open_connections(&[200]).await;
    server.until(|log| log.n_connections == 200).await;
    for exchange in join_all((0..200).map(|_| ask(&client))).await {
        assert_good(&exchange);
        assert_eq!(exchange.timeline.dial, Duration::ZERO);
    }
    assert_eq!(server.log().n_connections, 200);
}

#[tokio::test]
async fn a_connection_the_server_closed_while_idle_is_dropped_before_use() {
    // The server ends each connection after its answer without having said so.
    for ending in [Do::Close, Do::Reset] {
        let server = Server::start(vec![[good(), vec![ending]].concat()]).await;
        let client = client(&server.url(), config());
        for n in 1..=3 {
            assert_good(&ask(&client).await);
            server.until(|log| log.n_ended == n).await;
        }
        let log = server.log();
        assert_eq!((log.n_connections, log.requests.len()), (3, 3));
    }
}

#[tokio::test]
async fn a_server_that_closes_after_each_stream_as_llama_cpp_does_loses_no_request() {
    let head = STREAM_HEAD.replace("\r\n\r\n", "\r\nkeep-alive: timeout=5, max=100\r\n\r\n");
    for ending in [Do::Close, Do::Reset] {
        let mut script = good();
        script[0] = send(head.as_str());
        script.push(ending);
        let server = Server::start(vec![script]).await;
        let client = client(&server.url(), config());
        // The next request follows at once: nobody waits for the end of the connection before it.
        for _ in 0..50 {
            assert_good(&ask(&client).await);
        }
        for _ in 0..10 {
            for exchange in join_all((0..4).map(|_| ask(&client))).await {
                assert_good(&exchange);
            }
        }
        let log = server.log();
        assert_eq!((log.n_connections, log.requests.len()), (90, 90));
    }
}

#[tokio::test]
async fn one_reset_under_a_request_does_not_make_all_later_ones_dial() {
    let reset = vec![Do::Wait(Duration::from_millis(200)), Do::Reset];
    let server = Server::start(vec![good(), reset, good()]).await;
    let client = client(&server.url(), config());
    assert_good(&ask(&client).await);
    // Waits until it is known that the connection is kept, so that the next request goes out on it.
    client.open_connections(&[1]).await;
    assert!(ask(&client).await.failure.is_some());
    for i in 0..5 {
        let exchange = ask(&client).await;
        assert_good(&exchange);
        assert_eq!(exchange.timeline.dial.is_zero(), i > 0, "request {i}");
    }
    assert_eq!(server.log().n_connections, 2);
}

#[tokio::test]
async fn dead_connections_do_not_count_as_open_ahead() {
    let server = Server::start(vec![[good(), vec![Do::Close]].concat()]).await;
    let client = client(&server.url(), config());
    client.open_connections(&[2]).await;
    assert_good(&ask(&client).await);
    server.until(|log| log.n_ended == 1).await;
    client.open_connections(&[2]).await;
    server.until(|log| log.n_connections == 3).await;
}

#[tokio::test]
async fn a_farewell_on_an_idle_connection_is_not_read_as_an_answer() {
    let farewell = "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let first = [good(), vec![send(farewell), Do::Close]].concat();
    let server = Server::start(vec![first, good()]).await;
    let client = client(&server.url(), config());
    assert_good(&ask(&client).await);
    server.until(|log| log.n_ended == 1).await;
    assert_good(&ask(&client).await);
    assert_eq!(server.log().n_connections, 2);
}

#[tokio::test]
async fn a_connection_the_server_will_close_is_not_kept() {
    let head = STREAM_HEAD.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let mut script = stream_of(&[&token("Hello"), &token(" world"), USAGE, DONE]);
    script[0] = send(head);
    let server = Server::start(vec![script]).await;
    let client = client(&server.url(), config());
    assert_good(&ask(&client).await);
    assert_good(&ask(&client).await);
    assert_eq!(server.log().n_connections, 2);
}

#[tokio::test]
async fn a_connection_is_kept_after_an_answer_that_was_refused_in_order() {
    let server = Server::start(vec![
        whole(
            "429 Too Many Requests",
            "application/json",
            "{\"error\":\"slow down\"}",
        ),
        good(),
    ])
    .await;
    let client = client(&server.url(), config());
    assert_fails(&ask(&client).await, FailureKind::Status, &["slow down"]);
    assert_good(&ask(&client).await);
    assert_eq!(server.log().n_connections, 1);
}

#[tokio::test]
async fn closing_idle_connections_closes_them() {
    let server = Server::start(vec![good()]).await;
    let client = client(&server.url(), config());
    client.open_connections(&[2]).await;
    client.close_idle();
    server.until(|log| log.n_ended == 2).await;
    assert_good(&ask(&client).await);
}

#[tokio::test]
async fn every_endpoint_has_its_own_connections() {
    let (a, b) = (
        Server::start(vec![good()]).await,
        Server::start(vec![good()]).await,
    );
    let endpoints = vec![
        Endpoint::parse(&a.url()).unwrap(),
        Endpoint::parse(&format!("{}/v1/", b.url())).unwrap(),
    ];
    let client = Client::new(endpoints, config(), RunClock::start()).unwrap();
    client.open_connections(&[1, 2]).await;
    a.until(|log| log.n_connections == 1).await;
    b.until(|log| log.n_connections == 2).await;
    let cancel = CancellationToken::new();
    for endpoint in [0, 1, 1, 0, 1] {
        assert_good(&client.send(endpoint, body(), Duration::ZERO, &cancel).await);
    }
    assert_eq!((a.log().requests.len(), b.log().requests.len()), (2, 3));
    assert_eq!(client.endpoints()[1].base_url(), format!("{}/v1", b.url()));
}

#[tokio::test]
async fn a_name_with_several_addresses_is_tried_until_one_takes_it() {
    // "localhost" usually has an IPv6 address too, on which this server does not listen.
    let server = Server::start(vec![good()]).await;
    let client = client(&format!("http://localhost:{}", server.port), config());
    assert_good(&ask(&client).await);
}

#[tokio::test]
async fn a_close_that_the_runtime_has_not_noticed_yet_is_noticed() {
    use std::io::{Read, Write};
    // The server has its own thread and the client's thread is blocked until the connection is closed,
    // so no event loop runs between the close and the next send.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (closed, is_closed) = std::sync::mpsc::channel();
    let (close, may_close) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let answer: Vec<u8> = good()
            .into_iter()
            .flat_map(|step| match step {
                Do::Send(bytes) => bytes,
                other => panic!("{other:?}"),
            })
            .collect();
        for tcp in listener.incoming() {
            let mut tcp = tcp.unwrap();
            assert!(tcp.read(&mut [0; 1 << 16]).unwrap() > 0);
            tcp.write_all(&answer).unwrap();
            // Closed only when the client has read its answer: the close is an event of its own.
            may_close.recv().unwrap();
            drop(tcp);
            closed.send(()).unwrap();
        }
    });
    let client = client(&format!("http://127.0.0.1:{port}"), config());
    for _ in 0..5 {
        assert_good(&ask(&client).await);
        close.send(()).unwrap();
        is_closed.recv().unwrap();
    }
}

//! HTTP/2 with prior knowledge on the same port, and an orderly stop.
#![allow(
    clippy::unwrap_used,
    reason = "helpers outside of test functions may panic as tests do"
)]

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sim::model::ServiceModel;
use sim::{SimConfig, SimService, serve_service};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

fn chat(n: usize) -> Request<Full<Bytes>> {
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":"number {n}"}}],"max_tokens":8,"stream":true}}"#
    );
    Request::builder()
        .method(Method::POST)
        .uri("http://sim/v1/chat/completions")
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}

#[tokio::test]
async fn many_streams_share_one_http2_connection_and_a_stop_lets_them_finish() {
    let mut config = SimConfig::demo();
    config.engine.service = ServiceModel::Fixed {
        total: Duration::from_millis(200),
    };
    let service = SimService::new(config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve_service(listener, service.clone(), async {
        let _ = stopped.await;
    }));

    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    // More than hyper's default of 200 streams, all in flight at once.
    let requests = (0..300).map(|n| {
        let mut sender = sender.clone();
        tokio::spawn(async move {
            let response = sender.send_request(chat(n)).await.unwrap();
            assert_eq!(
                (response.status().as_u16(), response.version()),
                (200, Version::HTTP_2)
            );
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(body.ends_with(b"data: [DONE]\n\n"));
        })
    });
    let requests: Vec<_> = requests.collect();
    while service.stats().await.unwrap().running < 300
        && service.stats().await.unwrap().completed == 0
    {
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    for request in requests {
        request.await.unwrap();
    }
    drop(sender);
    tokio::time::timeout(Duration::from_secs(30), server)
        .await
        .unwrap()
        .unwrap();
    assert!(
        TcpStream::connect(address).await.is_err(),
        "it still listens"
    );
}

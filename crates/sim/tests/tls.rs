//! The server over TLS, as clients with and without trust in its certificate see it.
#![allow(
    clippy::unwrap_used,
    reason = "helpers outside of test functions may panic as tests do"
)]

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sim::{Background, SimConfig, TlsIdentity};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

fn start() -> (Background, String) {
    let identity = TlsIdentity::self_signed(&["sim.example".to_owned()]).unwrap();
    let pem = identity.certificate_pem().to_owned();
    let mut config = SimConfig::demo();
    config.tls = Some(identity);
    // It blocks on a runtime of its own, which no thread of another runtime may do.
    let start = std::thread::spawn(|| Background::start(config).unwrap());
    (start.join().unwrap(), pem)
}

async fn connect(
    server: &Background,
    trusted: Option<&str>,
    protocol: &str,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = trusted {
        roots
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(server.address()).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

fn chat() -> Request<Full<Bytes>> {
    let body = r#"{"messages":[{"role":"user","content":"Hi"}],"max_tokens":4,"stream":true}"#;
    Request::post("https://localhost/v1/chat/completions")
        .header("host", "localhost")
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}

#[tokio::test]
async fn http2_and_http1_are_chosen_by_alpn_and_stream() {
    let (server, pem) = start();
    assert!(server.url().starts_with("https://"));
    for protocol in ["h2", "http/1.1"] {
        let stream = connect(&server, Some(&pem), protocol, "localhost")
            .await
            .unwrap();
        assert_eq!(
            stream.get_ref().1.alpn_protocol(),
            Some(protocol.as_bytes())
        );
        let io = TokioIo::new(stream);
        let response = if protocol == "h2" {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            sender.send_request(chat()).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(chat()).await.unwrap()
        };
        assert_eq!(response.status().as_u16(), 200, "{protocol}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.ends_with(b"data: [DONE]\n\n"), "{protocol}");
    }
}

#[tokio::test]
async fn the_certificate_holds_for_its_names_and_for_those_who_trust_it() {
    let (server, pem) = start();
    for name in ["localhost", "127.0.0.1", "::1", "sim.example"] {
        let connected = connect(&server, Some(&pem), "http/1.1", name).await;
        assert!(connected.is_ok(), "{name}: {connected:?}");
    }
    assert!(
        connect(&server, Some(&pem), "http/1.1", "other.example")
            .await
            .is_err()
    );
    assert!(
        connect(&server, None, "http/1.1", "localhost")
            .await
            .is_err()
    );
}

//! TLS: trust, its absence, and the HTTP version both sides agree on.

use std::sync::Arc;
use std::time::Duration;

use core_client::HttpVersion;
use futures_util::future::join_all;
use metrics::timeline::FailureKind;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

use crate::server::*;

/// An acceptor with a certificate that nobody signed.
pub(crate) fn self_signed(alpn: &[&[u8]]) -> TlsAcceptor {
    self_signed_for(&["localhost", "127.0.0.1"], alpn).0
}

/// The same, and the certificate as a file that a system may be told to trust.
fn self_signed_for(names: &[&str], alpn: &[&[u8]]) -> (TlsAcceptor, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

fn https(server: &Server) -> String {
    format!("https://127.0.0.1:{}", server.port)
}

#[tokio::test]
async fn a_certificate_nobody_signed_is_refused_with_the_remedy() {
    let server = Server::start_on(vec![good()], Some(self_signed(&[]))).await;
    let exchange = ask(&client(&https(&server), config())).await;
    assert_fails(
        &exchange,
        FailureKind::Connect,
        &["certificate", "not trusted", "--insecure"],
    );
    assert!(server.log().requests.is_empty());
}

#[tokio::test]
async fn insecure_accepts_any_certificate_and_reuses_the_connection() {
    let server = Server::start_on(vec![good()], Some(self_signed(&[b"http/1.1"]))).await;
    let mut config = config();
    config.insecure = true;
    let client = client(&https(&server), config);
    client.open_connections(&[2]).await;
    // Session tickets that arrive on an idle connection must not make it look dead. Real time: they
    // come when the server's side of the handshake is done.
    tokio::time::sleep(Duration::from_millis(100)).await;
    acquaint(&client).await;
    for _ in 0..3 {
        for exchange in join_all((0..2).map(|_| ask(&client))).await {
            assert_good(&exchange);
            assert_eq!(exchange.timeline.dial, Duration::ZERO);
        }
    }
    assert_eq!(server.log().n_connections, 2);
}

#[tokio::test]
async fn a_tls_connection_closed_while_idle_is_dropped_before_use() {
    let script = [good(), vec![Do::Close]].concat();
    let server = Server::start_on(vec![script], Some(self_signed(&[]))).await;
    let mut config = config();
    config.insecure = true;
    let client = client(&https(&server), config);
    for n in 1..=3 {
        assert_good(&ask(&client).await);
        server.until(|log| log.n_ended == n).await;
    }
    assert_eq!(server.log().requests.len(), 3);
}

#[tokio::test]
async fn a_stream_cut_under_tls_is_truncated() {
    let script = [open_stream(&[&token("Hello")]), vec![Do::Close]].concat();
    let server = Server::start_on(vec![script], Some(self_signed(&[]))).await;
    let mut config = config();
    config.insecure = true;
    let exchange = ask(&client(&https(&server), config)).await;
    assert_fails(&exchange, FailureKind::Truncated, &["after 1 chunks"]);
    assert_eq!(exchange.text, "Hello");
}

#[tokio::test]
async fn https_to_a_server_without_tls_says_so() {
    // What is no TLS greeting is an HTTP request to this server; it waits for the rest of it.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = async {
        use tokio::io::AsyncWriteExt;
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        tcp
    };
    let client = client(&format!("https://127.0.0.1:{port}"), config());
    let (exchange, _tcp) = tokio::join!(ask(&client), server);
    assert_fails(&exchange, FailureKind::Connect, &["TLS", "https"]);
}

#[tokio::test]
async fn a_server_that_speaks_only_http1_is_spoken_to_in_http1() {
    for alpn in [[b"http/1.1".as_slice()].as_slice(), &[]] {
        for http in [HttpVersion::Auto, HttpVersion::Http1] {
            let server = Server::start_on(vec![good()], Some(self_signed(alpn))).await;
            let mut config = config();
            (config.insecure, config.http) = (true, http);
            assert_good(&ask(&client(&https(&server), config)).await);
            assert!(server.log().requests[0].head.contains("HTTP/1.1"));
        }
    }
}

#[tokio::test]
async fn http2_is_demanded_and_not_wished_for() {
    for alpn in [[b"http/1.1".as_slice()].as_slice(), &[]] {
        let server = Server::start_on(vec![good()], Some(self_signed(alpn))).await;
        let mut config = config();
        (config.insecure, config.http) = (true, HttpVersion::Http2);
        let exchange = ask(&client(&https(&server), config)).await;
        assert_fails(&exchange, FailureKind::Connect, &["does not speak HTTP/2"]);
    }
}

#[tokio::test]
async fn requests_that_find_out_the_version_together_all_get_a_connection() {
    let server = Server::start_on(vec![good()], Some(self_signed(&[b"http/1.1"]))).await;
    let mut config = config();
    config.insecure = true;
    let client = client(&https(&server), config);
    for exchange in join_all((0..6).map(|_| ask(&client))).await {
        assert_good(&exchange);
    }
    assert_eq!(server.log().n_connections, 6);
}

/// Where the child process finds the server that it shall trust.
const TRUSTED_URL: &str = "CORE_CLIENT_TEST_TRUSTED_URL";

#[tokio::test]
async fn a_certificate_the_system_trusts_is_accepted_for_its_own_name_only() {
    let (tls, pem) = self_signed_for(&["localhost"], &[]);
    let server = Server::start_on(vec![good()], Some(tls)).await;
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("trusted-{}.pem", std::process::id()));
    std::fs::write(&file, pem).unwrap();
    // The system's roots are named by the environment, which only another process can have.
    let url = format!("https://localhost:{}", server.port);
    let path = file.clone();
    let child = tokio::task::spawn_blocking(move || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--ignored",
                "secure::child_that_trusts_the_certificate",
            ])
            .env("SSL_CERT_FILE", path)
            .env_remove("SSL_CERT_DIR")
            .env(TRUSTED_URL, url)
            .output()
            .unwrap()
    });
    let output = child.await.unwrap();
    std::fs::remove_file(&file).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    assert_eq!(server.log().requests.len(), 1);
}

#[tokio::test]
#[ignore = "run by the test above in a process of its own"]
async fn child_that_trusts_the_certificate() {
    let url = std::env::var(TRUSTED_URL).expect("set by the parent");
    assert_good(&ask(&client(&url, config())).await);
    // The same server under a name that its certificate does not hold.
    let other = url.replace("localhost", "127.0.0.1");
    let exchange = ask(&client(&other, config())).await;
    assert_fails(
        &exchange,
        FailureKind::Connect,
        &["certificate", "127.0.0.1"],
    );
}

//! Servers with answers that are known in advance.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use sim::model::ServiceModel;
use sim::{Background, ReceivedRequest, RecordLimits, RequestState, SimConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// The model id of the acceptance examples.
pub(crate) const MODEL: &str = "demo";

/// The server of the acceptance examples: first token after `per_active` × requests in the server, then one
/// token every `per_token`. Keeps the whole text of every prompt.
pub(crate) fn linear(per_active: f64, per_token: f64) -> SimConfig {
    with_service(ServiceModel::Linear {
        per_active: Duration::from_secs_f64(per_active),
        per_token: Duration::from_secs_f64(per_token),
    })
}

/// A server that is quick enough for windows of 1 s to hold dozens of requests.
pub(crate) fn swift() -> Background {
    start(linear(0.02, 0.005))
}

/// A server that takes `total` seconds for a request, whatever the load.
pub(crate) fn fixed(total: f64) -> SimConfig {
    with_service(ServiceModel::Fixed {
        total: Duration::from_secs_f64(total),
    })
}

fn with_service(service: ServiceModel) -> SimConfig {
    let mut config = SimConfig::demo();
    config.model = MODEL.to_owned();
    config.engine.service = service;
    config.record = RecordLimits {
        requests: 100_000,
        text_bytes: 1 << 20,
    };
    config
}

/// Starts a server on a free port; it stops when dropped.
pub(crate) fn start(config: SimConfig) -> Background {
    Background::start(config).expect("a simulator starts on a free port")
}

/// What a request was for, by the name it came with.
pub(crate) fn request_id(request: &ReceivedRequest) -> &str {
    request
        .request_id
        .as_deref()
        .expect("the tool names its requests")
}

/// Requests that sent the working set ahead, in order of arrival.
pub(crate) fn warm_ups(server: &Background) -> Vec<ReceivedRequest> {
    let mut requests = server.generations();
    requests.retain(|request| request_id(request).starts_with("WARMUP_"));
    requests
}

/// Measured requests, in order of arrival.
pub(crate) fn measured(server: &Background) -> Vec<ReceivedRequest> {
    let mut requests = server.generations();
    requests.retain(|request| !request_id(request).starts_with("WARMUP_"));
    requests
}

/// No prompt came twice. A request that its client gave up before the server had read its prompt has none to compare.
pub(crate) fn assert_no_prompt_came_twice(requests: &[ReceivedRequest]) {
    let mut texts = BTreeSet::new();
    for request in requests {
        match &request.text_sha256 {
            Some(text) => assert!(
                texts.insert(text),
                "{} sent a prompt again",
                request_id(request)
            ),
            None => assert_eq!(request.state, RequestState::Cancelled, "{request:?}"),
        }
    }
}

/// The text of a request's prompt, all of it.
pub(crate) fn text(request: &ReceivedRequest) -> &str {
    let text = request
        .text_prefix
        .as_deref()
        .expect("the prompt is a text");
    assert_eq!(
        Some(text.len() as u64),
        request.text_bytes,
        "the record was cut short"
    );
    text
}

/// How often each text came, over all of `requests`.
pub(crate) fn tally<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut tally = BTreeMap::new();
    for text in texts {
        *tally.entry(text).or_insert(0) += 1;
    }
    tally
}

/// TLS in front of a server, with a certificate that nobody signed.
#[derive(Debug)]
pub(crate) struct TlsFront {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl TlsFront {
    /// Takes a free port and hands what arrives there, decrypted, to `behind`.
    pub(crate) fn before(behind: SocketAddr) -> Self {
        Self::with_manners(behind, Manners::default())
    }

    /// The same as over a long way: opening a connection takes this long, and each is closed behind its first stream.
    pub(crate) fn far_and_closing(behind: SocketAddr, handshake: Duration) -> Self {
        let manners = Manners {
            handshake,
            closes: true,
        };
        Self::with_manners(behind, manners)
    }

    fn with_manners(behind: SocketAddr, manners: Manners) -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("ring speaks the default versions")
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key.into())
                .expect("the certificate fits its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        listener
            .set_nonblocking(true)
            .expect("the listener can be polled");
        let address = listener.local_addr().expect("the listener has an address");
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("the listener is polled");
                tokio::select! {
                    () = forward(&listener, &acceptor, behind, manners) => {}
                    () = stopped.cancelled() => {}
                }
            });
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }

    /// `https://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

/// How a front treats connections.
#[derive(Debug, Clone, Copy, Default)]
struct Manners {
    /// Before the handshake goes on.
    handshake: Duration,
    /// Behind the first streamed answer.
    closes: bool,
}

async fn forward(
    listener: &TcpListener,
    acceptor: &TlsAcceptor,
    behind: SocketAddr,
    manners: Manners,
) {
    loop {
        let Ok((outside, _)) = listener.accept().await else {
            continue;
        };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            tokio::time::sleep(manners.handshake).await;
            // A client that refuses the certificate ends the handshake: that is what some tests want.
            let Ok(mut outside) = acceptor.accept(outside).await else {
                return;
            };
            if let Ok(mut inside) = TcpStream::connect(behind).await {
                // Either side may go first.
                let _ = if manners.closes {
                    copy_one_stream(&mut outside, &mut inside).await
                } else {
                    copy_bidirectional(&mut outside, &mut inside)
                        .await
                        .map(|_| ())
                };
            }
        });
    }
}

/// Copies both ways until a streamed answer is complete.
async fn copy_one_stream(
    outside: &mut (impl AsyncRead + AsyncWrite + Unpin),
    inside: &mut TcpStream,
) -> io::Result<()> {
    let (mut requests, mut answers) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        tokio::select! {
            read = outside.read(&mut requests) => match read? {
                0 => return Ok(()),
                n => inside.write_all(&requests[..n]).await?,
            },
            read = inside.read(&mut answers) => {
                let n = read?;
                outside.write_all(&answers[..n]).await?;
                // The last chunk of a body without a length.
                if n == 0 || answers[..n].ends_with(b"\r\n0\r\n\r\n") || answers[..n] == *b"0\r\n\r\n" {
                    return outside.shutdown().await;
                }
            }
        }
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed where it happened.
            let _ = thread.join();
        }
    }
}

//! A server that plays scripts: it reads a request and then sends exactly the bytes it was told to.
//!
//! Shared by all tests of this crate; asserts nothing itself.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use core_client::{
    Client, ClientConfig, Endpoint, EndpointType, HttpVersion, RequestBody, RequestSettings,
    RequestTemplate, RunClock,
};
use metrics::timeline::{Exchange, FailureKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// One thing a script does.
#[derive(Clone, Debug)]
pub(crate) enum Do {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Lets time pass.
    Wait(Duration),
    /// Closes the connection in order.
    Close,
    /// Resets it.
    Reset,
    /// Does nothing until the client goes away.
    Hang,
}

pub(crate) type Script = Vec<Do>;

/// One request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Request line and headers.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// Value of a header; names are compared without case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) n_connections: usize,
    /// Connections that have ended, from either side.
    pub(crate) n_ended: usize,
    pub(crate) requests: Vec<Seen>,
}

/// A running server; stops with the runtime.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
    log: watch::Receiver<Log>,
}

/// Plain or TLS, with the socket below at hand.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    pub(crate) fn chose_h2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

macro_rules! forward {
    ($self:ident, $method:ident($($arg:ident),*)) => {
        match $self.get_mut() {
            Wire::Plain(tcp) => Pin::new(tcp).$method($($arg),*),
            Wire::Tls(tls) => Pin::new(&mut **tls).$method($($arg),*),
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        forward!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self, poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_shutdown(cx))
    }
}

impl Server {
    /// Request `k`, counted over all connections, is answered by script `k`; the last one repeats.
    pub(crate) async fn start(scripts: Vec<Script>) -> Self {
        Self::start_on(scripts, None).await
    }

    pub(crate) async fn start_on(scripts: Vec<Script>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (log, watched) = watch::channel(Log::default());
        let log = Arc::new(log);
        let scripts = Arc::new(Mutex::new((scripts, 0)));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                log.send_modify(|log| log.n_connections += 1);
                let (log, scripts, tls) = (Arc::clone(&log), Arc::clone(&scripts), tls.clone());
                tokio::spawn(async move {
                    let wire = match tls {
                        None => Some(Wire::Plain(tcp)),
                        Some(tls) => tls.accept(tcp).await.ok().map(|t| Wire::Tls(Box::new(t))),
                    };
                    if let Some(wire) = wire {
                        let next = || {
                            let (scripts, n) = &mut *scripts.lock().unwrap();
                            let script = scripts.get(*n).or(scripts.last()).cloned();
                            *n += 1;
                            script.unwrap_or_default()
                        };
                        // The client may go away at any moment; that ends the script.
                        let _ = play(wire, &log, next).await;
                    }
                    log.send_modify(|log| log.n_ended += 1);
                });
            }
        });
        Self { port, log: watched }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn log(&self) -> Log {
        self.log.borrow().clone()
    }

    /// Waits until the log says so. Gives up after a minute of real time.
    pub(crate) async fn until(&self, is_so: impl FnMut(&Log) -> bool) {
        let mut log = self.log.clone();
        let waiting = log.wait_for(is_so);
        tokio::time::timeout(Duration::from_secs(60), waiting)
            .await
            .expect("the server never saw it")
            .unwrap();
    }
}

async fn play(
    mut wire: Wire,
    log: &watch::Sender<Log>,
    mut next: impl FnMut() -> Script,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut wire, &mut buffer).await? {
        log.send_modify(|log| log.requests.push(seen));
        for step in next() {
            match step {
                Do::Send(bytes) => {
                    wire.write_all(&bytes).await?;
                    wire.flush().await?;
                }
                Do::Wait(time) => tokio::time::sleep(time).await,
                Do::Close => return wire.shutdown().await,
                Do::Reset => return wire.tcp().set_zero_linger(),
                Do::Hang => while wire.read(&mut [0; 256]).await? > 0 {},
            }
        }
    }
    Ok(())
}

async fn read_request(wire: &mut Wire, buffer: &mut Vec<u8>) -> io::Result<Option<Seen>> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        if wire.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut seen = Seen {
        head,
        body: Vec::new(),
    };
    let length: usize = seen
        .header("content-length")
        .map_or(0, |v| v.parse().unwrap());
    let end = head_end + 4 + length;
    while buffer.len() < end {
        if wire.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    seen.body = buffer[head_end + 4..end].to_vec();
    buffer.drain(..end);
    Ok(Some(seen))
}

// --- what servers say ------------------------------------------------------------------------

pub(crate) const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
pub(crate) const ROLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
pub(crate) const FINISH: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n";
pub(crate) const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":2,\"total_tokens\":13,\"prompt_tokens_details\":{\"cached_tokens\":8}}}\n\n";
pub(crate) const DONE: &str = "data: [DONE]\n\n";
pub(crate) const LAST_CHUNK: &str = "0\r\n\r\n";

/// One event with output.
pub(crate) fn token(text: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

/// One HTTP chunk.
pub(crate) fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let mut out = format!("{:x}\r\n", bytes.len()).into_bytes();
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
    out
}

pub(crate) fn send(bytes: impl Into<Vec<u8>>) -> Do {
    Do::Send(bytes.into())
}

/// A stream head and these events, one a chunk, without the last chunk.
pub(crate) fn open_stream(events: &[&str]) -> Script {
    let chunks = events.iter().map(|event| Do::Send(chunk(event)));
    [send(STREAM_HEAD)].into_iter().chain(chunks).collect()
}

/// The same to its proper end.
pub(crate) fn stream_of(events: &[&str]) -> Script {
    let mut script = open_stream(events);
    script.push(send(LAST_CHUNK));
    script
}

/// An answer with nothing wrong in it: two tokens, usage, the end.
pub(crate) fn good() -> Script {
    stream_of(&[ROLE, &token("Hello"), &token(" world"), FINISH, USAGE, DONE])
}

/// An answer in one piece.
pub(crate) fn whole(status: &str, content_type: &str, body: &str) -> Script {
    let length = body.len();
    vec![send(format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"
    ))]
}

// --- the client's side -----------------------------------------------------------------------

pub(crate) fn config() -> ClientConfig {
    ClientConfig {
        endpoint_type: EndpointType::Chat,
        http: HttpVersion::Auto,
        api_key: None,
        headers: Vec::new(),
        insecure: false,
        // Far above what a loaded machine needs: a test that gets here fails for another reason.
        request_timeout: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(60),
    }
}

pub(crate) fn client(url: &str, config: ClientConfig) -> Client {
    Client::new(
        vec![Endpoint::parse(url).unwrap()],
        config,
        RunClock::start(),
    )
    .unwrap()
}

pub(crate) fn body() -> RequestBody {
    template(EndpointType::Chat).body_from_text("Tell me a story.")
}

pub(crate) fn template(endpoint_type: EndpointType) -> RequestTemplate {
    RequestTemplate::new(RequestSettings {
        model: "tiny".into(),
        output_tokens: 2,
        ignore_eos: false,
        extra_body: None,
        endpoint_type,
    })
    .unwrap()
}

/// A first request, and time until it is known that the server keeps its connections. Real time: whether it closes one is
/// an event of a real socket.
pub(crate) async fn acquaint(client: &Client) -> Exchange {
    let exchange = ask(client).await;
    assert_good(&exchange);
    tokio::time::sleep(Duration::from_millis(60)).await;
    exchange
}

/// Sends one request to the first endpoint, never cancelled.
pub(crate) async fn ask(client: &Client) -> Exchange {
    let intended = client.clock().now();
    client
        .send(0, body(), intended, &CancellationToken::new())
        .await
}

/// Asks a server that plays one script.
pub(crate) async fn ask_once(script: Script) -> Exchange {
    let server = Server::start(vec![script]).await;
    ask(&client(&server.url(), config())).await
}

#[track_caller]
pub(crate) fn assert_good(exchange: &Exchange) {
    assert_eq!(exchange.failure, None);
    assert_eq!(exchange.text, "Hello world");
    assert_eq!(exchange.timeline.chunks.len(), 2);
    assert_eq!(exchange.usage.prompt_tokens, Some(11));
    assert_eq!(exchange.usage.completion_tokens, Some(2));
    assert_eq!(exchange.usage.cached_tokens, Some(8));
    let t = &exchange.timeline;
    let stamps = [
        t.intended,
        t.launched,
        t.headers_at.unwrap(),
        t.first_token_at().unwrap(),
        t.last_token_at().unwrap(),
        t.finished,
    ];
    assert!(stamps.is_sorted(), "{stamps:?}");
}

/// The kind is right, the message is one line and has all these words.
#[track_caller]
pub(crate) fn assert_fails(exchange: &Exchange, kind: FailureKind, words: &[&str]) {
    let failure = exchange.failure.as_ref().expect("a failure");
    assert_eq!(failure.kind, kind, "{failure:?}");
    for word in words {
        assert!(failure.message.contains(word), "no {word:?} in {failure:?}");
    }
    assert!(!failure.message.contains('\n'), "{failure:?}");
}

//! A server that decides per request who answers it.
//!
//! Simulators stand behind it, so that what goes over the wire is theirs; the relay knows what each request
//! is for and can send exactly the first one of a rate to a simulator that fails. So a fault begins when the
//! test wants it to, and not after a number of requests that nobody knows. It can also answer by itself, say
//! nothing, or die. HTTP/1.1 without pipelining, as the tool speaks it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;

/// How long the relay waits for bytes of one side before it looks at the other.
const LOOK: Duration = Duration::from_millis(2);

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// Asks for the model.
    Models,
    /// Sends a prompt of the working set ahead.
    WarmUp,
    /// Measured, at 0 %.
    Cold,
    /// Measured, at a rate above 0 %.
    Warm,
}

/// A request that arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived {
    /// What it is for.
    pub(crate) purpose: Purpose,
    /// It belongs to a repeat at the peak.
    pub(crate) is_retry: bool,
    /// Requests for this purpose so far, this one included.
    pub(crate) nth: u64,
    /// Streams that the relay itself is sending at this moment.
    pub(crate) answering: u64,
}

/// What is done with a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// The server there answers.
    Forward(SocketAddr),
    /// The relay answers with these parts, pausing after each.
    Answer(Vec<(Vec<u8>, Duration)>),
    /// The relay writes these bytes and closes the connection.
    AnswerAndClose(Vec<u8>),
    /// Nothing, for as long as the client waits.
    Silence,
    /// The listener and all connections are closed: the server is gone.
    Die,
}

impl Act {
    /// One whole answer with a body of this type.
    pub(crate) fn answer(status: &str, content_type: &str, body: &str) -> Self {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self::Answer(vec![(head.into_bytes(), Duration::ZERO)])
    }

    /// A whole stream of these tokens without usage, its bytes in frames of `frame` bytes.
    pub(crate) fn stream_of(tokens: &[&str], frame: usize) -> Self {
        let event = |data: &str| format!("data: {data}\n\n");
        let token = |text: &&str| {
            event(&format!(
                r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}"#
            ))
        };
        let finish = event(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}"#);
        let text = tokens.iter().map(token).collect::<String>() + &finish + &event("[DONE]");
        let mut parts = vec![(STREAM_HEAD.into(), Duration::ZERO)];
        parts.extend(
            text.as_bytes()
                .chunks(frame)
                .map(|part| (chunk(part), Duration::ZERO)),
        );
        parts.push((chunk(b""), Duration::ZERO));
        Self::Answer(parts)
    }

    /// A whole stream of `n` tokens, one each `gap`.
    pub(crate) fn slow_stream(n: usize, gap: Duration) -> Self {
        let token =
            br#"data: {"choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}"#;
        let token = chunk(&[token, &b"\n\n"[..]].concat());
        let end = format!(
            "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":530,\"completion_tokens\":{n}}}}}\n\ndata: [DONE]\n\n"
        );
        let mut parts = vec![(STREAM_HEAD.into(), gap)];
        parts.extend(std::iter::repeat_n((token, gap), n));
        parts.push(([chunk(end.as_bytes()), chunk(b"")].concat(), Duration::ZERO));
        Self::Answer(parts)
    }
}

/// Head of a stream.
const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// A frame of a chunked body; the empty one ends it.
fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

type Rule = dyn Fn(Arrived) -> Act + Send + Sync;

struct Shared {
    rule: Box<Rule>,
    seen: Mutex<[u64; 4]>,
    answering: Mutex<u64>,
    dead: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
    address: SocketAddr,
}

/// The relay. Gone when dropped.
pub(crate) struct Relay {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Relay {
    /// Takes a free port.
    pub(crate) fn start(rule: impl Fn(Arrived) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let shared = Arc::new(Shared {
            rule: Box::new(rule),
            seen: Mutex::default(),
            answering: Mutex::default(),
            dead: AtomicBool::new(false),
            connections: Mutex::default(),
            address: listener.local_addr().expect("the listener has an address"),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept(listener, &accepting));
        Self {
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// Requests so far for this purpose.
    pub(crate) fn seen(&self, purpose: Purpose) -> u64 {
        self.shared.seen.lock().expect("no thread panics with it")[purpose as usize]
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.die();
        if let Some(acceptor) = self.acceptor.take() {
            // A panic of the thread was printed where it happened.
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn die(&self) {
        if self.dead.swap(true, Ordering::SeqCst) {
            return;
        }
        let connections = self.connections.lock().expect("no thread panics with it");
        for connection in connections.iter() {
            // One that has ended already needs nothing.
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(connections);
        // Wakes the acceptor, which then closes the listener. Until it has, a dial may still succeed, but
        // its connection is dropped.
        let _ = TcpStream::connect(self.address);
    }

    /// Asks the rule; two requests at once are decided one after the other.
    fn decide(&self, request: &Request) -> Act {
        let mut answering = self.answering.lock().expect("no thread panics with it");
        let nth = {
            let mut seen = self.seen.lock().expect("no thread panics with it");
            let seen = &mut seen[request.purpose as usize];
            *seen += 1;
            *seen
        };
        let act = (self.rule)(Arrived {
            purpose: request.purpose,
            is_retry: request.is_retry,
            nth,
            answering: *answering,
        });
        *answering += u64::from(is_stream(&act));
        act
    }

    fn answered(&self) {
        *self.answering.lock().expect("no thread panics with it") -= 1;
    }
}

fn accept(listener: TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept() else {
            continue;
        };
        if shared.dead.load(Ordering::SeqCst) {
            return;
        }
        let _ = client.set_nodelay(true);
        if let Ok(handle) = client.try_clone() {
            shared
                .connections
                .lock()
                .expect("no thread panics with it")
                .push(handle);
        }
        let shared = Arc::clone(shared);
        // A connection that breaks is what half of the tests are about.
        thread::spawn(move || drop(serve(client, &shared)));
    }
}

fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    loop {
        let Some(request) = read_request(&mut client)? else {
            return Ok(());
        };
        let ending = match shared.decide(&request) {
            Act::Forward(server) => forward(&mut client, server, &request.bytes)?,
            Act::Answer(parts) => answer(&mut client, shared, &parts)?,
            Act::AnswerAndClose(bytes) => {
                client.write_all(&bytes)?;
                Ending::Closed
            }
            Act::Silence => {
                // Ends when the client hangs up.
                io::copy(&mut client, &mut io::sink())?;
                Ending::Closed
            }
            Act::Die => {
                shared.die();
                Ending::Closed
            }
        };
        match ending {
            Ending::Next => {}
            Ending::Closed => {
                // The list of connections holds the socket as well, so closing must be said.
                return client.shutdown(Shutdown::Both);
            }
            Ending::Reset => return reset(client, shared),
        }
    }
}

/// Whether the relay streams an answer by itself.
fn is_stream(act: &Act) -> bool {
    matches!(act, Act::Answer(parts) if parts.len() > 1)
}

fn answer(
    client: &mut TcpStream,
    shared: &Shared,
    parts: &[(Vec<u8>, Duration)],
) -> io::Result<Ending> {
    let Some(((last, _), stream)) = parts.split_last() else {
        return Ok(Ending::Next);
    };
    let written: io::Result<()> = stream.iter().try_for_each(|(part, pause)| {
        client.write_all(part)?;
        let end = Instant::now() + *pause;
        while Instant::now() < end {
            if is_gone(client)? {
                return Err(ErrorKind::BrokenPipe.into());
            }
            thread::sleep(LOOK);
        }
        Ok(())
    });
    if !stream.is_empty() {
        // Before the client can know that it is complete and send another one.
        shared.answered();
    }
    written?;
    client.write_all(last)?;
    Ok(Ending::Next)
}

/// How an answer ended.
enum Ending {
    /// The connection stands.
    Next,
    /// The server closed it, or the client is gone.
    Closed,
    /// The server reset it.
    Reset,
}

/// Hands a request on and everything that comes back, until the client's next request shows that the answer
/// is complete or one side ends the connection.
fn forward(client: &mut TcpStream, server: SocketAddr, request: &[u8]) -> io::Result<Ending> {
    let mut server = TcpStream::connect(server)?;
    server.set_nodelay(true)?;
    server.set_read_timeout(Some(LOOK))?;
    server.write_all(request)?;
    let mut buffer = [0; 16 << 10];
    loop {
        match look(client)? {
            Ok(0) => return Ok(Ending::Closed),
            Ok(_) => return Ok(Ending::Next),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        match server.read(&mut buffer) {
            Ok(0) => return Ok(Ending::Closed),
            Ok(n) => client.write_all(&buffer[..n])?,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(Ending::Reset),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
}

/// What the client has sent meanwhile: nothing, something, or the end.
fn look(client: &TcpStream) -> io::Result<io::Result<usize>> {
    client.set_nonblocking(true)?;
    let looked = client.peek(&mut [0]);
    client.set_nonblocking(false)?;
    Ok(looked)
}

/// Whether the client has hung up.
fn is_gone(client: &TcpStream) -> io::Result<bool> {
    match look(client)? {
        Ok(n) => Ok(n == 0),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Closes with RST. Every other handle of the socket has to go first.
fn reset(client: TcpStream, shared: &Shared) -> io::Result<()> {
    let peer = client.peer_addr()?;
    SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    let mut connections = shared.connections.lock().expect("no thread panics with it");
    connections.retain(|other| other.peer_addr().is_ok_and(|address| address != peer));
    Ok(())
}

/// A whole request.
struct Request {
    bytes: Vec<u8>,
    purpose: Purpose,
    is_retry: bool,
}

/// The next request; `None` when the client has closed the connection.
fn read_request(client: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut request = Vec::new();
    let mut buffer = [0; 64 << 10];
    let end_of_head = loop {
        if let Some(at) = request.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        match client.read(&mut buffer)? {
            0 => return Ok(None),
            n => request.extend_from_slice(&buffer[..n]),
        }
    };
    let head = String::from_utf8_lossy(&request[..end_of_head]).to_ascii_lowercase();
    let header = |name: &str| {
        let value = head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(|value| value.trim().to_owned())
    };
    let length: usize =
        header("content-length").map_or(0, |n| n.parse().expect("a length is a number"));
    while request.len() < end_of_head + length {
        match client.read(&mut buffer)? {
            0 => return Ok(None),
            n => request.extend_from_slice(&buffer[..n]),
        }
    }
    let body = String::from_utf8_lossy(&request[end_of_head..]);
    let purpose = if head.starts_with("get ") {
        Purpose::Models
    } else if header("x-request-id").is_some_and(|id| id.starts_with("warmup_")) {
        Purpose::WarmUp
    } else if body.contains(r##""content":"# PROMPT_"##) {
        Purpose::Warm
    } else {
        Purpose::Cold
    };
    let is_retry = header("x-request-id").is_some_and(|id| id.starts_with("retry_"));
    Ok(Some(Request {
        bytes: request,
        purpose,
        is_retry,
    }))
}

/// An address where nobody listens.
pub(crate) fn dead_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("the listener has an address")
}

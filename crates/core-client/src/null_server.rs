//! A server that does as little as possible and knows when it did it: what the client is measured against.
//!
//! Promise: every answer is written from frames that were made before the first connection; the instants at
//! which a request was complete and at which each piece of its answer was handed to the system are kept, so
//! that whoever reads the client's stamps knows how far off they are. Refuses to model anything: it answers
//! after a fixed time and then at fixed gaps, whatever is asked. It is no part of what `sim` models.
//!
//! It speaks enough HTTP/1.1 for clients of ours and nothing more: `Content-Length` bodies, kept-alive
//! connections, one answer at a time.
//!
//! Its streams may keep gaps of their own or share steps. Either way the truth is the instant at which a write was begun.

pub mod calibration;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// Output tokens when a request does not say how many.
const DEFAULT_TOKENS: u32 = 16;
/// Bytes at the end of a body in which `max_tokens` is looked for: behind the prompt.
const TAIL_BYTES: usize = 512;
/// Longest request head.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// In a request's id, in front of the number of tokens of its answer.
const TOKENS_IN_ID: &str = "-tokens-";
const SCRATCH_BYTES: usize = 64 << 10;
/// Handshakes that may wait to be accepted; the system has a limit of its own.
const BACKLOG: u32 = 16_384;
/// Text of the tokens, in turn.
const WORDS: [&str; 8] = [
    " the", " river", " of", " stone", " keeps", " its", " course", " today",
];

/// When the pieces of an answer are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// From the end of the request to the first token.
    pub first_after: Duration,
    /// Between two writes; zero is as fast as the socket takes them.
    pub gap: Duration,
    /// Tokens, each an event of its own, in one write and one HTTP chunk; at least 1.
    pub tokens_per_write: u32,
    /// Whether every write is stamped, or only the first and the last of an answer.
    pub stamp_all: bool,
    /// Whether all streams are written to at common instants, `gap` apart, as by an engine that decodes in steps; an answer
    /// begins at the last one within `first_after`, or else at the next one. Otherwise each has gaps of its own.
    pub in_step: bool,
}

impl Script {
    /// When the first token of a request is due that was read whole at `received`; both count from the server's start.
    fn first_due(&self, received: Duration) -> Duration {
        let due = received + self.first_after;
        if !self.in_step || self.gap.is_zero() {
            return due;
        }
        let gap = self.gap.as_nanos();
        let last = due.as_nanos() / gap * gap;
        let step = match last < received.as_nanos() {
            true => last + gap,
            false => last,
        };
        // 2^64 ns are centuries.
        u64::try_from(step).map_or(due, Duration::from_nanos)
    }
}

/// What the server did for one request. Instants are those of the process's monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The `x-request-id` header, or without one `request_id` at the end of the body.
    pub request_id: String,
    /// When the last byte of the request had been read.
    pub received: Instant,
    /// When each write of tokens was begun; only first and last unless all were asked for.
    pub writes: Vec<Instant>,
    /// Tokens written.
    pub n_tokens: u32,
}

impl Answered {
    /// Time to the first token as it really was: from the whole request to the write of the token.
    #[must_use]
    pub fn ttft(&self) -> Option<Duration> {
        self.writes.first().map(|at| *at - self.received)
    }
}

/// Counts that can be read while the server runs.
#[derive(Debug, Default)]
pub struct Counts {
    requests: AtomicU64,
    tokens: AtomicU64,
}

impl Counts {
    /// Requests that were read whole.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Tokens written.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }
}

/// A server on a thread of its own; ends when dropped.
#[derive(Debug)]
pub struct NullServer {
    address: SocketAddr,
    counts: Arc<Counts>,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Vec<Answered>>>,
}

impl NullServer {
    /// Listens on a free port of the loopback interface. `on_thread` is called on the server's thread
    /// before anything else: a place to bind it to a core.
    ///
    /// # Errors
    /// When the thread, its runtime or the socket cannot be had.
    pub fn start(script: Script, on_thread: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
        // Listening again raises the backlog from the 128 that the line above asks for.
        socket2::SockRef::from(&listener).listen(BACKLOG as i32)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let counts = Arc::new(Counts::default());
        let (shutdown, ended) = oneshot::channel::<()>();
        let counted = Arc::clone(&counts);
        let thread = thread::Builder::new()
            .name("null-server".to_owned())
            .spawn(move || {
                on_thread();
                let server = Rc::new(Server {
                    started: Instant::now(),
                    frames: Frames::new(script.tokens_per_write),
                    script,
                    counts: counted,
                    scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
                    answered: RefCell::default(),
                });
                let serving = Rc::clone(&server);
                let tasks = LocalSet::new();
                runtime.block_on(tasks.run_until(async move {
                    let Ok(listener) = TcpListener::from_std(listener) else {
                        return;
                    };
                    tokio::select! {
                        // A dropped handle ends the server as well as a word does.
                        _ = ended => {}
                        () = accept(listener, serving) => {}
                    }
                }));
                drop(tasks);
                server.answered.take()
            })?;
        Ok(Self {
            address,
            counts,
            shutdown: Some(shutdown),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its counts, live.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Ends the server and returns what it did, in the order in which answers ended. Those cut short by
    /// the client are among them.
    #[must_use]
    pub fn stop(mut self) -> Vec<Answered> {
        self.end()
    }

    fn end(&mut self) -> Vec<Answered> {
        drop(self.shutdown.take());
        let ended = self.thread.take().map(JoinHandle::join);
        // A panic has told of itself.
        ended.and_then(Result::ok).unwrap_or_default()
    }
}

impl Drop for NullServer {
    fn drop(&mut self) {
        drop(self.end());
    }
}

/// Pieces of answers, made ahead.
struct Frames {
    /// Status line and headers.
    head: Vec<u8>,
    /// One HTTP chunk with `tokens_per_write` events, for each first word.
    full: Vec<Vec<u8>>,
    /// One HTTP chunk with one event.
    single: Vec<Vec<u8>>,
    tokens_per_write: u32,
}

impl Frames {
    fn new(tokens_per_write: u32) -> Self {
        let tokens_per_write = tokens_per_write.max(1);
        let chunk = |n: u32, first: usize| {
            let events: String = (0..n as usize)
                .map(|i| event(WORDS[(first + i) % WORDS.len()]))
                .collect();
            http_chunk(&events)
        };
        Self {
            head: b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                    cache-control: no-store\r\ntransfer-encoding: chunked\r\n\r\n"
                .to_vec(),
            full: (0..WORDS.len())
                .map(|first| chunk(tokens_per_write, first))
                .collect(),
            single: (0..WORDS.len()).map(|first| chunk(1, first)).collect(),
            tokens_per_write,
        }
    }

    /// The end of an answer of `n` tokens: finish reason, usage, `[DONE]` and the last chunk.
    fn tail(n: u32) -> Vec<u8> {
        let mut bytes = http_chunk(&format!(
            "data: {{\"id\":\"chatcmpl-null\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\
             \"model\":\"null\",\"choices\":[{{\"index\":0,\"delta\":{{}},\"logprobs\":null,\"finish_reason\":\"length\"}}]}}\n\n\
             data: {{\"id\":\"chatcmpl-null\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\
             \"model\":\"null\",\"choices\":[],\"usage\":{{\"completion_tokens\":{n}}}}}\n\ndata: [DONE]\n\n"
        ));
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }
}

/// A token's event, with the fields that servers usually send.
fn event(word: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-null\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\
         \"model\":\"null\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}},\"logprobs\":null,\
         \"finish_reason\":null}}]}}\n\n"
    )
}

fn http_chunk(content: &str) -> Vec<u8> {
    format!("{:x}\r\n{content}\r\n", content.len()).into_bytes()
}

struct Server {
    /// Steps count from here.
    started: Instant,
    script: Script,
    frames: Frames,
    counts: Arc<Counts>,
    /// Bytes pass through here and are gone: one buffer for all connections, never held over a wait.
    scratch: RefCell<Vec<u8>>,
    answered: RefCell<Vec<Answered>>,
}

async fn accept(listener: TcpListener, server: Rc<Server>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Every token in a segment of its own. A socket that died meanwhile shows it when read.
                let _ = stream.set_nodelay(true);
                tokio::task::spawn_local(serve(stream, Rc::clone(&server)));
            }
            // Out of descriptors: those in use will end.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// A request, as far as an answer depends on it.
struct Request {
    is_post: bool,
    request_id: String,
    n_tokens: u32,
}

async fn serve(mut stream: TcpStream, server: Rc<Server>) {
    // The client's end of a connection is the only reason to stop serving it.
    while let Ok(Some(request)) = read_request(&stream, &server).await {
        let received = Instant::now();
        if !request.is_post {
            if stream.write_all(MODELS).await.is_err() {
                return;
            }
            continue;
        }
        server.counts.requests.fetch_add(1, Ordering::Relaxed);
        let mut answered = Answered {
            request_id: request.request_id,
            received,
            writes: Vec::new(),
            n_tokens: 0,
        };
        let written = answer(&mut stream, &server, request.n_tokens, &mut answered).await;
        server.answered.borrow_mut().push(answered);
        if written.is_err() {
            return;
        }
    }
}

const MODELS: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 57\r\n\r\n\
      {\"object\":\"list\",\"data\":[{\"id\":\"null\",\"object\":\"model\"}]}";

async fn answer(
    stream: &mut TcpStream,
    server: &Server,
    n_tokens: u32,
    answered: &mut Answered,
) -> io::Result<()> {
    let Server { script, frames, .. } = server;
    if script.stamp_all {
        answered
            .writes
            .reserve(n_tokens.div_ceil(frames.tokens_per_write) as usize);
    }
    let first_due = script.first_due(answered.received - server.started);
    let mut due = tokio::time::Instant::from_std(server.started + first_due);
    let tail = Frames::tail(n_tokens);
    let mut word = 0;
    while answered.n_tokens < n_tokens {
        if script.gap.is_zero() && (answered.n_tokens > 0 || script.first_after.is_zero()) {
            // The streams in turn, as an engine's step writes them; else one would run ahead for as long
            // as its socket takes bytes, and its client would read many tokens at once.
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep_until(due).await;
        }
        due += script.gap;
        let left = n_tokens - answered.n_tokens;
        let (chunk, n) = if left >= frames.tokens_per_write {
            (&frames.full[word], frames.tokens_per_write)
        } else {
            (&frames.single[word], 1)
        };
        word = (word + n as usize) % WORDS.len();
        let now = Instant::now();
        if script.stamp_all || answered.writes.len() < 2 {
            answered.writes.push(now);
        } else {
            answered.writes[1] = now;
        }
        if answered.n_tokens == 0 {
            let first = [&frames.head[..], chunk].concat();
            stream.write_all(&first).await?;
        } else {
            stream.write_all(chunk).await?;
        }
        answered.n_tokens += n;
        server
            .counts
            .tokens
            .fetch_add(u64::from(n), Ordering::Relaxed);
    }
    stream.write_all(&tail).await
}

/// The next request of a connection; `None` when the client has closed it.
async fn read_request(stream: &TcpStream, server: &Server) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    let mut tail: Vec<u8> = Vec::new();
    let mut missing: Option<usize> = None;
    let mut request = Request {
        is_post: false,
        request_id: String::new(),
        n_tokens: DEFAULT_TOKENS,
    };
    loop {
        if missing == Some(0) {
            let asked = tokens_by_id(&request.request_id).or_else(|| asked_tokens(&tail));
            request.n_tokens = asked.unwrap_or(DEFAULT_TOKENS);
            if request.request_id.is_empty() {
                request.request_id = named_in_body(&tail).unwrap_or_default();
            }
            return Ok(Some(request));
        }
        stream.readable().await?;
        let mut scratch = server.scratch.borrow_mut();
        let n = match stream.try_read(&mut scratch) {
            Ok(0) => return Ok(None),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let mut bytes = &scratch[..n];
        if missing.is_none() {
            let n_known = head.len();
            head.extend_from_slice(bytes);
            let Some(end) = memmem::find(&head, b"\r\n\r\n") else {
                if head.len() > MAX_HEAD_BYTES {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                continue;
            };
            bytes = &bytes[end + 4 - n_known..];
            missing = Some(read_head(&head[..end], &mut request));
        }
        let body = &bytes[..bytes.len().min(missing.unwrap_or(0))];
        missing = missing.map(|n| n - body.len());
        let kept = &body[body.len().saturating_sub(TAIL_BYTES)..];
        tail.extend_from_slice(kept);
        if tail.len() > TAIL_BYTES {
            tail.drain(..tail.len() - TAIL_BYTES);
        }
    }
}

/// Reads what matters of a head; returns the length of the body.
fn read_head(head: &[u8], request: &mut Request) -> usize {
    let head = String::from_utf8_lossy(head);
    request.is_post = head.starts_with("POST ");
    let mut length = 0;
    for line in head.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        } else if name.eq_ignore_ascii_case("x-request-id") {
            request.request_id = value.trim().to_owned();
        }
    }
    length
}

/// The name that a request without the header has as a field of its body.
fn named_in_body(tail: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"\"request_id\":\"";
    let at = memmem::rfind(tail, KEY)? + KEY.len();
    let name = tail[at..].split(|b| *b == b'"').next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// An id for a request that wants so many tokens, whatever its body asks for: answers of many lengths from one template.
#[must_use]
pub fn id_with_tokens(id: &str, n_tokens: u32) -> String {
    format!("{id}{TOKENS_IN_ID}{n_tokens}")
}

fn tokens_by_id(id: &str) -> Option<u32> {
    id.rsplit_once(TOKENS_IN_ID)?.1.parse().ok()
}

fn asked_tokens(tail: &[u8]) -> Option<u32> {
    const KEY: &[u8] = b"\"max_tokens\":";
    let at = memmem::rfind(tail, KEY)? + KEY.len();
    let digits: String = tail[at..]
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .map(|b| char::from(*b))
        .collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// Sends a request after so many milliseconds, and reads its answer of two tokens.
    async fn ask(server: &NullServer, after: u64) {
        tokio::time::sleep(MS(after)).await;
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let request = b"POST / HTTP/1.1\r\nx-request-id: r-tokens-2\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        while memmem::find(&answer, b"\r\n0\r\n\r\n").is_none() {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
    }

    /// An engine writes the tokens of a step to all streams at once; the calibration's streams each had a time of their own, and
    /// the client's error came out too small.
    #[tokio::test]
    async fn streams_in_step_are_written_to_at_common_instants() {
        let script = Script {
            first_after: MS(20),
            gap: MS(1000),
            tokens_per_write: 1,
            stamp_all: false,
            in_step: true,
        };
        let server = NullServer::start(script, || {}).unwrap();
        tokio::join!(ask(&server, 0), ask(&server, 500));
        let answered = server.stop();
        let firsts: Vec<Instant> = answered.iter().map(|a| a.writes[0]).collect();
        let apart = firsts[1]
            .duration_since(firsts[0])
            .max(firsts[0].duration_since(firsts[1]));
        let past_a_step = apart.as_millis() % 1000;
        let off = past_a_step.min(1000 - past_a_step);
        assert!(off < 300, "{apart:?}");
    }

    #[test]
    fn in_step_an_answer_begins_at_an_instant_that_all_share() {
        let script = Script {
            first_after: MS(20),
            gap: MS(15),
            tokens_per_write: 1,
            stamp_all: false,
            in_step: true,
        };
        let due = |received| script.first_due(MS(received)).as_millis();
        assert_eq!([0, 2, 9, 10, 24, 25].map(due), [15, 15, 15, 30, 30, 45]);
        // Not before it was asked for, however far apart the steps are.
        let slow = Script {
            gap: MS(500),
            ..script
        };
        let due = |received| slow.first_due(MS(received)).as_millis();
        assert_eq!([0, 1, 229, 230, 490].map(due), [0, 500, 500, 500, 500]);
        for alone in [
            Script {
                in_step: false,
                ..script
            },
            Script {
                gap: Duration::ZERO,
                ..script
            },
        ] {
            assert_eq!(alone.first_due(MS(3)), MS(23));
        }
    }
}

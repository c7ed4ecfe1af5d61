//! A server of a few lines that reads requests and answers whatever a test says, byte by byte.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::tool::LIMIT;

/// One thing an answer does.
#[derive(Debug, Clone)]
pub(crate) enum Do {
    Send(Vec<u8>),
    Wait(Duration),
    /// Ends the connection.
    Close,
}

/// What the server saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Request heads, in order of arrival.
    pub(crate) heads: Vec<String>,
    /// Bodies, in the same order.
    pub(crate) bodies: Vec<Value>,
    pub(crate) n_connections: usize,
    in_flight: usize,
    pub(crate) most_in_flight: usize,
}

impl Seen {
    pub(crate) fn prompts(&self) -> Vec<&str> {
        self.bodies
            .iter()
            .map(|body| body["prompt"].as_str().unwrap())
            .collect()
    }
}

type Answer = dyn Fn(usize, &Value) -> Vec<Do> + Send + Sync;

/// A running server; stops taking connections when dropped.
pub(crate) struct Mock {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    stopped: Arc<AtomicBool>,
}

impl Mock {
    /// Answers request `n`, counted from 0 over all connections, with `answer(n, body)`.
    pub(crate) fn start(answer: impl Fn(usize, &Value) -> Vec<Do> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stopped = Arc::new(AtomicBool::new(false));
        let answer: Arc<Answer> = Arc::new(answer);
        {
            let (seen, stopped) = (Arc::clone(&seen), Arc::clone(&stopped));
            thread::spawn(move || {
                for stream in listener.incoming() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                    seen.lock().unwrap().n_connections += 1;
                    // A client that goes away ends its connection; no test cares how.
                    thread::spawn(move || serve(stream.unwrap(), &seen, &*answer).ok());
                }
            });
        }
        Self {
            address,
            seen,
            stopped,
        }
    }

    /// The server of the acceptance examples: 400 letters after 50 ms, cached when seen before.
    pub(crate) fn acceptance() -> Self {
        Self::caching(Duration::from_millis(50))
    }

    /// The same with another delay.
    pub(crate) fn caching(delay: Duration) -> Self {
        let known = Mutex::new(HashSet::new());
        Self::start(move |_, body| {
            let prompt = body["prompt"].as_str().unwrap().to_owned();
            let cached = !known.lock().unwrap().insert(prompt);
            let answer = json!({"text": "a".repeat(400), "cached": cached});
            vec![Do::Wait(delay), json_answer(&answer.to_string())]
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/generate", self.address)
    }

    pub(crate) fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub(crate) fn wait_for(&self, n_requests: usize) {
        let end = Instant::now() + LIMIT;
        while self.seen().heads.len() < n_requests {
            assert!(
                Instant::now() < end,
                "waited in vain for {n_requests} requests"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener so that it sees that.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Seen>, answer: &Answer) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some((head, body)) = read_request(&mut stream, &mut buffer)? {
        let body: Value = serde_json::from_slice(&body).unwrap();
        let n = {
            let mut seen = seen.lock().unwrap();
            seen.heads.push(head);
            seen.bodies.push(body.clone());
            seen.in_flight += 1;
            seen.most_in_flight = seen.most_in_flight.max(seen.in_flight);
            seen.heads.len() - 1
        };
        let steps = answer(n, &body);
        let n_steps = steps.len();
        let leave = || seen.lock().unwrap().in_flight -= 1;
        for (i, step) in steps.into_iter().enumerate() {
            if i + 1 == n_steps {
                // Before the last byte: the client may answer faster than this thread goes on.
                leave();
            }
            match step {
                Do::Send(bytes) => stream.write_all(&bytes)?,
                Do::Wait(time) => thread::sleep(time),
                Do::Close => return Ok(()),
            }
        }
    }
    Ok(())
}

fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut more = |buffer: &mut Vec<u8>| {
        let mut bytes = [0; 4096];
        let n = stream.read(&mut bytes)?;
        buffer.extend_from_slice(&bytes[..n]);
        Ok::<_, std::io::Error>(n > 0)
    };
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        if !more(buffer)? {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |value| value.parse().unwrap());
    let end = head_end + 4 + length;
    while buffer.len() < end {
        if !more(buffer)? {
            return Ok(None);
        }
    }
    let body = buffer[head_end + 4..end].to_vec();
    buffer.drain(..end);
    Ok(Some((head, body)))
}

/// An answer in one piece.
pub(crate) fn answer(status: &str, content_type: &str, body: &str) -> Do {
    let length = body.len();
    Do::Send(
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes(),
    )
}

pub(crate) fn json_answer(body: &str) -> Do {
    answer("200 OK", "application/json", body)
}

//! A server of a few lines that speaks just enough of the chat API and answers whatever a test says, byte by byte.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use workload::TextTokenizer;

/// The model that it names.
pub(crate) const MODEL: &str = "mock-model";
/// The tail of every measured prompt.
pub(crate) const SUFFIX: &str = "\n\nTell me a story.";

/// One thing an answer does.
#[derive(Debug, Clone)]
pub(crate) enum Do {
    Send(Vec<u8>),
    Wait(Duration),
    /// Ends the connection.
    Close,
    /// Ends the connection and takes no others.
    Die,
}

/// What the server saw.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// Heads of the POSTs, in order of arrival.
    pub(crate) heads: Vec<String>,
    /// Their bodies, as bytes.
    pub(crate) bodies: Vec<Vec<u8>>,
    /// When each had arrived, since the server started.
    pub(crate) at: Vec<Duration>,
    pub(crate) n_connections: usize,
}

impl Seen {
    pub(crate) fn json(&self, n: usize) -> Value {
        serde_json::from_slice(&self.bodies[n]).unwrap()
    }

    /// Prompts of the measured requests.
    pub(crate) fn prompts(&self) -> Vec<String> {
        (1..self.bodies.len())
            .map(|n| content(&self.json(n)))
            .collect()
    }
}

/// The text of a request's prompt.
pub(crate) fn content(body: &Value) -> String {
    body["messages"][0]["content"].as_str().unwrap().to_owned()
}

/// A measured request as a rule sees it.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    /// From 0, the unmeasured first one not counted.
    pub(crate) n: usize,
    /// Its body.
    pub(crate) body: &'a Value,
    /// Whether this prompt came before.
    pub(crate) is_known: bool,
}

impl Asked<'_> {
    /// Words of the prompt: about its tokens.
    pub(crate) fn n_words(&self) -> usize {
        content(self.body).split_whitespace().count()
    }
}

/// What to do with a request, by its number.
type Decide = dyn Fn(usize, &Value) -> Vec<Do> + Send + Sync;

/// A running server; stops taking connections when dropped.
pub(crate) struct Mock {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    stopped: Arc<AtomicBool>,
}

impl Mock {
    /// Answers measured requests by the rule; the first request of all, which the tool does not measure, at once.
    pub(crate) fn start(rule: impl Fn(&Asked<'_>) -> Vec<Do> + Send + Sync + 'static) -> Self {
        Self::start_with(Vec::new, rule)
    }

    /// The same, doing something else with the first request (nothing: answer it).
    pub(crate) fn start_with(
        first: impl Fn() -> Vec<Do> + Send + Sync + 'static,
        rule: impl Fn(&Asked<'_>) -> Vec<Do> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stopped = Arc::new(AtomicBool::new(false));
        let known = Mutex::new(HashSet::new());
        let decide = move |n: usize, body: &Value| {
            if n == 0 {
                let steps = first();
                return if steps.is_empty() {
                    stream(0.0, &["Hi"], Some(usage(body, None)))
                } else {
                    steps
                };
            }
            let is_known = !known.lock().unwrap().insert(content(body));
            rule(&Asked {
                n: n - 1,
                body,
                is_known,
            })
        };
        let decide: Arc<Decide> = Arc::new(decide);
        let started = std::time::Instant::now();
        {
            let (seen, stopped) = (Arc::clone(&seen), Arc::clone(&stopped));
            thread::spawn(move || {
                for client in listener.incoming() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    let (seen, stopped, decide) =
                        (Arc::clone(&seen), Arc::clone(&stopped), Arc::clone(&decide));
                    seen.lock().unwrap().n_connections += 1;
                    // A client that goes away ends its connection; no test cares how.
                    thread::spawn(move || {
                        serve(client.unwrap(), started, &seen, &stopped, &*decide).ok()
                    });
                }
            });
        }
        Self {
            address,
            seen,
            stopped,
        }
    }

    /// The server of the acceptance examples: 50 ms for prompts that it has not seen, 10 ms for others.
    pub(crate) fn caching() -> Self {
        Self::start(|asked| {
            let delay = if asked.is_known { 0.01 } else { 0.05 };
            stream(
                delay,
                &["Once", " upon", " a", " time"],
                Some(usage(asked.body, None)),
            )
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener so that it sees that.
        let _ = TcpStream::connect(self.address);
    }
}

/// A usage object that counts the prompt as the tool's built-in tokenizer does.
pub(crate) fn usage(body: &Value, cached: Option<u64>) -> Value {
    static TOKENIZER: LazyLock<TextTokenizer> =
        LazyLock::new(|| TextTokenizer::from_bytes(hub::builtin_tokenizer()).unwrap());
    let n = TOKENIZER.count(&content(body));
    let mut usage = json!({"prompt_tokens": n, "completion_tokens": 4, "total_tokens": n + 4});
    if let Some(cached) = cached {
        usage["prompt_tokens_details"] = json!({"cached_tokens": cached});
    }
    usage
}

/// A whole stream: a role chunk, then after `delay` seconds these texts, then usage.
pub(crate) fn stream(delay: f64, texts: &[&str], usage: Option<Value>) -> Vec<Do> {
    let delta =
        |delta: Value| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
    let mut steps = vec![
        Do::Send(STREAM_HEAD.into()),
        event(&delta(json!({"role": "assistant", "content": ""})).to_string()),
        Do::Wait(Duration::from_secs_f64(delay)),
    ];
    steps.extend(
        texts
            .iter()
            .map(|text| event(&delta(json!({"content": text})).to_string())),
    );
    if let Some(usage) = usage {
        steps.push(event(&json!({"choices": [], "usage": usage}).to_string()));
    }
    steps.push(event("[DONE]"));
    steps.push(Do::Send(b"0\r\n\r\n".to_vec()));
    steps
}

/// A whole stream of four tokens: the first after `first`, the others each after `gap`.
pub(crate) fn spaced(first: Duration, gap: Duration, usage: Option<Value>) -> Vec<Do> {
    let mut steps = stream(
        first.as_secs_f64(),
        &["Once", " upon", " a", " time"],
        usage,
    );
    // Behind the head, the role, the wait and the first token.
    for n in 0..3 {
        steps.insert(4 + 2 * n, Do::Wait(gap));
    }
    steps
}

/// Head of a stream.
pub(crate) const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// One event in a frame of its own.
pub(crate) fn event(data: &str) -> Do {
    let text = format!("data: {data}\n\n");
    Do::Send(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes())
}

/// An answer in one piece.
pub(crate) fn answer(status: &str, content_type: &str, body: &str) -> Do {
    let length = body.len();
    Do::Send(
        format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes(),
    )
}

/// A refusal as servers word it.
pub(crate) fn refusal(status: &str, message: &str) -> Vec<Do> {
    let body = json!({"error": {"message": message, "type": "BadRequestError"}});
    vec![answer(status, "application/json", &body.to_string())]
}

fn serve(
    mut client: TcpStream,
    started: std::time::Instant,
    seen: &Mutex<Seen>,
    stopped: &AtomicBool,
    decide: &Decide,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some((head, body)) = read_request(&mut client, &mut buffer)? {
        if stopped.load(Ordering::SeqCst) {
            return Ok(());
        }
        let steps = if head.starts_with("GET /v1/models ") {
            let models = json!({"object": "list", "data": [{"id": MODEL, "object": "model"}]});
            vec![answer("200 OK", "application/json", &models.to_string())]
        } else if head.starts_with("POST /v1/chat/completions ") {
            let n = {
                let mut seen = seen.lock().unwrap();
                seen.heads.push(head);
                seen.bodies.push(body.clone());
                seen.at.push(started.elapsed());
                seen.heads.len() - 1
            };
            decide(n, &serde_json::from_slice(&body).unwrap())
        } else {
            vec![answer("404 Not Found", "application/json", "{}")]
        };
        for step in steps {
            match step {
                Do::Send(bytes) => client.write_all(&bytes)?,
                Do::Wait(time) => thread::sleep(time),
                Do::Close => return Ok(()),
                Do::Die => {
                    stopped.store(true, Ordering::SeqCst);
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn read_request(
    client: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut more = |buffer: &mut Vec<u8>| {
        let mut bytes = [0; 4096];
        let n = client.read(&mut bytes)?;
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

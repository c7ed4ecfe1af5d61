//! A hub on a loopback port: answers what a test tells it to, and keeps what it was asked.
//!
//! One thread per connection, one request per connection, plain HTTP/1.1. Can cut an answer short and can stay silent.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A commit as the hub writes them.
pub(crate) const COMMIT: &str = "989aa7980e4cf806f80c7fef2b1adb7bc71aa306";
/// An etag as the hub writes them for small files.
pub(crate) const ETAG: &str = "443909a61d429dff23010e5bddd28ff530edda00";
/// A token that must appear nowhere but in one header.
pub(crate) const TOKEN: &str = "hf_VeryGeheimToken0123456789";
/// The path of the tokenizer of `org/name`.
pub(crate) const PATH: &str = "/org/name/resolve/main/tokenizer.json";
/// A small tokenizer file.
pub(crate) const BODY: &[u8] =
    br#"{"version":"1.0","model":{"type":"BPE","vocab":{"a":0},"merges":[]}}"#;

/// One request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    headers: Vec<(String, String)>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// One answer to send.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    announced: Option<usize>,
    silent: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: &[u8]) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.to_vec(),
            announced: Some(body.len()),
            silent: false,
        }
    }

    /// The file as the hub sends it.
    pub(crate) fn file(body: &[u8]) -> Self {
        Self::new(200, body)
            .with("X-Repo-Commit", COMMIT)
            .with("ETag", &format!("\"{ETAG}\""))
    }

    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        Self::new(status, b"moved").with("Location", location)
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Announces the whole body and sends only the first `sent` bytes.
    pub(crate) fn cut_after(mut self, sent: usize) -> Self {
        self.body.truncate(sent);
        self
    }

    /// Announces no length: the body ends with the connection.
    pub(crate) fn without_length(mut self) -> Self {
        self.announced = None;
        self
    }

    /// Takes the request and never answers.
    pub(crate) fn silence() -> Self {
        Self {
            silent: true,
            ..Self::new(200, b"")
        }
    }
}

type Script = dyn Fn(&Asked, usize) -> Answer + Send + Sync;

/// The hub itself; stops listening when dropped.
pub(crate) struct FakeHub {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl FakeHub {
    /// Starts a hub that answers by this script, called with the request and the number of requests before it.
    pub(crate) fn start(script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let script: Arc<Script> = Arc::new(script);
        let thread = {
            let (asked, stop) = (Arc::clone(&asked), Arc::clone(&stop));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let (asked, stop, script) =
                        (Arc::clone(&asked), Arc::clone(&stop), Arc::clone(&script));
                    std::thread::spawn(move || serve(stream, &asked, &stop, &*script));
                }
            })
        };
        Self {
            address,
            asked,
            stop,
            listener: Some(thread),
        }
    }

    /// A hub that always gives the same answer.
    pub(crate) fn always(answer: Answer) -> Self {
        Self::start(move |_, _| answer.clone())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same server under another name, which makes it another origin.
    pub(crate) fn url_by_name(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// Everything asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn serve(mut stream: TcpStream, asked: &Mutex<Vec<Asked>>, stop: &AtomicBool, script: &Script) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = lines
        .by_ref()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect();
    let request = Asked { path, headers };
    let before = {
        let mut asked = asked.lock().unwrap();
        asked.push(request.clone());
        asked.len() - 1
    };
    let answer = script(&request, before);
    if answer.silent {
        // Real time: the client's own limit is what is under test, and it ends this connection from the other side.
        while !stop.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
        return;
    }
    let mut head = format!("HTTP/1.1 {} Text\r\nConnection: close\r\n", answer.status);
    if let Some(length) = answer.announced {
        head += &format!("Content-Length: {length}\r\n");
    }
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    // The client may be gone already, which is its right.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&answer.body))
        .and_then(|()| stream.flush());
}

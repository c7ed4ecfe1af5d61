//! A small blocking HTTP/1.1 client that shows what came over the wire, frame by frame.
#![allow(
    dead_code,
    reason = "each test binary uses its own part of this module; expect would fail in the others"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Nothing in these tests takes so long; a hang becomes a failure.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The chunks of a chunked body, or the whole body.
    pub(crate) frames: Vec<Vec<u8>>,
    /// Whether the body came to its regular end.
    pub(crate) complete: bool,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn body(&self) -> String {
        String::from_utf8(self.frames.concat()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body())
            .unwrap_or_else(|error| panic!("{error} in {}", self.body()))
    }

    /// The data of all events, whatever frames they came in.
    pub(crate) fn events(&self) -> Vec<String> {
        let body = self.body();
        let events = body.split("\n\n").filter(|event| !event.is_empty());
        events
            .map(|event| event.strip_prefix("data: ").expect(event).to_owned())
            .collect()
    }

    /// The events' JSON, without `[DONE]`.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        let events = self.events();
        let json = events.iter().filter(|event| *event != "[DONE]");
        json.map(|event| serde_json::from_str(event).unwrap())
            .collect()
    }

    /// The text of all chunks.
    pub(crate) fn text(&self) -> String {
        let chunks = self.chunks();
        let piece = |chunk: &Value| {
            let choice = &chunk["choices"][0];
            choice["delta"]["content"]
                .as_str()
                .or(choice["text"].as_str())
                .unwrap_or("")
                .to_owned()
        };
        chunks.iter().map(piece).collect()
    }
}

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Why the last request could not be written whole: a server may reset a connection before it has read the request.
    unsent: Option<ErrorKind>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).unwrap())
    }

    /// A connection over which a request was sent already.
    pub(crate) fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
            unsent: None,
        }
    }

    pub(crate) fn set_patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).unwrap();
    }

    /// Sends a request; that it could not be written is what [`Self::reply`] says then.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: sim\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let request = format!("{head}\r\n{body}");
        self.unsent = self
            .stream
            .write_all(request.as_bytes())
            .err()
            .map(|error| error.kind());
    }

    /// Reads more bytes; the error's kind if there are none.
    fn fill(&mut self) -> Result<(), ErrorKind> {
        let mut bytes = [0; 64 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(ErrorKind::UnexpectedEof),
            Ok(n) => {
                self.buffer.extend_from_slice(&bytes[..n]);
                Ok(())
            }
            Err(error) => Err(error.kind()),
        }
    }

    fn line(&mut self) -> Result<String, ErrorKind> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
                self.buffer.drain(..end + 2);
                return Ok(line);
            }
            self.fill()?;
        }
    }

    fn exactly(&mut self, n: usize) -> Result<Vec<u8>, ErrorKind> {
        while self.buffer.len() < n {
            self.fill()?;
        }
        Ok(self.buffer.drain(..n).collect())
    }

    /// Reads one reply; an error if not even its head came, or if the request could not be sent.
    pub(crate) fn reply(&mut self) -> Result<Reply, ErrorKind> {
        if let Some(error) = self.unsent {
            return Err(error);
        }
        let status = self.line()?.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut reply = Reply {
            status,
            headers,
            frames: Vec::new(),
            complete: false,
        };
        if let Some(length) = reply
            .header("content-length")
            .map(|length| length.parse().unwrap())
        {
            if let Ok(body) = self.exactly(length) {
                reply.frames.push(body);
                reply.complete = true;
            }
            return Ok(reply);
        }
        while let Ok(size) = self.line() {
            let size = usize::from_str_radix(&size, 16).unwrap();
            let Ok(frame) = self.exactly(size + 2) else {
                break;
            };
            if size == 0 {
                reply.complete = true;
                break;
            }
            reply.frames.push(frame[..size].to_vec());
        }
        Ok(reply)
    }
}

/// One request on a connection of its own.
pub(crate) fn call(address: SocketAddr, method: &str, path: &str, body: &str) -> Reply {
    let mut client = Client::connect(address);
    client.send(method, path, &[], body);
    client.reply().unwrap()
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Reply {
    call(address, "GET", path, "")
}

pub(crate) fn post(address: SocketAddr, path: &str, body: &Value) -> Reply {
    call(address, "POST", path, &body.to_string())
}

//! The least that a client of the same job can do: system calls, frames split, nothing interpreted.
//!
//! One thread, one epoll, one receive buffer for all sockets. A request is written in one call; what
//! arrives is stamped once per read and searched for ends of events; an event counts as output when it
//! holds the text that our null server writes before a token. It runs as a process of its own, so that its
//! processor time is read the same way as the tool's.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use memchr::memmem;
use rustix::event::{Timespec, epoll};

use crate::job::{Job, Measured};

/// As the tool: the first fill is spread over at most a tenth of the window, by at most 10 ms.
const SPACING: Duration = Duration::from_millis(10);

struct Stream {
    socket: TcpStream,
    /// End of an event that began in an earlier read.
    kept: Vec<u8>,
    number: usize,
    sent: Instant,
    /// Arrival of every output event.
    arrivals: Vec<Instant>,
}

/// Runs the job and prints the processor seconds that it took, then one line per finished request: id, TTFT in seconds,
/// arrivals relative to the first in seconds.
pub(crate) fn run(address: SocketAddr, job: &Job) -> io::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut streams = Vec::with_capacity(job.level);
    for i in 0..job.level {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        epoll::add(
            &epoll,
            socket.as_fd(),
            epoll::EventData::new_u64(i as u64),
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        streams.push(Stream {
            socket,
            kept: Vec::new(),
            number: 0,
            sent: Instant::now(),
            arrivals: Vec::new(),
        });
    }
    let prompt = "the river of stone keeps its course ".repeat(job.prompt_bytes.div_ceil(36));
    let body = format!(
        "{{\"model\":\"null\",\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}],\"max_tokens\":{},\
         \"temperature\":0,\"stream\":true}}",
        &prompt[..job.prompt_bytes],
        job.tokens
    );
    let started = Instant::now();
    let end = started + job.window;
    let spacing = SPACING.min(job.window / 10 / u32::try_from(job.level).unwrap_or(u32::MAX));
    let mut due: BinaryHeap<Reverse<(Instant, usize)>> = (0..job.level)
        .map(|i| Reverse((started + spacing * i as u32, i)))
        .collect();
    let mut buffer = vec![0; 64 << 10];
    let mut events = Vec::with_capacity(1024);
    let mut n_sent = 0;
    let mut in_flight = 0_usize;
    let mut measured = Vec::new();
    loop {
        let now = Instant::now();
        while let Some(Reverse((at, i))) = due.peek().copied()
            && at <= now
            && now < end
        {
            due.pop();
            let stream = &mut streams[i];
            stream.number = n_sent;
            n_sent += 1;
            stream.arrivals = Vec::with_capacity(job.tokens as usize);
            stream.sent = Instant::now();
            send(&mut stream.socket, &body, stream.number)?;
            in_flight += 1;
        }
        if now >= end && in_flight == 0 {
            break;
        }
        if now >= end + job.patience() {
            break;
        }
        let wait = match due.peek() {
            Some(Reverse((at, _))) if now < end => at.saturating_duration_since(now),
            _ => Duration::from_millis(100),
        };
        let wait = Timespec {
            tv_sec: wait.as_secs() as i64,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        events.clear();
        epoll::wait(
            &epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&wait),
        )?;
        for event in &events {
            let i = event.data.u64() as usize;
            let stream = &mut streams[i];
            loop {
                let n = match stream.socket.read(&mut buffer) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(n) => n,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e),
                };
                let at = Instant::now();
                if stream.take(&buffer[..n], at) {
                    in_flight -= 1;
                    measured.push(stream.measured());
                    due.push(Reverse((at, i)));
                }
                if n < buffer.len() {
                    break;
                }
            }
        }
    }
    // Printing is not the client's work.
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let mut out = io::BufWriter::new(io::stdout().lock());
    writeln!(out, "{}.{:09}", cpu.tv_sec, cpu.tv_nsec)?;
    for one in &measured {
        one.write(&mut out)?;
    }
    out.flush()
}

fn send(socket: &mut TcpStream, body: &str, number: usize) -> io::Result<()> {
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: null\r\ncontent-type: application/json\r\n\
         x-request-id: floor_{number}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut rest = request.as_bytes();
    while !rest.is_empty() {
        match socket.write(rest) {
            Ok(n) => rest = &rest[n..],
            // A full send buffer; the server is reading.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

impl Stream {
    /// Splits a read into events. True when it held the end of the answer.
    fn take(&mut self, bytes: &[u8], at: Instant) -> bool {
        let mut is_done = false;
        let mut rest = bytes;
        if !self.kept.is_empty() {
            let Some(end) = memmem::find(rest, b"\n\n") else {
                self.kept.extend_from_slice(rest);
                return false;
            };
            self.kept.extend_from_slice(&rest[..end]);
            let event = std::mem::take(&mut self.kept);
            is_done |= self.event(&event, at);
            self.kept = event;
            self.kept.clear();
            rest = &rest[end + 2..];
        }
        while let Some(end) = memmem::find(rest, b"\n\n") {
            is_done |= self.event(&rest[..end], at);
            rest = &rest[end + 2..];
        }
        if !is_done {
            self.kept.extend_from_slice(rest);
        }
        is_done
    }

    fn event(&mut self, event: &[u8], at: Instant) -> bool {
        const TEXT: &[u8] = b"\"content\":\"";
        if let Some(text) = memmem::find(event, TEXT)
            && event.get(text + TEXT.len()).is_some_and(|b| *b != b'"')
        {
            self.arrivals.push(at);
        }
        event.ends_with(b"[DONE]")
    }

    fn measured(&mut self) -> Measured {
        let arrivals = std::mem::take(&mut self.arrivals);
        let first = arrivals.first().copied().unwrap_or(self.sent);
        Measured {
            id: format!("floor_{}", self.number),
            ttft: (first - self.sent).as_secs_f64(),
            arrivals: arrivals
                .iter()
                .map(|at| (*at - first).as_secs_f64())
                .collect(),
        }
    }
}

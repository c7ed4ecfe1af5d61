//! How many streamed chunks a second the server writes on one core, and how late it writes them.
//!
//! `cargo bench -p sim --bench streams [-- flat|2000|5000 ...]`. The server runs on a thread bound to core 0, the
//! client on one bound to core 1, connected over loopback, one HTTP/1.1 connection per stream. What is reported:
//!
//! * chunks per second of wall time, as the client received them, and per CPU second of the server's thread;
//! * writes to sockets per chunk (from the server's own counter; headers and ends are writes too);
//! * for paced streams, how long after its due time each chunk was handed to its socket, by the server's own
//!   account (percentiles at most an eighth too high), and how long after it the client had read it. Due times are
//!   the model's own, from the requests' records;
//! * resident memory that the streams added, per stream, the client's part included.
//!
//! These are measurements, not checks: nothing fails here.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::cell::{Cell, RefCell};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use memchr::memmem;
use rustix::thread::{CpuSet, sched_setaffinity};
use sim::model::{ServiceModel, StepCosts};
use sim::{SimConfig, SimService, serve_service};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// The core that the server has for itself.
const SERVER_CORE: usize = 0;
/// The client's.
const CLIENT_CORE: usize = 1;

/// One measurement.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    streams: usize,
    tokens: u32,
    load: Load,
}

#[derive(Clone, Copy)]
enum Load {
    /// The batching engine with steps so short that it is never what one waits for.
    FlatOut,
    /// One token each so many milliseconds; starts are spread evenly over so many of them, and so that at any
    /// later time the next tokens of all streams are due evenly spread over the gap.
    Paced { gap_ms: u64, ramp_ms: u64 },
}

const SCENARIOS: [Scenario; 3] = [
    Scenario {
        name: "flat",
        streams: 64,
        tokens: 20_000,
        load: Load::FlatOut,
    },
    Scenario {
        name: "2000",
        streams: 2_000,
        tokens: 500,
        load: Load::Paced {
            gap_ms: 20,
            ramp_ms: 4_000,
        },
    },
    Scenario {
        name: "5000",
        streams: 5_000,
        tokens: 300,
        load: Load::Paced {
            gap_ms: 50,
            ramp_ms: 7_500,
        },
    },
];

fn main() {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let pinned = bind_to(CLIENT_CORE);
    if !pinned {
        println!("cannot bind threads to cores: figures are of whatever cores were free");
    }
    for scenario in SCENARIOS {
        if named.is_empty() || named.iter().any(|name| name == scenario.name) {
            measure(scenario);
        }
    }
}

/// The client's side of a run.
#[derive(Default)]
struct Received {
    /// Chunks with a token.
    chunks: u64,
    /// Reads that brought any.
    reads: u64,
    /// Per stream, when the reads came and how many chunks of the stream had come by then.
    stamps: Vec<Vec<(Instant, u32)>>,
}

fn measure(scenario: Scenario) {
    let server = Server::start(config(scenario));
    let memory_before = resident_bytes();
    let runtime = runtime();
    let peak = Rc::new(Cell::new(0));
    let (received, first, last) = runtime.block_on(tokio::task::LocalSet::new().run_until(run(
        scenario,
        server.address,
        Rc::clone(&peak),
    )));
    let seconds = (last - first).as_secs_f64();
    let (cpu, delayed) = server.cpu_times();
    let cpu = cpu.as_secs_f64();
    let stats = runtime
        .block_on(server.service.stats())
        .expect("the server runs until it is stopped");
    let tokens = u64::from(scenario.tokens) * scenario.streams as u64;
    assert_eq!(
        (received.chunks, stats.generation_tokens),
        (tokens, tokens),
        "chunks were lost"
    );
    println!(
        "{}: {} streams of {} tokens",
        scenario.name, scenario.streams, scenario.tokens
    );
    println!(
        "  {:>9.0} chunks/s over {seconds:.1} s; {:.0} per CPU second of the server, which was busy {:.0} % of the time",
        tokens as f64 / seconds,
        tokens as f64 / cpu,
        100.0 * cpu / seconds
    );
    println!(
        "  its thread waited {:.2} s for its core, which others used meanwhile",
        delayed.as_secs_f64()
    );
    println!(
        "  {:.3} socket writes per chunk; {:.3} reads per chunk",
        server.service.socket_writes() as f64 / tokens as f64,
        received.reads as f64 / tokens as f64
    );
    if let Load::Paced { gap_ms, .. } = scenario.load {
        print_lateness(&server, &received, Duration::from_millis(gap_ms));
    }
    let added = peak.get().saturating_sub(memory_before) as f64;
    println!(
        "  {:.1} KiB of memory per stream at the peak, client included",
        added / 1024.0 / scenario.streams as f64
    );
    server.stop();
}

fn config(scenario: Scenario) -> SimConfig {
    let mut config = SimConfig::demo();
    config.engine.max_num_seqs = scenario.streams;
    config.record.requests = scenario.streams;
    config.engine.tiers[0].capacity = kvcalc::TokenCount(1 << 24);
    config.engine.service = match scenario.load {
        Load::FlatOut => ServiceModel::Batching(StepCosts {
            base: 20e-6,
            per_decode_seq: 0.0,
            per_decode_context: 0.0,
            per_prefill_token: 0.0,
            per_attended_pair: 0.0,
        }),
        Load::Paced { gap_ms, .. } => ServiceModel::Linear {
            per_active: Duration::ZERO,
            per_token: Duration::from_millis(gap_ms),
        },
    };
    config
}

/// Runs all streams; gives what came, and when the first and the last chunk came.
async fn run(
    scenario: Scenario,
    address: SocketAddr,
    peak: Rc<Cell<usize>>,
) -> (Received, Instant, Instant) {
    let received = Rc::new(RefCell::new(Received {
        stamps: vec![Vec::new(); scenario.streams],
        ..Received::default()
    }));
    // The client looks for what has come a few thousand times a second and never waits for a socket: waking it
    // for every chunk would be the dearest part of a write.
    let looking = tokio::task::spawn_local(async {
        loop {
            thread::sleep(Duration::from_micros(50));
            tokio::task::yield_now().await;
        }
    });
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for (index, start) in starts(scenario).into_iter().enumerate() {
        // More exact than a timer, and the core is awake anyway.
        while begun.elapsed() < start {
            tokio::task::yield_now().await;
        }
        let stream = connect(address).await;
        let received = Rc::clone(&received);
        tasks.push(tokio::task::spawn_local(one_stream(
            stream, index, scenario, received,
        )));
    }
    peak.set(resident_bytes());
    for task in tasks {
        task.await.expect("a stream failed");
    }
    looking.abort();
    let received = received.take();
    let all = || received.stamps.iter().flatten().map(|(at, _)| *at);
    let first = all().min().expect("chunks came");
    let last = all().max().expect("chunks came");
    (received, first, last)
}

/// When the streams start, in order.
fn starts(scenario: Scenario) -> Vec<Duration> {
    let n = scenario.streams;
    let Load::Paced { gap_ms, ramp_ms } = scenario.load else {
        return vec![Duration::ZERO; n];
    };
    // Multiples of the golden ratio fill an interval more evenly than chance does.
    let seconds = (0..n).map(|i| {
        let phase = (i as f64 * 0.618_033_988_75).fract();
        (ramp_ms as f64 * i as f64 / n as f64 + gap_ms as f64 * phase) / 1e3
    });
    let mut starts: Vec<_> = seconds.map(Duration::from_secs_f64).collect();
    starts.sort();
    starts
}

async fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket is to be had");
    socket.connect(address).await.expect("the server listens")
}

async fn one_stream(
    mut stream: TcpStream,
    index: usize,
    scenario: Scenario,
    received: Rc<RefCell<Received>>,
) {
    let body = format!(
        r#"{{"prompt":[{index},2,3,4],"max_tokens":{},"stream":true}}"#,
        scenario.tokens
    );
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: sim\r\nx-request-id: {index}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all(format!("{head}{body}").as_bytes())
        .await
        .expect("the server reads");
    let text = memmem::Finder::new("\"text\":");
    // Long enough for what comes between two looks; a token's mark that spans two reads is joined here.
    let mut buffer = vec![0; 4 << 10];
    let mut kept = 0;
    let mut chunks = 0;
    loop {
        stream.readable().await.expect("the socket lives");
        let n = match stream.try_read(&mut buffer[kept..]) {
            Ok(0) => panic!("the server closed a stream after {chunks} chunks"),
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => panic!("{error}"),
        };
        let now = Instant::now();
        let filled = kept + n;
        let mut end_of_last = 0;
        let mut new = 0;
        for at in text.find_iter(&buffer[..filled]) {
            new += 1;
            end_of_last = at + 7;
        }
        if new > 0 {
            chunks += new;
            let mut received = received.borrow_mut();
            received.chunks += u64::from(new);
            received.reads += 1;
            received.stamps[index].push((now, chunks));
        }
        if memmem::find(&buffer[..filled], b"[DONE]").is_some() {
            return;
        }
        let from = end_of_last.max(filled.saturating_sub(6));
        buffer.copy_within(from..filled, 0);
        kept = filled - from;
    }
}

/// Compares when chunks came with when the model says that they were due.
fn print_lateness(server: &Server, received: &Received, gap: Duration) {
    let mut late = Vec::new();
    for record in server.service.requests() {
        let index: usize = record
            .request_id
            .as_deref()
            .and_then(|id| id.parse().ok())
            .expect("every request has the number of its stream");
        let first_due = server.origin
            + Duration::from_secs_f64(record.arrival_s + record.ttft_s.expect("it is done"));
        let mut known = 0;
        for (at, chunks) in &received.stamps[index] {
            for k in known..*chunks {
                late.push((*at - (first_due + gap * k)).as_secs_f64() * 1e3);
            }
            known = *chunks;
        }
    }
    let written = server.service.lateness();
    let ms = |late: Option<Duration>| late.map_or(f64::NAN, |late| late.as_secs_f64() * 1e3);
    println!(
        "  written after it was due: median {:.2} ms, p99 {:.2} ms, worst {:.2} ms",
        ms(written.p50),
        ms(written.p99),
        ms(written.max)
    );
    late.sort_by(f64::total_cmp);
    let share = |p: f64| late[((late.len() - 1) as f64 * p) as usize];
    println!(
        "  received after it was due: median {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, worst {:.2} ms; first {:.3} ms early at most",
        share(0.5),
        share(0.9),
        share(0.99),
        share(0.999),
        share(1.0),
        -late[0].min(0.0)
    );
}

// --- the server's thread ------------------------------------------------------------------------

struct Server {
    address: SocketAddr,
    service: SimService,
    /// The service's time zero.
    origin: Instant,
    task: String,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Server {
    fn start(config: SimConfig) -> Self {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let serving = move || {
            bind_to(SERVER_CORE);
            let task = fs::read_link("/proc/thread-self")
                .map(|path| path.display().to_string())
                .unwrap_or_default();
            runtime().block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                    .await
                    .expect("a free port");
                let address = listener.local_addr().expect("it is bound");
                let service = SimService::in_real_time(config).expect("the configuration is sound");
                let origin = Instant::now() - service.now();
                tell.send((address, service.clone(), origin, task))
                    .expect("the client waits");
                serve_service(listener, service, async {
                    // Either way it is time to stop.
                    let _ = stopped.await;
                })
                .await;
            });
        };
        // Named, so that it can be found and given a priority of its own on a busy machine.
        let thread = thread::Builder::new()
            .name("sim-server".to_owned())
            .spawn(serving)
            .expect("a thread is to be had");
        let (address, service, origin, task) = told.recv().expect("the server started");
        Self {
            address,
            service,
            origin,
            task,
            stop,
            thread,
        }
    }

    /// CPU time of the server's thread so far, and the time for which it could have run but its core was taken;
    /// zero where the system does not say.
    fn cpu_times(&self) -> (Duration, Duration) {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.task)).unwrap_or_default();
        let mut nanoseconds = text
            .split_ascii_whitespace()
            .map(|field| Duration::from_nanos(field.parse().unwrap_or_default()));
        let mut next = || nanoseconds.next().unwrap_or_default();
        (next(), next())
    }

    fn stop(self) {
        self.stop.send(()).expect("the server still runs");
        self.thread.join().expect("the server ended in order");
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn bind_to(core: usize) -> bool {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).is_ok()
}

/// Resident memory of this process.
fn resident_bytes() -> usize {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * 4096
}

//! A client as a process of its own, bound to its core, with what the system says it used.

use std::fs;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use core_client::null_server::NullServer;
use rustix::thread::{CpuSet, sched_setaffinity};

/// Ticks of `/proc/PID/stat` a second; the same on every Linux that we know of.
const TICKS_PER_SECOND: f64 = 100.0;

/// Core of the server and of this process.
pub(crate) const SERVER_CORE: usize = 0;
/// Core of the client under test.
pub(crate) const CLIENT_CORE: usize = 1;

/// Binds the calling thread; what it starts afterwards inherits that.
pub(crate) fn bind_to(core: usize) -> bool {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).is_ok()
}

/// How long a client may take to its first request and be left alone; from then on it is watched.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// What a client used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    /// Processor seconds from the first request on, the process's end included.
    pub(crate) cpu: f64,
    /// Processor seconds of the whole process.
    pub(crate) cpu_in_all: f64,
    /// Just before it was started.
    pub(crate) started: Instant,
    /// Most memory, bytes.
    pub(crate) peak_rss: u64,
}

/// Runs a client to its end while watching it.
pub(crate) fn run(mut command: Command, server: &NullServer) -> io::Result<(ExitStatus, Used)> {
    let started = Instant::now();
    let mut child = thread::spawn(move || {
        bind_to(CLIENT_CORE);
        command.spawn()
    })
    .join()
    .map_err(|_| io::Error::other("the thread that starts the client has panicked"))??;
    let used = watch(&child, server, started);
    let status = child.wait()?;
    if status.success() && server.counts().requests() == 0 {
        return Err(io::Error::other("the client ended without a request"));
    }
    used.map(|used| (status, used))
}

fn watch(child: &Child, server: &NullServer, started: Instant) -> io::Result<Used> {
    // Nobody asks the system about a client that is starting: the answers would be part of its start.
    while server.counts().requests() == 0 && started.elapsed() < START_PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
    let mut before_first = None;
    let mut peak_rss = 0;
    loop {
        let (state, cpu) = stat(child.id())?;
        if before_first.is_none() && server.counts().requests() > 0 {
            before_first = Some(cpu);
        }
        if state == 'Z' {
            return Ok(Used {
                cpu: cpu - before_first.unwrap_or(cpu),
                cpu_in_all: cpu,
                started,
                peak_rss,
            });
        }
        peak_rss = peak_rss.max(memory(child.id(), "VmHWM:"));
        thread::sleep(Duration::from_millis(50));
    }
}

/// State and processor seconds of a process, also of one that has ended and was not waited for.
fn stat(pid: u32) -> io::Result<(char, f64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name stands in brackets and may hold anything; fields are counted behind it.
    let fields: Vec<&str> = text
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split(' ').collect())
        .unwrap_or_default();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok());
    let state = fields.first().and_then(|f| f.chars().next());
    match (state, ticks(11), ticks(12)) {
        (Some(state), Some(user), Some(system)) => Ok((state, (user + system) / TICKS_PER_SECOND)),
        _ => Err(io::Error::other(
            "/proc/PID/stat reads otherwise than known",
        )),
    }
}

/// Resident memory in bytes by its name in `/proc/PID/status`: `VmRSS:` now, `VmHWM:` at most; 0 when the process has
/// ended.
pub(crate) fn memory(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

//! The OpenAI-compatible HTTP server: HTTP/1.1 and HTTP/2 on one port, over TLS if the configuration has a
//! certificate.
//!
//! Promises: [`serve`] takes its listener and the future that stops it, so that tests bind port 0 and stop at
//! will; [`listen`] makes one that a burst of clients does not overrun. On stop it takes no new connection, lets running requests finish for [`GRACE`], then drops them.
//! Every token is a frame of its own. What is reported (usage, metrics, truth) comes from the model alone.
//!
//! Refuses: authentication beyond one key, and anything that a client could use to change the model.

mod api;
mod body;
mod chunk;
mod connection;
mod metrics;
mod response;
mod route;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::SimConfig;
use crate::fault::{FaultKind, FaultScope};
use crate::record::ReceivedRequest;
use crate::service::{ServiceError, SimService};
use route::ServerState;

/// How long running requests may go on after the server was asked to stop.
pub const GRACE: Duration = Duration::from_secs(2);

/// Pause after a failed accept: the usual cause is too many open files, and asking again at once burns the CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that may wait to be accepted. Beyond the system's own limit (Linux: 4096) that one counts; the
/// usual 128 of a library would leave a burst of clients waiting a second for the repetition of their SYN, which
/// they would measure as the server's.
const BACKLOG: u32 = 65_535;

/// A server that could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// No socket, thread or runtime.
    #[error("cannot start the server: {0}")]
    Io(#[from] io::Error),
}

/// Listens on the first address of `host` (an address or a name) that can be had; port 0 takes a free one.
///
/// # Errors
/// If the name has no address, or none of its addresses can be listened on.
pub async fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut failure = None;
    for address in lookup_host((host, port)).await? {
        match listen_at(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it has no address")))
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // As the standard library does: a port is free again as soon as its last server has ended.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves a simulator made from `config` on `listener` until `shutdown` completes.
///
/// # Errors
/// [`ServeError::Service`] if the configuration makes no sense.
pub async fn serve(
    listener: TcpListener,
    config: SimConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let service = SimService::in_real_time(config)?;
    serve_service(listener, service, shutdown).await;
    Ok(())
}

/// Serves an existing simulator, whose records the caller can go on reading, until `shutdown` completes.
pub async fn serve_service(
    listener: TcpListener,
    service: SimService,
    shutdown: impl Future<Output = ()>,
) {
    let state = Arc::new(ServerState::new(service));
    let stop = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut door = Door::Open(listener);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            stream = door.next() => {
                let fault = state.draw_fault(FaultScope::Connections);
                if let Some(FaultKind::Refuse(pause)) = fault {
                    door.close(stream, pause);
                } else {
                    let run = connection::run(stream, Arc::clone(&state), fault, stop.clone());
                    connections.spawn(run);
                }
            }
        }
    }
    drop(door);
    stop.cancel();
    // Whatever is left after the grace period is dropped with the set.
    let _ = tokio::time::timeout(GRACE, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
}

/// The listening socket, which [`FaultKind::Refuse`] closes for a time.
enum Door {
    Open(TcpListener),
    Closed { address: SocketAddr, until: Instant },
}

impl Door {
    /// The next connection. Loses none when it is dropped half-way.
    async fn next(&mut self) -> TcpStream {
        loop {
            match self {
                Self::Open(listener) => match listener.accept().await {
                    Ok((stream, _)) => return stream,
                    Err(error) => {
                        tracing::warn!("cannot accept a connection: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Self::Closed { address, until } => {
                    tokio::time::sleep_until(*until).await;
                    match listen_at(*address) {
                        Ok(listener) => *self = Self::Open(listener),
                        Err(error) => {
                            tracing::warn!("cannot listen on {address} again: {error}");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            }
        }
    }

    /// Resets this connection and those that were not taken yet, and refuses others for so long.
    fn close(&mut self, stream: TcpStream, pause: Duration) {
        if let Err(error) = stream.set_zero_linger() {
            tracing::warn!("cannot reset a connection: {error}");
        }
        match stream.local_addr() {
            Ok(local) => {
                let address = match self {
                    Self::Open(listener) => listener.local_addr().unwrap_or(local),
                    Self::Closed { address, .. } => *address,
                };
                let until = Instant::now() + pause;
                *self = Self::Closed { address, until };
            }
            Err(error) => tracing::warn!("cannot tell where to listen again: {error}"),
        }
    }
}

/// A server on a thread of its own, for tests whose client blocks or has a runtime of its own.
///
/// Listens on a free loopback port; stops when dropped, at once.
#[derive(Debug)]
pub struct Background {
    address: SocketAddr,
    service: SimService,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Background {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn start(config: SimConfig) -> Result<Self, ServeError> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // Made here, so that a bad configuration is the caller's error and not a dead thread's.
        let (service, listener) = runtime.block_on(async {
            Ok::<_, ServeError>((
                SimService::in_real_time(config)?,
                listen("127.0.0.1", 0).await?,
            ))
        })?;
        let address = listener.local_addr()?;
        let served = service.clone();
        let thread = thread::Builder::new()
            .name("kv_cache_sim".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = serve_service(listener, served, std::future::pending()) => {}
                        () = stopped.cancelled() => {}
                    }
                });
            })?;
        Ok(Self {
            address,
            service,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, or `https://…` if the server has a certificate.
    #[must_use]
    pub fn url(&self) -> String {
        let tls = self.service.config().tls.is_some();
        format!("{}://{}", if tls { "https" } else { "http" }, self.address)
    }

    /// The requests received, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.service.requests()
    }

    /// The requests for generated text received, oldest first.
    #[must_use]
    pub fn generations(&self) -> Vec<ReceivedRequest> {
        let mut requests = self.requests();
        requests.retain(|request| {
            request.path.ends_with("/completions") || request.path == "/generate"
        });
        requests
    }

    /// The service behind it; its async methods may be awaited from any runtime.
    #[must_use]
    pub fn service(&self) -> &SimService {
        &self.service
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic of the server's thread was printed where it happened.
            let _ = thread.join();
        }
    }
}

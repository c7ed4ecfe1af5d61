//! The OpenAI-compatible HTTP server: HTTP/1.1 and HTTP/2 (prior knowledge) on one port.
//!
//! Promises: [`serve`] takes its listener and the future that stops it, so that tests bind port 0 and stop at
//! will. On stop it takes no new connection, lets running requests finish for [`GRACE`], then drops them.
//! Every token is a frame of its own. What is reported (usage, metrics, truth) comes from the model alone.
//!
//! Refuses: TLS, authentication beyond one key, and anything that a client could use to change the model.

mod api;
mod body;
mod chunk;
mod connection;
mod metrics;
mod response;
mod route;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::SimConfig;
use crate::record::ReceivedRequest;
use crate::service::{ServiceError, SimService};
use route::ServerState;

/// How long running requests may go on after the server was asked to stop.
pub const GRACE: Duration = Duration::from_secs(2);

/// Pause after a failed accept: the usual cause is too many open files, and asking again at once burns the CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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

/// Serves a simulator made from `config` on `listener` until `shutdown` completes.
///
/// # Errors
/// [`ServeError::Service`] if the configuration makes no sense.
pub async fn serve(
    listener: TcpListener,
    config: SimConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let service = SimService::new(config)?;
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
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection::run(stream, Arc::clone(&state), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    stop.cancel();
    // Whatever is left after the grace period is dropped with the set.
    let _ = tokio::time::timeout(GRACE, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
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
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // Made here, so that a bad configuration is the caller's error and not a dead thread's.
        let (service, listener) = runtime.block_on(async {
            Ok::<_, ServeError>((SimService::new(config)?, TcpListener::from_std(listener)?))
        })?;
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

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
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

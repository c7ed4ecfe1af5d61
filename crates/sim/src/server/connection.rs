//! One TCP connection: hyper on top, TLS perhaps, and below them the means to end it rudely.
//!
//! Promises: a client that goes away drops its requests; a fault can leave the connection alone for a while,
//! close it, or reset it before any byte of an answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::route::{self, ServerState};
use crate::fault::FaultKind;

/// Streams on one HTTP/2 connection. Hyper's default of 200 would queue requests before the simulator sees them.
const H2_STREAMS: u32 = 100_000;

/// Longest time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// How a handler ends its own connection.
#[derive(Debug, Default)]
pub(super) struct Ending {
    asked: Notify,
    reset: AtomicBool,
}

impl Ending {
    /// Ends the connection before anything else is written: by a reset, or by closing it.
    pub(super) fn end(&self, reset: bool) {
        self.reset.store(reset, Ordering::Relaxed);
        self.asked.notify_one();
    }
}

/// The socket. When dropped after a reset was asked for, it sends RST instead of FIN.
struct Socket {
    stream: TcpStream,
    ending: Arc<Ending>,
    state: Arc<ServerState>,
}

impl Socket {
    fn count(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(_))) {
            self.state.service().count_socket_write();
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.ending.reset.load(Ordering::Relaxed)
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::warn!("cannot reset a connection: {error}");
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.count(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
    // No vectored writes: hyper then copies a chunk's few hundred bytes into one piece, which costs less than
    // telling the system of the three pieces that they are in.
}

/// Serves one connection until either side ends it.
pub(super) async fn run(
    stream: TcpStream,
    state: Arc<ServerState>,
    fault: Option<FaultKind>,
    stop: CancellationToken,
) {
    // Every token is written at once; waiting to fill a segment would be measured as latency.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("cannot switch Nagle's algorithm off: {error}");
    }
    let ending = Arc::new(Ending::default());
    let socket = Socket {
        stream,
        ending: Arc::clone(&ending),
        state: Arc::clone(&state),
    };
    if let Some(FaultKind::SlowAccept(pause)) = fault {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
    match &state.service().config().tls {
        None => serve(socket, state, ending, stop).await,
        Some(identity) => {
            let handshake = tokio::time::timeout(HANDSHAKE, identity.acceptor().accept(socket));
            let ended = tokio::select! {
                ended = handshake => ended,
                // There is no request yet to be let finish.
                () = stop.cancelled() => return,
            };
            match ended {
                // Boxed, so that plain connections do not carry the room for TLS.
                Ok(Ok(socket)) => Box::pin(serve(socket, state, ending, stop)).await,
                Ok(Err(error)) => tracing::debug!("a TLS handshake failed: {error}"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        }
    }
}

async fn serve<I>(io: I, state: Arc<ServerState>, ending: Arc<Ending>, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(H2_STREAMS);
    let handler = {
        let ending = Arc::clone(&ending);
        service_fn(move |request| route::handle(Arc::clone(&state), Arc::clone(&ending), request))
    };
    let connection = builder.serve_connection(TokioIo::new(io), handler);
    tokio::pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!("connection ended: {error}");
                }
                return;
            }
            () = ending.asked.notified() => return,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

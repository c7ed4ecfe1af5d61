//! One TCP connection: hyper on top, and below it the means to end it rudely.
//!
//! Promises: a client that goes away drops its requests; a fault can close the connection or reset it before
//! any byte of an answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::route::{self, ServerState};

/// Streams on one HTTP/2 connection. Hyper's default of 200 would queue requests before the simulator sees them.
const H2_STREAMS: u32 = 100_000;

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
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Serves one connection until either side ends it.
pub(super) async fn run(stream: TcpStream, state: Arc<ServerState>, stop: CancellationToken) {
    // Every token is written at once; waiting to fill a segment would be measured as latency.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("cannot switch Nagle's algorithm off: {error}");
    }
    let ending = Arc::new(Ending::default());
    let socket = Socket {
        stream,
        ending: Arc::clone(&ending),
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(H2_STREAMS);
    let handler = {
        let ending = Arc::clone(&ending);
        service_fn(move |request| route::handle(Arc::clone(&state), Arc::clone(&ending), request))
    };
    let connection = builder.serve_connection(TokioIo::new(socket), handler);
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

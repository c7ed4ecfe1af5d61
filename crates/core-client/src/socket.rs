//! A TCP connection that can be looked at while hyper owns it, and that says when it was read.
//!
//! Promise: the stamp of what a read brought is taken right behind the read, before anything of it is
//! decoded, by us or by hyper. Reading takes no lock.
//!
//! Whether the server closed an idle connection is asked of the kernel and not of the runtime: the
//! runtime learns of it only when it next waits for events, which may be after the request was sent.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::clock::RunClock;

/// What lies unread on an idle connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    /// Nothing, and the connection stands.
    Nothing,
    /// Bytes that nobody asked for yet: TLS tickets, HTTP/2 frames, or a farewell.
    Bytes,
    /// The end of the stream, or an error.
    End,
}

/// Looks at a connection.
#[derive(Debug, Clone)]
pub(crate) struct Socket(Arc<Shared>);

/// The connection itself, for whoever speaks HTTP or TLS on it.
#[derive(Debug)]
pub(crate) struct Wire {
    reads: OwnedReadHalf,
    shared: Arc<Shared>,
    clock: RunClock,
}

#[derive(Debug)]
struct Shared {
    /// The half that is needed once per request, so that its lock costs nothing; it leads to the whole socket. Never
    /// contended on a current-thread runtime and never held over an await.
    writes: Mutex<OwnedWriteHalf>,
    /// When the last read brought something, nanoseconds on the run's clock.
    read_at: AtomicU64,
}

/// A connection, and the one who looks at it.
pub(crate) fn watched(stream: TcpStream, clock: RunClock) -> (Socket, Wire) {
    let (reads, writes) = stream.into_split();
    let shared = Arc::new(Shared {
        writes: Mutex::new(writes),
        read_at: AtomicU64::new(0),
    });
    let wire = Wire {
        reads,
        shared: Arc::clone(&shared),
        clock,
    };
    (Socket(shared), wire)
}

impl Socket {
    /// Looks without reading.
    pub(crate) fn pending(&self) -> Pending {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(self.0.lock().as_ref()).peek(&mut byte) {
            Ok(0) => Pending::End,
            Ok(_) => Pending::Bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Pending::Nothing,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Pending::Nothing,
            Err(_) => Pending::End,
        }
    }

    /// When the last read brought something. What was decoded of this connection arrived by then.
    pub(crate) fn read_at(&self) -> Duration {
        Duration::from_nanos(self.0.read_at.load(Ordering::Relaxed))
    }

    /// Asks the system to acknowledge what arrives at once, until something is sent the next time. A server that gathers
    /// small writes sends a token when the one before was acknowledged, and the system likes to wait 40 ms with that:
    /// tokens would come in pairs and worse, and it would be our doing.
    pub(crate) fn acknowledge_at_once(&self) {
        // Where the system knows nothing of it, or the socket has died, tokens come as they come.
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(self.0.lock().as_ref()).set_tcp_quickack(true);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, OwnedWriteHalf> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.reads).poll_read(cx, buf));
        // Half a millennium of nanoseconds fits.
        let now = u64::try_from(self.clock.now().as_nanos()).unwrap_or(u64::MAX);
        self.shared.read_at.store(now, Ordering::Relaxed);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.shared.lock()).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.shared.lock()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A TCP socket holds nothing back; hyper asks on every wake.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.shared.lock()).poll_shutdown(cx)
    }
}

//! A TCP connection that can be looked at while hyper owns it.
//!
//! Whether the server closed an idle connection is asked of the kernel and not of the runtime: the
//! runtime learns of it only when it next waits for events, which may be after the request was sent.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

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

/// A handle to one connection; the one inside hyper and the one that looks share the stream. The lock
/// is never contended on a current-thread runtime and never held over an await.
#[derive(Debug, Clone)]
pub(crate) struct Socket(Arc<Mutex<TcpStream>>);

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    /// Looks without reading.
    pub(crate) fn pending(&self) -> Pending {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(&*self.lock()).peek(&mut byte) {
            Ok(0) => Pending::End,
            Ok(_) => Pending::Bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Pending::Nothing,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Pending::Nothing,
            Err(_) => Pending::End,
        }
    }

    /// Asks the system to acknowledge what arrives at once, until something is sent the next time. A server that gathers
    /// small writes sends a token when the one before was acknowledged, and the system likes to wait 40 ms with that:
    /// tokens would come in pairs and worse, and it would be our doing.
    pub(crate) fn acknowledge_at_once(&self) {
        // Where the system knows nothing of it, or the socket has died, tokens come as they come.
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(&*self.lock()).set_tcp_quickack(true);
    }

    fn lock(&self) -> MutexGuard<'_, TcpStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }
}

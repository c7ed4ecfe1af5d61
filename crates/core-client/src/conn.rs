//! The two kinds of connection a request can be put on.
//!
//! An HTTP/1.1 connection is driven by the very task that waits for its answer: the request is written
//! in the same poll in which it was stamped, cancelling closes the socket, and an idle connection costs
//! nothing. An HTTP/2 connection is shared, so a task of its own drives it.

use std::fmt::Debug;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::body::RequestBody;
use crate::gate::Gate;
use crate::socket::{Pending, Socket};

/// Either plain or TLS; hyper sees one type.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Debug + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Debug + Unpin + Send> Transport for S {}
type Io = TokioIo<Box<dyn Transport>>;

/// Why there is no response head.
#[derive(Debug)]
pub(crate) enum HeadError {
    /// The connection was gone before a byte of the request was written; the request is unharmed.
    Unsent(Box<Request<RequestBody>>),
    /// Something went wrong with the request under way.
    Broken(hyper::Error),
}

impl From<TrySendError<Request<RequestBody>>> for HeadError {
    fn from(mut error: TrySendError<Request<RequestBody>>) -> Self {
        match error.take_message() {
            Some(request) => Self::Unsent(Box::new(request)),
            None => Self::Broken(error.into_error()),
        }
    }
}

/// A request on its way to the head of its answer. Boxed: it has room for the request, which no request needs any more
/// when its answer has begun.
type Sent = Pin<
    Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + Send>,
>;

/// How often an idle connection with unread bytes is given the chance to read them.
const MAX_LOOKS: usize = 4;

/// Between two looks for the server's HTTP/2 settings.
const SETTINGS_POLL: Duration = Duration::from_millis(1);

/// One HTTP/1.1 connection; carries one request at a time.
#[derive(Debug)]
pub(crate) struct H1 {
    sender: http1::SendRequest<RequestBody>,
    /// `None` when it has ended.
    connection: Option<Pin<Box<http1::Connection<Io, RequestBody>>>>,
    socket: Socket,
    gate: Gate,
    /// Since a streamed answer ended on it.
    rested_since: Option<Instant>,
    /// Whether the system was asked to acknowledge what arrives of this answer at once.
    acknowledges: bool,
}

impl H1 {
    pub(crate) async fn handshake(
        socket: Socket,
        stream: impl Transport + 'static,
    ) -> hyper::Result<Self> {
        let io: Io = TokioIo::new(Box::new(stream));
        let (sender, connection) = http1::handshake(io).await?;
        Ok(Self {
            sender,
            connection: Some(Box::pin(connection)),
            socket,
            gate: Gate::new(),
            rested_since: None,
            acknowledges: false,
        })
    }

    /// When the last read brought something.
    pub(crate) fn read_at(&self) -> Duration {
        self.socket.read_at()
    }

    /// A streamed answer has ended on it.
    pub(crate) fn rest(&mut self) {
        self.rested_since = Some(Instant::now());
    }

    /// When the last streamed answer on it ended.
    pub(crate) fn rested_since(&self) -> Option<Instant> {
        self.rested_since
    }

    /// Whether the idle connection can still carry a request. Bytes that wait are read first: behind
    /// TLS tickets there may be a farewell.
    pub(crate) async fn is_alive(&mut self) -> bool {
        for _ in 0..MAX_LOOKS {
            match self.socket.pending() {
                Pending::End => return false,
                Pending::Nothing => return self.connection.is_some() && !self.sender.is_closed(),
                Pending::Bytes => {
                    // The runtime must notice the bytes before they can be read.
                    tokio::task::yield_now().await;
                    self.drive_once().await;
                }
            }
            if self.connection.is_none() {
                return false;
            }
        }
        false
    }

    /// Hands the request over; [`Self::head`] writes it.
    pub(crate) fn send(&mut self, request: Request<RequestBody>) -> Sent {
        Box::pin(self.sender.try_send_request(request))
    }

    /// Writes the request and waits for the head of the answer.
    pub(crate) async fn head(&mut self, sent: &mut Sent) -> Result<Response<Incoming>, HeadError> {
        let (gate, connection) = (&self.gate, &mut self.connection);
        let answered =
            poll_fn(|cx| gate.poll(cx, |cx| drive(connection, cx), |cx| sent.as_mut().poll(cx)));
        let answered = answered.await.map_err(HeadError::from);
        // Sending the request has switched that off.
        self.acknowledges = false;
        answered
    }

    /// The next frame of the body; it arrived with the last read.
    pub(crate) async fn frame(
        &mut self,
        body: &mut Incoming,
    ) -> Option<hyper::Result<Frame<Bytes>>> {
        let (gate, connection) = (&self.gate, &mut self.connection);
        let (socket, acknowledges) = (&self.socket, &mut self.acknowledges);
        poll_fn(|cx| {
            let polled = gate.poll(
                cx,
                |cx| drive(connection, cx),
                |cx| Pin::new(&mut *body).poll_frame(cx),
            );
            // There is a wait, and the server may be waiting for us. An answer that came at once needs no packet more.
            if polled.is_pending() && !mem::replace(acknowledges, true) {
                socket.acknowledge_at_once();
            }
            polled
        })
        .await
    }

    /// Whether the connection is ready for another request now that the last answer was read. One that
    /// still has to write or read something is not worth waiting for.
    pub(crate) async fn is_reusable(&mut self) -> bool {
        if !self.sender.is_ready() {
            self.drive_once().await;
        }
        self.connection.is_some() && self.sender.is_ready() && !self.sender.is_closed()
    }

    async fn drive_once(&mut self) {
        poll_fn(|cx| {
            drive(&mut self.connection, cx);
            Poll::Ready(())
        })
        .await;
    }
}

/// Polls a connection and forgets it when it has ended. Its error, if any, reaches the request through
/// the response or the body.
fn drive(
    connection: &mut Option<Pin<Box<http1::Connection<Io, RequestBody>>>>,
    cx: &mut Context<'_>,
) {
    if let Some(running) = connection
        && running.as_mut().poll(cx).is_ready()
    {
        *connection = None;
    }
}

type H2Connection = http2::Connection<Io, RequestBody, TokioExecutor>;

/// One HTTP/2 connection; carries as many requests as the server allows streams.
#[derive(Debug, Clone)]
pub(crate) struct H2 {
    sender: http2::SendRequest<RequestBody>,
    /// `None` when it has ended: only dropping it tells the senders.
    connection: Arc<Mutex<Option<Pin<Box<H2Connection>>>>>,
    socket: Socket,
    n_streams: Arc<AtomicUsize>,
}

impl H2 {
    pub(crate) async fn handshake(
        socket: Socket,
        stream: impl Transport + 'static,
    ) -> hyper::Result<Self> {
        let io: Io = TokioIo::new(Box::new(stream));
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            // No stream until the server's settings are here: that is how their arrival is seen.
            .initial_max_send_streams(0)
            .handshake(io)
            .await?;
        let connection = Arc::new(Mutex::new(Some(Box::pin(connection))));
        let driven = Arc::clone(&connection);
        tokio::spawn(poll_fn(move |cx| {
            let mut connection = driven.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(running) = connection.as_mut() else {
                return Poll::Ready(());
            };
            // Errors reach the requests; the task only has to end.
            let polled = running.as_mut().poll(cx).map(drop);
            if polled.is_ready() {
                *connection = None;
            }
            polled
        }));
        Ok(Self {
            sender,
            connection,
            socket,
            n_streams: Arc::default(),
        })
    }

    /// Waits for the server's settings. False when the connection ended in place of them.
    pub(crate) async fn settings_arrived(&self) -> bool {
        while self.max_streams() == 0 {
            if self.sender.is_closed() {
                return false;
            }
            tokio::time::sleep(SETTINGS_POLL).await;
        }
        !self.sender.is_closed()
    }

    /// Streams that the server allows at once on this connection; none when it has ended.
    pub(crate) fn max_streams(&self) -> usize {
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        connection
            .as_ref()
            .map_or(0, |c| c.current_max_send_streams())
    }

    /// Streams that could be added now.
    pub(crate) fn n_free(&self) -> usize {
        self.max_streams()
            .saturating_sub(self.n_streams.load(Ordering::Relaxed))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Reserves a stream; `None` when there is none left or the connection has ended.
    pub(crate) fn reserve(&self) -> Option<H2Stream> {
        if self.is_closed() || self.n_free() == 0 {
            return None;
        }
        self.n_streams.fetch_add(1, Ordering::Relaxed);
        Some(H2Stream(self.clone()))
    }
}

/// A stream reserved on a shared connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct H2Stream(H2);

impl H2Stream {
    /// Whether this is a stream of that connection.
    pub(crate) fn is_of(&self, connection: &H2) -> bool {
        Arc::ptr_eq(&self.0.connection, &connection.connection)
    }

    /// As [`H1::is_alive`]; a connection with other requests on it is being read anyway.
    pub(crate) async fn is_alive(&self) -> bool {
        if self.0.n_streams.load(Ordering::Relaxed) > 1 {
            return !self.0.is_closed();
        }
        for _ in 0..MAX_LOOKS {
            match self.0.socket.pending() {
                Pending::End => return false,
                Pending::Nothing => break,
                Pending::Bytes => tokio::task::yield_now().await,
            }
        }
        !self.0.is_closed()
    }

    /// When the last read brought something, of this stream or of another.
    pub(crate) fn read_at(&self) -> Duration {
        self.0.socket.read_at()
    }

    /// Hands the request over.
    pub(crate) fn send(&mut self, request: Request<RequestBody>) -> Sent {
        Box::pin(self.0.sender.try_send_request(request))
    }
}

impl Drop for H2Stream {
    fn drop(&mut self) {
        self.0.n_streams.fetch_sub(1, Ordering::Relaxed);
    }
}

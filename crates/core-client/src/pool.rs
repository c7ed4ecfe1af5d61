//! The connections to one endpoint: those that stand ready, and new ones when none does.
//!
//! Nothing happens here behind a request's back: a connection is opened when somebody asks for one, and
//! no limit is put on how many there are.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use tokio::sync::RwLock;
use tokio::time::{Instant, sleep, timeout_at};

use crate::body::RequestBody;
use crate::conn::{H1, H2, H2Stream, HeadError};
use crate::dial::{DialError, Dialer, Dialled};
use crate::manners::{Known, Manners};

/// Connections that are dialled ahead at the same time. Servers queue only so many handshakes (128 is a
/// common backlog) and drop the rest for a second; this bounds the burst, not the number of connections.
const DIAL_BURST: usize = 64;

/// How long the connection of the first streamed answers is watched: does the server close it without a word?
const FIRST_LOOK: Duration = Duration::from_millis(20);
/// Between two glances of that look.
const GLANCE: Duration = Duration::from_millis(1);

/// A place for one request.
#[derive(Debug)]
pub(crate) enum Link {
    /// A whole connection.
    H1(H1),
    /// A stream of a shared one.
    H2(H2Stream),
}

impl Link {
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self, Self::H2(_))
    }

    /// Hands the request over, and then waits for the head of the answer.
    pub(crate) fn head(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, HeadError>> + Send {
        let mut sent = match self {
            Self::H1(connection) => connection.send(request),
            Self::H2(stream) => stream.send(request),
        };
        async move {
            match self {
                Self::H1(connection) => connection.head(&mut sent).await,
                Self::H2(_) => sent.await.map_err(HeadError::from),
            }
        }
    }

    /// When the last read of the connection brought something, on the run's clock. A head or a frame that was just
    /// handed out arrived by then: with HTTP/1.1 by that very read, with HTTP/2 by it or one before it.
    pub(crate) fn read_at(&self) -> Duration {
        match self {
            Self::H1(connection) => connection.read_at(),
            Self::H2(stream) => stream.read_at(),
        }
    }

    /// The next frame of the answer's body.
    pub(crate) async fn frame(
        &mut self,
        body: &mut Incoming,
    ) -> Option<hyper::Result<Frame<Bytes>>> {
        match self {
            Self::H1(connection) => connection.frame(body).await,
            Self::H2(_) => body.frame().await,
        }
    }
}

/// A link and how it was come by.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) link: Link,
    /// Opened for this request.
    pub(crate) is_fresh: bool,
    /// None stood ready, so that the time it took is time to dial.
    pub(crate) has_waited: bool,
}

/// The connections to one endpoint.
#[derive(Debug)]
pub(crate) struct Pool {
    dialer: Dialer,
    /// Whether the endpoint speaks HTTP/2; not set until a first connection has settled it.
    is_http2: OnceLock<bool>,
    idle: Mutex<Vec<H1>>,
    manners: Manners,
    /// Read by everyone who watches a connection; whoever may write knows that nobody does.
    looks: Arc<RwLock<()>>,
    shared: Mutex<Vec<H2>>,
    /// Held while a connection is opened that others could share, so that they wait for it.
    turn: tokio::sync::Mutex<()>,
}

impl Pool {
    pub(crate) fn new(dialer: Dialer) -> Self {
        let is_http2 = OnceLock::new();
        if !dialer.negotiates() {
            is_http2.get_or_init(|| dialer.is_http2());
        }
        Self {
            dialer,
            is_http2,
            idle: Mutex::default(),
            manners: Manners::default(),
            looks: Arc::default(),
            shared: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// A link that stands ready, or else a new one.
    pub(crate) async fn lease(&self) -> Result<Lease, DialError> {
        if let Some(link) = self.standing().await {
            return Ok(Lease {
                link,
                is_fresh: false,
                has_waited: false,
            });
        }
        // Rare, and many times as large as what a standing link needs: every request would carry it to its end.
        Box::pin(self.open_for_a_request()).await
    }

    /// A new link, or one that another request has opened meanwhile.
    async fn open_for_a_request(&self) -> Result<Lease, DialError> {
        let deadline = self.dialer.deadline();
        let mut turn = None;
        if self.may_share() {
            let held = timeout_at(deadline, self.turn.lock()).await;
            turn = Some(held.map_err(|_| self.dialer.timed_out())?);
            // While we waited, another request may have opened one with room for us.
            if let Some(link) = self.standing().await {
                return Ok(Lease {
                    link,
                    is_fresh: false,
                    has_waited: true,
                });
            }
            if !self.may_share() {
                turn = None;
            }
        }
        let addresses = self.dialer.resolve(deadline).await?;
        let link = match self.dialer.open(&addresses, deadline).await? {
            Dialled::H1(connection) => {
                self.settle(false);
                Link::H1(connection)
            }
            Dialled::H2(connection) => {
                self.settle(true);
                let stream = connection
                    .reserve()
                    .ok_or_else(|| self.dialer.timed_out())?;
                lock(&self.shared).push(connection);
                Link::H2(stream)
            }
        };
        drop(turn);
        Ok(Lease {
            link,
            is_fresh: true,
            has_waited: true,
        })
    }

    /// Takes a link back whose last answer was read to its end.
    pub(crate) async fn put_back(&self, link: Link) {
        if let Link::H1(mut connection) = link
            && connection.is_reusable().await
        {
            lock(&self.idle).push(connection);
        }
    }

    /// As [`Self::put_back`] behind a streamed answer. The first ones are held back until it is seen whether the server
    /// closes the connection; one that does gets a new connection for each request. No request waits for that: meanwhile one
    /// takes another connection. Whoever opens connections ahead does.
    pub(crate) async fn put_back_after_stream(self: &Arc<Self>, link: Link) {
        let Link::H1(mut connection) = link else {
            return;
        };
        connection.rest();
        match self.manners.known() {
            Known::Keeps => self.put_back(Link::H1(connection)).await,
            Known::Nothing => {
                let pool = Arc::clone(self);
                let begun = Arc::clone(&self.looks).try_read_owned();
                tokio::spawn(async move {
                    // Somebody opens connections right now, and has not seen this one.
                    let _look = match begun {
                        Ok(look) => look,
                        Err(_) => Arc::clone(&pool.looks).read_owned().await,
                    };
                    pool.look(connection).await;
                });
            }
            Known::Closes => {}
        }
    }

    /// Watches a connection behind a streamed answer until it is known what the server does with such.
    async fn look(&self, mut connection: H1) {
        let until = Instant::now() + FIRST_LOOK;
        while self.manners.known() == Known::Nothing {
            if !connection.is_alive().await {
                self.manners.saw_close();
            } else if Instant::now() >= until {
                self.manners.saw_no_close();
            } else {
                sleep(GLANCE).await;
            }
        }
        if self.manners.known() == Known::Keeps {
            self.put_back(Link::H1(connection)).await;
        }
    }

    /// A link that had carried another request broke under one.
    pub(crate) fn broke_under_a_request(&self, link: &Link) {
        if let Link::H1(connection) = link
            && let Some(since) = connection.rested_since()
        {
            self.manners.broke_under_a_request(since);
        }
    }

    /// Opens connections until `n` requests could be sent at once without dialling, or until one fails.
    pub(crate) async fn open(&self, n: usize) {
        drop(self.looks.write().await);
        if self.may_share() {
            let Ok(_turn) = timeout_at(self.dialer.deadline(), self.turn.lock()).await else {
                return;
            };
            self.drop_dead_shared().await;
            while self.may_share() && self.n_free_streams() < n {
                let deadline = self.dialer.deadline();
                let Ok(addresses) = self.dialer.resolve(deadline).await else {
                    return;
                };
                match self.dialer.open(&addresses, deadline).await {
                    Ok(Dialled::H1(connection)) => {
                        self.settle(false);
                        lock(&self.idle).push(connection);
                    }
                    Ok(Dialled::H2(connection)) => {
                        self.settle(true);
                        lock(&self.shared).push(connection);
                    }
                    Err(_) => return,
                }
            }
        }
        if self.may_share() {
            return;
        }
        let missing = n.saturating_sub(self.drop_dead_idle().await);
        if missing == 0 {
            return;
        }
        let Ok(addresses) = self.dialer.resolve(self.dialer.deadline()).await else {
            return;
        };
        let mut dials = stream::iter(0..missing)
            .map(|_| self.dialer.open(&addresses, self.dialer.deadline()))
            .buffer_unordered(DIAL_BURST);
        while let Some(Ok(Dialled::H1(connection))) = dials.next().await {
            lock(&self.idle).push(connection);
        }
    }

    /// Closes every connection that carries no request.
    pub(crate) fn close_idle(&self) {
        drop(mem::take(&mut *lock(&self.idle)));
        // Streams under way keep their connection alive until they end.
        drop(mem::take(&mut *lock(&self.shared)));
    }

    fn may_share(&self) -> bool {
        self.is_http2.get() != Some(&false)
    }

    fn settle(&self, is_http2: bool) {
        self.is_http2.get_or_init(|| is_http2);
    }

    /// A link that stands ready and lives. The connection used last comes first: a server that closes
    /// idle ones closes it last. Dead ones are dropped on the way.
    async fn standing(&self) -> Option<Link> {
        loop {
            let reserved = {
                let mut shared = lock(&self.shared);
                shared.retain(|connection| !connection.is_closed());
                shared.iter().find_map(H2::reserve)
            };
            let Some(stream) = reserved else { break };
            if stream.is_alive().await {
                return Some(Link::H2(stream));
            }
            lock(&self.shared).retain(|connection| !stream.is_of(connection));
        }
        loop {
            let mut connection = lock(&self.idle).pop()?;
            if connection.is_alive().await {
                return Some(Link::H1(connection));
            }
        }
    }

    async fn drop_dead_shared(&self) {
        let standing = lock(&self.shared).clone();
        for connection in standing {
            if let Some(stream) = connection.reserve()
                && !stream.is_alive().await
            {
                lock(&self.shared).retain(|other| !stream.is_of(other));
            }
        }
        lock(&self.shared).retain(|connection| !connection.is_closed());
    }

    fn n_free_streams(&self) -> usize {
        lock(&self.shared)
            .iter()
            .map(H2::n_free)
            .fold(0, usize::saturating_add)
    }

    /// Returns how many idle connections live.
    async fn drop_dead_idle(&self) -> usize {
        let candidates = mem::take(&mut *lock(&self.idle));
        let mut alive = Vec::with_capacity(candidates.len());
        for mut connection in candidates {
            if connection.is_alive().await {
                alive.push(connection);
            }
        }
        let mut idle = lock(&self.idle);
        idle.append(&mut alive);
        idle.len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

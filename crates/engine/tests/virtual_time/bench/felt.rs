//! Transports with a client's troubles: runtimes that feel what a test says, ends that are noticed late.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use core_client::probe::Felt;
use engine::transport::{Outgoing, Transport};
use futures_util::future::LocalBoxFuture;
use metrics::health::Histogram;
use metrics::timeline::Exchange;

use super::Bench;

impl Bench {
    /// The same, and its runtimes feel these waits.
    pub(crate) fn feeling(self, waits: &[Duration]) -> Self {
        let felt = felt(waits);
        self.feeling_by_level(move |_| felt.clone())
    }

    /// The same, and what its runtimes feel depends on how many requests were in flight at once since somebody asked.
    pub(crate) fn feeling_by_level(self, felt: impl Fn(u32) -> Felt + 'static) -> Self {
        Self {
            transport: Box::new(FeltTransport::new(self.transport, felt)),
            ..self
        }
    }

    /// The same, and the end of every request is noticed so much later.
    pub(crate) fn noticing_late(self, by: Duration) -> Self {
        let inner = self.transport;
        Self {
            transport: Box::new(SlowTransport {
                late: by,
                ..SlowTransport::over(inner)
            }),
            ..self
        }
    }

    /// The same, and every request waits so long before it is handed over to a connection.
    pub(crate) fn handing_over_late(self, by: Duration) -> Self {
        self.waiting(by, Duration::ZERO)
    }

    /// The same, and every request waits so long for a connection that is opened for it.
    pub(crate) fn dialling(self, dial: Duration) -> Self {
        self.waiting(Duration::ZERO, dial)
    }

    fn waiting(self, by: Duration, dial: Duration) -> Self {
        let inner = self.transport;
        Self {
            transport: Box::new(SlowTransport {
                turn: by,
                dial,
                ..SlowTransport::over(inner)
            }),
            ..self
        }
    }
}

/// These waits.
pub(crate) fn felt(waits: &[Duration]) -> Felt {
    let mut lag = Histogram::default();
    for wait in waits {
        lag.record(*wait);
    }
    Felt {
        lag,
        cpu: Duration::from_secs(1),
        wall: Duration::from_secs(2),
    }
}

/// Another transport whose runtimes feel what a test says.
struct FeltTransport {
    inner: Box<dyn Transport>,
    felt: Box<dyn Fn(u32) -> Felt>,
    active: Rc<Cell<u32>>,
    /// Most of them since somebody asked.
    most: Cell<u32>,
}

impl FeltTransport {
    /// `felt` is told how many requests were in flight at once.
    fn new(inner: Box<dyn Transport>, felt: impl Fn(u32) -> Felt + 'static) -> Self {
        Self {
            inner,
            felt: Box::new(felt),
            active: Rc::default(),
            most: Cell::default(),
        }
    }
}

impl Transport for FeltTransport {
    fn endpoints(&self) -> &[String] {
        self.inner.endpoints()
    }

    fn prepare<'a>(&'a self, per_endpoint: &'a [usize]) -> LocalBoxFuture<'a, ()> {
        self.inner.prepare(per_endpoint)
    }

    fn send(&self, request: Outgoing) -> LocalBoxFuture<'static, Exchange> {
        let active = Rc::clone(&self.active);
        active.set(active.get() + 1);
        self.most.set(self.most.get().max(active.get()));
        let sent = self.inner.send(request);
        Box::pin(async move {
            let exchange = sent.await;
            active.set(active.get() - 1);
            exchange
        })
    }

    fn felt(&self) -> Option<Felt> {
        Some((self.felt)(self.most.replace(0)))
    }
}

/// Another transport, on which requests wait before they go out and are noticed late when they ended.
struct SlowTransport {
    inner: Box<dyn Transport>,
    /// For their turn.
    turn: Duration,
    /// Then for a connection.
    dial: Duration,
    /// Until somebody looks.
    late: Duration,
}

impl SlowTransport {
    fn over(inner: Box<dyn Transport>) -> Self {
        let (turn, dial, late) = Default::default();
        Self {
            inner,
            turn,
            dial,
            late,
        }
    }
}

impl Transport for SlowTransport {
    fn endpoints(&self) -> &[String] {
        self.inner.endpoints()
    }

    fn prepare<'a>(&'a self, per_endpoint: &'a [usize]) -> LocalBoxFuture<'a, ()> {
        self.inner.prepare(per_endpoint)
    }

    fn send(&self, request: Outgoing) -> LocalBoxFuture<'static, Exchange> {
        let sent = self.inner.send(request);
        let (turn, dial, late) = (self.turn, self.dial, self.late);
        Box::pin(async move {
            tokio::time::sleep(turn + dial).await;
            let mut exchange = sent.await;
            exchange.timeline.dial = dial;
            tokio::time::sleep(late).await;
            exchange
        })
    }

    fn felt(&self) -> Option<Felt> {
        self.inner.felt()
    }
}

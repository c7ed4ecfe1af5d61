//! A transport whose runtimes feel what a test says.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use core_client::probe::Felt;
use engine::transport::{Outgoing, Transport};
use futures_util::future::LocalBoxFuture;
use metrics::health::Histogram;
use metrics::timeline::Exchange;

/// These waits, and so many slot seconds that were lost between threads.
pub(crate) fn felt(waits: &[Duration], crossing: Duration) -> Felt {
    let mut lag = Histogram::default();
    for wait in waits {
        lag.record(*wait);
    }
    Felt {
        lag,
        cpu: Duration::from_secs(1),
        wall: Duration::from_secs(2),
        crossing,
    }
}

/// Another transport whose runtimes feel what a test says.
pub(crate) struct FeltTransport {
    inner: Box<dyn Transport>,
    felt: Box<dyn Fn(u32) -> Felt>,
    active: Rc<Cell<u32>>,
    /// Most of them since somebody asked.
    most: Cell<u32>,
}

impl FeltTransport {
    /// `felt` is told how many requests were in flight at once.
    pub(super) fn new(inner: Box<dyn Transport>, felt: impl Fn(u32) -> Felt + 'static) -> Self {
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

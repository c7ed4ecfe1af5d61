//! A transport whose runtimes feel what a test says.

use core_client::probe::Felt;
use engine::transport::{Outgoing, Transport};
use futures_util::future::LocalBoxFuture;
use metrics::timeline::Exchange;

/// Another transport whose runtimes feel what a test says.
pub(crate) struct FeltTransport {
    pub(super) inner: Box<dyn Transport>,
    pub(super) felt: Felt,
}

impl Transport for FeltTransport {
    fn endpoints(&self) -> &[String] {
        self.inner.endpoints()
    }

    fn prepare<'a>(&'a self, per_endpoint: &'a [usize]) -> LocalBoxFuture<'a, ()> {
        self.inner.prepare(per_endpoint)
    }

    fn send(&self, request: Outgoing) -> LocalBoxFuture<'static, Exchange> {
        self.inner.send(request)
    }

    fn felt(&self) -> Option<Felt> {
        Some(self.felt.clone())
    }
}

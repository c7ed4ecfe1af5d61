//! The measured edge: what carries one request to a server and brings its timeline back.
//!
//! Two implementations exist. [`HttpTransport`] is the product. The other one, in the tests and in the
//! exam, hands the request to the simulator in process, so that whole studies run in virtual time.

use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use core_client::probe::{Felt, Probe};
use core_client::{Client, RequestTemplate, Witness};
use futures_util::future::LocalBoxFuture;
use metrics::timeline::{ChunkStamp, Exchange};
use tokio_util::sync::CancellationToken;
use workload::Prompt;

/// Why a request is sent; decides how many tokens it asks for and whether it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A sample: asks for the output tokens of the study.
    Measured,
    /// Fills the server's cache: asks for one token, appears in no file.
    WarmUp,
}

/// One request, ready to go.
#[derive(Debug)]
pub struct Outgoing {
    /// Index of the endpoint that gets it.
    pub endpoint: usize,
    /// Sample or warm-up.
    pub kind: Kind,
    /// The prompt, as shared byte slices.
    pub prompt: Prompt,
    /// Travels in the `x-request-id` header.
    pub request_id: String,
    /// When it should have been sent.
    pub intended: Duration,
    /// Ends the request early; what arrived until then is kept.
    pub cancel: CancellationToken,
    /// Where its output is told as it arrives, if anybody looks while it runs.
    pub watch: Option<Watch>,
}

/// Output of one running request, for whoever looks in before it ends. Each has a lock of its own, which nobody
/// else wants but for an instant at a period's border.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Mutex<Arrivals>>);

/// What has arrived since somebody looked last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// When the request was handed to a connection; `None` before its first output.
    pub launched: Option<Duration>,
    /// New chunks, in order.
    pub chunks: Vec<ChunkStamp>,
}

impl Watch {
    /// Takes what is new.
    #[must_use]
    pub fn take(&self) -> Arrivals {
        let mut arrivals = self.lock();
        Arrivals {
            launched: arrivals.launched,
            chunks: std::mem::take(&mut arrivals.chunks),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arrivals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for Watch {
    fn arrived(&mut self, launched: Duration, chunks: &[ChunkStamp]) {
        let mut arrivals = self.lock();
        arrivals.launched = Some(launched);
        arrivals.chunks.extend_from_slice(chunks);
    }
}

/// Carries requests. Failures come back inside the [`Exchange`], never as an error.
pub trait Transport {
    /// Base URLs, in the order given on the command line.
    fn endpoints(&self) -> &[String];

    /// Makes sure that so many idle connections stand ready per endpoint.
    fn prepare<'a>(&'a self, per_endpoint: &'a [usize]) -> LocalBoxFuture<'a, ()>;

    /// Sends one request and follows its stream to the end.
    fn send(&self, request: Outgoing) -> LocalBoxFuture<'static, Exchange>;

    /// What the runtimes that carry requests have felt since the last call; `None` where nobody probes them.
    fn felt(&self) -> Option<Felt> {
        None
    }
}

/// HTTP over connections that the tool owns.
#[derive(Debug)]
pub struct HttpTransport {
    client: Client,
    endpoints: Vec<String>,
    measured: Rc<RequestTemplate>,
    warm_up: Rc<RequestTemplate>,
    probe: Option<Probe>,
}

impl HttpTransport {
    /// A transport over `client`; `measured` and `warm_up` are the bodies around a prompt.
    #[must_use]
    pub fn new(client: Client, measured: RequestTemplate, warm_up: RequestTemplate) -> Self {
        let endpoints = client
            .endpoints()
            .iter()
            .map(|e| e.given().to_owned())
            .collect();
        Self {
            client,
            endpoints,
            measured: Rc::new(measured),
            warm_up: Rc::new(warm_up),
            probe: None,
        }
    }

    /// The same, probed: `probe` must be one of the runtime that the transport is used on.
    #[must_use]
    pub fn probed(self, probe: Probe) -> Self {
        Self {
            probe: Some(probe),
            ..self
        }
    }
}

impl Transport for HttpTransport {
    fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    fn prepare<'a>(&'a self, per_endpoint: &'a [usize]) -> LocalBoxFuture<'a, ()> {
        Box::pin(self.client.open_connections(per_endpoint))
    }

    fn felt(&self) -> Option<Felt> {
        self.probe.as_ref().map(Probe::take)
    }

    fn send(&self, request: Outgoing) -> LocalBoxFuture<'static, Exchange> {
        let client = self.client.clone();
        let template = match request.kind {
            Kind::Measured => Rc::clone(&self.measured),
            Kind::WarmUp => Rc::clone(&self.warm_up),
        };
        Box::pin(async move {
            let body = template
                .body(&request.prompt.parts)
                .with_request_id(&request.request_id);
            let Outgoing {
                endpoint,
                intended,
                cancel,
                watch,
                ..
            } = request;
            match watch {
                Some(mut watch) => {
                    client
                        .send_watched(endpoint, body, intended, &cancel, &mut watch)
                        .await
                }
                None => client.send(endpoint, body, intended, &cancel).await,
            }
        })
    }
}

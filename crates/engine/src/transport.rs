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
use metrics::timeline::{ChunkStamp, Exchange, Launch};
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
pub struct Watch(Arc<Mutex<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    arrivals: Arrivals,
    /// Chunks that may still come.
    expected: usize,
}

/// Most chunks for which room is made at once, 3 KiB: a longer answer may be looked at before it is complete, or be
/// shorter than allowed.
const MOST_ROOM: usize = 128;

/// What has arrived since somebody looked last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// How the request went out; `None` before its first output.
    pub launch: Option<Launch>,
    /// New chunks, in order.
    pub chunks: Vec<ChunkStamp>,
}

impl Watch {
    /// Takes what is new.
    #[must_use]
    pub fn take(&self) -> Arrivals {
        let mut watched = self.lock();
        let chunks = std::mem::take(&mut watched.arrivals.chunks);
        watched.expected = watched.expected.saturating_sub(chunks.len());
        Arrivals {
            launch: watched.arrivals.launch,
            chunks,
        }
    }

    /// Says how many chunks may come, so that their list need not grow with each few of them.
    fn expect(&self, n_chunks: usize) {
        self.lock().expected = n_chunks;
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for Watch {
    fn arrived(&mut self, launch: Launch, chunks: &[ChunkStamp]) {
        let Watched { arrivals, expected } = &mut *self.lock();
        arrivals.launch = Some(launch);
        if arrivals.chunks.capacity() == 0 {
            // Not before the first output: a request that waits for it needs no room yet.
            arrivals.chunks.reserve_exact((*expected).min(MOST_ROOM));
        }
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
                    watch.expect(body.expected_chunks());
                    client
                        .send_watched(endpoint, body, intended, &cancel, &mut watch)
                        .await
                }
                None => client.send(endpoint, body, intended, &cancel).await,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(ms: u64) -> ChunkStamp {
        ChunkStamp {
            at: Duration::from_millis(ms),
            text_bytes: 4,
        }
    }

    #[test]
    fn the_list_of_a_watched_answer_is_made_once_and_no_larger_than_what_may_come() {
        let mut watch = Watch::default();
        watch.expect(10);
        let room = |watch: &Watch| watch.lock().arrivals.chunks.capacity();
        assert_eq!(room(&watch), 0, "nothing has come");
        for ms in 0..6 {
            watch.arrived(Launch::default(), &[chunk(ms)]);
            assert_eq!(room(&watch), 10);
        }
        let first: Vec<ChunkStamp> = (0..6).map(chunk).collect();
        assert_eq!(watch.take().chunks, first);

        watch.arrived(Launch::default(), &[chunk(6)]);
        assert_eq!(room(&watch), 4);
        // More than was expected is kept too.
        let more: Vec<ChunkStamp> = (7..20).map(chunk).collect();
        watch.arrived(Launch::default(), &more);
        assert_eq!(watch.take().chunks.len(), 14);
        watch.arrived(Launch::default(), &[chunk(20)]);
        assert_eq!(watch.take().chunks, [chunk(20)]);

        let mut endless = Watch::default();
        endless.expect(usize::MAX);
        endless.arrived(Launch::default(), &[chunk(0)]);
        assert_eq!(room(&endless), MOST_ROOM);
    }
}

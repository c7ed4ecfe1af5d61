//! The runtimes that carry requests: one on the thread of the load loop, or several on threads of their own.
//!
//! With one runtime the load loop shares its thread: no request crosses threads. With more, each has a thread, a
//! client with connections of its own and a queue; a request goes to the runtime with the fewest in flight to its server
//! and stays there from its send to its last byte. The load loop then only decides and gathers.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::thread::{self, JoinHandle};

use core_client::probe::{Feeler, Felt, Probe};
use core_client::{Client, ClientConfig, ClientError, Endpoint, RequestTemplate, RunClock};
use futures_util::future::{LocalBoxFuture, join_all};
use metrics::timeline::{Exchange, Failure, FailureKind, Timeline, Usage};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::transport::{HttpTransport, Outgoing, Transport};

/// What every runtime needs to talk to the servers.
#[derive(Debug, Clone)]
pub struct Carriage {
    /// The servers.
    pub endpoints: Vec<Endpoint>,
    /// How they are talked to.
    pub config: ClientConfig,
    /// Stamps.
    pub clock: RunClock,
    /// Body of a sample.
    pub measured: RequestTemplate,
    /// Body of a warm-up.
    pub warm_up: RequestTemplate,
}

/// Why no request can be carried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarriageError {
    /// The client cannot be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A thread or its runtime cannot be had.
    #[error("starting a thread that carries requests")]
    Thread(#[source] io::Error),
}

/// Runtimes when none are asked for: all cores but one, which is left for prompts, rows and the rest.
#[must_use]
pub fn default_runtimes() -> usize {
    thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1).max(1))
}

/// Starts so many runtimes; with one, requests run on the caller's, inside of which this must be called.
///
/// # Errors
/// When a client, a thread or a runtime cannot be set up.
pub fn start(carriage: &Carriage, n_runtimes: usize) -> Result<Box<dyn Transport>, CarriageError> {
    let n_runtimes = n_runtimes.max(1);
    let (probe, mut feelers) = Probe::start(n_runtimes).map_err(CarriageError::Thread)?;
    if n_runtimes == 1 {
        for feeler in feelers {
            tokio::spawn(feeler.feel());
        }
        return Ok(Box::new(carriage.transport()?.probed(probe)));
    }
    let carriers = feelers
        .drain(..)
        .enumerate()
        .map(|(i, feeler)| Carrier::start(i, carriage, feeler))
        .collect::<Result<Vec<_>, _>>()?;
    let names = carriage.endpoints.iter().map(|e| e.given().to_owned());
    Ok(Box::new(Runtimes {
        endpoints: names.collect(),
        carriers,
        clock: carriage.clock,
        probe,
    }))
}

impl Carriage {
    fn client(&self) -> Result<Client, ClientError> {
        Client::new(self.endpoints.clone(), self.config.clone(), self.clock)
    }

    fn transport(&self) -> Result<HttpTransport, ClientError> {
        Ok(HttpTransport::new(
            self.client()?,
            self.measured.clone(),
            self.warm_up.clone(),
        ))
    }
}

/// Several runtimes.
#[derive(Debug)]
struct Runtimes {
    endpoints: Vec<String>,
    carriers: Vec<Carrier>,
    clock: RunClock,
    probe: Probe,
}

/// One runtime on its thread.
#[derive(Debug)]
struct Carrier {
    /// `None` when it is told to end.
    queue: Option<UnboundedSender<Order>>,
    in_flight: Rc<InFlight>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Prepare(Vec<usize>, oneshot::Sender<()>),
    Send(Box<Outgoing>, oneshot::Sender<Exchange>),
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Prepare(..) => "Prepare",
            Self::Send(..) => "Send",
        })
    }
}

impl Carrier {
    fn start(number: usize, carriage: &Carriage, feeler: Feeler) -> Result<Self, CarriageError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(CarriageError::Thread)?;
        let (measured, warm_up) = (carriage.measured.clone(), carriage.warm_up.clone());
        let client = carriage.client()?;
        let (queue, orders) = unbounded_channel();
        let thread = thread::Builder::new()
            .name(format!("client-{number}"))
            .spawn(move || {
                let transport = HttpTransport::new(client, measured, warm_up);
                let tasks = LocalSet::new();
                tasks.spawn_local(feeler.feel());
                runtime.block_on(tasks.run_until(carry(transport, orders)));
            })
            .map_err(CarriageError::Thread)?;
        Ok(Self {
            queue: Some(queue),
            in_flight: Rc::new(InFlight::new(carriage.endpoints.len())),
            thread: Some(thread),
        })
    }

    /// Hands an order over; one that nobody takes any more is dropped, and its asker is told by that.
    fn order(&self, order: Order) {
        if let Some(queue) = &self.queue {
            drop(queue.send(order));
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic has told of itself.
            drop(thread.join());
        }
    }
}

/// Works on a runtime until nobody can give orders any more; what is then in flight is dropped.
async fn carry(transport: HttpTransport, mut orders: UnboundedReceiver<Order>) {
    let transport = Rc::new(transport);
    while let Some(order) = orders.recv().await {
        match order {
            Order::Prepare(per_endpoint, done) => {
                let transport = Rc::clone(&transport);
                tokio::task::spawn_local(async move {
                    transport.prepare(&per_endpoint).await;
                    // Nobody waits when the run was stopped meanwhile.
                    let _ = done.send(());
                });
            }
            Order::Send(outgoing, mut reply) => {
                let sent = transport.send(*outgoing);
                tokio::task::spawn_local(async move {
                    let ended = tokio::select! {
                        biased;
                        exchange = sent => Some(exchange),
                        // Dropped by its asker: dropping it here closes its connection.
                        () = reply.closed() => None,
                    };
                    if let Some(exchange) = ended {
                        let _ = reply.send(exchange);
                    }
                });
            }
        }
    }
}

/// Requests that a runtime carries.
#[derive(Debug)]
struct InFlight {
    all: Cell<usize>,
    per_endpoint: Vec<Cell<usize>>,
}

impl InFlight {
    fn new(n_endpoints: usize) -> Self {
        Self {
            all: Cell::new(0),
            per_endpoint: vec![Cell::new(0); n_endpoints],
        }
    }

    /// Those to this server, by which connections are opened ahead; of equals, the runtime with less to do.
    fn rank(&self, endpoint: usize) -> (usize, usize) {
        (self.per_endpoint[endpoint].get(), self.all.get())
    }

    fn change(&self, endpoint: usize, by: impl Fn(usize) -> usize) {
        for count in [&self.all, &self.per_endpoint[endpoint]] {
            count.set(by(count.get()));
        }
    }
}

/// Counts a request of a runtime as long as it lives.
struct Counted {
    of: Rc<InFlight>,
    endpoint: usize,
}

impl Counted {
    fn new(of: &Rc<InFlight>, endpoint: usize) -> Self {
        of.change(endpoint, |n| n + 1);
        Self {
            of: Rc::clone(of),
            endpoint,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.of.change(self.endpoint, |n| n - 1);
    }
}

impl Transport for Runtimes {
    fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    fn prepare<'a>(&'a self, per_endpoint: &'a [usize]) -> LocalBoxFuture<'a, ()> {
        let n = self.carriers.len();
        let prepared = self.carriers.iter().map(|carrier| {
            // The runtime with the fewest to a server gets its next one, so none gets more than its share, rounded up.
            let share = per_endpoint.iter().map(|want| want.div_ceil(n)).collect();
            let (done, prepared) = oneshot::channel();
            carrier.order(Order::Prepare(share, done));
            prepared
        });
        let prepared = join_all(prepared);
        Box::pin(async move {
            prepared.await;
        })
    }

    fn send(&self, request: Outgoing) -> LocalBoxFuture<'static, Exchange> {
        let carrier = self
            .carriers
            .iter()
            .min_by_key(|carrier| carrier.in_flight.rank(request.endpoint))
            .expect("there are at least two runtimes");
        let counted = Counted::new(&carrier.in_flight, request.endpoint);
        let (intended, (reply, answer)) = (request.intended, oneshot::channel());
        carrier.order(Order::Send(Box::new(request), reply));
        let clock = self.clock;
        Box::pin(async move {
            let carried = answer.await;
            drop(counted);
            carried.unwrap_or_else(|_| Exchange {
                timeline: Timeline {
                    intended,
                    launched: intended,
                    finished: clock.now(),
                    ..Timeline::default()
                },
                usage: Usage::default(),
                text: String::new(),
                failure: Some(Failure {
                    kind: FailureKind::Protocol,
                    status: None,
                    message: "the thread that carried the request has stopped".to_owned(),
                }),
            })
        })
    }

    fn felt(&self) -> Option<Felt> {
        Some(self.probe.take())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use core_client::null_server::{NullServer, Script};
    use core_client::{EndpointType, HttpVersion, RequestSettings};
    use tokio_util::sync::CancellationToken;
    use workload::{Prompt, TokenSplit};

    use super::*;
    use crate::transport::Kind;

    fn carriage(servers: &[NullServer]) -> Carriage {
        let template = RequestTemplate::new(RequestSettings {
            model: "null".to_owned(),
            output_tokens: 1,
            ignore_eos: false,
            extra_body: None,
            endpoint_type: EndpointType::Chat,
        })
        .unwrap();
        let url = |server: &NullServer| format!("http://{}", server.address());
        Carriage {
            endpoints: servers
                .iter()
                .map(|server| Endpoint::parse(&url(server)).unwrap())
                .collect(),
            config: ClientConfig {
                endpoint_type: EndpointType::Chat,
                http: HttpVersion::Http1,
                api_key: None,
                headers: Vec::new(),
                insecure: false,
                request_timeout: Duration::from_secs(60),
                connect_timeout: Duration::from_secs(60),
            },
            clock: RunClock::start(),
            warm_up: template.warmup(),
            measured: template,
        }
    }

    fn outgoing(endpoint: usize, k: usize) -> Outgoing {
        Outgoing {
            endpoint,
            kind: Kind::Measured,
            prompt: Prompt {
                parts: vec![Bytes::from_static(b"Tell me a story.")],
                split: TokenSplit {
                    cached: 0,
                    unique: 0,
                },
                question_tokens: 0,
                index: None,
            },
            request_id: format!("r{k}"),
            intended: Duration::ZERO,
            cancel: CancellationToken::new(),
            watch: None,
        }
    }

    #[tokio::test]
    async fn endpoints_in_turn_find_the_connections_that_were_opened_for_them() {
        let script = Script {
            first_after: Duration::from_millis(300),
            gap: Duration::ZERO,
            tokens_per_write: 1,
            stamp_all: false,
            in_step: false,
        };
        // As many endpoints as threads: each would have all requests of one of them.
        let servers: Vec<NullServer> = (0..2)
            .map(|_| NullServer::start(script, || {}).unwrap())
            .collect();
        let transport = start(&carriage(&servers), 2).unwrap();
        transport.prepare(&[4, 4]).await;
        let sent = (0..8).map(|k| transport.send(outgoing(k % 2, k)));
        for exchange in join_all(sent).await {
            assert_eq!(exchange.failure, None);
            assert_eq!(exchange.timeline.dial, Duration::ZERO);
        }
        // Its connections end before the servers do.
        drop(transport);
    }

    fn quick() -> NullServer {
        let script = Script {
            first_after: Duration::from_millis(1),
            gap: Duration::ZERO,
            tokens_per_write: 1,
            stamp_all: false,
            in_step: false,
        };
        NullServer::start(script, || {}).unwrap()
    }

    /// Counted there and as a late launch of the next one, it would be missing twice.
    #[tokio::test]
    async fn the_way_back_of_an_ended_request_is_part_of_the_wait_for_the_next_and_not_of_its_own()
    {
        let servers = [quick()];
        let carriage = carriage(&servers);
        let transport = start(&carriage, 2).unwrap();
        transport.prepare(&[1]).await;
        let given = carriage.clock.now();
        let sent = transport.send(outgoing(0, 0));
        // It ends meanwhile, and nobody looks.
        let busy = Duration::from_secs(2);
        thread::sleep(busy);
        let exchange = sent.await;
        assert_eq!(exchange.failure, None);
        let waited = exchange.timeline.ready_at() - given;
        assert!(waited < busy / 2, "{waited:?}");
        drop(transport);
    }

    /// What passes before a request is looked at for the first time was taken for time at the server.
    #[tokio::test]
    async fn a_request_that_waits_for_its_turn_on_a_busy_runtime_is_handed_over_when_it_has_it() {
        let servers = [quick()];
        let carriage = carriage(&servers);
        let transport = start(&carriage, 1).unwrap();
        transport.prepare(&[1]).await;
        let given = carriage.clock.now();
        let sent = transport.send(outgoing(0, 0));
        let busy = Duration::from_millis(50);
        thread::sleep(busy);
        let exchange = sent.await;
        assert_eq!(exchange.failure, None);
        assert!(exchange.timeline.ready_at() - given >= busy);
        drop(transport);
    }
}

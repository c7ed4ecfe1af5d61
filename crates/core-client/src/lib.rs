//! The client side of a measurement: one streamed request to an OpenAI-compatible server, stamped.
//! ([`plain`] does the same for servers with an API of their own.)
//!
//! Promise: what is measured is the server. A request is handed to a connection that was opened before
//! it was needed; what arrives is stamped when it is read and decoded after; whatever goes wrong ends as
//! one typed [`Failure`](metrics::timeline::Failure) inside the [`Exchange`](metrics::timeline::Exchange).
//!
//! Refusals: a request that was handed over is never sent again, redirects are not followed (but see [`plain`]), nothing
//! is pooled across runs, no limit exists that is not an option, and the API key is shown nowhere.
//!
//! Everything works on a current-thread runtime and under a paused tokio clock. Connections belong to
//! the runtime they were opened on, so a [`Client`] must not outlive it.

mod answer;
mod body;
mod chunk;
mod client;
mod clock;
mod conn;
mod detect;
mod dial;
mod ending;
mod endpoint;
mod excerpt;
mod fault;
mod gate;
mod handover;
mod likeness;
mod limits;
mod manners;
pub mod null_server;
pub mod plain;
mod pool;
pub mod probe;
mod route;
mod socket;
pub mod sse;
mod template;
mod tls;
mod witness;

pub use body::RequestBody;
pub use client::{Client, ClientConfig, ClientError};
pub use clock::RunClock;
pub use detect::{DetectError, ServedModel};
pub use endpoint::{Endpoint, EndpointError, EndpointType, HttpVersion};
pub use template::{RequestSettings, RequestTemplate, TemplateError};
pub use witness::Witness;

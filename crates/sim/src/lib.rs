//! A simulated LLM inference server with a prefix cache and known answers.
//!
//! * [`model`]: the engine, pure: time and seed are passed in, nothing is read from outside.
//! * [`profile`]: documented sets of numbers for the model.
//! * [`service`]: the engine on tokio's clock, in process, without a socket; works under a paused clock.
//! * [`server`]: the OpenAI-compatible HTTP server around the service.
//! * [`fault`]: what goes wrong on purpose; [`form`]: how streams are written.
//! * [`tls`]: a certificate made on the spot.
//!
//! Promises: whatever the server reports (usage, metrics, `/sim/truth`) is what the model did. Refuses to pose
//! as a prediction of real hardware: it is an instrument with known answers.

pub mod config;
pub mod fault;
pub mod form;
pub mod model;
pub mod profile;
pub mod prompt;
pub mod record;
pub mod server;
pub mod service;
mod slotted;
pub mod text;
pub mod tls;
pub mod vocabulary;

pub use config::{
    DEFAULT_MODEL, MetricsStyle, RecordLimits, SimConfig, TokenizerSource, UsageForm,
};
pub use fault::{FaultKind, FaultPlan, FaultRule, FaultScope};
pub use form::{Reasoning, ReasoningField, StreamForm, StreamForms};
pub use profile::Profile;
pub use prompt::{Message, SimPrompt};
pub use record::{ReceivedRequest, RequestState};

pub use server::{Background, ServeError, listen, serve, serve_service};
pub use service::{
    FinishReason, LatenessReport, ServiceError, SimEvent, SimRequest, SimService, SimStream,
    SubmitError, TIME_SCALES,
};
pub use tls::{TlsError, TlsIdentity};

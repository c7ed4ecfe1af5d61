//! The simulated server without a socket: requests in, streams of tokens out, on tokio's clock.
//!
//! Promises: one task owns the engine and drives it; it works under a paused clock (`tokio::time::pause`),
//! where token times are rounded up to tokio's millisecond but the engine's own times stay exact. Dropping a
//! stream cancels its request. Tokenising anything but a
//! small prompt runs on the blocking pool and never on the thread that emits tokens.
//!
//! Refuses: to wait for slow readers. A stream's queue has room for all of its request's tokens.

mod driver;
mod lateness;
mod queue;
mod stream;
mod timer;

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kvcalc::TokenCount;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

pub use lateness::LatenessReport;
pub use stream::{FinishReason, SimEvent, SimStream};

use crate::config::{SimConfig, TokenizerSource};
use crate::model::{
    ConfigError, Engine, EngineStats, OutputIds, PromptBlocks, Refusal, Request, RequestId, output,
};
use crate::prompt::{self, PreparedPrompt, SimPrompt};
use crate::record::{ReceivedRequest, RecordRing, RequestState};
use crate::text::{SimTokenizer, TextError};
use crate::vocabulary::Vocabulary;
use driver::Command;
use lateness::Lateness;
use timer::Timer;

/// Requests that may wait to be taken by the driver before submitters have to wait.
const COMMAND_CHANNEL: usize = 1024;

/// Offset of the draws that decide where an output ends, so that they are not those of its words.
const END_DRAWS: u64 = 1 << 40;

/// Speeds at which the model's time can run. Beyond them a step is shorter than any timer's grain,
/// or a second of it longer than a week.
pub const TIME_SCALES: RangeInclusive<f64> = 1e-6..=1e6;

/// Later than any test waits for (about 30 years), and within what the system's clocks can count.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// A server that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The engine's configuration makes no sense.
    #[error(transparent)]
    Engine(#[from] ConfigError),
    /// The tokenizer is unusable.
    #[error(transparent)]
    Tokenizer(#[from] TextError),
    /// The speed is not within [`TIME_SCALES`].
    #[error("the time scale must be between {least} and {most}, not {given}", least = TIME_SCALES.start(), most = TIME_SCALES.end())]
    TimeScale {
        /// What was asked for.
        given: f64,
    },
    /// The probability is not one.
    #[error("the probability of ending must be between 0 and 1, not {0}")]
    EosProbability(f64),
}

/// A request that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The engine could never serve it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Longer than the model takes.
    #[error(
        "this model's maximum context length is {limit}, but the prompt has {prompt} and {output} output tokens were asked for"
    )]
    ContextLength {
        /// The limit for prompt and output.
        limit: TokenCount,
        /// The prompt's tokens.
        prompt: TokenCount,
        /// Output tokens asked for.
        output: u32,
    },
    /// The prompt could not be tokenised.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The service has stopped.
    #[error("the simulator has stopped")]
    Stopped,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct SimRequest {
    /// The prompt.
    pub prompt: SimPrompt,
    /// Tokens to generate; `None` for the server's default.
    pub max_tokens: Option<u32>,
    /// Generate all of them whatever the model "wants".
    pub ignore_eos: bool,
    /// Do not end before so many tokens.
    pub min_tokens: u32,
}

impl SimRequest {
    /// A request for `max_tokens` tokens behind `prompt`.
    #[must_use]
    pub fn new(prompt: SimPrompt, max_tokens: u32) -> Self {
        Self {
            prompt,
            max_tokens: Some(max_tokens),
            ignore_eos: false,
            min_tokens: 0,
        }
    }

    /// One user message.
    #[must_use]
    pub fn chat(content: &str, max_tokens: u32) -> Self {
        let message = prompt::Message {
            role: "user".to_owned(),
            content: content.to_owned(),
        };
        Self::new(SimPrompt::Chat(vec![message]), max_tokens)
    }

    /// Text without a chat template.
    #[must_use]
    pub fn text(text: &str, max_tokens: u32) -> Self {
        Self::new(SimPrompt::Text(text.to_owned()), max_tokens)
    }

    /// Token ids.
    #[must_use]
    pub fn ids(ids: Vec<u32>, max_tokens: u32) -> Self {
        Self::new(SimPrompt::Ids(ids), max_tokens)
    }
}

/// The in-process server. Clones are handles to the same one; when the last handle and stream are gone, it stops.
#[derive(Clone, Debug)]
pub struct SimService {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: SimConfig,
    tokenizer: SimTokenizer,
    vocabulary: Arc<Vocabulary>,
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

/// What handles, streams and the driver share.
#[derive(Debug)]
struct Shared {
    clock: ModelClock,
    /// Requests whose streams were dropped; the driver cancels them when notified.
    cancelled: Mutex<Vec<RequestId>>,
    wake: Notify,
    records: Mutex<RecordRing>,
    /// Writes to sockets by servers around this service.
    socket_writes: AtomicU64,
    lateness: Lateness,
}

impl Shared {
    fn records(&self) -> MutexGuard<'_, RecordRing> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cancelled(&self) -> MutexGuard<'_, Vec<RequestId>> {
        self.cancelled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Maps tokio's time to the model's.
#[derive(Clone, Copy, Debug)]
struct ModelClock {
    origin: Instant,
    /// Model seconds per real second; `None` for one, where the mapping is exact.
    scale: Option<f64>,
}

impl ModelClock {
    fn now(&self) -> Duration {
        let real = self.origin.elapsed();
        self.scale.map_or(real, |scale| real.mul_f64(scale))
    }

    fn instant_of(&self, model: Duration) -> Instant {
        let real = self.scale.map_or(model, |scale| {
            Duration::try_from_secs_f64(model.as_secs_f64() / scale).unwrap_or(NEVER)
        });
        self.origin + real.min(NEVER)
    }
}

impl SimService {
    /// Starts a server; its driver is a task of the current tokio runtime, and its time begins now.
    ///
    /// # Errors
    /// [`ServiceError`] if the configuration makes no sense.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(config: SimConfig) -> Result<Self, ServiceError> {
        Self::start(config, Timer::of_tokio)
    }

    /// Like [`Self::new`], but tokens come to within some ten microseconds (0.4 ms for thousands of streams)
    /// and not a whole millisecond, where the
    /// system has such a timer. Only for real time: it does not work under tokio's paused clock.
    ///
    /// # Errors
    /// [`ServiceError`] if the configuration makes no sense.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn in_real_time(config: SimConfig) -> Result<Self, ServiceError> {
        Self::start(config, Timer::of_system)
    }

    fn start(config: SimConfig, timer: fn() -> Timer) -> Result<Self, ServiceError> {
        if !TIME_SCALES.contains(&config.time_scale) {
            return Err(ServiceError::TimeScale {
                given: config.time_scale,
            });
        }
        if !(0.0..=1.0).contains(&config.eos_probability) {
            return Err(ServiceError::EosProbability(config.eos_probability));
        }
        let engine = Engine::new(config.engine.clone())?;
        let tokenizer = match &config.tokenizer {
            TokenizerSource::Builtin => SimTokenizer::from_bytes(hub::builtin_tokenizer())?,
            TokenizerSource::Bytes(bytes) => SimTokenizer::from_bytes(bytes)?,
        };
        let (commands, receiver) = mpsc::channel(COMMAND_CHANNEL);
        let shared = Arc::new(Shared {
            clock: ModelClock {
                origin: Instant::now(),
                scale: (config.time_scale - 1.0)
                    .abs()
                    .gt(&f64::EPSILON)
                    .then_some(config.time_scale),
            },
            cancelled: Mutex::new(Vec::new()),
            wake: Notify::new(),
            records: Mutex::new(RecordRing::new(config.record.requests)),
            socket_writes: AtomicU64::new(0),
            lateness: Lateness::new(),
        });
        tokio::spawn(driver::drive(
            engine,
            receiver,
            Arc::clone(&shared),
            timer(),
        ));
        Ok(Self {
            inner: Arc::new(Inner {
                vocabulary: Arc::new(Vocabulary::new(&tokenizer)),
                tokenizer,
                config,
                commands,
                shared,
            }),
        })
    }

    /// The configuration it was started with.
    #[must_use]
    pub fn config(&self) -> &SimConfig {
        &self.inner.config
    }

    /// Longest prompt plus output: the configured limit, or what the first tier holds if that is less.
    #[must_use]
    pub fn max_model_len(&self) -> TokenCount {
        let engine = &self.inner.config.engine;
        let blocks = engine.tiers[0].capacity.full_blocks(engine.block_size);
        self.inner
            .config
            .max_model_len
            .min(engine.block_size.tokens(blocks))
    }

    /// Its tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &SimTokenizer {
        &self.inner.tokenizer
    }

    /// Model time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.inner.shared.clock.now()
    }

    /// Submits a request and returns its stream as soon as the engine has taken it.
    ///
    /// # Errors
    /// [`SubmitError`] if it was not taken.
    pub async fn submit(&self, request: SimRequest) -> Result<SimStream, SubmitError> {
        let record = self.record(ReceivedRequest::new("in-process", self.now()));
        self.submit_recorded(request, record).await
    }

    /// Like [`Self::submit`], for a request that is recorded already under the number `record`.
    pub(crate) async fn submit_recorded(
        &self,
        request: SimRequest,
        record: u64,
    ) -> Result<SimStream, SubmitError> {
        let result = self.take(request, record).await;
        if result.is_err() {
            self.update_record(record, |record| record.state = RequestState::Refused);
        }
        result
    }

    async fn take(&self, request: SimRequest, record: u64) -> Result<SimStream, SubmitError> {
        let inner = &self.inner;
        let prepared = self.prepare(request.prompt).await?;
        let blocks = prepared.blocks;
        let fingerprint = blocks.fingerprint();
        let prompt_tokens = blocks.tokens();
        let limit = self.max_model_len();
        // Without a limit of the request, an output is as long as usual or as there is room for.
        let max_tokens = request.max_tokens.unwrap_or_else(|| {
            let room = limit.saturating_sub(prompt_tokens).get().max(1);
            inner
                .config
                .default_max_tokens
                .min(u32::try_from(room).unwrap_or(u32::MAX))
        });
        self.update_record(record, |record| {
            record.prompt_tokens = Some(blocks.tokens().get());
            record.prompt_ids_hash = Some(fingerprint.to_string());
            record.max_tokens = Some(max_tokens);
            record.ignore_eos = request.ignore_eos;
            record.min_tokens = request.min_tokens;
            if let Some(text) = prepared.text {
                record.text_prefix = Some(text.prefix);
                record.text_bytes = Some(text.bytes);
                record.text_sha256 = Some(text.sha256);
            }
        });
        if prompt_tokens + TokenCount(u64::from(max_tokens)) > limit {
            return Err(SubmitError::ContextLength {
                limit,
                prompt: prompt_tokens,
                output: max_tokens,
            });
        }
        // Like greedy decoding, the same prompt gives the same output.
        let seed = output::mix(inner.config.seed, fingerprint.seed());
        let ends_at = if request.ignore_eos {
            max_tokens
        } else {
            end_of_output(
                inner.config.eos_probability,
                seed,
                request.min_tokens,
                max_tokens,
            )
        };
        let output_ids = OutputIds::new(inner.vocabulary.ids(), seed);
        let (id, events) = self.hand_over(blocks, ends_at, output_ids.clone()).await?;
        Ok(SimStream::new(
            stream::Outline {
                id,
                record,
                output_tokens: ends_at,
                finish: if ends_at < max_tokens {
                    FinishReason::Stop
                } else {
                    FinishReason::Length
                },
                prompt_tokens: prompt_tokens.get(),
                seed,
            },
            events,
            output_ids,
            self.clone(),
        ))
    }

    async fn hand_over(
        &self,
        prompt: PromptBlocks,
        output_tokens: u32,
        output_ids: Option<OutputIds>,
    ) -> Result<driver::Accepted, SubmitError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Submit {
            request: Request {
                prompt,
                output_tokens,
                output_ids,
            },
            reply,
        };
        self.command(command).await?;
        Ok(answer.await.map_err(|_| SubmitError::Stopped)??)
    }

    async fn command(&self, command: Command) -> Result<(), SubmitError> {
        let sent = self.inner.commands.send(command).await;
        sent.map_err(|_| SubmitError::Stopped)
    }

    async fn prepare(&self, prompt: SimPrompt) -> Result<PreparedPrompt, SubmitError> {
        let inner = Arc::clone(&self.inner);
        let is_small = prompt.is_small();
        let prepare = move || {
            let block_size = inner.config.engine.block_size;
            prompt::prepare(
                &inner.tokenizer,
                block_size,
                inner.config.record.text_bytes,
                &prompt,
            )
        };
        if is_small {
            return Ok(prepare()?);
        }
        let prepared = tokio::task::spawn_blocking(prepare)
            .await
            // The task can only fail to finish when the runtime is shutting down.
            .map_err(|_| SubmitError::Stopped)?;
        Ok(prepared?)
    }

    /// The engine's counters and gauges.
    ///
    /// # Errors
    /// [`SubmitError::Stopped`].
    pub async fn stats(&self) -> Result<EngineStats, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Stats { reply }).await?;
        answer.await.map_err(|_| SubmitError::Stopped)
    }

    /// Forgets every cached block that no running request uses.
    ///
    /// # Errors
    /// [`SubmitError::Stopped`].
    pub async fn clear_cache(&self) -> Result<(), SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::ClearCache { reply }).await?;
        answer.await.map_err(|_| SubmitError::Stopped)
    }

    /// The requests received, oldest first, as far as they are kept.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.inner.shared.records().iter().cloned().collect()
    }

    /// The number of requests received in all.
    #[must_use]
    pub fn n_received(&self) -> u64 {
        self.inner.shared.records().total()
    }

    /// Writes to sockets by the HTTP servers around this service.
    #[must_use]
    pub fn socket_writes(&self) -> u64 {
        self.inner.shared.socket_writes.load(Ordering::Relaxed)
    }

    /// How late the tokens were that went to sockets, in real time.
    #[must_use]
    pub fn lateness(&self) -> LatenessReport {
        self.inner.shared.lateness.report()
    }

    /// A token that was due at the model's time `due` goes to a socket now.
    pub(crate) fn count_token(&self, due: Duration) {
        let shared = &self.inner.shared;
        let due = shared.clock.instant_of(due);
        shared
            .lateness
            .add(Instant::now().saturating_duration_since(due));
    }

    pub(crate) fn count_socket_write(&self) {
        self.inner
            .shared
            .socket_writes
            .fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn record(&self, record: ReceivedRequest) -> u64 {
        self.inner.shared.records().push(record)
    }

    pub(crate) fn update_record(&self, seq: u64, change: impl FnOnce(&mut ReceivedRequest)) {
        self.inner.shared.records().update(seq, change);
    }
}

/// How many tokens the model writes: it ends after each token with the given probability.
fn end_of_output(probability: f64, seed: u64, min_tokens: u32, max_tokens: u32) -> u32 {
    if probability <= 0.0 {
        return max_tokens;
    }
    (min_tokens.max(1)..max_tokens)
        .find(|tokens| output::unit(seed, END_DRAWS + u64::from(*tokens)) < probability)
        .unwrap_or(max_tokens)
}

#[cfg(test)]
mod tests;

//! The sending: sizes, iterations, one cold batch and its repetitions, over any transport.
//!
//! Promises: requests of a batch are handed over together, on connections that stand ready, and nothing else runs on
//! this thread while they stream; no request is sent twice; a failed request ends neither its batch nor its size;
//! what was answered is handed to the observer batch by batch. Refuses to format and to write.

mod doubt;
mod event;
mod exchange;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use core_client::RunClock;
use engine::stop::{Stop, StopReason};
use engine::transport::{Kind, Outgoing, Transport};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use metrics::caching::OutputComparison;
use metrics::health::{OwnPart, WindowHealth};
use metrics::record::{FailedRequest, RequestRecord};
use metrics::single_prompt::{PromptKind, SinglePromptRow};
use metrics::timeline::{Exchange, FailureKind};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use workload::{Prompt, Verification};

use crate::prompts::{Batch, PromptMaker, warm_up_prompt};
pub use event::{BatchDone, Event, Observer, Sent, SkipReason};
pub use exchange::{Answer, Intent, TextDifference};

/// Iterations in a row without a single cold answer after which the rest of a size is left out.
const FRUITLESS_ITERATIONS: u32 = 3;
/// Pause after a batch without any answer, as after every failed request of the suite.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);
/// Statuses by which servers refuse a prompt as too long.
const REFUSALS: [u16; 3] = [400, 413, 422];
/// Differences between answers that are kept to be shown.
const SHOWN_DIFFERENCES: usize = 10;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Context sizes in tokens, ascending.
    pub context_sizes: Vec<u64>,
    /// Iterations per size.
    pub num_iterations: u32,
    /// Prompts per batch.
    pub concurrent_prompts: u32,
    /// Repetitions of every batch.
    pub cached_repeats: u32,
    /// Whether an answer from cache should be the cold one, word by word: at temperature 0.
    pub compare_text: bool,
    /// Threads that make prompts.
    pub n_threads: usize,
}

/// What a session needs from outside.
#[derive(Debug)]
pub struct Parts<'a, T: ?Sized> {
    /// Carries the requests.
    pub transport: &'a T,
    /// Stamps.
    pub clock: RunClock,
    /// Asks the session to end.
    pub stop: &'a Stop,
    /// Makes the prompts.
    pub maker: &'a PromptMaker,
}

/// What a session leaves.
#[derive(Debug, Clone, Default)]
pub struct SessionEnd {
    /// Every answered request, in the order of sending.
    pub rows: Vec<SinglePromptRow>,
    /// Requests that failed; those that a stop cancelled are not among them.
    pub n_failed: u64,
    /// Requests that were planned and not sent, because the prompt's cold request failed or the size was left out.
    pub n_not_sent: u64,
    /// Sizes of which a part was left out.
    pub skipped: Vec<(u64, SkipReason)>,
    /// How answers from cache compare with cold ones.
    pub comparison: OutputComparison,
    /// The first differences between them.
    pub differences: Vec<TextDifference>,
    /// How the prompts' lengths were verified.
    pub verification: Verification,
    /// Doubts that were told.
    pub doubts: Vec<String>,
    /// The client's own part: of each size, its cold prompts and its repeated ones.
    pub health: Vec<WindowHealth>,
    /// Why it ended early.
    pub stopped: Option<StopReason>,
    /// Whether the observer ended it.
    pub aborted: bool,
}

/// Sends everything. Ends early only when it is asked to.
pub async fn run<T: Transport + ?Sized>(
    settings: &Settings,
    parts: Parts<'_, T>,
    observer: &mut dyn Observer,
) -> SessionEnd {
    let mut session = Session {
        settings,
        parts,
        observer,
        end: SessionEnd::default(),
        size_records: Vec::new(),
        own_parts: BTreeMap::new(),
    };
    let ended = session.run().await;
    session.end.health = session.health();
    session.end.stopped = session.parts.stop.requested();
    session.end.aborted = ended.is_err() && session.end.stopped.is_none();
    session.end
}

/// The session ends early: a stop was asked for, or the observer wants no more.
struct Stopped;

struct Session<'a, T: ?Sized> {
    settings: &'a Settings,
    parts: Parts<'a, T>,
    observer: &'a mut dyn Observer,
    end: SessionEnd,
    /// Of the size under way.
    size_records: Vec<RequestRecord>,
    /// By context size, and whether the prompts are repeated ones.
    own_parts: BTreeMap<(u64, bool), OwnPart>,
}

impl<T: Transport + ?Sized> Session<'_, T> {
    async fn run(&mut self) -> Result<(), Stopped> {
        self.warm_up().await?;
        for &context_size in &self.settings.context_sizes {
            let first_row = self.end.rows.len();
            self.observer.observe(&Event::SizeStarted { context_size });
            let ended = self.size(context_size).await;
            for doubt in doubt::doubts(context_size, &self.size_records, &self.end.doubts) {
                self.observer.observe(&Event::Doubt(doubt.clone()));
                self.end.doubts.push(doubt);
            }
            let rows = &self.end.rows[first_row..];
            // An interrupted size without an answer has nothing to tell.
            if ended.is_ok() || !rows.is_empty() {
                self.observer
                    .observe(&Event::SizeDone { context_size, rows });
            }
            ended?;
        }
        Ok(())
    }

    /// Opens the connections and sends one tiny request that is not measured, so that what only a first request pays
    /// for is not taken for the cost of a cold prompt.
    async fn warm_up(&mut self) -> Result<(), Stopped> {
        let cancel = CancellationToken::new();
        let n = self.settings.concurrent_prompts as usize;
        let Parts {
            transport,
            clock,
            stop,
            ..
        } = &self.parts;
        let exchange = tokio::select! {
            biased;
            () = stop.wait() => return Err(Stopped),
            exchange = async {
                transport.prepare(&[n]).await;
                transport.send(Outgoing {
                    endpoint: 0,
                    kind: Kind::WarmUp,
                    prompt: warm_up_prompt(),
                    request_id: "WARMUP".to_owned(),
                    intended: clock.now(),
                    cancel: cancel.clone(),
                    watch: None,
                }).await
            } => exchange,
        };
        // A one-token answer may be an empty string; the connection and the engine are warm all the same.
        if let Some(failure) = exchange.failure.filter(|f| f.kind != FailureKind::Empty) {
            self.observer.observe(&Event::WarmUpFailed(&failure));
        }
        Ok(())
    }

    async fn size(&mut self, context_size: u64) -> Result<(), Stopped> {
        self.size_records.clear();
        let mut fruitless = 0;
        for iteration in 0..self.settings.num_iterations {
            let first_row = self.end.rows.len();
            let cold = self.iteration(context_size, iteration).await?;
            let rows = &self.end.rows[first_row..];
            self.observer.observe(&Event::IterationDone(rows));
            fruitless = if cold.answers().next().is_none() {
                fruitless + 1
            } else {
                0
            };
            let reason = match refusal(&cold) {
                Some(refused) => refused,
                None if fruitless == FRUITLESS_ITERATIONS => SkipReason::NoAnswer,
                None if fruitless > 0 => {
                    self.pause().await?;
                    continue;
                }
                None => continue,
            };
            let left = self.settings.num_iterations - iteration - 1;
            if left > 0 {
                self.end.n_not_sent += u64::from(left)
                    * u64::from(self.settings.concurrent_prompts)
                    * u64::from(self.settings.cached_repeats + 1);
                let reason = &reason;
                self.observer.observe(&Event::SizeSkipped {
                    context_size,
                    reason,
                });
            }
            self.end.skipped.push((context_size, reason));
            break;
        }
        Ok(())
    }

    /// Leaves a server that fails at once a moment.
    async fn pause(&self) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            () = self.parts.stop.wait() => Err(Stopped),
            () = tokio::time::sleep(PAUSE_AFTER_FAILURE) => Ok(()),
        }
    }

    /// One cold batch and its repetitions; returns the cold batch.
    async fn iteration(&mut self, context_size: u64, iteration: u32) -> Result<BatchDone, Stopped> {
        let Settings {
            concurrent_prompts,
            cached_repeats,
            ..
        } = *self.settings;
        let made = self.make(context_size, iteration).await?;
        let verification = &mut self.end.verification;
        verification.verified += made.verification.verified;
        verification.corrected += made.verification.corrected;
        verification.deviating += made.verification.deviating;
        let prompts: Vec<(u32, Arc<Prompt>)> = (0..concurrent_prompts).zip(made.prompts).collect();

        let (cold, stopped) = self
            .batch(context_size, iteration, PromptKind::Unique, &prompts, &[])
            .await;
        stopped?;
        // A prompt that was not answered may be in the cache or not; repeating it would measure nobody knows what.
        let answered: Vec<(u32, Arc<Prompt>)> = prompts
            .into_iter()
            .zip(&cold.sent)
            .filter(|(_, sent)| sent.result.is_ok())
            .map(|(prompt, _)| prompt)
            .collect();
        let n_left = u64::from(concurrent_prompts) - answered.len() as u64;
        self.end.n_not_sent += n_left * u64::from(cached_repeats);
        if answered.is_empty() {
            return Ok(cold);
        }
        let mut repetitions = Vec::new();
        for repeat in 1..=cached_repeats {
            let kind = PromptKind::cached(repeat, cached_repeats);
            let (done, stopped) = self
                .batch(context_size, iteration, kind, &answered, &cold.sent)
                .await;
            repetitions.push(done);
            if let Err(stopped) = stopped {
                self.compare(&cold, &repetitions);
                return Err(stopped);
            }
        }
        self.compare(&cold, &repetitions);
        Ok(cold)
    }

    /// The prompts of an iteration, made on other threads while nothing streams.
    async fn make(&self, context_size: u64, iteration: u32) -> Result<Batch, Stopped> {
        let maker = self.parts.maker.clone();
        let (n_prompts, n_threads) = (self.settings.concurrent_prompts, self.settings.n_threads);
        let (reply, made) = oneshot::channel();
        std::thread::spawn(move || {
            // Nobody waits any more when the run was stopped.
            drop(reply.send(maker.batch(context_size, iteration, n_prompts, n_threads)));
        });
        tokio::select! {
            biased;
            () = self.parts.stop.wait() => Err(Stopped),
            made = made => Ok(made.expect("making prompts does not panic")),
        }
    }

    /// Sends these prompts together and waits for all. `cold` holds the answers to compare with.
    async fn batch(
        &mut self,
        context_size: u64,
        iteration: u32,
        kind: PromptKind,
        prompts: &[(u32, Arc<Prompt>)],
        cold: &[Sent],
    ) -> (BatchDone, Result<(), Stopped>) {
        let Parts {
            transport,
            clock,
            stop,
            maker,
        } = &self.parts;
        self.observer.observe(&Event::BatchStarted {
            context_size,
            iteration,
            kind,
            n_prompts: u32::try_from(prompts.len()).unwrap_or(u32::MAX),
        });
        let mut done = BatchDone {
            context_size,
            iteration,
            kind,
            sent: Vec::with_capacity(prompts.len()),
        };
        let cancel = CancellationToken::new();
        let n_connections = [prompts.len()];
        tokio::select! {
            biased;
            () = stop.wait() => return (done, Err(Stopped)),
            () = transport.prepare(&n_connections) => {}
        }
        let intents: Vec<Intent> = prompts
            .iter()
            .map(|(prompt_index, prompt)| Intent {
                context_size,
                iteration,
                kind,
                prompt_index: *prompt_index,
                prompt_tokens: prompt.expected_tokens(),
                n_prompts: self.settings.concurrent_prompts,
            })
            .collect();
        // Everything is ready before the first request is handed over.
        let outgoing: Vec<Outgoing> = prompts
            .iter()
            .zip(&intents)
            .map(|((_, prompt), intent)| Outgoing {
                endpoint: 0,
                kind: Kind::Measured,
                prompt: Prompt::clone(prompt),
                request_id: intent.request_id(),
                intended: Duration::ZERO,
                cancel: cancel.clone(),
                watch: None,
            })
            .collect();
        // What was felt before, while prompts were made, delayed no request.
        drop(transport.felt());
        let own_part = self
            .own_parts
            .entry((context_size, kind.is_cached()))
            .or_default();
        let begun = clock.now();
        let mut in_flight: FuturesUnordered<_> = outgoing
            .into_iter()
            .enumerate()
            .map(|(place, mut request)| {
                request.intended = begun;
                let sent = transport.send(request);
                async move { (place, sent.await) }
            })
            .collect();
        let mut ended: Vec<Option<Exchange>> = vec![None; prompts.len()];
        let mut was_stopped = false;
        loop {
            let next = tokio::select! {
                biased;
                () = stop.wait(), if !was_stopped => {
                    was_stopped = true;
                    cancel.cancel();
                    continue;
                }
                next = in_flight.next() => next,
            };
            let Some((place, exchange)) = next else { break };
            self.observer
                .observe(&live(&exchange, intents[place].prompt_tokens));
            ended[place] = Some(exchange);
        }
        drop(in_flight);
        if let Some(felt) = transport.felt() {
            own_part.felt(&felt.lag, felt.cpu, felt.wall);
        }
        let results = intents
            .into_iter()
            .zip(ended)
            .filter_map(|(intent, exchange)| Some((intent, exchange?)));
        for (intent, exchange) in results {
            let prompt_index = intent.prompt_index;
            let anchor = clock.anchor();
            own_part.sent(&exchange.timeline);
            let mut result = intent.interpret(exchange, begun, anchor, maker.tokenizer());
            if let Ok(answer) = &mut result {
                if self.settings.compare_text {
                    answer.compare_with(cold_answer(cold, prompt_index));
                }
                let record = &answer.record;
                own_part.answered(record.ttft_sample(), record.itl, record.output_tokens);
                self.end.rows.push(answer.row.clone());
                self.size_records.push(answer.record.clone());
            } else if !was_stopped {
                self.end.n_failed += 1;
            }
            done.sent.push(Sent {
                prompt_index,
                result,
            });
        }
        self.observer.observe(&Event::BatchDone(&done));
        let ends = was_stopped || self.observer.wants_end();
        (done, if ends { Err(Stopped) } else { Ok(()) })
    }

    /// What the client felt and did, size by size.
    fn health(&self) -> Vec<WindowHealth> {
        let window = |(&(context_size, is_cached), part): (&(u64, bool), &OwnPart)| {
            let (name, cache_hit_rate) = match is_cached {
                true => ("CACHED", 100),
                false => ("UNIQUE", 0),
            };
            WindowHealth {
                phase_id: format!("CTX{context_size}_{name}"),
                context_size,
                cache_hit_rate,
                level: self.settings.concurrent_prompts,
                ..part.health()
            }
        };
        self.own_parts.iter().map(window).collect()
    }

    /// Counts how the answers to repetitions compare with the cold ones and with each other.
    fn compare(&mut self, cold: &BatchDone, repetitions: &[BatchDone]) {
        for sent in &cold.sent {
            let of_prompt = || {
                let all = repetitions.iter().flat_map(|done| &done.sent);
                all.filter(|other| other.prompt_index == sent.prompt_index)
                    .filter_map(|other| other.result.as_ref().ok())
                    .filter(|answer| answer.row.matches_cold_text.is_some())
            };
            let Ok(first) = &sent.result else { continue };
            let comparison = &mut self.end.comparison;
            for answer in of_prompt() {
                comparison.n_compared += 1;
                if answer.row.matches_cold_text == Some(false) {
                    comparison.n_different += 1;
                    if self.end.differences.len() < SHOWN_DIFFERENCES {
                        self.end
                            .differences
                            .push(TextDifference::between(first, answer));
                    }
                }
            }
            let mut texts = of_prompt().map(|answer| &answer.text);
            if let Some(text) = texts.next() {
                let mut others = texts.peekable();
                comparison.n_repeated_prompts += usize::from(others.peek().is_some());
                comparison.n_unstable_prompts += usize::from(others.any(|other| other != text));
            }
        }
    }
}

fn live(exchange: &Exchange, input_tokens: u64) -> Event<'static> {
    if exchange.failure.is_some() {
        return Event::Failed;
    }
    let launched = exchange.timeline.launched;
    Event::Answered {
        ttft: exchange
            .timeline
            .first_token_at()
            .map(|at| at.saturating_sub(launched)),
        input_tokens: exchange.usage.prompt_tokens.unwrap_or(input_tokens),
        output_tokens: exchange.usage.completion_tokens.unwrap_or(0),
    }
}

fn cold_answer(cold: &[Sent], prompt_index: u32) -> Option<&Answer> {
    let sent = cold.iter().find(|sent| sent.prompt_index == prompt_index)?;
    sent.result.as_ref().ok()
}

/// Whether every cold request was refused for what it asks.
fn refusal(cold: &BatchDone) -> Option<SkipReason> {
    let status = |failed: &FailedRequest| failed.status.filter(|status| REFUSALS.contains(status));
    let is_refused = |sent: &Sent| {
        sent.result
            .as_ref()
            .err()
            .is_some_and(|failed| status(failed).is_some())
    };
    let first = cold.failures().next()?;
    cold.sent
        .iter()
        .all(is_refused)
        .then(|| SkipReason::Refused {
            status: status(first).unwrap_or_default(),
            message: first.message.clone(),
        })
}

#[cfg(test)]
mod tests;

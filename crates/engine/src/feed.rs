//! Prompts prepared ahead of need, so that building one never delays a launch or a running stream.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread;

use tokio::sync::mpsc;
use workload::{
    FreshText, PromptCheck, PromptPlan, RequestKey, TextTokenizer, Verification, WorkingSet,
};

/// One fresh prompt in so many is re-encoded whole before it is used.
pub const VERIFY_EVERY: u64 = 50;

/// Prompts that stand ready at least, also at low levels: while a builder re-encodes one whole, which takes as
/// long as a fast server's answer to several, launches live on these.
const LEAST_DEPTH: usize = 32;

/// What the prompts of a phase are made from.
#[derive(Debug, Clone)]
pub struct PhasePrompts {
    /// Immutable recipe of the test.
    pub plan: Arc<PromptPlan>,
    /// The working set of the context; `None` for a rate of 0.
    pub working_set: Option<Arc<WorkingSet>>,
    /// Encodes the sample that is checked whole.
    pub tokenizer: TextTokenizer,
    /// How often the test has been started, over resumed runs.
    pub attempt: u32,
    /// Working set of the test, where tests differ in it, tokens.
    pub working_set_size: Option<u64>,
    /// Phase id, part of every request's key.
    pub phase_id: Arc<str>,
}

impl PhasePrompts {
    fn fresh(&self, k: u64, counters: &VerificationCounters) -> FreshText {
        let key = RequestKey {
            context_size: self.plan.context().context_size,
            cache_hit_rate: self.plan.rate(),
            working_set_size: self.working_set_size,
            attempt: self.attempt,
            phase_id: &self.phase_id,
            k,
        };
        let fresh = self.plan.fresh(&key);
        if !k.is_multiple_of(VERIFY_EVERY) || fresh.tokens == 0 {
            return fresh;
        }
        // Which working-set prompt it will be joined to is decided at launch; any stands for all of them, since
        // all are cut at the same counts and end in the same kind of piece.
        let index = self
            .working_set
            .as_ref()
            .map(|ws| usize::try_from(k).unwrap_or_default() % ws.len());
        let prompt = self
            .plan
            .assemble(self.working_set.as_deref(), index, fresh.clone(), k);
        match self.plan.verify(&prompt, &self.tokenizer) {
            PromptCheck::Exact => {
                counters.add(Verification {
                    verified: 1,
                    ..Verification::default()
                });
                fresh
            }
            PromptCheck::Corrected(prompt) => {
                counters.add(Verification {
                    corrected: 1,
                    ..Verification::default()
                });
                let at = usize::from(self.plan.needs_working_set());
                FreshText {
                    text: prompt.parts[at].clone(),
                    tokens: fresh.tokens,
                }
            }
            PromptCheck::Deviating { .. } => {
                counters.add(Verification {
                    deviating: 1,
                    ..Verification::default()
                });
                fresh
            }
        }
    }
}

/// How many prompts were re-encoded and what came of it, over a whole run.
#[derive(Debug, Default)]
pub struct VerificationCounters {
    verified: AtomicU64,
    corrected: AtomicU64,
    deviating: AtomicU64,
}

impl VerificationCounters {
    /// Adds the outcome of some checks.
    pub fn add(&self, v: Verification) {
        self.verified.fetch_add(v.verified, Ordering::Relaxed);
        self.corrected.fetch_add(v.corrected, Ordering::Relaxed);
        self.deviating.fetch_add(v.deviating, Ordering::Relaxed);
    }

    /// The totals so far.
    #[must_use]
    pub fn total(&self) -> Verification {
        Verification {
            verified: self.verified.load(Ordering::Relaxed),
            corrected: self.corrected.load(Ordering::Relaxed),
            deviating: self.deviating.load(Ordering::Relaxed),
        }
    }
}

/// Hands out the fresh text of request 0, 1, 2, … of a phase, in order.
pub trait PromptFeed {
    /// Starts a phase; prompts of the previous one are dropped. `depth` prompts stand ready.
    fn begin_phase(&mut self, prompts: PhasePrompts, depth: usize);

    /// Lets the prompts of the phase to come be built while the present one goes on, so that some stand
    /// ready when it begins without a gap.
    fn stage(&mut self, next: PhasePrompts, depth: usize);

    /// The next fresh text, when it is ready.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<FreshText>;

    /// Drops what was prepared, and with it the working set that it was prepared from: the next one is built while
    /// no phase runs, and there may not be room for two.
    fn rest(&mut self);
}

/// Waits for the next fresh text. Dropping the future loses nothing.
pub async fn next_fresh(feed: &mut dyn PromptFeed) -> FreshText {
    poll_fn(|cx| feed.poll_next(cx)).await
}

/// Builds each prompt when it is asked for: for virtual time, where no other thread may be waited for.
#[derive(Debug)]
pub struct InlineFeed {
    phase: Option<PhasePrompts>,
    next: u64,
    counters: Arc<VerificationCounters>,
}

impl InlineFeed {
    /// A feed that counts its checks in `counters`.
    #[must_use]
    pub fn new(counters: Arc<VerificationCounters>) -> Self {
        Self {
            phase: None,
            next: 0,
            counters,
        }
    }
}

impl PromptFeed for InlineFeed {
    fn begin_phase(&mut self, prompts: PhasePrompts, _depth: usize) {
        self.phase = Some(prompts);
        self.next = 0;
    }

    fn stage(&mut self, _next: PhasePrompts, _depth: usize) {
        // Whatever is asked for is built in no time.
    }

    fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<FreshText> {
        let phase = self
            .phase
            .as_ref()
            .expect("a phase was begun before prompts are asked for");
        let fresh = phase.fresh(self.next, &self.counters);
        self.next += 1;
        Poll::Ready(fresh)
    }

    fn rest(&mut self) {
        self.phase = None;
    }
}

struct Job {
    prompts: PhasePrompts,
    first: u64,
    stride: u64,
    out: mpsc::Sender<FreshText>,
}

/// Builder threads that work ahead. Thread `i` of `n` makes requests `i`, `i + n`, …, so that reading the
/// threads' queues in turn gives the requests in order without a lock.
///
/// There are two banks of threads: one builds the present phase, the other waits or builds the next one.
#[derive(Debug)]
pub struct ThreadFeed {
    banks: [Vec<std::sync::mpsc::Sender<Job>>; 2],
    /// The bank that builds the present phase.
    at: usize,
    queues: Vec<mpsc::Receiver<FreshText>>,
    next: usize,
    /// What the other bank builds, by the id of its phase.
    staged: Option<(Arc<str>, Vec<mpsc::Receiver<FreshText>>)>,
}

impl ThreadFeed {
    /// Starts `n_threads` builder threads, and as many for phases to come.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn start(n_threads: usize, counters: &Arc<VerificationCounters>) -> std::io::Result<Self> {
        let bank = |name: &str| {
            (0..n_threads.max(1))
                .map(|i| {
                    let (jobs, inbox) = std::sync::mpsc::channel::<Job>();
                    let counters = Arc::clone(counters);
                    thread::Builder::new()
                        .name(format!("{name}-{i}"))
                        .spawn(move || build(&inbox, &counters))?;
                    Ok(jobs)
                })
                .collect::<std::io::Result<Vec<_>>>()
        };
        Ok(Self {
            banks: [bank("prompts-a")?, bank("prompts-b")?],
            at: 0,
            queues: Vec::new(),
            next: 0,
            staged: None,
        })
    }

    /// Sets a bank to work.
    fn build_with(
        &self,
        bank: usize,
        prompts: &PhasePrompts,
        depth: usize,
    ) -> Vec<mpsc::Receiver<FreshText>> {
        let builders = &self.banks[bank];
        let n = builders.len();
        let start = |(i, builder): (usize, &std::sync::mpsc::Sender<Job>)| {
            let (out, queue) = mpsc::channel(depth.max(LEAST_DEPTH).div_ceil(n));
            let job = Job {
                prompts: prompts.clone(),
                first: i as u64,
                stride: n as u64,
                out,
            };
            builder
                .send(job)
                .expect("a builder thread lives as long as its feed");
            queue
        };
        builders.iter().enumerate().map(start).collect()
    }
}

fn build(inbox: &std::sync::mpsc::Receiver<Job>, counters: &VerificationCounters) {
    for job in inbox {
        let mut k = job.first;
        // The engine closes the queue when the phase ends.
        while job
            .out
            .blocking_send(job.prompts.fresh(k, counters))
            .is_ok()
        {
            k += job.stride;
        }
    }
}

impl PromptFeed for ThreadFeed {
    fn begin_phase(&mut self, prompts: PhasePrompts, depth: usize) {
        self.next = 0;
        // Closing a queue lets its thread go on to the next job.
        self.queues.clear();
        match self.staged.take() {
            Some((phase_id, queues)) if phase_id == prompts.phase_id => {
                self.at = 1 - self.at;
                self.queues = queues;
            }
            _ => self.queues = self.build_with(self.at, &prompts, depth),
        }
    }

    fn stage(&mut self, next: PhasePrompts, depth: usize) {
        self.staged = None;
        let queues = self.build_with(1 - self.at, &next, depth);
        self.staged = Some((next.phase_id, queues));
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<FreshText> {
        let queue = &mut self.queues[self.next];
        let Poll::Ready(fresh) = queue.poll_recv(cx) else {
            return Poll::Pending;
        };
        self.next = (self.next + 1) % self.queues.len();
        Poll::Ready(fresh.expect("a builder thread sends until its queue is closed"))
    }

    fn rest(&mut self) {
        self.queues.clear();
        self.staged = None;
    }
}

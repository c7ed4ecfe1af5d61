//! Continuous batching: the engine works in steps, and every running request takes part in them.
//!
//! In each step, in this order:
//! 1. every decoding sequence gets one token; one that finds no block for it throws the request admitted
//!    last out of HBM (preemption: it starts over later, helped by whatever of it is still cached);
//! 2. running prefills get tokens, in order of admission, up to the limit of tokens per step (chunked prefill);
//! 3. while tokens, sequences and blocks are left, waiting requests are admitted in order of arrival. Nobody
//!    overtakes a request that does not fit yet.
//!
//! Promises: a request is admitted with all blocks of its prompt; its cached prefix is fixed then. A block
//! becomes a hit at the end of the step that completes it. The last prompt token is always computed, and the
//! step that computes it yields the first token. Requests that load from lower tiers take no part in steps
//! until all is there; tiers are read one after another, fastest first.

use std::collections::VecDeque;
use std::time::Duration;

use super::cache::{Lease, PrefixCache};
use super::config::{EngineConfig, StepCosts};
use super::engine::{Begun, Common, EventKind, Request, RequestId, Timing, Usage};
use super::jitter::Jitter;
use super::link::Link;

/// Latest time that is still worth naming; keeps absurd costs from overflowing a `Duration`.
const LONGEST_STEP_S: f64 = 1e9;

#[derive(Debug)]
struct Sequence {
    id: RequestId,
    request: Request,
    /// Tokens of the prompt as submitted; `request.prompt` grows with the output.
    prompt_tokens: u64,
    lease: Lease,
    /// Tokens whose keys and values are in HBM.
    computed: u64,
    /// Output tokens so far.
    emitted: u32,
    /// Tokens that the current step computes for this sequence.
    scheduled: u64,
    /// The tier that it loads from now, and since when.
    loading: Option<(usize, Duration)>,
    cached_by_tier: Vec<u64>,
    timing: Timing,
    /// Whether it was ever admitted: usage and queue time are those of the first admission.
    admitted: bool,
}

impl Sequence {
    /// Tokens that must be computed before the next output token.
    fn remaining(&self) -> u64 {
        self.prompt_tokens + u64::from(self.emitted) - self.computed
    }

    fn is_decoding(&self) -> bool {
        self.loading.is_none() && self.emitted > 0 && self.remaining() == 1
    }

    fn is_prefilling(&self) -> bool {
        self.loading.is_none() && !self.is_decoding()
    }
}

/// The batching scheduler.
#[derive(Debug)]
pub(crate) struct Batcher {
    costs: StepCosts,
    max_num_seqs: usize,
    max_batched_tokens: u64,
    block_tokens: u64,
    kv_bytes_per_block: f64,
    cache_output: bool,
    jitter: Jitter,
    waiting: VecDeque<Sequence>,
    /// In order of admission.
    running: Vec<Sequence>,
    /// One per tier below the first.
    links: Vec<Link>,
    step_ends_at: Option<Duration>,
    /// Since when a step could start; `None` when nothing has changed since an attempt found no work.
    could_start_at: Option<Duration>,
}

/// What a step will compute, for its duration.
#[derive(Debug, Default)]
struct StepWork {
    decode_seqs: u64,
    decode_context: u64,
    prefill_tokens: u64,
    attended_pairs: f64,
}

impl Batcher {
    pub(crate) fn new(config: &EngineConfig, costs: StepCosts) -> Self {
        let block = config.block_size.tokens(1);
        Self {
            costs,
            max_num_seqs: config.max_num_seqs,
            max_batched_tokens: config.max_batched_tokens,
            block_tokens: block.get(),
            kv_bytes_per_block: config.kv_bytes_per_token.of(block).get() as f64,
            cache_output: config.cache_output,
            jitter: Jitter::new(config.jitter_sigma, config.seed),
            waiting: VecDeque::new(),
            running: Vec::new(),
            links: config
                .tiers
                .iter()
                .skip(1)
                .map(|tier| Link::new(tier.bytes_per_s, tier.latency))
                .collect(),
            step_ends_at: None,
            could_start_at: None,
        }
    }

    /// Running and waiting requests.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.running.len(), self.waiting.len())
    }

    pub(crate) fn submit(
        &mut self,
        common: &Common,
        now: Duration,
        id: RequestId,
        request: Request,
    ) {
        self.waiting.push_back(Sequence {
            id,
            prompt_tokens: request.prompt.tokens().get(),
            request,
            lease: Lease::default(),
            computed: 0,
            emitted: 0,
            scheduled: 0,
            loading: None,
            cached_by_tier: vec![0; common.cache.occupancy().len()],
            timing: Timing {
                arrival: now,
                load_by_tier: vec![Duration::ZERO; self.links.len() + 1],
                ..Timing::default()
            },
            admitted: false,
        });
        self.poke(now);
    }

    pub(crate) fn cancel(&mut self, common: &mut Common, now: Duration, id: RequestId) -> bool {
        if let Some(index) = self.waiting.iter().position(|seq| seq.id == id) {
            self.waiting.remove(index);
            self.poke(now);
            return true;
        }
        let Some(index) = self.running.iter().position(|seq| seq.id == id) else {
            return false;
        };
        let seq = self.running.remove(index);
        if let Some((tier, _)) = seq.loading {
            self.links[tier - 1].cancel(now, id);
        }
        common.cache.release(seq.lease, now);
        self.poke(now);
        true
    }

    /// When something happens next.
    pub(crate) fn next_event_at(&self) -> Option<Duration> {
        [self.settles_at(), self.starts_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next event not after `now`; steps that start exactly at `now` count only if `start` is set.
    pub(crate) fn due(&self, now: Duration, start: bool) -> Option<Duration> {
        let settles = self.settles_at().filter(|at| *at <= now);
        let starts = self
            .starts_at()
            .filter(|at| if start { *at <= now } else { *at < now });
        [settles, starts].into_iter().flatten().min()
    }

    /// Processes the event at `at`, which [`Self::due`] named. What ends goes before what starts.
    pub(crate) fn process(&mut self, common: &mut Common, at: Duration) {
        if self.settles_at() == Some(at) {
            if self.step_ends_at == Some(at) {
                self.end_step(common, at);
            }
            for tier in 1..=self.links.len() {
                if self.links[tier - 1]
                    .next_event_at()
                    .is_some_and(|next| next <= at)
                {
                    self.end_loads(common, tier, at);
                }
            }
        } else {
            self.start_step(common, at);
        }
    }

    fn settles_at(&self) -> Option<Duration> {
        self.links
            .iter()
            .filter_map(Link::next_event_at)
            .chain(self.step_ends_at)
            .min()
    }

    fn starts_at(&self) -> Option<Duration> {
        self.could_start_at.filter(|_| self.step_ends_at.is_none())
    }

    /// A step could start at `now`. An earlier chance that was not taken, because a step was running, is gone:
    /// no step starts in the past.
    fn poke(&mut self, now: Duration) {
        self.could_start_at = Some(self.could_start_at.map_or(now, |earlier| earlier.max(now)));
    }

    // --- steps ----------------------------------------------------------------------------------

    fn start_step(&mut self, common: &mut Common, now: Duration) {
        self.could_start_at = None;
        let mut work = StepWork::default();
        let mut budget = self.max_batched_tokens;
        let preempted = self.schedule_decodes(common, now, &mut budget, &mut work);
        for seq in self.running.iter_mut().filter(|seq| seq.is_prefilling()) {
            schedule_prefill(seq, &mut budget, &mut work);
        }
        // A request that was just thrown out would only be thrown out again.
        while !preempted && budget > 0 && self.running.len() < self.max_num_seqs {
            let Some(seq) = self.waiting.pop_front() else {
                break;
            };
            match self.admit(common, now, seq) {
                Ok(mut seq) => {
                    if seq.loading.is_none() {
                        schedule_prefill(&mut seq, &mut budget, &mut work);
                    }
                    self.running.push(seq);
                }
                Err(seq) => {
                    self.waiting.push_front(seq);
                    break;
                }
            }
        }
        if work.decode_seqs + work.prefill_tokens > 0 {
            common.stats.steps += 1;
            self.step_ends_at = Some(now + self.duration_of(&work));
        } else if preempted {
            // Everything that could decode was thrown out; try again at once with the blocks that are free now.
            self.poke(now);
        }
    }

    fn duration_of(&mut self, work: &StepWork) -> Duration {
        let costs = self.costs;
        let seconds = costs.base
            + costs.per_decode_seq * work.decode_seqs as f64
            + costs.per_decode_context * work.decode_context as f64
            + costs.per_prefill_token * work.prefill_tokens as f64
            + costs.per_attended_pair * work.attended_pairs;
        Duration::from_secs_f64((seconds * self.jitter.factor()).min(LONGEST_STEP_S))
    }

    /// Gives every decoding sequence its token; says whether one had to be preempted for it.
    fn schedule_decodes(
        &mut self,
        common: &mut Common,
        now: Duration,
        budget: &mut u64,
        work: &mut StepWork,
    ) -> bool {
        let mut preempted = false;
        let mut index = 0;
        while index < self.running.len() && *budget > 0 {
            let block_tokens = self.block_tokens;
            let seq = &mut self.running[index];
            if !seq.is_decoding() {
                index += 1;
                continue;
            }
            let needed = (seq.computed + 1).div_ceil(block_tokens);
            if seq.lease.blocks() as u64 >= needed || common.cache.grow(&mut seq.lease, now) {
                seq.scheduled = 1;
                *budget -= 1;
                work.decode_seqs += 1;
                work.decode_context += seq.computed;
                index += 1;
            } else {
                preempted = true;
                // Loads are not thrown out: their bytes are already under way.
                let victim = self.running[index..]
                    .iter()
                    .rposition(|seq| seq.loading.is_none())
                    .map_or(index, |offset| index + offset);
                self.preempt(common, now, victim);
            }
        }
        preempted
    }

    fn preempt(&mut self, common: &mut Common, now: Duration, index: usize) {
        let mut seq = self.running.remove(index);
        common.cache.release(std::mem::take(&mut seq.lease), now);
        common.stats.preemptions += 1;
        seq.timing.preemptions += 1;
        seq.computed = 0;
        self.waiting.push_front(seq);
    }

    /// Admits a request if its blocks are to be had, or hands it back.
    #[expect(
        clippy::result_large_err,
        reason = "the error is the request itself on its way back to the queue; boxing it would allocate per attempt"
    )]
    fn admit(
        &mut self,
        common: &mut Common,
        now: Duration,
        mut seq: Sequence,
    ) -> Result<Sequence, Sequence> {
        let tokens = seq.prompt_tokens + u64::from(seq.emitted);
        // The last token is always computed, so the block that holds it cannot be a hit.
        let max_hits = (tokens - 1) / self.block_tokens;
        let blocks = tokens.div_ceil(self.block_tokens);
        let lease = common.cache.acquire(
            seq.request.prompt.hashes(),
            to_usize(max_hits),
            to_usize(blocks),
            now,
        );
        let Some(lease) = lease else { return Err(seq) };
        if !seq.admitted {
            seq.admitted = true;
            common.cache.count_lookup(seq.prompt_tokens, &lease);
            common.stats.prompt_tokens += seq.prompt_tokens;
            seq.timing.queue = now - seq.timing.arrival;
            for (tier, tokens) in seq.cached_by_tier.iter_mut().enumerate() {
                *tokens = lease.hit_blocks_in(tier) * self.block_tokens;
            }
        }
        seq.computed = lease.hit_blocks() * self.block_tokens;
        seq.lease = lease;
        self.begin_next_load(&mut seq, now);
        Ok(seq)
    }

    fn end_step(&mut self, common: &mut Common, now: Duration) {
        self.step_ends_at = None;
        self.poke(now);
        let mut finished = 0;
        for seq in self.running.iter_mut().filter(|seq| seq.scheduled > 0) {
            let before = seq.computed;
            seq.computed += std::mem::take(&mut seq.scheduled);
            let complete = before / self.block_tokens..seq.computed / self.block_tokens;
            for index in complete {
                let index = to_usize(index);
                if let Some(hash) = seq.request.prompt.hashes().get(index).copied() {
                    common.cache.promote(&mut seq.lease, index, hash, now);
                }
            }
            if seq.remaining() > 0 {
                continue;
            }
            let position = seq.emitted;
            if position == 0 {
                seq.timing.first_token_at = now;
                let loads: Duration = seq.timing.load_by_tier.iter().sum();
                seq.timing.prefill = now - seq.timing.arrival - seq.timing.queue - loads;
                let begun = EventKind::Begun(Box::new(Begun {
                    cached_by_tier: seq.cached_by_tier.clone(),
                    timing: seq.timing.clone(),
                }));
                common.emit(now, seq.id, begun);
            }
            seq.emitted += 1;
            common.emit(now, seq.id, EventKind::Token { position });
            if let Some(ids) = seq
                .request
                .output_ids
                .as_ref()
                .filter(|_| self.cache_output)
            {
                seq.request.prompt.push(ids.id(position));
            }
            if seq.emitted == seq.request.output_tokens {
                seq.timing.done_at = now;
                let usage = Usage {
                    prompt_tokens: seq.prompt_tokens,
                    completion_tokens: u64::from(seq.emitted),
                    cached_tokens: seq.cached_by_tier.iter().sum(),
                    cached_by_tier: std::mem::take(&mut seq.cached_by_tier),
                };
                let done = EventKind::Done(Box::new((usage, seq.timing.clone())));
                common.emit(now, seq.id, done);
                common.cache.release(std::mem::take(&mut seq.lease), now);
                finished += 1;
            }
        }
        if finished > 0 {
            self.running
                .retain(|seq| seq.emitted < seq.request.output_tokens);
        }
    }

    // --- loads ----------------------------------------------------------------------------------

    /// Begins loading from the fastest tier that the sequence still needs, if there is one.
    fn begin_next_load(&mut self, seq: &mut Sequence, now: Duration) {
        seq.loading = PrefixCache::next_load_tier(&seq.lease).map(|tier| (tier, now));
        if let Some((tier, _)) = seq.loading {
            let bytes =
                PrefixCache::blocks_to_load(&seq.lease, tier) as f64 * self.kv_bytes_per_block;
            self.links[tier - 1].begin(now, seq.id, bytes);
        }
    }

    fn end_loads(&mut self, common: &mut Common, tier: usize, now: Duration) {
        for id in self.links[tier - 1].advance(now) {
            let Some(index) = self.running.iter().position(|seq| seq.id == id) else {
                continue;
            };
            let mut seq = self.running.remove(index);
            // Loads after a preemption that came behind the first token are no part of the TTFT.
            if let Some((_, since)) = seq.loading.filter(|_| seq.emitted == 0) {
                seq.timing.load_by_tier[tier] += now - since;
            }
            common.cache.finish_load(&mut seq.lease, tier, now);
            self.begin_next_load(&mut seq, now);
            self.running.insert(index, seq);
            // Even if it loads on: what has arrived can be shared, and a waiting request may fit now.
            self.poke(now);
        }
    }
}

/// Gives a prefilling sequence as many tokens as the step still has room for.
fn schedule_prefill(seq: &mut Sequence, budget: &mut u64, work: &mut StepWork) {
    let tokens = seq.remaining().min(*budget);
    let (from, to) = (seq.computed as f64, (seq.computed + tokens) as f64);
    seq.scheduled = tokens;
    *budget -= tokens;
    work.prefill_tokens += tokens;
    work.attended_pairs += (to * to - from * from) / 2.0;
}

fn to_usize(blocks: u64) -> usize {
    usize::try_from(blocks)
        .expect("a sequence's blocks were counted against a cache that is in memory")
}

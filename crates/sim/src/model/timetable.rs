//! Service times that are simply given: for tests that must know every time in advance.
//!
//! Promises: no queue and no shared compute; the prefix cache works as ever (a block becomes a hit with its
//! request's first token), except that a request for which HBM has no room runs all the same, uncached.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::cache::Lease;
use super::engine::{Begun, Common, EventKind, Request, RequestId, Timing, Usage};

#[derive(Clone, Copy, Debug)]
enum Rule {
    Linear {
        per_active: Duration,
        per_token: Duration,
    },
    Fixed {
        total: Duration,
    },
}

#[derive(Debug)]
struct Active {
    request: Request,
    lease: Option<Lease>,
    first_at: Duration,
    /// Gap between tokens, as a total over all but the first: dividing late keeps the end exact.
    rest: Duration,
    emitted: u32,
    cached_tokens: u64,
    arrival: Duration,
}

impl Active {
    /// Where its time goes, but for its end.
    fn timing(&self) -> Timing {
        Timing {
            arrival: self.arrival,
            load_by_tier: vec![Duration::ZERO],
            prefill: self.first_at - self.arrival,
            first_token_at: self.first_at,
            ..Timing::default()
        }
    }

    /// When the token at `position` comes.
    fn token_at(&self, position: u32) -> Duration {
        let gaps = self.request.output_tokens - 1;
        if gaps == 0 {
            return self.first_at;
        }
        let nanos = self.rest.as_nanos() * u128::from(position) / u128::from(gaps);
        // More nanoseconds than a u64 holds would be five centuries.
        self.first_at + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The scheduler of the linear and fixed service models.
#[derive(Debug)]
pub(crate) struct Timetable {
    rule: Rule,
    active: BTreeMap<RequestId, Active>,
    /// The next token of each active request; entries of cancelled requests are skipped.
    due: BinaryHeap<Reverse<(Duration, RequestId)>>,
}

impl Timetable {
    pub(crate) fn linear(per_active: Duration, per_token: Duration) -> Self {
        Self::new(Rule::Linear {
            per_active,
            per_token,
        })
    }

    pub(crate) fn fixed(total: Duration) -> Self {
        Self::new(Rule::Fixed { total })
    }

    fn new(rule: Rule) -> Self {
        Self {
            rule,
            active: BTreeMap::new(),
            due: BinaryHeap::new(),
        }
    }

    pub(crate) fn active(&self) -> usize {
        self.active.len()
    }

    pub(crate) fn submit(
        &mut self,
        common: &mut Common,
        now: Duration,
        id: RequestId,
        request: Request,
    ) {
        let tokens = request.output_tokens;
        let (first, rest) = match self.rule {
            Rule::Linear {
                per_active,
                per_token,
            } => {
                let active = u32::try_from(self.active.len() + 1).unwrap_or(u32::MAX);
                (
                    per_active.saturating_mul(active),
                    per_token.saturating_mul(tokens - 1),
                )
            }
            Rule::Fixed { total } => (total / tokens, total - total / tokens),
        };
        let prompt = &request.prompt;
        let (size, length) = (prompt.block_size(), prompt.tokens());
        // The last token is always computed, so the block that holds it cannot be a hit.
        let max_hits = (length.get() - 1) / u64::from(size.get());
        let as_blocks = |blocks: u64| usize::try_from(blocks).unwrap_or(usize::MAX);
        let lease = common.cache.acquire(
            prompt.hashes(),
            as_blocks(max_hits),
            as_blocks(length.blocks_to_hold(size)),
            now,
        );
        common
            .cache
            .count_lookup(length.get(), lease.as_ref().unwrap_or(&Lease::default()));
        common.stats.prompt_tokens += length.get();
        let active = Active {
            cached_tokens: lease
                .as_ref()
                .map_or(0, |lease| size.tokens(lease.hit_blocks()).get()),
            request,
            lease,
            first_at: now + first,
            rest,
            emitted: 0,
            arrival: now,
        };
        self.due.push(Reverse((active.first_at, id)));
        self.active.insert(id, active);
    }

    pub(crate) fn cancel(&mut self, common: &mut Common, now: Duration, id: RequestId) -> bool {
        let Some(active) = self.active.remove(&id) else {
            return false;
        };
        if let Some(lease) = active.lease {
            common.cache.release(lease, now);
        }
        true
    }

    pub(crate) fn next_event_at(&self) -> Option<Duration> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    pub(crate) fn run(&mut self, common: &mut Common, now: Duration) {
        while let Some(Reverse((at, id))) = self
            .due
            .peek()
            .copied()
            .filter(|Reverse((at, _))| *at <= now)
        {
            self.due.pop();
            self.token(common, at, id);
        }
    }

    fn token(&mut self, common: &mut Common, at: Duration, id: RequestId) {
        let Some(active) = self.active.get_mut(&id) else {
            return;
        };
        let position = active.emitted;
        active.emitted += 1;
        if position == 0 {
            if let Some(lease) = active.lease.as_mut() {
                for (index, hash) in active.request.prompt.hashes().iter().enumerate() {
                    common.cache.promote(lease, index, *hash, at);
                }
            }
            let begun = EventKind::Begun(Box::new(Begun {
                cached_by_tier: vec![active.cached_tokens],
                timing: active.timing(),
            }));
            common.emit(at, id, begun);
        }
        common.emit(at, id, EventKind::Token { position });
        if active.emitted < active.request.output_tokens {
            self.due
                .push(Reverse((active.token_at(active.emitted), id)));
            return;
        }
        if let Some(active) = self.active.remove(&id) {
            let usage = Usage {
                prompt_tokens: active.request.prompt.tokens().get(),
                completion_tokens: u64::from(active.emitted),
                cached_tokens: active.cached_tokens,
                cached_by_tier: vec![active.cached_tokens],
            };
            let timing = Timing {
                done_at: at,
                ..active.timing()
            };
            common.emit(at, id, EventKind::Done(Box::new((usage, timing))));
            if let Some(lease) = active.lease {
                common.cache.release(lease, at);
            }
        }
    }
}

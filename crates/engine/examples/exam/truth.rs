//! What is true of a simulated server at a level, found without any of the code under test.
//!
//! A closed loop by brute force: so many requests in the engine's own model, each replaced at the next millisecond behind
//! its end (no client sees the end of a step before the next step has begun). No prompt text, no client, no controller:
//! only the model (`sim::model`), a queue of events, and the sums and percentiles of this file. Looked at for so long
//! that what the beginning was like no longer matters ([`steady`]), or, beginning included, for as long as a window lasts
//! ([`window`]).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use sim::model::{Engine, EngineConfig, EventKind, PromptBlocks, Request, RequestId};

/// Completions per request in flight that are left out at the beginning.
const SETTLING: usize = 10;
/// Completions per request in flight that are looked at. A multiple of the level, so that requests in lockstep are
/// counted by whole rounds.
const LOOKED_AT: usize = 30;
/// Requests looked at in any case, so that a 95th percentile has a tail.
const LEAST: usize = 600;
/// Widest spacing of the first requests of a window; the tools' page has it.
pub(crate) const FILL: Duration = Duration::from_millis(10);
/// Windows over which is pooled what a window shows: in one alone, chance shows too.
const WINDOWS: u64 = 3;

/// What requests are made of, in tokens as the server counts them.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// The chat template around a message.
    pub(crate) template: u64,
    /// Tokens of a body.
    pub(crate) body: u64,
    /// Of these, tokens that a working-set prompt begins with.
    pub(crate) cached: u64,
    /// Tokens behind the body, request by request in turn.
    pub(crate) questions: Vec<u64>,
    /// Tokens generated.
    pub(crate) output: u32,
    /// Prompts of the working set.
    pub(crate) n_prompts: usize,
    /// Tokens of each of them.
    pub(crate) prompt_tokens: u64,
}

/// What a level is like.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    /// Requests in flight.
    pub(crate) level: u32,
    /// Requests per second.
    pub(crate) requests_per_s: f64,
    /// Mean time of a request, seconds.
    pub(crate) request_s: f64,
    /// TTFT of every request, seconds, ascending.
    ttft: Vec<f64>,
    /// Tokens per second of every request behind its first token, ascending.
    speed: Vec<f64>,
    /// Cached tokens per request, mean.
    #[cfg(test)]
    cached: f64,
}

impl Figures {
    fn new(level: u32, shape: &Shape, requests_per_s: f64, seen: &[Seen]) -> Self {
        let seconds = |of: fn(&Seen) -> Duration| -> Vec<f64> {
            seen.iter().map(|s| of(s).as_secs_f64()).collect()
        };
        let mut ttft = seconds(|s| s.first - s.sent);
        let mut speed: Vec<f64> = seconds(|s| s.done - s.first)
            .into_iter()
            .filter(|generation| shape.output > 1 && *generation > 0.0)
            .map(|generation| f64::from(shape.output) / generation)
            .collect();
        ttft.sort_by(f64::total_cmp);
        speed.sort_by(f64::total_cmp);
        Self {
            level,
            requests_per_s,
            request_s: mean(&seconds(|s| s.done - s.sent)),
            ttft,
            speed,
            #[cfg(test)]
            cached: seen.iter().map(|s| s.cached as f64).sum::<f64>() / seen.len() as f64,
        }
    }

    /// A quantile of TTFT, seconds.
    pub(crate) fn ttft(&self, q: f64) -> f64 {
        quantile(&self.ttft, q)
    }

    /// Mean TTFT, seconds.
    pub(crate) fn mean_ttft(&self) -> f64 {
        mean(&self.ttft)
    }

    /// A quantile of request speeds, tokens/s.
    pub(crate) fn speed(&self, q: f64) -> f64 {
        quantile(&self.speed, q)
    }

    /// Mean request speed, tokens/s.
    pub(crate) fn mean_speed(&self) -> f64 {
        mean(&self.speed)
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Of ascending values: linear between the closest ranks.
pub(crate) fn quantile(ascending: &[f64], q: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = q * last as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    ascending[low] + (ascending[high] - ascending[low]) * (at - low as f64)
}

/// One request on its way.
struct Running {
    sent: Duration,
    first: Option<Duration>,
}

/// One that has ended.
struct Seen {
    sent: Duration,
    first: Duration,
    done: Duration,
    #[cfg(test)]
    cached: u64,
}

/// When a loop ends.
#[derive(Clone, Copy)]
enum Until {
    /// After so many completions.
    Completed(usize),
    /// So long after its start nothing more is sent, and what is on its way ends.
    Over(Duration),
}

/// The loop's end of a server.
struct Loop<'a> {
    engine: Engine,
    shape: &'a Shape,
    running: HashMap<RequestId, Running>,
    n_sent: u64,
}

impl Loop<'_> {
    fn send(&mut self, now: Duration, prompt: PromptBlocks, output: u32) {
        let request = Request {
            prompt,
            output_tokens: output,
            output_ids: None,
        };
        let id = self
            .engine
            .submit(now, request)
            .expect("the exam draws prompts that fit the server");
        let running = Running {
            sent: now,
            first: None,
        };
        self.running.insert(id, running);
    }

    fn warm(&mut self, i: u64) -> PromptBlocks {
        let ids = ids(self.shape.template, i, self.shape.prompt_tokens, None);
        PromptBlocks::new(&ids, self.engine.config().block_size)
    }

    fn next(&mut self, now: Duration) {
        let k = self.n_sent;
        self.n_sent += 1;
        let index = k % self.shape.n_prompts as u64;
        let question = self.shape.questions[(k % self.shape.questions.len() as u64) as usize];
        let fresh = self.shape.body - self.shape.cached + question;
        let ids = ids(
            self.shape.template,
            index,
            self.shape.cached,
            Some((k, fresh)),
        );
        let blocks = PromptBlocks::new(&ids, self.engine.config().block_size);
        self.send(now, blocks, self.shape.output);
    }
}

/// Token ids of a request: the template's, so many of the beginning of working-set prompt `index` (ids of one prompt are
/// those of no other), and of a request of that number so many that nobody has seen.
pub(crate) fn ids(template: u64, index: u64, prefix: u64, fresh: Option<(u64, u64)>) -> Vec<u32> {
    let (k, n_fresh) = fresh.unwrap_or_default();
    let around = (0..template).map(|t| t as u32);
    let own = (0..prefix).map(|t| id_of(1 + index, t));
    let new = (0..n_fresh).map(|t| id_of((1 << 32) + k, t));
    around.chain(own).chain(new).collect()
}

/// Token `t` of stream `stream`, as good as never equal to that of another one.
fn id_of(stream: u64, t: u64) -> u32 {
    let mixed =
        (stream.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ t).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 32) as u32
}

/// The next whole millisecond.
fn reacted(at: Duration) -> Duration {
    Duration::from_millis(at.as_nanos().div_ceil(1_000_000) as u64)
}

/// Holds `level` requests in a server of this configuration, its working set warm and nothing else in it, and says when it
/// began and what it saw, in the order in which requests ended. The first ones come `spacing` apart.
fn hold(
    config: &EngineConfig,
    shape: &Shape,
    level: u32,
    spacing: Duration,
    until: Until,
) -> (Duration, Vec<Seen>) {
    let engine = Engine::new(config.clone()).expect("the exam draws configurations that are valid");
    let mut run = Loop {
        engine,
        shape,
        running: HashMap::new(),
        n_sent: 0,
    };
    let mut now = Duration::ZERO;
    if shape.cached > 0 {
        for i in 0..shape.n_prompts as u64 {
            let prompt = run.warm(i);
            run.send(now, prompt, 1);
            while let Some(at) = run.engine.next_event_at() {
                now = now.max(at);
                run.engine.advance(now);
            }
        }
        run.running.clear();
    }
    now = reacted(now);
    let start = now;
    let is_over = |at: Duration| matches!(until, Until::Over(length) if at >= start + length);
    let mut to_send: BinaryHeap<Reverse<Duration>> = (0..level)
        .map(|slot| Reverse(reacted(now + spacing * slot)))
        .collect();
    let mut seen = Vec::new();
    loop {
        if matches!(until, Until::Completed(n) if seen.len() >= n) {
            return (start, seen);
        }
        let next = run.engine.next_event_at();
        let Some(at) = to_send
            .peek()
            .map(|Reverse(send)| *send)
            .into_iter()
            .chain(next)
            .min()
        else {
            return (start, seen);
        };
        now = now.max(at);
        for event in run.engine.advance(now) {
            match event.kind {
                EventKind::Token { position: 0 } => {
                    if let Some(running) = run.running.get_mut(&event.id) {
                        running.first = Some(event.at);
                    }
                }
                EventKind::Begun(_) | EventKind::Token { .. } => {}
                EventKind::Done(_done) => {
                    let Some(Running { sent, first }) = run.running.remove(&event.id) else {
                        continue;
                    };
                    seen.push(Seen {
                        sent,
                        first: first.expect("a request ends behind its first token"),
                        done: event.at,
                        #[cfg(test)]
                        cached: _done.0.cached_tokens,
                    });
                    let again = reacted(event.at);
                    if !is_over(again) {
                        to_send.push(Reverse(again));
                    }
                }
            }
        }
        while to_send.peek().is_some_and(|Reverse(send)| *send <= now) {
            to_send.pop();
            run.next(now);
        }
    }
}

/// A level in the long run, when it has settled. The first requests come `spacing` apart: where nothing is random, requests
/// that came together stay together.
pub(crate) fn steady(
    config: &EngineConfig,
    shape: &Shape,
    level: u32,
    spacing: Duration,
) -> Figures {
    let per_round = level as usize;
    let settled = SETTLING * per_round;
    let rounds = LOOKED_AT.max(LEAST.div_ceil(per_round));
    let end = settled + rounds * per_round;
    let (_, seen) = hold(config, shape, level, spacing, Until::Completed(end));
    let looked_at = &seen[settled..end];
    let span = seen[end - 1].done - seen[settled - 1].done;
    let per_s = looked_at.len() as f64 / span.as_secs_f64();
    Figures::new(level, shape, per_s, looked_at)
}

/// A level as the tools' page has a window show it: filled at once (10 ms apart, over a tenth of the window at most),
/// nothing sent once it is over, everything sent in it counted, the rate by how much of each request lies within it.
pub(crate) fn window(
    config: &EngineConfig,
    shape: &Shape,
    level: u32,
    length: Duration,
) -> Figures {
    let spacing = FILL.min(length / 10 / level);
    let (mut all, mut within) = (Vec::new(), 0.0);
    for k in 0..WINDOWS {
        let mut engine = config.clone();
        engine.seed = engine.seed.wrapping_add(k.wrapping_mul(0x9e37_79b9));
        let (start, seen) = hold(&engine, shape, level, spacing, Until::Over(length));
        let end = start + length;
        for request in &seen {
            let inside = request.done.min(end).saturating_sub(request.sent);
            within += inside.as_secs_f64() / (request.done - request.sent).as_secs_f64();
        }
        all.extend(seen);
    }
    let per_s = within / (WINDOWS as f64 * length.as_secs_f64());
    Figures::new(level, shape, per_s, &all)
}

#[cfg(test)]
mod tests {
    use sim::model::ServiceModel;
    use sim::profile::Profile;

    use super::*;

    fn shape() -> Shape {
        Shape {
            template: 9,
            body: 512,
            cached: 0,
            questions: vec![20, 30],
            output: 16,
            n_prompts: 4,
            prompt_tokens: 512,
        }
    }

    fn close(value: f64, expected: f64) {
        assert!(
            (value / expected - 1.0).abs() < 1e-3,
            "{value}, not {expected}"
        );
    }

    /// Where every time is known in advance, brute force finds what paper says.
    #[test]
    fn times_that_are_given_are_found() {
        let mut config = Profile::Demo.engine();
        config.service = ServiceModel::Fixed {
            total: Duration::from_millis(800),
        };
        let fixed = steady(&config, &shape(), 6, FILL);
        close(fixed.requests_per_s, 6.0 / 0.8);
        close(fixed.request_s, 0.8);
        close(fixed.ttft(0.95), 0.05);
        close(fixed.mean_speed(), 16.0 / 0.75);

        // A request that comes finds all others there: 6 × 50 ms, then 15 × 10 ms.
        config.service = ServiceModel::Linear {
            per_active: Duration::from_millis(50),
            per_token: Duration::from_millis(10),
        };
        let linear = steady(&config, &shape(), 6, FILL);
        close(linear.ttft(0.95), 0.3);
        close(linear.requests_per_s, 6.0 / 0.45);
    }

    /// Windows are whole numbers of rounds here, so that the rate is the steady one; the first round alone is faster to
    /// its first token, because those before it in the server are fewer.
    #[test]
    fn a_window_counts_its_beginning() {
        let mut config = Profile::Demo.engine();
        config.service = ServiceModel::Linear {
            per_active: Duration::from_millis(50),
            per_token: Duration::from_millis(10),
        };
        let seen = window(&config, &shape(), 4, Duration::from_secs(7));
        // 4 × 50 ms, then 15 × 10 ms; the first four meet 0, 1, 2, 3 others.
        close(seen.ttft(1.0), 0.2);
        close(seen.ttft(0.0), 0.05);
        assert!((seen.requests_per_s / (4.0 / 0.35) - 1.0).abs() < 0.02);
        let late = window(&config, &shape(), 4, Duration::from_millis(340));
        assert_eq!(late.ttft.len(), 3 * (4 + 3), "sent in time and drained");
    }

    /// Little's law holds in any service model.
    #[test]
    fn requests_in_flight_are_rate_times_time() {
        let mut config = Profile::Demo.engine();
        config.jitter_sigma = 0.2;
        for level in [1, 7, 20] {
            let steady = steady(&config, &shape(), level, FILL);
            let in_flight = steady.requests_per_s * steady.request_s;
            assert!(
                (in_flight / f64::from(level) - 1.0).abs() < 0.02,
                "{in_flight} of {level}"
            );
        }
    }

    #[test]
    fn a_warm_prefix_is_found_in_the_first_tier() {
        let warm = Shape {
            cached: 256,
            ..shape()
        };
        let found = steady(&Profile::Demo.engine(), &warm, 4, FILL).cached;
        // The template in front shifts the end of the prefix within its block.
        assert!((256.0..256.0 + 16.0).contains(&found), "{found}");
    }

    #[test]
    fn quantiles_lie_between_ranks() {
        let values = [1.0, 2.0, 3.0, 5.0];
        close(quantile(&values, 0.5), 2.5);
        close(quantile(&values, 1.0), 5.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}

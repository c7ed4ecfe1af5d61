//! Tokens where they arrive: periods that follow each other without a gap.
//!
//! A request may begin in one period, get its first token in the next and end in a third. Its input tokens
//! belong to the period of its first token, each output token to the period in which its chunk arrived.
//!
//! Promise: every chunk belongs to exactly one period or to the tail behind the last border; settled output
//! tokens of all periods and the tail sum to the tokens of all requests exactly. How many tokens a chunk
//! holds is known for certain only when its request has ended, so a period's figures count those of running
//! requests by the ratio of tokens to chunks of ended ones; [`TokenAttribution::finish`] settles them.
//! Pure: borders and stamps come in, and whoever reads streams looks in at a border only.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::percentile::{SpeedStats, Stats};
use crate::spread::spread_tokens;
use crate::timeline::{ChunkStamp, Timeline};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a sample.
    Completed,
    /// By a fault of the server or of the way to it.
    Failed,
    /// By us.
    Cancelled,
}

/// What a period showed, as far as it is known at its end. Latencies are seconds, speeds tokens/s.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeriodFigures {
    /// Requests launched in the period.
    pub launched: u64,
    /// Requests whose first token arrived in the period.
    pub prefills: u64,
    /// Requests with any token in the period.
    pub contributing: u64,
    /// Requests that ended well in the period.
    pub completed: u64,
    /// Requests that failed in the period; cancelled ones not counted.
    pub failed: u64,
    /// Body tokens of the requests whose first token arrived.
    pub input_tokens: u64,
    /// Output tokens that arrived; those of running requests by the ratio of ended ones.
    pub output_tokens: u64,
    /// TTFT of the requests whose first token arrived.
    pub ttft: Stats,
    /// The same with the wait so far of every request that has waited longer than the patience given.
    pub ttft_with_waits: Stats,
    /// Requests that have waited longer.
    pub waiting: u64,
    /// TTLT of the contributing requests: up to their last token so far where they still run.
    pub ttlt: Stats,
    /// ITL of the contributing requests, likewise.
    pub itl: Stats,
    /// Speed of the contributing requests; of those that still run, tokens ÷ time since the first one.
    pub speed: SpeedStats,
}

impl PeriodFigures {
    /// Whether any token arrived.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        self.contributing > 0
    }
}

/// Output tokens when every request has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Of every period.
    pub output_tokens: Vec<u64>,
    /// That arrived behind the last border.
    pub tail_output_tokens: u64,
    /// Body tokens of requests whose first token arrived behind the last border.
    pub tail_input_tokens: u64,
}

/// One request that has not been settled.
#[derive(Debug)]
struct Tracked {
    input_tokens: u64,
    launched: Duration,
    chunks: Vec<ChunkStamp>,
    /// Chunks that belong to the period closed last and those before it.
    attributed: usize,
    /// Chunks that belong to the periods before that one.
    attributed_before: usize,
    /// (period, chunks of the request in it), ascending.
    shares: Vec<(usize, usize)>,
    ended: Option<Ended>,
    /// Its output tokens as somebody else counted them.
    counted: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Ended {
    at: Duration,
    how: Ending,
    /// The server's count.
    tokens: Option<u64>,
}

/// An ended request whose tokens nobody has counted yet.
#[derive(Debug)]
struct Uncounted {
    assumed: u64,
    chunks: Vec<ChunkStamp>,
    shares: Vec<(usize, usize)>,
}

/// Attributes the tokens of a load to periods. Requests are told apart by numbers of the caller's choice.
#[derive(Debug, Default)]
pub struct TokenAttribution {
    requests: BTreeMap<u64, Tracked>,
    uncounted: BTreeMap<u64, Uncounted>,
    /// Output tokens of settled requests, per period.
    settled: Vec<u64>,
    ratio: Ratio,
    launched: u64,
    last_arrival: Option<Duration>,
}

impl TokenAttribution {
    /// No request, no period.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Request `number` goes out at `at`.
    pub fn launch(&mut self, number: u64, input_tokens: u64, at: Duration) {
        self.launched += 1;
        let tracked = Tracked {
            input_tokens,
            launched: at,
            chunks: Vec::new(),
            attributed: 0,
            attributed_before: 0,
            shares: Vec::new(),
            ended: None,
            counted: None,
        };
        self.requests.insert(number, tracked);
    }

    /// What is new of a running request: when it was handed to a connection, and chunks behind those known.
    pub fn observe(
        &mut self,
        number: u64,
        launched: Option<Duration>,
        chunks: impl IntoIterator<Item = ChunkStamp>,
    ) {
        let Some(request) = self.requests.get_mut(&number) else {
            return;
        };
        request.launched = launched.unwrap_or(request.launched);
        request.chunks.extend(chunks);
        self.last_arrival = self.last_arrival.max(request.chunks.last().map(|c| c.at));
    }

    /// A request has ended. `tokens` is the server's count of its output, which is spread over all its
    /// chunks; a completed request without one may be counted later ([`Self::count`]).
    pub fn end(&mut self, number: u64, timeline: &Timeline, tokens: Option<u64>, how: Ending) {
        let Some(request) = self.requests.get_mut(&number) else {
            return;
        };
        request.launched = timeline.launched;
        request.chunks.clone_from(&timeline.chunks);
        request.ended = Some(Ended {
            at: timeline.finished,
            how,
            tokens,
        });
        self.last_arrival = self.last_arrival.max(request.chunks.last().map(|c| c.at));
    }

    /// A request that ended without a count holds so many tokens. Until this is told, its chunks are kept.
    pub fn count(&mut self, number: u64, tokens: u64) {
        if let Some(request) = self.requests.get_mut(&number) {
            request.counted = Some(tokens);
        } else if let Some(request) = self.uncounted.remove(&number) {
            for (period, n) in spread(&request.chunks, &request.shares, request.assumed) {
                self.settled[period] -= n;
            }
            for (period, n) in spread(&request.chunks, &request.shares, tokens) {
                self.settled[period] += n;
            }
        }
    }

    /// Whether a request that went out before `instant` still runs.
    #[must_use]
    pub fn has_open_since_before(&self, instant: Duration) -> bool {
        let is_older = |r: &Tracked| r.ended.is_none() && r.launched < instant;
        self.requests.values().any(is_older)
    }

    /// When the newest token arrived.
    #[must_use]
    pub fn last_arrival(&self) -> Option<Duration> {
        self.last_arrival
    }

    /// Ends the period at `end`; the next one begins there. Arrivals at `end` belong to the period, later
    /// ones do not; an arrival that becomes known only after its period was closed belongs to the next one.
    /// `patience` is how long a request may wait for its first token without joining
    /// [`PeriodFigures::ttft_with_waits`].
    pub fn close(&mut self, end: Duration, patience: Option<Duration>) -> PeriodFigures {
        let period = self.settled.len();
        self.settled.push(0);
        let mut figures = PeriodFigures {
            launched: std::mem::take(&mut self.launched),
            ..PeriodFigures::default()
        };
        for request in self.requests.values_mut() {
            request.attribute(period, end);
        }
        // Ended ones first: what they tell of tokens per chunk counts for those that still run.
        for request in self.requests.values() {
            if let Some(ended) = request.over(end) {
                self.ratio.learn(&ended, request.chunks.len());
            }
        }
        let mut samples = Samples::default();
        let ratio = self.ratio;
        for request in self.requests.values() {
            samples.add(request, end, patience, ratio, &mut figures);
        }
        let over = self.take_over(end);
        for (number, request, ended) in over {
            self.settle(number, request, &ended);
        }
        figures.output_tokens += self.settled[period];
        samples.into_stats(&mut figures);
        figures
    }

    /// Settles everything: what arrived behind the last border is the tail.
    #[must_use]
    pub fn finish(mut self) -> Settled {
        let tail = self.close(Duration::MAX, None);
        let n_periods = self.settled.len() - 1;
        // Requests that nobody ended: what is known of them is all there is.
        for (number, request) in std::mem::take(&mut self.requests) {
            let ended = Ended {
                at: Duration::MAX,
                how: Ending::Cancelled,
                tokens: None,
            };
            self.settle(number, request, &ended);
        }
        let tail_output_tokens = self.settled[n_periods];
        self.settled.truncate(n_periods);
        Settled {
            output_tokens: self.settled,
            tail_output_tokens,
            tail_input_tokens: tail.input_tokens,
        }
    }

    /// Takes out the requests of which nothing can come behind `end`.
    fn take_over(&mut self, end: Duration) -> Vec<(u64, Tracked, Ended)> {
        let over: Vec<(u64, Ended)> = self
            .requests
            .iter()
            .filter_map(|(number, request)| Some((*number, request.over(end)?)))
            .collect();
        over.into_iter()
            .filter_map(|(number, ended)| Some((number, self.requests.remove(&number)?, ended)))
            .collect()
    }

    /// Gives the tokens of an ended request to the periods of its chunks.
    fn settle(&mut self, number: u64, request: Tracked, ended: &Ended) {
        let known = ended.tokens.or(request.counted);
        let tokens = known.unwrap_or_else(|| self.ratio.tokens(request.chunks.len()));
        for (period, n) in spread(&request.chunks, &request.shares, tokens) {
            self.settled[period] += n;
        }
        if known.is_none() && ended.how == Ending::Completed {
            let uncounted = Uncounted {
                assumed: tokens,
                chunks: request.chunks,
                shares: request.shares,
            };
            self.uncounted.insert(number, uncounted);
        }
    }
}

/// Tokens of a request, period by period.
fn spread(chunks: &[ChunkStamp], shares: &[(usize, usize)], tokens: u64) -> Vec<(usize, u64)> {
    let weights: Vec<u32> = chunks.iter().map(|c| c.text_bytes).collect();
    let mut of_chunk = spread_tokens(tokens, &weights).into_iter();
    shares
        .iter()
        .map(|(period, n)| (*period, of_chunk.by_ref().take(*n).sum()))
        .collect()
}

impl Tracked {
    /// Gives the chunks that arrived up to `end` and belong to no period yet to `period`.
    fn attribute(&mut self, period: usize, end: Duration) {
        let new = self.chunks[self.attributed..].partition_point(|c| c.at <= end);
        self.attributed_before = self.attributed;
        self.attributed += new;
        if new > 0 {
            self.shares.push((period, new));
        }
    }

    /// Its end, if that was not behind `end`.
    fn over(&self, end: Duration) -> Option<Ended> {
        self.ended
            .filter(|ended| ended.at <= end && self.attributed == self.chunks.len())
    }
}

/// Output tokens per chunk of completed requests that the server counted; 1 until there is one.
#[derive(Debug, Clone, Copy, Default)]
struct Ratio {
    tokens: u64,
    chunks: u64,
}

impl Ratio {
    fn learn(&mut self, ended: &Ended, n_chunks: usize) {
        if let (Ending::Completed, Some(tokens)) = (ended.how, ended.tokens) {
            self.tokens += tokens;
            self.chunks += n_chunks as u64;
        }
    }

    /// Tokens of so many chunks; grows with them.
    fn tokens(self, n_chunks: usize) -> u64 {
        if self.chunks == 0 {
            return n_chunks as u64;
        }
        let (tokens, chunks) = (u128::from(self.tokens), u128::from(self.chunks));
        let rounded = (2 * tokens * n_chunks as u128 + chunks) / (2 * chunks);
        u64::try_from(rounded).unwrap_or(u64::MAX)
    }
}

/// Latencies of one period.
#[derive(Debug, Default)]
struct Samples {
    ttft: Vec<f64>,
    waits: Vec<f64>,
    ttlt: Vec<f64>,
    itl: Vec<f64>,
    speed: Vec<f64>,
}

impl Samples {
    /// Takes a request whose chunks have been attributed to the period that ends at `end`.
    fn add(
        &mut self,
        request: &Tracked,
        end: Duration,
        patience: Option<Duration>,
        ratio: Ratio,
        figures: &mut PeriodFigures,
    ) {
        let over = request.over(end);
        match over.map(|ended| ended.how) {
            Some(Ending::Completed) => figures.completed += 1,
            Some(Ending::Failed) => figures.failed += 1,
            Some(Ending::Cancelled) | None => {}
        }
        let since_launch = |at: Duration| at.saturating_sub(request.launched);
        let arrived = &request.chunks[..request.attributed];
        let (Some(first), Some(last)) = (arrived.first(), arrived.last()) else {
            let wait = since_launch(end);
            if over.is_none() && patience.is_some_and(|patience| wait > patience) {
                figures.waiting += 1;
                self.waits.push(wait.as_secs_f64());
            }
            return;
        };
        if request.attributed == request.attributed_before {
            return;
        }
        figures.contributing += 1;
        if request.attributed_before == 0 {
            figures.prefills += 1;
            figures.input_tokens += request.input_tokens;
            push_positive(&mut self.ttft, since_launch(first.at));
        }
        if over.is_none() {
            figures.output_tokens +=
                ratio.tokens(request.attributed) - ratio.tokens(request.attributed_before);
        }
        if over.is_some_and(|ended| ended.how == Ending::Failed) {
            // Its tokens arrived, but how long they took says nothing of a request that works.
            return;
        }
        let tokens = over
            .and_then(|ended| ended.tokens)
            .unwrap_or_else(|| ratio.tokens(request.attributed));
        push_positive(&mut self.ttlt, since_launch(last.at));
        if tokens > 1 {
            let gaps = (tokens - 1) as f64;
            let decode = last.at.saturating_sub(first.at).as_secs_f64();
            if decode > 0.0 {
                self.itl.push(decode / gaps);
            }
            let generation = over.map_or(end, |ended| ended.at).saturating_sub(first.at);
            if !generation.is_zero() {
                self.speed.push(tokens as f64 / generation.as_secs_f64());
            }
        }
    }

    fn into_stats(self, figures: &mut PeriodFigures) {
        figures.ttft = Stats::of(self.ttft.iter().copied());
        figures.ttft_with_waits = Stats::of(self.ttft.into_iter().chain(self.waits));
        figures.ttlt = Stats::of(self.ttlt);
        figures.itl = Stats::of(self.itl);
        figures.speed = SpeedStats::of(self.speed);
    }
}

/// Keeps a latency that is more than nothing; zero is no sample.
fn push_positive(sample: &mut Vec<f64>, latency: Duration) {
    if !latency.is_zero() {
        sample.push(latency.as_secs_f64());
    }
}

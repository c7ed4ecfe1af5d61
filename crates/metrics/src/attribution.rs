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
//!
//! Closing a period stops whoever reads streams, so as little as can be is left to do then: a request that ends before
//! the border that is expected is settled when it ends, and of one that still runs, only chunks that belong to no period
//! yet are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::percentile::{SpeedStats, Stats};
use crate::spread::spread_tokens;
use crate::timeline::{ChunkStamp, Launch, Timeline};

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
    /// The same from the instants at which those requests should have gone out.
    pub ttft_from_intended: Stats,
    /// TTFT with the wait so far of every request that has waited longer than the patience given.
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
#[derive(Debug, Default)]
struct Tracked {
    input_tokens: u64,
    launched: Duration,
    /// How late the client was with it.
    delay: Duration,
    /// Chunks that belong to a period.
    attributed: usize,
    /// Chunks that belong to closed periods.
    attributed_before: usize,
    /// When the first and the last of those that belong to a period arrived.
    arrived: Option<(Duration, Duration)>,
    /// (period, chunks of the request in it), ascending.
    shares: Vec<(usize, usize)>,
    /// Chunks that belong to no period yet, in order.
    pending: Vec<ChunkStamp>,
    ended: Option<Ended>,
    /// Of an ended one, the text length of each chunk, as far as that is needed to spread its tokens.
    weights: Vec<u32>,
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
    weights: Vec<u32>,
    shares: Vec<(usize, usize)>,
}

/// Attributes the tokens of a load to periods. Requests are told apart by numbers of the caller's choice.
#[derive(Debug)]
pub struct TokenAttribution {
    requests: BTreeMap<u64, Tracked>,
    uncounted: BTreeMap<u64, Uncounted>,
    /// Output tokens of settled requests, per period, the open one last.
    settled: Vec<u64>,
    ratio: Ratio,
    launched: u64,
    last_arrival: Option<Duration>,
    /// The open period ends there, unless it is cut short.
    border: Duration,
    /// The newest end of a request that was given to the open period before its end.
    taken_until: Duration,
    open: Open,
}

/// What is known of the open period.
#[derive(Debug, Default)]
struct Open {
    figures: PeriodFigures,
    samples: Samples,
}

impl Default for TokenAttribution {
    fn default() -> Self {
        Self {
            requests: BTreeMap::new(),
            uncounted: BTreeMap::new(),
            settled: vec![0],
            ratio: Ratio::default(),
            launched: 0,
            last_arrival: None,
            border: Duration::ZERO,
            taken_until: Duration::ZERO,
            open: Open::default(),
        }
    }
}

impl TokenAttribution {
    /// No request, no period.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The open period will end at `border`: requests that end before are settled when they end. Without that, or where
    /// it comes otherwise, all figures are the same, but [`Self::close`] has more to do. A period that is cut short must
    /// not end before a request that has ended.
    pub fn expect_border(&mut self, border: Duration) {
        self.border = border;
    }

    /// Request `number` goes out at `at`.
    pub fn launch(&mut self, number: u64, input_tokens: u64, at: Duration) {
        self.launched += 1;
        let tracked = Tracked {
            input_tokens,
            launched: at,
            ..Tracked::default()
        };
        self.requests.insert(number, tracked);
    }

    /// What is new of a running request: how it went out, and chunks behind those known.
    pub fn observe(
        &mut self,
        number: u64,
        launch: Option<Launch>,
        chunks: impl IntoIterator<Item = ChunkStamp>,
    ) {
        let Some(request) = self.requests.get_mut(&number) else {
            return;
        };
        request.went_out(launch);
        if request.pending.is_empty() {
            // The caller's own list as a rule, which is then taken over as it is.
            request.pending = chunks.into_iter().collect();
        } else {
            request.pending.extend(chunks);
        }
        self.last_arrival = self.last_arrival.max(request.pending.last().map(|c| c.at));
    }

    /// A request has ended. `tokens` is the server's count of its output, which is spread over all its
    /// chunks; a completed request without one may be counted later ([`Self::count`]).
    pub fn end(&mut self, number: u64, timeline: &Timeline, tokens: Option<u64>, how: Ending) {
        let Some(mut request) = self.requests.remove(&number) else {
            return;
        };
        let ended = Ended {
            at: timeline.finished,
            how,
            tokens,
        };
        request.went_out(Some(timeline.launch()));
        request.ended = Some(ended);
        request.pending = Vec::new();
        self.last_arrival = self.last_arrival.max(timeline.last_token_at());
        let new = timeline.chunks.get(request.attributed..).unwrap_or(&[]);
        let is_over = ended.at <= self.border && new.last().is_none_or(|c| c.at <= self.border);
        if is_over {
            request.give(self.settled.len() - 1, new);
            self.taken_until = self.taken_until.max(ended.at);
        } else {
            request.pending = new.to_vec();
        }
        if !is_over || request.shares.len() > 1 {
            request.weights = timeline.chunks.iter().map(|c| c.text_bytes).collect();
        }
        if is_over && tokens.is_some() {
            self.ratio.learn(&ended, request.attributed);
            self.open.add(&request, Seen::Over(ended), self.ratio);
            self.settle(number, request, &ended);
        } else {
            self.requests.insert(number, request);
        }
    }

    /// A request that ended without a count holds so many tokens. Until this is told, what is needed to spread them is kept.
    pub fn count(&mut self, number: u64, tokens: u64) {
        if let Some(request) = self.requests.get_mut(&number) {
            request.counted = Some(tokens);
        } else if let Some(request) = self.uncounted.remove(&number) {
            for (period, n) in spread(&request.weights, &request.shares, request.assumed) {
                self.settled[period] -= n;
            }
            for (period, n) in spread(&request.weights, &request.shares, tokens) {
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
        let end = end.max(self.taken_until);
        let period = self.settled.len() - 1;
        let mut open = std::mem::take(&mut self.open);
        open.figures.launched = std::mem::take(&mut self.launched);
        for request in self.requests.values_mut() {
            request.attribute(period, end);
        }
        // Ended ones first: what they tell of tokens per chunk counts for those that still run.
        for request in self.requests.values() {
            if let Some(ended) = request.over(end) {
                self.ratio.learn(&ended, request.attributed);
            }
        }
        for request in self.requests.values() {
            let seen = match request.over(end) {
                Some(ended) => Seen::Over(ended),
                None => Seen::Running { end, patience },
            };
            open.add(request, seen, self.ratio);
        }
        let over = self.take_over(end);
        for (number, request, ended) in over {
            self.settle(number, request, &ended);
        }
        for request in self.requests.values_mut() {
            request.attributed_before = request.attributed;
        }
        open.figures.output_tokens += self.settled[period];
        self.settled.push(0);
        open.into_figures()
    }

    /// Settles everything: what arrived behind the last border is the tail.
    #[must_use]
    pub fn finish(mut self) -> Settled {
        let n_periods = self.settled.len() - 1;
        let tail = self.close(Duration::MAX, None);
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
        let tokens = known.unwrap_or_else(|| self.ratio.tokens(request.attributed));
        for (period, n) in spread(&request.weights, &request.shares, tokens) {
            self.settled[period] += n;
        }
        if known.is_none() && ended.how == Ending::Completed {
            let uncounted = Uncounted {
                assumed: tokens,
                weights: request.weights,
                shares: request.shares,
            };
            self.uncounted.insert(number, uncounted);
        }
    }
}

/// Tokens of a request, period by period; by the number of chunks where their lengths are not known.
fn spread(weights: &[u32], shares: &[(usize, usize)], tokens: u64) -> Vec<(usize, u64)> {
    // As a rule a request lies in one period, and then all its tokens do.
    if let [(period, _)] = shares {
        return vec![(*period, tokens)];
    }
    let n_chunks = shares.iter().map(|(_, n)| n).sum();
    let of_chunk = if weights.len() < n_chunks {
        spread_tokens(tokens, &vec![0; n_chunks])
    } else {
        spread_tokens(tokens, weights)
    };
    let mut of_chunk = of_chunk.into_iter();
    shares
        .iter()
        .map(|(period, n)| (*period, of_chunk.by_ref().take(*n).sum()))
        .collect()
}

impl Tracked {
    fn went_out(&mut self, launch: Option<Launch>) {
        if let Some(Launch { at, delay }) = launch {
            (self.launched, self.delay) = (at, delay);
        }
    }

    /// Gives the chunks that arrived up to `end` and belong to no period yet to `period`.
    fn attribute(&mut self, period: usize, end: Duration) {
        let n_new = self.pending.partition_point(|c| c.at <= end);
        let later = self.pending.split_off(n_new);
        let new = std::mem::replace(&mut self.pending, later);
        self.give(period, &new);
    }

    fn give(&mut self, period: usize, new: &[ChunkStamp]) {
        if let (Some(first), Some(last)) = (new.first(), new.last()) {
            let first = self.arrived.map_or(first.at, |(first, _)| first);
            self.arrived = Some((first, last.at));
            self.attributed += new.len();
            self.shares.push((period, new.len()));
        }
    }

    /// Its end, if that was not behind `end`.
    fn over(&self, end: Duration) -> Option<Ended> {
        self.ended
            .filter(|ended| ended.at <= end && self.pending.is_empty())
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
    ttft_from_intended: Vec<f64>,
    waits: Vec<f64>,
    ttlt: Vec<f64>,
    itl: Vec<f64>,
    speed: Vec<f64>,
}

/// How a request stands when it is added to a period.
#[derive(Debug, Clone, Copy)]
enum Seen {
    /// It ended in the period.
    Over(Ended),
    /// It ran at the period's end.
    Running {
        end: Duration,
        patience: Option<Duration>,
    },
}

impl Open {
    /// Takes a request whose chunks have been given to the period.
    fn add(&mut self, request: &Tracked, seen: Seen, ratio: Ratio) {
        let Self { figures, samples } = self;
        let over = match seen {
            Seen::Over(ended) => Some(ended),
            Seen::Running { .. } => None,
        };
        match over.map(|ended| ended.how) {
            Some(Ending::Completed) => figures.completed += 1,
            Some(Ending::Failed) => figures.failed += 1,
            Some(Ending::Cancelled) | None => {}
        }
        let since_launch = |at: Duration| at.saturating_sub(request.launched);
        let Some((first, last)) = request.arrived else {
            if let Seen::Running { end, patience } = seen {
                let wait = since_launch(end);
                if patience.is_some_and(|patience| wait > patience) {
                    figures.waiting += 1;
                    samples.waits.push(wait.as_secs_f64());
                }
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
            let ttft = since_launch(first);
            if push_positive(&mut samples.ttft, ttft) {
                let from_intended = ttft + request.delay;
                samples.ttft_from_intended.push(from_intended.as_secs_f64());
            }
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
        push_positive(&mut samples.ttlt, since_launch(last));
        if tokens > 1 {
            let gaps = (tokens - 1) as f64;
            let decode = last.saturating_sub(first).as_secs_f64();
            if decode > 0.0 {
                samples.itl.push(decode / gaps);
            }
            let until = match seen {
                Seen::Over(ended) => ended.at,
                Seen::Running { end, .. } => end,
            };
            let generation = until.saturating_sub(first);
            if !generation.is_zero() {
                samples.speed.push(tokens as f64 / generation.as_secs_f64());
            }
        }
    }

    fn into_figures(self) -> PeriodFigures {
        let Samples {
            ttft,
            ttft_from_intended,
            waits,
            ttlt,
            itl,
            speed,
        } = self.samples;
        PeriodFigures {
            ttft: Stats::of(ttft.iter().copied()),
            ttft_from_intended: Stats::of(ttft_from_intended),
            ttft_with_waits: Stats::of(ttft.into_iter().chain(waits)),
            ttlt: Stats::of(ttlt),
            itl: Stats::of(itl),
            speed: SpeedStats::of(speed),
            ..self.figures
        }
    }
}

/// Keeps a latency that is more than nothing; zero is no sample. Whether it was kept.
fn push_positive(sample: &mut Vec<f64>, latency: Duration) -> bool {
    if !latency.is_zero() {
        sample.push(latency.as_secs_f64());
    }
    !latency.is_zero()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn timeline(chunks: std::ops::Range<u64>, finished: u64) -> Timeline {
        let stamp = |at| ChunkStamp {
            at: MS(at),
            text_bytes: 4,
        };
        Timeline {
            chunks: chunks.map(stamp).collect(),
            finished: MS(finished),
            ..Timeline::default()
        }
    }

    /// Chunks of a whole period were spread, copied and let go in one go at its border, on the thread that reads streams.
    #[test]
    fn nothing_is_left_to_do_at_a_border_for_requests_that_have_ended() {
        let mut attribution = TokenAttribution::new();
        attribution.expect_border(MS(1000));
        for number in 0..4 {
            attribution.launch(number, 10, MS(0));
        }
        let (completed, failed) = (Ending::Completed, Ending::Failed);
        attribution.end(0, &timeline(100..200, 300), Some(100), completed);
        attribution.end(1, &timeline(100..200, 300), Some(50), failed);
        assert_eq!(attribution.requests.keys().collect::<Vec<_>>(), [&2, &3]);
        // One that the server did not count waits for what others tell of tokens per chunk, but its chunks do not.
        attribution.end(2, &timeline(100..200, 300), None, completed);
        let uncounted = &attribution.requests[&2];
        assert!(uncounted.pending.is_empty() && uncounted.weights.is_empty());
        // Of one that runs, what was given to a period is let go.
        attribution.observe(3, None, timeline(900..1100, 0).chunks);
        let figures = attribution.close(MS(1000), None);
        assert_eq!(attribution.requests[&3].pending.len(), 99);
        assert_eq!((figures.completed, figures.failed), (2, 1));
        assert_eq!(figures.output_tokens, 100 + 50 + 100 + 101);
    }
}

//! What one measured window yields: throughput by two accountings, latency statistics, counts.
//!
//! Two throughputs stand side by side (`docs/cache_rate_tester.md`):
//!
//! * *published*: Σ tokens of completed requests ÷ (last finish − first launch), the originals' formula. It
//!   counts the idle tail of the drain and reads low on short windows.
//! * *window*, or prorated: each request gives the share of its tokens that its time inside the window is
//!   of its whole time, divided by the planned length. It obeys Little's law and decides which level wins.
//!
//! Promise: a rate is finite and not negative; a statistic without a sample is `None`. Records are taken
//! as they are: nothing here decides which requests belong to the window.

use crate::percentile::{SpeedStats, Stats};
use crate::record::{FailedRequest, RequestRecord};
use crate::sample::Completed;

/// Tokens per second in both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Throughput {
    /// Body tokens/s.
    pub input_tps: f64,
    /// Output tokens/s.
    pub output_tps: f64,
}

/// The requests of one window and when it was.
#[derive(Debug, Clone, Copy)]
pub struct WindowSample<'a> {
    /// First launch of the window, Unix seconds. The window is [first launch, first launch + planned].
    pub first_launch: f64,
    /// Planned length, seconds.
    pub planned: f64,
    /// Completed requests, stragglers of the drain included.
    pub records: &'a [RequestRecord],
    /// Failed and cancelled requests. Only the cancelled ones give tokens.
    pub failed: &'a [FailedRequest],
}

impl<'a> WindowSample<'a> {
    /// A window that starts at the earliest launch among its requests, failed ones included.
    #[must_use]
    pub fn starting_at_first_launch(
        planned: f64,
        records: &'a [RequestRecord],
        failed: &'a [FailedRequest],
    ) -> Self {
        let launches = records
            .iter()
            .map(|r| r.launch_time)
            .chain(failed.iter().map(|f| f.launch_time));
        let first_launch = launches.min_by(f64::total_cmp).unwrap_or(0.0);
        Self {
            first_launch,
            planned,
            records,
            failed,
        }
    }

    /// End of the window, Unix seconds.
    #[must_use]
    pub fn end(&self) -> f64 {
        self.first_launch + self.planned
    }
}

/// Share of a completed request that lies inside [start, end], 0 to 1.
///
/// A request that took no time at all is wholly inside the window that holds its launch, start included
/// and end not, so that abutting windows count it once.
#[must_use]
pub fn share_inside(record: &RequestRecord, start: f64, end: f64) -> f64 {
    let (launch, finish) = (record.launch_time, record.finish_time);
    if finish > launch {
        let overlap = finish.min(end) - launch.max(start);
        (overlap / (finish - launch)).clamp(0.0, 1.0)
    } else if launch >= start && launch < end {
        1.0
    } else {
        0.0
    }
}

/// Input and output tokens that a cancelled request gave inside [start, end); the end is left out so that
/// abutting windows count every chunk once.
///
/// Output: the tokens of chunks that arrived inside; where the server told the count before the end, that
/// count is spread over all chunks, otherwise a chunk is one token. Input: the whole body if the first token
/// arrived inside, since then the prefill was done there.
#[must_use]
pub fn cancelled_tokens(request: &FailedRequest, start: f64, end: f64) -> (u64, u64) {
    let timeline = &request.partial.timeline;
    let arrivals = || {
        timeline.chunks.iter().map(|chunk| {
            request.launch_time + chunk.at.saturating_sub(timeline.launched).as_secs_f64()
        })
    };
    let inside = |at: f64| at >= start && at < end;
    let input = match arrivals().next() {
        Some(first) if inside(first) => request.input_tokens(),
        _ => 0,
    };
    let output = match request.partial.usage.completion_tokens {
        Some(total) => {
            let weights: Vec<u32> = timeline.chunks.iter().map(|c| c.text_bytes).collect();
            let tokens = crate::spread::spread_tokens(total, &weights);
            arrivals()
                .zip(tokens)
                .filter(|(at, _)| inside(*at))
                .map(|(_, n)| n)
                .sum()
        }
        None => arrivals().filter(|at| inside(*at)).count() as u64,
    };
    (input, output)
}

/// Window-accounted throughput.
///
/// Zero when no request completed: a server too slow to finish one has shown no rate.
#[must_use]
pub fn prorated_throughput(window: &WindowSample<'_>) -> Throughput {
    if window.records.is_empty() || window.planned <= 0.0 {
        return Throughput::default();
    }
    let (start, end) = (window.first_launch, window.end());
    let (mut input, mut output) = (0.0, 0.0);
    for record in window.records {
        let share = share_inside(record, start, end);
        input += share * record.input_tokens() as f64;
        output += share * record.output_tokens as f64;
    }
    for request in window.failed.iter().filter(|f| f.is_cancelled()) {
        let (request_input, request_output) = cancelled_tokens(request, start, end);
        input += request_input as f64;
        output += request_output as f64;
    }
    Throughput {
        input_tps: input / window.planned,
        output_tps: output / window.planned,
    }
}

/// First launch and last finish, Unix seconds; `None` without requests.
#[must_use]
pub fn time_span<'a, R: Completed + 'a>(
    records: impl IntoIterator<Item = &'a R>,
) -> Option<(f64, f64)> {
    records
        .into_iter()
        .map(|r| (r.launch_time(), r.finish_time()))
        .reduce(|(first, last), (launch, finish)| (first.min(launch), last.max(finish)))
}

/// The originals' throughput: Σ tokens ÷ (last finish − first launch). `None` when no time passed.
#[must_use]
pub fn published_throughput<'a, R: Completed + 'a>(
    records: impl IntoIterator<Item = &'a R>,
) -> Option<Throughput> {
    let (mut input, mut output) = (0, 0);
    let span = time_span(records.into_iter().inspect(|r| {
        input += r.input_tokens();
        output += r.output_tokens();
    }));
    let (first, last) = span?;
    let seconds = last - first;
    (seconds > 0.0).then(|| Throughput {
        input_tps: input as f64 / seconds,
        output_tps: output as f64 / seconds,
    })
}

/// `--strict-time-window`: requests launched before, and finished at or before, first launch + `planned`
/// seconds. Per phase, never over several.
#[must_use]
pub fn strict_filter<'a, R: Completed + 'a>(
    records: impl IntoIterator<Item = &'a R>,
    planned: f64,
) -> Vec<&'a R> {
    let all: Vec<&R> = records.into_iter().collect();
    let Some((first, _)) = time_span(all.iter().copied()) else {
        return Vec::new();
    };
    let end = first + planned;
    all.into_iter()
        .filter(|r| r.launch_time() < end && r.finish_time() <= end)
        .collect()
}

/// Which TTFT statistic is held against the threshold (`--ttft-metric`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TtftMetric {
    /// Largest.
    Max,
    /// Mean.
    Avg,
    /// 95th percentile.
    #[default]
    P95,
}

impl TtftMetric {
    /// The word of the command line and of `progress.json`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::Avg => "avg",
            Self::P95 => "p95",
        }
    }

    /// The words people read.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Max => "Max TTFT",
            Self::Avg => "Avg TTFT",
            Self::P95 => "P95 TTFT",
        }
    }

    /// This statistic of a sample.
    #[must_use]
    pub fn of(self, stats: &Stats) -> Option<f64> {
        match self {
            Self::Max => stats.max,
            Self::Avg => stats.avg,
            Self::P95 => stats.p95,
        }
    }
}

/// Which request-speed statistic is held against the threshold (`--tokens-per-req-metric`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SpeedMetric {
    /// Mean.
    #[default]
    Avg,
    /// 5th percentile.
    P5,
    /// 10th percentile.
    P10,
}

impl SpeedMetric {
    /// The word of the command line and of `progress.json`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::P5 => "p5",
            Self::P10 => "p10",
        }
    }

    /// The words people read.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Avg => "Avg Tokens/Req",
            Self::P5 => "P5 Tokens/Req",
            Self::P10 => "P10 Tokens/Req",
        }
    }

    /// This statistic of a sample.
    #[must_use]
    pub fn of(self, stats: &SpeedStats) -> Option<f64> {
        match self {
            Self::Avg => stats.avg,
            Self::P5 => stats.p5,
            Self::P10 => stats.p10,
        }
    }
}

/// Everything a window says about its level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LevelMetrics {
    /// Requests handed to a connection.
    pub launched: u64,
    /// Requests that yielded a sample.
    pub completed: u64,
    /// Requests that failed, cancelled ones not counted.
    pub failed: u64,
    /// Requests cancelled by us.
    pub cancelled: u64,
    /// TTFT, seconds, over requests with a TTFT above zero.
    pub ttft: Stats,
    /// TTLT, seconds, over requests with a TTLT above zero.
    pub ttlt: Stats,
    /// ITL, seconds, where defined.
    pub itl: Stats,
    /// Request speed, tokens/s, where defined.
    pub speed: SpeedStats,
    /// Originals' formula over all completed requests; zero when no time passed.
    pub published: Throughput,
    /// Originals' formula over the strict set; `None` when that set is empty or no time passed in it.
    pub strict: Option<Throughput>,
    /// Window-accounted rate over all requests.
    pub window: Throughput,
    /// The rate that decides: [`Self::window`], or with `--strict-time-window` the strict figure.
    pub deciding: Throughput,
    /// The strict set was empty, so all requests were used; worth a warning.
    pub strict_fell_back: bool,
}

impl LevelMetrics {
    /// Metrics of a window; `strict` is `--strict-time-window`, which narrows the latency samples too.
    #[must_use]
    pub fn from_window(window: &WindowSample<'_>, strict: bool) -> Self {
        let strict_set = strict_filter(window.records, window.planned);
        let strict_rate = published_throughput(strict_set.iter().copied());
        let published = published_throughput(window.records).unwrap_or_default();
        let prorated = prorated_throughput(window);
        let strict_fell_back = strict && strict_set.is_empty() && !window.records.is_empty();
        let narrowed = strict && !strict_fell_back;
        let sample: Vec<&RequestRecord> = if narrowed {
            strict_set
        } else {
            window.records.iter().collect()
        };
        let cancelled = window.failed.iter().filter(|f| f.is_cancelled()).count() as u64;
        let failed = window.failed.len() as u64 - cancelled;
        let completed = window.records.len() as u64;
        Self {
            launched: completed + failed + cancelled,
            completed,
            failed,
            cancelled,
            ttft: Stats::of(sample.iter().filter_map(|r| r.ttft_sample())),
            ttlt: Stats::of(sample.iter().filter_map(|r| r.ttlt_sample())),
            itl: Stats::of(sample.iter().filter_map(|r| r.itl_sample())),
            speed: SpeedStats::of(sample.iter().filter_map(|r| r.request_speed())),
            published,
            strict: strict_rate,
            window: prorated,
            deciding: match (strict, strict_fell_back) {
                (false, _) => prorated,
                (true, false) => strict_rate.unwrap_or_default(),
                (true, true) => published,
            },
            strict_fell_back,
        }
    }

    /// False for a level that must never be chosen: no request completed, or more than half of those that
    /// ended by themselves failed. Cancelled requests are ours and count on neither side.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.completed > 0 && self.failed <= self.completed
    }
}

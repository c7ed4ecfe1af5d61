//! Figures over all requests, by the original's formulas.
//!
//! Promise: pure. Everything but the counts is over successful requests; a figure of nothing is 0, as in
//! the original's file. Percentiles are the original's too: the element at ⌊n·p/100⌋ of the sorted
//! sample, which is the upper neighbour and not an interpolation.

use std::time::Duration;

use metrics::timeline::{Failure, FailureKind};

use crate::answer::{Reply, TokenCount};
use crate::load::{Sample, Samples};

/// The eleven results.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Summary {
    /// Measured requests that finished.
    pub total_requests: usize,
    /// Those with a usable answer.
    pub successful_requests: usize,
    /// The others.
    pub failed_requests: usize,
    /// Median time to first token, ms.
    pub ttft_p50_ms: f64,
    /// 95th percentile of it, ms.
    pub ttft_p95_ms: f64,
    /// 99th percentile of it, ms.
    pub ttft_p99_ms: f64,
    /// Mean over requests of (latency − TTFT) ÷ (tokens − 1), ms.
    pub tpot_avg_ms: f64,
    /// Output tokens of all answers ÷ `total_time_sec`.
    pub throughput_tokens_per_sec: f64,
    /// Answers from the cache ÷ successful requests, 0 to 1.
    pub cache_hit_rate: f64,
    /// Mean latency, ms.
    pub avg_latency_ms: f64,
    /// From just before the first request to the end of the last, s.
    pub total_time_sec: f64,
}

impl Summary {
    /// Sums up finished requests.
    #[must_use]
    pub fn of(measured: &Samples) -> Self {
        let samples = &measured.samples;
        let replies: Vec<&Reply> = replies(samples).collect();
        let from_sent = Latencies::of(samples, |_| Duration::ZERO);
        let tpots: Vec<f64> = replies
            .iter()
            .filter(|reply| reply.output_tokens > 1 && !reply.ttft.is_zero())
            .map(|reply| (ms(reply.latency) - ms(reply.ttft)) / (reply.output_tokens - 1) as f64)
            .collect();
        let n_tokens: u64 = replies.iter().map(|reply| reply.output_tokens).sum();
        let n_hits = replies.iter().filter(|reply| reply.is_cached).count();
        let total_time_sec = measured.total.as_secs_f64();
        Self {
            total_requests: samples.len(),
            successful_requests: replies.len(),
            failed_requests: samples.len() - replies.len(),
            ttft_p50_ms: from_sent.ttft_p50_ms,
            ttft_p95_ms: from_sent.ttft_p95_ms,
            ttft_p99_ms: from_sent.ttft_p99_ms,
            tpot_avg_ms: mean(&tpots),
            throughput_tokens_per_sec: share(n_tokens as f64, total_time_sec),
            cache_hit_rate: share(n_hits as f64, replies.len() as f64),
            avg_latency_ms: from_sent.avg_latency_ms,
            total_time_sec,
        }
    }
}

/// Latencies of the usable answers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latencies {
    /// Median time to first token, ms.
    pub ttft_p50_ms: f64,
    /// 95th percentile of it, ms.
    pub ttft_p95_ms: f64,
    /// 99th percentile of it, ms.
    pub ttft_p99_ms: f64,
    /// Mean latency, ms.
    pub avg_latency_ms: f64,
}

impl Latencies {
    /// From the instants at which the requests should have been sent: with what the client was late.
    #[must_use]
    pub fn from_intended(samples: &[Sample]) -> Self {
        Self::of(samples, |sample| sample.send_delay)
    }

    /// With `more` on each time of a sample.
    fn of(samples: &[Sample], more: impl Fn(&Sample) -> Duration) -> Self {
        let answered: Vec<(&Reply, Duration)> = samples
            .iter()
            .filter_map(|sample| Some((sample.outcome.as_ref().ok()?, more(sample))))
            .collect();
        let with_first = answered.iter().filter(|(reply, _)| !reply.ttft.is_zero());
        let mut ttfts: Vec<f64> = with_first
            .map(|(reply, more)| ms(reply.ttft + *more))
            .collect();
        ttfts.sort_unstable_by(f64::total_cmp);
        let latencies: Vec<f64> = answered
            .iter()
            .map(|(reply, more)| ms(reply.latency + *more))
            .collect();
        Self {
            ttft_p50_ms: upper_percentile(&ttfts, 50),
            ttft_p95_ms: upper_percentile(&ttfts, 95),
            ttft_p99_ms: upper_percentile(&ttfts, 99),
            avg_latency_ms: mean(&latencies),
        }
    }
}

/// What is worth a note beside the figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Successful requests.
    pub n_replies: usize,
    /// Of those, the ones whose tokens the server counted.
    pub n_reported: usize,
    /// Of those, the ones whose tokens are the parts of a stream.
    pub n_chunks: usize,
    /// Of those, the ones whose tokens are estimated.
    pub n_estimated: usize,
    /// Of those, the ones without any text.
    pub n_empty: usize,
    /// Requests for which a connection had to be opened.
    pub n_dialled: usize,
    /// What that took in all.
    pub dialled: Duration,
    /// Requests that were redirected.
    pub n_redirected: usize,
    /// The median TTFT of answers in one piece is nearly their whole median latency, so that it says
    /// nothing about a first token.
    pub ttft_is_latency: bool,
}

/// A TTFT above this share of the latency is no first token.
const TELLING_SHARE: f64 = 0.95;

impl Remarks {
    /// Looks at finished requests.
    #[must_use]
    pub fn of(samples: &[Sample]) -> Self {
        let mut remarks = Self::default();
        for sample in samples {
            // An attempt that was refused opened nothing.
            if !sample.dial.is_zero() && !sample.failed_as(FailureKind::Connect) {
                remarks.n_dialled += 1;
                remarks.dialled += sample.dial;
            }
            remarks.n_redirected += usize::from(sample.n_redirects > 0);
        }
        for reply in replies(samples) {
            remarks.n_replies += 1;
            remarks.n_empty += usize::from(reply.is_empty);
            match reply.token_count {
                TokenCount::Reported => remarks.n_reported += 1,
                TokenCount::Chunks => remarks.n_chunks += 1,
                TokenCount::Estimated => remarks.n_estimated += 1,
            }
        }
        let plain = || replies(samples).filter(|reply| !reply.is_streamed);
        let median = |values: Vec<f64>| {
            metrics::percentile::percentile(&metrics::percentile::sorted(values), 0.5)
        };
        let ttft = median(plain().map(|reply| ms(reply.ttft)).collect());
        let latency = median(plain().map(|reply| ms(reply.latency)).collect());
        remarks.ttft_is_latency = ttft
            .zip(latency)
            .is_some_and(|(ttft, latency)| ttft > TELLING_SHARE * latency);
        remarks
    }
}

/// Failures of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorKind {
    /// The kind.
    pub kind: FailureKind,
    /// Failures of it.
    pub n: usize,
    /// Their texts, the most frequent first.
    pub errors: Vec<ErrorText>,
}

/// Failures of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorText {
    /// What happened; of a status only its number, whatever the server said beside it.
    pub text: String,
    /// What the server said beside it, the first time.
    pub said: Option<String>,
    /// How often.
    pub n: usize,
}

/// All failures by kind and text, in the fixed order of kinds.
#[must_use]
pub fn errors(samples: &[Sample]) -> Vec<ErrorKind> {
    let mut kinds: Vec<ErrorKind> = FailureKind::ALL
        .into_iter()
        .map(|kind| ErrorKind {
            kind,
            n: 0,
            errors: Vec::new(),
        })
        .collect();
    for failure in samples
        .iter()
        .filter_map(|sample| sample.outcome.as_ref().err())
    {
        let (text, said) = text_of(failure);
        let Some(kind) = kinds.iter_mut().find(|kind| kind.kind == failure.kind) else {
            continue;
        };
        kind.n += 1;
        match kind.errors.iter_mut().find(|error| error.text == text) {
            Some(error) => error.n += 1,
            None => kind.errors.push(ErrorText { text, said, n: 1 }),
        }
    }
    kinds.retain(|kind| kind.n > 0);
    for kind in &mut kinds {
        kind.errors.sort_by_key(|error| std::cmp::Reverse(error.n));
    }
    kinds
}

fn text_of(failure: &Failure) -> (String, Option<String>) {
    match failure.status {
        Some(status) if failure.kind == FailureKind::Status => {
            let text = format!("HTTP {status}");
            let said = failure.message.strip_prefix(&text).map(str::trim);
            let said = said.filter(|said| !said.is_empty()).map(str::to_owned);
            (text, said)
        }
        _ => (failure.message.clone(), None),
    }
}

fn replies(samples: &[Sample]) -> impl Iterator<Item = &Reply> {
    samples
        .iter()
        .filter_map(|sample| sample.outcome.as_ref().ok())
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

fn mean(values: &[f64]) -> f64 {
    share(values.iter().sum(), values.len() as f64)
}

/// A quotient, or 0 of nothing.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// The element at ⌊n·p/100⌋ of a sorted sample, the last one at most; 0 if there is none.
fn upper_percentile(sorted: &[f64], percent: usize) -> f64 {
    let index = sorted.len() * percent / 100;
    let last = sorted.len().saturating_sub(1);
    sorted.get(index.min(last)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests;

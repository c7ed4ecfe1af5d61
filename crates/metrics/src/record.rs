//! Per-request records: rows of `detailed_results_*.csv` and `failed_requests_*.csv`.
//!
//! Formulas are those of the originals, with one difference: what is undefined is `None`
//! where the originals wrote 0.0.

use std::sync::Arc;
use std::time::Duration;

use crate::spread::spread_tokens;
use crate::timeline::{Exchange, FailureKind};

/// Turns monotonic stamps into Unix seconds by one offset taken at program start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WallAnchor {
    /// Unix seconds at the monotonic epoch.
    pub unix_at_epoch: f64,
}

impl WallAnchor {
    /// Unix seconds of a stamp.
    #[must_use]
    pub fn unix(self, stamp: Duration) -> f64 {
        self.unix_at_epoch + stamp.as_secs_f64()
    }
}

/// What a request was meant to be: everything about it that is known before it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestIntent {
    /// `<phase id>_r<k>`.
    pub request_id: String,
    /// Phase that launched it; shared, since a window may hold a million rows.
    pub phase_id: Arc<str>,
    /// Target hit rate in whole percent.
    pub cache_hit_rate: u32,
    /// Context size as given on the command line, tokens.
    pub context_size: u64,
    /// Tokens taken from the working set.
    pub cached_tokens: u64,
    /// Tokens never sent before.
    pub unique_tokens: u64,
    /// Tokens of the question behind the body; in no CSV column, used to check `prompt_tokens`.
    pub question_tokens: u64,
    /// Level held when it was launched.
    pub concurrency_level: u32,
    /// Base URL it was sent to; shared likewise.
    pub endpoint: Arc<str>,
    /// Size of the working set, for `working_set_tester`.
    pub working_set_size: Option<u64>,
}

/// One completed request, in the units of the CSV: seconds, Unix seconds, tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestRecord {
    /// What it was meant to be.
    pub intent: RequestIntent,
    /// Output tokens: the server's count, or ours when it sent none.
    pub output_tokens: u64,
    /// First token − launch.
    pub ttft: Option<f64>,
    /// Last token − launch.
    pub ttlt: Option<f64>,
    /// Finish − first token.
    pub generation_time: Option<f64>,
    /// Finish − launch.
    pub total_time: f64,
    /// Unix seconds.
    pub launch_time: f64,
    /// Unix seconds.
    pub finish_time: f64,
    /// TPOT by the originals' formula, (ttlt − ttft) / (output tokens − 1); `None` where undefined.
    pub itl: Option<f64>,
    /// Unix seconds of the first token; launch time when there was none.
    pub prefill_complete_time: f64,
    /// Unix seconds of every text chunk.
    pub token_timestamps: Vec<f64>,
    /// Tokens of every text chunk; sums to `output_tokens`.
    pub tokens_per_chunk: Vec<u64>,
    /// Server's `prompt_tokens`.
    pub reported_prompt_tokens: Option<u64>,
    /// Server's `cached_tokens`.
    pub reported_cached_tokens: Option<u64>,
    /// Actual − intended send, seconds, without what opening a connection took.
    pub send_delay: Option<f64>,
    /// What opening a connection took, seconds; 0 where one stood ready. In no latency.
    pub dial_time: Option<f64>,
    /// Whether `output_tokens` was counted here because the server sent no usage; not in the CSV.
    pub counted_locally: bool,
}

impl RequestRecord {
    /// The row of a request that yielded a sample.
    ///
    /// `output_tokens` is the server's count; without one `local_count`, the caller's own count of the
    /// text; without that the number of chunks. `tokens_per_chunk` sums to it exactly.
    #[must_use]
    pub fn from_exchange(
        intent: RequestIntent,
        exchange: &Exchange,
        anchor: WallAnchor,
        local_count: Option<u64>,
    ) -> Self {
        let timeline = &exchange.timeline;
        let since_launch = |at: Duration| at.saturating_sub(timeline.launched).as_secs_f64();
        let reported = exchange.usage.completion_tokens;
        let output_tokens = reported
            .or(local_count)
            .unwrap_or(timeline.chunks.len() as u64);
        let first = timeline.first_token_at();
        let ttft = first.map(since_launch);
        let ttlt = timeline.last_token_at().map(since_launch);
        let weights: Vec<u32> = timeline.chunks.iter().map(|c| c.text_bytes).collect();
        Self {
            intent,
            output_tokens,
            ttft,
            ttlt,
            generation_time: first.map(|at| timeline.finished.saturating_sub(at).as_secs_f64()),
            total_time: since_launch(timeline.finished),
            launch_time: anchor.unix(timeline.launched),
            finish_time: anchor.unix(timeline.finished),
            itl: inter_token_latency(ttft, ttlt, output_tokens),
            prefill_complete_time: anchor.unix(first.unwrap_or(timeline.launched)),
            token_timestamps: timeline.chunks.iter().map(|c| anchor.unix(c.at)).collect(),
            tokens_per_chunk: spread_tokens(output_tokens, &weights),
            reported_prompt_tokens: exchange.usage.prompt_tokens,
            reported_cached_tokens: exchange.usage.cached_tokens,
            send_delay: Some(timeline.send_delay().as_secs_f64()),
            dial_time: Some(timeline.dial.as_secs_f64()),
            counted_locally: reported.is_none(),
        }
    }

    /// Lets go of what is known of each chunk. Rows that are on disk are kept for their sums, and an answer of a
    /// thousand tokens holds sixteen kilobytes of stamps and counts that no sum asks for.
    pub fn forget_chunks(&mut self) {
        self.token_timestamps = Vec::new();
        self.tokens_per_chunk = Vec::new();
    }

    /// Generation speed of this request, tokens/s: output tokens ÷ generation time, defined only for at
    /// least two tokens and a positive time.
    #[must_use]
    pub fn request_speed(&self) -> Option<f64> {
        let time = self.generation_time.filter(|t| *t > 0.0)?;
        (self.output_tokens >= 2).then(|| self.output_tokens as f64 / time)
    }

    /// Tokens of the body, question not counted: what throughput columns call input.
    #[must_use]
    pub fn input_tokens(&self) -> u64 {
        self.intent.cached_tokens + self.intent.unique_tokens
    }

    /// TTFT where it counts as a sample: seconds, above zero.
    #[must_use]
    pub fn ttft_sample(&self) -> Option<f64> {
        self.ttft.filter(|t| *t > 0.0)
    }

    /// TTLT where it counts as a sample: seconds, above zero.
    #[must_use]
    pub fn ttlt_sample(&self) -> Option<f64> {
        self.ttlt.filter(|t| *t > 0.0)
    }

    /// From the intended send to the first token, where both are known: seconds, above zero. As in all latencies, what
    /// opening a connection took is not in it.
    #[must_use]
    pub fn ttft_from_intended(&self) -> Option<f64> {
        Some(self.ttft_sample()? + self.send_delay?)
    }

    /// ITL where it counts as a sample: seconds, above zero.
    #[must_use]
    pub fn itl_sample(&self) -> Option<f64> {
        self.itl.filter(|t| *t > 0.0)
    }
}

/// (ttlt − ttft) ÷ (tokens − 1), undefined for a single token or when no time passed in between.
fn inter_token_latency(ttft: Option<f64>, ttlt: Option<f64>, output_tokens: u64) -> Option<f64> {
    let (first, last) = (ttft?, ttlt?);
    (output_tokens > 1 && last > first).then(|| (last - first) / (output_tokens - 1) as f64)
}

/// One failed or cancelled request.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedRequest {
    /// What it was meant to be.
    pub intent: RequestIntent,
    /// Kind of failure.
    pub kind: FailureKind,
    /// HTTP status, if one came.
    pub status: Option<u16>,
    /// One line for a person.
    pub message: String,
    /// Unix seconds.
    pub launch_time: f64,
    /// Launch to failure, seconds.
    pub elapsed: f64,
    /// Output tokens that had arrived, estimated from the chunks; for prorated accounting.
    pub partial: Exchange,
}

impl FailedRequest {
    /// The row of a request that yielded no sample; `None` if the exchange did not fail.
    #[must_use]
    pub fn from_exchange(
        intent: RequestIntent,
        exchange: Exchange,
        anchor: WallAnchor,
    ) -> Option<Self> {
        let failure = exchange.failure.clone()?;
        let timeline = &exchange.timeline;
        Some(Self {
            intent,
            kind: failure.kind,
            status: failure.status,
            message: failure.message,
            launch_time: anchor.unix(timeline.launched),
            elapsed: timeline
                .finished
                .saturating_sub(timeline.launched)
                .as_secs_f64(),
            partial: exchange,
        })
    }

    /// Lets go of what is known of each chunk, once its row is written and its window accounted for.
    pub fn forget_chunks(&mut self) {
        self.partial.timeline.chunks = Vec::new();
    }

    /// Tokens of the body, question not counted.
    #[must_use]
    pub fn input_tokens(&self) -> u64 {
        self.intent.cached_tokens + self.intent.unique_tokens
    }

    /// Whether we stopped it ourselves; everything else counts against the server.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.kind == FailureKind::Cancelled
    }
}

//! Per-request records: rows of `detailed_results_*.csv` and `failed_requests_*.csv`.

use std::time::Duration;

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
    /// Phase that launched it.
    pub phase_id: String,
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
    /// Base URL it was sent to.
    pub endpoint: String,
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
    /// Actual − intended send, seconds.
    pub send_delay: Option<f64>,
    /// Whether `output_tokens` was counted here because the server sent no usage; not in the CSV.
    pub counted_locally: bool,
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

//! Rows of `sustained_periods_*.csv`: one per assessment period.

/// One assessment period. Times are Unix seconds, lengths and latencies seconds, rates tokens/s; a latency
/// without a sample is `None`, counts and rates of an empty period are 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeriodRow {
    /// From 1.
    pub period_number: u64,
    /// Context size as given, tokens.
    pub context_size: u64,
    /// Target hit rate in whole percent.
    pub cache_hit_rate: u32,
    /// Size of the working set in tokens, for `working_set_tester`.
    pub working_set_size: Option<u64>,
    /// Start of the period.
    pub start_time: f64,
    /// End of the period.
    pub end_time: f64,
    /// Length of the period.
    pub duration: f64,
    /// Level held.
    pub concurrency_level: u32,
    /// Requests launched in the period.
    pub num_requests_launched: u64,
    /// Requests whose first token came in the period; the name is historical.
    pub num_requests_completed: u64,
    /// Body tokens of those requests.
    pub total_input_tokens: u64,
    /// Output tokens that arrived in the period.
    pub total_output_tokens: u64,
    /// Input tokens/s.
    pub input_tokens_per_sec: f64,
    /// Output tokens/s.
    pub output_tokens_per_sec: f64,
    /// Mean TTFT.
    pub avg_ttft: Option<f64>,
    /// Median TTFT.
    pub median_ttft: Option<f64>,
    /// 95th percentile TTFT.
    pub p95_ttft: Option<f64>,
    /// 99th percentile TTFT.
    pub p99_ttft: Option<f64>,
    /// Mean TTLT.
    pub avg_ttlt: Option<f64>,
    /// Median TTLT.
    pub median_ttlt: Option<f64>,
    /// 95th percentile TTLT.
    pub p95_ttlt: Option<f64>,
    /// 99th percentile TTLT.
    pub p99_ttlt: Option<f64>,
    /// Mean ITL.
    pub avg_itl: Option<f64>,
    /// Median ITL.
    pub median_itl: Option<f64>,
    /// 95th percentile ITL.
    pub p95_itl: Option<f64>,
    /// 99th percentile ITL.
    pub p99_itl: Option<f64>,
    /// Mean request speed, tokens/s; the name is historical.
    pub avg_output_tokens_per_request: Option<f64>,
    /// The TTFT statistic that was held against the threshold.
    pub measured_ttft: Option<f64>,
    /// `RAMP_UP`, `RAMP_DOWN`, `STAY`, …; any word is accepted on reading.
    pub decision: String,
    /// Level of the period after.
    pub next_concurrency: u32,
}

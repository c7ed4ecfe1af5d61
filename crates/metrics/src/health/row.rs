//! Rows of `client_health_*.csv`: what the client says of itself, one row per window or period.

use super::{CALIBRATED_OVER, Calibration, WindowHealth};

/// One window or period. Times in seconds, shares of one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HealthRow {
    /// Window or period.
    pub phase_id: String,
    /// For testers that vary it.
    pub working_set_size: Option<u64>,
    /// Percent.
    pub cache_hit_rate: u32,
    /// As given, tokens.
    pub context_size: u64,
    /// Level that was to be held.
    pub concurrency_level: u32,
    /// Length.
    pub duration: f64,
    /// Wait of something ready for its runtime: median.
    pub lag_p50: Option<f64>,
    /// 99th percentile.
    pub lag_p99: Option<f64>,
    /// Longest.
    pub lag_max: Option<f64>,
    /// Actual − intended send, 99th percentile.
    pub send_delay_p99: Option<f64>,
    /// Processor seconds of the process per second.
    pub cpu_share: Option<f64>,
    /// Mean number of requests in flight.
    pub achieved_in_flight: Option<f64>,
    /// The same over equal parts of the window, in order.
    pub in_flight: Vec<f64>,
    /// Share of the load that was missing because the client launched late.
    pub missing_load_share: Option<f64>,
    /// The client's error of TTFT.
    pub ttft_error_p50: Option<f64>,
    /// 99th percentile.
    pub ttft_error_p99: Option<f64>,
    /// The client's error of ITL.
    pub itl_error_p50: Option<f64>,
    /// 99th percentile.
    pub itl_error_p99: Option<f64>,
    /// Level at which the errors were calibrated; empty without a calibration.
    pub calibrated_level: Option<u64>,
    /// Whether the figures say more of the client than they should; empty where that was not judged.
    pub client_limited: Option<bool>,
    /// Why, in words.
    pub limited_by: String,
    /// Requests behind the calibrated errors; empty without a calibration.
    pub calibrated_requests: Option<u64>,
    /// How the server talked that the errors were calibrated with, [`CALIBRATED_OVER`]; empty without a calibration.
    pub calibrated_over: String,
    /// What the errors are held against: the window's TTFT, median …
    pub median_ttft: Option<f64>,
    /// … and 95th percentile.
    pub p95_ttft: Option<f64>,
    /// Its ITL, median …
    pub median_itl: Option<f64>,
    /// … and 95th percentile.
    pub p95_itl: Option<f64>,
}

impl HealthRow {
    /// The row of a window, judged by a calibration if there is one, and otherwise by what was felt.
    #[must_use]
    pub fn new(window: &WindowHealth, calibration: Option<&Calibration>) -> Self {
        let limit = window.limit(calibration);
        let ttft = window.ttft_error(calibration);
        let itl = window.itl_error(calibration);
        Self {
            phase_id: window.phase_id.clone(),
            working_set_size: window.working_set_size,
            cache_hit_rate: window.cache_hit_rate,
            context_size: window.context_size,
            concurrency_level: window.level,
            duration: window.length,
            lag_p50: window.lag.map(|lag| lag.p50),
            lag_p99: window.lag.map(|lag| lag.p99),
            lag_max: window.lag.map(|lag| lag.max),
            send_delay_p99: window.send_delay_p99,
            cpu_share: window.cpu_share,
            achieved_in_flight: window.achieved_in_flight(),
            in_flight: window.in_flight.clone(),
            missing_load_share: window.missing_share,
            ttft_error_p50: ttft.map(|bar| bar.p50),
            ttft_error_p99: ttft.and_then(|bar| bar.p99),
            itl_error_p50: itl.map(|bar| bar.p50),
            itl_error_p99: itl.and_then(|bar| bar.p99),
            calibrated_level: calibration.map(|c| u64::from(c.level)),
            client_limited: Some(limit.is_some()),
            limited_by: limit.map(|limit| limit.to_string()).unwrap_or_default(),
            calibrated_requests: calibration.map(|c| c.n_requests),
            calibrated_over: calibration.map_or_else(String::new, |_| CALIBRATED_OVER.to_owned()),
            median_ttft: window.ttft.median,
            p95_ttft: window.ttft.p95,
            median_itl: window.itl.median,
            p95_itl: window.itl.p95,
        }
    }
}

//! Rows of `sustained_periods_*.csv`: one per assessment period, and what a test's periods sum to.

use crate::attribution::{PeriodFigures, Settled};
use crate::phase::PhaseRow;
use crate::summary::{Latencies, Latency, SummaryRow, TestKey, any_limited, mean_of};
use crate::tally::{RequestLatencies, RequestTally};

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
    /// Whether the figures say more of the client than they should ([`crate::health`]).
    pub client_limited: Option<bool>,
    /// Mean TTFT from the instants at which requests should have gone out.
    pub avg_ttft_from_intended: Option<f64>,
    /// Median of it.
    pub median_ttft_from_intended: Option<f64>,
    /// 95th percentile of it.
    pub p95_ttft_from_intended: Option<f64>,
    /// 99th percentile of it.
    pub p99_ttft_from_intended: Option<f64>,
}

/// What is known of a period before it is measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeriodKey {
    /// From 1.
    pub number: u64,
    /// Context size as given, tokens.
    pub context_size: u64,
    /// Target hit rate in whole percent.
    pub cache_hit_rate: u32,
    /// Size of the working set in tokens, for `working_set_tester`.
    pub working_set_size: Option<u64>,
    /// Unix seconds.
    pub start_time: f64,
    /// Unix seconds.
    pub end_time: f64,
    /// Seconds.
    pub duration: f64,
    /// Level held.
    pub concurrency: u32,
}

impl PeriodRow {
    /// The row of a period, its decision still open.
    #[must_use]
    pub fn from_figures(
        key: &PeriodKey,
        figures: &PeriodFigures,
        measured_ttft: Option<f64>,
    ) -> Self {
        let PeriodFigures {
            ttft,
            ttft_from_intended,
            ttlt,
            itl,
            ..
        } = figures;
        let mut row = Self {
            period_number: key.number,
            context_size: key.context_size,
            cache_hit_rate: key.cache_hit_rate,
            working_set_size: key.working_set_size,
            start_time: key.start_time,
            end_time: key.end_time,
            duration: key.duration,
            concurrency_level: key.concurrency,
            num_requests_launched: figures.launched,
            num_requests_completed: figures.prefills,
            total_input_tokens: figures.input_tokens,
            avg_ttft: ttft.avg,
            median_ttft: ttft.median,
            p95_ttft: ttft.p95,
            p99_ttft: ttft.p99,
            avg_ttlt: ttlt.avg,
            median_ttlt: ttlt.median,
            p95_ttlt: ttlt.p95,
            p99_ttlt: ttlt.p99,
            avg_itl: itl.avg,
            median_itl: itl.median,
            p95_itl: itl.p95,
            p99_itl: itl.p99,
            avg_output_tokens_per_request: figures.speed.avg,
            measured_ttft,
            next_concurrency: key.concurrency,
            avg_ttft_from_intended: ttft_from_intended.avg,
            median_ttft_from_intended: ttft_from_intended.median,
            p95_ttft_from_intended: ttft_from_intended.p95,
            p99_ttft_from_intended: ttft_from_intended.p99,
            ..Self::default()
        };
        row.input_tokens_per_sec = row.per_second(figures.input_tokens);
        row.set_output_tokens(figures.output_tokens);
        row
    }

    /// Corrects the output tokens when they are known for certain.
    pub fn set_output_tokens(&mut self, tokens: u64) {
        self.total_output_tokens = tokens;
        self.output_tokens_per_sec = self.per_second(tokens);
    }

    /// Mean number of tokens of the answers that have an ITL, by how many gaps between tokens there is room from the first
    /// to the last; exact where the period's latencies are of the same requests.
    #[must_use]
    pub fn answer_tokens(&self) -> Option<f64> {
        let gap = self.avg_itl.filter(|itl| *itl > 0.0)?;
        let gaps = (self.avg_ttlt? - self.avg_ttft?) / gap;
        // Less than one gap is no answer with an ITL: the latencies are of requests too different to say anything.
        (gaps >= 1.0).then_some(gaps + 1.0)
    }

    fn per_second(&self, tokens: u64) -> f64 {
        if self.duration > 0.0 {
            tokens as f64 / self.duration
        } else {
            0.0
        }
    }
}

/// Gives every period its settled output tokens; `rows` are all periods, in order.
pub fn settle_rows(rows: &mut [PeriodRow], settled: &Settled) {
    for (row, tokens) in rows.iter_mut().zip(&settled.output_tokens) {
        row.set_output_tokens(*tokens);
    }
}

/// Over what the latencies and speeds of a sustained test's summary row are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatenciesOver {
    /// The mean over periods that have data, of each period's own statistic.
    Periods,
    /// All completed requests of the test.
    Requests,
}

impl LatenciesOver {
    /// The tally that such a test needs; cached tokens may be off by so many.
    #[must_use]
    pub fn tally(self, cached_tolerance: u64) -> RequestTally {
        let tally = RequestTally::new(cached_tolerance);
        match self {
            Self::Periods => tally,
            Self::Requests => tally.with_latencies(),
        }
    }
}

/// What the periods of a test sum to; see [`summarise_periods`].
#[derive(Debug, Clone, Copy)]
pub struct PeriodSample<'a> {
    /// All periods, in order.
    pub periods: &'a [PeriodRow],
    /// All completed requests.
    pub requests: &'a RequestTally,
}

/// The summary row of a sustained test: rates are Σ tokens ÷ Σ duration, the peak level the highest one used.
///
/// The peak of `key` is not looked at. Latencies are over all requests where the tally has them, else the mean over
/// periods that have data, of each period's own statistic. Where the periods tell the size of a working set that grows, its size in the
/// first one is kept.
#[must_use]
pub fn summarise_periods(key: &TestKey, sample: PeriodSample<'_>) -> SummaryRow {
    let PeriodSample { periods, requests } = sample;
    let duration: f64 = periods.iter().map(|p| p.duration).sum();
    let input: u64 = periods.iter().map(|p| p.total_input_tokens).sum();
    let output: u64 = periods.iter().map(|p| p.total_output_tokens).sum();
    let rate = |tokens: u64| {
        if duration > 0.0 {
            tokens as f64 / duration
        } else {
            0.0
        }
    };
    let latencies = requests
        .latencies()
        .map_or_else(|| means_of_periods(periods), of_requests);
    SummaryRow {
        context_size: key.context_size,
        working_set_size: key.working_set_size,
        cache_hit_rate: key.cache_hit_rate,
        model: key.model.clone(),
        input_tokens_per_sec: rate(input),
        output_tokens_per_sec: rate(output),
        peak_concurrency: periods
            .iter()
            .map(|p| p.concurrency_level)
            .max()
            .unwrap_or(0),
        total_requests: periods.iter().map(|p| p.num_requests_completed).sum(),
        test_duration: duration,
        min_working_set_size: periods.first().and_then(|p| p.working_set_size),
        // Periods count what arrived in them and nothing else, so this is the window's own rate too.
        window_input_tokens_per_sec: Some(rate(input)),
        window_output_tokens_per_sec: Some(rate(output)),
        measured_duration: Some(duration),
        total_input_tokens: Some(input),
        total_output_tokens: Some(output),
        reported_cache_hit_rate: requests.reported_cache_hit_rate(),
        client_limited: any_limited(periods.iter().map(|p| p.client_limited)),
        ..latencies.into_row()
    }
}

fn means_of_periods(periods: &[PeriodRow]) -> Latencies {
    let over = |latency: fn(&PeriodRow) -> Latency| Latency::mean_of(periods.iter().map(latency));
    Latencies {
        ttft: over(|p| Latency {
            avg: p.avg_ttft,
            median: p.median_ttft,
            p95: p.p95_ttft,
            p99: p.p99_ttft,
        }),
        ttft_from_intended: over(|p| Latency {
            avg: p.avg_ttft_from_intended,
            median: p.median_ttft_from_intended,
            p95: p.p95_ttft_from_intended,
            p99: p.p99_ttft_from_intended,
        }),
        ttlt: over(|p| Latency {
            avg: p.avg_ttlt,
            median: p.median_ttlt,
            p95: p.p95_ttlt,
            p99: p.p99_ttlt,
        }),
        itl: over(|p| Latency {
            avg: p.avg_itl,
            median: p.median_itl,
            p95: p.p95_itl,
            p99: p.p99_itl,
        }),
        speed: mean_of(periods.iter().map(|p| p.avg_output_tokens_per_request)),
    }
}

fn of_requests(latencies: &RequestLatencies) -> Latencies {
    Latencies {
        ttft: Latency::from(latencies.ttft()),
        ttft_from_intended: Latency::from(latencies.ttft_from_intended()),
        ttlt: Latency::from(latencies.ttlt()),
        itl: Latency::from(latencies.itl()),
        speed: latencies.mean_speed(),
    }
}

/// The id of a period among phases: `SUSTAINED_P3`.
#[must_use]
pub fn phase_id_of_period(number: u64) -> String {
    format!("SUSTAINED_P{number}")
}

/// A period as a phase: its row in `phase_metadata_*.csv`, for tools that list periods there too. `test_set` is the
/// size by which the test is named; a period's own is the active one. The last two are numbers of requests launched in
/// the period that failed and that were cancelled.
#[must_use]
pub fn phase_of_period(
    period: &PeriodRow,
    test_set: Option<u64>,
    (failed, cancelled): (u64, u64),
) -> PhaseRow {
    PhaseRow {
        phase_id: phase_id_of_period(period.period_number),
        working_set_size: test_set,
        cache_hit_rate: period.cache_hit_rate,
        context_size: period.context_size,
        concurrency_level: period.concurrency_level,
        start_time: period.start_time,
        end_time: period.end_time,
        duration: period.duration,
        num_requests_launched: period.num_requests_launched,
        num_requests_completed: period.num_requests_completed,
        window_start_time: Some(period.start_time),
        window_duration: Some(period.duration),
        window_input_tokens_per_sec: Some(period.input_tokens_per_sec),
        window_output_tokens_per_sec: Some(period.output_tokens_per_sec),
        num_requests_failed: Some(failed),
        num_requests_cancelled: Some(cancelled),
        client_limited: period.client_limited,
    }
}

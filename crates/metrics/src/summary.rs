//! Rows of `summary_*.csv`: one per finished test, from the windows at its peak level.
//!
//! The row holds the unweighted mean over phases of each phase's own statistic: a mean of percentiles, not
//! a pooled percentile, kept for comparability with the originals. A statistic
//! without any sample is `None`. Phases without a completed request take no part.

use crate::percentile::{Stats, mean};
use crate::phase::PhaseRow;
use crate::record::RequestRecord;
use crate::window::{published_throughput, strict_filter, time_span};

/// One finished test. Times are seconds, rates tokens/s. Fields are named as the columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SummaryRow {
    /// Context size as given, tokens.
    pub context_size: u64,
    /// Size of the working set in tokens, for `working_set_tester`.
    pub working_set_size: Option<u64>,
    /// Target hit rate in whole percent.
    pub cache_hit_rate: u32,
    /// Model; the first originals wrote none.
    pub model: Option<String>,
    /// Published formula, mean over phases.
    pub input_tokens_per_sec: f64,
    /// Published formula, mean over phases.
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
    /// Mean request speed in tokens/s, pooled over all requests of the row; the name is historical.
    pub avg_output_tokens: Option<f64>,
    /// Mean ITL.
    pub avg_itl: Option<f64>,
    /// Median ITL.
    pub median_itl: Option<f64>,
    /// 95th percentile ITL.
    pub p95_itl: Option<f64>,
    /// 99th percentile ITL.
    pub p99_itl: Option<f64>,
    /// Level the row describes.
    pub peak_concurrency: u32,
    /// Requests behind the row.
    pub total_requests: u64,
    /// Last finish − first launch among them.
    pub test_duration: f64,
    /// Size of the working set in tokens when the test began, where it grew within it.
    pub min_working_set_size: Option<u64>,
    /// Window-accounted input rate, mean over phases. Absent in the originals' files, like all below.
    pub window_input_tokens_per_sec: Option<f64>,
    /// Window-accounted output rate, mean over phases.
    pub window_output_tokens_per_sec: Option<f64>,
    /// Σ planned window lengths of the phases behind the row.
    pub measured_duration: Option<f64>,
    /// Body tokens of the requests behind the row.
    pub total_input_tokens: Option<u64>,
    /// Output tokens of the requests behind the row.
    pub total_output_tokens: Option<u64>,
    /// Σ reported cached ÷ Σ reported prompt tokens over requests where the server sent both, 0 to 1.
    pub reported_cache_hit_rate: Option<f64>,
    /// Seconds from the intended send to the first token, mean over phases of their mean: TTFT with the client's
    /// own delay in it.
    pub avg_ttft_from_intended: Option<f64>,
    /// Mean over phases of their median.
    pub median_ttft_from_intended: Option<f64>,
    /// Mean over phases of their 95th percentile.
    pub p95_ttft_from_intended: Option<f64>,
    /// Mean over phases of their 99th percentile.
    pub p99_ttft_from_intended: Option<f64>,
    /// Whether a phase behind the row is limited by the client.
    pub client_limited: Option<bool>,
}

impl SummaryRow {
    /// Input rate for decisions and charts: window-accounted where it is known.
    #[must_use]
    pub fn best_input_tps(&self) -> f64 {
        self.window_input_tokens_per_sec
            .unwrap_or(self.input_tokens_per_sec)
    }

    /// Output rate for decisions and charts: window-accounted where it is known.
    #[must_use]
    pub fn best_output_tps(&self) -> f64 {
        self.window_output_tokens_per_sec
            .unwrap_or(self.output_tokens_per_sec)
    }
}

/// What identifies a test and its result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestKey {
    /// Context size as given, tokens.
    pub context_size: u64,
    /// Size of the working set in tokens, for `working_set_tester`.
    pub working_set_size: Option<u64>,
    /// Target hit rate in whole percent.
    pub cache_hit_rate: u32,
    /// Model the server named.
    pub model: Option<String>,
    /// Level that was chosen.
    pub peak_concurrency: u32,
}

/// One window and the requests that count for it.
#[derive(Debug, Clone)]
pub struct PhaseSample<'a> {
    /// Its row.
    pub row: &'a PhaseRow,
    /// Its completed requests, narrowed to the strict set where asked for.
    pub records: Vec<&'a RequestRecord>,
    /// The strict set was empty, so all requests are in; worth a warning.
    pub strict_fell_back: bool,
}

impl<'a> PhaseSample<'a> {
    /// A window with all its completed requests.
    #[must_use]
    pub fn new(row: &'a PhaseRow, records: impl IntoIterator<Item = &'a RequestRecord>) -> Self {
        Self {
            row,
            records: records.into_iter().collect(),
            strict_fell_back: false,
        }
    }

    /// A window narrowed by `--strict-time-window`; all requests if none remains.
    ///
    /// The length is the planned one, or the recorded duration in files that lack it.
    #[must_use]
    pub fn strict(row: &'a PhaseRow, records: impl IntoIterator<Item = &'a RequestRecord>) -> Self {
        let all: Vec<&RequestRecord> = records.into_iter().collect();
        let narrowed = strict_filter(
            all.iter().copied(),
            row.window_duration.unwrap_or(row.duration),
        );
        if narrowed.is_empty() {
            Self {
                row,
                strict_fell_back: !all.is_empty(),
                records: all,
            }
        } else {
            Self {
                row,
                records: narrowed,
                strict_fell_back: false,
            }
        }
    }
}

/// The summary row of a test from its windows at the peak level: ramp or refinement windows there and
/// retries. Windows at other levels may be among them and are left out, and so are those that were broken off.
#[must_use]
pub fn summarise(key: &TestKey, phases: &[PhaseSample<'_>]) -> SummaryRow {
    let used: Vec<&PhaseSample<'_>> = phases
        .iter()
        .filter(|p| p.row.concurrency_level == key.peak_concurrency)
        .filter(|p| !p.records.is_empty() && !p.row.was_broken_off())
        .collect();
    let all = || used.iter().flat_map(|p| p.records.iter().copied());
    let rates: Vec<_> = used
        .iter()
        .filter_map(|p| published_throughput(p.records.iter().copied()))
        .collect();
    let over = |value: fn(&RequestRecord) -> Option<f64>| {
        Latency::mean_of(used.iter().map(|phase| {
            let records = phase.records.iter().copied();
            Latency::of(records, value)
        }))
    };
    let latencies = Latencies {
        ttft: over(RequestRecord::ttft_sample),
        ttft_from_intended: over(RequestRecord::ttft_from_intended),
        ttlt: over(RequestRecord::ttlt_sample),
        itl: over(RequestRecord::itl_sample),
        speed: mean_of(all().map(RequestRecord::request_speed)),
    };
    SummaryRow {
        context_size: key.context_size,
        working_set_size: key.working_set_size,
        cache_hit_rate: key.cache_hit_rate,
        model: key.model.clone(),
        input_tokens_per_sec: mean_of(rates.iter().map(|r| Some(r.input_tps))).unwrap_or(0.0),
        output_tokens_per_sec: mean_of(rates.iter().map(|r| Some(r.output_tps))).unwrap_or(0.0),
        peak_concurrency: key.peak_concurrency,
        total_requests: all().count() as u64,
        test_duration: time_span(all()).map_or(0.0, |(first, last)| last - first),
        min_working_set_size: None,
        window_input_tokens_per_sec: mean_if_all(&used, |row| row.window_input_tokens_per_sec),
        window_output_tokens_per_sec: mean_if_all(&used, |row| row.window_output_tokens_per_sec),
        measured_duration: used.iter().map(|p| p.row.window_duration).sum(),
        total_input_tokens: Some(all().map(RequestRecord::input_tokens).sum()),
        total_output_tokens: Some(all().map(|r| r.output_tokens).sum()),
        reported_cache_hit_rate: reported_cache_hit_rate(all()),
        client_limited: any_limited(used.iter().map(|p| p.row.client_limited)),
        ..latencies.into_row()
    }
}

/// Whether one of them is; `None` where none is known to be and of one it is not known.
#[must_use]
pub fn any_limited(phases: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    phases
        .into_iter()
        .try_fold(None, |any, phase| match phase {
            Some(true) => Err(Some(true)),
            Some(false) => Ok(any.or(Some(false))),
            None => Ok(any),
        })
        .unwrap_or_else(|known| known)
}

/// Σ reported cached ÷ Σ reported prompt tokens over requests where the server sent both; `None` without any.
#[must_use]
pub fn reported_cache_hit_rate<'a>(
    records: impl IntoIterator<Item = &'a RequestRecord>,
) -> Option<f64> {
    let mut hits = CacheHits::default();
    records.into_iter().for_each(|r| hits.add(r));
    hits.rate()
}

/// [`reported_cache_hit_rate`] request by request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheHits {
    cached: u64,
    prompt: u64,
}

impl CacheHits {
    /// Takes one request.
    pub fn add(&mut self, record: &RequestRecord) {
        if let (Some(cached), Some(prompt)) =
            (record.reported_cached_tokens, record.reported_prompt_tokens)
        {
            self.cached += cached;
            self.prompt += prompt;
        }
    }

    /// 0 to 1.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (self.prompt > 0).then(|| self.cached as f64 / self.prompt as f64)
    }
}

/// Rows of several files, oldest first, reduced to the newest of each (context, working set, rate), sorted
/// by that key.
#[must_use]
pub fn newest_summaries(rows: impl IntoIterator<Item = SummaryRow>) -> Vec<SummaryRow> {
    let newest: std::collections::BTreeMap<_, _> = rows
        .into_iter()
        .map(|row| {
            (
                (row.context_size, row.working_set_size, row.cache_hit_rate),
                row,
            )
        })
        .collect();
    newest.into_values().collect()
}

/// The statistics of one latency that a row shows, seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Latency {
    pub(crate) avg: Option<f64>,
    pub(crate) median: Option<f64>,
    pub(crate) p95: Option<f64>,
    pub(crate) p99: Option<f64>,
}

impl Latency {
    /// Over requests.
    pub(crate) fn of<'a>(
        records: impl IntoIterator<Item = &'a RequestRecord>,
        value: fn(&RequestRecord) -> Option<f64>,
    ) -> Self {
        Self::from(Stats::of(records.into_iter().filter_map(value)))
    }

    /// Unweighted means over parts of a test of each part's own statistic.
    pub(crate) fn mean_of(parts: impl IntoIterator<Item = Self>) -> Self {
        let parts: Vec<Self> = parts.into_iter().collect();
        Self {
            avg: mean_of(parts.iter().map(|part| part.avg)),
            median: mean_of(parts.iter().map(|part| part.median)),
            p95: mean_of(parts.iter().map(|part| part.p95)),
            p99: mean_of(parts.iter().map(|part| part.p99)),
        }
    }
}

impl From<Stats> for Latency {
    fn from(stats: Stats) -> Self {
        Self {
            avg: stats.avg,
            median: stats.median,
            p95: stats.p95,
            p99: stats.p99,
        }
    }
}

/// All latencies of a summary row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latencies {
    pub(crate) ttft: Latency,
    pub(crate) ttft_from_intended: Latency,
    pub(crate) ttlt: Latency,
    pub(crate) itl: Latency,
    /// Mean request speed, tokens/s.
    pub(crate) speed: Option<f64>,
}

impl Latencies {
    /// A row that has these and nothing else.
    pub(crate) fn into_row(self) -> SummaryRow {
        let Self {
            ttft,
            ttft_from_intended: from_intended,
            ttlt,
            itl,
            speed,
        } = self;
        SummaryRow {
            avg_ttft: ttft.avg,
            median_ttft: ttft.median,
            p95_ttft: ttft.p95,
            p99_ttft: ttft.p99,
            avg_ttlt: ttlt.avg,
            median_ttlt: ttlt.median,
            p95_ttlt: ttlt.p95,
            p99_ttlt: ttlt.p99,
            avg_output_tokens: speed,
            avg_itl: itl.avg,
            median_itl: itl.median,
            p95_itl: itl.p95,
            p99_itl: itl.p99,
            avg_ttft_from_intended: from_intended.avg,
            median_ttft_from_intended: from_intended.median,
            p95_ttft_from_intended: from_intended.p95,
            p99_ttft_from_intended: from_intended.p99,
            ..SummaryRow::default()
        }
    }
}

/// Mean of what is defined.
pub(crate) fn mean_of(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    let defined: Vec<f64> = values.into_iter().flatten().collect();
    mean(&defined)
}

/// Mean over phases, only if every phase has the figure: half a set would be another quantity.
fn mean_if_all(phases: &[&PhaseSample<'_>], figure: fn(&PhaseRow) -> Option<f64>) -> Option<f64> {
    let all: Option<Vec<f64>> = phases.iter().map(|p| figure(p.row)).collect();
    mean(&all?)
}

//! What a test's requests come to, counted one by one as they end.
//!
//! A sustained test may last for days. Promise: what is said of its requests as a whole, figures and checks, equals what
//! would be computed from all rows at once; none of them is kept. Where percentiles over all requests are wanted, four
//! numbers of each are, 32 bytes, since a percentile is exact only when it knows all values.

use crate::percentile::Stats;
use crate::record::RequestRecord;
use crate::selfcheck::{
    CachedCheck, ColdCheck, PromptCheck, PromptTally, TEMPLATE_ALLOWANCE_TOKENS,
};
use crate::summary::CacheHits;

/// Completed requests of one test.
#[derive(Debug, Clone, Default)]
pub struct RequestTally {
    cached_tolerance: u64,
    n: u64,
    n_uncounted: u64,
    hits: CacheHits,
    cold: Option<ColdCheck>,
    cached: Option<CachedCheck>,
    prompts: PromptTally,
    latencies: Option<RequestLatencies>,
}

/// Latencies of all requests of a test, seconds, and the mean of their speeds.
#[derive(Debug, Clone, Default)]
pub struct RequestLatencies {
    ttft: Vec<f64>,
    ttft_from_intended: Vec<f64>,
    ttlt: Vec<f64>,
    itl: Vec<f64>,
    speeds: f64,
    n_speeds: u64,
}

impl RequestTally {
    /// No request; cached tokens may be off by so many.
    #[must_use]
    pub fn new(cached_tolerance: u64) -> Self {
        Self {
            cached_tolerance,
            ..Self::default()
        }
    }

    /// The same, which also keeps latencies.
    #[must_use]
    pub fn with_latencies(self) -> Self {
        Self {
            latencies: Some(RequestLatencies::default()),
            ..self
        }
    }

    /// Takes one request.
    pub fn add(&mut self, record: &RequestRecord) {
        self.n += 1;
        self.n_uncounted += u64::from(record.counted_locally);
        self.hits.add(record);
        ColdCheck::add(&mut self.cold, record, TEMPLATE_ALLOWANCE_TOKENS);
        CachedCheck::add(&mut self.cached, record, self.cached_tolerance);
        self.prompts.add(record);
        if let Some(latencies) = &mut self.latencies {
            latencies.add(record);
        }
    }

    /// By how many tokens cached tokens may be off.
    #[must_use]
    pub fn cached_tolerance(&self) -> u64 {
        self.cached_tolerance
    }

    /// Requests.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Requests whose output was counted here.
    #[must_use]
    pub fn n_uncounted(&self) -> u64 {
        self.n_uncounted
    }

    /// As [`crate::summary::reported_cache_hit_rate`].
    #[must_use]
    pub fn reported_cache_hit_rate(&self) -> Option<f64> {
        self.hits.rate()
    }

    /// As [`crate::selfcheck::check_cold`], with what a chat template can explain.
    #[must_use]
    pub fn cold(&self) -> Option<ColdCheck> {
        self.cold
    }

    /// As [`crate::selfcheck::check_cached`].
    #[must_use]
    pub fn cached(&self) -> Option<CachedCheck> {
        self.cached
    }

    /// As [`crate::selfcheck::check_prompts`].
    #[must_use]
    pub fn prompts(&self) -> Option<PromptCheck> {
        self.prompts.check()
    }

    /// Where they were asked for.
    #[must_use]
    pub fn latencies(&self) -> Option<&RequestLatencies> {
        self.latencies.as_ref()
    }
}

impl<'a> Extend<&'a RequestRecord> for RequestTally {
    fn extend<I: IntoIterator<Item = &'a RequestRecord>>(&mut self, records: I) {
        records.into_iter().for_each(|record| self.add(record));
    }
}

impl RequestLatencies {
    fn add(&mut self, record: &RequestRecord) {
        self.ttft.extend(record.ttft_sample());
        self.ttft_from_intended.extend(record.ttft_from_intended());
        self.ttlt.extend(record.ttlt_sample());
        self.itl.extend(record.itl_sample());
        if let Some(speed) = record.request_speed() {
            self.speeds += speed;
            self.n_speeds += 1;
        }
    }

    /// TTFT.
    #[must_use]
    pub fn ttft(&self) -> Stats {
        Stats::of(self.ttft.iter().copied())
    }

    /// TTFT from the intended send.
    #[must_use]
    pub fn ttft_from_intended(&self) -> Stats {
        Stats::of(self.ttft_from_intended.iter().copied())
    }

    /// TTLT.
    #[must_use]
    pub fn ttlt(&self) -> Stats {
        Stats::of(self.ttlt.iter().copied())
    }

    /// ITL.
    #[must_use]
    pub fn itl(&self) -> Stats {
        Stats::of(self.itl.iter().copied())
    }

    /// Mean speed of a request, tokens/s.
    #[must_use]
    pub fn mean_speed(&self) -> Option<f64> {
        (self.n_speeds > 0).then(|| self.speeds / self.n_speeds as f64)
    }
}

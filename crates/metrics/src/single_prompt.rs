//! Rows of `single_prompt_results_*.csv`: one per request, a cold prompt or one of its repeats.

use crate::percentile::mean;

/// One request of `single_prompt_tester`. Times are seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SinglePromptRow {
    /// Context size as given, tokens.
    pub context_size: u64,
    /// From 0.
    pub iteration: u64,
    /// `unique`, or `cached`, `cached_r1`, `cached_r2` …
    pub prompt_type: String,
    /// Prompt tokens, as the server counts them.
    pub prompt_tokens: u64,
    /// Output tokens, as the server counts them.
    pub completion_tokens: u64,
    /// Time to first token; `None` where none came.
    pub ttft: Option<f64>,
    /// Finish − first token.
    pub generation_time: Option<f64>,
    /// Finish − launch.
    pub total_time: Option<f64>,
    /// Generation speed, tokens/s.
    pub output_tokens_per_sec: Option<f64>,
    /// Tokens that the server took from its cache, as it says; in no file of the originals.
    pub reported_cached_tokens: Option<u64>,
}

impl SinglePromptRow {
    /// Whether this request repeats a prompt that was sent before.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.prompt_type.starts_with("cached")
    }

    /// Whether this request sends a prompt for the first time.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        self.prompt_type == "unique"
    }
}

/// Mean and sample standard deviation (n − 1) of one figure.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MeanStd {
    /// Arithmetic mean.
    pub mean: f64,
    /// `None` for a single value.
    pub std: Option<f64>,
}

impl MeanStd {
    /// `None` without values.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mean = mean(values)?;
        let std = (values.len() > 1).then(|| {
            let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
            (squares / (values.len() - 1) as f64).sqrt()
        });
        Some(Self { mean, std })
    }
}

/// What one context showed, cold and cached.
#[derive(Debug, Clone, PartialEq)]
pub struct ColdAndCached {
    /// Context size as given, tokens.
    pub context_size: u64,
    /// Cold requests.
    pub n_unique: usize,
    /// Repeats.
    pub n_cached: usize,
    /// TTFT of cold requests, seconds.
    pub unique_ttft: MeanStd,
    /// TTFT of repeats, seconds.
    pub cached_ttft: MeanStd,
    /// Time to the end of cold requests, seconds.
    pub unique_total: Option<MeanStd>,
    /// Time to the end of repeats, seconds.
    pub cached_total: Option<MeanStd>,
}

impl ColdAndCached {
    /// Mean cold TTFT ÷ mean cached TTFT; `None` where the latter is zero.
    #[must_use]
    pub fn speedup(&self) -> Option<f64> {
        let (cold, cached) = (self.unique_ttft.mean, self.cached_ttft.mean);
        (cached > 0.0).then(|| cold / cached)
    }
}

/// Contexts in ascending order; one that lacks cold requests or repeats is left out.
#[must_use]
pub fn cold_and_cached(rows: &[SinglePromptRow]) -> Vec<ColdAndCached> {
    let mut contexts: Vec<u64> = rows.iter().map(|r| r.context_size).collect();
    contexts.sort_unstable();
    contexts.dedup();
    contexts
        .into_iter()
        .filter_map(|context_size| {
            let of = |cached: bool| {
                rows.iter().filter(move |r| {
                    r.context_size == context_size
                        && if cached { r.is_cached() } else { r.is_unique() }
                })
            };
            let figure = |cached: bool, value: fn(&SinglePromptRow) -> Option<f64>| {
                let values: Vec<f64> = of(cached)
                    .filter_map(value)
                    .filter(|v| v.is_finite())
                    .collect();
                MeanStd::of(&values)
            };
            Some(ColdAndCached {
                context_size,
                n_unique: of(false).count(),
                n_cached: of(true).count(),
                unique_ttft: figure(false, |r| r.ttft)?,
                cached_ttft: figure(true, |r| r.ttft)?,
                unique_total: figure(false, |r| r.total_time),
                cached_total: figure(true, |r| r.total_time),
            })
        })
        .collect()
}

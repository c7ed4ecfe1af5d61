//! Rows of `single_prompt_results_*.csv`: one per request, a cold prompt or one of its repeats.
//!
//! Formulas are those of single_prompt_tester.md 3.4: a speed-up is the ratio of means over all rows of a context, a
//! standard deviation is the sample's (n − 1). What is undefined is `None`.

use std::collections::BTreeMap;
use std::fmt;

use crate::interval::ratio_of_means;
use crate::percentile::mean;

/// Which sending of a prompt a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PromptKind {
    /// The first: nobody has sent the prompt before.
    Unique,
    /// The only repetition.
    Cached,
    /// One of several repetitions, from 1.
    CachedRepeat(u32),
}

impl PromptKind {
    /// Repetition number `repeat` (from 1) of `n_repeats`.
    #[must_use]
    pub fn cached(repeat: u32, n_repeats: u32) -> Self {
        if n_repeats == 1 {
            Self::Cached
        } else {
            Self::CachedRepeat(repeat)
        }
    }

    /// Whether the prompt was sent before.
    #[must_use]
    pub fn is_cached(self) -> bool {
        self != Self::Unique
    }
}

/// The word in the column `prompt_type`.
impl fmt::Display for PromptKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unique => f.write_str("unique"),
            Self::Cached => f.write_str("cached"),
            Self::CachedRepeat(repeat) => write!(f, "cached_r{repeat}"),
        }
    }
}

/// One request of `single_prompt_tester`. Times are seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SinglePromptRow {
    /// Context size as given, tokens.
    pub context_size: u64,
    /// From 0.
    pub iteration: u64,
    /// `unique`, or `cached`, `cached_r1`, `cached_r2` …: a [`PromptKind`].
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
    /// Which of the prompts of its batch, from 0; `None` in files of the originals.
    pub prompt_index: Option<u64>,
    /// Whether the token counts are ours because the server sent none; `None` in files of the originals.
    pub counted_locally: Option<bool>,
    /// Whether the answer is the one to the same prompt cold; `None` where that was not compared.
    pub matches_cold_text: Option<bool>,
    /// From the instant at which its batch was handed over to the request's own hand-over, without `dial_time`: how late
    /// the client was. With `ttft` it is the latency from the intended instant. `None` in files of the originals.
    pub send_delay: Option<f64>,
    /// What opening a connection took; 0 where one stood ready. In no latency. `None` in files of the originals.
    pub dial_time: Option<f64>,
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

/// The figures of one context, as far as they are defined: what tables show.
#[derive(Debug, Clone, PartialEq)]
pub struct SizeFigures {
    /// Context size as given, tokens.
    pub context_size: u64,
    /// Cold requests that were answered.
    pub n_unique: usize,
    /// Repeats that were answered.
    pub n_cached: usize,
    /// TTFT of cold requests, seconds.
    pub unique_ttft: Option<MeanStd>,
    /// TTFT of repeats, seconds.
    pub cached_ttft: Option<MeanStd>,
    /// Time to the end of cold requests, seconds.
    pub unique_total: Option<MeanStd>,
    /// Time to the end of repeats, seconds.
    pub cached_total: Option<MeanStd>,
    /// Mean cold TTFT ÷ mean cached TTFT, over all rows.
    pub speedup: Option<f64>,
    /// Its 95 % interval over prompts, see [`ratio_of_means`]; a prompt counts once, with the mean of its repeats.
    pub speedup_interval: Option<(f64, f64)>,
    /// Share of the repeats' prompt tokens that the server took from its cache, by its own report.
    pub reported_share: Option<f64>,
}

impl SizeFigures {
    /// Of the rows of one context; others take no part.
    #[must_use]
    pub fn of(context_size: u64, rows: &[SinglePromptRow]) -> Self {
        let of = |cached: bool| {
            rows.iter().filter(move |row| {
                row.context_size == context_size
                    && if cached {
                        row.is_cached()
                    } else {
                        row.is_unique()
                    }
            })
        };
        let figure = |cached: bool, value: fn(&SinglePromptRow) -> Option<f64>| {
            let values: Vec<f64> = of(cached)
                .filter_map(value)
                .filter(|v| v.is_finite())
                .collect();
            MeanStd::of(&values)
        };
        let unique_ttft = figure(false, |row| row.ttft);
        let cached_ttft = figure(true, |row| row.ttft);
        let speedup = unique_ttft
            .zip(cached_ttft.filter(|cached| cached.mean > 0.0))
            .map(|(cold, cached)| cold.mean / cached.mean);
        let times: Vec<(f64, f64)> = prompt_pairs(rows)
            .iter()
            .filter(|pair| pair.context_size == context_size)
            .filter_map(PromptPair::ttfts)
            .collect();
        Self {
            context_size,
            n_unique: of(false).count(),
            n_cached: of(true).count(),
            unique_ttft,
            cached_ttft,
            unique_total: figure(false, |row| row.total_time),
            cached_total: figure(true, |row| row.total_time),
            speedup,
            speedup_interval: ratio_of_means(&times).and_then(|ratio| ratio.interval),
            reported_share: reported_share(of(true)),
        }
    }

    /// Of every context that has rows, ascending.
    #[must_use]
    pub fn of_all(rows: &[SinglePromptRow]) -> Vec<Self> {
        let mut sizes: Vec<u64> = rows.iter().map(|row| row.context_size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes.into_iter().map(|size| Self::of(size, rows)).collect()
    }
}

/// Σ reported cached tokens ÷ Σ prompt tokens, over rows with a report.
pub(crate) fn reported_share<'a>(rows: impl Iterator<Item = &'a SinglePromptRow>) -> Option<f64> {
    let (mut cached, mut prompt) = (0, 0);
    for row in rows {
        if let Some(reported) = row.reported_cached_tokens {
            cached += reported;
            prompt += row.prompt_tokens;
        }
    }
    (prompt > 0).then(|| cached as f64 / prompt as f64)
}

/// All that was measured of one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptPair<'a> {
    /// Context size as given, tokens.
    pub context_size: u64,
    /// The first sending, if it was answered.
    pub cold: Option<&'a SinglePromptRow>,
    /// The repeats that were answered.
    pub cached: Vec<&'a SinglePromptRow>,
}

impl PromptPair<'_> {
    /// TTFT cold, and the mean TTFT of the repeats, seconds.
    #[must_use]
    pub fn ttfts(&self) -> Option<(f64, f64)> {
        let cold = self.cold?.ttft?;
        let cached: Vec<f64> = self.cached.iter().filter_map(|row| row.ttft).collect();
        Some((cold, mean(&cached)?))
    }
}

/// The rows by prompt, contexts and iterations ascending. Rows without a prompt number (the originals') are numbered
/// by their order within the batch, which is the order of the prompts.
#[must_use]
pub fn prompt_pairs(rows: &[SinglePromptRow]) -> Vec<PromptPair<'_>> {
    let mut next: BTreeMap<(u64, u64, &str), u64> = BTreeMap::new();
    let mut pairs: BTreeMap<(u64, u64, u64), PromptPair<'_>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.is_cached() || row.is_unique()) {
        let counter = next
            .entry((row.context_size, row.iteration, &row.prompt_type))
            .or_insert(0);
        let index = row.prompt_index.unwrap_or(*counter);
        *counter += 1;
        let pair = pairs
            .entry((row.context_size, row.iteration, index))
            .or_insert_with(|| PromptPair {
                context_size: row.context_size,
                cold: None,
                cached: Vec::new(),
            });
        if row.is_cached() {
            pair.cached.push(row);
        } else {
            pair.cold = Some(row);
        }
    }
    pairs.into_values().collect()
}

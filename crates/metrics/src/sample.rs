//! A completed request as statistics see it, and the slim form of it that a report keeps of every row.
//!
//! A study of a million requests has a detail file of half a gigabyte; charts need a dozen numbers of each
//! row. [`Sample`] holds those and nothing else, 64 bytes whatever the row. Promise: a figure computed from
//! samples equals the one computed from whole rows. Refuses to know which test or phase it belongs to: that
//! is the business of whoever keeps samples by the thousand.

use crate::record::RequestRecord;

/// What statistics ask of a completed request. Times are Unix seconds, lengths seconds.
pub trait Completed {
    /// When it was handed to a connection.
    fn launch_time(&self) -> f64;
    /// When it ended.
    fn finish_time(&self) -> f64;
    /// Tokens of the body, question not counted.
    fn input_tokens(&self) -> u64;
    /// Tokens of the answer.
    fn output_tokens(&self) -> u64;
    /// TTFT where it counts as a sample.
    fn ttft_sample(&self) -> Option<f64>;
    /// Generation speed, tokens/s.
    fn request_speed(&self) -> Option<f64>;
    /// Target hit rate, whole percent.
    fn cache_hit_rate(&self) -> u32;
    /// Level held when it was launched.
    fn concurrency_level(&self) -> u32;
    /// Tokens meant to be cached.
    fn cached_tokens(&self) -> u64;
    /// Tokens that the server took from its cache, as it says.
    fn reported_cached_tokens(&self) -> Option<u64>;
}

impl Completed for RequestRecord {
    fn launch_time(&self) -> f64 {
        self.launch_time
    }

    fn finish_time(&self) -> f64 {
        self.finish_time
    }

    fn input_tokens(&self) -> u64 {
        Self::input_tokens(self)
    }

    fn output_tokens(&self) -> u64 {
        self.output_tokens
    }

    fn ttft_sample(&self) -> Option<f64> {
        Self::ttft_sample(self)
    }

    fn request_speed(&self) -> Option<f64> {
        Self::request_speed(self)
    }

    fn cache_hit_rate(&self) -> u32 {
        self.intent.cache_hit_rate
    }

    fn concurrency_level(&self) -> u32 {
        self.intent.concurrency_level
    }

    fn cached_tokens(&self) -> u64 {
        self.intent.cached_tokens
    }

    fn reported_cached_tokens(&self) -> Option<u64> {
        self.reported_cached_tokens
    }
}

/// The numbers of one completed request that charts and checks need.
///
/// Undefined values are NaN or the largest integer inside, so that a sample stays small; the accessors give
/// them as `None`. Token counts beyond 2³² − 2 are cut off there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    launch_time: f64,
    finish_time: f64,
    ttft: f64,
    generation_time: f64,
    send_delay: f32,
    cached_tokens: u32,
    unique_tokens: u32,
    output_tokens: u32,
    reported_cached_tokens: u32,
    cache_hit_rate: u32,
    concurrency_level: u32,
}

/// Stands for a count that is not known.
const UNKNOWN: u32 = u32::MAX;

/// The parts of a sample before they are packed; fields are those of [`RequestRecord`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleParts {
    /// Launch, Unix seconds.
    pub launch_time: f64,
    /// End, Unix seconds.
    pub finish_time: f64,
    /// First token − launch, seconds.
    pub ttft: Option<f64>,
    /// Finish − first token, seconds.
    pub generation_time: Option<f64>,
    /// Actual − intended send, seconds, without what opening a connection took.
    pub send_delay: Option<f64>,
    /// Tokens taken from the working set.
    pub cached_tokens: u64,
    /// Tokens never sent before.
    pub unique_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// Server's `cached_tokens`.
    pub reported_cached_tokens: Option<u64>,
    /// Target hit rate, whole percent.
    pub cache_hit_rate: u32,
    /// Level held when it was launched.
    pub concurrency_level: u32,
}

fn count(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(UNKNOWN - 1).min(UNKNOWN - 1)
}

fn known(value: f64) -> Option<f64> {
    (!value.is_nan()).then_some(value)
}

impl From<SampleParts> for Sample {
    fn from(parts: SampleParts) -> Self {
        Self {
            launch_time: parts.launch_time,
            finish_time: parts.finish_time,
            ttft: parts.ttft.unwrap_or(f64::NAN),
            generation_time: parts.generation_time.unwrap_or(f64::NAN),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a delay is shown to the tenth of a millisecond"
            )]
            send_delay: parts.send_delay.map_or(f32::NAN, |s| s as f32),
            cached_tokens: count(parts.cached_tokens),
            unique_tokens: count(parts.unique_tokens),
            output_tokens: count(parts.output_tokens),
            reported_cached_tokens: parts.reported_cached_tokens.map_or(UNKNOWN, count),
            cache_hit_rate: parts.cache_hit_rate,
            concurrency_level: parts.concurrency_level,
        }
    }
}

impl From<&RequestRecord> for Sample {
    fn from(record: &RequestRecord) -> Self {
        let intent = &record.intent;
        Self::from(SampleParts {
            launch_time: record.launch_time,
            finish_time: record.finish_time,
            ttft: record.ttft,
            generation_time: record.generation_time,
            send_delay: record.send_delay,
            cached_tokens: intent.cached_tokens,
            unique_tokens: intent.unique_tokens,
            output_tokens: record.output_tokens,
            reported_cached_tokens: record.reported_cached_tokens,
            cache_hit_rate: intent.cache_hit_rate,
            concurrency_level: intent.concurrency_level,
        })
    }
}

impl Sample {
    /// Actual − intended send, seconds, to seven digits; without what opening a connection took.
    #[must_use]
    pub fn send_delay(&self) -> Option<f64> {
        known(f64::from(self.send_delay))
    }
}

impl Completed for Sample {
    fn launch_time(&self) -> f64 {
        self.launch_time
    }

    fn finish_time(&self) -> f64 {
        self.finish_time
    }

    fn input_tokens(&self) -> u64 {
        u64::from(self.cached_tokens) + u64::from(self.unique_tokens)
    }

    fn output_tokens(&self) -> u64 {
        u64::from(self.output_tokens)
    }

    fn ttft_sample(&self) -> Option<f64> {
        known(self.ttft).filter(|t| *t > 0.0)
    }

    fn request_speed(&self) -> Option<f64> {
        let time = known(self.generation_time).filter(|t| *t > 0.0)?;
        (self.output_tokens >= 2).then(|| f64::from(self.output_tokens) / time)
    }

    fn cache_hit_rate(&self) -> u32 {
        self.cache_hit_rate
    }

    fn concurrency_level(&self) -> u32 {
        self.concurrency_level
    }

    fn cached_tokens(&self) -> u64 {
        u64::from(self.cached_tokens)
    }

    fn reported_cached_tokens(&self) -> Option<u64> {
        (self.reported_cached_tokens != UNKNOWN).then_some(u64::from(self.reported_cached_tokens))
    }
}

const _: () = assert!(size_of::<Sample>() <= 64, "a sample is small");

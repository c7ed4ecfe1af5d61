//! Options that take one word of a few.
//!
//! Promise: the words are the public ones and also stand in `progress.json`; each type gives its word
//! back, so nothing after parsing compares strings.

use clap::ValueEnum;

/// Gives an enum of words `as_str` and `Display`.
///
/// Every variant is named with its word, which must be the one that `ValueEnum` parses.
#[macro_export]
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $name {
            /// The word on the command line and in files.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// How requests are spread over several endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum EndpointSelection {
    /// Each request goes to the next endpoint.
    #[default]
    RoundRobin,
    /// Each working-set prompt stays on one endpoint.
    Pinned,
}
words!(EndpointSelection { RoundRobin = "round-robin", Pinned = "pinned" });

/// Which API is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum EndpointType {
    /// `/v1/chat/completions`.
    #[default]
    Chat,
    /// `/v1/completions`.
    Completions,
}
words!(EndpointType { Chat = "chat", Completions = "completions" });

/// Which HTTP version is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum HttpVersion {
    /// HTTP/1.1 over http, negotiated over https.
    #[default]
    Auto,
    /// HTTP/1.1.
    #[value(name = "1")]
    Http1,
    /// HTTP/2, over http without negotiation.
    #[value(name = "2")]
    Http2,
}
words!(HttpVersion { Auto = "auto", Http1 = "1", Http2 = "2" });

/// Statistic of the TTFT that a threshold limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum TtftMetric {
    /// The slowest request.
    Max,
    /// The mean.
    Avg,
    /// The 95th percentile.
    #[default]
    P95,
}
words!(TtftMetric { Max = "max", Avg = "avg", P95 = "p95" });

/// How the concurrency of a test is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Mode {
    /// Grow until the threshold breaks, refine, repeat at the best level.
    #[default]
    #[value(alias = "adaptive")]
    Ramp,
    /// Never stop sending; decide anew after every period.
    Sustained,
    /// Measure the listed levels.
    Fixed,
}
words!(Mode { Ramp = "ramp", Sustained = "sustained", Fixed = "fixed" });

/// Statistic of the request speed that a threshold limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SpeedMetric {
    /// The mean.
    #[default]
    Avg,
    /// The 5th percentile.
    P5,
    /// The 10th percentile.
    P10,
}
words!(SpeedMetric { Avg = "avg", P5 = "p5", P10 = "p10" });

/// Bytes per element of the KV cache, for estimates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum KvPrecision {
    /// FP8.
    #[value(name = "1")]
    OneByte,
    /// FP16.
    #[default]
    #[value(name = "2")]
    TwoBytes,
}
words!(KvPrecision { OneByte = "1", TwoBytes = "2" });

impl KvPrecision {
    /// Bytes per element.
    #[must_use]
    pub fn bytes(self) -> u32 {
        match self {
            Self::OneByte => 1,
            Self::TwoBytes => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Calibrate;
    use testkit::word::assert_agree;

    #[test]
    fn the_word_that_is_parsed_is_the_word_that_is_written() {
        assert_agree::<EndpointSelection>();
        assert_agree::<EndpointType>();
        assert_agree::<HttpVersion>();
        assert_agree::<TtftMetric>();
        assert_agree::<Mode>();
        assert_agree::<SpeedMetric>();
        assert_agree::<KvPrecision>();
        assert_agree::<Calibrate>();
    }

    #[test]
    fn precision_is_its_number_of_bytes() {
        assert_eq!(
            KvPrecision::value_variants()
                .iter()
                .map(|p| p.bytes())
                .collect::<Vec<_>>(),
            [1, 2]
        );
    }
}

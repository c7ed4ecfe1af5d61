//! What the client knows of itself: how late it was, how much of the load it held, how far off its times are.
//!
//! A benchmark's numbers are the server's times plus the client's own. Here stands what the client measured of its
//! own part in one window, and the rule by which a window is said to be limited by the client: its error of
//! TTFT or ITL exceeds 5 % of the median in the middle (p50) or 10 % of the 95th percentile at the end (p99), or it
//! held less than 95 % of the load for reasons of its own.

mod calibration;
mod histogram;
mod own_part;
pub mod pace;
mod row;

pub use calibration::{
    CALIBRATED_OVER, Calibration, Missing, Planned, judging, missing_lines, ratio_distance,
};
pub use histogram::Histogram;
pub use own_part::OwnPart;
pub use row::HealthRow;

use crate::percentile::Stats;

/// A p50 error above this share of the median limits a window.
pub const MIDDLE_SHARE: f64 = 0.05;
/// A p99 error above this share of the 95th percentile limits a window.
pub const TAIL_SHARE: f64 = 0.10;
/// Load that may be missing for reasons of ours.
pub const MISSING_SHARE: f64 = 0.05;

/// An error of times: half of them are at most `p50`, 99 % at most `p99`. Seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ErrorBar {
    /// Median.
    pub p50: f64,
    /// 99th percentile; `None` where too few were measured to tell.
    pub p99: Option<f64>,
}

impl ErrorBar {
    /// For people, in milliseconds.
    #[must_use]
    pub fn in_ms(self, decimals: usize) -> String {
        let p99 = self.p99.map_or_else(
            || "p99 unknown".to_owned(),
            |p99| format!("p99 {:.decimals$} ms", p99 * 1e3),
        );
        format!("p50 {:.decimals$} ms, {p99}", self.p50 * 1e3)
    }

    /// The larger of both, figure by figure.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            p50: self.p50.max(other.p50),
            p99: match (self.p99, other.p99) {
                (Some(one), Some(other)) => Some(one.max(other)),
                (one, other) => one.or(other),
            },
        }
    }
}

/// Which result the figures of a window or period are part of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PartOf {
    /// A window: of its test's, where its level is the reported one.
    #[default]
    Level,
    /// A period: of its test's, whatever its level.
    Test,
    /// A window that ended the search for the peak: of none, but without it the peak might be higher.
    EndOfSearch,
    /// A window above the peak that held the thresholds and was no better: likewise.
    Rival,
    /// A window that was broken off: of none.
    Nothing,
}

/// What the client measured of itself in one window or period.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WindowHealth {
    /// Window or period.
    pub phase_id: String,
    /// As given, tokens.
    pub context_size: u64,
    /// For testers that vary it.
    pub working_set_size: Option<u64>,
    /// Percent.
    pub cache_hit_rate: u32,
    /// Level that was to be held.
    pub level: u32,
    /// Which result its figures are part of.
    pub part_of: PartOf,
    /// Length, seconds.
    pub length: f64,
    /// How long something that was ready waited for its runtime, seconds; empty where nobody probed.
    pub lag: Option<Lag>,
    /// 99th percentile of actual − intended send, seconds.
    pub send_delay_p99: Option<f64>,
    /// Processor seconds of the process per second.
    pub cpu_share: Option<f64>,
    /// Mean number of requests in flight, over equal parts of the window.
    pub in_flight: Vec<f64>,
    /// Share of the load that was missing because the client launched late; `None` of a window without length.
    pub missing_share: Option<f64>,
    /// Median and 95th percentile of the window's TTFT, seconds.
    pub ttft: Typical,
    /// Median and 95th percentile of the window's ITL, seconds.
    pub itl: Typical,
    /// Mean number of tokens of the answers that have an ITL.
    pub answer_tokens: Option<f64>,
}

/// Waits for a runtime, seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Lag {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Longest.
    pub max: f64,
}

/// What a latency is like, as far as it is defined.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Typical {
    /// Median.
    pub median: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
}

impl From<&Stats> for Typical {
    fn from(stats: &Stats) -> Self {
        Self {
            median: stats.median,
            p95: stats.p95,
        }
    }
}

/// Why a window says more of the client than it should.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// Its own delay is a large part of a latency.
    Error {
        /// Of which latency: `TTFT` or `ITL`.
        of: &'static str,
        /// `p50` or `p99`.
        at: &'static str,
        /// The client's error, seconds.
        error: f64,
        /// What it is held against, seconds.
        latency: f64,
    },
    /// It launched too late to hold the level.
    Load {
        /// Share that was missing.
        missing: f64,
    },
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Error {
                of,
                at,
                error,
                latency,
            } => write!(
                f,
                "the client's own {of} error ({at} {:.decimals$} ms) is {:.0}% of the measured {:.decimals$} ms",
                error * 1e3,
                100.0 * error / latency,
                latency * 1e3,
                // Between tokens there may be microseconds: two decimals would show 10 % of 0.01 ms as nothing.
                decimals = if *of == "ITL" { 3 } else { 2 },
            ),
            Self::Load { missing } => write!(
                f,
                "the client launched late: {:.0}% of the load was missing",
                100.0 * missing
            ),
        }
    }
}

impl WindowHealth {
    /// Mean number of requests in flight.
    #[must_use]
    pub fn achieved_in_flight(&self) -> Option<f64> {
        crate::percentile::mean(&self.in_flight)
    }

    /// The client's error of TTFT: what was calibrated, or what its runtimes felt in this very window
    /// where that is more.
    #[must_use]
    pub fn ttft_error(&self, calibration: Option<&Calibration>) -> Option<ErrorBar> {
        larger(self.felt(), calibration.map(|c| c.ttft))
    }

    /// The client's error of ITL, likewise. A wait shifts the first or the last token of an answer, and of the time
    /// between them each of the gaps has its share.
    #[must_use]
    pub fn itl_error(&self, calibration: Option<&Calibration>) -> Option<ErrorBar> {
        let gaps = self.answer_tokens.map(|n| n - 1.0).filter(|n| *n > 0.0);
        let felt = self.felt().zip(gaps).map(|(felt, gaps)| ErrorBar {
            p50: felt.p50 / gaps,
            p99: felt.p99.map(|p99| p99 / gaps),
        });
        larger(felt, calibration.and_then(|c| c.itl))
    }

    /// Waits of the runtimes, as an error of an instant.
    fn felt(&self) -> Option<ErrorBar> {
        self.lag.map(|lag| ErrorBar {
            p50: lag.p50,
            p99: Some(lag.p99),
        })
    }

    /// Whether the client limits the window by what it felt itself, without a calibration; `None` where nobody
    /// probed and nothing speaks for it.
    #[must_use]
    pub fn is_limited(&self) -> Option<bool> {
        let limited = self.limit(None).is_some();
        (limited || self.lag.is_some()).then_some(limited)
    }

    /// The first reason why the window is limited by the client, the gravest kind first; `None` when it is not.
    #[must_use]
    pub fn limit(&self, calibration: Option<&Calibration>) -> Option<Limit> {
        if let Some(missing) = self.missing_share.filter(|share| *share > MISSING_SHARE) {
            return Some(Limit::Load { missing });
        }
        let latencies = [
            ("TTFT", self.ttft_error(calibration), self.ttft),
            ("ITL", self.itl_error(calibration), self.itl),
        ];
        latencies.into_iter().find_map(|(of, error, typical)| {
            let error = error?;
            let exceeds = |at, error: f64, latency: Option<f64>, share: f64| {
                latency
                    .filter(|latency| error > share * latency)
                    .map(|latency| Limit::Error {
                        of,
                        at,
                        error,
                        latency,
                    })
            };
            exceeds("p50", error.p50, typical.median, MIDDLE_SHARE)
                .or_else(|| exceeds("p99", error.p99?, typical.p95, TAIL_SHARE))
        })
    }
}

/// The larger of two errors, figure by figure, as far as they are known.
fn larger(one: Option<ErrorBar>, other: Option<ErrorBar>) -> Option<ErrorBar> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> WindowHealth {
        WindowHealth {
            level: 64,
            lag: Some(Lag {
                p50: 0.000_1,
                p99: 0.001,
                max: 0.01,
            }),
            ttft: Typical {
                median: Some(0.2),
                p95: Some(0.3),
            },
            itl: Typical {
                median: Some(0.02),
                p95: Some(0.021),
            },
            in_flight: vec![60.0, 64.0, 64.0],
            ..WindowHealth::default()
        }
    }

    fn calibration(level: u32, ttft: (f64, f64), itl: (f64, f64)) -> Calibration {
        let bar = |(p50, p99)| ErrorBar {
            p50,
            p99: Some(p99),
        };
        Calibration {
            context_size: 1000,
            level,
            ttft: bar(ttft),
            itl: Some(bar(itl)),
            n_requests: 100,
        }
    }

    #[test]
    fn a_window_that_nothing_disturbed_is_not_limited() {
        let calibrated = calibration(64, (0.000_2, 0.002), (0.000_01, 0.000_1));
        assert_eq!(window().limit(Some(&calibrated)), None);
        assert_eq!(window().limit(None), None);
        assert_eq!(WindowHealth::default().limit(None), None);
    }

    #[test]
    fn each_bound_limits_by_itself() {
        let told = |w: WindowHealth, c: Option<&Calibration>| w.limit(c).map(|l| l.to_string());
        let lagging = |p50, p99| WindowHealth {
            lag: Some(Lag { p50, p99, max: p99 }),
            ..window()
        };
        // 5 % of 200 ms are 10 ms, 10 % of 300 ms are 30 ms.
        assert!(
            told(lagging(0.011, 0.011), None)
                .is_some_and(|t| t.contains("TTFT error (p50 11.00 ms)"))
        );
        assert!(
            told(lagging(0.009, 0.031), None)
                .is_some_and(|t| t.contains("TTFT error (p99 31.00 ms)"))
        );
        assert_eq!(told(lagging(0.009, 0.029), None), None);
        let itl = calibration(64, (0.0, 0.0), (0.001_1, 0.001_2));
        assert!(told(window(), Some(&itl)).is_some_and(|t| t.contains("ITL error (p50")));
        let itl = calibration(64, (0.0, 0.0), (0.000_9, 0.002_2));
        assert!(told(window(), Some(&itl)).is_some_and(|t| t.contains("ITL error (p99")));
        let late = WindowHealth {
            missing_share: Some(0.06),
            ..window()
        };
        assert!(told(late, None).is_some_and(|t| t.contains("6% of the load")));
    }

    /// The mark of a swift server read "p50 0.00 ms is 10% of the measured 0.01 ms".
    #[test]
    fn an_error_of_microseconds_between_tokens_is_not_told_as_nothing() {
        let swift = WindowHealth {
            itl: Typical {
                median: Some(0.000_014),
                p95: Some(0.000_02),
            },
            ..window()
        };
        let itl = calibration(64, (0.0, 0.0), (0.000_001_4, 0.000_001_4));
        assert_eq!(
            swift.limit(Some(&itl)).map(|l| l.to_string()).as_deref(),
            Some("the client's own ITL error (p50 0.001 ms) is 10% of the measured 0.014 ms")
        );
    }

    /// A window that 100 ms of waiting disturbed once showed the error between tokens of a quiet one.
    #[test]
    fn what_was_felt_is_an_error_between_tokens_too() {
        let told = |tokens, lag| {
            let window = WindowHealth {
                lag: Some(Lag {
                    p50: lag,
                    p99: lag,
                    max: lag,
                }),
                answer_tokens: tokens,
                // TTFT is so long that nothing is an error of it.
                ttft: Typical {
                    median: Some(10.0),
                    p95: Some(10.0),
                },
                ..window()
            };
            let quiet = calibration(64, (0.0, 0.0), (0.000_01, 0.000_01));
            (
                window.limit(None).map(|l| l.to_string()),
                HealthRow::new(&window, Some(&quiet)).itl_error_p50,
            )
        };
        // 5 % of 20 ms are 1 ms.
        let (limit, error) = told(Some(65.0), 0.1);
        assert!(limit.is_some_and(|l| l.contains("ITL error (p50 1.562 ms)")));
        assert_eq!(error, Some(0.1 / 64.0));
        assert_eq!(told(Some(129.0), 0.1).0, None);
        assert_eq!(told(Some(129.0), 0.0).1, Some(0.000_01));
        // Answers of one token have no time between tokens.
        assert_eq!(told(None, 0.1), (None, Some(0.000_01)));
    }

    /// A level of which one request was calibrated was judged by it as by a 99th percentile.
    #[test]
    fn too_few_requests_for_a_99th_percentile_are_not_judged_by_one() {
        let bar = |p99| Calibration {
            ttft: ErrorBar { p50: 0.001, p99 },
            itl: None,
            n_requests: 1,
            ..calibration(64, (0.0, 0.0), (0.0, 0.0))
        };
        let felt = window().lag.map(|lag| lag.p99);
        let row = HealthRow::new(&window(), Some(&bar(None)));
        assert_eq!(
            (row.client_limited, row.ttft_error_p99),
            (Some(false), felt)
        );
        assert_eq!(row.calibrated_requests, Some(1));
        let row = HealthRow::new(&window(), Some(&bar(Some(0.2))));
        assert_eq!(row.client_limited, Some(true));
        let unprobed = WindowHealth {
            lag: None,
            ..window()
        };
        let row = HealthRow::new(&unprobed, Some(&bar(None)));
        assert_eq!(
            (row.ttft_error_p50, row.ttft_error_p99),
            (Some(0.001), None)
        );
    }

    #[test]
    fn an_undefined_latency_limits_nothing() {
        let window = WindowHealth {
            lag: window().lag,
            ..WindowHealth::default()
        };
        assert_eq!(window.limit(None), None);
    }

    #[test]
    fn answers_of_one_token_have_no_error_between_tokens() {
        let one_token = Calibration {
            itl: None,
            ..calibration(64, (0.000_1, 0.001), (0.0, 0.0))
        };
        let row = HealthRow::new(&window(), Some(&one_token));
        assert_eq!((row.itl_error_p50, row.itl_error_p99), (None, None));
        assert!(row.ttft_error_p50.is_some());
    }
}

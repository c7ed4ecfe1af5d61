//! What a run says of the client's own part in its figures.
//!
//! Promise: pure. Cold and repeated prompts of a size are judged apart, because their times differ many times over; the
//! figures of a size are limited by the client where those of either are.

use cli::logging::Line;
use cli::number::thousands;
use engine::event::{Doubt, DoubtKind};
use metrics::health::{ErrorBar, HealthRow, Planned, WindowHealth, judging};
use report::test_name::TestName;
use serde_json::{Value, json};

/// The judgement on a run.
#[derive(Debug, Clone, Default)]
pub struct ClientPart {
    rows: Vec<HealthRow>,
}

impl ClientPart {
    /// Judges each window by what was felt in it and by the calibration that was planned for it, as far as there is either.
    #[must_use]
    pub fn judge(windows: &[WindowHealth], calibrations: &[Planned]) -> Self {
        let row = |window: &WindowHealth| {
            let calibration = judging(calibrations, window);
            let is_known = window.lag.is_some() || calibration.is_some();
            is_known.then(|| HealthRow::new(window, calibration))
        };
        Self {
            rows: windows.iter().filter_map(row).collect(),
        }
    }

    /// A doubt of each size that the client limits, in their order; of its cold prompts (0 %) or else its repeated ones (100 %).
    #[must_use]
    pub fn limited(&self) -> Vec<Doubt> {
        let mut limited: Vec<Doubt> = Vec::new();
        for row in &self.rows {
            let test = TestName::new(row.context_size, row.cache_hit_rate);
            let is_told = |doubt: &Doubt| doubt.test.context_size == row.context_size;
            if row.client_limited != Some(true) || limited.iter().any(is_told) {
                continue;
            }
            limited.push(Doubt {
                test,
                kind: DoubtKind::ClientLimited,
                text: format!(
                    "{} tokens: the figures are limited by this client ({} prompts: {}): give it less company, or a \
                     machine of its own",
                    thousands(row.context_size),
                    if row.cache_hit_rate == 0 { "cold" } else { "repeated" },
                    row.limited_by
                ),
            });
        }
        limited
    }

    /// How far off the times are at most, over all sizes; no line where nothing is known.
    #[must_use]
    pub fn line(&self) -> Option<Line> {
        let most = |of: fn(&HealthRow) -> Option<f64>| {
            self.rows.iter().filter_map(of).max_by(f64::total_cmp)
        };
        let ttft = ErrorBar {
            p50: most(|r| r.ttft_error_p50)?,
            p99: most(|r| r.ttft_error_p99),
        };
        let mut text = format!("The client's own part: TTFT error {}", ttft.in_ms(2));
        if let Some(p50) = most(|r| r.itl_error_p50) {
            let p99 = most(|r| r.itl_error_p99);
            text.push_str(&format!("; ITL error {}", ErrorBar { p50, p99 }.in_ms(3)));
        }
        if let Some(delay) = most(|r| r.send_delay_p99) {
            text.push_str(&format!("; sent late by p99 {:.2} ms", delay * 1e3));
        }
        let n_limited = self.limited().len();
        text.push_str(&match n_limited {
            0 => "; no size is limited by it".to_owned(),
            1 => "; 1 size is limited by it".to_owned(),
            n => format!("; {n} sizes are limited by it"),
        });
        Some(Line::plain(text))
    }

    /// Everything, for programs.
    #[must_use]
    pub fn object(&self) -> Value {
        let row = |row: &HealthRow| {
            json!({
                "context_size": row.context_size,
                "prompts": if row.cache_hit_rate == 0 { "unique" } else { "cached" },
                "lag_p50": row.lag_p50,
                "lag_p99": row.lag_p99,
                "lag_max": row.lag_max,
                "send_delay_p99": row.send_delay_p99,
                "cpu_share": row.cpu_share,
                "missing_load_share": row.missing_load_share,
                "ttft_error_p50": row.ttft_error_p50,
                "ttft_error_p99": row.ttft_error_p99,
                "itl_error_p50": row.itl_error_p50,
                "itl_error_p99": row.itl_error_p99,
                "client_limited": row.client_limited,
                "limited_by": row.limited_by,
            })
        };
        self.rows.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use metrics::health::{Calibration, Lag, Typical};

    use super::*;

    fn window(context_size: u64, cache_hit_rate: u32, ttft: f64) -> WindowHealth {
        WindowHealth {
            context_size,
            cache_hit_rate,
            level: 1,
            lag: Some(Lag {
                p50: 0.000_1,
                p99: 0.000_5,
                max: 0.002,
            }),
            send_delay_p99: Some(0.000_2),
            ttft: Typical {
                median: Some(ttft),
                p95: Some(ttft),
            },
            ..WindowHealth::default()
        }
    }

    #[test]
    fn an_error_that_cold_prompts_can_bear_limits_a_size_through_its_repeated_ones() {
        let windows = [
            window(1000, 0, 0.8),
            window(1000, 100, 0.004),
            window(8000, 0, 3.0),
            window(8000, 100, 0.06),
        ];
        let part = ClientPart::judge(&windows, &[]);
        let limited = part.limited();
        assert_eq!(limited.len(), 1);
        assert_eq!(
            (limited[0].test, limited[0].kind),
            (TestName::new(1000, 100), DoubtKind::ClientLimited)
        );
        assert!(limited[0].text.starts_with("1,000 tokens: "), "{limited:?}");
        assert!(
            limited[0]
                .text
                .contains("repeated prompts: the client's own TTFT error")
        );
        assert_eq!(part.object().as_array().map(Vec::len), Some(4));
    }

    #[test]
    fn a_size_is_named_once_and_the_line_has_the_largest_errors() {
        let windows = [window(1000, 0, 0.05), window(1000, 100, 0.05)];
        let bar = |p50, p99| ErrorBar {
            p50,
            p99: Some(p99),
        };
        let calibration = Planned {
            context_size: 1000,
            level: 1,
            outcome: Ok(Calibration {
                context_size: 1000,
                level: 1,
                ttft: bar(0.003, 0.004),
                itl: Some(bar(0.000_1, 0.000_2)),
                n_requests: 50,
            }),
        };
        let part = ClientPart::judge(&windows, &[calibration]);
        assert_eq!(part.limited().len(), 1);
        let line = part.line().map(|line| line.text);
        assert_eq!(
            line.as_deref(),
            Some(
                "The client's own part: TTFT error p50 3.00 ms, p99 4.00 ms; ITL error p50 0.100 ms, p99 0.200 ms; \
                 sent late by p99 0.20 ms; 1 size is limited by it"
            )
        );
    }

    #[test]
    fn where_nobody_probed_nothing_is_said() {
        let unknown = WindowHealth {
            lag: None,
            ..window(1000, 0, 0.001)
        };
        let part = ClientPart::judge(&[unknown], &[]);
        assert!(part.line().is_none() && part.limited().is_empty());
    }
}

//! Lines on what a test says about capacity, and how far it can be trusted.

use cli::logging::{Line, Style};
use cli::number::fixed;
use cli::options::{Mode, TtftMetric};
use metrics::{PeriodRow, SummaryRow};
use ramp::{Decision, highest_held};

use crate::study::StudyOptions;

/// In windows of so many mean request times and more, the first round is at most a sixth of the slowest twentieth, and by
/// `docs/validation/exam.md` changes no answer. In 40 it does, where prefill takes most of the time.
const LONG_ENOUGH: f64 = 120.0;

/// The highest level at which the thresholds held, of a sustained test with thresholds.
#[must_use]
pub fn level_held(periods: &[PeriodRow]) -> Line {
    let judged = periods.iter().filter_map(|period| {
        let decision = Decision::from_word(&period.decision)?;
        Some((period.concurrency_level, decision))
    });
    match highest_held(judged) {
        Some(level) => Line::styled(
            Style::Success,
            format!(
                "  Thresholds held up to concurrency {level} (in at least half of the periods there)"
            ),
        ),
        None => Line::warning("  Thresholds held at no concurrency that was used"),
    }
}

/// Advice where windows were so short that the requests with which each begins, all at once, are among the slowest
/// twentieth.
#[must_use]
pub fn short_windows(options: &StudyOptions, result: &SummaryRow) -> Option<Line> {
    let judges_tail = options.mode != Mode::Sustained
        && options.thresholds.max_ttft.is_some()
        && options.ttft_metric == TtftMetric::P95;
    let request_time = result.avg_ttlt.filter(|seconds| *seconds > 0.0)?;
    let n = options.ramp_duration.as_secs_f64() / request_time;
    (judges_tail && n < LONG_ENOUGH).then(|| {
        Line::plain(format!(
            "Windows lasted {n:.0} mean request times ({}). The requests with which a window begins come all at once and \
             wait longest; in windows this short they can raise the P95 TTFT, and the level found is rather too low than too \
             high. --ramp-duration {:.0} or more tells more exactly",
            fixed(Some(request_time), 2, "s"),
            (LONG_ENOUGH * request_time).ceil()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_held_is_not_the_highest_used() {
        let period = |concurrency_level, decision: &str| PeriodRow {
            concurrency_level,
            decision: decision.to_owned(),
            ..PeriodRow::default()
        };
        let periods = [
            period(2, "RAMP_UP"),
            period(22, "RAMP_DOWN"),
            period(20, "RAMP_UP"),
            period(22, "RAMP_DOWN"),
            period(20, "A_WORD_OF_SOMEBODY_ELSE"),
        ];
        assert_eq!(
            level_held(&periods).text,
            "  Thresholds held up to concurrency 20 (in at least half of the periods there)"
        );
        assert!(level_held(&periods[3..]).text.contains("at no concurrency"));
    }
}

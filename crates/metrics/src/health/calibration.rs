//! What was planned to be calibrated, what came of it, and which of it a window is judged by.
//!
//! Promise: a window is judged by the level that was planned for it, or by none: never by another one because its own has
//! no result.

use super::{ErrorBar, WindowHealth};

/// How the server talks with which the client's error is measured.
pub const CALIBRATED_OVER: &str = "http/1.1";

/// The client's error at one level and prompt length, measured against a server on the same machine whose times are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// Context size whose prompts it was measured with, tokens.
    pub context_size: u64,
    /// Requests in flight.
    pub level: u32,
    /// Of the time to the first token.
    pub ttft: ErrorBar,
    /// Of the time between tokens, as a mean over a request; answers of one token have none.
    pub itl: Option<ErrorBar>,
    /// Requests behind it.
    pub n_requests: u64,
}

/// A level that was to be calibrated with prompts of one length, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Context size whose prompts it was to be measured with, tokens.
    pub context_size: u64,
    /// Requests in flight.
    pub level: u32,
    /// The error, or why there is none.
    pub outcome: Result<Calibration, Missing>,
}

/// Why a level that was planned has no calibration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// The run was stopped before or in it.
    #[error("the run was stopped")]
    Stopped,
    /// Client and server in one process need more descriptors than it may have.
    #[error(
        "client and server together need {needed} open files, and this process may open only {limit}"
    )]
    Descriptors {
        /// Descriptors that it takes.
        needed: u64,
        /// Descriptors that the process may have.
        limit: u64,
    },
    /// Server or client could not be had.
    #[error("{0}")]
    NotStarted(String),
    /// Too many slots ended before the end: what was measured was not this level.
    #[error("{n} of {level} slots of the calibration failed ({first})")]
    Failed {
        /// Slots that failed.
        n: usize,
        /// Of so many.
        level: u32,
        /// Why the first one did.
        first: String,
    },
    /// No request got through in time.
    #[error("no request of the calibration got through")]
    Unanswered,
}

impl Missing {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Stopped => "a run that ends by itself has it",
            Self::Descriptors { .. } => "raise the limit (ulimit -n)",
            Self::NotStarted(_) | Self::Failed { .. } => {
                "see to open files (ulimit -n), free local ports and memory"
            }
            Self::Unanswered => "give the client more cores or less company",
        }
    }
}

/// One line for each reason why levels have no error: which, why, what they are judged by, and what to do.
#[must_use]
pub fn missing_lines(planned: &[Planned]) -> Vec<String> {
    let mut reasons: Vec<(&Missing, Vec<String>)> = Vec::new();
    for cell in planned {
        let Err(why) = &cell.outcome else {
            continue;
        };
        let place = match cell.context_size {
            0 => format!("concurrency {}", cell.level),
            size => format!("concurrency {} with {size} tokens", cell.level),
        };
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, places)) => places.push(place),
            None => reasons.push((why, vec![place])),
        }
    }
    let line = |(why, places): &(&Missing, Vec<String>)| {
        format!(
            "the client's own error at {} was not measured: {why}; windows to which no other measured level is nearer are \
             judged by what the client felt alone ({})",
            places.join(", "),
            why.remedy()
        )
    };
    reasons.iter().map(line).collect()
}

/// The calibration that a window is judged by: that of the nearest context that was planned, and there of the nearest
/// level, both by ratio. `None` where nothing was planned, where that very one has no result, and of a window without a
/// first token, which has no times to be off.
#[must_use]
pub fn judging<'p>(planned: &'p [Planned], window: &WindowHealth) -> Option<&'p Calibration> {
    window.ttft.median?;
    let distance = |cell: &Planned| {
        (
            ratio_distance(cell.context_size, window.context_size),
            ratio_distance(u64::from(cell.level), u64::from(window.level)),
        )
    };
    let nearest = planned.iter().min_by(|a, b| {
        let (a, b) = (distance(a), distance(b));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    nearest.and_then(|cell| cell.outcome.as_ref().ok())
}

/// How far two numbers are apart: the absolute logarithm of their ratio. Zero counts as one.
#[must_use]
pub fn ratio_distance(a: u64, b: u64) -> f64 {
    (a.max(1) as f64 / b.max(1) as f64).ln().abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Typical;

    fn cell(context_size: u64, level: u32) -> Planned {
        let bar = ErrorBar {
            p50: 0.001,
            p99: Some(0.002),
        };
        Planned {
            context_size,
            level,
            outcome: Ok(Calibration {
                context_size,
                level,
                ttft: bar,
                itl: None,
                n_requests: 25,
            }),
        }
    }

    fn failed(context_size: u64, level: u32) -> Planned {
        Planned {
            outcome: Err(Missing::Failed {
                n: 600,
                level,
                first: "connect: too many open files".to_owned(),
            }),
            ..cell(context_size, level)
        }
    }

    fn found(planned: &[Planned], context_size: u64, level: u32) -> Option<(u64, u32)> {
        let window = WindowHealth {
            context_size,
            level,
            ttft: Typical {
                median: Some(0.1),
                p95: Some(0.1),
            },
            ..WindowHealth::default()
        };
        judging(planned, &window).map(|c| (c.context_size, c.level))
    }

    #[test]
    fn the_nearest_level_is_nearest_by_ratio() {
        let all = [cell(1000, 1), cell(1000, 100)];
        assert_eq!(found(&all, 1000, 8), Some((1000, 1)));
        assert_eq!(found(&all, 1000, 12), Some((1000, 100)));
        assert_eq!(found(&[], 1000, 8), None);
    }

    #[test]
    fn a_window_is_judged_by_the_error_with_prompts_like_its_own() {
        let all = [cell(1_000, 2), cell(1_000, 64), cell(100_000, 2)];
        assert_eq!(found(&all, 1_000, 64), Some((1_000, 64)));
        assert_eq!(found(&all, 4_000, 3), Some((1_000, 2)));
        assert_eq!(found(&all, 100_000, 64), Some((100_000, 2)));
        assert_eq!(found(&all, 40_000, 64), Some((100_000, 2)));
    }

    /// Windows at 1,000 were judged by the error of one request in flight when the level of 1,000 had failed.
    #[test]
    fn a_window_whose_own_level_has_no_result_is_judged_by_no_other() {
        let all = [cell(1_000, 1), failed(1_000, 1_000)];
        assert_eq!(found(&all, 1_000, 1), Some((1_000, 1)));
        assert_eq!(found(&all, 1_000, 1_000), None);
        assert_eq!(found(&all, 1_000, 600), None);
        // Nor by that of other prompts.
        assert_eq!(found(&[cell(1_000, 8), failed(50_000, 8)], 50_000, 8), None);
        assert_eq!(judging(&all, &WindowHealth::default()), None);
    }

    #[test]
    fn every_reason_is_told_once_with_its_levels_and_a_remedy() {
        let stopped = |level| Planned {
            outcome: Err(Missing::Stopped),
            ..cell(8_000, level)
        };
        let lines = missing_lines(&[cell(8_000, 1), failed(8_000, 700), stopped(8), stopped(64)]);
        assert_eq!(
            lines,
            [
                "the client's own error at concurrency 700 with 8000 tokens was not measured: 600 of 700 slots of the \
                 calibration failed (connect: too many open files); windows to which no other measured level is nearer are \
                 judged by what the client felt alone (see to open files (ulimit -n), free local ports and memory)",
                "the client's own error at concurrency 8 with 8000 tokens, concurrency 64 with 8000 tokens was not \
                 measured: the run was stopped; windows to which no other measured level is nearer are judged by what the \
                 client felt alone (a run that ends by itself has it)",
            ]
        );
        assert!(missing_lines(&[cell(0, 1)]).is_empty());
    }
}

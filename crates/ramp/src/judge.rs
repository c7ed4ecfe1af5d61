//! Thresholds: whether a level passes, and by how much.
//!
//! A level passes when every active threshold holds; equality holds. A threshold without a sample does
//! not hold: silence is no proof of speed.

/// Active thresholds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Thresholds {
    /// Highest TTFT that passes, seconds.
    pub max_ttft: Option<f64>,
    /// Lowest request speed that passes, tokens/s.
    pub min_speed: Option<f64>,
}

impl Thresholds {
    /// Whether there is any.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.max_ttft.is_some() || self.min_speed.is_some()
    }
}

/// What a window showed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Input rate that decides, tokens/s.
    pub input_tps: f64,
    /// The chosen TTFT statistic, seconds; `None` without a sample.
    pub ttft: Option<f64>,
    /// The chosen request-speed statistic, tokens/s; `None` without a sample.
    pub speed: Option<f64>,
    /// False when no request succeeded or more than half failed: such a level fails and is never chosen.
    pub valid: bool,
}

/// Why a level failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Broken {
    /// No request succeeded, or more than half failed.
    Invalid,
    /// TTFT too long, or `None` when no request had one.
    Ttft {
        /// Seconds.
        measured: Option<f64>,
        /// Seconds.
        max: f64,
    },
    /// Requests too slow, or `None` when no request had a speed.
    Speed {
        /// Tokens/s.
        measured: Option<f64>,
        /// Tokens/s.
        min: f64,
    },
}

/// The judgement of a level.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Every active threshold holds.
    pub passed: bool,
    /// Smallest relative distance to an active threshold, at most 1; negative where one is broken, 0 where
    /// there is nothing to measure it by.
    pub headroom: f64,
    /// What did not hold.
    pub broken: Vec<Broken>,
}

/// Judges one observation.
#[must_use]
pub fn judge(thresholds: &Thresholds, observation: &Observation) -> Verdict {
    if !observation.valid {
        return Verdict {
            passed: false,
            headroom: 0.0,
            broken: vec![Broken::Invalid],
        };
    }
    let mut headroom: f64 = 1.0;
    let mut broken = Vec::new();
    if let Some(max) = thresholds.max_ttft {
        let measured = observation.ttft;
        headroom = headroom.min(measured.map_or(0.0, |m| (max - m) / max));
        if !measured.is_some_and(|m| m <= max) {
            broken.push(Broken::Ttft { measured, max });
        }
    }
    if let Some(min) = thresholds.min_speed {
        let measured = observation.speed;
        headroom = headroom.min(measured.map_or(0.0, |m| (m - min) / min));
        if !measured.is_some_and(|m| m >= min) {
            broken.push(Broken::Speed { measured, min });
        }
    }
    Verdict {
        passed: broken.is_empty(),
        headroom,
        broken,
    }
}

/// How many increments to climb at this headroom: 10, 5, 3, 2 or 1. A headroom on a border counts as below
/// it.
#[must_use]
pub fn headroom_multiple(headroom: f64) -> u32 {
    const STEPS: [(f64, u32); 4] = [(0.7, 10), (0.5, 5), (0.3, 3), (0.15, 2)];
    STEPS
        .into_iter()
        .find(|(border, _)| headroom > *border)
        .map_or(1, |(_, multiple)| multiple)
}

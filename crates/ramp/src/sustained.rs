//! The `sustained` controller: requests never stop, the level is decided anew after every period
//! (`docs/cache_rate_tester.md`).
//!
//! Promise: levels stay within start and maximum; every period gets exactly one decision; the periods'
//! lengths sum to at most the time limit. Where the pages of the two tools differ, the difference is a
//! field of [`SustainedRules`], and each algorithm stands here once.

use std::collections::VecDeque;
use std::time::Duration;

use crate::judge::{Broken, Observation, Thresholds, Verdict, headroom_multiple, judge};

/// A period cut short by the time limit is worth running from this length on, or from the configured
/// length if that is shorter.
const SHORTEST_PERIOD: Duration = Duration::from_secs(5);
/// Periods on record before the plateau rule speaks.
const PLATEAU_NEEDS: usize = 6;
/// Periods among which the plateau rule takes its peak.
const PLATEAU_LOOKS_AT: usize = 5;
/// Decline from that peak, in percent, beyond which throughput has left its plateau.
const PLATEAU_DECLINE: f64 = 25.0;
/// Overshoot of a threshold beyond which [`StepDown::ByOvershoot`] takes two increments.
const LARGE_OVERSHOOT: f64 = 0.5;

/// How far a broken threshold lowers the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepDown {
    /// One increment.
    OneIncrement,
    /// Two increments where a threshold is overshot by more than half of it, else one.
    ByOvershoot,
}

/// Whether, and against which periods, falling throughput lowers the level although all thresholds hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlateauRule {
    /// Never.
    Off,
    /// Against the best of the five most recent periods.
    FiveMostRecent,
    /// Against the best of the five periods before the most recent one.
    FiveBeforeLast,
}

/// What a period says that has nothing to judge by: no token at all, or no sample for an active threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutData {
    /// Nothing: the level stays.
    Stay,
    /// That the server is behind: two increments down.
    StepDown,
}

/// What differs between the tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SustainedRules {
    /// How far a broken threshold lowers the level.
    pub step_down: StepDown,
    /// Plateau rule.
    pub plateau: PlateauRule,
    /// A period without anything to judge by.
    pub without_data: WithoutData,
    /// The test ends after so many periods in a row in which the lowest level broke a threshold.
    pub hopeless_after: Option<u32>,
}

impl SustainedRules {
    /// Those of `cache_rate_tester`.
    pub const CACHE_RATE: Self = Self {
        step_down: StepDown::OneIncrement,
        plateau: PlateauRule::FiveMostRecent,
        without_data: WithoutData::Stay,
        hopeless_after: None,
    };
    /// Those of `working_set_tester` with a threshold that the user gave and no `--plateau-detection`.
    pub const WORKING_SET: Self = Self {
        step_down: StepDown::ByOvershoot,
        plateau: PlateauRule::Off,
        without_data: WithoutData::StepDown,
        hopeless_after: Some(3),
    };
}

/// Settings of a sustained test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SustainedSettings {
    /// First and lowest level, at least 1.
    pub start: u32,
    /// Grid of levels, at least 1.
    pub increment: u32,
    /// Highest level.
    pub max: u32,
    /// Length of the test, drain not counted.
    pub test_duration: Duration,
    /// Length of a period.
    pub period: Duration,
    /// What a period must hold.
    pub thresholds: Thresholds,
    /// Rules of the tool.
    pub rules: SustainedRules,
}

/// One period to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodSpec {
    /// From 1.
    pub number: u32,
    /// Requests to keep in flight.
    pub concurrency: u32,
    /// Planned length.
    pub length: Duration,
}

impl PeriodSpec {
    /// `SUSTAINED_P3`.
    #[must_use]
    pub fn phase_id(&self) -> String {
        format!("SUSTAINED_P{}", self.number)
    }

    /// What the ids of its requests begin with, before `_r<k>`: `P3_c22`.
    #[must_use]
    pub fn request_prefix(&self) -> String {
        format!("P{}_c{}", self.number, self.concurrency)
    }
}

/// What a period showed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeriodObservation {
    /// Rate and latencies. TTFT includes the wait so far of requests that already wait longer than the
    /// threshold: otherwise an overloaded server looks idle.
    pub level: Observation,
    /// A token arrived.
    pub has_tokens: bool,
}

/// What follows from a period. The words are those of the `decision` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Nothing to judge by.
    Stay,
    /// Thresholds hold: up.
    RampUp,
    /// A threshold is broken: down.
    RampDown,
    /// Down is called for, and the level is the lowest already.
    MinReached,
    /// Thresholds hold at the maximum.
    MaxReached,
    /// Thresholds hold and throughput has fallen: down.
    PlateauRampDown,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Self; 6] = [
        Self::Stay,
        Self::RampUp,
        Self::RampDown,
        Self::MinReached,
        Self::MaxReached,
        Self::PlateauRampDown,
    ];

    /// The decision of that word; `None` for words of other tools.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|decision| decision.as_str() == word)
    }

    /// The word of the `decision` column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stay => "STAY",
            Self::RampUp => "RAMP_UP",
            Self::RampDown => "RAMP_DOWN",
            Self::MinReached => "MIN_REACHED",
            Self::MaxReached => "MAX_REACHED",
            Self::PlateauRampDown => "PLATEAU_RAMP_DOWN",
        }
    }
}

impl std::fmt::Display for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A decision with its reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// What follows.
    pub decision: Decision,
    /// Level of the period.
    pub level: u32,
    /// Level of the next one.
    pub next: u32,
    /// How the period was judged.
    pub verdict: Verdict,
    /// Decline from the recent peak in percent, where the plateau rule had enough periods.
    pub decline: Option<f64>,
}

/// Why a sustained test ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SustainedStop {
    /// The time is used up.
    TimeUp,
    /// What was left is too short for a period.
    TooShort {
        /// The period that was not run.
        number: u32,
        /// Time left.
        left: Duration,
    },
    /// The lowest level broke a threshold in so many periods in a row.
    Hopeless {
        /// Periods.
        n: u32,
    },
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum PeriodStep {
    /// Run this period, then [`SustainedController::record`] what it showed.
    Run(PeriodSpec),
    /// There is nothing left to run.
    Done(SustainedStop),
}

/// Decides the level of each period from the period before.
#[derive(Debug, Clone)]
pub struct SustainedController {
    settings: SustainedSettings,
    level: u32,
    number: u32,
    pending: Option<PeriodSpec>,
    /// Input rates of recent periods with tokens, oldest first.
    history: VecDeque<f64>,
    hopeless: u32,
    stop: Option<SustainedStop>,
    /// The time limit does not end the test yet.
    held_open: bool,
}

impl SustainedController {
    /// A test. Settings below their minimum are raised to it, and a start above the maximum is lowered to
    /// it; arguments are checked long before.
    #[must_use]
    pub fn new(settings: SustainedSettings) -> Self {
        let max = settings.max.max(1);
        let settings = SustainedSettings {
            start: settings.start.clamp(1, max),
            increment: settings.increment.max(1),
            max,
            ..settings
        };
        Self {
            settings,
            level: settings.start,
            number: 0,
            pending: None,
            history: VecDeque::new(),
            hopeless: 0,
            stop: None,
            held_open: false,
        }
    }

    /// Whether no time is left for another period worth running. `elapsed` is the length of all periods so far.
    #[must_use]
    pub fn is_time_up(&self, elapsed: Duration) -> bool {
        let left = self.settings.test_duration.saturating_sub(elapsed);
        let full = self.settings.period;
        left.is_zero() || full.min(left) < SHORTEST_PERIOD.min(full)
    }

    /// Whether the test goes on, period after whole period, although its time is used up: something else is not done.
    pub fn hold_open(&mut self, open: bool) {
        self.held_open = open;
    }

    /// The settings in effect.
    #[must_use]
    pub fn settings(&self) -> &SustainedSettings {
        &self.settings
    }

    /// The next period. `elapsed` is the length of all periods so far. The same step again until a result
    /// is recorded, and the end for ever.
    pub fn next(&mut self, elapsed: Duration) -> PeriodStep {
        if let Some(period) = &self.pending {
            return PeriodStep::Run(period.clone());
        }
        if let Some(stop) = self.stop {
            return PeriodStep::Done(stop);
        }
        let left = self.settings.test_duration.saturating_sub(elapsed);
        let full = self.settings.period;
        let is_up = self.is_time_up(elapsed);
        let length = if is_up { full } else { full.min(left) };
        let number = self.number + 1;
        let stop = match (is_up && !self.held_open, left.is_zero()) {
            (false, _) => None,
            (true, true) => Some(SustainedStop::TimeUp),
            (true, false) => Some(SustainedStop::TooShort { number, left }),
        };
        if let Some(stop) = stop {
            self.stop = Some(stop);
            return PeriodStep::Done(stop);
        }
        self.number = number;
        let period = PeriodSpec {
            number,
            concurrency: self.level,
            length,
        };
        self.pending = Some(period.clone());
        PeriodStep::Run(period)
    }

    /// Takes the result of the period handed out last and decides the level of the next one.
    pub fn record(&mut self, observation: PeriodObservation) -> Decided {
        let verdict = judge(&self.settings.thresholds, &observation.level);
        let level = self.level;
        let decline = self.decline(observation.level.input_tps);
        let (decision, next) = self.decide(&observation, &verdict, decline);
        if self.pending.take().is_some() {
            self.remember(&observation, decision);
            self.level = next;
        }
        Decided {
            decision,
            level,
            next,
            verdict,
            decline,
        }
    }

    fn decide(
        &self,
        observation: &PeriodObservation,
        verdict: &Verdict,
        decline: Option<f64>,
    ) -> (Decision, u32) {
        let SustainedSettings {
            increment,
            max,
            rules,
            ..
        } = self.settings;
        let level = self.level;
        let down = |decision, multiple| self.down(decision, multiple);
        if rules.without_data == WithoutData::StepDown && is_empty(observation) {
            return down(Decision::RampDown, 2);
        }
        if is_broken(verdict) {
            let multiple = match rules.step_down {
                StepDown::ByOvershoot if overshoot(verdict) > LARGE_OVERSHOOT => 2,
                StepDown::ByOvershoot | StepDown::OneIncrement => 1,
            };
            return down(Decision::RampDown, multiple);
        }
        if !observation.has_tokens || !verdict.passed {
            return match rules.without_data {
                WithoutData::Stay => (Decision::Stay, level),
                WithoutData::StepDown => down(Decision::RampDown, 2),
            };
        }
        if level >= max {
            return (Decision::MaxReached, level);
        }
        if let Some(decline) = decline.filter(|decline| *decline > PLATEAU_DECLINE) {
            let multiple = match decline {
                d if d > 40.0 => 4,
                d if d > 30.0 => 3,
                _ => 2,
            };
            return down(Decision::PlateauRampDown, multiple);
        }
        let step = increment.saturating_mul(headroom_multiple(verdict.headroom));
        (Decision::RampUp, level.saturating_add(step).min(max))
    }

    fn down(&self, decision: Decision, multiple: u32) -> (Decision, u32) {
        let SustainedSettings {
            start, increment, ..
        } = self.settings;
        if self.level <= start {
            return (Decision::MinReached, self.level);
        }
        let step = increment.saturating_mul(multiple);
        (decision, self.level.saturating_sub(step).max(start))
    }

    /// Decline of `now` from the recent peak, in percent; `None` without enough periods or where the peak
    /// is 0.
    fn decline(&self, now: f64) -> Option<f64> {
        if self.history.len() < PLATEAU_NEEDS {
            return None;
        }
        let skipped = match self.settings.rules.plateau {
            PlateauRule::Off => return None,
            PlateauRule::FiveMostRecent => 0,
            PlateauRule::FiveBeforeLast => 1,
        };
        let looked_at = self.history.iter().rev().skip(skipped);
        let peak = looked_at
            .take(PLATEAU_LOOKS_AT)
            .copied()
            .fold(0.0, f64::max);
        (peak > 0.0).then(|| (peak - now) / peak * 100.0)
    }

    fn remember(&mut self, observation: &PeriodObservation, decision: Decision) {
        if observation.has_tokens {
            self.history.push_back(observation.level.input_tps);
            if self.history.len() > PLATEAU_NEEDS {
                self.history.pop_front();
            }
        }
        let is_hopeless = decision == Decision::MinReached && self.breaks_a_threshold(observation);
        self.hopeless = if is_hopeless { self.hopeless + 1 } else { 0 };
        if let Some(n) = self.settings.rules.hopeless_after
            && self.hopeless >= n
        {
            self.stop = Some(SustainedStop::Hopeless { n });
        }
    }

    /// Whether what was measured breaks a threshold. Requests that fail break none, however many.
    fn breaks_a_threshold(&self, observation: &PeriodObservation) -> bool {
        let measured = Observation {
            valid: true,
            ..observation.level
        };
        is_broken(&judge(&self.settings.thresholds, &measured))
    }
}

/// Whether nothing was completed.
fn is_empty(observation: &PeriodObservation) -> bool {
    !observation.has_tokens || (!observation.level.valid && observation.level.ttft.is_none())
}

/// Whether a threshold is broken by something that was measured, or requests fail; a missing sample breaks none here.
fn is_broken(verdict: &Verdict) -> bool {
    verdict.broken.iter().any(|broken| match broken {
        Broken::Invalid => true,
        Broken::Ttft { measured, .. } | Broken::Speed { measured, .. } => measured.is_some(),
    })
}

/// Largest relative overshoot of a broken threshold.
fn overshoot(verdict: &Verdict) -> f64 {
    let of = |broken: &Broken| match *broken {
        Broken::Ttft {
            measured: Some(measured),
            max,
        } => (measured - max) / max,
        Broken::Speed {
            measured: Some(measured),
            min,
        } => (min - measured) / min,
        Broken::Invalid | Broken::Ttft { .. } | Broken::Speed { .. } => 0.0,
    };
    verdict.broken.iter().map(of).fold(0.0, f64::max)
}

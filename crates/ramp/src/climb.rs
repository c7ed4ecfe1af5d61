//! The `ramp` controller: climb, search, choose, repeat.
//!
//! Promise: levels stay within 1 and the maximum, phase ids are unique, and the number of windows is
//! bounded by the settings alone, whatever the server shows. What it does not promise: that the server's
//! latency grows with load. After a back-off the climb may come to a level it has tried: whether that is measured
//! again or taken as known is a field of [`RampRules`].

use std::collections::HashMap;
use std::time::Duration;

use crate::controller::{Controller, Purpose, Step, WindowSpec};
use crate::judge::{Observation, Thresholds, Verdict, headroom_multiple, judge};
use crate::note::Note;
use crate::outcome::{Peak, RampOutcome, StopReason, TestedLevel};
use crate::peak::{Closest, best_levels, choose_peak};
use crate::refine::{MAX_STEPS, Refinement};

/// A window cut short by the time limit is worth running from this length on, or from the configured
/// length if that is shorter.
const SHORTEST_WINDOW: Duration = Duration::from_secs(10);

/// What becomes of a level that the search comes to a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownLevel {
    /// It is measured again.
    Again,
    /// Its result stands.
    Recorded,
}

/// What differs between the tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RampRules {
    /// A level that was tried before.
    pub known: KnownLevel,
    /// The choice among levels none of which passes.
    pub closest: Closest,
}

impl RampRules {
    /// Those of `cache_rate_tester`.
    pub const CACHE_RATE: Self = Self {
        known: KnownLevel::Again,
        closest: Closest::SumOfMisses,
    };
    /// Those of `working_set_tester`.
    pub const WORKING_SET: Self = Self {
        known: KnownLevel::Recorded,
        closest: Closest::LargestMiss,
    };
}

/// Settings of a ramp.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RampSettings {
    /// First level, at least 1.
    pub start: u32,
    /// Grid of levels, at least 1.
    pub increment: u32,
    /// Highest level.
    pub max: u32,
    /// Time limit of climb and search together; repeats come on top.
    pub test_duration: Duration,
    /// Length of a window.
    pub ramp_duration: Duration,
    /// Repeats at the peak.
    pub num_retries: u32,
    /// What a level must hold.
    pub thresholds: Thresholds,
    /// Rules of the tool.
    pub rules: RampRules,
}

/// A climb on its way.
#[derive(Debug, Clone, Copy)]
struct Climb {
    start: u32,
    level: u32,
    /// The highest level that passed since `start`.
    good: u32,
    /// Whether `level` is the first one.
    first: bool,
}

impl Climb {
    /// A climb that begins.
    fn from(start: u32) -> Self {
        Self {
            start,
            level: start,
            good: start,
            first: true,
        }
    }
}

/// Where the controller stands between two windows.
#[derive(Debug, Clone)]
enum State {
    /// Growing.
    Climbing(Climb),
    /// Searching between good and bad; `step` counts from 1.
    Refining { range: Refinement, step: u32 },
    /// Repeating at the peak; `k` counts from 1.
    Retrying { k: u32 },
    /// Nothing left.
    Done,
}

/// Finds the level with the highest input rate that holds the thresholds.
#[derive(Debug, Clone)]
pub struct RampController {
    settings: RampSettings,
    state: State,
    /// Handed out and not recorded yet.
    pending: Option<WindowSpec>,
    tested: Vec<TestedLevel>,
    /// How often each level of the climb was tried, for ids.
    climbs: HashMap<u32, u32>,
    stop: StopReason,
    peak: Option<Peak>,
    notes: Vec<Note>,
}

impl RampController {
    /// A ramp of one test. `previous_peak` is the peak of the same context's test before; the climb starts
    /// there if it is above the configured start.
    ///
    /// Settings below their minimum are raised to it, and a start above the maximum is lowered to it;
    /// arguments are checked long before.
    #[must_use]
    pub fn new(settings: RampSettings, previous_peak: Option<u32>) -> Self {
        let max = settings.max.max(1);
        let settings = RampSettings {
            start: settings.start.clamp(1, max),
            increment: settings.increment.max(1),
            max,
            ..settings
        };
        let start = previous_peak.map_or(settings.start, |peak| peak.clamp(settings.start, max));
        let mut notes = Vec::new();
        if start > settings.start {
            notes.push(Note::OptimisticStart {
                level: start,
                configured: settings.start,
            });
        }
        Self {
            settings,
            state: State::Climbing(Climb::from(start)),
            pending: None,
            tested: Vec::new(),
            climbs: HashMap::new(),
            stop: StopReason::TimeLimit,
            peak: None,
            notes,
        }
    }

    /// The settings in effect.
    #[must_use]
    pub fn settings(&self) -> &RampSettings {
        &self.settings
    }

    /// Windows of climb and search so far, in order.
    #[must_use]
    pub fn tested(&self) -> &[TestedLevel] {
        &self.tested
    }

    /// The chosen peak, once it is chosen: from the first repeat on.
    #[must_use]
    pub fn peak(&self) -> Option<&Peak> {
        self.peak.as_ref()
    }

    /// Length of the next window within the time limit; `None` when too little time is left for one.
    fn window_length(&self, elapsed: Duration) -> Option<Duration> {
        let left = self.settings.test_duration.saturating_sub(elapsed);
        let full = self.settings.ramp_duration;
        let length = full.min(left);
        (!left.is_zero() && length >= SHORTEST_WINDOW.min(full)).then_some(length)
    }

    /// Id of a climb window; the second one at a level gets `_2`, so that the two are never merged into
    /// one window that spans the gap.
    fn climb_id(&mut self, level: u32) -> String {
        let n = self.climbs.entry(level).or_insert(0);
        *n += 1;
        if *n == 1 {
            format!("RAMP_c{level}")
        } else {
            format!("RAMP_c{level}_{n}")
        }
    }

    /// Ends climb and search, chooses the peak, and goes on to the repeats.
    fn end_search(&mut self, stop: StopReason) {
        self.stop = stop;
        self.notes.push(Note::SearchEnded(stop));
        let RampSettings {
            thresholds, rules, ..
        } = self.settings;
        self.peak = choose_peak(&thresholds, rules.closest, &self.tested);
        let Some(peak) = &self.peak else {
            self.notes.push(Note::NoPeak);
            self.state = State::Done;
            return;
        };
        self.notes.push(Note::PeakChosen {
            peak: peak.clone(),
            candidates: best_levels(&thresholds, rules.closest, &self.tested),
        });
        let n = self.settings.num_retries;
        if n == 0 {
            self.state = State::Done;
        } else {
            self.notes.push(Note::RetriesStarted {
                concurrency: peak.concurrency,
                n,
            });
            self.state = State::Retrying { k: 1 };
        }
    }

    /// The window of the present state, or `None` when the state has just changed and must be looked at
    /// again.
    fn propose(&mut self, elapsed: Duration) -> Option<WindowSpec> {
        match self.state.clone() {
            State::Climbing(climb) => {
                let level = climb.level;
                if let Some(verdict) = self.recorded(level) {
                    self.after_climb(climb, &verdict);
                    return None;
                }
                let Some(length) = self.window_length(elapsed) else {
                    self.end_search(StopReason::TimeLimit);
                    return None;
                };
                let phase_id = self.climb_id(level);
                Some(WindowSpec {
                    phase_id,
                    concurrency: level,
                    length,
                    purpose: Purpose::Ramp,
                })
            }
            State::Refining { range, step } => {
                let Some(level) = range.middle(self.settings.increment) else {
                    self.end_search(StopReason::ThresholdFound);
                    return None;
                };
                if let Some(verdict) = self.recorded(level) {
                    self.after_refinement(range, step, level, verdict.passed);
                    return None;
                }
                if step > MAX_STEPS {
                    self.end_search(StopReason::RefineLimit);
                    return None;
                }
                let Some(length) = self.window_length(elapsed) else {
                    self.end_search(StopReason::TimeLimit);
                    return None;
                };
                let phase_id = format!("RAMP_REFINE_c{level}_{step}");
                Some(WindowSpec {
                    phase_id,
                    concurrency: level,
                    length,
                    purpose: Purpose::Refine,
                })
            }
            State::Retrying { k } => {
                let peak = self.peak.as_ref().expect("repeats begin only with a peak");
                Some(WindowSpec {
                    phase_id: format!("RETRY_{k}"),
                    concurrency: peak.concurrency,
                    length: self.settings.ramp_duration,
                    purpose: Purpose::Retry,
                })
            }
            State::Done => None,
        }
    }

    /// The judgement of a level that was tried, where that counts.
    fn recorded(&self, level: u32) -> Option<Verdict> {
        if self.settings.rules.known == KnownLevel::Again {
            return None;
        }
        let tried = self.tested.iter().find(|t| t.concurrency == level)?;
        Some(tried.verdict.clone())
    }

    /// Moves on from a step between good and bad; one that was not measured does not count as a step.
    fn after_refinement(&mut self, range: Refinement, step: u32, level: u32, passed: bool) {
        let range = range.narrowed(level, passed);
        self.notes.push(Note::Refined {
            level,
            passed,
            good: range.good,
            bad: range.bad,
        });
        self.state = State::Refining { range, step };
    }

    /// Moves on from a climb window.
    fn after_climb(&mut self, climb: Climb, verdict: &Verdict) {
        let Climb {
            start,
            level,
            good,
            first,
        } = climb;
        let RampSettings {
            start: configured,
            increment,
            max,
            ..
        } = self.settings;
        if verdict.passed {
            if level >= max {
                self.end_search(StopReason::MaximumReached);
                return;
            }
            let multiple = headroom_multiple(verdict.headroom);
            // The maximum itself is always tested before the climb ends.
            let next = level
                .saturating_add(increment.saturating_mul(multiple))
                .min(max);
            self.notes.push(Note::Climbing {
                from: level,
                to: next,
                headroom: verdict.headroom,
                multiple,
            });
            self.state = State::Climbing(Climb {
                start,
                level: next,
                good: level,
                first: false,
            });
        } else if first && start > configured {
            let halfway = configured + (start - configured) / 2;
            let to = (halfway / increment * increment).max(configured);
            self.notes.push(Note::BackedOff { from: start, to });
            self.state = State::Climbing(Climb::from(to));
        } else if first {
            self.end_search(StopReason::FirstLevelFailed);
        } else {
            if level - good > increment {
                self.notes.push(Note::RefineStarted { good, bad: level });
            }
            self.state = State::Refining {
                range: Refinement { good, bad: level },
                step: 1,
            };
        }
    }
}

impl Controller for RampController {
    fn next(&mut self, elapsed: Duration) -> Step {
        while self.pending.is_none() && !matches!(self.state, State::Done) {
            self.pending = self.propose(elapsed);
        }
        match &self.pending {
            Some(window) => Step::Run(window.clone()),
            None => Step::Done(RampOutcome {
                peak: self.peak.clone(),
                tested: self.tested.clone(),
                stop: self.stop,
            }),
        }
    }

    fn record(&mut self, observation: Observation) -> Verdict {
        let verdict = judge(&self.settings.thresholds, &observation);
        let Some(window) = self.pending.take() else {
            // A result without a window: judged, and otherwise without effect.
            return verdict;
        };
        if window.purpose != Purpose::Retry {
            self.tested.push(TestedLevel {
                phase_id: window.phase_id,
                concurrency: window.concurrency,
                purpose: window.purpose,
                observation,
                verdict: verdict.clone(),
            });
        }
        match self.state.clone() {
            State::Climbing(climb) => self.after_climb(climb, &verdict),
            State::Refining { range, step } => {
                self.after_refinement(range, step + 1, window.concurrency, verdict.passed);
            }
            State::Retrying { k } => {
                let last = k >= self.settings.num_retries;
                self.state = if last {
                    State::Done
                } else {
                    State::Retrying { k: k + 1 }
                };
            }
            State::Done => {}
        }
        verdict
    }

    fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}

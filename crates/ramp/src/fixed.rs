//! The `fixed` controller: listed levels, each measured and repeated.
//!
//! Promise: every level is tried at most once, in the order of the tool's [`FixedRules`]; with an active threshold
//! nothing behind the first level that failed is tried; a level that gave no result is neither repeated nor chosen.
//! There is no time limit.

use std::time::Duration;

use crate::controller::{Controller, Purpose, Step, WindowSpec};
use crate::judge::{Observation, Thresholds, Verdict, judge};
use crate::note::Note;
use crate::outcome::{Peak, RampOutcome, StopReason, TestedLevel};

/// In which order levels are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelOrder {
    /// From the lowest to the highest.
    Ascending,
    /// As they were listed.
    AsListed,
}

/// What the windows behind the first one of a level are called; the first is `FIXED_c8_run0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepeatName {
    /// `FIXED_c8_RETRY_2`.
    Retry,
    /// `FIXED_c8_run2`.
    Run,
}

/// What differs between the tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedRules {
    /// Order of levels.
    pub order: LevelOrder,
    /// Names of repeats.
    pub repeats: RepeatName,
}

impl FixedRules {
    /// Those of `cache_rate_tester`.
    pub const CACHE_RATE: Self = Self {
        order: LevelOrder::Ascending,
        repeats: RepeatName::Retry,
    };
    /// Those of `working_set_tester`.
    pub const WORKING_SET: Self = Self {
        order: LevelOrder::AsListed,
        repeats: RepeatName::Run,
    };
}

/// Settings of a fixed test.
#[derive(Debug, Clone, PartialEq)]
pub struct FixedSettings {
    /// Levels; repeated ones count once, where they stand first, and 0 is left out.
    pub levels: Vec<u32>,
    /// Length of a window.
    pub ramp_duration: Duration,
    /// Repeats at every level that passes.
    pub num_retries: u32,
    /// What a level must hold; without any, all levels are measured.
    pub thresholds: Thresholds,
    /// Rules of the tool.
    pub rules: FixedRules,
}

/// Runs listed levels.
#[derive(Debug, Clone)]
pub struct FixedController {
    settings: FixedSettings,
    /// Index of the level at hand.
    at: usize,
    /// Windows of that level handed out and recorded; 0 is the first run.
    repeat: u32,
    pending: Option<WindowSpec>,
    tested: Vec<TestedLevel>,
    /// Set when nothing is left.
    stop: Option<StopReason>,
    notes: Vec<Note>,
}

impl FixedController {
    /// A test of these levels.
    #[must_use]
    pub fn new(settings: FixedSettings) -> Self {
        let mut levels: Vec<u32> = Vec::with_capacity(settings.levels.len());
        for level in settings.levels {
            if level > 0 && !levels.contains(&level) {
                levels.push(level);
            }
        }
        if settings.rules.order == LevelOrder::Ascending {
            levels.sort_unstable();
        }
        Self {
            settings: FixedSettings { levels, ..settings },
            at: 0,
            repeat: 0,
            pending: None,
            tested: Vec::new(),
            stop: None,
            notes: Vec::new(),
        }
    }

    /// The level the result describes: the last one tried that passed; if none did, the first that gave a result.
    /// Without thresholds every level with a result passes.
    fn peak(&self) -> Option<Peak> {
        let passed = self.tested.iter().rev().find(|t| t.verdict.passed);
        let chosen = passed.or_else(|| self.tested.iter().find(|t| t.observation.valid))?;
        Some(Peak {
            concurrency: chosen.concurrency,
            passed: chosen.verdict.passed,
            phase_id: chosen.phase_id.clone(),
            observation: chosen.observation,
        })
    }

    fn end(&mut self, stop: StopReason) {
        self.stop = Some(stop);
        self.notes.push(match self.peak() {
            // There is no choice among given levels, so none is told.
            Some(peak) => Note::PeakChosen {
                peak,
                candidates: Vec::new(),
            },
            None => Note::NoPeak,
        });
    }

    fn repeat_id(&self, level: u32, k: u32) -> String {
        match self.settings.rules.repeats {
            RepeatName::Retry => format!("FIXED_c{level}_RETRY_{k}"),
            RepeatName::Run => format!("FIXED_c{level}_run{k}"),
        }
    }

    /// Goes on behind a level.
    fn leave_level(&mut self, level: u32) {
        self.notes.push(Note::LevelDone { concurrency: level });
        self.at += 1;
        self.repeat = 0;
        if self.at == self.settings.levels.len() {
            self.end(StopReason::AllLevels);
        }
    }
}

impl Controller for FixedController {
    fn next(&mut self, _elapsed: Duration) -> Step {
        if self.pending.is_none() && self.stop.is_none() {
            match self.settings.levels.get(self.at) {
                Some(&level) => {
                    let (phase_id, purpose) = match self.repeat {
                        0 => (format!("FIXED_c{level}_run0"), Purpose::Fixed),
                        k => (self.repeat_id(level, k), Purpose::Retry),
                    };
                    self.pending = Some(WindowSpec {
                        phase_id,
                        concurrency: level,
                        length: self.settings.ramp_duration,
                        purpose,
                    });
                }
                None => self.end(StopReason::AllLevels),
            }
        }
        match &self.pending {
            Some(window) => Step::Run(window.clone()),
            None => Step::Done(RampOutcome {
                peak: self.peak(),
                tested: self.tested.clone(),
                stop: self.stop.unwrap_or(StopReason::AllLevels),
            }),
        }
    }

    fn record(&mut self, observation: Observation) -> Verdict {
        let verdict = judge(&self.settings.thresholds, &observation);
        let Some(window) = self.pending.take() else {
            // A result without a window: judged, and otherwise without effect.
            return verdict;
        };
        let level = window.concurrency;
        if window.purpose == Purpose::Fixed {
            self.tested.push(TestedLevel {
                phase_id: window.phase_id,
                concurrency: level,
                purpose: Purpose::Fixed,
                observation,
                verdict: verdict.clone(),
            });
            if !verdict.passed {
                if self.settings.thresholds.is_active() {
                    let untested = self.settings.levels[self.at + 1..].to_vec();
                    self.notes.push(Note::LevelsLeftOut {
                        failed: level,
                        n_tested: self.at + 1,
                        untested,
                    });
                    self.end(StopReason::LevelFailed);
                } else {
                    // No result, so nothing to repeat; what comes above is wanted all the same.
                    self.leave_level(level);
                }
                return verdict;
            }
        }
        if self.repeat >= self.settings.num_retries {
            self.leave_level(level);
        } else {
            self.repeat += 1;
        }
        verdict
    }

    fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}

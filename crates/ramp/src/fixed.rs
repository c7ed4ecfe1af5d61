//! The `fixed` controller: listed levels, ascending, each measured and repeated.
//!
//! Promise: every level is tried at most once, in ascending order; with an active threshold nothing above
//! the first level that failed is tried; a level that gave no result is neither repeated nor chosen. There
//! is no time limit.

use std::time::Duration;

use crate::controller::{Controller, Purpose, Step, WindowSpec};
use crate::judge::{Observation, Thresholds, Verdict, judge};
use crate::note::Note;
use crate::outcome::{Peak, RampOutcome, StopReason, TestedLevel};

/// Settings of a fixed test.
#[derive(Debug, Clone, PartialEq)]
pub struct FixedSettings {
    /// Levels, in any order; repeated ones count once, 0 is left out.
    pub levels: Vec<u32>,
    /// Length of a window.
    pub ramp_duration: Duration,
    /// Repeats at every level that passes.
    pub num_retries: u32,
    /// What a level must hold; without any, all levels are measured.
    pub thresholds: Thresholds,
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
        let mut levels = settings.levels;
        levels.retain(|level| *level > 0);
        levels.sort_unstable();
        levels.dedup();
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

    /// The level the result describes: the highest that passed; if none did, the lowest that gave a result.
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
            Some(peak) => Note::PeakChosen(peak),
            None => Note::NoPeak,
        });
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
                        k => (format!("FIXED_c{level}_RETRY_{k}"), Purpose::Retry),
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

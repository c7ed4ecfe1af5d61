//! Turns the engine's events into lines, pages and the live display.

use std::time::Duration;

use cli::logging::{Line, log_lines};
use cli::number::thousands;
use cli::progress::ProgressHandle;
use engine::event::{DoubtKind, Observer, RunLine, StudyEvent};
use engine::progress::Live;
use engine::study::Mode;
use metrics::PhaseRow;
use ramp::{Note, Purpose, StopReason, Thresholds};

use super::pages::Pages;
use crate::args::Mode as ModeOption;
use crate::plan::Plan;
use crate::text::{self, ContextSize, LevelStatistics, Run, TestShape};

/// The live display as the engine sees it.
#[derive(Debug)]
pub(super) struct LiveDisplay(pub(super) ProgressHandle);

impl Live for LiveDisplay {
    fn test(&self, name: &str, expected: Option<Duration>) {
        self.0.set_test(name);
        self.0.set_expected_total(expected);
    }

    fn phase(&self, phase: &str, concurrency: u32) {
        self.0.set_phase(phase);
        self.0.set_concurrency(concurrency);
    }

    fn in_flight(&self, n_requests: u32) {
        self.0.set_in_flight(n_requests);
    }

    fn ended(&self, ttft: Duration, input_tokens: u64, output_tokens: u64) {
        self.0.first_token(ttft, input_tokens);
        self.0.output_tokens(output_tokens);
        self.0.finished();
    }

    fn failed(&self) {
        self.0.failed();
    }
}

/// Tells a run.
#[derive(Debug)]
pub(super) struct Teller {
    mode: ModeOption,
    /// Windows at the level at hand.
    runs: Vec<Run>,
    increment: u32,
    statistics: LevelStatistics,
    thresholds: Thresholds,
    strict: bool,
    /// The level judged last failed because its requests did.
    was_faulty: bool,
    has_told_no_usage: bool,
    pages: Pages,
}

impl Teller {
    pub(super) fn new(plan: &Plan, pages: Pages) -> Self {
        Self {
            mode: plan.mode,
            runs: Vec::new(),
            increment: plan.concurrency_increment,
            statistics: LevelStatistics {
                ttft: plan.ttft_metric,
                speed: plan.speed_metric,
            },
            thresholds: plan.thresholds,
            strict: plan.strict_time_window,
            was_faulty: false,
            has_told_no_usage: false,
            pages,
        }
    }

    /// Draws all charts over tests, and the dashboard.
    pub(super) fn finish_pages(&self) {
        self.pages.all();
    }
}

fn run_of(line: &RunLine) -> Run {
    Run {
        name: Run::name_of(&line.phase_id),
        input_tps: line.input_tps,
        output_tps: line.output_tps,
        avg_ttft: line.avg_ttft,
        p95_ttft: line.p95_ttft,
        n_requests: line.n_requests,
    }
}

/// Levels of these windows, ascending.
fn levels_of(phases: &[PhaseRow]) -> Vec<u32> {
    let mut levels: Vec<u32> = phases.iter().map(|p| p.concurrency_level).collect();
    levels.sort_unstable();
    levels.dedup();
    levels
}

impl Observer for Teller {
    fn observe(&mut self, event: &StudyEvent<'_>) {
        match event {
            StudyEvent::ContextStarted {
                context_size,
                rounded,
                n_prompts,
                working_set_size,
            } => {
                log_lines(&text::context_start(ContextSize {
                    context_size: *context_size,
                    rounded: *rounded,
                    n_prompts: *n_prompts as u64,
                    working_set_size: *working_set_size,
                }));
            }
            StudyEvent::ContextSkipped { context_size } => {
                log_lines(&[text::context_skipped(*context_size)])
            }
            StudyEvent::WorkingSetReady {
                tokens,
                built_in,
                verified_in,
                verification,
            } => {
                let mut line = format!(
                    "Working set of {} tokens built in {:.1}s, every prompt re-encoded in {:.1}s",
                    thousands(*tokens),
                    built_in.as_secs_f64(),
                    verified_in.as_secs_f64()
                );
                if verification.corrected > 0 {
                    line.push_str(&format!(
                        "; {} prompts were corrected",
                        verification.corrected
                    ));
                }
                log_lines(&[Line::plain(line)]);
                if verification.deviating > 0 {
                    log_lines(&[Line::warning(format!(
                        "{} prompts of the working set have another number of tokens than planned",
                        verification.deviating
                    ))]);
                }
            }
            StudyEvent::TestStarted {
                context_size,
                cache_hit_rate,
                cached_tokens,
                mode,
            } => {
                let search_limit = match mode {
                    Mode::Ramp(ramp) => Some(ramp.test_duration),
                    Mode::Fixed(_) | Mode::Sustained(_) => None,
                };
                self.runs.clear();
                log_lines(&text::test_start(
                    *context_size,
                    *cache_hit_rate,
                    *cached_tokens,
                    search_limit,
                ));
            }
            StudyEvent::TestSkipped { cache_hit_rate, .. } => {
                log_lines(&[text::test_skipped(*cache_hit_rate)])
            }
            StudyEvent::WindowStarted { spec } => {
                log_lines(&[text::level_start(spec.concurrency, &spec.phase_id)]);
            }
            StudyEvent::WindowDone {
                spec,
                level,
                verdict,
                ..
            } => {
                let mut lines = text::level_result(level, self.statistics);
                lines.extend(verdict.and_then(|verdict| text::verdict(verdict, &self.thresholds)));
                if spec.purpose == Purpose::Retry || verdict.is_some_and(|verdict| verdict.passed) {
                    lines.extend(text::strict_comparison(level, self.strict));
                }
                log_lines(&lines);
                self.was_faulty = verdict.is_some_and(text::is_faulty);
                if spec.purpose == Purpose::Fixed {
                    self.runs.clear();
                }
                self.runs.push(Run {
                    name: Run::name_of(&spec.phase_id),
                    input_tps: level.deciding.input_tps,
                    output_tps: level.deciding.output_tps,
                    avg_ttft: level.ttft.avg,
                    p95_ttft: level.ttft.p95,
                    n_requests: level.completed,
                });
            }
            StudyEvent::PeriodStarted { spec } => log_lines(&[text::period_start(spec)]),
            StudyEvent::PeriodDone {
                row,
                figures,
                decided,
                ..
            } => log_lines(&text::period_result(
                row,
                figures,
                decided,
                &self.thresholds,
            )),
            StudyEvent::PeriodsEnded { stop, periods } => {
                log_lines(&text::periods_end(stop, periods));
            }
            StudyEvent::Note(Note::LevelDone { concurrency }) => {
                let runs = std::mem::take(&mut self.runs);
                if runs.len() > 1 {
                    log_lines(&[text::level_summary(*concurrency)]);
                    log_lines(&text::runs_table(&runs));
                }
            }
            StudyEvent::Note(Note::SearchEnded(StopReason::FirstLevelFailed))
                if self.was_faulty =>
            {
                // A server that fails is no reason to loosen a threshold.
                log_lines(&[text::first_level_faulty()]);
            }
            StudyEvent::Note(note) => log_lines(&[text::note(note, self.increment)]),
            // A server that sends no usage sends none to all tests; every one is marked in the files.
            StudyEvent::Doubt(doubt) if doubt.kind == DoubtKind::NoUsage => {
                if !std::mem::replace(&mut self.has_told_no_usage, true) {
                    log_lines(&[Line::warning(doubt.text.clone())]);
                }
            }
            StudyEvent::Doubt(doubt) => log_lines(&[Line::warning(doubt.text.clone())]),
            StudyEvent::TestDone { outcome } => {
                let shape = match self.mode {
                    ModeOption::Ramp => {
                        let runs: Vec<Run> = outcome.runs.iter().map(run_of).collect();
                        log_lines(&text::runs_table(&runs));
                        TestShape::Ramp
                    }
                    ModeOption::Fixed => TestShape::Fixed {
                        levels: levels_of(&outcome.phases),
                    },
                    ModeOption::Sustained => {
                        let levels = || outcome.periods.iter().map(|p| p.concurrency_level);
                        TestShape::Sustained {
                            n_periods: outcome.periods.len(),
                            levels: (
                                levels().min().unwrap_or_default(),
                                levels().max().unwrap_or_default(),
                            ),
                        }
                    }
                };
                log_lines(&text::test_done(&shape, &outcome.summary));
            }
            StudyEvent::TestFailed {
                cache_hit_rate,
                reason,
                ..
            } => {
                log_lines(&[text::test_failed(*cache_hit_rate, reason)]);
            }
            StudyEvent::TestStored { outcome, .. } => {
                self.pages.test(outcome);
            }
            StudyEvent::ContextDone { .. } => self.finish_pages(),
        }
    }
}

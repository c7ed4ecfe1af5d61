//! Turns the engine's events into lines, pages and the live display.

use std::time::Duration;

use cli::logging::{Line, log_lines};
use cli::number::thousands;
use cli::options::Mode;
use cli::progress::ProgressHandle;
use engine::event::{DoubtKind, Observer, RunLine, StudyEvent};
use engine::progress::Live;
use metrics::SummaryRow;
use ramp::{Note, Purpose, StopReason};
use report::test_name::TestName;

use super::pages::Pages;
use super::proof::TestPeriods;
use super::text::{self, LevelStatistics, Run};
use super::{ContextSize, GrowthStep, StudyTool};

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
pub(super) struct Teller<'t, T> {
    tool: &'t T,
    /// Windows at the level at hand.
    runs: Vec<Run>,
    /// The level judged last failed because its requests did.
    was_faulty: bool,
    has_told_no_usage: bool,
    failed: Failed,
    has_told_short_windows: bool,
    /// Context size and rate of the test at hand.
    told_rate: Option<(u64, u32)>,
    pages: Pages,
}

/// The last test that yielded nothing, if any: its context and its rate are not complete.
#[derive(Debug, Clone, Copy, Default)]
struct Failed(Option<TestName>);

impl Failed {
    fn in_context(self, context_size: u64) -> bool {
        self.0.is_some_and(|test| test.context_size == context_size)
    }

    fn at_rate_of(self, other: TestName) -> bool {
        self.in_context(other.context_size)
            && self
                .0
                .is_some_and(|test| test.cache_hit_rate == other.cache_hit_rate)
    }
}

impl<'t, T: StudyTool> Teller<'t, T> {
    pub(super) fn new(tool: &'t T, pages: Pages) -> Self {
        Self {
            tool,
            runs: Vec::new(),
            was_faulty: false,
            has_told_no_usage: false,
            failed: Failed::default(),
            has_told_short_windows: false,
            told_rate: None,
            pages,
        }
    }

    /// Draws the charts of these tests again.
    pub(super) fn redraw_periods(&self, tests: &[TestPeriods], results: &[SummaryRow]) {
        for (test, periods) in tests {
            let result = results.iter().find(|row| TestName::from(*row) == *test);
            if let Some(result) = result {
                self.pages.periods(result, periods);
            }
        }
    }

    /// Once for the tests of a context size at a rate.
    fn tell_rate(&mut self, test: TestName) {
        let rate = Some((test.context_size, test.cache_hit_rate));
        if std::mem::replace(&mut self.told_rate, rate) != rate {
            log_lines(self.tool.rate_start(test.cache_hit_rate).as_slice());
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

impl<T: StudyTool> Observer for Teller<'_, T> {
    fn observe(&mut self, event: &StudyEvent<'_>) {
        let tool = self.tool;
        let options = tool.common();
        match event {
            StudyEvent::ContextStarted {
                context_size,
                rounded,
                n_prompts,
                working_set_size,
            } => {
                log_lines(&tool.context_start(ContextSize {
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
                test,
                cached_tokens,
                prompts,
            } => {
                self.runs.clear();
                self.tell_rate(*test);
                log_lines(&tool.test_start(*test, *cached_tokens, *prompts));
            }
            StudyEvent::GrowthPlanned { plan } => log_lines(&tool.growth_planned(plan)),
            StudyEvent::Grown {
                added,
                warm,
                n_prompts,
                target,
                tokens,
            } => log_lines(&tool.grown(GrowthStep {
                added: *added,
                warm: *warm,
                n_prompts: *n_prompts,
                target: *target,
                tokens: *tokens,
            })),
            StudyEvent::Extending { sent, needed } => log_lines(&[text::extending(*sent, *needed)]),
            StudyEvent::NotCovered { sent, needed } => {
                log_lines(&[text::not_covered(*sent, *needed)]);
            }
            StudyEvent::TestSkipped { test } => {
                self.tell_rate(*test);
                log_lines(&[tool.test_skipped(*test)]);
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
                let mut lines = text::level_result(level, LevelStatistics::of(options));
                lines.extend(
                    verdict.and_then(|verdict| text::verdict(verdict, &options.thresholds)),
                );
                if spec.purpose == Purpose::Retry || verdict.is_some_and(|verdict| verdict.passed) {
                    lines.extend(text::strict_comparison(level, options.strict_time_window));
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
            StudyEvent::PeriodStarted { spec } => log_lines(&tool.period_start(spec)),
            StudyEvent::PeriodDone {
                row,
                figures,
                decided,
                ..
            } => log_lines(&tool.period_result(row, figures, decided)),
            StudyEvent::PeriodsEnded { stop, periods } => {
                let mut lines = tool.periods_end(stop, periods);
                if options.thresholds.is_active() && !periods.is_empty() {
                    lines.push(text::level_held(periods));
                }
                log_lines(&lines);
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
            StudyEvent::Note(note) => log_lines(&text::note(note, options.concurrency_increment)),
            // A server that sends no usage sends none to all tests; every one is marked in the files.
            StudyEvent::Doubt(doubt) if doubt.kind == DoubtKind::NoUsage => {
                if !std::mem::replace(&mut self.has_told_no_usage, true) {
                    log_lines(&[Line::warning(doubt.text.clone())]);
                }
            }
            StudyEvent::Doubt(doubt) => log_lines(&[Line::warning(doubt.text.clone())]),
            StudyEvent::TestDone { outcome } => {
                if options.mode == Mode::Ramp {
                    let runs: Vec<Run> = outcome.runs.iter().map(run_of).collect();
                    log_lines(&tool.peak_runs(outcome.summary.peak_concurrency, &runs));
                }
                log_lines(&tool.test_done(outcome));
                if options.strict_time_window && outcome.periods.is_empty() {
                    log_lines(&[text::strict_excluded(outcome)]);
                }
                if !self.has_told_short_windows
                    && let Some(line) = text::short_windows(options, &outcome.summary)
                {
                    log_lines(&[line]);
                    self.has_told_short_windows = true;
                }
            }
            StudyEvent::TestFailed { test, reason } => {
                self.failed = Failed(Some(*test));
                log_lines(&[tool.test_failed(*test, reason)]);
            }
            StudyEvent::TestStored { test, outcome } => {
                self.pages.test(outcome);
                self.pages.index();
                if !self.failed.at_rate_of(*test) {
                    log_lines(tool.rate_done(*test).as_slice());
                }
            }
            StudyEvent::ContextDone { context_size } => {
                self.finish_pages();
                if !self.failed.in_context(*context_size) {
                    log_lines(tool.context_done(*context_size).as_slice());
                }
            }
        }
    }
}

//! The plan as a tester of the suite: what it measures, and in which words.

use std::collections::BTreeMap;
use std::path::Path;

use cli::brief::BriefReport;
use cli::logging::Line;
use cli::options::Mode;
use core_client::RunClock;
use engine::event::TestPrompts;
use engine::study::{Reinit, StudyPlan, WorkingSets};
use engine::test_run::TestOutcome;
use metrics::schema::SetColumns;
use metrics::summary::SummaryRow;
use metrics::{PeriodFigures, PeriodRow, PhaseRow};
use ramp::{Decided, PeriodSpec, SustainedStop};
use report::progress::ResumeRules;
use report::test_name::TestName;
use setup::study::{ContextSize, StartFacts, StudyRules, StudyShape, StudyTool};

use crate::args::ReinitStrategy;
use crate::plan::Plan;
use crate::text::{self, TestShape};

impl StudyTool for Plan {
    const NAME: &'static str = "cache_rate_tester";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const WORKING_SET_FLAG: &'static str = "--working-set-size";
    const RESUME: ResumeRules = ResumeRules::CACHE_RATE;

    fn set_columns(&self) -> SetColumns {
        SetColumns::Without
    }

    fn study(&self, model: &str, clock: RunClock) -> StudyPlan {
        let shape = StudyShape {
            working_sets: WorkingSets::One(self.working_set_size),
            ensure_coverage: false,
            reinit: match self.reinit_strategy {
                ReinitStrategy::Once => Reinit::Once,
                ReinitStrategy::PerCacheRate => Reinit::EachTest,
                ReinitStrategy::PerTest => Reinit::EachWindow,
            },
            rules: StudyRules::CACHE_RATE,
        };
        self.common.study(shape, model, clock)
    }

    fn banner(&self) -> Vec<Line> {
        text::banner(self)
    }

    fn script_written(&self, script: &Path) -> Vec<Line> {
        vec![text::script_written(script)]
    }

    fn start_facts(&self, facts: &StartFacts<'_>) -> Vec<Line> {
        text::start_facts(self, facts)
    }

    fn context_start(&self, context: ContextSize) -> Vec<Line> {
        text::context_start(context)
    }

    fn test_start(&self, test: TestName, cached_tokens: u64, _prompts: TestPrompts) -> Vec<Line> {
        let search_limit = (self.common.mode == Mode::Ramp).then_some(self.common.test_duration);
        text::test_start(test, cached_tokens, search_limit)
    }

    fn test_skipped(&self, test: TestName) -> Line {
        text::test_skipped(test.cache_hit_rate)
    }

    fn period_start(&self, spec: &PeriodSpec) -> Vec<Line> {
        vec![text::period_start(spec)]
    }

    fn period_result(
        &self,
        row: &PeriodRow,
        figures: &PeriodFigures,
        decided: &Decided,
    ) -> Vec<Line> {
        text::period_result(row, figures, decided, &self.common.thresholds)
    }

    fn periods_end(&self, stop: &SustainedStop, periods: &[PeriodRow]) -> Vec<Line> {
        text::periods_end(stop, periods)
    }

    fn test_done(&self, outcome: &TestOutcome) -> Vec<Line> {
        text::test_done(&shape(self.common.mode, outcome), &outcome.summary)
    }

    fn test_failed(&self, test: TestName, reason: &str) -> Line {
        text::test_failed(test.cache_hit_rate, reason)
    }

    fn final_table(
        &self,
        results: &[SummaryRow],
        _periods: &BTreeMap<TestName, Vec<PeriodRow>>,
    ) -> Vec<Line> {
        text::final_table(results)
    }

    fn brief_report(&self, model: &str, results: &[SummaryRow]) -> BriefReport<'_> {
        text::brief_report(self, model, results)
    }
}

fn shape(mode: Mode, outcome: &TestOutcome) -> TestShape {
    match mode {
        Mode::Ramp => TestShape::Ramp,
        Mode::Fixed => TestShape::Fixed {
            levels: levels_of(&outcome.phases),
        },
        Mode::Sustained => {
            let levels = || outcome.periods.iter().map(|p| p.concurrency_level);
            TestShape::Sustained {
                n_periods: outcome.periods.len(),
                levels: (
                    levels().min().unwrap_or_default(),
                    levels().max().unwrap_or_default(),
                ),
            }
        }
    }
}

/// Levels of these windows, ascending.
fn levels_of(phases: &[PhaseRow]) -> Vec<u32> {
    let mut levels: Vec<u32> = phases.iter().map(|p| p.concurrency_level).collect();
    levels.sort_unstable();
    levels.dedup();
    levels
}

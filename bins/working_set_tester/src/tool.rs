//! The plan as a tester of the suite: what it measures, and in which words.

use std::collections::BTreeMap;
use std::path::Path;

use cli::brief::BriefReport;
use cli::logging::Line;
use cli::options::Mode;
use core_client::RunClock;
use engine::event::TestPrompts;
use engine::growth::GrowthPlan;
use engine::study::{Reinit, StudyPlan, WorkingSets};
use engine::test_run::TestOutcome;
use metrics::schema::SetColumns;
use metrics::summary::SummaryRow;
use metrics::{PeriodFigures, PeriodRow};
use ramp::sustained::PlateauRule;
use ramp::{Decided, PeriodSpec, SustainedRules, SustainedStop};
use report::progress::ResumeRules;
use report::test_name::TestName;
use setup::study::text::{Run, retry_summary};
use setup::study::{ContextSize, GrowthStep, StartFacts, StudyRules, StudyShape, StudyTool};

use crate::args::{InitStrategy, PlateauDetection, ReinitStrategy};
use crate::plan::{Plan, sizes_of};
use crate::text;

impl Plan {
    fn working_sets(&self) -> WorkingSets {
        match self.common.mode {
            Mode::Ramp | Mode::Fixed => WorkingSets::Each(self.working_set_sizes.clone()),
            Mode::Sustained => WorkingSets::Growing {
                first: self.first_size(),
                last: self.last_size(),
                n_events: self.working_set_increments,
                warm_all: self.init_strategy == InitStrategy::Max,
            },
        }
    }

    fn rules(&self) -> StudyRules {
        let rules = StudyRules::WORKING_SET;
        let sustained = rules.sustained;
        StudyRules {
            sustained: SustainedRules {
                plateau: match self.plateau_detection {
                    PlateauDetection::Off => PlateauRule::Off,
                    PlateauDetection::Window => PlateauRule::FiveBeforeLast,
                },
                // A threshold that nobody asked for ends nothing.
                hopeless_after: sustained
                    .hopeless_after
                    .filter(|_| !self.threshold_is_assumed),
                ..sustained
            },
            ..rules
        }
    }
}

impl StudyTool for Plan {
    const NAME: &'static str = "working_set_tester";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const WORKING_SET_FLAG: &'static str = "--max-working-set-size";
    const RESUME: ResumeRules = ResumeRules::WORKING_SET;

    fn set_columns(&self) -> SetColumns {
        match self.common.mode {
            Mode::Ramp | Mode::Fixed => SetColumns::Size,
            Mode::Sustained => SetColumns::Growing,
        }
    }

    fn study(&self, model: &str, clock: RunClock) -> StudyPlan {
        let shape = StudyShape {
            working_sets: self.working_sets(),
            ensure_coverage: self.ensure_coverage,
            reinit: match self.reinit_strategy {
                ReinitStrategy::Once => Reinit::Once,
                ReinitStrategy::PerWorkingSet => Reinit::EachTest,
                ReinitStrategy::PerTest => Reinit::EachWindow,
            },
            rules: self.rules(),
        };
        self.common.study(shape, model, clock)
    }

    fn banner(&self) -> Vec<Line> {
        text::banner(self)
    }

    fn script_written(&self, script: &Path) -> Vec<Line> {
        text::script_written(script)
    }

    fn start_facts(&self, facts: &StartFacts<'_>) -> Vec<Line> {
        text::start_facts(self, facts)
    }

    fn context_start(&self, context: ContextSize) -> Vec<Line> {
        text::context_start(context)
    }

    fn test_start(&self, test: TestName, cached_tokens: u64, prompts: TestPrompts) -> Vec<Line> {
        text::test_start(self, test, cached_tokens, prompts)
    }

    fn rate_start(&self, cache_hit_rate: u32) -> Option<Line> {
        Some(text::rate_start(cache_hit_rate))
    }

    fn test_skipped(&self, test: TestName) -> Line {
        text::test_skipped(test)
    }

    fn growth_planned(&self, plan: &GrowthPlan) -> Vec<Line> {
        text::growth_planned(plan)
    }

    fn grown(&self, step: GrowthStep) -> Vec<Line> {
        text::grown(step)
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
        text::period_result(row, figures, decided)
    }

    fn periods_end(&self, stop: &SustainedStop, periods: &[PeriodRow]) -> Vec<Line> {
        text::periods_end(stop, periods, self.common.chunk_size)
    }

    fn test_done(&self, outcome: &TestOutcome) -> Vec<Line> {
        text::test_done(self.common.mode, outcome)
    }

    fn rate_done(&self, test: TestName) -> Option<Line> {
        let is_last = test.working_set_size == Some(self.last_size());
        is_last.then(|| text::rate_done(test.cache_hit_rate))
    }

    fn context_done(&self, context_size: u64) -> Option<Line> {
        Some(text::context_done(context_size))
    }

    fn test_failed(&self, test: TestName, reason: &str) -> Line {
        text::test_failed(&self.common, test, reason)
    }

    fn peak_runs(&self, peak: u32, runs: &[Run]) -> Vec<Line> {
        retry_summary(peak, runs)
    }

    fn final_table(
        &self,
        results: &[SummaryRow],
        periods: &BTreeMap<TestName, Vec<PeriodRow>>,
    ) -> Vec<Line> {
        text::final_table(results, |row| {
            sizes_of(row, periods.get(&row.into()).map_or(&[], Vec::as_slice))
        })
    }

    fn beside_report(&self, results: &[SummaryRow]) -> Option<Line> {
        text::beside_report(results)
    }

    fn brief_report(&self, model: &str, results: &[SummaryRow]) -> BriefReport<'_> {
        text::brief_report(self, model, results)
    }
}

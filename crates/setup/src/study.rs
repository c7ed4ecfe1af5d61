//! What testers share that measure test after test, each over contexts and hit rates.
//!
//! Promise: a tool says what it varies, how that is written down ([`Recorded`]), and how its tests are told
//! ([`StudyTool`]); everything between its arguments and
//! its exit code that is not its own stands here once. Refuses to measure: that is the engine's.
//!
//! | Module | Holds |
//! |---|---|
//! | [`StudyOptions`] | what the shared options mean, and how they are written down |
//! | [`run()`] | the frame: terminal, server, tokenizer, progress, files, pages, exit code |
//! | [`text`] | lines that read the same in every tool |
//! | [`memory`] | KV memory, shown before anything is measured |
//! | [`proof`] | what the client says of itself behind a study |

mod doubts;
mod frame;
pub mod memory;
mod options;
mod pages;
pub mod proof;
mod record;
mod settings;
mod tell;
pub mod text;

use std::collections::BTreeMap;
use std::path::Path;

use cli::brief::BriefReport;
use cli::logging::Line;
use core_client::RunClock;
use engine::event::TestPrompts;
use engine::growth::GrowthPlan;
use engine::study::StudyPlan;
use engine::test_run::TestOutcome;
use metrics::schema::SetColumns;
use metrics::summary::SummaryRow;
use metrics::{PeriodFigures, PeriodRow};
use ramp::{Decided, PeriodSpec, SustainedStop};
use report::progress::ResumeRules;
use report::test_name::TestName;

pub use doubts::doubt_object;
pub use frame::run;
pub use memory::KvModel;
pub use options::{Choices, DEFAULT_MAX_TTFT, StudyError, StudyOptions, level, tokens};
pub use record::{KnownFacts, Recorded};
pub use settings::{StudyRules, StudyShape};

/// What is known once the server and the tokenizer were asked.
#[derive(Debug, Clone, Copy)]
pub struct StartFacts<'a> {
    /// Model the requests name.
    pub model: &'a str,
    /// Tokenizer, by the name under which it was found.
    pub tokenizer: &'a str,
    /// What is known of the model's cache.
    pub kv: &'a KvModel,
}

/// A context size and the working set made for it, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextSize {
    /// As given.
    pub context_size: u64,
    /// Rounded up to whole chunks.
    pub rounded: u64,
    /// Prompts of the working set.
    pub n_prompts: u64,
    /// Working set as asked for.
    pub working_set_size: u64,
}

/// Prompts that have joined a running test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrowthStep {
    /// How many.
    pub added: usize,
    /// Whether they were warmed up before the test.
    pub warm: bool,
    /// Prompts in rotation now.
    pub n_prompts: usize,
    /// Prompts at the end of the test.
    pub target: usize,
    /// Tokens of the prompts in rotation.
    pub tokens: u64,
}

/// A tester: what it varies, and how it tells it.
pub trait StudyTool: Recorded {
    /// Name in log lines and files.
    const NAME: &'static str;
    /// Version in files and on pages.
    const VERSION: &'static str;
    /// The option that makes working sets smaller.
    const WORKING_SET_FLAG: &'static str;
    /// When a run goes on from the one before.
    const RESUME: ResumeRules;

    /// Columns on the working set in the run's files.
    fn set_columns(&self) -> SetColumns;

    /// What the engine is to run.
    fn study(&self, model: &str, clock: RunClock) -> StudyPlan;

    /// The first lines of the log.
    fn banner(&self) -> Vec<Line>;

    /// The script that repeats the run is written; the server has not been asked yet.
    fn script_written(&self, script: &Path) -> Vec<Line>;

    /// Lines once the server was asked.
    fn start_facts(&self, facts: &StartFacts<'_>) -> Vec<Line>;

    /// A context size begins.
    fn context_start(&self, context: ContextSize) -> Vec<Line>;

    /// A test begins; `cached_tokens` of each request come from the working set.
    fn test_start(&self, test: TestName, cached_tokens: u64, prompts: TestPrompts) -> Vec<Line>;

    /// The tests of a context size at a rate begin, those of an earlier run among them.
    fn rate_start(&self, _cache_hit_rate: u32) -> Option<Line> {
        None
    }

    /// A test was completed by an earlier run.
    fn test_skipped(&self, test: TestName) -> Line;

    /// The working set of the test will grow.
    fn growth_planned(&self, _plan: &GrowthPlan) -> Vec<Line> {
        Vec::new()
    }

    /// The working set has grown.
    fn grown(&self, _step: GrowthStep) -> Vec<Line> {
        Vec::new()
    }

    /// A period begins.
    fn period_start(&self, spec: &PeriodSpec) -> Vec<Line>;

    /// A period is over.
    fn period_result(
        &self,
        row: &PeriodRow,
        figures: &PeriodFigures,
        decided: &Decided,
    ) -> Vec<Line>;

    /// The periods of a test are over.
    fn periods_end(&self, stop: &SustainedStop, periods: &[PeriodRow]) -> Vec<Line>;

    /// A test has its result.
    fn test_done(&self, outcome: &TestOutcome) -> Vec<Line>;

    /// All tests of a context size and rate have their results, the one at hand as the last of them.
    fn rate_done(&self, _test: TestName) -> Option<Line> {
        None
    }

    /// All tests of a context size have their results.
    fn context_done(&self, _context_size: u64) -> Option<Line> {
        None
    }

    /// A test yielded nothing.
    fn test_failed(&self, test: TestName, reason: &str) -> Line;

    /// The windows at the peak that a search found.
    fn peak_runs(&self, _peak: u32, runs: &[text::Run]) -> Vec<Line> {
        text::runs_table(runs)
    }

    /// The table of all results at the end of the log; the periods are those of sustained tests.
    fn final_table(
        &self,
        results: &[SummaryRow],
        periods: &BTreeMap<TestName, Vec<PeriodRow>>,
    ) -> Vec<Line>;

    /// What the report for scripts has no room for, told on stderr along with it.
    fn beside_report(&self, _results: &[SummaryRow]) -> Option<Line> {
        None
    }

    /// The report for scripts.
    fn brief_report(&self, model: &str, results: &[SummaryRow]) -> BriefReport<'_>;
}

//! What a study tells the outside while it runs: typed events, so that lines, progress displays and tests
//! read the same source.

use std::time::Duration;

use metrics::window::LevelMetrics;
use metrics::{PeriodFigures, PeriodRow};
use ramp::{Decided, Note, PeriodSpec, SustainedStop, Verdict, WindowSpec};
use report::test_name::TestName;

use crate::growth::GrowthPlan;
use crate::test_run::TestOutcome;

/// Something that happened.
#[derive(Debug)]
pub enum StudyEvent<'a> {
    /// A context size begins.
    ContextStarted {
        /// As given, tokens.
        context_size: u64,
        /// Rounded up to whole chunks.
        rounded: u64,
        /// Prompts of the working set.
        n_prompts: usize,
        /// Tokens of the working set as asked for.
        working_set_size: u64,
    },
    /// A context size has nothing left to do.
    ContextSkipped {
        /// As given, tokens.
        context_size: u64,
    },
    /// The working set is built and re-encoded.
    WorkingSetReady {
        /// Tokens in it.
        tokens: u64,
        /// Building it.
        built_in: Duration,
        /// Re-encoding every prompt of it.
        verified_in: Duration,
        /// What re-encoding found.
        verification: workload::Verification,
    },
    /// A test begins.
    TestStarted {
        /// Which.
        test: TestName,
        /// Tokens taken from the working set per request.
        cached_tokens: u64,
        /// Its working set.
        prompts: TestPrompts,
    },
    /// A test was completed by an earlier run.
    TestSkipped {
        /// Which.
        test: TestName,
    },
    /// A growing working set is announced, before it is warmed up.
    GrowthPlanned {
        /// How it grows.
        plan: &'a GrowthPlan,
    },
    /// Prompts have joined the rotation of a running test.
    Grown {
        /// How many.
        added: usize,
        /// Whether they were warmed up before the test.
        warm: bool,
        /// Prompts in rotation now.
        n_prompts: usize,
        /// Prompts at the end of the test.
        target: usize,
        /// Tokens of the prompts in rotation.
        tokens: u64,
    },
    /// A window or a size of the working set takes longer than planned, so that all of the set is sent.
    Extending {
        /// Input tokens sent so far.
        sent: u64,
        /// Input tokens to send.
        needed: u64,
    },
    /// It has ended, and not all of the set was sent.
    NotCovered {
        /// Input tokens sent.
        sent: u64,
        /// Input tokens to send.
        needed: u64,
    },
    /// A window begins.
    WindowStarted {
        /// What is run.
        spec: &'a WindowSpec,
    },
    /// A window has been measured.
    WindowDone {
        /// What was run.
        spec: &'a WindowSpec,
        /// What it says of its level.
        level: &'a LevelMetrics,
        /// The TTFT held against the threshold, seconds.
        ttft: Option<f64>,
        /// The judgement; `None` for a repeat, which is not judged.
        verdict: Option<&'a Verdict>,
    },
    /// A period of a sustained test begins.
    PeriodStarted {
        /// What is run.
        spec: &'a PeriodSpec,
    },
    /// A period has been measured.
    PeriodDone {
        /// What was run.
        spec: &'a PeriodSpec,
        /// Its row, as far as it is known at its end.
        row: &'a PeriodRow,
        /// What arrived in it.
        figures: &'a PeriodFigures,
        /// What follows.
        decided: &'a Decided,
    },
    /// The periods of a test are over and all requests have ended.
    PeriodsEnded {
        /// Why.
        stop: &'a SustainedStop,
        /// All rows, settled.
        periods: &'a [PeriodRow],
    },
    /// The controller has something to say.
    Note(&'a Note),
    /// A test has its result.
    TestDone {
        /// Its row and everything measured.
        outcome: &'a TestOutcome,
    },
    /// A test yielded nothing.
    TestFailed {
        /// Which.
        test: TestName,
        /// Why.
        reason: &'a str,
    },
    /// A doubt about the validity of a test; stored with the run.
    Doubt(&'a Doubt),
    /// A test's files are on disk and `progress.json` lists it; no request is in flight.
    TestStored {
        /// Which.
        test: TestName,
        /// Its row, all its windows and all its completed requests.
        outcome: &'a TestOutcome,
    },
    /// All tests of a context size have been tried; no request is in flight.
    ContextDone {
        /// As given, tokens.
        context_size: u64,
    },
}

/// The working set of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestPrompts {
    /// Tokens of a prompt: the context size rounded up to whole chunks.
    pub rounded: u64,
    /// Prompts in rotation when the test begins.
    pub initial: usize,
    /// Prompts in rotation when it ends.
    pub target: usize,
}

/// One window behind a result, for the table that people see.
#[derive(Debug, Clone, PartialEq)]
pub struct RunLine {
    /// Phase id.
    pub phase_id: String,
    /// Tokens per second by which levels are compared.
    pub input_tps: f64,
    /// Output tokens per second by the same accounting.
    pub output_tps: f64,
    /// Mean, seconds.
    pub avg_ttft: Option<f64>,
    /// 95th percentile, seconds.
    pub p95_ttft: Option<f64>,
    /// Samples.
    pub n_requests: u64,
}

/// A reason to look twice at a test's numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Doubt {
    /// Which test.
    pub test: TestName,
    /// One word for programs.
    pub kind: DoubtKind,
    /// One line for people.
    pub text: String,
}

/// Kinds of doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoubtKind {
    /// Prompts that were meant cold were served from cache.
    WarmCold,
    /// The server's cached tokens miss the intended ones.
    HitRateOffTarget,
    /// The server counts other prompt tokens than we do.
    PromptTokens,
    /// The server sent no usage; output tokens were counted here.
    NoUsage,
    /// Requests failed.
    Failures,
    /// Requests were cancelled at the end of a window.
    Cancelled,
    /// No level held the thresholds.
    NoLevelPassed,
    /// The figures say more of this client than of the server.
    ClientLimited,
    /// The peak may be higher than found, for this client limited what stands above it.
    SearchLimited,
}

impl DoubtKind {
    /// Whether it is about this client's own part.
    #[must_use]
    pub fn is_of_client(self) -> bool {
        matches!(self, Self::ClientLimited | Self::SearchLimited)
    }

    /// The word in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WarmCold => "warm_cold",
            Self::HitRateOffTarget => "hit_rate_off_target",
            Self::PromptTokens => "prompt_tokens",
            Self::NoUsage => "no_usage",
            Self::Failures => "failures",
            Self::Cancelled => "cancelled",
            Self::NoLevelPassed => "no_level_passed",
            Self::ClientLimited => "client_limited",
            Self::SearchLimited => "search_limited",
        }
    }
}

/// Receives events on the run's own thread; must return at once.
pub trait Observer {
    /// Takes one event.
    fn observe(&mut self, event: &StudyEvent<'_>);
}

impl<F: FnMut(&StudyEvent<'_>)> Observer for F {
    fn observe(&mut self, event: &StudyEvent<'_>) {
        self(event);
    }
}

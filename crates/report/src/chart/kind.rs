//! The kinds of charts there are.

/// A kind of chart. Pages carry its name, so that a test can tell whether every kind has been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChartKind {
    /// A test over the levels that its ramp tried.
    Ramp,
    /// A test over given levels.
    Fixed,
    /// A sustained test over time.
    Sustained,
    /// Contexts of sustained tests side by side.
    SustainedComparison,
    /// A sustained test of a growing working set.
    SustainedSet,
    /// A context over its hit rates.
    PerformanceVsCacheRate,
    /// Throughput of contexts over their hit rates.
    ThroughputComparison,
    /// Output figures of contexts over their hit rates.
    OutputMetrics,
    /// TTFT by context and hit rate.
    TtftHeatmap,
    /// A context over its working sets.
    PerformanceVsWorkingSet,
    /// Throughput of contexts over their working sets.
    SetThroughputComparison,
    /// Output figures of contexts over their working sets.
    SetOutputMetrics,
    /// Hit rates of a context over its working sets.
    CacheComparison,
    /// Cold prompts beside their repeats.
    SinglePrompt,
    /// What the client did to the figures.
    ClientHealth,
    /// Throughput of several runs.
    RunThroughput,
    /// TTFT of several runs.
    RunTtft,
}

impl ChartKind {
    /// Every kind, once.
    pub const ALL: [Self; 17] = [
        Self::Ramp,
        Self::Fixed,
        Self::Sustained,
        Self::SustainedComparison,
        Self::SustainedSet,
        Self::PerformanceVsCacheRate,
        Self::ThroughputComparison,
        Self::OutputMetrics,
        Self::TtftHeatmap,
        Self::PerformanceVsWorkingSet,
        Self::SetThroughputComparison,
        Self::SetOutputMetrics,
        Self::CacheComparison,
        Self::SinglePrompt,
        Self::ClientHealth,
        Self::RunThroughput,
        Self::RunTtft,
    ];

    /// Its name: lower-case words joined by `-`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ramp => "ramp",
            Self::Fixed => "fixed",
            Self::Sustained => "sustained",
            Self::SustainedComparison => "sustained-comparison",
            Self::SustainedSet => "sustained-set",
            Self::PerformanceVsCacheRate => "performance-vs-cache-rate",
            Self::ThroughputComparison => "throughput-comparison",
            Self::OutputMetrics => "output-metrics",
            Self::TtftHeatmap => "ttft-heatmap",
            Self::PerformanceVsWorkingSet => "performance-vs-working-set",
            Self::SetThroughputComparison => "set-throughput-comparison",
            Self::SetOutputMetrics => "set-output-metrics",
            Self::CacheComparison => "cache-comparison",
            Self::SinglePrompt => "single-prompt",
            Self::ClientHealth => "client-health",
            Self::RunThroughput => "run-throughput",
            Self::RunTtft => "run-ttft",
        }
    }
}

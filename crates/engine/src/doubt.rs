//! What a test's own data say against it: the tool cross-checks what it meant against what the server reports.

use metrics::RequestTally;
use metrics::record::FailedRequest;
use metrics::selfcheck::{ColdCheck, TEMPLATE_ALLOWANCE_TOKENS};
use metrics::summary::TestKey;
use report::test_name::TestName;

use crate::event::{Doubt, DoubtKind};

/// A share of requests above which a deviation is the rule and not an accident.
const SHARE_WORTH_A_WORD: f64 = 0.05;

/// A test's requests, all windows.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Which test.
    pub key: &'a TestKey,
    /// Whether the chosen level holds the thresholds.
    pub passed: bool,
    /// Completed requests, in a tally with [`cached_tolerance`].
    pub requests: &'a RequestTally,
    /// Failed and cancelled ones.
    pub failed: FailedCounts,
}

/// How many requests of a test or phase gave no sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailedCounts {
    /// Cancelled ones not counted.
    pub failed: u64,
    /// By us.
    pub cancelled: u64,
}

impl FailedCounts {
    /// Takes one request.
    pub fn add(&mut self, request: &FailedRequest) {
        if request.is_cancelled() {
            self.cancelled += 1;
        } else {
            self.failed += 1;
        }
    }
}

/// By how many tokens a server's cached tokens may be off: engines round to their own blocks, and a chat template
/// shifts where those begin.
#[must_use]
pub fn cached_tolerance(chunk_size: u64) -> u64 {
    chunk_size.max(TEMPLATE_ALLOWANCE_TOKENS)
}

/// Every reason to look twice at the test.
#[must_use]
pub fn doubts(evidence: &Evidence<'_>) -> Vec<Doubt> {
    let requests = evidence.requests;
    let tolerance = requests.cached_tolerance();
    let mut doubts = Vec::new();
    let mut say = |kind, text: String| {
        doubts.push(Doubt {
            test: TestName::new(evidence.key.context_size, evidence.key.cache_hit_rate)
                .with_working_set(evidence.key.working_set_size),
            kind,
            text,
        });
    };
    if !evidence.passed {
        say(
            DoubtKind::NoLevelPassed,
            format!(
                "no concurrency level held the thresholds; the row describes the least bad one, {}",
                evidence.key.peak_concurrency
            ),
        );
    }
    if let Some(cold) = requests.cold().filter(ColdCheck::is_warm) {
        say(
            DoubtKind::WarmCold,
            format!(
                "{} of {} requests meant to be cold were served from the server's cache, up to {} tokens: this 0% is not one. \
             A server that still holds an earlier run with the same --seed does this; restart it, or leave --seed out",
                cold.n_warm, cold.n, cold.most_cached
            ),
        );
    }
    if evidence.key.cache_hit_rate > 0
        && let Some(cached) = requests
            .cached()
            .filter(|c| c.n_mismatched as f64 > SHARE_WORTH_A_WORD * c.n as f64)
    {
        let is_short = cached.highest <= i64::try_from(tolerance).unwrap_or(i64::MAX);
        let why = match evidence.key.working_set_size {
            // Where the set's size is what varies, this is the finding.
            Some(size) if is_short => format!(
                "the cache no longer holds all of the working set of {size}, or prompts that joined it were cold at \
                 first. Where the set should fit, the server's blocks are larger than --chunk-size or other \
                 requests use its cache"
            ),
            Some(_) | None => {
                "prompts were evicted, or the server's blocks are larger than --chunk-size"
                    .to_owned()
            }
        };
        say(
            DoubtKind::HitRateOffTarget,
            format!(
                "the server's cached tokens miss the intended ones by more than {tolerance} in {} of {} requests \
                 (from {} to {:+}): {why}",
                cached.n_mismatched, cached.n, cached.lowest, cached.highest
            ),
        );
    }
    if let Some(prompts) = requests.prompts().filter(|p| p.exceeded) {
        say(
            DoubtKind::PromptTokens,
            format!(
                "the server counts {:.0} prompt tokens where {:.0} were sent (medians): is --tokenizer the server's own?",
                prompts.reported_median, prompts.expected_median
            ),
        );
    }
    let (n, uncounted) = (requests.n(), requests.n_uncounted());
    if uncounted > 0 {
        say(
            DoubtKind::NoUsage,
            format!(
                "the server sent no token counts for {uncounted} of {n} requests; their output tokens were counted here"
            ),
        );
    }
    let FailedCounts { failed, cancelled } = evidence.failed;
    if failed > 0 {
        say(
            DoubtKind::Failures,
            format!(
                "{failed} of {} requests failed; failed_requests_*.csv lists them",
                n + failed
            ),
        );
    }
    if cancelled > 0 {
        say(
            DoubtKind::Cancelled,
            format!(
                "{cancelled} requests were still running when the drain after their window ended and were cancelled; \
             latencies leave them out, which flatters slow levels"
            ),
        );
    }
    doubts
}

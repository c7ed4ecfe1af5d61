//! What casts doubt on a run's figures. The list is empty only when nothing was found.

mod prompt;
mod trace;

use std::collections::{BTreeMap, BTreeSet};

use metrics::selfcheck::{TEMPLATE_ALLOWANCE_TOKENS, check_cached, check_cold};
use metrics::{Completed as _, FailureKind, Sample, SummaryRow};

use super::config::{integers, mode};
use super::figure::{exactly, plural, total};
use super::headline::{Kept, kept};
use super::inventory::{Inventory, RunKind};
use crate::chart::{count, fixed, some_of};
use crate::data::{DataWarning, RunData};
use crate::test_name::TestName;

/// One doubt: what was found, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) what: String,
    pub(super) meaning: &'static str,
}

/// A 95th percentile of fewer samples is close to their maximum.
const FEW_SAMPLES: u64 = 20;

/// A client that sends later than planned by more than this, at the 99th percentile, blurs TTFT.
const LATE_SEND_SECONDS: f64 = 0.010;

/// Tokens that question and chat template add to a prompt, at most.
const PROMPT_OVERHEAD: u64 = 128;

/// Block size taken where a run does not tell its own.
const DEFAULT_CHUNK: u64 = 256;

pub(super) fn findings(data: &RunData, inventory: &Inventory, kind: RunKind) -> Vec<Finding> {
    let mut out = Vec::new();
    for DataWarning { file, message } in &data.warnings {
        out.push(finding(
            format!("{file}: {message}"),
            "What could not be read is missing from this page and its charts.",
        ));
    }
    if let Some(list) = data
        .facts
        .as_ref()
        .and_then(|f| f.sections.get("warnings"))
        .and_then(serde_json::Value::as_array)
    {
        for text in list.iter().filter_map(serde_json::Value::as_str) {
            out.push(finding(
                text.to_owned(),
                "Noted by the program while it measured.",
            ));
        }
    }
    if kind == RunKind::Combined {
        return out;
    }
    if kind == RunKind::SinglePrompt && !data.single_prompt.is_empty() {
        prompt::findings(data, &mut out);
        return out;
    }
    if let (RunKind::TraceReplay, Some(trace)) = (kind, &data.trace) {
        trace::findings(trace, &mut out);
        return out;
    }
    if data.summary.is_empty() && data.periods.is_empty() {
        out.push(finding(
            "No results were found in this directory.".to_owned(),
            "There is nothing to judge.",
        ));
    }
    failures(data, &mut out);
    thresholds(data, &mut out);
    missing(data, &mut out);
    hit_rates(data, &mut out);
    lag(data, inventory, &mut out);
    client(data, &mut out);
    samples(data, &mut out);
    out
}

/// What was looked at and what these files do not tell; silence is no proof.
pub(super) fn checked(data: &RunData, kind: RunKind) -> String {
    match kind {
        RunKind::Combined => {
            return "This page compares runs; the doubts about each stand on the run's own page."
                .to_owned();
        }
        RunKind::SinglePrompt => return prompt::checked(data),
        RunKind::TraceReplay => return trace::checked(data.trace.as_ref()).to_owned(),
        RunKind::CacheRate | RunKind::WorkingSet | RunKind::Sustained => {}
    }
    if data.summary.is_empty() && data.periods.is_empty() {
        return "There were no figures to check.".to_owned();
    }
    let mut looked = vec!["readable files", "thresholds", "number of samples"];
    let mut unknown = Vec::new();
    let mut sort = |known: bool, what: &'static str| {
        if known {
            looked.push(what);
        } else {
            unknown.push(what);
        }
    };
    let records = || {
        data.summary
            .iter()
            .flat_map(|row| data.samples(TestName::from(row)).iter())
    };
    sort(
        data.phases.iter().any(|p| p.num_requests_failed.is_some()),
        "failed and cancelled requests",
    );
    sort(
        data.summary
            .iter()
            .any(|r| r.reported_cache_hit_rate.is_some())
            || records().any(|r| r.reported_cached_tokens().is_some()),
        "cached tokens reported by the server",
    );
    sort(
        records().any(|r| r.send_delay().is_some()),
        "late sends of the client",
    );
    sort(
        data.summary.iter().any(|r| r.client_limited.is_some()),
        "whether the client limits a result",
    );
    let mut text = format!("Checked: {}.", looked.join(", "));
    if !unknown.is_empty() {
        text.push_str(&format!(
            " Not in these files, so not checked: {}.",
            unknown.join(", ")
        ));
    }
    text
}

fn finding(what: String, meaning: &'static str) -> Finding {
    Finding { what, meaning }
}

/// `800 tokens at 50%`.
fn name(test: TestName) -> String {
    let set = test
        .working_set_size
        .map(|w| format!(", working set {}", count(w)))
        .unwrap_or_default();
    format!(
        "{} tokens{set} at {}%",
        count(test.context_size),
        test.cache_hit_rate
    )
}

/// The first few of many tests.
fn some(tests: &[TestName]) -> String {
    some_of(tests.iter().map(|t| name(*t)), tests.len() as u64)
}

fn failures(data: &RunData, out: &mut Vec<Finding>) {
    let mut kinds: BTreeMap<FailureKind, u64> = BTreeMap::new();
    let mut tests: Vec<TestName> = Vec::new();
    for (test, counts) in &data.failed {
        for (kind, n) in counts {
            let all = kinds.entry(*kind).or_insert(0);
            *all = all.saturating_add(*n);
        }
        if counts.keys().any(|kind| *kind != FailureKind::Cancelled) {
            tests.push(*test);
        }
    }
    let mut cancelled = kinds.remove(&FailureKind::Cancelled).unwrap_or(0);
    let mut failed = total(kinds.values().copied());
    let by_kind: Vec<String> = kinds
        .iter()
        .map(|(kind, n)| format!("{} {kind}", count(*n)))
        .collect();
    let mut detail = if by_kind.is_empty() {
        String::new()
    } else {
        format!(" ({})", by_kind.join(", "))
    };
    if data.failed.is_empty() {
        failed = total(data.phases.iter().filter_map(|p| p.num_requests_failed));
        cancelled = total(data.phases.iter().filter_map(|p| p.num_requests_cancelled));
        tests = data
            .phases
            .iter()
            .filter(|p| p.num_requests_failed.is_some_and(|n| n > 0))
            .map(TestName::from)
            .collect();
        tests.dedup();
        detail = String::new();
    }
    if failed > 0 {
        let text = format!(
            "{} failed{detail}: {}.",
            plural(failed, "request", "requests"),
            some(&tests)
        );
        out.push(finding(
            text,
            "Failed requests are in no latency figure; throughput counts only what was completed.",
        ));
    }
    let launched = total(data.phases.iter().map(|p| p.num_requests_launched));
    if cancelled > 0 {
        let share = if launched > 0 {
            format!(
                " ({}% of those launched)",
                fixed(100.0 * exactly(cancelled) / exactly(launched), 1)
            )
        } else {
            String::new()
        };
        out.push(finding(
            format!("{} still running at the drain limit of a window and cancelled{share}.", plural(cancelled, "request was", "requests were")),
            "Their tokens inside the window count; their latencies are unknown, so slow requests are under-represented.",
        ));
    }
}

fn thresholds(data: &RunData, out: &mut Vec<Finding>) {
    let broken: Vec<TestName> = data
        .summary
        .iter()
        .filter(|r| kept(data, r) == Kept::No)
        .map(TestName::from)
        .collect();
    if !broken.is_empty() {
        let n = broken.len() as u64;
        if data.is_only_sustained() {
            out.push(finding(
                format!("{} above the threshold: {}.", plural(n, "test is", "tests are"), some(&broken)),
                "The concurrency follows the threshold, and part of the test lies above it; no throughput of the whole test is a result under the threshold.",
            ));
            return;
        }
        out.push(finding(
            format!("{} above the threshold at the peak level: {}.", plural(n, "test is", "tests are"), some(&broken)),
            "Either no level kept the threshold or the repeated windows were slower than the first; their throughput is not a result under the threshold.",
        ));
    }
}

/// Tests that were asked for and have no row. A file may plan any number of them: they are counted, not listed.
fn missing(data: &RunData, out: &mut Vec<Finding>) {
    let distinct = |key: &str| -> Vec<u64> {
        let values: BTreeSet<u64> = integers(data, key).into_iter().collect();
        values.into_iter().collect()
    };
    let contexts = distinct("context_sizes");
    let rates = distinct("cache_hit_rates");
    let rates: Vec<u32> = rates.into_iter().flat_map(u32::try_from).collect();
    let sizes = distinct("working_set_sizes");
    // One sustained test grows through the sizes, perhaps not to the last, and is called after its largest.
    let grows = mode(data).as_deref() == Some("sustained");
    let sets: Vec<Option<u64>> = match sizes.last() {
        None => vec![None],
        Some(largest) if grows => vec![Some(*largest)],
        Some(_) => sizes.into_iter().map(Some).collect(),
    };
    let planned = |test: &TestName| {
        contexts.binary_search(&test.context_size).is_ok()
            && rates.binary_search(&test.cache_hit_rate).is_ok()
            && sets.contains(&test.working_set_size)
    };
    let rows = data.summary.iter().map(TestName::from);
    let have: BTreeSet<TestName> = rows
        .chain(data.finished_sustained().map(|(test, _)| *test))
        .map(|test| match grows {
            true => test.with_working_set(sets.first().copied().flatten()),
            false => test,
        })
        .filter(planned)
        .collect();
    let n = |values: usize| values as u128;
    let all = n(contexts.len()) * n(sets.len()) * n(rates.len());
    let n_absent = u64::try_from(all - n(have.len())).unwrap_or(u64::MAX);
    if n_absent > 0 {
        let tests = contexts.iter().flat_map(|context| {
            let of_set = move |set: &Option<u64>| (*context, *set);
            let pairs = sets.iter().map(of_set);
            pairs.flat_map(|(context, set)| {
                let name = move |rate: &u32| TestName::new(context, *rate).with_working_set(set);
                rates.iter().map(name)
            })
        });
        let absent = tests.filter(|test| !have.contains(test));
        out.push(finding(
            format!(
                "{} no result: {}.",
                plural(n_absent, "planned test has", "planned tests have"),
                some_of(absent.map(name), n_absent)
            ),
            "The run was not finished, or these tests failed; the same command goes on where it stopped.",
        ));
    }
}

fn hit_rates(data: &RunData, out: &mut Vec<Finding>) {
    let chunk = data
        .parameter("chunk_size")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or(DEFAULT_CHUNK)
        .max(1);
    let mut off: Vec<(TestName, String)> = Vec::new();
    // Where the size of the set is what varies, a cache that does not hold it is no fault.
    let mut short: Vec<(TestName, String)> = Vec::new();
    let mut warm: Vec<TestName> = Vec::new();
    for row in &data.summary {
        let test = TestName::from(row);
        let records = data.samples(test);
        let at_peak: Vec<&Sample> = records
            .iter()
            .filter(|r| r.concurrency_level() == row.peak_concurrency)
            .collect();
        if check_cold(
            at_peak.iter().copied(),
            TEMPLATE_ALLOWANCE_TOKENS.max(chunk),
        )
        .is_some_and(|c| c.is_warm())
        {
            warm.push(test);
        } else if let Some(check) = check_cached(at_peak.iter().copied(), chunk - 1) {
            // A few requests may meet an eviction; a figure is off when more than one in fifty does.
            if check.n_mismatched * 50 > check.n {
                let by = if check.lowest == check.highest {
                    check.lowest.to_string()
                } else {
                    format!("{} to {}", check.lowest, check.highest)
                };
                let n = format!(
                    "{} of {} requests off by {by} tokens",
                    count(check.n_mismatched as u64),
                    count(check.n as u64),
                );
                let is_short = check.highest <= i64::try_from(chunk).unwrap_or(i64::MAX);
                if is_short && test.working_set_size.is_some() {
                    short.push((test, n));
                } else {
                    off.push((test, n));
                }
            }
        } else if let Some(text) = off_by_summary(row, chunk) {
            off.push((test, text));
        }
    }
    if !warm.is_empty() {
        out.push(finding(
            format!("Prompts meant to be cold were answered from the cache: {}.", some(&warm)),
            "The 0% tests are faster than a cold server; restart the server or use another seed, then measure again.",
        ));
    }
    let list = |what: &str, off: &[(TestName, String)]| {
        let tests: Vec<TestName> = off.iter().map(|o| o.0).collect();
        let n = plural(off.len() as u64, "test", "tests");
        format!("{what} in {n}: {} (first: {}).", some(&tests), off[0].1)
    };
    if !off.is_empty() {
        out.push(finding(
            list("Achieved cache hit rate off target", &off),
            "Points stand at the rate that was meant. More cached than meant: prompts were seen before. Less: blocks were evicted, or the server caches in larger blocks.",
        ));
    }
    if !short.is_empty() {
        out.push(finding(
            list("Less of the working set was cached than meant", &short),
            "The cache did not hold all of it: for sets beyond its capacity this is the finding. Prompts that join a growing set are cold at first. Where the set should fit, the server caches in larger blocks, or others use its cache.",
        ));
    }
}

/// Judges the summary's own figure where no detail rows are at hand.
fn off_by_summary(row: &SummaryRow, chunk: u64) -> Option<String> {
    let reported = row.reported_cache_hit_rate?;
    let context = row.context_size.max(1);
    let cached = match row.cache_hit_rate {
        100 => context.div_ceil(chunk).saturating_mul(chunk),
        rate => context.saturating_mul(u64::from(rate)) / 100 / chunk * chunk,
    };
    let sent = if row.cache_hit_rate == 100 {
        cached
    } else {
        context
    };
    let expected = exactly(cached) / exactly(sent);
    // Question and chat template lengthen the prompt, and the template may be cached too; beyond that
    // a mean may be off by half a block.
    let half_block = exactly(chunk) / 2.0 / exactly(sent);
    let low = exactly(cached) / exactly(sent.saturating_add(PROMPT_OVERHEAD)) - half_block;
    let high =
        exactly(cached.saturating_add(TEMPLATE_ALLOWANCE_TOKENS)) / exactly(sent) + half_block;
    (!(low..=high).contains(&reported)).then(|| {
        format!(
            "{}% reported, {}% meant",
            fixed(reported * 100.0, 1),
            fixed(expected * 100.0, 1)
        )
    })
}

fn lag(data: &RunData, inventory: &Inventory, out: &mut Vec<Finding>) {
    let mut delays: Vec<f64> = data
        .summary
        .iter()
        .flat_map(|row| data.samples(TestName::from(row)).iter())
        .filter_map(Sample::send_delay)
        .collect();
    delays.sort_by(f64::total_cmp);
    if let Some(p99) = metrics::percentile::percentile(&delays, 0.99)
        && p99 > LATE_SEND_SECONDS
    {
        out.push(finding(
            format!("The client sent late: 1% of requests left more than {} ms after their slot was free.", fixed(p99 * 1000.0, 1)),
            "This machine was busy; levels were held less tightly than meant and latencies may include the client's own delay.",
        ));
    }
    let unread = inventory.detail_bytes() > super::DETAIL_BYTES_WORTH_READING && delays.is_empty();
    if unread {
        out.push(finding(
            "Detail rows were not read for this page because their files are large.".to_owned(),
            "Client lag and the cached tokens of single requests were not checked.",
        ));
    }
}

/// Results whose files say that the client limits them. Those of this run were noted while it measured, with the
/// cause; of a run that was gone on with, the summary alone knows the earlier ones.
fn client(data: &RunData, out: &mut Vec<Finding>) {
    let doubts = data.facts.as_ref().and_then(|f| f.sections.get("doubts"));
    let doubts = doubts.and_then(serde_json::Value::as_array);
    let noted = |test: TestName| {
        doubts.into_iter().flatten().any(|doubt| {
            (doubt["kind"] == "client_limited" || doubt["kind"] == "search_limited")
                && doubt["context_size"].as_u64() == Some(test.context_size)
                && doubt["cache_hit_rate"].as_u64() == Some(u64::from(test.cache_hit_rate))
                && doubt["working_set_size"].as_u64() == test.working_set_size
        })
    };
    let limited: Vec<TestName> = data
        .summary
        .iter()
        .filter(|row| row.client_limited == Some(true))
        .map(TestName::from)
        .filter(|test| !noted(*test))
        .collect();
    if !limited.is_empty() {
        let n = limited.len() as u64;
        out.push(finding(
            format!("{} limited by the client: {}.", plural(n, "test is", "tests are"), some(&limited)),
            "Their figures say more of the measuring machine than of the server, which may do better; client_health_*.csv has the cause.",
        ));
    }
}

fn samples(data: &RunData, out: &mut Vec<Finding>) {
    let few: Vec<TestName> = data
        .summary
        .iter()
        .filter(|r| r.total_requests < FEW_SAMPLES)
        .map(TestName::from)
        .collect();
    if !few.is_empty() {
        let n = few.len() as u64;
        out.push(finding(
            format!("Fewer than {FEW_SAMPLES} requests behind {}: {}.", plural(n, "test", "tests"), some(&few)),
            "With so few samples the 95th and 99th percentile are little else than the slowest request; longer windows help.",
        ));
    }
}

//! Files against each other: rows, phases and summary tell the same story.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use metrics::schema::{FailedRow, RowReader};
use metrics::window::{WindowSample, prorated_throughput};
use metrics::{FailureKind, PhaseRow, PhaseSample, RequestRecord, SummaryRow, TestKey, summarise};
use serde_json::Value;

use super::{Findings, Validation, agree, periods};
use crate::data::RunData;
use crate::data::open::for_each_row;
use crate::data::source::{PhaseSpans, Selected, newest_per_test};
use crate::files::{DataFiles, FileKind};
use crate::test_name::TestName;

pub(super) fn check(data: &RunData, files: &DataFiles, found: &mut Validation) {
    found.counts.tests = data.summary.len();
    let strict = data.parameter("strict_time_window") == Some(&Value::Bool(true));
    let failed = failed_by_phase(data, files);
    let phases_file = newest_name(files, FileKind::Phases);
    let summary_file = data.summary_file.clone().unwrap_or_default();
    for row in &data.summary {
        let test = TestName::from(row);
        let phases: Vec<&PhaseRow> = data.phases_of(test).collect();
        found.counts.phases += phases.len();
        if let Some(periods) = data.periods.get(&test) {
            periods::check(data, row, periods, &failed, found);
            continue;
        }
        if phases.is_empty() {
            found.error(&summary_file, format!("test {test} has no phases"));
            continue;
        }
        let details_file = newest_name(files, FileKind::Detail(test.context_size));
        let by_phase = group(data.details(test));
        check_orphans(
            test,
            &phases,
            &by_phase,
            &mut Findings::of(found, &details_file),
        );
        let mut findings = Findings::of(found, &phases_file);
        for phase in &phases {
            let records = by_phase.get(phase.phase_id.as_str());
            let records = records.map_or(&[][..], Vec::as_slice);
            check_phase(test, phase, records, &failed, &mut findings);
        }
        drop(findings);
        let samples: Vec<PhaseSample<'_>> = phases
            .iter()
            .map(|phase| {
                let records = by_phase.get(phase.phase_id.as_str());
                let records = records.into_iter().flatten().copied();
                if strict {
                    PhaseSample::strict(phase, records)
                } else {
                    PhaseSample::new(phase, records)
                }
            })
            .collect();
        check_summary(row, &samples, &mut Findings::of(found, &summary_file));
    }
}

/// Name to blame: the newest file of a kind.
fn newest_name(files: &DataFiles, kind: FileKind) -> String {
    let newest = files.of_kind(kind).next_back();
    newest.map_or_else(|| ".".to_owned(), |file| file.name.clone())
}

fn group(records: &[RequestRecord]) -> HashMap<&str, Vec<&RequestRecord>> {
    let mut by_phase: HashMap<&str, Vec<&RequestRecord>> = HashMap::new();
    for record in records {
        by_phase
            .entry(&*record.intent.phase_id)
            .or_default()
            .push(record);
    }
    by_phase
}

/// Every row belongs to a phase of its test.
fn check_orphans(
    test: TestName,
    phases: &[&PhaseRow],
    by_phase: &HashMap<&str, Vec<&RequestRecord>>,
    findings: &mut Findings<'_>,
) {
    let known: BTreeSet<&str> = phases.iter().map(|row| row.phase_id.as_str()).collect();
    let present: BTreeSet<&str> = by_phase.keys().copied().collect();
    for phase_id in present.difference(&known) {
        findings
            .error(|| format!("test {test} has rows of phase {phase_id}, which no phase file has"));
    }
    for phase in phases {
        let records = by_phase.get(phase.phase_id.as_str());
        for record in records.into_iter().flatten() {
            let level = record.intent.concurrency_level;
            findings.expect(level == phase.concurrency_level, || {
                format!(
                    "request {} of test {test} has level {level}, its phase {}",
                    record.intent.request_id, phase.concurrency_level
                )
            });
        }
    }
}

pub(super) type FailedByPhase = HashMap<(TestName, String), BTreeMap<FailureKind, u64>>;

fn check_phase(
    test: TestName,
    phase: &PhaseRow,
    records: &[&RequestRecord],
    failed: &FailedByPhase,
    findings: &mut Findings<'_>,
) {
    let id = &phase.phase_id;
    let n_rows = records.len() as u64;
    findings.expect(n_rows == phase.num_requests_completed, || {
        format!(
            "phase {id} of {test}: {} requests completed and {n_rows} rows",
            phase.num_requests_completed
        )
    });
    let kinds = failed.get(&(test, id.clone()));
    let n_of = |is_cancelled: bool| -> u64 {
        let kinds = kinds.into_iter().flatten();
        kinds
            .filter(|(kind, _)| (**kind == FailureKind::Cancelled) == is_cancelled)
            .map(|(_, n)| n)
            .sum()
    };
    for (what, stored, rows) in [
        ("failed", phase.num_requests_failed, n_of(false)),
        ("cancelled", phase.num_requests_cancelled, n_of(true)),
    ] {
        findings.expect(stored.is_none_or(|stored| stored == rows), || {
            format!(
                "phase {id} of {test}: {} requests {what} and {rows} rows",
                stored.unwrap_or_default()
            )
        });
    }
    if phase.was_broken_off() {
        return;
    }
    // The share of cancelled requests is in no file, so only phases without any can be recomputed.
    let cancelled = phase.num_requests_cancelled;
    if let (Some(first_launch), Some(planned), Some(0)) =
        (phase.window_start_time, phase.window_duration, cancelled)
    {
        let records: Vec<RequestRecord> = records.iter().map(|r| (*r).clone()).collect();
        let rates = prorated_throughput(&WindowSample {
            first_launch,
            planned,
            records: &records,
            failed: &[],
        });
        for (name, stored, computed) in [
            (
                "window_input_tokens_per_sec",
                phase.window_input_tokens_per_sec,
                rates.input_tps,
            ),
            (
                "window_output_tokens_per_sec",
                phase.window_output_tokens_per_sec,
                rates.output_tps,
            ),
        ] {
            findings.expect(stored.is_some_and(|stored| agree(stored, computed)), || {
                format!("phase {id} of {test}: {name} is {stored:?}, the rows give {computed}")
            });
        }
    }
}

/// The stored row against the one that the rows and phases give.
fn check_summary(row: &SummaryRow, samples: &[PhaseSample<'_>], findings: &mut Findings<'_>) {
    let computed = summarise(
        &TestKey {
            context_size: row.context_size,
            working_set_size: row.working_set_size,
            cache_hit_rate: row.cache_hit_rate,
            model: row.model.clone(),
            peak_concurrency: row.peak_concurrency,
        },
        samples,
    );
    compare_summary(row, &computed, findings);
}

/// The stored row against the one that was computed anew.
pub(super) fn compare_summary(
    row: &SummaryRow,
    computed: &SummaryRow,
    findings: &mut Findings<'_>,
) {
    let test = TestName::from(row);
    for ((name, stored), (_, expected)) in figures(row).into_iter().zip(figures(computed)) {
        let same = match (stored, expected) {
            (Some(stored), Some(expected)) => agree(stored, expected),
            (None, None) => true,
            _ => false,
        };
        findings.expect(same, || {
            format!("test {test}: {name} is {stored:?}, the rows give {expected:?}")
        });
    }
}

fn figures(row: &SummaryRow) -> [(&'static str, Option<f64>); 23] {
    let count = |n: u64| Some(n as f64);
    [
        ("input_tokens_per_sec", Some(row.input_tokens_per_sec)),
        ("output_tokens_per_sec", Some(row.output_tokens_per_sec)),
        ("avg_ttft", row.avg_ttft),
        ("median_ttft", row.median_ttft),
        ("p95_ttft", row.p95_ttft),
        ("p99_ttft", row.p99_ttft),
        ("avg_ttlt", row.avg_ttlt),
        ("median_ttlt", row.median_ttlt),
        ("p95_ttlt", row.p95_ttlt),
        ("p99_ttlt", row.p99_ttlt),
        ("avg_output_tokens", row.avg_output_tokens),
        ("avg_itl", row.avg_itl),
        ("median_itl", row.median_itl),
        ("p95_itl", row.p95_itl),
        ("p99_itl", row.p99_itl),
        ("total_requests", count(row.total_requests)),
        ("test_duration", Some(row.test_duration)),
        (
            "window_input_tokens_per_sec",
            row.window_input_tokens_per_sec,
        ),
        (
            "window_output_tokens_per_sec",
            row.window_output_tokens_per_sec,
        ),
        ("measured_duration", row.measured_duration),
        ("total_input_tokens", row.total_input_tokens.and_then(count)),
        (
            "total_output_tokens",
            row.total_output_tokens.and_then(count),
        ),
        ("reported_cache_hit_rate", row.reported_cache_hit_rate),
    ]
}

/// Failed requests of every phase, by kind, from the newest file of the context that has any.
fn failed_by_phase(data: &RunData, files: &DataFiles) -> FailedByPhase {
    let spans = PhaseSpans::of(&data.phases, &data.periods);
    let mut counts = FailedByPhase::new();
    for context in files.failed_contexts() {
        let newest_first = files.of_kind(FileKind::Failed(context)).rev();
        // Broken rows were reported when the file was checked by itself.
        let mut scratch = Vec::new();
        let selected: BTreeMap<TestName, Selected<Vec<(String, FailureKind)>>> =
            newest_per_test(newest_first, None, false, |file, take| {
                for_each_row(file, &mut scratch, RowReader::new, |row: FailedRow| {
                    let test = spans.test_at(context, &row.phase_id, row.launch_time);
                    if let Some(test) = test {
                        take(test, true, (row.phase_id, row.kind));
                    }
                });
            });
        for (test, selected) in selected {
            for (phase_id, kind) in selected.rows {
                let of_phase = counts.entry((test, phase_id)).or_default();
                *of_phase.entry(kind).or_insert(0) += 1;
            }
        }
    }
    counts
}

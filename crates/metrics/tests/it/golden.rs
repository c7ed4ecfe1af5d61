//! The files of the Python originals: every version is read, and their numbers come out again.

use std::collections::BTreeMap;
use std::io::Read as _;

use metrics::phase::newest_phases;
use metrics::schema::{
    DetailWriter, RowWriter, read_detail, read_detail_without_lists, read_periods, read_phases,
    read_summary,
};
use metrics::window::prorated_throughput;
use metrics::{
    PhaseRow, PhaseSample, RequestRecord, SummaryRow, TestKey, WindowSample, retry_metrics,
    summarise,
};

use crate::support::{assert_close, assert_option_close, data, data_path};

/// One directory of results: newest summary, all phase files, newest detail file per context.
struct Run {
    summary: Vec<SummaryRow>,
    phases: Vec<PhaseRow>,
    detail: Vec<RequestRecord>,
}

fn run(dir: &str, summary: &str, phases: &[&str], detail: &[&str]) -> Run {
    let path = |kind: &str, stamp: &str| format!("{dir}/{kind}_{stamp}.csv");
    Run {
        summary: read_summary(data(&path("summary", summary))).unwrap(),
        phases: newest_phases(
            phases
                .iter()
                .flat_map(|s| read_phases(data(&path("phase_metadata", s))).unwrap()),
        ),
        detail: detail
            .iter()
            .flat_map(|s| {
                read_detail(data(&path("detailed_results", s)))
                    .unwrap()
                    .map(Result::unwrap)
            })
            .collect(),
    }
}

fn ramp() -> Run {
    run(
        "cache_rate_ramp",
        "20261122_010944",
        &["20261122_010848", "20261122_010944"],
        &["1000_20261122_010944"],
    )
}

fn fixed() -> Run {
    run(
        "cache_rate_fixed",
        "20261122_011308",
        &["20261122_011124", "20261122_011308"],
        &["1000_20261122_011308"],
    )
}

fn working_set_fixed() -> Run {
    let phases = [
        "20261122_011157",
        "20261122_011215",
        "20261122_011233",
        "20261122_011252",
    ];
    run(
        "working_set_fixed",
        "20261122_011252",
        &phases,
        &["512_20261122_011252"],
    )
}

fn run_a() -> Run {
    let phases = [
        "20261122_011438",
        "20261122_011443",
        "20261122_011447",
        "20261122_011529",
        "20261122_011536",
        "20261122_011543",
    ];
    run(
        "combine/run_a",
        "20261122_011543",
        &phases,
        &["800_20261122_011447", "1600_20261122_011543"],
    )
}

fn run_b() -> Run {
    let phases = ["20261122_012458", "20261122_012505", "20261122_012512"];
    run(
        "combine/run_b",
        "20261122_012512",
        &phases,
        &["800_20261122_012511"],
    )
}

/// Requests of a phase of a test, found as the report tools find them.
fn requests_of<'a>(run: &'a Run, phase: &PhaseRow) -> Vec<&'a RequestRecord> {
    run.detail
        .iter()
        .filter(|r| {
            *r.intent.phase_id == *phase.phase_id
                && phase.is_of_test(
                    r.intent.context_size,
                    r.intent.working_set_size,
                    r.intent.cache_hit_rate,
                )
        })
        .collect()
}

fn recomputed(run: &Run, stored: &SummaryRow) -> SummaryRow {
    let phases: Vec<PhaseSample<'_>> = run
        .phases
        .iter()
        .filter(|p| {
            p.is_of_test(
                stored.context_size,
                stored.working_set_size,
                stored.cache_hit_rate,
            )
        })
        .map(|p| PhaseSample::new(p, requests_of(run, p)))
        .collect();
    let key = TestKey {
        context_size: stored.context_size,
        working_set_size: stored.working_set_size,
        cache_hit_rate: stored.cache_hit_rate,
        model: stored.model.clone(),
        peak_concurrency: stored.peak_concurrency,
    };
    summarise(&key, &phases)
}

#[test]
fn stored_summaries_follow_from_detail_and_phase_files() {
    let runs = [
        ("ramp", ramp(), 2),
        ("fixed", fixed(), 2),
        ("working set fixed", working_set_fixed(), 4),
        ("run a", run_a(), 6),
        ("run b", run_b(), 3),
    ];
    for (name, run, n_rows) in runs {
        assert_eq!(run.summary.len(), n_rows, "{name}");
        for stored in &run.summary {
            let ours = recomputed(&run, stored);
            let what = format!(
                "{name}, context {}, rate {}",
                stored.context_size, stored.cache_hit_rate
            );
            for (column, ours, stored) in [
                (
                    "input",
                    ours.input_tokens_per_sec,
                    stored.input_tokens_per_sec,
                ),
                (
                    "output",
                    ours.output_tokens_per_sec,
                    stored.output_tokens_per_sec,
                ),
                ("duration", ours.test_duration, stored.test_duration),
            ] {
                assert_close(ours, stored, 1e-9, &format!("{what}: {column}"));
            }
            for (column, ours, stored) in [
                ("avg_ttft", ours.avg_ttft, stored.avg_ttft),
                ("median_ttft", ours.median_ttft, stored.median_ttft),
                ("p95_ttft", ours.p95_ttft, stored.p95_ttft),
                ("p99_ttft", ours.p99_ttft, stored.p99_ttft),
                ("avg_ttlt", ours.avg_ttlt, stored.avg_ttlt),
                ("median_ttlt", ours.median_ttlt, stored.median_ttlt),
                ("p95_ttlt", ours.p95_ttlt, stored.p95_ttlt),
                ("p99_ttlt", ours.p99_ttlt, stored.p99_ttlt),
                ("speed", ours.avg_output_tokens, stored.avg_output_tokens),
                ("avg_itl", ours.avg_itl, stored.avg_itl),
                ("median_itl", ours.median_itl, stored.median_itl),
                ("p95_itl", ours.p95_itl, stored.p95_itl),
                ("p99_itl", ours.p99_itl, stored.p99_itl),
            ] {
                assert!(stored.is_some(), "{what}: {column} is in the file");
                assert_option_close(ours, stored, 1e-9, &format!("{what}: {column}"));
            }
            assert_eq!(ours.total_requests, stored.total_requests, "{what}");
            // What the originals did not store cannot be made up from their files.
            assert_eq!(ours.window_input_tokens_per_sec, None);
            assert_eq!(ours.measured_duration, None);
            assert_eq!(ours.reported_cache_hit_rate, None);
        }
    }
}

#[test]
fn retry_metrics_equal_the_expected_table() {
    let runs: BTreeMap<&str, Run> = [("run_a", run_a()), ("run_b", run_b())].into();
    let mut expected = String::new();
    data("combine/expected/retry_metrics.csv")
        .read_to_string(&mut expected)
        .unwrap();
    let mut n = 0;
    for line in expected.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |index: usize| cells[index].parse::<f64>().unwrap();
        let run = &runs[cells[0]];
        let summary = run
            .summary
            .iter()
            .find(|s| {
                s.context_size == number(1) as u64 && f64::from(s.cache_hit_rate) == number(2)
            })
            .unwrap();
        assert_eq!(f64::from(summary.peak_concurrency), number(3));
        let ours = retry_metrics(summary, &run.phases, &run.detail, false);
        assert_close(ours.input.mean, number(4), 1e-9, line);
        assert_close(ours.output.mean, number(5), 1e-9, line);
        assert_option_close(ours.avg_ttft, Some(number(6)), 1e-9, line);
        assert_option_close(ours.median_ttft, Some(number(7)), 1e-9, line);
        assert_option_close(ours.p95_ttft, Some(number(8)), 1e-9, line);
        assert_option_close(ours.p99_ttft, Some(number(9)), 1e-9, line);
        assert_eq!(ours.source, metrics::retry::RateSource::PhaseDuration);
        assert!(ours.input.min <= ours.input.mean && ours.input.mean <= ours.input.max);
        assert!(!ours.pause_removed);
        n += 1;
    }
    assert_eq!(n, 9);
    // The refinement at the peak and the retry, and no other window.
    let run = &runs["run_a"];
    let summary = run
        .summary
        .iter()
        .find(|s| s.context_size == 1600 && s.cache_hit_rate == 50)
        .unwrap();
    assert_eq!(
        retry_metrics(summary, &run.phases, &run.detail, false).n_phases,
        2
    );
}

#[test]
fn the_pause_of_old_fixed_runs_is_taken_out() {
    let run = fixed();
    for summary in &run.summary {
        let ours = retry_metrics(summary, &run.phases, &run.detail, false);
        assert!(ours.pause_removed);
        // Start of the phase to first launch is the only difference left.
        assert_close(ours.input.mean, summary.input_tokens_per_sec, 0.05, "input");
    }
}

#[test]
fn window_accounting_reads_somewhat_higher_than_the_published_rate() {
    // 1 to 10 % above the stored summaries on this run of 10 s windows.
    let run = ramp();
    for summary in &run.summary {
        let rates: Vec<f64> = run
            .phases
            .iter()
            .filter(|p| p.concurrency_level == summary.peak_concurrency)
            .filter(|p| p.cache_hit_rate == summary.cache_hit_rate)
            .map(|phase| {
                let records: Vec<RequestRecord> =
                    requests_of(&run, phase).into_iter().cloned().collect();
                let window = WindowSample::starting_at_first_launch(10.0, &records, &[]);
                prorated_throughput(&window).input_tps
            })
            .collect();
        assert_eq!(rates.len(), 3);
        let ratio = rates.iter().sum::<f64>() / 3.0 / summary.input_tokens_per_sec;
        assert!((1.01..1.10).contains(&ratio), "{ratio}");
    }
}

#[test]
fn every_detail_file_of_the_originals_is_read_whole() {
    // (file, rows, holds token lists, holds a working-set size)
    let table = [
        (
            "cache_rate_ramp/detailed_results_1000_20261122_010944.csv",
            533,
            false,
            false,
        ),
        (
            "cache_rate_fixed/detailed_results_1000_20261122_011308.csv",
            97,
            true,
            false,
        ),
        (
            "cache_rate_sustained/detailed_results_1000_20261122_010854.csv",
            113,
            true,
            false,
        ),
        (
            "working_set_fixed/detailed_results_512_20261122_011252.csv",
            246,
            false,
            true,
        ),
        (
            "working_set_sustained/detailed_results_512_20261122_010713.csv",
            211,
            false,
            true,
        ),
        (
            "combine/run_a/detailed_results_800_20261122_011447.csv",
            201,
            false,
            false,
        ),
        (
            "combine/run_a/detailed_results_1600_20261122_011543.csv",
            160,
            false,
            false,
        ),
        (
            "combine/run_b/detailed_results_800_20261122_012511.csv",
            715,
            true,
            false,
        ),
    ];
    for (name, n_rows, has_lists, has_working_set) in table {
        let records: Vec<RequestRecord> = read_detail(data(name))
            .unwrap()
            .map(|r| r.unwrap_or_else(|e| panic!("{name}: {e}")))
            .collect();
        assert_eq!(records.len(), n_rows, "{name}");
        for r in &records {
            assert!(
                r.ttft.is_some() && r.itl.is_some() && r.generation_time.is_some(),
                "{name}"
            );
            assert_eq!(r.token_timestamps.is_empty(), !has_lists, "{name}");
            assert_eq!(r.tokens_per_chunk.len(), r.token_timestamps.len(), "{name}");
            assert_eq!(
                r.intent.working_set_size.is_some(),
                has_working_set,
                "{name}"
            );
            assert!(
                r.launch_time < r.prefill_complete_time && r.prefill_complete_time <= r.finish_time,
                "{name}"
            );
            assert_eq!(r.input_tokens(), r.intent.context_size, "{name}");
        }
        let mut bare: Vec<RequestRecord> = read_detail_without_lists(data(name))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(
            bare.iter()
                .all(|r| r.token_timestamps.is_empty() && r.tokens_per_chunk.is_empty()),
            "{name}"
        );
        for (bare, full) in bare.iter_mut().zip(&records) {
            bare.token_timestamps.clone_from(&full.token_timestamps);
            bare.tokens_per_chunk.clone_from(&full.tokens_per_chunk);
        }
        assert_eq!(bare, records, "{name}: only the lists are left out");
    }
}

#[test]
fn period_files_of_both_originals_are_read() {
    let cache_rate = read_periods(data(
        "cache_rate_sustained/sustained_periods_ctx1000_cache0_20261122_010854.csv",
    ))
    .unwrap();
    let decisions: Vec<&str> = cache_rate.iter().map(|p| p.decision.as_str()).collect();
    assert_eq!(decisions, ["RAMP_UP", "RAMP_DOWN", "RAMP_DOWN"]);
    assert_eq!(cache_rate[1].next_concurrency, 20);
    assert_eq!(cache_rate[0].working_set_size, None);
    let working_set = read_periods(data(
        "working_set_sustained/sustained_periods_ctx512_ws10000_cache90_20261122_010713.csv",
    ))
    .unwrap();
    assert_eq!(working_set.len(), 7);
    assert_eq!(working_set[1].working_set_size, Some(3584));
}

/// Every row of `ours` begins with the cells of the same row of `theirs`.
///
/// Two shortest forms of one number exist when the next digit is an exact tie, and Python and Rust differ
/// there; such cells must have the same length and name the same number.
#[track_caller]
fn assert_extends(ours: &str, theirs: &str, what: &str) {
    let rows = |text: &str| -> Vec<csv::StringRecord> {
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(text.as_bytes());
        reader.into_records().map(Result::unwrap).collect()
    };
    let (ours, theirs) = (rows(ours), rows(theirs));
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!(ours.len() >= theirs.len(), "{what}: no column is lost");
        for (ours, theirs) in ours.iter().zip(theirs) {
            if ours != theirs {
                assert_eq!(ours.len(), theirs.len(), "{what}");
                let numbers = |cell: &str| -> Vec<u64> {
                    let items = cell.trim_matches(['[', ']']).split(", ");
                    items
                        .map(|item| item.parse::<f64>().unwrap().to_bits())
                        .collect()
                };
                assert_eq!(numbers(ours), numbers(theirs), "{what}: {ours} {theirs}");
            }
        }
    }
}

#[test]
fn files_written_again_hold_the_originals_cells() {
    for name in [
        "cache_rate_fixed/detailed_results_1000_20261122_011308.csv",
        "cache_rate_sustained/detailed_results_1000_20261122_010854.csv",
        "combine/run_b/detailed_results_800_20261122_012511.csv",
    ] {
        let records: Vec<RequestRecord> = read_detail(data(name))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let mut writer = DetailWriter::new(Vec::new()).unwrap();
        writer.write_all(&records).unwrap();
        let ours = String::from_utf8(writer.into_inner()).unwrap();
        assert_extends(
            &ours,
            &std::fs::read_to_string(data_path(name)).unwrap(),
            name,
        );
    }
    for (name, with_working_set) in [
        ("cache_rate_fixed/summary_20261122_011308.csv", false),
        ("cache_rate_sustained/summary_20261122_010913.csv", false),
        ("combine/run_b/summary_20261122_012512.csv", false),
        ("working_set_fixed/summary_20261122_011252.csv", true),
    ] {
        let rows = read_summary(data(name)).unwrap();
        let mut writer = RowWriter::new(Vec::new(), with_working_set).unwrap();
        writer.write_all(&rows).unwrap();
        let ours = String::from_utf8(writer.into_inner()).unwrap();
        assert_extends(
            &ours,
            &std::fs::read_to_string(data_path(name)).unwrap(),
            name,
        );
    }
    for (name, with_working_set) in [
        ("cache_rate_ramp/phase_metadata_20261122_010848.csv", false),
        ("cache_rate_fixed/phase_metadata_20261122_011124.csv", false),
        ("working_set_fixed/phase_metadata_20261122_011252.csv", true),
    ] {
        let rows = read_phases(data(name)).unwrap();
        let mut writer = RowWriter::new(Vec::new(), with_working_set).unwrap();
        writer.write_all(&rows).unwrap();
        let ours = String::from_utf8(writer.into_inner()).unwrap();
        assert_extends(
            &ours,
            &std::fs::read_to_string(data_path(name)).unwrap(),
            name,
        );
    }
    for (name, with_working_set) in [
        (
            "cache_rate_sustained/sustained_periods_ctx1000_cache0_20261122_010854.csv",
            false,
        ),
        (
            "working_set_sustained/sustained_periods_ctx512_ws10000_cache90_20261122_010713.csv",
            true,
        ),
    ] {
        let rows = read_periods(data(name)).unwrap();
        let mut writer = RowWriter::new(Vec::new(), with_working_set).unwrap();
        writer.write_all(&rows).unwrap();
        let ours = String::from_utf8(writer.into_inner()).unwrap();
        assert_extends(
            &ours,
            &std::fs::read_to_string(data_path(name)).unwrap(),
            name,
        );
    }
}

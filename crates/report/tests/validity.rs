//! What the index says about the validity of a run, from files as our own tools write them; and the
//! figures of a concurrency chart from such rows.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop a test")]

#[path = "support/prepared.rs"]
mod common;

use std::fs::{self, File};
use std::path::Path;

use metrics::record::{RequestIntent, RequestRecord};
use metrics::schema::{DetailWriter, write_phases, write_summary};
use metrics::{PhaseRow, SummaryRow};
use report::catalogue::{ConcurrencyInput, LevelSource, WindowKind};
use report::index::write_index;

const STAMP: &str = "20261122_010101";
const T0: f64 = 1_795_000_000.0;

fn summary(rate: u32) -> SummaryRow {
    SummaryRow {
        context_size: 1_000,
        cache_hit_rate: rate,
        model: Some("demo".to_owned()),
        input_tokens_per_sec: 4_000.0,
        output_tokens_per_sec: 64.0,
        avg_ttft: Some(0.2),
        median_ttft: Some(0.2),
        p95_ttft: Some(0.3),
        p99_ttft: Some(0.4),
        avg_output_tokens: Some(30.0),
        peak_concurrency: 4,
        total_requests: 40,
        test_duration: 10.0,
        window_input_tokens_per_sec: Some(4_100.0),
        window_output_tokens_per_sec: Some(66.0),
        measured_duration: Some(10.0),
        total_input_tokens: Some(40_000),
        total_output_tokens: Some(640),
        client_limited: Some(false),
        ..SummaryRow::default()
    }
}

fn phase(id: &str, rate: u32, level: u32, input: f64) -> PhaseRow {
    PhaseRow {
        phase_id: id.to_owned(),
        cache_hit_rate: rate,
        context_size: 1_000,
        concurrency_level: level,
        start_time: T0,
        end_time: T0 + 10.5,
        duration: 10.5,
        num_requests_launched: 44,
        num_requests_completed: 40,
        window_start_time: Some(T0),
        window_duration: Some(10.0),
        window_input_tokens_per_sec: Some(input),
        window_output_tokens_per_sec: Some(input / 50.0),
        num_requests_failed: Some(0),
        num_requests_cancelled: Some(0),
        client_limited: None,
        ..PhaseRow::default()
    }
}

fn record(id: &str, rate: u32, level: u32, k: u32, ttft: f64) -> RequestRecord {
    let launch = T0 + f64::from(k) * 0.1;
    let cached = u64::from(rate) * 1_000 / 100 / 256 * 256;
    RequestRecord {
        intent: RequestIntent {
            request_id: format!("{id}_r{k}"),
            phase_id: id.into(),
            cache_hit_rate: rate,
            context_size: 1_000,
            cached_tokens: cached,
            unique_tokens: 1_000 - cached,
            question_tokens: 20,
            concurrency_level: level,
            endpoint: "http://localhost:8000".into(),
            working_set_size: None,
        },
        output_tokens: 16,
        ttft: Some(ttft),
        ttlt: Some(ttft + 0.5),
        generation_time: Some(0.5),
        total_time: ttft + 0.5,
        launch_time: launch,
        finish_time: launch + ttft + 0.5,
        itl: Some(0.03),
        prefill_complete_time: launch + ttft,
        token_timestamps: vec![launch + ttft],
        tokens_per_chunk: vec![16],
        reported_prompt_tokens: Some(1_030),
        reported_cached_tokens: Some(cached),
        send_delay: Some(0.000_2),
        dial_time: Some(0.0),
        counted_locally: false,
    }
}

/// The page of a directory with these rows, as text.
fn page(summaries: &[SummaryRow], phases: &[PhaseRow], records: &[RequestRecord]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let create = |name: String| File::create(dir.path().join(name)).unwrap();
    write_summary(create(format!("summary_{STAMP}.csv")), summaries, false).unwrap();
    write_phases(create(format!("phase_metadata_{STAMP}.csv")), phases, false).unwrap();
    let mut detail =
        DetailWriter::new(create(format!("detailed_results_1000_{STAMP}.csv"))).unwrap();
    detail.write_all(records).unwrap();
    detail.flush().unwrap();
    let warnings = write_index(dir.path(), "1").unwrap();
    assert_eq!(warnings, []);
    read(dir.path())
}

fn read(dir: &Path) -> String {
    let page = fs::read_to_string(dir.join("index.html")).unwrap();
    common::parse_page(&page);
    page
}

fn records(rate: u32) -> Vec<RequestRecord> {
    (0..40)
        .map(|k| record("RAMP_c4", rate, 4, k, 0.2))
        .collect()
}

#[test]
fn a_clean_run_has_no_doubts_and_says_what_was_checked() {
    let rates = [0, 50];
    let rows: Vec<_> = rates.iter().map(|r| summary(*r)).collect();
    let phases: Vec<_> = rates
        .iter()
        .map(|r| phase("RAMP_c4", *r, 4, 4_100.0))
        .collect();
    let all: Vec<_> = rates.iter().flat_map(|r| records(*r)).collect();
    let page = page(&rows, &phases, &all);
    assert!(page.contains("Nothing found that casts doubt"), "{page}");
    assert!(page.contains(
        "failed and cancelled requests, cached tokens reported by the server, late sends"
    ));
    assert!(!page.contains("not checked"));
    assert!(
        page.contains("4,100 tok/s"),
        "the window-accounted figure leads"
    );
}

/// The files said that a result is the client's doing; pages and charts made from them did not.
#[test]
fn results_that_the_client_limits_are_named_on_index_and_charts() {
    let mut rows = [summary(0), summary(50)];
    rows[1].client_limited = Some(true);
    let mut phases = [
        phase("RAMP_c4", 0, 4, 4_100.0),
        phase("RAMP_c4", 50, 4, 4_100.0),
    ];
    phases[1].client_limited = Some(true);
    let all: Vec<RequestRecord> = records(0).into_iter().chain(records(50)).collect();
    let page = page(&rows, &phases, &all);
    assert!(
        page.contains("1 test is limited by the client: 1,000 tokens at 50%."),
        "{page}"
    );
    assert!(page.contains("whether the client limits a result"));
    let notes = |chart: &report::chart::Chart| -> Vec<Option<String>> {
        let points = chart.panels[0].series().iter().rev().take(1);
        points
            .flat_map(|s| s.points.iter().map(|p| p.note.clone()))
            .collect()
    };
    let limited = Some("limited by the client".to_owned());
    let points: Vec<_> = rows
        .iter()
        .map(|row| report::catalogue::RatePoint::from_rows(row, &phases, &all, false))
        .collect();
    let chart = report::catalogue::performance_chart(&report::catalogue::PerformanceInput {
        context_size: 1000,
        points,
        summary: None,
        max_ttft: None,
    });
    assert_eq!(notes(&chart), [None, limited.clone()]);
    let is_told = |chart: &report::chart::Chart| {
        let mut captions = chart.captions.iter();
        captions.any(|c| c.contains("limited by the client"))
    };
    assert!(is_told(&chart));
    for (row, expected) in rows.iter().zip([None, limited]) {
        let of_test = phases
            .iter()
            .filter(|p| p.cache_hit_rate == row.cache_hit_rate);
        let of_test: Vec<PhaseRow> = of_test.cloned().collect();
        let input = report::catalogue::ConcurrencyInput::from_rows(row, &of_test, &[], None, false);
        let chart = report::catalogue::concurrency_chart(&input.unwrap());
        assert_eq!(notes(&chart), std::slice::from_ref(&expected));
        assert_eq!(is_told(&chart), expected.is_some());
    }
}

#[test]
fn failures_and_cancellations_are_counted() {
    let mut window = phase("RAMP_c4", 50, 4, 4_100.0);
    window.num_requests_failed = Some(3);
    window.num_requests_cancelled = Some(1);
    let page = page(&[summary(50)], &[window], &records(50));
    assert!(
        page.contains("3 requests failed: 1,000 tokens at 50%."),
        "{page}"
    );
    assert!(page.contains("1 request was still running"), "{page}");
    assert!(page.contains("(2.3% of those launched)"));
}

#[test]
fn warm_prompts_missed_caches_and_late_sends_are_doubts() {
    let mut warm = records(0);
    warm[7].reported_cached_tokens = Some(768);
    let text = page(&[summary(0)], &[phase("RAMP_c4", 0, 4, 4_100.0)], &warm);
    assert!(
        text.contains("meant to be cold were answered from the cache: 1,000 tokens at 0%"),
        "{text}"
    );

    let mut missed = records(75);
    for record in missed.iter_mut().take(10) {
        record.reported_cached_tokens = Some(0);
    }
    let text = page(&[summary(75)], &[phase("RAMP_c4", 75, 4, 4_100.0)], &missed);
    assert!(
        text.contains("Achieved cache hit rate off target in 1 test"),
        "{text}"
    );
    assert!(
        text.contains("10 of 40 requests off by -512 to 0 tokens"),
        "{text}"
    );

    let mut late = records(50);
    for record in &mut late {
        record.send_delay = Some(0.05);
    }
    let text = page(&[summary(50)], &[phase("RAMP_c4", 50, 4, 4_100.0)], &late);
    assert!(
        text.contains("more than 50.0 ms after their slot was free"),
        "{text}"
    );
}

#[test]
fn without_detail_rows_the_summary_tells_whether_the_cache_was_hit() {
    let mut row = summary(50);
    row.reported_cache_hit_rate = Some(0.02);
    let text = page(&[row.clone()], &[], &[]);
    assert!(text.contains("2.0% reported, 25.6% meant"), "{text}");
    row.reported_cache_hit_rate = Some(0.24);
    assert!(!page(&[row], &[], &[]).contains("off target"));
}

#[test]
fn a_level_is_the_mean_of_its_windows_and_retries_are_left_out() {
    let mut second = phase("RAMP_REFINE_c4_1", 50, 4, 6_000.0);
    second.num_requests_failed = Some(2);
    let phases = [
        phase("RAMP_c2", 50, 2, 2_000.0),
        phase("RAMP_c4", 50, 4, 4_000.0),
        second,
        phase("RETRY_1", 50, 4, 9_000.0),
    ];
    let mut rows: Vec<RequestRecord> = (0..10).map(|k| record("RAMP_c4", 50, 4, k, 0.2)).collect();
    rows.extend((0..10).map(|k| record("RAMP_REFINE_c4_1", 50, 4, k, 0.4)));
    rows.extend((0..10).map(|k| record("RETRY_1", 50, 4, k, 9.0)));
    let input =
        ConcurrencyInput::from_rows(&summary(50), &phases, &rows, Some(2.0), false).unwrap();
    assert_eq!(
        (input.kind, input.source),
        (WindowKind::Ramp, LevelSource::Window)
    );
    let levels: Vec<_> = input
        .levels
        .iter()
        .map(|l| (l.concurrency, l.input, l.n_windows, l.failed))
        .collect();
    assert_eq!(
        levels,
        [
            (2, Some(2_000.0), 1, Some(0)),
            (4, Some(5_000.0), 2, Some(2))
        ]
    );
    let four = &input.levels[1];
    assert!((four.avg_ttft.unwrap() - 0.3).abs() < 1e-12);
    assert_eq!(four.max_ttft, Some(0.4));
    assert_eq!(input.levels[0].avg_ttft, None);
    // The third line of the title counts every request of the test.
    assert_eq!(input.summary.unwrap().requests, 30);
    assert_eq!(
        ConcurrencyInput::from_rows(&summary(50), &phases[3..], &rows, None, false),
        None
    );
}

/// The page of the working-set tool wants TTFT over all requests of a level, and with the strict window only those
/// that began and ended inside theirs.
#[test]
fn a_level_of_the_working_set_tool_pools_its_requests_and_heeds_the_strict_window() {
    let row = SummaryRow {
        working_set_size: Some(4096),
        ..summary(50)
    };
    let run = |id: &str| {
        let mut phase = phase(id, 50, 4, 4_000.0);
        phase.window_duration = Some(1.55);
        phase
    };
    let phases = [run("FIXED_c4_run0"), run("FIXED_c4_run1")];
    let mut rows: Vec<RequestRecord> = (0..10)
        .map(|k| record("FIXED_c4_run0", 50, 4, k, 0.2))
        .collect();
    rows.extend((0..30).map(|k| record("FIXED_c4_run1", 50, 4, k, 0.6)));
    let of = |strict| {
        let input = ConcurrencyInput::from_rows(&row, &phases, &rows, None, strict).unwrap();
        (input.source, input.levels[0].clone())
    };
    let (source, level) = of(false);
    assert_eq!((source, level.n_windows), (LevelSource::Window, 2));
    assert!((level.avg_ttft.unwrap() - 0.5).abs() < 1e-12, "{level:?}");
    // Launched every 0.1 s, over after 0.7 s and 1.1 s: nine and five of them end in time, after 1.5 s both.
    let (source, level) = of(true);
    assert_eq!(source, LevelSource::Strict);
    assert!(
        (level.avg_ttft.unwrap() - 4.8 / 14.0).abs() < 1e-12,
        "{level:?}"
    );
    assert!(
        (level.input.unwrap() - 7_000.0 / 1.5).abs() < 0.01,
        "{level:?}"
    );
}

#[test]
fn a_single_window_without_stored_rates_turns_the_whole_chart_to_the_published_formula() {
    let mut old = phase("RAMP_c4", 50, 4, 0.0);
    (old.window_start_time, old.window_duration) = (None, None);
    old.window_input_tokens_per_sec = None;
    let phases = [phase("RAMP_c2", 50, 2, 2_000.0), old];
    let rows: Vec<RequestRecord> = (0..10).map(|k| record("RAMP_c4", 50, 4, k, 0.2)).collect();
    let input = ConcurrencyInput::from_rows(&summary(50), &phases, &rows, None, false).unwrap();
    assert_eq!(input.source, LevelSource::Published);
    // Ten requests of 1,000 tokens, the last one launched after 0.9 s and done 0.7 s later.
    assert!((input.levels[1].input.unwrap() - 10_000.0 / 1.6).abs() < 0.01);
    assert_eq!(input.levels[0].input, None);
}

/// A plan of 20,000 contexts at 20,000 rates, a quarter of a megabyte of JSON, was written out test by test until memory ended.
#[test]
fn tests_that_a_plan_misses_are_counted_and_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    let create = |name: String| File::create(dir.path().join(name)).unwrap();
    write_summary(
        create(format!("summary_{STAMP}.csv")),
        &[summary(50)],
        false,
    )
    .unwrap();
    let many: Vec<u32> = (1..=20_000).collect();
    // What stands twice is planned once.
    let contexts: Vec<u32> = many.iter().chain(&many).map(|k| k * 1_000).collect();
    let plan = serde_json::json!({"parameters": {"context_sizes": contexts, "cache_hit_rates": many}, "completed_tests": []});
    fs::write(dir.path().join("progress.json"), plan.to_string()).unwrap();
    write_index(dir.path(), "1").unwrap();
    let page = read(dir.path());
    assert!(
        page.contains(
            "399,999,999 planned tests have no result: 1,000 tokens at 1%; 1,000 tokens at 2%;"
        ),
        "{page}"
    );
    assert!(page.contains("and 399,999,995 more."), "{page}");
}

/// Counts near the largest number stopped the program, or wrapped around to small ones.
#[test]
fn counts_from_files_are_summed_up_to_the_largest_number() {
    let mut rows = [summary(0), summary(50)];
    let mut phases = [
        phase("RAMP_c4", 0, 4, 4_100.0),
        phase("RAMP_c4", 50, 4, 4_100.0),
    ];
    for (row, phase) in rows.iter_mut().zip(&mut phases) {
        row.total_requests = u64::MAX - 1;
        phase.num_requests_launched = u64::MAX - 1;
        phase.num_requests_failed = Some(u64::MAX - 1);
        phase.num_requests_cancelled = Some(u64::MAX - 1);
    }
    let page = page(&rows, &phases, &[]);
    assert!(page.contains("18,446,744,073,709,551,615"), "{page}");
}

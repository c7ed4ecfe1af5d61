//! The end of a test and of a run.

use cli::options::Mode;
use engine::test_run::TestOutcome;
use metrics::summary::SummaryRow;
use metrics::{PeriodRow, PhaseRow};

use super::*;
use crate::plan::sizes_of;

fn result(context_size: u64, working_set_size: u64, cache_hit_rate: u32) -> SummaryRow {
    SummaryRow {
        context_size,
        working_set_size: Some(working_set_size),
        cache_hit_rate,
        input_tokens_per_sec: 13_733.4,
        output_tokens_per_sec: 439.4,
        window_input_tokens_per_sec: Some(14_000.0),
        window_output_tokens_per_sec: Some(450.0),
        avg_ttft: Some(1.1206),
        p95_ttft: Some(1.874),
        peak_concurrency: 18,
        total_requests: 412,
        test_duration: 240.0,
        total_input_tokens: Some(3_296_000),
        total_output_tokens: Some(105_472),
        ..SummaryRow::default()
    }
}

fn outcome(levels: &[u32]) -> TestOutcome {
    let phase = |level: &u32| PhaseRow {
        concurrency_level: *level,
        ..PhaseRow::default()
    };
    TestOutcome {
        summary: result(30_000, 644_444, 100),
        runs: Vec::new(),
        phases: levels.iter().map(phase).collect(),
        periods: Vec::new(),
        records: Vec::new(),
        health: Vec::new(),
        doubts: Vec::new(),
    }
}

#[test]
fn a_finished_test_is_summed_up() {
    let lines = test_done(Mode::Fixed, &outcome(&[8, 8, 2, 2]));
    assert_eq!(
        texts(&lines)[..5],
        [
            "    ✓ Working set size 644,444 complete",
            "      Tested levels: [8, 2]",
            "  Peak concurrency: 18",
            "  Total requests: 412",
            "  Total input tokens: 3,296,000 (3.30M)",
        ]
    );
    let lines = test_done(Mode::Ramp, &outcome(&[2, 22]));
    assert_eq!(lines[1].text, "  Peak concurrency: 18");
}

#[test]
fn a_failed_test_names_the_durations_in_force() {
    let test = TestName::new(30_000, 100).with_working_set(Some(644_444));
    for (more, expected) in [
        (
            "--mode ramp",
            "    ✗ Working set size 644,444 failed: no answer (--test-duration 300, --ramp-duration 60)",
        ),
        (
            "",
            "    ✗ Working set size 644,444 failed: no answer (--test-duration 300, --assessment-period 30)",
        ),
    ] {
        let line = test_failed(&plan(more).common, test, "no answer");
        assert_eq!(line.text, expected);
        assert_eq!(line.level, LineLevel::Error);
    }
}

#[test]
fn the_final_table_is_sorted_and_summed() {
    let grown = SummaryRow {
        min_working_set_size: Some(102_400),
        ..result(10_000, 2_000_000, 90)
    };
    let results = [
        result(30_000, 644_444, 50),
        result(30_000, 100_000, 100),
        result(30_000, 100_000, 50),
        grown,
    ];
    let periods = [102_400, 583_680, 1_064_960].map(|size| PeriodRow {
        working_set_size: Some(size),
        ..PeriodRow::default()
    });
    let lines = final_table(&results, |row| sizes_of(row, &periods));
    let (double, single) = ("=".repeat(130), "-".repeat(130));
    assert_eq!(
        texts(&lines),
        [
            &double,
            "Final Summary - All Test Results",
            &double,
            "   Context  WorkingSet  Cache%  Requests   Input Tok  Output Tok     Input/s    Output/s  Avg TTFT  Conc",
            &single,
            "     10000   102K-1.1M     90%       412       3.30M       0.11M      14,000         450    1.121s    18",
            "     30000      100000     50%       412       3.30M       0.11M      14,000         450    1.121s    18",
            "     30000      100000    100%       412       3.30M       0.11M      14,000         450    1.121s    18",
            "     30000      644444     50%       412       3.30M       0.11M      14,000         450    1.121s    18",
            &single,
            "     TOTAL                          1648      13.18M       0.42M",
            &double,
        ]
    );
}

/// The example of the tool's page, its numbers made up.
#[test]
fn the_report_for_scripts_follows_the_published_grammar() {
    let one = plan("--output-dir memory_tier_test");
    let results = [result(30_000, 2_550_000, 100), result(30_000, 100_000, 100)];
    assert_eq!(
        brief_report(&one, "demo-7b", &results).text(),
        "model: demo-7b\n\
         endpoint: http://gpu1:8000\n\
         cache_rate: 100\n\
         \n\
         context_size,working_set,requests,input_tokens,output_tokens,input_tps,output_tps,avg_ttft,p95_ttft,concurrency\n\
         30000,100000,412,3296000,105472,13733,439,1.121,1.874,18\n\
         30000,2550000,412,3296000,105472,13733,439,1.121,1.874,18\n\
         \n\
         total_requests: 824\n\
         total_input_tokens: 6592000\n\
         total_output_tokens: 210944\n\
         \n\
         output: memory_tier_test\n"
    );
}

#[test]
fn the_report_tells_rates_apart_where_there_are_several() {
    let two = plan("--cache-hit-rates 100 50");
    let report = brief_report(&two, "m", &[result(30_000, 100_000, 50)]).text();
    assert!(report.contains("cache_rate: 50,100\n"), "{report}");
    assert!(report.contains(",concurrency,cache_hit_rate\n"), "{report}");
    assert!(report.contains(",18,50\n"), "{report}");
}

#[test]
fn without_results_the_report_has_its_head_and_zeros() {
    let report = brief_report(&plan(""), "m", &[]).text();
    assert!(
        report.ends_with(
            "concurrency\n\ntotal_requests: 0\ntotal_input_tokens: 0\ntotal_output_tokens: 0\n\noutput: ./output\n"
        ),
        "{report}"
    );
}

#[test]
fn a_result_that_the_client_limits_is_named_beside_the_report() {
    let limited = SummaryRow {
        client_limited: Some(true),
        ..result(30_000, 100_000, 100)
    };
    let results = [limited];
    // The published grammar ends with the output directory.
    let report = brief_report(&plan(""), "m", &results).text();
    assert!(report.ends_with("\n\noutput: ./output\n"), "{report}");
    let line = beside_report(&results).expect("a line on stderr");
    assert_eq!(
        (line.level, &*line.text),
        (LineLevel::Warning, "client_limited: 30000@100%/100000")
    );
}

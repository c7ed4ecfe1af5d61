//! The shared lines as a reader sees them.

use std::path::Path;

use cli::logging::Line;
use cli::options::{SpeedMetric, TtftMetric};
use metrics::percentile::{SpeedStats, Stats};
use metrics::window::{LevelMetrics, Throughput};
use ramp::{Note, Observation, Peak, StopReason, Thresholds, judge};
use report::test_name::TestName;

use super::*;

fn texts(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn what_is_skipped_and_what_was_stopped_is_said() {
    assert_eq!(
        context_skipped(8000).text,
        "Skipping context size 8,000 (all tests already completed)"
    );
    let script = Path::new("out/run_command_20261122_010848.sh");
    assert_eq!(
        texts(&interrupted(2, script, false)),
        [
            "Test interrupted by user. Progress has been saved.",
            "To go on after 2 completed tests: give the same command again, or bash out/run_command_20261122_010848.sh"
        ]
    );
    assert!(interrupted(1, script, true)[1].text.starts_with(
        "To go on after 1 completed test: give the same command without --force-restart again, or bash "
    ));
}

#[test]
fn failed_tests_are_listed_and_nothing_is_called_complete() {
    let failed = [FailedTest {
        test: TestName::new(8000, 50),
        reason: "status 500".into(),
    }];
    let untried =
        [(8000, 75), (8000, 100), (16_000, 0)].map(|(context, rate)| TestName::new(context, rate));
    let end = RunEnd {
        results: &[],
        failed: &failed,
        untried: &untried,
        limited: &[],
        is_complete: true,
        output_dir: Path::new("out"),
        index: Some(Path::new("out/index.html")),
    };
    let lines = end_of_run(end, Vec::new());
    let lines = texts(&lines);
    assert_eq!(
        lines,
        [
            "✗ 1 of the tests failed:",
            "  8,000 tokens at 50%: status 500",
            "✗ 3 of the tests were not tried:",
            "  8,000 tokens at 75%, 100%",
            "  16,000 tokens at 0%",
            "Results saved to: out",
            "Open in a browser: out/index.html",
            "Total tests completed: 0",
        ]
    );
    assert!(!lines.iter().any(|line| line.contains("complete!")));
    let one_of_several = FailedTest {
        test: TestName::new(8000, 50).with_working_set(Some(100_000)),
        reason: "status 500".into(),
    };
    let lines = end_of_run(
        RunEnd {
            failed: &[one_of_several],
            ..end
        },
        Vec::new(),
    );
    assert_eq!(
        texts(&lines)[1],
        "  8,000 tokens at 50%, working set of 100,000: status 500"
    );
    let stopped = RunEnd {
        failed: &[],
        limited: &[],
        is_complete: false,
        ..end
    };
    assert!(
        !texts(&end_of_run(stopped, Vec::new()))
            .iter()
            .any(|line| line.contains("complete!"))
    );
}

fn level(n: u32) -> LevelMetrics {
    LevelMetrics {
        launched: u64::from(n),
        completed: u64::from(n),
        failed: 0,
        cancelled: 0,
        ttft: Stats::of((1..=n).map(f64::from)),
        ttlt: Stats::of([]),
        itl: Stats::of([]),
        speed: SpeedStats::of([30.0, 30.0]),
        published: Throughput {
            input_tps: 13_000.0,
            output_tps: 400.0,
        },
        strict: Some(Throughput {
            input_tps: 14_560.0,
            output_tps: 440.0,
        }),
        window: Throughput {
            input_tps: 14_000.0,
            output_tps: 440.4,
        },
        deciding: Throughput {
            input_tps: 14_000.0,
            output_tps: 440.4,
        },
        strict_fell_back: false,
    }
}

const STATISTICS: LevelStatistics = LevelStatistics {
    ttft: TtftMetric::Max,
    speed: SpeedMetric::P5,
};

#[test]
fn a_level_shows_its_latency_throughput_and_speed() {
    assert_eq!(
        level_start(12, "RAMP_c12").text,
        "Testing concurrency 12... (phase: RAMP_c12)"
    );
    assert_eq!(
        texts(&level_result(&level(21), STATISTICS)),
        [
            "  Avg TTFT: 11.000s, P95 TTFT: 20.000s, Max TTFT: 21.000s (Max TTFT: 21.000s)",
            "  Throughput: Input=14,000 tok/s, Output=440 tok/s",
            "  Avg Tokens/Req: 30.0 tok/s (P5: 30.0, P10: 30.0; P5 counts)",
        ]
    );
}

#[test]
fn few_samples_and_failures_are_pointed_out() {
    let lines = level_result(
        &LevelMetrics {
            launched: 6,
            failed: 2,
            cancelled: 1,
            ..level(3)
        },
        STATISTICS,
    );
    assert!(lines[0].text.ends_with(" (n=3)"), "{}", lines[0].text);
    assert_eq!(
        lines[3].text,
        "  Of 6 requests 3 completed, 2 failed and 1 were cancelled at the end of the window"
    );
    let lines = level_result(&level(0), STATISTICS);
    assert_eq!(
        lines[0].text,
        "  Avg TTFT: n/a, P95 TTFT: n/a, Max TTFT: n/a (Max TTFT: n/a) (n=0)"
    );
    let lines = level_result(
        &LevelMetrics {
            strict_fell_back: true,
            ..level(30)
        },
        STATISTICS,
    );
    assert!(lines[3].text.contains("--strict-time-window"));
}

#[test]
fn a_verdict_names_what_was_broken() {
    let thresholds = Thresholds {
        max_ttft: Some(2.0),
        min_speed: Some(20.0),
    };
    let line = |observation: Observation| {
        verdict(&judge(&thresholds, &observation), &thresholds)
            .unwrap()
            .text
    };
    let good = Observation {
        input_tps: 1.0,
        ttft: Some(1.5),
        speed: Some(30.0),
        valid: true,
    };
    assert_eq!(line(good), "  Thresholds held, headroom 25.0%");
    assert_eq!(
        line(Observation {
            ttft: Some(2.5),
            speed: Some(10.0),
            ..good
        }),
        "  Threshold broken: TTFT 2.500s is above 2s; generation speed 10.0 tok/s per request is below 20 tok/s"
    );
    assert_eq!(
        line(Observation {
            ttft: None,
            speed: None,
            ..good
        }),
        "  Threshold broken: no TTFT was measured to hold against 2s; no generation speed was measured to hold against \
         20 tok/s"
    );
    assert_eq!(
        line(Observation {
            valid: false,
            ..good
        }),
        "  Level failed: no request succeeded, more than half failed, or too many in a row"
    );
    let none = Thresholds::default();
    assert_eq!(verdict(&judge(&none, &good), &none), None);
}

#[test]
fn the_strict_rate_is_mentioned_only_where_it_differs() {
    let level = level(30);
    let lines = strict_comparison(&level, false);
    assert_eq!(
        texts(&lines)[0],
        "  Strict time window comparison: Input=14,560 tok/s (+4.0%), Output=440 tok/s (-0.1%)"
    );
    assert_eq!(lines.len(), 1);
    let far = LevelMetrics {
        strict: Some(Throughput {
            input_tps: 15_000.0,
            output_tps: 440.0,
        }),
        ..level
    };
    assert_eq!(
        strict_comparison(&far, false).len(),
        2,
        "beyond 5 % comes a hint"
    );
    let near = LevelMetrics {
        strict: Some(Throughput {
            input_tps: 14_200.0,
            output_tps: 440.0,
        }),
        ..level
    };
    assert!(strict_comparison(&near, false).is_empty());
    assert!(
        strict_comparison(&far, true).is_empty(),
        "strict is what counts already"
    );
    assert!(
        strict_comparison(
            &LevelMetrics {
                strict: None,
                ..level
            },
            false
        )
        .is_empty()
    );
    let zero = LevelMetrics {
        deciding: Throughput {
            input_tps: 0.0,
            output_tps: 0.0,
        },
        ..level
    };
    assert!(
        strict_comparison(&zero, false).is_empty(),
        "no division by zero"
    );
}

#[test]
fn decisions_are_told_one_line_each() {
    let observation = Observation {
        input_tps: 13_700.0,
        ttft: Some(1.0),
        speed: None,
        valid: true,
    };
    let peak = |passed| Peak {
        concurrency: 8,
        passed,
        phase_id: "RAMP_c8".into(),
        observation,
    };
    let cases = [
        (
            Note::OptimisticStart {
                level: 8,
                configured: 2,
            },
            "Starting at the last test's peak 8 instead of 2",
        ),
        (
            Note::BackedOff { from: 8, to: 4 },
            "Concurrency 8 was too high to start with, going back to 4",
        ),
        (
            Note::Climbing {
                from: 2,
                to: 12,
                headroom: 0.55,
                multiple: 5,
            },
            "  Headroom 55.0% -> 5x increment (5 x 2): 2 -> 12",
        ),
        (
            Note::RefineStarted { good: 4, bad: 12 },
            "Refining between 4 (passed) and 12 (failed)",
        ),
        (
            Note::Refined {
                level: 8,
                passed: true,
                good: 8,
                bad: 12,
            },
            "  Concurrency 8 passed, range is now 8 to 12",
        ),
        (
            Note::SearchEnded(StopReason::TimeLimit),
            "Search complete: time limit reached",
        ),
        (
            Note::PeakChosen {
                peak: peak(true),
                candidates: Vec::new(),
            },
            "Peak concurrency: 8 with 13,700 input tok/s (RAMP_c8)",
        ),
        (
            Note::PeakChosen {
                peak: peak(false),
                candidates: Vec::new(),
            },
            "No level held the thresholds; concurrency 8 comes closest (13,700 input tok/s)",
        ),
        (Note::NoPeak, "No level could be measured"),
        (
            Note::RetriesStarted {
                concurrency: 8,
                n: 3,
            },
            "Phase 2: Retrying at peak concurrency 8 (3 times)",
        ),
    ];
    for (event, text) in cases {
        let lines = note(&event, 2);
        assert_eq!(texts(&lines), [text]);
    }
}

#[test]
fn the_table_of_repeats_has_mean_and_deviation() {
    let run = |phase: &str, input_tps: f64, output_tps: f64| Run {
        name: Run::name_of(phase),
        input_tps,
        output_tps,
        avg_ttft: Some(input_tps / 10_000.0),
        p95_ttft: None,
        n_requests: 120,
    };
    let runs = [
        run("RAMP_c8", 9_000.0, 0.0),
        run("RETRY_1", 11_000.0, 0.0),
        run("RAMP_REFINE_c8_2", 10_000.0, 0.0),
    ];
    let lines = runs_table(&runs);
    assert_eq!(
        texts(&lines),
        [
            "    Run           Input tok/s   Output tok/s    Avg TTFT    P95 TTFT  Requests",
            "    RAMP                9,000              0      0.900s         n/a       120",
            "    RETRY1             11,000              0      1.100s         n/a       120",
            "    RAMP               10,000              0      1.000s         n/a       120",
            "    AVERAGE            10,000              0      1.000s         n/a",
            "    STD DEV       816 (±8.2%)       0 (±n/a)      0.082s         n/a",
        ]
    );
    // The same under a heading, with rules; one run alone has nothing to compare.
    let rule = format!("    {}", "-".repeat(80));
    let headed = retry_summary(8, &runs);
    assert_eq!(headed[0].text, "    Retry Summary (Peak Concurrency 8):");
    let rules: Vec<usize> = (0..headed.len())
        .filter(|i| headed[*i].text == rule)
        .collect();
    assert_eq!(rules, [2, 6]);
    assert_eq!(headed.len(), lines.len() + 3);
    assert!(retry_summary(8, &runs[..1]).is_empty());
    let names = [
        "FIXED_c4_run0",
        "FIXED_c4_run1",
        "FIXED_c4_run12",
        "FIXED_c4_RETRY_2",
    ];
    assert_eq!(
        names.map(Run::name_of),
        ["INITIAL", "RETRY1", "RETRY12", "RETRY2"]
    );
}

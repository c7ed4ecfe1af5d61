//! The lines as a reader sees them.

mod finish;
mod period;

use std::path::Path;
use std::time::Duration;

use cli::argparse::try_parse;
use cli::logging::{Line, LineLevel};
use cli::options::TtftMetric;
use metrics::percentile::{SpeedStats, Stats};
use metrics::summary::SummaryRow;
use metrics::window::{LevelMetrics, Throughput};
use ramp::{Note, Observation, Peak, StopReason, Thresholds, judge};

use super::*;
use crate::args::{Args, OPTION_GENERATIONS, SpeedMetric};
use crate::plan::Plan;

fn plan(more: &str) -> Plan {
    let line = format!(
        "cache_rate_tester --api-endpoint http://gpu1:8000 --context-sizes 32000 8000 --working-set-size 2000000 {more}"
    );
    let args: Args = try_parse(OPTION_GENERATIONS, line.split_whitespace()).unwrap();
    Plan::try_from(args).unwrap()
}

fn texts(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn the_banner_says_what_takes_effect() {
    let rule = "=".repeat(80);
    assert_eq!(
        texts(&banner(&plan(""))),
        [
            &rule,
            "Cache Rate Performance Testing Tool - Ramp Mode",
            &rule,
            "API Endpoint: http://gpu1:8000",
            "Context Sizes: [8000, 32000]",
            "Working Set Size: 2,000,000 tokens",
            "Output Tokens: 256",
            "Performance Thresholds: Max TTFT: 2s (P95)",
            "Test Duration: 300s (ramp: 60s per level)",
            "Cache Hit Rates: 21 tests (0% to 100%)",
            "Chunk Size: 256 tokens (for cache block alignment)",
            "Output Directory: ./output",
            &rule,
        ]
    );
}

#[test]
fn the_banner_follows_mode_thresholds_and_endpoints() {
    let lines = banner(&plan(
        "--mode fixed --fixed-concurrency-levels 8 4 --api-endpoint http://a:1 http://b:2 --cache-hit-rates 50",
    ));
    let lines = texts(&lines);
    for line in [
        "Cache Rate Performance Testing Tool - Fixed Mode",
        "API Endpoints: 2 endpoints (load balanced)",
        "  1. http://a:1",
        "  2. http://b:2",
        "Performance Thresholds: none",
        "Test Duration: 300s (test: 60s per level)",
        "Fixed Concurrency Levels: [4, 8]",
        "Cache Hit Rates: 1 tests (50% to 50%)",
    ] {
        assert!(lines.contains(&line), "{line} not in {lines:?}");
    }
    let lines = banner(&plan(
        "--mode sustained --max-ttft 0.5 --ttft-metric avg --min-tokens-per-req 20",
    ));
    let lines = texts(&lines);
    for line in [
        "Performance Thresholds: Max TTFT: 0.5s (AVG) | Min Tokens/Req: 20 tok/s (AVG)",
        "Test Duration: 300s (assessment: 30s per period)",
    ] {
        assert!(lines.contains(&line), "{line} not in {lines:?}");
    }
}

#[test]
fn facts_and_memory_follow_the_banner() {
    let kv = KvEstimates {
        model_is_known: false,
        working_set_fp8: 8_000.0 * 160_000.0,
        working_set_fp16: 8_000.0 * 320_000.0,
        contexts: vec![
            ContextEstimate {
                context_size: 1000,
                n_prompts: 8,
                request: 49_152_000.0,
                working_set: 8.0 * 1024.0 * 49_152.0,
            },
            ContextEstimate {
                context_size: 2000,
                n_prompts: 4,
                request: 98_304_000.0,
                working_set: 4.0 * 2048.0 * 49_152.0,
            },
        ],
    };
    let facts = StartFacts {
        run_script: Path::new("out/run_command_1.sh"),
        model: "demo",
        tokenizer: "builtin",
        kv: &kv,
    };
    let lines = start_facts(&facts);
    assert_eq!(
        texts(&lines),
        [
            "Run command saved to: out/run_command_1.sh",
            "Model: demo",
            "The KV cache of model demo is not known; estimates assume that of a 70b model",
            "KV Cache Estimate for the working set: 1.19 GB (FP8), 2.38 GB (FP16)",
            "  Context 1,000: 46.88 MB per request, 384.00 MB for 8 prompts",
            "  Context 2,000: 93.75 MB per request, 384.00 MB for 4 prompts",
            "  Total over all contexts: 768.00 MB; have that much KV cache at least",
            "Tokenizer: builtin",
        ]
    );
    assert_eq!(lines[2].level, LineLevel::Warning);
    let large = KvEstimates {
        working_set_fp8: 101.0 * 1024f64.powi(3),
        model_is_known: true,
        ..kv.clone()
    };
    let lines = start_facts(&StartFacts {
        kv: &large,
        ..facts
    });
    assert!(
        lines
            .iter()
            .any(|line| line.level == LineLevel::Warning && line.text.contains("101.00 GB"))
    );
}

#[test]
fn a_working_set_below_one_prompt_is_warned_about() {
    let lines = context_start(ContextSize {
        context_size: 1000,
        rounded: 1024,
        n_prompts: 1,
        working_set_size: 500,
    });
    let warning = lines
        .iter()
        .find(|line| line.level == LineLevel::Warning)
        .unwrap();
    assert_eq!(
        warning.text,
        "--working-set-size 500 is less than one prompt; one prompt of 1024 tokens is used; raise --working-set-size to \
         at least 1024"
    );
    let lines = context_start(ContextSize {
        context_size: 1024,
        rounded: 1024,
        n_prompts: 8,
        working_set_size: 8192,
    });
    assert!(lines.iter().all(|line| line.level == LineLevel::Info));
    assert_eq!(
        lines.last().unwrap().text,
        "Working set: 8 prompts of 1,024 tokens, 8,192 tokens in all"
    );
}

#[test]
fn a_test_begins_with_its_rate_and_says_when_nothing_is_reused() {
    let limit = Duration::from_secs(300);
    assert_eq!(
        texts(&test_start(8000, 50, 3840, Some(limit))),
        [
            "Testing cache hit rate: 50%",
            "Phase 1: Finding peak concurrency (time limit: 300s)"
        ]
    );
    assert_eq!(texts(&test_start(8000, 0, 0, Some(limit))).len(), 2);
    assert_eq!(
        texts(&test_start(1000, 25, 0, Some(limit)))[1],
        "25% of 1,000 tokens is less than one chunk; nothing is reused in this test"
    );
    assert_eq!(
        test_skipped(25).text,
        "Skipping cache hit rate 25% (already completed)"
    );
    assert_eq!(
        context_skipped(8000).text,
        "Skipping context size 8,000 (all tests already completed)"
    );
}

#[test]
fn the_warm_up_reports_progress_and_failures() {
    let t = Duration::from_secs(4);
    assert_eq!(
        warm_up_start(40, 16).text,
        "Initializing working set: sending 40 prompts to API (max concurrency: 16)..."
    );
    assert_eq!(
        warm_up_progress(10, 40, t).text,
        "  Initialized 10/40 prompts (2.5 prompts/s, ETA: 12s)"
    );
    assert_eq!(
        warm_up_progress(0, 40, Duration::ZERO).text,
        "  Initialized 0/40 prompts (n/a prompts/s, ETA: n/a)"
    );
    assert_eq!(
        texts(&warm_up_end(40, 0, t)),
        ["Working set initialization complete: 40 prompts in 4.0s (10.0 prompts/s)"]
    );
    assert_eq!(warm_up_end(40, 2, t).len(), 1, "5 % is tolerated");
    let lines = warm_up_end(40, 3, t);
    assert_eq!(
        lines[0].text,
        "Working set initialization complete: 37 prompts in 4.0s (9.2 prompts/s), 3 failed"
    );
    assert_eq!(lines[1].level, LineLevel::Warning);
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
            "  Tokens/Req: Avg=30.0, P5=30.0, P10=30.0 tok/s (P5 counts)",
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
            Note::PeakChosen(peak(true)),
            "Peak concurrency: 8 with 13,700 input tok/s (RAMP_c8)",
        ),
        (
            Note::PeakChosen(peak(false)),
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
        assert_eq!(note(&event, 2).text, text);
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
    let lines = runs_table(&[
        run("RAMP_c8", 9_000.0, 0.0),
        run("RETRY_1", 11_000.0, 0.0),
        run("RAMP_REFINE_c8_2", 10_000.0, 0.0),
    ]);
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
}

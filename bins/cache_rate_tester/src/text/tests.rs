//! The lines as a reader sees them.

mod finish;
mod period;

use std::path::Path;
use std::time::Duration;

use cli::argparse::try_parse;
use cli::logging::{Line, LineLevel};
use metrics::summary::SummaryRow;
use report::test_name::TestName;
use setup::study::{ContextSize, KvModel, StartFacts};

use super::*;
use crate::args::{Args, OPTION_GENERATIONS};
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
    let facts = StartFacts {
        model: "demo",
        tokenizer: "builtin",
        kv: &KvModel::of_name("demo"),
    };
    let small = plan("--context-sizes 1000 2000 --working-set-size 8000");
    let lines = start_facts(&small, &facts);
    assert_eq!(
        texts(&lines),
        [
            "Model: demo",
            "The KV cache of model demo is not known; estimates assume that of a 70b model",
            "KV Cache Estimate for the working set: 1.19 GB (FP8), 2.38 GB (FP16)",
            "  Context 1,000: 46.88 MB per request, 384.00 MB for 8 prompts",
            "  Context 2,000: 93.75 MB per request, 384.00 MB for 4 prompts",
            "  Total over all contexts: 768.00 MB; have that much KV cache at least",
            "Tokenizer: builtin",
        ]
    );
    assert_eq!(lines[1].level, LineLevel::Warning);
    assert_eq!(
        script_written(Path::new("out/run_command_1.sh")).text,
        "Run command saved to: out/run_command_1.sh"
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
        texts(&test_start(TestName::new(8000, 50), 3840, Some(limit))),
        [
            "Testing cache hit rate: 50%",
            "Phase 1: Finding peak concurrency (time limit: 300s)"
        ]
    );
    assert_eq!(
        texts(&test_start(TestName::new(8000, 0), 0, Some(limit))).len(),
        2
    );
    assert_eq!(
        texts(&test_start(TestName::new(1000, 25), 0, Some(limit)))[1],
        "25% of 1,000 tokens is less than one chunk; nothing is reused in this test"
    );
    assert_eq!(
        test_skipped(25).text,
        "Skipping cache hit rate 25% (already completed)"
    );
}

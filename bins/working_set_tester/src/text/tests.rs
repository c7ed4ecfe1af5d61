//! The lines as a reader sees them.

mod finish;
mod period;

use std::path::Path;

use cli::argparse::try_parse;
use cli::logging::{Line, LineLevel};
use engine::event::TestPrompts;
use report::test_name::TestName;
use setup::study::{KvModel, StartFacts};

use super::*;
use crate::args::{Args, OPTION_GENERATIONS};
use crate::plan::Plan;

fn plan(more: &str) -> Plan {
    let line = format!(
        "working_set_tester --api-endpoint http://gpu1:8000 --context-sizes 30000 --min-working-set-size 100000 \
         --max-working-set-size 5000000 --working-set-increments 10 {more}"
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
    let lines = banner(&plan(""));
    assert_eq!(
        texts(&lines),
        [
            &rule,
            "Working Set Size Performance Testing Tool",
            &rule,
            "API Endpoint: http://gpu1:8000",
            "Context Sizes: [30000]",
            "Working Set Sizes: 10 tests from 100,000 to 5,000,000 tokens",
            "Cache Hit Rates: [100]",
            "Output Tokens: 256",
            "Max TTFT: 2.0s (P95)",
            "Min Tokens/Req: not set",
            "Mode: sustained",
            "Test Duration: 300s (assessment: 30s per period)",
            "Chunk Size: 256 tokens (for cache block alignment)",
            "Output Directory: ./output",
            &rule,
            "No threshold was given; --max-ttft 2.0 (seconds) is assumed. Set one with --max-ttft or --min-tokens-per-req",
        ]
    );
    assert_eq!(lines.last().unwrap().level, LineLevel::Warning);
}

#[test]
fn the_banner_follows_mode_thresholds_and_endpoints() {
    let lines = banner(&plan(
        "--mode fixed --fixed-concurrency-levels 8 4 8 --api-endpoint http://a:1 http://b:2 --cache-hit-rates 50 0",
    ));
    let lines = texts(&lines);
    for line in [
        "API Endpoints (2 for load balancing): http://a:1, http://b:2",
        "Max TTFT: not set",
        "Mode: fixed",
        "Fixed Concurrency Levels: [8, 4]",
        "Cache Hit Rates: [0, 50]",
        "Test Duration: 300s (ramp: 60s per level)",
        "Levels given more than once are measured once: [8]",
    ] {
        assert!(lines.contains(&line), "{line} not in {lines:?}");
    }
    // A search assumes its threshold without raising its voice.
    let lines = banner(&plan("--mode ramp"));
    assert_eq!(lines.last().unwrap().level, LineLevel::Info);
    assert!(lines.last().unwrap().text.contains("--max-ttft 2.0"));
    let lines = banner(&plan(
        "--working-set-increments 1 --fixed-concurrency 4 --max-ttft 1",
    ));
    let lines = texts(&lines);
    for line in [
        "The given concurrency levels are ignored in mode sustained; --mode fixed measures them",
        "With --working-set-increments 1 only the smallest working set of 100,000 tokens is used, and \
         --max-working-set-size 5,000,000 is not",
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
    let small = plan("--context-sizes 512 --min-working-set-size 2048 --max-working-set-size 8192");
    let lines = start_facts(&small, &facts);
    assert_eq!(
        texts(&lines),
        [
            "Model: demo",
            "The KV cache of model demo is not known; estimates assume that of a 70b model",
            "KV Cache size estimates for 8,192 tokens:",
            "  FP8:  1.22 GB",
            "  FP16: 2.44 GB",
            "KV Cache Memory Requirements (Per Request)",
            "Context     512 tokens:    24.00 MB (0.023 GB) per request",
            "  Working sets: 96.00 MB (4 prompts) to 384.00 MB (16 prompts)",
            "Tokenizer: builtin",
        ]
    );
    assert_eq!(lines[1].level, LineLevel::Warning);
    // Where the script is stands in both lines: it is not where the user is.
    assert_eq!(
        texts(&script_written(Path::new("out/run_command_1.sh"))),
        [
            "Saved run command to out/run_command_1.sh",
            "To re-run this test: bash out/run_command_1.sh",
            "Initializing components...",
        ]
    );
    // 5,000,000 tokens of 160,000 bytes are 745 GiB.
    let warned = start_facts(&plan(""), &facts);
    assert!(
        warned
            .iter()
            .any(|line| line.level == LineLevel::Warning && line.text.contains("HBM and DRAM"))
    );
}

fn prompts(rounded: u64, initial: usize) -> TestPrompts {
    TestPrompts {
        rounded,
        initial,
        target: initial,
    }
}

#[test]
fn a_test_begins_with_its_size_and_its_prompts() {
    assert_eq!(rate_start(90).text, "  Testing cache hit rate: 90%");
    let fixed = plan("--mode fixed --fixed-concurrency 1");
    let test = TestName::new(30_000, 90).with_working_set(Some(644_444));
    let lines = test_start(&fixed, test, 26_880, prompts(30_208, 22));
    assert_eq!(
        texts(&lines),
        [
            "    Testing working set size: 644,444 tokens",
            &format!("    {}", "-".repeat(60)),
            "    Working set: 22 prompts × 30208 tokens = 664,576 tokens",
        ]
    );
    assert_eq!(
        test_skipped(test).text,
        "    Skipping working set size 644,444 (already completed)"
    );
}

#[test]
fn sets_and_rates_too_small_for_a_prompt_are_warned_about() {
    let fixed = plan("--mode fixed --fixed-concurrency 1");
    let test = TestName::new(200, 50).with_working_set(Some(100));
    let lines = test_start(&fixed, test, 0, prompts(256, 1));
    let warned: Vec<&str> = lines
        .iter()
        .filter(|line| line.level == LineLevel::Warning)
        .map(|line| line.text.as_str())
        .collect();
    assert_eq!(
        warned,
        [
            "    50% of 200 tokens is less than one chunk; the effective rate of this test is 0",
            "    A working set of 100 tokens is less than one prompt; one prompt of 256 tokens is used; raise \
             --min-working-set-size to at least 256",
        ]
    );
    assert_eq!(
        lines.last().unwrap().text,
        "    Working set: 1 prompt × 256 tokens = 256 tokens"
    );
    // At 0 % nothing was to be reused.
    let zero = TestName::new(200, 0).with_working_set(Some(1000));
    let lines = test_start(&fixed, zero, 0, prompts(256, 4));
    assert!(lines.iter().all(|line| line.level == LineLevel::Info));
}

//! The page of a single-prompt run: the originals' directory, and ours with everything that can be wrong.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop a test")]

#[path = "support/prepared.rs"]
mod common;

use std::fs;
use std::path::Path;

use common::parse_page;
use report::data::RunData;
use report::index::write_index;
use report::page::PageContext;
use report::single_prompt::write_single_prompt_pages;
use serde_json::{Value, json};
use tempfile::TempDir;

const ROWS: &str = "single_prompt_results_20261122_011030.csv";

/// A copy of the originals' directory with other metadata.
fn run(change: impl Fn(&mut Value)) -> (TempDir, String) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/single_prompt");
    let dir = tempfile::tempdir().unwrap();
    fs::copy(source.join(ROWS), dir.path().join(ROWS)).unwrap();
    let text = fs::read_to_string(source.join("metadata.json")).unwrap();
    let mut metadata: Value = serde_json::from_str(&text).unwrap();
    change(&mut metadata);
    fs::write(dir.path().join("metadata.json"), metadata.to_string()).unwrap();
    let warnings = write_index(dir.path(), "1.0").unwrap();
    assert_eq!(warnings, []);
    let page = fs::read_to_string(dir.path().join("index.html")).unwrap();
    let document = parse_page(&page);
    let words: Vec<&str> = document
        .descendants()
        .filter(|n| n.is_text() && !n.ancestors().any(|a| a.has_tag_name("style")))
        .filter_map(|n| n.text())
        .flat_map(str::split_whitespace)
        .collect();
    let text = words.join(" ");
    (dir, text)
}

#[test]
fn the_originals_directory_has_its_own_page() {
    let (_dir, text) = run(|_| {});
    for words in [
        "Single Prompt Performance Test",
        "Model: mock-llama-3.1-8b",
        "Context Sizes 500, 1,000, 2,000 tokens",
        "Output Tokens 8 per request",
        "Iterations 3 per context",
        "Concurrent Prompts 1",
        "Seed 7",
        "How to Interpret Baseline (cold start):",
        "Speedup: mean baseline TTFT",
        "2x to 10x shows that caching works",
        "Nothing found that casts doubt",
        "not checked: cached tokens reported by the server, the text answered from cache",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    for words in ["No results were found", "Test Notes", "Tokens/Req"] {
        assert!(!text.contains(words), "{words:?} in {text}");
    }
}

#[test]
fn everything_that_went_wrong_stands_on_the_page() {
    let (_dir, text) = run(|metadata| {
        metadata["context_sizes"] = json!([500, 1000, 2000, 4000]);
        metadata["cached_repeats"] = json!(4);
        metadata["failed_requests"] = json!(1);
        metadata["unsent_requests"] = json!(2000);
        metadata["interrupted"] = json!(true);
    });
    for words in [
        "Validity: 3 points to know",
        "The run was interrupted.",
        "1 request failed, and 2,000 not sent for that reason.",
        "No result at 4,000 tokens.",
        "Cached Repeats 4",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
}

#[test]
fn answers_that_differ_are_counted_on_the_page() {
    let rows = "context_size,iteration,prompt_type,prompt_tokens,completion_tokens,ttft,generation_time,total_time,\
                output_tokens_per_sec,reported_cached_tokens,prompt_index,token_counts,matches_cold_text\n";
    let row = |i, kind, ttft, word| {
        format!("500,{i},{kind},506,8,{ttft},0.1,1.0,80.0,,0,server,{word}\n")
    };
    let mut text = rows.to_owned();
    for i in 0..3 {
        text.push_str(&row(i, "unique", 0.5, ""));
        text.push_str(&row(i, "cached", 0.1, if i == 1 { "no" } else { "yes" }));
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(ROWS), text).unwrap();
    assert_eq!(write_index(dir.path(), "1.0").unwrap(), []);
    let page = fs::read_to_string(dir.path().join("index.html")).unwrap();
    assert!(
        page.contains("1 of 3 answers from cache are not what was answered cold"),
        "{page}"
    );
    assert!(
        page.contains("the text answered from cache. Not in these files"),
        "{page}"
    );
}

#[test]
fn metadata_without_rows_are_no_result() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("metadata.json"),
        r#"{"test_type": "single_prompt", "interrupted": true}"#,
    )
    .unwrap();
    write_index(dir.path(), "1.0").unwrap();
    let page = fs::read_to_string(dir.path().join("index.html")).unwrap();
    assert!(page.contains("Single Prompt Performance Test"));
    assert!(page.contains("No results were found in this directory."));
}

/// The mark stood in `run_facts.json` and on the dashboard, and on neither page of the figures themselves.
#[test]
fn what_the_client_limits_is_marked_in_chart_and_table() {
    let (dir, _) = run(|_| {});
    let page = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let draw = || {
        let data = RunData::read(dir.path());
        let context = PageContext::default();
        let limited = data.limited_sizes();
        write_single_prompt_pages(dir.path(), &data.single_prompt, &limited, &context).unwrap();
    };
    draw();
    assert!(!page("single_prompt_performance.html").contains("limited by the client"));
    assert!(!page("summary_table.html").contains("Limited by the client:"));
    let row = |size, prompts, is_limited| json!({"context_size": size, "prompts": prompts, "client_limited": is_limited});
    let facts = json!({
        "schema_version": 1,
        "tool": "single_prompt_tester",
        "version": "1.0",
        "sections": {"client": {"sizes": [
            row(500, "unique", false),
            row(500, "cached", true),
            row(1000, "unique", false),
            row(1000, "cached", false),
        ]}},
    });
    fs::write(dir.path().join("run_facts.json"), facts.to_string()).unwrap();
    draw();
    let note = "Limited by the client: 500 tokens (cached). These figures";
    for name in ["single_prompt_performance.html", "summary_table.html"] {
        assert!(page(name).contains(note), "{name}");
    }
    // In the read-out of the bar and of the speed-up, in either layout and in the table.
    let chart = page("single_prompt_performance.html");
    assert!(chart.contains("std, limited by the client)"), "{chart}");
    assert!(chart.contains("(limited by the client)"), "{chart}");
}

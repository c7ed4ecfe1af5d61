//! The page of a single-prompt run: the originals' directory, and ours with everything that can be wrong.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop a test")]

#[path = "support/prepared.rs"]
mod common;

use std::fs;
use std::path::Path;

use common::parse_page;
use report::index::write_index;
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
        "How to Interpret Baseline:",
        "Speedup: mean baseline TTFT",
        "2x to 10x shows effective caching",
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
        metadata["num_iterations"] = json!(1);
        metadata["cached_repeats"] = json!(4);
        metadata["failed_requests"] = json!(1);
        metadata["unsent_requests"] = json!(2000);
        metadata["interrupted"] = json!(true);
        metadata["verdicts"] = json!({
            "caching": {"verdict": "cannot tell", "text": "Cannot tell whether <b>caching</b> works"},
            "output": {"verdict": "different", "text": "Output from cache differs: 1 of 2"},
        });
    });
    for words in [
        "Validity: 5 points to know",
        "The run was stopped before its end.",
        "1 request failed, and 2,000 not sent for that reason.",
        "Only one prompt per context size.",
        "Cannot tell whether <b>caching</b> works.",
        "Output from cache differs: 1 of 2.",
        "Cached Repeats 4 per prompt",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
}

#[test]
fn good_verdicts_are_no_doubt() {
    let (_dir, text) = run(|metadata| {
        metadata["failed_requests"] = json!(0);
        metadata["interrupted"] = json!(false);
        metadata["concurrent_prompts"] = json!(8);
        metadata["verdicts"] = json!({
            "caching": {"verdict": "works", "text": "Caching works"},
            "output": {"verdict": "not compared", "text": "Output not compared"},
        });
    });
    assert!(text.contains("Nothing found that casts doubt"), "{text}");
    assert!(
        text.contains("8 prompts were sent at the same moment"),
        "{text}"
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

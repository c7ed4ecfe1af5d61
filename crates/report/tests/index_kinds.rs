//! The index of every kind of directory: what it is taken for, and the figures that stand on it.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop a test")]

#[path = "support/prepared.rs"]
mod common;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use common::{elements, parse_page};
use report::catalogue::{write_comparison_charts, write_test_charts};
use report::combine::{CombinedRun, Comparison, write_comparison};
use report::data::RunData;
use report::index::{RunKind, write_index_with_kind};
use report::page::PageContext;
use report::single_prompt::write_single_prompt_pages;
use tempfile::TempDir;

fn data_of(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn copy(name: &str) -> TempDir {
    let target = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(data_of(name)).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), target.path().join(entry.file_name())).unwrap();
        }
    }
    target
}

fn draw(dir: &Path) {
    let data = RunData::read(dir);
    let context = PageContext::default();
    write_comparison_charts(dir, &data, &context).unwrap();
    write_test_charts(dir, &data, &context).unwrap();
    if !data.single_prompt.is_empty() {
        write_single_prompt_pages(dir, &data.single_prompt, &data.limited_sizes(), &context)
            .unwrap();
    }
}

/// The index: what the directory was taken for, its words, and how often each page is linked.
fn index(dir: &Path) -> (RunKind, String, HashMap<String, usize>) {
    let (kind, warnings) = write_index_with_kind(dir, "1.0").unwrap();
    assert_eq!(warnings, []);
    let page = fs::read_to_string(dir.join("index.html")).unwrap();
    let doc = parse_page(&page);
    let words: Vec<String> = doc
        .descendants()
        .filter(|n| n.is_text() && !n.ancestors().any(|a| a.has_tag_name("style")))
        .filter_map(|n| n.text().map(str::to_owned))
        .collect();
    let mut links = HashMap::new();
    for href in elements(&doc, "a").filter_map(|a| a.attribute("href")) {
        *links.entry(href.to_owned()).or_insert(0) += 1;
    }
    (kind, words.join(" "), links)
}

fn assert_contains(words: &str, expected: &[&str]) {
    for part in expected {
        assert!(words.contains(part), "{part}\n{words}");
    }
    for nothing in ["NaN", "inf ", "None"] {
        assert!(!words.contains(nothing), "{nothing}\n{words}");
    }
}

#[test]
fn every_page_of_every_kind_is_linked_once() {
    for name in [
        "cache_rate_ramp",
        "cache_rate_fixed",
        "cache_rate_sustained",
        "combine_run_b",
        "working_set_fixed",
        "working_set_sustained",
        "single_prompt",
    ] {
        let dir = copy(name);
        draw(dir.path());
        let (_, words, links) = index(dir.path());
        for entry in fs::read_dir(dir.path()).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            if file.ends_with(".html") && file != "index.html" {
                assert_eq!(links.get(&file), Some(&1), "{name}: {file}");
            }
        }
        assert!(!words.contains("NaN"), "{name}");
    }
}

#[test]
fn a_single_prompt_directory_is_known_with_and_without_its_pages() {
    let dir = copy("single_prompt");
    for drawn in [false, true] {
        if drawn {
            draw(dir.path());
        }
        let (kind, words, links) = index(dir.path());
        assert_eq!(kind, RunKind::SinglePrompt);
        assert_contains(
            &words,
            &[
                "Single Prompt Performance Test",
                "mock-llama-3.1-8b",
                "3 per context",
                "Concurrent Prompts",
                "Cached Repeats",
                // The best of three contexts, and all of them in the table.
                "11.91x",
                "7.06x",
                "Total Requests 27 9 cold, 18 cached",
                "How to Interpret",
            ],
        );
        assert!(!links.contains_key("metadata.json"));
        assert!(!words.contains("KV Cache Estimates"));
        assert_eq!(
            links.contains_key("single_prompt_performance.html"),
            drawn,
            "{words}"
        );
        if drawn {
            assert_contains(
                &words,
                &["TTFT: Cold Start vs Cached", "Summary Statistics Table"],
            );
        }
    }
    // The summary table is the originals', and more columns behind.
    let page = fs::read_to_string(dir.path().join("summary_table.html")).unwrap();
    let doc = parse_page(&page);
    let cells: Vec<&str> = elements(&doc, "td").filter_map(|n| n.text()).collect();
    let expected = fs::read_to_string(data_of("single_prompt/expected/summary_table.csv")).unwrap();
    for (row, line) in cells.chunks(11).zip(expected.lines().skip(1)) {
        let line = line
            .replace("\"1,000\"", "1;000")
            .replace("\"2,000\"", "2;000");
        let wanted: Vec<String> = line.split(',').map(|c| c.replace(';', ",")).collect();
        assert_eq!(row[..7], wanted[..], "{line}");
    }
    assert_eq!(cells.len(), 33);
}

#[test]
fn a_working_set_run_says_what_growth_costs() {
    let dir = copy("working_set_fixed");
    // Without charts the column of the summary tells.
    assert_eq!(index(dir.path()).0, RunKind::WorkingSet);
    draw(dir.path());
    let (kind, words, links) = index(dir.path());
    assert_eq!(kind, RunKind::WorkingSet);
    assert_contains(
        &words,
        &[
            "Working Set Performance Test",
            "Left at the largest working set",
            "2,048 → 8,192",
            "Min Working Set 2,048 tokens",
            "Max Working Set 8,192 tokens",
            "WS: 2,048, Cache: 50%",
            "WS: 8,192, Cache: 100%",
            "Performance vs Working Set (Ctx: 512 tokens, Cache: 50%)",
            "Cache Hit Rate Comparison (Context: 512 tokens)",
            "Context: 512 tokens (4 tests)",
            "For 8,192 tokens",
            "Working set",
        ],
    );
    assert_eq!(links.get("performance_vs_working_set_512.html"), Some(&1));
    assert!(words.contains("Nothing found"), "{words}");
    // A planned size without a row is named, with its working set.
    let path = dir.path().join("progress.json");
    let mut progress: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    progress["parameters"]["working_set_sizes"] = serde_json::json!([2048, 8192, 9999]);
    fs::write(&path, progress.to_string()).unwrap();
    let (_, words, _) = index(dir.path());
    assert_contains(
        &words,
        &[
            "2 planned tests have no result: 512 tokens, working set 9,999 at 50%; 512 tokens, working set 9,999 at 100%.",
        ],
    );
}

#[test]
fn a_sustained_run_without_a_summary_shows_what_its_periods_amount_to() {
    let dir = copy("working_set_sustained");
    draw(dir.path());
    let (kind, words, _) = index(dir.path());
    assert_eq!(kind, RunKind::WorkingSet);
    assert_contains(
        &words,
        &[
            "Sustained Mode Performance Test",
            "Periods 7",
            "Total Requests 182",
            "93,184 input, 5,824 output",
            "2 – 8",
            "3 ramp ups, 4 ramp downs",
            "1,024 → 10,240",
            "Best input throughput under the threshold 1,734 tok/s",
            "Context 512 tokens, WS: 10,000 - Cache 90%",
        ],
    );
    // Growth began with few requests in flight: no single figure tells what it cost.
    assert!(
        !words.contains("Left at the largest working set"),
        "{words}"
    );
}

#[test]
fn a_sustained_run_without_charts_is_a_sustained_one_and_with_them_one_over_rates() {
    let dir = copy("cache_rate_sustained");
    let (kind, words, _) = index(dir.path());
    assert_eq!(kind, RunKind::Sustained);
    assert_contains(
        &words,
        &[
            "Sustained Mode Performance Test",
            "About Sustained Mode",
            "All 2 sustained tests",
            "Sustained test: 50% cache, 1,000 tokens",
            "Assessment Period 5s",
        ],
    );
    draw(dir.path());
    assert_eq!(index(dir.path()).0, RunKind::CacheRate);
}

#[test]
fn a_comparison_is_known_and_nobody_looks_for_results_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let load = |name: &str| CombinedRun::load(&data_of(name), name).unwrap().0;
    let comparison = Comparison {
        runs: vec![load("combine_run_a"), load("combine_run_b")],
    };
    write_comparison(dir.path(), &comparison, &[], "1", &|| false).unwrap();
    // Files of the first originals, which wrote contexts as fractions.
    fs::write(dir.path().join("ttft_comparison_ctx800.0.html"), "<p/>").unwrap();
    let (kind, words, links) = index(dir.path());
    assert_eq!(kind, RunKind::Combined);
    assert_contains(
        &words,
        &[
            "Combined Test Comparison",
            "Summary Comparison Table",
            "Input Throughput Comparison (800 tokens)",
            "TTFT Comparison (Context: 1,600 tokens)",
        ],
    );
    assert!(!words.contains("No results were found"), "{words}");
    assert_eq!(links.get("ttft_comparison_ctx800.0.html"), Some(&1));
}

/// Throughput above the threshold is no measure of what the server can serve, so a gain over such a test is
/// none either: it is shown only where there is no other, and then says so.
#[test]
fn a_gain_over_a_test_that_broke_the_threshold_is_not_the_headline_or_says_so() {
    let dir = copy("combine_run_a");
    let path = dir.path().join("progress.json");
    let stored = fs::read_to_string(&path).unwrap();
    let with_limit = |limit: &str| {
        let text = stored.replace("\"max_ttft\": 0.15", &format!("\"max_ttft\": {limit}"));
        assert_ne!(text, stored);
        fs::write(&path, text).unwrap();
        index(dir.path()).1
    };
    // At 0.115 s the P95 of 800 tokens at 0 % (0.118 s) is too high; so is that of 1,600 at 100 % (0.134 s).
    let words = with_limit("0.115");
    assert_contains(
        &words,
        &[
            "What the cache is worth 2.89x",
            "but the test at 100% broke the threshold",
            "0%* → 100%",
            "0% → 100%*",
            "* This test broke the threshold",
        ],
    );
    let words = with_limit("0.13");
    assert_contains(
        &words,
        &["What the cache is worth 1.11x", "800 tokens; TTFT"],
    );
    assert!(!words.contains("but the test at"), "{words}");
}

#[test]
fn a_throughput_reads_the_same_in_its_box_and_in_the_tables() {
    for name in ["combine_run_a", "cache_rate_ramp", "cache_rate_fixed"] {
        let dir = copy(name);
        let (_, words, _) = index(dir.path());
        let (_, rest) = words.split_once("Peak Input Throughput ").unwrap();
        let figure = rest.split(" tok/s").next().unwrap();
        // In the box of the headline or of the summary, in the gains, and in the table of all tests.
        assert!(
            words.matches(figure).count() >= 2,
            "{name}: {figure}\n{words}"
        );
        let rounded_up = figure.replace(',', "").parse::<u64>().unwrap() + 1;
        let other = report::chart::count(rounded_up);
        assert!(!words.contains(&other), "{name}: {other}\n{words}");
    }
}

#[test]
fn names_decide_in_the_published_order() {
    let kind = |files: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let text = if file.starts_with("summary_2") {
                "context_size,working_set_size\n"
            } else {
                "{}"
            };
            fs::write(dir.path().join(file), text).unwrap();
        }
        fs::create_dir(dir.path().join("performance_vs_working_set_below.html")).unwrap();
        write_index_with_kind(dir.path(), "1").unwrap().0
    };
    let combined = ["input_throughput_ctx8.html", "summary_comparison.csv"];
    for (files, expected) in [
        (&[][..], RunKind::CacheRate),
        (&combined[..], RunKind::Combined),
        (&combined[1..], RunKind::CacheRate),
        (
            &[
                "input_throughput_ctx8.html",
                "single_prompt_performance.html",
            ][..],
            RunKind::SinglePrompt,
        ),
        (
            &[
                "single_prompt_performance.html",
                "performance_vs_working_set_8.html",
            ][..],
            RunKind::SinglePrompt,
        ),
        (
            &[
                "performance_vs_working_set_8.html",
                "performance_vs_cache_rate_8.html",
            ][..],
            RunKind::WorkingSet,
        ),
        (
            &[
                "performance_vs_cache_rate_8.html",
                "sustained_periods_ctx8_cache0_20260101_000000.csv",
            ][..],
            RunKind::CacheRate,
        ),
        (
            &["sustained_periods_notes.txt", "summary_20260101_000000.csv"][..],
            RunKind::Sustained,
        ),
        (&["summary_20260101_000000.csv"][..], RunKind::WorkingSet),
    ] {
        assert_eq!(kind(files), expected, "{files:?}");
    }
}

/// A page said "nothing found that casts doubt" of a run whose requests nobody had read.
#[test]
fn requests_of_a_trace_replay_that_were_not_read_are_a_doubt_and_no_figure() {
    for what in ["absent", "without its columns", "too large"] {
        let dir = copy("trace_replay");
        let details = dir.path().join("detailed_results.csv");
        match what {
            "absent" => fs::remove_file(details).unwrap(),
            "too large" => {
                let file = fs::File::options().write(true).open(details).unwrap();
                file.set_len(300 * 1024 * 1024).unwrap();
            }
            _ => fs::write(details, "user_id,request_idx\nUser-001,0\n").unwrap(),
        }
        let (kind, _) = write_index_with_kind(dir.path(), "1.0").unwrap();
        assert_eq!(kind, RunKind::TraceReplay);
        let page = fs::read_to_string(dir.path().join("index.html")).unwrap();
        assert!(!page.contains("Nothing found that casts doubt"), "{what}");
        assert!(page.contains("detailed_results.csv"), "{what}");
        assert!(page.contains("requests were not read"), "{what}: {page}");
        assert!(!page.contains("0 failed"), "{what}");
        assert!(
            page.contains("Not in these files, so not checked: failed requests."),
            "{what}"
        );
    }
    let whole = copy("trace_replay");
    let (_, words, _) = index(whole.path());
    assert_contains(&words, &["Checked: readable files, failed requests."]);
}

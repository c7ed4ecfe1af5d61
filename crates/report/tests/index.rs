//! The index of result directories: the originals', ours, broken ones.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop a test")]

#[path = "support/prepared.rs"]
mod common;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{elements, parse_page};
use report::catalogue::{write_comparison_charts, write_test_charts};
use report::data::RunData;
use report::index::write_index;
use report::page::PageContext;
use tempfile::TempDir;

/// A copy of one of the originals' directories.
fn golden(name: &str) -> TempDir {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name);
    let target = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), target.path().join(entry.file_name())).unwrap();
    }
    target
}

/// As [`golden`], with all charts drawn.
fn drawn(name: &str) -> (TempDir, Vec<String>) {
    let dir = golden(name);
    let data = RunData::read(dir.path());
    assert_eq!(data.warnings, [], "{name}");
    let context = PageContext {
        model: data.model().map(str::to_owned),
        version: "1.6".to_owned(),
    };
    let mut written: Vec<PathBuf> = write_comparison_charts(dir.path(), &data, &context).unwrap();
    written.extend(write_test_charts(dir.path(), &data, &context).unwrap());
    let mut names: Vec<String> = written
        .iter()
        .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    (dir, names)
}

fn index(dir: &Path) -> String {
    fs::read_to_string(dir.join("index.html")).unwrap()
}

/// Text of a page without markup.
fn text(page: &str) -> String {
    let doc = parse_page(page);
    let words: Vec<String> = doc
        .descendants()
        .filter(|n| n.is_text() && !n.ancestors().any(|a| a.has_tag_name("style")))
        .filter_map(|n| n.text().map(str::to_owned))
        .collect();
    words.join(" ")
}

#[test]
fn a_run_of_the_originals_gets_every_chart_of_the_catalogue() {
    let (_dir, names) = drawn("combine_run_a");
    let expected = [
        "input_throughput_comparison.html",
        "output_metrics_comparison.html",
        "output_throughput_comparison.html",
        "performance_vs_cache_rate_1600.html",
        "performance_vs_cache_rate_800.html",
        "ramp_ctx1600_cache0.html",
        "ramp_ctx1600_cache100.html",
        "ramp_ctx1600_cache50.html",
        "ramp_ctx800_cache0.html",
        "ramp_ctx800_cache100.html",
        "ramp_ctx800_cache50.html",
        "ttft_heatmap.html",
    ];
    assert_eq!(names, expected);
    let (_dir, names) = drawn("cache_rate_fixed");
    assert!(
        names.contains(&"fixed_ctx1000_cache0.html".to_owned()),
        "{names:?}"
    );
    assert!(
        !names
            .iter()
            .any(|n| n.contains("heatmap") || n.starts_with("ramp_")),
        "{names:?}"
    );
    let (_dir, names) = drawn("cache_rate_ramp");
    assert_eq!(names.len(), 6, "{names:?}");
}

#[test]
fn a_ramp_chart_shows_the_levels_the_peak_and_the_threshold_of_its_test() {
    let (dir, _) = drawn("combine_run_a");
    let page = fs::read_to_string(dir.path().join("ramp_ctx1600_cache0.html")).unwrap();
    let data = common::page_data(&page);
    let points = data["panels"][0]["series"][0]["points"].as_array().unwrap();
    let levels: Vec<f64> = points.iter().map(|p| p[0].as_f64().unwrap()).collect();
    assert_eq!(levels, [1.0, 2.0, 3.0, 6.0]);
    assert!(page.contains("Peak Concurrency (1)") && page.contains("TTFT Threshold (0.15s)"));
    // V1 knew no third line, and these files hold no window-accounted figures.
    assert!(
        !page.contains("Summary: ") && page.contains("originals&#39; formula")
            || page.contains("originals' formula")
    );
}

#[test]
fn charts_show_the_figures_of_the_files() {
    let (dir, _) = drawn("cache_rate_ramp");
    let data = RunData::read(dir.path());
    let page = fs::read_to_string(dir.path().join("performance_vs_cache_rate_1000.html")).unwrap();
    let json = common::page_data(&page);
    let avg = json["panels"][2]["series"]
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["name"] == "Avg TTFT")
        .unwrap();
    for row in &data.summary {
        let rate = f64::from(row.cache_hit_rate);
        let point = avg["points"]
            .as_array()
            .unwrap()
            .iter()
            .find(|p| p[0] == rate)
            .unwrap();
        let shown = point[1].as_f64().unwrap();
        assert!(
            (shown / row.avg_ttft.unwrap() - 1.0).abs() < 1e-9,
            "{shown} at {rate}"
        );
    }
}

#[test]
fn every_page_is_linked_once_in_the_order_of_its_numbers() {
    let (dir, names) = drawn("combine_run_a");
    for foreign in [
        "ramp_notes.html",
        "a & b <i>.html",
        "performance_vs_cache_rate_12000.html",
    ] {
        fs::write(dir.path().join(foreign), "<p>not ours</p>").unwrap();
    }
    assert_eq!(write_index(dir.path(), "1.6").unwrap(), []);
    let page = index(dir.path());
    let doc = parse_page(&page);
    let mut links: HashMap<&str, usize> = HashMap::new();
    for href in elements(&doc, "a").filter_map(|a| a.attribute("href")) {
        *links.entry(href).or_insert(0) += 1;
    }
    for name in &names {
        assert_eq!(links.get(name.as_str()), Some(&1), "{name}");
    }
    assert_eq!(links.get("a%20%26%20b%20%3Ci%3E.html"), Some(&1));
    assert_eq!(links.get("ramp_notes.html"), Some(&1));
    assert!(links.values().all(|n| *n == 1), "{links:?}");
    assert!(!links.contains_key("index.html"));
    let at = |name: &str| page.find(&format!("href=\"{name}\"")).unwrap();
    assert!(at("performance_vs_cache_rate_800.html") < at("performance_vs_cache_rate_1600.html"));
    assert!(at("performance_vs_cache_rate_1600.html") < at("performance_vs_cache_rate_12000.html"));
    assert!(at("ramp_ctx800_cache50.html") < at("ramp_ctx800_cache100.html"));
    assert!(at("ramp_ctx800_cache100.html") < at("ramp_ctx1600_cache0.html"));
    // Our charts come with their picture, foreign pages without.
    let pictures = elements(&doc, "img").count();
    assert_eq!(pictures, names.len());
    assert!(elements(&doc, "img").all(|i| {
        i.attribute("src")
            .unwrap()
            .starts_with("data:image/svg+xml")
    }));
}

#[test]
fn the_figures_of_a_known_run_stand_on_its_page() {
    let (dir, _) = drawn("combine_run_a");
    write_index(dir.path(), "1.6").unwrap();
    let words = text(&index(dir.path()));
    for expected in [
        "Cache Rate Performance Test",
        "179",
        "25,519 tok/s",
        "122 tok/s",
        "0.052s",
        "610.35 MB",
        "1.19 GB",
        "For 4,000 tokens",
        "800, 1,600 tokens",
        "0% to 100% (3 rates)",
        "6 per request",
        "0.15s (P95)",
        "7s per test",
        "Context: 800 tokens (3 tests)",
        "Best input throughput under the threshold",
        "100% cache, 1,600 tokens, concurrency 5, P95 TTFT 0.134s",
        "Generated with KV Cache Tester v1.6",
    ] {
        assert!(words.contains(expected), "{expected}\n{words}");
    }
    assert!(!words.contains("NaN") && !words.contains("inf "));
}

#[test]
fn headline_figures_come_before_everything_else() {
    let (dir, _) = drawn("combine_run_a");
    write_index(dir.path(), "1.6").unwrap();
    let page = index(dir.path());
    let at = |words: &str| {
        page.find(words)
            .unwrap_or_else(|| panic!("{words} is missing"))
    };
    let order = [
        "Best input throughput",
        "Validity",
        "Test Configuration",
        "Performance Summary",
        "KV Cache Estimates",
        "Interactive Visualizations",
        "Data Files",
        "Test Notes",
        "Generated with",
    ];
    for pair in order.windows(2) {
        assert!(at(pair[0]) < at(pair[1]), "{pair:?}");
    }
}

#[test]
fn a_test_over_the_threshold_is_not_the_best_and_is_named_as_a_doubt() {
    // At 800 tokens and 50 % the P95 is 0.1517 s with a threshold of 0.15 s, and its output rate the highest.
    let (dir, _) = drawn("combine_run_a");
    write_index(dir.path(), "1.6").unwrap();
    let words = text(&index(dir.path()));
    assert!(
        words.contains("1 test is above the threshold at the peak level: 800 tokens at 50%."),
        "{words}"
    );
    assert!(
        words.contains("Not in these files, so not checked: failed and cancelled requests"),
        "{words}"
    );
}

/// A page spoke of the "best under the threshold" where no file says what the threshold was about.
#[test]
fn a_result_that_could_not_be_judged_is_not_said_to_be_under_the_threshold() {
    let dir = golden("cache_rate_ramp");
    let path = dir.path().join("progress.json");
    let mut progress: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for (metric, limit, expected) in [
        (
            "max",
            1e6,
            "Best input throughput (threshold not in these files)",
        ),
        ("p95", 1e6, "Best input throughput under the threshold"),
        (
            "p95",
            1e-6,
            "Best input throughput (no test kept the threshold)",
        ),
    ] {
        progress["parameters"]["ttft_metric"] = metric.into();
        progress["parameters"]["max_ttft"] = limit.into();
        fs::write(&path, progress.to_string()).unwrap();
        write_index(dir.path(), "1").unwrap();
        let words = text(&index(dir.path()));
        assert!(words.contains(expected), "{metric} {limit}: {words}");
    }
}

#[test]
fn broken_files_become_warnings_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("progress.json"), "{bad").unwrap();
    fs::write(dir.path().join("summary_20261122_010101.csv"), "").unwrap();
    let warnings = write_index(dir.path(), "1.6").unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let words = text(&index(dir.path()));
    assert!(
        words.contains("progress.json: ") && words.contains("summary_20261122_010101.csv: "),
        "{words}"
    );
    assert!(words.contains("No results were found"));
}

/// A pipe of the name of a file kept every program waiting for ever.
#[cfg(unix)]
#[test]
fn a_pipe_instead_of_a_file_is_a_warning() {
    for (data, names) in [
        (
            "cache_rate_ramp",
            &[
                "progress.json",
                "test_metadata.json",
                "run_facts.json",
                "metadata.json",
            ][..],
        ),
        (
            "trace_replay",
            &[
                "progress.json",
                "test_metadata.json",
                "detailed_results.csv",
            ][..],
        ),
    ] {
        let dir = golden(data);
        for name in names {
            let path = dir.path().join(name);
            if path.exists() {
                fs::remove_file(&path).unwrap();
            }
            let made = std::process::Command::new("mkfifo").arg(&path).status();
            assert!(made.unwrap().success());
        }
        let (done, wait) = std::sync::mpsc::channel();
        let path = dir.path().to_owned();
        std::thread::spawn(move || done.send(write_index(&path, "1").unwrap()));
        let warnings = wait
            .recv_timeout(std::time::Duration::from_secs(60))
            .unwrap();
        for name in names {
            let of_name = |w: &&report::data::DataWarning| w.file == *name;
            let warning = warnings.iter().find(of_name).unwrap();
            assert!(warning.message.contains("it is not a file"), "{warning}");
        }
        assert!(index(dir.path()).contains("it is not a file"));
    }
}

/// A link to the newest summary whose file was gone let an older summary pass for the newest, without a word.
#[cfg(unix)]
#[test]
fn a_newest_summary_that_is_gone_is_said_to_be() {
    let dir = golden("cache_rate_ramp");
    let name = "summary_20291122_000000.csv";
    std::os::unix::fs::symlink("/nowhere/summary.csv", dir.path().join(name)).unwrap();
    let warnings = write_index(dir.path(), "1").unwrap();
    assert!(warnings.iter().any(|w| w.file == name), "{warnings:?}");
    assert!(index(dir.path()).contains(name));
}

#[test]
fn an_empty_directory_gets_a_page_and_a_missing_one_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(write_index(dir.path(), "1.6").unwrap(), []);
    assert!(text(&index(dir.path())).contains("Model:  Unknown"));
    let error = write_index(&dir.path().join("absent"), "1.6").unwrap_err();
    assert!(error.to_string().contains("absent"));
}

#[test]
fn values_from_files_are_text_and_never_markup() {
    let dir = golden("cache_rate_fixed");
    let nasty = "<script>alert(1)</script>\"'& 🚀 é".to_owned() + &"x".repeat(300);
    let path = dir.path().join("test_metadata.json");
    let metadata = serde_json::json!({"model": nasty, "api_endpoints": [nasty], "mode": nasty, "timestamp": nasty});
    fs::write(path, metadata.to_string()).unwrap();
    let progress = fs::read_to_string(dir.path().join("progress.json")).unwrap();
    let mut progress: serde_json::Value = serde_json::from_str(&progress).unwrap();
    for key in ["tokenizer_id", "ttft_metric", "mode", "seed"] {
        progress["parameters"][key] = nasty.clone().into();
    }
    progress["parameters"]["api_endpoints"] = serde_json::json!([nasty, nasty]);
    fs::write(dir.path().join("progress.json"), progress.to_string()).unwrap();
    let data = RunData::read(dir.path());
    let context = PageContext {
        model: data.model().map(str::to_owned),
        version: "1".to_owned(),
    };
    for path in write_comparison_charts(dir.path(), &data, &context).unwrap() {
        let page = fs::read_to_string(path).unwrap();
        assert_eq!(page.matches("<script").count(), 2);
        parse_page(&page);
    }
    write_index(dir.path(), "1").unwrap();
    let page = index(dir.path());
    assert!(!page.contains("<script"));
    assert!(text(&page).contains(&nasty));
}

#[test]
fn parameters_of_odd_types_and_sizes_do_no_harm() {
    let dir = golden("cache_rate_ramp");
    let odd = [
        serde_json::json!({"parameters": {"context_sizes": "many", "cache_hit_rates": [], "max_ttft": -1, "working_set_size": 1.5,
            "output_tokens": null, "api_endpoints": [], "test_duration": 1e300, "chunk_size": 0, "num_retries": -3}, "completed_tests": []}),
        serde_json::json!({"parameters": {"context_sizes": [0, 18446744073709551615u64], "cache_hit_rates": [4294967296u64],
            "working_set_size": 18446744073709551615u64, "max_ttft": 1e-300, "ttft_metric": "max", "chunk_size": 18446744073709551615u64},
            "completed_tests": []}),
    ];
    for progress in odd {
        fs::write(dir.path().join("progress.json"), progress.to_string()).unwrap();
        let data = RunData::read(dir.path());
        let context = PageContext::default();
        write_comparison_charts(dir.path(), &data, &context).unwrap();
        write_test_charts(dir.path(), &data, &context).unwrap();
        write_index(dir.path(), "1").unwrap();
        parse_page(&index(dir.path()));
    }
}

#[test]
fn nothing_but_the_index_is_written_and_no_temporary_file_stays() {
    let (dir, _) = drawn("cache_rate_ramp");
    let names = || {
        let mut names: Vec<String> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let before = names();
    write_index(dir.path(), "1").unwrap();
    write_index(dir.path(), "1").unwrap();
    let after: Vec<String> = names().into_iter().filter(|n| n != "index.html").collect();
    assert_eq!(before, after);
}

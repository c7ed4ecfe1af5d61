//! The real binary: the acceptance examples, every kind of directory, and what may be wrong with one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use tempfile::TempDir;

fn tool() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("regenerate_graphs"))
}

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

fn copy(name: &str) -> TempDir {
    let source: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../crates/report/tests/data")
        .join(name);
    let target = scratch();
    for entry in fs::read_dir(source).expect("the reference data are there") {
        let entry = entry.expect("a directory can be listed");
        if entry.path().is_file() {
            fs::copy(entry.path(), target.path().join(entry.file_name()))
                .expect("it can be copied");
        }
    }
    target
}

/// Names of the pages of a directory.
fn pages(dir: &Path) -> BTreeSet<String> {
    names(dir)
        .into_iter()
        .filter(|n| n.ends_with(".html"))
        .collect()
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir)
        .expect("a directory can be listed")
        .map(|e| {
            e.expect("it can be listed")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| format!("{n}.html")).collect()
}

/// The values that a page holds for its script.
fn data(dir: &Path, page: &str) -> serde_json::Value {
    let text = fs::read_to_string(dir.join(format!("{page}.html"))).expect("the page is there");
    let before = "<script type=\"application/json\" id=\"chart-data\">";
    let (_, rest) = text.split_once(before).expect("a chart page holds data");
    let (json, _) = rest.split_once("</script>").expect("the data end");
    serde_json::from_str(json).expect("the data are JSON")
}

#[test]
fn a_ramp_of_the_first_originals_gets_exactly_its_twelve_pages() {
    let dir = copy("combine_run_a");
    let before = names(dir.path());
    tool()
        .arg(dir.path())
        .assert()
        .code(0)
        .stdout(is_empty())
        .stderr(
            contains("Regenerating Graphs\n")
                .and(contains("Tool: cache_rate_tester\n"))
                .and(contains("Loaded 6 test results\n"))
                .and(contains(
                    "Generating ramp graph for context=1600, cache_rate=50%\n",
                ))
                .and(contains("All graphs regenerated successfully!\n"))
                .and(contains("\u{1b}").not()),
        );
    let expected = set(&[
        "performance_vs_cache_rate_800",
        "performance_vs_cache_rate_1600",
        "input_throughput_comparison",
        "output_throughput_comparison",
        "output_metrics_comparison",
        "ttft_heatmap",
        "ramp_ctx800_cache0",
        "ramp_ctx800_cache50",
        "ramp_ctx800_cache100",
        "ramp_ctx1600_cache0",
        "ramp_ctx1600_cache50",
        "ramp_ctx1600_cache100",
    ]);
    // No index where there was none, nothing deleted, no temporary file left.
    assert_eq!(pages(dir.path()), expected);
    assert_eq!(names(dir.path()), &before | &expected);
    let ramp = data(dir.path(), "ramp_ctx1600_cache0");
    let points = ramp["panels"][0]["series"][0]["points"]
        .as_array()
        .expect("points");
    let levels: Vec<f64> = points.iter().filter_map(|p| p[0].as_f64()).collect();
    assert_eq!(levels, [1.0, 2.0, 3.0, 6.0]);
    let page =
        fs::read_to_string(dir.path().join("ramp_ctx1600_cache0.html")).expect("it is there");
    assert!(page.contains("Peak Concurrency (1)") && page.contains("TTFT Threshold (0.15s)"));
}

#[test]
fn other_runs_get_the_pages_of_their_kind() {
    for (name, tool_name, expected) in [
        (
            "combine_run_b",
            "cache_rate",
            &[
                "performance_vs_cache_rate_800",
                "input_throughput_comparison",
                "output_throughput_comparison",
                "output_metrics_comparison",
                "fixed_ctx800_cache0",
                "fixed_ctx800_cache50",
                "fixed_ctx800_cache100",
            ][..],
        ),
        (
            "cache_rate_sustained",
            "cache_rate",
            &[
                "performance_vs_cache_rate_1000",
                "input_throughput_comparison",
                "output_throughput_comparison",
                "output_metrics_comparison",
                "sustained_ctx1000_cache0",
                "sustained_ctx1000_cache50",
            ][..],
        ),
        (
            "working_set_sustained",
            "working_set",
            &[
                "performance_vs_working_set_512",
                "input_throughput_comparison",
                "output_throughput_comparison",
                "output_metrics_comparison",
                "cache_comparison_ctx512",
                "sustained_ctx512_ws10000_cache90",
            ][..],
        ),
        (
            "working_set_fixed",
            "working_set",
            &[
                "performance_vs_working_set_512",
                "performance_vs_working_set_512_cache50",
                "performance_vs_working_set_512_cache100",
                "input_throughput_comparison",
                "input_throughput_comparison_cache50",
                "input_throughput_comparison_cache100",
                "output_throughput_comparison",
                "output_throughput_comparison_cache50",
                "output_throughput_comparison_cache100",
                "output_metrics_comparison",
                "output_metrics_comparison_cache50",
                "output_metrics_comparison_cache100",
                "cache_comparison_ctx512",
                "fixed_ctx512_ws2048_cache50",
                "fixed_ctx512_ws2048_cache100",
                "fixed_ctx512_ws8192_cache50",
                "fixed_ctx512_ws8192_cache100",
            ][..],
        ),
    ] {
        let dir = copy(name);
        tool()
            .arg(dir.path())
            .args(["--tool", tool_name])
            .assert()
            .code(0);
        assert_eq!(pages(dir.path()), set(expected), "{name}");
    }
}

#[test]
fn an_index_is_refreshed_where_there_is_one() {
    let dir = copy("cache_rate_ramp");
    fs::write(dir.path().join("index.html"), "old").expect("it can be written");
    tool().arg(dir.path()).assert().code(0);
    let page = fs::read_to_string(dir.path().join("index.html")).expect("it is there");
    assert!(page.contains("href=\"ramp_ctx1000_cache50.html\""));
}

#[test]
fn times_of_change_do_not_matter() {
    let dir = copy("cache_rate_ramp");
    tool().arg(dir.path()).assert().code(0);
    let drawn = data(dir.path(), "performance_vs_cache_rate_1000");
    // The older summary and the older detail file are written last.
    for name in [
        "summary_20261122_010848.csv",
        "detailed_results_1000_20261122_010848.csv",
    ] {
        let bytes = fs::read(dir.path().join(name)).expect("it is there");
        fs::write(dir.path().join(name), bytes).expect("it can be written");
    }
    tool().arg(dir.path()).assert().code(0);
    assert_eq!(drawn, data(dir.path(), "performance_vs_cache_rate_1000"));
}

#[test]
fn directories_without_usable_data_are_one_line_and_exit_1() {
    let empty = scratch();
    tool()
        .arg(empty.path())
        .assert()
        .code(1)
        .stderr(contains(format!(
            "No summary_*.csv files found in {}",
            empty.path().display()
        )));
    let single = copy("single_prompt");
    tool()
        .arg(single.path())
        .assert()
        .code(1)
        .stderr(contains("No summary_*.csv files found in"));
    // Only the table of a comparison, which is no summary of a run.
    fs::write(
        empty.path().join("summary_comparison.csv"),
        "Configuration\n",
    )
    .expect("written");
    tool()
        .arg(empty.path())
        .assert()
        .code(1)
        .stderr(contains("No summary_*.csv files found in"));
    for (text, words) in [
        ("", "summary_20261122_010101.csv"),
        ("context_size,cache_hit_rate\n1,2\n", "input_tokens_per_sec"),
        ("\u{0}\u{1}\u{2}", "summary_20261122_010101.csv"),
    ] {
        fs::write(empty.path().join("summary_20261122_010101.csv"), text).expect("written");
        let output = tool()
            .arg(empty.path())
            .assert()
            .code(1)
            .stderr(contains(words));
        let stderr = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        let errors = stderr.lines().filter(|l| l.starts_with("error: ")).count();
        assert_eq!(errors, 1, "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
    assert_eq!(pages(empty.path()), BTreeSet::new());
}

#[test]
fn a_summary_of_a_header_only_is_told_so() {
    let dir = copy("cache_rate_ramp");
    let path = dir.path().join("summary_20261122_010944.csv");
    let text = fs::read_to_string(&path).expect("it is there");
    let header = text.lines().next().expect("a header").to_owned();
    fs::write(
        dir.path().join("summary_20261122_020000.csv"),
        header + "\n",
    )
    .expect("written");
    tool()
        .arg(dir.path())
        .assert()
        .code(1)
        .stderr(contains("summary_20261122_020000.csv").and(contains("only a header")));
    assert_eq!(pages(dir.path()), BTreeSet::new());
}

#[test]
fn the_wrong_tool_is_named_with_the_column_that_tells() {
    let rates = copy("combine_run_a");
    tool()
        .arg(rates.path())
        .args(["--tool", "working_set"])
        .assert()
        .code(1)
        .stderr(contains("working_set_size"));
    let sets = copy("working_set_fixed");
    tool()
        .arg(sets.path())
        .assert()
        .code(1)
        .stderr(contains("hint: add --tool working_set"));
    assert_eq!(pages(rates.path()), BTreeSet::new());
    assert_eq!(pages(sets.path()), BTreeSet::new());
}

/// An empty cell was reported as a missing column.
#[test]
fn rows_without_a_working_set_are_counted_where_the_column_is_there() {
    let dir = copy("working_set_fixed");
    let summary = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path());
    let newest = summary
        .filter(|p| {
            p.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("summary_")
        })
        .max()
        .unwrap();
    let text = fs::read_to_string(&newest).unwrap();
    let mut header = text.lines().next().unwrap().split(',');
    let place = header.position(|cell| cell == "working_set_size").unwrap();
    let lines = text.lines().enumerate().map(|(i, line)| {
        let mut cells: Vec<&str> = line.split(',').collect();
        if i == 1 {
            cells[place] = "";
        }
        cells.join(",") + "\n"
    });
    fs::write(&newest, lines.collect::<String>()).unwrap();
    tool()
        .arg(dir.path())
        .args(["--tool", "working_set"])
        .assert()
        .code(1)
        .stderr(contains("1 row of summary_").and(contains("has no working_set_size")));
}

#[test]
fn wrong_arguments_are_exit_2() {
    let dir = copy("cache_rate_ramp");
    tool()
        .arg(dir.path())
        .args(["--tool", "foo"])
        .assert()
        .code(2);
    tool()
        .assert()
        .code(2)
        .stderr(contains("arguments are required: output_dir"));
    tool()
        .arg(dir.path().join("progress.json"))
        .assert()
        .code(2)
        .stderr(contains("progress.json is not a directory"));
    tool()
        .arg(dir.path().join("absent"))
        .assert()
        .code(2)
        .stderr(contains("Output directory does not exist: "));
    assert_eq!(pages(dir.path()), BTreeSet::new());
}

#[test]
fn missing_details_of_a_context_are_a_warning_and_hollow_markers() {
    let dir = copy("combine_run_a");
    for name in names(dir.path()) {
        if name.starts_with("detailed_results_1600_") {
            fs::remove_file(dir.path().join(name)).expect("it can be removed");
        }
    }
    tool().arg(dir.path()).assert().code(0).stderr(contains(
        "Warning: No detailed results found for context 1600",
    ));
    let page = |name: &str| fs::read_to_string(dir.path().join(name)).expect("it is there");
    assert!(page("performance_vs_cache_rate_1600.html").contains("summary value"));
    assert!(!page("performance_vs_cache_rate_800.html").contains("summary value"));
}

/// Requests name their windows themselves: without the file of phases the charts over the level went missing without
/// a word.
#[test]
fn missing_phases_cost_the_spread_and_no_chart() {
    for (name, charts) in [
        (
            "combine_run_a",
            &["ramp_ctx800_cache0", "ramp_ctx1600_cache50"][..],
        ),
        ("cache_rate_fixed", &["fixed_ctx1000_cache50"]),
    ] {
        let whole = copy(name);
        tool().arg(whole.path()).assert().code(0);
        let dir = copy(name);
        for file in names(dir.path()) {
            if file.starts_with("phase_metadata") {
                fs::remove_file(dir.path().join(file)).expect("it can be removed");
            }
        }
        tool()
            .arg(dir.path())
            .assert()
            .code(0)
            .stderr(contains("Warning: No phase_metadata_*.csv files found"));
        assert_eq!(pages(dir.path()), pages(whole.path()));
        for chart in charts {
            assert_eq!(
                data(dir.path(), chart),
                data(whole.path(), chart),
                "{chart}"
            );
        }
    }
}

#[test]
fn results_of_tools_that_draw_for_themselves_are_named() {
    for (name, tool_name) in [
        ("trace_replay", "trace replay tool"),
        ("single_prompt", "single_prompt_tester"),
    ] {
        tool()
            .arg(copy(name).path())
            .assert()
            .code(1)
            .stderr(contains("No summary_*.csv files found").and(contains(tool_name)));
    }
}

#[test]
fn a_newer_attempt_that_was_cut_short_hides_nothing() {
    let dir = copy("combine_run_a");
    tool().arg(dir.path()).assert().code(0);
    let drawn = data(dir.path(), "ramp_ctx800_cache0");
    // Somebody began again an hour later and was interrupted at once: a few rows, no phase, no summary.
    let old = dir.path().join("detailed_results_800_20261122_011447.csv");
    let text = fs::read_to_string(old).expect("it is there");
    let rows: Vec<&str> = text.lines().take(3).collect();
    let later = rows.join("\n").replace(",17953", ",17959") + "\n";
    fs::write(
        dir.path().join("detailed_results_800_20261122_021447.csv"),
        later,
    )
    .expect("written");
    tool().arg(dir.path()).assert().code(0);
    assert_eq!(drawn, data(dir.path(), "ramp_ctx800_cache0"));
}

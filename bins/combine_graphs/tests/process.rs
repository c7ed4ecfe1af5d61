//! The real binary: the acceptance examples, labels of every kind, and runs that do not fit together.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use tempfile::TempDir;

fn tool() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("combine_graphs"))
}

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../crates/report/tests/data")
        .join(name)
}

/// Copies a directory of the originals to `to`.
fn copy(name: &str, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    for entry in fs::read_dir(reference(name)).expect("the reference data are there") {
        let entry = entry.expect("a directory can be listed");
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("it can be copied");
        }
    }
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

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).expect("the file was written")
}

#[test]
fn two_runs_of_the_originals_give_the_originals_table_byte_for_byte() {
    let root = scratch();
    copy("combine_run_a", &root.path().join("run_a"));
    copy("combine_run_b", &root.path().join("run_b"));
    tool()
        .current_dir(root.path())
        .args(["--output-dirs", "run_a", "run_b/", "--output", "deep/out"])
        .assert()
        .code(0)
        .stdout(is_empty())
        .stderr(contains("No data for 'run_b' at context size 1600"));
    let out = root.path().join("deep/out");
    assert_eq!(
        read(out.join("summary_comparison.csv")),
        read(reference("combine_expected/summary_comparison.csv"))
    );
    let expected: BTreeSet<String> = [
        "index.html",
        "input_throughput_ctx1600.html",
        "input_throughput_ctx800.html",
        "output_throughput_ctx1600.html",
        "output_throughput_ctx800.html",
        "summary_comparison.csv",
        "summary_comparison.html",
        "ttft_comparison_ctx1600.html",
        "ttft_comparison_ctx800.html",
    ]
    .map(str::to_owned)
    .into();
    assert_eq!(names(&out), expected);
    let index = read(out.join("index.html"));
    let at = |name: &str| index.find(name).expect("it is linked");
    assert!(at("input_throughput_ctx800.html") < at("input_throughput_ctx1600.html"));
    let table = read(out.join("summary_comparison.html"));
    assert!(table.contains("Comparison of 2 test configurations across 2 context size(s)"));
    // Of the context that both have, run_b's cells are the best, and the only ones marked.
    assert!(table.contains("class=\"best\">47,785<") && !table.contains("class=\"best\">25,316<"));
}

#[test]
fn labels_follow_the_directories() {
    let root = scratch();
    for (name, to) in [
        ("combine_run_a", "test1/output"),
        ("combine_run_b", "test2/output"),
    ] {
        copy(name, &root.path().join(to));
    }
    tool()
        .current_dir(root.path())
        .args([
            "--output-dirs",
            "test1/output",
            "test2/output",
            "--output",
            "c",
        ])
        .assert()
        .code(0);
    let index = read(root.path().join("c/index.html"));
    let chart = read(root.path().join("c/input_throughput_ctx800.html"));
    for label in ["test1", "test2"] {
        assert!(
            index.contains(&format!("<strong>{label}</strong>")),
            "{label}"
        );
        assert!(chart.contains(&format!("\"name\":\"{label}\"")), "{label}");
    }
    // A directory called `output` or `.` has a name too.
    tool()
        .current_dir(root.path().join("test1"))
        .args([
            "--output-dirs",
            "output",
            "../test2/output/.",
            "--output",
            "../d",
        ])
        .assert()
        .code(0);
    let index = read(root.path().join("d/index.html"));
    assert!(index.contains("<strong>test1</strong>") && index.contains("<strong>test2</strong>"));
}

#[test]
fn labels_that_do_not_match_are_exit_2_and_leave_no_result_directory() {
    let root = scratch();
    copy("combine_run_a", &root.path().join("A"));
    copy("combine_run_b", &root.path().join("B"));
    let refused = |args: &[&str], code: i32, words: &str| {
        tool()
            .current_dir(root.path())
            .args(args)
            .assert()
            .code(code)
            .stderr(contains(words));
        assert_eq!(names(root.path()).len(), 2, "{args:?}");
    };
    refused(
        &["--output-dirs", "A", "B", "--labels", "x"],
        2,
        "Number of labels (1) must match number of output directories (2)",
    );
    // Directories are looked at first.
    refused(
        &["--output-dirs", "A", "C", "--labels", "x"],
        2,
        "Output directory does not exist: C",
    );
    refused(&["--output", "x"], 2, "--output-dirs");
    fs::create_dir(root.path().join("A/empty")).expect("it can be made");
    refused(
        &["--output-dirs", "A", "A/empty"],
        1,
        "Failed to load data: No summary_*.csv files found in A/empty",
    );
}

#[test]
fn equal_and_nasty_labels_are_kept_apart_and_stay_text() {
    let root = scratch();
    copy("combine_run_a", &root.path().join("A"));
    copy("combine_run_b", &root.path().join("B"));
    let nasty = "<b>x</b>";
    let long = format!(
        "</script><script>alert(1)</script>\"'& 🚀 é{}",
        "y".repeat(300)
    );
    for labels in [[nasty, nasty], [&long, &long]] {
        let out = scratch();
        let out = out.path().join("out");
        tool()
            .current_dir(root.path())
            .args(["--output-dirs", "A", "B", "--labels"])
            .args(labels)
            .arg("--output")
            .arg(&out)
            .assert()
            .code(0)
            .stderr(contains(" (2)"));
        let csv = read(out.join("summary_comparison.csv"));
        assert_eq!(csv.lines().count(), 4, "{csv}");
        assert!(csv.contains(" (2)"));
        for name in names(&out) {
            let text = read(out.join(&name));
            if name.ends_with(".html") {
                assert!(
                    !text.contains("<b>x") && !text.contains("<script>alert"),
                    "{name}"
                );
                let scripts = text.matches("<script").count();
                assert_eq!(
                    scripts,
                    if text.contains("id=\"chart-data\"") {
                        2
                    } else {
                        0
                    },
                    "{name}"
                );
            }
        }
        if labels[0] == nasty {
            for name in [
                "index.html",
                "summary_comparison.html",
                "input_throughput_ctx800.html",
            ] {
                let text = read(out.join(name));
                assert!(
                    text.contains("&lt;b&gt;x") || text.contains("&#60;b&#62;x"),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn an_empty_label_is_refused() {
    let root = scratch();
    copy("combine_run_a", &root.path().join("A"));
    tool()
        .current_dir(root.path())
        .args(["--output-dirs", "A", "--labels", " "])
        .assert()
        .code(2)
        .stderr(contains("label"));
}

/// The dashboard of a run was replaced by that of the comparison without a word.
#[test]
fn a_result_that_goes_into_one_of_the_runs_is_told() {
    let root = scratch();
    copy("combine_run_a", &root.path().join("A"));
    let combine = |output: &str| {
        tool()
            .current_dir(root.path())
            .args(["--output-dirs", "A", "--output", output])
            .assert()
            .code(0)
    };
    combine("A/../A").stderr(contains(
        "WARNING - The result goes into A, which is one of the runs",
    ));
    combine("B").stderr(
        contains("one of the runs")
            .not()
            .and(contains("Combined 1 run in ")),
    );
}

#[test]
fn one_unreadable_file_costs_only_the_rows_concerned() {
    let root = scratch();
    let a = root.path().join("A");
    copy("combine_run_a", &a);
    copy("combine_run_b", &root.path().join("B"));
    for name in names(&a) {
        if name.starts_with("detailed_results_1600_") {
            fs::write(a.join(name), "\u{0}\u{1}").expect("written");
        }
    }
    tool()
        .current_dir(root.path())
        .args(["--output-dirs", "A", "B", "--output", "out"])
        .assert()
        .code(0)
        .stderr(
            contains("detailed_results_1600_20261122_011543.csv")
                .and(contains("no window data for 1600/0%, 1600/50%, 1600/100%")),
        );
    let out = root.path().join("out");
    let expected = read(reference("combine_expected/summary_comparison.csv"));
    let csv = read(out.join("summary_comparison.csv"));
    let line = |text: &str, start: &str| {
        text.lines()
            .find(|l| l.contains(start))
            .map(str::to_owned)
            .expect("the row is there")
    };
    assert_eq!(
        line(&csv, ",800,").split_once(','),
        line(&expected, "run_a,800")
            .split_once(',')
            .map(|(_, rest)| ("A", rest))
    );
    assert_ne!(line(&csv, "\"1,600\""), line(&expected, "\"1,600\""));
    let chart = read(out.join("input_throughput_ctx1600.html"));
    assert!(chart.contains("summary value"));
}

#[test]
fn a_directory_without_window_data_is_taken_as_its_summary_says() {
    let root = scratch();
    let a = root.path().join("A");
    copy("combine_run_a", &a);
    for name in names(&a) {
        if name.starts_with("phase_metadata") {
            fs::remove_file(a.join(name)).expect("it can be removed");
        }
    }
    tool()
        .current_dir(root.path())
        .args(["--output-dirs", "A", "--output", "out"])
        .assert()
        .code(0)
        .stderr(contains(
            "Missing phase metadata or detailed results, using summary values",
        ));
    assert!(read(root.path().join("out/summary_comparison.csv")).contains("25,519"));
}

#[test]
fn several_working_sets_are_not_mixed() {
    let root = scratch();
    copy("working_set_fixed", &root.path().join("W"));
    tool()
        .current_dir(root.path())
        .args(["--output-dirs", "W", "--output", "out"])
        .assert()
        .code(1)
        .stderr(contains(
            "W has several working set sizes per context and cache hit rate",
        ));
    assert!(!root.path().join("out").exists());
}

#[test]
fn runs_without_a_common_test_still_make_a_page_with_a_sentence() {
    let root = scratch();
    copy("cache_rate_ramp", &root.path().join("R"));
    copy("combine_run_b", &root.path().join("B"));
    tool()
        .current_dir(root.path())
        .args(["--output-dirs", "R", "B", "--output", "out"])
        .assert()
        .code(0)
        .stderr(contains("No data for 'B' at context size 1000"));
    let csv = read(root.path().join("out/summary_comparison.csv"));
    // 1,000 tokens were measured at 0 % and 50 % only.
    assert_eq!(csv.lines().count(), 2, "{csv}");
    let table = read(root.path().join("out/summary_comparison.html"));
    assert!(table.contains("No test was measured in the first configuration and in another one."));
    fs::remove_dir_all(root.path().join("out")).expect("it can be removed");
    tool()
        .current_dir(root.path())
        .args(["--output-dirs", "R", "--output", "out"])
        .assert()
        .code(0);
    let csv = read(root.path().join("out/summary_comparison.csv"));
    assert!(
        csv.starts_with("Configuration,Context Size,") && csv.lines().count() == 1,
        "{csv}"
    );
    assert!(
        read(root.path().join("out/summary_comparison.html"))
            .contains("nothing to put into this table")
    );
}

/// Zero without cache has no multiples.
#[test]
fn a_division_by_zero_is_not_available() {
    let root = scratch();
    let a = root.path().join("A");
    copy("combine_run_a", &a);
    for name in names(&a) {
        if !name.starts_with("summary_20261122_011543") && !name.starts_with("progress") {
            fs::remove_file(a.join(name)).expect("it can be removed");
        }
    }
    let path = a.join("summary_20261122_011543.csv");
    let mut lines: Vec<String> = read(path.clone()).lines().map(str::to_owned).collect();
    let column = |name: &str| {
        lines[0]
            .split(',')
            .position(|c| c == name)
            .expect("the column is there")
    };
    let zero = [column("input_tokens_per_sec"), column("avg_ttft")];
    for line in lines.iter_mut().skip(1) {
        let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
        if cells[1].parse::<f64>() == Ok(0.0) {
            for i in zero {
                cells[i] = "0.0".to_owned();
            }
        }
        *line = cells.join(",");
    }
    fs::write(path, lines.join("\n") + "\n").expect("written");
    tool()
        .current_dir(root.path())
        .args(["--output-dirs", "A", "--output", "out"])
        .assert()
        .code(0);
    let csv = read(root.path().join("out/summary_comparison.csv"));
    let row = csv.lines().nth(1).expect("a row");
    assert!(row.starts_with("A,800,0,\"13,464\",N/A,"), "{row}");
    assert_eq!(row.matches("N/A").count(), 2, "{row}");
    for name in names(&root.path().join("out")) {
        let text = read(root.path().join("out").join(&name));
        assert!(
            !text.contains("NaN") && !text.contains("infx") && !text.contains("nan%"),
            "{name}"
        );
    }
}

//! The real binary: exit codes and channels, the acceptance examples, and whatever may lie in a directory.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use tempfile::TempDir;

fn tool() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("generate_index"))
}

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

/// A copy of a directory of the originals.
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

fn page(dir: &Path) -> String {
    fs::read_to_string(dir.join("index.html")).expect("the page was written")
}

#[test]
fn a_run_of_the_originals_gets_its_page_and_stdout_stays_empty() {
    let dir = copy("combine_run_a");
    tool()
        .arg(dir.path())
        .arg("1.6")
        .assert()
        .code(0)
        .stdout(is_empty())
        .stderr(
            contains("Detected test type: cache_rate\n").and(contains(format!(
                "Generated index.html: {}\n",
                dir.path().join("index.html").display()
            ))),
        );
    let page = page(dir.path());
    for words in [
        "25,519 tok/s",
        "122 tok/s",
        "0.052s",
        "610.35 MB",
        "1.19 GB",
        ">179<",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(page.contains("Generated with KV Cache Tester v1.6"));
}

#[test]
fn relative_paths_and_the_default_directory_work_from_anywhere() {
    let root = scratch();
    let dir = copy("cache_rate_ramp");
    fs::create_dir(root.path().join("output")).expect("a directory can be made");
    for entry in fs::read_dir(dir.path()).expect("it can be listed") {
        let entry = entry.expect("it can be listed");
        fs::copy(
            entry.path(),
            root.path().join("output").join(entry.file_name()),
        )
        .expect("it can be copied");
    }
    tool().current_dir(root.path()).assert().code(0);
    assert!(page(&root.path().join("output")).contains("KV Cache Tester v1.0"));
    tool()
        .current_dir(root.path())
        .args(["./output/../output/", "2.0"])
        .assert()
        .code(0);
    assert!(page(&root.path().join("output")).contains("KV Cache Tester v2.0"));
}

#[test]
fn broken_files_are_warnings_and_the_page_is_written() {
    let dir = scratch();
    fs::write(dir.path().join("progress.json"), "{bad").expect("it can be written");
    fs::write(dir.path().join("summary_20261122_010101.csv"), "").expect("it can be written");
    let output = tool().arg(dir.path()).assert().code(0);
    let stderr = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert_eq!(stderr.matches("Warning: ").count(), 2, "{stderr}");
    let page = page(dir.path());
    for file in ["progress.json: ", "summary_20261122_010101.csv: "] {
        assert!(stderr.contains(&format!("Warning: {file}")), "{stderr}");
        assert!(page.contains(file));
    }
}

#[test]
fn files_of_other_tools_and_odd_contents_do_no_harm() {
    let dir = copy("cache_rate_fixed");
    let put = |name: &str, bytes: &[u8]| {
        fs::write(dir.path().join(name), bytes).expect("it can be written");
    };
    put("ramp_notes.html", b"<p>");
    put("ramp_ctxmany_cachenone.html", b"");
    put("summary_notes.csv", b"\xff\xfe\x00");
    put("detailed_results_many_20261122_020000.csv", b"x");
    put("detailed_results_1000_20261122_020000.csv", b"\x00\x01\x02");
    put("phase_metadata_20261122_020000.csv", b"phase_id\n\n\n");
    put(
        "sustained_periods_ctx9999999999999999999999_cache0_20261122_020000.csv",
        b"a,b\n1,2\n",
    );
    put("metadata.json", b"[1, 2]");
    put("run_facts.json", b"");
    fs::create_dir(dir.path().join("summary_20261122_030000.csv")).expect("it can be made");
    let output = tool().arg(dir.path()).assert().code(0);
    let stderr = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    for file in [
        "detailed_results_1000_20261122_020000.csv",
        "metadata.json",
        "run_facts.json",
    ] {
        assert!(stderr.contains(&format!("Warning: {file}: ")), "{stderr}");
    }
    assert!(
        stderr.contains("Detected test type: cache_rate"),
        "{stderr}"
    );
    assert!(!page(dir.path()).contains("NaN"));
}

/// Such a directory was taken for a cache-rate test without results, with two warnings about files that are right.
#[test]
fn a_directory_of_the_trace_replay_tool_is_known() {
    let dir = copy("trace_replay");
    fs::write(
        dir.path().join("trace_replay_performance_over_time.html"),
        "",
    )
    .expect("it can be written");
    tool()
        .arg(dir.path())
        .assert()
        .code(0)
        .stderr(contains("Detected test type: trace_replay").and(contains("Warning").not()));
    let page = page(dir.path());
    for part in [
        "Trace Replay Performance Test",
        "demo",
        "http://localhost:8000",
        "2 to 4",
        "128,000 tokens",
        "6",
        "115,836 tokens",
        "75.4%",
        // As pandas has them from the same files.
        "10,783 tok/s",
        "best period 25,789 tok/s",
        "802 tok/s",
        "0.271s",
        "P95 0.344s, P99 0.405s",
        "71.1%",
        "99.6%",
        "95.7%",
        "1,649",
        "Users Created",
        "Additional Graphs",
        "href=\"trace_replay_performance_over_time.html\"",
        "period by period",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for nothing in ["NaN", "No results were found", "does not know"] {
        assert!(!page.contains(nothing), "{nothing}");
    }
    // Half a row at the end costs that row, and the file is named.
    let rows = dir.path().join("summary_trace_replay.csv");
    let text = fs::read_to_string(&rows).expect("it is text");
    fs::write(&rows, &text[..text.len() - 40]).expect("it can be written");
    fs::write(dir.path().join("progress.json"), "{bad").expect("it can be written");
    tool().arg(dir.path()).assert().code(0).stderr(
        contains("Warning: summary_trace_replay.csv: the last line is incomplete")
            .and(contains("Warning: progress.json: ")),
    );
}

/// Names that are no text and files behind links had no link on the page; charts behind links did not decide what a
/// directory holds.
#[cfg(unix)]
#[test]
fn every_file_is_linked_whatever_its_name_and_wherever_it_is() {
    use std::os::unix::ffi::OsStrExt as _;
    let dir = copy("cache_rate_ramp");
    let odd = std::ffi::OsStr::from_bytes(b"notes_\xff.html");
    fs::write(dir.path().join(odd), "").expect("it can be written");
    let elsewhere = scratch();
    let chart = "performance_vs_working_set_8000.html";
    fs::write(elsewhere.path().join(chart), "").expect("it can be written");
    std::os::unix::fs::symlink(elsewhere.path().join(chart), dir.path().join(chart))
        .expect("it can be linked");
    std::os::unix::fs::symlink("nowhere", dir.path().join("ramp_ctx1_cache0.html"))
        .expect("it can be linked");
    tool()
        .arg(dir.path())
        .assert()
        .code(0)
        .stderr(contains("Detected test type: working_set"));
    let page = page(dir.path());
    assert!(page.contains("href=\"notes_%FF.html\""), "{page}");
    assert!(page.contains(&format!("href=\"{chart}\"")));
    assert!(!page.contains("ramp_ctx1_cache0"), "it leads nowhere");
}

#[test]
fn cells_that_are_no_numbers_are_left_out() {
    let dir = copy("combine_run_a");
    let path = dir.path().join("summary_20261122_011543.csv");
    let text = fs::read_to_string(&path).expect("it is text");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // The best TTFT and the best throughput of all become nothing, in two spellings.
    for line in &mut lines {
        let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
        if cells[0].starts_with("1600") {
            if cells[1].starts_with("100") {
                cells[2] = "inf".to_owned();
            } else if cells[1] == "0" || cells[1] == "0.0" {
                cells[4] = "nan".to_owned();
            }
        }
        *line = cells.join(",");
    }
    fs::write(&path, lines.join("\n") + "\n").expect("it can be written");
    tool().arg(dir.path()).assert().code(0);
    let page = page(dir.path());
    for nothing in ["NaN", ">nan", ">inf", "infx", "∞"] {
        assert!(!page.contains(nothing), "{nothing}");
    }
    assert!(!page.contains("25,519"));
}

/// A single cell without a meaning took its whole test from the page.
#[test]
fn an_infinite_latency_costs_its_cell_and_not_its_test() {
    let dir = copy("combine_run_a");
    let path = dir.path().join("summary_20261122_011543.csv");
    let text = fs::read_to_string(&path).expect("it is text");
    let spoiled: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(n, line)| {
            let mut cells: Vec<&str> = line.split(',').collect();
            if n > 0 {
                cells[4] = ["inf", "-inf", "Infinity"][n % 3];
            }
            cells.join(",")
        })
        .collect();
    fs::write(&path, spoiled.join("\n") + "\n").expect("it can be written");
    tool()
        .arg(dir.path())
        .assert()
        .code(0)
        .stderr(contains("Warning").not());
    assert!(page(dir.path()).contains("25,519"));
}

#[test]
fn wrong_arguments_are_told_in_one_line_and_nothing_is_written() {
    let dir = scratch();
    let absent = dir.path().join("absent");
    tool()
        .arg(&absent)
        .assert()
        .code(2)
        .stdout(is_empty())
        .stderr(contains(format!(
            "Directory {} does not exist",
            absent.display()
        )));
    tool()
        .current_dir(dir.path())
        .assert()
        .code(2)
        .stderr(contains("Directory ./output does not exist"));
    // A file in the place of the directory was said not to exist.
    fs::write(dir.path().join("file"), "").expect("it can be written");
    tool()
        .arg(dir.path().join("file"))
        .assert()
        .code(2)
        .stderr(contains("file is not a directory"));
    fs::remove_file(dir.path().join("file")).expect("it can be removed");
    tool()
        .arg("")
        .assert()
        .code(2)
        .stderr(contains("argument output_dir: must not be empty"));
    tool()
        .arg("--versoin")
        .assert()
        .code(2)
        .stderr(contains("--version"));
    assert_eq!(
        fs::read_dir(dir.path()).expect("it can be listed").count(),
        0
    );
    tool()
        .arg("--help")
        .assert()
        .code(0)
        .stdout(contains("OUTPUT_DIR"));
}

#[test]
fn a_page_that_cannot_be_written_is_an_error_and_leaves_no_trace() {
    let dir = scratch();
    // A directory stands where the page should go.
    fs::create_dir_all(dir.path().join("index.html/x")).expect("it can be made");
    tool()
        .arg(dir.path())
        .assert()
        .code(1)
        .stderr(contains("index.html"));
    assert_eq!(
        fs::read_dir(dir.path()).expect("it can be listed").count(),
        1
    );
}

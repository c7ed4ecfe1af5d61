//! A sound directory passes; each thing that can be wrong is found.

mod pages;
mod periods;

use std::path::{Path, PathBuf};

use super::*;
use crate::fixture::{self, FIRST};
use crate::test_name::TestName;

fn sound() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let tests = [
        TestName::new(1000, 0),
        TestName::new(1000, 50),
        TestName::new(2000, 0),
        TestName::new(2000, 50),
    ];
    fixture::run(dir.path(), FIRST, &tests);
    fixture::write_index(dir.path());
    dir
}

#[test]
fn a_sound_directory_has_no_findings() {
    let found = validate(sound().path());
    assert_eq!(found.errors, [], "{found}");
    assert_eq!(found.warnings, [], "{found}");
    let expected = ValidationCounts {
        tables: 6,
        detail_rows: 4 * 27,
        failed_rows: 4 * 2,
        phases: 12,
        tests: 4,
        pages: 1,
        links: 10,
    };
    assert_eq!(found.counts, expected);
    assert!(
        found
            .to_string()
            .starts_with("0 errors, 0 warnings; 4 tests")
    );
}

/// Damages a sound directory and expects an error about `file` that says `words`.
fn check(damage: impl FnOnce(&Path), file: &str, words: &str) {
    let dir = sound();
    damage(dir.path());
    let found = validate(dir.path());
    assert!(
        found
            .errors
            .iter()
            .any(|error| error.file.contains(file) && error.message.contains(words)),
        "expected {file}: …{words}…, found\n{found}"
    );
}

fn path(dir: &Path, prefix: &str) -> PathBuf {
    let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut fitting: Vec<PathBuf> = names
        .filter(|p| p.file_name().unwrap().to_str().unwrap().starts_with(prefix))
        .collect();
    fitting.sort();
    fitting.into_iter().next().unwrap()
}

/// Rewrites a file by lines: every line as the list of its cells.
fn edit(dir: &Path, prefix: &str, change: impl Fn(usize, &[&str], &mut Vec<String>)) {
    let path = path(dir, prefix);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    let mut writer = csv::Writer::from_writer(Vec::new());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let header: Vec<&str> = rows[0].iter().collect();
    for (i, row) in rows.iter().enumerate() {
        let mut cells: Vec<String> = row.iter().map(str::to_owned).collect();
        change(i, &header, &mut cells);
        if !cells.is_empty() {
            writer.write_record(&cells).unwrap();
        }
    }
    std::fs::write(path, writer.into_inner().unwrap()).unwrap();
}

/// Sets one cell of one row (1 is the first below the header).
fn set(
    prefix: &'static str,
    row: usize,
    column: &'static str,
    value: &'static str,
) -> impl FnOnce(&Path) {
    move |dir| {
        edit(dir, prefix, |i, header, cells| {
            if i == row {
                let at = header.iter().position(|name| *name == column).unwrap();
                cells[at] = value.to_owned();
            }
        });
    }
}

fn remove_row(prefix: &'static str, row: usize) -> impl FnOnce(&Path) {
    move |dir| {
        edit(dir, prefix, |i, _, cells| {
            if i == row {
                cells.clear();
            }
        });
    }
}

fn replace(name: &'static str, from: &'static str, to: &'static str) -> impl FnOnce(&Path) {
    move |dir| {
        let path = path(dir, name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in {name}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
}

fn remove(prefix: &'static str) -> impl FnOnce(&Path) {
    move |dir| std::fs::remove_file(path(dir, prefix)).unwrap()
}

#[test]
fn the_damage_helpers_alone_do_no_damage() {
    let dir = sound();
    edit(dir.path(), "detailed_results_1000", |_, _, _| {});
    edit(dir.path(), "summary", |_, _, _| {});
    assert_eq!(validate(dir.path()).errors, []);
}

#[test]
fn wrong_columns_are_found() {
    let detail = "detailed_results_1000";
    check(
        replace(detail, "ttft,ttlt", "ttlt,ttft"),
        detail,
        "column ttlt stands where ttft should",
    );
    check(
        replace(detail, ",endpoint,dial_time\n", ",endpoint\n"),
        detail,
        "column dial_time is missing",
    );
    check(
        replace(detail, ",dial_time\n", ",dial_time,more\n"),
        detail,
        "more columns",
    );
    check(
        replace("summary", "context_size,", "context,"),
        "summary",
        "column context stands",
    );
    check(
        replace("failed_requests_2000", ",context_size\n", "\n"),
        "failed_requests_2000",
        "column context_size is missing",
    );
    check(
        |dir| std::fs::write(path(dir, "phase"), "").unwrap(),
        "phase_metadata",
        "is missing",
    );
}

#[test]
fn wrong_cells_are_found() {
    let detail = "detailed_results_1000";
    check(set(detail, 3, "ttft", "fast"), detail, "column ttft");
    check(
        set(detail, 3, "output_tokens", "16.5"),
        detail,
        "column output_tokens",
    );
    check(
        set(detail, 3, "token_timestamps", "[1.0, x]"),
        detail,
        "token_timestamps",
    );
    check(
        set("failed_requests_1000", 1, "kind", "bored"),
        "failed_requests_1000",
        "kind",
    );
    check(
        set("phase", 1, "duration", ""),
        "phase_metadata",
        "duration",
    );
    check(
        set("summary", 1, "cache_hit_rate", "120"),
        "summary",
        "above 100 %",
    );
}

#[test]
fn a_cut_file_is_found() {
    check(
        |dir| {
            let path = path(dir, "detailed_results_2000");
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() - 20]).unwrap();
        },
        "detailed_results_2000",
        "no line end",
    );
}

#[test]
fn rows_that_contradict_themselves_are_found() {
    let detail = "detailed_results_1000";
    check(
        set(detail, 2, "output_tokens", "17"),
        detail,
        "do not sum to output_tokens",
    );
    check(
        set(detail, 2, "tokens_per_chunk", "[16]"),
        detail,
        "differ in length",
    );
    check(
        set(detail, 2, "finish_time", "1795309663.0"),
        detail,
        "total_time is not",
    );
    check(
        set(detail, 2, "ttft", "0.5"),
        detail,
        "ttft is not prefill_complete",
    );
    check(set(detail, 2, "ttlt", "0.5"), detail, "ttlt is not");
    check(set(detail, 2, "itl", "0.5"), detail, "itl is not");
    check(
        set(detail, 2, "generation_time", "0.5"),
        detail,
        "generation_time is not",
    );
    check(
        set(detail, 2, "prefill_complete_time", "1795309600.0"),
        detail,
        "before the launch",
    );
    check(
        set(detail, 2, "context_size", "2000"),
        detail,
        "is of context 2000",
    );
    check(
        set(detail, 2, "request_id", "RAMP_c2_r0"),
        detail,
        "stands twice",
    );
    check(
        set(
            detail,
            2,
            "token_timestamps",
            "[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]",
        ),
        detail,
        "timestamps go back",
    );
}

#[test]
fn phases_and_rows_that_disagree_are_found() {
    let phases = "phase_metadata";
    check(
        remove_row("detailed_results_1000", 5),
        phases,
        "9 requests completed and 8 rows",
    );
    check(
        remove_row("failed_requests_1000", 1),
        phases,
        "1 requests failed and 0 rows",
    );
    check(
        remove_row("failed_requests_1000", 2),
        phases,
        "1 requests cancelled and 0 rows",
    );
    check(
        remove("failed_requests_2000"),
        phases,
        "1 requests failed and 0 rows",
    );
    check(
        remove("detailed_results_2000"),
        phases,
        "9 requests completed and 0 rows",
    );
    check(
        remove_row(phases, 3),
        "detailed_results_1000",
        "which no phase file has",
    );
    check(
        set(phases, 1, "num_requests_launched", "11"),
        phases,
        "11 requests were launched and 10 ended",
    );
    check(
        set(phases, 1, "duration", "4.0"),
        phases,
        "duration is not end − start",
    );
    check(
        set(phases, 3, "window_input_tokens_per_sec", "2900.0"),
        phases,
        "the rows give",
    );
    check(
        set(phases, 3, "window_duration", ""),
        phases,
        "some window columns are empty",
    );
    check(
        set(phases, 2, "phase_id", "RAMP_c2"),
        phases,
        "two phases RAMP_c2",
    );
    check(
        set("detailed_results_1000", 2, "concurrency_level", "3"),
        "detailed_results_1000",
        "has level 3",
    );
}

#[test]
fn summary_rows_that_the_files_do_not_bear_out_are_found() {
    check(
        set("summary", 1, "avg_ttft", "0.2"),
        "summary",
        "avg_ttft is Some(0.2)",
    );
    check(
        set("summary", 2, "total_requests", "19"),
        "summary",
        "total_requests",
    );
    check(
        set("summary", 2, "reported_cache_hit_rate", ""),
        "summary",
        "reported_cache_hit_rate",
    );
    check(
        set("summary", 1, "peak_concurrency", "4"),
        "summary",
        "the rows give",
    );
    check(
        set("summary", 1, "p95_ttft", "9.0"),
        "summary",
        "not in order",
    );
    check(
        set("summary", 2, "cache_hit_rate", "0"),
        "summary",
        "has two rows",
    );
    check(remove("phase"), "summary", "has no phases");
}

#[test]
fn progress_that_does_not_fit_is_found() {
    let progress = "progress.json";
    check(remove(progress), progress, "missing");
    check(
        replace(progress, "{", "{{"),
        progress,
        "not a progress file",
    );
    check(
        replace(progress, "\"1000_50\"", "\"1000_60\""),
        progress,
        "1000_60 is listed as complete and has no",
    );
    check(
        replace(progress, "\"1000_50\"", "\"1000_60\""),
        progress,
        "1000_50 has a summary row and is not",
    );
    check(
        replace(progress, "\"1000_50\"", "\"1000_0\""),
        progress,
        "listed twice",
    );
    check(
        replace(progress, "\"1000_50\"", "\"later\""),
        progress,
        "later",
    );
    check(
        replace(progress, "\"seed\": 42", "\"seed\": 43"),
        progress,
        "test_id",
    );
    check(
        replace(progress, "    \"seed\": 42,\n", ""),
        progress,
        "lack seed",
    );
    check(
        replace(
            progress,
            "\"api_endpoint\": \"http://l",
            "\"api_endpoint\": \"http://r",
        ),
        progress,
        "first of api_endpoints",
    );
}

#[test]
fn what_surrounds_a_run_is_checked() {
    let script = "run_command";
    check(remove(script), script, "no script");
    check(remove(script), "summary", "no run has this time stamp");
    check(replace(script, "\"$@\"", "$*"), script, "does not end with");
    check(
        replace(script, "#!/bin/bash", "#!/bin/sh"),
        script,
        "does not begin",
    );
    check(
        replace(script, "\n  \"$@\"", "\n  --api-key hush \\\n  \"$@\""),
        script,
        "stores --api-key",
    );
    check(remove("test_metadata"), "test_metadata.json", "missing");
    check(
        replace("test_metadata", "demo-8b", ""),
        "test_metadata.json",
        "no model",
    );
    check(remove("run_facts"), "run_facts.json", "missing");
    check(
        |dir| {
            let summary = path(dir, "summary");
            std::fs::rename(summary, dir.join("summary_final.csv")).unwrap();
        },
        "summary_final.csv",
        "no time stamp",
    );
}

#[cfg(unix)]
#[test]
fn a_script_that_cannot_be_executed_is_found() {
    use std::os::unix::fs::PermissionsExt as _;
    check(
        |dir| {
            let mode = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(path(dir, "run_command"), mode).unwrap();
        },
        "run_command",
        "not executable",
    );
}

#[test]
fn a_file_broken_throughout_does_not_flood_the_report() {
    let dir = sound();
    edit(dir.path(), "detailed_results_1000", |i, header, cells| {
        if i > 0 {
            let at = header.iter().position(|name| *name == "itl").unwrap();
            cells[at] = "7.5".to_owned();
        }
    });
    let found = validate(dir.path());
    let about_rows = found
        .errors
        .iter()
        .filter(|error| error.file.starts_with("detailed"));
    assert_eq!(about_rows.count(), MAX_PER_FILE + 1);
}

#[test]
fn directories_of_the_originals_are_read_and_judged_by_our_measure() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cache_rate_ramp");
    let found = validate(&dir);
    assert!(!found.is_valid());
    let says = |words: &str| found.errors.iter().any(|e| e.message.contains(words));
    assert!(says("prefill_complete_time is missing"), "{found}");
    assert_eq!(found.counts.tests, 2);
    assert_eq!(found.counts.phases, 11);
}

#[test]
fn a_missing_directory_is_an_error() {
    assert_eq!(validate(Path::new("no/such/directory")).errors.len(), 1);
}

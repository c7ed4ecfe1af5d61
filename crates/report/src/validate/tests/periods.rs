//! A sustained run that is sound passes; what can be wrong with its periods is found.

use std::fs;
use std::path::Path;

use super::validate;
use crate::fixture::{self, FIRST};
use crate::test_name::TestName;

fn sound() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fixture::run_sustained(dir.path(), FIRST, TestName::new(1000, 50));
    fixture::write_index(dir.path());
    dir
}

#[test]
fn a_sound_sustained_run_has_no_findings() {
    let found = validate(sound().path());
    assert_eq!(found.errors, [], "{found}");
    assert_eq!(found.warnings, [], "{found}");
    assert_eq!((found.counts.tests, found.counts.phases), (1, 0));
}

#[test]
fn a_sound_run_of_a_growing_working_set_has_no_findings() {
    let dir = tempfile::tempdir().unwrap();
    let test = TestName::new(1000, 50).with_working_set(Some(8000));
    fixture::run_sustained(dir.path(), FIRST, test);
    fixture::write_index(dir.path());
    let found = validate(dir.path());
    assert_eq!(found.errors, [], "{found}");
    assert_eq!(found.warnings, [], "{found}");
    // A phase that differs from its period, a set that shrinks, a summary that forgets where it began.
    let phases = dir.path().join(format!("phase_metadata_{FIRST}.csv"));
    edit(&phases, 2, "num_requests_completed", "99");
    let name = format!("sustained_periods_ctx1000_ws8000_cache50_{FIRST}.csv");
    edit(&dir.path().join(name), 1, "working_set_size", "9000");
    let found = validate(dir.path()).to_string();
    for words in [
        "period 2 and its phase SUSTAINED_P2 disagree",
        "the working set of period 2 is smaller than before",
        "began with Some(2000), the first period Some(9000)",
    ] {
        assert!(found.contains(words), "{words}\n{found}");
    }
}

/// Changes cells of the rows of periods and expects an error that says `words`.
fn check(row: usize, column: &str, value: &str, words: &str) {
    let dir = sound();
    let name = format!("sustained_periods_ctx1000_cache50_{FIRST}.csv");
    edit(&dir.path().join(name), row, column, value);
    let found = validate(dir.path());
    assert!(
        found
            .errors
            .iter()
            .any(|error| error.message.contains(words)),
        "{column} = {value} in row {row}: expected …{words}…, found\n{found}"
    );
}

fn edit(path: &Path, row: usize, column: &str, value: &str) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<Vec<String>> = text
        .lines()
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect();
    let at = lines[0].iter().position(|c| c == column).unwrap();
    lines[row][at] = value.to_owned();
    let lines: Vec<String> = lines.iter().map(|cells| cells.join(",")).collect();
    fs::write(path, format!("{}\n", lines.join("\n"))).unwrap();
}

#[test]
fn what_is_wrong_with_periods_is_found() {
    check(2, "period_number", "7", "stands at place 2");
    check(
        2,
        "start_time",
        "1795309665.5",
        "does not begin where the one before ends",
    );
    check(1, "next_concurrency", "6", "the one before decided on 6");
    check(1, "decision", "RAMP_DOWN", "RAMP_DOWN leads from 2 to 4");
    check(2, "decision", "WAIT", "WAIT is no decision");
    check(
        1,
        "num_requests_launched",
        "99",
        "99 requests were launched",
    );
    check(1, "num_requests_completed", "99", "99 first tokens");
    check(1, "num_requests_completed", "1", "1 first tokens");
    check(
        3,
        "total_output_tokens",
        "1",
        "output_tokens_per_sec is not tokens",
    );
    check(
        3,
        "input_tokens_per_sec",
        "1.0",
        "input_tokens_per_sec is not tokens",
    );
    check(
        1,
        "p95_ttft",
        "9.0",
        "the percentiles of ttft are not in order",
    );
    check(1, "avg_ttft", "9.0", "avg_ttft is");
}

#[test]
fn a_summary_that_is_not_the_sum_of_its_periods_is_found() {
    let dir = sound();
    let path = dir.path().join(format!("summary_{FIRST}.csv"));
    edit(&path, 1, "total_requests", "1");
    edit(&path, 1, "peak_concurrency", "99");
    let found = validate(dir.path()).to_string();
    assert!(
        found.contains("total_requests is") && found.contains("the summary says level 99"),
        "{found}"
    );
}

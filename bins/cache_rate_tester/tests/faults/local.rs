//! What is wrong on this side: arguments, places that cannot be written, a disk that takes no more.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use testkit::process::Finished;

use crate::relay::{Act, Purpose, Relay, dead_address};
use crate::scene::{CONTEXT, STUDY, healthy, reads_well, second_rate, snapshot};
use crate::support::process::Place;

/// Runs with wrong arguments: exit 2, one line that names them, nothing sent, nothing written.
#[track_caller]
fn refused(args: &str, words: &[&str]) {
    let relay = Relay::start(|_| Act::Silence);
    let place = Place::new();
    let end = place.run(&args.replace("URL", &relay.url())).exits(2);
    reads_well(&end);
    let errors: Vec<&str> = end
        .stderr
        .lines()
        .filter(|line| line.contains("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{}", end.stderr);
    for word in words {
        assert!(end.stderr.contains(word), "no '{word}' in:\n{}", end.stderr);
    }
    assert!(end.stdout.is_empty(), "{}", end.stdout);
    assert!(place.files().is_empty(), "{:?}", place.files());
    for purpose in [
        Purpose::Models,
        Purpose::WarmUp,
        Purpose::Cold,
        Purpose::Warm,
    ] {
        assert_eq!(relay.seen(purpose), 0, "{purpose:?}");
    }
}

#[test]
fn an_unknown_option_gets_a_suggestion() {
    refused(
        "--api-edpoint URL --context-sizes 512 --working-set-size 2048",
        &["--api-edpoint", "did you mean '--api-endpoint'"],
    );
    refused(
        &format!("--api-endpoint URL {STUDY} --max-tft 1"),
        &["--max-tft", "did you mean '--max-ttft'"],
    );
}

#[test]
fn a_missing_option_is_named() {
    refused(
        "--api-endpoint URL --context-sizes 512",
        &["--working-set-size"],
    );
}

#[test]
fn options_that_contradict_each_other_are_both_named() {
    for (more, words) in [
        (
            "--start-concurrency 5 --max-concurrency 4",
            &["--start-concurrency 5", "--max-concurrency 4"][..],
        ),
        (
            "--ramp-duration 9 --test-duration 8",
            &["--test-duration 8", "--ramp-duration 9"],
        ),
        (
            "--mode fixed",
            &["--mode fixed", "--fixed-concurrency-levels"],
        ),
    ] {
        refused(&format!("--api-endpoint URL {STUDY} {more}"), words);
    }
}

#[test]
fn values_out_of_range_are_named_with_their_range() {
    for (more, words) in [
        (
            "--cache-hit-rates 120",
            &["--cache-hit-rates 120", "0 to 100"][..],
        ),
        ("--max-ttft 0", &["--max-ttft 0"]),
        ("--output-tokens 0", &["--output-tokens 0"]),
        ("--request-timeout 0", &["--request-timeout 0"]),
        ("--context-sizes -5", &["--context-sizes -5"]),
    ] {
        refused(&format!("--api-endpoint URL {STUDY} {more}"), words);
    }
}

#[test]
fn an_endpoint_that_is_no_url_is_refused() {
    refused(
        &format!("--api-endpoint ftp://example.com {STUDY}"),
        &["ftp://example.com"],
    );
}

/// Runs the study with a directory that cannot be used.
#[track_caller]
fn cannot_write_to(place: &Place, dir: &Path, words: &[&str]) {
    let end = place
        .tool(&format!(
            "--api-endpoint http://{} {STUDY} --output-dir",
            dead_address()
        ))
        .args([dir])
        .run()
        .exits(1);
    reads_well(&end);
    // Found before the server is asked.
    assert!(!end.stderr.contains("/v1/models"), "{}", end.stderr);
    let error = end.lines("Fatal error: ");
    assert_eq!(error.len(), 1, "{}", end.stderr);
    assert!(
        error[0].contains(&dir.display().to_string()),
        "{}",
        error[0]
    );
    for word in words {
        assert!(end.stderr.contains(word), "no '{word}' in:\n{}", end.stderr);
    }
}

#[test]
fn a_directory_below_a_file_cannot_be_made() {
    let place = Place::new();
    let file = place.path().join("taken");
    fs::write(&file, "here already").unwrap();
    cannot_write_to(
        &place,
        &file.join("results"),
        &["Not a directory", "--output-dir"],
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "here already");
}

#[test]
fn a_file_in_the_place_of_the_directory_is_left_alone() {
    let place = Place::new();
    let file = place.path().join("taken");
    fs::write(&file, "here already").unwrap();
    cannot_write_to(&place, &file, &["File exists", "--output-dir"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "here already");
}

#[test]
fn a_directory_that_takes_no_files_is_found_at_once() {
    // Where even the superuser makes no files.
    let dir = Path::new("/proc/self/task");
    assert!(dir.is_dir(), "this test needs /proc");
    cannot_write_to(&Place::new(), dir, &["--output-dir"]);
}

/// Requires that a run ended because its results could not be written any more, with a line on it.
#[track_caller]
fn ended_for_want_of_a_disk(end: &Finished, words: &[&str]) {
    reads_well(end);
    let lines = end.lines("results cannot be written any more");
    assert_eq!(lines.len(), 1, "{}", end.stderr);
    assert!(
        lines[0].contains("the same command goes on after"),
        "{}",
        lines[0]
    );
    let failed = end.lines("✗ Cache hit rate ");
    assert_eq!(failed.len(), 1, "{}", end.stderr);
    for word in words {
        assert!(failed[0].contains(word), "no '{word}' in: {}", failed[0]);
    }
    // Names of temporary files mean nothing to anybody.
    assert!(!end.stderr.contains(".tmp\""), "{}", end.stderr);
    // The end is told as of any run; a table without a row would say nothing.
    let has_results = end.lines("Total tests completed: 0").is_empty();
    assert_eq!(end.lines("Total tests completed: ").len(), 1);
    assert_eq!(
        end.lines("Final Summary").len(),
        usize::from(has_results),
        "{}",
        end.stderr
    );
}

#[test]
fn a_directory_removed_during_the_run_ends_it() {
    let place = Place::new();
    let dir = place.output().dir().to_owned();
    let relay = Relay::start(move |arrived| {
        if arrived.purpose == Purpose::Cold && arrived.nth == 1 {
            fs::remove_dir_all(&dir).unwrap();
        }
        Act::Forward(healthy())
    });
    let end = place
        .run(&format!("--api-endpoint {} {STUDY}", relay.url()))
        .exits(1);
    ended_for_want_of_a_disk(&end, &["output", "No such file or directory"]);
    assert_eq!(
        relay.seen(Purpose::Warm),
        0,
        "measuring went on with nowhere to write"
    );
}

#[test]
fn a_directory_replaced_by_a_file_during_the_run_ends_it_and_the_file_stays() {
    let place = Place::new();
    let dir = place.output().dir().to_owned();
    let relay = Relay::start(move |arrived| {
        if arrived.purpose == Purpose::Cold && arrived.nth == 1 {
            fs::remove_dir_all(&dir).unwrap();
            fs::write(&dir, "somebody else's").unwrap();
        }
        Act::Forward(healthy())
    });
    let end = place
        .run(&format!("--api-endpoint {} {STUDY}", relay.url()))
        .exits(1);
    ended_for_want_of_a_disk(&end, &["output", "Not a directory"]);
    assert_eq!(
        fs::read_to_string(place.output().dir()).unwrap(),
        "somebody else's"
    );
}

#[test]
fn a_directory_removed_after_a_test_was_complete_ends_the_run_at_the_next_test() {
    let place = Place::new();
    let dir = place.output().dir().to_owned();
    let relay = Relay::start(move |arrived| {
        if arrived.purpose == Purpose::Warm && arrived.nth == 1 {
            fs::remove_dir_all(&dir).unwrap();
        }
        Act::Forward(healthy())
    });
    let end = place
        .run(&format!(
            "--api-endpoint {} {STUDY} --cache-hit-rates 0 50 75 100",
            relay.url()
        ))
        .exits(1);
    ended_for_want_of_a_disk(&end, &["output", "No such file or directory"]);
    // A result that could not be stored is not called complete.
    assert_eq!(end.lines("✓ Cache hit rate 0% complete").len(), 1);
    assert!(
        end.lines("✓ Cache hit rate 50% complete").is_empty(),
        "{}",
        end.stderr
    );
    // The first rate's result is not forgotten though its file is gone.
    assert!(end.lines("512      0%").len() == 1, "{}", end.stderr);
}

#[test]
fn a_disk_that_takes_no_more_ends_the_run_and_keeps_every_whole_row() {
    // A limit on the size of files stands for a full disk: a write beyond it fails in the same way, half a
    // batch may have been written, and no right to mount anything is needed. Shells count it in units of 512
    // or of 1024 bytes; a test writes some 15 kB, so that either is met by one of the later tests.
    const UNITS: usize = 48;
    let place = Place::new();
    let dir = place.output().dir().to_owned();
    let before = Arc::new(Mutex::new(None));
    let taken = Arc::clone(&before);
    let relay = Relay::start(move |arrived| {
        if arrived.purpose == Purpose::Warm {
            taken.lock().unwrap().get_or_insert_with(|| snapshot(&dir));
        }
        Act::Forward(healthy())
    });
    let args = format!(
        "--api-endpoint {} {STUDY} --cache-hit-rates 0 30 35 40 50 60 70 80 90 100",
        relay.url()
    );
    let script = format!("trap '' XFSZ; ulimit -f {UNITS}; exec \"$@\"");
    let end = place
        .program("sh")
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_cache_rate_tester")])
        .args(args.split_whitespace())
        .run()
        .exits(1);
    ended_for_want_of_a_disk(&end, &["detailed_results_512_", "File too large"]);
    let output = place.output();
    assert_eq!(
        output.completed().first().map(String::as_str),
        Some("512_0")
    );
    assert!(output.completed().len() < 10);
    let mut n_compared = 0;
    for (name, bytes) in before.lock().unwrap().take().unwrap_or_default() {
        if name.ends_with(".csv") {
            let now = fs::read(output.dir().join(&name)).unwrap();
            assert!(now.starts_with(&bytes), "{name} was changed");
            n_compared += 1;
        }
    }
    assert_eq!(n_compared, 4);
    let text = output.read(&output.names_like("detailed_results_", ".csv")[0]);
    assert!(text.ends_with('\n'), "half a row was left");
    assert!(text.len() <= UNITS * 1024);
    // Every test that counts as complete has all its rows.
    let rows = output.detail(CONTEXT);
    for test in output.completed() {
        let rate = test.rsplit('_').next().unwrap();
        let phase = output.phases().matching(&[("cache_hit_rate", rate)]);
        let rows = rows.matching(&[("cache_hit_rate", rate)]).rows.len();
        assert_eq!(
            rows as f64,
            phase.number("num_requests_completed"),
            "at {rate}%"
        );
    }
}

#[test]
fn a_log_file_that_cannot_be_written_is_a_warning() {
    let place = Place::new();
    fs::create_dir(place.path().join("cache_rate_tester.log")).unwrap();
    let relay = Relay::start(|_| Act::Forward(healthy()));
    let end = place
        .run(&format!("--api-endpoint {} {STUDY}", relay.url()))
        .exits(0);
    reads_well(&end);
    assert_eq!(
        end.lines("cannot write the log file cache_rate_tester.log: ")
            .len(),
        1,
        "{}",
        end.stderr
    );
    assert_eq!(place.output().completed(), ["512_0", "512_50"]);
}

#[test]
fn a_tokenizer_that_cannot_be_had_is_named_with_what_to_pass_instead() {
    let relay = Relay::start(|_| Act::Forward(healthy()));
    let place = Place::new();
    let end = place
        .run(&format!(
            "--api-endpoint {} {STUDY} --tokenizer ./no-such-directory",
            relay.url()
        ))
        .exits(1);
    reads_well(&end);
    let error = end.lines("Fatal error: ");
    assert_eq!(error.len(), 1, "{}", end.stderr);
    assert!(error[0].contains("no-such-directory"), "{}", error[0]);
    assert!(end.stderr.contains("--tokenizer"), "{}", end.stderr);
    assert_eq!(relay.seen(Purpose::WarmUp), 0);
}

#[test]
fn results_of_an_earlier_run_survive_a_server_that_now_fails() {
    // A different kind of earlier: the first run is whole, the second adds a rate and fails in it.
    let first = second_rate("", |_| Act::Forward(healthy())).exits(0);
    let before = snapshot(first.output().dir());
    let relay = Relay::start(|arrived| match arrived.purpose {
        Purpose::Models => Act::Forward(healthy()),
        _ => Act::answer("500 Internal Server Error", "text/plain", "no"),
    });
    let args = format!(
        "--api-endpoint {} {STUDY} --cache-hit-rates 0 50 100",
        relay.url()
    );
    first.place.run(&args).exits(1);
    let now = snapshot(first.output().dir());
    for (name, bytes) in before.iter().filter(|(name, _)| name.ends_with(".csv")) {
        assert_eq!(now.get(name), Some(bytes), "{name}");
    }
}

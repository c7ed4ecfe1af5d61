//! Interrupted runs and what is kept of them.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::fixture::{self, FIRST, Measured, SECOND};
use crate::validate::validate;

const A: TestName = TestName {
    context_size: 1000,
    working_set_size: None,
    cache_hit_rate: 0,
};
const B: TestName = TestName {
    context_size: 1000,
    working_set_size: None,
    cache_hit_rate: 50,
};
const C: TestName = TestName {
    context_size: 2000,
    working_set_size: None,
    cache_hit_rate: 0,
};

fn lines(dir: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join(name)).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The rows of a test in a detail or failed file, as text.
fn rows_of(dir: &Path, name: &str, measured: &Measured) -> Vec<String> {
    let launches: Vec<String> = measured
        .records
        .iter()
        .map(|r| r.launch_time)
        .chain(measured.failed.iter().map(|f| f.launch_time))
        .map(|at| format!(",{at:?},"))
        .collect();
    lines(dir, name)
        .into_iter()
        .filter(|line| launches.iter().any(|at| line.contains(at)))
        .collect()
}

/// A run that finished A, and was killed in B with some rows on disk.
fn interrupted(dir: &Path) -> (Measured, Measured) {
    fixture::run(dir, FIRST, &[A]);
    let mut progress = Progress::load(dir).unwrap().unwrap();
    progress.adopt(fixture::parameters(&[1000], &[0, 50]));
    progress.save(dir).unwrap();
    let (a, b) = (fixture::measure(A, 0), fixture::measure(B, 50));
    // The killed process had its files open; a new handle stands in for it.
    let detail = dir.join(format!("detailed_results_1000_{FIRST}.csv"));
    let mut text = std::fs::read(&detail).unwrap();
    let mut more = metrics::schema::DetailWriter::append(&mut text, false);
    more.write_all(&b.records[..5]).unwrap();
    // … and the machine went down in the middle of a batch.
    more.write(&b.records[5]).unwrap();
    text.truncate(text.len() - 9);
    std::fs::write(&detail, text).unwrap();
    (a, b)
}

fn resume(dir: &Path) -> (ResumeState, crate::files::RunWriter, Progress) {
    let progress = Progress::load(dir).unwrap().unwrap();
    let open = ResultDir::open(dir).unwrap();
    let kept = ResumeState::gather(&open, &progress, false);
    let mut writer = fixture::writer(dir, SECOND);
    writer.carry_over(&kept);
    (kept, writer, progress)
}

#[test]
fn a_resumed_run_begins_its_files_with_the_rows_of_complete_tests_only() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = interrupted(dir.path());
    let first_detail = format!("detailed_results_1000_{FIRST}.csv");
    let second_detail = format!("detailed_results_1000_{SECOND}.csv");
    let before = std::fs::read(dir.path().join(&first_detail)).unwrap();

    let (kept, mut writer, mut progress) = resume(dir.path());
    assert_eq!(kept.summary, std::slice::from_ref(&a.summary));
    assert_eq!(kept.n_dropped_summary_rows, 0);
    assert_eq!(kept.phases.len(), 3);
    writer.begin_context(1000).unwrap();
    // Copied to the last digit.
    assert_eq!(
        rows_of(dir.path(), &second_detail, &a),
        rows_of(dir.path(), &first_detail, &a)
    );
    assert_eq!(lines(dir.path(), &second_detail).len(), 1 + 27);
    assert_eq!(
        lines(dir.path(), &format!("failed_requests_1000_{SECOND}.csv")).len(),
        1 + 2
    );
    let warnings = writer.take_warnings();
    assert!(
        matches!(&warnings[..], [w] if w.file == first_detail && w.message.contains("incomplete")),
        "{warnings:?}"
    );

    let again = fixture::measure(B, 700);
    fixture::finish(dir.path(), &mut writer, &mut progress, &again);
    assert_eq!(lines(dir.path(), &second_detail).len(), 1 + 27 + 27);
    assert!(rows_of(dir.path(), &second_detail, &b).is_empty());
    // The earlier run's file is as it was.
    assert_eq!(
        std::fs::read(dir.path().join(&first_detail)).unwrap(),
        before
    );

    let data = RunData::read_whole(dir.path());
    assert_eq!(data.summary, [a.summary, again.summary]);
    assert_eq!(data.details(A).len(), 27);
    assert_eq!(data.details(B).len(), 27);
    assert_eq!(data.phases.len(), 6);
    fixture::write_index(dir.path());
    // Only the cut line of the first run is wrong, and it is named.
    let found = validate(dir.path());
    assert!(
        matches!(&found.errors[..], [e] if e.file == first_detail && e.message.contains("line end")),
        "{found}"
    );
}

#[test]
fn nothing_is_written_for_contexts_that_get_no_new_rows() {
    let dir = tempfile::tempdir().unwrap();
    fixture::run(dir.path(), FIRST, &[A, B]);
    let (_, mut writer, mut progress) = resume(dir.path());
    progress.adopt(fixture::parameters(&[2000], &[0, 50]));
    let c = fixture::measure(C, 700);
    fixture::finish(dir.path(), &mut writer, &mut progress, &c);
    assert!(
        !dir.path()
            .join(format!("detailed_results_1000_{SECOND}.csv"))
            .exists()
    );
    // Rows of contexts that the command does not name are kept all the same.
    let data = RunData::read_whole(dir.path());
    assert_eq!(data.warnings, []);
    assert_eq!(data.summary.len(), 3);
    for test in [A, B, C] {
        assert_eq!(data.details(test).len(), 27, "{test}");
        assert_eq!(data.phases_of(test).count(), 3, "{test}");
        assert_eq!(data.failed[&test].len(), 2, "{test}");
    }
    fixture::write_index(dir.path());
    let found = validate(dir.path());
    // 2000 at 50 % is yet to be measured.
    assert_eq!(found.errors, [], "{found}");
}

#[test]
fn summary_rows_of_tests_not_listed_are_dropped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    fixture::run(dir.path(), FIRST, &[A, B, C]);
    let mut progress = Progress::load(dir.path()).unwrap().unwrap();
    progress.completed_tests.retain(|entry| entry == "1000_50");
    progress.completed_tests.push("not a test".to_owned());
    let open = ResultDir::open(dir.path()).unwrap();
    let kept = ResumeState::gather(&open, &progress, false);
    assert_eq!(kept.n_dropped_summary_rows, 2);
    assert_eq!(kept.summary.len(), 1);
    assert!(kept.phases.iter().all(|row| TestName::from(row) == B));
    assert!(kept.has_tests_of(1000) && !kept.has_tests_of(2000));
}

#[test]
fn a_forced_restart_keeps_nothing_and_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fixture::run(dir.path(), FIRST, &[A, B]);
    let progress = Progress::load(dir.path()).unwrap().unwrap();
    let open = ResultDir::open(dir.path()).unwrap();
    let kept = ResumeState::gather(&open, &progress, true);
    assert!(kept.summary.is_empty() && kept.phases.is_empty());
    let mut writer = fixture::writer(dir.path(), SECOND);
    writer.carry_over(&kept);
    let mut fresh = Progress::new(fixture::parameters(&[1000], &[0, 50]));
    let again = fixture::measure(A, 700);
    fixture::finish(dir.path(), &mut writer, &mut fresh, &again);
    let data = RunData::read_whole(dir.path());
    assert_eq!(data.summary, [again.summary]);
    assert_eq!(data.details(A)[0].intent, {
        let mut intent = again.records[0].intent.clone();
        intent.question_tokens = 0;
        intent
    });
    let launch = |r: &RequestRecord| r.launch_time.to_bits();
    assert_eq!(launch(&data.details(A)[0]), launch(&again.records[0]));
    assert_eq!(
        lines(dir.path(), &format!("detailed_results_1000_{FIRST}.csv")).len(),
        1 + 54
    );
}

#[test]
fn a_complete_test_without_rows_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fixture::run(dir.path(), FIRST, &[A]);
    std::fs::remove_file(
        dir.path()
            .join(format!("detailed_results_1000_{FIRST}.csv")),
    )
    .unwrap();
    let (_, mut writer, _) = resume(dir.path());
    writer.begin_context(1000).unwrap();
    let warnings = writer.take_warnings();
    assert!(warnings[0].message.contains("1000_0"), "{warnings:?}");
}

#[test]
fn a_directory_of_the_first_originals_can_be_continued() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cache_rate_ramp");
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let (kept, mut writer, _) = resume(dir.path());
    assert_eq!(kept.summary.len(), 2);
    assert_eq!(kept.phases.len(), 11);
    let measured = fixture::measure(TestName::new(1000, 100), 90_000);
    fixture::append_requests(&mut writer, &measured);
    writer.put_phases(&measured.phases).unwrap();
    writer.put_summary(&[measured.summary]).unwrap();
    assert_eq!(writer.take_warnings(), []);
    let name = format!("detailed_results_1000_{SECOND}.csv");
    assert_eq!(lines(dir.path(), &name).len(), 1 + 271 + 262 + 27);
    let data = RunData::read_whole(dir.path());
    assert_eq!(data.warnings, []);
    assert_eq!(data.summary.len(), 3);
    assert_eq!(data.details(A).len(), 271);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever was complete when a run stopped, and wherever it stopped in the next test, the resumed
    /// run ends with exactly the rows of every test's finished attempt, and the directory is sound.
    #[test]
    fn rows_survive_any_interruption_exactly_once(
        n_complete in 0usize..4,
        n_rows_of_next in 0usize..27,
        order in Just(vec![A, B, C, TestName::new(2000, 50)]).prop_shuffle(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fixture::run(dir, FIRST, &[]);
        let mut progress = Progress::new(fixture::parameters(&[1000, 2000], &[0, 50]));
        let mut writer = crate::files::RunWriter::create(
            &ResultDir::open(dir).unwrap(),
            &crate::stamp::RunStamp::parse(FIRST).unwrap(),
            crate::files::WriterOptions::default(),
        );
        let mut expected: BTreeMap<TestName, Measured> = BTreeMap::new();
        for (i, test) in order[..n_complete].iter().enumerate() {
            let measured = fixture::measure(*test, 100 * i as u64);
            fixture::finish(dir, &mut writer, &mut progress, &measured);
            expected.insert(*test, measured);
        }
        progress.save(dir).unwrap();
        let cut_short = fixture::measure(order[n_complete], 1000);
        let rows = &cut_short.records[..n_rows_of_next];
        writer.append_detail(cut_short.test.context_size, rows).unwrap();
        if n_rows_of_next > 13 {
            writer.append_failed(cut_short.test.context_size, &cut_short.failed).unwrap();
        }
        drop(writer);

        let (_, mut writer, mut progress) = resume(dir);
        for (i, test) in order[n_complete..].iter().enumerate() {
            prop_assert!(!progress.is_complete(test));
            writer.begin_context(test.context_size).unwrap();
            let measured = fixture::measure(*test, 2000 + 100 * i as u64);
            fixture::finish(dir, &mut writer, &mut progress, &measured);
            expected.insert(*test, measured);
        }
        prop_assert_eq!(writer.take_warnings(), vec![]);
        let data = RunData::read_whole(dir);
        prop_assert_eq!(data.summary.len(), 4);
        for (test, measured) in &expected {
            let launches = |records: &[RequestRecord]| -> Vec<u64> {
                records.iter().map(|r| r.launch_time.to_bits()).collect()
            };
            prop_assert_eq!(launches(data.details(*test)), launches(&measured.records));
        }
        fixture::write_index(dir);
        let found = validate(dir);
        prop_assert!(found.errors.is_empty(), "{}", found);
    }
}

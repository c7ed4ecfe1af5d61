//! Writing a run: what is on disk at every moment, and what happens when it cannot be.

use std::collections::BTreeMap;
use std::path::Path;

use metrics::PeriodRow;
use metrics::schema::read_detail;

use super::*;
use crate::data::RunData;
use crate::fixture::{self, FIRST};
use crate::test_name::TestName;

fn file_names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn lines(dir: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join(name)).unwrap();
    assert!(text.ends_with('\n'), "{name} ends within a line");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn names_say_what_a_file_is() {
    let check =
        |name: &str, kind: Option<FileKind>| assert_eq!(FileKind::of_name(name), kind, "{name}");
    check("summary_20261122_010848.csv", Some(FileKind::Summary));
    check("summary_later.csv", Some(FileKind::Summary));
    check("summary_comparison.csv", None);
    check(
        "detailed_results_8000_20261122_010848.csv",
        Some(FileKind::Detail(8000)),
    );
    check(
        "detailed_results_8000_20261122_010848_2.csv",
        Some(FileKind::Detail(8000)),
    );
    check("detailed_results.csv", None);
    check("detailed_results_x_20261122_010848.csv", None);
    check("detailed_results__20261122_010848.csv", None);
    check(
        "failed_requests_8000_20261122_010848.csv",
        Some(FileKind::Failed(8000)),
    );
    check("phase_metadata_20261122_010848.csv", Some(FileKind::Phases));
    check(
        "sustained_periods_ctx1000_cache0_20261122_010854.csv",
        Some(FileKind::Periods),
    );
    check("run_command_20261122_010848.sh", Some(FileKind::RunCommand));
    check("summary_20261122_010848.json", None);
    check("other.sh", None);
}

#[test]
fn files_appear_with_their_first_row_and_every_batch_is_on_disk_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = fixture::writer(dir.path(), FIRST);
    writer.append_detail(1000, &[]).unwrap();
    writer.append_failed(1000, &[]).unwrap();
    writer.begin_context(1000).unwrap();
    assert_eq!(file_names(dir.path()), ["run_command_20261122_010848.sh"]);

    let measured = fixture::measure(TestName::new(1000, 50), 0);
    let name = "detailed_results_1000_20261122_010848.csv";
    for (i, record) in measured.records.iter().enumerate() {
        writer
            .append_detail(1000, std::slice::from_ref(record))
            .unwrap();
        let file = std::fs::File::open(dir.path().join(name)).unwrap();
        let read: Result<Vec<_>, _> = read_detail(file).unwrap().collect();
        let mut expected = measured.records[..=i].to_vec();
        // In no column.
        expected
            .iter_mut()
            .for_each(|r| r.intent.question_tokens = 0);
        assert_eq!(read.unwrap(), expected);
    }
    writer.append_failed(1000, &measured.failed).unwrap();
    let failed = lines(dir.path(), "failed_requests_1000_20261122_010848.csv");
    assert_eq!(
        failed[0],
        "request_id,phase_id,kind,status,message,launch_time,elapsed,cache_hit_rate,context_size"
    );
    assert!(
        failed[1]
            .starts_with("RAMP_c2_r9,RAMP_c2,status,500,\"the server said \"\"busy\"\", twice\",")
    );
    assert!(failed[1].ends_with(",50,1000"), "{}", failed[1]);
    assert_eq!(failed.len(), 3);
}

#[test]
fn each_context_has_its_own_files_of_the_same_stamp() {
    let dir = tempfile::tempdir().unwrap();
    let tests = [TestName::new(1000, 0), TestName::new(2000, 0)];
    fixture::run(dir.path(), FIRST, &tests);
    assert_eq!(
        file_names(dir.path()),
        [
            "detailed_results_1000_20261122_010848.csv",
            "detailed_results_2000_20261122_010848.csv",
            "failed_requests_1000_20261122_010848.csv",
            "failed_requests_2000_20261122_010848.csv",
            "phase_metadata_20261122_010848.csv",
            "progress.json",
            "run_command_20261122_010848.sh",
            "run_facts.json",
            "summary_20261122_010848.csv",
            "test_metadata.json",
        ]
    );
    let phases = lines(dir.path(), "phase_metadata_20261122_010848.csv");
    assert_eq!(phases.len(), 7);
    let data = RunData::read_whole(dir.path());
    assert_eq!(data.warnings, []);
    let expected = BTreeMap::from([
        (metrics::FailureKind::Status, 1),
        (metrics::FailureKind::Cancelled, 1),
    ]);
    assert_eq!(data.failed[&tests[1]], expected);
    assert_eq!(data.details(tests[1]).len(), 27);
}

#[test]
fn rows_put_again_replace_their_earlier_selves() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut tables) = fixture::writer(dir.path(), FIRST).split();
    let measured = fixture::measure(TestName::new(1000, 50), 0);
    tables.put_phases(&measured.phases[..2]).unwrap();
    let mut changed = measured.phases.clone();
    changed[0].num_requests_failed = Some(7);
    tables.put_phases(&changed).unwrap();
    assert_eq!(tables.phases(), changed);
    tables
        .put_summary(std::slice::from_ref(&measured.summary))
        .unwrap();
    let other = fixture::measure(TestName::new(1000, 0), 50).summary;
    tables
        .put_summary(&[measured.summary.clone(), other.clone()])
        .unwrap();
    assert_eq!(tables.summary(), [other, measured.summary]);
    assert_eq!(lines(dir.path(), "summary_20261122_010848.csv").len(), 3);
    assert_eq!(
        lines(dir.path(), "phase_metadata_20261122_010848.csv").len(),
        4
    );
}

#[test]
fn every_period_is_on_disk_when_it_is_over_and_so_is_what_the_client_says_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut requests, _) = fixture::writer(dir.path(), FIRST).split();
    let period = |number: u64| PeriodRow {
        period_number: number,
        ..PeriodRow::default()
    };
    let health = |number: u64| metrics::health::HealthRow {
        phase_id: format!("SUSTAINED_P{number}"),
        ..metrics::health::HealthRow::default()
    };
    let (first, second) = (TestName::new(1000, 0), TestName::new(1000, 50));
    let name = |rate| format!("sustained_periods_ctx1000_cache{rate}_{FIRST}.csv");
    let health_file = format!("client_health_{FIRST}.csv");
    let mut n = 0;
    for (test, rate) in [(first, 0), (second, 50)] {
        for number in 1..=3 {
            requests
                .add_period(test, period(number), health(number))
                .unwrap();
            n += 1;
            assert_eq!(lines(dir.path(), &name(rate)).len() as u64, 1 + number);
            assert_eq!(lines(dir.path(), &health_file).len(), 1 + n);
        }
    }
    // A test that is over is settled; another one begins anew, also one of that name.
    requests.put_periods(second, &[period(1)]).unwrap();
    assert_eq!(lines(dir.path(), &name(50)).len(), 2);
    requests.add_period(second, period(1), health(1)).unwrap();
    assert_eq!(lines(dir.path(), &name(50)).len(), 2);
    assert_eq!(lines(dir.path(), &name(0)).len(), 4);
}

#[test]
fn the_working_set_column_is_written_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let stamp = RunStamp::parse(FIRST).unwrap();
    let options = WriterOptions {
        set: SetColumns::Size,
    };
    let mut writer = RunWriter::create(&ResultDir::open(dir.path()).unwrap(), &stamp, options);
    let test = TestName::new(1000, 50).with_working_set(Some(8000));
    let measured = fixture::measure(test, 0);
    fixture::append_requests(&mut writer, &measured);
    writer.put_phases(&measured.phases).unwrap();
    writer.put_summary(&[measured.summary]).unwrap();
    for name in file_names(dir.path()) {
        let has_column = lines(dir.path(), &name)[0].contains("working_set_size");
        assert_eq!(has_column, !name.starts_with("failed"), "{name}");
    }
    let data = RunData::read_whole(dir.path());
    assert_eq!(data.details(test).len(), 27);
    assert_eq!(data.failed[&test].len(), 2);
    assert_eq!(data.phases_of(test).count(), 3);
}

#[test]
fn a_row_that_cannot_be_written_is_an_error_and_costs_no_other_row() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = fixture::writer(dir.path(), FIRST);
    let mut records = fixture::measure(TestName::new(1000, 50), 0).records;
    records.truncate(3);
    records[1].total_time = f64::NAN;
    let error = writer.append_detail(1000, &records).unwrap_err();
    let name = "detailed_results_1000_20261122_010848.csv";
    assert!(error.to_string().contains(name), "{error}");
    assert!(matches!(
        error,
        WriteError::Rows {
            source: SchemaError::NotFinite { .. },
            ..
        }
    ));
    assert_eq!(lines(dir.path(), name).len(), 3);
}

#[test]
fn a_directory_that_vanishes_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let mut writer = fixture::writer(&path, FIRST);
    drop(dir);
    let measured = fixture::measure(TestName::new(1000, 50), 0);
    let error = writer.append_detail(1000, &measured.records).unwrap_err();
    assert!(
        error.to_string().contains("detailed_results_1000_"),
        "{error}"
    );
    let error = writer.put_summary(&[measured.summary]).unwrap_err();
    assert!(error.to_string().contains("summary_"), "{error}");
}

#[test]
fn a_bad_place_is_found_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let nested = dir.path().join("a/b");
    assert_eq!(ResultDir::create(&nested).unwrap().path(), nested);
    assert!(file_names(&nested).is_empty());
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for place in [&file, &file.join("below")] {
        let error = ResultDir::create(place).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
        assert!(ResultDir::open(place).is_err());
    }
}

#[test]
fn temporary_files_and_directories_are_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join(".summary_20261122_010848.csv.x1.tmp"),
        "half",
    )
    .unwrap();
    std::fs::create_dir(dir.path().join("summary_20261122_010848.csv")).unwrap();
    let open = ResultDir::open(dir.path()).unwrap();
    assert_eq!(open.list().unwrap(), []);
    assert!(open.scan().newest_summary().is_none());
}

//! Reading directories: the originals', ours, and broken ones.

use std::path::PathBuf;

use metrics::retry_metrics;

use super::*;

/// Reference data of the originals, copied from their small runs.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// A copy of a golden directory that a test may change.
fn copy_of(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden(name)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    dir
}

fn messages(data: &RunData) -> Vec<String> {
    data.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn directories_of_the_originals_are_read_without_a_warning() {
    let ramp = RunData::read_whole(&golden("cache_rate_ramp"));
    assert_eq!(messages(&ramp), Vec::<String>::new());
    assert_eq!(
        ramp.summary_file.as_deref(),
        Some("summary_20261122_010944.csv")
    );
    assert_eq!(ramp.summary.len(), 2);
    assert_eq!(ramp.phases.len(), 11);
    assert_eq!(ramp.model(), None);
    assert_eq!(
        ramp.progress.as_ref().unwrap().completed_tests,
        ["1000_0", "1000_50"]
    );
    assert_eq!(ramp.details(TestName::new(1000, 0)).len(), 271);
    assert_eq!(ramp.details(TestName::new(1000, 50)).len(), 262);
    let phases: Vec<_> = ramp
        .phases_of(TestName::new(1000, 50))
        .map(|row| row.phase_id.as_str())
        .collect();
    assert_eq!(
        phases,
        [
            "RAMP_c4",
            "RAMP_c8",
            "RAMP_REFINE_c6_1",
            "RETRY_1",
            "RETRY_2"
        ]
    );

    let fixed = RunData::read_whole(&golden("cache_rate_fixed"));
    assert_eq!(messages(&fixed), Vec::<String>::new());
    assert_eq!(fixed.model(), Some("mock-model"));
    assert_eq!(fixed.parameter("mode"), Some(&"fixed".into()));
    assert_eq!(fixed.parameter("min_tokens_per_req"), None);
    assert_eq!(fixed.summary.len(), 2);
}

#[test]
fn points_of_charts_can_be_had_from_what_was_read() {
    let data = RunData::read_whole(&golden("cache_rate_ramp"));
    for row in &data.summary {
        let details = data.details(row.into());
        let metrics = retry_metrics(row, &data.phases, details, false);
        assert!(metrics.n_phases >= 2, "{metrics:?}");
        let ratio = metrics.input.mean / row.input_tokens_per_sec;
        assert!((0.8..1.05).contains(&ratio), "{metrics:?}");
    }
}

/// A newest summary of nothing but its header is what a run leaves that began afresh and has no result yet.
#[test]
fn a_run_that_began_afresh_has_nothing_of_the_runs_before() {
    let dir = copy_of("cache_rate_ramp");
    let old = RunData::read_whole(dir.path());
    let header = std::fs::read_to_string(dir.path().join(old.summary_file.unwrap())).unwrap();
    let header = header.lines().next().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    put("summary_20261122_020000.csv", &format!("{header}\n"));
    let fresh = RunData::read_whole(dir.path());
    assert_eq!(messages(&fresh), Vec::<String>::new());
    assert!(fresh.summary.is_empty() && fresh.phases.is_empty());
    assert!(fresh.details(TestName::new(1000, 0)).is_empty());
    // Without even a header the file is broken, and says nothing about a run.
    put("summary_20261122_020000.csv", "");
    assert!(!RunData::read_whole(dir.path()).phases.is_empty());
}

#[test]
fn tables_alone_are_read_without_the_large_files() {
    let data = RunData::read_tables(&golden("cache_rate_ramp"));
    assert_eq!(data.summary.len(), 2);
    assert!(data.details(TestName::new(1000, 0)).is_empty());
}

#[test]
fn a_missing_directory_is_a_warning() {
    let data = RunData::read_whole(Path::new("no/such/directory"));
    assert_eq!(data.warnings.len(), 1);
    assert!(data.summary.is_empty());
}

#[test]
fn every_broken_file_is_one_warning_and_the_rest_is_read() {
    let dir = copy_of("cache_rate_ramp");
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    put("progress.json", "{bad");
    put("test_metadata.json", "[]");
    put("run_facts.json", "");
    put("summary_20261122_020000.csv", "");
    put(
        "phase_metadata_20261122_020000.csv",
        "phase_id,x\nRAMP_c1,2\n",
    );
    put("detailed_results_1000_20261122_020000.csv", "\u{0}\u{1}");
    put("detailed_results_x_20261122_020000.csv", "not looked at");
    std::fs::create_dir(dir.path().join("summary_20261122_030000.csv")).unwrap();
    let data = RunData::read_whole(dir.path());
    let files: Vec<_> = data.warnings.iter().map(|w| w.file.as_str()).collect();
    assert_eq!(
        files,
        [
            "progress.json",
            "test_metadata.json",
            "run_facts.json",
            "summary_20261122_020000.csv",
            "phase_metadata_20261122_020000.csv",
            "detailed_results_1000_20261122_020000.csv",
        ]
    );
    assert_eq!(data.phases.len(), 11);
    // Without a readable summary the rows of all tests are kept.
    assert_eq!(data.details(TestName::new(1000, 0)).len(), 271);
}

/// A file cut at any byte, as by a killed process, costs at most the row that was cut.
#[test]
fn a_detail_file_cut_anywhere_loses_only_its_last_row() {
    let name = "detailed_results_1000_20261122_011308.csv";
    let whole = std::fs::read(golden("cache_rate_fixed").join(name)).unwrap();
    let all = RunData::read_whole(&golden("cache_rate_fixed"));
    let test = TestName::new(1000, 50);
    let n_all = all.details(TestName::new(1000, 0)).len() + all.details(test).len();
    let dir = copy_of("cache_rate_fixed");
    // The older file is complete for 0 %, so only the newest must count here.
    std::fs::remove_file(dir.path().join("detailed_results_1000_20261122_011124.csv")).unwrap();
    let last_row = whole[..whole.len() - 1]
        .iter()
        .rposition(|&b| b == b'\n')
        .unwrap()
        + 1;
    for cut in (last_row + 1..whole.len()).step_by(7) {
        std::fs::write(dir.path().join(name), &whole[..cut]).unwrap();
        let data = RunData::read_whole(dir.path());
        let n = data.details(TestName::new(1000, 0)).len() + data.details(test).len();
        assert_eq!(n, n_all - 1, "cut at {cut}");
        let warning = &data.warnings[..];
        assert!(
            matches!(warning, [w] if w.file == name && w.message.contains("incomplete")),
            "cut at {cut}: {warning:?}"
        );
    }
}

#[test]
fn a_broken_row_in_the_middle_is_counted_and_skipped() {
    let dir = copy_of("cache_rate_ramp");
    let path = dir.path().join("detailed_results_1000_20261122_010944.csv");
    let text = std::fs::read_to_string(&path).unwrap();
    let broken: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(i, line)| {
            if i == 5 || i == 9 {
                "x,y".into()
            } else {
                line.to_owned()
            }
        })
        .collect();
    std::fs::write(&path, broken.join("\n") + "\n").unwrap();
    let data = RunData::read_whole(dir.path());
    let [warning] = &data.warnings[..] else {
        panic!("{:?}", data.warnings)
    };
    assert!(
        warning
            .message
            .starts_with("2 rows were left out, the first: line 6"),
        "{warning}"
    );
    assert_eq!(data.details(TestName::new(1000, 0)).len(), 269);
}

#[test]
fn rows_of_an_attempt_cut_short_do_not_hide_the_finished_one() {
    let dir = copy_of("cache_rate_ramp");
    let old = dir.path().join("detailed_results_1000_20261122_010944.csv");
    let text = std::fs::read_to_string(old).unwrap();
    // A later run began 0 % again an hour later and was killed: two rows, no phases, no summary.
    let mut later: Vec<String> = text.lines().take(3).map(str::to_owned).collect();
    for line in &mut later[1..] {
        *line = line.replace(",17953096", ",17953132");
    }
    std::fs::write(
        dir.path().join("detailed_results_1000_20261122_021000.csv"),
        later.join("\n") + "\n",
    )
    .unwrap();
    let data = RunData::read_whole(dir.path());
    assert_eq!(data.details(TestName::new(1000, 0)).len(), 271);
    assert_eq!(data.details(TestName::new(1000, 50)).len(), 262);
    assert_eq!(messages(&data), Vec::<String>::new());
}

#[test]
fn modification_times_do_not_decide_which_summary_is_newest() {
    let dir = copy_of("cache_rate_ramp");
    // The copy wrote files in any order; touch the older one last.
    let older = dir.path().join("summary_20261122_010848.csv");
    let bytes = std::fs::read(&older).unwrap();
    std::fs::write(&older, bytes).unwrap();
    assert_eq!(RunData::read_tables(dir.path()).summary.len(), 2);
    std::fs::write(dir.path().join("summary_comparison.csv"), "label\n").unwrap();
    std::fs::write(dir.path().join("summary_later.csv"), "x\n").unwrap();
    let data = RunData::read_tables(dir.path());
    assert_eq!(
        data.summary_file.as_deref(),
        Some("summary_20261122_010944.csv")
    );
}

#[test]
fn of_each_test_the_phases_of_its_newest_file_count() {
    let dir = copy_of("cache_rate_ramp");
    let header = "phase_type,phase_id,cache_hit_rate,context_size,concurrency_level,start_time,\
                  end_time,duration,num_requests_launched,num_requests_completed\n";
    let row = "RAMP,RAMP_c2,0,1000,2,1795313263.0,1795313273.0,10.0,24,24\n";
    std::fs::write(
        dir.path().join("phase_metadata_20261122_021000.csv"),
        format!("{header}{row}"),
    )
    .unwrap();
    let data = RunData::read_tables(dir.path());
    assert_eq!(data.phases_of(TestName::new(1000, 0)).count(), 1);
    assert_eq!(data.phases_of(TestName::new(1000, 50)).count(), 5);
}

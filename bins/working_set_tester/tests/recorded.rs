//! What the originals wrote down, read by this tool: parameters, decisions, figures, and a directory to go on in.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cli::argparse::try_parse;
use metrics::PeriodRow;
use metrics::schema::read_periods;
use ramp::sustained::PlateauRule;
use ramp::{
    Observation, PeriodObservation, PeriodStep, SustainedController, SustainedRules,
    SustainedSettings, Thresholds,
};
use report::progress::{ParameterMatch, Progress, ResumeRules};
use setup::study::{KnownFacts, Recorded};
use sim::{Background, SimConfig};
use working_set_tester::args::{Args, OPTION_GENERATIONS};
use working_set_tester::plan::Plan;
use workload::GrowthSchedule;

/// The originals' directories lie with the crate that reads directories.
fn original(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../crates/report/tests/data")
        .join(name)
}

/// What the originals' runs were started with.
const COMMON: &str = "working_set_tester --api-endpoint http://localhost:8000 --tokenizer local-tokenizer \
                      --context-sizes 512";
const FIXED: &str = "--min-working-set-size 2048 --max-working-set-size 8192 --working-set-increments 2 \
                     --cache-hit-rates 50 100 --mode fixed --fixed-concurrency-levels 2 4 8 --ramp-duration 2 \
                     --test-duration 30 --num-retries 1 --output-tokens 24 --output-dir memory_tier_test";
const SUSTAINED: &str = "--min-working-set-size 1024 --max-working-set-size 10000 --working-set-increments 4 \
                         --cache-hit-rates 90 --assessment-period 6 --test-duration 50 --max-ttft 0.3 --seed 7 \
                         --output-tokens 32 --max-concurrency 14 --ramp-duration 10";

fn plan(more: &str) -> Plan {
    let line = format!("{COMMON} {more}");
    let args: Args = try_parse(OPTION_GENERATIONS, line.split_whitespace())
        .unwrap_or_else(|stop| panic!("{more}: {stop:?}"));
    Plan::try_from(args).unwrap_or_else(|error| panic!("{more}: {error}"))
}

fn progress(name: &str) -> Progress {
    Progress::load(&original(name))
        .expect("the originals' files are whole")
        .expect("the originals wrote one")
}

#[test]
fn the_originals_runs_can_be_resumed_with_the_same_command() {
    let facts = KnownFacts {
        detected_model: Some("demo"),
        tokenizer: None,
    };
    let rules = &ResumeRules::WORKING_SET;
    for (name, more) in [
        ("working_set_fixed", FIXED),
        ("working_set_sustained", SUSTAINED),
    ] {
        let then = progress(name);
        assert_eq!(
            then.matches(&plan(more).parameters(facts), rules),
            ParameterMatch::Match,
            "{more}"
        );
        // Options that change nothing about the measurement do not stand in the way.
        let harmless = format!("{more} --verbose --skip-graphs --init-concurrency 3");
        assert_eq!(
            then.matches(&plan(&harmless).parameters(facts), rules),
            ParameterMatch::Match
        );
        for (changed, key) in [
            ("--chunk-size 128", "chunk_size"),
            ("--init-strategy max", "init_strategy"),
            ("--reinit-strategy once", "reinit_strategy"),
            (
                "--ensure-working-set-coverage",
                "ensure_working_set_coverage",
            ),
            ("--plateau-detection window", "plateau_detection"),
            ("--cache-hit-rates 100", "cache_hit_rates"),
        ] {
            let now = plan(&format!("{more} {changed}")).parameters(facts);
            assert_eq!(
                then.matches(&now, rules),
                ParameterMatch::Mismatch(vec![key.to_owned()]),
                "{changed}"
            );
        }
    }
}

fn periods() -> Vec<PeriodRow> {
    let dir = original("working_set_sustained");
    let name = fs::read_dir(&dir)
        .expect("the directory can be listed")
        .map(|entry| entry.expect("an entry can be read").path())
        .find(|path| path.to_string_lossy().contains("sustained_periods_"))
        .expect("a file of periods");
    read_periods(File::open(name).expect("the file can be read")).expect("a whole file")
}

/// Each row's decision and next level follow from its own TTFT and level.
#[test]
fn the_sustained_run_is_decided_as_the_original_decided_it() {
    let mut controller = SustainedController::new(SustainedSettings {
        start: 2,
        increment: 2,
        max: 14,
        test_duration: Duration::from_secs(1000),
        period: Duration::from_secs(6),
        thresholds: Thresholds {
            max_ttft: Some(0.3),
            min_speed: None,
        },
        rules: SustainedRules {
            plateau: PlateauRule::Off,
            ..SustainedRules::WORKING_SET
        },
    });
    let rows = periods();
    assert_eq!(rows.len(), 7);
    for (i, row) in rows.iter().enumerate() {
        let PeriodStep::Run(spec) = controller.next(Duration::from_secs(6) * i as u32) else {
            panic!("period {} was run", row.period_number);
        };
        assert_eq!(
            (u64::from(spec.number), spec.concurrency),
            (row.period_number, row.concurrency_level)
        );
        let decided = controller.record(PeriodObservation {
            level: Observation {
                input_tps: row.input_tokens_per_sec,
                ttft: row.measured_ttft,
                speed: None,
                valid: true,
            },
            has_tokens: true,
        });
        assert_eq!(
            (decided.decision.as_str(), decided.next),
            (row.decision.as_str(), row.next_concurrency),
            "period {}",
            row.period_number
        );
    }
}

/// 2 prompts that become 7, 12, 16 and 20.
#[test]
fn the_set_grows_as_the_originals_grew() {
    let schedule = GrowthSchedule::new(2, 20, 4, Duration::from_secs(50));
    let mut sizes = vec![1024];
    for event in &schedule.events {
        sizes.push(sizes[sizes.len() - 1] + event.prompts as u64 * 512);
    }
    let theirs: BTreeSet<u64> = periods()
        .iter()
        .filter_map(|row| row.working_set_size)
        .collect();
    assert!(
        theirs.is_subset(&sizes.iter().copied().collect()),
        "{theirs:?}"
    );
    assert_eq!(theirs.last(), sizes.last());
}

/// The user's own directory, its run complete: nothing is measured, pages are drawn anew, the table is printed.
#[test]
fn a_directory_of_the_original_is_gone_on_in() {
    let server = Background::start(SimConfig::demo()).expect("a simulator starts on a free port");
    let place = tempfile::tempdir().expect("a temporary directory can be made");
    let output = place.path().join("memory_tier_test");
    fs::create_dir(&output).expect("the directory can be made");
    for entry in fs::read_dir(original("working_set_fixed")).expect("the directory can be listed") {
        let path = entry.expect("an entry can be read").path();
        let name = path.file_name().expect("a file").to_owned();
        let text = fs::read_to_string(&path).expect("a text");
        // The run was against another port, with a tokenizer that is not here.
        let text = text
            .replace("http://localhost:8000", &server.url())
            .replace("local-tokenizer", "builtin");
        fs::write(output.join(name), text).expect("the copy can be written");
    }
    let before: BTreeSet<String> = names(&output);
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_working_set_tester"))
        .current_dir(place.path())
        .args(["--context-sizes", "512", "--tokenizer", "builtin"])
        .args(FIXED.split_whitespace())
        .args(["--calibrate", "off", "--api-endpoint", &server.url()])
        .output()
        .expect("the tool can be started");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{told}");
    for line in [
        "Resuming from previous progress: 4 tests completed",
        "Skipping context size 512 (all tests already completed)",
        "Total tests completed: 4",
    ] {
        assert!(told.contains(line), "no '{line}' in:\n{told}");
    }
    // Their sums of tokens were throughput times duration; a row of the table for each of the four tests.
    let rows = told.lines().filter(|line| line.contains("  512  ")).count();
    assert_eq!(rows, 4, "{told}");
    assert!(server.generations().is_empty(), "something was measured");
    let after = names(&output);
    assert!(before.is_subset(&after), "a file of the original is gone");
    for page in ["performance_vs_working_set_512.html", "index.html"] {
        assert!(after.contains(page), "{after:?}");
    }
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir)
        .expect("the directory can be listed")
        .map(|entry| {
            let name = entry.expect("an entry can be read").file_name();
            name.to_string_lossy().into_owned()
        })
        .collect()
}

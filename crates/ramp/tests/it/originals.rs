//! The originals' runs again: what they measured, fed to this controller, leads to what they tested.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;

use metrics::schema::{read_detail_without_lists, read_phases, read_summary};
use metrics::{LevelMetrics, RequestRecord, WindowSample};
use ramp::{Observation, RampRules, RampSettings, WindowSpec};

use crate::support::{max_ttft, play, secs};

fn data(name: &str) -> File {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../metrics/tests/data");
    File::open(root.join(name)).expect("the originals' files lie with the metrics crate")
}

/// What the original saw in each window of one test, by phase id; P95 TTFT and the published rate decided.
fn seen(records: &[RequestRecord], context_size: u64, rate: u32) -> HashMap<String, Observation> {
    let mut phases: HashMap<String, Vec<RequestRecord>> = HashMap::new();
    for r in records
        .iter()
        .filter(|r| r.intent.context_size == context_size && r.intent.cache_hit_rate == rate)
    {
        phases
            .entry(r.intent.phase_id.to_string())
            .or_default()
            .push(r.clone());
    }
    phases
        .into_iter()
        .map(|(id, records)| {
            let window = WindowSample::starting_at_first_launch(10.0, &records, &[]);
            let metrics = LevelMetrics::from_window(&window, false);
            let observation = Observation {
                input_tps: metrics.published.input_tps,
                ttft: metrics.ttft.p95,
                speed: metrics.speed.avg,
                valid: metrics.is_valid(),
            };
            (id, observation)
        })
        .collect()
}

/// Plays the tests of one context in order, each from the peak of the one before, and compares.
///
/// `untested` are windows that this controller runs and the original did not: it ended a climb without
/// ever testing its maximum.
fn check(
    dir: &str,
    detail: &str,
    phases: &[&str],
    summary: &str,
    context_size: u64,
    settings: RampSettings,
    untested: &[&str],
) {
    let records: Vec<RequestRecord> = read_detail_without_lists(data(&format!("{dir}/{detail}")))
        .expect("a detail file")
        .map(|row| row.expect("a whole row"))
        .collect();
    let phases: Vec<_> = phases
        .iter()
        .flat_map(|p| read_phases(data(&format!("{dir}/{p}"))).expect("a phase file"))
        .collect();
    let summaries = read_summary(data(&format!("{dir}/{summary}"))).expect("a summary file");
    let mut previous_peak = None;
    let mut extra = Vec::new();
    for row in summaries.iter().filter(|s| s.context_size == context_size) {
        let seen = seen(&records, context_size, row.cache_hit_rate);
        let played = play(settings, previous_peak, |window: &WindowSpec| {
            match seen.get(&window.phase_id) {
                Some(observation) => *observation,
                None => {
                    extra.push(window.phase_id.clone());
                    Observation {
                        input_tps: 0.0,
                        ttft: None,
                        speed: None,
                        valid: false,
                    }
                }
            }
        });
        let ours: Vec<&str> = played
            .ids()
            .into_iter()
            .filter(|id| !untested.contains(id) || seen.contains_key(*id))
            .collect();
        let theirs: Vec<&str> = phases
            .iter()
            .filter(|p| p.context_size == context_size && p.cache_hit_rate == row.cache_hit_rate)
            .map(|p| p.phase_id.as_str())
            .collect();
        assert_eq!(
            ours, theirs,
            "{dir}, context {context_size}, rate {}",
            row.cache_hit_rate
        );
        assert_eq!(played.peak(), Some((row.peak_concurrency, true)));
        previous_peak = Some(row.peak_concurrency);
    }
    assert_eq!(extra, untested, "windows the original did not run");
}

#[test]
fn the_ramp_run_is_repeated_step_by_step() {
    let settings = RampSettings {
        start: 2,
        increment: 2,
        max: 1000,
        test_duration: secs(120),
        ramp_duration: secs(10),
        // It ran one less than asked for.
        num_retries: 2,
        thresholds: max_ttft(0.5),
        rules: RampRules::CACHE_RATE,
    };
    check(
        "cache_rate_ramp",
        "detailed_results_1000_20261122_010944.csv",
        &[
            "phase_metadata_20261122_010848.csv",
            "phase_metadata_20261122_010944.csv",
        ],
        "summary_20261122_010944.csv",
        1000,
        settings,
        &[],
    );
}

#[test]
fn both_contexts_of_a_longer_run_are_repeated_step_by_step() {
    let settings = RampSettings {
        start: 1,
        increment: 1,
        max: 12,
        test_duration: secs(300),
        ramp_duration: secs(1),
        num_retries: 1,
        thresholds: max_ttft(0.15),
        rules: RampRules::CACHE_RATE,
    };
    check(
        "combine/run_a",
        "detailed_results_800_20261122_011447.csv",
        &[
            "phase_metadata_20261122_011438.csv",
            "phase_metadata_20261122_011443.csv",
            "phase_metadata_20261122_011447.csv",
        ],
        "summary_20261122_011543.csv",
        800,
        settings,
        &["RAMP_c12"],
    );
    check(
        "combine/run_a",
        "detailed_results_1600_20261122_011543.csv",
        &[
            "phase_metadata_20261122_011529.csv",
            "phase_metadata_20261122_011536.csv",
            "phase_metadata_20261122_011543.csv",
        ],
        "summary_20261122_011543.csv",
        1600,
        settings,
        &[],
    );
}

//! Fixed mode: which windows, when it stops, which level is reported.

use ramp::{
    Controller, FixedController, FixedRules, FixedSettings, Note, Observation, Purpose,
    RampOutcome, Step, StopReason, Thresholds,
};

use crate::support::{at, max_ttft, secs};

fn settings(levels: &[u32], num_retries: u32, thresholds: Thresholds) -> FixedSettings {
    FixedSettings {
        levels: levels.to_vec(),
        ramp_duration: secs(3),
        num_retries,
        thresholds,
        rules: FixedRules::CACHE_RATE,
    }
}

/// Runs a test against a server whose TTFT is 0.1 s per request; `refused` levels give no result.
fn play(settings: FixedSettings, refused: &[u32]) -> (Vec<String>, RampOutcome, Vec<Note>) {
    let mut controller = FixedController::new(settings);
    let (mut ids, mut notes) = (Vec::new(), Vec::new());
    loop {
        let step = controller.next(secs(0));
        assert_eq!(
            controller.next(secs(9)),
            step,
            "the same step until a result is recorded"
        );
        match step {
            Step::Run(window) => {
                assert_eq!(window.length, secs(3));
                assert_eq!(
                    window.purpose,
                    if window.phase_id.ends_with("_run0") {
                        Purpose::Fixed
                    } else {
                        Purpose::Retry
                    }
                );
                controller.record(Observation {
                    valid: !refused.contains(&window.concurrency),
                    ..at(window.concurrency, 0.1 * f64::from(window.concurrency))
                });
                ids.push(window.phase_id);
                notes.extend(controller.take_notes());
            }
            Step::Done(outcome) => {
                notes.extend(controller.take_notes());
                return (ids, outcome, notes);
            }
        }
    }
}

fn peak(outcome: &RampOutcome) -> Option<(u32, bool)> {
    outcome.peak.as_ref().map(|p| (p.concurrency, p.passed))
}

#[test]
fn levels_run_ascending_until_one_fails() {
    // Example 7 of the tool's page.
    let (ids, outcome, notes) = play(settings(&[6, 2, 4], 1, max_ttft(0.45)), &[]);
    assert_eq!(
        ids,
        [
            "FIXED_c2_run0",
            "FIXED_c2_RETRY_1",
            "FIXED_c4_run0",
            "FIXED_c4_RETRY_1",
            "FIXED_c6_run0"
        ]
    );
    assert_eq!(
        (peak(&outcome), outcome.stop),
        (Some((4, true)), StopReason::LevelFailed)
    );
    assert!(notes.contains(&Note::LevelsLeftOut {
        failed: 6,
        n_tested: 3,
        untested: vec![]
    }));
    assert_eq!(
        notes
            .iter()
            .filter(|n| matches!(n, Note::LevelDone { .. }))
            .count(),
        2,
        "a level that failed is not done"
    );
}

#[test]
fn the_reported_level_is_the_highest_that_passed_or_else_the_lowest() {
    let none = Thresholds::default();
    // (levels, thresholds, levels without a result) → (peak, passed), windows, stop
    type Case<'a> = (
        &'a [u32],
        Thresholds,
        &'a [u32],
        Option<(u32, bool)>,
        usize,
        StopReason,
    );
    let cases: [Case<'_>; 8] = [
        (
            &[2, 4, 8],
            max_ttft(0.45),
            &[],
            Some((4, true)),
            3,
            StopReason::LevelFailed,
        ),
        (
            &[2, 4],
            max_ttft(0.4),
            &[],
            Some((4, true)),
            2,
            StopReason::AllLevels,
        ),
        (
            &[6, 8],
            max_ttft(0.45),
            &[],
            Some((6, false)),
            1,
            StopReason::LevelFailed,
        ),
        (
            &[2, 4, 8],
            none,
            &[],
            Some((8, true)),
            3,
            StopReason::AllLevels,
        ),
        (
            &[2, 4, 8],
            none,
            &[8],
            Some((4, true)),
            3,
            StopReason::AllLevels,
        ),
        (
            &[2, 4],
            max_ttft(9.0),
            &[2],
            None,
            1,
            StopReason::LevelFailed,
        ),
        (&[2, 4], none, &[2, 4], None, 2, StopReason::AllLevels),
        (&[], none, &[], None, 0, StopReason::AllLevels),
    ];
    for (levels, thresholds, refused, expected, n_windows, stop) in cases {
        let (ids, outcome, notes) = play(settings(levels, 0, thresholds), refused);
        let case = format!("{levels:?}, {thresholds:?}, refused {refused:?}");
        assert_eq!(peak(&outcome), expected, "{case}");
        assert_eq!((ids.len(), outcome.stop), (n_windows, stop), "{case}");
        assert_eq!(notes.contains(&Note::NoPeak), expected.is_none(), "{case}");
    }
}

#[test]
fn repeated_levels_count_once_and_a_level_without_result_is_not_repeated() {
    let (ids, ..) = play(settings(&[4, 2, 4, 0], 2, Thresholds::default()), &[2]);
    assert_eq!(
        ids,
        [
            "FIXED_c2_run0",
            "FIXED_c4_run0",
            "FIXED_c4_RETRY_1",
            "FIXED_c4_RETRY_2"
        ]
    );
}

/// A test by the rules of `working_set_tester`.
fn as_listed(
    levels: &[u32],
    num_retries: u32,
    thresholds: Thresholds,
) -> (Vec<String>, RampOutcome, Vec<Note>) {
    let settings = FixedSettings {
        rules: FixedRules::WORKING_SET,
        ..settings(levels, num_retries, thresholds)
    };
    play(settings, &[])
}

#[test]
fn listed_levels_keep_their_order_and_every_run_is_a_run() {
    let (ids, outcome, _) = as_listed(&[8, 2, 8, 4], 1, Thresholds::default());
    assert_eq!(
        ids,
        [
            "FIXED_c8_run0",
            "FIXED_c8_run1",
            "FIXED_c2_run0",
            "FIXED_c2_run1",
            "FIXED_c4_run0",
            "FIXED_c4_run1",
        ]
    );
    assert_eq!(peak(&outcome), Some((4, true)), "the last one listed");
}

#[test]
fn the_last_listed_level_that_held_is_reported_or_else_the_first() {
    // Example 6 of the tool's page: 16 is not run, and 8 is not repeated.
    let (ids, outcome, notes) = as_listed(&[2, 4, 8, 16], 1, max_ttft(0.5));
    assert_eq!(ids.last().map(String::as_str), Some("FIXED_c8_run0"));
    assert_eq!((ids.len(), peak(&outcome)), (5, Some((4, true))));
    assert!(notes.contains(&Note::LevelsLeftOut {
        failed: 8,
        n_tested: 3,
        untested: vec![16],
    }));
    let (ids, outcome, _) = as_listed(&[8, 2, 4], 1, max_ttft(0.5));
    assert_eq!(
        (ids.len(), peak(&outcome)),
        (1, Some((8, false))),
        "the first one broke the threshold, so the others are not tried"
    );
}

#[test]
fn what_keeps_a_given_level_from_being_higher_is_the_one_that_ended_the_test() {
    let bounds = |outcome: &RampOutcome| -> Vec<u32> {
        outcome.bounds().iter().map(|t| t.concurrency).collect()
    };
    let (_, outcome, _) = play(settings(&[2, 4, 8, 16], 1, max_ttft(0.5)), &[]);
    assert_eq!(
        (peak(&outcome), bounds(&outcome)),
        (Some((4, true)), vec![8])
    );
    // Nothing ended it: the level behind which others were listed lost to none.
    let (_, outcome, _) = as_listed(&[8, 2], 0, Thresholds::default());
    assert_eq!(
        (peak(&outcome), bounds(&outcome)),
        (Some((2, true)), vec![])
    );
}

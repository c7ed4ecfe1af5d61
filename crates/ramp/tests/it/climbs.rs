//! Whole ramps, step by step.

use std::time::Duration;

use ramp::{
    Controller, Note, Observation, Purpose, RampController, RampRules, RampSettings, Step,
    StopReason,
};

use crate::support::{at, max_ttft, mock, play, secs, settings};

#[test]
fn the_first_acceptance_example_runs_as_written() {
    let first = RampSettings {
        test_duration: secs(120),
        ..settings()
    };
    let cold = play(first, None, mock);
    assert_eq!(
        cold.ids(),
        [
            "RAMP_c2",
            "RAMP_c12",
            "RAMP_REFINE_c6_1",
            "RAMP_REFINE_c4_2",
            "RETRY_1",
            "RETRY_2",
            "RETRY_3"
        ]
    );
    assert_eq!(cold.peak(), Some((4, true)));
    assert_eq!(cold.outcome.stop, StopReason::ThresholdFound);
    let warmer = play(first, Some(4), mock);
    assert_eq!(
        warmer.ids()[..3],
        ["RAMP_c4", "RAMP_c8", "RAMP_REFINE_c6_1"]
    );
    assert_eq!(warmer.peak(), Some((4, true)));
    assert!(warmer.notes.contains(&Note::OptimisticStart {
        level: 4,
        configured: 2
    }));
}

#[test]
fn retries_are_full_windows_at_the_peak() {
    for n in [0, 1, 3, 7] {
        let played = play(
            RampSettings {
                num_retries: n,
                ..settings()
            },
            None,
            mock,
        );
        let retries: Vec<_> = played
            .windows
            .iter()
            .filter(|w| w.purpose == Purpose::Retry)
            .collect();
        let ids: Vec<String> = (1..=n).map(|k| format!("RETRY_{k}")).collect();
        assert_eq!(
            retries
                .iter()
                .map(|w| w.phase_id.clone())
                .collect::<Vec<_>>(),
            ids
        );
        assert!(
            retries
                .iter()
                .all(|w| w.concurrency == 4 && w.length == secs(10))
        );
        assert_eq!(
            played.outcome.tested.len(),
            4,
            "retries are no part of the search"
        );
        assert_eq!(
            played
                .notes
                .contains(&Note::RetriesStarted { concurrency: 4, n }),
            n > 0
        );
    }
}

#[test]
fn the_climb_grows_with_the_headroom() {
    // (measured against 1.0, next level from 10 with an increment of 3)
    let table = [
        (0.25, 40),
        (0.29, 40),
        (0.30, 25),
        (0.31, 25),
        (0.49, 25),
        (0.51, 19),
        (0.69, 19),
        (0.71, 16),
        (0.84, 16),
        (0.86, 13),
        (1.0, 13),
    ];
    for (ttft, next) in table {
        let ramp = RampSettings {
            start: 10,
            increment: 3,
            thresholds: max_ttft(1.0),
            ..settings()
        };
        let mut controller = RampController::new(ramp, None);
        assert!(matches!(controller.next(Duration::ZERO), Step::Run(_)));
        assert!(controller.record(at(10, ttft)).passed);
        let Step::Run(window) = controller.next(secs(11)) else {
            panic!("the climb goes on")
        };
        assert_eq!(window.concurrency, next, "{ttft}");
        assert_eq!(window.phase_id, format!("RAMP_c{next}"));
    }
}

#[test]
fn the_maximum_is_tested_last() {
    let generous = RampSettings {
        max: 20,
        thresholds: max_ttft(100.0),
        num_retries: 0,
        ..settings()
    };
    let played = play(generous, None, mock);
    assert_eq!(
        played.ids(),
        ["RAMP_c2", "RAMP_c20"],
        "22 would pass the maximum"
    );
    assert_eq!(played.outcome.stop, StopReason::MaximumReached);
    // It may lie off the grid.
    let odd = RampSettings {
        max: 21,
        ..generous
    };
    assert_eq!(play(odd, None, mock).ids(), ["RAMP_c2", "RAMP_c21"]);
    // And be the start.
    let only = RampSettings {
        start: 5,
        max: 5,
        ..generous
    };
    assert_eq!(play(only, None, mock).ids(), ["RAMP_c5"]);
}

#[test]
fn a_failing_maximum_is_refined() {
    let ramp = RampSettings {
        max: 8,
        num_retries: 0,
        ..settings()
    };
    let played = play(ramp, None, mock);
    assert_eq!(
        played.ids(),
        ["RAMP_c2", "RAMP_c8", "RAMP_REFINE_c4_1", "RAMP_REFINE_c6_2"]
    );
    assert_eq!(played.peak(), Some((4, true)));
}

#[test]
fn a_first_level_that_fails_ends_the_search() {
    let tight = RampSettings {
        thresholds: max_ttft(0.05),
        ..settings()
    };
    let played = play(tight, None, mock);
    assert_eq!(played.search_ids(), ["RAMP_c2"]);
    assert_eq!(played.outcome.stop, StopReason::FirstLevelFailed);
    assert_eq!(
        played.peak(),
        Some((2, false)),
        "what was measured is still the result"
    );
    assert_eq!(played.ids().len(), 4, "and is repeated");
}

#[test]
fn an_optimistic_start_that_is_too_high_backs_off_by_halves() {
    // (previous peak, start, increment, levels tried until one passes; a level passes up to 5)
    let table: [(u32, u32, u32, &[u32]); 5] = [
        (40, 2, 2, &[40, 20, 10, 6, 4]),
        (40, 3, 7, &[40, 21, 7, 3]),
        (6, 2, 2, &[6, 4]),
        (7, 6, 1, &[7, 6]),
        (1000, 1, 100, &[1000, 500, 200, 100, 1]),
    ];
    for (previous, start, increment, levels) in table {
        let ramp = RampSettings {
            start,
            increment,
            ..settings()
        };
        let played = play(ramp, Some(previous), mock);
        let tried: Vec<u32> = played
            .windows
            .iter()
            .take(levels.len())
            .map(|w| w.concurrency)
            .collect();
        assert_eq!(tried, levels, "from {previous} to {start} by {increment}");
        let back_offs = played
            .notes
            .iter()
            .filter(|n| matches!(n, Note::BackedOff { .. }))
            .count();
        assert_eq!(back_offs, levels.len() - 1);
    }
}

#[test]
fn a_back_off_down_to_the_configured_start_may_still_fail() {
    let tight = RampSettings {
        thresholds: max_ttft(0.05),
        num_retries: 0,
        ..settings()
    };
    let played = play(tight, Some(10), mock);
    assert_eq!(
        played.search_ids(),
        ["RAMP_c10", "RAMP_c6", "RAMP_c4", "RAMP_c2"]
    );
    assert_eq!(played.outcome.stop, StopReason::FirstLevelFailed);
    assert_eq!(played.peak(), Some((2, false)));
}

#[test]
fn a_level_climbed_to_again_gets_a_new_id() {
    // 20 fails whenever asked; 10 passes with a headroom that leads to 20 again.
    let ramp = RampSettings {
        start: 2,
        increment: 10,
        max: 20,
        num_retries: 0,
        ..settings()
    };
    let played = play(ramp, Some(20), |w| {
        at(w.concurrency, if w.concurrency >= 20 { 0.9 } else { 0.1 })
    });
    assert_eq!(played.search_ids(), ["RAMP_c20", "RAMP_c10", "RAMP_c20_2"]);
    assert_eq!(played.peak(), Some((10, true)));
    // 4 fails only the first time.
    let mut asked = 0;
    let ramp = RampSettings {
        start: 2,
        increment: 2,
        max: 8,
        num_retries: 0,
        ..settings()
    };
    let played = play(ramp, Some(8), |w| {
        asked += u32::from(w.concurrency == 4);
        at(
            w.concurrency,
            if w.concurrency == 8 || (w.concurrency == 4 && asked < 2) {
                0.9
            } else {
                0.4
            },
        )
    });
    assert_eq!(
        played.search_ids(),
        ["RAMP_c8", "RAMP_c4", "RAMP_c2", "RAMP_c6", "RAMP_c8_2"],
        "8 and 4 fail, then the climb begins at 2"
    );
}

#[test]
fn a_maximum_that_failed_at_first_is_tested_again_and_refined() {
    let ramp = RampSettings {
        start: 1,
        increment: 4,
        max: 9,
        num_retries: 0,
        ..settings()
    };
    // 9 always fails; 4, half-way to 1 and rounded down, fails on its first visit.
    let mut visits = std::collections::HashMap::new();
    let played = play(ramp, Some(9), |w| {
        let n = visits
            .entry(w.concurrency)
            .and_modify(|n| *n += 1)
            .or_insert(1);
        let fails = w.concurrency == 9 || (w.concurrency == 4 && *n == 1);
        at(w.concurrency, if fails { 0.9 } else { 0.1 })
    });
    assert_eq!(
        played.search_ids(),
        [
            "RAMP_c9",
            "RAMP_c4",
            "RAMP_c1",
            "RAMP_c9_2",
            "RAMP_REFINE_c5_1"
        ]
    );
}

#[test]
fn the_previous_peak_counts_only_above_the_start() {
    for (previous, first) in [
        (None, 2),
        (Some(1), 2),
        (Some(2), 2),
        (Some(3), 3),
        (Some(5000), 1000),
    ] {
        let mut controller = RampController::new(settings(), previous);
        let Step::Run(window) = controller.next(Duration::ZERO) else {
            panic!("there is a first window")
        };
        assert_eq!(window.concurrency, first, "{previous:?}");
    }
}

/// Length of the window offered at `elapsed`, or nothing.
fn offered(test: u64, ramp: u64, elapsed: Duration) -> Option<Duration> {
    let settings = RampSettings {
        test_duration: secs(test),
        ramp_duration: secs(ramp),
        ..settings()
    };
    match RampController::new(settings, None).next(elapsed) {
        Step::Run(window) => Some(window.length),
        Step::Done(_) => None,
    }
}

#[test]
fn windows_are_cut_by_the_time_limit_but_not_below_ten_seconds() {
    let table = [
        (60, 30, secs(0), Some(secs(30))),
        (60, 30, secs(30), Some(secs(30))),
        (60, 30, secs(31), Some(secs(29))),
        (60, 30, secs(50), Some(secs(10))),
        (60, 30, Duration::from_millis(50_001), None),
        (60, 30, secs(60), None),
        (60, 30, secs(99), None),
        // Short windows are allowed, but only whole.
        (60, 4, secs(56), Some(secs(4))),
        (60, 4, secs(57), None),
        (2, 1, secs(1), Some(secs(1))),
        (2, 1, Duration::from_millis(1001), None),
    ];
    for (test, ramp, elapsed, length) in table {
        assert_eq!(
            offered(test, ramp, elapsed),
            length,
            "{test} {ramp} {elapsed:?}"
        );
    }
}

#[test]
fn the_time_limit_ends_the_climb_and_the_best_so_far_is_repeated() {
    // Windows of 10 s and a second of drain: three fit into 35 s.
    let slow = RampSettings {
        test_duration: secs(35),
        increment: 1,
        thresholds: max_ttft(0.9),
        ..settings()
    };
    let played = play(slow, None, |w| at(w.concurrency, 0.85));
    assert_eq!(
        played.ids(),
        [
            "RAMP_c2", "RAMP_c3", "RAMP_c4", "RETRY_1", "RETRY_2", "RETRY_3"
        ]
    );
    assert_eq!(played.outcome.stop, StopReason::TimeLimit);
    assert_eq!(played.peak(), Some((4, true)));
}

#[test]
fn the_time_limit_ends_the_refinement() {
    let played = play(
        RampSettings {
            test_duration: secs(35),
            ..settings()
        },
        None,
        mock,
    );
    assert_eq!(
        played.search_ids(),
        ["RAMP_c2", "RAMP_c12", "RAMP_REFINE_c6_1"]
    );
    assert_eq!(played.outcome.stop, StopReason::TimeLimit);
    assert_eq!(played.peak(), Some((2, true)));
}

#[test]
fn without_time_for_one_window_there_is_no_peak() {
    let mut controller = RampController::new(settings(), None);
    let Step::Done(outcome) = controller.next(secs(200_000)) else {
        panic!("no time is left")
    };
    assert_eq!(
        (outcome.peak, outcome.stop, outcome.tested.len()),
        (None, StopReason::TimeLimit, 0)
    );
    assert!(controller.take_notes().contains(&Note::NoPeak));
}

#[test]
fn a_server_that_never_answers_well_has_no_peak() {
    let dead = Observation {
        input_tps: 0.0,
        ttft: None,
        speed: None,
        valid: false,
    };
    let played = play(settings(), Some(8), |_| dead);
    assert_eq!(played.ids(), ["RAMP_c8", "RAMP_c4", "RAMP_c2"]);
    assert_eq!(played.peak(), None);
    assert!(played.notes.contains(&Note::NoPeak));
}

#[test]
fn an_invalid_level_fails_and_is_refined_away() {
    let played = play(settings(), None, |w| Observation {
        valid: w.concurrency <= 6,
        ..at(w.concurrency, 0.1)
    });
    assert_eq!(
        played.search_ids(),
        [
            "RAMP_c2",
            "RAMP_c22",
            "RAMP_REFINE_c12_1",
            "RAMP_REFINE_c6_2",
            "RAMP_REFINE_c8_3"
        ]
    );
    assert_eq!(played.peak(), Some((6, true)));
}

#[test]
fn the_widest_climb_is_refined_in_four_steps_at_most() {
    // From 1 with full headroom to 11; every place between them may be the last good one.
    for limit in 1..=10 {
        let ramp = RampSettings {
            start: 1,
            increment: 1,
            num_retries: 0,
            ..settings()
        };
        let played = play(ramp, None, |w| {
            at(w.concurrency, if w.concurrency > limit { 0.9 } else { 0.1 })
        });
        let steps = played
            .windows
            .iter()
            .filter(|w| w.purpose == Purpose::Refine);
        assert!(steps.count() <= 4);
        assert_eq!(played.peak(), Some((limit, true)));
        assert_eq!(played.outcome.stop, StopReason::ThresholdFound);
    }
}

#[test]
fn a_start_off_the_grid_is_refined_without_leaving_the_range() {
    // 3 passes, 3 + 5 = 8 fails; within one increment.
    let ramp = RampSettings {
        start: 3,
        increment: 5,
        num_retries: 0,
        ..settings()
    };
    let played = play(ramp, None, |w| {
        at(w.concurrency, if w.concurrency > 3 { 0.9 } else { 0.45 })
    });
    assert_eq!(played.search_ids(), ["RAMP_c3", "RAMP_c8"]);
    // 3 passes with room for two steps, 13 fails; 8 is cut first, then nothing lies on the grid.
    let played = play(ramp, None, |w| {
        at(w.concurrency, if w.concurrency > 3 { 0.9 } else { 0.4 })
    });
    assert_eq!(
        played.search_ids(),
        ["RAMP_c3", "RAMP_c13", "RAMP_REFINE_c8_1"]
    );
}

#[test]
fn notes_tell_the_story_in_order_and_once() {
    let played = play(settings(), None, mock);
    let told: Vec<String> = played
        .notes
        .iter()
        .map(|note| match note {
            Note::Climbing {
                from, to, multiple, ..
            } => format!("{from} to {to}, {multiple}x"),
            Note::RefineStarted { good, bad } => format!("between {good} and {bad}"),
            Note::Refined {
                level,
                passed,
                good,
                bad,
            } => format!("{level} {passed}: {good} to {bad}"),
            Note::SearchEnded(reason) => format!("{reason:?}"),
            Note::PeakChosen { peak, candidates } => {
                let among: Vec<u32> = candidates.iter().map(|t| t.concurrency).collect();
                format!(
                    "peak {} from {} of {among:?}",
                    peak.concurrency, peak.phase_id
                )
            }
            Note::RetriesStarted { concurrency, n } => format!("{n} times {concurrency}"),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "2 to 12, 5x",
            "between 2 and 12",
            "6 false: 2 to 6",
            "4 true: 4 to 6",
            "ThresholdFound",
            "peak 4 from RAMP_REFINE_c4_2 of [4, 2]",
            "3 times 4",
        ]
    );
}

#[test]
fn a_result_nobody_asked_for_changes_nothing() {
    let mut controller = RampController::new(settings(), None);
    assert!(controller.record(at(2, 0.1)).passed);
    assert!(controller.tested().is_empty());
    let Step::Run(window) = controller.next(Duration::ZERO) else {
        panic!("there is a first window")
    };
    assert_eq!(window.phase_id, "RAMP_c2");
}

#[test]
fn a_level_met_again_after_a_back_off_is_measured_again_or_taken_as_known() {
    // 40 fails, 21 → 20 passes with room for one step only; the climb comes to 40 a second time.
    let ttft = |level: u32| if level >= 40 { 0.9 } else { 0.45 };
    let settings = |rules| RampSettings {
        start: 2,
        increment: 20,
        num_retries: 0,
        rules,
        ..settings()
    };
    let play = |rules| {
        play(settings(rules), Some(40), |w| {
            at(w.concurrency, ttft(w.concurrency))
        })
    };
    let again = play(RampRules::CACHE_RATE);
    assert_eq!(again.search_ids(), ["RAMP_c40", "RAMP_c20", "RAMP_c40_2"]);
    let known = play(RampRules::WORKING_SET);
    assert_eq!(known.search_ids(), ["RAMP_c40", "RAMP_c20"]);
    for played in [again, known] {
        assert_eq!(played.peak(), Some((20, true)));
        assert_eq!(played.outcome.stop, StopReason::ThresholdFound);
    }
}

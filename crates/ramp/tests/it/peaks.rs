//! The choice of the peak.

use ramp::peak::{best_levels, choose_peak};
use ramp::{
    Closest, Observation, Purpose, RampOutcome, StopReason, TestedLevel, Thresholds, judge,
};

const BOTH: Thresholds = Thresholds {
    max_ttft: Some(2.0),
    min_speed: Some(20.0),
};
const TTFT: Thresholds = Thresholds {
    max_ttft: Some(2.0),
    min_speed: None,
};
const SPEED: Thresholds = Thresholds {
    max_ttft: None,
    min_speed: Some(20.0),
};

/// (level, input rate, ttft, speed)
type Seen = (u32, f64, Option<f64>, Option<f64>);

fn tested(thresholds: &Thresholds, levels: &[Seen]) -> Vec<TestedLevel> {
    levels
        .iter()
        .map(|(concurrency, input_tps, ttft, speed)| {
            let observation = Observation {
                input_tps: *input_tps,
                ttft: *ttft,
                speed: *speed,
                valid: true,
            };
            TestedLevel {
                phase_id: format!("RAMP_c{concurrency}"),
                concurrency: *concurrency,
                purpose: Purpose::Ramp,
                observation,
                verdict: judge(thresholds, &observation),
            }
        })
        .collect()
}

#[track_caller]
fn check(thresholds: &Thresholds, levels: &[Seen], expected: Option<(u32, bool)>) {
    let peak = choose_peak(
        thresholds,
        Closest::SumOfMisses,
        &tested(thresholds, levels),
    );
    assert_eq!(peak.as_ref().map(|p| (p.concurrency, p.passed)), expected);
    if let Some(peak) = peak {
        assert_eq!(peak.phase_id, format!("RAMP_c{}", peak.concurrency));
    }
}

const FAST: Option<f64> = Some(40.0);

#[test]
fn the_highest_rate_among_passing_levels_wins() {
    let levels = [
        (2, 900.0, Some(0.5), FAST),
        (4, 1500.0, Some(1.0), FAST),
        (6, 1400.0, Some(1.5), FAST),
        (8, 9000.0, Some(2.5), FAST),
    ];
    check(&TTFT, &levels, Some((4, true)));
    check(&BOTH, &levels, Some((4, true)));
}

#[test]
fn on_a_tie_the_level_tested_first_wins() {
    let levels = [
        (2, 900.0, Some(0.5), FAST),
        (12, 1500.0, Some(3.0), FAST),
        (6, 1000.0, Some(1.0), FAST),
        (4, 1000.0, Some(0.8), FAST),
    ];
    check(&TTFT, &levels, Some((6, true)));
}

#[test]
fn with_none_passing_the_lowest_ttft_wins() {
    check(
        &TTFT,
        &[
            (2, 10.0, Some(3.0), FAST),
            (4, 90.0, Some(2.5), FAST),
            (6, 99.0, Some(2.5), FAST),
        ],
        Some((4, false)),
    );
}

#[test]
fn with_none_passing_the_highest_speed_wins() {
    let levels = [
        (2, 10.0, Some(0.1), Some(5.0)),
        (4, 90.0, Some(9.9), Some(12.0)),
        (6, 99.0, Some(0.1), Some(7.0)),
    ];
    check(&SPEED, &levels, Some((4, false)));
}

#[test]
fn with_none_passing_the_smallest_sum_of_both_wins() {
    // ttft / 2 + (20 - speed) / 20: 1.5 + 0.5 = 2, 1.25 + 0.9 = 2.15, 2.5 - 1 = 1.5.
    let levels = [
        (2, 10.0, Some(3.0), Some(10.0)),
        (4, 90.0, Some(2.5), Some(2.0)),
        (6, 99.0, Some(5.0), Some(40.0)),
    ];
    check(&BOTH, &levels, Some((6, false)));
}

#[test]
fn a_level_without_a_sample_is_the_last_choice() {
    check(
        &TTFT,
        &[(2, 99.0, None, FAST), (4, 10.0, Some(50.0), FAST)],
        Some((4, false)),
    );
    check(
        &BOTH,
        &[(2, 99.0, Some(1.0), None), (4, 10.0, Some(50.0), Some(1.0))],
        Some((4, false)),
    );
    check(
        &TTFT,
        &[(2, 10.0, None, FAST), (4, 99.0, None, FAST)],
        Some((2, false)),
    );
    // Not a number, as ∞ − ∞ would be, is no better.
    check(
        &BOTH,
        &[
            (2, 99.0, None, Some(f64::INFINITY)),
            (4, 10.0, Some(50.0), Some(1.0)),
        ],
        Some((4, false)),
    );
}

#[test]
fn levels_without_a_result_are_never_chosen() {
    let mut levels = tested(
        &TTFT,
        &[(2, 99.0, Some(0.1), FAST), (4, 10.0, Some(9.0), FAST)],
    );
    levels[0].observation.valid = false;
    levels[0].verdict = judge(&TTFT, &levels[0].observation);
    assert_eq!(
        choose_peak(&TTFT, Closest::SumOfMisses, &levels).map(|p| (p.concurrency, p.passed)),
        Some((4, false))
    );
    levels[1].observation.valid = false;
    levels[1].verdict = judge(&TTFT, &levels[1].observation);
    assert_eq!(choose_peak(&TTFT, Closest::SumOfMisses, &levels), None);
    assert_eq!(choose_peak(&TTFT, Closest::SumOfMisses, &[]), None);
}

#[test]
fn the_two_ways_of_being_close_can_differ() {
    // The first breaks both a little, the second one of them by more.
    let levels = tested(
        &BOTH,
        &[
            (2, 100.0, Some(2.8), Some(14.0)),
            (4, 100.0, Some(3.0), Some(20.0)),
        ],
    );
    let chosen = |closest| choose_peak(&BOTH, closest, &levels).map(|p| p.concurrency);
    // 1.4 + 0.3 against 1.5 + 0; 1.43 against 1.5.
    assert_eq!(chosen(Closest::SumOfMisses), Some(4));
    assert_eq!(chosen(Closest::LargestMiss), Some(2));
    // A speed near zero is not infinitely bad.
    let stuck = tested(
        &BOTH,
        &[
            (2, 100.0, Some(90.0), Some(20.0)),
            (4, 100.0, Some(1.0), Some(0.1)),
        ],
    );
    let peak = choose_peak(&BOTH, Closest::LargestMiss, &stuck);
    assert_eq!(peak.map(|p| p.concurrency), Some(4));
}

#[test]
fn the_best_levels_are_three_that_pass_or_five_that_do_not() {
    let passing: Vec<Seen> = (1..=6)
        .map(|level| (level, f64::from(100 * (level % 4)), Some(0.5), FAST))
        .chain([(9, 9999.0, Some(3.0), FAST)])
        .collect();
    let told = |levels: &[Seen]| -> Vec<u32> {
        let best = best_levels(&TTFT, Closest::LargestMiss, &tested(&TTFT, levels));
        best.iter().map(|t| t.concurrency).collect()
    };
    assert_eq!(told(&passing), [3, 2, 6], "what breaks is no candidate");
    let failing: Vec<Seen> = (1..=6)
        .map(|level| (level, 1.0, Some(9.0 - f64::from(level)), FAST))
        .collect();
    assert_eq!(told(&failing), [6, 5, 4, 3, 2]);
}

#[test]
fn what_keeps_the_peak_from_being_higher_is_what_lies_between_it_and_the_lowest_level_that_failed()
{
    let bounds = |levels: &[Seen]| -> Vec<u32> {
        let tested = tested(&TTFT, levels);
        let outcome = RampOutcome {
            peak: choose_peak(&TTFT, Closest::SumOfMisses, &tested),
            tested,
            stop: StopReason::ThresholdFound,
        };
        outcome.bounds().iter().map(|t| t.concurrency).collect()
    };
    let passing = |level, rate| (level, rate, Some(0.5), FAST);
    let failing = |level| (level, 1.0, Some(9.0), FAST);
    // 8 failed, and what 16 showed no longer matters; 6 held and had a lower rate.
    let levels = [
        passing(4, 200.0),
        failing(16),
        failing(8),
        passing(6, 100.0),
    ];
    assert_eq!(bounds(&levels), [6, 8]);
    assert_eq!(bounds(&levels[..2]), [16]);
    assert_eq!(bounds(&[passing(4, 100.0), passing(8, 200.0)]), [0; 0]);
    // Where nothing passed, the peak has failed itself.
    assert_eq!(bounds(&[failing(4), failing(8)]), [0; 0]);
    assert_eq!(bounds(&[]), [0; 0]);
}

//! Sustained mode: every row of the decision table, the rules by which the tools differ, the end.

use std::time::Duration;

use proptest::prelude::*;
use ramp::sustained::{PlateauRule, StepDown, WithoutData};
use ramp::{
    Decision, Observation, PeriodObservation, PeriodStep, SustainedController, SustainedRules,
    SustainedSettings, SustainedStop, Thresholds,
};

use crate::support::{max_ttft, secs};

fn settings() -> SustainedSettings {
    SustainedSettings {
        start: 2,
        increment: 2,
        max: 100,
        test_duration: secs(100_000),
        period: secs(30),
        thresholds: max_ttft(1.0),
        rules: SustainedRules::CACHE_RATE,
    }
}

/// A period with tokens.
fn busy(ttft: f64) -> PeriodObservation {
    PeriodObservation {
        level: Observation {
            input_tps: 1000.0,
            ttft: Some(ttft),
            speed: Some(30.0),
            valid: true,
        },
        has_tokens: true,
    }
}

/// A period in which nothing arrived and nothing waited too long.
fn silent() -> PeriodObservation {
    PeriodObservation {
        level: Observation {
            input_tps: 0.0,
            ttft: None,
            speed: None,
            valid: true,
        },
        has_tokens: false,
    }
}

/// A controller brought to `level` by a first period with so much headroom.
fn at_level(settings: SustainedSettings, level: u32) -> SustainedController {
    let mut controller = SustainedController::new(SustainedSettings {
        start: settings.start,
        increment: level - settings.start,
        ..settings
    });
    if level > settings.start {
        // One increment up: headroom below 15 %.
        step(&mut controller, busy(0.99));
    }
    // The settings proper from here on.
    let PeriodStep::Run(spec) = controller.next(secs(0)) else {
        panic!("time is left")
    };
    assert_eq!(spec.concurrency, level);
    controller
}

fn step(controller: &mut SustainedController, observation: PeriodObservation) -> (Decision, u32) {
    assert!(matches!(controller.next(secs(0)), PeriodStep::Run(_)));
    let decided = controller.record(observation);
    (decided.decision, decided.next)
}

/// Runs a test by these observations, one per period, and gives (decision, next) of each.
fn run(settings: SustainedSettings, periods: &[PeriodObservation]) -> Vec<(Decision, u32)> {
    let mut controller = SustainedController::new(settings);
    periods.iter().map(|p| step(&mut controller, *p)).collect()
}

#[test]
fn every_row_of_the_decision_table() {
    use Decision::{MaxReached, MinReached, RampDown, RampUp, Stay};
    let both = Thresholds {
        max_ttft: Some(1.0),
        min_speed: Some(10.0),
    };
    let speed = |speed| PeriodObservation {
        level: Observation {
            speed,
            ..busy(0.9).level
        },
        ..busy(0.9)
    };
    let waiting = PeriodObservation {
        level: Observation {
            ttft: Some(3.0),
            ..silent().level
        },
        ..silent()
    };
    let no_ttft = PeriodObservation {
        level: Observation {
            ttft: None,
            ..busy(0.0).level
        },
        ..busy(0.0)
    };
    let failing = PeriodObservation {
        level: Observation {
            valid: false,
            ..busy(0.1).level
        },
        ..busy(0.1)
    };
    // What the second period shows, at level 4 after one increment; its decision and the next level.
    let cases = [
        ("idle server", max_ttft(1.0), busy(0.1), RampUp, 24),
        ("headroom above 50 %", max_ttft(1.0), busy(0.4), RampUp, 14),
        ("headroom above 30 %", max_ttft(1.0), busy(0.6), RampUp, 10),
        ("headroom above 15 %", max_ttft(1.0), busy(0.8), RampUp, 8),
        ("little headroom", max_ttft(1.0), busy(0.95), RampUp, 6),
        ("equality holds", max_ttft(1.0), busy(1.0), RampUp, 6),
        ("broken", max_ttft(1.0), busy(1.01), RampDown, 2),
        ("broken by much", max_ttft(1.0), busy(9.0), RampDown, 2),
        ("nothing at all", max_ttft(1.0), silent(), Stay, 4),
        (
            "nothing, and requests wait",
            max_ttft(1.0),
            waiting,
            RampDown,
            2,
        ),
        ("tokens, but no first one", max_ttft(1.0), no_ttft, Stay, 4),
        (
            "more failures than results",
            max_ttft(1.0),
            failing,
            RampDown,
            2,
        ),
        ("speed broken", both, speed(Some(9.9)), RampDown, 2),
        ("speed unknown", both, speed(None), Stay, 4),
        ("one broken, one unknown", both, waiting, RampDown, 2),
        (
            "smallest headroom counts",
            both,
            speed(Some(100.0)),
            RampUp,
            6,
        ),
    ];
    for (case, thresholds, shown, decision, next) in cases {
        let settings = SustainedSettings {
            thresholds,
            ..settings()
        };
        let found = run(settings, &[busy(0.95), shown]);
        assert_eq!(found, [(RampUp, 4), (decision, next)], "{case}");
    }
    // At the lowest level and at the highest.
    assert_eq!(run(settings(), &[busy(2.0)]), [(MinReached, 2)]);
    assert_eq!(run(settings(), &[waiting]), [(MinReached, 2)]);
    let low = SustainedSettings {
        max: 5,
        ..settings()
    };
    let found = run(low, &[busy(0.1), busy(0.1), busy(1.5), busy(1.5)]);
    assert_eq!(
        found,
        [(RampUp, 5), (MaxReached, 5), (RampDown, 3), (RampDown, 2)],
        "levels stay within start and maximum"
    );
}

#[test]
fn the_example_of_the_page_goes_2_22_20() {
    // Example 8: TTFT 0.1 s per request in flight, threshold 1.0 s.
    let settings = SustainedSettings {
        max: 1000,
        period: secs(5),
        test_duration: secs(16),
        ..settings()
    };
    let mut controller = SustainedController::new(settings);
    let mut elapsed = Duration::ZERO;
    let mut seen = Vec::new();
    let stop = loop {
        match controller.next(elapsed) {
            PeriodStep::Run(spec) => {
                assert_eq!(spec.phase_id(), format!("SUSTAINED_P{}", spec.number));
                assert_eq!(
                    spec.request_prefix(),
                    format!("P{}_c{}", spec.number, spec.concurrency)
                );
                elapsed += spec.length;
                let decided = controller.record(busy(0.1 * f64::from(spec.concurrency)));
                seen.push((decided.decision.as_str(), decided.level, decided.next));
            }
            PeriodStep::Done(stop) => break stop,
        }
    };
    assert_eq!(
        seen,
        [
            ("RAMP_UP", 2, 22),
            ("RAMP_DOWN", 22, 20),
            ("RAMP_DOWN", 20, 18)
        ]
    );
    assert_eq!(
        stop,
        SustainedStop::TooShort {
            number: 4,
            left: secs(1)
        }
    );
}

#[test]
fn the_last_period_is_cut_to_what_is_left_or_left_out() {
    // (test, period) → lengths, in seconds
    let cases: [(u64, u64, &[u64]); 7] = [
        (60, 30, &[30, 30]),
        (65, 30, &[30, 30, 5]),
        (64, 30, &[30, 30]),
        (3, 3, &[3]),
        (7, 3, &[3, 3]),
        (5, 2, &[2, 2]),
        (2, 1, &[1, 1]),
    ];
    for (test, period, expected) in cases {
        let settings = SustainedSettings {
            test_duration: secs(test),
            period: secs(period),
            ..settings()
        };
        let mut controller = SustainedController::new(settings);
        let mut elapsed = Duration::ZERO;
        let mut lengths = Vec::new();
        while let PeriodStep::Run(spec) = controller.next(elapsed) {
            assert_eq!(controller.next(secs(9)), PeriodStep::Run(spec.clone()));
            elapsed += spec.length;
            lengths.push(spec.length.as_secs());
            controller.record(busy(0.95));
        }
        assert_eq!(lengths, expected, "{test} s in periods of {period} s");
        assert_eq!(
            controller.next(elapsed),
            controller.next(secs(0)),
            "the end stays the end"
        );
    }
}

/// Six periods at these rates, then one at `now`, well above the start level.
fn after_plateau(rules: SustainedRules, rates: [f64; 6], now: f64) -> (Decision, u32) {
    let mut controller = at_level(
        SustainedSettings {
            rules,
            max: 60,
            ..settings()
        },
        50,
    );
    let at_rate = |rate: f64| PeriodObservation {
        level: Observation {
            input_tps: rate,
            // No first token: the level stays, and the rate counts.
            ttft: None,
            ..busy(0.0).level
        },
        ..busy(0.0)
    };
    for rate in rates {
        assert_eq!(step(&mut controller, at_rate(rate)), (Decision::Stay, 50));
    }
    let last = PeriodObservation {
        level: Observation {
            input_tps: now,
            ..busy(0.95).level
        },
        ..busy(0.95)
    };
    step(&mut controller, last)
}

#[test]
fn falling_throughput_lowers_the_level_by_how_far_it_fell() {
    use Decision::{PlateauRampDown, RampUp};
    let with = |plateau| SustainedRules {
        plateau,
        ..SustainedRules::CACHE_RATE
    };
    let recent = with(PlateauRule::FiveMostRecent);
    let flat = [1000.0; 6];
    // at_level's increment is 48, so a step of two increments ends at the start.
    for (now, expected) in [
        (760.0, RampUp),
        (750.0, RampUp),
        (740.0, PlateauRampDown),
        (100.0, PlateauRampDown),
    ] {
        assert_eq!(after_plateau(recent, flat, now).0, expected, "{now}");
    }
    // The sixth back is forgotten by one rule, the most recent one by the other.
    let early = [4000.0, 1000.0, 1000.0, 1000.0, 1000.0, 1000.0];
    let late = [1000.0, 1000.0, 1000.0, 1000.0, 1000.0, 4000.0];
    let before_last = with(PlateauRule::FiveBeforeLast);
    assert_eq!(after_plateau(recent, early, 1000.0).0, RampUp);
    assert_eq!(after_plateau(before_last, early, 1000.0).0, PlateauRampDown);
    assert_eq!(after_plateau(recent, late, 1000.0).0, PlateauRampDown);
    assert_eq!(after_plateau(before_last, late, 1000.0).0, RampUp);
    let off = with(PlateauRule::Off);
    assert_eq!(after_plateau(off, late, 100.0).0, RampUp);
}

#[test]
fn plateau_steps_are_two_three_and_four_increments_and_end_at_the_start() {
    // Up by 2 per period from 2; six periods at 1000 tokens/s lead to 14, the seventh has fallen.
    for (now, next) in [(740.0, 10), (690.0, 8), (590.0, 6)] {
        let mut periods = [busy(0.95); 7];
        periods[6].level.input_tps = now;
        let found = run(settings(), &periods);
        assert_eq!(found[5], (Decision::RampUp, 14));
        assert_eq!(found[6], (Decision::PlateauRampDown, next), "{now}");
    }
    // With five periods on record nothing is said yet.
    let mut periods = [busy(0.95); 6];
    periods[5].level.input_tps = 1.0;
    assert_eq!(run(settings(), &periods)[5].0, Decision::RampUp);
    // Silent periods are not on record.
    let mut periods = [busy(0.95); 8];
    periods[2] = silent();
    periods[3] = silent();
    periods[7].level.input_tps = 1.0;
    assert_eq!(run(settings(), &periods)[7].0, Decision::RampUp);
}

#[test]
fn the_working_set_tool_steps_down_by_overshoot_and_where_nothing_arrives() {
    use Decision::{MinReached, RampDown, RampUp};
    let working_set = SustainedSettings {
        rules: SustainedRules::WORKING_SET,
        ..settings()
    };
    // 2 → 22 at once, then down.
    let found = run(working_set, &[busy(0.1), busy(1.5), busy(1.51), silent()]);
    assert_eq!(
        found,
        [(RampUp, 22), (RampDown, 20), (RampDown, 16), (RampDown, 12)]
    );
    assert_eq!(run(working_set, &[silent()]), [(MinReached, 2)]);
    // Nothing was completed: because all failed, or because all wait a little too long.
    let level = |valid, ttft| Observation {
        valid,
        ttft,
        ..silent().level
    };
    for (level, has_tokens) in [
        (level(false, None), false),
        (level(false, None), true),
        (level(true, Some(1.2)), false),
    ] {
        let nothing = PeriodObservation { level, has_tokens };
        let found = run(working_set, &[busy(0.1), nothing]);
        assert_eq!(found[1], (RampDown, 18), "{nothing:?}");
    }
    let one = SustainedRules {
        step_down: StepDown::OneIncrement,
        without_data: WithoutData::Stay,
        ..SustainedRules::WORKING_SET
    };
    let one = SustainedSettings {
        rules: one,
        ..working_set
    };
    let found = run(one, &[busy(0.1), busy(9.0), silent()]);
    assert_eq!(found[1..], [(RampDown, 20), (Decision::Stay, 20)]);
}

#[test]
fn three_hopeless_periods_in_a_row_end_the_working_set_tools_test() {
    let hopeless = |rules, periods: &[PeriodObservation]| {
        let mut controller = SustainedController::new(SustainedSettings {
            rules,
            ..settings()
        });
        for period in periods {
            step(&mut controller, *period);
        }
        controller.next(secs(0)) == PeriodStep::Done(SustainedStop::Hopeless { n: 3 })
    };
    let (bad, good) = (busy(2.0), busy(0.95));
    let working_set = SustainedRules::WORKING_SET;
    assert!(hopeless(working_set, &[bad, bad, bad]));
    assert!(!hopeless(working_set, &[bad, bad]));
    assert!(!hopeless(working_set, &[bad, bad, good, bad, bad]));
    assert!(
        !hopeless(working_set, &[silent(), silent(), silent()]),
        "nothing is broken by silence"
    );
    let failing = |ttft| PeriodObservation {
        level: Observation {
            valid: false,
            ttft,
            ..busy(0.1).level
        },
        ..busy(0.1)
    };
    let refused = failing(Some(0.1));
    assert!(
        !hopeless(working_set, &[refused; 5]),
        "failed requests break no threshold"
    );
    assert!(
        hopeless(working_set, &[failing(Some(2.0)); 3]),
        "those that were served do"
    );
    assert!(!hopeless(SustainedRules::CACHE_RATE, &[bad, bad, bad, bad]));
}

fn any_period() -> impl Strategy<Value = PeriodObservation> {
    (
        any::<bool>(),
        any::<bool>(),
        proptest::option::of(0.0..3.0_f64),
        proptest::option::of(0.0..60.0_f64),
        0.0..1e6_f64,
    )
        .prop_map(
            |(has_tokens, valid, ttft, speed, input_tps)| PeriodObservation {
                level: Observation {
                    input_tps,
                    ttft,
                    speed,
                    valid,
                },
                has_tokens,
            },
        )
}

proptest! {
    // Whatever a server shows and whichever rules hold: levels stay within start and maximum, the next level
    // fits the decision, the periods fill the test and no more, and the controller ends.
    #[test]
    fn a_sustained_test_keeps_its_bounds(
        start in 1_u32..50, increment in 1_u32..20, above in 0_u32..100, test in 1_u64..2000, period in 1_u64..60,
        is_working_set in any::<bool>(), shown in proptest::collection::vec(any_period(), 50),
    ) {
        let rules = if is_working_set { SustainedRules::WORKING_SET } else { SustainedRules::CACHE_RATE };
        let max = start + above;
        let settings = SustainedSettings {
            start, increment, max, test_duration: secs(test.max(period)), period: secs(period),
            thresholds: Thresholds { max_ttft: Some(1.0), min_speed: Some(20.0) }, rules,
        };
        let mut controller = SustainedController::new(settings);
        let mut elapsed = Duration::ZERO;
        let mut n = 0;
        while let PeriodStep::Run(spec) = controller.next(elapsed) {
            n += 1;
            prop_assert_eq!(spec.number, n);
            prop_assert!((start..=max).contains(&spec.concurrency));
            prop_assert!(spec.length <= settings.period && !spec.length.is_zero());
            elapsed += spec.length;
            let decided = controller.record(shown[n as usize % shown.len()]);
            let (level, next) = (decided.level, decided.next);
            prop_assert_eq!(level, spec.concurrency);
            match decided.decision {
                Decision::RampUp => prop_assert!(next > level),
                Decision::RampDown | Decision::PlateauRampDown => prop_assert!(next < level),
                Decision::MinReached => prop_assert!(next == level && level == start),
                Decision::MaxReached => prop_assert!(next == level && level == max),
                Decision::Stay => prop_assert_eq!(next, level),
            }
        }
        prop_assert!(n >= 1, "there is a period at least");
        prop_assert!(elapsed <= settings.test_duration);
    }
}

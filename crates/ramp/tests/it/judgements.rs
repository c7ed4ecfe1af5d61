//! Pass or fail, and headroom.

use ramp::{Broken, Observation, Thresholds, headroom_multiple, judge};

fn seen(ttft: Option<f64>, speed: Option<f64>) -> Observation {
    Observation {
        input_tps: 1000.0,
        ttft,
        speed,
        valid: true,
    }
}

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
const NONE: Thresholds = Thresholds {
    max_ttft: None,
    min_speed: None,
};

#[test]
fn equality_passes_and_every_active_threshold_must_hold() {
    let table = [
        (BOTH, Some(2.0), Some(20.0), true),
        (BOTH, Some(2.000_001), Some(20.0), false),
        (BOTH, Some(2.0), Some(19.999_999), false),
        (BOTH, Some(1.0), Some(40.0), true),
        (TTFT, Some(1.0), Some(0.1), true),
        (TTFT, Some(1.0), None, true),
        (SPEED, Some(99.0), Some(21.0), true),
        (SPEED, None, Some(21.0), true),
        (NONE, None, None, true),
    ];
    for (thresholds, ttft, speed, passes) in table {
        assert_eq!(
            judge(&thresholds, &seen(ttft, speed)).passed,
            passes,
            "{ttft:?} {speed:?}"
        );
    }
}

#[test]
fn a_threshold_without_a_sample_does_not_hold() {
    assert_eq!(
        judge(&TTFT, &seen(None, Some(30.0))).broken,
        [Broken::Ttft {
            measured: None,
            max: 2.0
        }]
    );
    assert_eq!(
        judge(&SPEED, &seen(Some(1.0), None)).broken,
        [Broken::Speed {
            measured: None,
            min: 20.0
        }]
    );
    assert!(
        !judge(&TTFT, &seen(Some(f64::NAN), None)).passed,
        "no number is no proof"
    );
}

#[test]
fn an_invalid_observation_fails_however_good_its_numbers_are() {
    for thresholds in [BOTH, TTFT, SPEED, NONE] {
        let verdict = judge(
            &thresholds,
            &Observation {
                valid: false,
                ..seen(Some(0.1), Some(99.0))
            },
        );
        assert!(!verdict.passed);
        assert_eq!(verdict.broken, [Broken::Invalid]);
    }
}

#[test]
fn all_broken_thresholds_are_named() {
    let verdict = judge(&BOTH, &seen(Some(3.0), Some(10.0)));
    let expected = [
        Broken::Ttft {
            measured: Some(3.0),
            max: 2.0,
        },
        Broken::Speed {
            measured: Some(10.0),
            min: 20.0,
        },
    ];
    assert_eq!(verdict.broken, expected);
}

#[test]
fn headroom_is_the_smallest_of_the_active_thresholds_and_at_most_one() {
    let table = [
        (BOTH, 1.0, 25.0, 0.25),
        (BOTH, 1.5, 40.0, 0.25),
        (TTFT, 0.5, 1.0, 0.75),
        (SPEED, 99.0, 30.0, 0.5),
        // Twice the speed and more is a headroom of one, not of two.
        (SPEED, 99.0, 60.0, 1.0),
        (NONE, 99.0, 0.1, 1.0),
        (TTFT, 3.0, 1.0, -0.5),
    ];
    for (thresholds, ttft, speed, expected) in table {
        let headroom = judge(&thresholds, &seen(Some(ttft), Some(speed))).headroom;
        assert!(
            (headroom - expected).abs() < 1e-12,
            "{ttft} {speed}: {headroom}"
        );
    }
}

#[test]
fn a_headroom_on_a_border_counts_as_below_it() {
    let just_above = |border: f64| border.next_up();
    let table = [
        (1.0, 10),
        (just_above(0.7), 10),
        (0.7, 5),
        (just_above(0.5), 5),
        (0.5, 3),
        (just_above(0.3), 3),
        (0.3, 2),
        (just_above(0.15), 2),
        (0.15, 1),
        (0.0, 1),
        (-1.0, 1),
        (f64::NAN, 1),
    ];
    for (headroom, multiple) in table {
        assert_eq!(headroom_multiple(headroom), multiple, "{headroom}");
    }
}

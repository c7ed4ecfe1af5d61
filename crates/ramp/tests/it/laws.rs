//! What holds for every ramp on every server.

use std::collections::HashSet;

use proptest::prelude::*;
use ramp::{Note, Observation, Purpose, RampRules, RampSettings, Thresholds};

use crate::support::{max_ttft, play, secs};

prop_compose! {
    fn any_settings()(
        start in 1_u32..60,
        above in 0_u32..500,
        increment in 1_u32..30,
        test in 1_u64..5000,
        ramp in 1_u64..120,
        num_retries in 0_u32..5,
        max_ttft in prop::option::of(0.01..2.0_f64),
        min_speed in prop::option::of(1.0..50.0_f64),
        rules in prop::sample::select(vec![RampRules::CACHE_RATE, RampRules::WORKING_SET]),
    ) -> RampSettings {
        RampSettings {
            start,
            increment,
            max: start + above,
            test_duration: secs(test.max(ramp)),
            ramp_duration: secs(ramp),
            num_retries,
            thresholds: Thresholds { max_ttft, min_speed },
            rules,
        }
    }
}

fn any_observation() -> impl Strategy<Value = Observation> {
    (
        0.0..1e5_f64,
        prop::option::of(0.0..3.0_f64),
        prop::option::of(0.0..80.0_f64),
        prop::bool::weighted(0.9),
    )
        .prop_map(|(input_tps, ttft, speed, valid)| Observation {
            input_tps,
            ttft,
            speed,
            valid,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    // Whatever the server answers: levels stay between start and maximum, refinements inside their range,
    // ids are unique, windows are not longer than asked, and the number of windows is bounded by the
    // settings.
    #[test]
    fn every_ramp_ends_and_stays_in_bounds(
        settings in any_settings(),
        previous_peak in prop::option::of(1_u32..600),
        answers in prop::collection::vec(any_observation(), 1..60),
    ) {
        let mut answers = answers.into_iter().cycle();
        let played = play(settings, previous_peak, |_| answers.next().unwrap());
        let ids: HashSet<&str> = played.ids().into_iter().collect();
        prop_assert_eq!(ids.len(), played.windows.len(), "ids are unique");
        for window in &played.windows {
            prop_assert!(window.concurrency >= settings.start && window.concurrency <= settings.max);
            prop_assert!(window.length <= settings.ramp_duration && !window.length.is_zero());
            let kind = match window.purpose {
                Purpose::Ramp => format!("RAMP_c{}", window.concurrency),
                Purpose::Refine => format!("RAMP_REFINE_c{}_", window.concurrency),
                Purpose::Retry => "RETRY_".to_owned(),
                Purpose::Fixed => unreachable!("a ramp has no fixed levels"),
            };
            prop_assert!(window.phase_id.starts_with(&kind));
        }
        let climb = (settings.max - settings.start).div_ceil(settings.increment) + 1;
        // Each back-off halves the distance to the start.
        let back_offs = 32 - (settings.max - settings.start).leading_zeros();
        let bound = climb + back_offs + 10 + settings.num_retries;
        prop_assert!(played.windows.len() <= bound as usize, "{} windows", played.windows.len());
        let refinements = played.windows.iter().filter(|w| w.purpose == Purpose::Refine).count();
        prop_assert!(refinements <= 10);
        // As a start on the way down, and once on the way up; where results stand, only once.
        let most = if settings.rules == RampRules::WORKING_SET { 1 } else { 2 };
        for level in played.windows.iter().filter(|w| w.purpose == Purpose::Ramp).map(|w| w.concurrency) {
            let visits = played.windows.iter().filter(|w| w.purpose == Purpose::Ramp && w.concurrency == level);
            prop_assert!(visits.count() <= most);
        }
        let mut range = (0, u32::MAX);
        for note in &played.notes {
            match note {
                Note::RefineStarted { good, bad } => range = (*good, *bad),
                Note::Refined { level, good, bad, .. } => {
                    prop_assert!(range.0 < *level && *level < range.1);
                    range = (*good, *bad);
                }
                _ => {}
            }
        }
    }

    // The peak is one of the tested levels, it has a result, and no tested level that passed has a higher
    // rate; it passed if any did. Retries are at the peak and as many as asked.
    #[test]
    fn the_peak_is_the_best_of_what_was_tested(
        settings in any_settings(),
        answers in prop::collection::vec(any_observation(), 1..60),
    ) {
        let mut answers = answers.into_iter().cycle();
        let played = play(settings, None, |_| answers.next().unwrap());
        let tested = &played.outcome.tested;
        let retries: Vec<_> = played.windows.iter().filter(|w| w.purpose == Purpose::Retry).collect();
        match &played.outcome.peak {
            None => {
                prop_assert!(tested.iter().all(|t| !t.observation.valid));
                prop_assert!(retries.is_empty());
            }
            Some(peak) => {
                let source = tested.iter().find(|t| t.phase_id == peak.phase_id).unwrap();
                prop_assert!(source.concurrency == peak.concurrency && source.observation.valid);
                let best = tested.iter().filter(|t| t.verdict.passed).map(|t| t.observation.input_tps).reduce(f64::max);
                prop_assert_eq!(peak.passed, best.is_some());
                prop_assert!(best.is_none_or(|best| peak.observation.input_tps >= best));
                prop_assert_eq!(retries.len(), settings.num_retries as usize);
                prop_assert!(retries.iter().all(|w| w.concurrency == peak.concurrency && w.length == settings.ramp_duration));
            }
        }
    }

    // The same observations give the same windows.
    #[test]
    fn a_ramp_is_deterministic(settings in any_settings(), answers in prop::collection::vec(any_observation(), 1..60)) {
        let run = || {
            let mut answers = answers.clone().into_iter().cycle();
            play(settings, Some(7), |_| answers.next().unwrap())
        };
        let (a, b) = (run(), run());
        prop_assert_eq!(a.windows, b.windows);
        prop_assert_eq!(a.outcome, b.outcome);
    }

    // On a server whose TTFT only grows with load and whose rate does too, with time enough, the peak is
    // the best passing level to within one increment (two where the start lies off the grid and the last
    // cut cannot be made), also after an optimistic start that was too high.
    #[test]
    fn on_a_monotone_server_the_peak_is_the_best_level_within_an_increment(
        start in 1_u32..20,
        above in 0_u32..600,
        increment in 1_u32..20,
        limit in 1_u32..700,
        curve in 0.3..3.0_f64,
        previous_peak in prop::option::of(1_u32..700),
        rules in prop::sample::select(vec![RampRules::CACHE_RATE, RampRules::WORKING_SET]),
    ) {
        let settings = RampSettings {
            start,
            increment,
            max: start + above,
            test_duration: secs(1_000_000),
            ramp_duration: secs(10),
            num_retries: 0,
            thresholds: max_ttft(1.0),
            rules,
        };
        // Passes up to `limit` and not above.
        let ttft = |level: u32| (f64::from(level) / (f64::from(limit) + 0.5)).powf(curve);
        let played = play(settings, previous_peak, |w| Observation {
            input_tps: f64::from(w.concurrency),
            ttft: Some(ttft(w.concurrency)),
            speed: None,
            valid: true,
        });
        let (peak, passed) = played.peak().unwrap();
        if limit < start {
            prop_assert_eq!((peak, passed), (start, false));
        } else {
            let best = limit.min(settings.max);
            prop_assert!(passed && peak <= best);
            let refinements = played.windows.iter().filter(|w| w.purpose == Purpose::Refine).count();
            let slack = if played.windows.iter().all(|w| w.concurrency % increment == 0) { increment } else { 2 * increment };
            prop_assert!(best - peak < slack || refinements == 10, "peak {} of {}", peak, best);
        }
    }
}

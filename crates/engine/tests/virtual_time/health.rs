//! What the client says of its own part, with runtimes that feel what the test says: a busy machine decides nothing.

use engine::event::DoubtKind;
use engine::test_run::TestOutcome;
use ramp::{
    Controller, FixedController, FixedRules, FixedSettings, RampController, RampRules,
    RampSettings, Thresholds,
};

use crate::bench::{Bench, felt};
use crate::{MS, S, linear};

pub(crate) fn fixed_at(level: u32) -> FixedController {
    FixedController::new(FixedSettings {
        levels: vec![level],
        ramp_duration: S(10),
        num_retries: 1,
        thresholds: Thresholds {
            max_ttft: None,
            min_speed: None,
        },
        rules: FixedRules::CACHE_RATE,
    })
}

/// Waits of a runtime that is free, and of one that shares its core.
pub(crate) fn free() -> Vec<std::time::Duration> {
    (0..1000).map(|i| MS(u64::from(i % 200 == 0))).collect()
}

fn shared() -> Vec<std::time::Duration> {
    (0..1000).map(|i| MS(u64::from(i % 4 == 0) * 40)).collect()
}

#[tokio::test(start_paused = true)]
async fn an_undisturbed_client_limits_nothing() {
    // First tokens after 50 ms × 4.
    let mut bench = Bench::simulator(linear(50, 5), 1000, 0).feeling(&free());
    let outcome = bench.test(&mut fixed_at(4), None).await.unwrap();
    assert_eq!(outcome.summary.client_limited, Some(false));
    assert!(
        outcome
            .phases
            .iter()
            .all(|p| p.client_limited == Some(false))
    );
    assert!(
        outcome
            .doubts
            .iter()
            .all(|d| d.kind != DoubtKind::ClientLimited)
    );
    for health in &outcome.health {
        let missing = health.missing_share.unwrap();
        assert!(missing < 0.001, "{missing}");
        // All four from the first part on, the fill of 30 ms apart.
        assert!(
            health.in_flight.iter().all(|n| *n > 3.8 && *n <= 4.0),
            "{:?}",
            health.in_flight
        );
        assert_eq!(health.in_flight.len(), 20);
        assert!((health.cpu_share.unwrap() - 0.5).abs() < 1e-9);
    }
    // Nothing delayed a send, so both latencies are one.
    let summary = &outcome.summary;
    assert!((summary.avg_ttft_from_intended.unwrap() - summary.avg_ttft.unwrap()).abs() < 1e-6);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_shares_its_core_limits_the_result_and_says_so() {
    let mut bench = Bench::simulator(linear(50, 5), 1000, 0).feeling(&shared());
    let outcome = bench.test(&mut fixed_at(4), None).await.unwrap();
    assert_eq!(outcome.summary.client_limited, Some(true));
    let told: Vec<&str> = outcome
        .doubts
        .iter()
        .filter(|d| d.kind == DoubtKind::ClientLimited)
        .map(|d| d.text.as_str())
        .collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("TTFT error (p99"), "{}", told[0]);
}

#[tokio::test(start_paused = true)]
async fn without_a_probe_nothing_is_said() {
    let mut bench = Bench::simulator(linear(50, 5), 1000, 0);
    let outcome = bench.test(&mut fixed_at(4), None).await.unwrap();
    assert_eq!(outcome.summary.client_limited, None);
    assert!(outcome.health.iter().all(|h| h.lag.is_none()));
}

#[tokio::test(start_paused = true)]
async fn the_periods_of_a_sustained_test_are_judged_too() {
    for (waits, limited) in [(free(), false), (shared(), true)] {
        let mut bench = Bench::simulator(linear(50, 5), 1000, 0).feeling(&waits);
        let (outcome, _) = bench
            .sustained(crate::sustained::settings(1.0, 10, 60))
            .await;
        let outcome = outcome.unwrap();
        assert_eq!(outcome.health.len(), outcome.periods.len());
        assert!(
            outcome
                .periods
                .iter()
                .any(|p| p.client_limited == Some(limited))
        );
        assert_eq!(outcome.summary.client_limited, Some(limited));
        // Said at each border: a crash loses the period in flight and no more.
        let told = bench.health_told();
        let of_periods = outcome.periods.iter().zip(told);
        assert_eq!(told.len(), outcome.periods.len());
        for (period, told) in of_periods {
            assert_eq!(
                told.phase_id,
                format!("SUSTAINED_P{}", period.period_number)
            );
            assert_eq!(told.client_limited, period.client_limited);
        }
    }
}

fn max_ttft(seconds: f64) -> Thresholds {
    Thresholds {
        max_ttft: Some(seconds),
        min_speed: None,
    }
}

/// First tokens after 50 ms × requests in flight, at most `max_ttft` of them: from 9 on a level fails.
fn ramp_to_eight() -> RampController {
    RampController::new(
        RampSettings {
            start: 4,
            increment: 4,
            max: 64,
            test_duration: S(600),
            ramp_duration: S(10),
            num_retries: 1,
            thresholds: max_ttft(0.41),
            rules: RampRules::CACHE_RATE,
        },
        None,
    )
}

fn fixed_to_eight() -> FixedController {
    FixedController::new(FixedSettings {
        levels: vec![4, 8, 12, 16],
        ramp_duration: S(10),
        num_retries: 1,
        thresholds: max_ttft(0.41),
        rules: FixedRules::CACHE_RATE,
    })
}

/// A test with runtimes that share their core at these levels alone.
async fn disturbed_at(controller: &mut dyn Controller, levels: &'static [u32]) -> TestOutcome {
    let of_level = |level: &u32| match levels.contains(level) {
        true => felt(&shared()),
        false => felt(&free()),
    };
    let bench = Bench::simulator(linear(50, 5), 1000, 0);
    let mut bench = bench.feeling_by_level(move |most| of_level(&most));
    let outcome = bench.test(controller, None).await.unwrap();
    assert_eq!(outcome.summary.peak_concurrency, 8);
    outcome
}

fn kinds(outcome: &TestOutcome) -> Vec<DoubtKind> {
    outcome.doubts.iter().map(|d| d.kind).collect()
}

/// The climb came to 12 with a client that lagged, went back to 8, and said nothing: what ended the search was ours.
#[tokio::test(start_paused = true)]
async fn a_peak_that_was_chosen_because_the_client_limited_a_higher_level_says_so() {
    let ramp: fn() -> Box<dyn Controller> = || Box::new(ramp_to_eight());
    let fixed: fn() -> Box<dyn Controller> = || Box::new(fixed_to_eight());
    for controller in [ramp, fixed] {
        let outcome = disturbed_at(&mut *controller(), &[12]).await;
        assert_eq!(outcome.summary.client_limited, Some(true));
        assert_eq!(kinds(&outcome), [DoubtKind::SearchLimited]);
        let text = &outcome.doubts[0].text;
        assert!(
            text.starts_with(
                "the search ended in a window at level 12 that this client limited; the real peak may be higher ("
            ),
            "{text}"
        );
        // The windows at the peak are what they are.
        let at_peak = outcome.phases.iter().filter(|p| p.concurrency_level == 8);
        assert!(at_peak.clone().all(|p| p.client_limited == Some(false)));
        assert!(at_peak.count() >= 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limited_level_that_did_not_end_the_search_is_no_reason_to_doubt_the_peak() {
    // Below the peak, and above the level that failed without it.
    for levels in [&[4_u32] as &[u32], &[16, 20, 24, 28, 32, 40]] {
        let outcome = disturbed_at(&mut ramp_to_eight(), levels).await;
        assert_eq!(outcome.summary.client_limited, Some(false), "{levels:?}");
        assert_eq!(kinds(&outcome), []);
        let levels_tried = outcome.phases.iter().map(|p| p.concurrency_level);
        assert!(levels_tried.clone().any(|level| level == 12));
        assert!(
            outcome
                .phases
                .iter()
                .any(|p| p.client_limited == Some(true)),
            "{:?}",
            levels_tried.collect::<Vec<_>>()
        );
    }
}

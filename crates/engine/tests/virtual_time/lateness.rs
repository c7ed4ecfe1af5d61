//! A client that notices late what has ended: whose time that is, and where it counts.

use engine::load::EndpointSelection;
use metrics::health::WindowHealth;
use metrics::timeline::FailureKind;

use crate::bench::{Bench, Scripted};
use crate::health::{fixed_at, free};
use crate::{MS, S};

fn answering(script: Scripted) -> Bench {
    Bench::scripted(script, 1, EndpointSelection::RoundRobin, 256, 0)
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_noticed_late_is_load_that_we_did_not_hold() {
    // Answers after 10 ms, of which we know after 14: two of seven slot seconds are lost.
    let mut bench = answering(Scripted::answering(MS(10)))
        .noticing_late(MS(4))
        .feeling(&free());
    let outcome = bench.test(&mut fixed_at(4), None).await.unwrap();
    assert_eq!(outcome.summary.client_limited, Some(true));
    for health in &outcome.health {
        let missing = health.missing_share.unwrap();
        assert!((missing - 2.0 / 7.0).abs() < 0.01, "{missing}");
        assert!((health.send_delay_p99.unwrap() - 0.004).abs() < 0.001);
        let held = health.achieved_in_flight().unwrap();
        assert!((held - 4.0 * 5.0 / 7.0).abs() < 0.05, "{held}");
    }
    // Every request but the first of each slot.
    let summary = &outcome.summary;
    let (sent, intended) = (
        summary.median_ttft.unwrap(),
        summary.median_ttft_from_intended.unwrap(),
    );
    assert!((sent - 0.010).abs() < 0.001, "{sent}");
    assert!((intended - 0.014).abs() < 0.001, "{intended}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_its_bodies_late_is_no_load_that_we_did_not_hold() {
    let script = Scripted::answering(MS(10)).holding_back(MS(4));
    let mut bench = answering(script).feeling(&free());
    let outcome = bench.test(&mut fixed_at(4), None).await.unwrap();
    assert_ne!(outcome.summary.client_limited, Some(true));
    for health in &outcome.health {
        assert!(health.missing_share.unwrap() < 0.01, "{health:?}");
        assert!(health.send_delay_p99.unwrap() < 0.001, "{health:?}");
    }
}

/// It counted as in flight from the moment on at which it was given to the transport, whoever kept it waiting there.
#[tokio::test(start_paused = true)]
async fn a_request_that_waits_to_be_handed_over_is_load_that_we_did_not_hold() {
    for (wait, limited) in [(MS(4), false), (MS(6), true)] {
        let share = wait.as_secs_f64() / 0.1;
        let mut bench = answering(Scripted::answering(MS(100) - wait))
            .handing_over_late(wait)
            .feeling(&free());
        let outcome = bench.test(&mut fixed_at(4), None).await.unwrap();
        assert_eq!(outcome.summary.client_limited, Some(limited), "{wait:?}");
        for health in &outcome.health {
            let missing = health.missing_share.unwrap();
            assert!((missing - share).abs() < 0.004, "{missing}");
            let held = health.achieved_in_flight().unwrap();
            assert!((held - 4.0 * (1.0 - share)).abs() < 0.05, "{held}");
            let delay = health.send_delay_p99.unwrap();
            assert!((delay - wait.as_secs_f64()).abs() < 0.001, "{delay}");
        }
        let told = outcome
            .doubts
            .iter()
            .any(|d| d.text.contains("6% of the load was missing"));
        assert_eq!(told, limited, "{:?}", outcome.doubts);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_end_in_the_drain_tell_how_long_they_had_waited() {
    let mut bench = answering(Scripted::answering(S(3))).handing_over_late(MS(200));
    let health = bench.window("RAMP_c4", 4, S(2)).await.health;
    let missing = health.missing_share.unwrap();
    assert!((missing - 0.1).abs() < 0.001, "{missing}");
    let held = health.achieved_in_flight().unwrap();
    // The fill of 30 ms, and 200 ms each.
    assert!((held - 4.0 * 0.9 + 0.03).abs() < 0.01, "{held}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_long_to_open_is_neither_delay_nor_missing_load() {
    let mut bench = answering(Scripted::answering(MS(60)))
        .dialling(MS(40))
        .feeling(&free());
    let window = bench.window("RAMP_c4", 4, S(2)).await;
    let health = &window.health;
    assert_ne!(health.is_limited(), Some(true));
    assert!(health.missing_share.unwrap() < 0.01, "{health:?}");
    assert!(health.send_delay_p99.unwrap() < 0.001, "{health:?}");
    assert!(window.records.len() > 70);
    for record in &window.records {
        assert!((record.dial_time.unwrap() - 0.040).abs() < 0.001);
        let intended = record.ttft_from_intended().unwrap();
        assert!((intended - 0.060).abs() < 0.003, "{intended}");
    }
}

/// Of the load that all these periods together were to hold.
fn missing_share(health: &[WindowHealth]) -> f64 {
    let planned = |h: &WindowHealth| h.length * f64::from(h.level);
    let missing = |h: &WindowHealth| h.missing_share.unwrap() * planned(h);
    health.iter().map(missing).sum::<f64>() / health.iter().map(planned).sum::<f64>()
}

#[tokio::test(start_paused = true)]
async fn what_a_request_waits_across_a_border_of_periods_is_missing_once() {
    let mut bench = answering(Scripted::answering(MS(400)))
        .handing_over_late(MS(100))
        .feeling(&free());
    let (outcome, _) = bench
        .sustained(crate::sustained::settings(0.3, 5, 30))
        .await;
    let outcome = outcome.unwrap();
    // Both latencies, of each period and of the test.
    let near = |found: Option<f64>, want: f64| (found.unwrap() - want).abs() < 0.002;
    let (periods, summary) = (&outcome.periods, &outcome.summary);
    assert!(periods.iter().all(|p| near(p.median_ttft, 0.4)));
    assert!(
        periods
            .iter()
            .all(|p| near(p.median_ttft_from_intended, 0.5))
    );
    assert!(near(summary.p95_ttft, 0.4) && near(summary.p95_ttft_from_intended, 0.5));
    let health = outcome.health;
    let missing = missing_share(&health);
    assert!((missing - 0.2).abs() < 0.01, "{missing}");
}

#[tokio::test(start_paused = true)]
async fn what_is_noticed_late_at_a_border_of_periods_is_missing_once() {
    let mut bench = answering(Scripted::answering(MS(400)))
        .noticing_late(MS(100))
        .feeling(&free());
    let (outcome, _) = bench
        .sustained(crate::sustained::settings(0.3, 5, 30))
        .await;
    let health = outcome.unwrap().health;
    let missing = missing_share(&health);
    assert!((missing - 0.2).abs() < 0.01, "{missing}");
}

#[tokio::test(start_paused = true)]
async fn the_pause_behind_a_failure_counts_from_the_failure() {
    for (late, delay) in [(MS(30), 0.0), (MS(150), 0.05)] {
        let script = Scripted::failing(FailureKind::Status, "HTTP 503");
        let mut bench = answering(script).noticing_late(late);
        let window = bench.window("RAMP_c1", 1, S(2)).await;
        let sent = bench.log();
        // A request takes 1 ms.
        let pause = 0.101 + delay;
        let gaps = sent
            .windows(2)
            .map(|two| (two[1].at - two[0].at).as_secs_f64());
        for gap in gaps {
            assert!((gap - pause).abs() < 0.003, "{gap} with {late:?}");
        }
        let told = window.health.send_delay_p99.unwrap();
        assert!((told - delay).abs() < 0.003, "{told} with {late:?}");
    }
}

//! Windows, warm-ups and tests against the simulator in process, under tokio's paused clock: minutes of
//! measured time pass in milliseconds, and every figure has a known answer.

#![expect(
    clippy::unwrap_used,
    reason = "a bench of tests: what goes wrong shall stop the test there and then"
)]

#[path = "virtual_time/bench.rs"]
mod bench;
#[path = "virtual_time/growth.rs"]
mod growth;
#[path = "virtual_time/health.rs"]
mod health;
#[path = "virtual_time/lateness.rs"]
mod lateness;
#[path = "virtual_time/study.rs"]
mod study;
#[path = "virtual_time/sustained.rs"]
mod sustained;

use std::sync::Arc;
use std::time::Duration;

use bench::{Bench, Scripted, records_by_request};
use engine::load::EndpointSelection;
use engine::stop::StopReason;
use engine::test_run::TestError;
use engine::warm_up::{WarmUp, WarmUpError, warm_up};
use engine::window::{WindowEnd, drain_limit};
use metrics::timeline::FailureKind;
use ramp::{RampController, RampRules, RampSettings, Thresholds};
use sim::model::ServiceModel;

const MS: fn(u64) -> Duration = Duration::from_millis;
const S: fn(u64) -> Duration = Duration::from_secs;

fn linear(per_active_ms: u64, per_token_ms: u64) -> ServiceModel {
    ServiceModel::Linear {
        per_active: MS(per_active_ms),
        per_token: MS(per_token_ms),
    }
}

fn fixed(total_ms: u64) -> ServiceModel {
    ServiceModel::Fixed {
        total: MS(total_ms),
    }
}

fn ramp_settings(max_ttft: f64) -> RampSettings {
    RampSettings {
        start: 2,
        increment: 2,
        max: 40,
        test_duration: S(600),
        ramp_duration: S(10),
        num_retries: 2,
        thresholds: Thresholds {
            max_ttft: Some(max_ttft),
            min_speed: None,
        },
        rules: RampRules::CACHE_RATE,
    }
}

/// A whole ramp with repeats over a few hundred requests.
fn short_ramp() -> RampSettings {
    RampSettings {
        max: 12,
        ramp_duration: S(1),
        test_duration: S(20),
        ..ramp_settings(0.11)
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_holds_its_level_and_ends_by_the_clock() {
    let mut bench = Bench::simulator(fixed(500), 1000, 0);
    let window = bench.window("RAMP_c8", 8, S(10)).await;
    assert_eq!(window.end, WindowEnd::Complete);
    // 8 in flight, 0.5 s each, 10 s: 160 requests, give or take the fill.
    assert!(
        (158..=160).contains(&window.level.completed),
        "{}",
        window.level.completed
    );
    assert_eq!(window.level.cancelled + window.level.failed, 0);
    assert!(
        (window.phase.duration - 10.5).abs() < 0.51,
        "{}",
        window.phase.duration
    );
    let most = bench::most_in_flight(&window.records);
    assert_eq!(most, 8, "never more than the level, and no less");
}

#[tokio::test(start_paused = true)]
async fn window_accounted_throughput_is_the_servers_own_rate() {
    // Little's law: 8 requests of 1000 tokens in flight, 0.5 s each.
    let mut bench = Bench::simulator(fixed(500), 1000, 0);
    let window = bench.window("RAMP_c8", 8, S(10)).await;
    let truth = 8.0 * 1000.0 / 0.5;
    assert!(
        (window.level.window.input_tps / truth - 1.0).abs() < 0.01,
        "{:?}",
        window.level.window
    );
    assert!(
        (window.level.window.output_tps / (8.0 * 16.0 / 0.5) - 1.0).abs() < 0.01,
        "{:?}",
        window.level.window
    );
}

/// A ramp of ten minutes at 25,000 requests/s keeps fifteen million rows.
#[tokio::test(start_paused = true)]
async fn rows_of_a_window_share_their_names_and_keep_no_chunks_of_cancelled_requests() {
    // Tokens every 4 s, and the drain waits for 5 s.
    let mut bench = Bench::simulator(linear(10, 4_000), 256, 0);
    let window = bench.window("RAMP_c3", 3, S(4)).await;
    assert_eq!(window.level.cancelled, 3);
    let chunks = window
        .failed
        .iter()
        .map(|f| f.partial.timeline.chunks.len());
    assert_eq!(chunks.sum::<usize>(), 0);
    let mut bench = Bench::simulator(linear(10, 40), 256, 0);
    let window = bench.window("RAMP_c3", 3, S(4)).await;
    assert!(window.records.len() > 3);
    let first = &window.records[0].intent;
    for intent in window.records.iter().map(|r| &r.intent) {
        assert!(Arc::ptr_eq(&intent.phase_id, &first.phase_id));
        assert!(Arc::ptr_eq(&intent.endpoint, &first.endpoint));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_launched_behind_the_end_and_slow_requests_are_cancelled_at_the_drain_limit() {
    // 60 s a request and a window of 2 s: the limit is 5 s.
    let mut bench = Bench::simulator(fixed(60_000), 1000, 0);
    let window = bench.window("RAMP_c3", 3, S(2)).await;
    assert_eq!(
        (window.phase.num_requests_launched, window.level.completed),
        (3, 0)
    );
    assert_eq!(window.level.cancelled, 3);
    assert!(
        (window.phase.duration - 7.0).abs() < 0.1,
        "{}",
        window.phase.duration
    );
    assert!(
        window
            .failed
            .iter()
            .all(|f| f.kind == FailureKind::Cancelled)
    );
    assert!(
        !window.level.is_valid(),
        "a level without a result never passes"
    );
    assert!(window.level.window.input_tps.abs() < f64::EPSILON);
}

#[test]
fn the_drain_limit_follows_the_window() {
    for (window, limit) in [(1, 5), (5, 5), (12, 12), (30, 30), (60, 30)] {
        assert_eq!(drain_limit(S(window)), S(limit));
    }
}

#[tokio::test(start_paused = true)]
async fn a_replacement_is_launched_at_the_instant_its_predecessor_ends() {
    let mut bench = Bench::simulator(fixed(500), 1000, 0);
    let window = bench.window("RAMP_c1", 1, S(5)).await;
    let rows = records_by_request(&window.records);
    for pair in rows.windows(2) {
        let gap = pair[1].launch_time - pair[0].finish_time;
        assert!(gap.abs() < 0.002, "gap of {gap} s");
        assert!(pair[1].send_delay.is_some_and(|d| d < 0.002));
    }
}

#[tokio::test(start_paused = true)]
async fn the_ramp_finds_the_known_capacity_of_a_linear_server() {
    // TTFT is 0.1 s per request in the engine: 10 in flight take 1.0 s, so the last level under 1.05 s is 10.
    for (limit, capacity) in [(1.05, 10), (0.65, 6), (2.1, 20)] {
        let mut bench = Bench::simulator(linear(100, 5), 1000, 0);
        let mut controller = RampController::new(ramp_settings(limit), None);
        let outcome = bench.test(&mut controller, None).await.unwrap();
        let peak = outcome.summary.peak_concurrency;
        assert!(
            peak.abs_diff(capacity) <= 2,
            "limit {limit}: peak {peak}, capacity {capacity}"
        );
        assert_eq!(
            outcome.summary.total_requests,
            u64::try_from(
                outcome
                    .records
                    .iter()
                    .filter(|r| r.intent.concurrency_level == peak)
                    .count()
            )
            .unwrap()
        );
        let retries = outcome
            .phases
            .iter()
            .filter(|p| p.phase_id.starts_with("RETRY_"))
            .count();
        assert_eq!(retries, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_threshold_that_nothing_meets_gives_the_least_bad_level_and_a_doubt() {
    let mut bench = Bench::simulator(linear(100, 5), 1000, 0);
    let mut controller = RampController::new(ramp_settings(0.05), None);
    let outcome = bench.test(&mut controller, None).await.unwrap();
    assert_eq!(outcome.summary.peak_concurrency, 2);
    assert!(
        outcome
            .doubts
            .iter()
            .any(|d| d.kind == engine::event::DoubtKind::NoLevelPassed),
        "{:?}",
        outcome.doubts
    );
}

/// The hit rate that the server achieves equals the intended one to within a block per request, at every rate,
/// across phases and repeats, as long as the working set fits.
#[tokio::test(start_paused = true)]
async fn achieved_hit_rates_are_the_intended_ones_at_every_rate() {
    for rate in [0, 5, 25, 50, 75, 95, 100] {
        let mut bench = Bench::simulator(linear(10, 2), 1000, rate);
        let working_set = bench.working_set();
        bench.warm(&working_set, 4).await.unwrap();
        let mut controller = RampController::new(short_ramp(), None);
        let outcome = bench.test(&mut controller, None).await.unwrap();
        assert!(outcome.phases.len() >= 4);
        for record in &outcome.records {
            let (intended, reported) = (
                record.intent.cached_tokens,
                record.reported_cached_tokens.unwrap(),
            );
            assert!(
                intended.abs_diff(reported) <= 16,
                "{rate} %: {} meant, {reported} reported",
                intended
            );
        }
        assert!(outcome.doubts.is_empty(), "{:?}", outcome.doubts);
    }
}

#[tokio::test(start_paused = true)]
async fn no_two_requests_of_a_test_send_the_same_prompt() {
    for rate in [0, 50] {
        let mut bench = Bench::simulator(linear(10, 2), 1000, rate);
        let mut controller = RampController::new(short_ramp(), None);
        bench.test(&mut controller, None).await.unwrap();
        let sent = bench.prompts_sent();
        let distinct: std::collections::HashSet<&String> = sent.iter().collect();
        assert!(sent.len() > 100);
        assert_eq!(distinct.len(), sent.len(), "rate {rate}");
    }
}

#[tokio::test(start_paused = true)]
async fn warm_up_sends_every_prompt_once_with_one_token_and_no_question() {
    let mut bench = Bench::simulator(linear(10, 2), 1000, 50);
    let working_set = bench.working_set();
    let warmed = bench.warm(&working_set, 16).await.unwrap();
    assert_eq!(
        (warmed.succeeded, warmed.failed),
        (working_set.len() as u64, 0)
    );
    let mut sent = bench.prompts_sent();
    sent.sort();
    let mut expected: Vec<String> = (0..working_set.len())
        .map(|i| workload::warmup_prompt(&working_set, i).plain_text())
        .collect();
    expected.sort();
    assert_eq!(sent, expected);
    assert!(expected.iter().all(|text| text.starts_with("# PROMPT_")));
}

#[tokio::test(start_paused = true)]
async fn with_several_endpoints_every_one_gets_the_whole_working_set_unless_pinned() {
    for (selection, per_prompt) in [
        (EndpointSelection::RoundRobin, 2),
        (EndpointSelection::Pinned, 1),
    ] {
        let mut bench = Bench::scripted(Scripted::answering(MS(20)), 2, selection, 1000, 50);
        let working_set = bench.working_set();
        bench.warm(&working_set, 4).await.unwrap();
        assert_eq!(bench.prompts_sent().len(), working_set.len() * per_prompt);
    }
}

#[tokio::test(start_paused = true)]
async fn per_test_warm_ups_come_before_every_window_and_do_not_count_against_the_time_limit() {
    let mut bench = Bench::simulator(linear(100, 5), 1000, 50);
    let working_set = bench.working_set();
    let settings = RampSettings {
        ramp_duration: S(10),
        test_duration: S(40),
        num_retries: 1,
        ..ramp_settings(1.05)
    };
    let mut controller = RampController::new(settings, None);
    let outcome = bench
        .test(&mut controller, Some(WarmUp::whole(&working_set, 2)))
        .await
        .unwrap();
    let warm_ups = bench
        .prompts_sent()
        .iter()
        .filter(|p| p.starts_with("# PROMPT_") && !p.contains("\n\n"))
        .count();
    assert_eq!(warm_ups, working_set.len() * outcome.phases.len());
    assert!(
        outcome.phases.len() >= 4,
        "{:?}",
        outcome
            .phases
            .iter()
            .map(|p| &p.phase_id)
            .collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_only_fails_ends_the_window_at_once() {
    let mut bench = Bench::scripted(
        Scripted::failing(FailureKind::Status, "HTTP 500"),
        1,
        EndpointSelection::RoundRobin,
        1000,
        0,
    );
    let window = bench.window("RAMP_c2", 2, S(60)).await;
    let WindowEnd::Failing(line) = &window.end else {
        panic!("{:?}", window.end)
    };
    assert!(line.contains("HTTP 500"), "{line}");
    assert!(window.phase.duration < 3.0, "{}", window.phase.duration);
    // max(10, 2 × 2) in a row, and whatever was in flight beside the last.
    assert!(
        (10..=11).contains(&window.level.failed),
        "{}",
        window.level.failed
    );

    let mut controller = RampController::new(ramp_settings(1.0), None);
    let failure = bench.test(&mut controller, None).await.unwrap_err();
    assert!(matches!(failure.error, TestError::Failed(_)), "{failure}");
    // Its requests are on disk; their windows must be, too.
    let ids: Vec<&str> = failure.phases.iter().map(|p| p.phase_id.as_str()).collect();
    assert_eq!(ids, ["RAMP_c2"]);
    assert!(failure.phases[0].num_requests_failed > Some(0));
}

/// What a broken-off window showed is spread over the time that it lasted, not over the time that was planned; its
/// row has no rate, because the level was not seen as long as the others.
#[tokio::test(start_paused = true)]
async fn a_window_that_is_broken_off_is_as_long_as_it_lasted() {
    let faults = bench::Faults {
        dies_at: Some(S(10)),
        ..bench::Faults::default()
    };
    let mut bench = Bench::faulty(fixed(500), 1000, 0, faults);
    let window = bench.window("RAMP_c8", 8, S(60)).await;
    assert!(
        matches!(window.end, WindowEnd::Failing(_)),
        "{:?}",
        window.end
    );
    let truth = 8.0 * 1000.0 / 0.5;
    let measured = window.level.window.input_tps;
    // Of twenty rounds the last one was lost.
    assert!((measured / truth - 0.95).abs() < 0.02, "{measured}");
    assert!(window.phase.duration < 12.0);
    assert!(window.phase.was_broken_off());
    assert!(window.phase.window_duration.unwrap() < 11.0);
}

#[tokio::test(start_paused = true)]
async fn a_pause_between_windows_does_not_count_against_the_time_limit() {
    let settings = RampSettings {
        ramp_duration: S(10),
        test_duration: S(40),
        num_retries: 0,
        ..ramp_settings(1.05)
    };
    let mut windows = Vec::new();
    for cooldown in [S(0), S(35)] {
        let mut bench = Bench::simulator(linear(100, 5), 1000, 0);
        bench.cooldown = cooldown;
        let mut controller = RampController::new(settings, None);
        let outcome = bench.test(&mut controller, None).await.unwrap();
        let ids: Vec<String> = outcome.phases.iter().map(|p| p.phase_id.clone()).collect();
        let rested = outcome
            .phases
            .windows(2)
            .map(|w| w[1].start_time - w[0].end_time);
        assert!(rested.clone().all(|s| s >= cooldown.as_secs_f64() - 0.001));
        windows.push(ids);
    }
    assert!(windows[0].len() >= 3, "{windows:?}");
    assert_eq!(windows[0], windows[1]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_request_frees_its_slot_after_a_tenth_of_a_second() {
    let mut bench = Bench::scripted(
        Scripted::failing_every(2, MS(50)),
        1,
        EndpointSelection::RoundRobin,
        1000,
        0,
    );
    let window = bench.window("RAMP_c1", 1, S(10)).await;
    // Pairs of a good one (50 ms) and a bad one (50 ms) with the pause behind it: 200 ms.
    assert!(
        (49..=51).contains(&window.level.failed),
        "{}",
        window.level.failed
    );
    assert!(
        (49..=51).contains(&window.level.completed),
        "{}",
        window.level.completed
    );
}

#[tokio::test(start_paused = true)]
async fn warm_up_fails_only_when_everything_fails_and_sends_what_failed_once_more() {
    let mut bench = Bench::scripted(
        Scripted::failing(FailureKind::Connect, "refused"),
        1,
        EndpointSelection::RoundRobin,
        1000,
        50,
    );
    let working_set = bench.working_set();
    let error = bench.warm(&working_set, 4).await.unwrap_err();
    assert!(
        matches!(
            error,
            WarmUpError::AllFailed {
                kind: FailureKind::Connect,
                ..
            }
        ),
        "{error}"
    );

    let mut bench = Bench::scripted(
        Scripted::failing_every(4, MS(10)),
        1,
        EndpointSelection::RoundRobin,
        1000,
        50,
    );
    let warmed = bench.warm(&working_set, 4).await.unwrap();
    assert_eq!(warmed.succeeded + warmed.failed, working_set.len() as u64);
    assert!(
        bench.prompts_sent().len() > working_set.len(),
        "failed ones are sent once more"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_window_at_once_and_keeps_what_was_measured() {
    let mut bench = Bench::simulator(fixed(500), 1000, 0);
    let stop = bench.stop.clone();
    let stopper = async {
        tokio::time::sleep(MS(2_200)).await;
        stop.request(StopReason::Interrupt);
    };
    let (window, ()) = tokio::join!(bench.window("RAMP_c4", 4, S(60)), stopper);
    assert_eq!(window.end, WindowEnd::Stopped);
    assert_eq!((window.level.completed, window.level.cancelled), (16, 4));
    assert!(window.phase.duration < 3.0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_warm_up() {
    let mut bench = Bench::simulator(fixed(60_000), 1000, 50);
    let working_set = bench.working_set();
    let stop = bench.stop.clone();
    let stopper = async {
        tokio::time::sleep(S(1)).await;
        stop.request(StopReason::Terminate);
    };
    let started = tokio::time::Instant::now();
    let (ended, ()) = tokio::join!(bench.warm(&working_set, 2), stopper);
    assert!(matches!(ended, Err(WarmUpError::Stopped)));
    assert!(started.elapsed() < S(2));
}

#[tokio::test(start_paused = true)]
async fn the_rotation_over_prompts_goes_on_from_phase_to_phase() {
    let mut bench = Bench::simulator(fixed(500), 1000, 100);
    let working_set = bench.working_set();
    let n = working_set.len();
    bench.window("RAMP_c2", 2, S(2)).await;
    bench.window("RETRY_1", 2, S(2)).await;
    let texts: Vec<String> = (0..n)
        .map(|i| workload::warmup_prompt(&working_set, i).plain_text())
        .collect();
    let order: Vec<usize> = bench
        .prompts_sent()
        .iter()
        .map(|p| {
            texts
                .iter()
                .position(|t| p.starts_with(t.as_str()))
                .unwrap()
        })
        .collect();
    assert!(order.len() > n);
    for (k, index) in order.iter().enumerate() {
        assert_eq!(*index, k % n);
    }
}

#[tokio::test(start_paused = true)]
async fn warm_up_without_prompts_to_send_twice_reports_its_time() {
    let mut bench = Bench::simulator(fixed(100), 1000, 50);
    let working_set = bench.working_set();
    let mut context = bench.context();
    let warmed = warm_up(&mut context, &WarmUp::whole(&working_set, 1))
        .await
        .unwrap();
    let expected = MS(100) * u32::try_from(working_set.len()).unwrap();
    assert!(
        warmed.took >= expected && warmed.took < expected + S(1),
        "{:?}",
        warmed.took
    );
}

//! A working set that grows within a test, and windows that go on until it was sent once over.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::growth::GrowthPlan;
use engine::stop::StopReason;
use engine::test_run::TestError;
use engine::transport::Kind;
use engine::window::WindowEnd;
use metrics::timeline::FailureKind;
use ramp::{SustainedRules, SustainedSettings, Thresholds};
use workload::{GrowthSchedule, SelectionOrder};

use crate::bench::{Bench, Faults, Scripted, Sent};
use crate::{MS, S, fixed, linear};

/// Tokens of a context, which is one prompt: 32 of them in the bench's working set.
const CONTEXT: u64 = 256;

fn settings(period: u64, test: u64) -> SustainedSettings {
    SustainedSettings {
        start: 2,
        increment: 2,
        max: 2,
        test_duration: S(test),
        period: S(period),
        thresholds: Thresholds {
            max_ttft: Some(5.0),
            min_speed: None,
        },
        rules: SustainedRules::WORKING_SET,
    }
}

fn plan(initial: usize, target: usize, n: u32, test: u64, ensure_coverage: bool) -> GrowthPlan {
    GrowthPlan {
        schedule: GrowthSchedule::new(initial, target, n, S(test)),
        tokens_per_prompt: CONTEXT,
        warm: false,
        ensure_coverage,
    }
}

/// When each prompt was used first.
fn first_uses(log: &[Sent]) -> Vec<Duration> {
    let mut firsts = Vec::new();
    for sent in log.iter().filter(|sent| sent.kind == Kind::Measured) {
        if sent.prompt == Some(firsts.len()) {
            firsts.push(sent.at);
        }
    }
    firsts
}

#[tokio::test(start_paused = true)]
async fn prompts_join_when_their_time_has_come_whatever_period_is_running() {
    // A request takes half a second, so a prompt that joins is used within a round of the rotation.
    let mut bench = Bench::simulator(fixed(500), CONTEXT, 100);
    let growth = plan(4, 12, 3, 60, false);
    let begin = bench.clock_now();
    let (outcome, told) = bench
        .growing(settings(7, 60), growth, SelectionOrder::RoundRobin)
        .await;
    let outcome = outcome.unwrap();
    assert_eq!(
        told,
        [
            "+3: 7 of 12, 1792",
            "+3: 10 of 12, 2560",
            "+2: 12 of 12, 3072"
        ]
    );
    // Periods of 7 s, the last one of 4 s is too short; events at 15 s, 30 s and 45 s lie inside the third, the
    // fifth and the seventh.
    let sizes: Vec<u64> = outcome
        .periods
        .iter()
        .map(|p| p.working_set_size.unwrap() / CONTEXT)
        .collect();
    assert_eq!(sizes, [4, 4, 7, 7, 10, 10, 12, 12]);
    let uses = first_uses(&bench.log());
    assert_eq!(uses.len(), 12, "every prompt was used");
    for (i, (earliest, latest)) in [
        (4, (15.0, 17.5)),
        (6, (15.0, 17.5)),
        (7, (30.0, 33.0)),
        (10, (45.0, 49.0)),
    ] {
        let at = (uses[i] - begin).as_secs_f64();
        assert!(at >= earliest && at <= latest, "prompt {i} at {at} s");
    }
    // Periods as phases: the test's size, and the figures of the period.
    assert_eq!(outcome.phases.len(), outcome.periods.len());
    for (phase, period) in outcome.phases.iter().zip(&outcome.periods) {
        assert_eq!(phase.working_set_size, Some(8000));
        assert_eq!(phase.num_requests_launched, period.num_requests_launched);
        assert_eq!(
            phase.window_input_tokens_per_sec,
            Some(period.input_tokens_per_sec)
        );
    }
    let summary = &outcome.summary;
    assert_eq!(
        (summary.working_set_size, summary.min_working_set_size),
        (Some(8000), Some(4 * CONTEXT))
    );
    // Latencies are those of requests, not means of periods.
    let ttft: Vec<f64> = outcome.records.iter().filter_map(|r| r.ttft).collect();
    let mean = ttft.iter().sum::<f64>() / ttft.len() as f64;
    assert!((summary.avg_ttft.unwrap() - mean).abs() < 1e-9);
    let from_intended = summary.avg_ttft_from_intended.unwrap();
    assert!(from_intended >= mean - 1e-9, "{from_intended} {mean}");
}

#[tokio::test(start_paused = true)]
async fn an_event_at_a_border_belongs_to_the_period_that_begins_there() {
    let mut bench = Bench::simulator(fixed(500), CONTEXT, 100);
    let growth = plan(2, 6, 2, 30, false);
    let (outcome, _) = bench
        .growing(settings(10, 30), growth, SelectionOrder::RoundRobin)
        .await;
    let sizes: Vec<u64> = outcome
        .unwrap()
        .periods
        .iter()
        .map(|p| p.working_set_size.unwrap() / CONTEXT)
        .collect();
    assert_eq!(sizes, [2, 4, 6]);
}

#[tokio::test(start_paused = true)]
async fn with_coverage_events_wait_and_the_test_ends_when_the_last_size_was_sent() {
    // Two requests at a time, one second each: 2 × 256 tokens per second. 16 prompts take 8 s.
    let mut bench = Bench::simulator(fixed(1000), CONTEXT, 100);
    let growth = plan(16, 32, 2, 12, true);
    let begin = bench.clock_now();
    let (outcome, told) = bench
        .growing(settings(5, 12), growth, SelectionOrder::RoundRobin)
        .await;
    let outcome = outcome.unwrap();
    assert_eq!(
        told,
        [
            // Due at 4 s, with half of the prompts sent.
            "extending 2048/4096",
            "+8: 24 of 32, 6144",
            // At 10 s no time is left for a period, with 4 of 24 prompts sent since 7 s.
            "extending 1024/6144",
            "+8: 32 of 32, 8192",
            // At 20 s, a second behind the step; the last size is still to be sent.
            "extending 0/8192",
        ]
    );
    let uses = first_uses(&bench.log());
    assert_eq!(uses.len(), 32);
    // Each size was sent once over before the next began, and the last one before the end.
    let at = |i: usize| (uses[i] - begin).as_secs_f64();
    assert!(at(16) >= 7.5 && at(24) >= 19.0, "{} {}", at(16), at(24));
    let lengths: Vec<f64> = outcome.periods.iter().map(|p| p.duration).collect();
    // 12 s are two whole periods and one of 2 s, which is too short; beyond them periods are whole again.
    assert!(
        lengths.iter().all(|l| (l - 5.0).abs() < 1e-9),
        "{lengths:?}"
    );
    let total: f64 = lengths.iter().sum();
    assert!((36.0..42.0).contains(&total), "{total} s");
    let sent: u64 = outcome.periods[outcome.periods.len() - 4..]
        .iter()
        .map(|p| p.num_requests_launched)
        .sum();
    assert!(sent >= 32, "{sent} requests at the last size");
}

#[tokio::test(start_paused = true)]
async fn a_random_order_covers_every_size_before_chance_is_free() {
    let mut bench = Bench::simulator(fixed(1000), CONTEXT, 100);
    let (outcome, _) = bench
        .growing(
            settings(5, 10),
            plan(8, 16, 1, 10, true),
            SelectionOrder::Random,
        )
        .await;
    outcome.unwrap();
    let log = bench.log();
    let prompts: Vec<usize> = log.iter().filter_map(|sent| sent.prompt).collect();
    let (first, rest) = prompts.split_at(8);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 8);
    let joined = rest.iter().position(|i| *i >= 8).unwrap();
    let last: BTreeSet<usize> = rest[joined.saturating_sub(16)..].iter().copied().collect();
    assert_eq!(last.len(), 16, "{prompts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hopeless_test_ends_early_and_says_what_was_not_sent() {
    let mut bench = Bench::simulator(fixed(1000), CONTEXT, 100);
    let hopeless = SustainedSettings {
        thresholds: Thresholds {
            max_ttft: Some(0.001),
            min_speed: None,
        },
        ..settings(5, 60)
    };
    let (outcome, told) = bench
        .growing(
            hopeless,
            plan(32, 32, 1, 60, true),
            SelectionOrder::RoundRobin,
        )
        .await;
    let outcome = outcome.unwrap();
    assert_eq!(outcome.periods.len(), 3);
    assert!(
        outcome
            .periods
            .iter()
            .all(|p| p.decision == "MIN_REACHED" && p.next_concurrency == 2)
    );
    assert_eq!(told, ["not covered 7680/8192"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_within_a_period_keeps_the_periods_before_it() {
    let mut bench = Bench::simulator(fixed(500), CONTEXT, 100);
    let stop = bench.stop.clone();
    let stopped = async {
        tokio::time::sleep(S(12)).await;
        stop.request(StopReason::Interrupt);
        std::future::pending::<()>().await
    };
    let growth = plan(4, 12, 3, 60, false);
    let run = bench.growing(settings(5, 60), growth, SelectionOrder::RoundRobin);
    let (ended, _) = tokio::select! {
        ended = run => ended,
        () = stopped => unreachable!("it waits for ever"),
    };
    let unfinished = ended.unwrap_err();
    assert!(matches!(unfinished.error, TestError::Stopped));
    let ids: Vec<&str> = unfinished
        .phases
        .iter()
        .map(|p| p.phase_id.as_str())
        .collect();
    assert_eq!(ids, ["SUSTAINED_P1", "SUSTAINED_P2"]);
}

#[tokio::test(start_paused = true)]
async fn a_window_goes_on_until_the_working_set_was_sent() {
    // Two requests per second and window of 3 s: 6 prompts; asked for are 16.
    let mut bench = Bench::simulator(fixed(1000), CONTEXT, 100);
    bench.select(SelectionOrder::RoundRobin, 16);
    let (window, told) = bench
        .covering_window("FIXED_c2_run0", 2, S(3), Some(16 * CONTEXT))
        .await;
    assert_eq!(told, ["extending 1536/4096"]);
    assert_eq!(window.phase.num_requests_launched, 16);
    let prompts: BTreeSet<usize> = bench.log().iter().filter_map(|s| s.prompt).collect();
    assert_eq!(prompts.len(), 16);
    // The window is as long as it took, and so are the figures made from it.
    let length = window.phase.window_duration.unwrap();
    assert!((length - 7.0).abs() < 0.2, "{length}");
    let tps = window.phase.window_input_tokens_per_sec.unwrap();
    assert!((tps - 512.0).abs() < 25.0, "{tps}");
    assert!(window.phase.duration >= length);
    // What is covered within the time needs no more of it.
    let (window, told) = bench
        .covering_window("FIXED_c2_run1", 2, S(10), Some(16 * CONTEXT))
        .await;
    assert!(told.is_empty());
    assert!((window.phase.window_duration.unwrap() - 10.0).abs() < 1e-9);
    assert_eq!(window.phase.num_requests_launched, 20);
}

#[tokio::test(start_paused = true)]
async fn failed_requests_cover_nothing_and_a_failing_server_ends_the_window() {
    // Every fourth request fails; 12 good ones are wanted.
    let script = Scripted::failing_every(4, MS(500));
    let mut bench = Bench::scripted(
        script,
        1,
        engine::load::EndpointSelection::RoundRobin,
        CONTEXT,
        100,
    );
    let (window, told) = bench
        .covering_window("RAMP_c1", 1, S(2), Some(12 * CONTEXT))
        .await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(window.end, WindowEnd::Complete);
    assert!(window.records.len() >= 12 && window.failed.len() >= 3);
    let dead = Scripted::failing(FailureKind::Status, "HTTP 500");
    let mut bench = Bench::scripted(
        dead,
        1,
        engine::load::EndpointSelection::RoundRobin,
        CONTEXT,
        100,
    );
    let (window, told) = bench
        .covering_window("RAMP_c1", 1, MS(500), Some(12 * CONTEXT))
        .await;
    assert!(matches!(window.end, WindowEnd::Failing(_)));
    assert_eq!(told, ["extending 0/3072", "not covered 0/3072"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_while_a_window_is_extended_leaves_what_was_measured() {
    let faults = Faults {
        dies_at: Some(S(5)),
        ..Faults::default()
    };
    let mut bench = Bench::faulty(
        sim::model::ServiceModel::Fixed { total: S(1) },
        CONTEXT,
        100,
        faults,
    );
    let (window, told) = bench
        .covering_window("RAMP_c2", 2, S(2), Some(30 * CONTEXT))
        .await;
    assert!(
        matches!(window.end, WindowEnd::Failing(_)),
        "{:?}",
        window.end
    );
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(window.records.len() >= 6);
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_off_before_its_first_token_was_not_covered() {
    // First tokens take ten seconds; the drain behind a window of 1 s lasts five.
    let mut bench = Bench::simulator(linear(10_000, 5), CONTEXT, 100);
    bench.select(SelectionOrder::RoundRobin, 2);
    let (window, told) = bench
        .covering_window("FIXED_c2_run0", 2, S(1), Some(2 * CONTEXT))
        .await;
    assert_eq!(window.end, WindowEnd::Complete);
    assert_eq!(window.phase.num_requests_cancelled, Some(2));
    assert_eq!(told, ["not covered 0/512"]);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_fails_within_its_time_says_that_the_set_was_not_sent() {
    let dead = Scripted::failing(FailureKind::Status, "HTTP 500");
    let mut bench = Bench::scripted(
        dead,
        1,
        engine::load::EndpointSelection::RoundRobin,
        CONTEXT,
        100,
    );
    let (window, told) = bench
        .covering_window("RAMP_c1", 1, S(60), Some(12 * CONTEXT))
        .await;
    assert!(matches!(window.end, WindowEnd::Failing(_)));
    assert_eq!(told, ["not covered 0/3072"]);
}

#[tokio::test(start_paused = true)]
async fn who_stops_a_window_is_not_told_what_it_did_not_cover() {
    let mut bench = Bench::simulator(fixed(1000), CONTEXT, 100);
    bench.select(SelectionOrder::RoundRobin, 16);
    let stop = bench.stop.clone();
    let stopper = async {
        tokio::time::sleep(S(2)).await;
        stop.request(StopReason::Interrupt);
    };
    let run = bench.covering_window("FIXED_c2_run0", 2, S(5), Some(16 * CONTEXT));
    let ((window, told), ()) = tokio::join!(run, stopper);
    assert_eq!(window.end, WindowEnd::Stopped);
    assert_eq!(told, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn sizes_that_a_hopeless_test_never_reached_are_said_not_to_be_covered() {
    // The first size is sent within 4 s; the next one would begin at 30 s.
    let mut bench = Bench::simulator(fixed(1000), CONTEXT, 100);
    let hopeless = SustainedSettings {
        thresholds: Thresholds {
            max_ttft: Some(0.001),
            min_speed: None,
        },
        ..settings(5, 60)
    };
    let growth = plan(8, 32, 1, 60, true);
    let (outcome, told) = bench
        .growing(hopeless, growth, SelectionOrder::RoundRobin)
        .await;
    assert_eq!(outcome.unwrap().periods.len(), 3);
    assert_eq!(told, ["not covered 2048/8192"]);
}

#[tokio::test(start_paused = true)]
async fn a_growing_test_that_ends_because_requests_fail_says_what_was_not_covered() {
    let faults = Faults {
        dies_at: Some(S(7)),
        ..Faults::default()
    };
    let mut bench = Bench::faulty(fixed(1000), CONTEXT, 100, faults);
    let growth = plan(32, 32, 1, 60, true);
    let (ended, told) = bench
        .growing(settings(5, 60), growth, SelectionOrder::RoundRobin)
        .await;
    assert!(matches!(ended.unwrap_err().error, TestError::Failed(_)));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("not covered "), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_health_of_a_window_that_was_extended_spans_all_of_it() {
    let mut bench = Bench::simulator(fixed(1000), CONTEXT, 100);
    bench.select(SelectionOrder::RoundRobin, 16);
    let (window, _) = bench
        .covering_window("FIXED_c2_run0", 2, S(3), Some(16 * CONTEXT))
        .await;
    // 7 s where 3 s were planned: parts of 0.6 s.
    let in_flight = &window.health.in_flight;
    assert_eq!(in_flight.len(), 12, "{in_flight:?}");
    assert!(in_flight.iter().all(|n| *n > 1.8), "{in_flight:?}");
}

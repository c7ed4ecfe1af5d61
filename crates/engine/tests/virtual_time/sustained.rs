//! Sustained tests in virtual time: what a period counts, what a border leaves alone, how a test ends.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use engine::event::DoubtKind;
use engine::feed::{InlineFeed, PromptFeed as _, ThreadFeed, VerificationCounters, next_fresh};
use engine::stop::StopReason;
use engine::test_run::{TestError, TestOutcome};
use metrics::PeriodRow;
use ramp::{SustainedRules, SustainedSettings, Thresholds};
use sim::model::ServiceModel;

use crate::bench::{Bench, Faults, most_in_flight};
use crate::{MS, S, linear};

/// Tokens of a context; prompts are made and read in no virtual time, but in real time.
const SMALL: u64 = 256;

pub(crate) fn settings(max_ttft: f64, period: u64, test: u64) -> SustainedSettings {
    SustainedSettings {
        start: 2,
        increment: 2,
        max: 40,
        test_duration: S(test),
        period: S(period),
        thresholds: Thresholds {
            max_ttft: Some(max_ttft),
            min_speed: None,
        },
        rules: SustainedRules::CACHE_RATE,
    }
}

/// The virtual clock ticks in milliseconds; borders between ticks are met by no arrival.
fn between_ticks(settings: SustainedSettings) -> SustainedSettings {
    SustainedSettings {
        period: settings.period + Duration::from_micros(100),
        ..settings
    }
}

fn decisions(periods: &[PeriodRow]) -> Vec<(u32, &str)> {
    periods
        .iter()
        .map(|p| (p.concurrency_level, p.decision.as_str()))
        .collect()
}

/// Periods follow each other without a gap, each as long as planned.
fn assert_without_a_gap(periods: &[PeriodRow], length: f64) {
    for pair in periods.windows(2) {
        assert!((pair[1].start_time - pair[0].end_time).abs() < 1e-6);
        assert_eq!(pair[0].next_concurrency, pair[1].concurrency_level);
    }
    assert!(periods.iter().all(|p| (p.duration - length).abs() < 1e-9));
}

/// Counts from the rows of requests, by their own stamps, what every period should hold.
fn assert_periods_hold_what_arrived(outcome: &TestOutcome) {
    let begin = outcome.periods[0].start_time;
    for period in &outcome.periods {
        let (mut prefills, mut input, mut output, mut launched) = (0, 0, 0, 0);
        let start = if period.period_number == 1 {
            begin - 1.0
        } else {
            period.start_time
        };
        // Stamps of rows are rounded to a quarter of a microsecond.
        let inside = |at: f64| {
            assert!(
                (at - start).abs() > 1e-6 && (at - period.end_time).abs() > 1e-6,
                "an arrival at a border: {} s, period {} from {} to {} s",
                at - begin,
                period.period_number,
                start - begin,
                period.end_time - begin
            );
            at > start && at <= period.end_time
        };
        for record in &outcome.records {
            launched += u64::from(
                *record.intent.phase_id == *format!("SUSTAINED_P{}", period.period_number),
            );
            if inside(record.prefill_complete_time) {
                prefills += 1;
                input += record.input_tokens();
            }
            let chunks = record.token_timestamps.iter().zip(&record.tokens_per_chunk);
            output += chunks
                .filter(|(at, _)| inside(**at))
                .map(|(_, n)| n)
                .sum::<u64>();
        }
        assert_eq!(
            (
                period.num_requests_launched,
                period.num_requests_completed,
                period.total_input_tokens,
                period.total_output_tokens
            ),
            (launched, prefills, input, output),
            "period {}",
            period.period_number
        );
    }
}

#[tokio::test(start_paused = true)]
async fn sustained_finds_the_known_capacity_of_a_linear_server() {
    // TTFT is 0.1 s per request in the server.
    for (limit, capacity) in [(1.05, 10), (0.65, 6), (1.45, 14)] {
        let mut bench = Bench::simulator(linear(100, 5), SMALL, 0);
        let (outcome, _) = bench.sustained(settings(limit, 30, 450)).await;
        let outcome = outcome.unwrap();
        assert_eq!(outcome.periods.len(), 15);
        assert_without_a_gap(&outcome.periods, 30.0);
        for period in &outcome.periods[8..] {
            assert!(
                period.concurrency_level.abs_diff(capacity) <= 2,
                "limit {limit}, capacity {capacity}: {:?}",
                decisions(&outcome.periods)
            );
        }
        assert!(outcome.doubts.is_empty(), "{:?}", outcome.doubts);
    }
}

#[tokio::test(start_paused = true)]
async fn periods_hold_exactly_what_arrived_in_them() {
    for (per_active, per_token) in [(103, 37), (11, 3), (401, 701)] {
        let mut bench = Bench::simulator(linear(per_active, per_token), 1000, 50);
        let (outcome, live) = bench.sustained(between_ticks(settings(1.0, 5, 47))).await;
        let outcome = outcome.unwrap();
        assert_eq!(
            outcome.periods.len(),
            9,
            "{:?}",
            decisions(&outcome.periods)
        );
        assert_without_a_gap(&outcome.periods, 5.0001);
        assert_periods_hold_what_arrived(&outcome);
        // One token per chunk: what was said at each border was right already.
        assert_eq!(live, outcome.periods);
        let summary = &outcome.summary;
        let sum = |f: fn(&PeriodRow) -> u64| outcome.periods.iter().map(f).sum::<u64>();
        assert_eq!(summary.total_requests, sum(|p| p.num_requests_completed));
        assert_eq!(
            summary.total_output_tokens,
            Some(sum(|p| p.total_output_tokens))
        );
        assert!((summary.test_duration - 45.0009).abs() < 1e-9);
        let rate = sum(|p| p.total_input_tokens) as f64 / 45.0009;
        assert!((summary.input_tokens_per_sec - rate).abs() < 1e-6);
    }
}

/// All rows of a period were walked and dropped at its border, on the thread that reads streams.
#[tokio::test(start_paused = true)]
async fn rows_are_summed_up_a_few_at_a_time() {
    let mut bench = Bench::simulator(linear(20, 5), SMALL, 0);
    let (outcome, _) = bench.sustained(settings(0.1, 30, 60)).await;
    let outcome = outcome.unwrap();
    let n_rows = outcome.records.len();
    assert_eq!(outcome.periods.len(), 2);
    let most = bench.most_rows_at_once();
    assert!(most * 50 < n_rows, "{most} of {n_rows}");
}

#[tokio::test(start_paused = true)]
async fn ids_name_period_level_and_number_and_no_prompt_is_sent_twice() {
    let mut bench = Bench::simulator(linear(103, 37), SMALL, 0);
    let (outcome, _) = bench.sustained(settings(1.0, 5, 20)).await;
    let outcome = outcome.unwrap();
    for period in &outcome.periods {
        let phase = format!("SUSTAINED_P{}", period.period_number);
        let ids: HashSet<&str> = outcome
            .records
            .iter()
            .filter(|r| *r.intent.phase_id == *phase)
            .map(|r| r.intent.request_id.as_str())
            .collect();
        for k in 0..period.num_requests_launched {
            let id = format!(
                "P{}_c{}_r{k}",
                period.period_number, period.concurrency_level
            );
            assert!(ids.contains(id.as_str()), "{id} in {ids:?}");
        }
    }
    let sent = bench.prompts_sent();
    let distinct: HashSet<&String> = sent.iter().collect();
    assert_eq!(distinct.len(), sent.len());
}

#[tokio::test(start_paused = true)]
async fn lowering_the_level_cancels_nothing() {
    // 2 → 22 → 20: the requests of period 2 are in flight when the level falls.
    let mut bench = Bench::simulator(linear(100, 30), SMALL, 0);
    let (outcome, _) = bench.sustained(settings(1.0, 5, 16)).await;
    let outcome = outcome.unwrap();
    assert_eq!(
        decisions(&outcome.periods),
        [(2, "RAMP_UP"), (22, "RAMP_DOWN"), (20, "RAMP_DOWN")],
        "example 8 of the tool's page"
    );
    let launched: u64 = outcome
        .periods
        .iter()
        .map(|p| p.num_requests_launched)
        .sum();
    assert_eq!(
        outcome.records.len() as u64,
        launched,
        "all of them ended well"
    );
    assert_eq!(most_in_flight(&outcome.records), 22);
    let border = outcome.periods[1].end_time;
    let over = outcome
        .records
        .iter()
        .filter(|r| r.launch_time < border && r.finish_time > border);
    assert!(over.count() >= 20, "requests span the border");
    assert_eq!(outcome.summary.peak_concurrency, 22);
}

#[tokio::test(start_paused = true)]
async fn a_first_token_that_takes_longer_than_a_period_is_lost_nowhere() {
    // First tokens come after 12 s; periods last 5 s, the threshold is far.
    let mut bench = Bench::simulator(linear(12_000, 5), SMALL, 0);
    let (outcome, _) = bench.sustained(settings(40.0, 5, 40)).await;
    let outcome = outcome.unwrap();
    let words: Vec<&str> = outcome
        .periods
        .iter()
        .map(|p| p.decision.as_str())
        .collect();
    assert_eq!(words[..3], ["STAY", "STAY", "RAMP_UP"], "{words:?}");
    let first = &outcome.periods[0];
    assert_eq!(
        (
            first.num_requests_launched,
            first.num_requests_completed,
            first.total_output_tokens
        ),
        (2, 0, 0)
    );
    assert_eq!((first.avg_ttft, first.measured_ttft), (None, None));
    assert!(outcome.periods[2].total_input_tokens > 0);
    let prefilled: u64 = outcome
        .periods
        .iter()
        .map(|p| p.num_requests_completed)
        .sum();
    let end = outcome.periods.last().unwrap().end_time;
    let truth = outcome
        .records
        .iter()
        .filter(|r| r.prefill_complete_time <= end)
        .count() as u64;
    assert_eq!(prefilled, truth);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_too_long_breaks_the_threshold_before_its_first_token() {
    let mut bench = Bench::simulator(linear(30_000, 5), SMALL, 0);
    let (ended, live) = bench.sustained(settings(1.0, 5, 20)).await;
    assert_eq!(decisions(&live), [(2, "MIN_REACHED"); 4]);
    assert_eq!(live[0].avg_ttft, None);
    assert!(
        live[0]
            .measured_ttft
            .is_some_and(|wait| wait > 4.9 && wait <= 5.0)
    );
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("no request got its first token"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_in_period_3_ends_the_test_and_leaves_two_whole_periods() {
    let faults = Faults {
        dies_at: Some(MS(12_300)),
        ..Faults::default()
    };
    let mut bench = Bench::faulty(linear(20, 5), SMALL, 0, faults);
    let started = tokio::time::Instant::now();
    let (ended, live) = bench.sustained(settings(1.0, 5, 600)).await;
    let Err(TestError::Failed(line)) = ended else {
        panic!("{ended:?}")
    };
    assert!(line.contains("in a row failed"), "{line}");
    assert!(started.elapsed() < S(14), "{:?}", started.elapsed());
    assert_eq!(live.len(), 3);
    assert_without_a_gap(&live[..2], 5.0);
    assert!(live[2].duration < 5.0 && live[2].total_output_tokens > 0);
    // All that arrived before is in rows.
    let context = bench.context();
    let rows = context.sink.collect().await;
    assert!(rows.records.is_empty(), "the test has collected them");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_above_a_level_is_left_alone_there() {
    let faults = Faults {
        at_most: Some(6),
        ..Faults::default()
    };
    let mut bench = Bench::faulty(linear(50, 5), SMALL, 0, faults);
    let (outcome, _) = bench.sustained(settings(1.0, 5, 120)).await;
    let outcome = outcome.unwrap();
    for period in &outcome.periods {
        let too_high = period.concurrency_level > 6;
        assert_eq!(
            period.decision == "RAMP_DOWN",
            too_high,
            "{:?}",
            decisions(&outcome.periods)
        );
    }
    let total: f64 = outcome.periods.iter().map(|p| p.duration).sum();
    assert!(total > 114.0 && total <= 120.0, "{total}");
    assert!(outcome.doubts.iter().any(|d| d.kind == DoubtKind::Failures));
}

#[tokio::test(start_paused = true)]
async fn a_level_that_is_mostly_refused_is_left_at_once_and_the_server_is_not_called_dead() {
    // Three requests of 6 s each; whatever comes beside them is refused.
    let faults = Faults {
        at_most: Some(3),
        ..Faults::default()
    };
    let mut bench = Bench::faulty(linear(2_000, 5), SMALL, 0, faults);
    let (outcome, _) = bench.sustained(settings(20.0, 10, 100)).await;
    let outcome = outcome.unwrap();
    let (above, below): (Vec<_>, Vec<_>) = outcome
        .periods
        .iter()
        .partition(|p| p.concurrency_level > 3);
    assert!(above.len() > 5, "{:?}", decisions(&outcome.periods));
    assert!(
        above
            .iter()
            .all(|p| p.decision == "RAMP_DOWN" && p.duration < 3.0)
    );
    assert!(below.iter().all(|p| p.decision != "RAMP_DOWN"));
    let total: f64 = outcome.periods.iter().map(|p| p.duration).sum();
    assert!(total > 95.0 && total <= 100.0, "{total}");
    assert!(outcome.summary.total_requests > 20);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_only_fails_yields_no_result_at_once() {
    let faults = Faults {
        dies_at: Some(Duration::ZERO),
        ..Faults::default()
    };
    let mut bench = Bench::faulty(linear(50, 5), SMALL, 0, faults);
    let started = tokio::time::Instant::now();
    let (ended, live) = bench.sustained(settings(1.0, 30, 600)).await;
    assert!(matches!(ended, Err(TestError::Failed(_))), "{ended:?}");
    assert_eq!(decisions(&live), [(2, "MIN_REACHED")]);
    assert!(started.elapsed() < S(2));
}

#[tokio::test(start_paused = true)]
async fn ctrl_c_in_the_middle_of_a_period_ends_at_once_and_keeps_whole_periods() {
    let mut bench = Bench::simulator(linear(100, 5), SMALL, 0);
    let stop = bench.stop.clone();
    let stopper = async {
        tokio::time::sleep(MS(12_200)).await;
        stop.request(StopReason::Interrupt);
    };
    let started = tokio::time::Instant::now();
    let ((ended, live), ()) = tokio::join!(bench.sustained(settings(1.0, 5, 600)), stopper);
    assert!(matches!(ended, Err(TestError::Stopped)), "{ended:?}");
    assert!(started.elapsed() < S(13));
    assert_eq!(live.len(), 2);
    assert_without_a_gap(&live, 5.0);
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_thirty_seconds_for_requests_in_flight_and_cancels_the_rest() {
    let slow = ServiceModel::Linear {
        per_active: MS(100),
        per_token: S(4),
    };
    let mut bench = Bench::simulator(slow, SMALL, 0);
    let started = tokio::time::Instant::now();
    let (outcome, _) = bench.sustained(settings(1.0, 5, 10)).await;
    let outcome = outcome.unwrap();
    let took = started.elapsed();
    assert!(took > S(39) && took < S(41), "{took:?}");
    // Cancelled behind the last period, so no doubt about what was measured.
    assert!(outcome.doubts.is_empty(), "{:?}", outcome.doubts);
    assert!(outcome.records.is_empty(), "a request takes a minute");
    assert!(outcome.summary.total_requests >= 2);
    // Half a request counts with the half that came.
    assert!(outcome.summary.total_output_tokens.is_some_and(|n| n > 2));
}

#[tokio::test(start_paused = true)]
async fn without_usage_the_periods_sum_to_our_own_count() {
    let faults = Faults {
        no_usage: true,
        ..Faults::default()
    };
    let mut bench = Bench::faulty(linear(103, 37), SMALL, 0, faults);
    let (outcome, _) = bench.sustained(between_ticks(settings(1.0, 5, 31))).await;
    let outcome = outcome.unwrap();
    assert!(outcome.records.iter().all(|r| r.counted_locally));
    assert_periods_hold_what_arrived(&outcome);
    assert!(outcome.doubts.iter().any(|d| d.kind == DoubtKind::NoUsage));
    assert!(outcome.records.iter().all(|r| &*r.intent.endpoint == "sim"));
}

/// Threads are real, and so is the time.
#[tokio::test]
async fn prompts_built_ahead_are_those_of_their_phase_in_order() {
    let bench = Bench::simulator(linear(20, 5), SMALL, 0);
    let counters = Arc::new(VerificationCounters::default());
    let (mut feed, mut truth) = (
        ThreadFeed::start(3, &counters).unwrap(),
        InlineFeed::new(Arc::clone(&counters)),
    );
    // Phases that were announced, one that was not, and one announced in vain.
    for (phase, announced) in [
        ("P1", "P2"),
        ("P2", "P3"),
        ("P3", "P9"),
        ("RAMP_c2", "P5"),
        ("P5", "P6"),
    ] {
        feed.begin_phase(bench.prompts(phase), 4);
        truth.begin_phase(bench.prompts(phase), 4);
        for k in 0..12 {
            let (found, expected) = (next_fresh(&mut feed).await, next_fresh(&mut truth).await);
            assert_eq!(found.text, expected.text, "request {k} of {phase}");
            if k == 5 {
                feed.stage(bench.prompts(announced), 4);
            }
        }
    }
}

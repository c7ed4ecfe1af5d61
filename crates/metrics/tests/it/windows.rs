//! Throughput of windows and the metrics of levels.

use metrics::window::{
    cancelled_tokens, prorated_throughput, published_throughput, share_inside, strict_filter,
};
use metrics::{
    FailureKind, LevelMetrics, RequestRecord, SpeedMetric, Throughput, TtftMetric, WindowSample,
};
use proptest::prelude::*;

use crate::support::{assert_close, failed, is_close, request};

fn window<'a>(
    planned: f64,
    records: &'a [RequestRecord],
    failed: &'a [metrics::FailedRequest],
) -> WindowSample<'a> {
    WindowSample::starting_at_first_launch(planned, records, failed)
}

/// A closed loop: in each slot one request after the other without a gap, from zero until one ends after
/// the window.
fn closed_loop(
    planned: f64,
    slots: &[Vec<f64>],
    tokens: impl Fn(f64) -> (u64, u64),
) -> Vec<RequestRecord> {
    let mut records = Vec::new();
    for times in slots {
        let mut at = 0.0;
        for time in times.iter().cycle() {
            let (input, output) = tokens(*time);
            records.push(request(at, *time, input, output));
            at += time;
            if at >= planned {
                break;
            }
        }
    }
    records
}

proptest! {
    // Little's law: with c requests always in flight, each of T seconds and n tokens, the rate is c n / T,
    // wherever the window cuts through them.
    #[test]
    fn equal_requests_obey_littles_law(c in 1_usize..20, time in 0.1..5.0_f64, planned in 1.0..30.0_f64) {
        let records = closed_loop(planned, &vec![vec![time]; c], |_| (1000, 16));
        let rate = prorated_throughput(&window(planned, &records, &[]));
        prop_assert!(is_close(rate.input_tps, c as f64 * 1000.0 / time, 1e-9));
        prop_assert!(is_close(rate.output_tps, c as f64 * 16.0 / time, 1e-9));
    }

    // A server that works at a fixed pace per slot is read at that pace, however long its requests are:
    // tokens in proportion to time give c times the pace.
    #[test]
    fn a_fixed_pace_per_slot_is_read_exactly(
        slots in prop::collection::vec(prop::collection::vec(1_u32..40, 1..8), 1..10),
        planned in 1.0..30.0_f64,
    ) {
        let slots: Vec<Vec<f64>> =
            slots.iter().map(|s| s.iter().map(|tenths| f64::from(*tenths) / 10.0).collect()).collect();
        let records = closed_loop(planned, &slots, |t| ((t * 1000.0).round() as u64, (t * 50.0).round() as u64));
        let rate = prorated_throughput(&window(planned, &records, &[]));
        prop_assert!(is_close(rate.input_tps, 1000.0 * slots.len() as f64, 1e-9));
        prop_assert!(is_close(rate.output_tps, 50.0 * slots.len() as f64, 1e-9));
    }

    // Over abutting windows that cover all of it, the shares of a request sum to one.
    #[test]
    fn shares_over_abutting_windows_sum_to_one(
        launch in 0.0..50.0_f64,
        total in prop::sample::select(vec![0.0, 1e-3, 0.5, 7.0, 60.0]),
        mut borders in prop::collection::vec(0.0..120.0_f64, 0..12),
    ) {
        let r = request(launch, total, 1000, 16);
        borders.extend([0.0, 200.0]);
        borders.sort_by(f64::total_cmp);
        let sum: f64 = borders.windows(2).map(|w| share_inside(&r, w[0], w[1])).sum();
        prop_assert!((sum - 1.0).abs() < 1e-9, "{}", sum);
    }

    // Over abutting windows that cover all of it, a cancelled request gives each chunk once and its body
    // once.
    #[test]
    fn a_cancelled_request_gives_each_token_once(
        steps in prop::collection::vec(0.01..3.0_f64, 1..20),
        told in prop::option::of(0_u64..60),
        mut borders in prop::collection::vec(0.0..80.0_f64, 0..12),
    ) {
        let mut at = 1.0;
        let chunks: Vec<(f64, u32)> = steps.iter().map(|s| { at += s; (at, 5) }).collect();
        let mut f = failed(FailureKind::Cancelled, 1.0, &chunks, at);
        f.partial.usage.completion_tokens = told;
        borders.extend([0.0, 200.0]);
        borders.sort_by(f64::total_cmp);
        let (input, output) = borders
            .windows(2)
            .map(|w| cancelled_tokens(&f, w[0], w[1]))
            .fold((0, 0), |sum, t| (sum.0 + t.0, sum.1 + t.1));
        prop_assert_eq!(input, 1000);
        prop_assert_eq!(output, told.unwrap_or(chunks.len() as u64));
    }

    // When all requests end together at the end of the window the two accountings agree.
    #[test]
    fn accountings_agree_when_all_requests_end_together(
        ages in prop::collection::vec(0.0..9.0_f64, 1..20),
        planned in 10.0..20.0_f64,
    ) {
        let mut records = vec![request(0.0, planned, 700, 10)];
        records.extend(ages.iter().map(|age| request(*age, planned - age, 500, 7)));
        let rate = prorated_throughput(&window(planned, &records, &[]));
        let published = published_throughput(&records).unwrap();
        prop_assert!(is_close(rate.input_tps, published.input_tps, 1e-9));
        prop_assert!(is_close(rate.output_tps, published.output_tps, 1e-9));
    }

    // The strict set is a part of the whole, holds nothing that ends after the window, and loses nothing
    // that lies inside.
    #[test]
    fn the_strict_set_is_what_lies_inside(
        requests in prop::collection::vec((0.0..12.0_f64, 0.1..6.0_f64), 1..30),
        planned in 1.0..10.0_f64,
    ) {
        let records: Vec<RequestRecord> = requests.iter().map(|(l, t)| request(*l, *t, 1, 1)).collect();
        let first = requests.iter().map(|r| r.0).fold(f64::INFINITY, f64::min);
        let kept = strict_filter(&records, planned);
        let inside = records.iter().filter(|r| r.launch_time < first + planned && r.finish_time <= first + planned);
        prop_assert_eq!(kept, inside.collect::<Vec<_>>());
    }
}

#[test]
fn a_cancelled_request_gives_what_arrived_inside_the_window() {
    let done = [request(0.0, 10.0, 1000, 20)];
    // Launched at 6, chunks at 8, 9.5 and 11; the window ends at 10.
    let late = [failed(
        FailureKind::Cancelled,
        6.0,
        &[(8.0, 3), (9.5, 3), (11.0, 3)],
        15.0,
    )];
    let rate = prorated_throughput(&window(10.0, &done, &late));
    assert_close(
        rate.input_tps,
        (1000.0 + 1000.0) / 10.0,
        1e-12,
        "its prefill was done inside",
    );
    assert_close(
        rate.output_tps,
        (20.0 + 2.0) / 10.0,
        1e-12,
        "two of three chunks",
    );
}

#[test]
fn a_cancelled_request_whose_first_token_came_late_gives_nothing() {
    let done = [request(0.0, 10.0, 1000, 20)];
    let late = [
        failed(FailureKind::Cancelled, 6.0, &[(10.5, 3)], 15.0),
        failed(FailureKind::Cancelled, 6.0, &[], 15.0),
    ];
    let rate = prorated_throughput(&window(10.0, &done, &late));
    assert_eq!(
        rate,
        Throughput {
            input_tps: 100.0,
            output_tps: 2.0
        }
    );
}

#[test]
fn a_known_token_count_weighs_the_chunks_of_a_cancelled_request() {
    let mut f = failed(
        FailureKind::Cancelled,
        0.0,
        &[(1.0, 10), (2.0, 10), (30.0, 10)],
        40.0,
    );
    f.partial.usage.completion_tokens = Some(30);
    assert_eq!(cancelled_tokens(&f, 0.0, 10.0), (1000, 20));
}

#[test]
fn failures_of_the_server_give_no_tokens() {
    let done = [request(0.0, 10.0, 1000, 20)];
    for kind in FailureKind::ALL
        .into_iter()
        .filter(|k| *k != FailureKind::Cancelled)
    {
        let broken = [failed(kind, 0.0, &[(1.0, 3)], 2.0)];
        let rate = prorated_throughput(&window(10.0, &done, &broken));
        assert_eq!(
            rate,
            Throughput {
                input_tps: 100.0,
                output_tps: 2.0
            },
            "{kind}"
        );
    }
}

#[test]
fn a_window_without_a_completed_request_has_no_rate() {
    let running = [failed(
        FailureKind::Cancelled,
        0.0,
        &[(1.0, 3), (2.0, 3)],
        15.0,
    )];
    let metrics = LevelMetrics::from_window(&window(10.0, &[], &running), false);
    assert_eq!(metrics.window, Throughput::default());
    assert_eq!(
        (metrics.launched, metrics.completed, metrics.cancelled),
        (1, 0, 1)
    );
    assert!(!metrics.is_valid());
    assert_eq!(metrics.ttft.avg, None);
}

#[test]
fn the_window_begins_with_the_first_launch_even_of_a_failure() {
    let done = [request(2.0, 4.0, 1000, 20)];
    let broken = [failed(FailureKind::Status, 1.0, &[], 1.1)];
    assert_close(
        window(10.0, &done, &broken).first_launch,
        1.0,
        1e-12,
        "first launch",
    );
    // Only three of four seconds lie inside [1, 5].
    let rate = prorated_throughput(&window(4.0, &done, &broken));
    assert_close(rate.input_tps, 750.0 / 4.0, 1e-12, "rate");
}

#[test]
fn more_than_half_failed_makes_a_level_invalid() {
    for (completed, failures, cancelled, expected) in [
        (0, 0, 0, false),
        (1, 0, 0, true),
        (2, 2, 0, true),
        (2, 3, 0, false),
        (1, 1, 9, true),
        (0, 0, 5, false),
    ] {
        let done: Vec<_> = (0..completed)
            .map(|k| request(f64::from(k), 1.0, 10, 2))
            .collect();
        let mut bad: Vec<_> = (0..failures)
            .map(|_| failed(FailureKind::Timeout, 0.0, &[], 1.0))
            .collect();
        bad.extend((0..cancelled).map(|_| failed(FailureKind::Cancelled, 0.0, &[], 1.0)));
        let metrics = LevelMetrics::from_window(&window(10.0, &done, &bad), false);
        assert_eq!(
            metrics.is_valid(),
            expected,
            "{completed} completed, {failures} failed, {cancelled} cancelled"
        );
        assert_eq!(metrics.failed, failures);
        assert_eq!(metrics.cancelled, cancelled);
    }
}

#[test]
fn published_rate_spans_first_launch_to_last_finish() {
    let records = [request(1.0, 2.0, 100, 10), request(2.0, 4.0, 300, 30)];
    assert_eq!(
        published_throughput(&records),
        Some(Throughput {
            input_tps: 80.0,
            output_tps: 8.0
        })
    );
    assert_eq!(published_throughput(&[] as &[RequestRecord]), None);
    assert_eq!(
        published_throughput(&[request(1.0, 0.0, 100, 10)]),
        None,
        "no time passed"
    );
}

#[test]
fn strict_mode_narrows_latencies_and_decides_by_the_strict_rate() {
    // The second one ends exactly with the window and counts; the third one ends after it.
    let records = [
        request(0.0, 4.0, 100, 10),
        request(2.0, 8.0, 100, 10),
        request(5.0, 12.0, 100, 10),
    ];
    let loose = LevelMetrics::from_window(&window(10.0, &records, &[]), false);
    let strict = LevelMetrics::from_window(&window(10.0, &records, &[]), true);
    assert_eq!((loose.ttft.n, strict.ttft.n), (3, 2));
    assert_eq!(loose.deciding, loose.window);
    assert_eq!(Some(strict.deciding), strict.strict);
    assert_close(strict.deciding.input_tps, 20.0, 1e-12, "200 tokens in 10 s");
    assert_close(loose.published.input_tps, 300.0 / 17.0, 1e-12, "published");
    assert_eq!(
        loose.strict, strict.strict,
        "the comparison is at hand in both modes"
    );
    assert!(!strict.strict_fell_back);
}

#[test]
fn strict_mode_without_a_request_inside_uses_all_and_says_so() {
    let records = [request(0.0, 12.0, 100, 10), request(0.0, 14.0, 100, 10)];
    let strict = LevelMetrics::from_window(&window(10.0, &records, &[]), true);
    assert!(strict.strict_fell_back);
    assert_eq!(strict.ttft.n, 2);
    assert_eq!(strict.deciding, strict.published);
}

#[test]
fn chosen_metrics_pick_their_statistic() {
    let records: Vec<_> = (1..=20)
        .map(|k| request(0.0, f64::from(k), 100, 12))
        .collect();
    let metrics = LevelMetrics::from_window(&window(30.0, &records, &[]), false);
    assert_eq!(
        TtftMetric::Max.of(&metrics.ttft),
        Some(5.0),
        "a quarter of 20 s"
    );
    assert_eq!(TtftMetric::Avg.of(&metrics.ttft), metrics.ttft.avg);
    assert_close(
        TtftMetric::P95.of(&metrics.ttft).unwrap(),
        19.05 / 4.0,
        1e-12,
        "p95",
    );
    assert_eq!(SpeedMetric::Avg.of(&metrics.speed), metrics.speed.avg);
    let slow_end = (
        SpeedMetric::P5.of(&metrics.speed).unwrap(),
        SpeedMetric::P10.of(&metrics.speed).unwrap(),
    );
    assert!(slow_end.0 < slow_end.1 && slow_end.1 < metrics.speed.avg.unwrap());
}

//! Summary rows from phases.

use metrics::period::{LatenciesOver, PeriodSample, phase_of_period, summarise_periods};
use metrics::summary::newest_summaries;
use metrics::{PeriodRow, PhaseRow, PhaseSample, RequestRecord, SummaryRow, TestKey, summarise};
use proptest::prelude::*;

use crate::support::{assert_close, is_close, request};

fn phase(id: &str, level: u32, window: Option<(f64, f64)>) -> PhaseRow {
    PhaseRow {
        phase_id: id.to_owned(),
        cache_hit_rate: 50,
        context_size: 1000,
        concurrency_level: level,
        duration: 10.5,
        window_duration: Some(10.0),
        window_input_tokens_per_sec: window.map(|w| w.0),
        window_output_tokens_per_sec: window.map(|w| w.1),
        ..PhaseRow::default()
    }
}

fn key(peak: u32) -> TestKey {
    TestKey {
        context_size: 1000,
        cache_hit_rate: 50,
        peak_concurrency: peak,
        ..TestKey::default()
    }
}

#[test]
fn phases_weigh_the_same_however_many_requests_they_hold() {
    // One request of TTFT 1 s against three of TTFT 2 s; 100 tokens in 4 s, 300 in 8 s.
    let (few, many) = (
        phase("RAMP_c4", 4, Some((30.0, 3.0))),
        phase("RETRY_1", 4, Some((50.0, 5.0))),
    );
    let few_requests = [request(0.0, 4.0, 100, 9)];
    let many_requests = [
        request(20.0, 8.0, 100, 9),
        request(20.0, 8.0, 100, 9),
        request(20.0, 8.0, 100, 9),
    ];
    let row = summarise(
        &key(4),
        &[
            PhaseSample::new(&few, &few_requests),
            PhaseSample::new(&many, &many_requests),
        ],
    );
    assert_eq!(row.avg_ttft, Some(1.5), "not 1.75, the pooled mean");
    assert_close(
        row.input_tokens_per_sec,
        (100.0 / 4.0 + 300.0 / 8.0) / 2.0,
        1e-12,
        "input",
    );
    assert_eq!(
        (
            row.window_input_tokens_per_sec,
            row.window_output_tokens_per_sec
        ),
        (Some(40.0), Some(4.0))
    );
    assert_eq!((row.best_input_tps(), row.best_output_tps()), (40.0, 4.0));
    assert_eq!(
        (row.total_requests, row.test_duration, row.measured_duration),
        (4, 28.0, Some(20.0))
    );
    assert_eq!(
        (row.total_input_tokens, row.total_output_tokens),
        (Some(400), Some(36))
    );
    // Speed is pooled: 9 tokens in 3 s once, in 6 s three times.
    assert_close(
        row.avg_output_tokens.unwrap(),
        (3.0 + 3.0 * 1.5) / 4.0,
        1e-12,
        "speed",
    );
}

#[test]
fn other_levels_and_empty_phases_take_no_part() {
    let (low, peak, empty) = (
        phase("RAMP_c2", 2, None),
        phase("RAMP_c4", 4, Some((7.0, 1.0))),
        phase("RETRY_1", 4, None),
    );
    let requests = [request(0.0, 4.0, 100, 8)];
    let samples = [
        PhaseSample::new(&low, &requests),
        PhaseSample::new(&peak, &requests),
        PhaseSample::new(&empty, &[]),
    ];
    let row = summarise(&key(4), &samples);
    assert_eq!(row.total_requests, 1);
    assert_eq!(row.window_input_tokens_per_sec, Some(7.0));
    assert_eq!(row.measured_duration, Some(10.0));
}

#[test]
fn a_window_rate_that_one_phase_lacks_is_not_averaged_over_the_rest() {
    let (with, without) = (
        phase("RAMP_c4", 4, Some((7.0, 1.0))),
        phase("RETRY_1", 4, None),
    );
    let requests = [request(0.0, 4.0, 100, 8)];
    let row = summarise(
        &key(4),
        &[
            PhaseSample::new(&with, &requests),
            PhaseSample::new(&without, &requests),
        ],
    );
    assert_eq!(row.window_input_tokens_per_sec, None);
    assert_close(
        row.best_input_tps(),
        25.0,
        1e-12,
        "the published rate stands in",
    );
}

/// It lasted for some seconds of a minute, and what failed in it failed at this level all the same.
#[test]
fn a_window_that_was_broken_off_joins_no_mean() {
    let whole = phase("RAMP_c4_2", 4, Some((7.0, 1.0)));
    let broken_off = PhaseRow {
        window_start_time: Some(0.0),
        window_input_tokens_per_sec: None,
        window_output_tokens_per_sec: None,
        ..phase("RAMP_c4", 4, Some((7.0, 1.0)))
    };
    assert!(broken_off.was_broken_off() && !whole.was_broken_off());
    let requests = [request(0.0, 4.0, 100, 8)];
    let few = [request(0.0, 1.0, 1, 1)];
    let alone = summarise(&key(4), &[PhaseSample::new(&whole, &requests)]);
    let both = [
        PhaseSample::new(&broken_off, &few),
        PhaseSample::new(&whole, &requests),
    ];
    assert_eq!(summarise(&key(4), &both), alone);
}

#[test]
fn a_test_without_requests_has_no_statistics() {
    let row = summarise(&key(4), &[]);
    assert_eq!(
        (
            row.input_tokens_per_sec,
            row.total_requests,
            row.test_duration
        ),
        (0.0, 0, 0.0)
    );
    assert_eq!(
        (row.avg_ttft, row.p99_itl, row.avg_output_tokens),
        (None, None, None)
    );
    assert_eq!(
        (row.window_input_tokens_per_sec, row.reported_cache_hit_rate),
        (None, None)
    );
}

#[test]
fn single_token_answers_leave_speed_and_itl_undefined() {
    let p = phase("RAMP_c4", 4, None);
    let row = summarise(
        &key(4),
        &[PhaseSample::new(&p, &[request(0.0, 4.0, 100, 1)])],
    );
    assert_eq!((row.avg_itl, row.avg_output_tokens), (None, None));
    assert!(row.avg_ttft.is_some());
}

#[test]
fn the_reported_hit_rate_counts_requests_that_report_both_numbers() {
    let with = |cached, prompt| {
        let mut r = request(0.0, 4.0, 100, 8);
        (r.reported_cached_tokens, r.reported_prompt_tokens) = (cached, prompt);
        r
    };
    let p = phase("RAMP_c4", 4, None);
    let rate = |requests: &[RequestRecord]| {
        summarise(&key(4), &[PhaseSample::new(&p, requests)]).reported_cache_hit_rate
    };
    assert_eq!(
        rate(&[
            with(Some(50), Some(100)),
            with(Some(0), Some(100)),
            with(None, Some(900)),
            with(Some(9), None)
        ]),
        Some(0.25)
    );
    assert_eq!(rate(&[with(None, Some(100))]), None);
    assert_eq!(
        rate(&[with(Some(0), Some(100))]),
        Some(0.0),
        "a reported zero is a number"
    );
}

#[test]
fn strict_phases_are_narrowed_each_by_its_own_window() {
    let (ramp, retry) = (phase("RAMP_c4", 4, None), phase("RETRY_1", 4, None));
    // Two phases 100 s apart; in each the last request ends after its 10 s.
    let ramp_requests = [request(0.0, 5.0, 100, 8), request(4.0, 9.0, 100, 8)];
    let retry_requests = [request(100.0, 8.0, 100, 8), request(104.0, 9.0, 100, 8)];
    let samples = [
        PhaseSample::strict(&ramp, &ramp_requests),
        PhaseSample::strict(&retry, &retry_requests),
    ];
    let row = summarise(&key(4), &samples);
    assert_eq!(
        row.total_requests, 2,
        "one of each phase, and no retry lost"
    );
    assert_close(
        row.input_tokens_per_sec,
        (100.0 / 5.0 + 100.0 / 8.0) / 2.0,
        1e-12,
        "strict rate",
    );
    assert_close(
        row.avg_ttft.unwrap(),
        (1.25 + 2.0) / 2.0,
        1e-12,
        "the same set for latencies",
    );
    assert!(samples.iter().all(|s| !s.strict_fell_back));
    let too_long = [request(0.0, 50.0, 100, 8)];
    let fallen = PhaseSample::strict(&ramp, &too_long);
    assert!(fallen.strict_fell_back && fallen.records.len() == 1);
}

#[test]
fn the_newest_row_of_a_test_wins() {
    let row = |context_size, cache_hit_rate, total_requests| SummaryRow {
        context_size,
        cache_hit_rate,
        total_requests,
        ..SummaryRow::default()
    };
    let rows = newest_summaries([
        row(2000, 0, 1),
        row(1000, 50, 2),
        row(1000, 0, 3),
        row(1000, 50, 4),
    ]);
    let seen: Vec<_> = rows
        .iter()
        .map(|r| (r.context_size, r.cache_hit_rate, r.total_requests))
        .collect();
    assert_eq!(seen, [(1000, 0, 3), (1000, 50, 4), (2000, 0, 1)]);
}

proptest! {
    // With phases that are copies of each other, shifted in time, the row holds the statistics of one.
    #[test]
    fn repeating_a_phase_changes_no_statistic(
        requests in prop::collection::vec((0.0..9.0_f64, 0.1..5.0_f64, 1_u64..50), 1..20),
        n in 1_usize..5,
    ) {
        let at = |shift: f64| -> Vec<RequestRecord> {
            requests.iter().map(|(l, t, out)| request(l + shift, *t, 100, *out)).collect()
        };
        let p = phase("RETRY_1", 4, None);
        let one = summarise(&key(4), &[PhaseSample::new(&p, &at(0.0))]);
        let copies: Vec<Vec<RequestRecord>> = (0..n).map(|k| at(100.0 * k as f64)).collect();
        let samples: Vec<PhaseSample<'_>> = copies.iter().map(|c| PhaseSample::new(&p, c)).collect();
        let all = summarise(&key(4), &samples);
        prop_assert!(is_close(all.input_tokens_per_sec, one.input_tokens_per_sec, 1e-9));
        prop_assert!(is_close(all.p95_ttft.unwrap(), one.p95_ttft.unwrap(), 1e-9));
        prop_assert!(is_close(all.median_ttlt.unwrap(), one.median_ttlt.unwrap(), 1e-9));
        prop_assert_eq!(all.total_requests, one.total_requests * n as u64);
    }
}

fn period(number: u64, duration: f64, size: u64, ttft: f64) -> PeriodRow {
    PeriodRow {
        period_number: number,
        working_set_size: Some(size),
        duration,
        concurrency_level: 2 * number as u32,
        num_requests_completed: 10 * number,
        total_input_tokens: 1000,
        total_output_tokens: 100 * number,
        avg_ttft: Some(ttft),
        ..PeriodRow::default()
    }
}

#[test]
fn a_sustained_test_weighs_periods_by_time_and_latencies_by_the_tools_rule() {
    let periods = [period(1, 5.0, 400, 1.0), period(2, 3.0, 900, 2.0)];
    // One request of TTFT 1 s and three of 2 s (the helper's TTFT is a quarter of the time).
    let records = [
        request(0.0, 4.0, 100, 9),
        request(1.0, 8.0, 100, 9),
        request(2.0, 8.0, 100, 9),
        request(3.0, 8.0, 100, 9),
    ];
    let row = |latencies: LatenciesOver| {
        let mut requests = latencies.tally(0);
        requests.extend(&records);
        summarise_periods(
            &key(0),
            PeriodSample {
                periods: &periods,
                requests: &requests,
            },
        )
    };
    let (over_periods, over_requests) = (row(LatenciesOver::Periods), row(LatenciesOver::Requests));
    for row in [&over_periods, &over_requests] {
        assert_eq!((row.input_tokens_per_sec, row.test_duration), (250.0, 8.0));
        assert_eq!((row.output_tokens_per_sec, row.total_requests), (37.5, 30));
        assert_eq!(
            (row.peak_concurrency, row.min_working_set_size),
            (4, Some(400))
        );
    }
    assert_eq!(over_periods.avg_ttft, Some(1.5));
    assert_eq!(over_requests.avg_ttft, Some(1.75));
    assert_eq!(over_requests.median_ttft, Some(2.0));
    assert_eq!(
        (over_periods.avg_itl, over_requests.avg_itl.is_some()),
        (None, true)
    );
}

#[test]
fn a_period_listed_as_a_phase_bears_the_tests_size_and_its_own_figures() {
    let period = PeriodRow {
        input_tokens_per_sec: 7.5,
        ..period(3, 5.0, 400, 1.0)
    };
    let phase = phase_of_period(&period, Some(9000), (2, 1));
    assert_eq!(
        (phase.phase_id.as_str(), phase.phase_type()),
        ("SUSTAINED_P3", "SUSTAINED")
    );
    assert_eq!(phase.working_set_size, Some(9000));
    assert_eq!(phase.window_input_tokens_per_sec, Some(7.5));
    assert_eq!(
        (phase.num_requests_failed, phase.num_requests_cancelled),
        (Some(2), Some(1))
    );
}

//! Formulas against hand-made samples.

use proptest::prelude::*;

use super::*;

fn reply(ttft_ms: u64, latency_ms: u64, output_tokens: u64, is_cached: bool) -> Reply {
    Reply {
        ttft: Duration::from_millis(ttft_ms),
        latency: Duration::from_millis(latency_ms),
        output_tokens,
        token_count: TokenCount::Estimated,
        is_cached,
        is_streamed: false,
        is_empty: output_tokens == 0,
    }
}

fn sample(outcome: Result<Reply, Failure>) -> Sample {
    Sample {
        index: 0,
        finished: Duration::ZERO,
        dial: Duration::ZERO,
        send_delay: Duration::ZERO,
        n_redirects: 0,
        outcome,
    }
}

fn failed(kind: FailureKind, status: Option<u16>, message: &str) -> Sample {
    sample(Err(Failure {
        kind,
        status,
        message: message.to_owned(),
    }))
}

fn samples(samples: Vec<Sample>, seconds: u64) -> Samples {
    Samples {
        samples,
        total: Duration::from_secs(seconds),
        ..Samples::default()
    }
}

#[track_caller]
fn close(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-9, "{left} is not {right}");
}

#[test]
fn figures_are_over_successful_requests_only() {
    let measured = samples(
        vec![
            sample(Ok(reply(10, 50, 11, false))),
            sample(Ok(reply(20, 30, 1, true))),
            failed(FailureKind::Timeout, None, "timeout after 60 s"),
            sample(Ok(reply(40, 40, 0, true))),
        ],
        2,
    );
    let summary = Summary::of(&measured);
    assert_eq!(
        (
            summary.total_requests,
            summary.successful_requests,
            summary.failed_requests
        ),
        (4, 3, 1)
    );
    close(summary.ttft_p50_ms, 20.0);
    close(summary.ttft_p99_ms, 40.0);
    // Only the first has a second token.
    close(summary.tpot_avg_ms, 4.0);
    close(summary.throughput_tokens_per_sec, 6.0);
    close(summary.cache_hit_rate, 2.0 / 3.0);
    close(summary.avg_latency_ms, 40.0);
    close(summary.total_time_sec, 2.0);
}

#[test]
fn without_a_success_everything_but_the_time_is_zero() {
    let measured = samples(vec![failed(FailureKind::Connect, None, "refused")], 3);
    let summary = Summary::of(&measured);
    let zero = Summary {
        total_requests: 1,
        failed_requests: 1,
        total_time_sec: 3.0,
        ..Summary::default()
    };
    assert_eq!(summary, zero);
    assert_eq!(Summary::of(&Samples::default()), Summary::default());
}

#[test]
fn percentiles_take_the_upper_neighbour() {
    let values = |n: usize| (0..n).map(|i| i as f64).collect::<Vec<_>>();
    for (n, percent, index) in [
        (50, 50, 25.0),
        (50, 95, 47.0),
        (50, 99, 49.0),
        (100, 50, 50.0),
        (100, 95, 95.0),
        (100, 99, 99.0),
        (2, 50, 1.0),
        (1, 99, 0.0),
        (0, 50, 0.0),
    ] {
        close(upper_percentile(&values(n), percent), index);
    }
}

proptest! {
    /// Percentiles are values of the sample and grow with their rank.
    #[test]
    fn percentiles_are_monotone(mut values in prop::collection::vec(0.0f64..1e6, 1..200)) {
        values.sort_unstable_by(f64::total_cmp);
        let found: Vec<f64> = (0..=100).map(|p| upper_percentile(&values, p)).collect();
        prop_assert!(found.is_sorted());
        prop_assert!(found.iter().all(|value| values.contains(value)));
    }
}

#[test]
fn errors_are_grouped_by_kind_and_a_status_by_its_number() {
    let status = |message| failed(FailureKind::Status, Some(500), message);
    let listed = errors(&[
        status("HTTP 500 Internal Server Error: request 1 failed"),
        failed(FailureKind::Timeout, None, "timeout after 60 s"),
        status("HTTP 500 Internal Server Error: request 2 failed"),
        failed(FailureKind::Status, Some(404), "HTTP 404 Not Found"),
        sample(Ok(reply(1, 1, 1, false))),
    ]);
    let kinds: Vec<_> = listed.iter().map(|kind| (kind.kind, kind.n)).collect();
    assert_eq!(kinds, [(FailureKind::Timeout, 1), (FailureKind::Status, 3)]);
    let texts: Vec<_> = listed[1]
        .errors
        .iter()
        .map(|error| (error.text.as_str(), error.said.as_deref(), error.n))
        .collect();
    assert_eq!(
        texts,
        [
            (
                "HTTP 500",
                Some("Internal Server Error: request 1 failed"),
                2
            ),
            ("HTTP 404", Some("Not Found"), 1)
        ]
    );
}

#[test]
fn remarks_tell_where_numbers_come_from() {
    let mut dialled = sample(Ok(reply(99, 100, 5, false)));
    dialled.dial = Duration::from_millis(7);
    dialled.n_redirects = 1;
    let streamed = Reply {
        is_streamed: true,
        token_count: TokenCount::Chunks,
        ..reply(1, 100, 5, false)
    };
    let remarks = Remarks::of(&[
        dialled,
        sample(Ok(streamed)),
        sample(Ok(reply(1, 1, 0, false))),
    ]);
    assert_eq!(
        (remarks.n_replies, remarks.n_estimated, remarks.n_chunks),
        (3, 2, 1)
    );
    assert_eq!(
        (remarks.n_empty, remarks.n_dialled, remarks.n_redirected),
        (1, 1, 1)
    );
    assert!(remarks.ttft_is_latency, "the stream must not hide it");
    assert!(!Remarks::of(&[sample(Ok(reply(94, 100, 5, false)))]).ttft_is_latency);
    assert!(!Remarks::of(&[]).ttft_is_latency);
}

/// A connection that was refused was not opened, let alone closed by the server.
#[test]
fn refused_connections_are_not_told_as_opened_ones() {
    let mut refused = failed(FailureKind::Connect, None, "connection refused");
    refused.dial = Duration::from_micros(80);
    assert_eq!(Remarks::of(&[refused]).n_dialled, 0);
    let mut broken = failed(FailureKind::Truncated, None, "closed");
    broken.dial = Duration::from_micros(80);
    assert_eq!(Remarks::of(&[broken]).n_dialled, 1);
}

#[test]
fn from_the_intended_instant_every_latency_has_what_the_client_was_late() {
    let late = |delay, sample| Sample {
        send_delay: Duration::from_millis(delay),
        ..sample
    };
    let of = Latencies::from_intended(&[
        late(5, sample(Ok(reply(10, 50, 11, false)))),
        late(1, sample(Ok(reply(20, 30, 1, true)))),
        late(9, sample(Ok(reply(0, 40, 1, true)))),
        late(99, failed(FailureKind::Timeout, None, "timeout after 60 s")),
    ]);
    assert_eq!((of.ttft_p50_ms, of.ttft_p99_ms), (21.0, 21.0));
    close(of.avg_latency_ms, (55.0 + 31.0 + 49.0) / 3.0);
    assert_eq!(Latencies::from_intended(&[]), Latencies::default());
}

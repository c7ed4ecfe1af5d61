//! From stamps to rows.

use metrics::spread::spread_tokens;
use metrics::{FailedRequest, Failure, FailureKind, RequestRecord, Usage};
use proptest::prelude::*;

use crate::support::{EPOCH, anchor, assert_close, exchange, intent, seconds};

fn record(exchange: &metrics::Exchange, local_count: Option<u64>) -> RequestRecord {
    RequestRecord::from_exchange(intent("RAMP_c2", 2), exchange, anchor(), local_count)
}

#[test]
fn formulas_of_a_request_are_those_of_the_specification() {
    let mut ex = exchange(10.0, &[(10.5, 4), (10.75, 4), (11.5, 4)], 11.75);
    ex.timeline.intended = seconds(9.875);
    ex.usage = Usage {
        prompt_tokens: Some(1040),
        completion_tokens: Some(5),
        cached_tokens: Some(256),
    };
    let r = record(&ex, None);
    assert_eq!(r.output_tokens, 5);
    assert_eq!(r.ttft, Some(0.5));
    assert_eq!(r.ttlt, Some(1.5));
    assert_eq!(r.generation_time, Some(1.25));
    assert_close(r.total_time, 1.75, 1e-12, "total");
    assert_eq!(r.itl, Some(0.25), "(1.5 - 0.5) / (5 - 1)");
    assert_eq!(r.request_speed(), Some(4.0), "5 / 1.25");
    assert_close(r.launch_time, EPOCH + 10.0, 1e-15, "launch");
    assert_close(r.finish_time, EPOCH + 11.75, 1e-15, "finish");
    assert_close(r.prefill_complete_time, EPOCH + 10.5, 1e-15, "prefill");
    assert_eq!(
        r.token_timestamps,
        [EPOCH + 10.5, EPOCH + 10.75, EPOCH + 11.5]
    );
    assert_eq!(r.tokens_per_chunk.iter().sum::<u64>(), 5);
    assert_eq!(
        (r.reported_prompt_tokens, r.reported_cached_tokens),
        (Some(1040), Some(256))
    );
    assert_eq!(r.send_delay, Some(0.125));
    assert!(!r.counted_locally);
    assert_eq!(r.input_tokens(), 1000, "the question is not counted");
}

/// It was in the send delay, and so in the latency from the intended instant.
#[test]
fn time_to_open_a_connection_is_a_number_of_its_own_and_in_no_other() {
    let mut ex = exchange(10.0, &[(10.5, 4)], 11.0);
    ex.timeline.intended = seconds(9.625);
    ex.timeline.dial = seconds(0.25);
    let r = record(&ex, None);
    assert_eq!((r.send_delay, r.dial_time), (Some(0.125), Some(0.25)));
    assert_eq!((r.ttft, r.ttft_from_intended()), (Some(0.5), Some(0.625)));
    // Of a request that got no connection, the launch is when the attempt began.
    ex.timeline.is_unsent = true;
    assert_eq!(ex.timeline.send_delay(), seconds(0.375));
}

#[test]
fn what_a_single_token_leaves_undefined_is_none() {
    let mut ex = exchange(1.0, &[(1.5, 3)], 2.0);
    ex.usage.completion_tokens = Some(1);
    let r = record(&ex, None);
    assert_eq!((r.ttft, r.ttlt), (Some(0.5), Some(0.5)));
    assert_eq!(r.itl, None);
    assert_eq!(
        r.request_speed(),
        None,
        "one token in half a second is no speed"
    );
}

#[test]
fn chunks_that_the_server_counts_as_one_token_or_none_have_no_itl() {
    for tokens in [0, 1] {
        let mut ex = exchange(1.0, &[(1.5, 3), (1.75, 3)], 2.0);
        ex.usage.completion_tokens = Some(tokens);
        assert_eq!(record(&ex, None).itl, None, "{tokens}");
    }
}

#[test]
fn tokens_that_arrive_in_one_frame_have_no_itl() {
    let mut ex = exchange(1.0, &[(1.5, 3), (1.5, 3)], 1.5);
    ex.usage.completion_tokens = Some(2);
    let r = record(&ex, None);
    assert_eq!(r.itl, None);
    assert_eq!(r.generation_time, Some(0.0));
    assert_eq!(r.request_speed(), None);
}

#[test]
fn a_request_without_a_token_has_no_latency() {
    let r = record(&exchange(1.0, &[], 2.0), None);
    assert_eq!(
        (r.ttft, r.ttlt, r.generation_time, r.itl),
        (None, None, None, None)
    );
    assert_close(
        r.prefill_complete_time,
        r.launch_time,
        1e-15,
        "prefill is launch",
    );
    assert!(r.tokens_per_chunk.is_empty());
}

#[test]
fn output_tokens_come_from_the_server_then_from_our_count_then_from_the_chunks() {
    let mut ex = exchange(0.0, &[(0.1, 3), (0.2, 3), (0.3, 3)], 0.4);
    assert_eq!(
        (
            record(&ex, None).output_tokens,
            record(&ex, None).counted_locally
        ),
        (3, true)
    );
    assert_eq!(
        (
            record(&ex, Some(7)).output_tokens,
            record(&ex, Some(7)).counted_locally
        ),
        (7, true)
    );
    ex.usage.completion_tokens = Some(9);
    assert_eq!(
        (
            record(&ex, Some(7)).output_tokens,
            record(&ex, Some(7)).counted_locally
        ),
        (9, false)
    );
}

#[test]
fn only_a_failed_exchange_becomes_a_failed_request() {
    let ex = exchange(1.0, &[], 3.5);
    assert_eq!(
        FailedRequest::from_exchange(intent("RAMP_c2", 2), ex.clone(), anchor()),
        None
    );
    let mut broken = ex;
    broken.failure = Some(Failure {
        kind: FailureKind::Status,
        status: Some(429),
        message: "slow down".to_owned(),
    });
    let failed = FailedRequest::from_exchange(intent("RAMP_c2", 2), broken, anchor()).unwrap();
    assert_eq!(
        (failed.kind, failed.status, failed.message.as_str()),
        (FailureKind::Status, Some(429), "slow down")
    );
    assert_close(failed.elapsed, 2.5, 1e-12, "elapsed");
    assert!(!failed.is_cancelled());
}

#[test]
fn every_kind_of_failure_is_found_by_its_name() {
    for kind in FailureKind::ALL {
        assert_eq!(FailureKind::parse(kind.as_str()), Some(kind));
    }
    assert_eq!(FailureKind::parse("bad luck"), None);
}

#[test]
fn tokens_are_spread_over_chunks_by_their_text() {
    let table: [(u64, &[u32], &[u64]); 8] = [
        (4, &[9, 1, 5, 2], &[1, 1, 1, 1]),
        (6, &[10, 10, 10], &[2, 2, 2]),
        (7, &[0, 40, 0], &[1, 5, 1]),
        (2, &[1, 1, 1, 1], &[1, 0, 1, 0]),
        (0, &[3, 3], &[0, 0]),
        (5, &[0, 0], &[3, 2]),
        (9, &[7], &[9]),
        (3, &[], &[]),
    ];
    for (total, bytes, expected) in table {
        assert_eq!(
            spread_tokens(total, bytes),
            expected,
            "{total} over {bytes:?}"
        );
    }
}

proptest! {
    // Whatever the weights, the parts sum to the total, exactly.
    #[test]
    fn parts_sum_to_the_total(total in 0_u64..1_000_000, bytes in prop::collection::vec(0_u32..5000, 1..80)) {
        prop_assert_eq!(spread_tokens(total, &bytes).iter().sum::<u64>(), total);
    }

    // With a token for every chunk no chunk is without; with as many tokens as chunks each has one.
    #[test]
    fn a_chunk_holds_a_token_when_there_are_enough(extra in 0_u64..50, bytes in prop::collection::vec(0_u32..50, 1..80)) {
        let parts = spread_tokens(bytes.len() as u64 + extra, &bytes);
        prop_assert!(parts.iter().all(|n| *n >= 1));
        if extra == 0 {
            prop_assert!(parts.iter().all(|n| *n == 1));
        }
    }

    // Without enough tokens to go round, the tokens of any leading part differ from its share by text
    // length by half a token at most.
    #[test]
    fn leading_parts_follow_the_text(bytes in prop::collection::vec(1_u32..50, 2..80), share in 0.0..1.0) {
        let total = (share * (bytes.len() - 1) as f64) as u64;
        let whole: u32 = bytes.iter().sum();
        let (mut tokens, mut text) = (0, 0);
        for (part, b) in spread_tokens(total, &bytes).into_iter().zip(&bytes) {
            tokens += part;
            text += b;
            let due = total as f64 * f64::from(text) / f64::from(whole);
            prop_assert!((tokens as f64 - due).abs() <= 0.5 + 1e-9);
        }
    }

    // The latencies of a request are in order: ttft <= ttlt <= total, and first token to finish is what is
    // left after ttft.
    #[test]
    fn latencies_are_in_order(
        launch in 0.0..1e4_f64,
        steps in prop::collection::vec(0.0..2.0_f64, 1..30),
        tail in 0.0..2.0_f64,
        tokens in prop::option::of(0_u64..100),
    ) {
        let mut at = launch;
        let chunks: Vec<(f64, u32)> = steps.iter().map(|s| { at += s; (at, 4) }).collect();
        let mut ex = exchange(launch, &chunks, at + tail);
        ex.usage.completion_tokens = tokens;
        let r = record(&ex, None);
        let (ttft, ttlt, generation) = (r.ttft.unwrap(), r.ttlt.unwrap(), r.generation_time.unwrap());
        prop_assert!(ttft <= ttlt && ttlt <= r.total_time + 1e-9);
        prop_assert!((ttft + generation - r.total_time).abs() < 1e-6);
        prop_assert!(r.itl.is_none_or(|itl| itl > 0.0));
        prop_assert_eq!(r.tokens_per_chunk.len(), r.token_timestamps.len());
        prop_assert_eq!(r.tokens_per_chunk.iter().sum::<u64>(), r.output_tokens);
    }
}

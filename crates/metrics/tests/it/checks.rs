//! The run's checks on itself.

use metrics::RequestRecord;
use metrics::selfcheck::{cached_mismatch, check_cached, check_cold, check_prompts};

use crate::support::request;

/// A request of 1000 body tokens and 30 of question.
fn reported(prompt: Option<u64>, cached: Option<u64>) -> RequestRecord {
    let mut r = request(0.0, 1.0, 1000, 16);
    r.reported_prompt_tokens = prompt;
    r.reported_cached_tokens = cached;
    r
}

#[test]
fn prompts_may_deviate_by_two_percent_and_64_tokens() {
    // 1030 expected: the tolerance is 20.6 + 64 = 84.6 tokens, in both directions.
    for (prompt, exceeded) in [
        (1030, false),
        (1114, false),
        (1115, true),
        (946, false),
        (945, true),
    ] {
        let check = check_prompts(&[reported(Some(prompt), None)]).unwrap();
        assert_eq!(check.exceeded, exceeded, "{prompt}");
        assert_eq!(
            (check.expected_median, check.reported_median),
            (1030.0, prompt as f64)
        );
    }
}

#[test]
fn one_odd_prompt_among_many_is_no_finding() {
    let mut records: Vec<_> = (0..9).map(|_| reported(Some(1040), None)).collect();
    records.push(reported(Some(90_000), None));
    let check = check_prompts(&records).unwrap();
    assert_eq!(
        (check.n, check.median_deviation, check.exceeded),
        (10, 10.0, false)
    );
}

#[test]
fn a_silent_server_proves_nothing() {
    let silent = [reported(None, None)];
    assert_eq!(check_prompts(&silent), None);
    assert_eq!(check_cached(&silent, 16), None);
    assert_eq!(check_cold(&silent, 64), None);
    assert_eq!(cached_mismatch(&silent[0]), None);
}

#[test]
fn cached_tokens_are_compared_request_by_request() {
    let with = |intended: u64, cached: u64| {
        let mut r = reported(None, Some(cached));
        r.intent.cached_tokens = intended;
        r
    };
    let records = [
        with(256, 256),
        with(256, 240),
        with(256, 272),
        with(256, 0),
        reported(None, None),
    ];
    let check = check_cached(&records, 16).unwrap();
    assert_eq!(
        (check.n, check.n_mismatched, check.lowest, check.highest),
        (4, 1, -256, 16)
    );
    assert_eq!(check_cached(&records, 15).unwrap().n_mismatched, 3);
    // Deviations that cancel out in a mean are found all the same.
    let opposite = [with(256, 0), with(256, 512)];
    assert_eq!(check_cached(&opposite, 16).unwrap().n_mismatched, 2);
}

#[test]
fn a_warm_request_that_was_meant_cold_is_found() {
    let cold = |cached: u64| {
        let mut r = reported(None, Some(cached));
        r.intent.cache_hit_rate = 0;
        r
    };
    let mut meant_warm = reported(None, Some(900));
    meant_warm.intent.cache_hit_rate = 50;
    let fine = [cold(0), cold(64), meant_warm.clone()];
    let check = check_cold(&fine, 64).unwrap();
    assert_eq!(
        (check.n, check.n_warm, check.most_cached, check.is_warm()),
        (2, 0, 64, false)
    );
    let check = check_cold(&[cold(0), cold(65), meant_warm.clone()], 64).unwrap();
    assert_eq!((check.n_warm, check.is_warm()), (1, true));
    assert_eq!(
        check_cold(&[meant_warm], 64),
        None,
        "nothing was meant cold"
    );
}

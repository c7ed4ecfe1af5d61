//! Every verdict in its words.

use metrics::single_prompt::{PromptKind, SinglePromptRow};

use super::*;

/// TTFTs cold and again, tokens from cache as reported.
fn rows(size: u64, pairs: &[(f64, f64)], reported: Option<u64>) -> Vec<SinglePromptRow> {
    let row = |iteration: usize, kind: &str, ttft, reported| SinglePromptRow {
        context_size: size,
        iteration: iteration as u64,
        prompt_type: kind.to_owned(),
        prompt_tokens: size,
        ttft: Some(ttft),
        reported_cached_tokens: reported,
        ..SinglePromptRow::default()
    };
    let both = |(i, pair): (usize, &(f64, f64))| {
        [
            row(i, "unique", pair.0, reported.map(|_| 0)),
            row(i, "cached", pair.1, reported),
        ]
    };
    pairs.iter().enumerate().flat_map(both).collect()
}

fn said(rows: &[SinglePromptRow]) -> Verdict {
    caching(&metrics::caching::judge_caching(rows))
}

const QUICKER: [(f64, f64); 3] = [(1.0, 0.25), (1.1, 0.26), (0.9, 0.24)];
const SAME: [(f64, f64); 3] = [(1.0, 1.01), (1.1, 1.09), (0.9, 0.9)];
const NOISY: [(f64, f64); 3] = [(1.0, 0.3), (0.4, 1.1), (0.9, 0.5)];

#[test]
fn caching_that_works_is_told_with_share_and_interval() {
    let verdict = said(&rows(2000, &QUICKER, Some(1920)));
    assert_eq!(
        verdict.text,
        "Caching works: the server took 96.0% of the repeated prompts from its cache; the first token of a repeated \
         prompt came 3.99 times as soon (95% interval 3.43 to 4.63, 3 prompts)"
    );
    assert!(verdict.is_good);
    assert_eq!(verdict.object["verdict"], "works");
    assert_eq!(verdict.object["reported_share"], 0.96);
    assert!(verdict.object["speedup_low"].as_f64().unwrap() > 3.4);
}

#[test]
fn a_small_share_is_remarked() {
    assert!(
        said(&rows(2000, &QUICKER, Some(512)))
            .text
            .contains("took only 25.6% of")
    );
}

#[test]
fn caching_is_seen_in_the_times_where_nothing_is_reported() {
    let verdict = said(&rows(2000, &QUICKER, None));
    assert!(
        verdict.text.starts_with(
            "Caching works, by the times: the server does not report what it took from its cache, but the first token \
             of a repeated prompt came 3.99 times as soon"
        ),
        "{}",
        verdict.text
    );
    assert!(
        said(&rows(2000, &QUICKER, Some(0)))
            .text
            .contains("reports that it took nothing from its cache, but")
    );
}

#[test]
fn caching_that_does_not_work_says_what_to_look_at() {
    let verdict = said(&rows(2000, &SAME, Some(0)));
    assert!(!verdict.is_good);
    assert_eq!(verdict.object["verdict"], "does not work");
    assert!(
        verdict.text.starts_with(
            "Caching does not work: the server reports that it took 0.0% of the repeated prompts"
        ),
        "{}",
        verdict.text
    );
    assert!(
        verdict.text.contains("is prefix caching switched on"),
        "{}",
        verdict.text
    );
    assert!(
        said(&rows(2000, &SAME, None))
            .text
            .contains("repeated prompts were not answered sooner")
    );
}

#[test]
fn what_cannot_be_told_has_its_reasons() {
    for (rows, reasons) in [
        (
            rows(2000, &NOISY, None),
            &["does not report", "vary too much", "more --num-iterations"][..],
        ),
        (
            rows(2000, &QUICKER[..1], None),
            &["does not report", "single prompt"],
        ),
        (rows(100, &SAME, Some(0)), &["shorter than the blocks"]),
        (
            rows(2000, &[], None),
            &["no prompt was answered both cold and repeated"],
        ),
    ] {
        let verdict = said(&rows);
        assert_eq!(verdict.object["verdict"], "cannot tell", "{}", verdict.text);
        assert!(!verdict.is_good);
        for reason in reasons {
            assert!(
                verdict.text.contains(reason),
                "no {reason:?} in {}",
                verdict.text
            );
        }
        assert_eq!(verdict.text.lines().count(), 1);
    }
}

#[test]
fn a_size_without_hits_is_named() {
    let mut all = rows(100, &SAME, Some(0));
    all.extend(rows(2000, &QUICKER, Some(1920)));
    let verdict = said(&all);
    assert!(
        verdict
            .text
            .ends_with("; but nothing came from cache at 100 tokens"),
        "{}",
        verdict.text
    );
    assert_eq!(verdict.object["sizes_without"], serde_json::json!([100]));
}

#[test]
fn the_second_verdict_counts_differences_and_never_hides_them() {
    let compared = |n_different, n_repeated_prompts, n_unstable_prompts| OutputComparison {
        n_compared: 12,
        n_different,
        n_repeated_prompts,
        n_unstable_prompts,
    };
    let equal = output(&compared(0, 0, 0), None);
    assert!(
        equal.is_good && equal.text.contains("all 12 answers"),
        "{}",
        equal.text
    );
    let differs = output(&compared(6, 0, 0), None);
    assert!(!differs.is_good);
    assert!(
        differs
            .text
            .starts_with("Output from cache differs: 6 of 12 answers"),
        "{}",
        differs.text
    );
    assert!(
        output(&compared(6, 4, 0), None)
            .text
            .contains("repeated answers agree among themselves")
    );
    assert!(
        output(&compared(6, 4, 3), None)
            .text
            .contains("3 of 4 prompts differ among themselves")
    );
    for reason in [NotCompared::Temperature, NotCompared::NoPair] {
        let verdict = output(&OutputComparison::default(), Some(reason));
        assert_eq!(verdict.object["verdict"], "not compared");
        assert!(
            verdict.text.starts_with("Output not compared: "),
            "{}",
            verdict.text
        );
    }
}

#[test]
fn a_difference_shows_where_it_begins() {
    let difference = TextDifference {
        context_size: 8000,
        iteration: 0,
        prompt_index: 1,
        kind: PromptKind::CachedRepeat(2),
        n_common_chars: 12,
        cold: "time".to_owned(),
        cached: String::new(),
    };
    assert_eq!(
        super::difference(&difference),
        "  8,000 tokens, iteration 1, prompt 2, cached_r2: after 12 characters \"time\" cold, the end from cache"
    );
}

#[test]
fn what_the_cache_is_worth_is_told_size_by_size() {
    let mut all = rows(100, &SAME, None);
    assert!(by_size(&SizeFigures::of_all(&all)).is_empty());
    all.extend(rows(2000, &QUICKER, Some(1920)));
    let figures = SizeFigures::of_all(&all);
    assert_eq!(
        by_size(&figures),
        [
            "  100 tokens: 1.00x (95% interval 0.97 to 1.02)",
            "  2,000 tokens: 4.00x (95% interval 3.34 to 4.54), 96.0% from cache",
        ]
    );
    let object = by_size_object(&figures);
    assert_eq!(
        (&object[1]["context_size"], &object[1]["reported_share"]),
        (&json!(2000), &json!(0.96))
    );
}

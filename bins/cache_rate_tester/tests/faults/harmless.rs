//! Streams that are unusual but right: nothing fails, nothing is warned of, and the rows are those of an
//! ordinary stream.

use std::collections::BTreeSet;

use sim::fault::{FaultKind, FaultPlan};
use sim::{SimConfig, UsageForm};
use testkit::process::Finished;

use crate::relay::Act;
use crate::scene::{CONTEXT, STUDY, faulty, quick, reads_well, second_rate};
use crate::support::output::{Output, Table};
use crate::support::process::Place;
use crate::support::server;

/// A study against one server that streams like this from the first request to the last.
struct Study {
    place: Place,
    end: Finished,
}

impl Study {
    #[track_caller]
    fn against(config: SimConfig) -> Self {
        let server = server::start(config);
        let place = Place::new();
        let end = place
            .run(&format!("--api-endpoint {} {STUDY}", server.url()))
            .exits(0);
        reads_well(&end);
        assert_eq!(place.output().completed(), ["512_0", "512_50"]);
        assert!(place.output().names_like("failed_requests_", "").is_empty());
        place.output().assert_valid();
        Self { place, end }
    }

    fn output(&self) -> Output {
        self.place.output()
    }
}

/// Rows of the second rate.
fn warm_rows(output: &Output) -> Table {
    output.detail(CONTEXT).matching(&[("cache_hit_rate", "50")])
}

/// Sum of a JSON list of numbers.
fn sum(list: &str) -> f64 {
    let numbers: Vec<f64> = serde_json::from_str(list).expect("a list of numbers");
    numbers.iter().sum()
}

/// Requires that every row of a study against a server that streams like this counts what it generated.
#[track_caller]
fn measures_as_usual(kind: FaultKind) {
    let study = Study::against(SimConfig {
        faults: FaultPlan::always(kind),
        ..quick()
    });
    for rate in ["0", "50"] {
        let rows = study
            .output()
            .detail(CONTEXT)
            .matching(&[("cache_hit_rate", rate)]);
        assert!(rows.rows.len() >= 2, "{} rows at {rate}%", rows.rows.len());
        assert!(rows.numbers("output_tokens").iter().all(|n| *n == 6.0));
        for list in rows.texts("tokens_per_chunk") {
            assert_eq!(sum(&list), 6.0, "{list}");
        }
        for list in rows.texts("token_timestamps") {
            let stamps: Vec<f64> = serde_json::from_str(&list).expect("a list of numbers");
            assert!(!stamps.is_empty() && stamps.is_sorted(), "{list}");
        }
        let times = rows
            .numbers("ttft")
            .into_iter()
            .zip(rows.numbers("total_time"));
        for (first, total) in times {
            assert!(0.0 < first && first <= total, "TTFT {first} of {total}");
        }
    }
    let cached = warm_rows(&study.output()).distinct("reported_cached_tokens");
    assert_eq!(cached, BTreeSet::from(["256".to_owned()]));
    let warnings = study.end.warnings();
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn two_events_in_one_frame_are_both_counted() {
    measures_as_usual(FaultKind::Joined);
}

#[test]
fn one_event_over_two_frames_is_one_event() {
    measures_as_usual(FaultKind::Split);
}

#[test]
fn a_character_split_by_a_frame_s_border_is_not_lost() {
    measures_as_usual(FaultKind::SplitUtf8);
}

#[test]
fn a_stream_of_single_bytes_is_read_like_any_other() {
    measures_as_usual(FaultKind::Drip);
}

#[test]
fn a_stream_that_ends_without_done_is_complete_after_its_usage() {
    measures_as_usual(FaultKind::NoDone);
}

#[test]
fn split_characters_are_put_together_before_tokens_are_counted() {
    // No usage, so the count is made of the text: a mangled character would be counted differently.
    const WORDS: [&str; 6] = [" naïve", " €uro", " 日本語", " déjà", " 😀", " Straße"];
    let counted = |frame: usize| {
        let scene = second_rate("", move |_| Act::stream_of(&WORDS, frame)).exits(0);
        let rows = warm_rows(&scene.output());
        let counts = rows.distinct("output_tokens");
        assert_eq!(counts.len(), 1, "{counts:?}");
        counts
    };
    assert_eq!(counted(1 << 20), counted(1));
}

#[test]
fn missing_usage_is_no_failure_but_counted_here_and_marked() {
    let server = faulty(FaultPlan::always(FaultKind::NoUsage));
    let address = server.address();
    let scene = second_rate("", move |_| Act::Forward(address)).exits(0);
    let output = scene.output();
    assert_eq!(output.completed(), ["512_0", "512_50"]);
    assert!(output.names_like("failed_requests_", "").is_empty());
    let warnings = scene.end.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("sent no token counts"), "{warnings:?}");
    assert!(warnings[0].contains("counted here"), "{warnings:?}");
    assert_eq!(output.doubts(CONTEXT, 50), ["no_usage"]);
    assert!(output.doubts(CONTEXT, 0).is_empty());
    let rows = warm_rows(&output);
    assert!(rows.numbers("output_tokens").iter().all(|n| *n >= 1.0));
    // What the server did not say stays empty and is never 0.
    for column in ["reported_prompt_tokens", "reported_cached_tokens"] {
        assert_eq!(
            rows.distinct(column),
            BTreeSet::from([String::new()]),
            "{column}"
        );
    }
    output.assert_valid();
}

#[test]
fn a_server_that_never_sends_usage_is_warned_of_once_and_every_test_is_marked() {
    let study = Study::against(SimConfig {
        usage: UsageForm::Missing,
        ..quick()
    });
    let warnings = study.end.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for rate in [0, 50] {
        assert_eq!(
            study.output().doubts(CONTEXT, rate),
            ["no_usage"],
            "{rate}%"
        );
    }
}

#[test]
fn usage_without_cached_tokens_leaves_their_cell_empty() {
    let study = Study::against(SimConfig {
        usage: UsageForm::Null,
        ..quick()
    });
    let rows = warm_rows(&study.output());
    let cached = rows.distinct("reported_cached_tokens");
    assert_eq!(cached, BTreeSet::from([String::new()]));
    assert!(
        rows.numbers("reported_prompt_tokens")
            .iter()
            .all(|n| *n > 512.0)
    );
    assert!(study.output().doubts(CONTEXT, 50).is_empty());
}

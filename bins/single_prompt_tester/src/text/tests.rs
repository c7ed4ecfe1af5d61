//! The published shapes, letter by letter.

use std::path::Path;

use cli::logging::Line;
use metrics::record::{RequestIntent, RequestRecord, WallAnchor};
use metrics::single_prompt::{PromptKind, SinglePromptRow, SizeFigures};
use metrics::timeline::{Exchange, FailureKind, Timeline, Usage};
use report::metadata::RunFacts;
use report::single_prompt::LimitedSizes;
use serde_json::json;

use super::*;
use crate::session::{Answer, BatchDone, Sent};

fn texts(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

fn row(size: u64, iteration: u64, prompt_type: &str, ttft: Option<f64>) -> SinglePromptRow {
    SinglePromptRow {
        context_size: size,
        iteration,
        prompt_type: prompt_type.to_owned(),
        prompt_tokens: size + 6,
        completion_tokens: 256,
        ttft,
        total_time: Some(1.5),
        ..SinglePromptRow::default()
    }
}

fn answer(index: u32, kind: PromptKind, ttft: f64, text: &str) -> Sent {
    let exchange = Exchange {
        timeline: Timeline::default(),
        usage: Usage::default(),
        text: text.to_owned(),
        failure: None,
    };
    let intent = RequestIntent {
        request_id: "CTX8000_I0_UNIQUE_r0".to_owned(),
        phase_id: "CTX8000_I0_UNIQUE".into(),
        cache_hit_rate: 0,
        context_size: 8000,
        cached_tokens: 0,
        unique_tokens: 8000,
        question_tokens: 6,
        concurrency_level: 1,
        endpoint: "".into(),
        working_set_size: None,
    };
    let anchor = WallAnchor { unix_at_epoch: 0.0 };
    Sent {
        prompt_index: index,
        result: Ok(Answer {
            row: row(8000, 0, &kind.to_string(), Some(ttft)),
            text: text.to_owned(),
            prompt_index: index,
            kind,
            abs_time: Some(ttft + 0.001),
            record: RequestRecord::from_exchange(intent, &exchange, anchor, None),
        }),
    }
}

fn failed(index: u32, message: &str) -> Sent {
    let Ok(answered) = answer(index, PromptKind::Unique, 1.0, "").result else {
        unreachable!("an answer was made");
    };
    Sent {
        prompt_index: index,
        result: Err(Box::new(metrics::FailedRequest {
            intent: answered.record.intent,
            kind: FailureKind::Status,
            status: Some(500),
            message: message.to_owned(),
            launch_time: 0.0,
            elapsed: 0.1,
            partial: Exchange {
                timeline: Timeline::default(),
                usage: Usage::default(),
                text: String::new(),
                failure: None,
            },
        })),
    }
}

fn batch(kind: PromptKind, sent: Vec<Sent>) -> BatchDone {
    BatchDone {
        context_size: 8000,
        iteration: 0,
        kind,
        sent,
    }
}

#[test]
fn lines_of_a_single_prompt() {
    assert_eq!(
        batch_started(8000, 0, PromptKind::Unique, 1, 1).text,
        "    Iteration 1: Testing 1 unique prompt (8,000 tokens each)..."
    );
    assert_eq!(
        batch_started(8000, 1, PromptKind::Cached, 1, 1).text,
        "    Iteration 2: Testing 1 cached prompt..."
    );
    let long = format!("one\ntwo{}", "x".repeat(200));
    let done = batch(
        PromptKind::Unique,
        vec![answer(0, PromptKind::Unique, 0.8121, &long)],
    );
    let lines = batch_done(&done, 1, 1);
    let shown = format!("      Response: one two{}...", "x".repeat(93));
    assert_eq!(
        texts(&lines),
        ["      Unique: TTFT=0.812s, Output=256 tok", shown.as_str()]
    );
}

#[test]
fn cached_tokens_stand_behind_the_published_line() {
    let mut sent = answer(0, PromptKind::Cached, 0.061, "once");
    let Ok(answered) = &mut sent.result else {
        unreachable!("an answer was made");
    };
    answered.row.reported_cached_tokens = Some(7936);
    let lines = batch_done(&batch(PromptKind::Cached, vec![sent]), 1, 1);
    assert_eq!(
        texts(&lines)[0],
        "      Cached: TTFT=0.061s, Output=256 tok, from cache=7,936 of 8,006 tok"
    );
}

#[test]
fn lines_of_several_prompts() {
    let kind = PromptKind::CachedRepeat(2);
    assert_eq!(
        batch_started(8000, 0, kind, 3, 4).text,
        "    Iteration 1: Testing 4 cached prompts (repeat 2/3)..."
    );
    let done = batch(
        kind,
        vec![answer(0, kind, 0.335, "a"), answer(1, kind, 0.171, "b")],
    );
    assert_eq!(
        texts(&batch_done(&done, 3, 2)),
        [
            "        [Prompt 1] TTFT=0.335s, abs_time=0.336s, output=256 tok",
            "                  Response: a...",
            "        [Prompt 2] TTFT=0.171s, abs_time=0.172s, output=256 tok",
            "                  Response: b...",
            "      Cached (repeat 2/3) batch summary:",
            "        avg TTFT=0.253s, abs_time spread=0.164s",
            "        prefill time=0.336s (until all first tokens), effective per-prompt=0.168s",
            "        total input tokens=16,012, prefill throughput=47655 tok/s",
        ]
    );
}

#[test]
fn a_prefill_time_of_zero_divides_nothing() {
    let mut sent = answer(0, PromptKind::Unique, 0.0, "a");
    if let Ok(answered) = &mut sent.result {
        answered.abs_time = Some(0.0);
    }
    let lines = batch_done(&batch(PromptKind::Unique, vec![sent]), 1, 2);
    assert!(
        texts(&lines)
            .last()
            .unwrap()
            .ends_with("prefill throughput=n/a"),
        "{lines:?}"
    );
}

#[test]
fn failures_are_told_once_per_cause() {
    let mut sent: Vec<Sent> = (0..20).map(|i| failed(i, "status 500: no")).collect();
    sent.extend((20..30).map(|i| failed(i, &format!("cause {i}"))));
    let lines = batch_done(&batch(PromptKind::Unique, sent), 1, 30);
    let lines = texts(&lines);
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(lines[0].starts_with("      Request failed: status: cause 20"));
    assert_eq!(lines[5], "      25 more requests failed for other reasons");
}

#[test]
fn the_speed_up_of_an_iteration_is_the_ratio_of_means() {
    let rows = [
        row(8000, 0, "unique", Some(0.8)),
        row(8000, 0, "cached_r1", Some(0.1)),
        row(8000, 0, "cached_r2", Some(0.3)),
    ];
    assert_eq!(
        iteration_done(&rows).unwrap().text,
        "      Cache speedup: TTFT 4.00x faster"
    );
    assert_eq!(iteration_done(&rows[..1]), None);
}

#[test]
fn the_line_of_a_size() {
    let rows = [
        row(8000, 0, "unique", Some(0.812)),
        row(8000, 0, "cached", Some(0.061)),
    ];
    let figures = SizeFigures::of(8000, &rows);
    assert_eq!(
        texts(&size_done(&figures)),
        [
            "",
            "  Summary for 8,000 tokens:",
            "    Avg Unique TTFT: 0.812s | Avg Cached TTFT: 0.061s | Speedup: 13.31x",
            "",
        ]
    );
    assert_eq!(
        brief_line(&figures),
        "[8,000] unique=0.812s cached=0.061s speedup=13.31x\n"
    );
}

#[test]
fn what_is_not_known_has_neither_number_nor_unit() {
    let figures = SizeFigures::of(512, &[row(512, 0, "unique", Some(0.5))]);
    assert_eq!(
        brief_line(&figures),
        "[512] unique=0.500s cached=n/a speedup=n/a\n"
    );
    let figures = SizeFigures::of(512, &[]);
    assert_eq!(
        brief_line(&figures),
        "[512] unique=n/a cached=n/a speedup=n/a\n"
    );
}

#[test]
fn the_report_for_scripts_is_the_published_one() {
    let rows = [
        row(8000, 0, "unique", Some(0.812)),
        row(8000, 0, "cached", Some(0.061)),
        row(32_000, 0, "unique", Some(3.940)),
        row(32_000, 0, "cached", Some(0.102)),
    ];
    let report = brief_report(
        "my-model",
        "http://localhost:8000",
        &482_913.into(),
        Path::new("./single_prompt_output"),
        &SizeFigures::of_all(&rows),
    );
    let expected = "
============================================================
RESULTS SUMMARY
============================================================
model: my-model
endpoint: http://localhost:8000
seed: 482913
output: ./single_prompt_output

   Context |  Unique TTFT |  Cached TTFT |  Speedup
-----------+--------------+--------------+---------
     8,000 |       0.812s |       0.061s |   13.31x
    32,000 |       3.940s |       0.102s |   38.63x
-----------+--------------+--------------+---------
";
    assert_eq!(report, expected);
}

#[test]
fn the_final_table_is_the_published_one() {
    let rows = [
        row(8000, 0, "unique", Some(0.812)),
        row(8000, 0, "cached", Some(0.061)),
    ];
    let lines = final_table(&SizeFigures::of_all(&rows), &LimitedSizes::default());
    assert_eq!(
        &texts(&lines)[4..],
        [
            "  Context Size |  Unique TTFT |  Cached TTFT |  Speedup",
            "---------------+--------------+--------------+---------",
            "         8,000 |       0.812s |       0.061s |   13.31x",
            "---------------+--------------+--------------+---------",
            "",
        ]
    );
}

/// The mark stood in a line further up and in no table.
#[test]
fn a_size_that_the_client_limits_is_marked_in_the_final_table() {
    let rows = [
        row(1000, 0, "unique", Some(0.081)),
        row(1000, 0, "cached", Some(0.006)),
        row(8000, 0, "unique", Some(0.812)),
        row(8000, 0, "cached", Some(0.061)),
    ];
    let mut facts = RunFacts::new("single_prompt_tester", "1.0");
    let sizes = json!([{"context_size": 1000, "prompts": "cached", "client_limited": true}]);
    facts
        .sections
        .insert("client".to_owned(), json!({ "sizes": sizes }));
    let lines = final_table(&SizeFigures::of_all(&rows), &LimitedSizes::of_facts(&facts));
    assert_eq!(
        &texts(&lines)[6..],
        [
            "         1,000 |       0.081s |       0.006s |   13.50x *",
            "         8,000 |       0.812s |       0.061s |   13.31x",
            "---------------+--------------+--------------+---------",
            "* limited by this client: 1,000 tokens (cached)",
            "",
        ]
    );
}

#[test]
fn a_model_name_cannot_break_the_report() {
    let report = brief_report("a\nseed: 1", "u", &7.into(), Path::new("o"), &[]);
    assert!(report.contains("\nmodel: a seed: 1\n"), "{report}");
}

//! Doubts about tests, as the run's files keep them: by test for programs, and as lines where the dashboard cannot see
//! them in the data itself.

use std::path::Path;

use engine::event::{Doubt, DoubtKind};
use engine::study::StudyEnd;
use report::metadata::RunFacts;
use report::progress::Progress;
use report::test_name::TestName;
use serde_json::{Value, json};

/// Doubts of tests that an earlier run completed and this one keeps.
pub(super) fn kept(dir: &Path, progress: &Progress) -> Vec<Value> {
    let Ok(Some(earlier)) = RunFacts::load(dir) else {
        return Vec::new();
    };
    let list = earlier
        .sections
        .get("doubts")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    list.into_iter()
        .filter(|doubt| test_of(doubt).is_some_and(|test| progress.is_complete(&test)))
        .collect()
}

fn test_of(doubt: &Value) -> Option<TestName> {
    let rate = u32::try_from(doubt["cache_hit_rate"].as_u64()?).ok()?;
    let test = TestName::new(doubt["context_size"].as_u64()?, rate);
    Some(test.with_working_set(doubt["working_set_size"].as_u64()))
}

/// A doubt for programs, as the section `doubts` of the run's facts has it.
#[must_use]
pub fn doubt_object(doubt: &Doubt) -> Value {
    let mut object = json!({
        "context_size": doubt.test.context_size,
        "cache_hit_rate": doubt.test.cache_hit_rate,
        "kind": doubt.kind.as_str(),
        "text": doubt.text,
    });
    if let Some(size) = doubt.test.working_set_size {
        object["working_set_size"] = json!(size);
    }
    object
}

/// All doubts of the run's tests.
pub(super) fn store(
    facts: &mut RunFacts,
    mut doubts: Vec<Value>,
    end: &StudyEnd,
    n_deviating: u64,
) {
    doubts.extend(end.doubts.iter().map(doubt_object));
    let unseen = [
        DoubtKind::PromptTokens.as_str(),
        DoubtKind::NoUsage.as_str(),
        DoubtKind::ClientLimited.as_str(),
        DoubtKind::SearchLimited.as_str(),
    ];
    let mut lines: Vec<Value> = doubts
        .iter()
        .filter(|d| unseen.iter().any(|kind| d["kind"] == *kind))
        .map(|d| {
            let set = d["working_set_size"]
                .as_u64()
                .map_or_else(String::new, |size| format!(", working set of {size}"));
            json!(format!(
                "{} tokens at {}%{set}: {}",
                d["context_size"],
                d["cache_hit_rate"],
                d["text"].as_str().unwrap_or_default()
            ))
        })
        .collect();
    if n_deviating > 0 {
        let line = format!(
            "{n_deviating} checked prompts have another number of tokens than planned and could not be corrected"
        );
        tracing::warn!("{line}");
        lines.push(json!(line));
    }
    if !lines.is_empty() {
        facts
            .sections
            .insert("warnings".to_owned(), Value::Array(lines));
    }
    if !doubts.is_empty() {
        facts
            .sections
            .insert("doubts".to_owned(), Value::Array(doubts));
    }
}

//! What was asked for: the configuration table, and notes on how to read the results.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::trace_replay;
use crate::chart::{count, fixed};
use crate::data::RunData;

/// One row of the configuration table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConfigRow {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) look: Look,
}

/// How a value is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    /// In a fixed-width font.
    Code,
    Bold,
}

impl ConfigRow {
    pub(super) fn is_code(&self) -> bool {
        self.look == Look::Code
    }

    pub(super) fn is_bold(&self) -> bool {
        self.look == Look::Bold
    }
}

/// The first endpoint of a run.
pub(super) fn endpoint(data: &RunData) -> Option<String> {
    let listed = data
        .parameter("api_endpoints")
        .and_then(Value::as_array)
        .and_then(|list| list.first());
    listed
        .or_else(|| data.parameter("api_endpoint"))
        .and_then(Value::as_str)
        .map(str::to_owned)
        .or_else(|| {
            data.metadata
                .as_ref()
                .and_then(|m| m.api_endpoints.first().cloned())
        })
        .filter(|url| !url.is_empty())
}

/// Working-set size of a run in tokens; the largest where it had several.
pub(super) fn working_set(data: &RunData) -> Option<u64> {
    let largest = || integers(data, "working_set_sizes").into_iter().max();
    integer(data, "working_set_size")
        .or_else(largest)
        .filter(|tokens| *tokens > 0)
}

pub(super) fn mode(data: &RunData) -> Option<String> {
    let stored = data
        .parameter("mode")
        .and_then(Value::as_str)
        .map(str::to_owned);
    stored
        .or_else(|| data.metadata.as_ref().map(|m| m.mode.clone()))
        .filter(|mode| !mode.is_empty())
}

/// The rows whose value is known and not zero, in a fixed order.
pub(super) fn rows(data: &RunData) -> Vec<ConfigRow> {
    let mut out = Vec::new();
    let mut add = |name, value: Option<String>, look| {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            out.push(ConfigRow { name, value, look });
        }
    };
    let tokens = |n: u64| format!("{} tokens", count(n));
    let list = |sizes: Vec<u64>| {
        let text: Vec<String> = sizes.into_iter().map(count).collect();
        (!text.is_empty()).then(|| format!("{} tokens", text.join(", ")))
    };
    let endpoints = data
        .parameter("api_endpoints")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    let more = if endpoints > 1 {
        format!(" and {} more", endpoints - 1)
    } else {
        String::new()
    };
    add(
        "API Endpoint",
        endpoint(data).map(|url| url + &more),
        Look::Code,
    );
    add("Model", data.model().map(str::to_owned), Look::Bold);
    let tokenizer = data
        .parameter("tokenizer_id")
        .and_then(Value::as_str)
        .map(str::to_owned);
    add(
        "Tokenizer",
        data.facts
            .as_ref()
            .and_then(|f| f.tokenizer.as_ref())
            .map(|t| t.name.clone())
            .or(tokenizer),
        Look::Code,
    );
    add("Mode", mode(data), Look::Plain);
    add(
        "Context Sizes",
        list(integers(data, "context_sizes")),
        Look::Plain,
    );
    add(
        "Working Set Size",
        integer(data, "working_set_size").map(tokens),
        Look::Plain,
    );
    let sets = integers(data, "working_set_sizes");
    add(
        "Min Working Set",
        sets.iter().min().copied().map(tokens),
        Look::Plain,
    );
    add(
        "Max Working Set",
        sets.iter().max().copied().map(tokens),
        Look::Plain,
    );
    let increments = integer(data, "working_set_increments").or(Some(sets.len() as u64));
    let of_what = if mode(data).as_deref() == Some("sustained") {
        "steps of one growing set"
    } else {
        "sizes"
    };
    add(
        "Working Set Increments",
        increments
            .filter(|n| *n > 1)
            .map(|n| format!("{} ({of_what})", count(n))),
        Look::Plain,
    );
    add("Cache Hit Rates", rates(data), Look::Plain);
    let levels: Vec<String> = integers(data, "fixed_concurrency_levels")
        .into_iter()
        .map(count)
        .collect();
    add("Concurrency Levels", Some(levels.join(", ")), Look::Plain);
    add(
        "Output Tokens",
        integer(data, "output_tokens").map(|n| format!("{} per request", count(n))),
        Look::Plain,
    );
    add("TTFT Threshold", ttft_threshold(data), Look::Plain);
    add("Min Tokens/Req", speed_threshold(data), Look::Plain);
    add(
        "Test Duration",
        number(data, "test_duration").map(|s| format!("{s}s per test")),
        Look::Plain,
    );
    if mode(data).as_deref() == Some("sustained") {
        add(
            "Assessment Period",
            number(data, "assessment_period").map(|s| format!("{s}s")),
            Look::Plain,
        );
    } else {
        add(
            "Window per Level",
            number(data, "ramp_duration").map(|s| format!("{s}s")),
            Look::Plain,
        );
    }
    add(
        "Iterations",
        integer(data, "num_iterations").map(|n| format!("{} per context", count(n))),
        Look::Plain,
    );
    add(
        "Concurrent Prompts",
        integer(data, "concurrent_prompts").map(count),
        Look::Plain,
    );
    add("Cached Repeats", cached_repeats(data), Look::Plain);
    add(
        "Seed",
        data.parameter("seed").map(ToString::to_string),
        Look::Plain,
    );
    if let Some(trace) = &data.trace {
        for (name, value) in trace_replay::settings(trace) {
            add(name, value, Look::Plain);
        }
    }
    if let Some(prompts) = data.facts.as_ref().and_then(|f| f.prompts.as_ref()) {
        let verified = format!(
            "{} verified whole, {} corrected",
            count(prompts.verified),
            count(prompts.corrected)
        );
        add("Prompts", Some(verified), Look::Plain);
    }
    out
}

/// `0% to 100% (3 rates)`.
fn rates(data: &RunData) -> Option<String> {
    let rates = integers(data, "cache_hit_rates");
    let (low, high) = (rates.iter().min()?, rates.iter().max()?);
    let n = rates.len();
    Some(format!(
        "{low}% to {high}% ({n} {})",
        if n == 1 { "rate" } else { "rates" }
    ))
}

/// `0.15s (P95)`.
pub(super) fn ttft_threshold(data: &RunData) -> Option<String> {
    let limit = crate::catalogue::max_ttft(data)?;
    Some(format!("{limit:?}s ({})", ttft_metric(data).to_uppercase()))
}

pub(super) fn ttft_metric(data: &RunData) -> String {
    data.parameter("ttft_metric")
        .and_then(Value::as_str)
        .unwrap_or("p95")
        .to_owned()
}

pub(super) fn speed_metric(data: &RunData) -> String {
    data.parameter("tokens_per_req_metric")
        .and_then(Value::as_str)
        .unwrap_or("avg")
        .to_owned()
}

fn speed_threshold(data: &RunData) -> Option<String> {
    Some(format!(
        "{} tok/s ({})",
        fixed(crate::catalogue::min_speed(data)?, 1),
        speed_metric(data).to_uppercase()
    ))
}

/// How often a prompt was repeated, as the run or its rows say.
fn cached_repeats(data: &RunData) -> Option<String> {
    let kinds: BTreeSet<&str> = data
        .single_prompt
        .iter()
        .filter(|row| row.is_cached())
        .map(|row| row.prompt_type.as_str())
        .collect();
    integer(data, "cached_repeats")
        .or_else(|| (!kinds.is_empty()).then_some(kinds.len() as u64))
        .map(count)
}

/// A whole number above zero; `num_retries` may be zero. JSON of the originals may say 7.0 for 7.
pub(super) fn integer(data: &RunData, key: &str) -> Option<u64> {
    whole_number(data.parameter(key)?).filter(|n| *n > 0 || key == "num_retries")
}

/// A whole number above zero of one object.
pub(super) fn integer_in(object: &Map<String, Value>, key: &str) -> Option<u64> {
    whole_number(object.get(key)?).filter(|n| *n > 0)
}

pub(super) fn integers(data: &RunData, key: &str) -> Vec<u64> {
    data.parameter(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(whole_number)
        .collect()
}

fn whole_number(value: &Value) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be a whole number that a float holds exactly"
    )]
    let of_float = |v: f64| (v.fract() == 0.0 && (0.0..9e15).contains(&v)).then_some(v as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(of_float))
}

/// A number above zero as text: `7`, `0.5`.
fn number(data: &RunData, key: &str) -> Option<String> {
    if let Some(n) = integer(data, key) {
        return Some(count(n));
    }
    let value = data.parameter(key)?.as_f64()?;
    (value.is_finite() && value > 0.0 && value < 9e15).then(|| format!("{value}"))
}

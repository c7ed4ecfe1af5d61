//! Comparison of the parameters of two runs by what they mean.
//!
//! Promise: files of every version of the original compare with ours: a key that one side lacks
//! counts as its default, one endpoint equals a list of one, thresholds are compared as they take
//! effect, numbers by value. Refuses to resume on a difference in anything it does not know.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Outcome of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterMatch {
    /// The runs measure the same.
    Match,
    /// These keys differ, sorted.
    Mismatch(Vec<String>),
}

/// Keys that do not influence a measurement, and `context_sizes`, which may grow and shrink.
const NOT_COMPARED: [&str; 7] = [
    "context_sizes",
    "output_dir",
    "force_restart",
    "verbose",
    "skip_graphs",
    "kv_cache_bytes",
    "detected_model",
];

/// The old key of a single endpoint; compared under [`ENDPOINTS`].
const ENDPOINT: &str = "api_endpoint";
const ENDPOINTS: &str = "api_endpoints";

pub(super) fn compare(then: &Map<String, Value>, now: &Map<String, Value>) -> ParameterMatch {
    let keys: BTreeSet<&str> = then
        .keys()
        .chain(now.keys())
        .map(|key| if key == ENDPOINT { ENDPOINTS } else { key })
        .filter(|key| !NOT_COMPARED.contains(key))
        .collect();
    let different: Vec<String> = keys
        .into_iter()
        .filter(|key| !same(&effective(then, key), &effective(now, key)))
        .map(str::to_owned)
        .collect();
    if different.is_empty() {
        ParameterMatch::Match
    } else {
        ParameterMatch::Mismatch(different)
    }
}

/// The value that took effect in a run whose file holds `parameters`.
fn effective(parameters: &Map<String, Value>, key: &str) -> Value {
    match key {
        ENDPOINTS => endpoints(parameters),
        "mode" => mode(parameters),
        "max_ttft" => max_ttft(parameters),
        "cache_hit_rates" | "fixed_concurrency_levels" | "working_set_sizes" => {
            sorted_set(stored(parameters, key))
        }
        _ => stored(parameters, key),
    }
}

/// The stored value, or the default of an option that the file's version did not know.
fn stored(parameters: &Map<String, Value>, key: &str) -> Value {
    parameters
        .get(key)
        .cloned()
        .unwrap_or_else(|| default_of(key))
}

fn default_of(key: &str) -> Value {
    match key {
        "output_tokens" => json!(256),
        "ttft_metric" => json!("p95"),
        "tokens_per_req_metric" => json!("avg"),
        "test_duration" => json!(300),
        "ramp_duration" => json!(60),
        "assessment_period" => json!(30),
        "num_retries" => json!(3),
        "start_concurrency" | "concurrency_increment" => json!(2),
        "max_concurrency" => json!(1000),
        "init_concurrency" => json!(16),
        "chunk_size" => json!(256),
        "cache_hit_rates" => (0..=100).step_by(5).collect(),
        "reinit_strategy" => json!("once"),
        "endpoint_selection" => json!("round-robin"),
        "tokenizer_id" => json!("Qwen/Qwen2.5-Coder-32B-Instruct"),
        "endpoint_type" => json!("chat"),
        "request_timeout" => json!(600),
        "http" => json!("auto"),
        "cooldown" => json!(0),
        "random_selection" | "strict_time_window" | "ignore_eos" | "insecure" => json!(false),
        _ => Value::Null,
    }
}

fn mode(parameters: &Map<String, Value>) -> Value {
    match parameters.get("mode") {
        None | Some(Value::Null) => json!("ramp"),
        Some(Value::String(mode)) if mode == "adaptive" => json!("ramp"),
        Some(mode) => mode.clone(),
    }
}

/// Without any threshold `ramp` and `sustained` assume 2 s; `fixed` runs without one.
fn max_ttft(parameters: &Map<String, Value>) -> Value {
    let given = stored(parameters, "max_ttft");
    let has_speed = !stored(parameters, "min_tokens_per_req").is_null();
    if given.is_null() && !has_speed && mode(parameters) != json!("fixed") {
        return json!(2.0);
    }
    given
}

fn endpoints(parameters: &Map<String, Value>) -> Value {
    let list = match parameters.get(ENDPOINTS) {
        Some(Value::Array(list)) if !list.is_empty() => list.clone(),
        _ => parameters.get(ENDPOINT).cloned().into_iter().collect(),
    };
    list.into_iter()
        .map(|endpoint| match endpoint {
            Value::String(url) => json!(url.trim_end_matches('/')),
            other => other,
        })
        .collect()
}

/// Lists whose order and repetitions have no meaning.
fn sorted_set(value: Value) -> Value {
    let Value::Array(mut list) = value else {
        return value;
    };
    list.sort_by(|a, b| {
        let number = |v: &Value| v.as_f64().unwrap_or(f64::INFINITY);
        number(a).total_cmp(&number(b))
    });
    list.dedup_by(|a, b| same(a, b));
    Value::Array(list)
}

/// Equality with numbers compared by value, so that `2` equals `2.0`.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y
                || ((x.is_f64() || y.is_f64())
                    && x.as_f64()
                        .zip(y.as_f64())
                        .is_some_and(|(x, y)| x.total_cmp(&y).is_eq()))
        }
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y))
        }
        _ => a == b,
    }
}

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

/// Where the tools differ in what makes two runs the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeRules {
    /// How many prompts are warmed up at a time is no part of what is measured.
    pub ignores_init_concurrency: bool,
    /// Given levels in another order are another test: it ends at the first one that fails.
    pub level_order_counts: bool,
    /// Another model on the same server is another measurement. A file that does not name its model is no reason to
    /// begin anew.
    pub model_counts: bool,
    /// Hit rates where none were given, in percent.
    pub rates: DefaultRates,
    /// `--reinit-strategy` where none was given.
    pub reinit_strategy: &'static str,
}

/// Hit rates that are tested where none were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultRates {
    /// 0, 5, … 100.
    EveryFifth,
    /// 100 alone.
    Hundred,
}

impl ResumeRules {
    /// Those of `cache_rate_tester`.
    pub const CACHE_RATE: Self = Self {
        ignores_init_concurrency: false,
        level_order_counts: false,
        model_counts: false,
        rates: DefaultRates::EveryFifth,
        reinit_strategy: "once",
    };
    /// Those of `working_set_tester`.
    pub const WORKING_SET: Self = Self {
        ignores_init_concurrency: true,
        level_order_counts: true,
        model_counts: true,
        rates: DefaultRates::Hundred,
        reinit_strategy: "per_working_set",
    };

    fn is_compared(&self, key: &str) -> bool {
        let is_ignored = match key {
            "init_concurrency" => self.ignores_init_concurrency,
            DETECTED_MODEL => !self.model_counts,
            _ => false,
        };
        !is_ignored && !NOT_COMPARED.contains(&key)
    }
}

/// Keys that do not influence a measurement, and `context_sizes`, which may grow and shrink.
const NOT_COMPARED: [&str; 6] = [
    "context_sizes",
    "output_dir",
    "force_restart",
    "verbose",
    "skip_graphs",
    "kv_cache_bytes",
];

/// Compared where both sides know it.
const DETECTED_MODEL: &str = "detected_model";

/// The old key of a single endpoint; compared under [`ENDPOINTS`].
const ENDPOINT: &str = "api_endpoint";
const ENDPOINTS: &str = "api_endpoints";

pub(super) fn compare(
    then: &Map<String, Value>,
    now: &Map<String, Value>,
    rules: &ResumeRules,
) -> ParameterMatch {
    let keys: BTreeSet<&str> = then
        .keys()
        .chain(now.keys())
        .map(|key| if key == ENDPOINT { ENDPOINTS } else { key })
        .filter(|key| rules.is_compared(key))
        .filter(|key| *key != DETECTED_MODEL || is_known(then, key) && is_known(now, key))
        .collect();
    let different: Vec<String> = keys
        .into_iter()
        .filter(|key| !same(&effective(then, key, rules), &effective(now, key, rules)))
        .map(str::to_owned)
        .collect();
    if different.is_empty() {
        ParameterMatch::Match
    } else {
        ParameterMatch::Mismatch(different)
    }
}

fn is_known(parameters: &Map<String, Value>, key: &str) -> bool {
    parameters.get(key).is_some_and(|value| !value.is_null())
}

/// The value that took effect in a run whose file holds `parameters`.
fn effective(parameters: &Map<String, Value>, key: &str, rules: &ResumeRules) -> Value {
    let stored = |key| stored(parameters, key, rules);
    match key {
        ENDPOINTS => endpoints(parameters),
        "mode" => mode(parameters),
        "max_ttft" => max_ttft(parameters),
        "fixed_concurrency_levels" if rules.level_order_counts => first_of_each(stored(key)),
        "cache_hit_rates" | "fixed_concurrency_levels" | "working_set_sizes" => {
            sorted_set(stored(key))
        }
        // The originals wrote the sizes alone.
        "working_set_increments" if !parameters.contains_key(key) => {
            let sizes = stored("working_set_sizes");
            sizes
                .as_array()
                .map_or(Value::Null, |list| json!(list.len()))
        }
        _ => stored(key),
    }
}

/// The stored value, or the default of an option that the file's version did not know.
fn stored(parameters: &Map<String, Value>, key: &str, rules: &ResumeRules) -> Value {
    parameters
        .get(key)
        .cloned()
        .unwrap_or_else(|| default_of(key, rules))
}

fn default_of(key: &str, rules: &ResumeRules) -> Value {
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
        "cache_hit_rates" => match rules.rates {
            DefaultRates::EveryFifth => (0..=100).step_by(5).collect(),
            DefaultRates::Hundred => json!([100]),
        },
        "reinit_strategy" => json!(rules.reinit_strategy),
        "init_strategy" => json!("min"),
        "plateau_detection" => json!("off"),
        "endpoint_selection" => json!("round-robin"),
        "tokenizer_id" => json!("Qwen/Qwen2.5-Coder-32B-Instruct"),
        "endpoint_type" => json!("chat"),
        "request_timeout" => json!(600),
        "http" => json!("auto"),
        "cooldown" => json!(0),
        "random_selection"
        | "strict_time_window"
        | "ignore_eos"
        | "insecure"
        | "ensure_working_set_coverage" => json!(false),
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
    let given = parameters.get("max_ttft").cloned().unwrap_or_default();
    let has_speed = parameters
        .get("min_tokens_per_req")
        .is_some_and(|speed| !speed.is_null());
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

/// Lists whose order has a meaning and whose repetitions have none.
fn first_of_each(value: Value) -> Value {
    let Value::Array(list) = value else {
        return value;
    };
    let mut kept: Vec<Value> = Vec::with_capacity(list.len());
    for item in list {
        if !kept.iter().any(|other| same(other, &item)) {
            kept.push(item);
        }
    }
    Value::Array(kept)
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

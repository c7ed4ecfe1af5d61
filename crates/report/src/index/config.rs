//! What was asked for: the configuration table, and notes on how to read the results.

use serde_json::Value;

use crate::chart::{count, fixed};
use crate::data::RunData;

/// One row of the configuration table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConfigRow {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// Set in a fixed-width font.
    pub(super) code: bool,
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
    let mut add = |name, value: Option<String>, code| {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            out.push(ConfigRow { name, value, code });
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
    add("API Endpoint", endpoint(data).map(|url| url + &more), true);
    add("Model", data.model().map(str::to_owned), false);
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
        true,
    );
    add("Mode", mode(data), false);
    add(
        "Context Sizes",
        list(integers(data, "context_sizes")),
        false,
    );
    add(
        "Working Set Size",
        integer(data, "working_set_size").map(tokens),
        false,
    );
    let sets = integers(data, "working_set_sizes");
    add(
        "Min Working Set",
        sets.iter().min().copied().map(tokens),
        false,
    );
    add(
        "Max Working Set",
        sets.iter().max().copied().map(tokens),
        false,
    );
    add("Cache Hit Rates", rates(data), false);
    let levels: Vec<String> = integers(data, "fixed_concurrency_levels")
        .into_iter()
        .map(count)
        .collect();
    add("Concurrency Levels", Some(levels.join(", ")), false);
    add(
        "Output Tokens",
        integer(data, "output_tokens").map(|n| format!("{} per request", count(n))),
        false,
    );
    add("TTFT Threshold", ttft_threshold(data), false);
    add("Min Tokens/Req", speed_threshold(data), false);
    add(
        "Test Duration",
        integer(data, "test_duration").map(|s| format!("{}s per test", count(s))),
        false,
    );
    if mode(data).as_deref() == Some("sustained") {
        add(
            "Assessment Period",
            integer(data, "assessment_period").map(|s| format!("{}s", count(s))),
            false,
        );
    } else {
        add(
            "Window per Level",
            integer(data, "ramp_duration").map(|s| format!("{}s", count(s))),
            false,
        );
    }
    add(
        "Iterations",
        integer(data, "num_iterations").map(|n| format!("{} per context", count(n))),
        false,
    );
    add(
        "Seed",
        data.parameter("seed").map(ToString::to_string),
        false,
    );
    if let Some(prompts) = data.facts.as_ref().and_then(|f| f.prompts.as_ref()) {
        let verified = format!(
            "{} verified whole, {} corrected",
            count(prompts.verified),
            count(prompts.corrected)
        );
        add("Prompts", Some(verified), false);
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

pub(super) fn min_speed(data: &RunData) -> Option<f64> {
    data.parameter("min_tokens_per_req")?
        .as_f64()
        .filter(|v| v.is_finite() && *v > 0.0)
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
        fixed(min_speed(data)?, 1),
        speed_metric(data).to_uppercase()
    ))
}

/// How the run went about its levels, in sentences.
pub(super) fn notes(data: &RunData) -> Vec<String> {
    let mode = mode(data).unwrap_or_else(|| "ramp".to_owned());
    let threshold = ttft_threshold(data);
    let mut out = Vec::new();
    match (mode.as_str(), threshold) {
        ("fixed", Some(limit)) => out.push(format!(
            "TTFT threshold: the given levels are measured in ascending order until one exceeds {limit}; the peak is the best level that kept it."
        )),
        ("sustained", Some(limit)) => {
            out.push(format!("TTFT threshold: concurrency rises while TTFT stays below {limit} and falls when it does not."));
        }
        (_, Some(limit)) => out.push(format!(
            "TTFT threshold: the ramp raises concurrency until {limit} is exceeded, narrows the border down, and takes as peak the level \
             with the highest input throughput that kept it."
        )),
        (_, None) => {}
    }
    if mode == "sustained" {
        out.push(
            "Sustained mode never stops sending: after every assessment period the concurrency goes up while the thresholds hold, and \
             down when one is broken or throughput falls. A result is the mean over all periods, the first ones included."
                .to_owned(),
        );
    } else if mode != "fixed"
        && let Some(seconds) = integer(data, "test_duration")
    {
        out.push(format!(
            "Test duration: the search for the peak is limited to {} seconds per test.",
            count(seconds)
        ));
    }
    if let Some(n) = integer(data, "num_retries").filter(|_| mode != "sustained") {
        out.push(match n {
            0 => "Retries: none, so charts show no spread.".to_owned(),
            1 => "Retries: the peak level is measured once more; charts show the mean and, as a band, the spread.".to_owned(),
            n => format!("Retries: the peak level is measured {n} more times; charts show the mean and, as a band, the spread."),
        });
    }
    out.push(
        "TTFT runs from handing a request to an open connection to the first text; throughput counts prompt tokens (input) and generated \
         tokens (output) per second of the whole server; Tokens/Req is the generation speed of one request."
            .to_owned(),
    );
    out.push(
        "Cache hit rate is the target share of each prompt that was sent before; cached parts end on whole cache blocks."
            .to_owned(),
    );
    out
}

pub(super) fn integer(data: &RunData, key: &str) -> Option<u64> {
    data.parameter(key)?
        .as_u64()
        .filter(|n| *n > 0 || key == "num_retries")
}

pub(super) fn integers(data: &RunData, key: &str) -> Vec<u64> {
    data.parameter(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect()
}

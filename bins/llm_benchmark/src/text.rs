//! Everything the tool says: the console block, the JSON file, and notes beside them.
//!
//! Promise: pure. The console block goes to stdout and is the original's to the character; the JSON
//! object has its eleven keys in its order. Notes and errors are lines for stderr.

use metrics::timeline::FailureKind;
use serde_json::{Map, Value, json};

use crate::plan::Plan;
use crate::summary::{ErrorKind, Latencies, Remarks, Summary};

/// Width of a banner line.
const BANNER: usize = 60;
/// Most texts that are listed for one kind of error.
const MOST_TEXTS: usize = 10;

/// The configuration block.
#[must_use]
pub fn configuration(plan: &Plan) -> String {
    let ratio = python_float(plan.repeat_ratio);
    let rows = [
        ("Endpoint:", plan.endpoint.to_string()),
        ("Requests:", plan.n_requests.to_string()),
        ("Concurrency:", plan.concurrency.to_string()),
        ("Max Tokens:", plan.max_tokens.to_string()),
        ("Repeat Ratio:", ratio),
    ];
    let rows = rows.map(|(label, value)| format!("   {label:<15}{value}\n"));
    format!("🔧 Benchmark Configuration:\n{}", rows.concat())
}

/// Said before the warm-up.
#[must_use]
pub fn warmup(n: usize) -> String {
    format!("\n🔥 Running {n} warmup requests...\n")
}

/// Said before the measurement.
#[must_use]
pub fn benchmark(n: usize) -> String {
    format!("\n🏃 Running {n} benchmark requests...\n")
}

/// The result block.
#[must_use]
pub fn results(summary: &Summary) -> String {
    let rule = "=".repeat(BANNER);
    let row = |label: &str, value: String| format!("   {label:<21}{value}\n");
    let ms = |label: &str, value: f64| row(label, format!("{value:.2} ms"));
    [
        format!("\n{rule}\nBENCHMARK RESULTS\n{rule}\n"),
        "\n📊 Request Summary:\n".to_owned(),
        row("Total Requests:", summary.total_requests.to_string()),
        row("Successful:", summary.successful_requests.to_string()),
        row("Failed:", summary.failed_requests.to_string()),
        "\n⏱\u{fe0f}  Latency Metrics:\n".to_owned(),
        ms("TTFT P50:", summary.ttft_p50_ms),
        ms("TTFT P95:", summary.ttft_p95_ms),
        ms("TTFT P99:", summary.ttft_p99_ms),
        ms("TPOT (avg):", summary.tpot_avg_ms),
        ms("Avg Latency:", summary.avg_latency_ms),
        "\n🚀 Throughput:\n".to_owned(),
        row(
            "Tokens/sec:",
            format!("{:.2}", summary.throughput_tokens_per_sec),
        ),
        row("Total Time:", format!("{:.2} sec", summary.total_time_sec)),
        "\n💾 Cache Performance:\n".to_owned(),
        row(
            "Hit Rate:",
            format!("{:.1}%", summary.cache_hit_rate * 100.0),
        ),
        format!("\n{rule}\n"),
    ]
    .concat()
}

/// Said when the file is written.
#[must_use]
pub fn saved(path: &str) -> String {
    format!("\n📁 Results saved to: {path}\n")
}

/// The JSON file: the eleven keys.
#[must_use]
pub fn json_results(summary: &Summary) -> Map<String, Value> {
    let value = json!({
        "total_requests": summary.total_requests,
        "successful_requests": summary.successful_requests,
        "failed_requests": summary.failed_requests,
        "ttft_p50_ms": summary.ttft_p50_ms,
        "ttft_p95_ms": summary.ttft_p95_ms,
        "ttft_p99_ms": summary.ttft_p99_ms,
        "tpot_avg_ms": summary.tpot_avg_ms,
        "throughput_tokens_per_sec": summary.throughput_tokens_per_sec,
        "cache_hit_rate": summary.cache_hit_rate,
        "avg_latency_ms": summary.avg_latency_ms,
        "total_time_sec": summary.total_time_sec,
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// What `--details` appends to them.
#[must_use]
pub fn json_details(
    plan: &Plan,
    remarks: &Remarks,
    errors: &[ErrorKind],
    from_intended: &Latencies,
    is_interrupted: bool,
) -> Map<String, Value> {
    let errors: Vec<Value> = errors
        .iter()
        .flat_map(|kind| {
            kind.errors.iter().map(|error| {
                json!({
                    "kind": kind.kind.as_str(),
                    "error": error.text,
                    "server_said": error.said,
                    "count": error.n,
                })
            })
        })
        .collect();
    let value = json!({
        "interrupted": is_interrupted,
        "errors": errors,
        "token_counts": {
            "reported_by_server": remarks.n_reported,
            "stream_chunks": remarks.n_chunks,
            "estimated": remarks.n_estimated,
            "empty_answers": remarks.n_empty,
        },
        "config": {
            "endpoint": plan.endpoint.to_string(),
            "requests": plan.n_requests,
            "concurrency": plan.concurrency,
            "max_tokens": plan.max_tokens,
            "repeat_ratio": plan.repeat_ratio,
            "warmup": plan.n_warmup,
            "timeout_sec": plan.timeout.as_secs_f64(),
            "shuffle_seed": plan.shuffle_seed,
            "version": env!("CARGO_PKG_VERSION"),
        },
        "from_intended": {
            "ttft_p50_ms": from_intended.ttft_p50_ms,
            "ttft_p95_ms": from_intended.ttft_p95_ms,
            "ttft_p99_ms": from_intended.ttft_p99_ms,
            "avg_latency_ms": from_intended.avg_latency_ms,
        },
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// What a perfect cache would reach, before the run.
#[must_use]
pub fn possible_hit_rate(plan: &Plan) -> String {
    let n_hits = plan.prompts.n_possible_hits();
    let percent = 100.0 * n_hits as f64 / plan.n_requests as f64;
    let mut line = format!(
        "note: a perfect response cache would reach a hit rate of {percent:.1}% ({n_hits} of {})",
        plan.n_requests
    );
    if plan.concurrency > 1 && n_hits > 0 {
        line.push_str("; copies in flight at the same time can lower it");
    }
    line
}

/// A warm-up that did not work.
#[must_use]
pub fn warmup_failures(n_failed: usize, n: usize, errors: &[ErrorKind]) -> String {
    let first = errors.first().and_then(|kind| kind.errors.first());
    let cause = first.map_or("", |error| error.text.as_str());
    format!("note: {n_failed} of {n} warm-up requests failed: {cause}")
}

/// What to know about the figures.
#[must_use]
pub fn notes(remarks: &Remarks) -> Vec<String> {
    let mut notes = Vec::new();
    if remarks.ttft_is_latency {
        notes.push(
            "note: answers came in one piece, so TTFT is the arrival of the headers and nearly the whole \
             latency; only a streaming endpoint shows the first token"
                .to_owned(),
        );
    }
    if remarks.n_estimated > remarks.n_empty {
        notes.push(
            "note: the server reports no token counts; tokens are estimated as characters / 4, and TPOT and \
             Tokens/sec with them"
                .to_owned(),
        );
    }
    if remarks.n_empty > 0 {
        notes.push(format!(
            "note: {} of {} answers had no text and count as 0 tokens: does the server answer with \"text\"?",
            remarks.n_empty, remarks.n_replies
        ));
    }
    if remarks.n_redirected > 0 {
        notes.push(format!(
            "note: {} redirected, which is part of their latency: give the final URL as --endpoint",
            counted(remarks.n_redirected, "request was", "requests were")
        ));
    }
    if remarks.n_dialled > 0 {
        let mean = 1000.0 * remarks.dialled.as_secs_f64() / remarks.n_dialled as f64;
        notes.push(format!(
            "note: for {} a connection had to be opened ({mean:.1} ms on average, in no latency): \
             does the server close connections?",
            counted(remarks.n_dialled, "request", "requests")
        ));
    }
    notes
}

/// What may have caused the failures, and what to do about them; no line without any.
#[must_use]
pub fn advice(plan: &Plan, errors: &[ErrorKind], has_success: bool) -> Vec<String> {
    let n_of = |wanted: FailureKind| {
        let of_kind = errors.iter().filter(|kind| kind.kind == wanted);
        of_kind.map(|kind| kind.n).sum::<usize>()
    };
    let mut lines = Vec::new();
    let n = n_of(FailureKind::Timeout);
    if n > 0 {
        lines.push(format!(
            "note: {} not finished within {} s: raise --timeout or lower --concurrency",
            counted(n, "request had", "requests had"),
            plan.timeout.as_secs_f64()
        ));
    }
    let n = n_of(FailureKind::Truncated);
    if n > 0 {
        lines.push(format!(
            "note: {} lost before the answer was complete: does the server close connections, or did it restart?",
            counted(n, "connection was", "connections were")
        ));
    }
    let misunderstood = [
        FailureKind::Status,
        FailureKind::Protocol,
        FailureKind::Empty,
    ];
    if !has_success && misunderstood.into_iter().any(|kind| n_of(kind) > 0) {
        lines.push(
            "note: no request succeeded: is --endpoint the URL that takes {\"prompt\", \"max_tokens\", \"temperature\"} \
             and answers {\"text\", \"cached\"}?"
                .to_owned(),
        );
    }
    lines
}

/// `1 request had`, `2 requests had`.
fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// The list of errors; no line without any.
#[must_use]
pub fn error_table(errors: &[ErrorKind], n_requests: usize) -> Vec<String> {
    let n_failed: usize = errors.iter().map(|kind| kind.n).sum();
    if n_failed == 0 {
        return Vec::new();
    }
    let mut lines = vec![format!(
        "errors: {n_failed} of {n_requests} requests failed"
    )];
    for kind in errors {
        lines.push(format!("   {} × {}", kind.kind, kind.n));
        for error in kind.errors.iter().take(MOST_TEXTS) {
            let mut line = format!("      {} × {}", error.text, error.n);
            if let Some(said) = &error.said {
                line.push_str(&format!(" ({said})"));
            }
            lines.push(line);
        }
        let rest = kind.errors.iter().skip(MOST_TEXTS);
        let n_rest: usize = rest.map(|error| error.n).sum();
        if n_rest > 0 {
            lines.push(format!("      other texts × {n_rest}"));
        }
    }
    lines
}

/// A run that was stopped.
#[must_use]
pub fn interrupted(n_finished: usize, n: usize) -> String {
    if n_finished == 0 {
        "interrupted: no measured request had finished, there are no results".to_owned()
    } else {
        format!("interrupted: {n_finished} of {n} requests had finished, the results are of those")
    }
}

/// A number as Python prints it: `0.3`, `1.0`, `5e-05`.
#[must_use]
pub fn python_float(value: f64) -> String {
    let text = format!("{value:?}");
    match text.split_once('e') {
        // Python writes two digits of an exponent at least, and its sign.
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_look_as_python_prints_them() {
        for (value, text) in [
            (0.3, "0.3"),
            (1.0, "1.0"),
            (0.0, "0.0"),
            (0.0001, "0.0001"),
            (0.00005, "5e-05"),
            (1.5e-7, "1.5e-07"),
            (1e16, "1e+16"),
            (1e-300, "1e-300"),
        ] {
            assert_eq!(python_float(value), text);
        }
    }

    #[test]
    fn long_lists_of_errors_are_cut_and_counted() {
        use crate::summary::ErrorText;
        let errors = (0..12)
            .map(|n| ErrorText {
                text: format!("text {n}"),
                said: None,
                n: 2,
            })
            .collect();
        let kind = ErrorKind {
            kind: metrics::timeline::FailureKind::Protocol,
            n: 24,
            errors,
        };
        let lines = error_table(&[kind], 30);
        assert_eq!(lines.len(), 13);
        assert_eq!(lines[0], "errors: 24 of 30 requests failed");
        assert_eq!(lines[1], "   protocol × 24");
        assert_eq!(lines[12], "      other texts × 4");
    }
}

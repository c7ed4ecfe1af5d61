//! Figures and settings of a run of the trace replay tool.

use serde_json::Value;

use super::config::{integer, integer_in};
use super::figure::{BoxView, seconds, speed};
use crate::chart::{count, fixed};
use crate::data::RunData;
use crate::trace_replay::{TracePeriod, TraceReplay, TraceRequests};

fn length(period: &TracePeriod) -> Option<f64> {
    Some(period.length)
}

/// What a reader came for.
pub(super) fn headline(trace: &TraceReplay) -> Vec<BoxView> {
    let mut out = Vec::new();
    let mut throughput = |name, figure: fn(&TracePeriod) -> Option<f64>| {
        if let Some(mean) = trace.mean(figure, length) {
            let highest = trace.highest(figure).unwrap_or(mean);
            let detail = format!("mean of the run; best period {}", speed(highest));
            out.push(BoxView::new(name, speed(mean), detail).strong());
        }
    };
    throughput("Input throughput", |p| p.input_tps);
    throughput("Output throughput", |p| p.output_tps);
    if trace.ttft.avg.is_some() {
        let detail = format!(
            "mean over answered requests; P95 {}, P99 {}",
            seconds(trace.ttft.p95),
            seconds(trace.ttft.p99)
        );
        out.push(BoxView::new("TTFT", seconds(trace.ttft.avg), detail).strong());
    }
    out
}

/// Totals of the run.
pub(super) fn boxes(trace: &TraceReplay, data: &RunData) -> Vec<BoxView> {
    let mut out = Vec::new();
    if let TraceRequests::Read { answered, failed } = trace.requests {
        let detail = format!("{} failed", count(failed));
        out.push(BoxView::new("Requests", count(answered), detail));
    }
    if trace.users_started > 0 {
        out.push(BoxView::new(
            "Users Created",
            count(trace.users_started),
            "started in the run",
        ));
    }
    if let Some(users) = trace.highest(|p| p.users) {
        out.push(BoxView::new(
            "Peak Users",
            fixed(users, 0),
            "at the end of a period",
        ));
    }
    out.push(BoxView::new(
        "Periods",
        count(trace.periods.len() as u64),
        format!(
            "{} min in all",
            fixed(
                trace.periods.iter().map(|p| p.length).sum::<f64>() / 60.0,
                1
            )
        ),
    ));
    let mut share = |name, scale: f64, detail, figure: fn(&TracePeriod) -> Option<f64>| {
        if let Some(mean) = trace.mean(figure, |p| p.completed) {
            let text = format!("{}%", fixed(mean * scale, 1));
            out.push(BoxView::new(name, text, detail));
        }
    };
    share("Cache Hit Rate", 100.0, "by the tool's own model", |p| {
        p.hit_rate
    });
    share(
        "Expected Hit Rate",
        100.0,
        "of what the server was sent",
        |p| p.expected_hit_rate,
    );
    share("Reported Hit Rate", 100.0, "by the server", |p| {
        p.reported_hit_rate
    });
    share("Goodput", 1.0, "of requests within all objectives", |p| {
        p.goodput
    });
    share(
        "Effective Goodput",
        1.0,
        "the time in the queue included",
        |p| p.effective_goodput,
    );
    if let Some(blocks) = trace.highest(|p| p.working_set_blocks) {
        let detail = integer(data, "chunk_size")
            .map(|size| format!("blocks of {} tokens", count(size)))
            .unwrap_or_else(|| "blocks".to_owned());
        out.push(BoxView::new("Peak Working Set", fixed(blocks, 0), detail));
    }
    out
}

/// Settings that only this tool has, and what the traces hold.
pub(super) fn settings(trace: &TraceReplay) -> Vec<(&'static str, Option<String>)> {
    let text = |key: &str| {
        let value = trace.parameters.get(key).and_then(Value::as_str);
        value.map(str::to_owned)
    };
    let set = |key: &str| integer_in(&trace.parameters, key);
    let stat = |key: &str| integer_in(&trace.stats, key);
    let percent = |key: &str| {
        let share = trace.stats.get(key).and_then(Value::as_f64)?;
        share
            .is_finite()
            .then(|| format!("{}%", fixed(share * 100.0, 1)))
    };
    let users = set("start_users")
        .zip(set("max_users"))
        .map(|(start, most)| format!("{} to {}", count(start), count(most)));
    let traces = stat("filtered_traces").map(|n| match stat("total_traces") {
        Some(all) if all != n => format!("{} of {}", count(n), count(all)),
        _ => count(n),
    });
    let inputs = stat("min_input_tokens")
        .zip(stat("max_input_tokens"))
        .map(|(least, most)| format!("{} to {} tokens", count(least), count(most)));
    vec![
        ("Trace Directory", text("trace_directory")),
        (
            "Max Context",
            set("max_context").map(|n| format!("{} tokens", count(n))),
        ),
        ("Users", users),
        ("Timing", text("timing_strategy")),
        (
            "Assessment Period",
            set("assessment_period").map(|s| format!("{}s", count(s))),
        ),
        ("Traces", traces),
        ("Requests in Traces", stat("total_requests").map(count)),
        ("Input of a Trace", inputs),
        ("Hit Rate of Traces", percent("avg_cache_hit_rate")),
        (
            "Ceiling, Any Block",
            percent("theoretical_set_cache_hit_rate"),
        ),
        (
            "Ceiling, Prefixes",
            percent("theoretical_prefix_cache_hit_rate"),
        ),
    ]
}

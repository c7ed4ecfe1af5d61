//! How to read the results, in sentences.

use super::config::{integer, mode, ttft_threshold};
use super::inventory::RunKind;
use crate::chart::count;
use crate::data::RunData;

/// Sentences under a heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notes {
    pub(super) heading: &'static str,
    pub(super) lines: Vec<String>,
}

/// The notes of a kind of results; `None` where nothing needs to be said.
pub(super) fn of(data: &RunData, kind: RunKind) -> Option<Notes> {
    let (heading, lines) = match kind {
        RunKind::SinglePrompt => ("How to Interpret", of_prompts()),
        RunKind::Sustained => ("About Sustained Mode", of_sustained(data)),
        RunKind::CacheRate | RunKind::WorkingSet => ("Test Notes", of_levels(data)),
        RunKind::Combined => ("How to Interpret", of_comparison()),
        RunKind::TraceReplay => ("How to Interpret", of_traces()),
    };
    (!lines.is_empty()).then_some(Notes { heading, lines })
}

fn sentences<const N: usize>(lines: [&str; N]) -> Vec<String> {
    lines.map(str::to_owned).into()
}

fn of_prompts() -> Vec<String> {
    sentences([
        "Baseline (cold start): a prompt nobody has sent before; the server has to compute its whole KV cache before the first token.",
        "Cached (100% hit): the same prompt again; with a working prefix cache only its last block is computed.",
        "Speedup: mean baseline TTFT divided by mean cached TTFT; higher is better. 2x to 10x shows that caching works, about 1x that it does not, \
         and it grows with the context, because more is saved.",
    ])
}

fn of_comparison() -> Vec<String> {
    sentences([
        "Speedup is throughput divided by that of the same configuration at its lowest cache hit rate, so configurations can be compared though \
         one is faster in itself.",
        "Lines join the rates that were measured; nothing is interpolated.",
    ])
}

fn of_traces() -> Vec<String> {
    sentences([
        "Recorded sessions are played again, each by a user that waits for its answers; users join while TTFT stays below the threshold.",
        "Cache hit rates are shares of blocks that came before, as the tool's own model counts them; reported is what the server says.",
        "Goodput is the share of requests that kept every objective; effective goodput counts the time in the queue as well.",
    ])
}

fn of_sustained(data: &RunData) -> Vec<String> {
    let mut out = vec![
        "Sustained mode never stops sending: it looks back after every assessment period and each row of the periods' files is one of them."
            .to_owned(),
    ];
    let limit = ttft_threshold(data)
        .map(|limit| format!(" (TTFT below {limit})"))
        .unwrap_or_default();
    let or_drops = if follows_throughput(data) {
        " or throughput drops"
    } else {
        ""
    };
    out.push(format!(
        "Concurrency rises while the thresholds hold{limit}, faster the more room there is, and falls when one is broken{or_drops}."
    ));
    out.push(
        "Use it to see whether a level is stable over minutes; a single short window may be lucky."
            .to_owned(),
    );
    out
}

/// Whether falling throughput lowers the concurrency: where the tool leaves it to an option, only with that.
fn follows_throughput(data: &RunData) -> bool {
    let rule = data.parameter("plateau_detection");
    rule.map_or(!data.varies_working_set, |rule| rule != "off")
}

/// How the run went about its levels.
fn of_levels(data: &RunData) -> Vec<String> {
    let mode = mode(data).unwrap_or_else(|| "ramp".to_owned());
    let mut out = Vec::new();
    match (mode.as_str(), ttft_threshold(data)) {
        ("fixed", Some(limit)) if data.varies_working_set => out.push(format!(
            "TTFT threshold: at every working-set size the given levels are measured in the order given until one exceeds {limit}; \
             the peak is the last one that kept it."
        )),
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
        let or_falls = if follows_throughput(data) {
            " or throughput falls"
        } else {
            ""
        };
        out.push(format!(
            "Sustained mode never stops sending: after every assessment period the concurrency goes up while the thresholds hold, and \
             down when one is broken{or_falls}. A result is the mean over all periods, the first ones included."
        ));
    } else if mode != "fixed"
        && let Some(seconds) = integer(data, "test_duration")
    {
        out.push(format!(
            "Test duration: the search for the peak is limited to {} seconds per test.",
            count(seconds)
        ));
    }
    if let Some(n) = integer(data, "num_retries").filter(|_| mode != "sustained") {
        let which = if mode == "fixed" {
            "every level that holds"
        } else {
            "the peak level"
        };
        out.push(match n {
            0 => "Retries: none, so charts show no spread.".to_owned(),
            1 => format!("Retries: {which} is measured once more; charts show the mean and, as a band, the spread."),
            n => format!("Retries: {which} is measured {n} more times; charts show the mean and, as a band, the spread."),
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

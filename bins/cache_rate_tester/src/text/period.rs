//! Lines of a sustained test: its periods, what follows from each, and what they come to.

use cli::logging::{Line, Style};
use cli::number::{fixed, rounded, thousands};
use metrics::{PeriodFigures, PeriodRow};
use ramp::{Broken, Decided, Decision, PeriodSpec, SustainedStop, Thresholds};
use setup::study::text::broken;

/// A period begins.
#[must_use]
pub fn period_start(spec: &PeriodSpec) -> Line {
    Line::styled(
        Style::Sub,
        format!(
            "Period {}: Running at concurrency {} for {:.1}s",
            spec.number,
            spec.concurrency,
            spec.length.as_secs_f64()
        ),
    )
}

/// What a period showed, and what follows.
#[must_use]
pub fn period_result(
    row: &PeriodRow,
    figures: &PeriodFigures,
    decided: &Decided,
    thresholds: &Thresholds,
) -> Vec<Line> {
    let s = |value| fixed(value, 3, "s");
    let ms = |value: Option<f64>| fixed(value.map(|seconds| seconds * 1000.0), 2, "ms");
    let mut lines = vec![
        Line::plain(format!(
            "  Prefills: {}, Contributing: {}, Launched: {}",
            figures.prefills, figures.contributing, figures.launched
        )),
        Line::plain(format!(
            "  Input: {} tok/s | Output: {} tok/s (streaming-based)",
            rounded(Some(row.input_tokens_per_sec)),
            rounded(Some(row.output_tokens_per_sec))
        )),
        Line::plain(format!(
            "  Avg TTFT: {} | P95 TTFT: {} | P99 TTFT: {}",
            s(row.avg_ttft),
            s(row.p95_ttft),
            s(row.p99_ttft)
        )),
        Line::plain(format!(
            "  Avg ITL: {} | P95 ITL: {} | Avg Tokens/Req: {}",
            ms(row.avg_itl),
            ms(row.p95_itl),
            fixed(row.avg_output_tokens_per_request, 1, " tok/s")
        )),
    ];
    if figures.waiting > 0 {
        lines.push(Line::warning(format!(
            "  {} requests have waited longer than the TTFT threshold for their first token",
            figures.waiting
        )));
    }
    if figures.failed > 0 {
        lines.push(Line::warning(format!(
            "  {} requests failed",
            figures.failed
        )));
    }
    lines.push(decision(decided, thresholds));
    lines
}

fn decision(decided: &Decided, thresholds: &Thresholds) -> Line {
    let Decided {
        decision,
        level,
        next,
        ..
    } = *decided;
    match decision {
        Decision::RampUp => Line::styled(
            Style::Success,
            format!(
                "  RAMP UP: {level} → {next} (+{}), {}",
                next.saturating_sub(level),
                headroom(decided, thresholds)
            ),
        ),
        Decision::RampDown => Line::warning(format!(
            "  RAMP DOWN: {level} → {next}, {}",
            reasons(decided)
        )),
        Decision::PlateauRampDown => Line::warning(format!(
            "  PLATEAU RAMP DOWN: {level} → {next}, input throughput is {} below its recent peak",
            percent(decided.decline)
        )),
        Decision::MinReached => Line::warning(format!(
            "  MIN REACHED: staying at {level}, the lowest level, {}",
            reasons(decided)
        )),
        Decision::MaxReached => Line::plain(format!(
            "  MAX REACHED: staying at {level}, {}",
            headroom(decided, thresholds)
        )),
        Decision::Stay => Line::plain(format!(
            "  STAY: {level}, nothing arrived that the thresholds could be held against"
        )),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "n/a".to_owned(), |percent| format!("{percent:.1}%"))
}

fn headroom(decided: &Decided, thresholds: &Thresholds) -> String {
    if thresholds.is_active() {
        format!("headroom {:.1}%", decided.verdict.headroom * 100.0)
    } else {
        "no threshold".to_owned()
    }
}

/// What called for a lower level.
fn reasons(decided: &Decided) -> String {
    if decided.decision == Decision::MinReached
        && decided.verdict.passed
        && let Some(decline) = decided.decline
    {
        return format!("input throughput is {decline:.1}% below its recent peak");
    }
    let measured = decided.verdict.broken.iter().filter(|b| match b {
        Broken::Invalid => true,
        Broken::Ttft { measured, .. } | Broken::Speed { measured, .. } => measured.is_some(),
    });
    let reasons: Vec<String> = measured.map(broken).collect();
    if reasons.is_empty() {
        "nothing arrived".to_owned()
    } else {
        reasons.join("; ")
    }
}

/// The periods of a test are over. Only measured ones are counted.
#[must_use]
pub fn periods_end(stop: &SustainedStop, periods: &[PeriodRow]) -> Vec<Line> {
    let mut lines = Vec::new();
    match stop {
        SustainedStop::TimeUp => {}
        SustainedStop::TooShort { number, left } => lines.push(Line::plain(format!(
            "Period {number}: Skipping (only {:.1}s remaining)",
            left.as_secs_f64()
        ))),
        SustainedStop::Hopeless { n } => lines.push(Line::warning(format!(
            "The lowest level broke a threshold in {n} periods in a row; the test ends early"
        ))),
    }
    let measured: f64 = periods.iter().map(|p| p.duration).sum();
    let requests: u64 = periods.iter().map(|p| p.num_requests_completed).sum();
    lines.push(Line::styled(
        Style::Success,
        format!(
            "Continuous mode complete: {} periods in {measured:.1}s",
            periods.len()
        ),
    ));
    lines.push(Line::plain(format!(
        "  Total requests: {}",
        thousands(requests)
    )));
    let best = periods
        .iter()
        .max_by(|a, b| a.input_tokens_per_sec.total_cmp(&b.input_tokens_per_sec));
    if let Some(best) = best {
        lines.push(Line::plain(format!(
            "  Peak input throughput: {} tok/s (period {}, concurrency {})",
            rounded(Some(best.input_tokens_per_sec)),
            best.period_number,
            best.concurrency_level
        )));
    }
    lines
}

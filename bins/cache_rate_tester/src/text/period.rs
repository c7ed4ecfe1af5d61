//! Lines of a sustained test: its periods, what follows from each, and what they come to.

use cli::logging::{Line, Style};
use cli::number::fixed;
use metrics::{PeriodFigures, PeriodRow};
use ramp::{Decided, Decision, PeriodSpec, SustainedStop, Thresholds};
use setup::study::text::{self, PeriodsEnd, decline, measured_reasons};

/// A period begins.
#[must_use]
pub fn period_start(spec: &PeriodSpec) -> Line {
    text::period_start("", spec)
}

/// What a period showed, and what follows.
#[must_use]
pub fn period_result(
    row: &PeriodRow,
    figures: &PeriodFigures,
    decided: &Decided,
    thresholds: &Thresholds,
) -> Vec<Line> {
    const INDENT: &str = "  ";
    let ms = |value: Option<f64>| fixed(value.map(|seconds| seconds * 1000.0), 2, "ms");
    let mut lines = vec![
        Line::plain(format!(
            "{INDENT}Prefills: {}, Contributing: {}, Launched: {}",
            figures.prefills, figures.contributing, figures.launched
        )),
        Line::plain(format!(
            "{} (streaming-based)",
            text::period_rates(INDENT, row)
        )),
        text::period_ttft(INDENT, row),
        Line::plain(format!(
            "{INDENT}Avg ITL: {} | P95 ITL: {} | Avg Tokens/Req: {}",
            ms(row.avg_itl),
            ms(row.p95_itl),
            fixed(row.avg_output_tokens_per_request, 1, " tok/s")
        )),
    ];
    lines.extend(text::period_warnings(INDENT, figures));
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
            decline(decided)
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
        && decided.decline.is_some()
    {
        return format!(
            "input throughput is {} below its recent peak",
            decline(decided)
        );
    }
    let reasons = measured_reasons(&decided.verdict);
    if reasons.is_empty() {
        "nothing arrived".to_owned()
    } else {
        reasons.join("; ")
    }
}

/// The periods of a test are over. Only measured ones are counted.
#[must_use]
pub fn periods_end(stop: &SustainedStop, periods: &[PeriodRow]) -> Vec<Line> {
    let end = PeriodsEnd {
        period_indent: "",
        indent: "",
        tried_with: "",
        peak: "Peak input throughput",
    };
    end.lines(stop, periods)
}

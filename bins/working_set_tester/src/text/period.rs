//! Lines of a sustained test: how the working set grows, its periods, what follows from each, what they come to.

use cli::logging::{Line, Style};
use cli::number::{fixed, thousands};
use engine::growth::GrowthPlan;
use metrics::{PeriodFigures, PeriodRow};
use ramp::{Decided, Decision, PeriodSpec, SustainedStop};
use setup::study::GrowthStep;
use setup::study::text::{self, PeriodsEnd, decline, measured_reasons};
use workload::ContextPlan;

/// Lines that the schedule takes at most.
const EVENTS_SHOWN: usize = 20;

/// The growth schedule of a test.
#[must_use]
pub fn growth_planned(plan: &GrowthPlan) -> Vec<Line> {
    let schedule = &plan.schedule;
    let tokens = |prompts: usize| {
        let tokens = plan.tokens_per_prompt.saturating_mul(prompts as u64);
        format!(
            "{prompts} {} ({} tokens)",
            prompts_word(prompts),
            thousands(tokens)
        )
    };
    // An event that adds nothing happens without a word.
    let events: Vec<_> = schedule.events.iter().filter(|e| e.prompts > 0).collect();
    let mut lines = vec![
        Line::styled(Style::Sub, "    Working set growth schedule:"),
        Line::plain(format!("      Initial: {}", tokens(schedule.initial))),
        Line::plain(format!("      Target: {}", tokens(schedule.target))),
        Line::plain(format!("      Growth events: {}", events.len())),
    ];
    let shown = if events.len() > EVENTS_SHOWN {
        EVENTS_SHOWN - 1
    } else {
        events.len()
    };
    lines.extend(events[..shown].iter().map(|event| {
        Line::plain(format!(
            "        T={:.0}s: Add {} {}",
            event.at.as_secs_f64(),
            event.prompts,
            prompts_word(event.prompts)
        ))
    }));
    if let (Some(last), true) = (events.last(), shown < events.len()) {
        let added: usize = events[shown..].iter().map(|event| event.prompts).sum();
        lines.push(Line::plain(format!(
            "        … {} more until T={:.0}s: {added} prompts",
            events.len() - shown,
            last.at.as_secs_f64()
        )));
    }
    lines
}

/// Prompts have joined.
#[must_use]
pub fn grown(step: GrowthStep) -> Vec<Line> {
    let GrowthStep {
        added,
        warm,
        n_prompts,
        target,
        tokens,
    } = step;
    let word = prompts_word(added);
    let what = if warm {
        format!("Activated {added} pre-warmed {word}")
    } else {
        format!("Added {added} new {word} (cache misses)")
    };
    vec![
        Line::styled(Style::Sub, format!("    Working Set Growth: {what}")),
        Line::plain(format!(
            "      Now: {n_prompts} of {target} prompts ({} tokens)",
            thousands(tokens)
        )),
    ]
}

fn prompts_word(n: usize) -> &'static str {
    if n == 1 { "prompt" } else { "prompts" }
}

/// A period begins.
#[must_use]
pub fn period_start(spec: &PeriodSpec) -> Line {
    text::period_start("  ", spec)
}

/// What follows from a period, and what it showed.
#[must_use]
pub fn period_result(row: &PeriodRow, figures: &PeriodFigures, decided: &Decided) -> Vec<Line> {
    const INDENT: &str = "    ";
    let ms = fixed(row.avg_itl.map(|seconds| seconds * 1000.0), 2, "ms");
    let mut lines = decision(decided);
    lines.extend([
        Line::plain(format!(
            "{INDENT}Completed: {}, Launched: {}",
            row.num_requests_completed, row.num_requests_launched
        )),
        Line::plain(text::period_rates(INDENT, row)),
        text::period_ttft(INDENT, row),
        Line::plain(format!(
            "{INDENT}Avg ITL: {ms} | Avg Tokens/Req: {}",
            fixed(row.avg_output_tokens_per_request, 1, " tok/s")
        )),
    ]);
    lines.extend(text::period_warnings(INDENT, figures));
    lines
}

fn decision(decided: &Decided) -> Vec<Line> {
    let Decided {
        decision,
        level,
        next,
        ..
    } = *decided;
    let room = format!("headroom: {:.1}%", decided.verdict.headroom * 100.0);
    match decision {
        Decision::RampUp => vec![Line::styled(
            Style::Success,
            format!(
                "    Performance thresholds OK ({room}) -> RAMP UP: {level} -> {next} (+{})",
                next.saturating_sub(level)
            ),
        )],
        Decision::MaxReached => vec![Line::plain(format!(
            "    Performance thresholds OK ({room}) BUT already at max concurrency ({level})"
        ))],
        Decision::RampDown => with_reasons(
            format!(
                "    Performance threshold(s) exceeded -> RAMP DOWN: {level} -> {next} (-{})",
                level.saturating_sub(next)
            ),
            decided,
        ),
        Decision::MinReached => with_reasons(
            format!(
                "    Performance threshold(s) exceeded BUT already at minimum concurrency ({level})"
            ),
            decided,
        ),
        Decision::PlateauRampDown => vec![Line::warning(format!(
            "    Input throughput is {} below its recent best -> PLATEAU RAMP DOWN: {level} -> {next} (-{})",
            decline(decided),
            level.saturating_sub(next)
        ))],
        Decision::Stay => vec![Line::plain(format!("    STAY: {level}"))],
    }
}

/// A decision to go down, with a line for each reason.
fn with_reasons(text: String, decided: &Decided) -> Vec<Line> {
    let mut reasons = measured_reasons(&decided.verdict);
    if reasons.is_empty() {
        reasons.push(if decided.verdict.passed && decided.decline.is_some() {
            format!(
                "input throughput is {} below its recent best",
                decline(decided)
            )
        } else {
            "nothing completed in the period".to_owned()
        });
    }
    std::iter::once(text)
        .chain(reasons.into_iter().map(|why| format!("      - {why}")))
        .map(Line::warning)
        .collect()
}

/// The periods of a test are over; its prompts are whole chunks of so many tokens. Only measured periods are counted.
#[must_use]
pub fn periods_end(stop: &SustainedStop, periods: &[PeriodRow], chunk_size: u64) -> Vec<Line> {
    let active = |row: Option<&PeriodRow>| row.and_then(|p| p.working_set_size);
    let last = active(periods.last()).unwrap_or_default();
    let end = PeriodsEnd {
        period_indent: "  ",
        indent: "    ",
        tried_with: &format!(" with a working set of {} tokens", thousands(last)),
        peak: "Peak throughput",
    };
    let mut lines = end.lines(stop, periods);
    let prompts = |row: Option<&PeriodRow>| {
        let tokens_per_prompt = row.map_or(1, |p| {
            ContextPlan {
                context_size: p.context_size,
                chunk_size,
                working_set_size: 1,
            }
            .rounded()
        });
        active(row).unwrap_or_default() / tokens_per_prompt.max(1)
    };
    let (initial, target) = (prompts(periods.first()), prompts(periods.last()));
    lines.push(Line::plain(format!(
        "      Working set growth: {} -> {} prompts (+{})",
        thousands(initial),
        thousands(target),
        thousands(target.saturating_sub(initial))
    )));
    lines.push(Line::plain(format!(
        "      Final working set size: {} tokens",
        thousands(last)
    )));
    lines
}

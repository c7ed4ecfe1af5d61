//! Lines of the search for the peak: levels, verdicts, decisions, and the table of repeats.

use cli::logging::{Line, Style};
use cli::number::{bracketed, fixed, rounded};
use cli::options::{SpeedMetric, TtftMetric};
use cli::table::{Column, header, row, rule};
use metrics::percentile::{mean, population_std};
use metrics::window::LevelMetrics;
use ramp::{Broken, Note, Peak, StopReason, TestedLevel, Thresholds, Verdict};

use crate::study::StudyOptions;

/// Below this many samples a 95th percentile is little else than the maximum, and the line says so.
const FEW_SAMPLES: usize = 20;
/// Difference between the strict and the usual rate that is worth a line.
const STRICT_DIFFERENCE: f64 = 0.02;
/// Difference beyond which the option is worth a thought.
const STRICT_HINT: f64 = 0.05;
/// Width of the rules in the table of repeats.
const RUNS_WIDTH: usize = 80;
/// Columns of the table of repeats.
const RUN_COLUMNS: [Column; 6] = [
    Column::left("Run", 10),
    Column::right("Input tok/s", 15),
    Column::right("Output tok/s", 15),
    Column::right("Avg TTFT", 12),
    Column::right("P95 TTFT", 12),
    Column::right("Requests", 10),
];

/// The statistics that the thresholds limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelStatistics {
    /// Of the TTFT.
    pub ttft: TtftMetric,
    /// Of the request speed.
    pub speed: SpeedMetric,
}

impl LevelStatistics {
    /// Those that the options name.
    #[must_use]
    pub fn of(options: &StudyOptions) -> Self {
        Self {
            ttft: options.ttft_metric,
            speed: options.speed_metric,
        }
    }
}

/// A window begins.
#[must_use]
pub fn level_start(concurrency: u32, phase_id: &str) -> Line {
    Line::styled(
        Style::Sub,
        format!("Testing concurrency {concurrency}... (phase: {phase_id})"),
    )
}

/// What a window showed.
#[must_use]
pub fn level_result(level: &LevelMetrics, statistics: LevelStatistics) -> Vec<Line> {
    let s = |value| fixed(value, 3, "s");
    let speed = |value| fixed(value, 1, "");
    let (ttft, tps) = (&level.ttft, &level.deciding);
    let (name, chosen) = match statistics.ttft {
        TtftMetric::Max => ("Max TTFT", ttft.max),
        TtftMetric::Avg => ("Avg TTFT", ttft.avg),
        TtftMetric::P95 => ("P95 TTFT", ttft.p95),
    };
    let few = if ttft.n < FEW_SAMPLES {
        format!(" (n={})", ttft.n)
    } else {
        String::new()
    };
    let mut lines = vec![
        Line::plain(format!(
            "  Avg TTFT: {}, P95 TTFT: {}, Max TTFT: {} ({name}: {}){few}",
            s(ttft.avg),
            s(ttft.p95),
            s(ttft.max),
            s(chosen)
        )),
        Line::plain(format!(
            "  Throughput: Input={} tok/s, Output={} tok/s",
            rounded(Some(tps.input_tps)),
            rounded(Some(tps.output_tps))
        )),
        Line::plain(format!(
            "  Avg Tokens/Req: {} tok/s (P5: {}, P10: {}; {} counts)",
            speed(level.speed.avg),
            speed(level.speed.p5),
            speed(level.speed.p10),
            statistics.speed.to_string().to_uppercase()
        )),
    ];
    if level.failed > 0 || level.cancelled > 0 {
        lines.push(Line::warning(format!(
            "  Of {} requests {} completed, {} failed and {} were cancelled at the end of the window",
            level.launched, level.completed, level.failed, level.cancelled
        )));
    }
    if level.strict_fell_back {
        lines.push(Line::warning(
            "  No request was both launched and completed within the window; all requests are counted in spite of \
             --strict-time-window",
        ));
    }
    lines
}

/// Whether the level held its thresholds. `None` where nothing limits it.
#[must_use]
pub fn verdict(verdict: &Verdict, thresholds: &Thresholds) -> Option<Line> {
    if verdict.passed {
        let is_limited = thresholds.max_ttft.is_some() || thresholds.min_speed.is_some();
        return is_limited.then(|| {
            Line::styled(
                Style::Success,
                format!(
                    "  Thresholds held, headroom {:.1}%",
                    verdict.headroom * 100.0
                ),
            )
        });
    }
    if is_faulty(verdict) {
        // No threshold is at fault here.
        return Some(Line::warning(
            "  Level failed: no request succeeded, more than half failed, or too many in a row",
        ));
    }
    let broken: Vec<String> = verdict.broken.iter().map(broken).collect();
    Some(Line::warning(format!(
        "  Threshold broken: {}",
        broken.join("; ")
    )))
}

/// Whether a level failed because its requests did, and not by a threshold.
#[must_use]
pub fn is_faulty(verdict: &Verdict) -> bool {
    verdict.broken.contains(&Broken::Invalid)
}

/// The search ended at its first level because that level's requests failed.
#[must_use]
pub fn first_level_faulty() -> Line {
    Line::plain("Search complete: the requests of the first level already failed")
}

/// One broken threshold in words.
#[must_use]
pub fn broken(broken: &Broken) -> String {
    match *broken {
        Broken::Invalid => "too many requests failed".to_owned(),
        Broken::Ttft {
            measured: Some(measured),
            max,
        } => format!("TTFT {measured:.3}s is above {max}s"),
        Broken::Ttft {
            measured: None,
            max,
        } => format!("no TTFT was measured to hold against {max}s"),
        Broken::Speed {
            measured: Some(measured),
            min,
        } => {
            format!("generation speed {measured:.1} tok/s per request is below {min} tok/s")
        }
        Broken::Speed {
            measured: None,
            min,
        } => {
            format!("no generation speed was measured to hold against {min} tok/s")
        }
    }
}

/// How the usual rate compares with the strict one, where they differ enough to matter; empty when the
/// strict one is what counts.
#[must_use]
pub fn strict_comparison(level: &LevelMetrics, strict: bool) -> Vec<Line> {
    let (Some(narrow), false) = (level.strict, strict) else {
        return Vec::new();
    };
    let usual = level.deciding;
    let difference = |narrow: f64, usual: f64| (usual > 0.0).then(|| narrow / usual - 1.0);
    let input = difference(narrow.input_tps, usual.input_tps);
    let output = difference(narrow.output_tps, usual.output_tps);
    let beyond = |limit: f64, value: Option<f64>| value.is_some_and(|value| value > limit);
    let is_far = |value: Option<f64>| beyond(STRICT_DIFFERENCE, value.map(f64::abs));
    if !is_far(input) && !is_far(output) {
        return Vec::new();
    }
    let signed = |value: Option<f64>| {
        value.map_or_else(|| "n/a".to_owned(), |v| format!("{:+.1}%", v * 100.0))
    };
    let mut lines = vec![Line::plain(format!(
        "  Strict time window comparison: Input={} tok/s ({}), Output={} tok/s ({})",
        rounded(Some(narrow.input_tps)),
        signed(input),
        rounded(Some(narrow.output_tps)),
        signed(output)
    ))];
    if beyond(STRICT_HINT, input) || beyond(STRICT_HINT, output) {
        lines.push(Line::plain(
            "  Many requests reach beyond the window; longer windows (--ramp-duration) would bring the two closer",
        ));
    }
    lines
}

/// A decision of the controller. `increment` is `--concurrency-increment`.
#[must_use]
pub fn note(note: &Note, increment: u32) -> Vec<Line> {
    let line = match note {
        Note::PeakChosen { peak, candidates } => return peak_chosen(peak, candidates),
        other => decision(other, increment),
    };
    vec![line]
}

fn decision(note: &Note, increment: u32) -> Line {
    let sub = |text: String| Line::styled(Style::Sub, text);
    match note {
        Note::OptimisticStart { level, configured } => sub(format!(
            "Starting at the last test's peak {level} instead of {configured}"
        )),
        Note::BackedOff { from, to } => Line::warning(format!(
            "Concurrency {from} was too high to start with, going back to {to}"
        )),
        Note::Climbing {
            from,
            to,
            headroom,
            multiple,
        } => Line::plain(format!(
            "  Headroom {:.1}% -> {multiple}x increment ({multiple} x {increment}): {from} -> {to}",
            headroom * 100.0
        )),
        Note::RefineStarted { good, bad } => sub(format!(
            "Refining between {good} (passed) and {bad} (failed)"
        )),
        Note::Refined {
            level,
            passed,
            good,
            bad,
        } => {
            let word = if *passed { "passed" } else { "failed" };
            Line::plain(format!(
                "  Concurrency {level} {word}, range is now {good} to {bad}"
            ))
        }
        Note::SearchEnded(reason) => stop(*reason),
        Note::PeakChosen { peak, .. } => chosen(peak),
        // Why is in the line on the failed test, which follows.
        Note::NoPeak => Line::plain("No level could be measured"),
        Note::RetriesStarted { concurrency, n } => sub(format!(
            "Phase 2: Retrying at peak concurrency {concurrency} ({n} times)"
        )),
        Note::LevelDone { concurrency } => {
            Line::plain(format!("Concurrency {concurrency} is measured"))
        }
        Note::LevelsLeftOut {
            failed,
            n_tested,
            untested,
        } => {
            let left_out = if untested.is_empty() {
                String::new()
            } else {
                format!("; not tested: {}", bracketed(untested))
            };
            Line::warning(format!(
                "Concurrency {failed} did not hold. Stopping fixed concurrency testing (tested {n_tested} of {} \
                 levels){left_out}",
                n_tested + untested.len()
            ))
        }
    }
}

/// The peak, and the levels it was chosen among.
fn peak_chosen(peak: &Peak, candidates: &[TestedLevel]) -> Vec<Line> {
    let mut lines = vec![chosen(peak)];
    if candidates.len() > 1 {
        lines.extend(candidates.iter().map(|level| {
            let mark = if level.phase_id == peak.phase_id {
                "→"
            } else {
                " "
            };
            Line::plain(format!(
                "  {mark} {:>5}: {} input tok/s, TTFT {}, {} tok/s per request",
                level.concurrency,
                rounded(Some(level.observation.input_tps)),
                fixed(level.observation.ttft, 3, "s"),
                fixed(level.observation.speed, 1, ""),
            ))
        }));
    }
    lines
}

fn chosen(peak: &Peak) -> Line {
    let input = rounded(Some(peak.observation.input_tps));
    if peak.passed {
        Line::styled(
            Style::Success,
            format!(
                "Peak concurrency: {} with {input} input tok/s ({})",
                peak.concurrency, peak.phase_id
            ),
        )
    } else {
        Line::warning(format!(
            "No level held the thresholds; concurrency {} comes closest ({input} input tok/s)",
            peak.concurrency
        ))
    }
}

fn stop(reason: StopReason) -> Line {
    match reason {
        StopReason::ThresholdFound => {
            Line::plain("Search complete: the threshold lies between two neighboring levels")
        }
        StopReason::RefineLimit => Line::plain("Search complete: refinement took all its steps"),
        StopReason::MaximumReached => {
            Line::plain("Search complete: --max-concurrency was reached with the thresholds held")
        }
        StopReason::TimeLimit => Line::plain("Search complete: time limit reached"),
        StopReason::FirstLevelFailed => Line::warning(
            "The first level already breaks a threshold; loosen it (--max-ttft, --min-tokens-per-req) or lower \
             --start-concurrency",
        ),
        StopReason::AllLevels => Line::plain("All levels were tested"),
        StopReason::LevelFailed => Line::plain("Testing ends at the first level that fails"),
    }
}

/// One window behind a result.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// `RAMP`, `RETRY1`, …; see [`Run::name_of`].
    pub name: String,
    /// Tokens/s.
    pub input_tps: f64,
    /// Tokens/s.
    pub output_tps: f64,
    /// Mean, seconds.
    pub avg_ttft: Option<f64>,
    /// 95th percentile, seconds.
    pub p95_ttft: Option<f64>,
    /// Completed requests.
    pub n_requests: u64,
}

impl Run {
    /// The name of a window in the table: `RETRY_2`, `FIXED_c4_RETRY_2` and `FIXED_c4_run2` are `RETRY2`, the first
    /// run of a given level is `INITIAL`; all windows of the search are `RAMP`.
    #[must_use]
    pub fn name_of(phase_id: &str) -> String {
        let repeat = phase_id
            .split_once("RETRY_")
            .or_else(|| phase_id.split_once("_run").filter(|(_, k)| *k != "0"));
        match repeat {
            Some((_, k)) => format!("RETRY{k}"),
            None if phase_id.starts_with("FIXED_") => "INITIAL".to_owned(),
            None => "RAMP".to_owned(),
        }
    }
}

/// The heading of a given level's table.
#[must_use]
pub fn level_summary(concurrency: u32) -> Line {
    Line::styled(
        Style::Sub,
        format!("Fixed Concurrency {concurrency} Summary:"),
    )
}

/// The table of the windows at the peak under its heading; nothing where there is one window alone.
#[must_use]
pub fn retry_summary(peak: u32, runs: &[Run]) -> Vec<Line> {
    if runs.len() < 2 {
        return Vec::new();
    }
    let ruled = || indented(rule('-', RUNS_WIDTH));
    let mut lines = vec![
        Line::styled(
            Style::Sub,
            format!("    Retry Summary (Peak Concurrency {peak}):"),
        ),
        indented(header(&RUN_COLUMNS)),
        ruled(),
    ];
    lines.extend(run_lines(runs));
    lines.push(ruled());
    lines.extend(mean_and_deviation(runs));
    lines
}

/// The table of windows at one level, with mean and (population) standard deviation.
#[must_use]
pub fn runs_table(runs: &[Run]) -> Vec<Line> {
    let mut lines = vec![indented(header(&RUN_COLUMNS))];
    lines.extend(run_lines(runs));
    lines.extend(mean_and_deviation(runs));
    lines
}

fn indented(text: String) -> Line {
    Line::plain(format!("    {text}"))
}

fn run_lines(runs: &[Run]) -> impl Iterator<Item = Line> {
    let s = |value| fixed(value, 3, "s");
    runs.iter().map(move |run| {
        indented(row(
            &RUN_COLUMNS,
            [
                run.name.clone(),
                rounded(Some(run.input_tps)),
                rounded(Some(run.output_tps)),
                s(run.avg_ttft),
                s(run.p95_ttft),
                run.n_requests.to_string(),
            ],
        ))
    })
}

fn mean_and_deviation(runs: &[Run]) -> [Line; 2] {
    let s = |value| fixed(value, 3, "s");
    let input: Vec<f64> = runs.iter().map(|run| run.input_tps).collect();
    let output: Vec<f64> = runs.iter().map(|run| run.output_tps).collect();
    let avg_ttft: Vec<f64> = runs.iter().filter_map(|run| run.avg_ttft).collect();
    let p95_ttft: Vec<f64> = runs.iter().filter_map(|run| run.p95_ttft).collect();
    let average = [
        "AVERAGE".to_owned(),
        rounded(mean(&input)),
        rounded(mean(&output)),
        s(mean(&avg_ttft)),
        s(mean(&p95_ttft)),
    ];
    let spread = [
        "STD DEV".to_owned(),
        deviation(&input),
        deviation(&output),
        s(population_std(&avg_ttft)),
        s(population_std(&p95_ttft)),
    ];
    [average, spread].map(|cells| indented(row(&RUN_COLUMNS, cells)))
}

/// `523 (±3.2%)`; the share is `n/a` where the mean is zero.
fn deviation(values: &[f64]) -> String {
    let deviation = population_std(values);
    let share = match (deviation, mean(values)) {
        (Some(deviation), Some(mean)) if mean > 0.0 => format!("{:.1}%", deviation / mean * 100.0),
        _ => "n/a".to_owned(),
    };
    format!("{} (±{share})", rounded(deviation))
}

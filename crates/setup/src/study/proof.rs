//! What the client says of itself behind a study: its error, its file, its marks.

use cli::options::Calibrate;
use core_client::Endpoint;
use core_client::null_server::calibration::{left_out, left_out_line, most_files};
use engine::calibration;
use engine::proof::{Proof, Stored, prove};
use engine::runtimes::Carriage;
use engine::stop::Stop;
use engine::study::StudyEnd;
use metrics::PeriodRow;
use metrics::health::{CALIBRATED_OVER, Planned, WindowHealth, missing_lines};
use report::files::{TableWriter, WriteError};
use report::test_name::TestName;
use serde_json::{Value, json};

use super::StudyOptions;

/// Bytes of a token of English text, as a rule; prompts of the calibration are as long as the study's.
const BYTES_PER_TOKEN: u64 = 5;
/// Longest prompt of the calibration: a client's error grows little with it, the calibration's memory does.
const MOST_PROMPT_BYTES: u64 = 1 << 20;

/// Measures the client's error at the levels of the study. Without a calibration windows are judged by what the
/// runtimes felt; that one was to be had and failed is worth a line, no more.
pub(super) async fn calibrate(
    options: &StudyOptions,
    carriage: &Carriage,
    n_runtimes: usize,
    end: &StudyEnd,
    stop: &Stop,
) -> Vec<Planned> {
    if options.calibrate == Calibrate::Off || end.stopped.is_some() || end.health.is_empty() {
        return Vec::new();
    }
    measure_error(carriage, n_runtimes, &end.health, stop).await
}

/// Measures the client's error at the levels and paces of `windows`, on a server inside the tool, and tells it.
pub async fn measure_error(
    carriage: &Carriage,
    n_runtimes: usize,
    windows: &[WindowHealth],
    stop: &Stop,
) -> Vec<Planned> {
    let bytes = |context_size: u64| {
        let bytes = context_size.saturating_mul(BYTES_PER_TOKEN);
        usize::try_from(bytes.min(MOST_PROMPT_BYTES)).unwrap_or_default()
    };
    tracing::info!("Measuring the client's own error (--calibrate off skips this)");
    let most_files = most_files();
    let calibrations =
        calibration::calibrate(carriage, n_runtimes, windows, bytes, most_files, stop).await;
    for c in calibrations.iter().filter_map(|c| c.outcome.as_ref().ok()) {
        let itl = c.itl.map(|itl| format!("; ITL error {}", itl.in_ms(3)));
        tracing::info!(
            "  At concurrency {}, {} tokens: TTFT error {}{} ({} requests)",
            c.level,
            c.context_size,
            c.ttft.in_ms(2),
            itl.unwrap_or_default(),
            c.n_requests
        );
    }
    for line in missing_lines(&calibrations) {
        tracing::warn!("{line}");
    }
    if let Some(line) = left_out_line(&of_study(carriage)).filter(|_| is_any(&calibrations)) {
        tracing::info!("  Note: {line}");
    }
    calibrations
}

/// Whether any level has a result.
fn is_any(calibrations: &[Planned]) -> bool {
    calibrations.iter().any(|c| c.outcome.is_ok())
}

/// What of the study's way to talk is not in the error.
fn of_study(carriage: &Carriage) -> Vec<&'static str> {
    let is_tls = |e: &Endpoint| e.base_url().starts_with("https:");
    left_out(carriage.endpoints.iter().any(is_tls), carriage.config.http)
}

/// All periods of a test.
pub(super) type TestPeriods = (TestName, Vec<PeriodRow>);

/// Judges every window, writes what changes and the client's own file, and adds the doubts that come of it. Returns the
/// periods of tests in which marks have changed: their pages show the old ones.
pub(super) fn conclude(
    calibrations: &[Planned],
    tables: &mut TableWriter,
    end: &mut StudyEnd,
) -> Result<Vec<TestPeriods>, WriteError> {
    if end.health.is_empty() || end.cannot_write {
        return Ok(Vec::new());
    }
    let stored = Stored {
        phases: tables.phases(),
        periods: &end.periods,
        summary: tables.summary(),
    };
    let Proof {
        rows,
        phases,
        periods,
        summary,
        doubts,
    } = prove(&end.health, calibrations, stored, &end.doubts);
    for doubt in &doubts {
        tracing::warn!(
            "{} tokens at {}%: {}",
            doubt.test.context_size,
            doubt.test.cache_hit_rate,
            doubt.text
        );
    }
    end.doubts.extend(doubts);
    let mut stored = tables.put_health(&rows);
    if !phases.is_empty() {
        stored = stored.and(tables.put_phases(&phases));
    }
    for (test, periods) in &periods {
        stored = stored.and(tables.put_periods(*test, periods));
    }
    if !summary.is_empty() {
        stored = stored.and(tables.put_summary(&summary));
    }
    stored.map(|()| periods)
}

/// What the run's facts keep of the client.
#[must_use]
pub fn facts(carriage: &Carriage, n_runtimes: usize, calibrations: &[Planned]) -> Value {
    let over = is_any(calibrations).then_some(CALIBRATED_OVER);
    let (mut measured, mut missing): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    for cell in calibrations {
        match &cell.outcome {
            Ok(c) => measured.push(json!({
                "context_size": c.context_size,
                "concurrency": c.level,
                "n_requests": c.n_requests,
                "ttft_error_p50": c.ttft.p50,
                "ttft_error_p99": c.ttft.p99,
                "itl_error_p50": c.itl.map(|itl| itl.p50),
                "itl_error_p99": c.itl.and_then(|itl| itl.p99),
            })),
            Err(why) => missing.push(json!({
                "context_size": cell.context_size,
                "concurrency": cell.level,
                "reason": why.to_string(),
                "remedy": why.remedy(),
            })),
        }
    }
    json!({
        "threads": n_runtimes,
        "calibrations": measured,
        "without_calibration": missing,
        "calibrated_over": over,
        "not_calibrated": of_study(carriage),
    })
}

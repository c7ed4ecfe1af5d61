//! What the client says of itself behind a study: its error, its file, its marks.

use cli::options::Calibrate;
use engine::calibration;
use engine::proof::{Proof, Stored, prove};
use engine::runtimes::Carriage;
use engine::stop::Stop;
use engine::study::StudyEnd;
use metrics::PeriodRow;
use metrics::health::{Calibration, WindowHealth};
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
) -> Vec<Calibration> {
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
) -> Vec<Calibration> {
    let bytes = |context_size: u64| {
        let bytes = context_size.saturating_mul(BYTES_PER_TOKEN);
        usize::try_from(bytes.min(MOST_PROMPT_BYTES)).unwrap_or_default()
    };
    tracing::info!("Measuring the client's own error (--calibrate off skips this)");
    let measured = calibration::calibrate(carriage, n_runtimes, windows, bytes, stop).await;
    let calibrations = measured.unwrap_or_else(|error| {
        tracing::warn!("no calibration: {:#}", anyhow::Error::new(error));
        Vec::new()
    });
    for c in &calibrations {
        let itl = c.itl.map_or_else(String::new, |itl| {
            format!(
                "; ITL error p50 {:.3} ms, p99 {:.3} ms",
                itl.p50 * 1e3,
                itl.p99 * 1e3
            )
        });
        tracing::info!(
            "  At concurrency {}, {} tokens: TTFT error p50 {:.2} ms, p99 {:.2} ms{itl} ({} requests)",
            c.level,
            c.context_size,
            c.ttft.p50 * 1e3,
            c.ttft.p99 * 1e3,
            c.n_requests
        );
    }
    calibrations
}

/// All periods of a test.
pub(super) type TestPeriods = (TestName, Vec<PeriodRow>);

/// Judges every window, writes what changes and the client's own file, and adds the doubts that come of it. Returns the
/// periods of tests in which marks have changed: their pages show the old ones.
pub(super) fn conclude(
    calibrations: &[Calibration],
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
pub fn facts(n_runtimes: usize, calibrations: &[Calibration]) -> Value {
    let calibrations: Vec<Value> = calibrations
        .iter()
        .map(|c| {
            json!({
                "context_size": c.context_size,
                "concurrency": c.level,
                "n_requests": c.n_requests,
                "ttft_error_p50": c.ttft.p50,
                "ttft_error_p99": c.ttft.p99,
                "itl_error_p50": c.itl.map(|itl| itl.p50),
                "itl_error_p99": c.itl.map(|itl| itl.p99),
            })
        })
        .collect();
    json!({"threads": n_runtimes, "calibrations": calibrations})
}

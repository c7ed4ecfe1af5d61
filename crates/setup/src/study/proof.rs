//! What the client says of itself behind a study: its error, its file, its marks.

use cli::options::Calibrate;
use core_client::{Endpoint, HttpVersion};
use engine::calibration;
use engine::proof::{Proof, Stored, prove};
use engine::runtimes::Carriage;
use engine::stop::Stop;
use engine::study::StudyEnd;
use metrics::PeriodRow;
use metrics::health::{CALIBRATED_OVER, Calibration, WindowHealth};
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
    let left_out = left_out(&carriage.endpoints, carriage.config.http);
    if !calibrations.is_empty() && !left_out.is_empty() {
        tracing::info!(
            "  That is the error over plain http/1.1: what {} cost the client in the study is not in it",
            left_out.join(" and ")
        );
    }
    calibrations
}

/// What of the study's way to talk costs a client something and is not in its calibrated error.
fn left_out(endpoints: &[Endpoint], http: HttpVersion) -> Vec<&'static str> {
    let tls = endpoints.iter().any(|e| e.base_url().starts_with("https:"));
    let http_2 = match http {
        HttpVersion::Http1 => None,
        HttpVersion::Http2 => Some("HTTP/2"),
        HttpVersion::Auto => tls.then_some("perhaps HTTP/2"),
    };
    tls.then_some("TLS").into_iter().chain(http_2).collect()
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
pub fn facts(carriage: &Carriage, n_runtimes: usize, calibrations: &[Calibration]) -> Value {
    let left_out = left_out(&carriage.endpoints, carriage.config.http);
    let over = (!calibrations.is_empty()).then_some(CALIBRATED_OVER);
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
                "itl_error_p99": c.itl.and_then(|itl| itl.p99),
            })
        })
        .collect();
    json!({
        "threads": n_runtimes,
        "calibrations": calibrations,
        "calibrated_over": over,
        "not_calibrated": left_out,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_calibration_leaves_out_is_known() {
        let of = |url: &str, http| left_out(&[Endpoint::parse(url).unwrap()], http);
        let (plain, tls) = ("http://127.0.0.1:1", "https://127.0.0.1:1");
        assert!(of(plain, HttpVersion::Auto).is_empty());
        assert!(of(plain, HttpVersion::Http1).is_empty());
        assert_eq!(of(plain, HttpVersion::Http2), ["HTTP/2"]);
        assert_eq!(of(tls, HttpVersion::Http1), ["TLS"]);
        assert_eq!(of(tls, HttpVersion::Auto), ["TLS", "perhaps HTTP/2"]);
        assert_eq!(of(tls, HttpVersion::Http2), ["TLS", "HTTP/2"]);
    }
}

//! What the client itself adds to the figures: felt while it measured, and calibrated behind that.
//!
//! Promise: the calibration sends as the measurement did, with the same client and as many requests in flight, to a
//! server inside the tool whose times are known, and to nobody else; it takes about a second.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use core_client::null_server::{Answered, Errors, NullServer, Script, Seen};
use core_client::plain::{PlainClient, PlainConfig, PlainExchange, PlainUrl};
use core_client::{HttpVersion, RequestBody, RunClock};
use futures_util::future::join_all;
use metrics::health::pace::Pace;
use metrics::health::{Calibration, ErrorBar, HealthRow, WindowHealth};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::answer;
use crate::args::StreamMode;

/// How long it takes, unless a percentile needs longer …
const LENGTH: Duration = Duration::from_secs(1);
/// … and at most.
const MOST_LENGTH: Duration = Duration::from_secs(3);
/// Limit of a request; the server is late by milliseconds.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// Measures the client's error with as many requests in flight and at the pace of what was measured; `None` when nothing was
/// measured, when it was stopped, or no request got through.
///
/// # Errors
/// When server or client cannot be had.
pub async fn calibrate(
    measured: &WindowHealth,
    most_tokens: i64,
    stop: &CancellationToken,
) -> Result<Option<Calibration>> {
    let most_tokens = u32::try_from(most_tokens).unwrap_or(u32::MAX);
    let Some(pace) = Pace::fastest([measured], most_tokens) else {
        return Ok(None);
    };
    let length = pace.needs(measured.level).clamp(LENGTH, MOST_LENGTH);
    let pace = pace.quickened(measured.level, length);
    let server = NullServer::start(Script::of(&pace), || {})
        .context("the server of the calibration does not start")?;
    let url = PlainUrl::parse(&format!("http://{}/generate", server.address()))
        .context("the server of the calibration cannot be addressed")?;
    let config = PlainConfig {
        http: HttpVersion::Http1,
        headers: Vec::new(),
        insecure: false,
        request_timeout: REQUEST_LIMIT,
        connect_timeout: REQUEST_LIMIT,
    };
    let client = PlainClient::new(url, config, RunClock::start())
        .context("the client of the calibration does not start")?;
    let ended = hold(&client, measured.level, pace, length, stop).await;
    drop(client);
    let truth: HashMap<String, Answered> = server
        .stop()
        .into_iter()
        .map(|answered| (answered.request_id.clone(), answered))
        .collect();
    if stop.is_cancelled() {
        return Ok(None);
    }
    let mut errors = Errors::new(pace.study_tokens);
    for Ended {
        id,
        exchange,
        has_ttft,
    } in &ended
    {
        let read = answer::read(exchange, StreamMode::Auto, |_| String::new());
        if let (Some(answered), Ok(reply)) = (truth.get(id), read) {
            let launched = exchange.timeline.launched;
            errors.add(
                answered,
                Seen {
                    launched,
                    tokens: Some((launched + reply.ttft, launched + reply.latency)),
                    n_tokens: usize::try_from(reply.output_tokens).unwrap_or(usize::MAX),
                    has_ttft: *has_ttft,
                },
            );
        }
    }
    Ok(errors.calibration(measured.context_size, measured.level))
}

/// A request that ended well.
struct Ended {
    id: String,
    exchange: PlainExchange,
    /// Whether it was sent whole, when the level had been entered.
    has_ttft: bool,
}

/// Holds the level for `length`; a slot whose request fails is not used again.
async fn hold(
    client: &PlainClient,
    level: u32,
    pace: Pace,
    length: Duration,
    stop: &CancellationToken,
) -> Vec<Ended> {
    client.open_connections(level as usize).await;
    let start = Instant::now();
    let slots = (0..level).map(|slot| async move {
        let mut turns = pace.slot(slot, level, length);
        let mut ended = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(start + turns.due()) => {}
            }
            let Some(turn) = turns.turn(start.elapsed()) else {
                break;
            };
            let id = format!("CALIBRATION_{slot}_{}", ended.len());
            let body = json!({
                "prompt": "How do neural networks work?",
                "max_tokens": turn.n_tokens,
                "temperature": 0.0,
                "request_id": id,
            });
            let body = RequestBody::new(vec![body.to_string().into()], 0);
            let exchange = client.post(body, client.clock().now(), stop).await;
            if exchange.failure.is_some() {
                break;
            }
            ended.push(Ended {
                id,
                exchange,
                has_ttft: turn.has_ttft,
            });
        }
        ended
    });
    join_all(slots).await.into_iter().flatten().collect()
}

/// The judgement on a run, by what was felt and by the calibration if there is one.
#[must_use]
pub fn judge(measured: &WindowHealth, calibration: Option<&Calibration>) -> HealthRow {
    HealthRow::new(measured, calibration)
}

/// Lines for people: by how much the client was late, and whether that is too much.
#[must_use]
pub fn lines(row: &HealthRow) -> Vec<String> {
    let Some(p50) = row.ttft_error_p50 else {
        return Vec::new();
    };
    let bar = ErrorBar {
        p50,
        p99: row.ttft_error_p99,
    };
    let mut lines = vec![format!(
        "note: the client itself was late by {}",
        bar.in_ms(2)
    )];
    if row.client_limited == Some(true) {
        lines.push(format!(
            "warning: the figures are limited by this client: {}; give it less company, or a machine of its own",
            row.limited_by
        ));
    }
    lines
}

/// The same for programs; times in milliseconds as everywhere in the file.
#[must_use]
pub fn object(row: &HealthRow, calibration: Option<&Calibration>) -> Value {
    let ms = |seconds: Option<f64>| seconds.map(|seconds| 1e3 * seconds);
    let is_limited = row.client_limited == Some(true);
    json!({
        "lag_p50_ms": ms(row.lag_p50),
        "lag_p99_ms": ms(row.lag_p99),
        "lag_max_ms": ms(row.lag_max),
        "send_delay_p99_ms": ms(row.send_delay_p99),
        "cpu_share": row.cpu_share,
        "missing_load_share": row.missing_load_share,
        "ttft_error_p50_ms": ms(row.ttft_error_p50),
        "ttft_error_p99_ms": ms(row.ttft_error_p99),
        "tpot_error_p50_ms": ms(row.itl_error_p50),
        "tpot_error_p99_ms": ms(row.itl_error_p99),
        "calibrated_requests": calibration.map(|calibration| calibration.n_requests),
        "limited": is_limited,
        "limited_by": is_limited.then_some(&row.limited_by),
    })
}

#[cfg(test)]
mod tests {
    use metrics::health::{Lag, Typical};

    use super::*;

    fn measured(ttft: f64, itl: Option<f64>) -> WindowHealth {
        let typical = |value| Typical {
            median: value,
            p95: value,
        };
        WindowHealth {
            level: 2,
            answer_tokens: itl.map(|_| 8.0),
            lag: Some(Lag {
                p50: 0.000_1,
                p99: 0.000_5,
                max: 0.002,
            }),
            ttft: typical(Some(ttft)),
            itl: typical(itl),
            ..WindowHealth::default()
        }
    }

    #[test]
    fn what_is_too_late_for_one_server_is_nothing_for_another() {
        let lines_of = |ttft| lines(&judge(&measured(ttft, None), None));
        assert_eq!(
            lines_of(0.1),
            ["note: the client itself was late by p50 0.10 ms, p99 0.50 ms"]
        );
        let lines = lines_of(0.001);
        assert_eq!(lines.len(), 2);
        assert!(
            lines[1].starts_with(
                "warning: the figures are limited by this client: the client's own TTFT error (p50 0.10 ms)"
            ),
            "{lines:?}"
        );
    }

    #[test]
    fn a_client_that_nobody_probed_says_nothing() {
        assert!(lines(&judge(&WindowHealth::default(), None)).is_empty());
    }

    #[tokio::test]
    async fn the_calibration_finds_the_times_of_its_server() {
        let window = measured(0.02, Some(0.005));
        let stop = CancellationToken::new();
        let calibration = calibrate(&window, 8, &stop).await.unwrap().unwrap();
        assert!(calibration.n_requests >= 2 && calibration.level == 2);
        // An answer takes 55 ms: whoever mixed answers up would be off by that much and more.
        assert!(calibration.ttft.p50 < 0.05, "{calibration:?}");
        assert!(calibration.itl.is_some());
        stop.cancel();
        assert_eq!(calibrate(&window, 8, &stop).await.unwrap(), None);
    }
}

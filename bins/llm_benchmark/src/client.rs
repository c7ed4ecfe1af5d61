//! What the client itself adds to the figures: felt while it measured, and calibrated behind that.
//!
//! Promise: the calibration sends as the measurement did, with the same client and as many requests in flight, to a
//! server inside the tool whose times are known, and to nobody else; it takes one to three seconds.

use std::time::Duration;

use core_client::null_server::calibration::{Seen, has_room, hold, left_out, left_out_line};
use core_client::null_server::{NullServer, Script};
use core_client::plain::{PlainClient, PlainConfig, PlainUrl};
use core_client::{HttpVersion, RequestBody, RunClock};
use metrics::health::pace::{Pace, Turn};
use metrics::health::{
    CALIBRATED_OVER, Calibration, ErrorBar, HealthRow, Missing, Planned, WindowHealth, judging,
    missing_lines,
};
use serde_json::{Value, json};
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
/// measured. `most_files` is the limit on open files.
pub async fn calibrate(
    measured: &WindowHealth,
    most_tokens: i64,
    most_files: u64,
    stop: &CancellationToken,
) -> Option<Planned> {
    let most_tokens = u32::try_from(most_tokens).unwrap_or(u32::MAX);
    let pace = Pace::fastest([measured], most_tokens, measured.level)?;
    let outcome = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Missing::Stopped),
        outcome = measure(measured, pace, most_files) => outcome,
    };
    Some(Planned {
        context_size: measured.context_size,
        level: measured.level,
        outcome,
    })
}

/// The error at a level and pace.
async fn measure(
    measured: &WindowHealth,
    pace: Pace,
    most_files: u64,
) -> Result<Calibration, Missing> {
    has_room(measured.level, most_files)?;
    let length = pace.needs(measured.level).clamp(LENGTH, MOST_LENGTH);
    let pace = pace.quickened(measured.level, length);
    let no_server = |error| {
        Missing::NotStarted(format!(
            "the server of the calibration does not start: {error}"
        ))
    };
    let server = NullServer::start(Script::of(&pace), || {}).map_err(no_server)?;
    let client = client(&server).map_err(|error| {
        Missing::NotStarted(format!("the client of the calibration: {error:#}"))
    })?;
    client.open_connections(measured.level as usize).await;
    let held = hold(measured.level, pace, length, |id, turn| {
        send(&client, id, turn)
    })
    .await;
    drop(client);
    held.outcome(server.stop(), &pace, measured.context_size, measured.level)
}

/// The same client as that of the measurement, of this server.
fn client(server: &NullServer) -> anyhow::Result<PlainClient> {
    let url = PlainUrl::parse(&format!("http://{}/generate", server.address()))?;
    let config = PlainConfig {
        http: HttpVersion::Http1,
        headers: Vec::new(),
        insecure: false,
        request_timeout: REQUEST_LIMIT,
        connect_timeout: REQUEST_LIMIT,
    };
    Ok(PlainClient::new(url, config, RunClock::start())?)
}

/// One request; an answer that cannot be read tells nothing.
async fn send(client: &PlainClient, id: String, turn: Turn) -> Result<Option<Seen>, String> {
    let body = json!({
        "prompt": "How do neural networks work?",
        "max_tokens": turn.n_tokens,
        "temperature": 0.0,
        "request_id": id,
    });
    let body = RequestBody::new(vec![body.to_string().into()], 0);
    let cancel = CancellationToken::new();
    let exchange = client.post(body, client.clock().now(), &cancel).await;
    if let Some(failure) = &exchange.failure {
        return Err(format!("{}: {}", failure.kind, failure.message));
    }
    let launched = exchange.timeline.launched;
    let reply = answer::read(&exchange, StreamMode::Auto, |_| String::new()).ok();
    Ok(reply.map(|reply| Seen {
        launched,
        tokens: Some((launched + reply.ttft, launched + reply.latency)),
        n_tokens: usize::try_from(reply.output_tokens).unwrap_or(usize::MAX),
    }))
}

/// The client's part in a run.
#[derive(Debug)]
pub struct ClientPart {
    row: HealthRow,
    /// The calibration, if one was to be.
    planned: Option<Planned>,
    /// What of the run's way to talk is not in it.
    left_out: Vec<&'static str>,
}

impl ClientPart {
    /// The judgement on a run by what was felt and by the calibration if it has a result; the server was asked over TLS or not,
    /// and over this HTTP.
    #[must_use]
    pub fn judge(
        measured: &WindowHealth,
        planned: Option<Planned>,
        has_tls: bool,
        http: HttpVersion,
    ) -> Self {
        let calibration = judging(planned.as_slice(), measured);
        Self {
            row: HealthRow::new(measured, calibration),
            left_out: left_out(has_tls, http),
            planned,
        }
    }

    /// Lines for people: by how much the client was late, what is not known of that, and whether it is too much.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let row = &self.row;
        let missing = missing_lines(self.planned.as_slice());
        let mut lines: Vec<String> = missing.iter().map(|line| format!("note: {line}")).collect();
        let Some(p50) = row.ttft_error_p50 else {
            return lines;
        };
        let bar = ErrorBar {
            p50,
            p99: row.ttft_error_p99,
        };
        let late = bar.in_ms(2);
        lines.push(format!("note: the client itself was late by {late}"));
        if let Some(line) = left_out_line(&self.left_out).filter(|_| self.is_calibrated()) {
            lines.push(format!("note: {line}"));
        }
        if row.client_limited == Some(true) {
            lines.push(format!(
                "warning: the figures are limited by this client: {}; give it less company, or a machine of its own",
                row.limited_by
            ));
        }
        lines
    }

    fn is_calibrated(&self) -> bool {
        self.row.calibrated_level.is_some()
    }

    /// The same for programs; times in milliseconds as everywhere in the file.
    #[must_use]
    pub fn object(&self) -> Value {
        let row = &self.row;
        let ms = |seconds: Option<f64>| seconds.map(|seconds| 1e3 * seconds);
        let is_limited = row.client_limited == Some(true);
        let missing = self.planned.as_ref().and_then(|p| p.outcome.as_ref().err());
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
            "calibrated_requests": row.calibrated_requests,
            "calibrated_over": self.is_calibrated().then_some(CALIBRATED_OVER),
            "not_calibrated": self.left_out,
            "without_calibration": missing.map(Missing::to_string),
            "limited": is_limited,
            "limited_by": is_limited.then_some(&row.limited_by),
        })
    }
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

    fn part(measured: &WindowHealth, planned: Option<Planned>) -> ClientPart {
        ClientPart::judge(measured, planned, false, HttpVersion::Auto)
    }

    #[test]
    fn what_is_too_late_for_one_server_is_nothing_for_another() {
        let lines_of = |ttft| part(&measured(ttft, None), None).lines();
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
        assert!(part(&WindowHealth::default(), None).lines().is_empty());
    }

    /// Ten thousand streams with room for 8,000 were judged by those that were left, and nothing was said.
    #[tokio::test]
    async fn a_level_that_does_not_fit_is_not_calibrated_and_told() {
        let window = measured(0.02, Some(0.005));
        let planned = calibrate(&window, 8, 67, &CancellationToken::new()).await;
        let part = part(&window, planned);
        let lines = part.lines();
        let why =
            "client and server together need 68 open files, and this process may open only 67";
        assert!(lines[0].starts_with("note: the client's own error at concurrency 2 was not"));
        assert!(lines[0].contains(why), "{lines:?}");
        assert!(lines[1].starts_with("note: the client itself was late by p50 0.10 ms"));
        let object = part.object();
        assert_eq!(object["without_calibration"], why);
        assert_eq!(object["calibrated_requests"], Value::Null);
        assert_eq!(object["calibrated_over"], Value::Null);
        assert_eq!(object["ttft_error_p99_ms"], object["lag_p99_ms"]);
    }

    #[test]
    fn what_tls_and_http_2_cost_is_said_not_to_be_in_the_error() {
        let window = measured(0.1, None);
        let error = ErrorBar {
            p50: 0.000_2,
            p99: None,
        };
        let planned = || {
            Some(Planned {
                context_size: window.context_size,
                level: window.level,
                outcome: Ok(Calibration {
                    context_size: window.context_size,
                    level: window.level,
                    ttft: error,
                    itl: None,
                    n_requests: 3,
                }),
            })
        };
        let of = |tls, http| ClientPart::judge(&window, planned(), tls, http);
        let told = of(true, HttpVersion::Auto);
        assert_eq!(
            told.lines()[1],
            "note: the client's error is that over plain http/1.1: what TLS and perhaps HTTP/2 cost it is not in it"
        );
        let object = told.object();
        assert_eq!(object["calibrated_over"], "http/1.1");
        assert_eq!(object["not_calibrated"], json!(["TLS", "perhaps HTTP/2"]));
        let plain = of(false, HttpVersion::Http1);
        assert_eq!(plain.lines().len(), 1);
        assert_eq!(plain.object()["not_calibrated"], json!([]));
    }

    #[tokio::test]
    async fn the_calibration_finds_the_times_of_its_server() {
        let window = measured(0.02, Some(0.005));
        let stop = CancellationToken::new();
        let planned = calibrate(&window, 8, u64::MAX, &stop).await.unwrap();
        let calibration = planned.outcome.unwrap();
        assert!(calibration.n_requests >= 2 && calibration.level == 2);
        // An answer takes 55 ms: whoever mixed answers up would be off by that much and more.
        assert!(calibration.ttft.p50 < 0.05, "{calibration:?}");
        assert!(calibration.itl.is_some());
        stop.cancel();
        let planned = calibrate(&window, 8, u64::MAX, &stop).await.unwrap();
        assert_eq!(planned.outcome, Err(Missing::Stopped));
    }
}

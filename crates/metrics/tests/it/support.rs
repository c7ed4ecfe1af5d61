//! Builders of requests and access to the data files.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use metrics::{
    ChunkStamp, Exchange, FailedRequest, Failure, FailureKind, RequestIntent, RequestRecord,
    Timeline, Usage, WallAnchor,
};

/// Epoch of the anchor used throughout; large, as real Unix time is.
pub(crate) const EPOCH: f64 = 1_795_309_663.0;

pub(crate) fn data_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

pub(crate) fn data(name: &str) -> File {
    let path = data_path(name);
    File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(crate) fn seconds(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

pub(crate) fn anchor() -> WallAnchor {
    WallAnchor {
        unix_at_epoch: EPOCH,
    }
}

pub(crate) fn intent(phase_id: &str, concurrency_level: u32) -> RequestIntent {
    RequestIntent {
        request_id: format!("{phase_id}_r0"),
        phase_id: phase_id.into(),
        cache_hit_rate: 50,
        context_size: 1000,
        cached_tokens: 256,
        unique_tokens: 744,
        question_tokens: 30,
        concurrency_level,
        endpoint: "http://localhost:8000".into(),
        working_set_size: None,
    }
}

/// A request that was launched at `launch` and took `total`, with its first token after a quarter of that
/// and its last at the end. Seconds; `launch` counts from zero.
pub(crate) fn request(launch: f64, total: f64, input: u64, output: u64) -> RequestRecord {
    let mut intent = intent("RAMP_c4", 4);
    intent.cached_tokens = 0;
    intent.unique_tokens = input;
    let ttft = total / 4.0;
    RequestRecord {
        intent,
        output_tokens: output,
        ttft: Some(ttft),
        ttlt: Some(total),
        generation_time: Some(total - ttft),
        total_time: total,
        launch_time: launch,
        finish_time: launch + total,
        itl: (output > 1).then(|| (total - ttft) / (output - 1) as f64),
        prefill_complete_time: launch + ttft,
        token_timestamps: Vec::new(),
        tokens_per_chunk: Vec::new(),
        reported_prompt_tokens: None,
        reported_cached_tokens: None,
        send_delay: None,
        dial_time: None,
        counted_locally: false,
    }
}

/// Stamps in seconds since the epoch of the run.
pub(crate) fn exchange(launched: f64, chunks: &[(f64, u32)], finished: f64) -> Exchange {
    Exchange {
        timeline: Timeline {
            intended: seconds(launched),
            launched: seconds(launched),
            dial: Duration::ZERO,
            headers_at: None,
            chunks: chunks
                .iter()
                .map(|(at, text_bytes)| ChunkStamp {
                    at: seconds(*at),
                    text_bytes: *text_bytes,
                })
                .collect(),
            finished: seconds(finished),
            ..Timeline::default()
        },
        usage: Usage::default(),
        text: String::new(),
        failure: None,
    }
}

/// A failed request of 1000 body tokens.
pub(crate) fn failed(
    kind: FailureKind,
    launched: f64,
    chunks: &[(f64, u32)],
    finished: f64,
) -> FailedRequest {
    let mut exchange = exchange(launched, chunks, finished);
    exchange.failure = Some(Failure {
        kind,
        status: None,
        message: "made to fail".to_owned(),
    });
    // The anchor is zero, so Unix seconds are the seconds of the run.
    FailedRequest::from_exchange(
        intent("RAMP_c4", 4),
        exchange,
        WallAnchor { unix_at_epoch: 0.0 },
    )
    .unwrap()
}

pub(crate) fn is_close(a: f64, b: f64, relative: f64) -> bool {
    (a - b).abs() <= relative * a.abs().max(b.abs())
}

#[track_caller]
pub(crate) fn assert_close(a: f64, b: f64, relative: f64, what: &str) {
    assert!(
        is_close(a, b, relative),
        "{what}: {a} is not {b} to {relative}"
    );
}

#[track_caller]
pub(crate) fn assert_option_close(a: Option<f64>, b: Option<f64>, relative: f64, what: &str) {
    match (a, b) {
        (Some(a), Some(b)) => assert_close(a, b, relative, what),
        (None, None) => {}
        _ => panic!("{what}: {a:?} is not {b:?}"),
    }
}

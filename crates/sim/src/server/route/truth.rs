//! `/sim/truth` and `/sim/requests`: what the model did, for tests and for people who want to learn.

use std::time::Duration;

use http::{Method, Request};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{
    Answer, ServerState, error_answer, json_answer, query_option, submit_error, wrong_method,
};
use crate::server::api::ApiError;

/// Answers a request below `/sim/`.
pub(super) async fn endpoint(
    state: &ServerState,
    request: &Request<Incoming>,
    path: &str,
) -> Answer {
    if request.method() != Method::GET {
        return wrong_method(&Method::GET);
    }
    let option = |name: &str| query_option(request, name).map(percent_decoded);
    let request_id = option("request_id");
    match path {
        "/sim/requests" => {
            let after: Option<u64> = option("after").and_then(|after| after.parse().ok());
            let mut requests = state.service.requests();
            requests.retain(|request| {
                after.is_none_or(|after| request.seq > after)
                    && (request_id.is_none() || request.request_id == request_id)
            });
            json_answer(&json!({"received": state.service.n_received(), "requests": requests}))
        }
        "/sim/truth" => match state.service.stats().await {
            Ok(stats) => json_answer(&truth(state, &stats, request_id.as_deref())),
            Err(error) => error_answer(&submit_error(&error)),
        },
        _ => error_answer(&ApiError::not_found(format!("no such endpoint: {path}"))),
    }
}

/// A part of a URL as it was meant; what is no valid escape stands for itself.
pub(super) fn percent_decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = behind
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() {
            &behind[2..]
        } else {
            behind
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn truth(
    state: &ServerState,
    stats: &crate::model::EngineStats,
    request_id: Option<&str>,
) -> Value {
    let engine = &state.config().engine;
    let tiers: Vec<_> = engine
        .tiers
        .iter()
        .zip(&stats.cache.tiers)
        .zip(&stats.occupancy)
        .enumerate()
        .map(|(index, ((tier, counters), (held, in_use)))| {
            // Nothing is loaded from the first tier.
            let is_lower = index > 0;
            json!({
                "name": tier.name,
                "gb_per_s": is_lower.then_some(tier.bytes_per_s / 1e9),
                "latency_s": is_lower.then_some(tier.latency.as_secs_f64()),
                "capacity_tokens": tier.capacity.get(),
                "capacity_blocks": tier.capacity.full_blocks(engine.block_size),
                "capacity_bytes": engine.kv_bytes_per_token.of(tier.capacity).get(),
                "blocks_held": held,
                "blocks_in_use": in_use,
                "hit_tokens": counters.hit_tokens,
                "stored_blocks": counters.stored_blocks,
                "evicted_blocks": counters.evicted_blocks,
                "demoted_blocks": counters.demoted_blocks,
                "expired_blocks": counters.expired_blocks,
                "refused_blocks": counters.refused_blocks,
            })
        })
        .collect();
    let late = state.service.lateness();
    let seconds = |late: Option<Duration>| late.map(|late| late.as_secs_f64());
    let mut truth = json!({
        "now_s": state.service.now().as_secs_f64(),
        "block_size": engine.block_size.get(),
        "kv_bytes_per_token": engine.kv_bytes_per_token.get(),
        "running": stats.running,
        "waiting": stats.waiting,
        "kv_usage": stats.kv_usage,
        "queried_tokens": stats.cache.queried_tokens,
        "generated_tokens": stats.generation_tokens,
        "completed": stats.completed,
        "cancelled": stats.cancelled,
        "preemptions": stats.preemptions,
        "steps": stats.steps,
        "socket_writes": state.service.socket_writes(),
        "written_late": {
            "tokens": late.tokens,
            "p50_s": seconds(late.p50),
            "p99_s": seconds(late.p99),
            "max_s": seconds(late.max),
        },
        "tiers": tiers,
    });
    if let (Some(id), Some(map)) = (request_id, truth.as_object_mut()) {
        let mut requests = state.service.requests();
        requests.retain(|request| request.request_id.as_deref() == Some(id));
        map.insert("requests".to_owned(), json!(requests));
    }
    truth
}

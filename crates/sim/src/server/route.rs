//! From a request to a response: endpoints, the key, faults, records.
//!
//! Promises: whatever arrives gets an answer in the form that real servers give, an error object included;
//! requests under `/sim/`, `/health` and `/metrics` are neither recorded nor hit by faults (but for `on=all`).

mod kept;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::api::{self, ApiError, Generation};
use super::body::{SimBody, Step};
use super::chunk::{APART, ChunkWriter, Head, Shape, usage_json};
use super::connection::Ending;
use super::metrics;
use super::response::{Keeper, ResponseCache};
use crate::config::SimConfig;
use crate::fault::{FaultKind, FaultScope, FaultState};
use crate::model::output;
use crate::prompt;
use crate::record::{ReceivedRequest, RequestState};
use crate::service::{SimEvent, SimService, SimStream, SubmitError};

/// Largest request body: some hundred million tokens of text would not fit, a million does many times over.
const BODY_LIMIT: usize = 256 << 20;

/// Bodies up to this size are parsed in place; larger ones on the blocking pool, so that no stream waits for it.
const PARSE_IN_PLACE: usize = 32 << 10;

/// What all connections share.
#[derive(Debug)]
pub(super) struct ServerState {
    service: SimService,
    faults: Mutex<FaultState>,
    responses: ResponseCache,
}

type Answer = Response<SimBody>;

impl ServerState {
    pub(super) fn new(service: SimService) -> Self {
        let faults = Mutex::new(FaultState::new(service.config().faults.clone()));
        Self {
            service,
            faults,
            responses: ResponseCache::default(),
        }
    }

    fn config(&self) -> &SimConfig {
        self.service.config()
    }

    fn draw_fault(&self, scope: FaultScope) -> Option<FaultKind> {
        self.faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .draw(scope)
    }
}

/// Answers one request.
pub(super) async fn handle(
    state: Arc<ServerState>,
    ending: Arc<Ending>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    if path.starts_with("/sim/") {
        return Ok(simulator_endpoint(&state, &request, &path).await);
    }
    let generation = match path.as_str() {
        "/v1/chat/completions" => Some(Shape::Chat),
        "/v1/completions" => Some(Shape::Completions),
        "/generate" => Some(if query_option(&request, "stream") == Some("ndjson") {
            Shape::GenerateLines
        } else {
            Shape::GenerateEvents
        }),
        _ => None,
    };
    let is_models = path == "/v1/models" || path.starts_with("/v1/models/");
    let scope = match generation {
        Some(_) => FaultScope::Chat,
        None if is_models => FaultScope::Models,
        None => FaultScope::All,
    };
    let fault = state.draw_fault(scope);
    let record = (scope != FaultScope::All || path.ends_with("tokenize")).then(|| {
        state
            .service
            .record(arrived(&state, &path, request.headers(), fault))
    });
    let mut awaited = Awaited {
        service: &state.service,
        record,
    };
    let request_id = request.headers().get("x-request-id").cloned();
    let mut answer = match before_answer(&ending, fault).await {
        Some(answer) => answer,
        None => match authorised(&state, &path, request.headers()) {
            Err(error) => error_answer(&error),
            Ok(()) => match generation {
                Some(shape) => {
                    generate(&state, shape, request, record.unwrap_or_default(), fault).await
                }
                None => other_endpoint(&state, request, &path).await,
            },
        },
    };
    awaited.record = None;
    if let Some(id) = request_id {
        answer.headers_mut().insert("x-request-id", id);
    }
    if let Some(record) = record {
        let status = answer.status();
        state.service.update_record(record, |record| {
            record.status = Some(status.as_u16());
            if !status.is_success() {
                record.state = RequestState::Refused;
            } else if generation.is_none() {
                record.state = RequestState::Done;
            }
        });
    }
    Ok(answer)
}

/// A recorded request without an answer yet. Dropped with its handler when the client goes away first:
/// before there is a stream, nobody else would notice.
struct Awaited<'a> {
    service: &'a SimService,
    /// Its number, until there is an answer.
    record: Option<u64>,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if let Some(record) = self.record {
            self.service
                .update_record(record, |record| record.state = RequestState::Cancelled);
        }
    }
}

fn arrived(
    state: &ServerState,
    path: &str,
    headers: &HeaderMap,
    fault: Option<FaultKind>,
) -> ReceivedRequest {
    let mut record = ReceivedRequest::new(path, state.service.now());
    record.fault = fault.map(|kind| format!("{kind:?}"));
    record.headers = headers
        .iter()
        .map(|(name, value)| {
            let secret = ["auth", "key", "token", "cookie", "secret"];
            let shown = if secret.iter().any(|word| name.as_str().contains(word)) {
                "<not kept>".into()
            } else {
                String::from_utf8_lossy(value.as_bytes()).into_owned()
            };
            (name.as_str().to_owned(), shown)
        })
        .collect();
    record.request_id = headers
        .get("x-request-id")
        .map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    record
}

/// Acts out the faults that need no request: an answer, or none at all.
async fn before_answer(ending: &Ending, fault: Option<FaultKind>) -> Option<Answer> {
    match fault? {
        FaultKind::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let message = format!("status {} was asked for by --fault", status.as_u16());
            Some(error_answer(&ApiError::of_status(status, message)))
        }
        FaultKind::Html => Some(answer(
            StatusCode::OK,
            "text/html; charset=utf-8",
            "<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please log in.</body></html>",
        )),
        FaultKind::Hang(Some(pause)) => {
            tokio::time::sleep(pause).await;
            None
        }
        FaultKind::Hang(None) => std::future::pending().await,
        kind @ (FaultKind::Reset | FaultKind::Close) => {
            ending.end(kind == FaultKind::Reset);
            // The connection's task drops this future together with the socket.
            std::future::pending().await
        }
        _ => None,
    }
}

fn authorised(state: &ServerState, path: &str, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(key) = state
        .config()
        .api_key
        .as_deref()
        .filter(|_| path.starts_with("/v1/"))
    else {
        return Ok(());
    };
    let sent = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if sent.and_then(|sent| sent.strip_prefix(b"Bearer ")) == Some(key.as_bytes()) {
        return Ok(());
    }
    let message = "the API key is missing or wrong";
    Err(ApiError::of_status(StatusCode::UNAUTHORIZED, message))
}

// --- endpoints ----------------------------------------------------------------------------------

async fn other_endpoint(
    state: &Arc<ServerState>,
    request: Request<Incoming>,
    path: &str,
) -> Answer {
    let method = request.method().clone();
    match (&method, path) {
        (&Method::GET, "/health" | "/ping") => answer(StatusCode::OK, "text/plain", ""),
        (&Method::GET, "/version") => json_answer(&json!({"version": env!("CARGO_PKG_VERSION")})),
        (&Method::GET, "/metrics") => match state.service.stats().await {
            Ok(stats) => {
                let page = metrics::render(&state.config().model, &state.config().engine, &stats);
                answer(
                    StatusCode::OK,
                    "text/plain; version=0.0.4; charset=utf-8",
                    page,
                )
            }
            Err(error) => error_answer(&submit_error(&error)),
        },
        (&Method::GET, "/v1/models") => {
            json_answer(&json!({"object": "list", "data": [model_object(state)]}))
        }
        (&Method::GET, path) if path.strip_prefix("/v1/models/") == Some(&state.config().model) => {
            json_answer(&model_object(state))
        }
        (&Method::POST, "/tokenize") => result_answer(tokenize(state, request).await),
        (&Method::POST, "/detokenize") => result_answer(detokenize(state, request).await),
        (&Method::POST, "/reset_prefix_cache") => match state.service.clear_cache().await {
            Ok(()) => {
                state.responses.clear();
                answer(StatusCode::OK, "text/plain", "")
            }
            Err(error) => error_answer(&submit_error(&error)),
        },
        _ => error_answer(&ApiError::not_found(format!(
            "no such endpoint: {method} {path}"
        ))),
    }
}

fn model_object(state: &ServerState) -> Value {
    json!({
        "id": state.config().model,
        "object": "model",
        "created": unix_time(),
        "owned_by": "kv_cache_sim",
        "root": state.config().model,
        "parent": null,
        "max_model_len": state.service.max_model_len().get(),
    })
}

async fn tokenize(state: &Arc<ServerState>, request: Request<Incoming>) -> Result<Value, ApiError> {
    let prompt = api::parse_tokenize(&read(request).await?)?;
    let ids = on_blocking_pool(state, move |service| {
        prompt::prompt_ids(service.tokenizer(), &prompt)
    })
    .await?;
    Ok(
        json!({"count": ids.len(), "max_model_len": state.service.max_model_len().get(), "tokens": ids}),
    )
}

async fn detokenize(
    state: &Arc<ServerState>,
    request: Request<Incoming>,
) -> Result<Value, ApiError> {
    let ids = api::parse_detokenize(&read(request).await?)?;
    let text = on_blocking_pool(state, move |service| service.tokenizer().decode(&ids)).await?;
    Ok(json!({ "prompt": text }))
}

async fn on_blocking_pool<T: Send + 'static>(
    state: &ServerState,
    work: impl FnOnce(&SimService) -> Result<T, crate::text::TextError> + Send + 'static,
) -> Result<T, ApiError> {
    let service = state.service.clone();
    match tokio::task::spawn_blocking(move || work(&service)).await {
        Ok(result) => result.map_err(|error| ApiError::bad_request(None, error.to_string())),
        Err(_) => Err(submit_error(&SubmitError::Stopped)),
    }
}

async fn simulator_endpoint(
    state: &ServerState,
    request: &Request<Incoming>,
    path: &str,
) -> Answer {
    if request.method() != Method::GET {
        return error_answer(&ApiError::of_status(
            StatusCode::METHOD_NOT_ALLOWED,
            "use GET",
        ));
    }
    let option = |name: &str| query_option(request, name);
    match path {
        "/sim/requests" => {
            let after: Option<u64> = option("after").and_then(|after| after.parse().ok());
            let mut requests = state.service.requests();
            requests.retain(|request| {
                after.is_none_or(|after| request.seq > after)
                    && option("request_id")
                        .is_none_or(|id| request.request_id.as_deref() == Some(id))
            });
            json_answer(&json!({"received": state.service.n_received(), "requests": requests}))
        }
        "/sim/truth" => match state.service.stats().await {
            Ok(stats) => json_answer(&truth(state, &stats, option("request_id"))),
            Err(error) => error_answer(&submit_error(&error)),
        },
        _ => error_answer(&ApiError::not_found(format!("no such endpoint: {path}"))),
    }
}

/// A value of the URL's query.
fn query_option<'r>(request: &'r Request<Incoming>, name: &str) -> Option<&'r str> {
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
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
        .map(|((tier, counters), (held, in_use))| {
            json!({
                "name": tier.name,
                "capacity_tokens": tier.capacity.get(),
                "capacity_blocks": tier.capacity.full_blocks(engine.block_size),
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
        "tiers": tiers,
    });
    if let (Some(id), Some(map)) = (request_id, truth.as_object_mut()) {
        let mut requests = state.service.requests();
        requests.retain(|request| request.request_id.as_deref() == Some(id));
        map.insert("requests".to_owned(), json!(requests));
    }
    truth
}

// --- generation ---------------------------------------------------------------------------------

async fn generate(
    state: &Arc<ServerState>,
    shape: Shape,
    request: Request<Incoming>,
    record: u64,
    fault: Option<FaultKind>,
) -> Answer {
    if request.method() != Method::POST {
        return error_answer(&ApiError::of_status(
            StatusCode::METHOD_NOT_ALLOWED,
            "use POST",
        ));
    }
    let given_id = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .map(str::to_owned);
    let is_stream_url = query_option(&request, "stream").is_some();
    let mut generation = match understand(shape, request).await {
        Ok(generation) => generation,
        Err(error) => return error_answer(&error),
    };
    if shape.is_generate() {
        generation.stream |= is_stream_url;
        generation.include_usage = true;
    }
    state.service.update_record(record, |record| {
        record.model.clone_from(&generation.model);
        record.stream = generation.stream;
    });
    if generation
        .model
        .as_ref()
        .is_some_and(|model| *model != state.config().model)
    {
        let message = format!(
            "the model `{}` does not exist",
            generation.model.unwrap_or_default()
        );
        return error_answer(&ApiError::not_found(message));
    }
    let key = kept::key(shape, &generation.request);
    // A fault is acted out on an answer that is generated.
    if let Some(key) = key.as_ref().filter(|_| fault.is_none())
        && let Some(kept) = state.responses.get(key)
    {
        return kept::answer(state, shape, generation.stream, record, key, &kept);
    }
    let keeper = key.map(|key| Keeper::new(state.responses.clone(), key));
    let stream = match state
        .service
        .submit_recorded(generation.request, record)
        .await
    {
        Ok(stream) => stream,
        Err(error) => return error_answer(&submit_error(&error)),
    };
    let suffix =
        given_id.unwrap_or_else(|| format!("{:016x}", output::mix(state.config().seed, record)));
    let head = Head {
        shape,
        id: format!("{}-{suffix}", shape.id_prefix()),
        created: unix_time(),
        model: state.config().model.clone(),
    };
    let mut answer = if generation.stream && fault != Some(FaultKind::NoStream) {
        streamed(state, stream, head, generation.include_usage, fault, keeper)
    } else {
        whole(state, stream, &head, fault, keeper).await
    };
    if fault == Some(FaultKind::WrongLength) {
        answer
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from_static("10000000"));
    }
    for name in generation.ignored {
        let warning = HeaderValue::from_str(&format!("199 kv_cache_sim \"{name} is ignored\""));
        if let Ok(warning) = warning {
            answer
                .headers_mut()
                .append(HeaderName::from_static("warning"), warning);
        }
    }
    answer
}

async fn understand(shape: Shape, request: Request<Incoming>) -> Result<Generation, ApiError> {
    let bytes = read(request).await?;
    if bytes.len() <= PARSE_IN_PLACE {
        return api::parse_generation(shape, &bytes);
    }
    match tokio::task::spawn_blocking(move || api::parse_generation(shape, &bytes)).await {
        Ok(generation) => generation,
        Err(_) => Err(submit_error(&SubmitError::Stopped)),
    }
}

fn streamed(
    state: &ServerState,
    stream: SimStream,
    head: Head,
    include_usage: bool,
    fault: Option<FaultKind>,
    keeper: Option<Keeper>,
) -> Answer {
    let shape = head.shape;
    let writer = ChunkWriter::new(
        head,
        include_usage,
        state.config().usage,
        fault,
        stream.finish_reason(),
        stream.output_tokens(),
    )
    .keeping(keeper);
    let mut answer = Response::new(SimBody::stream(stream, writer));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(shape.stream_type()));
    answer
}

/// Waits for the whole output and answers with one JSON object.
async fn whole(
    state: &ServerState,
    mut stream: SimStream,
    head: &Head,
    fault: Option<FaultKind>,
    mut keeper: Option<Keeper>,
) -> Answer {
    let finish = stream.finish_reason();
    let mut text = String::new();
    let mut report = None;
    while let Some(event) = stream.next().await {
        match event {
            SimEvent::Token { text: word, .. } => {
                text.push_str(&word);
                if let Some(keeper) = &mut keeper {
                    keeper.push(&word);
                }
            }
            SimEvent::Done { usage, .. } => {
                report = usage_json(state.config().usage, &usage);
                if let Some(keeper) = keeper.take() {
                    keeper.keep();
                }
            }
        }
    }
    match fault {
        Some(FaultKind::Empty) => text.clear(),
        Some(FaultKind::NoUsage) => report = None,
        Some(FaultKind::ErrorEvent { .. }) => {
            let message = "the engine failed (on purpose)";
            return error_answer(&ApiError::of_status(
                StatusCode::INTERNAL_SERVER_ERROR,
                message,
            ));
        }
        _ => {}
    }
    let bytes = Bytes::from(head.whole(&text, finish, report).to_string());
    let half = bytes.len() / 2;
    let (first, rest) = (bytes.slice(..half), bytes.slice(half..));
    let steps: VecDeque<Step> = match fault {
        Some(FaultKind::Cut { .. }) => [Step::Data(first), Step::Pause(APART), Step::Abort].into(),
        Some(FaultKind::Stall { pause, .. }) => {
            let wait = pause.map_or(Step::Forever, Step::Pause);
            [Step::Data(first), wait, Step::Data(rest)].into()
        }
        Some(FaultKind::Drip) => (0..bytes.len())
            .map(|at| Step::Data(bytes.slice(at..=at)))
            .collect(),
        _ => [Step::Data(bytes)].into(),
    };
    let mut answer = Response::new(SimBody::steps(steps));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

// --- answers ------------------------------------------------------------------------------------

async fn read(request: Request<Incoming>) -> Result<Bytes, ApiError> {
    match Limited::new(request.into_body(), BODY_LIMIT)
        .collect()
        .await
    {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(ApiError::bad_request(
            None,
            format!("cannot read the request: {error}"),
        )),
    }
}

fn submit_error(error: &SubmitError) -> ApiError {
    match error {
        SubmitError::Stopped => {
            ApiError::of_status(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        }
        SubmitError::ContextLength { .. } => {
            ApiError::bad_request(Some("input_tokens"), error.to_string())
        }
        SubmitError::Refused(_) | SubmitError::Text(_) => {
            ApiError::bad_request(None, error.to_string())
        }
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(SimBody::full(body));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

fn json_answer(value: &Value) -> Answer {
    answer(StatusCode::OK, "application/json", value.to_string())
}

fn error_answer(error: &ApiError) -> Answer {
    let mut answer = answer(error.status, "application/json", error.json().to_string());
    if matches!(
        error.status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        answer
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

fn result_answer(result: Result<Value, ApiError>) -> Answer {
    result.map_or_else(|error| error_answer(&error), |value| json_answer(&value))
}

fn unix_time() -> u64 {
    // A clock before 1970 is no reason to fail.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

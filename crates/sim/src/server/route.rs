//! From a request to a response: endpoints, the key, faults, records.
//!
//! Promises: whatever arrives gets an answer in the form that real servers give, an error object included;
//! requests under `/sim/`, `/health` and `/metrics` are neither recorded nor hit by faults (but for `on=all`).

mod generate;
mod kept;
mod truth;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::api::{self, ApiError};
use super::body::SimBody;
use super::chunk::Shape;
use super::connection::Ending;
use super::metrics;
use super::response::ResponseCache;
use crate::config::SimConfig;
use crate::fault::{FaultKind, FaultScope, FaultState};
use crate::prompt;
use crate::record::{ReceivedRequest, RequestState};
use crate::service::{SimService, SubmitError};

/// Largest request body: some hundred million tokens of text would not fit, a million does many times over.
const BODY_LIMIT: usize = 256 << 20;

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

    pub(super) fn service(&self) -> &SimService {
        &self.service
    }

    fn config(&self) -> &SimConfig {
        self.service.config()
    }

    pub(super) fn draw_fault(&self, scope: FaultScope) -> Option<FaultKind> {
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
        return Ok(truth::endpoint(&state, &request, &path).await);
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
                    generate::answer(&state, shape, request, record.unwrap_or_default(), fault)
                        .await
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
        FaultKind::Status(status) => Some(error_answer(&asked_for(status))),
        FaultKind::Busy {
            status,
            retry_after,
        } => {
            let mut answer = error_answer(&asked_for(status));
            answer
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(retry_after));
            Some(answer)
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

fn asked_for(status: u16) -> ApiError {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let message = format!("status {} was asked for by --fault", status.as_u16());
    ApiError::of_status(status, message)
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
    let Some(wanted) = method_of(state, path) else {
        let message = format!("no such endpoint: {method} {path}");
        return error_answer(&ApiError::not_found(message));
    };
    // Hyper leaves out the body of an answer to HEAD.
    if method != wanted && !(method == Method::HEAD && wanted == Method::GET) {
        return wrong_method(&wanted);
    }
    match path {
        "/health" | "/ping" => answer(StatusCode::OK, "text/plain", ""),
        "/version" => json_answer(&json!({"version": env!("CARGO_PKG_VERSION")})),
        "/metrics" => match state.service.stats().await {
            Ok(stats) => {
                let page = metrics::render(state.config(), &stats);
                answer(
                    StatusCode::OK,
                    "text/plain; version=0.0.4; charset=utf-8",
                    page,
                )
            }
            Err(error) => error_answer(&submit_error(&error)),
        },
        "/v1/models" => json_answer(&json!({"object": "list", "data": [model_object(state)]})),
        "/tokenize" => result_answer(tokenize(state, request).await),
        "/detokenize" => result_answer(detokenize(state, request).await),
        "/reset_prefix_cache" => match state.service.clear_cache().await {
            Ok(()) => {
                state.responses.clear();
                answer(StatusCode::OK, "text/plain", "")
            }
            Err(error) => error_answer(&submit_error(&error)),
        },
        // Nothing else has a method.
        _ => json_answer(&model_object(state)),
    }
}

/// The method of an endpoint other than those that generate; `None` if there is no such endpoint.
fn method_of(state: &ServerState, path: &str) -> Option<Method> {
    match path {
        "/health" | "/ping" | "/version" | "/metrics" | "/v1/models" => Some(Method::GET),
        "/tokenize" | "/detokenize" | "/reset_prefix_cache" => Some(Method::POST),
        _ => {
            let name = truth::percent_decoded(path.strip_prefix("/v1/models/")?);
            (name == state.config().model).then_some(Method::GET)
        }
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

/// A value of the URL's query.
fn query_option<'r>(request: &'r Request<Incoming>, name: &str) -> Option<&'r str> {
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

// --- answers ------------------------------------------------------------------------------------

/// The request's body. One beyond the limit is read to its end all the same, and thrown away: many clients look
/// for an answer only when they have sent everything, and would see a broken connection instead.
async fn read(request: Request<Incoming>) -> Result<Bytes, ApiError> {
    let mut body = request.into_body();
    let mut kept = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            ApiError::bad_request(None, format!("cannot read the request: {error}"))
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length <= BODY_LIMIT {
            kept.extend_from_slice(&data);
        } else {
            kept = BytesMut::new();
        }
    }
    if length > BODY_LIMIT {
        return Err(ApiError::of_status(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request has {length} bytes, more than the {BODY_LIMIT} that are taken"),
        ));
    }
    Ok(kept.freeze())
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

fn wrong_method(wanted: &Method) -> Answer {
    let error = ApiError::of_status(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("use {wanted} for this endpoint"),
    );
    let mut answer = error_answer(&error);
    if let Ok(value) = HeaderValue::from_str(wanted.as_str()) {
        answer.headers_mut().insert(ALLOW, value);
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

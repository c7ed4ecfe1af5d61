//! Requests for generated text: understood, handed to the service, answered as a stream or as a whole.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::{
    Answer, ServerState, error_answer, kept, query_option, read, submit_error, unix_time,
    wrong_method,
};
use crate::fault::FaultKind;
use crate::model::output;
use crate::server::api::{self, ApiError, Generation};
use crate::server::body::{SimBody, Step};
use crate::server::chunk::writer::{ChunkWriter, Wanted};
use crate::server::chunk::{APART, Head, Parts, Shape, extension, usage_json};
use crate::server::response::Keeper;
use crate::service::{SimEvent, SimStream, SubmitError};

/// Bodies up to this size are parsed in place; larger ones on the blocking pool, so that no stream waits for it.
const PARSE_IN_PLACE: usize = 32 << 10;

/// The function that a tool call names when no tool was offered.
const TOOL: &str = "answer";

/// Answers a request for generated text.
pub(super) async fn answer(
    state: &Arc<ServerState>,
    shape: Shape,
    request: Request<Incoming>,
    record: u64,
    fault: Option<FaultKind>,
) -> Answer {
    if request.method() != Method::POST {
        return wrong_method(&Method::POST);
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
    // Only chats have fields for these; and who only thinks calls nothing.
    let forms = &state.config().forms;
    let calls_tool = forms.tool_call && shape == Shape::Chat;
    let reasoning_tokens = forms
        .reasoning
        .filter(|_| shape == Shape::Chat)
        .map(|reasoning| reasoning.of(stream.output_tokens()));
    let reasoning = reasoning_tokens.unwrap_or(0);
    let head = Head {
        shape,
        id: format!("{}-{suffix}", shape.id_prefix()),
        created: unix_time(),
        model: state.config().model.clone(),
        tool: (calls_tool && reasoning < stream.output_tokens())
            .then(|| generation.tool.unwrap_or_else(|| TOOL.to_owned())),
        reasoning_tokens,
    };
    let mut answer = if generation.stream && fault != Some(FaultKind::NoStream) {
        let wanted = Wanted {
            usage: generation.include_usage,
            cached_split: generation.cached_split,
        };
        streamed(state, stream, head, wanted, fault, keeper)
    } else {
        whole(state, stream, &head, generation.cached_split, fault, keeper).await
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
    wanted: Wanted,
    fault: Option<FaultKind>,
    keeper: Option<Keeper>,
) -> Answer {
    let shape = head.shape;
    let writer =
        ChunkWriter::new(state.service.clone(), &stream, head, wanted, fault).keeping(keeper);
    // A line of JSON has no room for comments.
    let is_sse = shape != Shape::GenerateLines;
    let comments = state.config().forms.comments.filter(|_| is_sse);
    let mut answer = Response::new(SimBody::stream(stream, writer, comments));
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
    cached_split: bool,
    fault: Option<FaultKind>,
    mut keeper: Option<Keeper>,
) -> Answer {
    let config = state.config();
    let finish = stream.finish_reason();
    let reasoning = head.reasoning_tokens;
    let mut parts = Parts::default();
    let (mut report, mut split) = (None, None);
    while let Some(event) = stream.next().await {
        match event {
            SimEvent::Token { text, position, .. } => {
                let is_reasoning = reasoning.is_some_and(|n| position < n);
                let part = if is_reasoning {
                    &mut parts.reasoning
                } else {
                    &mut parts.answer
                };
                part.push_str(&text);
                if let Some(keeper) = &mut keeper {
                    keeper.push(&text);
                }
            }
            SimEvent::Done { usage, .. } => {
                report = usage_json(config.usage, &usage, reasoning);
                split = cached_split
                    .then(|| extension(config.usage, &config.engine, &usage))
                    .flatten();
                if let Some(keeper) = keeper.take() {
                    keeper.keep();
                }
            }
        }
    }
    if !stream.is_complete() {
        return error_answer(&submit_error(&SubmitError::Stopped));
    }
    match fault {
        Some(FaultKind::Empty) => parts = Parts::default(),
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
    let bytes = Bytes::from(
        head.whole(&parts, &config.forms, finish, report, split)
            .to_string(),
    );
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

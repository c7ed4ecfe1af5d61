//! Answers of `/generate` that were given before: at once, and without the engine.
//!
//! Promise: the record of such a request says that nothing was generated for it.

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::{Answer, ServerState, json_answer};
use crate::config::UsageForm;
use crate::prompt::{self, SimPrompt};
use crate::record::RequestState;
use crate::server::body::{SimBody, Step};
use crate::server::chunk::{Shape, generate_json};
use crate::server::response::{KeptResponse, ResponseKey};
use crate::service::SimRequest;

/// What a request to `/generate` is kept under.
pub(super) fn key(shape: Shape, request: &SimRequest) -> Option<ResponseKey> {
    match &request.prompt {
        SimPrompt::Text(prompt) if shape.is_generate() => Some(ResponseKey {
            prompt: prompt.as_str().into(),
            max_tokens: request.max_tokens,
        }),
        _ => None,
    }
}

/// The answer to a request that was answered before: at once, without the engine.
pub(super) fn answer(
    state: &ServerState,
    shape: Shape,
    stream: bool,
    record: u64,
    key: &ResponseKey,
    kept: &KeptResponse,
) -> Answer {
    let text = prompt::record_text([&*key.prompt].into_iter(), state.config().record.text_bytes);
    let now = state.service.now();
    state.service.update_record(record, |record| {
        record.state = RequestState::Done;
        record.max_tokens = key.max_tokens;
        record.text_prefix = Some(text.prefix);
        record.text_bytes = Some(text.bytes);
        record.text_sha256 = Some(text.sha256);
        record.completion_tokens = Some(0);
        record.done_s = Some(now.as_secs_f64());
    });
    let is_silent = state.config().usage == UsageForm::Missing;
    let tokens = (!is_silent).then(|| u64::from(kept.tokens));
    let value = generate_json(&kept.text, true, tokens);
    if !stream {
        return json_answer(&value);
    }
    let end = Bytes::from(shape.stream_end());
    let steps = [shape.record(&value), end]
        .into_iter()
        .filter(|bytes| !bytes.is_empty())
        .map(Step::Data);
    let mut answer = Response::new(SimBody::steps(steps));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(shape.stream_type()));
    answer
}

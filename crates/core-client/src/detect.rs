//! Asking a server which model it serves.

use std::time::Duration;

use http::StatusCode;
use metrics::timeline::Failure;
use serde::{Deserialize, Deserializer};

use crate::answer::not_a_stream;
use crate::body::RequestBody;
use crate::client::{Inner, read_body, start, status_failure};
use crate::route::{Call, Route};

/// Limit on the whole detection, connection included.
pub(crate) const DETECT_LIMIT: Duration = Duration::from_secs(10);

/// Longest list of models that is read, bytes.
const MAX_LIST_BYTES: usize = 16 << 20;

/// Why the model is not known. Reads after "could not detect model from `<url>`:".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    /// The request failed as any request can fail.
    #[error("{}", .0.message)]
    Failed(Failure),
    /// No answer in time.
    #[error("no answer within {} s: is the server up, and is the URL right?", .limit.as_secs_f64())]
    Timeout {
        /// The time that was given.
        limit: Duration,
    },
    /// An answer that is no list of models.
    #[error("{0}")]
    NoList(String),
    /// A list without models.
    #[error("the server lists no model: pass the name by --model")]
    NoModel,
}

/// A model as a server lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServedModel {
    /// The name that requests use.
    pub id: String,
    /// What the name stands for, a path on the server or an id of the Hub, where the server says so (vLLM, SGLang).
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub root: Option<String>,
}

impl ServedModel {
    /// A model that was named and not asked for.
    #[must_use]
    pub fn named(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            root: None,
        }
    }
}

/// Servers put what they like into fields that the API does not have.
fn text_or_nothing<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    let value = serde_json::Value::deserialize(value)?;
    Ok(value.as_str().map(str::to_owned))
}

#[derive(Deserialize)]
struct ModelList {
    data: Vec<ServedModel>,
}

/// First model of the server's list.
pub(crate) async fn first_model(inner: &Inner, route: &Route) -> Result<ServedModel, DetectError> {
    tokio::time::timeout(DETECT_LIMIT, ask(inner, route))
        .await
        .unwrap_or(Err(DetectError::Timeout {
            limit: DETECT_LIMIT,
        }))
}

async fn ask(inner: &Inner, route: &Route) -> Result<ServedModel, DetectError> {
    let mut stamps = crate::answer::Answer::new(Duration::ZERO, 0);
    let (mut link, response) = start(
        inner,
        route,
        Call::Models,
        RequestBody::default(),
        &mut stamps,
    )
    .await
    .map_err(DetectError::Failed)?;
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    if read_body(&mut link, &mut body, MAX_LIST_BYTES, &mut bytes).await {
        route.pool.put_back(link).await;
    }
    if head.status != StatusCode::OK {
        let failure = status_failure(head.status, &head.headers, &bytes, &inner.redactor);
        return Err(DetectError::Failed(failure));
    }
    match serde_json::from_slice::<ModelList>(&bytes) {
        Ok(list) => list.data.into_iter().next().ok_or(DetectError::NoModel),
        Err(_) if bytes.is_empty() => Err(DetectError::NoList(
            "the server sent an empty answer".into(),
        )),
        Err(_) => Err(DetectError::NoList(not_a_stream(
            "a list of models",
            &bytes,
            &inner.redactor,
        ))),
    }
}

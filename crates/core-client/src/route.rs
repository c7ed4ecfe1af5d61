//! Everything about requests to one endpoint that is the same for all of them.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};

use crate::body::RequestBody;
use crate::client::ClientError;
use crate::endpoint::{Endpoint, EndpointType};
use crate::pool::Pool;

/// Header by which a server's own record of a request is found.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that belong to the connection or the body and are set below us.
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The calls we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// `POST` of a completion.
    Complete,
    /// `GET` of the list of models.
    Models,
}

/// One call's URL in the form each HTTP version wants.
#[derive(Debug, Clone)]
struct Target {
    /// Path alone, for HTTP/1.1.
    origin: Uri,
    /// Whole URL, for HTTP/2.
    absolute: Uri,
}

/// One endpoint with its connections and prepared headers.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) pool: Arc<Pool>,
    complete: Target,
    models: Target,
    headers: HeaderMap,
    host: HeaderValue,
}

impl Route {
    pub(crate) fn new(
        endpoint: &Endpoint,
        pool: Arc<Pool>,
        endpoint_type: EndpointType,
        headers: HeaderMap,
    ) -> Result<Self, ClientError> {
        let target = |call: &str| {
            let origin = format!("{}{call}", endpoint.path()).parse();
            let absolute = format!("{}{call}", endpoint.base_url()).parse();
            match (origin, absolute) {
                (Ok(origin), Ok(absolute)) => Ok(Target { origin, absolute }),
                (Err(source), _) | (_, Err(source)) => Err(ClientError::Url {
                    url: endpoint.base_url().to_owned(),
                    source,
                }),
            }
        };
        Ok(Self {
            pool,
            complete: target(endpoint_type.path())?,
            models: target("/models")?,
            headers,
            // An authority has no character that a header could not carry.
            host: HeaderValue::from_str(&endpoint.origin().authority)
                .expect("a parsed authority is visible ASCII"),
        })
    }

    /// A request ready to be handed over.
    pub(crate) fn request(
        &self,
        call: Call,
        is_http2: bool,
        body: RequestBody,
    ) -> Request<RequestBody> {
        let target = match call {
            Call::Complete => &self.complete,
            Call::Models => &self.models,
        };
        let mut headers = self.headers.clone();
        if !is_http2 {
            headers
                .entry(header::HOST)
                .or_insert_with(|| self.host.clone());
        }
        if call == Call::Complete {
            headers
                .entry(header::CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("application/json"));
        }
        if let Some(id) = body.request_id() {
            headers.insert(REQUEST_ID, id.clone());
        }
        let mut request = Request::new(body);
        *request.method_mut() = match call {
            Call::Complete => Method::POST,
            Call::Models => Method::GET,
        };
        *request.uri_mut() = if is_http2 {
            target.absolute.clone()
        } else {
            target.origin.clone()
        };
        *request.headers_mut() = headers;
        request
    }
}

/// The headers of every request to an OpenAI API: ours, with those of the user in place of or beside
/// them.
pub(crate) fn common_headers(
    api_key: Option<&str>,
    custom: &[(HeaderName, HeaderValue)],
) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    let key = api_key.unwrap_or("EMPTY");
    let mut bearer =
        HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| ClientError::ApiKey)?;
    bearer.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, bearer);
    // What OpenAI's own client sends, also when it wants a stream.
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    with_custom(headers, custom)
}

/// Adds the headers that every request has, whatever is asked, and then those of the user.
pub(crate) fn with_custom(
    mut headers: HeaderMap,
    custom: &[(HeaderName, HeaderValue)],
) -> Result<HeaderMap, ClientError> {
    headers
        .entry(header::ACCEPT)
        .or_insert(HeaderValue::from_static("*/*"));
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!(
            env!("CARGO_PKG_NAME"),
            "/",
            env!("CARGO_PKG_VERSION")
        )),
    );
    for (i, (name, value)) in custom.iter().enumerate() {
        if RESERVED.contains(&name.as_str()) {
            return Err(ClientError::ReservedHeader { name: name.clone() });
        }
        let mut value = value.clone();
        value.set_sensitive(true);
        // A header given several times is sent several times; the first one takes the place of ours.
        if custom[..i].iter().any(|(earlier, _)| earlier == name) {
            headers.append(name.clone(), value);
        } else {
            headers.insert(name.clone(), value);
        }
    }
    Ok(headers)
}

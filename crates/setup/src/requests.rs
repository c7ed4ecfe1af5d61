//! Servers and what every request carries: from options to a client and its bodies.
//!
//! Promise: what was checked here can be sent. Secrets leave this type only towards the client.

use std::time::Duration;

use cli::Failure;
use cli::options::{DEFAULT_API_KEY, EndpointType, Header, HttpVersion, RequestArgs};
use cli::secret::{Redactor, Secret};
use core_client::{
    ClientConfig, ClientError, DetectError, Endpoint, RequestSettings, RequestTemplate,
};
use serde_json::{Map, Value, json};

use crate::{ArgumentError, check};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where requests go and what each of them carries.
#[derive(Debug, Clone)]
pub struct Requests {
    /// Servers, in the order given; the first one names the model.
    pub endpoints: Vec<Endpoint>,
    /// Model, if detection is to be skipped.
    pub model: Option<String>,
    /// Key, if one was given.
    pub api_key: Option<Secret>,
    /// Further headers of every request.
    pub headers: Vec<Header>,
    /// Which API is spoken.
    pub endpoint_type: EndpointType,
    /// Whether the server is asked not to stop early.
    pub ignore_eos: bool,
    /// Further fields of every request body.
    pub extra_body: Option<Map<String, Value>>,
    /// Limit of one request.
    pub request_timeout: Duration,
    /// Which HTTP version is spoken.
    pub http: HttpVersion,
    /// Whether any certificate is accepted.
    pub insecure: bool,
}

impl Requests {
    /// Checks what was typed.
    ///
    /// # Errors
    /// For the first value that cannot be used.
    pub fn new(endpoints: &[String], args: RequestArgs) -> Result<Self, ArgumentError> {
        let endpoints = endpoints
            .iter()
            .map(|url| Endpoint::parse(url))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            endpoints,
            model: check::not_empty("--model", "the name the server knows it by", args.model)?,
            api_key: check::api_key(args.api_key)?,
            headers: args.header,
            endpoint_type: args.endpoint_type,
            ignore_eos: args.ignore_eos,
            extra_body: args
                .extra_body
                .as_deref()
                .map(check::extra_body)
                .transpose()?,
            request_timeout: check::timeout("--request-timeout", args.request_timeout)?,
            http: args.http,
            insecure: args.insecure,
        })
    }

    /// The endpoints as they were given.
    #[must_use]
    pub fn urls(&self) -> Vec<&str> {
        self.endpoints.iter().map(Endpoint::given).collect()
    }

    /// The first endpoint as it was given.
    #[must_use]
    pub fn first_url(&self) -> &str {
        self.endpoints.first().map_or("", Endpoint::given)
    }

    /// The key to send: the given one or the placeholder.
    #[must_use]
    pub fn api_key_or_default(&self) -> &str {
        self.api_key
            .as_ref()
            .map_or(DEFAULT_API_KEY, Secret::expose)
    }

    /// Names of further headers, lower case and sorted; `null` without any. Values may be secret.
    #[must_use]
    pub fn header_names(&self) -> Value {
        let mut names: Vec<String> = self
            .headers
            .iter()
            .map(|header| header.name().to_ascii_lowercase())
            .collect();
        names.sort_unstable();
        if names.is_empty() {
            Value::Null
        } else {
            json!(names)
        }
    }

    /// Removes the key and the values of secret-looking headers from text that comes from outside.
    #[must_use]
    pub fn redactor(&self) -> Redactor {
        let key = self.api_key.as_ref().map(Secret::expose);
        let headers = self.headers.iter().filter(|header| header.is_secret());
        // "Bearer abc" must also be found as "abc".
        let parts =
            headers.flat_map(|header| header.value().split_whitespace().chain([header.value()]));
        Redactor::new(key.into_iter().chain(parts))
    }

    /// How the client talks to the servers.
    ///
    /// # Errors
    /// For a header that cannot be sent.
    pub fn client_config(&self) -> Result<ClientConfig, ArgumentError> {
        let headers = self
            .headers
            .iter()
            .map(|header| {
                let refused = || ArgumentError::Header {
                    name: header.name().to_owned(),
                };
                let name = header.name().parse().map_err(|_| refused())?;
                let value = header.value().parse().map_err(|_| refused())?;
                Ok((name, value))
            })
            .collect::<Result<Vec<_>, ArgumentError>>()?;
        Ok(ClientConfig {
            endpoint_type: self.api(),
            http: match self.http {
                HttpVersion::Auto => core_client::HttpVersion::Auto,
                HttpVersion::Http1 => core_client::HttpVersion::Http1,
                HttpVersion::Http2 => core_client::HttpVersion::Http2,
            },
            api_key: self.api_key.as_ref().map(|key| key.expose().to_owned()),
            headers,
            insecure: self.insecure,
            request_timeout: self.request_timeout,
            connect_timeout: CONNECT_TIMEOUT.min(self.request_timeout),
        })
    }

    /// The body around the prompt of every measured request; [`RequestTemplate::warmup`] makes that of a warm-up.
    ///
    /// # Errors
    /// For an extra body that would replace the prompt or turn streaming off.
    pub fn template(
        &self,
        model: &str,
        output_tokens: u64,
    ) -> Result<RequestTemplate, ArgumentError> {
        Ok(RequestTemplate::new(RequestSettings {
            model: model.to_owned(),
            output_tokens,
            ignore_eos: self.ignore_eos,
            extra_body: self.extra_body.clone(),
            endpoint_type: self.api(),
        })?)
    }

    /// The failure of a run whose server does not say which model it serves.
    #[must_use]
    pub fn cannot_detect(&self, error: ClientError) -> Failure {
        let endpoint = self.first_url();
        let endpoint = endpoint.strip_suffix("/v1").unwrap_or(endpoint);
        let what = format!("Could not detect model from {endpoint}/v1/models");
        let ClientError::DetectModel { source, .. } = error else {
            return Failure::run(anyhow::Error::new(error).context(what));
        };
        let hint = detection_hint(&source);
        let failure = Failure::run(anyhow::Error::new(source).context(what));
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }

    fn api(&self) -> core_client::EndpointType {
        match self.endpoint_type {
            EndpointType::Chat => core_client::EndpointType::Chat,
            EndpointType::Completions => core_client::EndpointType::Completions,
        }
    }
}

/// What to do where no model was found; `None` where the cause says it all.
fn detection_hint(error: &DetectError) -> Option<&'static str> {
    match error {
        DetectError::Failed(failure) => match failure.status {
            // Without the right key no request will do better.
            Some(401 | 403) => None,
            // The server is there, and may only lack this list.
            Some(_) => Some("--model NAME leaves the question out"),
            None => Some("check that the server runs and that --api-endpoint names it"),
        },
        DetectError::Timeout { .. } => {
            Some("check that the server runs and that --api-endpoint names it")
        }
        DetectError::NoList(_) => Some(
            "check that --api-endpoint names an OpenAI API; --model NAME leaves the question out",
        ),
        _ => None,
    }
}

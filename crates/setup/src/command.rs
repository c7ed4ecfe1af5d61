//! The options that repeat a run, for the script beside its results.
//!
//! Promise: what is written parses back to the same plan, secrets aside, which leave masked.

use std::time::Duration;

use cli::options::{EndpointType, HttpVersion};
use cli::secret::MASK;
use serde_json::{Number, Value, json};

use crate::Requests;

/// Options gathered one by one, in the order of the script.
#[derive(Debug, Default)]
pub struct Options(Vec<(String, Vec<String>)>);

impl Options {
    /// An option that is always written.
    pub fn always<T: ToString>(&mut self, flag: &str, values: impl IntoIterator<Item = T>) {
        self.0.push((
            flag.to_owned(),
            values.into_iter().map(|value| value.to_string()).collect(),
        ));
    }

    /// An option that is written where it differs from its default.
    pub fn unless<T: ToString + PartialEq>(&mut self, flag: &str, value: T, default: T) {
        if value != default {
            self.always(flag, [value]);
        }
    }

    /// A list that is written where it differs from its default.
    pub fn list_unless<T: ToString + PartialEq>(
        &mut self,
        flag: &str,
        values: &[T],
        default: &[T],
    ) {
        if values != default {
            self.always(flag, values.iter().map(ToString::to_string));
        }
    }

    /// An option that is written where it was given.
    pub fn if_given<T: ToString>(&mut self, flag: &str, value: Option<T>) {
        if let Some(value) = value {
            self.always(flag, [value]);
        }
    }

    /// A span in seconds, written where it differs from its default.
    pub fn span(&mut self, flag: &str, value: Duration, default: Duration) {
        if value != default {
            self.always(flag, [value.as_secs_f64()]);
        }
    }

    /// A switch that is written where it is on.
    pub fn switch(&mut self, flag: &str, on: bool) {
        if on {
            self.always::<String>(flag, []);
        }
    }

    /// What every request carries, endpoints aside. The key and the values of secret-looking headers are masked, so
    /// that the script can say what it does not hold.
    pub fn requests(&mut self, requests: &Requests) {
        self.if_given("--model", requests.model.as_ref());
        self.if_given("--api-key", requests.api_key.as_ref().map(|_| MASK));
        for header in &requests.headers {
            let value = if header.is_secret() {
                MASK
            } else {
                header.value()
            };
            self.always("--header", [format!("{}: {value}", header.name())]);
        }
        self.unless(
            "--endpoint-type",
            requests.endpoint_type,
            EndpointType::default(),
        );
        self.switch("--ignore-eos", requests.ignore_eos);
        self.if_given(
            "--extra-body",
            requests.extra_body.clone().map(Value::Object),
        );
        self.span(
            "--request-timeout",
            requests.request_timeout,
            Duration::from_secs(600),
        );
        self.unless("--http", requests.http, HttpVersion::default());
        self.switch("--insecure", requests.insecure);
    }

    /// What was gathered: flags with their values; a flag without values is a switch.
    #[must_use]
    pub fn into_vec(self) -> Vec<(String, Vec<String>)> {
        self.0
    }
}

/// Seconds, whole ones as an integer.
#[must_use]
pub fn span_value(span: Duration) -> Value {
    if span.subsec_nanos() == 0 {
        json!(span.as_secs())
    } else {
        json!(span.as_secs_f64())
    }
}

/// JSON has room for signed and for unsigned 64 bits, which is what a seed may be.
#[must_use]
pub fn seed_value(seed: i128) -> Value {
    let number = i64::try_from(seed)
        .map(Number::from)
        .or_else(|_| u64::try_from(seed).map(Number::from));
    number.map_or(Value::Null, Value::Number)
}

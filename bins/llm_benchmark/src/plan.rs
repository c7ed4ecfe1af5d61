//! What the arguments mean: every check that needs no server and no file.
//!
//! Promise: a plan that exists can be run; what is refused is refused before anything is sent or
//! written, with the option's name and what it may be.

use std::path::PathBuf;
use std::time::Duration;

use cli::options::Calibrate;
use core_client::HttpVersion;
use core_client::plain::{PlainUrl, PlainUrlError};
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use crate::args::{Args, StreamMode};
use crate::prompt::PromptPlan;

/// Why arguments are no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A number outside its range.
    #[error("{option} must be {range}, got {given}")]
    Range {
        /// The option.
        option: &'static str,
        /// What it may be.
        range: &'static str,
        /// What it was.
        given: String,
    },
    /// No URL.
    #[error("--endpoint: {0}")]
    Endpoint(#[from] PlainUrlError),
    /// `--extra-body` is no JSON object.
    #[error("--extra-body must be a JSON object, such as '{{\"stream\": true}}'")]
    ExtraBody,
    /// `--extra-body` would change what is measured.
    #[error("--extra-body may not set {0}: it has an option of its own or is what is measured")]
    ExtraField(&'static str),
    /// A seed without anything to shuffle.
    #[error("--seed decides the order of --shuffle; give both or neither")]
    SeedWithoutShuffle,
    /// `--details` without a file.
    #[error("--details adds to the file of --output; give both or neither")]
    DetailsWithoutOutput,
    /// A header that HTTP does not allow.
    #[error("--header: {name} cannot be sent")]
    Header {
        /// Its name.
        name: String,
    },
}

/// One run, ready to be carried out.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where prompts are posted.
    pub endpoint: PlainUrl,
    /// Measured requests.
    pub n_requests: usize,
    /// Discarded requests before them.
    pub n_warmup: usize,
    /// Requests in flight.
    pub concurrency: usize,
    /// Sent as `max_tokens`.
    pub max_tokens: i64,
    /// Share of repeated prompts, 0 to 1.
    pub repeat_ratio: f64,
    /// Seed of the order, if it is shuffled.
    pub shuffle_seed: Option<i64>,
    /// The prompts.
    pub prompts: PromptPlan,
    /// Limit on a request.
    pub timeout: Duration,
    /// Whether streams are looked for.
    pub stream: StreamMode,
    /// Fields added to every body.
    pub extra_body: Map<String, Value>,
    /// Headers of every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// HTTP version.
    pub http: HttpVersion,
    /// Accept any certificate.
    pub insecure: bool,
    /// The result file.
    pub output: Option<PathBuf>,
    /// Whether the client's own error is measured at the end.
    pub calibrate: Calibrate,
    /// Append details to it.
    pub details: bool,
    /// No notes.
    pub quiet: bool,
}

/// Most requests of a run: their samples are kept in memory.
const MOST_REQUESTS: i128 = 100_000_000;
/// Most requests in flight: there are no more ports from one address to another.
const MOST_CONCURRENCY: i128 = 65_535;
/// Longest limit on a request: a year, which no clock overflows on.
const LONGEST_TIMEOUT: f64 = 31_536_000.0;

fn count(
    option: &'static str,
    range: &'static str,
    given: i128,
    least: i128,
    most: i128,
) -> Result<usize, PlanError> {
    usize::try_from(given)
        .ok()
        .filter(|_| (least..=most).contains(&given))
        .ok_or_else(|| PlanError::Range {
            option,
            range,
            given: given.to_string(),
        })
}

fn extra_body(text: Option<&str>) -> Result<Map<String, Value>, PlanError> {
    let Some(text) = text else {
        return Ok(Map::new());
    };
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
        return Err(PlanError::ExtraBody);
    };
    for field in ["prompt", "max_tokens"] {
        if fields.contains_key(field) {
            return Err(PlanError::ExtraField(field));
        }
    }
    Ok(fields)
}

impl TryFrom<Args> for Plan {
    type Error = PlanError;

    fn try_from(args: Args) -> Result<Self, PlanError> {
        let requests = "from 1 to 100000000";
        let n_requests = count("--requests", requests, args.requests, 1, MOST_REQUESTS)?;
        let flight = "from 1 to 65535";
        let concurrency = count(
            "--concurrency",
            flight,
            args.concurrency,
            1,
            MOST_CONCURRENCY,
        )?;
        let max_tokens = i64::try_from(args.max_tokens).ok().filter(|n| *n >= 1);
        let max_tokens = max_tokens.ok_or_else(|| PlanError::Range {
            option: "--max-tokens",
            range: "at least 1",
            given: args.max_tokens.to_string(),
        })?;
        if !(0.0..=1.0).contains(&args.repeat_ratio) {
            return Err(PlanError::Range {
                option: "--repeat-ratio",
                range: "from 0 to 1",
                given: args.repeat_ratio.to_string(),
            });
        }
        let warmup = "from 0 to 100000000";
        let n_warmup = count("--warmup", warmup, args.warmup, 0, MOST_REQUESTS)?;
        if !(args.timeout > 0.0 && args.timeout <= LONGEST_TIMEOUT) {
            return Err(PlanError::Range {
                option: "--timeout",
                range: "a number of seconds above 0, a year at most",
                given: args.timeout.to_string(),
            });
        }
        let endpoint = PlainUrl::parse(&args.endpoint)?;
        let extra_body = extra_body(args.extra_body.as_deref())?;
        if args.seed.is_some() && !args.shuffle {
            return Err(PlanError::SeedWithoutShuffle);
        }
        if args.details && args.output.is_none() {
            return Err(PlanError::DetailsWithoutOutput);
        }
        let seed = args.seed.unwrap_or(0);
        let seed = i64::try_from(seed).map_err(|_| PlanError::Range {
            option: "--seed",
            range: "a number of 64 bits",
            given: seed.to_string(),
        })?;
        let header = |header: &cli::options::Header| {
            let name = HeaderName::try_from(header.name());
            let value = HeaderValue::try_from(header.value());
            match (name, value) {
                (Ok(name), Ok(value)) => Ok((name, value)),
                _ => Err(PlanError::Header {
                    name: header.name().to_owned(),
                }),
            }
        };
        let headers = args.header.iter().map(header).collect::<Result<_, _>>()?;
        let prompts = PromptPlan::new(n_warmup, n_requests, args.repeat_ratio);
        Ok(Self {
            endpoint,
            n_requests,
            n_warmup,
            concurrency,
            max_tokens,
            repeat_ratio: args.repeat_ratio,
            shuffle_seed: args.shuffle.then_some(seed),
            // The same 64 bits, read without their sign.
            prompts: if args.shuffle {
                prompts.shuffled(seed.cast_unsigned())
            } else {
                prompts
            },
            timeout: Duration::from_secs_f64(args.timeout),
            stream: args.stream,
            extra_body,
            headers,
            http: match args.http {
                cli::options::HttpVersion::Auto => HttpVersion::Auto,
                cli::options::HttpVersion::Http1 => HttpVersion::Http1,
                cli::options::HttpVersion::Http2 => HttpVersion::Http2,
            },
            insecure: args.insecure,
            output: args.output,
            calibrate: args.calibration.calibrate,
            details: args.details,
            quiet: args.quiet,
        })
    }
}

impl Plan {
    /// Body of request `i`, counted from 0 over warm-up and measurement.
    #[must_use]
    pub fn body(&self, i: usize) -> String {
        let mut body = json!({
            "prompt": self.prompts.text(i),
            "max_tokens": self.max_tokens,
            "temperature": 0.0,
        });
        for (name, value) in &self.extra_body {
            body[name.as_str()] = value.clone();
        }
        body.to_string()
    }

    /// Requests in flight during the warm-up.
    #[must_use]
    pub fn warmup_concurrency(&self) -> usize {
        self.concurrency.min(self.n_warmup)
    }
}

#[cfg(test)]
mod tests;

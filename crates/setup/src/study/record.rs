//! How shared options are written down: in `parameters` of `progress.json`, and in the script that repeats the run.
//!
//! Promises: values are written as they take effect; secrets are masked before they leave; the options written parse
//! back to the same options, secrets and `--force-restart` aside.

use std::time::Duration;

use cli::options::{Calibrate, EndpointSelection, KvPrecision, SpeedMetric, TtftMetric};
use serde_json::{Map, Value, json};

use super::StudyOptions;
use crate::command::{Options, seed_value, span_value};

/// What only the running tool knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KnownFacts<'a> {
    /// Model the server named.
    pub detected_model: Option<&'a str>,
    /// Tokenizer that is used, by the name under which it was found.
    pub tokenizer: Option<&'a str>,
}

/// The plan of a tool, written down.
pub trait Recorded {
    /// Keys of the parameters that have a place of their own, in the originals' order; others follow.
    const PARAMETER_ORDER: &'static [&'static str];

    /// The shared options.
    fn common(&self) -> &StudyOptions;

    /// The tool's own parameters.
    fn own_parameters(&self) -> Vec<(&'static str, Value)>;

    /// Writes the tool's own options: the required ones always, others where they differ from their default.
    fn write_own(&self, options: &mut Options);

    /// What `--max-ttft` would take effect if none was given, seconds.
    fn assumed_max_ttft(&self) -> Option<f64>;

    /// `parameters` of `progress.json`: the originals' keys in their order, then ours. Lists and thresholds are as they
    /// take effect, options that were not given `null`.
    #[must_use]
    fn parameters(&self, facts: KnownFacts<'_>) -> Map<String, Value> {
        let mut pairs = self.common().parameters(facts);
        pairs.extend(self.own_parameters());
        ordered(pairs, Self::PARAMETER_ORDER)
    }

    /// The options that repeat this run: the required ones always, others where they differ from their default,
    /// `--force-restart` never. A flag without values is a switch; `--header` may occur several times. The key and the
    /// values of secret-looking headers are masked, so that the script can say what it does not hold.
    #[must_use]
    fn command_options(&self) -> Vec<(String, Vec<String>)> {
        let mut options = Options::default();
        self.common().write_required(&mut options);
        self.write_own(&mut options);
        self.common()
            .write_optional(&mut options, self.assumed_max_ttft());
        options.into_vec()
    }
}

/// Parameters by key: those of `order` first, in that order, then the others as they stand.
fn ordered(pairs: Vec<(&str, Value)>, order: &[&str]) -> Map<String, Value> {
    let place = |key: &str| order.iter().position(|k| *k == key).unwrap_or(order.len());
    let mut pairs = pairs;
    // Stable, so that what has no place of its own keeps its order.
    pairs.sort_by_key(|(key, _)| place(key));
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

impl StudyOptions {
    /// The shared `parameters` of `progress.json`. Lists are as they take effect, thresholds too; options that were
    /// not given are `null`.
    #[must_use]
    pub fn parameters(&self, facts: KnownFacts<'_>) -> Vec<(&'static str, Value)> {
        let requests = &self.requests;
        let urls = requests.urls();
        let levels = (!self.fixed_levels.is_empty()).then_some(&self.fixed_levels);
        let tokenizer = facts
            .tokenizer
            .unwrap_or_else(|| self.tokenizer_or_default());
        vec![
            ("api_endpoint", json!(urls.first())),
            ("api_endpoints", json!(urls)),
            ("context_sizes", json!(self.context_sizes)),
            ("output_tokens", json!(self.output_tokens)),
            ("max_ttft", json!(self.thresholds.max_ttft)),
            ("ttft_metric", json!(self.ttft_metric.as_str())),
            ("min_tokens_per_req", json!(self.thresholds.min_speed)),
            ("tokens_per_req_metric", json!(self.speed_metric.as_str())),
            ("output_dir", json!(self.output_dir.to_string_lossy())),
            ("tokenizer_id", json!(tokenizer)),
            ("test_duration", json!(self.test_duration.as_secs())),
            ("ramp_duration", json!(self.ramp_duration.as_secs())),
            ("assessment_period", json!(self.assessment_period.as_secs())),
            ("mode", json!(self.mode.as_str())),
            ("random_selection", json!(self.random_selection)),
            ("num_retries", json!(self.num_retries)),
            ("start_concurrency", json!(self.start_concurrency)),
            ("concurrency_increment", json!(self.concurrency_increment)),
            ("max_concurrency", json!(self.max_concurrency)),
            ("init_concurrency", json!(self.init_concurrency)),
            ("cache_hit_rates", json!(self.cache_hit_rates)),
            ("skip_graphs", json!(self.skip_graphs)),
            ("force_restart", json!(self.force_restart)),
            ("verbose", json!(self.verbose)),
            ("chunk_size", json!(self.chunk_size)),
            ("seed", self.seed.map_or(Value::Null, seed_value)),
            ("kv_cache_bytes", json!(self.kv_precision.bytes())),
            ("strict_time_window", json!(self.strict_time_window)),
            ("fixed_concurrency_levels", json!(levels)),
            (
                "endpoint_selection",
                json!(self.endpoint_selection.as_str()),
            ),
            ("detected_model", json!(facts.detected_model)),
            ("model", json!(requests.model)),
            ("endpoint_type", json!(requests.endpoint_type.as_str())),
            ("ignore_eos", json!(requests.ignore_eos)),
            ("extra_body", json!(requests.extra_body)),
            ("headers", requests.header_names()),
            ("request_timeout", span_value(requests.request_timeout)),
            ("http", json!(requests.http.as_str())),
            ("cooldown", span_value(self.cooldown)),
        ]
    }

    /// Writes the shared options that are required.
    pub fn write_required(&self, options: &mut Options) {
        options.always(
            "--api-endpoint",
            self.requests.endpoints.iter().map(|e| e.given()),
        );
        options.always("--context-sizes", &self.context_sizes);
    }

    /// Writes the shared options that differ from their default, mode and rates aside, whose defaults are the
    /// tool's. `assumed_max_ttft` is what would take effect without `--max-ttft`: only then may it be left out.
    pub fn write_optional(&self, options: &mut Options, assumed_max_ttft: Option<f64>) {
        options.unless("--output-tokens", self.output_tokens, 256);
        if let Some(max_ttft) = self
            .thresholds
            .max_ttft
            .filter(|given| Some(given.to_bits()) != assumed_max_ttft.map(f64::to_bits))
        {
            options.always("--max-ttft", [max_ttft]);
        }
        options.unless("--ttft-metric", self.ttft_metric, TtftMetric::default());
        options.if_given("--min-tokens-per-req", self.thresholds.min_speed);
        options.unless(
            "--tokens-per-req-metric",
            self.speed_metric,
            SpeedMetric::default(),
        );
        options.unless("--test-duration", self.test_duration.as_secs(), 300);
        options.unless("--ramp-duration", self.ramp_duration.as_secs(), 60);
        options.unless("--assessment-period", self.assessment_period.as_secs(), 30);
        options.unless("--num-retries", self.num_retries, 3);
        options.span("--cooldown", self.cooldown, Duration::ZERO);
        options.switch("--strict-time-window", self.strict_time_window);
        options.unless("--start-concurrency", self.start_concurrency, 2);
        options.unless("--concurrency-increment", self.concurrency_increment, 2);
        options.unless("--max-concurrency", self.max_concurrency, 1000);
        options.unless("--init-concurrency", self.init_concurrency, 16);
        options.list_unless("--fixed-concurrency-levels", &self.fixed_levels, &[]);
        options.unless("--chunk-size", self.chunk_size, 256);
        options.switch("--random-working-set-selection", self.random_selection);
        options.unless(
            "--kv-cache-quantization",
            self.kv_precision,
            KvPrecision::default(),
        );
        options.if_given("--tokenizer", self.tokenizer.as_ref());
        options.if_given("--seed", self.seed);
        options.unless(
            "--endpoint-selection",
            self.endpoint_selection,
            EndpointSelection::default(),
        );
        options.requests(&self.requests);
        options.if_given("--client-threads", self.client_threads);
        options.unless(
            "--calibrate",
            self.calibrate.as_str(),
            Calibrate::default().as_str(),
        );
        options.unless(
            "--output-dir",
            self.output_dir.display().to_string(),
            "./output".to_owned(),
        );
        options.switch("--skip-graphs", self.skip_graphs);
        options.switch("--brief", self.brief);
        options.switch("--verbose", self.verbose);
        options.switch("--no-color", self.no_color);
    }
}

//! How a plan is written down: the `parameters` of `progress.json`, and the options of the script that
//! repeats the run.
//!
//! Promises: values are written as they take effect; secrets are masked before they leave the plan; the
//! options written parse back to the same plan, secrets and `--force-restart` aside.

use cli::options::Mode;
use serde_json::{Map, Value, json};
use setup::command::Options;
use setup::study::{KnownFacts, ordered};

use super::{Plan, default_cache_hit_rates, effective_thresholds};
use crate::args::ReinitStrategy;

/// Keys in the originals' order; others follow.
const ORDER: &[&str] = &[
    "api_endpoint",
    "api_endpoints",
    "context_sizes",
    "working_set_size",
    "output_tokens",
    "max_ttft",
    "ttft_metric",
    "min_tokens_per_req",
    "tokens_per_req_metric",
    "output_dir",
    "tokenizer_id",
    "test_duration",
    "ramp_duration",
    "assessment_period",
    "mode",
    "reinit_strategy",
    "random_selection",
];

impl Plan {
    /// `parameters` of `progress.json`: the originals' keys in their order, then ours. Lists are sorted,
    /// thresholds effective, options that were not given `null`.
    #[must_use]
    pub fn parameters(&self, facts: KnownFacts<'_>) -> Map<String, Value> {
        let mut pairs = self.common.parameters(facts);
        pairs.push(("working_set_size", json!(self.working_set_size)));
        pairs.push(("reinit_strategy", json!(self.reinit_strategy.as_str())));
        ordered(pairs, ORDER)
    }

    /// The options that repeat this run: the required ones always, others where they differ from their
    /// default, `--force-restart` never. A flag without values is a switch; `--header` may occur several
    /// times. The key and the values of secret-looking headers are masked, so that the script can say
    /// what it does not hold.
    #[must_use]
    pub fn command_options(&self) -> Vec<(String, Vec<String>)> {
        let common = &self.common;
        let mut options = Options::default();
        common.write_required(&mut options);
        options.always("--working-set-size", [self.working_set_size]);
        options.unless("--mode", common.mode, Mode::default());
        options.list_unless(
            "--cache-hit-rates",
            &common.cache_hit_rates,
            &default_cache_hit_rates(),
        );
        options.unless(
            "--reinit-strategy",
            self.reinit_strategy,
            ReinitStrategy::default(),
        );
        let assumed = effective_thresholds(common.mode, None, common.thresholds.min_speed);
        common.write_optional(&mut options, assumed.max_ttft);
        options.into_vec()
    }
}

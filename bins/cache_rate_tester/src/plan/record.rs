//! How a plan is written down: the `parameters` of `progress.json`, and the options of the script that
//! repeats the run.
//!
//! Promises: values are written as they take effect; secrets are masked before they leave the plan; the
//! options written parse back to the same plan, secrets and `--force-restart` aside.

use cli::options::Mode;
use ramp::Thresholds;
use serde_json::{Value, json};
use setup::command::Options;
use setup::study::{Recorded, StudyOptions};

use super::{Plan, default_cache_hit_rates, effective_thresholds};
use crate::args::ReinitStrategy;

impl Recorded for Plan {
    const PARAMETER_ORDER: &'static [&'static str] = &[
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

    fn common(&self) -> &StudyOptions {
        &self.common
    }

    fn own_parameters(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("working_set_size", json!(self.working_set_size)),
            ("reinit_strategy", json!(self.reinit_strategy.as_str())),
        ]
    }

    fn write_own(&self, options: &mut Options) {
        options.always("--working-set-size", [self.working_set_size]);
        options.unless("--mode", self.common.mode, Mode::default());
        options.list_unless(
            "--cache-hit-rates",
            &self.common.cache_hit_rates,
            &default_cache_hit_rates(),
        );
        options.unless(
            "--reinit-strategy",
            self.reinit_strategy,
            ReinitStrategy::default(),
        );
    }

    fn assumed_max_ttft(&self) -> Option<f64> {
        let Thresholds { min_speed, .. } = self.common.thresholds;
        effective_thresholds(self.common.mode, None, min_speed).max_ttft
    }
}

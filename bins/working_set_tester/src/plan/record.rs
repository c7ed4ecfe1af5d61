//! How a plan is written down: the `parameters` of `progress.json`, and the options of the script that repeats the run.
//!
//! Promises: values are written as they take effect; secrets are masked before they leave the plan; the options written
//! parse back to the same plan, secrets and `--force-restart` aside.

use cli::options::Mode;
use serde_json::{Value, json};
use setup::command::Options;
use setup::study::{DEFAULT_MAX_TTFT, Recorded, StudyOptions};

use super::Plan;
use crate::args::{InitStrategy, PlateauDetection, ReinitStrategy};

impl Recorded for Plan {
    const PARAMETER_ORDER: &'static [&'static str] = &[
        "api_endpoints",
        "context_sizes",
        "working_set_sizes",
        "cache_hit_rates",
        "output_tokens",
        "max_ttft",
        "ttft_metric",
        "output_dir",
        "tokenizer_id",
        "test_duration",
        "ramp_duration",
        "reinit_strategy",
        "random_selection",
        "num_retries",
        "start_concurrency",
        "concurrency_increment",
        "max_concurrency",
        "init_concurrency",
        "skip_graphs",
        "force_restart",
        "verbose",
        "chunk_size",
        "seed",
        "kv_cache_bytes",
        "strict_time_window",
        "mode",
        "assessment_period",
        "min_tokens_per_req",
        "init_strategy",
        "fixed_concurrency_levels",
        "ensure_working_set_coverage",
        "plateau_detection",
        "detected_model",
    ];

    fn common(&self) -> &StudyOptions {
        &self.common
    }

    fn own_parameters(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("working_set_sizes", json!(self.working_set_sizes)),
            ("working_set_increments", json!(self.working_set_increments)),
            ("reinit_strategy", json!(self.reinit_strategy.as_str())),
            ("init_strategy", json!(self.init_strategy.as_str())),
            ("ensure_working_set_coverage", json!(self.ensure_coverage)),
            ("plateau_detection", json!(self.plateau_detection.as_str())),
        ]
    }

    fn write_own(&self, options: &mut Options) {
        options.always("--min-working-set-size", [self.min_working_set_size]);
        options.always("--max-working-set-size", [self.max_working_set_size]);
        options.always("--working-set-increments", [self.working_set_increments]);
        options.unless("--mode", self.common.mode, Mode::Sustained);
        options.list_unless("--cache-hit-rates", &self.common.cache_hit_rates, &[100]);
        options.unless(
            "--reinit-strategy",
            self.reinit_strategy,
            ReinitStrategy::default(),
        );
        options.unless(
            "--init-strategy",
            self.init_strategy,
            InitStrategy::default(),
        );
        options.unless(
            "--plateau-detection",
            self.plateau_detection,
            PlateauDetection::default(),
        );
        options.switch("--ensure-working-set-coverage", self.ensure_coverage);
    }

    fn assumed_max_ttft(&self) -> Option<f64> {
        // Given, it ends a hopeless test; assumed, it does not: only what was assumed may be left out.
        self.threshold_is_assumed.then_some(DEFAULT_MAX_TTFT)
    }
}

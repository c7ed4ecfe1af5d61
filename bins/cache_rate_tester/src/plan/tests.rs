//! Arguments in, plan or one line of refusal out.

mod refusal;

use std::path::PathBuf;
use std::time::Duration;

use clap::CommandFactory;
use cli::argparse::try_parse;
use proptest::prelude::*;
use serde_json::json;

use cli::options::{
    EndpointSelection, EndpointType, HttpVersion, KvPrecision, SpeedMetric, TtftMetric,
};
use cli::secret::Secret;
use core_client::Endpoint;
use setup::study::{KnownFacts, Recorded};

use super::*;
use crate::args::OPTION_GENERATIONS;

const REQUIRED: &str =
    "--api-endpoint http://localhost:8000 --context-sizes 8000 --working-set-size 200000";

fn words(line: &str) -> Vec<String> {
    testkit::line::words("cache_rate_tester", line)
}

fn parse_words(words: Vec<String>) -> Args {
    let mut args: Args =
        try_parse(OPTION_GENERATIONS, words).unwrap_or_else(|stop| panic!("{stop:?}"));
    // Whoever runs the tests may have a key in the environment.
    if std::env::var("OPENAI_API_KEY")
        .is_ok_and(|key| args.study.endpoint.requests.api_key == Some(Secret::new(key)))
    {
        args.study.endpoint.requests.api_key = None;
    }
    args
}

fn plan(more: &str) -> Plan {
    Plan::try_from(parse_words(words(&format!("{REQUIRED} {more}"))))
        .unwrap_or_else(|error| panic!("{more}: {error}"))
}

#[track_caller]
fn refused(more: &str) -> String {
    let error = Plan::try_from(parse_words(words(&format!("{REQUIRED} {more}")))).expect_err(more);
    format!("{:#}", anyhow::Error::new(error))
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

#[test]
fn defaults_are_those_of_the_page() {
    let plan = plan("");
    assert_eq!(plan.common.context_sizes, [8000]);
    assert_eq!(
        (
            plan.working_set_size,
            plan.common.output_tokens,
            plan.common.chunk_size
        ),
        (200_000, 256, 256)
    );
    assert_eq!(
        plan.common.thresholds,
        Thresholds {
            max_ttft: Some(2.0),
            min_speed: None
        }
    );
    assert_eq!(
        (plan.common.ttft_metric, plan.common.speed_metric),
        (TtftMetric::P95, SpeedMetric::Avg)
    );
    assert_eq!(plan.common.mode, Mode::Ramp);
    assert_eq!(
        (
            plan.common.test_duration,
            plan.common.ramp_duration,
            plan.common.assessment_period
        ),
        (secs(300), secs(60), secs(30))
    );
    assert_eq!(
        (plan.common.num_retries, plan.common.cooldown),
        (3, Duration::ZERO)
    );
    assert_eq!(
        (
            plan.common.start_concurrency,
            plan.common.concurrency_increment,
            plan.common.max_concurrency
        ),
        (2, 2, 1000)
    );
    assert_eq!(
        (plan.common.init_concurrency, plan.common.fixed_levels.len()),
        (16, 0)
    );
    assert_eq!(plan.common.cache_hit_rates.len(), 21);
    assert_eq!(plan.common.cache_hit_rates[..3], [0, 5, 10]);
    assert_eq!(plan.common.cache_hit_rates.last(), Some(&100));
    assert_eq!(plan.reinit_strategy, ReinitStrategy::Once);
    assert_eq!(plan.common.kv_precision, KvPrecision::TwoBytes);
    assert_eq!(
        plan.common.endpoint_selection,
        EndpointSelection::RoundRobin
    );
    assert_eq!(
        (
            plan.common.requests.endpoint_type,
            plan.common.requests.http
        ),
        (EndpointType::Chat, HttpVersion::Auto)
    );
    assert_eq!(plan.common.requests.request_timeout, secs(600));
    assert_eq!(plan.common.output_dir, PathBuf::from("./output"));
    assert_eq!(
        (
            plan.common.tokenizer.as_deref(),
            plan.common.seed,
            plan.common.requests.model.as_deref()
        ),
        (None, None, None)
    );
    assert_eq!(
        (
            plan.common.requests.extra_body.as_ref(),
            plan.common.requests.headers.len()
        ),
        (None, 0)
    );
    assert_eq!(
        (
            plan.common.requests.api_key.as_ref(),
            plan.common.requests.api_key_or_default()
        ),
        (None, "EMPTY")
    );
    let switches = [
        plan.common.strict_time_window,
        plan.common.random_selection,
        plan.common.requests.ignore_eos,
        plan.common.requests.insecure,
        plan.common.skip_graphs,
        plan.common.force_restart,
        plan.common.brief,
        plan.common.verbose,
        plan.common.no_color,
    ];
    assert_eq!(switches, [false; 9]);
}

#[test]
fn every_option_reaches_the_plan() {
    let plan = plan(
        "--mode fixed --output-tokens 16 --max-ttft 0.5 --ttft-metric max --min-tokens-per-req 12.5 \
         --tokens-per-req-metric p10 --test-duration 90 --ramp-duration 20 --assessment-period 10 --num-retries 0 \
         --cooldown 1.5 --strict-time-window --start-concurrency 3 --concurrency-increment 4 --max-concurrency 50 \
         --init-concurrency 8 --fixed-concurrency-levels 8 2 4 2 --cache-hit-rates 100 0 50 0 --chunk-size 64 \
         --reinit-strategy per_cache_rate --random-working-set-selection --kv-cache-quantization 1 \
         --tokenizer builtin --seed -5 --endpoint-selection pinned --model m --api-key sk-123456 --header X-A:~1 \
         --header X-B:~2 --endpoint-type completions --ignore-eos --extra-body {\"top_p\":0.9} --request-timeout 30 \
         --http 2 --insecure --output-dir out --skip-graphs --force-restart --brief --verbose --no-color",
    );
    assert_eq!(
        (plan.common.mode, plan.common.output_tokens),
        (Mode::Fixed, 16)
    );
    assert_eq!(
        plan.common.thresholds,
        Thresholds {
            max_ttft: Some(0.5),
            min_speed: Some(12.5)
        }
    );
    assert_eq!(
        (plan.common.ttft_metric, plan.common.speed_metric),
        (TtftMetric::Max, SpeedMetric::P10)
    );
    assert_eq!(
        (
            plan.common.test_duration,
            plan.common.ramp_duration,
            plan.common.assessment_period
        ),
        (secs(90), secs(20), secs(10))
    );
    assert_eq!(
        (plan.common.num_retries, plan.common.cooldown),
        (0, Duration::from_millis(1500))
    );
    assert_eq!(
        (
            plan.common.start_concurrency,
            plan.common.concurrency_increment,
            plan.common.max_concurrency
        ),
        (3, 4, 50)
    );
    assert_eq!(
        (plan.common.init_concurrency, plan.common.chunk_size),
        (8, 64)
    );
    assert_eq!(plan.common.fixed_levels, [2, 4, 8]);
    assert_eq!(plan.common.cache_hit_rates, [0, 50, 100]);
    assert_eq!(
        (plan.reinit_strategy, plan.common.kv_precision.bytes()),
        (ReinitStrategy::PerCacheRate, 1)
    );
    assert_eq!(
        (plan.common.tokenizer.as_deref(), plan.common.seed),
        (Some("builtin"), Some(-5))
    );
    assert_eq!(
        (
            plan.common.endpoint_selection,
            plan.common.requests.model.as_deref()
        ),
        (EndpointSelection::Pinned, Some("m"))
    );
    assert_eq!(plan.common.requests.api_key_or_default(), "sk-123456");
    let headers: Vec<_> = plan
        .common
        .requests
        .headers
        .iter()
        .map(|header| (header.name(), header.value()))
        .collect();
    assert_eq!(headers, [("X-A", "1"), ("X-B", "2")]);
    assert_eq!(
        (
            plan.common.requests.endpoint_type,
            plan.common.requests.http
        ),
        (EndpointType::Completions, HttpVersion::Http2)
    );
    assert_eq!(
        plan.common.requests.extra_body,
        json!({"top_p": 0.9}).as_object().cloned()
    );
    assert_eq!(
        (
            plan.common.requests.request_timeout,
            plan.common.output_dir.clone()
        ),
        (secs(30), PathBuf::from("out"))
    );
    let switches = [
        plan.common.strict_time_window,
        plan.common.random_selection,
        plan.common.requests.ignore_eos,
        plan.common.requests.insecure,
        plan.common.skip_graphs,
        plan.common.force_restart,
        plan.common.brief,
        plan.common.verbose,
        plan.common.no_color,
    ];
    assert_eq!(switches, [true; 9]);
}

#[test]
fn lists_are_sorted_without_duplicates_and_the_last_occurrence_counts() {
    let plan = plan(
        "--context-sizes 64000 8000 32_000 8000 --cache-hit-rates 90 --cache-hit-rates 50 0 50",
    );
    assert_eq!(plan.common.context_sizes, [8000, 32_000, 64_000]);
    assert_eq!(plan.common.cache_hit_rates, [0, 50]);
}

#[test]
fn endpoints_lose_their_last_slash_and_keep_their_order() {
    let plan = plan("--api-endpoint http://b:1/ http://a:2/v1");
    let given: Vec<_> = plan
        .common
        .requests
        .endpoints
        .iter()
        .map(Endpoint::given)
        .collect();
    let base: Vec<_> = plan
        .common
        .requests
        .endpoints
        .iter()
        .map(Endpoint::base_url)
        .collect();
    assert_eq!(given, ["http://b:1", "http://a:2/v1"]);
    assert_eq!(base, ["http://b:1/v1", "http://a:2/v1"]);
}

#[test]
fn adaptive_is_the_old_word_for_ramp() {
    assert_eq!(plan("--mode adaptive").common.mode, Mode::Ramp);
    assert_eq!(
        plan("--mode adaptive").parameters(KnownFacts::default())["mode"],
        "ramp"
    );
}

#[test]
fn rule_t_decides_which_thresholds_take_effect() {
    let cases = [
        ("", Some(2.0), None),
        ("--max-ttft 1", Some(1.0), None),
        ("--min-tokens-per-req 20", None, Some(20.0)),
        (
            "--max-ttft 1 --min-tokens-per-req 20",
            Some(1.0),
            Some(20.0),
        ),
        ("--mode sustained", Some(2.0), None),
        ("--mode sustained --min-tokens-per-req 20", None, Some(20.0)),
        ("--mode fixed --fixed-concurrency-levels 1", None, None),
        (
            "--mode fixed --fixed-concurrency-levels 1 --max-ttft 3",
            Some(3.0),
            None,
        ),
        (
            "--mode fixed --fixed-concurrency-levels 1 --min-tokens-per-req 20",
            None,
            Some(20.0),
        ),
    ];
    for (more, max_ttft, min_speed) in cases {
        assert_eq!(
            plan(more).common.thresholds,
            Thresholds {
                max_ttft,
                min_speed
            },
            "{more}"
        );
    }
}

#[test]
fn levels_of_fixed_mode_are_ignored_in_the_others() {
    let plan = plan("--fixed-concurrency-levels 2 4");
    assert!(plan.common.fixed_levels.is_empty());
    assert!(plan.parameters(KnownFacts::default())["fixed_concurrency_levels"].is_null());
}

#[test]
fn seeds_are_any_64_bits() {
    for text in ["42", "-1", "18446744073709551615", "-9223372036854775808"] {
        let plan = plan(&format!("--seed {text}"));
        assert_eq!(
            plan.parameters(KnownFacts::default())["seed"].to_string(),
            text
        );
    }
}

#[test]
fn an_empty_key_is_no_key() {
    assert_eq!(plan("--api-key=").common.requests.api_key, None);
}

#[test]
fn secrets_show_nowhere() {
    let plan = plan(
        "--api-key sk-verysecret --header Authorization:~Basic~dXNlcjpwYXNz --header X-Class:~gold",
    );
    let shown = format!(
        "{plan:?} {} {:?}",
        serde_json::Value::Object(plan.parameters(KnownFacts::default())),
        plan.command_options()
    );
    for secret in ["verysecret", "dXNlcjpwYXNz"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("gold"));
    assert_eq!(
        plan.common
            .requests
            .redactor()
            .redact("401: sk-verysecret / dXNlcjpwYXNz"),
        "401: *** / ***"
    );
    assert_eq!(
        plan.parameters(KnownFacts::default())["headers"],
        json!(["authorization", "x-class"])
    );
}

#[test]
fn parameters_keep_the_originals_keys_and_order() {
    let keys: Vec<String> = plan("")
        .parameters(KnownFacts::default())
        .keys()
        .cloned()
        .collect();
    assert_eq!(
        keys,
        [
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
            "num_retries",
            "start_concurrency",
            "concurrency_increment",
            "max_concurrency",
            "init_concurrency",
            "cache_hit_rates",
            "skip_graphs",
            "force_restart",
            "verbose",
            "chunk_size",
            "seed",
            "kv_cache_bytes",
            "strict_time_window",
            "fixed_concurrency_levels",
            "endpoint_selection",
            "detected_model",
            "model",
            "endpoint_type",
            "ignore_eos",
            "extra_body",
            "headers",
            "request_timeout",
            "http",
            "cooldown",
        ]
    );
}

#[test]
fn parameters_are_effective() {
    let facts = KnownFacts {
        detected_model: Some("demo"),
        tokenizer: Some("builtin"),
    };
    let parameters = plan("--cache-hit-rates 50 0 --request-timeout 1.5").parameters(facts);
    let expected = [
        ("api_endpoint", json!("http://localhost:8000")),
        ("api_endpoints", json!(["http://localhost:8000"])),
        ("context_sizes", json!([8000])),
        ("max_ttft", json!(2.0)),
        ("min_tokens_per_req", json!(null)),
        ("tokenizer_id", json!("builtin")),
        ("cache_hit_rates", json!([0, 50])),
        ("seed", json!(null)),
        ("kv_cache_bytes", json!(2)),
        ("reinit_strategy", json!("once")),
        ("detected_model", json!("demo")),
        ("request_timeout", json!(1.5)),
        ("cooldown", json!(0)),
        ("headers", json!(null)),
        ("extra_body", json!(null)),
    ];
    for (key, value) in expected {
        assert_eq!(parameters[key], value, "{key}");
    }
    assert_eq!(
        plan("").parameters(KnownFacts::default())["tokenizer_id"],
        "Qwen/Qwen2.5-Coder-32B-Instruct"
    );
}

fn command_line(plan: &Plan) -> Vec<String> {
    testkit::line::written("cache_rate_tester", plan.command_options())
}

#[test]
fn the_repeated_command_holds_required_options_and_what_differs() {
    assert_eq!(
        command_line(&plan(""))[1..],
        words(
            "--api-endpoint http://localhost:8000 --context-sizes 8000 --working-set-size 200000"
        )[1..]
    );
    // The default, given: no difference. The same value where the default is another: a difference.
    assert!(!command_line(&plan("--max-ttft 2.0")).contains(&"--max-ttft".to_owned()));
    for more in [
        "--max-ttft 2 --min-tokens-per-req 5",
        "--mode fixed --fixed-concurrency-levels 1 --max-ttft 2",
    ] {
        assert!(
            command_line(&plan(more)).contains(&"--max-ttft".to_owned()),
            "{more}"
        );
    }
    assert!(!command_line(&plan("--force-restart")).contains(&"--force-restart".to_owned()));
    let default_rates: Vec<String> = default_cache_hit_rates()
        .iter()
        .map(ToString::to_string)
        .collect();
    let given = plan(&format!("--cache-hit-rates {}", default_rates.join(" ")));
    assert!(!command_line(&given).contains(&"--cache-hit-rates".to_owned()));
    // A tokenizer that was named is used exactly, also when it is the default.
    let named = plan("--tokenizer Qwen/Qwen2.5-Coder-32B-Instruct");
    assert!(command_line(&named).contains(&"--tokenizer".to_owned()));
}

/// A value other than the default for every option that takes one.
const OTHER_VALUES: &[&str] = &[
    "--mode fixed --fixed-concurrency-levels 3 1",
    "--mode sustained",
    "--output-tokens 7",
    "--max-ttft 0.25",
    "--ttft-metric avg",
    "--min-tokens-per-req 3.5",
    "--tokens-per-req-metric p5",
    "--test-duration 301",
    "--ramp-duration 61",
    "--assessment-period 31",
    "--num-retries 4",
    "--cooldown 2.5",
    "--strict-time-window",
    "--start-concurrency 3",
    "--concurrency-increment 3",
    "--max-concurrency 999",
    "--init-concurrency 15",
    "--cache-hit-rates 10 20",
    "--chunk-size 16",
    "--reinit-strategy per_test",
    "--random-working-set-selection",
    "--kv-cache-quantization 1",
    "--tokenizer builtin",
    "--seed -77",
    "--api-endpoint http://a:1 http://b:2/v1",
    "--endpoint-selection pinned",
    "--model my~model",
    "--header X-A:~b~c --header X-D:~e",
    "--endpoint-type completions",
    "--ignore-eos",
    "--extra-body {\"top_p\":0.5,\"stop\":[\"a~b\"]}",
    "--request-timeout 12.5",
    "--http 1",
    "--insecure",
    "--client-threads 3",
    "--calibrate off",
    "--output-dir a~dir",
    "--skip-graphs",
    "--brief",
    "--verbose",
    "--no-color",
    "--context-sizes 5 4",
    "--working-set-size 9",
];

#[test]
fn every_option_that_differs_is_repeated() {
    let options = OTHER_VALUES
        .iter()
        .flat_map(|more| plan(more).command_options());
    let left_out = testkit::line::left_out(&Args::command(), options.map(|(flag, _)| flag));
    // The one must not be repeated, the other is a secret and needs its own test.
    assert_eq!(left_out, ["api-key", "force-restart"]);
}

proptest! {
    /// The options written down for a plan parse back to the same plan, whatever options made it.
    #[test]
    fn what_is_written_down_parses_back(chosen in prop::sample::subsequence(OTHER_VALUES, 0..OTHER_VALUES.len())) {
        let first = plan(&chosen.join(" "));
        let again = Plan::try_from(parse_words(command_line(&first))).unwrap();
        prop_assert_eq!(format!("{first:?}"), format!("{again:?}"));
        prop_assert_eq!(first.parameters(KnownFacts::default()), again.parameters(KnownFacts::default()));
    }
}

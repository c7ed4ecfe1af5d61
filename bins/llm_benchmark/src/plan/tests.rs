//! Every refusal by name, and the body as it is sent.

use super::*;
use crate::args;

fn plan(words: &[&str]) -> Result<Plan, PlanError> {
    let argv = ["llm_benchmark"].iter().chain(words);
    Plan::try_from(args::read(argv).unwrap())
}

#[test]
fn defaults_are_the_originals() {
    let plan = plan(&[]).unwrap();
    assert_eq!(plan.endpoint.to_string(), "http://localhost:8000/generate");
    assert_eq!(
        (plan.n_requests, plan.n_warmup, plan.concurrency),
        (50, 5, 5)
    );
    assert_eq!(
        (plan.max_tokens, plan.timeout),
        (100, Duration::from_secs(60))
    );
    assert_eq!(plan.output, None);
    assert_eq!(
        plan.body(0),
        r#"{"prompt":"Explain machine learning in simple terms. (variation 0)","max_tokens":100,"temperature":0.0}"#
    );
}

#[test]
fn every_senseless_value_is_refused_with_the_name_of_its_option() {
    for (words, said) in [
        (["--requests", "0"], "--requests must be from 1"),
        (["--requests", "-3"], "got -3"),
        (["--requests", "99999999999999999999"], "--requests must be"),
        (["--concurrency", "0"], "--concurrency must be from 1"),
        (["--concurrency", "70000"], "to 65535"),
        (["--max-tokens", "0"], "--max-tokens must be at least 1"),
        (
            ["--repeat-ratio", "1.5"],
            "--repeat-ratio must be from 0 to 1, got 1.5",
        ),
        (["--repeat-ratio", "-0.1"], "got -0.1"),
        (["--warmup", "-1"], "--warmup must be from 0"),
        (["--timeout", "0"], "--timeout must be"),
        (["--timeout", "1e300"], "a year at most"),
        (
            ["--endpoint", "localhost:8000"],
            "write http://localhost:8000",
        ),
        (["--extra-body", "[1]"], "JSON object"),
        (["--extra-body", r#"{"prompt": "x"}"#], "may not set prompt"),
        (["--seed", "1"], "--shuffle"),
        (["--details", "--quiet"], "--output"),
    ] {
        let message = plan(&words).expect_err(said).to_string();
        assert!(message.contains(said), "{words:?}: {message}");
    }
}

#[test]
fn the_borders_of_every_range_are_inside() {
    let words = [
        "--requests",
        "1",
        "--concurrency",
        "1",
        "--max-tokens",
        "1",
        "--warmup",
        "0",
        "--timeout",
        "0.001",
    ];
    for ratio in ["0", "1"] {
        assert!(plan(&[&words[..], &["--repeat-ratio", ratio]].concat()).is_ok());
    }
}

#[test]
fn extra_fields_follow_the_three_and_may_change_the_temperature() {
    let plan = plan(&["--extra-body", r#"{"stream": true, "temperature": 0.5}"#]).unwrap();
    let body: Value = serde_json::from_str(&plan.body(0)).unwrap();
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["prompt", "max_tokens", "temperature", "stream"]);
    assert_eq!(body["temperature"], 0.5);
}

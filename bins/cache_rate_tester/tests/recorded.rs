//! What a plan writes down fits what the report crate reads, and what the originals wrote.

use cache_rate_tester::args::{Args, OPTION_GENERATIONS};
use cache_rate_tester::plan::Plan;
use cli::argparse::try_parse;
use cli::secret::is_secret_header;
use report::progress::{ParameterMatch, Progress, ResumeRules};
use report::run_command::script;
use report::stamp::RunStamp;
use setup::study::{KnownFacts, Recorded};

/// What the originals' runs were started with.
const COMMON: &str = "cache_rate_tester --api-endpoint http://localhost:8000 --tokenizer local-tokenizer \
                      --context-sizes 1000 --working-set-size 8000 --output-tokens 16 --seed 42 --cache-hit-rates 0 50";

fn plan(more: &str) -> Plan {
    let line = format!("{COMMON} {more}");
    let args: Args = try_parse(
        OPTION_GENERATIONS,
        line.split_whitespace().map(|word| word.replace('~', " ")),
    )
    .unwrap_or_else(|stop| panic!("{more}: {stop:?}"));
    Plan::try_from(args).unwrap_or_else(|error| panic!("{more}: {error}"))
}

fn original(text: &str) -> Progress {
    serde_json::from_str(text).expect("the originals' files are whole")
}

#[test]
fn the_originals_runs_can_be_resumed_with_the_same_command() {
    let cases = [
        (
            include_str!("data/progress_ramp.json"),
            "--max-ttft 0.5 --ramp-duration 10 --test-duration 120",
        ),
        (
            include_str!("data/progress_fixed.json"),
            "--mode fixed --fixed-concurrency-levels 6 2 4 --ramp-duration 3 --test-duration 16 --max-ttft 0.45 \
             --num-retries 1",
        ),
        (
            // The original wrote its own default of 0 where nobody had asked; the user's page says 3.
            include_str!("data/progress_sustained.json"),
            "--mode sustained --assessment-period 5 --test-duration 16 --max-ttft 1.0 --num-retries 0",
        ),
    ];
    let facts = KnownFacts {
        detected_model: Some("demo"),
        tokenizer: None,
    };
    for (text, more) in cases {
        assert_eq!(
            original(text).matches(&plan(more).parameters(facts), &ResumeRules::CACHE_RATE),
            ParameterMatch::Match,
            "{more}"
        );
        // Options that change nothing about the measurement do not stand in the way.
        let harmless = format!(
            "{more} --verbose --skip-graphs --kv-cache-quantization 1 --context-sizes 2000 1000"
        );
        assert_eq!(
            original(text).matches(&plan(&harmless).parameters(facts), &ResumeRules::CACHE_RATE),
            ParameterMatch::Match
        );
    }
}

#[test]
fn every_option_that_changes_the_measurement_stops_a_resume() {
    let ramp = "--max-ttft 0.5 --ramp-duration 10 --test-duration 120";
    let before = Progress::new(plan(ramp).parameters(KnownFacts::default()));
    let cases = [
        ("--output-tokens 8", "output_tokens"),
        ("--max-ttft 0.6", "max_ttft"),
        ("--cache-hit-rates 0", "cache_hit_rates"),
        ("--seed 43", "seed"),
        ("--chunk-size 16", "chunk_size"),
        ("--model other", "model"),
        ("--endpoint-type completions", "endpoint_type"),
        ("--ignore-eos", "ignore_eos"),
        ("--extra-body {\"top_p\":0.5}", "extra_body"),
        ("--header X-Class:~gold", "headers"),
        ("--http 2", "http"),
        ("--cooldown 1", "cooldown"),
        ("--request-timeout 5", "request_timeout"),
        (
            "--api-endpoint http://localhost:8000 http://localhost:8001",
            "api_endpoints",
        ),
    ];
    for (more, key) in cases {
        let now = plan(&format!("{ramp} {more}")).parameters(KnownFacts::default());
        assert_eq!(
            before.matches(&now, &ResumeRules::CACHE_RATE),
            ParameterMatch::Mismatch(vec![key.to_owned()]),
            "{more}"
        );
    }
}

#[test]
fn the_script_names_the_secrets_it_does_not_hold() {
    let plan =
        plan("--api-key sk-verysecret --header Authorization:~Basic~abcdef --header X-Class:~gold");
    let text = script(
        std::path::Path::new("out"),
        &RunStamp::parse("20261122_010848").unwrap(),
        "cache_rate_tester",
        &plan.command_options(),
    );
    assert!(
        !text.contains("verysecret") && !text.contains("abcdef") && !text.contains("***"),
        "{text}"
    );
    assert!(
        text.contains("# Not stored, pass it again: --api-key\n"),
        "{text}"
    );
    assert!(
        text.contains("# Not stored, pass it again: --header 'Authorization: ...'\n"),
        "{text}"
    );
    assert!(text.contains("--header 'X-Class: gold'"), "{text}");
}

/// A header that one crate masks and the other stores would be stored as `***`.
#[test]
fn both_crates_agree_on_which_headers_are_secret() {
    let names = [
        "Authorization",
        "Proxy-Authorization",
        "X-Api-Key",
        "Cookie",
        "X-Auth",
        "X-Session-Id",
        "X-Password",
        "X-Passwd",
        "X-Credential",
        "X-Secret",
        "X-Access-Token",
        "Accept",
        "X-Class",
        "User-Agent",
        "X-Signature",
        "X-JWT",
        "",
    ];
    for name in names {
        assert_eq!(
            is_secret_header(name),
            report::run_command::is_secret_header(name),
            "{name}"
        );
    }
}

//! Where requests go, and what they carry.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use sim::{Background, ReceivedRequest};

use crate::support::process::Place;
use crate::support::server::{self, TlsFront, measured, request_id, text, warm_ups};
use crate::tool::QUICK;

/// Number of the working-set prompt that a request is built on.
fn prompt(request: &ReceivedRequest) -> Option<String> {
    let line = text(request).lines().next()?;
    line.strip_prefix("# PROMPT_").map(str::to_owned)
}

fn prompts(requests: &[ReceivedRequest]) -> BTreeSet<String> {
    requests.iter().filter_map(prompt).collect()
}

fn run_on_two(place: &Place, servers: &[Background; 2], more: &str) {
    place
        .tool(QUICK)
        .args(["--api-endpoint", &servers[0].url(), &servers[1].url()])
        .args(more.split_whitespace())
        .run()
        .exits(0)
        .says("API Endpoints: 2 endpoints (load balanced)");
    place.output().assert_valid();
    let endpoints = place.output().detail(1000).distinct("endpoint");
    assert_eq!(endpoints, servers.iter().map(Background::url).collect());
}

// Example 16.
#[test]
fn pinned_prompts_reach_one_endpoint_only_with_all_that_is_built_on_them() {
    let servers = [server::swift(), server::swift()];
    let place = Place::new();
    run_on_two(
        &place,
        &servers,
        "--endpoint-selection pinned --cache-hit-rates 0 50",
    );
    let warm = servers.each_ref().map(warm_ups);
    assert_eq!([warm[0].len(), warm[1].len()], [4, 4]);
    let [one, other] = warm.each_ref().map(|warm| prompts(warm));
    assert!(one.is_disjoint(&other));
    for (server, own) in servers.iter().zip([&one, &other]) {
        let measured = measured(server);
        assert_eq!(&prompts(&measured), own);
        assert!(
            measured.iter().any(|r| prompt(r).is_none()),
            "no request at 0 %"
        );
    }
}

#[test]
fn with_round_robin_every_prompt_is_warmed_on_every_endpoint() {
    let servers = [server::swift(), server::swift()];
    let place = Place::new();
    run_on_two(&place, &servers, "--cache-hit-rates 50");
    for server in &servers {
        let warm = warm_ups(server);
        assert_eq!(warm.len(), 8);
        assert_eq!(prompts(&warm).len(), 8);
    }
    let n = servers.each_ref().map(|server| measured(server).len());
    assert!(n[0].abs_diff(n[1]) <= 2, "{n:?} requests");
}

#[test]
fn a_base_url_with_v1_is_the_same_as_one_without() {
    let server = server::swift();
    let place = Place::new();
    place
        .tool(QUICK)
        .args([
            "--num-retries",
            "0",
            "--api-endpoint",
            &format!("{}/v1/", server.url()),
        ])
        .run()
        .exits(0);
    let paths: BTreeSet<String> = server.requests().into_iter().map(|r| r.path).collect();
    let expected = ["/v1/chat/completions", "/v1/models"];
    assert_eq!(paths, expected.map(str::to_owned).into());
}

#[test]
fn completions_get_the_prompt_without_a_chat() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(
            &server,
            "--endpoint-type completions --cache-hit-rates 50 --num-retries 0",
        )
        .run()
        .exits(0);
    for request in server.generations() {
        assert_eq!(request.path, "/v1/completions");
        assert!(text(&request).starts_with("# PROMPT_"));
        assert!(request.stream);
    }
    let detail = place.output().detail(1000);
    // No template shifts the blocks: what is cached is what was meant to be.
    assert_eq!(
        detail.distinct("reported_cached_tokens"),
        ["256".to_owned()].into()
    );
    place.output().assert_valid();
}

#[test]
fn http_2_carries_a_run_as_well() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(&server, "--http 2 --num-retries 0")
        .run()
        .exits(0)
        .warns_of_nothing();
    place.output().assert_valid();
}

#[test]
fn key_and_headers_go_with_every_request_and_into_no_file_or_log() {
    const KEY: &str = "sk-acceptance-4711";
    const TOKEN: &str = "hush-hush-0815";
    let mut config = server::linear(0.02, 0.005);
    config.api_key = Some(KEY.to_owned());
    let server = server::start(config);
    let place = Place::new();
    let run = place
        .quick(&server, "--verbose --num-retries 0")
        .args(["--api-key", KEY, "--header", "X-Team: two words"])
        .args(["--header", &format!("X-Access-Token: {TOKEN}")])
        .run()
        .exits(0);
    let requests = server.requests();
    assert!(requests.iter().any(|r| r.path == "/v1/models"));
    for request in &requests {
        let has =
            |name: &str, value: &str| request.headers.iter().any(|(n, v)| n == name && v == value);
        assert_eq!(request.status, Some(200), "{}", request.path);
        assert!(has("x-team", "two words"), "{}", request.path);
        // The simulator keeps no secrets either, only that there was one.
        assert!(request.headers.iter().any(|(n, _)| n == "x-access-token"));
    }
    // The key from the environment, which is wrong, and the server's refusal of it.
    let refused = Place::new();
    let end = refused
        .quick(&server, "--verbose --model demo")
        .env("OPENAI_API_KEY", "sk-wrong-1234")
        .run()
        .exits(1)
        .says("401");
    for (place, run, secrets) in [
        (&place, &run, [KEY, TOKEN]),
        (&refused, &end, ["sk-wrong-1234", KEY]),
    ] {
        for secret in secrets {
            assert!(!run.stderr.contains(secret), "{}", run.stderr);
            assert!(!run.stdout.contains(secret));
            for file in place.files() {
                let bytes = fs::read(&file).unwrap();
                let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
                assert!(!found, "{} holds {secret}", file.display());
            }
        }
        assert!(
            place
                .files()
                .iter()
                .any(|f| f.ends_with("cache_rate_tester.log"))
        );
    }
    place.output().assert_valid();
}

#[test]
fn https_needs_a_trusted_certificate_or_insecure() {
    let server = server::swift();
    let front = TlsFront::before(server.address());
    let place = Place::new();
    let command = |more: &str| {
        place
            .tool(QUICK)
            .args(["--num-retries", "0", "--api-endpoint", &front.url()])
            .args(more.split_whitespace())
            .run()
    };
    command("").exits(1).says("--insecure").says("/v1/models");
    assert!(server.requests().is_empty(), "a request went out untrusted");
    command("--insecure").exits(0);
    assert_eq!(place.output().completed(), ["1000_0"]);
    place.output().assert_valid();
}

#[test]
fn requests_ask_for_a_stream_of_so_many_tokens_and_optional_fields_go_along() {
    let server = server::swift();
    let place = Place::new();
    place
        .quick(&server, "--ignore-eos --num-retries 0 --model demo")
        .run()
        .exits(0);
    assert!(
        server.requests().iter().all(|r| r.path != "/v1/models"),
        "the model was given"
    );
    for request in measured(&server) {
        assert!(request.stream, "{}", request_id(&request));
        assert_eq!(request.max_tokens, Some(4));
        assert_eq!((request.ignore_eos, request.min_tokens), (true, 4));
        assert_eq!(request.model.as_deref(), Some(server::MODEL));
    }
    for request in warm_ups(&server) {
        assert_eq!(request.max_tokens, Some(1));
    }
}

/// Time to open connections was in the send delay, and the page said that the client sent late.
#[test]
fn connections_that_take_long_to_open_are_no_late_sends_of_the_client() {
    const HANDSHAKE: Duration = Duration::from_millis(150);
    let server = server::swift();
    let front = TlsFront::far_and_closing(server.address(), HANDSHAKE);
    let place = Place::new();
    place
        .tool(QUICK)
        .args(["--num-retries", "0", "--insecure"])
        .args(["--api-endpoint", &front.url()])
        .run()
        .exits(0);
    place.output().assert_valid();
    let detail = place.output().detail(1000);
    let median = |column: &str| {
        let mut numbers = detail.numbers(column);
        numbers.sort_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    let dial = HANDSHAKE.as_secs_f64();
    assert!(median("dial_time") >= dial, "{}", median("dial_time"));
    assert!(
        median("send_delay") < dial / 2.0,
        "{}",
        median("send_delay")
    );
    // Nor is it in any latency.
    let summary = place.output().summary();
    let intended = summary.numbers("median_ttft_from_intended");
    for (intended, sent) in intended.iter().zip(summary.numbers("median_ttft")) {
        assert!(intended - sent < dial / 2.0, "{intended} {sent}");
    }
}

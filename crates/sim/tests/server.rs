//! The server over real sockets: what a client of a real engine relies on.
#![allow(
    clippy::unwrap_used,
    reason = "helpers outside of test functions may panic as tests do"
)]

mod http;

use std::time::{Duration, Instant};

use http::{Client, LONG, call, get, post};
use serde_json::{Value, json};
use sim::model::ServiceModel;
use sim::{Background, RequestState, SimConfig, UsageForm};

/// A server that answers at once: these tests are about form, not about time.
fn fast() -> SimConfig {
    let mut config = SimConfig::demo();
    config.engine.service = ServiceModel::Fixed {
        total: Duration::from_millis(1),
    };
    config
}

fn start() -> Background {
    Background::start(fast()).unwrap()
}

fn chat(content: &str, max_tokens: u32) -> Value {
    json!({
        "model": "kv-cache-sim",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": max_tokens,
        "stream": true,
        "stream_options": {"include_usage": true},
    })
}

fn words(n: usize) -> String {
    (0..n)
        .map(|i| ["river ", "stone ", "mill "][i % 3])
        .collect()
}

#[test]
fn a_chat_stream_has_the_shape_of_vllm() {
    let server = start();
    let reply = post(
        server.address(),
        "/v1/chat/completions",
        &chat("Hello there", 4),
    );
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert!(reply.complete);
    let chunks = reply.chunks();
    assert_eq!(chunks.len(), 6, "role, four tokens, usage");
    assert_eq!(reply.events().last().map(String::as_str), Some("[DONE]"));
    for chunk in &chunks {
        assert!(chunk["id"].as_str().unwrap().starts_with("chatcmpl-"));
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["model"], "kv-cache-sim");
        assert_eq!(chunk["id"], chunks[0]["id"]);
    }
    assert_eq!(
        chunks[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );
    for (position, chunk) in chunks[1..5].iter().enumerate() {
        let choice = &chunk["choices"][0];
        let text = choice["delta"]["content"].as_str().unwrap();
        assert!(
            text.starts_with(' ') && text.trim().chars().all(|c| c.is_ascii_lowercase()),
            "{text:?}"
        );
        let finish = if position == 3 {
            json!("length")
        } else {
            Value::Null
        };
        assert_eq!(choice["finish_reason"], finish);
    }
    assert_eq!(chunks[5]["choices"], json!([]));
    let usage = &chunks[5]["usage"];
    assert_eq!(usage["completion_tokens"], 4);
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);
    let sum = usage["prompt_tokens"].as_u64().unwrap() + 4;
    assert_eq!(usage["total_tokens"], sum);
}

#[test]
fn a_completions_stream_has_text_from_its_first_chunk() {
    let server = start();
    let body = json!({"prompt": [5, 6, 7, 8], "max_tokens": 3, "stream": true,
        "stream_options": {"include_usage": true}});
    let reply = post(server.address(), "/v1/completions", &body);
    let chunks = reply.chunks();
    assert_eq!(chunks.len(), 4);
    assert!(
        chunks[..3]
            .iter()
            .all(|chunk| chunk["object"] == "text_completion"
                && !chunk["choices"][0]["text"].as_str().unwrap().is_empty())
    );
    assert_eq!(chunks[2]["choices"][0]["finish_reason"], "length");
    assert_eq!(chunks[3]["usage"]["prompt_tokens"], 4);
}

#[test]
fn every_token_is_a_frame_and_a_write_of_its_own() {
    let server = start();
    let reply = post(server.address(), "/v1/chat/completions", &chat("Hi", 50));
    assert_eq!(reply.frames.len(), 50 + 3);
    // The head and the role may share one; all tokens of this server are due within a millisecond.
    let truth = get(server.address(), "/sim/truth").json();
    let writes = truth["socket_writes"].as_u64().unwrap();
    assert!((50 + 3..=50 + 5).contains(&writes), "{writes} writes");
    assert_eq!(truth["written_late"]["tokens"], 50);
    assert!(truth["written_late"]["p99_s"].as_f64() > Some(0.0));
}

#[test]
fn usage_comes_in_a_stream_only_when_it_was_asked_for() {
    let server = start();
    let mut body = chat("Hi", 2);
    body["stream_options"] = Value::Null;
    let reply = post(server.address(), "/v1/chat/completions", &body);
    assert!(
        reply
            .chunks()
            .iter()
            .all(|chunk| chunk.get("usage").is_none())
    );
    assert_eq!(reply.chunks().len(), 3);
}

#[test]
fn without_stream_the_answer_is_one_object() {
    let server = start();
    let mut body = chat("Hi", 5);
    body["stream"] = json!(false);
    let reply = post(server.address(), "/v1/chat/completions", &body);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let answer = reply.json();
    assert_eq!(answer["object"], "chat.completion");
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(text.split_ascii_whitespace().count(), 5);
    assert_eq!(answer["usage"]["completion_tokens"], 5);
    let reply = post(
        server.address(),
        "/v1/completions",
        &json!({"prompt": "Hi", "max_tokens": 5}),
    );
    assert_eq!(reply.json()["choices"][0]["finish_reason"], "length");
}

#[test]
fn a_repeated_prompt_reports_its_cached_tokens_and_a_shared_prefix_its_blocks() {
    let server = start();
    let cached = |content: &str| {
        let chunks = post(server.address(), "/v1/chat/completions", &chat(content, 1)).chunks();
        let usage = chunks.last().unwrap()["usage"].clone();
        (
            usage["prompt_tokens"].as_u64().unwrap(),
            usage["prompt_tokens_details"]["cached_tokens"]
                .as_u64()
                .unwrap(),
        )
    };
    let long = words(300);
    let (prompt, first) = cached(&long);
    assert_eq!(first, 0);
    assert_eq!(cached(&long), (prompt, (prompt - 1) / 16 * 16));
    let (_, half) = cached(&format!("{}{}", words(150), "window ".repeat(150)));
    assert!((130..=165).contains(&half) && half % 16 == 0, "{half}");
}

#[test]
fn usage_is_reported_in_the_form_that_was_asked_for() {
    let usage = |form| {
        let mut config = fast();
        config.usage = form;
        let server = Background::start(config).unwrap();
        post(
            server.address(),
            "/v1/chat/completions",
            &chat(&words(100), 1),
        );
        let reply = post(
            server.address(),
            "/v1/chat/completions",
            &chat(&words(100), 3),
        );
        let chunks = reply.chunks();
        (chunks.len(), chunks.last().unwrap().clone())
    };
    let (n, last) = usage(UsageForm::Full);
    assert!(n == 5 && last["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64() > Some(0));
    let (n, last) = usage(UsageForm::Null);
    assert!(
        n == 5 && last["usage"]["prompt_tokens_details"].is_null() && last["usage"].is_object()
    );
    let (n, last) = usage(UsageForm::ZeroCached);
    assert!(n == 5 && last["usage"]["prompt_tokens_details"]["cached_tokens"] == 0);
    let (n, last) = usage(UsageForm::Missing);
    assert!(n == 4 && last.get("usage").is_none());
    let (n, last) = usage(UsageForm::FinalOnly);
    assert!(n == 4 && last["choices"][0]["finish_reason"] == "length");
    assert!(last["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64() > Some(0));
}

#[test]
fn what_is_wrong_gets_an_error_object_with_its_status() {
    let mut config = fast();
    config.max_model_len = kvcalc::TokenCount(100);
    let server = Background::start(config).unwrap();
    let mut other_model = chat("Hi", 1);
    other_model["model"] = json!("gpt-0");
    for (method, path, body, status, word) in [
        (
            "POST",
            "/v1/chat/completions",
            other_model.to_string(),
            404,
            "gpt-0",
        ),
        (
            "POST",
            "/v1/chat/completions",
            "{\"messages\":".to_owned(),
            400,
            "cannot read",
        ),
        (
            "POST",
            "/v1/chat/completions",
            chat(&words(200), 1).to_string(),
            400,
            "maximum context length",
        ),
        (
            "POST",
            "/v1/completions",
            "{\"prompt\":\"\"}".to_owned(),
            400,
            "no token",
        ),
        ("GET", "/v1/chat/completions", String::new(), 405, "POST"),
        ("GET", "/v2/models", String::new(), 404, "/v2/models"),
        ("POST", "/sim/requests", String::new(), 405, "GET"),
    ] {
        let reply = call(server.address(), method, path, &body);
        assert_eq!(reply.status, status, "{method} {path} {body}");
        let error = &reply.json()["error"];
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
        assert_eq!(error["code"], status);
    }
}

#[test]
fn a_key_is_asked_for_everywhere_under_v1() {
    let mut config = fast();
    config.api_key = Some("sesame".to_owned());
    let server = Background::start(config).unwrap();
    for (header, status) in [
        (None, 401),
        (Some("Bearer sesam"), 401),
        (Some("Bearer sesame"), 200),
    ] {
        let mut client = Client::connect(server.address());
        let headers: Vec<_> = header
            .map(|value| ("authorization", value))
            .into_iter()
            .collect();
        client.send("GET", "/v1/models", &headers, "");
        assert_eq!(client.reply().unwrap().status, status);
    }
    assert_eq!(get(server.address(), "/health").status, 200);
    let shown = get(server.address(), "/sim/requests").body();
    assert!(!shown.contains("sesam"), "{shown}");
}

#[test]
fn models_lists_the_one_model() {
    let mut config = fast();
    config.model = "my/model".to_owned();
    let server = Background::start(config).unwrap();
    let models = get(server.address(), "/v1/models").json();
    assert_eq!(models["data"][0]["id"], "my/model");
    assert!(models["data"][0]["max_model_len"].as_u64() > Some(1000));
    assert_eq!(
        get(server.address(), "/v1/models/my/model").json()["id"],
        "my/model"
    );
}

#[test]
fn tokenize_and_detokenize_are_inverse_and_agree_with_usage() {
    let server = start();
    let text = "The river runs past the old mill, slowly.\n\nSecond paragraph: 42 é!";
    let tokens = post(server.address(), "/tokenize", &json!({"prompt": text})).json();
    let ids = tokens["tokens"].clone();
    assert_eq!(
        tokens["count"].as_u64().unwrap() as usize,
        ids.as_array().unwrap().len()
    );
    let back = post(server.address(), "/detokenize", &json!({"tokens": ids})).json();
    assert_eq!(back["prompt"], text);
    let messages = json!([{"role": "user", "content": text}]);
    let rendered = post(
        server.address(),
        "/tokenize",
        &json!({"messages": messages}),
    )
    .json();
    let usage = post(server.address(), "/v1/chat/completions", &chat(text, 1))
        .chunks()
        .pop()
        .unwrap();
    assert_eq!(usage["usage"]["prompt_tokens"], rendered["count"]);
}

#[test]
fn output_text_tokenises_to_as_many_tokens_as_usage_says() {
    let server = start();
    let reply = post(
        server.address(),
        "/v1/chat/completions",
        &chat("Write.", 200),
    );
    let tokens = post(
        server.address(),
        "/tokenize",
        &json!({"prompt": reply.text()}),
    )
    .json();
    assert_eq!(tokens["count"], 200);
}

/// A counter's or gauge's value, cut to a whole number.
fn sample(page: &str, name: &str) -> u64 {
    let line = page
        .lines()
        .find(|line| line.starts_with(&format!("{name}{{")))
        .expect(name);
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

#[test]
fn metrics_count_tokens_under_vllms_names() {
    let server = start();
    let mut expected = (0, 0, 0_u64);
    for _ in 0..3 {
        let usage = post(
            server.address(),
            "/v1/chat/completions",
            &chat(&words(200), 7),
        )
        .chunks()
        .pop()
        .unwrap();
        expected.0 += usage["usage"]["prompt_tokens"].as_u64().unwrap();
        expected.1 += usage["usage"]["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .unwrap();
        expected.2 += 7;
    }
    let page = get(server.address(), "/metrics").body();
    assert_eq!(sample(&page, "vllm:prefix_cache_queries_total"), expected.0);
    assert_eq!(sample(&page, "vllm:prefix_cache_hits_total"), expected.1);
    assert_eq!(sample(&page, "vllm:generation_tokens_total"), expected.2);
    assert_eq!(sample(&page, "vllm:num_requests_running"), 0);
    assert_eq!(sample(&page, "vllm:num_requests_waiting"), 0);
    assert_eq!(sample(&page, "vllm:kv_cache_usage_perc"), 0);
}

#[test]
fn received_requests_can_be_read_back_in_order() {
    let server = start();
    get(server.address(), "/v1/models");
    for n in 0..3 {
        let mut client = Client::connect(server.address());
        let body = chat(&format!("# PROMPT_{n} {}", words(50)), n + 1).to_string();
        client.send(
            "POST",
            "/v1/chat/completions",
            &[("X-Request-Id", &format!("r{n}"))],
            &body,
        );
        let reply = client.reply().unwrap();
        assert_eq!(reply.header("x-request-id"), Some(format!("r{n}").as_str()));
    }
    let generations = server.generations();
    for (n, request) in generations.iter().enumerate() {
        assert!(
            request
                .text_prefix
                .as_ref()
                .unwrap()
                .starts_with(&format!("# PROMPT_{n} river"))
        );
        assert_eq!(request.request_id, Some(format!("r{n}")));
        assert_eq!(
            (request.state, request.status),
            (RequestState::Done, Some(200))
        );
        assert_eq!(request.completion_tokens, Some(n as u64 + 1));
    }
    assert_eq!(generations.len(), 3);
    let read = get(server.address(), "/sim/requests?after=1").json();
    assert_eq!(read["received"], 4);
    assert_eq!(read["requests"].as_array().unwrap().len(), 2);
    let truth = get(server.address(), "/sim/truth?request_id=r1").json();
    assert_eq!(truth["requests"][0]["max_tokens"], 2);
    let tier = &truth["tiers"][0];
    assert_eq!(
        tier["hit_tokens"].as_u64(),
        generations.iter().map(|r| r.cached_tokens).sum()
    );
}

#[test]
fn a_client_that_leaves_cancels_its_request() {
    let mut config = fast();
    config.engine.service = ServiceModel::Fixed { total: LONG };
    let server = Background::start(config).unwrap();
    let mut client = Client::connect(server.address());
    client.send(
        "POST",
        "/v1/chat/completions",
        &[],
        &chat("Hi", 1000).to_string(),
    );
    // Leave once the request has arrived.
    let deadline = Instant::now() + LONG;
    while server.generations().is_empty() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(client);
    while server.generations()[0].state != RequestState::Cancelled {
        assert!(Instant::now() < deadline, "the request was not cancelled");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_connection_serves_one_request_after_another() {
    let server = start();
    let mut client = Client::connect(server.address());
    for n in 1..=3 {
        client.send(
            "POST",
            "/v1/chat/completions",
            &[],
            &chat("Hi", n).to_string(),
        );
        let reply = client.reply().unwrap();
        assert!(reply.complete);
        assert_eq!(
            reply.chunks().last().unwrap()["usage"]["completion_tokens"],
            n
        );
    }
}

#[test]
fn options_without_effect_are_named_in_a_warning() {
    let server = start();
    let mut body = chat("Hi", 1);
    body["stop"] = json!(["\n"]);
    let reply = post(server.address(), "/v1/chat/completions", &body);
    assert!(reply.header("warning").unwrap().contains("stop"));
}

#[test]
fn an_output_ends_by_itself_unless_that_is_to_be_ignored() {
    let mut config = fast();
    config.eos_probability = 0.5;
    let server = Background::start(config).unwrap();
    let run = |more: Value| {
        let mut body = chat("Tell me more", 64);
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        let mut chunks = post(server.address(), "/v1/chat/completions", &body).chunks();
        let usage = chunks.pop().unwrap();
        let finish = chunks.pop().unwrap()["choices"][0]["finish_reason"].clone();
        (
            usage["usage"]["completion_tokens"].as_u64().unwrap(),
            finish,
        )
    };
    let (tokens, finish) = run(json!({}));
    assert!(tokens < 64 && finish == "stop");
    assert_eq!(run(json!({"ignore_eos": true})), (64, json!("length")));
    assert!(run(json!({"min_tokens": 40})).0 >= 40);
}

fn plain(prompt: &str, max_tokens: u32) -> Value {
    json!({"prompt": prompt, "max_tokens": max_tokens, "temperature": 0.0})
}

#[test]
fn generate_answers_in_the_simple_form_and_a_repeat_from_its_response_cache() {
    let server = start();
    let first = post(server.address(), "/generate", &plain("How?", 5)).json();
    let keys: Vec<&String> = first.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["text", "cached", "output_tokens"]);
    assert_eq!(first["cached"], json!(false));
    assert_eq!(first["output_tokens"], json!(5));
    assert_eq!(
        first["text"].as_str().unwrap().split_whitespace().count(),
        5
    );
    let again = post(server.address(), "/generate", &plain("How?", 5)).json();
    assert_eq!(again["cached"], json!(true));
    assert_eq!(again["text"], first["text"]);
    let longer = post(server.address(), "/generate", &plain("How?", 6)).json();
    assert_eq!(longer["cached"], json!(false));
    let records = server.generations();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|r| r.state == RequestState::Done));
    assert_eq!(
        records
            .iter()
            .map(|r| r.completion_tokens)
            .collect::<Vec<_>>(),
        [Some(5), Some(0), Some(6)]
    );
    assert_eq!(records[1].text_prefix.as_deref(), Some("How?"));
    post(server.address(), "/reset_prefix_cache", &json!({}));
    let forgotten = post(server.address(), "/generate", &plain("How?", 5)).json();
    assert_eq!(forgotten["cached"], json!(false));
}

#[test]
fn generate_streams_events_or_lines_one_token_each() {
    let server = start();
    let mut body = plain("Why?", 3);
    body["stream"] = json!(true);
    let reply = post(server.address(), "/generate", &body);
    assert_eq!(
        reply.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(reply.events().last().map(String::as_str), Some("[DONE]"));
    let records = reply.chunks();
    assert_eq!(records.len(), 4, "three tokens and the end");
    assert_eq!(
        records[3],
        json!({"text": "", "cached": false, "output_tokens": 3})
    );
    let text: String = records.iter().filter_map(|r| r["text"].as_str()).collect();
    let lines = post(
        server.address(),
        "/generate?stream=ndjson",
        &plain("Who?", 3),
    );
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(lines.body().lines().count(), 4);
    // A kept answer comes in one piece, in whatever form it is asked for.
    let kept = post(
        server.address(),
        "/generate?stream=ndjson",
        &plain("Why?", 3),
    );
    let record: Value = serde_json::from_str(kept.body().trim_end()).unwrap();
    assert_eq!(
        record,
        json!({"text": text, "cached": true, "output_tokens": 3})
    );
}

#[test]
fn generate_refuses_what_is_no_text_and_meets_faults_like_every_generation() {
    let server = start();
    assert_eq!(
        post(server.address(), "/generate", &json!({"prompt": 7})).status,
        400
    );
    let mut config = fast();
    config.faults.rules = vec!["503".parse().unwrap()];
    let server = Background::start(config).unwrap();
    assert_eq!(
        post(server.address(), "/generate", &plain("x", 1)).status,
        503
    );
}

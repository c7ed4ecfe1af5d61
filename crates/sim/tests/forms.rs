//! The forms of streams, of usage and of metrics that other servers have, as a client sees them.
#![allow(
    clippy::unwrap_used,
    reason = "helpers outside of test functions may panic as tests do"
)]

mod http;

use std::time::Duration;

use http::{Reply, get, post};
use kvcalc::TokenCount;
use proptest::prelude::*;
use serde_json::{Value, json};
use sim::model::{Eviction, ServiceModel, StepCosts, TierConfig, WritePolicy};
use sim::{Background, MetricsStyle, SimConfig, StreamForm, UsageForm};

fn fast(forms: &[&str]) -> SimConfig {
    let mut config = SimConfig::demo();
    config.engine.service = ServiceModel::Fixed {
        total: Duration::from_millis(1),
    };
    config.forms = forms
        .iter()
        .map(|form| form.parse::<StreamForm>().unwrap())
        .collect();
    config
}

fn body(tokens: u32, stream: bool) -> Value {
    json!({
        "messages": [{"role": "user", "content": "Hello there"}],
        "max_tokens": tokens,
        "stream": stream,
        "stream_options": {"include_usage": true},
    })
}

fn chat(config: SimConfig, tokens: u32) -> Reply {
    let server = Background::start(config).unwrap();
    post(
        server.address(),
        "/v1/chat/completions",
        &body(tokens, true),
    )
}

fn whole(config: SimConfig, tokens: u32) -> Value {
    let server = Background::start(config).unwrap();
    post(
        server.address(),
        "/v1/chat/completions",
        &body(tokens, false),
    )
    .json()
}

/// What the plain form writes for the same prompt.
fn plain(tokens: u32) -> String {
    chat(fast(&[]), tokens).text()
}

/// The texts of all deltas under `pointer`, joined.
fn joined(chunks: &[Value], pointer: &str) -> String {
    let texts = chunks
        .iter()
        .filter_map(|chunk| chunk.pointer(pointer)?.as_str());
    texts.collect()
}

/// Events of a stream whose lines may end in CR LF and which may hold comments.
fn data_of(reply: &Reply) -> Vec<Value> {
    let lines = reply.body();
    let data = lines.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

#[test]
fn without_a_role_chunk_the_role_rides_on_the_first_text() {
    let chunks = chat(fast(&["no-role"]), 3).chunks();
    assert_eq!(chunks.len(), 4, "three tokens and usage");
    let delta = &chunks[0]["choices"][0]["delta"];
    assert_eq!(delta["role"], "assistant");
    assert!(!delta["content"].as_str().unwrap().is_empty());
    assert!(chunks[1]["choices"][0]["delta"].get("role").is_none());
}

#[test]
fn empty_chunks_come_in_front_of_each_text() {
    let reply = chat(fast(&["empty-chunks=2"]), 3);
    let texts: Vec<_> = reply.chunks()[1..10]
        .iter()
        .map(|chunk| {
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .unwrap()
                .is_empty()
        })
        .collect();
    let one = [true, true, false];
    assert_eq!(texts, [one, one, one].concat());
    assert_eq!(reply.text(), plain(3));
    let server = Background::start(fast(&["empty-chunks"])).unwrap();
    let body = json!({"prompt": [5, 6], "max_tokens": 3, "stream": true});
    let chunks = post(server.address(), "/v1/completions", &body).chunks();
    assert_eq!(chunks.len(), 6);
    assert_eq!(chunks[4]["choices"][0]["text"], "");
}

#[test]
fn several_tokens_share_a_chunk_and_the_finish_reason_is_on_the_last() {
    let reply = chat(fast(&["tokens-per-chunk=3"]), 8);
    let chunks = reply.chunks();
    let words = |chunk: &Value| {
        let text = chunk["choices"][0]["delta"]["content"].as_str().unwrap();
        text.split_ascii_whitespace().count()
    };
    assert_eq!(
        chunks[1..4].iter().map(words).collect::<Vec<_>>(),
        [3, 3, 2]
    );
    assert_eq!(chunks[3]["choices"][0]["finish_reason"], "length");
    assert_eq!(chunks[4]["usage"]["completion_tokens"], 8);
    assert_eq!(reply.text(), plain(8));
}

#[test]
fn reasoning_comes_first_in_the_field_that_was_asked_for() {
    for (form, field, thought) in [
        ("reasoning-content=3", "reasoning_content", 3),
        ("reasoning", "reasoning", 4),
        ("reasoning=99", "reasoning", 8),
    ] {
        let reply = chat(fast(&[form]), 8);
        let chunks = reply.chunks();
        let reasoning = joined(&chunks, &format!("/choices/0/delta/{field}"));
        let answer = reply.text();
        assert_eq!(
            reasoning.split_ascii_whitespace().count(),
            thought,
            "{form}"
        );
        assert_eq!(format!("{reasoning}{answer}"), plain(8));
        let usage = &chunks.last().unwrap()["usage"];
        assert_eq!(
            usage["completion_tokens_details"]["reasoning_tokens"],
            thought
        );
        assert_eq!(usage["completion_tokens"], 8);
        let message = whole(fast(&[form]), 8)["choices"][0]["message"].clone();
        assert_eq!(message[field], json!(reasoning));
        assert_eq!(message["content"], json!(answer));
    }
}

#[test]
fn a_tool_call_opens_once_and_its_arguments_join_to_json() {
    let reply = chat(fast(&["tool-call", "reasoning=2"]), 6);
    let chunks = reply.chunks();
    let opening: Vec<_> = chunks
        .iter()
        .filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0/id"))
        .collect();
    assert_eq!(opening.len(), 1);
    let arguments = joined(&chunks, "/choices/0/delta/tool_calls/0/function/arguments");
    let arguments: Value = serde_json::from_str(&arguments).unwrap();
    let words = arguments["words"].as_str().unwrap();
    assert_eq!(words.split_ascii_whitespace().count(), 4);
    let finish = &chunks[chunks.len() - 2]["choices"][0]["finish_reason"];
    assert_eq!(finish, "tool_calls");
    let choice = whole(fast(&["tool-call", "reasoning=2"]), 6)["choices"][0].clone();
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(choice["message"]["content"], Value::Null);
    assert_eq!(
        (&call["id"], &call["function"]["name"]),
        (&call["id"], &json!("answer"))
    );
    let whole: Value =
        serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(whole, arguments);
}

#[test]
fn a_tool_call_names_the_first_tool_that_was_offered() {
    let server = Background::start(fast(&["tool-call"])).unwrap();
    let mut body = body(2, false);
    body["tools"] = json!([{"type": "function", "function": {"name": "weather"}}]);
    let answer = post(server.address(), "/v1/chat/completions", &body).json();
    let call = answer.pointer("/choices/0/message/tool_calls/0/function/name");
    assert_eq!(call, Some(&json!("weather")));
}

#[test]
fn lines_can_end_in_cr_lf_and_the_marker_can_be_left_out() {
    let reply = chat(fast(&["crlf", "no-done"]), 3);
    let text = reply.body();
    assert!(reply.complete && !text.contains("[DONE]"));
    assert_eq!(
        text.matches("\r\n\r\n").count(),
        5,
        "role, three tokens, usage"
    );
    assert_eq!(text.matches('\n').count(), 10, "no line ends in LF alone");
    assert_eq!(text.matches('\r').count(), 10);
    assert_eq!(data_of(&reply).len(), 5);
}

#[test]
fn comments_come_first_and_whenever_nothing_else_does() {
    let mut config = fast(&["comments=0.02"]);
    config.engine.service = ServiceModel::Linear {
        per_active: Duration::from_millis(150),
        per_token: Duration::ZERO,
    };
    let reply = chat(config, 2);
    let body = reply.body();
    assert!(body.starts_with(": keep-alive\n\n"));
    let comments = body.matches(": keep-alive").count();
    // One at once and then one in 20 ms for 150 ms; a busy machine may lose some, but not make more.
    assert!((3..=9).contains(&comments), "{comments} comments");
    assert_eq!(data_of(&reply).len(), 4);
}

#[test]
fn words_can_carry_characters_that_are_cut_by_a_frame() {
    let reply = chat(fast(&["split-utf8", "crlf"]), 4);
    let cut = reply
        .frames
        .iter()
        .filter(|frame| std::str::from_utf8(frame).is_err())
        .count();
    assert_eq!(cut, 8, "both halves of each of four tokens");
    let text = joined(&data_of(&reply), "/choices/0/delta/content");
    assert_eq!(text.matches("é東😀").count(), 4);
}

#[test]
fn usage_on_the_last_text_goes_with_every_form() {
    let mut config = fast(&["tokens-per-chunk=3", "reasoning=2", "empty-chunks"]);
    config.usage = UsageForm::FinalOnly;
    let chunks = chat(config, 6).chunks();
    let with_usage: Vec<_> = chunks
        .iter()
        .filter(|chunk| chunk.get("usage").is_some())
        .collect();
    assert_eq!(with_usage.len(), 1);
    let choice = &with_usage[0]["choices"][0];
    assert_eq!(choice["finish_reason"], "length");
    assert!(!choice["delta"]["content"].as_str().unwrap().is_empty());
}

#[test]
fn the_finish_reason_can_come_in_a_chunk_of_its_own_as_sglang_and_llama_cpp_send_it() {
    let check = |usage, stream_path: &str, n_with_text: usize| {
        let mut config = fast(&["finish-chunk"]);
        config.usage = usage;
        let server = Background::start(config).unwrap();
        let mut request = body(3, true);
        request["prompt"] = json!("Hello");
        let chunks = data_of(&post(server.address(), stream_path, &request));
        let reasons: Vec<_> = chunks
            .iter()
            .filter_map(|chunk| chunk.pointer("/choices/0"))
            .collect();
        let (last, texts) = reasons.split_last().unwrap();
        assert_eq!(last["finish_reason"], "length");
        assert!(
            last["delta"].get("content").is_none()
                && last["text"].as_str().is_none_or(str::is_empty)
        );
        assert!(texts.iter().all(|choice| choice["finish_reason"].is_null()));
        assert_eq!(texts.len(), n_with_text);
        let rides = chunks.last().unwrap().pointer("/choices/0").is_some();
        assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], 3);
        rides
    };
    // A chat begins with its role.
    assert!(!check(UsageForm::Full, "/v1/chat/completions", 4));
    assert!(check(UsageForm::FinalOnly, "/v1/chat/completions", 4));
    assert!(!check(UsageForm::Full, "/v1/completions", 3));
    assert!(check(UsageForm::FinalOnly, "/v1/completions", 3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever forms are combined, reasoning and text (or a tool's words) together are what the plain form
    /// writes, and usage counts the same tokens.
    #[test]
    fn forms_change_the_wrapping_and_not_the_words(
        forms in prop::collection::vec(prop::sample::select(vec![
            "no-role", "empty-chunks", "finish-chunk", "tokens-per-chunk=2", "tokens-per-chunk=5", "reasoning=3",
            "reasoning-content", "tool-call", "no-done", "crlf", "comments=0.001",
        ]), 0..6),
        tokens in 1u32..12,
    ) {
        let reply = chat(fast(&forms), tokens);
        let chunks = data_of(&reply);
        let part = |name: &str| joined(&chunks, &format!("/choices/0/delta/{name}"));
        let arguments = part("tool_calls/0/function/arguments");
        let words = serde_json::from_str::<Value>(&arguments).map_or_else(
            |_| String::new(),
            |arguments| arguments["words"].as_str().unwrap().to_owned(),
        );
        let all = [part("reasoning"), part("reasoning_content"), part("content"), words].concat();
        prop_assert_eq!(all, plain(tokens));
        prop_assert_eq!(&chunks.last().unwrap()["usage"]["completion_tokens"], tokens);
    }
}

// --- SGLang -------------------------------------------------------------------------------------

/// Three tiers; the first holds two prompts of 64 tokens, so that a third sends the oldest down.
fn tiered() -> SimConfig {
    let mut config = SimConfig::demo();
    config.engine.tiers = ["hbm", "dram", "disk"]
        .into_iter()
        .zip([160, 160, 1600])
        .map(|(name, tokens)| TierConfig {
            name: name.to_owned(),
            capacity: TokenCount(tokens),
            bytes_per_s: 1e9,
            latency: Duration::from_millis(1),
            eviction: Eviction::Lru,
            ttl: None,
        })
        .collect();
    config.engine.write = WritePolicy::Back;
    config.engine.service = ServiceModel::Batching(StepCosts {
        base: 1e-3,
        per_decode_seq: 0.0,
        per_decode_context: 0.0,
        per_prefill_token: 10e-6,
        per_attended_pair: 0.0,
    });
    config
}

/// Asks for one token behind 64 token ids that no other `salt` shares.
fn ask(server: &Background, salt: u32, extra: &[(&str, Value)]) -> Reply {
    let ids: Vec<u32> = (0..64).map(|i| salt * 100 + i).collect();
    let mut body = json!({"prompt": ids, "max_tokens": 1});
    for (key, value) in extra {
        body[*key] = value.clone();
    }
    post(server.address(), "/v1/completions", &body)
}

#[test]
fn sglangs_split_says_which_tier_the_cached_tokens_came_from() {
    let server = Background::start(tiered()).unwrap();
    let split = |salt| {
        let answer = ask(
            &server,
            salt,
            &[("return_cached_tokens_details", json!(true))],
        )
        .json();
        (
            answer["usage"]["prompt_tokens_details"]["cached_tokens"].clone(),
            answer["sglext"]["cached_tokens_details"].clone(),
        )
    };
    let of = |device: u64, host: u64, storage: u64| json!({"device": device, "host": host, "storage": storage, "storage_backend": "disk"});
    assert_eq!(split(0), (json!(0), of(0, 0, 0)));
    assert_eq!(split(0), (json!(48), of(48, 0, 0)));
    for other in 1..8 {
        split(other);
    }
    let (cached, details) = split(0);
    assert_eq!(
        (cached, details),
        (json!(48), of(0, 0, 48)),
        "two tiers further down"
    );
    // Nobody who does not ask gets it; and in a stream it has a chunk of its own.
    assert!(ask(&server, 0, &[]).json().get("sglext").is_none());
    let extra = [
        ("return_cached_tokens_details", json!(true)),
        ("stream", json!(true)),
        ("stream_options", json!({"include_usage": true})),
    ];
    let chunks = ask(&server, 0, &extra).chunks();
    let chunk = &chunks[chunks.len() - 2];
    assert_eq!(chunk["choices"], json!([]));
    assert_eq!(chunk["sglext"]["cached_tokens_details"]["device"], 48);
    assert!(chunks.last().unwrap()["usage"].is_object());
}

fn value(page: &str, sample: &str) -> f64 {
    let line = page.lines().find(|line| line.starts_with(sample));
    let line = line.unwrap_or_else(|| panic!("no {sample} in {page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn metrics_count_tokens_under_sglangs_names() {
    let mut config = tiered();
    config.metrics = MetricsStyle::Sglang;
    let server = Background::start(config).unwrap();
    for salt in [0, 0, 1, 2, 0] {
        ask(&server, salt, &[]);
    }
    let page = get(server.address(), "/metrics").body();
    let labels = r#"{engine_type="unified",model_name="kv-cache-sim",pp_rank="0",tp_rank="0""#;
    let source = |name: &str| {
        value(
            &page,
            &format!("sglang:cached_tokens_total{labels},cache_source=\"{name}\"}}"),
        )
    };
    let (device, host, storage) = (source("device"), source("host"), source("storage_disk"));
    // The last prompt finds two blocks still in HBM and the third one tier down.
    assert_eq!((device, host, storage), (80.0, 16.0, 0.0));
    for (name, expected) in [
        ("prompt_tokens_total", 320.0),
        ("generation_tokens_total", 5.0),
        ("num_requests_total", 5.0),
        ("max_total_num_tokens", 160.0),
        ("num_running_reqs", 0.0),
        ("num_queue_reqs", 0.0),
    ] {
        let value = value(&page, &format!("sglang:{name}"));
        assert!((value - expected).abs() < 1e-9, "{name} is {value}");
    }
    assert!((value(&page, "sglang:cache_hit_rate") - 0.3).abs() < 1e-9);
    assert!(!page.contains("vllm:"));
    assert!(page.contains("kv_cache_sim:tier_hit_tokens_total"));
}

#[test]
fn the_truth_of_a_request_adds_up_to_its_ttft_and_knows_its_tiers() {
    let server = Background::start(tiered()).unwrap();
    for salt in 0..8 {
        ask(&server, salt, &[]);
    }
    let mut client = http::Client::connect(server.address());
    let ids: Vec<u32> = (0..64).collect();
    let body = json!({"prompt": ids, "max_tokens": 1}).to_string();
    let id = "run 7/ä";
    client.send("POST", "/v1/completions", &[("x-request-id", id)], &body);
    client.reply().unwrap();
    let truth = get(server.address(), "/sim/truth?request_id=run%207/%C3%A4").json();
    let request = &truth["requests"][0];
    assert_eq!(truth["requests"].as_array().unwrap().len(), 1);
    let number = |key: &str| request[key].as_f64().unwrap();
    let loads: Vec<f64> = serde_json::from_value(request["load_s_by_tier"].clone()).unwrap();
    assert_eq!(request["cached_by_tier"], json!([0, 0, 48]));
    // 1 ms of latency and 48 tokens of 2,048 bytes at 1 GB/s.
    assert!(
        (loads[2] - (1e-3 + 48.0 * 2048.0 / 1e9)).abs() < 1e-6,
        "{loads:?}"
    );
    assert_eq!((loads[0], loads[1]), (0.0, 0.0));
    // 16 tokens in one step.
    assert!((number("prefill_s") - (1e-3 + 16.0 * 10e-6)).abs() < 1e-6);
    let sum = number("queue_s") + loads.iter().sum::<f64>() + number("prefill_s");
    assert!((sum - number("ttft_s")).abs() < 1e-9);
    assert_eq!(
        (&truth["running"], &truth["waiting"]),
        (&json!(0), &json!(0))
    );
    let tier = &truth["tiers"][2];
    assert_eq!(tier["capacity_bytes"], 1600 * 2048);
    assert_eq!(tier["hit_tokens"], 48);
}

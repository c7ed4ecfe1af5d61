//! The report on prepared models: the original's text to the byte, and the lines that other models add.

use clap::Parser;
use kvcalc::{ModelGeometry, known};
use serde_json::{Value, json};

use super::*;
use crate::args::Args;

fn answered(words: &[&str], config: &Value) -> (Plan, Answer) {
    let args = Args::parse_from([&["kv_cache_size"], words].concat());
    let plan = Plan::try_from(args).unwrap();
    let geometry = ModelGeometry::from_config(config).unwrap();
    let state_bytes = plan.state_bytes.or(geometry.state_bytes).unwrap_or(2);
    let answer = Answer {
        rank: geometry.per_rank(plan.ranks).unwrap(),
        format: plan.format.with_state_bytes(state_bytes),
        geometry,
        origin: Origin::Config("a file".to_owned()),
    };
    (plan, answer)
}

fn report(words: &[&str], config: &Value) -> String {
    let (plan, answer) = answered(words, config);
    text(&plan, &answer)
}

fn known(id: &str) -> Value {
    known::find(id).unwrap().config
}

/// The block of one token count, without its heading.
fn block(report: &str, tokens: &str) -> Vec<String> {
    let heading = format!("📏 {tokens} tokens:");
    let lines = report.lines().skip_while(|line| *line != heading).skip(1);
    lines
        .take_while(|line| line.starts_with("   "))
        .map(|line| line.trim().to_owned())
        .collect()
}

#[test]
fn a_plain_model_is_reported_in_the_originals_words_to_the_byte() {
    let id = "meta-llama/Llama-3.3-70B-Instruct";
    let whole = opening(id) + &report(&[id], &known(id));
    assert_eq!(whole, include_str!("../../tests/data/original_report.txt"));
}

#[test]
fn plain_models_of_every_kind_get_no_line_that_the_original_did_not_have() {
    let plain = [
        json!({"model_type": "llama"}),
        json!({"model_type": "gpt_bigcode"}),
        json!({"model_type": "falcon"}),
        json!({"model_type": "qwen2", "num_key_value_heads": 4}),
        json!({"model_type": "gemma"}),
    ];
    let known_lines = [
        "Model:",
        "Layers:",
        "KV Heads:",
        "Attention Heads:",
        "GQA Ratio:",
        "Head Dimension:",
        "Hidden Size:",
        "Precision:",
        "Batch Size:",
        "   Per-layer:",
        "   Total:",
        "   Per-token:",
        "✅",
        "📊",
        "---",
        "💾",
        "📏",
        "===",
        "💡",
        "   • KV cache grows linearly with sequence length",
        "   • Cache is per request",
        "   • Actual cache size",
        "   • FP8 uses half",
        "   • Model uses GQA",
    ];
    for config in plain {
        for line in report(&["m", "--precision", "fp16", "--batch-size", "3"], &config).lines() {
            let is_known =
                line.is_empty() || known_lines.iter().any(|known| line.starts_with(known));
            assert!(is_known, "{config}: {line}");
        }
    }
}

#[test]
fn precision_and_batch_multiply_everything() {
    let words = [
        "m",
        "--precision",
        "fp16",
        "--batch-size",
        "4",
        "--custom-tokens",
        "1",
    ];
    let report = report(&words, &known("meta-llama/Llama-3.3-70B-Instruct"));
    assert_eq!(
        block(&report, "1"),
        [
            "Per-layer: 16.00 KB",
            "Total:     1.25 MB",
            "Per-token: 1.25 MB"
        ]
    );
    assert!(report.contains("\nPrecision: FP16\nBatch Size: 4\n"));
    assert!(report.contains("(FP16 selected)"));
}

#[test]
fn totals_of_the_acceptance_examples() {
    let gemma = json!({"text_config": {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34,
                                       "sliding_window": 1024}});
    for (id, config, tokens, total) in [
        (
            "deepseek",
            known("deepseek-ai/DeepSeek-V3"),
            "1",
            "Total:     70,272 bytes",
        ),
        ("gemma", gemma, "1000", "Total:     132.81 MB"),
        (
            "oss",
            known("openai/gpt-oss-20b"),
            "1000",
            "Total:     26.44 MB",
        ),
        (
            "oss",
            known("openai/gpt-oss-20b"),
            "128",
            "Total:     6.00 MB",
        ),
        (
            "falcon",
            known("tiiuae/falcon-7b"),
            "1",
            "Total:     8,192 bytes",
        ),
        ("none", known("tiiuae/falcon-7b"), "0", "Total:     0 bytes"),
    ] {
        let report = report(
            &["m", "--precision", "fp16", "--custom-tokens", tokens],
            &config,
        );
        let heading = thousands(tokens.parse().unwrap());
        assert!(
            block(&report, &heading).contains(&total.to_owned()),
            "{id}: {report}"
        );
    }
}

#[test]
fn no_tokens_have_no_mean() {
    let report = report(
        &["m", "--custom-tokens", "0"],
        &json!({"model_type": "llama"}),
    );
    assert_eq!(
        block(&report, "0"),
        ["Per-layer: 0.00 B", "Total:     0 bytes", "Per-token: n/a"]
    );
}

#[test]
fn models_with_windows_say_so() {
    let report = report(
        &["m", "--precision", "fp16", "--custom-tokens", "100000"],
        &known("google/gemma-3-27b-it"),
    );
    assert!(
        report.contains("\nAttention Layers: 10 full, 52 sliding (window 1024)\n"),
        "{report}"
    );
    assert!(report.contains("linearly until the window, then only in full-attention layers"));
    assert!(block(&report, "100,000").contains(&"Marginal:  80.00 KB".to_owned()));
    assert!(!report.contains("State:"));
}

#[test]
fn models_with_states_say_so() {
    let words = ["m", "--precision", "fp16", "--custom-tokens", "1000"];
    let report_of = |words: &[&str]| report(words, &known("Qwen/Qwen3-Next-80B-A3B-Instruct"));
    let text = report_of(&words);
    assert!(
        text.contains("\nAttention Layers: 12 full\nState Layers: 36 linear\n"),
        "{text}"
    );
    assert_eq!(
        block(&text, "1,000"),
        [
            "Per-layer: 1.95 MB",
            "Total:     61.12 MB",
            "Per-token: 62.59 KB",
            "Marginal:  24.00 KB",
            "State:     37.69 MB"
        ]
    );
    assert!(text.contains("grows linearly in attention layers; states have constant size"));
    let wide = report_of(&[&words[..], &["--state-dtype", "fp32"]].concat());
    assert!(wide.contains("State:     73.69 MB") && wide.contains("State Precision: 4 bytes"));
}

#[test]
fn latents_shapes_shared_layers_and_cross_attention_say_so() {
    let line = |id: &str, words: &str| {
        let report = report(&["m"], &known(id));
        assert!(report.contains(words), "{words}: {report}");
    };
    line(
        "deepseek-ai/DeepSeek-V3",
        "\nAttention Type: MLA (kv_lora_rank 512 + rope 64)\n",
    );
    line("deepseek-ai/DeepSeek-V3.2", "\nIndexer Layers: 61 ");
    line("google/gemma-3n-E4B-it", "\nKV-sharing Layers: 15\n");
    line(
        "google/gemma-4-12B-it",
        "\nLayer Shapes: 40 with 8 KV heads of 256, 8 with 1 KV heads of 512\n",
    );
    line(
        "meta-llama/Llama-4-Scout-17B-16E",
        "12 full, 36 chunked (chunk 8192)",
    );
    line(
        "nvidia/Nemotron-H-8B-Base-8K",
        "\nLayers without Cache: 24\nState Layers: 24 mamba-2\n",
    );
    let whisper = report(
        &["m", "--precision", "fp16"],
        &json!({"model_type": "whisper"}),
    );
    assert!(
        whisper.contains(
            "\nCross Attention: 4 layers, 6.00 KB per encoder token (not in the totals)\n"
        ),
        "{whisper}"
    );
}

#[test]
fn ranks_get_a_line_of_their_own() {
    let of = |id: &str, ranks: &str| {
        let words = [
            "m",
            "--precision",
            "fp16",
            "--tp",
            ranks,
            "--custom-tokens",
            "1",
        ];
        block(&report(&words, &known(id)), "1")
    };
    assert!(
        of("meta-llama/Llama-3.3-70B-Instruct", "4")
            .contains(&"Per-rank:  81,920 bytes".to_owned())
    );
    // More ranks than KV heads hold replicas; a latent is held whole.
    assert!(
        of("meta-llama/Llama-3.3-70B-Instruct", "16")
            .contains(&"Per-rank:  40,960 bytes".to_owned())
    );
    assert!(of("deepseek-ai/DeepSeek-V3", "8").contains(&"Per-rank:  70,272 bytes".to_owned()));
}

#[test]
fn what_fits_is_a_table() {
    let words = [
        "m",
        "--precision",
        "fp16",
        "--memory",
        "80GiB",
        "--tier",
        "dram:512GiB",
        "--tier",
        "nvme:4TB",
        "--custom-tokens",
        "1000",
        "32000",
    ];
    let text = report(&words, &known("meta-llama/Llama-3.3-70B-Instruct"));
    let table: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("What Fits"))
        .skip(4)
        .take(4)
        .collect();
    assert_eq!(
        table,
        [
            "Tier           Size  Longest request  of 1,000  of 32,000",
            "memory    80.00 GiB          262,144       262          8",
            "dram     512.00 GiB        1,677,721     1,677         52",
            "nvme    3725.29 GiB       12,207,031    12,207        381",
        ]
    );
    // A rank of four holds a quarter of each request, so four times as many fit; the tiers do not change.
    let split = report(
        &[&words[..], &["--tp", "4"]].concat(),
        &known("meta-llama/Llama-3.3-70B-Instruct"),
    );
    assert!(
        split.contains("memory    80.00 GiB        1,048,576     1,048         32"),
        "{split}"
    );
    assert!(split.contains("dram     512.00 GiB        1,677,721     1,677         52"));
    let windowed = report(&words, &known("mistralai/Mistral-7B-v0.1"));
    assert!(
        windowed.contains("memory    80.00 GiB        unlimited"),
        "{windowed}"
    );
    assert!(!report(&["m"], &known("mistralai/Mistral-7B-v0.1")).contains("What Fits"));
}

#[test]
fn the_object_holds_the_same_numbers() {
    let words = [
        "m",
        "--precision",
        "fp16",
        "--batch-size",
        "2",
        "--tp",
        "8",
        "--memory",
        "1GiB",
        "--custom-tokens",
        "0",
        "1000",
    ];
    let (plan, answer) = answered(&words, &known("google/gemma-3-27b-it"));
    let object: Value = serde_json::from_str(&json(&plan, &answer).unwrap()).unwrap();
    assert_eq!(object["model"], "m");
    assert_eq!(
        object["bytes_per_token"],
        json!({"within_windows": 507_904, "beyond_windows": 81_920})
    );
    let requirement = &object["requirements"][1];
    assert_eq!(requirement["total_bytes"], 2 * 507_904_000_u64);
    assert_eq!(requirement["per_rank_bytes"], 2 * 507_904_000_u64 / 8);
    assert_eq!(requirement["marginal_bytes"], 2 * 507_904);
    assert_eq!(object["requirements"][0]["per_token_bytes"], Value::Null);
    assert_eq!(
        object["fits"][0]["requests"][1],
        json!({"tokens": 1000, "requests": 16})
    );
    let groups = object["architecture"]["layer_groups"].as_array().unwrap();
    let n_layers: u64 = groups
        .iter()
        .map(|group| group["layers"].as_u64().unwrap())
        .sum();
    assert_eq!(n_layers, 62);
    assert_eq!(groups[0]["attention"]["limit"], 1024);
    assert_eq!(groups[1]["attention"]["reach"], "full");
}

#[test]
fn what_is_missing_is_said_with_what_was_found() {
    let error = ModelGeometry::from_config(&json!({"num_hidden_layers": 4, "hidden_size": 64}))
        .unwrap_err();
    let text = not_understood("dir", &error);
    assert!(text.starts_with(
        "❌ Could not extract all required parameters from model config\n\nExtracted config:\n  model_id: dir\n  \
         num_layers: 4\n  hidden_size: 64\n\n"
    ), "{text}");
    assert!(text.contains("num_key_value_heads"));
    assert!(text.ends_with("\nMissing parameters - please check model config manually\n"));
}

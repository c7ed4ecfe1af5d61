//! Configs that must be refused, with the words that name what is wrong, and numbers that must not panic.

use serde_json::json;

use super::*;

#[track_caller]
pub(super) fn refused(config: Value, words: &[&str]) {
    let error = ModelGeometry::from_config(&config).unwrap_err();
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{text:?} lacks {word:?}");
    }
}

#[test]
fn families_without_listed_layers_are_refused_where_their_habit_is_not_known() {
    for family in [
        "minimax_text_01",
        "qwen4_exp_text",
        "glm5_next_text",
        "deepseek_v4",
        "inkling_text",
        "zaya",
        "nemotron_h",
    ] {
        assert!(
            ModelGeometry::from_config(&json!({ "model_type": family })).is_err(),
            "{family}"
        );
    }
}

#[test]
fn missing_keys_are_named() {
    refused(json!([]), &["not a JSON object"]);
    refused(
        json!({}),
        &[
            "missing",
            "num_hidden_layers",
            "num_key_value_heads",
            "head_dim",
        ],
    );
    refused(
        json!({"model_type": "mystery", "num_hidden_layers": 4, "hidden_size": 64}),
        &[
            "missing num_key_value_heads",
            "num_attention_heads",
            "model type \"mystery\"",
        ],
    );
    refused(
        json!({"model_type": "mystery", "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 0,
               "hidden_size": null}),
        &["missing head_dim", "hidden_size"],
    );
    refused(
        json!({"kv_lora_rank": 512, "num_hidden_layers": 2, "num_attention_heads": 4}),
        &["qk_rope_head_dim"],
    );
    refused(
        json!({"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "sliding_window": 128}),
        &["layer_types", "which layers have the window"],
    );
    refused(
        json!({"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64,
               "layer_types": ["sliding_attention", "full_attention"]}),
        &["missing sliding_window"],
    );
    refused(
        json!({"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "layer_types": ["mamba", "attention"]}),
        &["keys of the state"],
    );
    let error =
        ModelGeometry::from_config(&json!({"num_hidden_layers": 4, "num_attention_heads": 8}))
            .unwrap_err();
    assert_eq!(
        *error.extracted,
        Extracted {
            layers: Some(4),
            attention_heads: Some(8),
            kv_heads: Some(8),
            ..Extracted::default()
        }
    );
}

#[test]
fn what_is_not_understood_is_an_error_and_never_a_guess() {
    let plain = json!({"model_type": "mystery", "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64});
    let with = |key: &str, value: Value| {
        let mut config = plain.clone();
        config[key] = value;
        config
    };
    assert_eq!(fp16_bytes(&geometry(plain.clone()), 1), 2 * 2 * 4 * 16 * 2);
    refused(
        with("layer_types", json!(["full_attention", "telepathy"])),
        &["telepathy"],
    );
    refused(
        with("layer_types", json!(["full_attention"])),
        &["1 entries long"],
    );
    refused(
        with("mamba_d_state", json!(16)),
        &["mystery", "mamba_d_state"],
    );
    refused(with("kv_share_layers", json!([1])), &["kv_share_layers"]);
    refused(with("index_head_dim", json!(128)), &["index_head_dim"]);
    refused(
        with("num_key_value_heads", json!("four")),
        &["num_key_value_heads", "four"],
    );
    refused(
        with("num_key_value_heads", json!(-1)),
        &["num_key_value_heads", "whole number"],
    );
    refused(with("head_dim", json!(1e12)), &["head_dim", "believable"]);
    refused(
        with("num_hidden_layers", json!(20_000)),
        &["at most 10,000"],
    );
    refused(
        with("num_key_value_heads", json!([2])),
        &["one entry per layer"],
    );
    // Switched off or empty is not a hint, and 64.0 is 64.
    assert_eq!(
        fp16_bytes(&geometry(with("use_mamba", json!(false))), 1),
        512
    );
    assert_eq!(
        fp16_bytes(&geometry(with("hidden_size", json!(64.0))), 1),
        512
    );
}

#[test]
fn defaults_that_were_used_are_on_record() {
    let geometry =
        geometry(json!({"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 4}));
    assert!(geometry.defaulted.contains(&"hidden_size".to_owned()));
    assert!(!geometry.defaulted.contains(&"num_hidden_layers".to_owned()));
}

proptest::proptest! {
    /// No JSON object, however odd its numbers, makes the reader panic.
    #[test]
    fn odd_numbers_never_panic(
        layers in 0_u64..30_000, heads in 0_u64..3_000_000, kv in 0_u64..3_000_000, dim in 0_u64..3_000_000,
        window in proptest::option::of(proptest::prelude::any::<u64>()),
        family in proptest::sample::select(vec!["llama", "jamba", "qwen3_next", "deepseek_v3", "gemma4_text", "zamba", "falcon", "lfm2"]),
    ) {
        let config = json!({"model_type": family, "num_hidden_layers": layers, "num_attention_heads": heads,
                            "num_key_value_heads": kv, "hidden_size": dim, "sliding_window": window,
                            "mamba_n_heads": heads, "attn_layer_period": kv});
        if let Ok(geometry) = ModelGeometry::from_config(&config) {
            let format = CacheFormat::new(Precision::Fp32).with_state_bytes(4);
            let total = geometry.bytes(TokenCount(u64::MAX), &format);
            proptest::prop_assert!(total >= u128::from(geometry.growth_per_token(&format)));
        }
    }
}

//! Configs of every kind: worked examples, families, defaults, and configs that must be refused.

use serde_json::json;

use super::*;
use crate::{CacheFormat, Precision, State, TokenCount};

mod refusal;

use refusal::refused;

fn geometry(config: Value) -> ModelGeometry {
    ModelGeometry::from_config(&config).unwrap_or_else(|error| panic!("{config}: {error}"))
}

fn fp16_bytes(geometry: &ModelGeometry, tokens: u64) -> u128 {
    geometry.bytes(TokenCount(tokens), &CacheFormat::new(Precision::Fp16))
}

/// A letter per layer, as `data/class_defaults.json` writes them.
fn letters(geometry: &ModelGeometry) -> String {
    let letter = |layer: &Layer| match layer {
        Layer::Attention(store) => match store.reach {
            Reach::Full if store.index_dim.is_some() => 'I',
            Reach::Full => 'F',
            Reach::Window(_) => 'S',
            Reach::Chunk(_) => 'C',
        },
        Layer::State(_) => 'L',
        Layer::Both(..) => 'H',
        Layer::Shared | Layer::Cross | Layer::Empty => '-',
    };
    geometry.layers.iter().map(letter).collect()
}

#[test]
fn totals_at_given_lengths_are_those_of_the_worked_examples() {
    let cases: &[(Value, &[(u64, u128)])] = &[
        // Gemma 3 27B: 8,192 · (10 T + 52 · min(T, 1024)).
        (
            json!({"model_type": "gemma3_text", "num_hidden_layers": 62, "num_attention_heads": 32,
                   "num_key_value_heads": 16, "head_dim": 128, "hidden_size": 5376, "sliding_window": 1024}),
            &[
                (1000, 507_904_000),
                (10_000, 1_255_407_616),
                (131_072, 11_173_625_856),
            ],
        ),
        // Gemma 3 4B leaves out heads, KV heads and head size.
        (
            json!({"text_config": {"model_type": "gemma3_text", "num_hidden_layers": 34, "hidden_size": 2560,
                                   "sliding_window": 1024}}),
            &[(1000, 139_264_000), (100_000, 2_169_634_816)],
        ),
        (
            json!({"model_type": "gemma2", "num_hidden_layers": 42, "num_attention_heads": 16,
                   "num_key_value_heads": 8, "head_dim": 256, "hidden_size": 3584}),
            &[(8192, 2_113_929_216)],
        ),
        (
            json!({"model_type": "gpt_oss", "num_hidden_layers": 24}),
            &[(128, 6 << 20), (1000, 27_721_728), (131_072, 3_224_371_200)],
        ),
        (
            json!({"model_type": "mistral"}),
            &[(4096, 536_870_912), (1_000_000, 536_870_912)],
        ),
        (
            json!({"model_type": "mistral", "sliding_window": null}),
            &[(32_768, 4 << 30)],
        ),
        (
            json!({"model_type": "llama4_text"}),
            &[(131_072, 7_650_410_496)],
        ),
        (
            json!({"model_type": "gemma3n", "text_config": {}}),
            &[(32_768, 285_212_672)],
        ),
        (
            json!({"model_type": "deepseek_v3"}),
            &[(1, 70_272), (131_072, 9_210_691_584)],
        ),
        (json!({"model_type": "falcon"}), &[(1, 8_192)]),
    ];
    for (config, totals) in cases {
        let geometry = geometry(config.clone());
        for (tokens, bytes) in *totals {
            assert_eq!(
                fp16_bytes(&geometry, *tokens),
                *bytes,
                "{config} at {tokens}"
            );
        }
    }
}

/// For every family whose class mixes layer kinds, our rule makes of a bare config what transformers makes of it, or
/// refuses the config; it never makes something else.
#[test]
fn bare_configs_have_the_layers_that_transformers_gives_them() {
    let table: Map<String, Value> =
        serde_json::from_str(include_str!("../../data/class_defaults.json")).unwrap();
    let mut n_same = 0;
    for (family, defaults) in &table {
        let Some(expected) = defaults.get("_layers").and_then(Value::as_str) else {
            continue;
        };
        let Ok(geometry) = ModelGeometry::from_config(&json!({ "model_type": family })) else {
            continue;
        };
        let shared = defaults.get("num_kv_shared_layers").and_then(Value::as_u64);
        let kept = expected.len() - usize::try_from(shared.unwrap_or(0)).unwrap();
        assert_eq!(letters(&geometry)[..kept], expected[..kept], "{family}");
        n_same += 1;
    }
    assert!(n_same >= 28, "{n_same}");
}

#[test]
fn hybrids_have_attention_where_their_keys_say() {
    let cases = [
        (
            json!({"model_type": "jamba", "num_hidden_layers": 9}),
            "LLLLFLLLL",
        ),
        (
            json!({"model_type": "qwen3_next", "num_hidden_layers": 8}),
            "LLLFLLLF",
        ),
        (
            json!({"model_type": "qwen3_next", "num_hidden_layers": 6, "full_attention_interval": 3}),
            "LLFLLF",
        ),
        (
            json!({"model_type": "bamba", "num_hidden_layers": 4, "attn_layer_indices": [2]}),
            "LLFL",
        ),
        (
            json!({"model_type": "nemotron_h", "hybrid_override_pattern": "M-ME*"}),
            "L-L-F",
        ),
        (
            json!({"model_type": "falcon_h1", "num_hidden_layers": 3}),
            "HHH",
        ),
        (
            json!({"model_type": "lfm2", "num_hidden_layers": 4, "full_attn_idxs": [1, 3]}),
            "LFLF",
        ),
        (
            json!({"model_type": "recurrent_gemma", "num_hidden_layers": 4, "num_key_value_heads": 1}),
            "LLSL",
        ),
        (
            json!({"model_type": "kimi_linear", "num_hidden_layers": 4,
                   "linear_attn_config": {"full_attn_layers": [4], "num_heads": 2, "head_dim": 8, "short_conv_kernel_size": 4}}),
            "LLLF",
        ),
        (
            json!({"model_type": "zamba2", "num_hidden_layers": 4, "hybrid_layer_ids": [2]}),
            "LLHL",
        ),
        (
            json!({"model_type": "minimax_text_01", "num_hidden_layers": 2, "num_attention_heads": 4,
                   "num_key_value_heads": 2, "head_dim": 8, "attn_type_list": [0, 1]}),
            "LF",
        ),
        (
            json!({"model_type": "granitemoehybrid", "num_hidden_layers": 3, "layer_types": ["mamba", "attention", "mamba"]}),
            "LFL",
        ),
    ];
    for (config, expected) in cases {
        assert_eq!(letters(&geometry(config.clone())), expected, "{config}");
    }
}

#[test]
fn windows_lie_where_lists_patterns_and_habits_say() {
    let cases = [
        (
            json!({"model_type": "exaone4", "num_hidden_layers": 5, "sliding_window_pattern": "LLLG"}),
            "SSSFS",
        ),
        (
            json!({"model_type": "exaone4", "num_hidden_layers": 4, "sliding_window": null}),
            "FFFF",
        ),
        (
            json!({"model_type": "gemma3_text", "num_hidden_layers": 4, "sliding_window_pattern": 2}),
            "SFSF",
        ),
        (
            json!({"model_type": "qwen2", "num_hidden_layers": 3}),
            "FFF",
        ),
        (
            json!({"model_type": "qwen2", "num_hidden_layers": 3, "use_sliding_window": true, "max_window_layers": 1}),
            "FSS",
        ),
        (
            json!({"model_type": "phi3", "num_hidden_layers": 2, "sliding_window": 2047}),
            "SS",
        ),
        (
            json!({"model_type": "starcoder2", "num_hidden_layers": 2}),
            "FF",
        ),
        (
            json!({"model_type": "mixtral", "num_hidden_layers": 2, "sliding_window": 0}),
            "FF",
        ),
        (
            json!({"model_type": "llama4_text", "num_hidden_layers": 3, "no_rope_layers": [1, 0, 1]}),
            "CFC",
        ),
        (
            json!({"model_type": "llama4_text", "num_hidden_layers": 3, "attention_chunk_size": null}),
            "FFF",
        ),
        (
            json!({"model_type": "gemma4_text", "num_hidden_layers": 3}),
            "SSF",
        ),
        (
            json!({"model_type": "qwen3", "num_hidden_layers": 2, "layer_types": ["full_attention", "full_attention", "x"]}),
            "FF",
        ),
        (
            json!({"model_type": "mllama_text_model", "num_hidden_layers": 5}),
            "FFF-F",
        ),
        (
            json!({"model_type": "hunyuan_v1_moe", "num_hidden_layers": 4, "use_cla": true, "cla_share_factor": 2}),
            "F-F-",
        ),
    ];
    for (config, expected) in cases {
        assert_eq!(letters(&geometry(config.clone())), expected, "{config}");
    }
}

#[test]
fn kv_heads_and_head_sizes_follow_their_family() {
    let shape =
        |config: Value, i: usize| geometry(config).layers[i].store().map(|store| store.shape);
    let heads = |kv_heads, k_dim, v_dim| {
        Some(Shape::Heads {
            kv_heads,
            k_dim,
            v_dim,
        })
    };
    // Multi-query.
    assert_eq!(
        shape(json!({"model_type": "falcon", "num_kv_heads": 71}), 0),
        heads(1, 64, 64)
    );
    assert_eq!(
        shape(
            json!({"model_type": "falcon", "new_decoder_architecture": true, "num_kv_heads": 8,
                     "num_attention_heads": 128, "hidden_size": 8192}),
            0
        ),
        heads(8, 64, 64)
    );
    assert_eq!(
        shape(json!({"model_type": "falcon", "multi_query": false}), 0),
        heads(71, 64, 64)
    );
    assert_eq!(
        shape(json!({"model_type": "gpt_bigcode"}), 0),
        heads(1, 64, 64)
    );
    // DBRX and MPT nest the number.
    assert_eq!(
        shape(
            json!({"model_type": "dbrx", "n_layers": 40, "n_heads": 48, "d_model": 6144,
                     "attn_config": {"kv_n_heads": 8}}),
            0
        ),
        heads(8, 128, 128)
    );
    // A null head size is derived, a class default is not overridden by the division.
    assert_eq!(
        shape(json!({"model_type": "mixtral", "head_dim": null}), 0),
        heads(8, 128, 128)
    );
    assert_eq!(
        shape(
            json!({"model_type": "qwen3", "hidden_size": 5120, "num_attention_heads": 64,
                            "num_key_value_heads": 8}),
            0
        ),
        heads(8, 128, 128)
    );
    // OpenELM lists heads per layer.
    let openelm = json!({"model_type": "openelm", "num_transformer_layers": 2, "num_kv_heads": [3, 5],
                         "num_query_heads": [12, 20], "head_dim": 64, "model_dim": 1280});
    assert_eq!(shape(openelm.clone(), 0), heads(3, 64, 64));
    assert_eq!(shape(openelm.clone(), 1), heads(5, 64, 64));
    assert_eq!(geometry(openelm).kv_heads, 5);
    // Nemotron-NAS takes attention out of some layers.
    let nas = json!({"model_type": "nemotron-nas", "num_hidden_layers": 3, "num_attention_heads": 64, "hidden_size": 8192,
                     "block_configs": [
                         {"attention": {"n_heads_in_group": 8, "no_op": false, "replace_with_linear": false}},
                         {"attention": {"n_heads_in_group": null, "no_op": true, "replace_with_linear": false}},
                         {"attention": {"n_heads_in_group": 16, "no_op": false, "replace_with_linear": false}}]});
    assert_eq!(shape(nas.clone(), 0), heads(8, 128, 128));
    assert_eq!(shape(nas.clone(), 1), None);
    assert_eq!(shape(nas, 2), heads(4, 128, 128));
    // Keys and values of different size, and windowed layers with their own.
    let mimo = json!({"model_type": "mimo_v2_flash", "num_hidden_layers": 2, "num_key_value_heads": 4, "head_dim": 192,
                      "v_head_dim": 128, "swa_num_key_value_heads": 8, "swa_head_dim": 192, "swa_v_head_dim": 128,
                      "hybrid_layer_pattern": [0, 1], "sliding_window": 128});
    assert_eq!(shape(mimo.clone(), 0), heads(4, 192, 128));
    assert_eq!(shape(mimo, 1), heads(8, 192, 128));
    // Zamba2 writes a `kv_channels` that is not its attention's.
    assert_eq!(
        shape(
            json!({"model_type": "zamba2", "num_hidden_layers": 1, "layers_block_type": ["hybrid"], "hidden_size": 64,
                     "num_attention_heads": 4, "kv_channels": 16, "attention_head_dim": 32}),
            0
        ),
        heads(4, 32, 32)
    );
    // Gemma 4: two shapes; the number of global heads counts only where keys are values.
    let gemma4 = |k_eq_v: bool| {
        json!({"model_type": "gemma4_text", "num_hidden_layers": 6, "num_key_value_heads": 4,
        "num_global_key_value_heads": 2, "attention_k_eq_v": k_eq_v})
    };
    assert_eq!(shape(gemma4(true), 0), heads(4, 256, 256));
    assert_eq!(shape(gemma4(true), 5), heads(2, 512, 512));
    assert_eq!(shape(gemma4(false), 5), heads(4, 512, 512));
}

#[test]
fn single_layers_may_have_values_of_their_own() {
    // As transformers 5 writes a Gemma 4 config.
    let config = |per_layer: Value| {
        json!({"model_type": "gemma4_text", "num_hidden_layers": 3, "num_key_value_heads": 4, "head_dim": 16,
               "sliding_window": 8, "per_layer_config": per_layer})
    };
    let overridden = geometry(config(
        json!({"2": {"head_dim": 32, "num_key_value_heads": 1}, "0": {"sliding_window": 5}}),
    ));
    let store = |i: usize| *overridden.layers[i].store().unwrap();
    assert_eq!(store(0).reach, Reach::Window(5));
    assert_eq!(store(1).reach, Reach::Window(8));
    assert_eq!(
        store(1).shape,
        Shape::Heads {
            kv_heads: 4,
            k_dim: 16,
            v_dim: 16
        }
    );
    assert_eq!(
        store(2).shape,
        Shape::Heads {
            kv_heads: 1,
            k_dim: 32,
            v_dim: 32
        }
    );
    let llama = |per_layer: Value| json!({"model_type": "llama", "num_hidden_layers": 3, "per_layer_config": per_layer});
    assert_eq!(
        letters(&geometry(llama(
            json!({"1": {"skip": ["attention"]}, "2": {"skip": ["mlp"]}})
        ))),
        "F-F"
    );
    assert_eq!(
        letters(&geometry(llama(json!({"1": {"sliding_window": 4}})))),
        "FSF"
    );
    assert_eq!(letters(&geometry(llama(json!({})))), "FFF");
    refused(
        llama(json!({"7": {"head_dim": 4}})),
        &["per_layer_config", "index of a layer"],
    );
    refused(llama(json!({"1": {"kv_lora_rank": 4}})), &["kv_lora_rank"]);
}

#[test]
fn text_models_are_found_inside_multimodal_configs() {
    let inner = json!({"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                       "hidden_size": 64});
    for path in [
        "text_config",
        "llm_config",
        "language_config",
        "language_model",
    ] {
        let config = json!({"model_type": "x", "num_hidden_layers": 99, path: inner,
                            "vision_config": {"num_hidden_layers": 7, "hidden_size": 8}});
        assert_eq!(geometry(config).layers.len(), 2, "{path}");
    }
    let omni = json!({"model_type": "omni", "thinker_config": {"text_config": inner}});
    assert_eq!(geometry(omni).layers.len(), 2);
    // Older Qwen2-VL configs keep the text keys outside; the defaults are the text model's.
    let flat = geometry(
        json!({"model_type": "qwen2_5_vl", "num_hidden_layers": 28, "num_attention_heads": 28,
                               "num_key_value_heads": 4, "hidden_size": 3584, "vision_config": {"depth": 32}}),
    );
    assert_eq!(
        (flat.layers.len(), flat.kv_heads, flat.head_dim),
        (28, 4, 128)
    );
    // LLaVA's text_config may name nothing but its type.
    let llava = geometry(json!({"model_type": "llava", "text_config": {"model_type": "llama"}}));
    assert_eq!((llava.layers.len(), llava.kv_heads), (32, 32));
}

#[test]
fn encoder_decoders_keep_their_decoders_cache_and_tell_cross_attention_apart() {
    let whisper = geometry(
        json!({"model_type": "whisper", "d_model": 1280, "decoder_layers": 32, "encoder_layers": 32,
                                  "decoder_attention_heads": 20, "num_hidden_layers": 32}),
    );
    assert_eq!(fp16_bytes(&whisper, 1), 32 * 2 * 20 * 64 * 2);
    let cross = whisper.cross.unwrap();
    assert_eq!(
        (
            cross.n_layers,
            cross.bytes_per_encoder_token(&CacheFormat::new(Precision::Fp16))
        ),
        (32, 32 * 5120)
    );
    let t5 = geometry(
        json!({"model_type": "t5", "num_layers": 24, "num_decoder_layers": 12, "num_heads": 16, "d_kv": 128,
                             "d_model": 1024}),
    );
    assert_eq!(
        (t5.layers.len(), fp16_bytes(&t5, 1)),
        (12, 12 * 2 * 16 * 128 * 2)
    );
    let mllama = geometry(
        json!({"model_type": "mllama", "text_config": {"model_type": "mllama_text_model"}}),
    );
    assert_eq!(mllama.cross.unwrap().n_layers, 8);
    assert_eq!(fp16_bytes(&mllama, 1), 32 * 4096);
    assert_eq!(geometry(json!({"model_type": "llama"})).cross, None);
}

#[test]
fn indexers_keep_a_key_of_their_own_unless_they_share() {
    let geometry = |extra: Value| {
        let mut config = json!({"model_type": "glm_moe_dsa", "num_hidden_layers": 4});
        for (key, value) in extra.as_object().unwrap() {
            config[key] = value.clone();
        }
        letters(&self::geometry(config))
    };
    assert_eq!(geometry(json!({})), "IIII");
    assert_eq!(
        geometry(json!({"indexer_types": ["full", "shared", "shared", "full"]})),
        "IFFI"
    );
    assert_eq!(geometry(json!({"index_topk_pattern": "FSFS"})), "IFIF");
    assert_eq!(geometry(json!({"index_topk_freq": 2})), "IIFI");
}

#[test]
fn states_have_the_shapes_of_their_families() {
    let state = |config: Value| *geometry(config).layers[0].state().unwrap();
    assert_eq!(
        state(json!({"model_type": "jamba"})),
        State::Mamba1 {
            inner: 8192,
            state: 16,
            kernel: 4
        }
    );
    assert_eq!(
        state(json!({"model_type": "bamba"})),
        State::Mamba2 {
            heads: 128,
            head_dim: 64,
            state: 256,
            groups: 1,
            inner: 8192,
            kernel: 4
        }
    );
    // Falcon-H1: an explicit inner width; null falls back to the expansion.
    let falcon = |inner: Value| {
        json!({"model_type": "falcon_h1", "mamba_d_ssm": inner, "hidden_size": 2048,
                                       "mamba_n_heads": 32, "mamba_d_head": 128})
    };
    assert!(matches!(
        state(falcon(json!(4096))),
        State::Mamba2 { inner: 4096, .. }
    ));
    assert!(matches!(
        state(falcon(Value::Null)),
        State::Mamba2 {
            inner: 4096,
            head_dim: 128,
            ..
        }
    ));
    assert_eq!(
        state(json!({"model_type": "mamba2"})),
        State::Mamba2 {
            heads: 128,
            head_dim: 64,
            state: 128,
            groups: 8,
            inner: 8192,
            kernel: 4
        }
    );
    assert_eq!(
        state(json!({"model_type": "lfm2", "full_attn_idxs": [1], "hidden_size": 2048})),
        State::ShortConv {
            width: 2048,
            kernel: 3
        }
    );
    assert_eq!(
        geometry(json!({"model_type": "qwen3_5_text", "mamba_ssm_dtype": "float32"})).state_bytes,
        Some(4)
    );
}

//! Properties of the arithmetic over geometries of every kind, and the division over ranks.

use proptest::prelude::*;

use super::*;
use crate::fit::{self, Fit};
use crate::format::{Precision, Scales};
use crate::known;

fn any_reach() -> impl Strategy<Value = Reach> {
    prop_oneof![
        Just(Reach::Full),
        (1_u64..5_000).prop_map(Reach::Window),
        (1_u64..5_000).prop_map(Reach::Chunk),
    ]
}

fn any_shape() -> BoxedStrategy<Shape> {
    prop_oneof![
        (1_u64..64, 1_u64..512, 1_u64..512).prop_map(|(kv_heads, k_dim, v_dim)| Shape::Heads {
            kv_heads,
            k_dim,
            v_dim
        }),
        (1_u64..1024, 0_u64..128).prop_map(|(rank, rope)| Shape::Latent { rank, rope }),
    ]
    .boxed()
}

fn any_layer() -> impl Strategy<Value = Layer> {
    let store = (any_shape(), any_reach())
        .prop_map(|(shape, reach)| Store {
            shape,
            reach,
            index_dim: None,
        })
        .boxed();
    let state =
        (1_u64..9000, 1_u64..64, 1_u64..5).prop_map(|(inner, state, kernel)| State::Mamba1 {
            inner,
            state,
            kernel,
        });
    prop_oneof![
        6 => store.clone().prop_map(Layer::Attention),
        2 => state.clone().prop_map(Layer::State),
        1 => (store, state).prop_map(|(store, state)| Layer::Both(store, state)),
        1 => prop::sample::select(vec![Layer::Shared, Layer::Cross, Layer::Empty]),
    ]
}

fn geometry_of(layers: Vec<Layer>) -> ModelGeometry {
    ModelGeometry {
        model_type: None,
        layers,
        kv_heads: 1,
        attention_heads: None,
        head_dim: 1,
        hidden_size: None,
        cross: None,
        state_bytes: None,
        defaulted: Vec::new(),
    }
}

fn any_geometry() -> impl Strategy<Value = ModelGeometry> {
    prop::collection::vec(any_layer(), 1..20).prop_map(geometry_of)
}

fn format(precision: Precision) -> CacheFormat {
    CacheFormat::new(precision)
}

fn attention_bytes(geometry: &ModelGeometry, tokens: u64, format: &CacheFormat) -> u128 {
    let tokens = TokenCount(tokens);
    geometry.bytes(tokens, format) - geometry.state_bytes(tokens, format)
}

proptest! {
    /// Beyond every window each further token adds the same bytes: those of the layers with full attention.
    #[test]
    fn beyond_all_windows_growth_is_linear(geometry in any_geometry(), beyond in 0_u64..100_000, more in 1_u64..1000) {
        let format = format(Precision::Fp16);
        let from = TokenCount(5_000 + beyond);
        let to = TokenCount(from.0 + more);
        let added = geometry.bytes(to, &format) - geometry.bytes(from, &format);
        prop_assert_eq!(added, u128::from(more) * u128::from(geometry.growth_per_token(&format)));
    }

    /// Within every window the attention cache is the bytes per token times the tokens.
    #[test]
    fn within_all_windows_the_cache_is_linear(layers in prop::collection::vec(any_shape(), 1..20), tokens in 0_u64..5_000) {
        let layer = |shape| Layer::Attention(Store { shape, reach: Reach::Window(5_000), index_dim: None });
        let geometry = geometry_of(layers.into_iter().map(layer).collect());
        let format = format(Precision::Fp8);
        let per_token = u128::from(geometry.bytes_per_token_within_windows(&format));
        prop_assert_eq!(geometry.bytes(TokenCount(tokens), &format), per_token * u128::from(tokens));
    }

    /// Without scales, 16 bits are twice 8 bits, 32 bits four times, and 4 bits half, all rounded up once.
    #[test]
    fn without_scales_bytes_follow_the_bits(geometry in any_geometry(), tokens in 0_u64..20_000) {
        let fp8 = attention_bytes(&geometry, tokens, &format(Precision::Fp8));
        prop_assert_eq!(attention_bytes(&geometry, tokens, &format(Precision::Fp16)), 2 * fp8);
        prop_assert_eq!(attention_bytes(&geometry, tokens, &format(Precision::Bf16)), 2 * fp8);
        prop_assert_eq!(attention_bytes(&geometry, tokens, &format(Precision::Fp32)), 4 * fp8);
        prop_assert_eq!(attention_bytes(&geometry, tokens, &format(Precision::Int8)), fp8);
        prop_assert_eq!(attention_bytes(&geometry, tokens, &format(Precision::Fp4)), fp8.div_ceil(2));
    }

    /// More tokens never take less memory, and a window never makes a cache larger.
    #[test]
    fn bytes_never_fall_with_tokens_and_windows_never_add(geometry in any_geometry(), a in 0_u64..20_000, b in 0_u64..20_000) {
        let format = format(Precision::Fp16);
        let (less, more) = (TokenCount(a.min(b)), TokenCount(a.max(b)));
        prop_assert!(geometry.bytes(less, &format) <= geometry.bytes(more, &format));
        let mut unlimited = geometry.clone();
        for layer in &mut unlimited.layers {
            if let Layer::Attention(store) | Layer::Both(store, _) = layer {
                store.reach = Reach::Full;
            }
        }
        prop_assert!(geometry.bytes(more, &format) <= unlimited.bytes(more, &format));
    }

    /// The parts add up: no layer is larger than the sum, and the marginal bytes are the difference of two sums.
    #[test]
    fn parts_add_up(geometry in any_geometry(), tokens in 0_u64..20_000) {
        let format = format(Precision::Fp16);
        let at = TokenCount(tokens);
        prop_assert!(geometry.largest_layer_bytes(at, &format) <= geometry.bytes(at, &format));
        prop_assert!(geometry.largest_layer_bytes(at, &format) * geometry.layers.len() as u128 >= geometry.bytes(at, &format));
        prop_assert_eq!(
            geometry.bytes(at, &format) + geometry.marginal_bytes(at, &format),
            geometry.bytes(TokenCount(tokens + 1), &format)
        );
    }

    /// What fits, fits; one token or one request more does not.
    #[test]
    fn what_fits_is_exact(geometry in any_geometry(), batch in 1_u64..9, memory in 0_u64..1 << 36, context in 1_u64..20_000) {
        let format = format(Precision::Fp8);
        let memory = KvBytes(memory);
        let together = |tokens| geometry.bytes(TokenCount(tokens), &format) * u128::from(batch);
        match fit::longest(&geometry, &format, batch, memory) {
            Fit::UpTo(tokens) => {
                prop_assert!(together(tokens) <= u128::from(memory.0));
                prop_assert!(together(tokens + 1) > u128::from(memory.0));
            }
            Fit::Unlimited => prop_assert_eq!(geometry.growth_per_token(&format), 0),
        }
        let one = geometry.bytes(TokenCount(context), &format);
        match fit::requests(&geometry, &format, TokenCount(context), memory) {
            Fit::UpTo(n) => {
                prop_assert!(one * u128::from(n) <= u128::from(memory.0));
                prop_assert!(one * (u128::from(n) + 1) > u128::from(memory.0));
            }
            Fit::Unlimited => prop_assert_eq!(one, 0),
        }
    }

    /// Ranks that divide the KV heads hold equal shares that add up to the whole; more ranks than heads hold one each;
    /// a latent is held whole by every rank.
    #[test]
    fn ranks_share_or_replicate(kv_power in 0_u32..7, ranks_power in 0_u32..7, dim in 1_u64..256, tokens in 1_u64..1000) {
        let (kv_heads, ranks) = (1_u64 << kv_power, 1_u32 << ranks_power);
        let plain = |shape| geometry_of(vec![Layer::Attention(Store::full(shape)); 3]);
        let format = format(Precision::Fp16);
        let ranks_wanted = NonZeroU32::new(ranks).unwrap();
        let whole = plain(Shape::Heads { kv_heads, k_dim: dim, v_dim: dim });
        let rank = whole.per_rank(ranks_wanted).unwrap();
        let copies = u64::from(ranks).max(kv_heads) / kv_heads;
        prop_assert_eq!(
            rank.bytes(TokenCount(tokens), &format) * u128::from(ranks),
            whole.bytes(TokenCount(tokens), &format) * u128::from(copies)
        );
        let latent = plain(Shape::Latent { rank: dim, rope: 64 });
        prop_assert_eq!(latent.per_rank(ranks_wanted).unwrap(), latent);
    }
}

#[test]
fn heads_that_do_not_divide_are_refused() {
    let heads = |kv_heads| {
        geometry_of(vec![Layer::Attention(Store::full(Shape::Heads {
            kv_heads,
            k_dim: 64,
            v_dim: 64,
        }))])
    };
    for (kv_heads, ranks, is_fine) in [
        (8, 3, false),
        (8, 12, false),
        (8, 16, true),
        (6, 4, false),
        (6, 3, true),
        (1, 7, true),
    ] {
        let split = heads(kv_heads).per_rank(NonZeroU32::new(ranks).unwrap());
        assert_eq!(split.is_ok(), is_fine, "{kv_heads} heads on {ranks} ranks");
    }
    let mut attention = heads(8);
    attention.attention_heads = Some(28);
    let error = attention.per_rank(NonZeroU32::new(8).unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "28 attention heads cannot be split over 8 ranks"
    );
}

#[test]
fn states_are_divided_as_vllm_divides_them() {
    let ranks = NonZeroU32::new(4).unwrap();
    let share = |state: State| {
        let whole = geometry_of(vec![Layer::State(state)]);
        *whole.per_rank(ranks).unwrap().layers[0].state().unwrap()
    };
    let mamba2 = |groups| State::Mamba2 {
        heads: 128,
        head_dim: 64,
        state: 128,
        groups,
        inner: 8192,
        kernel: 4,
    };
    // Eight groups are divided, a single one is replicated: (8192 + 2·8·128) / 4 and 8192 / 4 + 2·128 channels.
    assert_eq!(share(mamba2(8)).convolution(), (8192 + 2 * 8 * 128) / 4 * 3);
    assert_eq!(share(mamba2(1)).convolution(), (8192 / 4 + 2 * 128) * 3);
    assert_eq!(share(mamba2(1)).recurrent(), 128 / 4 * 64 * 128);
    let delta = State::DeltaNet {
        k_heads: 16,
        k_dim: 128,
        v_heads: 32,
        v_dim: 128,
        kernel: 4,
    };
    assert_eq!(share(delta).recurrent() * 4, delta.recurrent());
    assert_eq!(share(delta).convolution() * 4, delta.convolution());
    let odd = geometry_of(vec![Layer::State(State::Lightning {
        heads: 6,
        head_dim: 64,
    })]);
    assert!(odd.per_rank(ranks).is_err());
}

#[test]
fn states_of_the_worked_examples() {
    let state = |id: &str, bytes: u32| {
        let geometry = known::find(id).unwrap().geometry().unwrap();
        let format = format(Precision::Fp16).with_state_bytes(bytes);
        geometry.state_bytes(TokenCount(1), &format)
    };
    assert_eq!(state("Qwen/Qwen3-Next-80B-A3B-Instruct", 2), 39_518_208);
    assert_eq!(state("Qwen/Qwen3-Next-80B-A3B-Instruct", 4), 77_266_944);
    assert_eq!(state("ai21labs/Jamba-v0.1", 2), 8_716_288);
}

#[test]
fn nothing_is_kept_for_no_tokens() {
    for row in known::all() {
        let geometry = row.geometry().unwrap();
        assert_eq!(geometry.bytes(TokenCount(0), &format(Precision::Fp16)), 0);
        assert_eq!(
            geometry.mean_bytes_per_token(TokenCount(0), &format(Precision::Fp16)),
            None
        );
    }
}

#[test]
fn the_ds_mla_layout_takes_656_bytes_and_an_indexer_132() {
    let v3 = known::find("deepseek-ai/DeepSeek-V3")
        .unwrap()
        .geometry()
        .unwrap();
    let v32 = known::find("deepseek-ai/DeepSeek-V3.2")
        .unwrap()
        .geometry()
        .unwrap();
    let ds_mla = format(Precision::Fp8).with_scales(Scales::DsMla).unwrap();
    assert_eq!(v3.bytes(TokenCount(1), &ds_mla), 61 * 656);
    assert_eq!(v32.bytes(TokenCount(1), &ds_mla), 61 * (656 + 132));
}

#[test]
fn mean_bytes_per_token_are_for_counting_a_cache_in_tokens() {
    let llama = known::find("meta-llama/Llama-3.3-70B-Instruct")
        .unwrap()
        .geometry()
        .unwrap();
    let mean = llama
        .mean_bytes_per_token(TokenCount(1000), &format(Precision::Fp16))
        .unwrap();
    assert_eq!(mean.get(), 327_680);
    let mistral = known::find("mistralai/Mistral-7B-v0.1")
        .unwrap()
        .geometry()
        .unwrap();
    let mean = mistral
        .mean_bytes_per_token(TokenCount(8192), &format(Precision::Fp16))
        .unwrap();
    assert_eq!(mean.get(), 131_072 / 2);
    assert_eq!(
        mistral.kv_bytes(TokenCount(4096), &format(Precision::Fp16)),
        Some(KvBytes(536_870_912))
    );
}

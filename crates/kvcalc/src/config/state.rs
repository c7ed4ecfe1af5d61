//! The state of a hybrid's other layers, by the keys of its family.
//!
//! Promise: every number comes from a key or from its class's default; where keys are missing they are named.

use super::ConfigProblem;
use super::heads::Heads;
use super::reader::Reader;
use crate::geometry::State;

/// Bytes of one element of a recurrent state where the config names its type: `mamba_ssm_cache_dtype` (Nemotron-H) or
/// `mamba_ssm_dtype` (Qwen3.5), both of which vLLM obeys.
pub(super) fn configured_bytes(reader: &Reader<'_>) -> Option<u32> {
    let name = reader.text(&["mamba_ssm_cache_dtype", "mamba_ssm_dtype"])?;
    match name.trim_start_matches("torch.") {
        "float32" => Some(4),
        "float16" | "bfloat16" => Some(2),
        _ => None,
    }
}

/// The state of one layer.
pub(super) fn read(reader: &Reader<'_>, heads: &Heads) -> Result<State, ConfigProblem> {
    let need = |keys: &[&str]| -> Result<u64, ConfigProblem> {
        match reader.count(keys)? {
            Some(n) if n > 0 => Ok(n),
            _ => Err(reader.missing(&[&keys.join(" / ")])),
        }
    };
    let hidden = || {
        heads
            .hidden()
            .ok_or_else(|| reader.missing(&["hidden_size"]))
    };

    // Kimi Linear (`KimiLinearConfig`): the nested object, or its flat names.
    if reader.has(&["linear_attn_config"]) || reader.is(&["kimi_linear"]) {
        return Ok(State::KimiDelta {
            heads: need(&["linear_attn_config.num_heads", "linear_num_heads"])?,
            head_dim: need(&["linear_attn_config.head_dim", "linear_head_dim"])?,
            kernel: need(&[
                "linear_attn_config.short_conv_kernel_size",
                "linear_conv_kernel_dim",
            ])?,
        });
    }
    // OLMo-Hybrid derives what it does not name (`OlmoHybridConfig`).
    if reader.is(&["olmo_hybrid"]) {
        let of_attention = |key| -> Result<u64, ConfigProblem> {
            let own = reader.count(&[key])?.or(heads.attention);
            own.ok_or_else(|| reader.missing(&[key]))
        };
        let k_heads = of_attention("linear_num_key_heads")?;
        let k_dim = match reader.count(&["linear_key_head_dim"])? {
            Some(dim) => dim,
            None => hidden()? * 3 / 4 / k_heads.max(1),
        };
        return Ok(State::DeltaNet {
            k_heads,
            k_dim,
            v_heads: of_attention("linear_num_value_heads")?,
            v_dim: reader
                .count(&["linear_value_head_dim"])?
                .unwrap_or(2 * k_dim),
            kernel: need(&["linear_conv_kernel_dim"])?,
        });
    }
    // Qwen3-Next, Qwen3.5 (`Qwen3NextConfig`).
    if reader.count(&["linear_num_value_heads"])?.is_some() {
        return Ok(State::DeltaNet {
            k_heads: need(&["linear_num_key_heads"])?,
            k_dim: need(&["linear_key_head_dim"])?,
            v_heads: need(&["linear_num_value_heads"])?,
            v_dim: need(&["linear_value_head_dim"])?,
            kernel: need(&["linear_conv_kernel_dim"])?,
        });
    }
    // MiniMax-01 (`MiniMaxConfig`, `MiniMaxText01` in vLLM): as many heads as attention has, no convolution.
    if reader.is_like("minimax") || reader.has(&["attn_type_list"]) {
        return Ok(State::Lightning {
            heads: heads
                .attention
                .ok_or_else(|| reader.missing(&["num_attention_heads"]))?,
            head_dim: heads
                .head_dim()
                .ok_or_else(|| reader.missing(&["head_dim"]))?,
        });
    }
    // LFM2 (`Lfm2Config`).
    if reader.count(&["conv_L_cache"])?.is_some() {
        return Ok(State::ShortConv {
            width: hidden()?,
            kernel: need(&["conv_L_cache"])?,
        });
    }
    // RecurrentGemma (`RecurrentGemmaConfig`): as wide as the model unless said otherwise.
    if reader.is(&["recurrent_gemma"]) || reader.has(&["lru_width"]) {
        let width = match reader.count(&["lru_width"])? {
            Some(width) => width,
            None => hidden()?,
        };
        return Ok(State::GatedRecurrence {
            width,
            kernel: need(&["conv1d_width"])?,
        });
    }
    mamba(reader, &need, &hidden)
}

/// Mamba of either kind, under the names of five families.
fn mamba(
    reader: &Reader<'_>,
    need: &dyn Fn(&[&str]) -> Result<u64, ConfigProblem>,
    hidden: &dyn Fn() -> Result<u64, ConfigProblem>,
) -> Result<State, ConfigProblem> {
    // Nemotron-H (`NemotronHConfig`).
    let state_size = ["ssm_state_size", "mamba_state_dim"];
    if reader.count(&state_size)?.is_some() {
        let heads = need(&["mamba_num_heads"])?;
        let head_dim = need(&["mamba_head_dim"])?;
        return Ok(State::Mamba2 {
            heads,
            head_dim,
            state: need(&state_size)?,
            groups: need(&["n_groups", "mamba_num_groups"])?,
            inner: heads * head_dim,
            kernel: need(&["conv_kernel"])?,
        });
    }
    if reader.is(&["mamba2"]) {
        return Ok(State::Mamba2 {
            heads: need(&["num_heads"])?,
            head_dim: need(&["head_dim"])?,
            state: need(&["state_size"])?,
            groups: need(&["n_groups"])?,
            inner: need(&["expand"])? * hidden()?,
            kernel: need(&["conv_kernel"])?,
        });
    }
    if reader.is(&["mamba", "falcon_mamba"]) {
        let inner = match reader.count(&["intermediate_size", "d_inner"])? {
            Some(inner) if inner > 0 => inner,
            _ => need(&["expand"])? * hidden()?,
        };
        return Ok(State::Mamba1 {
            inner,
            state: need(&["state_size"])?,
            kernel: need(&["conv_kernel"])?,
        });
    }
    if reader.count(&["mamba_d_state"])?.is_none() {
        return Err(reader.missing(&[
            "keys of the state (mamba_d_state, ssm_state_size, linear_num_value_heads, \
             linear_attn_config or conv_L_cache)",
        ]));
    }
    // Falcon-H1 names the inner width itself; null there means `mamba_expand · hidden_size` as everywhere else.
    let inner = match reader.count(&["mamba_d_ssm"])? {
        Some(inner) if inner > 0 => inner,
        _ => need(&["mamba_expand"])? * hidden()?,
    };
    // Jamba and Zamba are Mamba-1; Zamba's heads only cut the same state into pieces.
    let heads = match reader.model_type().as_deref() {
        Some("jamba" | "zamba") => None,
        Some("zamba2") => Some(need(&["n_mamba_heads"])?),
        _ => reader.count(&["mamba_n_heads", "n_mamba_heads"])?,
    };
    let state = need(&["mamba_d_state"])?;
    let kernel = need(&["mamba_d_conv"])?;
    let Some(heads) = heads.filter(|heads| *heads > 0) else {
        return Ok(State::Mamba1 {
            inner,
            state,
            kernel,
        });
    };
    // Bamba, Granite 4, Falcon-H1, Zamba2; "auto" means an equal share of the inner width.
    let head_dim = reader.count(&["mamba_d_head", "mamba_headdim"])?;
    Ok(State::Mamba2 {
        heads,
        head_dim: head_dim.unwrap_or(inner / heads),
        state,
        groups: need(&["mamba_n_groups", "mamba_ngroups"])?,
        inner,
        kernel,
    })
}

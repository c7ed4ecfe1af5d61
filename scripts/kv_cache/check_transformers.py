#!/usr/bin/env python3
"""Compares kv_cache_size with what transformers really holds in memory.

Builds tiny random models of several architectures from their config classes, lets each run a prompt of a known
length, counts the bytes of every tensor in its cache object, and compares them with what

    kv_cache_size DIR --json --precision bf16 --custom-tokens N

says about the config.json that transformers itself wrote. Totals, attention bytes and state bytes must be equal to
the byte; anything else ends the script with exit code 1.

Two conventions are told apart by counting, not by tolerance:

* A growing sliding-window cache of transformers holds one position less than the window between two steps, because
  the current token brings its own. kv_cache_size counts the window with the current token, as a static cache and
  engines do. Prompts longer than the window are therefore compared with a static cache; where transformers cannot
  run one (hybrids with states), the prompt is shorter than the window.
* transformers keeps as many columns of a convolution's input as the kernel is wide; engines keep the ones before the
  current column. One column is taken off before the comparison.

Needs Python 3.10 or newer and nothing else: when torch or transformers is missing, the script makes a virtual
environment of its own (default scripts/kv_cache/.venv) from PyPI and starts itself again in it.

    cargo build --release -p kv_cache_size
    python scripts/kv_cache/check_transformers.py --tool target/release/kv_cache_size
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import venv

HERE = pathlib.Path(__file__).resolve().parent
# Configs are written and read by one release, so any of these will do; the recorded run names its own.
PACKAGES = ["torch>=2.6,<3", "transformers>=5,<6"]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def in_own_environment(folder: pathlib.Path) -> None:
    """Makes the virtual environment and starts this script again in it."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder} (torch and transformers, a few minutes)", flush=True)
        venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # The build for the CPU is a tenth of the size; where its index cannot be reached, PyPI's build serves as well.
        quick = ["--retries", "0", "--timeout", "15", "--index-url", CPU_INDEX]
        subprocess.run([*pip, *quick, PACKAGES[0]], check=False)
        subprocess.run([*pip, *PACKAGES], check=True)
    os.execv(python, [str(python), *sys.argv, "--in-environment"])


def tiny(**more) -> dict:
    """Sizes that every model shares."""
    return {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
            "num_attention_heads": 4, "max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1,
            "eos_token_id": 2, **more}


# name, model type, config values, prompt length, kind of cache
CASES = [
    ("MHA", "llama", tiny(num_key_value_heads=4), 37, "dynamic"),
    ("GQA", "llama", tiny(num_key_value_heads=2), 37, "dynamic"),
    ("GQA, head size of its own", "qwen3", tiny(num_key_value_heads=2, head_dim=24), 41, "dynamic"),
    ("MQA", "gpt_bigcode", {"vocab_size": 64, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 256,
                            "multi_query": True}, 33, "dynamic"),
    ("MQA of Falcon", "falcon", tiny(num_kv_heads=4, multi_query=True, new_decoder_architecture=False, alibi=False),
     33, "dynamic"),
    ("MLA", "deepseek_v3", tiny(num_key_value_heads=4, kv_lora_rank=32, q_lora_rank=24, qk_rope_head_dim=8,
                                qk_nope_head_dim=16, v_head_dim=16, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
                                topk_group=1, moe_intermediate_size=32, first_k_dense_replace=1, n_shared_experts=1),
     45, "dynamic"),
    ("window everywhere, prompt shorter", "mistral", tiny(num_key_value_heads=2, sliding_window=64), 40, "dynamic"),
    ("window everywhere, prompt longer", "mistral", tiny(num_key_value_heads=2, sliding_window=16), 50, "static"),
    ("window in alternate layers", "gemma2", tiny(num_key_value_heads=2, head_dim=16, sliding_window=16), 50, "static"),
    ("window in five of six", "gemma3_text", tiny(num_hidden_layers=7, num_key_value_heads=2, head_dim=16,
                                                  sliding_window=16), 50, "static"),
    ("window in alternate layers, MoE", "gpt_oss", tiny(num_key_value_heads=2, head_dim=16, sliding_window=16,
                                                        num_local_experts=4, num_experts_per_tok=2), 50, "static"),
    ("chunks in three of four", "llama4_text", tiny(num_key_value_heads=2, head_dim=16, attention_chunk_size=16,
                                                    intermediate_size_mlp=96, num_local_experts=2,
                                                    interleave_moe_layer_step=2, num_experts_per_tok=1), 50, "static"),
    ("layers that share a cache", "gemma3n_text",
     tiny(num_hidden_layers=10, num_key_value_heads=2, head_dim=16, sliding_window=64, num_kv_shared_layers=3,
          hidden_size_per_layer_input=8, vocab_size_per_layer_input=64, laurel_rank=8, altup_num_inputs=2,
          activation_sparsity_pattern=[0.0] * 10), 40, "dynamic"),
    ("two shapes of heads", "gemma4_text",
     tiny(num_hidden_layers=6, num_key_value_heads=2, head_dim=16, global_head_dim=32, num_global_key_value_heads=1,
          attention_k_eq_v=True, sliding_window=16, hidden_size_per_layer_input=0, vocab_size_per_layer_input=64),
     50, "static"),
    ("linear attention hybrid", "qwen3_next",
     tiny(num_key_value_heads=2, head_dim=16, linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=8,
          linear_value_head_dim=16, linear_conv_kernel_dim=4, num_experts=4, num_experts_per_tok=2,
          moe_intermediate_size=32, shared_expert_intermediate_size=32), 43, "dynamic"),
    ("Mamba hybrid", "jamba", tiny(num_key_value_heads=2, attn_layer_period=2, attn_layer_offset=1, mamba_d_state=8,
                                   mamba_d_conv=4, mamba_expand=2, num_experts=2, use_mamba_kernels=False), 43, "dynamic"),
    ("Mamba-2 hybrid", "bamba", tiny(num_key_value_heads=2, attn_layer_indices=[1], mamba_n_heads=8, mamba_d_head=16,
                                     mamba_n_groups=2, mamba_d_state=16, mamba_d_conv=4, mamba_expand=2), 43, "dynamic"),
    ("Mamba-2 hybrid by pattern", "nemotron_h",
     tiny(num_hidden_layers=4, hybrid_override_pattern="M-*M", num_key_value_heads=2, head_dim=16, mamba_num_heads=8,
          mamba_head_dim=8, ssm_state_size=16, n_groups=2, conv_kernel=4), 43, "dynamic"),
    ("attention and Mamba-2 in each layer", "falcon_h1",
     tiny(num_key_value_heads=2, head_dim=16, mamba_d_ssm=128, mamba_n_heads=8, mamba_d_head=16, mamba_n_groups=1,
          mamba_d_state=16, mamba_d_conv=4), 43, "dynamic"),
    ("short convolutions", "lfm2", tiny(num_key_value_heads=2, full_attn_idxs=[1, 3], conv_L_cache=3), 43, "dynamic"),
    ("MLA and delta attention", "kimi_linear",
     tiny(num_key_value_heads=4, kv_lora_rank=32, qk_rope_head_dim=8, qk_nope_head_dim=16, v_head_dim=16,
          linear_attn_config={"full_attn_layers": [2, 4], "kda_layers": [1, 3], "num_heads": 4, "head_dim": 16,
                              "short_conv_kernel_size": 4},
          num_experts=4, num_experts_per_token=2, moe_intermediate_size=32, num_shared_experts=1), 43, "dynamic"),
    ("lightning attention", "minimax", tiny(num_key_value_heads=2, head_dim=16, num_local_experts=2, block_size=16),
     43, "own"),
    ("gated delta net with defaults", "olmo_hybrid", tiny(num_key_value_heads=4), 43, "dynamic"),
    ("shared block beside Mamba-2", "zamba2",
     tiny(num_hidden_layers=4, layers_block_type=["linear_attention", "linear_attention", "hybrid", "linear_attention"],
          num_key_value_heads=4, mamba_d_state=8, mamba_expand=2, n_mamba_heads=8, mamba_ngroups=2, num_mem_blocks=1),
     43, "dynamic"),
    ("text model of a multimodal config", "gemma3", None, 50, "static"),
    ("encoder–decoder", "t5", {"vocab_size": 64, "d_model": 64, "d_kv": 16, "num_heads": 4, "num_layers": 2,
                               "num_decoder_layers": 3, "d_ff": 96, "decoder_start_token_id": 0, "pad_token_id": 0},
     29, "dynamic"),
]


def config_of(model_type: str, values: dict | None):
    from transformers import AutoConfig

    if model_type == "gemma3" and values is None:
        text = tiny(num_hidden_layers=6, num_key_value_heads=2, head_dim=16, sliding_window=16, model_type="gemma3_text")
        vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
                  "image_size": 28, "patch_size": 14, "model_type": "siglip_vision_model"}
        return AutoConfig.for_model("gemma3", text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return AutoConfig.for_model(model_type, **values)


def tensors_of(layer) -> tuple[int, int]:
    """Bytes of keys and values, and bytes of states with one column of each convolution taken off."""
    import torch

    def size(tensor) -> int:
        return tensor.numel() * tensor.element_size() if isinstance(tensor, torch.Tensor) else 0

    attention = size(getattr(layer, "keys", None)) + size(getattr(layer, "values", None))
    states = 0
    for tensor in (getattr(layer, "recurrent_states", None) or {}).values():
        states += size(tensor)
    for tensor in (getattr(layer, "conv_states", None) or {}).values():
        if isinstance(tensor, torch.Tensor):
            states += size(tensor) // tensor.shape[-1] * (tensor.shape[-1] - 1)
    return attention, states


def held(model_type: str, config, tokens: int, kind: str) -> dict:
    """Runs a prompt and counts what the cache holds after it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, DynamicCache, StaticCache

    torch.manual_seed(0)
    prompt = torch.randint(3, 64, (1, tokens))
    with torch.no_grad():
        if getattr(config, "is_encoder_decoder", False):
            model = AutoModelForSeq2SeqLM.from_config(config, dtype=torch.bfloat16).eval()
            encoder = torch.randint(3, 64, (1, 11))
            cache = model(input_ids=encoder, decoder_input_ids=prompt, use_cache=True).past_key_values
            parts = [tensors_of(layer) for layer in cache.self_attention_cache.layers]
            cross = [tensors_of(layer)[0] for layer in cache.cross_attention_cache.layers]
            per_encoder_token = sum(cross) / encoder.shape[1]
        else:
            text = config.get_text_config(decoder=True)
            model = AutoModelForCausalLM.from_config(text, dtype=torch.bfloat16).eval()
            if kind == "static":
                cache = StaticCache(config=text, max_cache_len=tokens)
            else:
                # MiniMax insists on making its own.
                cache = DynamicCache(config=text) if kind == "dynamic" else None
            cache = model(input_ids=prompt, past_key_values=cache, use_cache=True).past_key_values
            parts = [tensors_of(layer) for layer in cache.layers]
            linear = [x for x in getattr(cache, "linear_cache", []) if isinstance(x, torch.Tensor)]
            parts += [(0, x.numel() * x.element_size()) for x in linear]
            per_encoder_token = None
    state_types = {
        tensor.element_size()
        for layer in getattr(cache, "layers", [])
        for tensor in (getattr(layer, "recurrent_states", None) or {}).values()
        if tensor is not None
    } | {x.element_size() for x in getattr(cache, "linear_cache", []) if isinstance(x, torch.Tensor)}
    return {
        "attention": sum(part[0] for part in parts),
        "state": sum(part[1] for part in parts),
        "state_bytes": max(state_types, default=2),
        "per_encoder_token": per_encoder_token,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def said(tool: str, folder: str, tokens: int, state_bytes: int) -> dict:
    words = [tool, folder, "--json", "--precision", "bf16", "--custom-tokens", str(tokens),
             "--state-dtype", "fp32" if state_bytes == 4 else "bf16"]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tool", default=str(HERE.parents[1] / "target/release/kv_cache_size"), help="the binary")
    parser.add_argument("--venv", type=pathlib.Path, default=HERE / ".venv", help="virtual environment to make or use")
    parser.add_argument("--only", help="run the cases of this model type only")
    parser.add_argument("--in-environment", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    try:
        import torch
        import transformers
    except ImportError:
        if args.in_environment:
            raise
        in_own_environment(args.venv)
    transformers.logging.set_verbosity_error()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    row = "{:<38} {:<14} {:>6} {:>8} {:>10} {:>10} {:>8} {:>8}  {}"
    print(row.format("case", "model type", "tokens", "cache", "attention", "ours", "state", "ours", ""))
    n_bad = n_run = 0
    for name, model_type, values, tokens, kind in CASES:
        if args.only and args.only != model_type:
            continue
        config = config_of(model_type, values)
        theirs = held(model_type, config, tokens, kind)
        with tempfile.TemporaryDirectory() as folder:
            config.save_pretrained(folder)
            ours = said(args.tool, folder, tokens, theirs["state_bytes"])
        need = ours["requirements"][0]
        state = need["state_bytes"]
        attention = need["total_bytes"] - state
        same = (attention, state) == (theirs["attention"], theirs["state"])
        cross = ours["architecture"]["cross_attention"]
        if theirs["per_encoder_token"] is not None:
            same = same and cross is not None and cross["bytes_per_encoder_token"] == theirs["per_encoder_token"]
        n_run += 1
        n_bad += not same
        print(row.format(name, model_type, tokens, kind, theirs["attention"], attention, theirs["state"], state,
                         "equal" if same else "DIFFERENT"), flush=True)
    print(f"{n_run} cases, {n_run - n_bad} equal to the byte, {n_bad} different")
    return 1 if n_bad or not n_run else 0


if __name__ == "__main__":
    sys.exit(main())

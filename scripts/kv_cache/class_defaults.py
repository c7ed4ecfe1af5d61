#!/usr/bin/env python3
"""Writes crates/kvcalc/data/class_defaults.json: the values that transformers' config classes fill in
when a key is missing from a config.json.

Numbers and flags only, read from the class attributes (not from an instance, where "same as the number of
heads" would already be a number). Run it in an environment that has transformers:

    python scripts/kv_cache/class_defaults.py
"""

import json
import pathlib

import transformers
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

# The keys that kvcalc reads. A key that is added there is added here.
KEYS = """
num_hidden_layers n_layer n_layers num_layers num_decoder_layers decoder_layers
num_attention_heads n_head n_heads num_heads decoder_attention_heads
num_key_value_heads num_kv_heads multi_query new_decoder_architecture
head_dim attention_head_dim kv_channels d_kv qk_nope_head_dim v_head_dim
hidden_size n_embd d_model is_encoder_decoder
kv_lora_rank qk_rope_head_dim index_head_dim
sliding_window use_sliding_window max_window_layers attention_chunk_size attention_window_size
no_rope_layer_interval num_kv_shared_layers attention_k_eq_v
attn_layer_period attn_layer_offset full_attention_interval
mamba_d_state mamba_d_conv mamba_expand mamba_n_heads mamba_d_head mamba_n_groups mamba_d_ssm
mamba_num_heads mamba_head_dim ssm_state_size n_groups conv_kernel
n_mamba_heads mamba_ngroups state_size expand
linear_num_heads linear_head_dim linear_num_value_heads linear_num_key_heads linear_key_head_dim linear_value_head_dim linear_conv_kernel_dim
conv_L_cache lru_width conv1d_width
""".split()

# Config classes of text models that are only ever nested.
NESTED_SUFFIXES = ("_text", "mllama_text_model", "emu3_text_model")
# Not text models, or models that keep neither keys and values nor a state that kvcalc describes.
LEFT_OUT = ("vision", "audio", "encoder", "codec", "vocoder", "qformer", "rwkv", "xlstm")


def is_decoder(model_type: str) -> bool:
    if any(word in model_type for word in LEFT_OUT) and not model_type.endswith("_text"):
        return False
    return (
        model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        or model_type in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
        or model_type in modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES
        or model_type.endswith(NESTED_SUFFIXES)
    )


def class_attribute(cls: type, key: str):
    for base in cls.__mro__:
        if key in base.__dict__:
            value = base.__dict__[key]
            return value if isinstance(value, (bool, int, str)) else None
    return None


LETTERS = {
    "full_attention": "F",
    "sliding_attention": "S",
    "chunked_attention": "C",
    "indexed_attention": "I",
    "linear_attention": "L",
    "conv": "L",
    "hybrid": "H",
    "moe": "-",
    "mlp": "-",
}


def layer_letters(cls: type) -> str | None:
    """What the class makes of a config that does not list its layers: a letter per layer, X for anything else."""
    try:
        types = cls().layer_types
    except Exception:  # no such attribute, or a class that cannot be made without arguments
        return None
    if not types or set(types) == {"full_attention"}:
        return None
    return "".join(LETTERS.get(word, "X") for word in types)


def main() -> None:
    table = {}
    for model_type in sorted(CONFIG_MAPPING.keys()):
        if not is_decoder(model_type):
            continue
        try:
            cls = CONFIG_MAPPING[model_type]
        except Exception as error:  # a class whose optional dependency is missing
            print(f"left out {model_type}: {error}")
            continue
        values = {key: class_attribute(cls, key) for key in KEYS}
        # For every other flag, absent means false.
        values = {
            key: value
            for key, value in values.items()
            if value is not None and (value is not False or key == "use_sliding_window")
        }
        if letters := layer_letters(cls):
            values["_layers"] = letters
        if any(key in values for key in ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers",
                                         "hidden_size")):
            table[model_type] = values
    path = pathlib.Path(__file__).resolve().parents[2] / "crates/kvcalc/data/class_defaults.json"
    lines = [f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in table.items()]
    origin = f"  \"_origin\": {{\"transformers\": \"{transformers.__version__}\"}}"
    path.write_text("{\n" + ",\n".join([origin, *lines]) + "\n}\n")
    print(f"{len(table)} model types from transformers {transformers.__version__}")


if __name__ == "__main__":
    main()

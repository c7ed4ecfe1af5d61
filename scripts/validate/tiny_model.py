#!/usr/bin/env python3
"""Make a tiny random-weight Llama model (fixed seed) around a real tokenizer.

  tiny_model.py OUT_DIR --tokenizer DIR [--gguf FILE] [--layers N ...]

OUT_DIR gets config.json, generation_config.json, model.safetensors and the
tokenizer files (for vLLM / transformers); --gguf also writes the very same
weights as a GGUF for llama.cpp (needs the `gguf` package).

The output head is zero for every token that is not plain printable ASCII (and
for special/EOS tokens), so the model never picks half a UTF-8 sequence and
never stops by itself: output length == max_tokens unless a request forces EOS
(logit_bias).  Text is nonsense, timings are real.
"""
import argparse, json, os, shutil, struct, sys
import numpy as np

ap = argparse.ArgumentParser()
ap.add_argument("out")
ap.add_argument("--tokenizer", required=True, help="folder with tokenizer.json + tokenizer_config.json")
ap.add_argument("--gguf", default=None, help="also write this GGUF file (f16)")
ap.add_argument("--layers", type=int, default=4)
ap.add_argument("--hidden", type=int, default=512)
ap.add_argument("--ffn", type=int, default=1536)
ap.add_argument("--heads", type=int, default=8)
ap.add_argument("--kv-heads", type=int, default=2)
ap.add_argument("--max-pos", type=int, default=131072)
ap.add_argument("--seed", type=int, default=1234)
a = ap.parse_args()

tj = json.load(open(os.path.join(a.tokenizer, "tokenizer.json"), encoding="utf-8"))
tc = json.load(open(os.path.join(a.tokenizer, "tokenizer_config.json"), encoding="utf-8"))
vocab = tj["model"]["vocab"]
added = {t["id"]: t for t in tj["added_tokens"]}
n_tok = max(max(vocab.values()), max(added)) + 1
V = (n_tok + 127) // 128 * 128
ids = {t["content"]: i for i, t in added.items()}
eos = ids[tc["eos_token"]]
pad = ids.get(tc.get("pad_token") or "", eos)

# tokens the model may emit: byte-level BPE strings that decode to printable ASCII
ok = np.zeros(V, dtype=bool)
for t, i in vocab.items():
    s = t.replace("\u0120", " ")
    ok[i] = s.isascii() and s.isprintable() and i not in added
# ------------------------------------------------------------------ weights
H, F, L = a.hidden, a.ffn, a.layers
hd = H // a.heads
KV = a.kv_heads * hd
rng = np.random.default_rng(a.seed)
def w(*shape, std=None):
    std = std or 1.0 / np.sqrt(shape[-1])
    return (rng.standard_normal(shape, dtype=np.float32) * std)
T = {"model.embed_tokens.weight": w(V, H, std=1.0)}
for l in range(L):
    p = f"model.layers.{l}."
    T[p + "input_layernorm.weight"] = np.ones(H, np.float32)
    T[p + "post_attention_layernorm.weight"] = np.ones(H, np.float32)
    T[p + "self_attn.q_proj.weight"] = w(H, H)
    T[p + "self_attn.k_proj.weight"] = w(KV, H)
    T[p + "self_attn.v_proj.weight"] = w(KV, H)
    T[p + "self_attn.o_proj.weight"] = w(H, H)
    T[p + "mlp.gate_proj.weight"] = w(F, H)
    T[p + "mlp.up_proj.weight"] = w(F, H)
    T[p + "mlp.down_proj.weight"] = w(H, F)
T["model.norm.weight"] = np.ones(H, np.float32)
head = w(V, H, std=10.0 / np.sqrt(H))     # logits ~ N(0, 10): sampling stays on good tokens
head[~ok] = 0.0
T["lm_head.weight"] = head

# ------------------------------------------------------- safetensors (f16)
os.makedirs(a.out, exist_ok=True)
hdr, off, blobs = {"__metadata__": {"format": "pt"}}, 0, []
for k, v in T.items():
    b = v.astype("<f2").tobytes()
    hdr[k] = {"dtype": "F16", "shape": list(v.shape), "data_offsets": [off, off + len(b)]}
    off += len(b); blobs.append(b)
hj = json.dumps(hdr).encode(); hj += b" " * (-len(hj) % 8)
with open(os.path.join(a.out, "model.safetensors"), "wb") as f:
    f.write(struct.pack("<Q", len(hj))); f.write(hj)
    for b in blobs: f.write(b)

json.dump({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
    "hidden_size": H, "intermediate_size": F, "num_hidden_layers": L,
    "num_attention_heads": a.heads, "num_key_value_heads": a.kv_heads, "head_dim": hd,
    "max_position_embeddings": a.max_pos, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
    "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False,
    "vocab_size": V, "bos_token_id": None, "eos_token_id": eos, "pad_token_id": pad,
    "torch_dtype": "float16", "use_cache": True,
    "transformers_version": "4.57.6",   # silences transformers 5's "mistral regex" warning for local folders
}, open(os.path.join(a.out, "config.json"), "w"), indent=1)
json.dump({"eos_token_id": eos, "pad_token_id": pad}, open(os.path.join(a.out, "generation_config.json"), "w"))
shutil.copyfile(os.path.join(a.tokenizer, "tokenizer.json"), os.path.join(a.out, "tokenizer.json"))
tc["model_max_length"] = a.max_pos
# plain ChatML: the packaged template branches on tools/thinking, not wanted here
tc["chat_template"] = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
                       "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
json.dump(tc, open(os.path.join(a.out, "tokenizer_config.json"), "w", encoding="utf-8"), indent=1, ensure_ascii=False)
n = sum(v.size for v in T.values())
print(f"model: {n/1e6:.1f}M params, vocab {V}, {int(ok.sum())} emittable tokens, eos {eos}")

# ------------------------------------------------------------------- GGUF
if a.gguf:
    import gguf
    g = gguf.GGUFWriter(a.gguf, "llama")
    g.add_name("tiny-random"); g.add_context_length(a.max_pos); g.add_embedding_length(H)
    g.add_block_count(L); g.add_feed_forward_length(F); g.add_head_count(a.heads)
    g.add_head_count_kv(a.kv_heads); g.add_layer_norm_rms_eps(1e-6); g.add_rope_freq_base(1000000.0)
    g.add_rope_dimension_count(hd); g.add_vocab_size(V); g.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    toks = [f"[PAD{i}]" for i in range(V)]; types = [gguf.TokenType.UNUSED] * V
    for t, i in vocab.items(): toks[i], types[i] = t, gguf.TokenType.NORMAL
    for i, t in added.items():
        toks[i] = t["content"]; types[i] = gguf.TokenType.CONTROL if t["special"] else gguf.TokenType.USER_DEFINED
    merges = [m if isinstance(m, str) else " ".join(m) for m in tj["model"]["merges"]]
    g.add_tokenizer_model("gpt2"); g.add_tokenizer_pre("qwen2")
    g.add_token_list(toks); g.add_token_types(types); g.add_token_merges(merges)
    g.add_eos_token_id(eos); g.add_pad_token_id(pad); g.add_add_bos_token(False)
    g.add_chat_template(tc["chat_template"])
    # llama.cpp's llama arch wants interleaved rope: permute q/k the way its converter does
    def perm(x, nh): return x.reshape(nh, 2, x.shape[0] // nh // 2, x.shape[1]).swapaxes(1, 2).reshape(x.shape)
    m = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    for k, v in T.items():
        if k.startswith("model.layers."):
            _, _, l, rest = k.split(".", 3)
            rest = rest[:-len(".weight")]
            if rest == "self_attn.q_proj": v = perm(v, a.heads)
            if rest == "self_attn.k_proj": v = perm(v, a.kv_heads)
            name = f"blk.{l}.{m[rest]}.weight"
        else:
            name = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
                    "lm_head.weight": "output.weight"}[k]
        g.add_tensor(name, v if v.ndim == 1 else v.astype(np.float16))
    g.write_header_to_file(); g.write_kv_data_to_file(); g.write_tensors_to_file(); g.close()
    print(f"gguf: {os.path.getsize(a.gguf)/1e6:.0f} MB")

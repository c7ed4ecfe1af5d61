#!/usr/bin/env bash
# small_tools.sh WORKDIR [OUTPUT]: single_prompt_tester, llm_benchmark and kv_cache_size against a real engine on the CPU.
# Checks what must hold and writes results to docs/validation/small_tools_ENGINE/; exits 1 when a claim does not hold.
# Environment: ENGINE (vllm; or llama), PORT (8031), BIN (folder with the three binaries; without it they are built)
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:?work directory for the engine, about 7 GB}
engine=${ENGINE:-vllm}
out=${2:-$root/target/validation/small_tools_$engine}
port=${PORT:-8031}
kept=$root/docs/validation/small_tools_$engine
bin=${BIN:-$root/target/release}
[ -n "${BIN:-}" ] || cargo build --release --locked --manifest-path "$root/Cargo.toml" \
  -p single_prompt_tester -p llm_benchmark -p kv_cache_size
"$root/scripts/validate/$engine.sh" setup "$work"
work=$(realpath "$work")
model=$work/model
[ "$engine" = vllm ] || model=$work/model-$engine
trap '"$root/scripts/validate/$engine.sh" stop "$work" "$port"' EXIT
"$root/scripts/validate/$engine.sh" start "$work" "$port"
rm -rf "$out" && mkdir -p "$out" "$kept"
cd "$out"

"$bin/single_prompt_tester" --api-endpoint "http://127.0.0.1:$port" --tokenizer "$model" \
  --context-sizes 100 1000 2000 --num-iterations 3 -r 2 --output-tokens 8 --output-dir single_prompt --brief \
  | sed "s#http://127.0.0.1:$port#http://localhost:8000#" >single_prompt.txt
# The engine's own completions endpoint: streamed, so that the first token is one.
"$bin/llm_benchmark" --endpoint "http://127.0.0.1:$port/v1/completions" --requests 20 --warmup 2 --concurrency 2 \
  --max-tokens 8 --extra-body '{"model": "tiny", "stream": true, "stream_options": {"include_usage": true}}' \
  --output llm_benchmark.json >llm_benchmark.txt 2>llm_benchmark.notes
"$bin/kv_cache_size" "$model" --precision "$([ "$engine" = vllm ] && echo bf16 || echo fp16)" --json >kv_cache_size.json

log=$work/$engine-$port.log
python3 - single_prompt llm_benchmark.json kv_cache_size.json "$log" "$kept/table.md" "$engine" <<'P'
import csv, glob, json, re, sys
run, bench, size, log, table, engine = sys.argv[1:]
rows = list(csv.DictReader(open(glob.glob(f"{run}/single_prompt_results_*.csv")[0])))
meta = json.load(open(f"{run}/metadata.json"))
bench, size, log = json.load(open(bench)), json.load(open(size)), open(log).read()
claims = []
def claim(text, holds, figure):
    claims.append((text, holds, figure))
caching = meta["verdicts"]["caching"]
claim("caching is found to work", caching["verdict"] == "works", f"{caching['reported_share']:.1%} of repeated prompts from cache")
longest = caching["sizes"][-1]
low, high = longest["speedup_low"], longest["speedup_high"]
claim(f"at {longest['context_size']:,} tokens the speed-up is above 1 with 95 % confidence", low and low > 1,
      f"{longest['speedup']:.2f}x, {low:.2f} to {high:.2f}" if low else "no interval")
# vLLM caches blocks of 128 tokens here, llama.cpp single tokens; both compute the last token.
block = 128 if engine == "vllm" else 1
whole = lambda n: (n - 1) // block * block
cached = [r for r in rows if r["prompt_type"].startswith("cached")]
claim(f"every repeat is served whole blocks ({block} tokens), all but the last token's",
      all(int(r["reported_cached_tokens"]) == whole(int(r["prompt_tokens"])) for r in cached), f"{len(cached)} repeats")
# The chat template is the same in front of every prompt: shorter than vLLM's block, but llama.cpp finds its tokens.
cold = [r for r in rows if r["prompt_type"] == "unique"]
served = max(int(r["reported_cached_tokens"]) for r in cold)
claim("no cold prompt is served from cache, but for the template's first tokens where single tokens are cached",
      served == 0 if engine == "vllm" else served < 8, f"{served} tokens at most, {len(cold)} cold prompts")
over = {int(r["prompt_tokens"]) - int(r["context_size"]) for r in rows}
claim("the server counts the planned tokens, plus one constant for suffix and template", len(over) == 1, f"+{min(over)}")
out = meta["verdicts"]["output"]
claim("answers are compared", out["compared"] == len(cached), f"{out['different']} of {out['compared']} differ (random weights)")
claim("every request of llm_benchmark is answered", bench["successful_requests"] == 20, f"TTFT P50 {bench['ttft_p50_ms']:.0f} ms, TPOT {bench['tpot_avg_ms']:.0f} ms")
text = json.dumps(size)
per_token = size["bytes_per_token"]["beyond_windows"]
if engine == "vllm":
    found = re.search(r"KV cache size: ([\d,]+) tokens", log)
    tokens = int(found[1].replace(",", "")) if found else None
    claim("kv_cache_size × vLLM's tokens is the memory vLLM was given (2 GiB)", tokens and tokens * per_token == 2 << 30,
          f"{per_token:,} B per token × {tokens:,} tokens" if tokens else "vLLM's log names no size")
else:
    found = re.search(r"llama_kv_cache: size = +([\d.]+) MiB \( *(\d+) cells.*?(\d+)/\d+ seqs", log)
    tokens = int(found[2]) * int(found[3]) if found else None
    claim("kv_cache_size × llama.cpp's cells is what it allocates", tokens and tokens * per_token == float(found[1]) * 2**20,
          f"{per_token:,} B per token × {tokens:,} tokens = {found[1]} MiB" if tokens else "llama.cpp's log names no size")
with open(table, "w") as f:
    f.write("| claim | holds | figure |\n|---|---|---|\n")
    for text, holds, figure in claims:
        f.write(f"| {text} | {'yes' if holds else '**no**'} | {figure} |\n")
print(open(table).read())
sys.exit(not all(c[1] for c in claims))
P
cp single_prompt.txt "$kept/"
sed "s#http://127.0.0.1:$port#http://localhost:8000#" llm_benchmark.txt >"$kept/llm_benchmark.txt"
cp single_prompt/single_prompt_results_*.csv "$kept/single_prompt_results.csv"

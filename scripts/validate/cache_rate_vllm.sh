#!/usr/bin/env bash
# cache_rate_vllm.sh WORKDIR [OUTPUT]: measures a real vLLM on the CPU with cache_rate_tester and checks what it says.
# Writes the table and small raw data to docs/validation/cache_rate_vllm/; exits 1 when a claim does not hold.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:?work directory for the engine, about 7 GB}
out=${2:-$root/target/validation/cache_rate_vllm}
port=${PORT:-8017}
kept=$root/docs/validation/cache_rate_vllm

cargo build --release --locked --manifest-path "$root/Cargo.toml" -p cache_rate_tester
"$root/scripts/validate/vllm.sh" setup "$work"
work=$(realpath "$work")
trap '"$root/scripts/validate/vllm.sh" stop "$work" "$port"' EXIT
"$root/scripts/validate/vllm.sh" start "$work" "$port"

rm -rf "$out" && mkdir -p "$out"
cd "$out/.."
"$root/target/release/cache_rate_tester" \
  --api-endpoint "http://127.0.0.1:$port" --tokenizer "$work/model" \
  --context-sizes 2000 4000 8000 --working-set-size 32000 --chunk-size 128 --cache-hit-rates 0 50 100 \
  --output-tokens 16 --max-ttft 30 --start-concurrency 1 --concurrency-increment 1 --max-concurrency 4 \
  --ramp-duration 25 --test-duration 100 --num-retries 1 --init-concurrency 2 --output-dir "$out"

mkdir -p "$kept"
python3 "$root/scripts/validate/check_cache_rate.py" "$out" --block 128 --table "$kept/table.md"
for file in "$out"/summary_*.csv "$out"/phase_metadata_*.csv "$out"/detailed_results_*.csv; do
  [ "$(stat -c %s "$file")" -lt 200000 ] && cp "$file" "$kept/$(basename "$file" | sed -E 's/_[0-9]{8}_[0-9]{6}//')"
done

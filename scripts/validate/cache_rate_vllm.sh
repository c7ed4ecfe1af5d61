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

# Before every rate the working set is sent again: the fresh text of the rate before may have pushed ends of its prompts
# out of the server's cache.
study() { # DIR OPTIONS...
  "$root/target/release/cache_rate_tester" \
    --api-endpoint "http://127.0.0.1:$port" --tokenizer "$work/model" \
    --context-sizes 2000 4000 8000 --working-set-size 32000 --chunk-size 128 --cache-hit-rates 0 50 100 \
    --reinit-strategy per_cache_rate --output-tokens 16 --max-ttft 30 --init-concurrency 2 --output-dir "$@"
}
rm -rf "$out" "$out-one" && mkdir -p "$out" "$kept"
cd "$out/.."
study "$out" --start-concurrency 1 --concurrency-increment 1 --max-concurrency 4 \
  --ramp-duration 25 --test-duration 100 --num-retries 1
study "$out-one" --mode fixed --fixed-concurrency-levels 1 --ramp-duration 15 --test-duration 15 --num-retries 0

held=0
python3 "$root/scripts/validate/check_cache_rate.py" "$out" --block 128 --table "$kept/table.md" || held=1
python3 "$root/scripts/validate/check_cache_rate.py" "$out-one" --block 128 --table "$kept/one_at_a_time.md" || held=1
find "$kept" -name '*.csv' -delete
for study in "$out:" "$out-one:one_at_a_time_"; do
  for file in "${study%:*}"/summary_*.csv "${study%:*}"/phase_metadata_*.csv "${study%:*}"/detailed_results_*.csv; do
    [ "$(stat -c %s "$file")" -ge 200000 ] ||
      cp "$file" "$kept/${study##*:}$(basename "$file" | sed -E 's/_[0-9]{8}_[0-9]{6}//')"
  done
done
exit "$held"

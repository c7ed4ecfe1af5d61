#!/usr/bin/env bash
# working_set_vllm.sh WORKDIR [OUTPUT]: measures a real vLLM on the CPU, whose KV cache is made small, with
# working_set_tester in fixed and in sustained mode, and checks that the sweep finds where the cache ends. Writes tables and
# small raw data to docs/validation/working_set_vllm/; exits 1 when a claim does not hold.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${1:?work directory for the engine, about 7 GB}
out=${2:-$root/target/validation/working_set_vllm}
port=${PORT:-8018}
kept=$root/docs/validation/working_set_vllm

cargo build --release --locked --manifest-path "$root/Cargo.toml" -p working_set_tester
"$root/scripts/validate/vllm.sh" setup "$work"
work=$(realpath "$work")
trap '"$root/scripts/validate/vllm.sh" stop "$work" "$port"' EXIT
# 264 blocks of 128 tokens: sixteen prompts of 2,048 tokens fit, and what runs beside them; seventeen do not.
MAX_LEN=8192 KV_GB=1 "$root/scripts/validate/vllm.sh" start "$work" "$port" --num-gpu-blocks-override 264
capacity=$(sed -nE 's/.*KV cache size: ([0-9,]+) tokens.*/\1/p' "$work/vllm-$port.log" | tail -1 | tr -d ,)
: "${capacity:?vLLM did not say how large its KV cache is}"

study() { # DIR OPTIONS...
  "$root/target/release/working_set_tester" \
    --api-endpoint "http://127.0.0.1:$port" --tokenizer "$work/model" \
    --context-sizes 2000 --chunk-size 128 --cache-hit-rates 100 --output-tokens 4 \
    --min-working-set-size 8192 --max-working-set-size 65536 --output-dir "$@"
}
rm -rf "$out" "$out-sustained" && mkdir -p "$out" "$kept"
cd "$out/.."
study "$out" --mode fixed --fixed-concurrency-levels 1 2 --working-set-increments 8 \
  --ramp-duration 10 --test-duration 20 --num-retries 0
study "$out-sustained" --mode sustained --max-ttft 30 --working-set-increments 7 --init-strategy min \
  --start-concurrency 1 --max-concurrency 1 --test-duration 200 --assessment-period 5

held=0
python3 "$root/scripts/validate/check_working_set.py" "$out" --capacity "$capacity" --block 128 \
  --table "$kept/fixed.md" || held=1
python3 "$root/scripts/validate/check_working_set.py" "$out-sustained" --capacity "$capacity" --block 128 \
  --table "$kept/sustained.md" || held=1
find "$kept" -name '*.csv' -delete
for study in "$out:" "$out-sustained:sustained_"; do
  for file in "${study%:*}"/summary_*.csv "${study%:*}"/phase_metadata_*.csv "${study%:*}"/detailed_results_*.csv; do
    [ "$(stat -c %s "$file")" -ge 200000 ] ||
      cp "$file" "$kept/${study##*:}$(basename "$file" | sed -E 's/_[0-9]{8}_[0-9]{6}//')"
  done
done
cp "$out-sustained"/sustained_periods_*.csv "$kept/sustained_periods.csv"
exit "$held"

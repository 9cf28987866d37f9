#!/usr/bin/env bash
# What to do with a GPU's first ten minutes, from a build of the cuda preset or inside a bundle (jobs/bundle.sh), in the
# order of what is learnt: libraries and versions; ceilings (copy, product, launch); every operation against the CPU's,
# the model on one rank and on two; tile SVDs; decode and prefill at the shape of an 8B model, dense, of low rank and
# quantised, and of a real model where one is given; the profiler's counters of hot kernels and the sanitizers where they
# are installed, last. Ends within 9 minutes: what was not reached, or not done by then, says so, and is no failure; a
# part that takes longer than its own limit has failed, these tools apart. Leaves one JSON object;
# the last line is 'N passed, N failed, N skipped'. Where there is no GPU everything is skipped, with the reason, and the
# exit status is 0.
#
#   bash tests/gpu/run.sh [--model MODEL] [--text FILE] [--output FILE.json] [--seconds N]
#
#   --model MODEL   Hugging Face directory or GGUF (default: HACK_TEST_MODEL; without one, that part is skipped)
#   --seconds N     for all parts together (default: 540)
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
seconds=540
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) help_of "${BASH_SOURCE[0]}"; exit 0 ;;
    --model) [ $# -ge 2 ] || die "--model needs a value"; model=$2; shift ;;
    --text) [ $# -ge 2 ] || die "--text needs a value"; text=$2; shift ;;
    --output) [ $# -ge 2 ] || die "--output needs a value"; output=$2; shift ;;
    --seconds) [ $# -ge 2 ] || die "--seconds needs a value"; seconds=$2; shift ;;
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
overrun=failed # what a part is that takes longer than its own limit
parts="" figures=""

# record NAME STATUS DETAIL [SECONDS]: one part's outcome, for the JSON and the totals.
record() {
  case $2 in
    passed) passed=$((passed + 1)) ;;
    failed) failed=$((failed + 1)) ;;
    *) skipped=$((skipped + 1)) ;;
  esac
  printf '%s: %s%s\n' "$1" "$2" "${3:+ ($3)}"
  parts+=${parts:+,}$(printf '\n    {"part": "%s", "outcome": "%s", "seconds": %d, "detail": "%s"}' "$1" "$2" "${4:-0}" \
    "$(tr -d '"\\\n' <<<"${3:-}")")
}

log_of() { printf '%s/gpu-%s.log' "$logs" "$(tr -c 'a-z0-9\n' - <<<"$1")"; }

# part NAME SECONDS COMMAND…: runs one part, for as long as it may take and there is time. Its return value says whether it
# passed.
part() {
  local name=$1 limit=$2 status=0 log start=$SECONDS left=$((seconds - SECONDS)) late=$overrun
  log=$(log_of "$name")
  shift 2
  if [ "$left" -lt 5 ]; then
    record "$name" skipped "not reached within $seconds s"
    return 1
  fi
  [ "$limit" -le "$left" ] || { limit=$left; late=skipped; }
  timeout -k 5 "$limit" "$@" >"$log" 2>&1 </dev/null || status=$?
  local took=$((SECONDS - start))
  if [ "$status" -eq 0 ]; then
    record "$name" passed "" "$took"
  elif [ "$status" -ne 124 ] && { [ "$status" -ne 137 ] || [ "$took" -lt "$limit" ]; }; then
    tail -n 20 "$log" >&2
    record "$name" failed "exit status $status, see $log" "$took"
  else
    record "$name" "$late" "not done within $limit s" "$took"
  fi
  [ "$status" -eq 0 ]
}

# value NAME FILE: a number of a report.
value() { sed -n "s/^ *\"$1\": \([-0-9.e+]*\),\{0,1\}$/\1/p" "$2" | head -n 1; }

# figure NAME UNIT VALUE [LIMIT]: what was measured, and what the hardware would allow.
figure() {
  [ -n "${3:-}" ] || return 0
  figures+=${figures:+,}$(printf '\n    {"name": "%s", "unit": "%s", "value": %s, "limit": %s}' "$1" "$2" "$3" "${4:-null}")
}

# bench NAME UNIT KEY SECONDS ARGUMENT…: a part that leaves a figure.
bench() {
  local name=$1 unit=$2 key=$3 limit=$4 report
  shift 4
  report=$logs/gpu-$(tr -c 'a-z0-9\n' - <<<"$name").json
  rm -f "$report"
  part "$name" "$limit" "$hack" bench "$@" --device cuda --report "$report" || return 0
  figure "$name" "$unit" "$(value "$key" "$report")" "$(value limit "$report")"
}

finish() {
  local gpu
  gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)
  printf '{\n  "gpu": "%s",\n  "seconds": %d,\n  "passed": %d,\n  "failed": %d,\n  "skipped": %d,\n  "parts": [%s\n  ],\n' \
    "$gpu" "$SECONDS" "$passed" "$failed" "$skipped" "$parts" >"$output"
  printf '  "figures": [%s\n  ]\n}\n' "$figures" >>"$output"
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

# Before anything else: a library that is not there fails every part after this one.
missing=$(ldd "$hack" "$tests/test_gpu" 2>/dev/null | awk '/not found/ { print $1 }' | sort -u | tr '\n' ' ')
if [ -n "$missing" ]; then
  record "libraries" failed "not found: $missing; name CUDA's folder by CUDA_HOME"
  finish
fi
record "libraries" passed ""
part "versions" 20 sh -c "'$hack' --version; nvidia-smi; nvcc --version 2>/dev/null || true" || true

if [ -x "$tests/gpu_ceilings" ]; then
  if part "ceilings" 30 "$tests/gpu_ceilings"; then
    log=$(log_of ceilings)
    figure "copy on the device" "byte/s" "$(value copy_bytes_per_second "$log")"
    figure "bf16 product of 4096" "flop/s" "$(value product_flops "$log")"
    figure "gap between launches of a graph" "s" "$(value launch_seconds "$log")"
  fi
fi

export HACK_NEEDS_GPU=1 # a GPU that CUDA cannot use is a failure, not a reason to leave tests out
part "operations" 60 "$tests/test_gpu" || true
part "model" 60 "$tests/test_gpu_model" || true
# Two ranks on one GPU add through host memory; on two GPUs by NCCL.
part "model on two ranks" 60 mpirun -n 2 "$tests/test_gpu_model" || true

bench "tile SVD, 128 vectors" "tiles/s" tiles_per_second 60 svd --vectors 128 --repeats 3
shape=(--shape llama-3.1-8b --layers 4 --dtype bf16)
bench "decode, 8B, 4 layers, dense" "tokens/s" tokens_per_second 40 decode "${shape[@]}"
bench "decode, 8B, 4 layers, rank 32" "tokens/s" tokens_per_second 40 decode "${shape[@]}" --rank 32
bench "decode, 8B, 4 layers, q8_0" "tokens/s" tokens_per_second 40 decode "${shape[@]}" --codec q8_0
bench "decode, 8B, 4 layers, q4_0" "tokens/s" tokens_per_second 40 decode "${shape[@]}" --codec q4_0
bench "prefill 512, 8B, 4 layers, dense" "tokens/s" tokens_per_second 40 prefill "${shape[@]}"
bench "prefill 512, 8B, 4 layers, rank 32" "tokens/s" tokens_per_second 40 prefill "${shape[@]}" --rank 32

if [ -n "$model" ] && [ -e "$model" ]; then
  bench "decode, real model" "tokens/s" tokens_per_second 30 decode "$model"
  bench "prefill, real model" "tokens/s" tokens_per_second 30 prefill "$model"
  agree=0
  for device in cpu cuda; do
    part "perplexity on $device" 60 "$hack" perplexity "$model" --text "$text" --protocol hack --windows 4 \
      --device $device --report "$logs/gpu-perplexity-$device.json" || agree=1
  done
  if [ "$agree" -eq 0 ]; then
    cpu=$(value perplexity "$logs/gpu-perplexity-cpu.json") cuda=$(value perplexity "$logs/gpu-perplexity-cuda.json")
    if awk -v a="${cpu:-0}" -v b="${cuda:-1}" 'BEGIN { d = (b - a) / a; exit !(d < 2e-4 && d > -2e-4) }'; then
      record "perplexities agree" passed "cpu $cpu, cuda $cuda"
    else
      record "perplexities agree" failed "cpu ${cpu:-none}, cuda ${cuda:-none}"
    fi
  fi
else
  record "real model" skipped "none given (--model, or HACK_TEST_MODEL)"
fi

# How long these tools take is not the program's.
overrun=skipped
# One launch of each kernel of a decoded token: memory, issue, and why warps wait.
if command -v ncu >/dev/null 2>&1; then
  part "profiler" 90 ncu --clock-control none --launch-skip 200 --launch-count 40 --section SpeedOfLight \
    --section WarpStateStats --section MemoryWorkloadAnalysis "$hack" bench decode --shape llama-3.1-8b --layers 1 \
    --dtype bf16 --tokens 4 --repeats 1 --device cuda || true
else
  record "profiler" skipped "ncu is not installed here"
fi
if command -v compute-sanitizer >/dev/null 2>&1; then
  part "operations, memcheck" 120 compute-sanitizer --error-exitcode 9 "$tests/test_gpu" || true
  part "operations, racecheck" 120 compute-sanitizer --tool racecheck --error-exitcode 9 "$tests/test_gpu" || true
else
  record "compute-sanitizer" skipped "it is not installed here"
fi
finish

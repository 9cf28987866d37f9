#!/usr/bin/env bash
# That run.sh ends in its time and says what it did not reach: on a GPU, programs and libraries that are scripts.
#
#   bash tests/gpu/test_run.sh
set -euo pipefail

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
top=$work/hack-bundle
mkdir -p "$top/bin" "$top/tests/gpu" "$top/jobs" "$work/bin"
cp "$source/tests/gpu/run.sh" "$top/tests/gpu/"
cp "$source/jobs/steps.sh" "$source/jobs/environment.sh" "$top/jobs/"
touch "$top/environment.sh"

# script FILE COMMANDS
script() { printf '#!/bin/bash\n%s\n' "$2" >"$1" && chmod +x "$1"; }
# shellcheck disable=SC2016  # for the scripts to expand
script "$top/bin/hack" 'while [ $# -gt 0 ]; do if [ "$1" = --report ]; then
  printf "{\n  \"tokens_per_second\": 12.5,\n  \"tiles_per_second\": 7,\n  \"limit\": 25\n}\n" >"$2"; fi; shift; done'
script "$top/tests/gpu/test_gpu" ''
script "$top/tests/gpu/test_gpu_model" 'exec sleep 60'
script "$top/tests/gpu/gpu_ceilings" 'printf "  \"copy_bytes_per_second\": 4e12,\n"'
script "$work/bin/nvidia-smi" 'echo "a GPU, 1.0"'
script "$work/bin/mpirun" ''
script "$work/bin/compute-sanitizer" ''
script "$work/bin/ncu" ''
script "$work/bin/ldd" ''
export PATH=$work/bin:$PATH

failed=0
# expect TEXT FILE
expect() {
  grep -qF -- "$1" "$2" || {
    printf 'not found: %s\n' "$1"
    cat "$2"
    failed=1
  }
}
# run SECONDS: into $work/out, and the JSON
run() { bash "$top/tests/gpu/run.sh" --seconds "$1" --output "$work/gpu.json" >"$work/out" 2>&1; }

# The model's test takes what is left but for the least: it and all after it are skipped, and nothing has failed.
run 12 || { echo "failed for want of time"; cat "$work/out"; failed=1; }
expect '"part": "operations", "outcome": "passed"' "$work/gpu.json"
expect '"part": "model", "outcome": "skipped"' "$work/gpu.json"
expect 'not done within' "$work/gpu.json"
expect '"part": "operations, racecheck", "outcome": "skipped", "seconds": 0, "detail": "not reached within 12 s"' "$work/gpu.json"
expect '{"name": "copy on the device", "unit": "byte/s", "value": 4e12, "limit": null}' "$work/gpu.json"
expect ' 0 failed, ' "$work/out"

# With time all is done and measured; what fails is a failure.
script "$top/tests/gpu/test_gpu_model" 'exit 3'
if run 100; then echo "a failure was not seen"; failed=1; fi
expect '"part": "model", "outcome": "failed"' "$work/gpu.json"
expect '{"name": "decode, 8B, 4 layers, dense", "unit": "tokens/s", "value": 12.5, "limit": 25}' "$work/gpu.json"
expect '"part": "operations, racecheck", "outcome": "passed"' "$work/gpu.json"

# A part that stands still although there is time has failed.
sed -i 's/^part "model" 60 /part "model" 1 /' "$top/tests/gpu/run.sh"
script "$top/tests/gpu/test_gpu_model" 'exec sleep 60'
if run 100; then echo "a part that stood still was not seen"; failed=1; fi
expect '"part": "model", "outcome": "failed"' "$work/gpu.json"
expect 'not done within 1 s' "$work/gpu.json"

# The page puts it beside what was expected.
if command -v python3 >/dev/null; then
  python3 "$source/tests/gpu/figures.py" "$work/gpu.json" --output "$work/page.md"
  expect '| decode, 8B, 4 layers, dense | 12.5 tokens/s | 25 tokens/s | 0.50 |' "$work/page.md"
  expect '| operations, racecheck | passed |' "$work/page.md"
fi

# A library that is not there is told before anything runs.
script "$work/bin/ldd" 'echo "libcublasLt.so.13 => not found"'
if run 100; then echo "a missing library was not seen"; failed=1; fi
expect 'not found: libcublasLt.so.13' "$work/gpu.json"
if command -v python3 >/dev/null; then python3 -m json.tool "$work/gpu.json" >/dev/null || failed=1; fi
exit "$failed"

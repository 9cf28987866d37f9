#!/usr/bin/env bash
# Every test, from a bare machine (Debian 12, Ubuntu 24.04): installs what is missing, builds and runs the tests of the
# release preset, then of the sanitizer preset (on 1 and 3 ranks, without the real model and Slurm), compiles what runs on
# GPUs where nvcc is installed (preset cuda, the oldest architecture; no GPU needed), then checks layout and format, and what
# changed with clang-tidy. Packages, builds and model are reused. The last line is 'N passed, N failed, N skipped'.
#
#   bash tests/run.sh [--release-only] [--filter REGEX]
#
#   --release-only   leave the sanitizers out
#   --filter REGEX   only the tests whose name matches
set -euo pipefail

program=tests
# shellcheck source=jobs/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/../jobs/steps.sh"
# shellcheck source=jobs/environment.sh
. "$root/jobs/environment.sh"
# shellcheck source=jobs/model.sh
. "$root/jobs/model.sh"

presets=(release asan)
filter=""
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) help_of "${BASH_SOURCE[0]}"; exit 0 ;;
    --release-only) presets=(release) ;;
    --filter) [ $# -ge 2 ] || die "--filter needs a value"; filter=$2; shift ;;
    *) die "unknown option $1 (see --help)" ;;
  esac
  shift
done

cd "$root"
logs=$root/runs/tests
mkdir -p "$logs"
rm -f "$logs"/*.log "$logs"/*.xml

passed=0
failed=0
skipped=0

# count FILE: adds one ctest run to the totals. What ctest could not start ("notrun" without having asked to be skipped)
# is a failure: its JUnit file counts it among the skipped.
count() {
  local head all bad disabled left started
  head=$(grep -m 1 -A 9 '<testsuite ' "$1" | tr '\n' ' ')
  attribute() { sed -n "s/.*[[:space:]]$1=\"\([0-9]*\)\".*/\1/p" <<<"$head"; }
  all=$(attribute tests) bad=$(attribute failures) disabled=$(attribute disabled) left=$(attribute skipped)
  started=$(grep -c '<skipped message="SKIP_' "$1" || true)
  bad=$((bad + left - started))
  left=$((started + disabled))
  passed=$((passed + all - bad - left)) failed=$((failed + bad)) skipped=$((skipped + left))
}

# run_tests PRESET FOLDER [CTEST OPTION…]: the preset's tests, two at a time at most (each may use several ranks).
run_tests() {
  local preset=$1 folder=$2 at_once status=0
  shift 2
  at_once=$(nproc)
  [ "$at_once" -le 2 ] || at_once=2
  [ -z "$filter" ] || set -- "$@" --tests-regex "$filter" --no-tests=ignore
  ctest --preset "$preset" --parallel "$at_once" --output-junit "$logs/$preset.xml" "$@" </dev/null || status=$?
  cp "$folder/Testing/Temporary/LastTest.log" "$logs/$preset.log" 2>/dev/null || true
  [ -f "$logs/$preset.xml" ] || die "ctest --preset $preset ended with $status and without a result"
  count "$logs/$preset.xml"
  reasons_of_skips "$logs/$preset.log"
  [ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || die "ctest --preset $preset ended with $status though no test failed"
}

# A test program that passes may have left cases out (no reference data, no GPU): their reasons, each once.
reasons_of_skips() {
  local reasons
  reasons=$(grep -A 1 ': Skipped$' "$1" 2>/dev/null | grep -v -e ': Skipped$' -e '^--$' | sort | uniq -c || true)
  [ -z "$reasons" ] || printf 'cases left out inside the tests, and why:\n%s\n' "$reasons"
}

# missing_for_gpus: what compiling for GPUs lacks; nothing where it can be done.
missing_for_gpus() {
  local nvcc include
  nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || true)
  [ -n "$nvcc" ] || { echo "nvcc (the CUDA Toolkit)"; return; }
  include=$(dirname "$(dirname "$(readlink -f "$nvcc")")")/include
  [ -e "$include/cublasLt.h" ] || { echo "cuBLAS (cublasLt.h)"; return; }
  [ -e "$include/nccl.h" ] || [ -e "${NCCL_HOME:-/usr}/include/nccl.h" ] || echo "NCCL (nccl.h)"
}

step "Packages"
logged "$logs/setup.log" bash "$root/jobs/setup.sh" --tests --model
# The tests of job scripts find out by themselves whether there is a Slurm.
bash "$root/jobs/setup.sh" --slurm >"$logs/setup-slurm.log" 2>&1 </dev/null ||
  say "no Slurm here: the tests that need it will be skipped (log: $logs/setup-slurm.log)"

step "Model"
if fetch_model </dev/null; then
  export HACK_TEST_MODEL=$model_file
else
  unset HACK_TEST_MODEL
  say "the tests that need the real model will be skipped"
fi

for preset in "${presets[@]}"; do
  if [ "$preset" = release ]; then folder=$root/build; else folder=$root/build-$preset; fi
  step "Build, preset $preset"
  configure "$preset" "$folder" "$logs/configure-$preset.log" ON
  logged "$logs/build-$preset.log" cmake --build --preset "$preset" --parallel "$(build_jobs)"

  step "Tests, preset $preset"
  if [ "$preset" = asan ]; then
    # Two and four ranks take the code paths of three, and most of the time: the sanitizers see one and three.
    run_tests asan "$folder" --label-exclude '^(model|np2|np4)$'
  else
    run_tests "$preset" "$folder"
  fi
done

# Device code and the calls of CUDA and NCCL; the rest of that preset is what the others have built already. For the oldest
# GPU, which has the fewest instructions and the least shared memory: the newer ones compile the same lines and take twice
# the time more. All of them where some code asks for which it is compiled.
step "Compile for GPUs, preset cuda"
missing=$(missing_for_gpus)
if [ -n "$filter" ]; then
  say "left out (--filter)"
elif [ -n "$missing" ]; then
  say "skipped: $missing is not installed"
  skipped=$((skipped + 1))
else
  architectures=80-real
  ! grep -rqE '__CUDA_ARCH|NV_IF_TARGET|sm_[0-9]+a' --include='*.cu*' "$root/kernels" || architectures="80-real;90-real;100"
  configure cuda "$root/build-cuda" "$logs/configure-cuda.log" OFF "-DCMAKE_CUDA_ARCHITECTURES=$architectures"
  logged "$logs/build-cuda.log" cmake --build --preset cuda --parallel "$(build_jobs)" --target hack_device hack_comm_gpu
  passed=$((passed + 1))
fi

# check TITLE SCRIPT…: one of the checks of the sources; exit status 77 is a skip.
check() {
  local status=0
  step "$1"
  shift
  bash "$@" || status=$?
  case $status in
    0) passed=$((passed + 1)) ;;
    77) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)) ;;
  esac
}

check "Layout" "$root/tests/check_layout.sh"
if [ -z "$filter" ]; then
  check "Format" "$root/tests/check_format.sh"
  check "What changed, by clang-tidy" "$root/tests/check_tidy.sh" "$root/build"
fi
end_step

printf '\nlogs: %s\ntests finished in %s\n' "$logs" "$(duration "$SECONDS")"
[ -z "$filter" ] || [ $((passed + failed + skipped)) -gt 1 ] || die "no test's name matches --filter $filter"
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]

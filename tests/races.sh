#!/usr/bin/env bash
# ThreadSanitizer on what has threads of its own: the journal's writer beside the work, reading ahead, the deadline's
# watch, the pool of pages, sums through shared memory, ranks that are dealt tasks. Builds into build-tsan/ and runs these
# tests on one rank, and on two where ranks share memory. OpenMP has one thread there: its library does not tell
# ThreadSanitizer what it synchronizes. Not a part of CI: the build takes minutes.
#
#   bash tests/races.sh
set -euo pipefail

program=races
# shellcheck source=jobs/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/../jobs/steps.sh"
# shellcheck source=jobs/environment.sh
. "$root/jobs/environment.sh"

cd "$root"
folder=$root/build-tsan
logs=$root/runs/races
mkdir -p "$logs"
tests=(test_journal test_shared_reduction test_page_pool test_task_dealer test_collectives test_compress)

step "Build"
logged "$logs/configure.log" cmake -S . -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g1 -fsanitize=thread" -DCMAKE_EXE_LINKER_FLAGS=-fsanitize=thread \
  -DHACK_WITH_CUDA=OFF -DHACK_SIMD_OF_THIS_MACHINE=ON
logged "$logs/build.log" cmake --build "$folder" --parallel "$(build_jobs)" --target "${tests[@]}"

step "Tests"
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
export TSAN_OPTIONS="suppressions=$root/tests/support/races.supp exitcode=66 ignore_noninstrumented_modules=1"
found=0
for test in "${tests[@]}"; do
  for ranks in 1 2; do
    status=0
    timeout 1200 mpirun -n "$ranks" "$folder/tests/$test" </dev/null >"$logs/$test-$ranks.log" 2>&1 || status=$?
    say "$test on $ranks: exit status $status"
    [ "$status" -eq 0 ] || { grep -A 12 'WARNING: ThreadSanitizer' "$logs/$test-$ranks.log" | head -n 40; found=$((found + 1)); }
  done
done
say "$found of $((2 * ${#tests[@]})) runs with findings"
[ "$found" -eq 0 ]

#!/usr/bin/env bash
# Which lines the tests run: builds the coverage preset (build-coverage/), runs tests and prints lines and share by folder.
# Not a part of CI. The programs that tests start count too; what runs on GPUs and in job scripts does not.
#
#   bash tests/coverage.sh [--filter REGEX] [--files] [--lines FILE]
#
#   --filter REGEX   only the tests whose name matches (default: all but the real model's and Slurm's)
#   --files          also the files whose lines run least
#   --lines FILE     write the lines of each file that ran, as JSON
set -euo pipefail

program=coverage
# shellcheck source=jobs/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/../jobs/steps.sh"

selection=(--label-exclude '^(model|slurm|np2|np4)$')
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) help_of "${BASH_SOURCE[0]}"; exit 0 ;;
    --filter) [ $# -ge 2 ] || die "--filter needs a value"; selection=(--tests-regex "$2"); shift ;;
    --files) arguments+=(--files) ;;
    --lines) [ $# -ge 2 ] || die "--lines needs a value"; arguments+=(--json "$(realpath -m "$2")"); shift ;;
    *) die "unknown option $1 (see --help)" ;;
  esac
  shift
done

cd "$root"
folder=$root/build-coverage
logs=$root/runs/coverage
mkdir -p "$logs"

step "Build, preset coverage"
configure coverage "$folder" "$logs/configure.log" ON
logged "$logs/build.log" cmake --build --preset coverage --parallel "$(build_jobs)"
find "$folder" -name '*.gcda' -delete

step "Tests"
ctest --preset coverage "${selection[@]}" </dev/null >"$logs/tests.log" 2>&1 ||
  say "some tests failed (log: $logs/tests.log); their lines count all the same"
tail -n 4 "$logs/tests.log"

step "Lines"
python3 tests/line_coverage.py "$folder" "${arguments[@]}"
end_step

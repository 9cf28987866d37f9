#!/usr/bin/env bash
# Archives made from random numbers, with valid digests, and random changes of every kind of file that the program reads:
# none may crash, take ten seconds, or be refused without the file's name. What digests guard gives the same answer or an
# error. One process, in the release build, from files in memory; writes a record.
#
#   bash tests/fuzz/changes.sh [--archives N] [--changes N] [--seed S] [--build FOLDER] [--output RECORD.json]
#
#   --archives N     made archives (default: 100000)
#   --changes N      changes of each kind of file (default: 10000)
#   --seed S         where random numbers begin (default: 1)
#   --build FOLDER   a build whose programs are made by ninja (default: build)
#   --output FILE    the record (default: jobs/results/changed-files.json)
#
# Exit status 1 where there is a finding; its input is under runs/fuzz/changes.
set -euo pipefail

program=changes
# shellcheck source=jobs/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../jobs/steps.sh"
# shellcheck source=jobs/environment.sh
. "$root/jobs/environment.sh"

archives=100000 changes=10000 seed=1 build=$root/build
output=$root/jobs/results/changed-files.json
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) help_of "${BASH_SOURCE[0]}"; exit 0 ;;
    --archives | --changes | --seed | --build | --output)
      [ $# -ge 2 ] || die "$1 needs a value"
      case $1 in
        --archives) archives=$2 ;;
        --changes) changes=$2 ;;
        --seed) seed=$2 ;;
        --build) build=$(realpath "$2") ;;
        --output) output=$(realpath -m "$2") ;;
      esac
      shift ;;
    *) die "unknown option $1 (see --help)" ;;
  esac
  shift
done

work=$root/runs/fuzz/changes
mkdir -p "$work" "$(dirname "$output")"
rm -f "$work"/*.json
cd "$work"

step "Build"
logged "$work/build.log" cmake --build "$build" --parallel "$(build_jobs)" --target fuzz_targets test_changed_files

# Inputs are files that live for a millisecond: a file system in memory.
[ ! -d /dev/shm ] || export TMPDIR=/dev/shm

failed=0
# tried NAME COMMAND …: runs it, its words in NAME.log.
tried() {
  local name=$1
  shift
  step "$name"
  "$@" >"$work/$name.log" 2>&1 </dev/null || { failed=$((failed + 1)); tail -n 20 "$work/$name.log"; say "a finding: $work/$name.log"; }
}

tried made_archives "$build/tests/fuzz_archive" --made "$archives" --seed "$seed" --json "$work/made_archives.json"
for file in "$build"/tests/fuzz_*; do
  name=${file##*/fuzz_}
  [ -x "$file" ] || continue
  tried "$name" "$file" --runs "$changes" --seed "$seed" --json "$work/$name.json"
done
start=$SECONDS
tried guarded_files env HACK_CHANGES="$changes" "$build/tests/test_changed_files"
guarded=$((SECONDS - start))
end_step

kinds=$(sed -n 's/^\[       OK \] ChangedFiles\.\([A-Za-z]*\).*/"\1"/p' "$work/guarded_files.log" | paste -sd, -)
{
  printf '{\n"command": "bash tests/fuzz/changes.sh --archives %s --changes %s --seed %s",\n' "$archives" "$changes" "$seed"
  printf '"commit": "%s",\n' "$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)"
  printf '"machine": "%s, one process",\n' "$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)"
  printf '"targets": [\n'
  first=1
  for record in "$work"/*.json; do
    [ "$first" -eq 1 ] || printf ',\n'
    first=0
    cat "$record"
  done
  printf '],\n"files with digests, the same answer or an error": {"changes": %s, "kinds": [%s], "seconds": %s}\n}\n' \
    "$changes" "$kinds" "$guarded"
} >"$work/record.part"
python3 -m json.tool --no-ensure-ascii --indent 1 "$work/record.part" >"$output"
say "record: $output"
[ "$failed" -eq 0 ] || die "$failed programs have a finding"

#!/usr/bin/env bash
# The long run of the fuzz targets: builds them with libFuzzer (preset fuzz), writes the seeds, runs each program in turn,
# minimises its corpus and writes a record. What a run has found before is where the next one begins.
#
#   bash tests/fuzz/run.sh [--minutes M | --runs N] [--only NAME] [--output RECORD.json]
#
#   --minutes M    of each program (default: 10); 120 is the recorded run
#   --runs N       inputs of each program in place of a time
#   --only NAME    one program: archive, base_logits, checkpoint, gguf, import, journal, pieces, records, reports,
#                  safetensors, text, tokenizer or turns
#   --output FILE  the record (default: runs/fuzz/record.json)
#
# Exit status 1 where there is a finding; its input is under runs/fuzz/NAME.findings.
set -euo pipefail

program=fuzz
# shellcheck source=jobs/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../jobs/steps.sh"
# shellcheck source=jobs/environment.sh
. "$root/jobs/environment.sh"

minutes=10
runs=-1
only=""
output=$root/runs/fuzz/record.json
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) help_of "${BASH_SOURCE[0]}"; exit 0 ;;
    --minutes | --runs | --only | --output)
      [ $# -ge 2 ] || die "$1 needs a value"
      case $1 in
        --minutes) minutes=$2 ;;
        --runs) runs=$2 minutes=0 ;;
        --only) only=$2 ;;
        --output) output=$2 ;;
      esac
      shift ;;
    *) die "unknown option $1 (see --help)" ;;
  esac
  shift
done

cd "$root"
folder=$root/build-fuzz
kept=$root/runs/fuzz
mkdir -p "$kept" "$(dirname "$output")"

step "Build, preset fuzz"
logged "$kept/setup.log" bash "$root/jobs/setup.sh" --tests --fuzz
configure fuzz "$folder" "$kept/configure.log" ON
logged "$kept/build.log" cmake --build --preset fuzz --parallel "$(build_jobs)" --target "${only:+fuzz_}${only:-fuzz_targets}"

# Inputs are files that live for a millisecond: a file system in memory.
[ ! -d /dev/shm ] || export TMPDIR=/dev/shm

# stat NAME LOG: one of the figures that libFuzzer prints at its end.
stat_of() { sed -n "s/^stat::$1: *\([0-9]*\).*/\1/p" "$2" | tail -n 1; }

findings=0
rows=""
for program_file in "$folder"/tests/fuzz_*; do
  name=${program_file##*/fuzz_}
  [ -x "$program_file" ] || continue
  [ -z "$only" ] || [ "$name" = "$only" ] || continue
  step "$name"
  corpus=$kept/$name.corpus log=$kept/$name.log
  [ -d "$corpus" ] || [ ! -d "$corpus.old" ] || mv "$corpus.old" "$corpus"
  mkdir -p "$corpus" "$kept/$name.findings"
  "$program_file" --write-seeds "$kept/$name.seeds"
  start=$SECONDS
  status=0
  # Archives of 20 KiB are the largest seeds; a longer input only says the same more slowly.
  "$program_file" -max_total_time=$((minutes * 60)) -runs="$runs" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
    -malloc_limit_mb=512 -print_final_stats=1 -artifact_prefix="$kept/$name.findings/" \
    "$corpus" "$kept/$name.seeds" >"$log" 2>&1 </dev/null || status=$?
  seconds=$((SECONDS - start))
  [ "$status" -eq 0 ] || { findings=$((findings + 1)); tail -n 30 "$log"; say "a finding: $kept/$name.findings, $log"; }
  executions=$(stat_of number_of_executed_units "$log")
  coverage=$(grep -o ' cov: [0-9]*' "$log" | tail -n 1 | tr -dc 0-9)
  memory=$(stat_of peak_rss_mb "$log")
  if [ "$status" -eq 0 ]; then
    rm -rf "$corpus.new" && mkdir "$corpus.new"
    "$program_file" -merge=1 -max_len=65536 "$corpus.new" "$corpus" "$kept/$name.seeds" >"$kept/$name.merge.log" 2>&1 </dev/null
    # One of the two is whole at any time.
    rm -rf "$corpus.old" && mv "$corpus" "$corpus.old" && mv "$corpus.new" "$corpus" && rm -rf "$corpus.old"
  fi
  inputs=$(find "$corpus" -type f | wc -l)
  say "$name: ${executions:-0} inputs in $seconds s, $([ "$status" -eq 0 ] && echo no finding || echo A FINDING)"
  rows+="${rows:+,}
    {\"target\": \"$name\", \"executions\": ${executions:-0}, \"seconds\": $seconds, \"edges\": ${coverage:-0},"
  rows+=" \"corpus\": $inputs, \"peak_mib\": ${memory:-0}, \"finding\": $([ "$status" -eq 0 ] && echo false || echo true)}"
done
end_step

cat >"$output.part" <<END
{
  "command": "bash tests/fuzz/run.sh --minutes $minutes --runs $runs",
  "commit": "$(git rev-parse HEAD 2>/dev/null || echo unknown)",
  "compiler": "$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$folder/CMakeCache.txt")",
  "machine": "$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)",
  "targets": [$rows
  ]
}
END
mv "$output.part" "$output"
say "record: $output"
[ "$findings" -eq 0 ] || die "$findings programs have a finding"

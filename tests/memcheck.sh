#!/usr/bin/env bash
# One rank under valgrind: a compression, an evaluation, a generation and an export of a tiny model, by the program of the
# release build. Memory that is read before it is written, or beyond its end, is an error; what MPI keeps to the end is
# none. Not a part of CI: it takes minutes. Exit status 77 where there is no valgrind.
#
#   bash tests/memcheck.sh [PROGRAM]     (default: build/bin/hack)
set -euo pipefail

program=memcheck
# shellcheck source=jobs/steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/../jobs/steps.sh"
# shellcheck source=jobs/environment.sh
. "$root/jobs/environment.sh"

hack=$(realpath "${1:-$root/build/bin/hack}")
command -v valgrind >/dev/null || { say "valgrind is not installed"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - "$root/tests/faults" "$work" <<'END'
import sys
sys.path.insert(0, sys.argv[1])
import tiny_files
tiny_files.write_model(sys.argv[2] + "/model", hidden=64, intermediate=96, layers=2)
tiny_files.write_text(sys.argv[2] + "/text", 60)
END

suppressions=()
file=/usr/share/openmpi/openmpi-valgrind.supp
[ ! -e "$file" ] || suppressions+=("--suppressions=$file")

# Where it has to, the program starts itself anew with other settings, which is not valgrind's program any more.
export HACK_LIBRARY_SETTINGS=1

found=0
# checked ARGUMENTS…: the program with these arguments.
checked() {
  local status=0
  say "hack $*"
  valgrind --quiet --error-exitcode=9 --leak-check=no "${suppressions[@]}" "$hack" "$@" --threads 1 --quiet \
    >"$work/out" 2>"$work/err" || status=$?
  [ "$status" -eq 0 ] || { head -n 60 "$work/err"; found=$((found + 1)); }
}

fitted=(--calibration "$work/text" --calibration-context 64 --calibration-windows 4 --allocation-tokens 32 --tile 32)
checked compress "$work/model" --output "$work/plain.h5" --method plain --topk 0.5 --tile 32
checked compress "$work/model" --output "$work/lowrank.h5" --terms lowrank --keep 0.8 --refine 2 "${fitted[@]}"
checked compress "$work/model" --output "$work/codes.h5" --codec iq4_nl --refine 2 "${fitted[@]}"
checked perplexity "$work/model" --archive "$work/codes.h5" --text "$work/text" --context 32 --windows 3
checked perplexity "$work/model" --archive "$work/lowrank.h5" --text "$work/text" --context 32 --windows 3
checked generate "$work/model" --archive "$work/codes.h5" --prompt "the lamp" --max-tokens 8
checked export "$work/model" --archive "$work/codes.h5" --format gguf --output "$work/m.gguf"

say "$found of 7 runs with findings"
[ "$found" -eq 0 ]

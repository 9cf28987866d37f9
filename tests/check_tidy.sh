#!/usr/bin/env bash
# Runs clang-tidy (.clang-tidy says which checks) on the program's sources that changed: those that differ from $HACK_BASE,
# by default from the commit twenty before this one, newest first, headers by the sources that include them. Stops after a
# time and says what it left out: the checks are for the one who changes a file, not for the whole tree.
#
#   bash tests/check_tidy.sh [--seconds S] [BUILD]     (default: 150 seconds; the compile commands of build/)
#
# Exit status 1 where something is found, 77 where clang-tidy 16 or later, git or the compile commands are missing.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=150
[ "${1:-}" != --seconds ] || { seconds=$2; shift 2; }
build=${1:-build}

skip() { printf 'tidy: skipped, %s\n' "$*"; exit 77; }

tidy=
for candidate in clang-tidy clang-tidy-19 clang-tidy-18 clang-tidy-17 clang-tidy-16; do
  version=$("$candidate" --version 2>/dev/null | sed -n 's/.*version \([0-9]*\)\..*/\1/p') || continue
  [ "${version:-0}" -lt 16 ] || { tidy=$candidate; break; }
done
[ -n "$tidy" ] || skip "there is no clang-tidy 16 or later"
[ -f "$build/compile_commands.json" ] || skip "$build has no compile_commands.json"
git rev-parse --verify -q HEAD >/dev/null 2>&1 || skip "git does not know this folder"

# Headers that GCC compiled beforehand mean nothing to clang; sources include what they need.
work=$build/tidy
mkdir -p "$work"
sed -E 's/-Winvalid-pch //; s/-include (\\"[^"]*|[^ ]*)cmake_pch\.hxx(\\")? //' "$build/compile_commands.json" \
  >"$work/compile_commands.json"

# The base: named, or twenty commits ago, or the first commit of a history that is shorter or shallow.
base=${HACK_BASE:-$(git rev-list --first-parent --max-count=21 HEAD | tail -n 1)}
{
  git diff --name-only --diff-filter=d HEAD -- kernels src jobs
  git log --first-parent --name-only --diff-filter=d --format= "$base..HEAD" -- kernels src jobs
} | awk 'NF && !seen[$0]++' >"$work/changed"

# A header is seen through the first source that includes it by its path.
sources() {
  local file
  while IFS= read -r file; do
    [ -f "$file" ] || continue
    case $file in
      *.cpp) printf '%s\n' "$file" ;;
      *.hpp) git grep -l -F "\"${file#src/}\"" -- 'src/*.cpp' 'kernels/*.cpp' 'jobs/*.cpp' | sed -n 1p || true ;;
    esac
  done <"$work/changed" | awk '!seen[$0]++' | while IFS= read -r file; do
    ! grep -qF "/$file\"" "$work/compile_commands.json" || printf '%s\n' "$file"
  done
}

# check FILE: one file, in what is left of the time; prints its findings. What clang cannot compile is for GCC to judge.
check() {
  local left=$((deadline - $(date +%s))) status=0 out
  [ "$left" -gt 0 ] || { echo "$1" >>"$work/left"; return 0; }
  out=$(timeout "$left" "$tidy" -p "$work" --quiet --extra-arg=-Wno-unknown-warning-option "$1" 2>/dev/null) || status=$?
  case $status in
    0) echo "$1" >>"$work/done" ;;
    124) echo "$1" >>"$work/left" ;;
    *)
      echo "$1" >>"$work/done"
      ! grep -q clang-diagnostic-error <<<"$out" || { printf 'tidy: clang cannot compile %s\n' "$1"; return 0; }
      printf '%s\n' "$out"
      return 1
      ;;
  esac
}
export -f check
export tidy work deadline=$(($(date +%s) + seconds))
: >"$work/left"
: >"$work/done"
status=0
sources | xargs -r -d '\n' -n 1 -P "$(nproc)" bash -c 'check "$1"' check || status=1
printf 'tidy: %s sources of %s changed since %s checked, %s left out for time\n' "$(wc -l <"$work/done")" \
  "$(wc -l <"$work/changed") files" "$(git rev-parse --short "$base")" "$(wc -l <"$work/left")"
exit "$status"

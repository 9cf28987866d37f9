#!/usr/bin/env bash
# Runs clang-tidy (.clang-tidy says which checks) on the program's sources that changed: those that differ from $HACK_BASE,
# by default from the commit ten before this one, newest first, headers by the sources that include them. Only lines that
# changed count: the checks are for the one who changes a file, not for the whole tree. Stops after a time and says what it
# left out.
#
#   bash tests/check_tidy.sh [--seconds S] [BUILD]     (default: 110 seconds; the compile commands of build/)
#
# Exit status 1 where something is found, 77 where clang-tidy 16 or later, git or the compile commands are missing.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=110
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

# The base: named, or ten commits ago, or the first commit of a history that is shorter or shallow.
base=${HACK_BASE:-$(git rev-list --first-parent --max-count=11 HEAD | tail -n 1)}
{
  git diff --name-only --diff-filter=d HEAD -- kernels src jobs
  git log --first-parent --name-only --diff-filter=d --format= "$base..HEAD" -- kernels src jobs
} | awk 'NF && !seen[$0]++' >"$work/changed"

# lines: the changed lines of these files as clang-tidy's --line-filter wants them.
lines() {
  git diff --unified=0 "$base" -- kernels src jobs | awk '
    /^\+\+\+ b\// { file = substr($0, 7) }
    /^@@/ {
      split(substr($3, 2), at, ",")
      count = at[2] == "" ? 1 : at[2]
      if (count > 0) ranges[file] = ranges[file] sprintf("%s[%d,%d]", ranges[file] == "" ? "" : ",", at[1], at[1] + count - 1)
    }
    END {
      for (file in ranges) all = all sprintf("%s{\"name\":\"%s\",\"lines\":[%s]}", all == "" ? "" : ",", file, ranges[file])
      printf "[%s]", all
    }'
}

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
  out=$(timeout "$left" "$tidy" -p "$work" --quiet --line-filter="$changed_lines" \
    --extra-arg=-Wno-unknown-warning-option "$1" 2>/dev/null) || status=$?
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
changed_lines=$(lines)
export tidy work changed_lines deadline=$(($(date +%s) + seconds))
: >"$work/left"
: >"$work/done"
status=0
sources | xargs -r -d '\n' -n 1 -P "$(nproc)" bash -c 'check "$1"' check || status=1
printf 'tidy: %s sources of %s changed since %s checked, %s left out for time\n' "$(wc -l <"$work/done")" \
  "$(wc -l <"$work/changed") files" "$(git rev-parse --short "$base")" "$(wc -l <"$work/left")"
exit "$status"

#!/usr/bin/env bash
# Checks the rules of the layout: includes never point upwards (kernels <- io <- comm <- svd <- model <- jobs, and nothing
# includes tests), headers hold at most 250 lines and sources 400, functions 60 lines, signatures 6 parameters outside
# kernels/ (check_functions.py), folders 25 sources; no file names a path of a build machine or a package registry's host,
# each folder has its README.md. Prints what breaks a rule; exit status 1 if anything does.
#
#   bash tests/check_layout.sh [FOLDER]     (default: the checkout it stands in)
set -euo pipefail

top=${1:-$(dirname "${BASH_SOURCE[0]}")/..}
cd "$top"

# Tracked files and those about to be; where git does not know the folder, all but what is built or downloaded.
list_files() {
  if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files --cached --others --exclude-standard -z
  else
    find . -type d \( -name .git -o -name build -o -name 'build-*' -o -name downloads -o -name runs \
      -o -name __pycache__ \) -prune -o -type f -printf '%P\0'
  fi
}

files=()
while IFS= read -r -d '' file; do
  [ ! -f "$file" ] || files+=("$file")
done < <(list_files)
[ ${#files[@]} -gt 0 ] || { echo "layout: no files in $PWD"; exit 1; }

# files_under FOLDER…: the C++ and CUDA files of these folders, each ended by a zero byte.
files_under() {
  local file folder
  for file in "${files[@]}"; do
    for folder in "$@"; do
      case $file in "$folder"/*.[ch]pp | "$folder"/*.ipp | "$folder"/*.cu | "$folder"/*.cuh | "$folder"/*.h | \
        "$folder"/*.c | "$folder"/*.in) printf '%s\0' "$file" ;; esac
    done
  done
}

broken=0
# rule TITLE FINDINGS: reports the findings of one rule.
rule() {
  [ -n "$2" ] || return 0
  printf '%s:\n%s\n' "$1" "$2"
  broken=1
}

# includes FOLDER UPPER: lines in FOLDER that include from what lies above it.
includes() {
  files_under "$1" | xargs -0 -r grep -nHE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[\"<](\.\./|src/)*($2)/" || true
}

too_long() {
  local file lines limit
  while IFS= read -r -d '' file; do
    case $file in *.hpp | *.cuh | *.h) limit=250 ;; *) limit=400 ;; esac
    lines=$(wc -l <"$file")
    [ "$lines" -le "$limit" ] || printf '%s: %d lines (limit %d)\n' "$file" "$lines" "$limit"
  done < <(files_under kernels src jobs)
}

# Folders with too many sources; headers do not count.
too_many() {
  local count folder
  files_under kernels src jobs tests examples | tr '\0' '\n' | grep -E '\.(cpp|cu|c)$' | sed 's|/[^/]*$||' | sort | uniq -c |
    while read -r count folder; do
      [ "$count" -le 25 ] || printf '%s: %d sources (limit 25)\n' "$folder" "$count"
    done
}

functions() {
  command -v python3 >/dev/null || { echo "python3 is missing: it counts them"; return; }
  files_under kernels src jobs tests examples | grep -zvE '\.in$' | xargs -0 -r python3 tests/check_functions.py || true
}

# The names are written with brackets so that this file does not hold what it looks for.
machine='/[w]ork/|/[f]arm/|[p]ypi\.org|[p]ythonhosted|deb\.[d]ebian\.org'

readmes() {
  local folder
  for folder in kernels src/*/ jobs jobs/{session,compression,bench,study,commands} tests tests/data; do
    folder=${folder%/}
    [ ! -d "$folder" ] || [ -f "$folder/README.md" ] || printf '%s\n' "$folder"
  done
}

rule "Includes that point upwards" "$(
  includes kernels 'io|comm|svd|model|jobs|tests'
  includes src/io 'comm|svd|model|jobs|tests'
  includes src/comm 'svd|model|jobs|tests'
  includes src/svd 'model|jobs|tests'
  includes src/model 'jobs|tests'
  includes jobs 'tests'
  includes jobs/session 'jobs/(compression|bench|study|commands)'
  includes jobs/compression 'jobs/(bench|study|commands)'
  includes jobs/bench 'jobs/(study|commands)'
  includes jobs/study 'jobs/(bench|commands)'
)"
rule "Files that are too long" "$(too_long)"
rule "Folders with too many sources" "$(too_many)"
rule "Functions that are too long, signatures with too many parameters" "$(functions)"
rule "Paths of a build machine or registry hosts" "$(
  printf '%s\0' "${files[@]}" | xargs -0 grep -nHIE "$machine" | cut -c 1-160 || true
)"
rule "Folders without README.md" "$(readmes)"

[ "$broken" -eq 0 ] || exit 1
echo "layout: ${#files[@]} files keep the rules"

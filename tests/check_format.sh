#!/usr/bin/env bash
# Checks that every C++ and CUDA file is formatted as .clang-format says, by clang-format 14 (other versions differ in places).
#
#   bash tests/check_format.sh [--fix]
#
# Exit status 1 where a file is not, 77 where there is no clang-format 14.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
format=
for candidate in clang-format-14 clang-format; do
  ! "$candidate" --version 2>/dev/null | grep -q 'version 14\.' || { format=$candidate; break; }
done
[ -n "$format" ] || { echo "format: skipped, there is no clang-format 14"; exit 77; }

files() { git ls-files --cached --others --exclude-standard -z -- '*.cpp' '*.hpp' '*.cu' '*.cuh' '*.ipp' '*.h'; }
if [ "${1:-}" = --fix ]; then
  files | xargs -0 -r "$format" -i
elif files | xargs -0 -r "$format" --dry-run -Werror; then
  echo "format: $(files | tr -cd '\0' | wc -c) files are formatted"
else
  echo "format: bash tests/check_format.sh --fix formats them"
  exit 1
fi

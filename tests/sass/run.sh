#!/bin/sh
# Lists the hot kernels, and holds their machine code to the list.
#
#   run.sh PYTHON PRINT_HOT_KERNELS LIST CUBIN…
set -eu
python=$1
print=$2
list=$3
shift 3
"$print" >"$list"
exec "$python" "$(dirname "$0")/check_sass.py" "$list" "$@"

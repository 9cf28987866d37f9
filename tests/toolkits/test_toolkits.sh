#!/usr/bin/env bash
# Toolkits of other versions than this machine's, as far as the configure step looks at them: which architectures are
# chosen, and what is said of one that is too old. Where headers of cuSOLVER are installed, also that the calls of an older
# version compile.
#
#   bash tests/toolkits/test_toolkits.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# toolkit VERSION: prints the folder of a toolkit that says it has this version.
toolkit() {
  local folder=$work/cuda-$1
  mkdir -p "$folder/bin" "$folder/include" "$folder/lib64"
  printf '#!/bin/sh\necho "Cuda compilation tools, release %s, V%s.99"\n' "$1" "$1" >"$folder/bin/nvcc"
  chmod +x "$folder/bin/nvcc"
  touch "$folder/include/cuda_runtime.h" "$folder/include/nccl.h" "$folder/lib64/libcudart.so" "$folder/lib64/libnccl.so"
  printf '%s\n' "$folder"
}

# expect VERSION ON|AUTO TEXT: configures with a toolkit of that version; the output must have the text.
expect() {
  local folder output
  folder=$(toolkit "$1")
  output=$(cmake -S "$here" -B "$work/build-$1-$2" -DCUDAToolkit_ROOT="$folder" -DHACK_WITH_CUDA="$2" \
    -DHACK_NCCL_INCLUDE="$folder/include" -DHACK_NCCL_LIBRARY="$folder/lib64/libnccl.so" 2>&1 | tr -s ' \n' ' ') || true
  if [[ $output == *"$3"* ]]; then
    printf 'CUDA %s, %s: %s\n' "$1" "$2" "$3"
  else
    printf 'CUDA %s, %s: not found: %s\n%s\n' "$1" "$2" "$3" "$output"
    failed=1
  fi
}

expect 13.0 ON "enabled 1, architectures 80-real;90-real;100"
expect 12.8 ON "enabled 1, architectures 80-real;90-real;100"
expect 12.2 ON "enabled 1, architectures 80-real;90"
expect 11.8 ON "is too old (12.0 or later is needed)"
expect 11.8 AUTO "enabled 0"

# Before 12.6 Update 2 cuSOLVER has no batches of eigenvalue problems.
include=$(dirname "$(readlink -f "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")")/../include
generated=${1:-$here/../../build/generated}
if [ -e "$include/cusolverDn.h" ] && [ -e "$generated/kernels/config.hpp" ]; then
  cat >"$work/cusolverDn.h" <<'END'
#include_next <cusolverDn.h>
#undef CUSOLVER_VERSION
#define CUSOLVER_VERSION 11502
#define cusolverDnXsyevBatched absent_before_cuda_12_6_2
#define cusolverDnXsyevBatched_bufferSize absent_before_cuda_12_6_2_too
END
  if ! "${CXX:-c++}" -std=c++20 -fsyntax-only -I "$work" -I "$here/../.." -I "$here/../../src" -I "$generated" \
    -isystem "$include" "$here/../../kernels/cuda/factorize/dense_library.cpp"; then
    printf 'dense_library.cpp does not compile with cuSOLVER 11.5.2\n'
    failed=1
  fi
else
  printf 'no headers of cuSOLVER: its older calls are not compiled\n'
fi
exit "$failed"
